//! The numbers of a day, a week or a quarter: on the list's page, and as JSON. Pure.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::{Value, json};

use super::charts::{bar, closing, endings, sparkline};
use super::filter::{Query, RANGES};
use super::lasting;
use crate::failure::Source;
use crate::ticket::numbers::{Ending, Numbers, OTHERS, Summary, top};

/// Assets that are listed.
const ASSETS: usize = 8;
/// Rows of the other lists.
const ROWS: usize = 6;

/// Which stretch of time is shown, and the others.
pub(super) fn ranges(days: u32, query: &Query) -> Markup {
    html! {
        nav.ranges aria-label="Time" {
            @for range in RANGES {
                @let words = if range == 1 { "24 h".to_owned() } else { format!("{range} days") };
                a href=(query.with(&[("days", &range.to_string())]).at("/dashboard")) aria-current=[(range == days).then_some("page")] { (words) }
            }
        }
    }
}

/// What happened, in pictures: failures by how they ended, how fast they were closed, what was kept.
pub(super) fn picture(summary: &Summary) -> Markup {
    let total = &summary.total;
    html! {
        section.week aria-label="What happened" {
            figure.card {
                figcaption { "Failures " span.quiet { (summary.words()) } (legend(total)) }
                (endings(summary))
            }
            figure.card {
                figcaption { "Time to close" }
                p.figure { @match total.median_to_close() { Some(time) => { (lasting(time)) }, None => { "–" } } " " span.quiet { "median" } }
                (closing(summary))
            }
            figure.card {
                figcaption { "SLA kept" }
                p.figure { (percent(total.sla_percent())) " " span.quiet { (total.sla_kept) " of " (total.sla_kept + total.sla_missed) } }
                (bar(total.sla_kept, total.sla_kept + total.sla_missed))
                figcaption { "Closed without a person" }
                p.figure { (percent(total.unaided_percent())) " " span.quiet { (total.healed + total.recovered) " of " (total.healed + total.recovered + total.closed) } }
                (bar(total.healed + total.recovered, total.healed + total.recovered + total.closed))
            }
        }
    }
}

fn percent(percent: Option<usize>) -> String {
    percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent} %"))
}

fn legend(total: &Numbers) -> Markup {
    html! {
        ul.legend {
            @for ending in Ending::ALL {
                li { span class={ "swatch " (ending.name()) } aria-hidden="true" {} (total.of(ending)) " " (ending.words()) }
            }
        }
    }
}

/// What fails most: by asset, platform, owner and category; each leads to its tickets.
pub(super) fn most(summary: &Summary, query: &Query) -> Markup {
    let total = &summary.total;
    let assets: Vec<_> = top(&total.assets, ASSETS + 1)
        .into_iter()
        .filter(|(name, _)| *name != OTHERS)
        .take(ASSETS)
        .collect();
    html! {
        @if total.all > 0 {
            section.most aria-label="What fails most" {
                div.card {
                    h2 { "Assets" }
                    ul.ranks {
                        @for (asset, count) in assets {
                            @let days: Vec<usize> = summary.stretches.iter().map(|stretch| stretch.numbers.assets.get(asset).copied().unwrap_or(0)).collect();
                            li { a.name href=(query.with(&[("asset", asset)]).at("/dashboard")) { (asset) } (sparkline(&days)) span.count { (count) } }
                        }
                    }
                }
                (ranks("Platforms", "source", &total.sources, query))
                (ranks("Owners", "owner", &total.owners, query))
                (ranks("Categories", "category", &total.categories, query))
            }
        }
    }
}

fn ranks(title: &str, parameter: &str, counts: &BTreeMap<String, usize>, query: &Query) -> Markup {
    let rows = top(counts, ROWS);
    let most = rows.first().map_or(1, |(_, count)| *count);
    html! {
        @if !rows.is_empty() {
            div.card {
                h2 { (title) }
                ul.ranks {
                    @for (name, count) in rows {
                        li { a.name href=(query.with(&[(parameter, name)]).at("/dashboard")) { (shown(parameter, name)) } (bar(count, most)) span.count { (count) } }
                    }
                }
            }
        }
    }
}

/// As people read it.
fn shown<'a>(parameter: &str, name: &'a str) -> &'a str {
    match Source::from_name(name) {
        Some(source) if parameter == "source" => source.label(),
        _ => name,
    }
}

/// The same for machines.
pub fn as_json(summary: &Summary) -> Value {
    let stretches = summary.stretches.iter().map(|stretch| {
        let mut value = numbers(&stretch.numbers);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("from".to_owned(), json!(stretch.from));
        }
        value
    });
    let total = &summary.total;
    let mut value = numbers(total);
    if let Some(fields) = value.as_object_mut() {
        let assets: Vec<Value> = top(&total.assets, 50)
            .into_iter()
            .map(|(asset, count)| json!({"asset": asset, "failures": count}))
            .collect();
        for (name, its) in [
            ("days", json!(summary.days)),
            (
                "step",
                json!(if summary.is_hourly() { "hour" } else { "day" }),
            ),
            ("by_source", json!(total.sources)),
            ("by_owner", json!(total.owners)),
            ("by_category", json!(total.categories)),
            ("top_assets", json!(assets)),
            ("partial", json!(total.partial)),
            ("stretches", json!(stretches.collect::<Vec<_>>())),
        ] {
            fields.insert(name.to_owned(), its);
        }
    }
    value
}

fn numbers(numbers: &Numbers) -> Value {
    json!({
        "failures": numbers.all,
        "incidents": numbers.incidents,
        "open": numbers.open,
        "in_progress": numbers.in_progress,
        "awaiting_approval": numbers.awaiting_approval,
        "healed": numbers.healed,
        "recovered": numbers.recovered,
        "closed_by_people": numbers.closed,
        "sla_breached_open": numbers.breached,
        "sla_kept": numbers.sla_kept,
        "sla_missed": numbers.sla_missed,
        "sla_kept_percent": numbers.sla_percent(),
        "unaided_percent": numbers.unaided_percent(),
        "median_seconds_to_close": numbers.median_to_close().map(|time| time.num_seconds()),
    })
}
