//! Notices: what somebody must fix around the tool itself is reported once, by a ticket of its own, where people still read it.
//!
//! A sink that refuses what is sent to it (an expired token, a project that is gone) keeps its tickets waiting, and nobody
//! may look at the dashboard. So the sweep opens one ticket per sink, shown in the other sinks, tells when many more wait,
//! and closes it once nothing is blocked any more. Somebody who closes it earlier hears no more of this outage.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Flow;
use crate::diagnosis::Diagnosis;
use crate::failure::{Failure, RunKey, Source};
use crate::fault::Fault;
use crate::sources::airflow::units::Latest;
use crate::ticket::machine::{self, Event, Opening};
use crate::ticket::store::{Claim, NewClaim, RunRows, StuckRows};
use crate::ticket::{Actor, BlockedSinks, ChapterKind, Sink, Status, TicketId, Waits};

/// How many tickets waited when the notice was opened, in its failure's context.
const WAITING: &str = "waiting";
/// A fault that one repetition repairs is nobody's task: it is reported only after it was tried again in vain.
const TRIES: u32 = 2;
/// Outages of one sink, one after the other; more than that in a lifetime, and the oldest are looked through in vain.
const OUTAGES: usize = 500;

impl Flow {
    /// Opens, updates and closes notices by what is stopped.
    pub(super) async fn announce_blocked_sinks(
        &self,
        stuck: &StuckRows,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let blocked = BlockedSinks::of(stuck);
        for (sink, waits) in &blocked.0 {
            let open = stuck.notices.iter().find(|(about, _)| about == sink);
            match open {
                Some((_, id)) => self.announce_more(*sink, id, waits, now).await?,
                None if waits.tries >= TRIES => self.open_notice(*sink, waits, now).await?,
                None => {}
            }
        }
        for (sink, id) in &stuck.notices {
            if stuck.whole && !blocked.0.contains_key(sink) {
                tracing::info!(ticket.id = %id, sink.name = sink.name(), "nothing is blocked any more");
                let closed = Event::StatusChanged {
                    to: Status::Acknowledged,
                    by: Actor::system(),
                    at: now,
                    jira_status: None,
                };
                self.try_apply(id, closed, now).await?;
                self.store.note_notice(*sink, None).await?;
            }
        }
        Ok(())
    }

    /// Whose a ticket of the tool's own is: ours, or that of a sweep that was faster, or died.
    pub(super) async fn claim_own(
        &self,
        rows: &RunRows,
        key: &RunKey,
        offer: &TicketId,
    ) -> Result<TicketId, Fault> {
        let new = NewClaim {
            key,
            offer,
            waiting: None,
            units: None,
        };
        match self.store.claim(rows, new).await? {
            Claim::Ours => Ok(offer.clone()),
            Claim::Theirs(owner) => Ok(owner),
            Claim::Changed => Err(Fault::transient("a claim vanished while it was read")),
        }
    }

    async fn open_notice(
        &self,
        sink: Sink,
        waits: &Waits,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let mut key = RunKey::new(Source::System, "", sink.name(), "", "");
        let offer = TicketId::new(Source::System, now, fastrand::u32(..));
        let rows = self.store.run(&key).await?;
        let mut follows = None;
        for _ in 0..OUTAGES {
            let owner = self.claim_own(&rows, &key, &offer).await?;
            let Some(known) = self.store.load(&owner).await? else {
                // Ours, or that of a sweep that died right here.
                return self
                    .insert_notice(owner, key, follows, sink, waits, now)
                    .await;
            };
            if !known.is_closed() || known.status_at >= waits.since {
                // Somebody who closes it earlier hears no more of this outage.
                return self.store.note_notice(sink, Some(&owner)).await;
            }
            key = key.after(&owner);
            follows = Some(owner);
        }
        Ok(())
    }

    async fn insert_notice(
        &self,
        id: TicketId,
        key: RunKey,
        follows: Option<TicketId>,
        sink: Sink,
        waits: &Waits,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let title = sink.title();
        let cause = words(sink, waits);
        let mut sinks_off = self.sinks_off();
        sinks_off
            .entry(sink.name().to_owned())
            .or_insert_with(|| format!("the ticket is about {title} itself"));
        let failure = Failure {
            context: BTreeMap::from([(WAITING.to_owned(), waits.tickets.to_string())]),
            ..Failure::of_ourselves(key, title.to_owned(), cause.clone(), waits.since)
        }
        .sealed();
        let steps = vec![
            format!("Run `aiops-rca doctor`: it asks {title} the same questions and names what to fix."),
            "Fix the setting or the right that it names, and restart the app: what waits is tried again at once.".to_owned(),
            "`aiops-rca replay` lists what waits, and `aiops-rca replay --all` tries it again without a restart.".to_owned(),
        ];
        let diagnosis = Diagnosis::of_ourselves("SinkBlocked", sink.name(), cause, steps);
        let opening = Opening {
            follows,
            sinks_off,
            ..Opening::of(id.clone(), failure, diagnosis, now)
        };
        let mut opened = machine::opened(opening, now);
        // Noted first: one that is open and not noted would never be closed.
        self.store.note_notice(sink, Some(&id)).await?;
        if self.store.open(&mut opened, &[]).await? {
            tracing::error!(ticket.id = %id, sink.name = sink.name(), sink.waiting = waits.tickets, reason = %waits.reason, "a sink is blocked: somebody has to fix something");
        }
        self.put_deliveries(&opened.ticket, Sink::showing(), now)
            .await
    }

    /// Twice as many as were told before are news.
    async fn announce_more(
        &self,
        sink: Sink,
        id: &TicketId,
        waits: &Waits,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let ticket = self.store.load(id).await?;
        let Some(ticket) = ticket.filter(|ticket| !ticket.is_closed()) else {
            // That of a sweep that died before it opened it; or closed: of this outage, or of one before.
            return self.open_notice(sink, waits, now).await;
        };
        let told = ticket.story.iter().rev();
        let told = told.filter(|chapter| chapter.kind == ChapterKind::Recurrence);
        let told: Option<u32> = told.map(|chapter| chapter.text.as_str()).find_map(number);
        let first = || number(ticket.failure.field(WAITING)?);
        if waits.tickets < told.or_else(first).unwrap_or(1).saturating_mul(2) {
            return Ok(());
        }
        let more = Event::TryReported {
            latest: Latest::default(),
            told: Some(format!("{} tickets wait by now", waits.tickets)),
        };
        self.try_apply(id, more, now).await
    }
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u32> {
    text.split(' ').next()?.parse().ok()
}

fn words(sink: Sink, waits: &Waits) -> String {
    let count = match waits.tickets {
        1 => "1 ticket waits".to_owned(),
        many => format!("{many} tickets wait"),
    };
    format!(
        "{} takes nothing since {}: {count}. {}",
        sink.title(),
        waits.since.format("%Y-%m-%d %H:%M UTC"),
        waits.reason
    )
}
