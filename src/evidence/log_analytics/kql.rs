//! Our own queries. Outside text enters only as an escaped string literal ([`literal`]). Pure.
//!
//! One condition per line, so that a reader (and the simulator) can follow them.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::redaction::cap;

/// The longest value compared with, in bytes.
const LITERAL_CAP: usize = 512;
/// The most rows of one answer.
const ROWS: u32 = 1000;

/// A KQL string literal that means exactly `text`: everything but plain ASCII is written as `\uXXXX`.
pub(super) fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for c in cap(text, LITERAL_CAP).chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            ' '..='~' => literal.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _infallible = write!(literal, "\\u{unit:04x}");
                }
            }
        }
    }
    literal.push('"');
    literal
}

/// A query being written.
#[derive(Debug, Clone)]
pub(super) struct Kql(String);

impl Kql {
    /// `table`, restricted to a window of its own time column.
    pub(super) fn of(table: &'static str, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        let [from, to] = [from, to].map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
        Self(format!(
            "{table}\n| where TimeGenerated between (datetime({from}) .. datetime({to}))"
        ))
    }

    /// One more line of our own words.
    pub(super) fn line(mut self, line: &'static str) -> Self {
        self.0.push_str("\n| ");
        self.0.push_str(line);
        self
    }

    /// A comparison without regard to case, if there is something to compare with.
    pub(super) fn only(mut self, column: &'static str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            let _infallible = write!(self.0, "\n| where {column} =~ {}", literal(value));
        }
        self
    }

    /// The query's text.
    pub(super) fn finish(mut self) -> String {
        let _infallible = write!(self.0, "\n| order by TimeGenerated asc\n| take {ROWS}");
        self.0
    }
}

/// A window and what to compare with; every text is a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    pub(super) asset: Option<&'a str>,
    pub(super) run_id: Option<&'a str>,
    pub(super) resource: Option<&'a str>,
}

/// Failed pipeline runs: the resource-specific table, then the one of older diagnostic settings.
pub(super) fn pipeline_runs(wanted: Wanted<'_>) -> Vec<String> {
    let specific = Kql::of("ADFPipelineRun", wanted.from, wanted.to)
        .line("where Status =~ \"Failed\"")
        .only("PipelineName", wanted.asset)
        .only("RunId", wanted.run_id)
        .only("_ResourceId", wanted.resource)
        .line(
            "project TimeGenerated, PipelineName, RunId, Status, ErrorCode, ErrorMessage, FailureType, Start, End, _ResourceId",
        );
    let diagnostics = Kql::of("AzureDiagnostics", wanted.from, wanted.to)
        .line("where Category =~ \"PipelineRuns\"")
        .line("extend PipelineName = column_ifexists(\"pipelineName_s\", \"\")")
        .line("extend RunId = coalesce(tostring(column_ifexists(\"runId_g\", \"\")), column_ifexists(\"runId_s\", \"\"))")
        .line("extend Status = coalesce(column_ifexists(\"status_s\", \"\"), column_ifexists(\"Status_s\", \"\"))")
        .line("extend ErrorMessage = coalesce(column_ifexists(\"errorMessage_s\", \"\"), column_ifexists(\"properties_Output_s\", \"\"))")
        .line("where Status =~ \"Failed\"")
        .only("PipelineName", wanted.asset)
        .only("RunId", wanted.run_id)
        .only("_ResourceId", wanted.resource)
        .line("project TimeGenerated, PipelineName, RunId, Status, ErrorMessage, _ResourceId");
    vec![specific.finish(), diagnostics.finish()]
}

/// Failed activities of one run, or of a window.
pub(super) fn activity_runs(wanted: Wanted<'_>) -> Vec<String> {
    let specific = Kql::of("ADFActivityRun", wanted.from, wanted.to)
        .line("where Status =~ \"Failed\"")
        .only("PipelineName", wanted.asset)
        .only("PipelineRunId", wanted.run_id)
        .only("_ResourceId", wanted.resource)
        .line(
            "project TimeGenerated, PipelineName, PipelineRunId, ActivityName, ActivityRunId, ActivityType, Status, ErrorCode, \
             ErrorMessage, FailureType, Error, Output, _ResourceId",
        );
    let diagnostics = Kql::of("AzureDiagnostics", wanted.from, wanted.to)
        .line("where Category =~ \"ActivityRuns\"")
        .line("extend PipelineName = column_ifexists(\"pipelineName_s\", \"\")")
        .line("extend PipelineRunId = coalesce(tostring(column_ifexists(\"pipelineRunId_g\", \"\")), column_ifexists(\"pipelineRunId_s\", \"\"))")
        .line("extend ActivityName = column_ifexists(\"activityName_s\", \"\")")
        .line("extend ActivityType = column_ifexists(\"activityType_s\", \"\")")
        .line("extend Status = coalesce(column_ifexists(\"status_s\", \"\"), column_ifexists(\"Status_s\", \"\"))")
        .line("extend ErrorCode = coalesce(column_ifexists(\"errorCode_s\", \"\"), column_ifexists(\"Error_errorCode_s\", \"\"))")
        .line("extend ErrorMessage = coalesce(column_ifexists(\"errorMessage_s\", \"\"), column_ifexists(\"Error_message_s\", \"\"))")
        .line("where Status =~ \"Failed\"")
        .only("PipelineName", wanted.asset)
        .only("PipelineRunId", wanted.run_id)
        .only("_ResourceId", wanted.resource)
        .line("project TimeGenerated, PipelineName, PipelineRunId, ActivityName, ActivityType, Status, ErrorCode, ErrorMessage, _ResourceId");
    vec![specific.finish(), diagnostics.finish()]
}

/// Clusters that ended, for other reasons than idleness, a person or the end of their job.
pub(super) fn clusters(wanted: Wanted<'_>, cluster_id: Option<&str>) -> Vec<String> {
    let query = Kql::of("DatabricksClusters", wanted.from, wanted.to)
        .line("where ActionName in (\"deleteResult\", \"createResult\", \"startResult\", \"resizeResult\")")
        .line("extend params = parse_json(RequestParams)")
        .line("extend clusterId = tostring(params.clusterId)")
        .line("extend clusterName = tostring(params.clusterName)")
        .line("extend clusterState = tostring(params.clusterState)")
        .line("extend termination = tostring(params.clusterTerminationReasonCode)")
        .line("where clusterState in~ (\"Error\", \"Terminated\")")
        .line("where termination !in~ (\"INACTIVITY\", \"USER_REQUEST\", \"JOB_FINISHED\", \"SUCCESS\")")
        .only("clusterId", cluster_id)
        .only("clusterName", wanted.asset)
        .only("_ResourceId", wanted.resource)
        .line(
            "project TimeGenerated, ActionName, LogId, clusterId, clusterName, clusterState, termination, Response, _ResourceId",
        );
    vec![query.finish()]
}

/// Job runs that failed.
pub(super) fn jobs(wanted: Wanted<'_>) -> Vec<String> {
    let query = Kql::of("DatabricksJobs", wanted.from, wanted.to)
        .line("where ActionName in (\"runFailed\")")
        .line("extend params = parse_json(RequestParams)")
        .line("extend jobId = tostring(params.jobId)")
        .line("extend runId = tostring(params.runId)")
        .line("extend jobTerminalState = tostring(params.jobTerminalState)")
        .only("runId", wanted.run_id)
        .only("_ResourceId", wanted.resource)
        .line("project TimeGenerated, ActionName, LogId, ServiceName, jobId, runId, jobTerminalState, RequestParams, Response, _ResourceId");
    vec![query.finish()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(
            literal("a\" | union Secrets //\n\\"),
            r#""a\" | union Secrets //\u000a\\""#
        );
        assert_eq!(literal("é😀\u{2028}"), r#""\u00e9\ud83d\ude00\u2028""#);
    }

    proptest! {
        #[test]
        fn every_text_becomes_one_line_and_one_json_string(text in "\\PC{0,60}|[\\x00-\\x7f]{0,60}") {
            // The escapes we use mean the same in JSON, so a JSON reader tells where the literal ends.
            let literal = literal(&text);
            prop_assert!(literal.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert_eq!(serde_json::from_str::<String>(&literal).unwrap(), text);
        }
    }
}
