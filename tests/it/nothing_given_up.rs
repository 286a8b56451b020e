//! A sink that cannot show a ticket is never given up: it lags, says why, and is tried again (law L14).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use crate::support::build;
use aiops_rca::dashboard;
use aiops_rca::failure::{RunKey, Source};
use aiops_rca::fault::Fault;
use aiops_rca::flow::{DELIVERIES, Flow, Task};
use aiops_rca::sinks::jira::Jira;
use aiops_rca::sources::Parsed;
use aiops_rca::ticket::machine::{Event, apply};
use aiops_rca::ticket::store::Outage;
use aiops_rca::ticket::{Actor, Channel, DeliveryFault, Sink, Status, Ticket, TicketId};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use simulators::Fault as Script;
use simulators::jira::{Config, JiraSimulator};

use crate::machine::{at, failure};
use crate::support;

/// One app with a JIRA and nothing else.
struct App {
    flow: Flow,
    jira: JiraSimulator,
}

impl App {
    async fn start() -> Self {
        let jira = JiraSimulator::start(0, Config::default()).await.unwrap();
        let mut flow = build::flow(support::embedded());
        let settings = support::jira_settings(&jira);
        flow.sinks.jira = Some(Jira::new(settings, support::http()));
        flow.prepare().await.unwrap();
        Self { flow, jira }
    }

    async fn open(&self, now: DateTime<Utc>) -> TicketId {
        let accepted = self
            .flow
            .accept(Parsed::Failures(vec![failure()]), now)
            .await
            .unwrap();
        let ticket = accepted.ticket_id.unwrap();
        let task = Task::Failure {
            ticket: ticket.clone(),
        };
        self.flow.work(task, || now).await.unwrap();
        ticket
    }

    async fn deliver(&self, id: &TicketId, now: DateTime<Utc>) -> Ticket {
        self.deliver_again(id, 0, now).await
    }

    async fn deliver_again(&self, id: &TicketId, attempt: u32, now: DateTime<Utc>) -> Ticket {
        let message = json!({"ticket": id, "sink": "jira", "attempt": attempt});
        let task: Task = serde_json::from_value(message).unwrap();
        self.flow.work(task, move || now).await.unwrap();
        self.flow.store.load(id).await.unwrap().unwrap()
    }

    async fn waiting(&self) -> u64 {
        let storage = self.flow.store.storage();
        storage.depth(DELIVERIES).await.unwrap()
    }

    /// How many deliveries a tick of the sweep puts.
    async fn swept(&self, now: DateTime<Utc>) -> u64 {
        let before = self.waiting().await;
        self.flow.sweep(now).await.unwrap();
        self.waiting().await - before
    }
}

fn state(ticket: &Ticket) -> serde_json::Value {
    dashboard::details(ticket, &[], &[])["sinks"]["jira"].clone()
}

#[tokio::test]
async fn what_looks_permanent_blocks_and_is_tried_again_by_the_sweep() {
    for code in [401, 403, 404, 410] {
        let app = App::start().await;
        let id = app.open(at(0)).await;
        app.jira.faults().next(Script::status(code));
        let before = app.waiting().await;
        let blocked = app.deliver(&id, at(1)).await;
        assert!(blocked.lags(Sink::Jira), "{code}: not called delivered");
        assert_eq!(state(&blocked)["state"], "blocked", "{code}");
        assert!(
            state(&blocked)["reason"]
                .as_str()
                .unwrap()
                .contains(&code.to_string())
        );
        assert_eq!(
            dashboard::details(&blocked, &[], &[])["deliveries"],
            json!({})
        );
        assert_eq!(
            app.waiting().await,
            before,
            "{code}: nothing spins in the queue"
        );
        assert_eq!(app.flow.stopped().await.unwrap().len(), 1);
        for (second, put) in [(61, 0), (299, 0), (302, 1)] {
            assert_eq!(app.swept(at(second)).await, put, "{code}, second {second}");
        }
        let shown = app.deliver(&id, at(303)).await;
        assert!(!shown.lags(Sink::Jira));
        assert_eq!(state(&shown)["state"], "up_to_date");
        assert_eq!(shown.fault(Sink::Jira), None);
        assert_eq!(app.jira.issues().len(), 1);
        app.jira.assert_drained();
    }
}

#[tokio::test]
async fn other_settings_or_a_person_end_the_wait() {
    let mut app = App::start().await;
    let id = app.open(at(0)).await;
    app.jira.faults().next(Script::status(401));
    app.deliver(&id, at(1)).await;
    assert_eq!(app.swept(at(61)).await, 0);
    // As `doctor` and `replay --all` do.
    let before = app.waiting().await;
    assert_eq!(
        app.flow.retry_stopped().await.unwrap(),
        [(id.clone(), Sink::Jira)]
    );
    assert_eq!(app.waiting().await, before + 1);
    // As after a restart with another token.
    let mut settings = support::jira_settings(&app.jira);
    settings.api_token = "another token".into();
    let old = app
        .flow
        .sinks
        .jira
        .replace(Jira::new(settings, support::http()));
    assert_eq!(app.swept(at(62)).await, 1);
    // It is refused as well: from here on the new settings' own times hold.
    let still = app.deliver(&id, at(63)).await;
    let blocked = still.blocked(Sink::Jira).unwrap();
    assert_eq!((blocked.tries, blocked.since), (2, at(1)));
    assert_eq!(app.swept(at(124)).await, 0);
    app.flow.sinks.jira = old;
    assert_eq!(app.swept(at(125)).await, 1);
    assert!(!app.deliver(&id, at(126)).await.lags(Sink::Jira));
    assert_eq!(app.jira.issues().len(), 1);
}

/// After a night of maintenance pages the next try may be an hour away.
#[tokio::test]
async fn other_settings_end_the_wait_for_an_outage_as_well() {
    let mut app = App::start().await;
    let id = app.open(at(0)).await;
    app.jira.faults().next(Script::status(503));
    app.deliver_again(&id, 12, at(1)).await;
    assert_eq!(app.swept(at(600)).await, 0, "its message waits");
    let mut settings = support::jira_settings(&app.jira);
    settings.api_token = "another token".into();
    app.flow.sinks.jira = Some(Jira::new(settings, support::http()));
    assert_eq!(app.swept(at(601)).await, 1);
}

/// A vendor that does not answer is left alone but for probes; what waits is delivered once one is answered.
#[tokio::test]
async fn an_outage_is_probed_and_its_end_wakes_what_waits() {
    let app = App::start().await;
    let id = app.open(at(0)).await;
    app.jira.faults().stands(Some(Script::status(503)));
    for second in [1, 10, 20] {
        app.deliver_again(&id, 12, at(second)).await;
    }
    let asked = app.jira.requests().len();
    let waits = app.deliver_again(&id, 12, at(22)).await;
    assert_eq!(
        app.jira.requests().len(),
        asked,
        "not asked before the probe"
    );
    let reason = &waits.fault(Sink::Jira).unwrap().reason;
    assert!(reason.starts_with("JIRA does not answer since"), "{reason}");
    let outages = app.flow.store.outages().await.unwrap();
    let [(Sink::Jira, outage)] = outages.as_slice() else {
        panic!("{outages:?}")
    };
    assert!(outage.lasts(at(22)) && outage.since == at(20));
    assert_eq!(app.swept(at(300)).await, 0, "its message waits for an hour");

    app.jira.faults().stands(None);
    let mut second = failure();
    second.key = RunKey::new(Source::Adf, "", "another", "", "");
    let accepted = app.flow.accept(Parsed::Failures(vec![second]), at(301));
    let other = accepted.await.unwrap().ticket_id.unwrap();
    let task = Task::Failure {
        ticket: other.clone(),
    };
    app.flow.work(task, || at(301)).await.unwrap();
    let shown = app.deliver(&other, at(302)).await;
    assert!(!shown.lags(Sink::Jira), "the probe is a delivery");
    let outages = app.flow.store.outages().await.unwrap();
    assert_eq!(outages[0].1.ended, Some(at(302)));
    assert_eq!(
        app.swept(at(330)).await,
        1,
        "the first need not wait for its hour"
    );
    assert!(!app.deliver(&id, at(331)).await.lags(Sink::Jira));
    assert_eq!(app.swept(at(340)).await, 0);
}

/// What is not JIRA's own answer has made no comment and changed no issue.
#[tokio::test]
async fn anothers_words_for_a_success_change_nothing() {
    for (method, path, code, body) in [
        ("POST", "/comment", 200, "{\"status\":\"maintenance\"}"),
        ("POST", "/comment", 200, "come back later"),
        ("POST", "/comment", 400, ""),
        ("POST", "/transitions", 200, "come back later"),
    ] {
        let app = App::start().await;
        let id = app.open(at(0)).await;
        app.deliver(&id, at(1)).await;
        let script = Script::Status {
            code,
            headers: Vec::new(),
            body: body.to_owned(),
        };
        app.jira.faults().next_on(method, path, script);
        let closed = Event::StatusChanged {
            to: Status::Acknowledged,
            by: Actor {
                channel: Channel::Dashboard,
                name: "Jane Doe".to_owned(),
            },
            at: at(10),
            jira_status: None,
        };
        app.flow.apply(&id, &closed, at(10)).await.unwrap();
        let stopped = app.deliver(&id, at(11)).await;
        assert!(stopped.lags(Sink::Jira), "{method} {path} {code} {body}");
        assert!(stopped.fault(Sink::Jira).is_some());
        let mut ticket = stopped;
        for minute in 1..5 {
            ticket = app.deliver(&id, at(11 + 400 * minute)).await;
        }
        assert!(!ticket.lags(Sink::Jira), "{method} {path} {code} {body}");
        let issue = app.jira.issues().remove(0);
        assert_eq!(issue.status, "Done");
        assert_eq!(issue.comments.len(), ticket.story.len());
        app.jira.assert_drained();
    }
}

#[tokio::test]
async fn maintenance_pages_are_an_outage_like_any_other() {
    let page = |code, headers: &[(&str, &str)], body: &str| Script::Status {
        code,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: body.to_owned(),
    };
    let endless = "x".repeat(8 * 1024 * 1024 + 1);
    for (name, script) in [
        (
            "redirect",
            page(302, &[("location", "https://maintenance.example/")], ""),
        ),
        (
            "page",
            page(
                200,
                &[("content-type", "text/html")],
                "<html><body>Down for maintenance</body></html>",
            ),
        ),
        ("endless", page(200, &[], &endless)),
    ] {
        let app = App::start().await;
        let id = app.open(at(0)).await;
        app.jira.faults().next(script);
        let ticket = app.deliver(&id, at(1)).await;
        assert!(ticket.lags(Sink::Jira), "{name}");
        let fault = ticket.fault(Sink::Jira).unwrap();
        assert!(fault.retrying, "{name}: {}", fault.reason);
        assert_eq!(ticket.blocked(Sink::Jira), None, "{name}");
        assert_eq!(state(&ticket)["state"], "lagging", "{name}");
        let shown = app.deliver(&id, at(200)).await;
        assert!(!shown.lags(Sink::Jira), "{name}");
        assert_eq!(app.jira.issues().len(), 1, "{name}");
    }
}

/// The ticket after one more delivery that ended so.
fn ended(ticket: &Ticket, fault: Option<&str>, retrying: bool, now: DateTime<Utc>) -> Ticket {
    let event = Event::DeliveryEnded {
        sink: Sink::Jira,
        holder: String::new(),
        shown: fault.is_none().then_some(ticket.version),
        fault: fault.map(|reason| DeliveryFault {
            reason: reason.to_owned(),
            at: now,
            retrying,
        }),
        settings: Some("of today".to_owned()),
        again: None,
    };
    apply(ticket, &event, now).unwrap().ticket
}

#[tokio::test]
async fn the_pauses_grow_to_an_hour_and_end_with_the_fault() {
    let app = App::start().await;
    let id = app.open(at(0)).await;
    let mut ticket = app.flow.store.load(&id).await.unwrap().unwrap();
    let mut now = at(0);
    for minutes in [5, 15, 60, 60, 60] {
        ticket = ended(
            &ticket,
            Some("JIRA refused the credentials (401)"),
            false,
            now,
        );
        let blocked = ticket.blocked(Sink::Jira).unwrap();
        assert_eq!(blocked.since, at(0));
        assert_eq!(blocked.next_try - now, TimeDelta::minutes(minutes));
        assert!(!ticket.stopped_under_others(Sink::Jira, Some("of today")));
        assert!(ticket.stopped_under_others(Sink::Jira, Some("of tomorrow")));
        now = blocked.next_try;
    }
    let refused = |ticket: &Ticket| ticket.books.audit.len();
    assert_eq!(refused(&ticket), 0, "the same reason is written down once");
    let busy = ended(&ticket, Some("JIRA answered 503"), true, now);
    assert_eq!(busy.blocked(Sink::Jira), None);
    let shown = ended(&ticket, None, false, now);
    assert_eq!(
        (shown.blocked(Sink::Jira), shown.fault(Sink::Jira)),
        (None, None)
    );
    assert!(!shown.lags(Sink::Jira));
    assert!(!shown.stopped_under_others(Sink::Jira, Some("of tomorrow")));
}

#[test]
fn a_redirect_is_an_outage_and_another_refusal_is_none() {
    for (status, transient) in [
        (301, true),
        (302, true),
        (307, true),
        (400, false),
        (401, false),
    ] {
        assert_eq!(
            Fault::from_status("it", status, None).is_transient(),
            transient,
            "{status}"
        );
    }
}

impl App {
    /// The tool's own tickets, as far as the sweep looks after them.
    async fn notices(&self) -> Vec<Ticket> {
        let mut notices = Vec::new();
        for id in self.flow.store.open_tickets().await.unwrap() {
            let known = self.flow.store.load(&id).await.unwrap();
            notices.extend(known.filter(|ticket| ticket.failure.source == Source::System));
        }
        notices
    }
}

/// Nobody looks at the dashboard at night: what somebody must fix is a ticket of its own, in the sinks that still work.
#[tokio::test]
async fn a_refused_token_is_one_ticket_of_the_tools_own_until_it_is_accepted_again() {
    let app = App::start().await;
    let id = app.open(at(0)).await;
    for second in [1, 302] {
        app.jira.faults().next(Script::status(401));
        app.deliver(&id, at(second)).await;
        app.flow.sweep(at(second + 1)).await.unwrap();
        if second == 1 {
            assert_eq!(
                app.notices().await,
                [],
                "the first repetition may repair it"
            );
        }
    }
    let [notice] = app.notices().await.try_into().unwrap();
    assert!(notice.id.as_str().starts_with("SYS-"));
    assert_eq!(notice.failure.asset, "JIRA");
    let cause = &notice.diagnosis.root_cause;
    assert!(
        cause.starts_with("JIRA takes nothing since ") && cause.contains("UTC: 1 ticket waits. "),
        "{cause}"
    );
    assert!(cause.contains("401"), "{cause}");
    assert_eq!(notice.diagnosis.recommendations.len(), 3);
    assert!(notice.sinks_off[Sink::Jira.name()].contains("about JIRA itself"));
    assert!(!notice.lags(Sink::Jira) && notice.remediation.attempts.is_empty());
    // More ticks say nothing new.
    app.flow.sweep(at(400)).await.unwrap();
    assert_eq!(app.notices().await, std::slice::from_ref(&notice));

    app.deliver(&id, at(500)).await;
    app.flow.sweep(at(501)).await.unwrap();
    let closed = app.flow.store.load(&notice.id).await.unwrap().unwrap();
    assert!(closed.is_closed());
    assert_eq!(app.jira.issues().len(), 1, "none about JIRA itself");
    app.jira.assert_drained();
}

#[tokio::test]
async fn a_notice_is_closed_for_one_outage_and_counts_what_waits() {
    let app = App::start().await;
    let mut waiting = vec![app.open(at(0)).await];
    let refused = async |id: &TicketId, second: i64| {
        app.jira.faults().next(Script::status(401));
        app.deliver(id, at(second)).await;
    };
    refused(&waiting[0], 1).await;
    refused(&waiting[0], 302).await;
    app.flow.sweep(at(303)).await.unwrap();
    let [notice] = app.notices().await.try_into().unwrap();

    for number in 1..=3 {
        let mut other = failure();
        other.key = RunKey::new(Source::Adf, "", &format!("other-{number}"), "", "");
        let accepted = app
            .flow
            .accept(Parsed::Failures(vec![other]), at(304))
            .await
            .unwrap();
        let id = accepted.ticket_id.unwrap();
        let task = Task::Failure { ticket: id.clone() };
        app.flow.work(task, || at(304)).await.unwrap();
        refused(&id, 305).await;
        waiting.push(id);
    }
    app.flow.sweep(at(306)).await.unwrap();
    app.flow.sweep(at(307)).await.unwrap();
    let [grown] = app.notices().await.try_into().unwrap();
    assert_eq!(
        (
            &grown.id,
            grown.story.last().unwrap().text.as_str(),
            grown.count
        ),
        (&notice.id, "4 tickets wait by now", 2)
    );

    // Somebody knows: no second one for this outage.
    let jane = || Actor {
        channel: Channel::Dashboard,
        name: "Jane Doe".to_owned(),
    };
    let closed = Event::StatusChanged {
        to: Status::Acknowledged,
        by: jane(),
        at: at(310),
        jira_status: None,
    };
    app.flow.apply(&notice.id, &closed, at(310)).await.unwrap();
    refused(&waiting[0], 1300).await;
    app.flow.sweep(at(1301)).await.unwrap();
    assert!(app.notices().await.iter().all(Ticket::is_closed));

    // It flows, and is refused again on another night.
    for id in &waiting {
        app.deliver(id, at(2000)).await;
    }
    let night = 90_000;
    let id = &waiting[0];
    let taken = Event::StatusChanged {
        to: Status::InProgress,
        by: jane(),
        at: at(night),
        jira_status: None,
    };
    app.flow.apply(id, &taken, at(night)).await.unwrap();
    app.jira.faults().next(Script::status(401));
    app.deliver(id, at(night + 1)).await;
    app.jira.faults().next(Script::status(401));
    app.deliver(id, at(night + 302)).await;
    app.flow.sweep(at(night + 303)).await.unwrap();
    let open: Vec<Ticket> = (app.notices().await.into_iter())
        .filter(|ticket| !ticket.is_closed())
        .collect();
    let [second] = open.try_into().unwrap();
    assert_eq!(second.follows.as_ref(), Some(&notice.id));
}

/// While JIRA is down nobody reads issues back; what else is due is looked at in time.
#[tokio::test]
async fn an_issue_that_cannot_be_read_back_delays_nothing_else() {
    let app = App::start().await;
    let id = app.open(at(0)).await;
    app.deliver(&id, at(1)).await;
    let due = app.flow.store.load(&id).await.unwrap().unwrap().sla.due_at;
    let outage = Outage {
        since: at(60),
        next_call: due,
        reason: "no answer".to_owned(),
        ended: None,
    };
    app.flow
        .store
        .note_outage(Sink::Jira, &outage)
        .await
        .unwrap();
    app.flow.sweep(due - TimeDelta::seconds(10)).await.unwrap();
    app.flow.sweep(due + TimeDelta::seconds(50)).await.unwrap();
    let ticket = app.flow.store.load(&id).await.unwrap().unwrap();
    assert!(ticket.sla.breached_at.is_some());
}
