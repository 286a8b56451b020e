//! Silences: failures that are expected for a while. Data and words; `silence` decides, the flow sums up.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Actor, Ticket, TicketId};

/// What is silent, until when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id, `S-20260727T091500-1a2b3c4d`.
    pub id: String,
    /// A pattern on the names of assets.
    pub asset: String,
    /// Only failures of this cause: a category, an error type, a rule of the catalog or a fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Only in this scope: a factory, workspace or deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// From when on.
    pub from: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Who set it.
    pub by: Actor,
    /// Why.
    pub why: String,
    /// When it was set.
    pub created_at: DateTime<Utc>,
    /// The ticket from which it was set, which says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_at: Option<TicketId>,
    /// Who ended it early, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// What failed silently, once it was summed up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summed_up: Option<SummedUp>,
}

/// Who ended a silence early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: Actor,
}

/// What failed during a silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummedUp {
    /// When it was summed up.
    pub at: DateTime<Utc>,
    /// How many failures there were.
    pub failures: u32,
    /// The ticket that tells of them; `None`: there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketId>,
}

/// How a silence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SilenceState {
    /// It begins later.
    Planned,
    /// It holds.
    Active,
    /// It is over.
    Ended,
}

/// The silence under which a ticket was opened, or that was set from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silenced {
    /// Which.
    pub id: String,
    /// Until when, as it was set.
    pub until: DateTime<Utc>,
    /// Who set it.
    pub by: String,
    /// Why.
    pub why: String,
}

/// A failure that was recorded and not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untold {
    /// Its ticket.
    pub ticket: TicketId,
    /// What failed.
    pub asset: String,
    /// Of what.
    pub error_type: String,
    /// When it was reported.
    pub at: DateTime<Utc>,
    /// It is part of the sum.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}

impl Silence {
    /// When it is over: it was ended, or it expires.
    pub fn over_at(&self) -> DateTime<Utc> {
        self.ended
            .as_ref()
            .map_or(self.until, |ended| ended.at.min(self.until))
    }

    /// How it stands.
    pub fn state(&self, now: DateTime<Utc>) -> SilenceState {
        if now >= self.over_at() {
            SilenceState::Ended
        } else if now < self.from {
            SilenceState::Planned
        } else {
            SilenceState::Active
        }
    }

    /// What is silent, as people read it: `pl_load (Timeout) in adf-prod`.
    pub fn subject(&self) -> String {
        let cause = self.cause.iter().map(|cause| format!(" ({cause})"));
        let scope = self.scope.iter().map(|scope| {
            let name = scope.rsplit('/').find(|part| !part.is_empty());
            format!(" in {}", name.unwrap_or(scope))
        });
        let beside: String = cause.chain(scope).collect();
        format!("{}{beside}", self.asset)
    }

    /// As a ticket keeps it.
    pub fn on_ticket(&self) -> Silenced {
        Silenced {
            id: self.id.clone(),
            until: self.until,
            by: self.by.name.clone(),
            why: self.why.clone(),
        }
    }
}

impl Silenced {
    /// `silenced by Jane Roe until 2026-07-27 12:00 UTC: a planned move`.
    pub fn words(&self) -> String {
        format!(
            "silenced by {} until {}: {}",
            self.by,
            self.until.format("%Y-%m-%d %H:%M UTC"),
            self.why
        )
    }
}

impl Untold {
    /// Of this ticket.
    pub fn of(ticket: &Ticket) -> Self {
        Self {
            ticket: ticket.id.clone(),
            asset: ticket.failure.asset.clone(),
            error_type: ticket.diagnosis.error_type.clone(),
            at: ticket.received_at,
            told: false,
        }
    }
}

impl Ticket {
    /// Was it opened under a silence? Then it is recorded and counted, and nothing else.
    pub fn is_silent(&self) -> bool {
        self.silenced.is_some()
    }
}
