//! Which exception was raised, read from text as Python and the JVM print it: `package.SomeError: why`.

use std::sync::LazyLock;

use regex::Regex;

/// The class, without its module, that a line raises.
pub fn class_in(line: &str) -> Option<&str> {
    static RAISED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"^(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Exit|Interrupt|Timeout|Exceeded|Failed|Failure|NotFound|Warning))(?:\(|:?\s|:?$)")
            .ok()
    });
    Some(RAISED.as_ref()?.captures(line)?.get(1)?.as_str())
}

/// The class in the last line that raises one, with that line: it ended the run.
pub fn last(log: &str) -> Option<(&str, &str)> {
    log.lines()
        .rev()
        .map(str::trim_end)
        .filter(|line| !is_prose(line))
        .find_map(|line| Some((class_in(line)?, line)))
}

/// `TimeoutError while reading`: a sentence of a log, not what was raised.
fn is_prose(line: &str) -> bool {
    let first = line.split(' ').next().unwrap_or(line);
    first.len() < line.len() && !first.ends_with(':') && !first.contains('(')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_stands_at_the_head() {
        for (line, class) in [
            ("ValueError: a", "ValueError"),
            (
                "pyspark.errors.AnalysisException: [X] b",
                "AnalysisException",
            ),
            (
                "airflow.exceptions.AirflowTaskTimeout",
                "AirflowTaskTimeout",
            ),
            ("KeyError('a')", "KeyError"),
            ("QuotaExceeded: no more", "QuotaExceeded"),
            ("TimeoutError while reading", "TimeoutError"),
        ] {
            assert_eq!(class_in(line), Some(class), "{line}");
        }
        for line in ["", "Error: a", "all is well", "  raise ValueError(a)"] {
            assert_eq!(class_in(line), None, "{line}");
        }
    }

    #[test]
    fn the_last_exception_wins() {
        let log = "ValueError: a\nduring handling\npyspark.errors.AnalysisException: [X] b\n  at line 3\nTimeoutError while closing";
        assert_eq!(
            last(log),
            Some((
                "AnalysisException",
                "pyspark.errors.AnalysisException: [X] b"
            ))
        );
        assert_eq!(last("all is well"), None);
    }
}
