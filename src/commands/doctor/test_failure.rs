//! `doctor --send-test`: a failure that can be told from real ones by its name, sent, watched, closed.

use std::time::Duration;

use chrono::Utc;

use crate::failure::{AssetKind, Failure, RunKey, Source, field};
use crate::fault::Fault;
use crate::flow::Flow;
use crate::sources::Parsed;
use crate::ticket::machine::Event;
use crate::ticket::{Actor, Channel, Sink, Status, Ticket, TicketId};
use crate::trace::{Kind, Work};

const PATIENCE: Duration = Duration::from_secs(120);

/// Sends it, and waits until ticket, issue and message are opened and closed.
pub(super) async fn send(flow: &Flow) -> Result<String, Fault> {
    let now = Utc::now();
    let run = format!("doctor-{:016x}", fastrand::u64(..));
    let failure = Failure {
        source: Source::Adf,
        key: RunKey::new(Source::Adf, "doctor", &run, "", ""),
        kind: AssetKind::Pipeline,
        asset: "aiops-rca-test".to_owned(),
        run_id: Some(run),
        run_url: None,
        error_code: None,
        message: "This is a test of aiops-rca (doctor --send-test). Nothing has failed.".to_owned(),
        context: [(field::OWNER.to_owned(), "the user of doctor".to_owned())].into(),
        occurred_at: Some(now),
        source_severity: Some(4),
        alert: None,
    };
    let accepted = Work::begin(Kind::Internal, "test failure", None)
        .run(flow.accept(Parsed::Failures(vec![failure]), now))
        .await?;
    let Some(id) = accepted.ticket_id else {
        return Err(Fault::permanent("the test failure was not accepted"));
    };
    let opened = shown(flow, &id).await?;
    // Whatever came of it, nothing is left open.
    let by = Actor {
        channel: Channel::Dashboard,
        name: "aiops-rca doctor".to_owned(),
    };
    let close = Event::StatusChanged {
        to: Status::Acknowledged,
        by,
        at: Utc::now(),
        jira_status: None,
    };
    if opened.is_some() {
        flow.apply(&id, &close, Utc::now())
            .await
            .map_err(|error| Fault::permanent(error.to_string()))?;
    }
    let Some(ticket) = shown(flow, &id).await? else {
        return Err(Fault::permanent(format!(
            "{id} was not analysed within {} s",
            PATIENCE.as_secs()
        )));
    };
    let faults = faults(&ticket);
    if !faults.is_empty() {
        return Err(Fault::permanent(format!("{id}: {}", faults.join("; "))));
    }
    Ok(format!(
        "ticket {id}, issue {}, Slack {}, Teams {}: opened, shown and closed in {} s",
        ticket.jira.key.as_deref().unwrap_or("off"),
        if ticket.slack.ts.is_some() {
            "posted"
        } else {
            "off"
        },
        match &ticket.teams {
            Some(_) => "posted",
            None => "off",
        },
        (Utc::now() - now).num_seconds(),
    ))
}

/// The ticket once JIRA and Slack show it, or as it is when nobody can wait any longer; `None`: there is none yet.
async fn shown(flow: &Flow, id: &TicketId) -> Result<Option<Ticket>, Fault> {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let ticket = flow.store.load(id).await?;
        let done = ticket
            .as_ref()
            .is_some_and(|ticket| !Sink::showing().any(|sink| ticket.lags(sink)));
        if done || tokio::time::Instant::now() > give_up {
            return Ok(ticket);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What keeps JIRA or Slack from showing the ticket.
fn faults(ticket: &Ticket) -> Vec<String> {
    Sink::showing()
        .filter_map(|sink| match ticket.fault(sink) {
            Some(fault) => Some(format!("{}: {}", sink.name(), fault.reason)),
            None if ticket.lags(sink) => Some(format!(
                "{} was not brought up to date in time",
                sink.name()
            )),
            None => None,
        })
        .collect()
}
