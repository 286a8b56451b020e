//! Actions that need nobody else: waiting, answering, lists, JSON, variables.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::engine::{Engine, Outcome, Stop};
use super::expression::{self, ExpressionError};
use super::history::RunStatus;
use super::{functions, schema};
use crate::Answer;

impl Engine {
    pub(super) async fn wait(&mut self, inputs: &Value) -> Result<Outcome, Stop> {
        let inputs = self.evaluate(inputs)?;
        let wrong = || {
            ExpressionError::arguments(
                "Wait",
                "needs interval.count and interval.unit, or until.timestamp",
            )
        };
        let time = if let Some(until) = inputs.pointer("/until/timestamp").and_then(Value::as_str) {
            let until = DateTime::parse_from_rfc3339(until).map_err(|_| wrong())?;
            (until.with_timezone(&Utc) - self.now()).max(TimeDelta::zero())
        } else {
            let count = inputs
                .pointer("/interval/count")
                .and_then(Value::as_i64)
                .ok_or_else(wrong)?;
            let unit = inputs
                .pointer("/interval/unit")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_lowercase();
            let time = match unit.as_str() {
                "second" => TimeDelta::try_seconds(count),
                "minute" => TimeDelta::try_minutes(count),
                "hour" => TimeDelta::try_hours(count),
                "day" => TimeDelta::try_days(count),
                _ => None,
            };
            time.ok_or_else(wrong)?
        };
        self.pass(time).await;
        Ok(Outcome::done(inputs, Value::Null))
    }

    pub(super) fn terminate(&self, inputs: &Value) -> Result<Outcome, Stop> {
        let inputs = self.evaluate(inputs)?;
        let status = match inputs.get("runStatus").and_then(Value::as_str) {
            Some("Succeeded") => RunStatus::Succeeded,
            Some("Cancelled") => RunStatus::Cancelled,
            _ => RunStatus::Failed,
        };
        Err(Stop::Terminate(status, Outcome::done(inputs, Value::Null)))
    }

    pub(super) fn response(&mut self, inputs: &Value) -> Result<Outcome, Stop> {
        let inputs = self.evaluate(inputs)?;
        let status = inputs
            .get("statusCode")
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok())
            .unwrap_or(200);
        let body = inputs.get("body").cloned().unwrap_or_default();
        let mut answer = match &body {
            Value::Null => Answer::empty(status),
            Value::String(text) => Answer::text(status, text.clone()),
            other => Answer::json(status, other),
        };
        for (name, value) in inputs
            .get("headers")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            answer = answer.with_header(name, &functions::text_of(value));
        }
        if let Some(respond) = self.respond.take() {
            let _nobody_waits_any_more = respond.send(answer);
        }
        Ok(Outcome::done(inputs.clone(), inputs))
    }

    fn list(&self, inputs: &Value) -> Result<Vec<Value>, ExpressionError> {
        let from = self.evaluate(inputs.get("from").unwrap_or(&Value::Null))?;
        from.as_array()
            .cloned()
            .ok_or_else(|| ExpressionError::arguments("from", "expects an array"))
    }

    pub(super) fn query(&mut self, inputs: &Value) -> Result<Outcome, Stop> {
        let mut kept = Vec::new();
        for item in self.list(inputs)? {
            self.items.push((String::new(), item.clone()));
            let keep = self.condition(inputs.get("where").unwrap_or(&Value::Null));
            self.items.pop();
            if keep? {
                kept.push(item);
            }
        }
        Ok(Outcome::done(Value::Null, json!({"body": kept})))
    }

    pub(super) fn select(&mut self, inputs: &Value) -> Result<Outcome, Stop> {
        let mut made = Vec::new();
        for item in self.list(inputs)? {
            self.items.push((String::new(), item));
            let value = self.evaluate(inputs.get("select").unwrap_or(&Value::Null));
            self.items.pop();
            made.push(value?);
        }
        Ok(Outcome::done(Value::Null, json!({"body": made})))
    }

    pub(super) fn parse_json(&self, inputs: &Value) -> Result<Outcome, Stop> {
        let content = self.evaluate(inputs.get("content").unwrap_or(&Value::Null))?;
        let parsed = match &content {
            Value::String(text) => serde_json::from_str(text).map_err(|_| {
                ExpressionError::arguments("ParseJson", "was given a text that is not JSON")
            })?,
            other => other.clone(),
        };
        if let Some(why) = schema::mismatch(inputs.get("schema").unwrap_or(&Value::Null), &parsed) {
            return Ok(Outcome::failed(content, "ParseJsonFailed", why));
        }
        Ok(Outcome::done(content, json!({"body": parsed})))
    }

    pub(super) fn variable(&mut self, kind: &str, inputs: &Value) -> Result<Outcome, Stop> {
        let source = if kind == "InitializeVariable" {
            inputs.pointer("/variables/0").unwrap_or(inputs)
        } else {
            inputs
        };
        let evaluated = self.evaluate(source)?;
        let name = evaluated
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let given = evaluated.get("value").cloned().unwrap_or_default();
        let (type_name, value) = if kind == "InitializeVariable" {
            let type_name = evaluated
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let initial = if given.is_null() {
                nothing(&type_name)
            } else {
                given
            };
            (type_name, initial)
        } else {
            let (type_name, old) = self.variables.get(&name).cloned().unwrap_or_default();
            let by = if given.is_null() {
                json!(1)
            } else {
                given.clone()
            };
            let new = match kind {
                "IncrementVariable" => expression::call("add", &[old, by], self)?,
                "DecrementVariable" => expression::call("sub", &[old, by], self)?,
                "AppendToStringVariable" => expression::call("concat", &[old, given], self)?,
                "AppendToArrayVariable" => Value::Array(
                    old.as_array()
                        .cloned()
                        .unwrap_or_default()
                        .into_iter()
                        .chain([given])
                        .collect(),
                ),
                _ => given,
            };
            (type_name, new)
        };
        if !fits(&type_name, &value) {
            return Err(ExpressionError::arguments(
                kind,
                format!("cannot put this value into a variable of type '{type_name}'"),
            )
            .into());
        }
        self.variables.insert(name, (type_name, value.clone()));
        Ok(Outcome::done(evaluated, json!({"body": {"value": value}})))
    }
}

fn nothing(type_name: &str) -> Value {
    match type_name {
        "integer" => json!(0),
        "float" => json!(0.0),
        "boolean" => json!(false),
        "array" => json!([]),
        "object" => json!({}),
        _ => json!(""),
    }
}

fn fits(type_name: &str, value: &Value) -> bool {
    match type_name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}

/// An ISO 8601 duration such as `PT30S`, `PT1H30M`, `P1D`.
pub(super) fn duration(text: &str) -> Option<TimeDelta> {
    let mut seconds: i64 = 0;
    let mut number = String::new();
    let mut in_time = false;
    for c in text.strip_prefix('P')?.chars() {
        let unit = match c {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            'T' if number.is_empty() => {
                in_time = true;
                continue;
            }
            'D' => 86_400,
            'H' if in_time => 3_600,
            'M' if in_time => 60,
            'S' if in_time => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(
            std::mem::take(&mut number)
                .parse::<i64>()
                .ok()?
                .checked_mul(unit)?,
        )?;
    }
    number
        .is_empty()
        .then(|| TimeDelta::try_seconds(seconds))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_iso_8601() {
        for (text, seconds) in [
            ("PT30S", Some(30)),
            ("PT1H30M", Some(5400)),
            ("P1DT1S", Some(86_401)),
            ("1H", None),
            ("P1M", None),
            ("PT5", None),
        ] {
            assert_eq!(
                duration(text).map(|time| time.num_seconds()),
                seconds,
                "{text}"
            );
        }
    }
}
