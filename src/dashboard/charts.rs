//! Charts as SVG, drawn by the server: no scripts, colours by class, numbers beside them in words. Pure.

use maud::{Markup, html};

use crate::ticket::numbers::{Ending, Stretch, Summary};

/// Height of the bars, in units of the picture.
const HEIGHT: usize = 100;
/// Width of one bar and its gap.
const STEP: usize = 20;
const GAP: usize = 4;

/// Failures of each hour or day, by how they ended.
pub(super) fn endings(summary: &Summary) -> Markup {
    let most = summary
        .stretches
        .iter()
        .map(|stretch| stretch.numbers.all)
        .max()
        .unwrap_or(0)
        .max(1);
    let width = summary.stretches.len().max(1) * STEP;
    html! {
        svg.chart viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(in_words(summary)) {
            @for (index, stretch) in summary.stretches.iter().enumerate() {
                (stack(index, stretch, most, &label(summary, stretch)))
            }
        }
        div.axis aria-hidden="true" {
            @if let Some(first) = summary.stretches.first() { span { (label(summary, first)) } }
            @if let Some(last) = summary.stretches.last() { span { (label(summary, last)) } }
        }
    }
}

fn stack(index: usize, stretch: &Stretch, most: usize, label: &str) -> Markup {
    let mut top = HEIGHT;
    let bars: Vec<(Ending, usize, usize)> = Ending::ALL
        .into_iter()
        .filter_map(|ending| {
            let count = stretch.numbers.of(ending);
            // Whatever happened is seen, however small its share is.
            let height = (count * HEIGHT).div_ceil(most).min(top);
            top -= height;
            (count > 0).then_some((ending, top, height))
        })
        .collect();
    let told: Vec<String> = Ending::ALL
        .into_iter()
        .filter(|ending| stretch.numbers.of(*ending) > 0)
        .map(|ending| format!("{} {}", stretch.numbers.of(ending), ending.words()))
        .collect();
    html! {
        g {
            title { (label) ": " @if told.is_empty() { "no failures" } @else { (told.join(", ")) } }
            rect.hollow x=(index * STEP) y="0" width=(STEP) height=(HEIGHT) {}
            @for (ending, top, height) in bars {
                rect class=(ending.name()) x=(index * STEP + GAP / 2) y=(top) width=(STEP - GAP) height=(height) {}
            }
        }
    }
}

/// The middle time to close of each stretch, as a line that breaks where nothing was closed.
pub(super) fn closing(summary: &Summary) -> Markup {
    let medians: Vec<Option<i64>> = summary
        .stretches
        .iter()
        .map(|stretch| Some(stretch.numbers.median_to_close()?.num_seconds()))
        .collect();
    let most = medians.iter().flatten().copied().max().unwrap_or(0).max(1);
    let height = i64::try_from(HEIGHT).unwrap_or(100) - 8;
    let points: Vec<String> = medians
        .iter()
        .enumerate()
        .filter_map(|(index, median)| {
            let y = height + 4 - (*median)? * height / most;
            Some(format!("{},{y}", index * STEP + STEP / 2))
        })
        .collect();
    let width = medians.len().max(1) * STEP;
    html! {
        svg.chart.line viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
            polyline points=(points.join(" ")) {}
            @if let [point] = points.as_slice() { (dot(point)) }
        }
    }
}

/// A line of one point is nothing that can be seen.
fn dot(point: &str) -> Markup {
    let (x, y) = point.split_once(',').unwrap_or(("0", "0"));
    html! { circle cx=(x) cy=(y) r="3" {} }
}

/// Counts of each stretch in a line of text.
pub(super) fn sparkline(counts: &[usize]) -> Markup {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let width = counts.len().max(1) * 4;
    html! {
        svg.spark viewBox={ "0 0 " (width) " 16" } preserveAspectRatio="none" aria-hidden="true" {
            @for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                @let height = (count * 16).div_ceil(most);
                rect x=(index * 4) y=(16 - height) width="3" height=(height) {}
            }
        }
    }
}

/// A share of the most, as a bar.
pub(super) fn bar(count: usize, most: usize) -> Markup {
    html! {
        svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.track x="0" y="0" width="100" height="8" {}
            rect x="0" y="0" height="8" width=(count * 100 / most.max(1)) {}
        }
    }
}

fn label(summary: &Summary, stretch: &Stretch) -> String {
    let form = if summary.is_hourly() {
        "%H:%M"
    } else {
        "%-d %b"
    };
    stretch.from.format(form).to_string()
}

fn in_words(summary: &Summary) -> String {
    let endings: Vec<String> = Ending::ALL
        .into_iter()
        .map(|ending| format!("{} {}", summary.total.of(ending), ending.words()))
        .collect();
    format!(
        "{} failures in the {}: {}",
        summary.total.all,
        summary.words(),
        endings.join(", ")
    )
}
