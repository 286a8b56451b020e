//! JSON as Newtonsoft reads and writes it: what a message looks like in the metadata depends on it.
//!
//! Pure. It reads what strict parsers refuse (trailing commas, comments, single quotes, bare names), keeps the order of
//! properties, takes texts that are ISO times for times, and writes as `JsonConvert.SerializeObject` does.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDateTime, Utc};

/// How deep the host follows.
const DEEPEST: usize = 64;
/// More digits than these are refused.
const LONGEST_INTEGER: usize = 380;

/// A value as Newtonsoft holds it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Null,
    Bool(bool),
    /// Its digits.
    Integer(String),
    /// The double, and its digits.
    Float(f64, String),
    Text(String),
    /// A text that is an ISO time, and that time in the host's zone (UTC).
    Time(String, NaiveDateTime),
    Array(Vec<Token>),
    /// In the order of first appearance; of two with one name the last value.
    Object(Vec<(String, Token)>),
}

/// Reads one object and nothing behind it but comments; `None` when Newtonsoft would not.
pub(super) fn object(text: &str) -> Option<Vec<(String, Token)>> {
    let mut parser = Parser { rest: text.chars() };
    parser.space()?;
    let Token::Object(properties) = parser.value(0)? else {
        return None;
    };
    parser.space()?;
    parser.rest.as_str().is_empty().then_some(properties)
}

struct Parser<'t> {
    rest: std::str::Chars<'t>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest.next();
        }
        found
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.rest = self.rest.as_str().strip_prefix(word)?.chars();
        Some(())
    }

    /// White space and comments; `None` for a comment without an end.
    fn space(&mut self) -> Option<()> {
        loop {
            while self.peek().is_some_and(char::is_whitespace) {
                self.rest.next();
            }
            let text = self.rest.as_str();
            if let Some(comment) = text.strip_prefix("/*") {
                self.rest = comment.split_once("*/")?.1.chars();
            } else if let Some(comment) = text.strip_prefix("//") {
                self.rest = comment
                    .split_once('\n')
                    .map_or("", |(_, rest)| rest)
                    .chars();
            } else {
                return Some(());
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Token> {
        if depth > DEEPEST {
            return None;
        }
        match self.peek()? {
            '{' => self.properties(depth),
            '[' => self.items(depth),
            quote @ ('"' | '\'') => {
                let text = self.text(quote)?;
                Some(match time(&text) {
                    Some(at) => Token::Time(text, at),
                    None => Token::Text(text),
                })
            }
            't' => self.word("true").map(|()| Token::Bool(true)),
            'f' => self.word("false").map(|()| Token::Bool(false)),
            'n' => self.word("null").map(|()| Token::Null),
            'u' => self.word("undefined").map(|()| Token::Null),
            _ => self.number(),
        }
    }

    fn properties(&mut self, depth: usize) -> Option<Token> {
        self.rest.next();
        let mut properties: Vec<(String, Token)> = Vec::new();
        loop {
            self.space()?;
            if self.take('}') {
                return Some(Token::Object(properties));
            }
            let name = match self.peek()? {
                quote @ ('"' | '\'') => self.text(quote)?,
                _ => self.bare_name()?,
            };
            self.space()?;
            if !self.take(':') {
                return None;
            }
            self.space()?;
            let value = self.value(depth + 1)?;
            match properties.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = value,
                None => properties.push((name, value)),
            }
            self.space()?;
            if !self.take(',') && self.peek() != Some('}') {
                return None;
            }
        }
    }

    fn items(&mut self, depth: usize) -> Option<Token> {
        self.rest.next();
        let mut items = Vec::new();
        loop {
            self.space()?;
            if self.take(']') {
                return Some(Token::Array(items));
            }
            items.push(self.value(depth + 1)?);
            self.space()?;
            if !self.take(',') && self.peek() != Some(']') {
                return None;
            }
        }
    }

    fn bare_name(&mut self) -> Option<String> {
        let text = self.rest.as_str();
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        let end = text.find(|c| !fits(c)).filter(|end| *end > 0)?;
        let (name, rest) = text.split_at(end);
        let name = name.to_owned();
        self.rest = rest.chars();
        Some(name)
    }

    /// Halves of surrogate pairs that stand alone become U+FFFD, as they do once they are written as UTF-8.
    fn text(&mut self, quote: char) -> Option<String> {
        self.rest.next();
        let mut units: Vec<u16> = Vec::new();
        loop {
            let c = self.rest.next()?;
            if c == quote {
                return Some(String::from_utf16_lossy(&units));
            }
            let c = if c == '\\' {
                match self.rest.next()? {
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'u' => {
                        let digits = self.rest.as_str().get(..4)?;
                        units.push(u16::from_str_radix(digits, 16).ok()?);
                        self.rest = self.rest.as_str().get(4..)?.chars();
                        continue;
                    }
                    plain @ ('"' | '\'' | '\\' | '/') => plain,
                    _ => return None,
                }
            } else {
                c
            };
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
    }

    fn number(&mut self) -> Option<Token> {
        let text = self.rest.as_str();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
        let end = text.find(|c| !fits(c)).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        let digits = digits.to_owned();
        self.rest = rest.chars();
        if let Some(bits) = in_another_base(&digits) {
            return int64(bits).map(Token::Integer);
        }
        let whole = digits.strip_prefix('-').unwrap_or(&digits);
        if !whole.is_empty() && whole.bytes().all(|b| b.is_ascii_digit()) {
            let sign = if whole.len() < digits.len() { "-" } else { "" };
            let value = match whole.trim_start_matches('0') {
                "" => "0".to_owned(),
                value => format!("{sign}{value}"),
            };
            return (digits.len() <= LONGEST_INTEGER).then_some(Token::Integer(value));
        }
        let number: f64 = digits
            .parse()
            .ok()
            .filter(|_| whole.starts_with(|c: char| c.is_ascii_digit() || c == '.'))?;
        Some(Token::Float(number, digits))
    }
}

/// What stands behind the zero of a number that Newtonsoft takes for octal or hexadecimal
/// (`JsonTextReader.ParseReadNumber`).
fn in_another_base(digits: &str) -> Option<&str> {
    let rest = digits.strip_prefix('0')?;
    (!rest.is_empty() && !rest.starts_with(['.', 'e', 'E'])).then_some(rest)
}

/// The bits of an Int64: hexadecimal behind an `x`, else octal. `None` is a number that is refused.
fn int64(digits: &str) -> Option<String> {
    let (digits, base) = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (digits, 8),
    };
    let bits = u64::from_str_radix(digits, base).ok()?;
    (!digits.starts_with('+')).then(|| bits.cast_signed().to_string())
}

/// `yyyy-MM-ddTHH:mm:ss`, perhaps with a fraction and a zone.
fn time(text: &str) -> Option<NaiveDateTime> {
    let shaped = (19..=40).contains(&text.len())
        && text.as_bytes().get(10) == Some(&b'T')
        && text.starts_with(|first: char| first.is_ascii_digit());
    if !shaped {
        return None;
    }
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => Some(at.with_timezone(&Utc).naive_utc()),
        Err(_) => NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok(),
    }
}

impl Token {
    /// `ToString()`: how a scalar is written. `None` for what is no scalar.
    pub(super) fn told(&self) -> Option<String> {
        Some(match self {
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Integer(digits) => digits.clone(),
            Self::Float(number, _) => double(*number),
            Self::Text(text) => text.clone(),
            // The invariant culture, the fraction lost.
            Self::Time(_, at) => at.format("%m/%d/%Y %H:%M:%S").to_string(),
            Self::Null | Self::Array(_) | Self::Object(_) => return None,
        })
    }

    /// As JSON again.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Self::Integer(digits) => out.push_str(digits),
            Self::Float(number, _) if number.is_infinite() => write_text(&double(*number), out),
            Self::Float(number, _) => {
                let text = double(*number);
                out.push_str(&text);
                if !text.contains(['.', 'E']) {
                    out.push_str(".0");
                }
            }
            Self::Text(text) | Self::Time(text, _) => write_text(text, out),
            Self::Array(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(properties) => {
                out.push('{');
                for (number, (name, value)) in properties.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    write_text(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// The shortest digits that give the number back, as .NET writes them.
fn double(number: f64) -> String {
    if number.is_infinite() {
        let sign = if number < 0.0 { "-" } else { "" };
        return format!("{sign}Infinity");
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-5..1e15).contains(&magnitude) {
        let text = format!("{number:E}");
        let (digits, exponent) = text.split_once('E').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or_default();
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}E{sign}{:02}", exponent.abs());
    }
    format!("{number}")
}

/// A text as a JSON string.
pub(super) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// A text as JSON inside a JSON string: how the host tells every scalar.
pub(super) fn write_twice(text: &str, out: &mut String) {
    let mut once = String::new();
    write_text(text, &mut once);
    write_text(&once, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strict_parsers_refuse_is_read() {
        let names = |text: &str| {
            object(text).map(|properties| {
                let told = |(name, token): (String, Token)| {
                    format!("{name}={}", token.told().unwrap_or_default())
                };
                properties
                    .into_iter()
                    .map(told)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
        };
        for (text, read) in [
            (r#"{"a":1,}"#, "a=1"),
            ("{\"a\":1/*c*/} // d", "a=1"),
            (" {'a':'b', c:true}\n ", "a=b c=True"),
            (r#"{"a":1,"A":2,"a":3}"#, "a=3 A=2"),
            (
                r#"{"a":1e3,"b":1.0,"c":1.5,"d":12345678901234567890,"e":1e20,"f":1e-7}"#,
                "a=1000 b=1 c=1.5 d=12345678901234567890 e=1E+20 f=1E-07",
            ),
            (
                r#"{"a":"2026-01-02T03:04:05.678+02:00","b":"2026-01-02T03:04:05","c":"2026-01-02"}"#,
                "a=01/02/2026 01:04:05 b=01/02/2026 03:04:05 c=2026-01-02",
            ),
            (
                r#"{"a":0017,"b":0x1F,"c":0XffffffffffffffFF,"d":-007,"e":-0,"f":0,"g":0.5}"#,
                "a=15 b=31 c=-1 d=-7 e=0 f=0 g=0.5",
            ),
            (r#"{"a":1e999,"b":-1e999}"#, "a=Infinity b=-Infinity"),
            (r#"{"a":"\ud83d\ude00\ud800"}"#, "a=😀\u{fffd}"),
            (r#"{"a":null,"b":[1],"c":{}}"#, "a= b= c="),
        ] {
            assert_eq!(names(text).as_deref(), Some(read), "{text}");
        }
        for text in [
            "",
            "[]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{}x",
            "{\"a\":1 /*",
            "{\"a\":bad}",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":000001194417682}",
            "{\"a\":0x}",
            "{\"a\":0x+1}",
            "{\"a\":08.5}",
        ] {
            assert_eq!(object(text), None, "{text}");
        }
        let long = format!("{{\"a\":{}}}", "1".repeat(381));
        assert_eq!(object(&long), None);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(object(&deep), None);
    }

    #[test]
    fn objects_are_written_as_they_were() {
        let text = r#"{"when":"2026-01-02T03:04:05Z","n":1.0,"s":"\u0000","x":[1,null,true],"e":1e3,"o":010,"i":-1e999}"#;
        let mut out = String::new();
        Token::Object(object(text).unwrap()).write(&mut out);
        assert_eq!(
            out,
            r#"{"when":"2026-01-02T03:04:05Z","n":1.0,"s":"\u0000","x":[1,null,true],"e":1000.0,"o":8,"i":"-Infinity"}"#
        );
    }
}
