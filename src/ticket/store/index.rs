//! What leads from the outside back to a ticket: issues, runs of remediations, and how those ended. Hints; the ticket is the truth.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{INDEX, TicketStore, decode, encode};
use crate::failure::{Asset, RunKey};
use crate::fault::Fault;
use crate::ticket::{Ticket, TicketId};

const JIRA: &str = "jira";
const REMEDIATION_RUN: &str = "remrun";

/// How healing a cause on an asset ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRemediation {
    /// When.
    pub at: DateTime<Utc>,
    /// `true`: healed; `false`: all attempts failed.
    pub healed: bool,
}

impl TicketStore {
    /// Remembers whose issue this is, by its key and by the number that survives a move.
    pub async fn index_issue(
        &self,
        key: &str,
        number: Option<&str>,
        id: &TicketId,
    ) -> Result<(), Fault> {
        let document = encode(id)?;
        if let Some(number) = number.filter(|number| is_number(number)) {
            let row = by_number(number);
            self.storage.upsert(INDEX, JIRA, &row, &document).await?;
        }
        self.storage.upsert(INDEX, JIRA, key, &document).await
    }

    /// Whose issue has this number?
    pub async fn by_issue_number(&self, number: &str) -> Result<Option<TicketId>, Fault> {
        if is_number(number) {
            self.by_issue(&by_number(number)).await
        } else {
            Ok(None)
        }
    }

    /// Whose issue is this?
    pub async fn by_issue(&self, key: &str) -> Result<Option<TicketId>, Fault> {
        match self.storage.get(INDEX, JIRA, key).await? {
            Some(entity) => Ok(Some(decode("issue index", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// Remembers that a run was started to heal a ticket: its failure opens no ticket of its own.
    pub async fn index_remediation_run(&self, key: &RunKey, id: &TicketId) -> Result<(), Fault> {
        self.storage
            .upsert(INDEX, REMEDIATION_RUN, &key.hash(), &encode(id)?)
            .await
    }

    /// The ticket that this run was started to heal, if any.
    pub async fn by_remediation_run(&self, key: &RunKey) -> Result<Option<TicketId>, Fault> {
        match self
            .storage
            .get(INDEX, REMEDIATION_RUN, &key.hash())
            .await?
        {
            Some(entity) => Ok(Some(decode("remediation run index", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// Remembers how healing this cause on this asset ended.
    pub async fn record_remediation(
        &self,
        ticket: &Ticket,
        past: &PastRemediation,
    ) -> Result<(), Fault> {
        let asset = Asset::of(&ticket.failure);
        let partition = healing_partition(&asset.fingerprint(&ticket.diagnosis.fingerprint));
        self.storage
            .upsert(INDEX, &partition, ticket.id.as_str(), &encode(past)?)
            .await
    }

    /// How healing this cause on this asset ended so far.
    pub async fn past_remediations(
        &self,
        asset: &Asset,
        cause: &str,
    ) -> Result<Vec<PastRemediation>, Fault> {
        let mut past = self.remediations_of(&asset.fingerprint(cause)).await?;
        // What was recorded before assets had scopes.
        let before = RunKey::new(asset.source, &asset.name, cause, "", "").hash();
        past.extend(self.remediations_of(&before).await?);
        Ok(past)
    }

    async fn remediations_of(&self, fingerprint: &str) -> Result<Vec<PastRemediation>, Fault> {
        let partition = healing_partition(fingerprint);
        let page = self
            .storage
            .scan(INDEX, &partition, "", "", 200, None)
            .await?;
        page.entities
            .iter()
            .map(|entity| decode("healing", &entity.document))
            .collect()
    }
}

/// Where it is kept how healing ended.
fn healing_partition(fingerprint: &str) -> String {
    fingerprint
        .get(..40)
        .map(|hash| format!("fp-{hash}"))
        .unwrap_or_default()
}

/// No key looks like this: a key has a hyphen.
fn by_number(number: &str) -> String {
    format!("number:{number}")
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}
