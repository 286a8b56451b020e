//! What only the person sees who pressed a button: why nothing happened, and the form for a line about the cause.
//!
//! Slack waits three seconds for the whole answer, and what was pressed is done by then: these calls are tried once, and
//! what becomes of them changes nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Slack;
use super::blocks::plain_text;
use super::interaction::{CAUSE_LINE, Press, cause_value, is_id};
use super::text::prose;
use crate::diagnosis::Category;
use crate::ticket::TicketId;

/// Of the three seconds.
const WITHIN: Duration = Duration::from_millis(1800);
const REASON: usize = 1000;
/// Characters of the line: as many as a ticket keeps.
const LINE: usize = 300;

impl Slack {
    /// Tells who pressed a button of the approvers who these are.
    pub async fn tell_who_may(&self, press: &Press, now: DateTime<Utc>) {
        let approvers = &self.settings.approvers;
        let names: Vec<String> = (approvers.iter().filter(|id| is_id(id)))
            .map(|id| format!("<@{id}>"))
            .collect();
        let text = if names.is_empty() {
            "Nothing has changed: nobody may decide this in Slack as long as `SLACK_APPROVERS` names nobody.".to_owned()
        } else {
            format!(
                "Nothing has changed: only {} may decide this here.",
                names.join(", ")
            )
        };
        self.whisper(press, text, now).await;
    }

    /// Tells who pressed a button why nothing has changed.
    pub async fn tell_refusal(&self, press: &Press, why: &str, now: DateTime<Utc>) {
        let why = prose(why, REASON);
        let text = format!("Nothing has changed: {}.", why.form().0);
        self.whisper(press, text, now).await;
    }

    /// A message in the channel that nobody else sees.
    async fn whisper(&self, press: &Press, text: String, now: DateTime<Utc>) {
        // A form has no channel.
        let Some(channel) = &press.channel else {
            return;
        };
        let arguments = json!({"channel": channel, "user": press.user_id, "text": text});
        self.call_once("chat.postEphemeral", &arguments, now).await;
    }

    /// Opens a form for a line about the cause that a person named.
    pub async fn ask_for_line(
        &self,
        ticket: &TicketId,
        category: Category,
        trigger: &str,
        now: DateTime<Utc>,
    ) {
        if let Some(view) = cause_form(ticket, category) {
            let arguments = json!({"trigger_id": trigger, "view": view});
            self.call_once("views.open", &arguments, now).await;
        }
    }

    async fn call_once(&self, method: &str, arguments: &Value, now: DateTime<Utc>) {
        let called = tokio::time::timeout(WITHIN, self.client.post(method, arguments, now)).await;
        let reason = match called {
            Ok(Ok(_)) => return,
            Ok(Err(failed)) => failed.fault(method, &self.settings.channel).to_string(),
            Err(_) => "Slack did not answer in time".to_owned(),
        };
        tracing::warn!(slack.method = method, reason = %reason, "Slack did not show an answer to the person who asked");
    }
}

/// The form; `None` when its answer could not be read back.
pub fn cause_form(ticket: &TicketId, category: Category) -> Option<Value> {
    Some(json!({
        "type": "modal", "callback_id": CAUSE_LINE, "private_metadata": cause_value(ticket, category)?,
        "title": plain_text("The cause is another"), "submit": plain_text("Send"), "close": plain_text("Leave it at that"),
        "blocks": [
            {"type": "section", "text": plain_text(&format!("Ticket {ticket}: {}. That is recorded.", category.words()))},
            {
                "type": "input", "block_id": CAUSE_LINE, "label": plain_text("What was it, in one line?"),
                "hint": plain_text("It goes to JIRA, to this thread and to the ticket's page."),
                "element": {"type": "plain_text_input", "action_id": CAUSE_LINE, "max_length": LINE},
            },
        ],
    }))
}
