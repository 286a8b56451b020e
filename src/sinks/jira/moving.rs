//! The issue's status follows the ticket's, but never against a person.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::refusal::Failed;
use super::site::{Issue, Move, StatusCategory, Transition, ticket_status};
use super::{Jira, Step, noted};
use crate::ticket::{Channel, Intent, JiraRecord, Status, Ticket};

/// No workflow needs more steps from anywhere to anywhere.
const MOST_HOPS: u32 = 6;
const RESOLUTION: &str = "resolution";

impl Jira {
    /// Brings the issue's status to the ticket's, one transition per step.
    pub(super) async fn bring_status(
        &self,
        ticket: &Ticket,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Step<JiraRecord>>, Failed> {
        let record = &ticket.jira;
        if record.status_version >= ticket.status_version {
            return Ok(None);
        }
        let issue = self.client.issue(key, now).await?;
        let seen = JiraRecord {
            status: Some(issue.status.clone()),
            ..record.clone()
        };
        let settle = |record: JiraRecord| {
            // An intent that turned out not to be needed is over.
            if let Some(needless) = &record.intent {
                self.intents.end(needless);
            }
            Ok(Some(Step::Recorded(settled(record, ticket))))
        };
        if ticket_status(&issue.status, issue.category) == Some(ticket.status) {
            return settle(JiraRecord {
                fault: None,
                ..seen
            });
        }
        let us = self.account_id(now).await.map_err(Failed::Refused)?;
        if is_decided_there(&issue, ticket, &us) {
            return settle(seen);
        }
        if record.hops >= MOST_HOPS {
            let reason = format!(
                "JIRA's workflow did not lead to {} in {MOST_HOPS} steps: move the issue by hand",
                goal(ticket)
            );
            return settle(JiraRecord {
                fault: Some(noted(reason, now)),
                ..seen
            });
        }
        let offered = self.client.transitions(key, now).await?;
        match choose(&offered, &issue, ticket, &us) {
            Ok(chosen) => match self.may_change(ticket, &seen, now) {
                Ok(intent) => self
                    .make(ticket, &issue, chosen, (seen, intent), now)
                    .await
                    .map(Some),
                Err(step) => Ok(Some(*step)),
            },
            Err(reason) => settle(JiraRecord {
                fault: Some(noted(reason, now)),
                ..seen
            }),
        }
    }

    async fn make(
        &self,
        ticket: &Ticket,
        issue: &Issue,
        chosen: &Transition,
        (seen, intent): (JiraRecord, Intent),
        now: DateTime<Utc>,
    ) -> Result<Step<JiraRecord>, Failed> {
        let outcome = self
            .client
            .transition(&issue.key, &chosen.id, &filled(chosen), now)
            .await;
        self.intents.end(&intent);
        let seen = JiraRecord {
            intent: None,
            ..seen
        };
        match outcome {
            Ok(()) => {
                let hops = seen.hops + 1;
                let moved = JiraRecord {
                    status: Some(chosen.to.clone()),
                    hops,
                    fault: None,
                    ..seen
                };
                let there = ticket_status(&chosen.to, chosen.category) == Some(ticket.status);
                Ok(Step::Recorded(if there {
                    settled(moved, ticket)
                } else {
                    moved
                }))
            }
            Err(Failed::Invalid(invalid)) => {
                if self.client.issue(&issue.key, now).await?.status != issue.status {
                    let reason = "somebody moved the issue at the same moment: looking again";
                    return Ok(Step::Wait(Duration::from_secs(1), reason.to_owned()));
                }
                let reason = invalid.refused(&format!("to move the issue to {}", chosen.to));
                Ok(Step::Recorded(JiraRecord {
                    fault: Some(noted(reason, now)),
                    ..settled(seen, ticket)
                }))
            }
            Err(failed) => Err(failed),
        }
    }
}

fn settled(record: JiraRecord, ticket: &Ticket) -> JiraRecord {
    JiraRecord {
        status_version: ticket.status_version,
        hops: 0,
        intent: None,
        ..record
    }
}

/// Is the issue's status to be left alone? Yes where the ticket has its status from JIRA, where a person moved
/// the issue after the ticket got its status, and where a machine would reopen what a person closed.
/// Apps and automations in JIRA are no persons.
fn is_decided_there(issue: &Issue, ticket: &Ticket, us: &str) -> bool {
    let by_us = |change: &Move| change.account_id.as_deref() == Some(us);
    let word = ticket.last_word();
    if word.by.channel == Channel::Jira {
        // The ticket follows JIRA; only what we moved before we had heard of that is moved back.
        return !issue.moves.first().is_some_and(by_us);
    }
    let by_person = |change: &Move| !change.is_app && !by_us(change);
    let later = issue
        .moves
        .iter()
        .any(|change| by_person(change) && change.at >= word.at);
    let machine = matches!(word.by.channel, Channel::System | Channel::Playbook);
    let closed = ticket_status(&issue.status, issue.category) == Some(Status::Acknowledged);
    // A failure after the close is news that the person did not know.
    let recurred = ticket
        .incident
        .as_ref()
        .and_then(|incident| incident.recurred_at);
    let machine = machine && recurred != Some(ticket.status_at);
    later || (machine && closed && issue.moves.first().is_some_and(by_person))
}

/// The transition that reaches the ticket's status, else the best one on the way; or why there is none.
fn choose<'a>(
    offered: &'a [Transition],
    issue: &Issue,
    ticket: &Ticket,
    us: &str,
) -> Result<&'a Transition, String> {
    let been: BTreeSet<&str> = issue
        .moves
        .iter()
        .filter(|change| change.at >= ticket.status_at && change.account_id.as_deref() == Some(us))
        .flat_map(|change| {
            [change.from.as_deref(), Some(change.to.as_str())]
                .into_iter()
                .flatten()
        })
        .chain([issue.status.as_str()])
        .collect();
    let reaches = |transition: &&Transition| {
        ticket_status(&transition.to, transition.category) == Some(ticket.status)
    };
    let direct = offered.iter().filter(reaches);
    let usable = |transition: &&Transition| unfillable(transition).is_none();
    if let Some(best) = direct
        .clone()
        .filter(usable)
        .min_by_key(|transition| rank(transition, ticket.status))
    {
        return Ok(best);
    }
    let asked = direct.clone().find_map(unfillable);
    let on_the_way = offered
        .iter()
        .filter(|transition| !reaches(transition) && !been.contains(transition.to.as_str()));
    if let Some(best) = on_the_way
        .filter(usable)
        .min_by_key(|transition| detour(transition.category))
        .filter(|_| asked.is_none())
    {
        return Ok(best);
    }
    Err(match asked {
        Some(field) => format!(
            "JIRA asks for the field \"{field}\" to move the issue to {}: give it a default or make it optional in the workflow, or move the issue by hand",
            goal(ticket)
        ),
        None => format!(
            "JIRA offers no transition from \"{}\" towards {}: allow it in the workflow and grant us Transition Issues, or move the issue by hand",
            issue.status,
            goal(ticket)
        ),
    })
}

fn goal(ticket: &Ticket) -> &'static str {
    match ticket.status {
        Status::Open => "\"to do\"",
        Status::InProgress => "\"in progress\"",
        Status::Acknowledged => "\"done\"",
    }
}

/// Among several statuses of the right kind the plainest name: never `Won't Do` where there is a `Done`.
fn rank(transition: &Transition, status: Status) -> (usize, bool) {
    let plain: &[&str] = match status {
        Status::Open => &["to do", "open", "backlog"],
        Status::InProgress => &["in progress", "reopened"],
        Status::Acknowledged => &["done", "closed", "resolved", "fixed", "completed"],
    };
    let name = transition.to.to_lowercase();
    let refuses = [
        "won't",
        "wont",
        "cancel",
        "reject",
        "duplicate",
        "declined",
        "invalid",
    ]
    .iter()
    .any(|word| name.contains(word));
    let place = plain
        .iter()
        .position(|plain| *plain == name)
        .unwrap_or(plain.len() + usize::from(refuses));
    (place, !transition.required.is_empty())
}

/// The middle of a workflow leads everywhere; its ends come last.
fn detour(category: Option<StatusCategory>) -> u8 {
    match category {
        Some(StatusCategory::Indeterminate) => 0,
        Some(StatusCategory::New) => 1,
        None => 2,
        Some(StatusCategory::Done) => 3,
    }
}

/// A required field that we cannot fill without inventing something.
fn unfillable(transition: &Transition) -> Option<&str> {
    let field = transition
        .required
        .iter()
        .find(|(name, values)| *name != RESOLUTION || values.is_empty());
    field.map(|(name, _)| name.as_str())
}

fn filled(transition: &Transition) -> Value {
    let mut fields = Map::new();
    if let Some(values) = transition.required.get(RESOLUTION) {
        let plain = ["done", "fixed", "resolved"];
        let named = |name: &str| {
            values
                .iter()
                .find(|(_, value)| value.eq_ignore_ascii_case(name))
        };
        if let Some((id, _)) = plain
            .iter()
            .find_map(|name| named(name))
            .or_else(|| values.first())
        {
            fields.insert(RESOLUTION.to_owned(), json!({"id": id}));
        }
    }
    Value::Object(fields)
}
