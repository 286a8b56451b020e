//! A body that was cut at the door's cap, closed again where that makes JSON of it.
//!
//! The guide's callback sends `str(exception)` whole, and an exception may hold a megabyte of rows. What was read names the
//! run, and the head of the exception: enough for a ticket, where refusing it would lose the failure.

use serde_json::Value;

/// The cut body with its text, arrays and objects closed; `None` where that is no JSON object.
pub fn completed(cut: &[u8]) -> Option<Vec<u8>> {
    let text = match std::str::from_utf8(cut) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(cut.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let open = Open::after(text);
    let as_it_is = open.close(text.get(..open.whole).unwrap_or(text));
    let without_the_last = || {
        let comma = open.comma?;
        Some(Open::after(text.get(..comma)?).close(text.get(..comma)?))
    };
    let object =
        |body: &String| serde_json::from_str::<Value>(body).is_ok_and(|value| value.is_object());
    Some(as_it_is)
        .filter(object)
        .or_else(|| without_the_last().filter(object))
        .map(String::into_bytes)
}

/// An escape that has just begun.
const ESCAPE: u32 = u32::MAX;

/// What is open at the end of a text.
struct Open {
    /// Closing brackets, innermost last.
    brackets: Vec<char>,
    in_text: bool,
    /// Up to here the text holds no half escape.
    whole: usize,
    /// The last comma between two members of the outermost object.
    comma: Option<usize>,
}

impl Open {
    fn after(text: &str) -> Self {
        let mut open = Self {
            brackets: Vec::new(),
            in_text: false,
            whole: text.len(),
            comma: None,
        };
        let mut escape: Option<(usize, u32)> = None;
        for (at, c) in text.char_indices() {
            if let Some((began, left)) = escape {
                // Behind the backslash one character, or `u` and four digits.
                let left = match left {
                    ESCAPE if c == 'u' => 4,
                    ESCAPE => 0,
                    left => left - 1,
                };
                escape = (left > 0).then_some((began, left));
                continue;
            }
            match c {
                '\\' if open.in_text => escape = Some((at, ESCAPE)),
                '"' => open.in_text = !open.in_text,
                _ if open.in_text => {}
                '{' => open.brackets.push('}'),
                '[' => open.brackets.push(']'),
                '}' | ']' => {
                    open.brackets.pop();
                }
                ',' if open.brackets.len() == 1 => open.comma = Some(at),
                _ => {}
            }
        }
        if let Some((began, _)) = escape {
            open.whole = began;
        }
        open
    }

    fn close(&self, text: &str) -> String {
        let mut whole = text.to_owned();
        if self.in_text {
            whole.push('"');
        }
        whole.extend(self.brackets.iter().rev());
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_cut_behind_the_names_still_names_the_run() {
        // The guide's order, and escapes as Python writes them.
        let text = r#"{"dag_id": "etl", "task_id": "load", "run_id": "r", "n": [1, {"a": "}\""}], "exception": "caf\u00e9 \u0007 \\ \"row\" \ud83d\ude00", "log_url": "http://a"}"#;
        let named = text.find("\"n\"").unwrap();
        for cut in named..text.len() {
            let bytes = text.as_bytes().get(..cut).unwrap();
            let whole = completed(bytes).unwrap_or_else(|| panic!("{}", text.get(..cut).unwrap()));
            let value: Value = serde_json::from_slice(&whole).unwrap();
            assert_eq!(value["run_id"], "r", "{value}");
        }
        assert_eq!(completed(b"[1,2"), None);
        assert_eq!(completed(b"dag_id=etl"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_json_or_nothing(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(whole) = completed(&body) {
                prop_assert!(serde_json::from_slice::<Value>(&whole).is_ok());
            }
        }
    }
}
