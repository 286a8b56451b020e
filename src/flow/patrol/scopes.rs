//! A scope that cannot be asked, or shows nothing, for too long is reported once, by a ticket of its own.

use chrono::{DateTime, Utc};

use crate::diagnosis::Diagnosis;
use crate::failure::{Failure, RunKey, Source};
use crate::fault::Fault;
use crate::flow::Flow;
use crate::patrol::{Silence, Watch};
use crate::ticket::machine::{self, Event, Opening};
use crate::ticket::{Actor, Sink, Status, TicketId};

impl Flow {
    /// Opens, or closes, the ticket about this scope; `true` when what is remembered of it has changed.
    pub(super) async fn announce_silence(
        &self,
        watch: &mut Watch,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        match (watch.silence(&self.patrol, now), watch.notice.take()) {
            (Some(silence), None) => {
                watch.notice = Some(self.open_silence(watch, &silence, now).await?);
                Ok(true)
            }
            (None, Some(notice)) => {
                if let Some(id) = TicketId::parse(&notice) {
                    tracing::info!(ticket.id = %id, scope.name = %watch.name, "the scope answers again");
                    let closed = Event::StatusChanged {
                        to: Status::Acknowledged,
                        by: Actor::system(),
                        at: now,
                        jira_status: None,
                    };
                    self.try_apply(&id, closed, now).await?;
                }
                Ok(true)
            }
            (_, notice) => {
                watch.notice = notice;
                Ok(false)
            }
        }
    }

    async fn open_silence(
        &self,
        watch: &Watch,
        silence: &Silence,
        now: DateTime<Utc>,
    ) -> Result<String, Fault> {
        let since = silence.since.timestamp().to_string();
        let key = RunKey::new(Source::System, "patrol", &watch.scope, "", &since);
        let offer = TicketId::new(Source::System, now, fastrand::u32(..));
        let rows = self.store.run(&key).await?;
        let id = self.claim_own(&rows, &key, &offer).await?;
        let asset = format!("{} {}", watch.platform(), watch.name);
        let failure =
            Failure::of_ourselves(key, asset, silence.words.clone(), silence.since).sealed();
        let steps = vec![
            "Run `aiops-rca doctor`: it asks the platform the same questions and names the right or the setting that is missing.".to_owned(),
            "Failed runs are still taken in where an alert, a webhook or a callback reports them.".to_owned(),
            "Nothing is lost: once it answers, what ended meanwhile is asked for.".to_owned(),
        ];
        let words = failure.message.clone();
        let diagnosis = Diagnosis::of_ourselves(silence.kind, &watch.scope, words, steps);
        let opening = Opening {
            sinks_off: self.sinks_off(),
            ..Opening::of(id.clone(), failure, diagnosis, now)
        };
        let mut opened = machine::opened(opening, now);
        if self.store.open(&mut opened, &[]).await? {
            tracing::error!(ticket.id = %id, scope.name = %watch.name, reason = %silence.words, "a scope cannot be patrolled: somebody has to fix something");
        }
        self.put_deliveries(&opened.ticket, Sink::showing(), now)
            .await?;
        Ok(id.to_string())
    }
}
