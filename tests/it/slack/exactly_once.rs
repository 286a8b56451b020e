//! One message and every chapter once, whatever is lost on the way.

use std::time::Duration;

use aiops_rca::http::Http;
use aiops_rca::sinks::Step;
use aiops_rca::sinks::slack::Slack;
use aiops_rca::sinks::slack::blocks::message;
use aiops_rca::ticket::{Channel, Status, Ticket, Work};
use chrono::TimeDelta;
use simulators::Fault;
use simulators::slack::SlackOptions;

use super::rig::{Rig, at, healing, issue, numbered, person, status, ticket};

/// The two ways in which Slack lets us find out; each must be enough alone.
fn workspaces() -> [SlackOptions; 2] {
    let by_client_id = SlackOptions::default();
    let mut by_history = SlackOptions {
        knows_repeats: false,
        ..SlackOptions::default()
    };
    by_history.scopes.insert("channels:history".into());
    [by_client_id, by_history]
}

fn story() -> Ticket {
    let mut ticket = ticket();
    healing(&mut ticket);
    ticket
}

fn taken_by_jane(ticket: &mut Ticket) {
    status(
        ticket,
        Status::InProgress,
        person("Jane", Channel::Dashboard),
        at("13:00:00"),
    );
}

fn assert_told_once(rig: &Rig, ticket: &Ticket, what: &str) {
    let messages = rig.slack.messages();
    assert_eq!(messages.len(), 1, "{what}: one message");
    assert_eq!(
        messages[0].blocks,
        message(ticket, &rig.settings().look()).blocks,
        "{what}: it shows the ticket"
    );
    assert_eq!(
        ticket.slack.ts.as_deref(),
        Some(messages[0].ts.as_str()),
        "{what}: it is the recorded one"
    );
    let told = rig.told(ticket);
    assert_eq!(told.len(), ticket.story.len(), "{what}: {told:#?}");
    for (entry, chapter) in told.iter().zip(&ticket.story) {
        assert!(
            entry.contains(chapter.text.split('.').next().unwrap()),
            "{what}: in order"
        );
    }
}

#[tokio::test]
async fn every_fault_at_every_writing_call() {
    let status = |code: u16| Fault::Status {
        code,
        headers: vec![("retry-after".into(), "2".into())],
        body: "<html>".into(),
    };
    let faults = [
        Fault::AcceptThenDrop,
        Fault::DropBefore,
        status(429),
        status(500),
        status(502),
        status(503),
        Fault::Status {
            code: 200,
            headers: Vec::new(),
            body: "not json".into(),
        },
        Fault::Status {
            code: 200,
            headers: Vec::new(),
            body: r#"{"ok":false,"error":"fatal_error"}"#.into(),
        },
    ];
    for options in workspaces() {
        for fault in &faults {
            let mut rig = Rig::set(options.clone()).await;
            let (sink, mut ticket) = (rig.sink(), story());
            let what = format!("{fault:?}, known repeats: {}", options.knows_repeats);
            // The message and its first two chapters meet the fault, each once; then an edit does.
            let mut hit = 0;
            while hit < 3 {
                let intended = ticket.slack.intent.as_ref().map(|intent| intent.what);
                if intended == Some(Work::Create) || intended == Some(Work::Comment(hit)) {
                    rig.pass(TimeDelta::seconds(2));
                    rig.slack
                        .faults()
                        .next_on("POST", "chat.postMessage", fault.clone());
                    hit += 1;
                    assert!(
                        rig.step(&sink, &mut ticket)
                            .await
                            .unwrap_err()
                            .is_transient(),
                        "{what}"
                    );
                    rig.pass(TimeDelta::seconds(3));
                    while ticket.slack.told + 1 < hit || ticket.slack.ts.is_none() {
                        if let Err(fault) = rig.step(&sink, &mut ticket).await {
                            panic!("{what}: {fault}");
                        }
                    }
                } else if rig.step(&sink, &mut ticket).await.unwrap() {
                    break;
                }
            }
            assert_eq!(hit, 3, "{what}");
            issue(&mut ticket);
            rig.slack
                .faults()
                .next_on("POST", "chat.update", fault.clone());
            assert_eq!(rig.settle(&sink, &mut ticket).await, None, "{what}");
            assert_told_once(&rig, &ticket, &what);
            rig.slack.assert_drained();
        }
    }
}

/// Another app's message with our metadata is not ours.
#[tokio::test]
async fn a_message_of_another_app_is_not_taken_for_ours() {
    let mut options = SlackOptions {
        knows_repeats: false,
        ..SlackOptions::default()
    };
    options.scopes.insert("channels:history".into());
    let mut rig = Rig::set(options).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    rig.step(&sink, &mut ticket).await.unwrap();
    rig.slack
        .faults()
        .next_on("POST", "chat.postMessage", Fault::AcceptThenDrop);
    assert!(rig.step(&sink, &mut ticket).await.is_err());
    let lost = rig.slack.messages()[0].ts.clone();
    rig.slack.written_by(&lost, "B0OTHER");
    rig.pass(TimeDelta::seconds(2));
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_ne!(ticket.slack.ts.as_deref(), Some(lost.as_str()));
    assert_eq!(rig.slack.messages().len(), 2, "ours was posted");
    assert!(rig.slack.calls("auth.test").len() == 1, "asked once");
}

#[tokio::test]
async fn nobody_listens() {
    let mut rig = Rig::set(SlackOptions::default()).await;
    let mut settings = rig.settings();
    settings.api_base = "http://127.0.0.1:1/api/".parse().unwrap();
    let nowhere = Slack::new(settings, Http::new(None).unwrap());
    let mut ticket = ticket();
    rig.step(&nowhere, &mut ticket).await.unwrap();
    let fault = rig.step(&nowhere, &mut ticket).await.unwrap_err();
    assert!(
        fault.is_transient() && fault.reason().contains("could not be reached"),
        "{fault}"
    );
    let sink = rig.sink();
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_told_once(&rig, &ticket, "reached at last");
}

#[tokio::test]
async fn an_answer_that_comes_too_late() {
    for options in workspaces() {
        let mut rig = Rig::set(options).await;
        let (sink, mut ticket) = (rig.impatient_sink(), ticket());
        rig.step(&sink, &mut ticket).await.unwrap();
        rig.slack
            .faults()
            .next(Fault::Delay(Duration::from_millis(150)));
        assert!(
            rig.step(&sink, &mut ticket)
                .await
                .unwrap_err()
                .is_transient()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
        let patient = rig.sink();
        assert_eq!(rig.settle(&patient, &mut ticket).await, None);
        assert_told_once(&rig, &ticket, "late");
    }
}

#[tokio::test]
async fn a_message_deleted_before_we_knew_of_it() {
    for options in workspaces() {
        let mut rig = Rig::set(options).await;
        let (sink, mut ticket) = (rig.sink(), ticket());
        rig.step(&sink, &mut ticket).await.unwrap();
        rig.slack.faults().next(Fault::AcceptThenDrop);
        assert!(rig.step(&sink, &mut ticket).await.is_err());
        rig.slack.delete(&rig.slack.messages()[0].ts);
        rig.pass(TimeDelta::seconds(2));
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        assert_told_once(&rig, &ticket, "posted again");
    }
}

#[tokio::test]
async fn a_kill_after_every_single_step() {
    for options in workspaces() {
        let mut steps = 1;
        for killed_at in 0.. {
            let mut rig = Rig::set(options.clone()).await;
            let mut ticket = story();
            let mut sink = rig.sink();
            let mut step = 0;
            loop {
                if step == killed_at {
                    // The call was made, what it came to was never stored; another process goes on.
                    let _lost = sink.step(&ticket, rig.now).await.unwrap();
                    sink = rig.sink();
                    rig.pass(TimeDelta::seconds(2));
                }
                step += 1;
                if rig.step(&sink, &mut ticket).await.unwrap() {
                    break;
                }
            }
            assert_told_once(&rig, &ticket, &format!("killed at {killed_at}"));
            steps = steps.max(step);
            if killed_at > steps {
                break;
            }
        }
        assert!(steps > 10);
    }
}

#[tokio::test]
async fn seeded_stories_of_kills_and_faults() {
    for seed in 0..24 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut rig = Rig::set(random.choice(workspaces()).unwrap()).await;
        let (mut sink, mut ticket) = (rig.sink(), numbered(u32::try_from(seed).unwrap()));
        let mut planned: Vec<fn(&mut Ticket)> = vec![issue, healing, taken_by_jane];
        for _ in 0..400 {
            match random.u32(0..12) {
                0 if !planned.is_empty() => planned.remove(0)(&mut ticket),
                1 => sink = rig.sink(),
                2 => {
                    let _lost = sink.step(&ticket, rig.now).await;
                    sink = rig.sink();
                }
                3 => rig.slack.faults().next(Fault::AcceptThenDrop),
                4 => rig.slack.faults().next(Fault::status(503)),
                5 => rig
                    .slack
                    .faults()
                    .next_on("POST", "chat", Fault::DropBefore),
                _ => {
                    if let Ok(Step::Recorded(record)) = sink.step(&ticket, rig.now).await {
                        ticket.slack = record;
                    }
                    rig.pass(TimeDelta::milliseconds(random.i64(0..1500)));
                }
            }
        }
        for event in planned {
            event(&mut ticket);
        }
        while !rig.slack.faults().is_drained() {
            rig.slack
                .faults()
                .take("POST", "/api/chat.postMessage")
                .or_else(|| rig.slack.faults().take("GET", "/"));
        }
        assert_eq!(rig.settle(&sink, &mut ticket).await, None, "seed {seed}");
        assert_told_once(&rig, &ticket, &format!("seed {seed}"));
    }
}
