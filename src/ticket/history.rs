//! How failures like this one ended before: the same cause on the same asset. Data and words; pure.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::{RemediationState, Ticket, TicketId};

/// How far back failures are counted.
const WINDOW: Duration = Duration::days(7);
/// Outcomes that a ticket keeps.
const KEPT: usize = 5;
/// Characters of a comment.
const COMMENT: usize = 300;

/// How a ticket ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which.
    pub ticket: TicketId,
    /// When its failure was reported.
    pub failed_at: DateTime<Utc>,
    /// When it was closed.
    pub closed_at: DateTime<Utc>,
    /// Who closed it.
    pub by: String,
    /// The playbook's action, if that healed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healed_by: Option<String>,
    /// It recovered by itself.
    #[serde(default)]
    pub recovered: bool,
    /// JIRA's name of its last status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jira_status: Option<String>,
    /// What a person said last about it in JIRA, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What is known of failures like this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// How often it failed in the last seven days, this time included.
    pub times: u32,
    /// How the last ones ended, newest first.
    pub outcomes: Vec<Outcome>,
}

impl Outcome {
    /// Of a closed ticket. `comment`: what a person said last about it, redacted.
    pub fn of(ticket: &Ticket, comment: Option<String>) -> Self {
        let healed = ticket.remediation.state == RemediationState::Succeeded;
        let comment = comment.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        Self {
            ticket: ticket.id.clone(),
            failed_at: ticket.received_at,
            closed_at: ticket.status_at,
            by: ticket.status_by.name.clone(),
            healed_by: healed.then(|| ticket.remediation.action.words().to_owned()),
            recovered: ticket.books.recovered_by.is_some() && !ticket.status_by.is_person(),
            jira_status: ticket.jira.status.clone(),
            comment: comment
                .filter(|text| !text.is_empty())
                .map(|text| text.chars().take(COMMENT).collect()),
        }
    }

    /// `closed by Jane Roe after 32 min (Won't Do): the source was late`.
    pub fn words(&self) -> String {
        let after = lasting(self.closed_at - self.failed_at);
        let how = match (&self.healed_by, self.recovered) {
            (Some(action), _) => format!("healed after {after}: {action}"),
            (None, true) => format!("recovered by itself after {after}"),
            (None, false) => format!("closed by {} after {after}", self.by),
        };
        let status = self
            .jira_status
            .as_deref()
            .filter(|_| self.healed_by.is_none() && !self.recovered);
        let status = status
            .map(|status| format!(" ({status})"))
            .unwrap_or_default();
        let comment = self
            .comment
            .as_deref()
            .map(|said| format!(": {said}"))
            .unwrap_or_default();
        format!("{how}{status}{comment}")
    }
}

impl Past {
    /// Of these outcomes, for a failure that was reported now; `None`: it is the first.
    pub fn of(mut outcomes: Vec<Outcome>, now: DateTime<Utc>) -> Option<Self> {
        outcomes.sort_by(|a, b| (b.failed_at, &b.ticket).cmp(&(a.failed_at, &a.ticket)));
        let lately = outcomes
            .iter()
            .filter(|outcome| now - outcome.failed_at <= WINDOW)
            .count();
        outcomes.truncate(KEPT);
        let times = u32::try_from(lately).unwrap_or(u32::MAX).saturating_add(1);
        (!outcomes.is_empty()).then_some(Self { times, outcomes })
    }

    /// `4th time in 7 days; last closed by Jane Roe after 32 min: the source was late`.
    pub fn words(&self) -> Option<String> {
        let last = self.outcomes.first()?.words();
        Some(match self.times {
            0 | 1 => format!("Seen before; last {last}"),
            times => format!("{} time in 7 days; last {last}", ordinal(times)),
        })
    }
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

fn lasting(time: Duration) -> String {
    match time.num_minutes() {
        minutes if minutes < 120 => format!("{} min", minutes.max(0)),
        minutes if minutes < 48 * 60 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / (24 * 60)),
    }
}

impl Ticket {
    /// Failures like this one, as they ended before it was opened.
    pub fn remember(&mut self, outcomes: Vec<Outcome>) {
        self.past = Past::of(outcomes, self.received_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_often_and_how_it_ended() {
        let at =
            |minutes: i64| DateTime::UNIX_EPOCH + Duration::days(30) + Duration::minutes(minutes);
        let outcome = |number: u32, from: i64| Outcome {
            ticket: TicketId::new(crate::failure::Source::Adf, at(from), number),
            failed_at: at(from),
            closed_at: at(from + 32),
            by: "Jane Roe".to_owned(),
            healed_by: None,
            recovered: false,
            jira_status: Some("Done".to_owned()),
            comment: Some("the source was late".to_owned()),
        };
        assert_eq!(Past::of(Vec::new(), at(0)), None);
        let past = Past::of(
            vec![outcome(1, 0), outcome(2, 1440), outcome(3, 2880)],
            at(4320),
        )
        .unwrap();
        assert_eq!(
            past.words().unwrap(),
            "4th time in 7 days; last closed by Jane Roe after 32 min (Done): the source was late"
        );
        let healed = Outcome {
            healed_by: Some("retry the pipeline".to_owned()),
            ..outcome(4, 0)
        };
        assert_eq!(
            healed.words(),
            "healed after 32 min: retry the pipeline: the source was late"
        );
        let old = Past::of(vec![outcome(1, 0)], at(20 * 1440)).unwrap();
        assert!(
            old.words()
                .unwrap()
                .starts_with("Seen before; last closed by")
        );
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 21, 112].map(ordinal),
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "112th"]
        );
    }
}
