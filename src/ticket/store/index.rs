//! What leads from the outside back to a ticket: issues, runs of remediations, and how those ended. Hints; the ticket is the truth.

use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{INDEX, TicketStore, decode, encode, spread};
use crate::failure::{Asset, RunKey};
use crate::fault::Fault;
use crate::ticket::{Outcome, Ticket, TicketId};

const JIRA: &str = "jira";
/// Before a ticket's id: how it ended. Rows without it are about healing.
const OUTCOME: &str = "o:";
const BEHIND_OUTCOMES: &str = "o;";

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
        let number = number.filter(|number| is_number(number)).map(by_number);
        let document = &encode(id)?;
        let rows = number.into_iter().chain([key.to_owned()]);
        let writes = rows.map(|row| async move {
            self.storage
                .upsert(INDEX, &issue_partition(&row), &row, document)
                .await
        });
        try_join_all(writes).await.map(drop)
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
        let found = self.storage.get(INDEX, &issue_partition(key), key).await?;
        let document = match found {
            Some(entity) => Some(entity.document),
            None => self.document_before(INDEX, JIRA, key).await?,
        };
        document
            .map(|document| decode("issue index", &document))
            .transpose()
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
        if self.has_old_rows().await? {
            // What was recorded before assets had scopes.
            let before = RunKey::new(asset.source, &asset.name, cause, "", "").hash();
            past.extend(self.remediations_of(&before).await?);
        }
        Ok(past)
    }

    /// Forgets how healing this ticket ended.
    pub(super) async fn forget_healing_of(&self, ticket: &Ticket) -> Result<(), Fault> {
        let asset = Asset::of(&ticket.failure);
        let partition = healing_partition(&asset.fingerprint(&ticket.diagnosis.fingerprint));
        self.storage
            .delete(INDEX, &partition, ticket.id.as_str(), None)
            .await
            .map(drop)
    }

    /// Forgets whose issue this was.
    pub(super) async fn forget_issue(
        &self,
        key: Option<&str>,
        number: Option<&str>,
    ) -> Result<(), Fault> {
        let number = number.filter(|number| is_number(number)).map(by_number);
        for row in number.into_iter().chain(key.map(str::to_owned)) {
            for partition in [&issue_partition(&row), JIRA] {
                self.storage.delete(INDEX, partition, &row, None).await?;
            }
        }
        Ok(())
    }

    /// Remembers how this ticket ended.
    pub async fn record_outcome(&self, ticket: &Ticket, outcome: &Outcome) -> Result<(), Fault> {
        let asset = Asset::of(&ticket.failure);
        let partition = healing_partition(&asset.fingerprint(&ticket.diagnosis.fingerprint));
        let row = format!("{OUTCOME}{}", ticket.id);
        self.storage
            .upsert(INDEX, &partition, &row, &encode(outcome)?)
            .await
    }

    /// How tickets of this cause on this asset ended.
    pub async fn outcomes(&self, asset: &Asset, cause: &str) -> Result<Vec<Outcome>, Fault> {
        let partition = healing_partition(&asset.fingerprint(cause));
        let page = self
            .storage
            .scan(INDEX, &partition, OUTCOME, BEHIND_OUTCOMES, 200, None)
            .await?;
        page.entities
            .iter()
            .map(|entity| decode("outcome", &entity.document))
            .collect()
    }

    async fn remediations_of(&self, fingerprint: &str) -> Result<Vec<PastRemediation>, Fault> {
        let partition = healing_partition(fingerprint);
        let page = self
            .storage
            .scan(INDEX, &partition, "", OUTCOME, 200, None)
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

fn issue_partition(row: &str) -> String {
    spread(JIRA, &crate::digest::sha256(row))
}

/// No key looks like this: a key has a hyphen.
fn by_number(number: &str) -> String {
    format!("number:{number}")
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}
