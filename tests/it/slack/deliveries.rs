//! The message and its thread against a workspace that answers as Slack does, well and badly.

use std::time::{Duration, Instant};

use aiops_rca::fault::Fault;
use aiops_rca::flow::{Delivery, Flow, Task};
use aiops_rca::sinks::{Sinks, Step};
use aiops_rca::ticket::machine::Change;
use aiops_rca::ticket::{Channel, Sink, Status};
use chrono::{TimeDelta, Utc};

use simulators::slack::{SlackChannel, SlackOptions};

use crate::support::{self, build};

use super::rig::{Rig, ask, at, fixture, healing, issue, numbered, person, status, ticket};

#[tokio::test]
async fn one_message_follows_its_ticket() {
    let mut rig = Rig::set(SlackOptions {
        one_a_second: true,
        ..SlackOptions::default()
    })
    .await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    let record = ticket.slack.clone();
    assert_eq!(record.channel.as_deref(), Some("C01234567AB"));
    assert_eq!(
        record.ts.as_deref(),
        Some(rig.slack.messages()[0].ts.as_str())
    );
    assert!(
        rig.slack.messages()[0].blocks[1]["text"]["text"]
            .as_str()
            .unwrap()
            .contains("ITSM Ticket: pending")
    );

    issue(&mut ticket);
    healing(&mut ticket);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    let messages = rig.slack.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].edits, 1);
    assert_eq!(
        messages[0].metadata["event_payload"]["ticket_id"],
        ticket.id.as_str()
    );
    let told = rig.told(&ticket);
    assert_eq!(told.len(), ticket.story.len());
    for (entry, chapter) in told.iter().zip(&ticket.story) {
        assert!(
            entry.contains(chapter.text.split('.').next().unwrap()),
            "{entry} tells {}",
            chapter.text
        );
    }

    let calls = rig.slack.requests().len();
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(
        rig.slack.requests().len(),
        calls,
        "nothing changed: nothing is called"
    );
    for call in rig.slack.calls("chat.postMessage") {
        assert_eq!(
            call.header("content-type"),
            Some("application/json; charset=utf-8")
        );
        assert_eq!(call.json()["unfurl_links"], false);
        assert!(call.json().get("reply_broadcast").is_none());
    }
    rig.slack.assert_drained();
}

#[tokio::test]
async fn at_most_one_writing_call_a_step() {
    let mut rig = Rig::set(SlackOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    issue(&mut ticket);
    healing(&mut ticket);
    let writes = |rig: &Rig| {
        rig.slack.calls("chat.postMessage").len() + rig.slack.calls("chat.update").len()
    };
    loop {
        let before = writes(&rig);
        let rest = rig.step(&sink, &mut ticket).await.unwrap();
        assert!(writes(&rig) - before <= 1);
        if rest {
            break;
        }
    }
    assert!(writes(&rig) > 3);
}

#[tokio::test]
async fn a_deleted_message_is_posted_anew_once_then_left() {
    let mut rig = Rig::set(SlackOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    rig.settle(&sink, &mut ticket).await;
    let first = ticket.slack.ts.clone().unwrap();
    rig.slack.delete(&first);
    assert_eq!(
        rig.settle(&sink, &mut ticket).await,
        None,
        "nothing changed, nobody notices"
    );
    issue(&mut ticket);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    let second = ticket.slack.ts.clone().unwrap();
    assert_ne!(first, second);
    assert_eq!(rig.slack.messages().len(), 1);

    rig.slack.delete(&second);
    healing(&mut ticket);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert!(ticket.slack.deleted);
    assert_eq!(rig.slack.messages().len(), 0, "a person does not want it");
    let calls = rig.slack.requests().len();
    rig.settle(&sink, &mut ticket).await;
    assert_eq!(rig.slack.requests().len(), calls);
}

#[tokio::test]
async fn a_thread_whose_message_is_gone_brings_the_message_back() {
    let mut rig = Rig::set(SlackOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    rig.settle(&sink, &mut ticket).await;
    ticket.story.clear();
    status(
        &mut ticket,
        Status::InProgress,
        person("Jane", Channel::Dashboard),
        at("10:10:00"),
    );
    // The edit gets through; then somebody deletes the message.
    while ticket.slack.intent.is_none() {
        rig.step(&sink, &mut ticket).await.unwrap();
    }
    rig.slack.delete(ticket.slack.ts.as_deref().unwrap());
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.slack.messages().len(), 1);
    assert_eq!(rig.told(&ticket), ["🔄 Jane works on it"]);
}

#[tokio::test]
async fn a_message_that_may_not_be_edited_goes_on_in_its_thread() {
    for error in ["cant_update_message", "edit_window_closed"] {
        let mut rig = Rig::set(SlackOptions::default()).await;
        let (sink, mut ticket) = (rig.sink(), ticket());
        rig.settle(&sink, &mut ticket).await;
        status(
            &mut ticket,
            Status::Acknowledged,
            person("Jane", Channel::Dashboard),
            at("10:10:00"),
        );
        rig.slack.refuse_next("chat.update", error);
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        let noted = ticket.slack.fault.clone().unwrap();
        assert!(noted.reason.contains("posted in its thread"), "{noted:?}");
        assert_eq!(
            rig.told(&ticket),
            [
                "✅ Closed by Jane on <!date^1765534200^{date_short_pretty} {time_secs}|2025-12-12 10:10:00 UTC>"
            ]
        );
        // The next change is tried again.
        status(
            &mut ticket,
            Status::Open,
            person("Jane", Channel::Dashboard),
            at("10:20:00"),
        );
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        assert!(!ticket.slack.frozen);
        assert_eq!(rig.slack.messages()[0].edits, 1);
        rig.slack.assert_drained();
    }
}

#[tokio::test]
async fn documented_errors_are_sorted() {
    let config = [
        ("channel_not_found", "SLACK_ALERT_CHANNEL"),
        ("not_in_channel", "/invite"),
        ("is_archived", "unarchive"),
        ("restricted_action", "admin"),
        ("invalid_auth", "SLACK_BOT_TOKEN"),
        ("token_revoked", "SLACK_BOT_TOKEN"),
        ("token_expired", "SLACK_BOT_TOKEN"),
        ("account_inactive", "SLACK_BOT_TOKEN"),
    ];
    let permanent = [
        ("msg_too_long", ""),
        ("no_text", ""),
        ("invalid_blocks", ""),
        ("an_error_of_tomorrow", ""),
    ];
    for (error, remedy) in config.into_iter().chain(permanent) {
        let mut rig = Rig::set(SlackOptions::default()).await;
        let (sink, mut ticket) = (rig.sink(), ticket());
        rig.slack.refuse_next("chat.postMessage", error);
        let fault = rig.settle(&sink, &mut ticket).await.unwrap();
        assert!(
            fault.reason().contains(error) && fault.reason().contains(remedy),
            "{fault}"
        );
        assert!(
            !format!("{fault:?}{sink:?}").contains("xoxb-simulated"),
            "the token is nowhere"
        );
        assert_eq!(
            rig.settle(&sink, &mut ticket).await,
            None,
            "after the repair it goes on"
        );
        assert_eq!(rig.slack.messages().len(), 1);
        rig.slack.assert_drained();
    }
    for error in [
        "ratelimited",
        "rate_limited",
        "fatal_error",
        "internal_error",
        "service_unavailable",
    ] {
        let mut rig = Rig::set(SlackOptions::default()).await;
        let (sink, mut ticket) = (rig.sink(), ticket());
        rig.slack.refuse_next("chat.postMessage", error);
        assert!(!rig.step(&sink, &mut ticket).await.unwrap());
        assert!(
            rig.step(&sink, &mut ticket)
                .await
                .unwrap_err()
                .is_transient(),
            "{error}"
        );
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        assert_eq!(rig.slack.messages().len(), 1, "{error}");
        rig.slack.assert_drained();
    }
}

#[tokio::test]
async fn the_vendors_error_bodies_are_understood() {
    let expected = [
        ("cant-update-message", "cant_update_message"),
        ("channel-not-found", "there is no channel"),
        (
            "invalid-blocks",
            "must be less than 3001 characters [json-pointer:/blocks/2/text/text]",
        ),
        ("is-archived", "archived"),
        ("message-not-found", "message_not_found"),
        (
            "missing-scope",
            "the scope chat:write (it has channels:read)",
        ),
        ("not-in-channel", "chat:write.public"),
        ("token-revoked", "reinstall the app"),
    ];
    for (name, words) in expected {
        let mut rig = Rig::set(SlackOptions::default()).await;
        let (sink, mut ticket) = (rig.sink(), ticket());
        let body = fixture(&format!("slack-error-{name}")).to_string();
        rig.slack.faults().next_on(
            "POST",
            "chat.postMessage",
            simulators::Fault::Status {
                code: 200,
                headers: Vec::new(),
                body,
            },
        );
        let fault = rig.settle(&sink, &mut ticket).await.unwrap();
        assert!(fault.reason().contains(words), "{name}: {fault}");
    }
    for name in ["slack-postmessage-ok", "slack-postmessage-ok-warning"] {
        let mut rig = Rig::set(SlackOptions::default()).await;
        let (sink, mut ticket) = (rig.sink(), ticket());
        let body = fixture(name).to_string();
        rig.slack.faults().next_on(
            "POST",
            "chat.postMessage",
            simulators::Fault::Status {
                code: 200,
                headers: Vec::new(),
                body,
            },
        );
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        assert_eq!(
            ticket.slack.ts.as_deref(),
            Some("1785143731.000100"),
            "kept as the text it is"
        );
    }
}

#[tokio::test]
async fn slacks_wish_for_silence_is_kept_for_every_ticket_and_costs_no_call() {
    let mut rig = Rig::set(SlackOptions::default()).await;
    let sink = rig.sink();
    let (mut one, mut other, mut old) = (numbered(1), numbered(2), numbered(3));
    rig.settle(&sink, &mut old).await;
    rig.pass(TimeDelta::seconds(5));
    rig.slack.faults().next_on(
        "POST",
        "chat.postMessage",
        simulators::Fault::from_fixture(&fixture("slack-http-429")),
    );
    rig.step(&sink, &mut one).await.unwrap();
    let fault = rig.step(&sink, &mut one).await.unwrap_err();
    let thirty = std::time::Duration::from_secs(30);
    assert!(
        matches!(fault, Fault::Transient { retry_after: Some(wait), .. } if wait == thirty),
        "{fault:?}"
    );
    let calls = rig.slack.calls("chat.postMessage").len();
    rig.step(&sink, &mut other).await.unwrap();
    let waits = [
        sink.step(&one, rig.now).await.unwrap(),
        sink.step(&other, rig.now).await.unwrap(),
    ];
    // They come back a little early, and wait for their places.
    let back = std::time::Duration::from_millis(28_500);
    assert!(
        matches!(waits[0], Step::Wait(wait, _) if wait == back),
        "{:?}",
        waits[0]
    );
    assert!(
        matches!(waits[1], Step::Wait(wait, _) if wait == back + std::time::Duration::from_secs(1)),
        "{:?}",
        waits[1]
    );
    assert_eq!(rig.slack.calls("chat.postMessage").len(), calls);
    // Editing has a limit of its own and is not held up.
    issue(&mut old);
    assert_eq!(rig.settle(&sink, &mut old).await, None);
    assert_eq!(rig.slack.messages()[0].edits, 1);
    for ticket in [&mut one, &mut other] {
        assert_eq!(rig.settle(&sink, ticket).await, None);
    }
    assert_eq!(rig.slack.messages().len(), 3);
    rig.slack.assert_drained();
}

#[tokio::test]
async fn ten_tickets_at_once_never_meet_the_limit() {
    a_crowd(10).await;
}

/// The last ones wait longer than an intent is fresh.
#[tokio::test]
async fn forty_tickets_at_once_never_meet_the_limit() {
    a_crowd(40).await;
}

async fn a_crowd(size: u32) {
    let mut rig = Rig::set(SlackOptions {
        one_a_second: true,
        ..SlackOptions::default()
    })
    .await;
    let sink = rig.sink();
    let mut tickets: Vec<_> = (0..size)
        .map(|number| (numbered(number), rig.now))
        .collect();
    // Each comes back when it was told to, as its queue message would.
    while let Some(next) = tickets.iter().map(|(_, due)| *due).min() {
        assert!(next < at("10:05:00"), "somebody waits for ever");
        rig.now = next;
        rig.clock.set(next);
        for (ticket, due) in tickets.iter_mut().filter(|(_, due)| *due == next) {
            match sink.step(ticket, next).await.unwrap() {
                Step::Recorded(record) => ticket.slack = record,
                Step::Wait(wait, _) => *due += wait,
                Step::UpToDate => *due = chrono::DateTime::<chrono::Utc>::MAX_UTC,
            }
        }
        tickets.retain(|(_, due)| *due != chrono::DateTime::<chrono::Utc>::MAX_UTC);
    }
    let all = usize::try_from(size).unwrap();
    assert_eq!(rig.slack.messages().len(), all);
    assert_eq!(
        rig.slack.calls("chat.postMessage").len(),
        all,
        "no call was refused"
    );
    assert_eq!(
        rig.now - at("10:00:02"),
        TimeDelta::seconds(i64::from(size) - 1)
    );
}

#[tokio::test]
async fn a_channels_name_is_resolved_once() {
    let mut channels: Vec<_> = (0..25)
        .map(|n| SlackChannel::public(&format!("C0000000{n:02}"), &format!("other-{n}")))
        .collect();
    channels.push(SlackChannel::public("C01234567AB", "aiops-rca-alerts"));
    let mut rig = Rig::set(SlackOptions {
        channels,
        page_size: 10,
        ..SlackOptions::default()
    })
    .await;
    for name in ["#aiops-rca-alerts", "aiops-rca-alerts"] {
        rig.channel = name.into();
        let sink = rig.sink();
        let before = rig.slack.calls("conversations.list").len();
        for number in 0..3 {
            let mut ticket = numbered(number);
            assert_eq!(rig.settle(&sink, &mut ticket).await, None);
            assert_eq!(ticket.slack.channel.as_deref(), Some("C01234567AB"));
        }
        assert_eq!(
            rig.slack.calls("conversations.list").len() - before,
            3,
            "three pages, once"
        );
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_goes_to_slack_as_it_is() {
    let mut options = SlackOptions::default();
    options.scopes.remove("channels:read");
    let mut rig = Rig::set(options).await;
    rig.channel = "aiops-rca-alerts".into();
    let (sink, mut ticket) = (rig.sink(), ticket());
    issue(&mut ticket);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(
        ticket.slack.channel.as_deref(),
        Some("C01234567AB"),
        "the answer says the id"
    );
    ask(&mut ticket);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.slack.messages()[0].edits, 1, "and edits go to the id");
}

#[tokio::test]
async fn a_channel_that_is_not_there_says_what_to_do() {
    let mut rig = Rig::set(SlackOptions {
        scopes: ["chat:write", "channels:read", "groups:read"]
            .map(str::to_owned)
            .into(),
        ..SlackOptions::default()
    })
    .await;
    rig.channel = "no-such-channel".into();
    let (sink, mut ticket) = (rig.sink(), ticket());
    let fault = rig.settle(&sink, &mut ticket).await.unwrap();
    assert!(
        fault.reason().contains("#no-such-channel")
            && fault.reason().contains("SLACK_ALERT_CHANNEL"),
        "{fault}"
    );
    assert!(rig.slack.calls("chat.postMessage").is_empty());
}

/// Without knowing of each other, two processes would post two messages a second.
#[tokio::test]
async fn processes_with_a_line_share_the_pace_of_the_channel() {
    let rig = Rig::set(SlackOptions::default()).await;
    let storage = support::embedded();
    let process = || Flow {
        sinks: Sinks {
            slack: Some(rig.sink()),
            ..Sinks::default()
        },
        ..build::flow(storage.clone())
    };
    let (one, other) = (process(), process());
    one.prepare().await.unwrap();
    let tell = async |flow: &Flow, number: u32| {
        let mut opened = Change {
            ticket: numbered(number << 8),
            visible: true,
            at: at("10:00:01"),
        };
        assert!(flow.store.open(&mut opened, &[]).await.unwrap());
        let delivery = Delivery {
            ticket: opened.ticket.id,
            sink: Sink::Slack,
            attempt: 0,
        };
        flow.work(Task::Delivery(delivery), Utc::now).await.unwrap();
    };
    // The second one waits for its place: there is a line.
    tell(&one, 1).await;
    tell(&one, 2).await;
    tell(&other, 3).await;
    let began = Instant::now();
    tell(&other, 4).await;
    tell(&other, 5).await;
    tell(&other, 6).await;
    assert_eq!(rig.slack.messages().len(), 6);
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(4),
        "{took:?}: alone it would be three seconds"
    );
}
