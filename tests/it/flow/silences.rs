//! Silences on a virtual clock: decided once, summed up in one ticket, in storms, with repeats and two processes.

use aiops_rca::flow::{Flow, Task};
use aiops_rca::incident::FoldSettings;
use aiops_rca::silence::Asked;
use aiops_rca::sources::Parsed;
use aiops_rca::ticket::machine::Event;
use aiops_rca::ticket::{Actor, Channel, FoldReason, Silence, Status, Ticket, TicketId};
use chrono::{DateTime, TimeDelta, Utc};

use crate::machine::at;
use crate::support::{self, build};

fn by() -> Actor {
    Actor {
        channel: Channel::Dashboard,
        name: "Jane Roe".to_owned(),
    }
}

async fn flow() -> Flow {
    let flow = Flow {
        fold: FoldSettings::default(),
        ..build::flow(support::embedded())
    };
    flow.prepare().await.unwrap();
    flow
}

async fn silence(flow: &Flow, asset: &str, minutes: u32, now: DateTime<Utc>) -> Silence {
    let asked = Asked {
        asset: asset.to_owned(),
        minutes: Some(minutes),
        why: "a planned move".to_owned(),
        ..Asked::default()
    };
    flow.set_silence(&asked, by(), now).await.unwrap()
}

async fn fails(flow: &Flow, asset: &str, run: &str, now: DateTime<Utc>) -> Ticket {
    let mut failure = build::failure(asset, run);
    failure.key = aiops_rca::failure::RunKey::new(failure.source, "factory", run, "", "");
    "Could not connect to server: Connection refused. Is the server running on host \"db-1.example.com\"?"
        .clone_into(&mut failure.message);
    let accepted = flow
        .accept(Parsed::Failures(vec![failure]), now)
        .await
        .unwrap();
    let id = accepted.ticket_id.unwrap();
    work(flow, &id, now).await
}

async fn work(flow: &Flow, id: &TicketId, now: DateTime<Utc>) -> Ticket {
    apart(flow, Task::Failure { ticket: id.clone() }, now).await;
    ticket(flow, id).await
}

/// As a queue's message: on a stack of its own.
async fn apart(flow: &Flow, task: Task, now: DateTime<Utc>) {
    let flow = flow.clone();
    let work = tokio::spawn(async move { flow.work(task, || now).await });
    work.await.unwrap().unwrap();
}

async fn ticket(flow: &Flow, id: &TicketId) -> Ticket {
    flow.store.load(id).await.unwrap().unwrap()
}

/// Sweeps, minute after minute.
async fn sweeps(flow: &Flow, from: DateTime<Utc>, minutes: i64) -> DateTime<Utc> {
    for minute in 0..minutes {
        let (flow, now) = (flow.clone(), from + TimeDelta::minutes(minute));
        let sweep = tokio::spawn(async move { flow.sweep(now).await });
        sweep.await.unwrap().unwrap();
    }
    from + TimeDelta::minutes(minutes)
}

async fn kept(flow: &Flow, id: &str) -> Silence {
    flow.store.silence(id).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_storm_under_a_silence_is_summed_up_in_one_ticket_that_leads_it() {
    let flow = flow().await;
    let start = at(0);
    let set = silence(&flow, "pl_move_*", 30, start).await;
    let mut silent = Vec::new();
    for number in 0..12 {
        let asset = format!("pl_move_{}", number % 4);
        let now = start + TimeDelta::seconds(30 + number);
        let ticket = fails(&flow, &asset, &format!("r{number}"), now).await;
        assert!(ticket.is_silent() && ticket.joined.is_none() && ticket.incident.is_none());
        silent.push(ticket.id);
    }
    // One that nothing covers opens its own incident, and the silent ones are no part of it.
    let other = fails(&flow, "pl_other", "other", start + TimeDelta::minutes(1)).await;
    assert!(!other.is_silent() && other.joined.is_none());
    // A repetition changes nothing, whatever holds by then.
    let again = work(&flow, &silent[0], start + TimeDelta::hours(2)).await;
    assert!(again.is_silent());
    let now = sweeps(&flow, start + TimeDelta::minutes(2), 28).await;
    assert_eq!(kept(&flow, &set.id).await.summed_up, None);
    let now = sweeps(&flow, now, 6).await;
    let sum = kept(&flow, &set.id).await.summed_up.unwrap();
    assert_eq!(sum.failures, 12);
    let leader = sum.ticket.unwrap();
    let ticket_of = leader.clone();
    apart(&flow, Task::Gather { ticket: ticket_of }, now).await;
    let told = ticket(&flow, &leader).await;
    assert!(
        told.diagnosis
            .root_cause
            .starts_with("12 failures of 4 assets during the silence of pl_move_*"),
        "{}",
        told.diagnosis.root_cause
    );
    let incident = told.incident.clone().unwrap();
    assert_eq!((incident.tickets, incident.assets), (12, 4));
    assert!(told.story.is_empty(), "{:?}", told.story);
    for id in &silent {
        let joined = ticket(&flow, id).await.joined.unwrap();
        assert_eq!(
            (joined.leader, joined.reason),
            (leader.clone(), FoldReason::Silence)
        );
    }
    // What failed silently was not paged, and closes with the ticket that tells of it.
    assert!(ticket(&flow, &silent[0]).await.sla.breached_at.is_none());
    let closed = Event::StatusChanged {
        to: Status::Acknowledged,
        by: by(),
        at: now,
        jira_status: None,
    };
    flow.apply(&leader, &closed, now).await.unwrap();
    let ticket_of = leader.clone();
    apart(&flow, Task::Gather { ticket: ticket_of }, now).await;
    for id in &silent {
        assert!(ticket(&flow, id).await.is_closed());
    }
    // Later failures of the same cause are announced by an incident of their own.
    let later = fails(&flow, "pl_move_0", "later", now + TimeDelta::minutes(1)).await;
    assert!(
        !later.is_silent() && later.joined.is_none(),
        "{:?}",
        later.joined
    );
}

#[tokio::test]
async fn a_silence_without_failures_ends_without_a_word_and_goes() {
    let flow = flow().await;
    let set = silence(&flow, "pl_*", 5, at(0)).await;
    let now = sweeps(&flow, at(0), 10).await;
    let over = kept(&flow, &set.id).await;
    assert_eq!(
        over.summed_up.map(|sum| (sum.failures, sum.ticket)),
        Some((0, None))
    );
    sweeps(&flow, now + TimeDelta::minutes(20), 1).await;
    sweeps(&flow, now + TimeDelta::days(31), 2).await;
    assert_eq!(flow.store.silence(&set.id).await.unwrap(), None);
}

#[tokio::test]
async fn one_that_is_ended_early_is_summed_up_once_by_whichever_process() {
    let flow = flow().await;
    let other = Flow {
        store: aiops_rca::ticket::store::TicketStore::new(flow.store.storage().clone()),
        ..flow.clone()
    };
    let set = silence(&flow, "pl_a", 600, at(0)).await;
    let silent = fails(&other, "pl_a", "r1", at(0) + TimeDelta::seconds(5)).await;
    assert!(silent.is_silent());
    let ended = at(0) + TimeDelta::minutes(3);
    assert!(
        flow.end_silence(&set.id, &by(), ended)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        other
            .end_silence(&set.id, &by(), ended)
            .await
            .unwrap()
            .is_none()
    );
    // The other process learns of the end within half a minute.
    let after = fails(&other, "pl_a", "r2", ended + TimeDelta::seconds(30)).await;
    assert!(!after.is_silent());
    for minute in 1..4 {
        let now = ended + TimeDelta::minutes(minute) + TimeDelta::seconds(1);
        let (one, two) = tokio::join!(flow.sweep(now), other.sweep(now));
        one.and(two).unwrap();
    }
    let sum = kept(&flow, &set.id).await.summed_up.unwrap();
    assert_eq!(sum.failures, 1);
    let told = flow.store.recent(ended, 2, 100).await.unwrap();
    let notices = told
        .iter()
        .filter(|ticket| ticket.diagnosis.error_type == "SilenceEnded");
    assert_eq!(notices.count(), 1);
}

#[tokio::test]
async fn cause_and_scope_narrow_a_silence_and_a_planned_one_waits() {
    let flow = flow().await;
    let start = at(0);
    let asked = |cause: Option<&str>, scope: Option<&str>, from: Option<DateTime<Utc>>| Asked {
        asset: "pl_a".to_owned(),
        cause: cause.map(str::to_owned),
        scope: scope.map(str::to_owned),
        from: from.map(|at| at.to_rfc3339()),
        minutes: Some(60),
        why: "x".to_owned(),
        ..Asked::default()
    };
    for no in [
        asked(Some("Data Schema"), None, None),
        asked(None, Some("adf-elsewhere"), None),
        asked(None, None, Some(start + TimeDelta::minutes(10))),
    ] {
        flow.set_silence(&no, by(), start).await.unwrap();
    }
    let first = fails(&flow, "pl_a", "r1", start + TimeDelta::seconds(1)).await;
    assert!(!first.is_silent());
    let planned = fails(&flow, "pl_a", "r2", start + TimeDelta::minutes(11)).await;
    assert!(planned.is_silent());
    let cause = first.diagnosis.category.words().to_uppercase();
    let later = start + TimeDelta::hours(2);
    flow.set_silence(&asked(Some(&cause), None, None), by(), later)
        .await
        .unwrap();
    let of_cause = fails(&flow, "pl_a", "r3", later + TimeDelta::seconds(1)).await;
    assert!(of_cause.is_silent());
}

#[tokio::test]
async fn nobody_is_paged_about_an_open_ticket_that_a_silence_covers() {
    let flow = flow().await;
    let open = fails(&flow, "pl_a", "r1", at(0)).await;
    let due = open.sla.due_at;
    let minutes = u32::try_from((due - at(0)).num_minutes() + 30).unwrap();
    silence(&flow, "pl_a", minutes, at(0) + TimeDelta::minutes(1)).await;
    sweeps(&flow, due + TimeDelta::minutes(1), 3).await;
    assert_eq!(ticket(&flow, &open.id).await.sla.breached_at, None);
    sweeps(&flow, due + TimeDelta::minutes(40), 3).await;
    assert!(ticket(&flow, &open.id).await.sla.breached_at.is_some());
}
