//! Lists: what they show of each ticket, newest first, and counts of each day.
//!
//! A small row stands beside each ticket and is written with it. Lists read these rows only, a page at a time, so what a
//! request holds does not grow with what is stored. Rows of a day lie in its shards in the order of their ids' times,
//! backwards; a list merges the shards.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{INDEX, SHARDS, TICKETS, TicketStore, day_name, decode, encode, home};
use crate::diagnosis::Category;
use crate::failure::Source;
use crate::fault::Fault;
use crate::storage::Continuation;
use crate::ticket::{Priority, RemediationState, Severity, Sink, Status, Ticket, TicketId};

/// In the index: counts of a day.
pub(super) const COUNTED: &str = "counted";
/// Where the rows of lists begin and end.
const LISTED: (&str, &str) = ("l:", "l;");
/// Rows of one request.
const AT_ONCE: u32 = 500;
/// A day with more tickets is not counted while somebody waits: the sweep counts it.
const LARGE: usize = 2000;
/// How often the sweep counts a large day again: today, and one that is over.
const COUNTED_EVERY: TimeDelta = TimeDelta::minutes(4);
const KEPT: TimeDelta = TimeDelta::hours(1);
/// Characters of a root cause in a list.
const CAUSE: usize = 300;

/// What lists show of a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the ticket")]
pub struct Listed {
    pub id: TicketId,
    pub source: Source,
    pub asset: String,
    pub run_id: Option<String>,
    pub status: Status,
    pub status_by: String,
    pub severity: Severity,
    pub priority: Priority,
    pub category: Category,
    pub error_type: String,
    /// Cut where it is long.
    pub root_cause: String,
    pub received_at: DateTime<Utc>,
    pub sla_due_at: DateTime<Utc>,
    pub sla_breached: bool,
    pub owner: Option<String>,
    pub jira_key: Option<String>,
    /// A fault stopped its delivery to JIRA.
    pub jira_fault: bool,
    pub remediation: RemediationState,
    pub count: u32,
    /// A silence kept it from people.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
    /// Whose incident it is part of; `None`: it leads its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<TicketId>,
    /// How many tickets its incident holds; 0: it was listed before there were incidents, and is one.
    #[serde(default)]
    pub tickets: u32,
    /// How many of its followers are open.
    #[serde(default)]
    pub open_followers: u32,
}

impl Listed {
    /// Of this ticket.
    pub fn of(ticket: &Ticket) -> Self {
        let cause = &ticket.diagnosis.root_cause;
        let root_cause = match cause.char_indices().nth(CAUSE) {
            Some((end, _)) => format!("{}…", cause.get(..end).unwrap_or_default().trim_end()),
            None => cause.clone(),
        };
        Self {
            id: ticket.id.clone(),
            source: ticket.failure.source,
            asset: ticket.failure.asset.clone(),
            run_id: ticket.failure.run_id.clone(),
            status: ticket.status,
            status_by: ticket.status_by.name.clone(),
            severity: ticket.severity,
            priority: ticket.priority,
            category: ticket.diagnosis.category,
            error_type: ticket.diagnosis.error_type.clone(),
            root_cause,
            received_at: ticket.received_at,
            sla_due_at: ticket.sla.due_at,
            sla_breached: ticket.sla.breached_at.is_some(),
            owner: ticket.owner.clone(),
            jira_key: ticket.jira.key.clone(),
            jira_fault: ticket.fault(Sink::Jira).is_some(),
            remediation: ticket.remediation.state,
            count: ticket.count,
            silent: ticket.is_silent(),
            leader: ticket.joined.as_ref().map(|joined| joined.leader.clone()),
            tickets: ticket
                .incident
                .as_ref()
                .map_or(1, |incident| incident.tickets),
            open_followers: ticket.incident.as_ref().map_or(0, |incident| incident.open),
        }
    }

    /// How the incident stands that it leads: open as long as a follower is.
    pub fn incident_status(&self) -> Status {
        if self.is_closed() && self.open_followers > 0 {
            Status::Open
        } else {
            self.status
        }
    }

    /// Closed?
    pub fn is_closed(&self) -> bool {
        self.status == Status::Acknowledged
    }
}

/// Numbers of tickets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub all: usize,
    /// Nobody works on them yet.
    pub open: usize,
    /// Somebody works on them.
    pub in_progress: usize,
    /// A plan waits for an answer.
    pub awaiting_approval: usize,
    /// Open after their SLA.
    pub breached: usize,
    /// Healed by a playbook.
    pub healed: usize,
    /// By category.
    pub categories: BTreeMap<String, usize>,
    /// There are more than were counted.
    #[serde(default)]
    pub partial: bool,
}

/// Counts of a day as they are kept.
#[derive(Serialize, Deserialize)]
struct Counted {
    at: DateTime<Utc>,
    counts: Counts,
}

impl Counts {
    /// One more ticket.
    pub fn add(&mut self, ticket: &Listed) {
        let open = !ticket.is_closed();
        let count = |number: &mut usize, applies: bool| *number += usize::from(applies);
        self.all += 1;
        count(&mut self.open, ticket.status == Status::Open);
        count(&mut self.in_progress, ticket.status == Status::InProgress);
        count(
            &mut self.awaiting_approval,
            open && ticket.remediation == RemediationState::AwaitingApproval,
        );
        count(&mut self.breached, open && ticket.sla_breached);
        count(
            &mut self.healed,
            ticket.remediation == RemediationState::Succeeded,
        );
        *self
            .categories
            .entry(ticket.category.words().to_owned())
            .or_default() += 1;
    }

    fn join(&mut self, other: &Self) {
        self.all += other.all;
        self.open += other.open;
        self.in_progress += other.in_progress;
        self.awaiting_approval += other.awaiting_approval;
        self.breached += other.breached;
        self.healed += other.healed;
        for (category, count) in &other.categories {
            *self.categories.entry(category.clone()).or_default() += count;
        }
        self.partial |= other.partial;
    }
}

/// The row of a ticket in lists: the later its time, the earlier the row.
pub(super) fn row(id: &TicketId) -> String {
    let time = id.as_str().split('-').nth(1).unwrap_or_default();
    let backwards: String = time
        .chars()
        .map(|c| {
            c.to_digit(10)
                .and_then(|digit| char::from_digit(9 - digit, 10))
                .unwrap_or(c)
        })
        .collect();
    format!("l:{backwards}:{id}")
}

/// The last days, newest first, as the store names them. One day ahead: a sender's midnight and ours may differ by a little.
pub(super) fn last_days(now: DateTime<Utc>, days: u32) -> impl Iterator<Item = String> {
    (-1..i64::from(days)).map(move |back| {
        let day = now - TimeDelta::days(back);
        day_name(day.date_naive())
    })
}

/// A shard of a day, read page by page.
struct Shard {
    partition: String,
    from: String,
    page: VecDeque<(String, Listed)>,
    after: Option<Continuation>,
    over: bool,
}

impl Shard {
    fn of(day: &str, from: &str) -> Vec<Self> {
        let shard = |shard| Self {
            partition: format!("{day}-{shard}"),
            from: from.to_owned(),
            page: VecDeque::new(),
            after: None,
            over: false,
        };
        (0..SHARDS).map(shard).collect()
    }
}

impl TicketStore {
    /// Tickets of the last `days` days that `shows` wants, newest first and older than `before`, at most `limit`; and
    /// whether there are more.
    pub async fn list(
        &self,
        now: DateTime<Utc>,
        days: u32,
        before: Option<&TicketId>,
        limit: usize,
        shows: impl Fn(&Listed) -> bool + Send + Sync,
    ) -> Result<(Vec<Listed>, bool), Fault> {
        let mut found = Vec::new();
        for day in last_days(now, days) {
            let before = match before {
                Some(before) if before.day() < day.as_str() => continue,
                before => before.filter(|before| before.day() == day),
            };
            let wanted = limit - found.len();
            let (more, has_more) = self.list_of_day(&day, before, wanted, &shows).await?;
            found.extend(more);
            if has_more {
                return Ok((found, true));
            }
        }
        Ok((found, false))
    }

    /// The same of one day.
    pub async fn list_of_day(
        &self,
        day: &str,
        before: Option<&TicketId>,
        limit: usize,
        shows: &(dyn Fn(&Listed) -> bool + Sync),
    ) -> Result<(Vec<Listed>, bool), Fault> {
        let mut found = Vec::new();
        // Right behind its row.
        let from = before.map_or(LISTED.0.to_owned(), |before| format!("{}!", row(before)));
        let mut shards = Shard::of(day, &from);
        let size = u32::try_from(limit.saturating_add(1)).unwrap_or(AT_ONCE);
        while let Some(next) = self.next_listed(&mut shards, size.min(AT_ONCE)).await? {
            if !shows(&next) {
                continue;
            }
            if found.len() == limit {
                return Ok((found, true));
            }
            found.push(next);
        }
        Ok((found, false))
    }

    /// Tickets of the last `days` days, newest first, at most `limit`.
    pub async fn recent(
        &self,
        now: DateTime<Utc>,
        days: u32,
        limit: usize,
    ) -> Result<Vec<Ticket>, Fault> {
        let (listed, _) = self.list(now, days, None, limit, |_| true).await?;
        let mut tickets = Vec::new();
        for row in listed {
            tickets.extend(self.load(&row.id).await?);
        }
        Ok(tickets)
    }

    async fn next_listed(&self, shards: &mut [Shard], size: u32) -> Result<Option<Listed>, Fault> {
        let empty = shards
            .iter_mut()
            .filter(|shard| shard.page.is_empty() && !shard.over);
        try_join_all(empty.map(|shard| self.read_on(shard, size))).await?;
        let first = shards
            .iter_mut()
            .filter(|shard| !shard.page.is_empty())
            .min_by(|a, b| {
                let row = |shard: &Shard| shard.page.front().map(|(row, _)| row.clone());
                row(a).cmp(&row(b))
            });
        Ok(first
            .and_then(|shard| shard.page.pop_front())
            .map(|(_, listed)| listed))
    }

    async fn read_on(&self, shard: &mut Shard, size: u32) -> Result<(), Fault> {
        while shard.page.is_empty() && !shard.over {
            let page = self
                .storage
                .scan(
                    TICKETS,
                    &shard.partition,
                    &shard.from,
                    LISTED.1,
                    size,
                    shard.after.as_ref(),
                )
                .await?;
            for entity in page.entities {
                match decode("listed ticket", &entity.document) {
                    Ok(listed) => shard.page.push_back((entity.row, listed)),
                    Err(fault) => {
                        tracing::error!(row = %entity.row, fault = fault.reason(), "a listed ticket cannot be read");
                    }
                }
            }
            shard.after = page.next;
            shard.over = shard.after.is_none();
        }
        Ok(())
    }

    pub(super) async fn list_again(&self, id: &TicketId, listed: &Listed) -> Result<(), Fault> {
        self.storage
            .upsert(TICKETS, &home(id), &row(id), &encode(listed)?)
            .await
    }

    /// Counts of all tickets of the last `days` days. Those of a day with very many may be some minutes old. Nothing is
    /// written.
    pub async fn counts(&self, now: DateTime<Utc>, days: u32) -> Result<Counts, Fault> {
        let kept = &self.kept_counts().await?;
        let mut counts = Counts::default();
        let days: Vec<String> = last_days(now, days).collect();
        // A few days at a time: each asks all its shards at once.
        for few in days.chunks(8) {
            let counted = few.iter().map(|day| async move {
                match kept.get(day) {
                    Some(kept) => Ok(kept.counts.clone()),
                    None => self.count_day(day, LARGE).await,
                }
            });
            for day in try_join_all(counted).await? {
                counts.join(&day);
            }
        }
        Ok(counts)
    }

    /// Counts days that are too large to be counted while somebody waits: today, yesterday, one more of the last 90 in
    /// its turn, and those that were found to be large before.
    pub async fn count_large_days(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        let mut kept = self.kept_counts().await?;
        let day = |back| day_name((now - TimeDelta::days(back)).date_naive());
        let in_turn = day(now.timestamp().div_euclid(300).rem_euclid(90));
        let today = day(0);
        let mut days = vec![today.clone(), day(1), in_turn];
        days.extend(kept.keys().cloned());
        days.sort();
        days.dedup();
        for day in days {
            let old = kept.remove(&day).is_none_or(|kept| {
                let often = if day == today { COUNTED_EVERY } else { KEPT };
                now - kept.at >= often
            });
            if old {
                let counts = self.count_day(&day, usize::MAX).await?;
                if counts.all >= LARGE {
                    self.keep_counts(&day, &counts, now).await?;
                } else {
                    self.storage.delete(INDEX, COUNTED, &day, None).await?;
                }
            }
        }
        Ok(())
    }

    async fn kept_counts(&self) -> Result<BTreeMap<String, Counted>, Fault> {
        let page = self.storage.scan(INDEX, COUNTED, "", "", 200, None).await?;
        let counted = |entity: crate::storage::Entity| {
            Ok((entity.row, decode("counts of a day", &entity.document)?))
        };
        page.entities.into_iter().map(counted).collect()
    }

    async fn keep_counts(
        &self,
        day: &str,
        counts: &Counts,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let counted = Counted {
            at: now,
            counts: counts.clone(),
        };
        self.storage
            .upsert(INDEX, COUNTED, day, &encode(&counted)?)
            .await
    }

    async fn count_day(&self, day: &str, most: usize) -> Result<Counts, Fault> {
        let mut counts = Counts::default();
        let mut shards = Shard::of(day, LISTED.0);
        while let Some(next) = self.next_listed(&mut shards, AT_ONCE).await? {
            if counts.all >= most {
                counts.partial = true;
                break;
            }
            counts.add(&next);
        }
        Ok(counts)
    }
}
