//! As much of the query language as our queries use: `where` with comparisons and lists, `extend`, `project`,
//! `order by`, `take`, and a few functions. One operator per line.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

type Row = Map<String, Value>;
type Wrong = String;

/// Runs a query on the rows of its table: the columns and rows of the answer.
pub(super) fn run(query: &str, mut rows: Vec<Row>) -> Result<(Vec<String>, Vec<Row>), Wrong> {
    let mut columns: Vec<String> = rows
        .first()
        .map(|row| row.keys().cloned().collect())
        .unwrap_or_default();
    for line in query.lines().skip(1) {
        let operator = line
            .trim()
            .strip_prefix("| ")
            .ok_or_else(|| format!("expected an operator: {line}"))?;
        let mut tokens = Tokens(operator);
        match tokens.word()? {
            "where" => {
                let condition = Condition::read(&mut tokens)?;
                tokens.end()?;
                let mut kept = Vec::new();
                for row in rows {
                    if condition.holds(&row)? {
                        kept.push(row);
                    }
                }
                rows = kept;
            }
            "extend" => {
                let name = tokens.word()?.to_owned();
                tokens.sign("=")?;
                let expression = Expression::read(&mut tokens)?;
                tokens.end()?;
                for row in &mut rows {
                    let value = expression.of(row);
                    row.insert(name.clone(), value);
                }
            }
            "project" => {
                columns = vec![tokens.word()?.to_owned()];
                while tokens.sign(",").is_ok() {
                    columns.push(tokens.word()?.to_owned());
                }
                tokens.end()?;
            }
            "order" => {
                let by = (tokens.word()?, tokens.word()?.to_owned(), tokens.word()?);
                rows.sort_by_key(|row| row.get(&by.1).map(plain));
            }
            "take" => {
                let count = tokens
                    .0
                    .trim()
                    .parse()
                    .map_err(|_| "take needs a number".to_owned())?;
                rows.truncate(count);
            }
            other => return Err(format!("unknown operator {other}")),
        }
    }
    Ok((columns, rows))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(
        || {
            if value.is_null() {
                String::new()
            } else {
                value.to_string()
            }
        },
        str::to_owned,
    )
}

/// What is left of a line.
struct Tokens<'q>(&'q str);

impl<'q> Tokens<'q> {
    fn word(&mut self) -> Result<&'q str, Wrong> {
        let text = self.0.trim_start();
        let end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        let (word, rest) = text
            .split_at_checked(end)
            .filter(|(word, _)| !word.is_empty())
            .ok_or_else(|| format!("expected a name: {text}"))?;
        self.0 = rest;
        Ok(word)
    }

    fn sign(&mut self, sign: &str) -> Result<(), Wrong> {
        self.0 = self
            .0
            .trim_start()
            .strip_prefix(sign)
            .ok_or_else(|| format!("expected {sign}: {}", self.0))?;
        Ok(())
    }

    /// A string literal; its escapes are JSON's.
    fn literal(&mut self) -> Result<String, Wrong> {
        let mut values =
            serde_json::Deserializer::from_str(self.0.trim_start()).into_iter::<String>();
        let value = values
            .next()
            .and_then(Result::ok)
            .ok_or_else(|| format!("expected a string: {}", self.0))?;
        let used = values.byte_offset();
        self.0 = self.0.trim_start().get(used..).unwrap_or_default();
        Ok(value)
    }

    fn end(&self) -> Result<(), Wrong> {
        if self.0.trim().is_empty() {
            Ok(())
        } else {
            Err(format!("unexpected: {}", self.0))
        }
    }
}

enum Condition {
    Within(String, DateTime<Utc>, DateTime<Utc>),
    OneOf {
        column: String,
        values: Vec<String>,
        case: bool,
        wanted: bool,
    },
}

impl Condition {
    fn read(tokens: &mut Tokens<'_>) -> Result<Self, Wrong> {
        let column = tokens.word()?.to_owned();
        if tokens.sign("between").is_ok() {
            tokens.sign("(")?;
            let from = datetime(tokens)?;
            tokens.sign("..")?;
            let to = datetime(tokens)?;
            tokens.sign(")")?;
            return Ok(Self::Within(column, from, to));
        }
        if tokens.sign("=~").is_ok() {
            return Ok(Self::OneOf {
                column,
                values: vec![tokens.literal()?],
                case: false,
                wanted: true,
            });
        }
        let wanted = tokens.sign("!").is_err();
        tokens.sign("in")?;
        let case = tokens.sign("~").is_err();
        tokens.sign("(")?;
        let mut values = vec![tokens.literal()?];
        while tokens.sign(",").is_ok() {
            values.push(tokens.literal()?);
        }
        tokens.sign(")")?;
        Ok(Self::OneOf {
            column,
            values,
            case,
            wanted,
        })
    }

    fn holds(&self, row: &Row) -> Result<bool, Wrong> {
        let value = |column: &str| {
            row.get(column)
                .map(plain)
                .ok_or_else(|| format!("no column {column}"))
        };
        Ok(match self {
            Self::Within(column, from, to) => {
                let at = DateTime::parse_from_rfc3339(&value(column)?)
                    .map_err(|_| format!("{column} is no time"))?;
                (from..=to).contains(&&at.with_timezone(&Utc))
            }
            Self::OneOf {
                column,
                values,
                case,
                wanted,
            } => {
                let value = value(column)?;
                let same = |other: &String| {
                    if *case {
                        *other == value
                    } else {
                        other.to_lowercase() == value.to_lowercase()
                    }
                };
                values.iter().any(same) == *wanted
            }
        })
    }
}

fn datetime(tokens: &mut Tokens<'_>) -> Result<DateTime<Utc>, Wrong> {
    tokens.sign("datetime")?;
    tokens.sign("(")?;
    let (text, rest) = tokens.0.split_once(')').ok_or("expected )")?;
    tokens.0 = rest;
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.with_timezone(&Utc))
        .map_err(|_| format!("no time: {text}"))
}

enum Expression {
    Column(String),
    Member(String, String),
    Literal(String),
    Call(String, Vec<Expression>),
}

impl Expression {
    fn read(tokens: &mut Tokens<'_>) -> Result<Self, Wrong> {
        if tokens.0.trim_start().starts_with('"') {
            return tokens.literal().map(Self::Literal);
        }
        let name = tokens.word()?.to_owned();
        if tokens.sign(".").is_ok() {
            return Ok(Self::Member(name, tokens.word()?.to_owned()));
        }
        if tokens.sign("(").is_err() {
            return Ok(Self::Column(name));
        }
        let mut arguments = vec![Self::read(tokens)?];
        while tokens.sign(",").is_ok() {
            arguments.push(Self::read(tokens)?);
        }
        tokens.sign(")")?;
        Ok(Self::Call(name, arguments))
    }

    fn of(&self, row: &Row) -> Value {
        match self {
            Self::Column(name) => row.get(name).cloned().unwrap_or_default(),
            Self::Member(name, member) => row
                .get(name)
                .and_then(|value| value.get(member))
                .cloned()
                .unwrap_or_default(),
            Self::Literal(text) => json!(text),
            Self::Call(name, arguments) => {
                let values: Vec<Value> =
                    arguments.iter().map(|argument| argument.of(row)).collect();
                let first = values.first().cloned().unwrap_or_default();
                match name.as_str() {
                    "tostring" => json!(plain(&first)),
                    "parse_json" => serde_json::from_str(&plain(&first)).unwrap_or_default(),
                    "coalesce" => values
                        .into_iter()
                        .find(|value| !plain(value).is_empty())
                        .unwrap_or_default(),
                    "column_ifexists" => row
                        .get(&plain(&first))
                        .cloned()
                        .unwrap_or_else(|| values.get(1).cloned().unwrap_or_default()),
                    _ => Value::Null,
                }
            }
        }
    }
}
