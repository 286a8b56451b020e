//! The weekly digest: what the week was like, in one message. Pure.

use chrono::TimeDelta;

use super::blocks::{Post, digest_blocks};
use super::look::Look;
use super::text::Words;
use crate::ticket::numbers::{OTHERS, Summary, top};

/// Assets and categories that are named.
const NAMED: usize = 5;
const NAME: usize = 200;

/// The message.
pub fn digest(summary: &Summary, look: &Look<'_>) -> Post {
    let total = &summary.total;
    let title = format!("📊 The week: {} failures", total.all);
    let closing = total.median_to_close().map_or("–".to_owned(), lasting);
    let percent =
        |percent: Option<usize>| percent.map_or("–".to_owned(), |percent| format!("{percent} %"));
    let facts = Words::new(&format!(
        "• {} incidents; {} healed, {} recovered, {} closed by people, {} open\n\
         • SLA kept: {}; closed without a person: {}; median time to close: {closing}",
        total.incidents,
        total.healed,
        total.recovered,
        total.closed,
        total.open + total.in_progress,
        percent(total.sla_percent()),
        percent(total.unaided_percent()),
    ));
    let mut paragraphs = vec![facts];
    let assets = top(&total.assets, NAMED + 1);
    let assets = assets.into_iter().filter(|(name, _)| *name != OTHERS);
    for (label, rows) in [
        ("Fails most:", assets.take(NAMED).collect::<Vec<_>>()),
        ("Causes:", top(&total.categories, NAMED)),
        ("Owners:", top(&total.owners, NAMED)),
    ] {
        let mut words = Words::new(label);
        for (name, count) in &rows {
            words = words.own(&format!("\n• {count} × ")).name(name, NAME);
        }
        if !rows.is_empty() {
            paragraphs.push(words);
        }
    }
    Post {
        blocks: digest_blocks(&title, &paragraphs, look),
        text: title,
    }
}

fn lasting(time: TimeDelta) -> String {
    match time.num_minutes() {
        minutes if minutes < 120 => format!("{} min", minutes.max(1)),
        minutes => format!("{} h", minutes / 60),
    }
}
