//! What people see of an incident: its leader, with counts and a list of its followers, and the cause of its deepest layer.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::links::{Links, ids};
use crate::failure::{Source, field};
use crate::ticket::{
    Actor, FoldReason, Incident, Line, Member, MemberRuns, Question, Status, Ticket, TicketId,
};

/// Followers that are listed.
const LISTED: usize = 10;
/// Tickets of a cascade that are compared, and layers that it may have.
const LAYERS: usize = 200;
const DEPTH: usize = 8;
/// Questions that are answered together; the next ones come after these.
const QUESTIONS: usize = 20;
/// Statuses of issues by which people say that nothing will be done about it.
const REFUSALS: [&str; 10] = [
    "won't",
    "wont",
    "will not",
    "declined",
    "rejected",
    "by design",
    "not a bug",
    "invalid",
    "works as",
    "known issue",
];

/// What a leader knows of its followers. Whose diagnosis the cause is, is filled in by the flow, which can read it.
pub fn summary(leader: &Ticket, members: &[Member]) -> (Incident, Option<TicketId>) {
    let mut newest: Vec<&Member> = members.iter().collect();
    newest.sort_by(|a, b| (b.received_at, &b.id).cmp(&(a.received_at, &a.id)));
    // What tells of a silence is no failure itself.
    let own = (leader.failure.source != Source::System)
        .then(|| (leader.failure.source.name(), leader.failure.asset.as_str()));
    let assets: BTreeSet<(&str, &str)> = (members.iter())
        .map(|member| (member.source.name(), member.asset.as_str()))
        .chain(own)
        .collect();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let (path, deepest) = layers(leader, members);
    let incident = Incident {
        tickets: count(members.len() + usize::from(own.is_some())),
        assets: count(assets.len()),
        units: count(
            members
                .iter()
                .filter(|member| member.reason == FoldReason::FanOut)
                .count(),
        ),
        open: count(members.iter().filter(|member| !member.is_closed()).count()),
        latest: newest
            .iter()
            .take(LISTED)
            .map(|member| line(member))
            .collect(),
        path,
        questions: questions(members),
        ..Incident::default()
    };
    (incident, deepest)
}

/// What people are asked about the followers: the soonest to expire first.
fn questions(members: &[Member]) -> Vec<Question> {
    let mut questions: Vec<Question> = members
        .iter()
        .filter_map(|member| member.question.clone())
        .collect();
    questions.sort_by(|a, b| (a.expires_at, &a.ticket).cmp(&(b.expires_at, &b.ticket)));
    questions.truncate(QUESTIONS);
    questions
}

fn line(member: &Member) -> Line {
    Line {
        id: member.id.clone(),
        asset: named(&member.asset, member.unit.as_deref()),
        reason: member.reason,
        closed: member.is_closed(),
    }
}

fn named(asset: &str, unit: Option<&str>) -> String {
    match unit {
        Some(index) if index.starts_with('[') => format!("{asset}{index}"),
        Some(task) => format!("{asset} · {task}"),
        None => asset.to_owned(),
    }
}

/// A layer of a cascade.
struct Layer<'a> {
    id: &'a TicketId,
    name: String,
    runs: Cow<'a, MemberRuns>,
    at: DateTime<Utc>,
}

impl Layer<'_> {
    /// Does this one name the other's run, or the other this one's as its parent?
    fn calls(&self, other: &Self) -> bool {
        let (mine, its) = (&self.runs, &other.runs);
        let known = mine.names.iter().any(|name| its.own.contains(name));
        self.id != other.id && (known || its.parents.iter().any(|parent| mine.own.contains(parent)))
    }
}

/// The path of a cascade, outermost first, and its deepest ticket, if that is not the leader.
fn layers(leader: &Ticket, members: &[Member]) -> (Vec<String>, Option<TicketId>) {
    let links = Links::of(leader);
    let first = Layer {
        id: &leader.id,
        name: named(&leader.failure.asset, leader.failure.field(field::TASK_KEY)),
        runs: Cow::Owned(MemberRuns {
            own: ids(&links.own),
            names: ids(&links.named),
            parents: ids(&links.parents),
        }),
        at: leader.received_at,
    };
    let others = members
        .iter()
        .filter(|member| member.reason == FoldReason::Cascade);
    let others = others.map(|member| Layer {
        id: &member.id,
        name: named(&member.asset, member.unit.as_deref()),
        runs: Cow::Borrowed(&member.runs),
        at: member.received_at,
    });
    let all: Vec<Layer<'_>> = others.chain([first]).take(LAYERS).collect();
    if all.len() < 2 {
        return (Vec::new(), None);
    }
    // How many layers are above each: the longest chain of calls.
    let mut depths: BTreeMap<&TicketId, usize> = all.iter().map(|layer| (layer.id, 0)).collect();
    for _ in 0..DEPTH {
        for layer in &all {
            let depth = depths.get(layer.id).copied().unwrap_or_default();
            for other in all.iter().filter(|other| layer.calls(other)) {
                let known = depths.entry(other.id).or_default();
                *known = (*known).max(depth + 1).min(DEPTH);
            }
        }
    }
    let depth = |layer: &Layer<'_>| depths.get(layer.id).copied().unwrap_or_default();
    let mut in_order: Vec<&Layer<'_>> = all.iter().collect();
    in_order.sort_by(|a, b| (depth(a), a.at, a.id).cmp(&(depth(b), b.at, b.id)));
    let deepest = in_order
        .last()
        .filter(|layer| depth(layer) > 0)
        .map(|layer| layer.id.clone());
    let mut path: Vec<String> = in_order.iter().map(|layer| layer.name.clone()).collect();
    path.dedup();
    path.truncate(DEPTH);
    (path, deepest.filter(|deepest| *deepest != leader.id))
}

/// The leader as its incident is shown: open as long as a follower is, unless a person closed it; with the cause of the
/// deepest layer. What was shown before it became a follower is closed.
pub fn shown(ticket: &Ticket) -> Cow<'_, Ticket> {
    if let Some(joined) = ticket.joined.as_ref().filter(|_| !ticket.is_closed()) {
        let mut shown = ticket.clone();
        shown.books.status_from = Some(ticket.status);
        shown.status = Status::Acknowledged;
        shown.status_at = joined.at;
        shown.status_by = Actor::system();
        return Cow::Owned(shown);
    }
    let Some(incident) = &ticket.incident else {
        return Cow::Borrowed(ticket);
    };
    let stays_open = ticket.is_closed() && !ticket.last_word().by.is_person() && incident.open > 0;
    if !stays_open && incident.cause.is_none() {
        return Cow::Borrowed(ticket);
    }
    let mut shown = ticket.clone();
    if stays_open {
        shown.status = ticket
            .books
            .status_from
            .filter(|from| *from != Status::Acknowledged)
            .unwrap_or(Status::Open);
        shown.books.status_from = None;
    }
    if let Some(cause) = &incident.cause {
        shown.diagnosis = cause.diagnosis.clone();
    }
    Cow::Owned(shown)
}

/// Did a person close it, and say that nothing will be done about it? Then it stays closed.
pub fn closed_for_good(ticket: &Ticket) -> bool {
    let status = ticket
        .jira
        .status
        .as_deref()
        .unwrap_or_default()
        .to_lowercase();
    let status = status.replace('’', "'");
    ticket.is_closed()
        && ticket.last_word().by.is_person()
        && REFUSALS.iter().any(|word| status.contains(word))
}

/// Of the units of its run, mapped tasks or iterations of a loop: how many failed, and how many there are.
fn units(ticket: &Ticket) -> Option<(u32, u32)> {
    let number = |name| ticket.failure.field(name)?.parse::<u32>().ok();
    let total = number(field::UNITS_TOTAL)?;
    let followers = ticket
        .incident
        .as_ref()
        .map_or(0, |incident| incident.units);
    let failed = number(field::UNITS_FAILED).unwrap_or(followers + 1);
    Some((failed.min(total), total))
}

/// The lines that an issue and a message show of the followers; none where there are none.
pub fn summary_words(ticket: &Ticket) -> Vec<String> {
    if let Some(joined) = &ticket.joined {
        return vec![format!(
            "Part of incident {} ({})",
            joined.leader,
            joined.reason.words()
        )];
    }
    let units = units(ticket)
        .map(|(failed, total)| format!("Units of the run: {failed} of {total} failed"));
    let Some(incident) = ticket
        .incident
        .as_ref()
        .filter(|incident| incident.tickets > 1 || !incident.latest.is_empty())
    else {
        return units.into_iter().collect();
    };
    let open = match incident.open {
        0 => String::new(),
        open => format!(", {open} of them open beside this one"),
    };
    let mut lines = vec![format!("Incident: {}{open}", incident.counts())];
    lines.extend(units);
    if incident.path.len() > 1 {
        lines.push(format!("Path: {}", incident.path.join(" → ")));
    }
    for line in &incident.latest {
        let mark = if line.closed { ", closed" } else { "" };
        lines.push(format!(
            "{}: {} ({}{mark})",
            line.id,
            line.asset,
            line.reason.words()
        ));
    }
    let own = u32::from(ticket.failure.source != Source::System);
    let listed = u32::try_from(incident.latest.len()).unwrap_or_default() + own;
    if incident.tickets > listed {
        lines.push(format!("… and {} more", incident.tickets - listed));
    }
    lines
}
