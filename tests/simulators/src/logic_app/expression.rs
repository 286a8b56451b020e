//! The expression language of workflow definitions: `@triggerBody()?['x']`, `@{…}` inside text.
//!
//! In: JSON of a definition and a [`Scope`] that knows this run's names. Out: JSON with every expression
//! replaced by its value, or an [`ExpressionError`] as the service would report it at run time. Like the
//! service, it evaluates *all* arguments of `if`, `and` and `or`, so that a definition that works here
//! does not depend on short-circuiting. It does not know actions or runs.

use serde_json::{Map, Value};

use super::functions;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It cannot be read.
    #[error("the expression is not valid at character {at}: {why}")]
    Syntax {
        /// Counted from 0.
        at: usize,
        /// What was expected.
        why: String,
    },
    /// The language has no such function (or this simulator does not have it yet: then add it).
    #[error("the template function '{0}' is not defined or not valid")]
    UnknownFunction(String),
    /// A function cannot work on these arguments.
    #[error("the template function '{function}' {why}")]
    Arguments {
        /// The function.
        function: String,
        /// What is wrong.
        why: String,
    },
    /// A property was selected that is not there, without `?`.
    #[error("the property '{0}' doesn't exist; use '?' to allow it to be absent")]
    MissingProperty(String),
    /// A name of this run (action, variable, parameter) that does not exist.
    #[error("the {kind} '{name}' is not defined in the template")]
    UnknownName {
        /// `action`, `variable`, `parameter`.
        kind: &'static str,
        /// The name.
        name: String,
    },
}

impl ExpressionError {
    pub(super) fn arguments(function: &str, why: impl Into<String>) -> Self {
        Self::Arguments {
            function: function.to_owned(),
            why: why.into(),
        }
    }
}

/// What functions that depend on the run can see: `triggerBody`, `body`, `variables`, `utcNow` …
pub(super) trait Scope {
    /// `None` when the run has no function of this (lower-case) name.
    fn call(&self, function: &str, arguments: &[Value]) -> Option<Result<Value, ExpressionError>>;
}

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Literal(Value),
    Call {
        function: String,
        arguments: Vec<Expression>,
    },
    Member {
        of: Box<Expression>,
        key: Box<Expression>,
        safe: bool,
    },
}

/// Replaces every expression in `template` by its value.
pub(super) fn evaluate(template: &Value, scope: &dyn Scope) -> Result<Value, ExpressionError> {
    Ok(match template {
        Value::String(text) => match Text::parse(text)? {
            Text::Plain(text) => Value::String(text),
            Text::Whole(expression) => expression.value(scope)?,
            Text::Mixed(pieces) => Value::String(interpolate(&pieces, scope)?),
        },
        Value::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| evaluate(item, scope))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let key = evaluate(&Value::String(key.clone()), scope)?;
                object.insert(functions::text_of(&key), evaluate(value, scope)?);
            }
            Value::Object(object)
        }
        other => other.clone(),
    })
}

/// Every expression in `template`, for the checks that the service makes when a definition is saved.
pub(super) fn expressions(template: &Value) -> Result<Vec<Expression>, ExpressionError> {
    let mut found = Vec::new();
    collect(template, &mut found)?;
    Ok(found)
}

fn collect(template: &Value, found: &mut Vec<Expression>) -> Result<(), ExpressionError> {
    match template {
        Value::String(text) => match Text::parse(text)? {
            Text::Plain(_) => {}
            Text::Whole(expression) => found.push(expression),
            Text::Mixed(pieces) => {
                found.extend(pieces.into_iter().filter_map(|piece| match piece {
                    Piece::Text(_) => None,
                    Piece::Expression(expression) => Some(expression),
                }));
            }
        },
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, found))?,
        Value::Object(entries) => {
            for (key, value) in entries {
                collect(&Value::String(key.clone()), found)?;
                collect(value, found)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn interpolate(pieces: &[Piece], scope: &dyn Scope) -> Result<String, ExpressionError> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(plain) => text.push_str(plain),
            Piece::Expression(expression) => {
                text.push_str(&functions::text_of(&expression.value(scope)?));
            }
        }
    }
    Ok(text)
}

impl Expression {
    pub(super) fn value(&self, scope: &dyn Scope) -> Result<Value, ExpressionError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Call {
                function,
                arguments,
            } => {
                let arguments = arguments
                    .iter()
                    .map(|argument| argument.value(scope))
                    .collect::<Result<Vec<_>, _>>()?;
                call(function, &arguments, scope)
            }
            Self::Member { of, key, safe } => member(&of.value(scope)?, &key.value(scope)?, *safe),
        }
    }

    /// Visits this expression and all inside it.
    pub(super) fn visit(&self, visitor: &mut dyn FnMut(&Self)) {
        visitor(self);
        match self {
            Self::Literal(_) => {}
            Self::Call { arguments, .. } => arguments
                .iter()
                .for_each(|argument| argument.visit(visitor)),
            Self::Member { of, key, .. } => {
                of.visit(visitor);
                key.visit(visitor);
            }
        }
    }
}

/// Calls a function by its name in any case.
pub(super) fn call(
    function: &str,
    arguments: &[Value],
    scope: &dyn Scope,
) -> Result<Value, ExpressionError> {
    let lower = function.to_lowercase();
    scope
        .call(&lower, arguments)
        .or_else(|| functions::call(&lower, arguments))
        .unwrap_or_else(|| Err(ExpressionError::UnknownFunction(function.to_owned())))
}

/// Does the language as we know it have this function?
pub(super) fn is_known(function: &str, scope: &dyn Scope) -> bool {
    !matches!(
        call(function, &[], scope),
        Err(ExpressionError::UnknownFunction(_))
    )
}

fn member(of: &Value, key: &Value, safe: bool) -> Result<Value, ExpressionError> {
    let found = match (of, key) {
        (Value::Object(object), Value::String(name)) => object.get(name).or_else(|| {
            // Property names are compared without regard to case when no exact one is there.
            object
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        }),
        (Value::Array(items), Value::Number(index)) => index
            .as_u64()
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| items.get(index)),
        (Value::Null, _) if safe => return Ok(Value::Null),
        _ => return Err(ExpressionError::MissingProperty(functions::text_of(key))),
    };
    match found {
        Some(value) => Ok(value.clone()),
        None if safe => Ok(Value::Null),
        None => Err(ExpressionError::MissingProperty(functions::text_of(key))),
    }
}

/// What a JSON string of a definition is.
#[derive(Debug, PartialEq)]
enum Text {
    Plain(String),
    Whole(Expression),
    Mixed(Vec<Piece>),
}

#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Expression(Expression),
}

impl Text {
    fn parse(text: &str) -> Result<Self, ExpressionError> {
        if let Some(rest) = text.strip_prefix("@@") {
            return Ok(Self::Plain(format!("@{rest}")));
        }
        if text.starts_with('@') && !text.starts_with("@{") {
            let mut reader = Reader::new(text, 1);
            let expression = reader.expression()?;
            return if reader.at_end() {
                Ok(Self::Whole(expression))
            } else {
                Err(reader.expected("the end of the expression"))
            };
        }
        if !text.contains("@{") {
            return Ok(Self::Plain(text.to_owned()));
        }
        let mut reader = Reader::new(text, 0);
        let mut pieces = Vec::new();
        let mut plain = String::new();
        while let Some(next) = reader.peek() {
            if reader.take("@@{") {
                plain.push_str("@{");
            } else if reader.take("@{") {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(Piece::Expression(reader.expression()?));
                reader.expect('}')?;
            } else {
                plain.push(next);
                reader.at += 1;
            }
        }
        pieces.push(Piece::Text(plain));
        Ok(Self::Mixed(pieces))
    }
}

/// A recursive-descent reader over the characters of one string.
struct Reader {
    text: Vec<char>,
    at: usize,
    depth: u32,
}

/// Deeper nesting is refused: a definition is read from a file, but it may be anybody's.
const DEPTH: u32 = 64;

impl Reader {
    fn new(text: &str, at: usize) -> Self {
        Self {
            text: text.chars().collect(),
            at,
            depth: 0,
        }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.peek().is_none()
    }

    fn take(&mut self, token: &str) -> bool {
        let here = token
            .chars()
            .enumerate()
            .all(|(offset, wanted)| self.text.get(self.at + offset) == Some(&wanted));
        if here {
            self.at += token.chars().count();
        }
        here
    }

    fn expect(&mut self, wanted: char) -> Result<(), ExpressionError> {
        self.skip_space();
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(self.expected(&format!("'{wanted}'")))
    }

    fn expected(&self, what: &str) -> ExpressionError {
        ExpressionError::Syntax {
            at: self.at,
            why: format!("expected {what}"),
        }
    }

    fn expression(&mut self) -> Result<Expression, ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.expected("less nesting"));
        }
        self.skip_space();
        let mut expression = match self.peek() {
            Some('\'') => Expression::Literal(Value::String(self.quoted()?)),
            Some(c) if c.is_ascii_digit() || c == '-' => Expression::Literal(self.number()?),
            Some(c) if c.is_ascii_alphabetic() => self.name()?,
            _ => return Err(self.expected("a function, a number or a quoted text")),
        };
        loop {
            self.skip_space();
            let start = self.at;
            let safe = self.take("?");
            if self.take("[") {
                let key = self.expression()?;
                self.expect(']')?;
                expression = Expression::Member {
                    of: Box::new(expression),
                    key: Box::new(key),
                    safe,
                };
            } else if self.take(".") {
                let key = Expression::Literal(Value::String(self.word()));
                expression = Expression::Member {
                    of: Box::new(expression),
                    key: Box::new(key),
                    safe,
                };
            } else if safe {
                self.at = start;
                return Err(self.expected("'[' or '.' after '?'"));
            } else {
                self.depth -= 1;
                return Ok(expression);
            }
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self
            .peek()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            word.push(c);
            self.at += 1;
        }
        word
    }

    fn name(&mut self) -> Result<Expression, ExpressionError> {
        let word = self.word();
        self.skip_space();
        if self.peek() != Some('(') {
            return match word.as_str() {
                "true" => Ok(Expression::Literal(Value::Bool(true))),
                "false" => Ok(Expression::Literal(Value::Bool(false))),
                "null" => Ok(Expression::Literal(Value::Null)),
                _ => Err(self.expected(&format!("'(' after '{word}'"))),
            };
        }
        self.at += 1;
        let mut arguments = Vec::new();
        self.skip_space();
        if self.peek() == Some(')') {
            self.at += 1;
            return Ok(Expression::Call {
                function: word,
                arguments,
            });
        }
        loop {
            arguments.push(self.expression()?);
            self.skip_space();
            match self.peek() {
                Some(',') => self.at += 1,
                Some(')') => {
                    self.at += 1;
                    return Ok(Expression::Call {
                        function: word,
                        arguments,
                    });
                }
                _ => return Err(self.expected("',' or ')'")),
            }
        }
    }

    fn quoted(&mut self) -> Result<String, ExpressionError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            if self.take("''") {
                text.push('\'');
                continue;
            }
            match self.peek() {
                None => return Err(self.expected("a closing quote")),
                Some('\'') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
    }

    fn number(&mut self) -> Result<Value, ExpressionError> {
        let mut digits = String::new();
        while let Some(c) = self
            .peek()
            .filter(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'))
        {
            digits.push(c);
            self.at += 1;
        }
        serde_json::from_str(&digits).map_err(|_| self.expected("a number"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Fixed;

    impl Scope for Fixed {
        fn call(
            &self,
            function: &str,
            _arguments: &[Value],
        ) -> Option<Result<Value, ExpressionError>> {
            (function == "triggerbody").then(|| {
                Ok(json!({"id": 998_877_665_544_332_i64, "name": "o'neil", "tags": ["a", "b"], "none": null, "deep": {"Key": 1}}))
            })
        }
    }

    fn eval(template: &Value) -> Result<Value, ExpressionError> {
        evaluate(template, &Fixed)
    }

    #[test]
    fn a_whole_expression_keeps_its_type_and_an_interpolated_one_becomes_text() {
        assert_eq!(
            eval(&json!("@triggerBody()?['id']")).unwrap(),
            json!(998_877_665_544_332_i64)
        );
        assert_eq!(
            eval(&json!("@{triggerBody()?['id']}")).unwrap(),
            json!("998877665544332")
        );
        assert_eq!(
            eval(&json!(
                "run @{triggerBody().id} of @{triggerBody()?['name']}"
            ))
            .unwrap(),
            json!("run 998877665544332 of o'neil")
        );
        assert_eq!(
            eval(&json!("a@{triggerBody()?['none']}b@{equals(1, 1)}")).unwrap(),
            json!("abTrue")
        );
        assert_eq!(
            eval(&json!({"@{concat('k','1')}": ["@add(1, 2)"]})).unwrap(),
            json!({"k1": [3]})
        );
        assert_eq!(
            eval(&json!("@{triggerBody()?['tags']}")).unwrap(),
            json!("[\"a\",\"b\"]")
        );
    }

    #[test]
    fn signs_are_escaped_by_doubling() {
        assert_eq!(
            eval(&json!("@@triggerBody()")).unwrap(),
            json!("@triggerBody()")
        );
        assert_eq!(eval(&json!("mail a@b.c")).unwrap(), json!("mail a@b.c"));
        assert_eq!(eval(&json!("x @@{y} @{1}")).unwrap(), json!("x @{y} 1"));
        assert_eq!(
            eval(&json!("@concat('it''s', ' }')")).unwrap(),
            json!("it's }")
        );
        assert_eq!(
            eval(&json!("<@{concat('}', '{')}>")).unwrap(),
            json!("<}{>")
        );
    }

    #[test]
    fn absent_properties_need_the_question_mark() {
        assert_eq!(
            eval(&json!("@triggerBody()?['x']?['y']")).unwrap(),
            Value::Null
        );
        assert_eq!(eval(&json!("@triggerBody()?.deep?.key")).unwrap(), json!(1));
        assert_eq!(
            eval(&json!("@triggerBody()['tags'][1]")).unwrap(),
            json!("b")
        );
        assert_eq!(
            eval(&json!("@triggerBody()?['tags']?[7]")).unwrap(),
            Value::Null
        );
        assert_eq!(
            eval(&json!("@triggerBody()['x']")).unwrap_err(),
            ExpressionError::MissingProperty("x".into())
        );
        assert_eq!(
            eval(&json!("@triggerBody()?['x']['y']")).unwrap_err(),
            ExpressionError::MissingProperty("y".into())
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_says_where() {
        assert_eq!(
            eval(&json!("@nope(1)")).unwrap_err(),
            ExpressionError::UnknownFunction("nope".into())
        );
        for (bad, at) in [
            ("@concat('a'", 11),
            ("@concat('a", 10),
            ("@", 1),
            ("@foo", 4),
            ("@add(1,,2)", 7),
            ("@{add(1,2)", 10),
            ("@add(1,2) x", 10),
        ] {
            assert!(
                matches!(eval(&json!(bad)).unwrap_err(), ExpressionError::Syntax { at: found, .. } if found == at),
                "{bad}"
            );
        }
        let deep = format!("@{}1{}", "not(".repeat(100), ")".repeat(100));
        assert!(matches!(
            eval(&json!(deep)).unwrap_err(),
            ExpressionError::Syntax { .. }
        ));
    }
}
