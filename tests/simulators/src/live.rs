//! Pages that keep themselves true while somebody looks at them.
//!
//! In: how often. Out: what goes into a page's head, and the script it asks for at [`PATH`]. A page that reloads
//! itself would take focus and choices from its reader; so only browsers without scripts reload.

use maud::{Markup, html};

use super::Answer;

/// Where a site serves the script.
pub(super) const PATH: &str = "/live.js";

/// The part of the head. The page shows what changes in its `main`.
pub(super) fn head(seconds: u32) -> Markup {
    html! {
        script src=(PATH) defer data-seconds=(seconds) {}
        noscript { meta http-equiv="refresh" content=(seconds); }
    }
}

/// The script.
pub(super) fn script() -> Answer {
    let headers = vec![(
        "content-type".to_owned(),
        "text/javascript; charset=utf-8".to_owned(),
    )];
    Answer {
        status: 200,
        headers,
        body: include_str!("live.js").into(),
    }
}
