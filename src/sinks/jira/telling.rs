//! What an existing issue shows, and the story told in its comments.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::claims::Standing;
use super::client::Failed;
use super::{Jira, Step, document, field, noted};
use crate::ticket::{Chapter, JiraRecord, Ticket};

/// How long after an unanswered comment call the comment may still appear. Comments are read from the
/// database, not from the index: only JIRA's own work counts.
const SETTLE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(5);

impl Jira {
    /// Writes summary and description when they are not what was last written.
    pub(super) async fn show(
        &self,
        ticket: &Ticket,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Step<JiraRecord>>, Failed> {
        let record = &ticket.jira;
        let page = self.page(ticket, &record.left_out);
        if record.shown.as_deref() == Some(page.hash.as_str()) {
            return Ok(None);
        }
        let lease = match self.lease(ticket, record, now) {
            Ok(lease) => lease,
            Err(step) => return Ok(Some(*step)),
        };
        let mut fields = json!({"summary": page.summary});
        if let Some(fields) = fields
            .as_object_mut()
            .filter(|_| !page.description.is_null())
        {
            fields.insert("description".to_owned(), page.description.clone());
        }
        let mut next = JiraRecord {
            changing_since: None,
            changing_by: None,
            ..record.clone()
        };
        let outcome = self.client.edit(key, &fields, now).await;
        self.release(ticket, lease);
        match outcome {
            Ok(()) => {
                next.shown = Some(page.hash);
                next.fault = None;
            }
            Err(Failed::Invalid(invalid))
                if invalid.fields.contains_key(field::DESCRIPTION)
                    && !page.description.is_null() =>
            {
                next.left_out.push(field::DESCRIPTION.to_owned());
                next.fault = Some(noted(
                    format!("JIRA refused the description: {}", invalid.words()),
                    now,
                ));
            }
            // A closed issue may be read-only by its workflow: what it shows is then the past.
            Err(Failed::Invalid(invalid)) => {
                next.shown = Some(page.hash);
                next.fault = Some(noted(
                    format!("JIRA refused to edit the issue (400): {}", invalid.words()),
                    now,
                ));
            }
            Err(failed) => return Err(failed),
        }
        Ok(Some(Step::Recorded(next)))
    }

    /// Tells the next chapter, once.
    pub(super) async fn tell(
        &self,
        ticket: &Ticket,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Step<JiraRecord>>, Failed> {
        let record = &ticket.jira;
        let Some(number) = record.telling else {
            let next = ticket
                .story
                .iter()
                .map(|chapter| chapter.number)
                .filter(|number| *number > record.told)
                .min();
            return Ok(next.map(|number| Step::Recorded(self.claimed_chapter(record, number, now))));
        };
        let Some(chapter) = ticket.story.iter().find(|chapter| chapter.number == number) else {
            return Ok(Some(Step::Recorded(told(record, number))));
        };
        let what = document::marker(&ticket.id, number);
        let since = record.telling_since.unwrap_or_default();
        let standing = self
            .claims
            .standing(&what, record.telling_by.as_deref(), since, now);
        if standing == Standing::Over {
            return Ok(Some(Step::Recorded(
                self.claimed_chapter(record, number, now),
            )));
        }
        if standing == Standing::Ours && self.claims.spend(&what, since) {
            return self.say(ticket, key, chapter, now).await.map(Some);
        }
        let comments = self.client.comments(key, now).await?;
        if comments
            .iter()
            .any(|comment| document::plain_text(comment).contains(&what))
        {
            return Ok(Some(Step::Recorded(told(record, number))));
        }
        let left = since + SETTLE.min(self.settle) - now;
        if left <= TimeDelta::zero() {
            return Ok(Some(Step::Recorded(
                self.claimed_chapter(record, number, now),
            )));
        }
        let wait = left.min(LOOK_AGAIN).to_std().unwrap_or(Duration::ZERO);
        Ok(Some(Step::Wait(
            wait,
            "JIRA did not say whether it took the comment: looking before telling it again"
                .to_owned(),
        )))
    }

    async fn say(
        &self,
        ticket: &Ticket,
        key: &str,
        chapter: &Chapter,
        now: DateTime<Utc>,
    ) -> Result<Step<JiraRecord>, Failed> {
        let record = &ticket.jira;
        let what = document::marker(&ticket.id, chapter.number);
        let since = record.telling_since.unwrap_or_default();
        match self
            .client
            .comment(key, &document::comment(&ticket.id, chapter), now)
            .await
        {
            Ok(()) => Ok(Step::Recorded(told(record, chapter.number))),
            Err(Failed::Invalid(invalid)) => {
                self.claims.end(&what, since);
                let reason = format!(
                    "JIRA refused the comment of chapter {} (400): {}",
                    chapter.number,
                    invalid.words()
                );
                Ok(Step::Recorded(JiraRecord {
                    fault: Some(noted(reason, now)),
                    ..told(record, chapter.number)
                }))
            }
            Err(failed @ Failed::Lost(_)) => Err(failed),
            Err(failed) => {
                self.claims.end(&what, since);
                Err(failed)
            }
        }
    }

    fn claimed_chapter(&self, record: &JiraRecord, number: u32, now: DateTime<Utc>) -> JiraRecord {
        let by = Some(self.claims.name());
        JiraRecord {
            telling: Some(number),
            telling_since: Some(now),
            telling_by: by,
            ..record.clone()
        }
    }
}

fn told(record: &JiraRecord, number: u32) -> JiraRecord {
    let fault = record.fault.clone().filter(|fault| !fault.retrying);
    JiraRecord {
        told: number,
        telling: None,
        telling_since: None,
        telling_by: None,
        fault,
        ..record.clone()
    }
}
