//! What an existing issue shows, and the story told in its comments.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::refusal::Failed;
use super::{Jira, Step, document, field, noted};
use crate::sinks::Standing;
use crate::ticket::{Chapter, Intent, JiraRecord, Ticket, Work};

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
        let intent = match self.may_change(ticket, record, now) {
            Ok(intent) => intent,
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
            intent: None,
            ..record.clone()
        };
        let outcome = self.client.edit(key, &fields, now).await;
        self.intents.end(&intent);
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
                next.fault = Some(noted(invalid.refused("to edit the issue"), now));
            }
            Err(failed) => return Err(failed),
        }
        Ok(Some(Step::Recorded(next)))
    }

    /// Intends to tell the next chapter.
    pub(super) fn intend_comment(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Option<Step<JiraRecord>> {
        let record = &ticket.jira;
        let numbers = ticket.jira_story().map(|chapter| chapter.number);
        let next = numbers.filter(|number| *number > record.told).min()?;
        if let Some(needless) = &record.intent {
            self.intents.end(needless);
        }
        Some(Step::Recorded(self.commenting(record, next, now)))
    }

    /// Tells the chapter that was intended, once.
    pub(super) async fn settle_comment(
        &self,
        ticket: &Ticket,
        key: &str,
        number: u32,
        intent: &Intent,
        now: DateTime<Utc>,
    ) -> Result<Step<JiraRecord>, Failed> {
        let record = &ticket.jira;
        let Some(chapter) = ticket.story.iter().find(|chapter| chapter.number == number) else {
            return Ok(Step::Recorded(told(record, number)));
        };
        let standing = self.intents.standing(intent, now);
        if standing == Standing::Over {
            return Ok(Step::Recorded(self.commenting(record, number, now)));
        }
        if standing == Standing::Unsent && self.intents.spend(intent) {
            return self.comment(ticket, key, chapter, intent, now).await;
        }
        let comments = self.client.comments(key, now).await?;
        let marker = document::marker(&ticket.id, number);
        if comments
            .iter()
            .any(|comment| document::plain_text(comment).contains(&marker))
        {
            return Ok(Step::Recorded(told(record, number)));
        }
        let left = intent.since + SETTLE - now;
        if left <= TimeDelta::zero() {
            return Ok(Step::Recorded(self.commenting(record, number, now)));
        }
        Ok(Step::Wait(
            left.min(LOOK_AGAIN).to_std().unwrap_or(Duration::ZERO),
            "JIRA did not say whether it took the comment: looking before telling it again"
                .to_owned(),
        ))
    }

    async fn comment(
        &self,
        ticket: &Ticket,
        key: &str,
        chapter: &Chapter,
        intent: &Intent,
        now: DateTime<Utc>,
    ) -> Result<Step<JiraRecord>, Failed> {
        let record = &ticket.jira;
        match self
            .client
            .comment(key, &document::comment(&ticket.id, chapter), now)
            .await
        {
            Ok(()) => Ok(Step::Recorded(told(record, chapter.number))),
            Err(Failed::Invalid(invalid)) => {
                self.intents.end(intent);
                let reason = invalid.refused(&format!("the comment of chapter {}", chapter.number));
                Ok(Step::Recorded(JiraRecord {
                    fault: Some(noted(reason, now)),
                    ..told(record, chapter.number)
                }))
            }
            Err(failed @ Failed::Lost(_)) => Err(failed),
            Err(failed) => {
                self.intents.end(intent);
                Err(failed)
            }
        }
    }

    pub(super) fn commenting(
        &self,
        record: &JiraRecord,
        number: u32,
        now: DateTime<Utc>,
    ) -> JiraRecord {
        JiraRecord {
            intent: Some(self.intents.open(Work::Comment(number), now)),
            ..record.clone()
        }
    }
}

fn told(record: &JiraRecord, number: u32) -> JiraRecord {
    let fault = record.fault.clone().filter(|fault| !fault.retrying);
    JiraRecord {
        told: number,
        intent: None,
        fault,
        ..record.clone()
    }
}
