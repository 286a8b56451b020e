//! What people read in Teams.

use aiops_rca::ownership::Routes;
use aiops_rca::sinks::teams::card::{self, BOT_SIZE, Look, Serial, Size, URL_SIZE, verb};
use aiops_rca::ticket::{Chapter, Status, Ticket};
use proptest::prelude::*;
use serde_json::Value;
use simulators::teams::problems;
use url::Url;

use super::rig::{ask, buttons, named, runs, status, texts, ticket};

const APPROVER: &str = "77777777-aaaa-bbbb-cccc-888888888888";

fn with_look<T>(size: Size, buttons: bool, use_it: impl FnOnce(&Look<'_>) -> T) -> T {
    let approvers = [APPROVER.to_owned()];
    let (page, site): (Url, Url) = (
        "https://your-rca-server.com".parse().unwrap(),
        "https://your-company.atlassian.net/".parse().unwrap(),
    );
    use_it(&Look {
        dashboard_base: Some(&page),
        issue_base: Some(&site),
        size,
        approvers: if buttons { &approvers } else { &[] },
        routes: None,
    })
}

fn by_url(ticket: &Ticket, serial: Serial<'_>) -> Value {
    with_look(URL_SIZE, false, |look| card::card(ticket, look, serial))
}

fn by_bot(ticket: &Ticket) -> Value {
    with_look(BOT_SIZE, true, |look| {
        card::card(ticket, look, Serial::default())
    })
}

#[test]
fn the_cards_of_a_story() {
    let mut ticket = ticket();
    insta::assert_json_snapshot!("opening", by_url(&ticket, Serial::default()));
    ask(&mut ticket);
    insta::assert_json_snapshot!("asked_by_bot", by_bot(&ticket));
    status(&mut ticket, Status::InProgress, "10:02:00");
    status(&mut ticket, Status::Acknowledged, "10:20:00");
    let news: Vec<&Chapter> = ticket.story.iter().collect();
    let serial = Serial {
        update: 3,
        last: true,
        news: &news,
    };
    let last = by_url(&ticket, serial);
    insta::assert_json_snapshot!("last_update", last);
    let first = &ticket.story[0];
    let reply = with_look(BOT_SIZE, true, |look| card::chapter(&ticket, first, look));
    insta::assert_json_snapshot!("reply", reply);
    for card in [&last, &by_bot(&ticket), &reply] {
        assert_eq!(problems(card, true), Vec::<String>::new());
    }
}

#[test]
fn buttons_lead_to_issue_run_and_dashboard_and_only_a_bot_has_those_that_decide() {
    let mut ticket = ticket();
    ask(&mut ticket);
    let links = buttons(&by_url(&ticket, Serial::default()));
    assert_eq!(
        links["Open in JIRA"],
        "https://your-company.atlassian.net/browse/APAIOPS-123"
    );
    assert!(links["Open run"].starts_with("https://adf.azure.com/monitoring/"));
    assert!(links["Open in Dashboard"].ends_with(&format!("/dashboard?ticket={}", ticket.id)));
    assert_eq!(links.len(), 3);
    let card = by_bot(&ticket);
    let verbs: Vec<&str> = (card["actions"].as_array().unwrap().iter())
        .filter_map(|action| action["verb"].as_str())
        .collect();
    assert_eq!(
        verbs,
        [verb::APPROVE, verb::REJECT, verb::TAKE, verb::CLOSE]
    );
    assert_eq!(card["version"], "1.4");
    assert!(
        texts(&by_url(&ticket, Serial::default())).contains(&"Answer on the dashboard.".to_owned())
    );
    status(&mut ticket, Status::Acknowledged, "10:20:00");
    let closed = by_bot(&ticket);
    assert_eq!(
        buttons(&closed).len(),
        3,
        "nothing is left to decide: {closed:#}"
    );
    assert_eq!(closed["version"], "1.2");
}

#[test]
fn what_is_no_web_address_becomes_no_button() {
    let mut ticket = ticket();
    for url in [
        "javascript:alert(1)",
        "https://",
        "nonsense",
        "file:///etc/passwd",
    ] {
        ticket.failure.run_url = Some(url.to_owned());
        ticket.jira.key = Some("../../evil?x".to_owned());
        let card = by_url(&ticket, Serial::default());
        let titles: Vec<String> = buttons(&card).into_keys().collect();
        assert_eq!(titles, ["Open in Dashboard"], "{url}");
    }
}

/// Names as people, tools and enemies make them.
const NAMES: [&str; 9] = [
    "dag__load*x*",
    "**bold** _it_ [link](https://evil.example) ~~s~~ `c`",
    "<at>Jane Roe</at>",
    "<b>&amp;</b> \\_ {{DATE(2026-11-30)}} ${x}",
    "שלום עולם",
    "مرحبا",
    "𝒳𝓎 👩‍🚀 漢字",
    "- a list",
    "# no heading",
];

/// All kinds of cards, of tickets with all kinds of names: with its name, and what it has to show.
pub(crate) fn samples() -> Vec<(String, Value, Vec<String>)> {
    let mut samples = Vec::new();
    for name in NAMES.into_iter().chain(["pl_ingest_sales"]) {
        let mut ticket = named(name);
        let title = format!("ALERT: {}", aiops_rca::redaction::clean(name));
        let opening = by_url(&ticket, Serial::default());
        samples.push((format!("opening of {name}"), opening, vec![title.clone()]));
        ask(&mut ticket);
        samples.push((format!("by bot, of {name}"), by_bot(&ticket), vec![title]));
        status(&mut ticket, Status::InProgress, "10:02:00");
        status(&mut ticket, Status::Acknowledged, "10:20:00");
        let news: Vec<&Chapter> = ticket.story.iter().collect();
        let serial = Serial {
            update: 3,
            last: true,
            news: &news,
        };
        let last = by_url(&ticket, serial);
        samples.push((format!("last of {name}"), last, vec!["update 3".to_owned()]));
        let first = &ticket.story[0];
        let reply = with_look(BOT_SIZE, true, |look| card::chapter(&ticket, first, look));
        samples.push((format!("reply of {name}"), reply, Vec::new()));
        samples.extend(mentioning(name));
    }
    samples
}

/// An opening and a question that mention people.
fn mentioning(name: &str) -> Vec<(String, Value, Vec<String>)> {
    let mut routes = Routes::default();
    let rule = format!("team-finance: mention=S0AB {APPROVER} john.doe@example.com");
    routes.add(&rule).unwrap();
    let mut ticket = named(name);
    ticket.owner = Some("team-finance".to_owned());
    ask(&mut ticket);
    with_look(BOT_SIZE, true, |look| {
        let look = Look {
            routes: Some(&routes),
            ..*look
        };
        let opening = card::card(&ticket, &look, Serial::default());
        let asked = card::chapter(&ticket, &ticket.story[0], &look);
        let says = |words: &str| vec![words.to_owned()];
        vec![
            (
                format!("mentions an owner, of {name}"),
                opening,
                says("<at>team-finance</at> <at>john.doe</at>"),
            ),
            (
                format!("mentions an approver, of {name}"),
                asked,
                says("<at>approver</at>"),
            ),
        ]
    })
}

/// A person copies the path, not the marks around it.
#[test]
fn code_is_set_in_another_type() {
    let mut ticket = ticket();
    let cause = "The source file `sales/2026/ventes_été.csv` was not found (task `load`).";
    ticket.diagnosis.root_cause = cause.to_owned();
    ticket.diagnosis.recommendations = vec!["Run `pip check`.".to_owned(), "A ` alone".to_owned()];
    let card = by_bot(&ticket);
    let code: Vec<&str> = (runs(&card).into_iter())
        .filter(|run| run["fontType"] == "Monospace")
        .map(|run| run["text"].as_str().unwrap())
        .collect();
    assert_eq!(code, ["sales/2026/ventes_été.csv", "load", "pip check"]);
    let many = "`x` ".repeat(40);
    ticket.diagnosis.root_cause.clone_from(&many);
    let shown = texts(&by_bot(&ticket));
    assert!(
        shown.contains(&many.trim_end().to_owned()),
        "each run costs more than its text"
    );
}

#[test]
fn names_arrive_as_they_are() {
    for name in NAMES {
        let mut ticket = named(name);
        ticket.diagnosis.root_cause = format!("It is {name}.");
        for card in [by_url(&ticket, Serial::default()), by_bot(&ticket)] {
            let texts = texts(&card);
            let shown = aiops_rca::redaction::clean(name);
            assert!(
                texts
                    .iter()
                    .any(|text| text == &format!("🔴 ALERT: {shown}")),
                "{name}: {texts:?}"
            );
            // Code in our sentences is in a run of its own, without its marks.
            let cause: String = (texts.iter())
                .skip_while(|text| *text != "Root Cause: ")
                .skip(1)
                .take_while(|text| *text != "Confidence: ")
                .map(String::as_str)
                .collect();
            assert_eq!(cause, format!("It is {shown}.").replace("`c`", "c"));
            let json = card.to_string();
            assert!(
                !json.contains("\"TextBlock\"")
                    && !json.contains("\"FactSet\"")
                    && !json.contains("entities")
            );
            assert_eq!(problems(&card, true), Vec::<String>::new());
        }
    }
}

fn expanded(card: &Value) -> usize {
    let each = card.to_string();
    each.chars()
        .map(|c| if c.is_ascii() { 1 } else { 6 * c.len_utf16() })
        .sum()
}

#[test]
fn a_card_that_is_too_large_is_cut_where_people_see_it() {
    for letter in ["x", "<", "\"", "é", "𝒳"] {
        let mut ticket = ticket();
        ask(&mut ticket);
        ticket.diagnosis.root_cause = letter.repeat(60_000);
        ticket.diagnosis.recommendations = vec![letter.repeat(4_000); 30];
        for _ in 0..20 {
            let mut chapter = ticket.story[0].clone();
            chapter.text = format!("{letter} word\n").repeat(900);
            ticket.story.push(chapter);
        }
        let news: Vec<&Chapter> = ticket.story.iter().collect();
        let serial = Serial {
            update: 1,
            last: false,
            news: &news,
        };
        let card = by_url(&ticket, serial);
        assert!(card.to_string().len() <= 18 * 1024, "{letter}");
        assert!(expanded(&card) <= 28_000, "{letter}");
        let cut = texts(&card)
            .iter()
            .filter(|text| text.ends_with('…'))
            .count();
        assert!(cut > 10, "{letter}");
        assert!(
            texts(&card)
                .iter()
                .any(|text| text.contains("more on the dashboard"))
        );
        let bot = by_bot(&ticket);
        assert!(bot.to_string().len() < 40_000, "{letter}");
        for card in [card, bot] {
            assert_eq!(problems(&card, true), Vec::<String>::new(), "{letter}");
            assert!(buttons(&card).contains_key("Open in JIRA"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_text_makes_a_card_that_teams_takes(asset in ".{0,400}", cause in "(?s).{0,9000}", steps in proptest::collection::vec(".{0,900}", 0..14)) {
        let mut ticket = named(&asset);
        ask(&mut ticket);
        ticket.diagnosis.root_cause = cause;
        ticket.diagnosis.recommendations = steps;
        let card = by_url(&ticket, Serial::default());
        prop_assert_eq!(problems(&card, false), Vec::<String>::new());
        prop_assert!(card.to_string().len() <= 18 * 1024 && expanded(&card) <= 28_000);
        prop_assert_eq!(card::hash(&card), card::hash(&by_url(&ticket, Serial::default())));
    }
}
