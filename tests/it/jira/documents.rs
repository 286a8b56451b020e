//! The words of issues and comments, and JIRA's limits.

use aiops_rca::diagnosis::{Quote, Severity};
use aiops_rca::evidence::Gap;
use aiops_rca::failure::{AssetKind, Source};
use aiops_rca::sinks::jira::document;
use aiops_rca::sinks::ticket_page;
use aiops_rca::ticket::{ChapterKind, Priority, Ticket, TicketId};
use proptest::prelude::*;
use serde_json::Value;
use url::Url;

use super::rig::{chapter, ticket};

fn base() -> Url {
    "https://your-rca-server.com".parse().unwrap()
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn described(ticket: &Ticket) -> Value {
    document::description(ticket, Some(&base()), &[])
}

/// Quotes of which none says what another one says.
fn different(count: usize, quote: &str, source: &str) -> Vec<Quote> {
    (0..count)
        .map(|n| Quote {
            quote: format!("{n}{quote}"),
            source: source.to_owned(),
            title: None,
        })
        .collect()
}

#[test]
fn the_guides_issue_line_by_line() {
    let ticket = ticket();
    assert_eq!(
        document::summary(&ticket.failure),
        "ADF Pipeline Failure: pipeline-name"
    );
    let guide = "Ticket ID: ADF-20251212T100000-abc123
Pipeline: pipeline-name
Run ID: run-id-12345
Severity: Medium
Priority: P3
SLA: 2 hours

Root Cause Analysis:
The source file in/2025-12-12.csv is not in the container sales.

Recommendations:
• Step 1: Check source data availability
• Step 2: Verify connection string
• Step 3: Review pipeline configuration

Error Type: UserErrorSourceBlobNotExists
Confidence: High

Dashboard: https://your-rca-server.com/dashboard?ticket=ADF-20251212T100000-abc123
";
    assert!(
        document::plain_text(&described(&ticket)).starts_with(guide),
        "character by character"
    );
    insta::assert_snapshot!("description_adf", document::plain_text(&described(&ticket)));
    insta::assert_json_snapshot!("description_adf_document", described(&ticket));
}

#[test]
fn what_a_quote_says_is_not_quoted_again() {
    let mut ticket = ticket();
    let quotes = [
        "File a is missing.",
        "Copy failed: File a is missing. Retry?",
        "File a is missing.",
        "Copy",
        "Other",
        "Other",
    ];
    ticket.diagnosis.evidence = quotes
        .iter()
        .enumerate()
        .map(|(n, quote)| Quote {
            quote: (*quote).to_owned(),
            source: format!("e{n}"),
            title: None,
        })
        .collect();
    ticket.diagnosis.evidence[4].title = Some("Output of the run".to_owned());
    let text = document::plain_text(&described(&ticket));
    let shown: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("Evidence"))
        .collect();
    assert_eq!(
        shown,
        ["Evidence (e1):", "Evidence: Output of the run"],
        "{text}"
    );
}

#[test]
fn quotes_of_one_place_share_its_heading() {
    let mut ticket = ticket();
    let said = [("e0", "first"), ("e1", "second"), ("e0", "third")];
    ticket.diagnosis.evidence = said
        .map(|(source, quote)| Quote {
            quote: quote.to_owned(),
            source: source.to_owned(),
            title: Some(format!("Output of {source}")),
        })
        .into();
    let text = document::plain_text(&described(&ticket));
    let (_, evidence) = text.split_once("Evidence: Output of e0\n").expect(&text);
    let lines: Vec<&str> = evidence.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(
        lines,
        ["first", "third", "Evidence: Output of e1", "second"],
        "{text}"
    );
}

#[test]
fn every_kind_of_failure_has_its_title_and_line() {
    let mut pages = Vec::new();
    for (source, kind, id, asset, severity, priority) in [
        (
            Source::Databricks,
            AssetKind::Job,
            "DBX-20251212T100000-abc123",
            "nightly-load",
            Severity::High,
            Priority::P2,
        ),
        (
            Source::Databricks,
            AssetKind::Cluster,
            "DBX-20251212T100000-abc124",
            "etl-cluster",
            Severity::Critical,
            Priority::P1,
        ),
        (
            Source::Airflow,
            AssetKind::Task,
            "ARF-20251212T100000-abc125",
            "sales_dag.load",
            Severity::Low,
            Priority::P4,
        ),
    ] {
        let mut ticket = ticket();
        ticket.id = TicketId::parse(id).unwrap();
        ticket.failure.source = source;
        ticket.failure.kind = kind;
        ticket.failure.asset = asset.to_owned();
        ticket.failure.run_id = None;
        ticket.failure.run_url = None;
        (ticket.severity, ticket.priority) = (severity, priority);
        ticket.diagnosis.confidence = 0.3;
        ticket.gaps = vec![Gap {
            source: "databricks.run".to_owned(),
            reason: "DATABRICKS_TOKEN is not set".to_owned(),
        }];
        pages.push(format!(
            "# {}\n{}",
            document::summary(&ticket.failure),
            document::plain_text(&described(&ticket))
        ));
    }
    insta::assert_snapshot!("descriptions_of_other_kinds", pages.join("\n\n"));
}

#[test]
fn nothing_is_made_of_nothing() {
    let mut ticket = ticket();
    ticket.diagnosis.recommendations = vec![String::new(), " \u{0} ".to_owned()];
    ticket.diagnosis.root_cause = String::new();
    ticket.diagnosis.error_type = String::new();
    ticket.diagnosis.evidence = vec![Quote {
        quote: "\n\u{7}\n".to_owned(),
        source: String::new(),
        title: None,
    }];
    ticket.failure.asset = "\u{202E}".to_owned();
    ticket.failure.run_id = Some(" ".to_owned());
    let page = document::description(&ticket, None, &[]);
    assert_valid(&page);
    insta::assert_snapshot!("description_of_nothing", document::plain_text(&page));
}

#[test]
fn markup_and_mentions_stay_text() {
    let mut ticket = ticket();
    let hostile = "<script>alert(1)</script> [~accountid:1] {panel} @here \u{202E}evil\u{0} h1. *bold* [x|javascript:alert(1)]";
    ticket.failure.asset = hostile.to_owned();
    ticket.failure.run_url = Some("javascript:alert(1)".to_owned());
    ticket.diagnosis.root_cause = hostile.to_owned();
    let page = described(&ticket);
    assert_valid(&page);
    let text = page.to_string();
    assert!(
        !text.contains("\u{202E}")
            && !text.contains("\\u0000")
            && !text.contains("javascript:alert(1)\"")
    );
    assert!(
        document::plain_text(&page)
            .contains("<script>alert(1)</script> [~accountid:1] {panel} @here evil h1. *bold*")
    );
    assert!(!text.contains("\"mention\""));
}

#[test]
fn a_summary_keeps_to_255_and_to_one_line() {
    let mut failure = ticket().failure;
    let prefix = units("ADF Pipeline Failure: ");
    // 𝄞 is one character, four bytes, two UTF-16 units; ü is two bytes, one unit.
    for (unit, width) in [("a", 1), ("ü", 1), ("𝄞", 2)] {
        let fitting = (255 - prefix) / width;
        failure.asset = unit.repeat(fitting);
        let whole = document::summary(&failure);
        assert!(
            whole.ends_with(unit) && units(&whole) > 255 - width,
            "at the limit nothing is cut"
        );
        failure.asset = format!("{}x{}", unit.repeat(fitting), unit);
        let cut = document::summary(&failure);
        assert!(
            cut.ends_with('…') && units(&cut) <= 255 && units(&cut) >= 255 - width,
            "one past the limit: {}",
            units(&cut)
        );
    }
    failure.asset = "two\r\nlines\tand\u{2028}more\u{0}".to_owned();
    assert_eq!(
        document::summary(&failure),
        "ADF Pipeline Failure: two lines and more"
    );
}

#[test]
fn a_description_keeps_to_its_limit_and_says_what_is_missing() {
    for unit in ["a", "ü", "𝄞", "\"", "\\", "\n", "x\n", "\t"] {
        let mut ticket = ticket();
        let long = unit.repeat(30_000);
        ticket.failure.asset.clone_from(&long);
        ticket.failure.run_id = Some(long.clone());
        ticket.failure.run_url = Some(format!("https://example.com/{}", "\"".repeat(1900)));
        ticket.diagnosis.error_type.clone_from(&long);
        ticket.diagnosis.root_cause.clone_from(&long);
        ticket.diagnosis.recommendations = vec![long.clone(); 30];
        ticket.diagnosis.evidence = different(30, &long, &long);
        ticket.gaps = vec![
            Gap {
                source: long.clone(),
                reason: long.clone()
            };
            30
        ];
        let page = described(&ticket);
        assert_valid(&page);
        let text = document::plain_text(&page);
        for line in [
            "Ticket ID: ADF-20251212T100000-abc123",
            "Severity: Medium",
            "SLA: 2 hours",
            "Confidence: High",
        ] {
            assert!(text.contains(line), "the guide's lines are always there");
        }
        assert!(text.contains(
            "Dashboard: https://your-rca-server.com/dashboard?ticket=ADF-20251212T100000-abc123"
        ));
    }
}

#[test]
fn evidence_fills_the_room_to_the_last_character_and_not_one_further() {
    let mut ticket = ticket();
    ticket.diagnosis.recommendations = vec!["\"".repeat(400); 10];
    ticket.diagnosis.root_cause = "\"".repeat(4000);
    ticket.diagnosis.evidence = different(5, &format!("𝄞{}", "\"".repeat(2_000)), "e1");
    ticket.gaps = vec![
        Gap {
            source: "adf".to_owned(),
            reason: "\"".repeat(400)
        };
        10
    ];
    let page = described(&ticket);
    assert_valid(&page);
    let size = units(&page.to_string());
    assert!(
        size > document::DOCUMENT_LIMIT - 1_600,
        "the room is used: {size}"
    );
    assert!(
        document::plain_text(&page).contains("The rest did not fit here: the dashboard shows it.")
    );
}

#[test]
fn markers_name_one_chapter_only() {
    let id = ticket().id;
    let tenth = document::plain_text(&document::comment(
        &id,
        &chapter(10, ChapterKind::Closed, "Closed."),
    ));
    assert!(tenth.contains(&document::marker(&id, 10)));
    assert!(!tenth.contains(&document::marker(&id, 1)));
}

#[test]
fn the_dashboard_link_keeps_a_path_and_encodes() {
    let id = ticket().id;
    let link = |base: &str| {
        ticket_page(&base.parse().unwrap(), &id)
            .unwrap()
            .to_string()
    };
    assert_eq!(
        link("https://x.example/"),
        "https://x.example/dashboard?ticket=ADF-20251212T100000-abc123"
    );
    assert_eq!(
        link("https://x.example/rca/?a=1#b"),
        "https://x.example/rca/dashboard?ticket=ADF-20251212T100000-abc123"
    );
}

/// What JIRA accepts: known nodes, no empty text, no empty list, no control characters, under the limit.
fn assert_valid(document: &Value) {
    fn walk(node: &Value) {
        let children = node["content"].as_array();
        match node["type"].as_str().unwrap() {
            "text" => {
                let text = node["text"].as_str().unwrap();
                assert!(!text.is_empty(), "empty text node");
                assert!(
                    !text
                        .chars()
                        .any(|c| c.is_control() && c != '\n' && c != '\t'),
                    "control character"
                );
                assert!(
                    !text.chars().any(|c| ('\u{202A}'..='\u{202E}').contains(&c)),
                    "reordering character"
                );
            }
            "hardBreak" => {}
            "bulletList" | "listItem" | "paragraph" | "codeBlock" => {
                assert!(!children.unwrap().is_empty(), "empty block");
            }
            "doc" => assert_eq!(node["version"], 1),
            other => panic!("unknown node {other}"),
        }
        children.into_iter().flatten().for_each(walk);
    }
    walk(document);
    assert!(
        units(&document.to_string()) <= document::DOCUMENT_LIMIT,
        "{} units",
        units(&document.to_string())
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gives_a_valid_issue(text in any::<String>(), times in 1_usize..200, quotes in 0_usize..9, link in any::<String>()) {
        let text = text.repeat(times);
        let mut ticket = ticket();
        ticket.failure.asset.clone_from(&text);
        ticket.failure.run_id = Some(text.clone());
        ticket.failure.run_url = Some(format!("https://{link}"));
        ticket.diagnosis.root_cause.clone_from(&text);
        ticket.diagnosis.recommendations = vec![text.clone(); quotes];
        ticket.diagnosis.evidence = different(quotes, &text, &text);
        ticket.gaps = vec![Gap { source: text.clone(), reason: text.clone() }; quotes];
        assert_valid(&described(&ticket));
        let summary = document::summary(&ticket.failure);
        prop_assert!(units(&summary) <= 255 && !summary.chars().any(char::is_control));
        assert_valid(&document::comment(&ticket.id, &chapter(1, ChapterKind::Closed, &text)));
    }
}
