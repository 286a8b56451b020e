//! What the demo plays, and the words in which it tells what became of it.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;

/// One post.
pub(super) struct Scene {
    pub(super) title: &'static str,
    pub(super) door: &'static str,
    pub(super) body: &'static str,
    /// The status the door is expected to answer.
    expected: &'static str,
}

const ALERT: &str =
    include_str!("../../../tests/fixtures/vendor/azmon-logv1-common-adf-several-rows.json");

pub(super) const SCENES: &[Scene] = &[
    Scene {
        title: "Azure Monitor: an alert with failed ADF runs",
        door: "azure-monitor",
        body: ALERT,
        expected: "accepted",
    },
    Scene {
        title: "Azure Monitor: the same rows again, five minutes later",
        door: "azure-monitor",
        body: ALERT,
        expected: "duplicate",
    },
    Scene {
        title: "Azure Monitor: an ADF run timed out at a gateway",
        door: "azure-monitor",
        body: include_str!("samples/adf-gateway-timeout-alert.json"),
        expected: "accepted",
    },
    Scene {
        title: "Databricks: a job failed (the webhook says only which)",
        door: "databricks-monitor",
        body: include_str!("samples/dbx-job-failure.json"),
        expected: "accepted",
    },
    Scene {
        title: "Airflow: a task failed",
        door: "airflow-monitor",
        body: include_str!("../../../tests/fixtures/vendor/airflow2-callback-seed-shape.json"),
        expected: "accepted",
    },
    Scene {
        title: "Azure Monitor: an alert is resolved",
        door: "azure-monitor",
        body: include_str!("../../../tests/fixtures/vendor/azmon-logv2-adf-resolved.json"),
        expected: "ignored",
    },
];

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

impl Scene {
    /// Says what the door answered and collects the tickets; `false` when the answer is another than expected.
    pub(super) fn tell(
        &self,
        answer: &Value,
        wanted: &mut BTreeSet<String>,
        say: &impl Fn(&str),
    ) -> bool {
        let status = text(answer, "/status");
        say(&format!(
            "{} → {status} {}",
            self.title,
            text(answer, "/reason")
        ));
        for ticket in answer
            .get("tickets")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let id = text(ticket, "/ticket_id");
            say(&format!(
                "    {id}  run {}  {}",
                text(ticket, "/run_id"),
                text(ticket, "/status")
            ));
            wanted.insert(id.to_owned());
        }
        status == self.expected
    }
}

/// In JIRA, Slack and Teams?
pub(super) fn is_shown(ticket: &Value) -> bool {
    !text(ticket, "/jira/key").is_empty()
        && !text(ticket, "/slack/ts").is_empty()
        && !text(ticket, "/teams/activity").is_empty()
}

/// Closed, and shown so?
pub(super) fn is_closed(ticket: &Value) -> bool {
    let version = ticket.get("version").and_then(Value::as_u64);
    let shown = |sink: &str| {
        let delivered = ticket.pointer(&format!("/deliveries/{sink}"));
        delivered.and_then(Value::as_u64) >= version
    };
    text(ticket, "/status") == "acknowledged" && shown("jira") && shown("slack") && shown("teams")
}

/// Shown, and nothing automatic is under way any more?
pub(super) fn has_settled(ticket: &Value) -> bool {
    is_shown(ticket)
        && !matches!(
            text(ticket, "/remediation/state"),
            "scheduled" | "running" | "verifying"
        )
}

pub(super) fn tell_ticket(
    ticket: &Value,
    base: &Url,
    issue: impl Fn(&str) -> String,
    say: &impl Fn(&str),
) {
    let id = text(ticket, "/id");
    say(&format!(
        "{id}  {} {}",
        text(ticket, "/priority"),
        text(ticket, "/failure/asset")
    ));
    say(&format!(
        "    cause   {}",
        text(ticket, "/diagnosis/root_cause")
    ));
    say(&format!("    issue   {}", issue(text(ticket, "/jira/key"))));
    say(&format!("    ticket  {base}dashboard?ticket={id}"));
    match text(ticket, "/remediation/state") {
        "scheduled" => say("    healing starts in half a minute"),
        "awaiting_approval" => {
            say("    healing waits for you: press Approve in Slack or on the ticket's page");
        }
        _ => {}
    }
}

pub(super) fn tell_end(ticket: &Value, say: &impl Fn(&str)) {
    if text(ticket, "/remediation/state") == "succeeded" {
        say(&format!(
            "{}  healed by its playbook, closed by {}",
            text(ticket, "/id"),
            text(ticket, "/status_by/name")
        ));
    }
}
