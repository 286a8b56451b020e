//! Our own words: the sentences that stand where a report carries no error text.
//!
//! They are for people. Nothing in them says what went wrong, but names of pipelines and alert rules stand in
//! them, so `diagnosis` must never read them: [`recognise`] knows each of them again, wherever it comes from.

const NO_ALERT_TEXT: &str = "; the alert carries no error text.";
const NO_REPORT_TEXT: &str = "; the report carries no error text.";
const NO_CALLBACK_TEXT: &str = "; the callback carried no exception text.";
const BY_RULE: &str = " reported by alert rule ";
const WHICH: &str = "; which runs they are could not be found out: ";

/// A failed pipeline or activity whose alert carries no text.
pub fn untold_by_alert(what: &str, code: Option<&str>) -> String {
    format!("{what} failed{}{NO_ALERT_TEXT}", with(code, "error code "))
}

/// A failed run whose report carries no text.
pub fn untold_by_report(what: &str, code: Option<&str>) -> String {
    format!("{what} failed{}{NO_REPORT_TEXT}", with(code, ""))
}

/// A failed task or DAG whose callback carries no exception.
pub fn untold_by_callback(what: &str) -> String {
    format!("{what} failed{NO_CALLBACK_TEXT}")
}

/// Failed runs that nobody could name.
pub fn nameless(count: Option<u64>, what: &str, rule: Option<&str>, why: &str) -> String {
    let count = count.map_or_else(|| "At least one".to_owned(), |count| count.to_string());
    let rule = rule.unwrap_or("an alert rule without a name");
    format!("{count} failed {what}(s){BY_RULE}{rule}{WHICH}{why}")
}

fn with(code: Option<&str>, word: &str) -> String {
    code.map(|code| format!(" with {word}{code}"))
        .unwrap_or_default()
}

/// What one of our own sentences says about the cause; `None` for anybody else's words.
pub fn recognise(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let ends = |mark: &str| {
        text.strip_suffix(mark)
            .is_some_and(|head| head.contains(" failed") && !head.contains('\n'))
    };
    if ends(NO_ALERT_TEXT) {
        return Some("the alert carries no error text");
    }
    if ends(NO_REPORT_TEXT) {
        return Some("the report carries no error text");
    }
    if ends(NO_CALLBACK_TEXT) {
        return Some("the callback carried no exception text");
    }
    let counted = text
        .strip_prefix("At least one")
        .unwrap_or_else(|| text.trim_start_matches(|c: char| c.is_ascii_digit()));
    let nameless = counted.len() < text.len()
        && counted.starts_with(" failed ")
        && counted.contains(BY_RULE)
        && counted.contains(WHICH.trim_end());
    nameless.then_some("the runs behind the alert could not be named")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_sentence_of_ours_is_known_again(name in "[^\\n\\r]{1,40}", code in prop::option::of("[A-Za-z0-9]{1,12}"), count in prop::option::of(any::<u64>())) {
            let code = code.as_deref();
            for sentence in [
                untold_by_alert(&format!("Pipeline {name}"), code),
                untold_by_report(&format!("Run 1 of Databricks job {name}"), code),
                untold_by_callback(&format!("Airflow task {name}")),
                nameless(count, "pipeline run", Some(&name), "no rows were found"),
                nameless(count, "cluster", None, &name),
            ] {
                prop_assert!(recognise(&sentence).is_some(), "{sentence}");
            }
        }
    }

    #[test]
    fn words_of_others_are_not_ours() {
        for text in [
            "",
            "KeyError: 'country'",
            "Activity Copy failed: the alert carries no weight",
            "3 failed rows",
            "Activity A failed; the alert carries no error text.\nKeyError: 'x'",
        ] {
            assert_eq!(recognise(text), None, "{text}");
        }
    }
}
