//! Lists: what they show of each ticket, newest first.
//!
//! A small row stands beside each ticket and is written with it. Lists read these rows only, a page at a time, so what a
//! request holds does not grow with what is stored. Rows of a day lie in its shards in the order of their ids' times,
//! backwards; a list merges the shards.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{SHARDS, TICKETS, TicketStore, day_name, decode, encode, home};
use crate::diagnosis::Category;
use crate::failure::{Source, field};
use crate::fault::Fault;
use crate::storage::Continuation;
use crate::ticket::numbers::{Ending, Numbers, of};
use crate::ticket::{Priority, RemediationState, Severity, Sink, Status, Ticket, TicketId};

/// Where the rows of lists begin and end.
const LISTED: (&str, &str) = ("l:", "l;");
/// Rows of one request.
const AT_ONCE: u32 = 500;
/// Characters of a root cause in a list.
const CAUSE: usize = 300;
/// Bytes of what a list does not show and people search for.
const ABOUT: usize = 240;

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
    /// When it failed, by its platform's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<DateTime<Utc>>,
    /// Since when it has its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_at: Option<DateTime<Utc>>,
    /// A later run of the same asset ended well, and closed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovered: bool,
    /// The activity or task, and the hosts, accounts and files that its error names: what people search for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
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
        let corrected = ticket.correction.as_ref();
        let cause = &corrected.map_or_else(
            || ticket.diagnosis.root_cause.clone(),
            |correction| format!("Corrected: {}", correction.words()),
        );
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
            category: corrected.map_or(ticket.diagnosis.category, |its| its.category),
            error_type: ticket.diagnosis.error_type.clone(),
            root_cause,
            received_at: ticket.received_at,
            occurred_at: ticket.failure.occurred_at,
            status_at: Some(ticket.status_at),
            recovered: ticket.books.recovered_by.is_some() && !ticket.status_by.is_person(),
            about: about(ticket),
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

    /// How it ended, or that it has not.
    pub fn ending(&self) -> Ending {
        if !self.is_closed() {
            Ending::Open
        } else if self.remediation == RemediationState::Succeeded {
            Ending::Healed
        } else if self.recovered {
            Ending::Recovered
        } else {
            Ending::Closed
        }
    }

    /// From the report to the close.
    pub fn time_to_close(&self) -> Option<TimeDelta> {
        let closed = self.status_at.filter(|_| self.is_closed())?;
        Some(closed - self.received_at)
    }

    /// Closed?
    pub fn is_closed(&self) -> bool {
        self.status == Status::Acknowledged
    }
}

impl Numbers {
    /// One more ticket.
    pub(super) fn add(&mut self, ticket: &Listed) {
        let count = |number: &mut usize, applies: bool| *number += usize::from(applies);
        let ending = ticket.ending();
        let open = ending == Ending::Open;
        self.all += 1;
        count(&mut self.incidents, ticket.leader.is_none());
        count(&mut self.open, ticket.status == Status::Open);
        count(&mut self.in_progress, ticket.status == Status::InProgress);
        let asked = ticket.remediation == RemediationState::AwaitingApproval;
        count(&mut self.awaiting_approval, open && asked);
        count(&mut self.breached, open && ticket.sla_breached);
        count(&mut self.healed, ending == Ending::Healed);
        count(&mut self.recovered, ending == Ending::Recovered);
        count(&mut self.closed, ending == Ending::Closed);
        count(&mut self.sla_missed, ticket.sla_breached);
        let taken = ticket.status != Status::Open;
        count(&mut self.sla_kept, taken && !ticket.sla_breached);
        if let Some(took) = ticket.time_to_close() {
            self.closed_after(took);
        }
        *of(&mut self.categories, ticket.category.words()) += 1;
        *of(&mut self.sources, ticket.source.name()) += 1;
        *of(&mut self.assets, &ticket.asset) += 1;
        if let Some(owner) = &ticket.owner {
            *of(&mut self.owners, owner) += 1;
        }
    }
}

/// What people search for and do not see in a list.
fn about(ticket: &Ticket) -> String {
    let failure = &ticket.failure;
    let fields = [field::ACTIVITY, field::TASK_KEY, field::TASK_ID];
    let units = fields.into_iter().filter_map(|name| failure.field(name));
    let named = ticket.diagnosis.entities.iter();
    let named = named.filter(|(name, _)| name.as_str() != "says");
    let mut words = String::new();
    for word in units.chain(named.map(|(_, value)| value.as_str())) {
        if words.len() + word.len() < ABOUT && !words.contains(word) {
            words.push_str(word);
            words.push(' ');
        }
    }
    words.trim_end().to_owned()
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
        let since = now - TimeDelta::days(i64::from(days));
        let shows = |row: &Listed| row.received_at >= since && shows(row);
        for day in last_days(now, days + 1) {
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

    /// Numbers of a day, of at most so many of its tickets.
    pub(super) async fn count_day(&self, day: &str, most: usize) -> Result<Numbers, Fault> {
        let mut counts = Numbers::default();
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
