//! Tickets → the words of a JIRA issue: summary, description and comments.
//!
//! In: a ticket. Out: plain texts and Atlassian documents (JSON), always valid and within JIRA's limits:
//! no empty text node, no empty list, no control or reordering character, summary at most 255 and a
//! description at most 32,767 characters, counted in UTF-16 units over the *serialised* document, which is
//! never less than what JIRA counts. Pure: no clock, no network. Outside text can only ever be the value of
//! a text node: mark-up in it stays text. This file does not know what was sent before.

use serde_json::{Value, json};
use url::Url;

use crate::diagnosis::{Quote, few_pieces};
use crate::digest::sha256;
use crate::failure::{Failure, page};
use crate::incident::summary_words;
use crate::redaction::{clean, one_line};
use crate::sinks::ticket_page;
use crate::ticket::{Chapter, Past, Ticket, TicketId};

/// JIRA's limit of a summary, in UTF-16 units.
pub const SUMMARY_LIMIT: usize = 255;
/// JIRA's limit of a description or comment; kept by the whole serialised document.
pub const DOCUMENT_LIMIT: usize = 32_767;

const CUT: &str = "…";
const MORE: &str = "The rest did not fit here: the dashboard shows it.";
const NAME_LIMIT: usize = 600;
const CAUSE_LIMIT: usize = 4_000;
const STEP_LIMIT: usize = 400;
const MOST_STEPS: usize = 10;
const MOST_RERUNS: usize = 3;
const QUOTE_LIMIT: usize = 1_500;
const MOST_QUOTES: usize = 5;
const COMMENT_LIMIT: usize = 8_000;
/// Each line costs its own nodes.
const MOST_LINES: usize = 20;

/// `ADF Pipeline Failure: <pipeline>`, `Databricks Job Failure: …`, `Airflow Task Failure: <dag>.<task>`.
pub fn summary(failure: &Failure) -> String {
    let system = failure.source.label();
    shorten(
        &one_line(&format!(
            "{system} {} Failure: {}",
            failure.kind.label(),
            failure.asset
        )),
        SUMMARY_LIMIT,
    )
}

/// The label by which the issue is found again.
pub fn label(ticket: &TicketId) -> String {
    format!("rca-{ticket}")
}

/// The description: the guide's lines in the guide's order, then evidence, then what could not be had.
/// `left_out` names the fields that this JIRA refused.
pub fn description(ticket: &Ticket, dashboard: Option<&Url>, left_out: &[String]) -> Value {
    let diagnosis = &ticket.diagnosis;
    let failure = &ticket.failure;
    let run = failure
        .run_id
        .as_deref()
        .filter(|run| !run.trim().is_empty())
        .unwrap_or("not reported");
    let run = Line::new("Run ID", run).linked(page::of(failure).as_deref());
    let mut blocks = vec![
        lines(&[
            Line::new("Ticket ID", ticket.id.as_str()),
            Line::new(failure.kind.label(), &failure.asset),
            run,
            Line::new("Severity", &ticket.severity.to_string()),
            Line::new("Priority", &ticket.priority.to_string()),
            Line::new("SLA", ticket.priority.sla_words()),
        ]),
        titled("Root Cause Analysis:", &diagnosis.root_cause),
    ];
    if let Some(correction) = &ticket.correction {
        let title = format!("The cause is another, says {}:", correction.by.name);
        blocks.push(titled(&one_line(&title), &correction.words()));
    }
    let owner = ticket.owner.as_deref();
    let reason = ticket.severity_reason();
    let care: Vec<Line> = [
        owner.map(|owner| Line::new("Owner", owner)),
        reason.map(|reason| Line::new("Severity by", &reason)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !care.is_empty() {
        blocks.push(lines(&care));
    }
    let steps: Vec<&str> = diagnosis
        .recommendations
        .iter()
        .map(String::as_str)
        .take(MOST_STEPS)
        .collect();
    if let Some(list) = bullets(&steps) {
        blocks.push(heading("Recommendations:"));
        blocks.push(list);
    }
    blocks.push(lines(&[
        Line::new("Error Type", &diagnosis.error_type),
        Line::new("Confidence", diagnosis.confidence_word()),
    ]));
    if let Some(link) = dashboard.and_then(|base| ticket_page(base, &ticket.id)) {
        blocks.push(lines(&[
            Line::new("Dashboard", link.as_str()).linked(Some(link.as_str()))
        ]));
    }
    let runs = other_runs(ticket);
    if !runs.is_empty() {
        blocks.push(lines(&runs));
    }
    if let Some(past) = ticket.past.as_ref().and_then(Past::words) {
        blocks.push(titled("This again?", &past));
    }
    let incident = summary_words(ticket);
    if let Some((title, lines)) = incident.split_first() {
        blocks.push(heading(title));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        blocks.extend(bullets(&lines));
    }
    let mut page = Page::new(blocks);
    page.add_quotes(diagnosis.proofs().take(MOST_QUOTES));
    page.add_gaps(ticket, left_out);
    page.close()
}

/// The run of another platform that the failed one started, and the runs that playbooks started.
fn other_runs(ticket: &Ticket) -> Vec<Line> {
    let mut runs = Vec::new();
    if let Some((platform, page)) = page::linked(&ticket.failure) {
        let line = Line::new("Run it started", &format!("in {platform}"));
        runs.push(line.linked(Some(&page)));
    }
    let attempts = ticket.remediation.attempts.iter().rev().take(MOST_RERUNS);
    for attempt in attempts {
        let Some(run) = attempt.run_id.as_deref() else {
            continue;
        };
        let line = Line::new("Rerun", run);
        runs.push(line.linked(page::of_run(&ticket.failure, run).as_deref()));
    }
    runs
}

/// One chapter of the story as a comment. Its last line carries the [`marker`] by which it is found again.
pub fn comment(ticket: &TicketId, chapter: &Chapter) -> Value {
    let text = shorten(&clean(&chapter.text), COMMENT_LIMIT);
    let mut blocks: Vec<Value> = paragraph(&text).into_iter().collect();
    let when = chapter.at.format("%Y-%m-%d %H:%M:%S UTC");
    blocks.push(json!({"type": "paragraph", "content": [
        {"type": "text", "text": format!("{when} · {}", marker(ticket, chapter.number)), "marks": [{"type": "em"}]},
    ]}));
    document(&blocks)
}

/// Names one chapter of one ticket, e.g. `ADF-20251212T100000-abc123 #3.`; no marker is part of another.
pub fn marker(ticket: &TicketId, chapter: u32) -> String {
    format!("{ticket} #{chapter}.")
}

/// The fingerprint of what an issue shows.
pub fn hash(summary: &str, description: &Value) -> String {
    sha256(format!("{summary}\0{description}"))
}

/// All text of an Atlassian document, as a person would read it: a blank line after each block, but none
/// between a heading and its list.
pub fn plain_text(document: &Value) -> String {
    let mut out = String::new();
    let blocks = document
        .get("content")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    for (block, next) in blocks
        .iter()
        .zip(blocks.iter().skip(1).map(Some).chain([None]))
    {
        read(block, &mut out);
        if !matches!(next.map(kind), Some("bulletList" | "codeBlock")) {
            out.push('\n');
        }
    }
    out.trim().to_owned()
}

fn kind(node: &Value) -> &str {
    node.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn read(node: &Value, out: &mut String) {
    match kind(node) {
        "text" => out.push_str(node.get("text").and_then(Value::as_str).unwrap_or_default()),
        "hardBreak" => out.push('\n'),
        "listItem" => out.push_str("• "),
        _ => {}
    }
    for child in node
        .get("content")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        read(child, out);
    }
    if matches!(kind(node), "paragraph" | "heading" | "codeBlock") && !out.ends_with('\n') {
        out.push('\n');
    }
}

/// A document under its size limit: blocks that do not fit are cut or left away, and it says so.
struct Page {
    blocks: Vec<Value>,
    used: usize,
    told_more: bool,
}

impl Page {
    fn new(blocks: Vec<Value>) -> Self {
        let used = units(&document(&blocks).to_string());
        Self {
            blocks,
            used,
            told_more: false,
        }
    }

    fn room(&self) -> usize {
        // What closes the page must always fit.
        let reserve = if self.told_more {
            0
        } else {
            units(&said(MORE).to_string()) + 1
        };
        DOCUMENT_LIMIT.saturating_sub(self.used + reserve)
    }

    fn add(&mut self, blocks: &[Value]) -> bool {
        let size: usize = blocks
            .iter()
            .map(|block| units(&block.to_string()) + 1)
            .sum();
        let fits = size <= self.room();
        if fits {
            self.blocks.extend_from_slice(blocks);
            self.used += size;
        }
        fits
    }

    fn tell_more(&mut self) {
        if !self.told_more {
            self.told_more = true;
            self.used += units(&said(MORE).to_string()) + 1;
            self.blocks.push(said(MORE));
        }
    }

    /// What was said in one place stands under one heading.
    fn add_quotes<'a>(&mut self, quotes: impl Iterator<Item = &'a Quote>) {
        let mut places: Vec<(String, Vec<&Quote>)> = Vec::new();
        for quote in quotes {
            let title = title(quote);
            match places.iter_mut().find(|(known, _)| *known == title) {
                Some((_, said)) => said.push(quote),
                None => places.push((title, vec![quote])),
            }
        }
        for (title, said) in places {
            let mut head = vec![heading(&title)];
            for quote in said {
                if self.add_quote(&head, quote) {
                    head.clear();
                }
            }
        }
    }

    fn add_quote(&mut self, head: &[Value], quote: &Quote) -> bool {
        let mut limit = QUOTE_LIMIT;
        loop {
            let text = shorten(clean(&quote.quote).trim_matches('\n'), limit);
            if text.trim().is_empty() {
                return false;
            }
            let code = json!({"type": "codeBlock", "attrs": {"language": "text"}, "content": [{"type": "text", "text": text}]});
            if self.add(&[head, &[code]].concat()) {
                return true;
            }
            limit /= 2;
            if limit < 100 {
                self.tell_more();
                return false;
            }
        }
    }

    fn add_gaps(&mut self, ticket: &Ticket, left_out: &[String]) {
        let refused = left_out.iter().map(|name| {
            format!("JIRA: this project refused the field \"{name}\"; it was left out")
        });
        let gaps = ticket
            .gaps
            .iter()
            .map(|gap| format!("{}: {}", gap.source, gap.reason));
        let items: Vec<String> = refused.chain(gaps).take(MOST_STEPS).collect();
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        if let Some(list) = bullets(&items)
            && !self.add(&[heading("Not available:"), list])
        {
            self.tell_more();
        }
    }

    fn close(self) -> Value {
        document(&self.blocks)
    }
}

/// What people call the evidence that a quote stands in.
fn title(quote: &Quote) -> String {
    let named = quote
        .title
        .as_ref()
        .map(|title| format!("Evidence: {}", one_line(title)));
    let named =
        named.unwrap_or_else(|| format!("Evidence ({}):", shorten(&one_line(&quote.source), 100)));
    shorten(&named, 150)
}

/// `Label: value`, the value perhaps a link.
struct Line {
    label: &'static str,
    value: String,
    href: Option<String>,
}

impl Line {
    fn new(label: &'static str, value: &str) -> Self {
        let value = shorten(&one_line(value), NAME_LIMIT);
        Self {
            label,
            value: if value.is_empty() {
                "not reported".to_owned()
            } else {
                value
            },
            href: None,
        }
    }

    fn linked(mut self, href: Option<&str>) -> Self {
        self.href = href
            .filter(|href| href.len() <= 2_000 && Url::parse(href).is_ok())
            .map(str::to_owned);
        self
    }
}

fn document(blocks: &[Value]) -> Value {
    json!({"type": "doc", "version": 1, "content": blocks})
}

fn lines(lines: &[Line]) -> Value {
    let mut content = Vec::new();
    for line in lines {
        if !content.is_empty() {
            content.push(json!({"type": "hardBreak"}));
        }
        content.push(json!({"type": "text", "text": format!("{}: ", line.label), "marks": [{"type": "strong"}]}));
        content.push(match &line.href {
            Some(href) => json!({"type": "text", "text": line.value, "marks": [{"type": "link", "attrs": {"href": href}}]}),
            None => json!({"type": "text", "text": line.value}),
        });
    }
    json!({"type": "paragraph", "content": content})
}

fn titled(title: &str, text: &str) -> Value {
    let mut content = vec![json!({"type": "text", "text": title, "marks": [{"type": "strong"}]})];
    for line in written_lines(&shorten(&clean(text), CAUSE_LIMIT)) {
        content.push(json!({"type": "hardBreak"}));
        content.extend(prose(&line));
    }
    json!({"type": "paragraph", "content": content})
}

/// A line of ours, with its code as code.
fn prose(line: &str) -> Vec<Value> {
    let pieces = few_pieces(line).into_iter();
    pieces
        .map(|(piece, is_code)| {
            if is_code {
                json!({"type": "text", "text": piece, "marks": [{"type": "code"}]})
            } else {
                json!({"type": "text", "text": piece})
            }
        })
        .collect()
}

fn heading(title: &str) -> Value {
    json!({"type": "paragraph", "content": [{"type": "text", "text": title, "marks": [{"type": "strong"}]}]})
}

fn said(text: &str) -> Value {
    json!({"type": "paragraph", "content": [{"type": "text", "text": text, "marks": [{"type": "em"}]}]})
}

/// `None` instead of an empty paragraph.
fn paragraph(text: &str) -> Option<Value> {
    let mut content = Vec::new();
    for line in written_lines(text) {
        if !content.is_empty() {
            content.push(json!({"type": "hardBreak"}));
        }
        content.extend(prose(&line));
    }
    (!content.is_empty()).then(|| json!({"type": "paragraph", "content": content}))
}

/// The lines that hold anything; all beyond the most that are shown flow into the last one.
fn written_lines(text: &str) -> Vec<String> {
    let mut lines = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.trim().is_empty());
    let mut kept: Vec<String> = lines.by_ref().take(MOST_LINES).map(str::to_owned).collect();
    if let Some(last) = kept.last_mut() {
        for line in lines {
            last.push(' ');
            last.push_str(line.trim_start());
        }
    }
    kept
}

/// `None` instead of an empty list.
fn bullets(items: &[&str]) -> Option<Value> {
    let items: Vec<Value> = items
        .iter()
        .filter_map(|item| paragraph(&shorten(&one_line(item), STEP_LIMIT)))
        .map(|paragraph| json!({"type": "listItem", "content": [paragraph]}))
        .collect();
    (!items.is_empty()).then(|| json!({"type": "bulletList", "content": items}))
}

/// At most `limit` UTF-16 units, cut between characters, the cut marked.
fn shorten(text: &str, limit: usize) -> String {
    if units(text) <= limit {
        return text.to_owned();
    }
    let mut left = limit.saturating_sub(units(CUT));
    let mut kept: String = text
        .chars()
        .take_while(|c| {
            let fits = c.len_utf16() <= left;
            left = left.saturating_sub(if fits { c.len_utf16() } else { left });
            fits
        })
        .collect();
    kept.push_str(CUT);
    kept
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}
