//! Reads a task's log as a log: what the task and its programs said, without what Airflow says around it. Pure.
//!
//! In: the lines of [`log`](super::log), as Airflow 2 writes them into a file: `[time] {file.py:1} LEVEL - text`. Out: what
//! is left for people and for the diagnosis: level and text, exceptions without the source lines of their tracebacks.
//! Times, places, groups, the log reader's own lines and the framework's INFO and WARNING go: a millisecond is no FTP
//! code, a deprecated import no failure. What the framework raises its voice for stays.

use std::sync::LazyLock;

use regex::Regex;

use crate::failure::exception;

/// Files of Airflow that tell about themselves; a number after the name is its line.
const FRAMEWORK: [&str; 26] = [
    "airflow.py",
    "base.py",
    "base_executor.py",
    "baseoperator.py",
    "bases.py",
    "configuration.py",
    "connection.py",
    "crypto.py",
    "dag.py",
    "dagbag.py",
    "decorators.py",
    "local_task_job_runner.py",
    "logging_config.py",
    "manager.py",
    "operator.py",
    "plugins_manager.py",
    "providers_manager.py",
    "python.py",
    "settings.py",
    "standard_task_runner.py",
    "supervisor.py",
    "task_command.py",
    "task_runner.py",
    "taskinstance.py",
    "triggerer_job_runner.py",
    "warnings.py",
];
/// Files that repeat what a program prints, and what they say for themselves.
const CHILDREN: [&str; 2] = ["subprocess.py", "logging_mixin.py"];
const OF_THE_CHILD_RUNNER: [&str; 4] = [
    "Tmp dir root location",
    "Running command:",
    "Output:",
    "Command exited with return code",
];

/// What a line's head says.
struct Head<'a> {
    file: &'a str,
    level: &'a str,
    said: &'a str,
}

fn head(line: &str) -> Option<Head<'_>> {
    static HEAD: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"^\s*(?:\[[^\]]{8,60}\]\s*)?(?:\{([^{}]*?):\d+\}\s*)?(DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+-\s?(.*)$").ok()
    });
    let found = HEAD.as_ref()?.captures(line)?;
    Some(Head {
        file: found.get(1).map_or("", |file| file.as_str()),
        level: found.get(2)?.as_str(),
        said: found.get(3)?.as_str(),
    })
}

/// Exceptions of Airflow's own that say no more than that another one was raised elsewhere.
const WRAPPERS: [&str; 1] = ["TaskDeferralError"];

/// Is it an exception that only wraps another one?
pub(super) fn is_wrapper(class: &str) -> bool {
    WRAPPERS.contains(&class)
}

/// The exception that ended the try, its class and its line; behind a wrapper the one that it is about.
pub(super) fn raised(log: &str) -> Option<(&str, &str)> {
    let last = exception::last(log)?;
    if !is_wrapper(last.0) {
        return Some(last);
    }
    let before = log.rfind(last.1).and_then(|at| log.get(..at));
    Some(before.and_then(exception::last).unwrap_or(last))
}

/// What the task's log says.
pub(super) fn read(log: &str) -> String {
    let mut kept = String::new();
    let mut reading = Reading::default();
    for line in log.lines() {
        if let Some(line) = reading.line(line) {
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    kept
}

#[derive(Default)]
struct Reading {
    /// The lines without a head belong to one that went.
    dropping: bool,
    /// Inside the source lines of a traceback.
    in_traceback: bool,
    /// Inside the group that says where the log was found.
    in_details: bool,
}

impl Reading {
    fn line(&mut self, line: &str) -> Option<String> {
        if line.starts_with("***") {
            return None;
        }
        match head(line) {
            Some(head) => self.record(&head),
            None => self.continued(line),
        }
    }

    fn record(&mut self, head: &Head<'_>) -> Option<String> {
        if head.said.starts_with("::") {
            self.group(head.said);
            return None;
        }
        if let Some(killed) = killed(head) {
            self.dropping = false;
            return Some(killed);
        }
        // Its own lines have no level; a record ends it, whether its end was written or not.
        self.in_details = false;
        let below = !matches!(head.level, "ERROR" | "CRITICAL");
        // The runner repeats the exception that the task was reported with.
        let repeats = head.file == "standard_task_runner.py"
            && head.said.starts_with("Failed to execute job");
        let of_child = CHILDREN.contains(&head.file);
        self.dropping = repeats
            || head.file == "aiops_rca_callback.py"
            || below && FRAMEWORK.contains(&head.file)
            || of_child
                && OF_THE_CHILD_RUNNER
                    .iter()
                    .any(|own| head.said.starts_with(own));
        if self.dropping || self.skips(head.said) {
            return None;
        }
        let Head { file, level, said } = head;
        Some(if of_child {
            format!("{{{file}:0}} {level} - {said}")
        } else {
            format!("{level} - {said}")
        })
    }

    fn continued(&mut self, line: &str) -> Option<String> {
        if line.starts_with("::") {
            self.group(line);
            return None;
        }
        if self.dropping || self.in_details || self.skips(line) {
            return None;
        }
        Some(line.to_owned())
    }

    fn group(&mut self, said: &str) {
        self.in_details = said.starts_with("::group::Log message source details");
        self.dropping = false;
        self.in_traceback = false;
    }

    /// Is it one of the source lines of a traceback?
    fn skips(&mut self, said: &str) -> bool {
        if said.trim_end() == "Traceback (most recent call last):" {
            self.in_traceback = true;
            return false;
        }
        let source = said.is_empty() || said.starts_with([' ', '\t']);
        self.in_traceback &= source;
        self.in_traceback
    }
}

/// A process that was killed: the one thing that the framework says at INFO and that ended the try.
fn killed(head: &Head<'_>) -> Option<String> {
    let (_, code) = head
        .said
        .split_once("Task exited with return code -")
        .filter(|_| head.file == "local_task_job_runner.py")?;
    let number: String = code.chars().take_while(char::is_ascii_digit).collect();
    let name = match number.as_str() {
        "9" => " (SIGKILL)",
        "15" => " (SIGTERM)",
        "11" => " (SIGSEGV)",
        _ => "",
    };
    (!number.is_empty())
        .then(|| format!("CRITICAL - The task's process was killed by signal {number}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn recorded(path: &str) -> String {
        let path = format!(
            "{}/tests/fixtures/airflow/{path}",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(path).unwrap()
    }

    fn of_v1(name: &str) -> String {
        let body: Value =
            serde_json::from_str(&recorded(&format!("api/2.10.5-{name}-log.json"))).unwrap();
        read(&super::super::log::page(body["body"].to_string().as_bytes()).0)
    }

    fn of_v2(name: &str) -> String {
        read(&super::super::log::page(recorded(&format!("logs-3.3.2/{name}.jsonl")).as_bytes()).0)
    }

    #[test]
    fn both_formats_say_what_the_task_said_and_no_more() {
        let raised = "ERROR - Task failed with exception\nTraceback (most recent call last):\n\
                      ConnectionError: connection error while reading from api.example.com:443\n";
        assert_eq!(of_v1("s_conn2"), raised);
        assert_eq!(of_v2("s_conn2"), raised);
    }

    #[test]
    fn what_a_program_printed_stays_with_its_place() {
        for told in [of_v1("s_bash"), of_v2("s_bash")] {
            assert!(told.starts_with("{subprocess.py:0} INFO - starting\n{subprocess.py:0} INFO - Traceback (most recent call last):\n{subprocess.py:0} INFO - ConnectionRefusedError: [Errno 111]"), "{told}");
            assert!(
                told.contains("Bash command failed. The command returned a non-zero exit code 1."),
                "{told}"
            );
            assert_eq!(told.lines().count(), 6, "{told}");
        }
    }

    #[test]
    fn what_broke_a_trigger_stands_before_the_wrapper() {
        for told in [of_v1("s_defer_raise"), of_v2("s_defer_raise")] {
            let inner = told
                .find("ConnectionError: connection error: the trigger lost")
                .unwrap();
            assert!(
                inner < told.find("TaskDeferralError: Trigger failure").unwrap(),
                "{told}"
            );
            assert!(!told.contains("File \""), "{told}");
        }
    }

    #[test]
    fn a_killed_process_is_heard() {
        assert_eq!(
            of_v1("s_sigkill"),
            "{logging_mixin.py:0} INFO - about to be killed\nCRITICAL - The task's process was killed by signal 9 (SIGKILL)\n"
        );
        let told = of_v2("s_sigkill");
        assert!(
            told.contains(
                "CRITICAL - Process terminated by signal. Likely out of memory error (OOM)"
            ),
            "{told}"
        );
        assert_eq!(
            of_v1("s_zombie"),
            "{logging_mixin.py:0} INFO - killing parent and self\n"
        );
        assert_eq!(of_v2("s_zombie"), "");
    }

    #[test]
    fn deprecation_warnings_and_milliseconds_are_gone() {
        for name in [
            "noise_AirflowFailException",
            "noise_AirflowSensorTimeout",
            "noise_AirflowTaskTimeout",
            "s_plain",
            "s_sensor",
            "seed3_plain",
        ] {
            let told = of_v2(name);
            assert!(
                !told.contains("deprecated")
                    && !told.contains("startup parse")
                    && !told.contains("2026-11-29"),
                "{told}"
            );
        }
        for name in [
            "s_airflowexc",
            "s_defer_timeout",
            "s_mapped",
            "s_plain",
            "s_sensor",
            "test_rca_integration",
        ] {
            let told = of_v1(name);
            assert!(
                !told.contains("2026-11-29")
                    && !told.contains("{taskinstance")
                    && !told.contains("aiops-rca"),
                "{told}"
            );
            assert!(
                told.contains("ERROR - Task failed with exception"),
                "{told}"
            );
        }
        let of_the_reader = recorded("api/3.3.2-s_conn2-log.json");
        let body: Value = serde_json::from_str(&of_the_reader).unwrap();
        assert_eq!(
            read(&super::super::log::page(body["body"].to_string().as_bytes()).0),
            ""
        );
    }

    #[test]
    fn the_users_own_lines_stay() {
        let log = "[2026-11-29T02:01:20.550+0000] {client.py:550} WARNING - 429 Too Many Requests, sleeping 20 s\n\
                   [2026-11-29T02:01:21.000+0000] {client.py:99} INFO - two\nlines\nplain\n";
        assert_eq!(
            read(log),
            "WARNING - 429 Too Many Requests, sleeping 20 s\nINFO - two\nlines\nplain\n"
        );
        assert_eq!(
            read("no log at all\n  indented\n"),
            "no log at all\n  indented\n"
        );
    }
}
