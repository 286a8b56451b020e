//! The functions of the expression language that depend on nothing but their arguments.
//!
//! Names come in lower case: the language does not regard case. What depends on the run (`body`,
//! `variables`, `utcNow` …) is in `engine`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::expression::ExpressionError;

type Outcome = Result<Value, ExpressionError>;

/// JavaScript's encodeURIComponent, which the service's function follows.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'(')
    .remove(b')')
    .remove(b'\'');

/// Calls `function`; `None` when the language has none of that name.
pub(super) fn call(function: &str, arguments: &[Value]) -> Option<Outcome> {
    let a = Arguments {
        function,
        values: arguments,
    };
    Some(match function {
        "concat" => Ok(Value::String(arguments.iter().map(text_of).collect())),
        "equals" => a.two().map(|(x, y)| json!(same(x, y))),
        "and" => a.all_bools().map(|mut all| json!(all.all(|b| b))),
        "or" => a.all_bools().map(|mut all| json!(all.any(|b| b))),
        "not" => a.bool(0).map(|b| json!(!b)),
        "if" => a
            .bool(0)
            .and_then(|yes| a.get(if yes { 1 } else { 2 }).cloned()),
        "coalesce" => Ok(arguments
            .iter()
            .find(|value| !value.is_null())
            .cloned()
            .unwrap_or_default()),
        "empty" => a.get(0).map(|value| json!(is_empty(value))),
        "length" => a.length(),
        "contains" => a.contains(),
        "greater" => a.compare(std::cmp::Ordering::is_gt),
        "greaterorequals" => a.compare(std::cmp::Ordering::is_ge),
        "less" => a.compare(std::cmp::Ordering::is_lt),
        "lessorequals" => a.compare(std::cmp::Ordering::is_le),
        "add" => a.arithmetic(i64::checked_add, |x, y| x + y),
        "sub" => a.arithmetic(i64::checked_sub, |x, y| x - y),
        "mul" => a.arithmetic(i64::checked_mul, |x, y| x * y),
        "div" => a.arithmetic(i64::checked_div, |x, y| x / y),
        "mod" => a.arithmetic(i64::checked_rem, |x, y| x % y),
        "min" => a.extreme(std::cmp::Ordering::is_lt),
        "max" => a.extreme(std::cmp::Ordering::is_gt),
        "int" => a.int(),
        "float" => a.number(0).map(|x| json!(x)),
        "bool" => a.to_bool(),
        "string" => a.get(0).map(|value| json!(text_of(value))),
        "json" => a.json(),
        "array" => a.get(0).map(|value| {
            if value.is_array() {
                value.clone()
            } else {
                json!([value])
            }
        }),
        "createarray" => Ok(json!(arguments)),
        "first" => a.end(<[Value]>::first, |text| text.chars().next()),
        "last" => a.end(<[Value]>::last, |text| text.chars().next_back()),
        "take" => a.part(
            |items, n| items.iter().take(n).cloned().collect(),
            |text, n| text.chars().take(n).collect(),
        ),
        "skip" => a.part(
            |items, n| items.iter().skip(n).cloned().collect(),
            |text, n| text.chars().skip(n).collect(),
        ),
        "union" => a.union(),
        "intersection" => a.intersection(),
        "join" => a.join(),
        "split" => a.texts(2).map(|t| {
            json!(t.first().map(|x| {
                x.split(t.get(1).map_or("", String::as_str))
                    .collect::<Vec<_>>()
            }))
        }),
        "range" => a.range(),
        "tolower" => a.text(0).map(|text| json!(text.to_lowercase())),
        "toupper" => a.text(0).map(|text| json!(text.to_uppercase())),
        "trim" => a.text(0).map(|text| json!(text.trim())),
        "replace" => a
            .three_texts()
            .map(|[text, old, new]| json!(text.replace(old, new))),
        "substring" => a.substring(),
        "indexof" => a
            .two_lower()
            .map(|(text, part)| position(text.find(&part), &text)),
        "lastindexof" => a
            .two_lower()
            .map(|(text, part)| position(text.rfind(&part), &text)),
        "startswith" => a
            .two_lower()
            .map(|(text, part)| json!(text.starts_with(&part))),
        "endswith" => a
            .two_lower()
            .map(|(text, part)| json!(text.ends_with(&part))),
        "encodeuricomponent" | "uricomponent" => a
            .text(0)
            .map(|text| json!(utf8_percent_encode(text, COMPONENT).to_string())),
        "decodeuricomponent" | "uricomponenttostring" => a
            .text(0)
            .map(|text| json!(percent_decode_str(text).decode_utf8_lossy())),
        "base64" => a.text(0).map(|text| json!(BASE64.encode(text))),
        "base64tostring" | "decodebase64" => a.text(0).and_then(|text| {
            let bytes = BASE64
                .decode(text)
                .map_err(|_| a.refuse("expects base64"))?;
            Ok(json!(String::from_utf8_lossy(&bytes)))
        }),
        "setproperty" | "addproperty" => a.set_property(),
        "removeproperty" => a.remove_property(),
        "isint" => a.text(0).map(|text| json!(text.parse::<i64>().is_ok())),
        "formatdatetime" => a
            .time(0)
            .and_then(|at| Ok(json!(format_time(at, a.optional_text(1)?)))),
        "ticks" => a.time(0).map(|at| json!(ticks(at))),
        "adddays" => a.add_time(TimeDelta::try_days),
        "addhours" => a.add_time(TimeDelta::try_hours),
        "addminutes" => a.add_time(TimeDelta::try_minutes),
        "addseconds" => a.add_time(TimeDelta::try_seconds),
        _ => return None,
    })
}

/// A value as the language writes it into text: null is nothing, booleans are capitalised.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `utcNow`'s own format, or a .NET format text.
pub(super) fn format_time(at: DateTime<Utc>, format: Option<&str>) -> String {
    match format {
        None | Some("o" | "O") => at.format("%Y-%m-%dT%H:%M:%S%.6f0Z").to_string(),
        Some("s") => at.format("%Y-%m-%dT%H:%M:%S").to_string(),
        Some("u") => at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
        Some(format) => custom_format(at, format),
    }
}

fn custom_format(at: DateTime<Utc>, format: &str) -> String {
    const TOKENS: [(&str, &str); 12] = [
        ("yyyy", "%Y"),
        ("yy", "%y"),
        ("MMMM", "%B"),
        ("MMM", "%b"),
        ("MM", "%m"),
        ("dddd", "%A"),
        ("ddd", "%a"),
        ("dd", "%d"),
        ("HH", "%H"),
        ("mm", "%M"),
        ("ss", "%S"),
        ("fff", "%3f"),
    ];
    let mut rest = format;
    let mut pattern = String::new();
    while let Some(next) = rest.chars().next() {
        if let Some((token, replacement)) = TOKENS.iter().find(|(token, _)| rest.starts_with(token))
        {
            pattern.push_str(replacement);
            rest = rest.strip_prefix(token).unwrap_or_default();
        } else {
            match next {
                '\'' | '\\' => {}
                '%' => pattern.push_str("%%"),
                other => pattern.push(other),
            }
            rest = rest.strip_prefix(next).unwrap_or_default();
        }
    }
    at.format(&pattern).to_string()
}

/// 100-nanosecond steps since the year 1.
fn ticks(at: DateTime<Utc>) -> i64 {
    const UNIX_EPOCH: i64 = 621_355_968_000_000_000;
    UNIX_EPOCH + at.timestamp_micros().saturating_mul(10)
}

fn same(x: &Value, y: &Value) -> bool {
    match (x.as_f64(), y.as_f64()) {
        (Some(a), Some(b)) if x.as_i64().is_none() || y.as_i64().is_none() => {
            a.total_cmp(&b).is_eq()
        }
        _ => x == y,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

fn position(at: Option<usize>, text: &str) -> Value {
    at.and_then(|at| text.get(..at))
        .map_or(json!(-1), |before| json!(before.chars().count()))
}

/// The arguments of one call, with the language's own complaints.
struct Arguments<'a> {
    function: &'a str,
    values: &'a [Value],
}

impl<'a> Arguments<'a> {
    fn refuse(&self, why: impl Into<String>) -> ExpressionError {
        ExpressionError::arguments(self.function, why)
    }

    fn get(&self, index: usize) -> Result<&'a Value, ExpressionError> {
        self.values.get(index).ok_or_else(|| {
            self.refuse(format!("expects more than {} arguments", self.values.len()))
        })
    }

    fn two(&self) -> Result<(&'a Value, &'a Value), ExpressionError> {
        Ok((self.get(0)?, self.get(1)?))
    }

    fn bool(&self, index: usize) -> Result<bool, ExpressionError> {
        self.get(index)?
            .as_bool()
            .ok_or_else(|| self.refuse("expects booleans"))
    }

    fn all_bools(&self) -> Result<std::vec::IntoIter<bool>, ExpressionError> {
        let all = (0..self.values.len().max(1))
            .map(|index| self.bool(index))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(all.into_iter())
    }

    fn text(&self, index: usize) -> Result<&'a str, ExpressionError> {
        self.get(index)?
            .as_str()
            .ok_or_else(|| self.refuse(format!("expects a text as argument {}", index + 1)))
    }

    fn optional_text(&self, index: usize) -> Result<Option<&'a str>, ExpressionError> {
        if self.values.len() <= index {
            Ok(None)
        } else {
            self.text(index).map(Some)
        }
    }

    fn texts(&self, count: usize) -> Result<Vec<String>, ExpressionError> {
        (0..count)
            .map(|index| self.text(index).map(str::to_owned))
            .collect()
    }

    fn three_texts(&self) -> Result<[&'a str; 3], ExpressionError> {
        Ok([self.text(0)?, self.text(1)?, self.text(2)?])
    }

    /// The service compares beginnings and positions without regard to case.
    fn two_lower(&self) -> Result<(String, String), ExpressionError> {
        Ok((self.text(0)?.to_lowercase(), self.text(1)?.to_lowercase()))
    }

    fn number(&self, index: usize) -> Result<f64, ExpressionError> {
        let value = self.get(index)?;
        let number = value
            .as_f64()
            .or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
        number.ok_or_else(|| self.refuse("expects a number"))
    }

    fn count(&self, index: usize) -> Result<usize, ExpressionError> {
        self.get(index)?
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| self.refuse("expects a count"))
    }

    fn int(&self) -> Outcome {
        match self.get(0)? {
            Value::Number(number) if number.is_i64() || number.is_u64() => Ok(json!(number)),
            Value::String(text) => match text.trim().parse::<i64>() {
                Ok(number) => Ok(json!(number)),
                Err(_) => Err(self.refuse("cannot convert this text to an integer")),
            },
            Value::Number(number) => number
                .to_string()
                .split('.')
                .next()
                .and_then(|whole| whole.parse::<i64>().ok())
                .map_or_else(
                    || Err(self.refuse("cannot convert this number to an integer")),
                    |whole| Ok(json!(whole)),
                ),
            _ => Err(self.refuse("expects a text or a number")),
        }
    }

    fn to_bool(&self) -> Outcome {
        match self.get(0)? {
            Value::Bool(yes) => Ok(json!(yes)),
            Value::Number(number) => Ok(json!(number.as_f64() != Some(0.0))),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(json!(true)),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(json!(false)),
            _ => Err(self.refuse("expects something that can be true or false")),
        }
    }

    fn json(&self) -> Outcome {
        match self.get(0)? {
            Value::String(text) => serde_json::from_str(text)
                .map_err(|_| self.refuse("expects a text that holds JSON")),
            other => Ok(other.clone()),
        }
    }

    fn length(&self) -> Outcome {
        match self.get(0)? {
            Value::String(text) => Ok(json!(text.chars().count())),
            Value::Array(items) => Ok(json!(items.len())),
            _ => Err(self.refuse("expects an array or a text")),
        }
    }

    fn contains(&self) -> Outcome {
        match self.two()? {
            (Value::String(text), part) => Ok(json!(text.contains(&text_of(part)))),
            (Value::Array(items), item) => Ok(json!(items.iter().any(|each| same(each, item)))),
            (Value::Object(entries), key) => Ok(json!(entries.contains_key(&text_of(key)))),
            _ => Err(self.refuse("expects a text, an array or an object")),
        }
    }

    fn order(&self, x: &Value, y: &Value) -> Result<std::cmp::Ordering, ExpressionError> {
        match (x, y) {
            (Value::String(x), Value::String(y)) => Ok(x.cmp(y)),
            (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
                (Some(x), Some(y)) => Ok(x.cmp(&y)),
                _ => Ok(x
                    .as_f64()
                    .unwrap_or_default()
                    .total_cmp(&y.as_f64().unwrap_or_default())),
            },
            _ => Err(self.refuse("expects two numbers or two texts")),
        }
    }

    fn compare(&self, wanted: fn(std::cmp::Ordering) -> bool) -> Outcome {
        let (x, y) = self.two()?;
        Ok(json!(wanted(self.order(x, y)?)))
    }

    fn extreme(&self, better: fn(std::cmp::Ordering) -> bool) -> Outcome {
        let items = match self.values {
            [Value::Array(items)] => items.as_slice(),
            values => values,
        };
        let mut best = items
            .first()
            .ok_or_else(|| self.refuse("expects at least one number"))?;
        for item in items {
            if better(self.order(item, best)?) {
                best = item;
            }
        }
        Ok(best.clone())
    }

    fn arithmetic(&self, whole: fn(i64, i64) -> Option<i64>, real: fn(f64, f64) -> f64) -> Outcome {
        let (x, y) = self.two()?;
        match (x, y) {
            (Value::Number(m), Value::Number(n)) => match (m.as_i64(), n.as_i64()) {
                (Some(m), Some(n)) => whole(m, n)
                    .map(|n| json!(n))
                    .ok_or_else(|| self.refuse("overflows or divides by zero")),
                _ => Ok(json!(real(self.number(0)?, self.number(1)?))),
            },
            _ => Err(self.refuse("expects numbers")),
        }
    }

    fn end(
        &self,
        of_items: fn(&[Value]) -> Option<&Value>,
        of_text: fn(&str) -> Option<char>,
    ) -> Outcome {
        match self.get(0)? {
            Value::Array(items) => Ok(of_items(items).cloned().unwrap_or_default()),
            Value::String(text) => Ok(json!(of_text(text).map(String::from).unwrap_or_default())),
            _ => Err(self.refuse("expects an array or a text")),
        }
    }

    fn part(
        &self,
        of_items: fn(&[Value], usize) -> Vec<Value>,
        of_text: fn(&str, usize) -> String,
    ) -> Outcome {
        let count = self.count(1)?;
        match self.get(0)? {
            Value::Array(items) => Ok(json!(of_items(items, count))),
            Value::String(text) => Ok(json!(of_text(text, count))),
            _ => Err(self.refuse("expects an array or a text")),
        }
    }

    fn union(&self) -> Outcome {
        if self.values.iter().all(Value::is_object) {
            let entries = self.values.iter().filter_map(Value::as_object).flatten();
            return Ok(Value::Object(
                entries
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            ));
        }
        let mut all: Vec<Value> = Vec::new();
        for value in self.values {
            for item in value
                .as_array()
                .ok_or_else(|| self.refuse("expects arrays or objects"))?
            {
                if !all.iter().any(|each| same(each, item)) {
                    all.push(item.clone());
                }
            }
        }
        Ok(Value::Array(all))
    }

    fn intersection(&self) -> Outcome {
        let (Some(x), Some(y)) = (self.get(0)?.as_array(), self.get(1)?.as_array()) else {
            return Err(self.refuse("expects two arrays"));
        };
        Ok(Value::Array(
            x.iter()
                .filter(|item| y.iter().any(|each| same(each, item)))
                .cloned()
                .collect(),
        ))
    }

    fn join(&self) -> Outcome {
        let items = self
            .get(0)?
            .as_array()
            .ok_or_else(|| self.refuse("expects an array"))?;
        Ok(json!(
            items
                .iter()
                .map(text_of)
                .collect::<Vec<_>>()
                .join(self.text(1)?)
        ))
    }

    fn range(&self) -> Outcome {
        let start = self
            .get(0)?
            .as_i64()
            .ok_or_else(|| self.refuse("expects an integer"))?;
        let count = i64::try_from(self.count(1)?.min(100_000)).unwrap_or_default();
        Ok(json!(
            (start..start.saturating_add(count)).collect::<Vec<_>>()
        ))
    }

    fn substring(&self) -> Outcome {
        let text: Vec<char> = self.text(0)?.chars().collect();
        let start = self.count(1)?;
        let end = if self.values.len() > 2 {
            start.saturating_add(self.count(2)?)
        } else {
            text.len()
        };
        let part = text
            .get(start..end)
            .ok_or_else(|| self.refuse("reaches outside the text"))?;
        Ok(json!(part.iter().collect::<String>()))
    }

    fn object(&self) -> Result<Map<String, Value>, ExpressionError> {
        self.get(0)?
            .as_object()
            .cloned()
            .ok_or_else(|| self.refuse("expects an object"))
    }

    fn set_property(&self) -> Outcome {
        let mut object = self.object()?;
        object.insert(self.text(1)?.to_owned(), self.get(2)?.clone());
        Ok(Value::Object(object))
    }

    fn remove_property(&self) -> Outcome {
        let mut object = self.object()?;
        object.remove(self.text(1)?);
        Ok(Value::Object(object))
    }

    fn time(&self, index: usize) -> Result<DateTime<Utc>, ExpressionError> {
        let text = self.text(index)?;
        let parsed = DateTime::parse_from_rfc3339(text).map(|at| at.with_timezone(&Utc));
        parsed.map_err(|_| self.refuse("expects a time such as 2026-07-27T09:15:31Z"))
    }

    fn add_time(&self, unit: fn(i64) -> Option<TimeDelta>) -> Outcome {
        let amount = self
            .get(1)?
            .as_i64()
            .and_then(unit)
            .ok_or_else(|| self.refuse("expects an integer"))?;
        let at = self
            .time(0)?
            .checked_add_signed(amount)
            .ok_or_else(|| self.refuse("leaves the calendar"))?;
        Ok(json!(format_time(at, self.optional_text(2)?)))
    }
}

/// The time as workflows write it in headers of their history.
pub(super) fn history_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(function: &str, arguments: &Value) -> Value {
        call(&function.to_lowercase(), arguments.as_array().unwrap())
            .unwrap()
            .unwrap()
    }

    fn refused(function: &str, arguments: &Value) {
        assert!(
            call(&function.to_lowercase(), arguments.as_array().unwrap())
                .unwrap()
                .is_err(),
            "{function}{arguments}"
        );
    }

    #[test]
    fn functions_answer_as_the_reference_says() {
        for (function, arguments, wanted) in [
            ("concat", json!(["a", 1, null, true]), json!("a1True")),
            ("equals", json!([1, 1.0]), json!(true)),
            ("equals", json!(["A", "a"]), json!(false)),
            ("equals", json!([null, null]), json!(true)),
            ("and", json!([true, true, false]), json!(false)),
            ("or", json!([false, true]), json!(true)),
            ("not", json!([false]), json!(true)),
            ("if", json!([true, 1, 2]), json!(1)),
            ("if", json!([false, 1, null]), json!(null)),
            ("coalesce", json!([null, null, "x"]), json!("x")),
            ("coalesce", json!([null]), json!(null)),
            ("empty", json!([""]), json!(true)),
            ("empty", json!([null]), json!(true)),
            ("empty", json!([[0]]), json!(false)),
            ("length", json!(["äö"]), json!(2)),
            ("length", json!([[1, 2, 3]]), json!(3)),
            ("contains", json!([["a", "b"], "b"]), json!(true)),
            ("contains", json!(["abc", "B"]), json!(false)),
            ("contains", json!([{"k": 1}, "k"]), json!(true)),
            ("greater", json!([2, 1.5]), json!(true)),
            ("less", json!(["2026-01-01", "2026-01-02"]), json!(true)),
            (
                "greaterOrEquals",
                json!([9_007_199_254_740_993_i64, 9_007_199_254_740_993_i64]),
                json!(true),
            ),
            ("add", json!([1, 2]), json!(3)),
            ("sub", json!([1, 2]), json!(-1)),
            ("mul", json!([2, 1.5]), json!(3.0)),
            ("div", json!([7, 2]), json!(3)),
            ("mod", json!([7, 2]), json!(1)),
            ("min", json!([3, 1, 2]), json!(1)),
            ("max", json!([[3, 1, 2]]), json!(3)),
            (
                "int",
                json!(["998877665544332"]),
                json!(998_877_665_544_332_i64),
            ),
            ("int", json!([7.9]), json!(7)),
            ("bool", json!(["TRUE"]), json!(true)),
            ("string", json!([{"a": 1}]), json!("{\"a\":1}")),
            ("json", json!(["{\"a\":[1]}"]), json!({"a": [1]})),
            ("array", json!(["x"]), json!(["x"])),
            ("createArray", json!(["x", 1]), json!(["x", 1])),
            ("first", json!([[]]), json!(null)),
            ("first", json!(["ab"]), json!("a")),
            ("last", json!([[1, 2]]), json!(2)),
            ("take", json!([[1, 2, 3], 2]), json!([1, 2])),
            ("skip", json!(["abc", 1]), json!("bc")),
            ("union", json!([[1, 2], [2, 3]]), json!([1, 2, 3])),
            (
                "union",
                json!([{"a": 1}, {"a": 2, "b": 3}]),
                json!({"a": 2, "b": 3}),
            ),
            ("intersection", json!([[1, 2], [2, 3]]), json!([2])),
            ("join", json!([["a", 1], "-"]), json!("a-1")),
            ("split", json!(["a/b", "/"]), json!(["a", "b"])),
            ("range", json!([1, 3]), json!([1, 2, 3])),
            ("toLower", json!(["TimedOut"]), json!("timedout")),
            ("trim", json!([" x "]), json!("x")),
            ("replace", json!(["a+b", "+", "%2B"]), json!("a%2Bb")),
            ("substring", json!(["äbc", 1, 2]), json!("bc")),
            ("indexOf", json!(["Abc", "B"]), json!(1)),
            ("indexOf", json!(["abc", "x"]), json!(-1)),
            ("startsWith", json!(["HTTPS://x", "https://"]), json!(true)),
            ("endsWith", json!(["abc", "BC"]), json!(true)),
            (
                "encodeURIComponent",
                json!(["scheduled__2026-07-27T00:00:00+00:00"]),
                json!("scheduled__2026-07-27T00%3A00%3A00%2B00%3A00"),
            ),
            ("decodeUriComponent", json!(["a%20b"]), json!("a b")),
            ("base64", json!(["u:p"]), json!("dTpw")),
            ("base64ToString", json!(["dTpw"]), json!("u:p")),
            (
                "setProperty",
                json!([{"a": 1}, "b", 2]),
                json!({"a": 1, "b": 2}),
            ),
            ("removeProperty", json!([{"a": 1}, "a"]), json!({})),
            ("isInt", json!(["12"]), json!(true)),
            (
                "formatDateTime",
                json!(["2026-07-27T09:15:31.4471205Z", "yyyy-MM-dd HH:mm"]),
                json!("2026-07-27 09:15"),
            ),
            (
                "addMinutes",
                json!(["2026-07-27T09:15:31Z", -20]),
                json!("2026-07-27T08:55:31.0000000Z"),
            ),
            (
                "ticks",
                json!(["1970-01-01T00:00:00Z"]),
                json!(621_355_968_000_000_000_i64),
            ),
        ] {
            assert_eq!(ok(function, &arguments), wanted, "{function}{arguments}");
        }
    }

    #[test]
    fn arguments_that_cannot_work_are_refused() {
        refused("length", &json!([null]));
        refused("int", &json!(["x"]));
        refused("and", &json!(["true", true]));
        refused("add", &json!(["1", 2]));
        refused("div", &json!([1, 0]));
        refused("json", &json!(["{"]));
        refused("toLower", &json!([null]));
        refused("substring", &json!(["abc", 2, 5]));
        refused("formatDateTime", &json!(["27.7.2026"]));
        refused("if", &json!([true]));
        assert!(call("nosuch", &[]).is_none());
    }
}
