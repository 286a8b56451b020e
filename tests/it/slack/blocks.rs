//! Every text people read, and every limit.

use aiops_rca::sinks::slack::blocks::{HEADER_LIMIT, Post, TEXT_LIMIT, chapter, message};
use aiops_rca::sinks::slack::digest;
use aiops_rca::sinks::slack::elements::SECTION_LIMIT;
use aiops_rca::sinks::slack::look::Look;
use aiops_rca::ticket::machine::{Event, Report};
use aiops_rca::ticket::numbers::{Numbers, Stretch, Summary};
use aiops_rca::ticket::{Channel, Chapter, ChapterKind, DeliveryFault, Sink, Status, Ticket};
use proptest::prelude::*;
use serde_json::Value;
use simulators::slack::{block_problems, read};
use url::Url;

use super::rig::{answer, ask, at, attempt, happen, healing, issue, person, status, ticket};

struct Bases(Url, Url, Vec<String>);

fn bases() -> Bases {
    let url = |text: &str| text.parse().unwrap();
    Bases(
        url("https://your-rca-server.com"),
        url("https://your-company.atlassian.net"),
        vec!["U0JOHNDOE".into(), "not an id".into()],
    )
}

impl Bases {
    fn look(&self) -> Look<'_> {
        Look {
            dashboard_base: Some(&self.0),
            issue_base: Some(&self.1),
            approvers: &self.2,
            routes: None,
            clicks: true,
        }
    }
}

fn shown(ticket: &Ticket) -> Post {
    let post = message(ticket, &bases().look());
    assert_eq!(block_problems(&post.blocks), Vec::<String>::new());
    post
}

/// The message as people read it: blocks are paragraphs, links and buttons show their label.
fn reading(post: &Post) -> String {
    read(&post.blocks)
}

/// Only what the guide has: its buttons are the dashboard's, and it has no line about when it failed.
fn guides_part(post: &Post) -> String {
    let text = reading(post)
        .replace("[Take it] [Close] ", "")
        .replace("[The cause is another…] ", "")
        .replace("[Silence 1 h] [Silence 4 h] [Silence 1 day]\n\n", "");
    let mut paragraphs: Vec<&str> = text.split("\n\n").collect();
    let dates = paragraphs.remove(paragraphs.len() - 2);
    assert!(
        dates.starts_with("Reported 2025-12-12 10:00:00 UTC"),
        "{dates}"
    );
    paragraphs.join("\n\n")
}

#[test]
fn the_alert_is_the_guides_text() {
    let mut ticket = ticket();
    issue(&mut ticket);
    assert_eq!(
        guides_part(&shown(&ticket)),
        "🔴 ALERT: pipeline-name - Medium (P3)

Ticket: ADF-20251212T100000-abc123
ITSM Ticket: APAIOPS-123
Run ID: run-id-12345
Error Type: UserErrorSourceBlobNotExists

Root Cause: The pipeline failed because the source blob file was not found...
Confidence: High

Resolution Steps:
• Check upstream data availability
• Verify file path configuration
• Review pipeline schedule

[Open in Dashboard]"
    );
    insta::assert_json_snapshot!("slack_alert", shown(&ticket).blocks);
}

#[test]
fn the_closed_message_is_the_guides_text() {
    let mut ticket = ticket();
    issue(&mut ticket);
    status(
        &mut ticket,
        Status::Acknowledged,
        person("John Doe", Channel::Jira),
        at("10:30:00"),
    );
    assert_eq!(
        guides_part(&shown(&ticket)),
        "✅ pipeline-name - CLOSED

Ticket: ADF-20251212T100000-abc123
ITSM Ticket: APAIOPS-123
Run ID: run-id-12345
Status: CLOSED

Closed by John Doe on 2025-12-12 10:30:00 UTC

Root Cause: The pipeline failed because the source blob file was not found...
Confidence: High
Error Type: UserErrorSourceBlobNotExists

Resolution Steps:
• Check upstream data availability
• Verify file path configuration
• Review pipeline schedule

[Open in Dashboard]"
    );
    insta::assert_json_snapshot!("slack_closed", shown(&ticket).blocks);
}

#[test]
fn every_other_state_follows_their_style() {
    let mut states = Vec::new();
    let mut record = |name: &str, ticket: &Ticket| {
        states.push(format!("=== {name}\n{}", reading(&shown(ticket))));
    };
    let john = || person("John Doe", Channel::Jira);

    let mut fresh = ticket();
    record("issue pending", &fresh);
    let mut off = fresh.clone();
    off.sinks_off.insert("jira".into(), "ITSM_TOOL=none".into());
    record("no JIRA", &off);
    let refused = Event::DeliveryEnded {
        sink: Sink::Jira,
        holder: String::new(),
        shown: None,
        fault: Some(DeliveryFault {
            reason: "401".into(),
            at: at("10:00:09"),
            retrying: false,
        }),
        settings: None,
        again: None,
    };
    happen(&mut fresh, &refused, at("10:00:09"));
    record("JIRA refused", &fresh);

    let mut taken = ticket();
    issue(&mut taken);
    status(&mut taken, Status::InProgress, john(), at("10:10:00"));
    record("in progress", &taken);
    status(&mut taken, Status::Acknowledged, john(), at("10:30:00"));
    status(
        &mut taken,
        Status::InProgress,
        person("Jane Roe", Channel::Jira),
        at("10:40:00"),
    );
    record("reopened", &taken);
    happen(
        &mut taken,
        &Event::IssueDeleted { by: john() },
        at("10:41:00"),
    );
    record("issue deleted", &taken);

    let mut asked = ticket();
    issue(&mut asked);
    ask(&mut asked);
    record("approval asked", &asked);
    let mut closed = asked.clone();
    status(&mut closed, Status::Acknowledged, john(), at("10:30:00"));
    record("closed while asked", &closed);
    let mut expired = asked.clone();
    happen(&mut expired, &Event::ApprovalExpired, at("11:00:00"));
    record("approval expired", &expired);
    let mut rejected = asked.clone();
    answer(&mut rejected, false);
    record("rejected", &rejected);
    answer(&mut asked, true);
    record("approved", &asked);
    attempt(&mut asked, "10:06:00", &Report::Succeeded);
    record("healed", &asked);
    insta::assert_snapshot!("slack_states", states.join("\n\n"));
}

#[test]
fn the_question_has_two_buttons_that_ask_again() {
    let mut ticket = ticket();
    ask(&mut ticket);
    insta::assert_json_snapshot!("slack_question", shown(&ticket).blocks[4..6]);
}

#[test]
fn without_anybody_to_answer_in_slack_there_are_no_buttons() {
    let mut ticket = ticket();
    ask(&mut ticket);
    let post = message(&ticket, &Look::default());
    assert!(post.blocks.iter().all(|block| block["type"] != "actions"));
    assert!(reading(&post).contains("Answer on the dashboard."));
}

#[test]
fn a_question_that_does_not_fit_a_button_is_answered_on_the_dashboard() {
    let mut ticket = ticket();
    ask(&mut ticket);
    ticket.remediation.approval.as_mut().unwrap().plan = "x".repeat(201);
    assert!(reading(&shown(&ticket)).contains("Answer on the dashboard."));
    ticket.remediation.approval.as_mut().unwrap().plan = "x".repeat(200);
    assert!(reading(&shown(&ticket)).contains("[Approve]"));
}

#[test]
fn a_closed_ticket_asks_nobody() {
    let mut ticket = ticket();
    ask(&mut ticket);
    assert!(reading(&shown(&ticket)).contains("[Approve]"));
    ticket.status = Status::Acknowledged;
    assert!(!reading(&shown(&ticket)).contains("[Approve]"));
}

#[test]
fn the_thread_tells_the_story() {
    let mut healed = ticket();
    healing(&mut healed);
    let mut late = ticket();
    happen(&mut late, &Event::SlaBreached, at("12:00:00"));
    ask(&mut late);
    answer(&mut late, false);
    let dashboard = || person("Jane Roe", Channel::Dashboard);
    status(&mut late, Status::InProgress, dashboard(), at("12:10:00"));
    status(&mut late, Status::Acknowledged, dashboard(), at("12:20:00"));
    status(&mut late, Status::Open, dashboard(), at("12:30:00"));
    let mut lines = Vec::new();
    for ticket in [&healed, &late] {
        for entry in &ticket.story {
            let post = chapter(ticket, entry, &bases().look());
            assert_eq!(block_problems(&post.blocks), Vec::<String>::new());
            lines.push(reading(&post));
        }
    }
    insta::assert_snapshot!("slack_thread", lines.join("\n---\n"));
}

#[test]
fn every_kind_of_chapter_has_a_sign_of_its_own_or_shares_success() {
    let kinds = [
        ChapterKind::RemediationPlanned,
        ChapterKind::RemediationStarted,
        ChapterKind::RemediationSucceeded,
        ChapterKind::RemediationFailed,
        ChapterKind::RemediationUnknown,
        ChapterKind::RemediationExhausted,
        ChapterKind::ApprovalAsked,
        ChapterKind::ApprovalGiven,
        ChapterKind::ApprovalRejected,
        ChapterKind::ApprovalExpired,
        ChapterKind::SlaBreached,
        ChapterKind::Closed,
        ChapterKind::Reopened,
        ChapterKind::InProgress,
        ChapterKind::Recurrence,
    ];
    let ticket = ticket();
    let entries: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            let entry = Chapter {
                number: 1,
                at: at("10:20:00"),
                kind: *kind,
                text: "What <happened> & *why*, *now*".into(),
                from: None,
            };
            Value::from(chapter(&ticket, &entry, &bases().look()).text)
        })
        .collect();
    insta::assert_json_snapshot!("slack_chapter_kinds", entries);
}

fn text_of(post: &Post, start: &str) -> String {
    let texts = post
        .blocks
        .iter()
        .filter_map(|block| block["text"]["text"].as_str());
    texts
        .into_iter()
        .find(|text| text.starts_with(start))
        .unwrap()
        .to_owned()
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// At the limit the whole text is shown; one past it, it is cut on a character and stays within.
fn at_the_limit(limit: usize, start: &str, put: impl Fn(&mut Ticket, String)) {
    for unit in ["x", "ü", "日", "🔥", "&", "<"] {
        let cost = match unit {
            "&" => 5,
            "<" => 4,
            unit => units(unit),
        };
        let show = |length: usize| {
            let mut ticket = ticket();
            put(
                &mut ticket,
                format!(
                    "{}{}",
                    "x".repeat(length % cost),
                    unit.repeat(length / cost)
                ),
            );
            text_of(&shown(&ticket), start)
        };
        let frame = units(&show(cost)) - cost;
        let full = show(limit - frame);
        assert_eq!(units(&full), limit, "{unit} fills {start}");
        assert!(!full.contains('…'), "{unit} is whole in {start}");
        let past = show(limit - frame + 1);
        assert!(
            past.contains('…') && units(&past) <= limit,
            "{unit} is cut in {start}"
        );
    }
}

/// Everything as long as it can be, in every state: Slack counts all blocks together.
#[test]
fn all_blocks_together_stay_under_slacks_limit() {
    fn texts(value: &Value) -> usize {
        match value {
            Value::Object(fields) => {
                let own = fields.get("text").and_then(Value::as_str);
                own.map_or(0, |text| text.encode_utf16().count())
                    + fields.values().map(texts).sum::<usize>()
            }
            Value::Array(all) => all.iter().map(texts).sum(),
            _ => 0,
        }
    }
    for unit in ["x ", "& ", "日本 ", "🔥 "] {
        let long = unit.repeat(3000);
        let mut ticket = ticket();
        ticket.failure.asset.clone_from(&long);
        ticket.diagnosis.root_cause.clone_from(&long);
        ticket.diagnosis.recommendations = vec![long.clone(); 10];
        ask(&mut ticket);
        if let Some(approval) = &mut ticket.remediation.approval {
            approval.plan_text.clone_from(&long);
            approval.why.clone_from(&long);
        }
        ticket.owner = Some(long.clone());
        for status_of in [Status::Open, Status::InProgress, Status::Acknowledged] {
            ticket.status = status_of;
            let blocks = Value::from(shown(&ticket).blocks);
            let total = texts(&blocks);
            assert!(total < 12_000, "{unit}: {total}");
            assert!(total > 5_000, "{unit}: {total}");
        }
    }
}

#[test]
fn the_header_at_its_limit() {
    at_the_limit(HEADER_LIMIT, "🔴 ALERT: ", |ticket, text| {
        ticket.failure.asset = text;
    });
}

#[test]
fn the_root_cause_at_its_limit() {
    at_the_limit(SECTION_LIMIT, "Root Cause: ", |ticket, text| {
        ticket.diagnosis.root_cause = text;
    });
}

#[test]
fn the_closed_header_at_its_limit() {
    at_the_limit(HEADER_LIMIT, "✅ ", |ticket, text| {
        ticket.failure.asset = text;
        ticket.status = Status::Acknowledged;
    });
}

#[test]
fn a_single_step_at_its_limit() {
    // One unit of the section stays free: steps share it evenly.
    at_the_limit(SECTION_LIMIT, "Resolution Steps:", |ticket, text| {
        ticket.diagnosis.recommendations = vec![text];
    });
}

#[test]
fn many_and_long_steps_share_their_section() {
    let mut ticket = ticket();
    ticket.diagnosis.recommendations = vec!["<&>日🔥".repeat(400); 30];
    let steps = text_of(&shown(&ticket), "Resolution Steps:");
    assert_eq!(steps.matches("\n• ").count(), 10);
    assert!(units(&steps) <= SECTION_LIMIT);
}

#[test]
fn a_chapter_at_its_limit() {
    let entry = |text: String| Chapter {
        number: 1,
        at: at("10:20:00"),
        kind: ChapterKind::ApprovalAsked,
        text,
        from: None,
    };
    let show = |text: String| chapter(&ticket(), &entry(text), &bases().look()).text;
    let frame = units(&show("日".into())) - 1;
    assert_eq!(
        units(&show("日".repeat(SECTION_LIMIT - frame))),
        SECTION_LIMIT
    );
    let past = show("日".repeat(SECTION_LIMIT - frame + 1));
    assert!(past.contains('…') && past.ends_with("<@U0JOHNDOE>") && units(&past) <= SECTION_LIMIT);
}

#[test]
fn the_same_ticket_has_the_same_hash_and_bookkeeping_does_not_change_it() {
    let mut ticket = ticket();
    let before = shown(&ticket).hash();
    ticket.version += 7;
    ticket.slack.told = 3;
    ticket.last_seen = at("10:50:00");
    assert_eq!(shown(&ticket).hash(), before);
    issue(&mut ticket);
    assert_ne!(shown(&ticket).hash(), before);
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        Just("<!channel> <!here> <@U123> <https://evil.example|ok>".to_owned()),
        Just("*b* _i_ ~s~ `c` ```block``` &amp; > quote\n> quote".to_owned()),
        Just("日本語🔥\u{202e}\u{0}\u{1b}[31m".to_owned()),
        "[&<>x]{0,4000}",
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

/// Every failure that our fixtures become: run ids, assets, paths and error texts as the platforms write them.
fn fixtures() -> Vec<(String, Vec<String>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/expected");
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).unwrap().flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let mut names = Vec::new();
        collect(&value, "", &mut names);
        found.push((file.file_name().to_string_lossy().into_owned(), names));
    }
    assert!(found.len() > 30, "{} fixtures", found.len());
    found
}

/// The values that people copy: ids, assets, and whatever else holds no line end.
fn collect(value: &Value, name: &str, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| collect(value, name, names)),
        Value::Array(all) => all.iter().for_each(|value| collect(value, name, names)),
        Value::String(text) => {
            let is_name = name != "message" && !text.contains('\n') && text.trim() == text;
            if is_name && !text.contains("  ") && (1..500).contains(&text.len()) {
                names.push(text.clone());
            }
        }
        _ => {}
    }
}

#[test]
fn the_digest_tells_the_week() {
    let mut numbers = Numbers {
        all: 40,
        incidents: 12,
        healed: 9,
        recovered: 6,
        closed: 20,
        open: 5,
        sla_kept: 30,
        sla_missed: 5,
        closing: vec![0, 0, 10, 25],
        ..Numbers::default()
    };
    for (asset, count) in [("dag__one.load__part_2", 12), ("pl_ingest", 9), ("x`y", 1)] {
        numbers.assets.insert(asset.into(), count);
        numbers.categories.insert("missing data".into(), 22);
    }
    let week = Summary::of(
        7,
        vec![Stretch {
            from: at("00:00:00"),
            numbers,
        }],
    );
    let post = digest(&week, &bases().look());
    assert_eq!(block_problems(&post.blocks), Vec::<String>::new());
    insta::assert_snapshot!("slack_digest", reading(&post));
}

/// Put where names stand, each of them comes out of the rendered message and its thread unchanged, and findable.
#[test]
fn every_name_of_the_fixtures_and_hostile_ones_can_be_copied() {
    let hostile = [
        "scheduled__2026-11-29T03:00:00+00:00",
        "dag__one.load__part_2",
        "_private_ *bold* ~gone~",
        "a`b`c",
        "``",
        "`quoted`",
        "<!channel> <@U123> <https://evil.example|ok>",
        "&amp; &lt;b&gt;",
        ":fire: :white_check_mark:",
        "> first",
        "abfss://raw@acct.dfs.core.windows.net/_delta_log/__part__=1/*.json",
        "C:\\data\\_in_\\x",
        "日本__語🔥",
    ];
    let mut all = fixtures();
    all.push(("hostile".to_owned(), hostile.map(str::to_owned).into()));
    let mut seen = std::collections::BTreeSet::new();
    for (file, names) in all {
        for name in names {
            // Numbers and words are all alike.
            if !seen.insert(name.clone()) || name.chars().all(char::is_alphanumeric) {
                continue;
            }
            let mut ticket = ticket();
            ticket.failure.asset.clone_from(&name);
            ticket.failure.run_id = Some(name.clone());
            ticket.diagnosis.root_cause = format!("Nobody wrote {name}, at all (see {name}).");
            ticket.diagnosis.recommendations = vec![format!("Look at {name}")];
            ticket.failure.run_url = None;
            healing(&mut ticket);
            ticket.remediation.attempts[0].run_id = Some(name.clone());
            status(
                &mut ticket,
                Status::Open,
                person(&name, Channel::Jira),
                at("12:30:00"),
            );
            let bases = bases();
            let text = reading(&shown(&ticket));
            // Between back-ticks stands code, in sentences of ours.
            let is_prose =
                |expected: &String| !name.contains('`') || expected.starts_with("Run ID");
            for expected in [
                format!("Run ID: {name}\n"),
                format!("Nobody wrote {name}, at all (see {name})."),
                format!("• Look at {name}"),
                format!("Reopened by {name} on "),
                format!("failed: {name}"),
            ]
            .into_iter()
            .filter(is_prose)
            {
                assert!(text.contains(&expected), "{file}: {expected} in {text}");
            }
            let last = chapter(&ticket, ticket.story.last().unwrap(), &bases.look());
            let told = format!("Reopened by {name}");
            assert!(
                name.contains('`') || reading(&last).contains(&told),
                "{file}: {last:?}"
            );
            for post in [message(&ticket, &bases.look()), last] {
                let raw = Value::from(post.blocks.clone()).to_string() + &post.text;
                assert!(!raw.contains(['ˍ', 'ˋ', '∗', '∼', '›']), "{file}: {raw}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_in_it_slack_takes_it_and_nobody_is_pinged(asset in hostile(), cause in hostile(), step in hostile(), who in hostile(),
        plan in hostile(), closed: bool)
    {
        let mut ticket = ticket();
        ask(&mut ticket);
        ticket.failure.asset = asset;
        ticket.failure.run_id = Some(step.clone());
        ticket.diagnosis.root_cause = cause;
        ticket.diagnosis.error_type.clone_from(&step);
        ticket.diagnosis.recommendations = vec![step; 5];
        ticket.jira.key = Some(who.clone());
        ticket.status_by.name = who;
        let approval = ticket.remediation.approval.as_mut().unwrap();
        approval.plan_text.clone_from(&plan);
        approval.why = plan;
        if closed {
            ticket.status = Status::Acknowledged;
        }
        let bases = bases();
        let mut posts = vec![message(&ticket, &bases.look())];
        posts.extend(ticket.story.iter().map(|entry| chapter(&ticket, entry, &bases.look())));
        for post in posts {
            prop_assert_eq!(block_problems(&post.blocks), Vec::<String>::new());
            prop_assert!(units(&post.text) <= TEXT_LIMIT);
            prop_assert!(post.blocks.len() <= 50);
            let texts = post.blocks.iter().map(|block| &block["text"]).filter(|text| text["type"] == "mrkdwn");
            for text in texts.filter_map(|text| text["text"].as_str()).chain([post.text.as_str()]) {
                let own = text.replace("<https://your-company.atlassian.net/browse/", "").replace("<@U0JOHNDOE>", "").replace("<!date^", "");
                prop_assert!(!own.contains('<'), "{}", own);
                prop_assert!(!text.contains(['\u{202e}', '\u{0}']), "{}", text);
            }
        }
    }
}

#[test]
fn questions_about_followers_are_answered_by_two_buttons_below_the_leader() {
    let mut ticket = ticket();
    issue(&mut ticket);
    let question = |number: u32| aiops_rca::ticket::Question {
        ticket: ticket.id.clone(),
        approval: format!("q{number}"),
        plan: format!("plan {number}"),
        text: format!("Attempt 1 of 3: retry pl_{number}. Risk Low."),
        expires_at: at("14:00:00"),
    };
    let incident = aiops_rca::ticket::Incident {
        tickets: 4,
        assets: 4,
        questions: (1..4).map(question).collect(),
        ..aiops_rca::ticket::Incident::default()
    };
    let plans = incident.plans();
    ticket.incident = Some(incident);
    let post = shown(&ticket);
    let text = reading(&post);
    assert!(
        text.contains("Approval needed for 3 more tickets of this incident"),
        "{text}"
    );
    assert!(text.contains("retry pl_2. Risk Low."), "{text}");
    assert!(text.contains("[Approve all] [Reject all]"), "{text}");
    let blocks = serde_json::to_string(&post.blocks).unwrap();
    assert!(blocks.contains(&plans) && blocks.contains(&ticket.incident_approval()));
    // Other plans are another question.
    ticket.incident.as_mut().unwrap().questions.pop();
    assert_ne!(ticket.incident.as_ref().unwrap().plans(), plans);
}
