//! The classifier: signs → one cause.
//!
//! In: a [`Case`]. Out: a [`Verdict`]: the winning cause (or none), why, the entities and the telling spans.
//!
//! **The order of decision.** Every sign (a code in a field, a code or number inside the text, a phrase) is
//! a candidate with a rank; the highest rank wins: 11 phrases that settle it (`always`), 10 vendors' numbered
//! errors (SQL, ORA, AADSTS …), 9 specific phrases (`says`), 8 codes that name a cause, 7 general phrases
//! (`suggests`) and SQLSTATEs, 6 codes that name a family, 5 `hints` and HTTP statuses, 4 the telling shape of an
//! unknown code or exception name, 3 ordinary `words`, by vote, 2 a vague shape, 1 wrappers ("an inner activity
//! failed"). So wrappers are peeled without a special case. Of two signs of one rank the later one wins, because
//! the innermost error (`Caused by`, the last exception of a traceback, ADF's inner `'Type=`) stands last; evidence
//! beats the report, because it is nearer to the failure.
//!
//! **Who is heard.** Every text is read in up to three places, one a [`Voice`]. Signs of the terminal error decide; an
//! error beside it and the log are heard only where the terminal error says no more than that something inside
//! failed, or where there is none. What is not heard is dropped; errors beside it stay to speak against an action.
//!
//! **Yielding.** A consequence (`consequence = true`: skipped for a failed upstream, "see run output for details") yields
//! to every other sign, and a number that several errors share to a text that speaks of something else.
//!
//! **Safety.** An acting winner that is not the terminal error loses its action. An acting winner loses its action when something of nearly its rank speaks of an error that
//! repetition cannot heal. Vague words and shapes never act (L8).

use std::borrow::Cow;
use std::cmp::Reverse;

use super::amounts;
use super::catalog::Catalog;
use super::entry::{Cause, Weight, rank};
use super::place::Place;
use super::reading::{self, Known};
use super::scan::Hits;
use super::shape::{self, Guess};
use super::span::Span;
use super::{Case, Category};
use crate::evidence::{Passage, Voice};
use crate::failure::{Source, field};

/// One sign of a cause.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) cause: usize,
    pub(super) rank: u8,
    pub(super) place: usize,
    pub(super) span: Span,
    pub(super) sign: String,
}

/// What the classifier says.
#[derive(Debug)]
pub(super) struct Verdict<'a> {
    pub(super) places: Vec<Place<'a>>,
    /// Best first.
    pub(super) candidates: Vec<Candidate>,
    pub(super) guess: Option<Guess>,
    /// Set when an acting winner may not act: the sign that speaks against it.
    pub(super) veto: Option<String>,
}

/// Classifies a case.
pub(super) fn classify<'a>(catalog: &Catalog, case: &'a Case) -> Verdict<'a> {
    let known = known(catalog, case);
    let mut places = places(catalog, case, &known);
    let mut candidates = Vec::new();
    for number in 0..places.len() {
        let Some(place) = places.get(number) else {
            continue;
        };
        candidates.extend(from_text(catalog, place, number));
        candidates.extend(from_field(catalog, case.source, place, number));
    }
    candidates.extend(from_termination_type(catalog, case, &places));
    candidates.extend(from_unread_log(catalog, case, &known, &mut places));
    let voices: Vec<Voice> = places.iter().map(|place| place.voice).collect();
    let voice_of = |place: usize| voices.get(place).copied().unwrap_or(Voice::Record);
    drop_coarse(catalog, &mut candidates, &places);
    let least = least_heard(catalog, &places, &candidates);
    candidates.retain(|c| voice_of(c.place) <= least.max(Voice::Beside));
    candidates.sort_by_key(|c: &Candidate| {
        let heard = voice_of(c.place) <= least;
        // Only an error beside a wrapper, or a log, says what was wrapped.
        let latest = Reverse((
            heard,
            c.rank,
            Reverse(voice_of(c.place)),
            c.place_order(&places),
            c.span.end,
        ));
        (latest, c.tail(), Reverse(c.span.start))
    });
    vote(&mut candidates);
    for place in &mut places {
        place.heard = place.voice <= least;
    }
    let guess = shape::guess(catalog, &places);
    drop_consequences(catalog, &mut candidates, guess.as_ref());
    let veto = veto(catalog, case, &candidates, &places);
    candidates.retain(|c| voice_of(c.place) <= least);
    places.shrink_to_fit();
    Verdict {
        places,
        candidates,
        guess,
        veto,
    }
}

/// Is its cause only what follows from an error?
pub(super) fn is_consequence(catalog: &Catalog, candidate: &Candidate) -> bool {
    catalog
        .cause(candidate.cause)
        .is_some_and(|cause| cause.consequence)
}

/// What only follows from an error yields to it, however clearly it is said.
fn drop_consequences(catalog: &Catalog, candidates: &mut Vec<Candidate>, guess: Option<&Guess>) {
    let tells = candidates
        .iter()
        .any(|c| c.rank > rank::HINT && !is_consequence(catalog, c));
    if tells || guess.is_some_and(|guess| guess.rank == rank::SHAPE) {
        candidates.retain(|c| !is_consequence(catalog, c));
    }
}

/// A code that several errors share says nothing where the text speaks of something else.
fn drop_coarse(catalog: &Catalog, candidates: &mut Vec<Candidate>, places: &[Place<'_>]) {
    let is_number = |c: &Candidate| {
        let shared = |cause: &Cause| cause.weight == Weight::Coarse;
        catalog.cause(c.cause).is_some_and(shared)
            && places
                .get(c.place)
                .is_some_and(|place| place.source == "error_code")
    };
    let told = places
        .iter()
        .any(|place| place.source == "message" && !place.text.trim().is_empty());
    let category = |c: &Candidate| catalog.cause(c.cause).map(|cause| cause.category);
    let said: Vec<_> = candidates
        .iter()
        .filter(|c| !is_number(c) && c.rank >= rank::SUGGESTS)
        .map(category)
        .collect();
    candidates.retain(|c| !told || !is_number(c) || said.contains(&category(c)));
}

/// The weakest voice that is heard: the terminal error says what went wrong, or something that stands around it.
fn least_heard(catalog: &Catalog, places: &[Place<'_>], candidates: &[Candidate]) -> Voice {
    let mut best = 0;
    for candidate in candidates {
        if places
            .get(candidate.place)
            .is_some_and(|place| place.voice == Voice::Terminal)
        {
            best = best.max(if is_consequence(catalog, candidate) {
                rank::WRAPPER
            } else {
                candidate.rank
            });
        }
    }
    if best > rank::WRAPPER {
        return Voice::Terminal;
    }
    let terminal = || {
        places
            .iter()
            .filter(|place| place.voice == Voice::Terminal && place.source != "error_code")
    };
    // An error of its own that the catalog does not know is no wrapper.
    let names_itself = shape::names_something(catalog, terminal());
    if best == 0 && (names_itself || terminal().any(|place| !shape::wraps(catalog, place))) {
        return Voice::Terminal;
    }
    if best == rank::WRAPPER && names_itself {
        return Voice::Terminal;
    }
    Voice::Log
}

impl Candidate {
    /// Where its last unbroken piece begins: of two phrases that end alike, the longer one says more.
    fn tail(&self) -> usize {
        let phrase = self.sign.split(" ! ").next().unwrap_or_default();
        match phrase.rsplit_once(" … ") {
            Some((_, last)) => self.span.end.saturating_sub(last.len()),
            None => self.span.start,
        }
    }

    /// Evidence beats the message, the message beats fields.
    fn place_order(&self, places: &[Place<'_>]) -> u8 {
        match places.get(self.place).map(|place| place.source.as_ref()) {
            Some("message") => 2,
            Some("error_code") => 1,
            Some(source) if source.starts_with("context.") => 0,
            _ => 3,
        }
    }
}

fn known(catalog: &Catalog, case: &Case) -> Known {
    let named = case
        .context
        .iter()
        .filter(|(field, _)| reading::is_name_field(field))
        .map(|(_, value)| Cow::Borrowed(value.as_str()));
    let names = case.names.iter().map(|name| Cow::Borrowed(name.as_str()));
    let scanner = catalog.scanner();
    reading::known(names.chain(named), |name| scanner.is_sign(name))
}

fn places<'a>(catalog: &Catalog, case: &'a Case, known: &Known) -> Vec<Place<'a>> {
    let scanner = catalog.scanner();
    let mut places = Vec::new();
    let mut read = |source: Cow<'a, str>, text: &'a str, passages: &[Passage]| {
        for heard in reading::read(text, passages, known) {
            places.push(Place {
                source: source.clone(),
                voice: heard.voice,
                text,
                hits: scanner.scan(text, &heard.window),
                window: heard.window,
                heard: true,
            });
        }
    };
    read("message".into(), &case.message, &[]);
    for (name, value) in case.context.iter().filter(|(name, _)| tells(name)) {
        if value.contains(' ') {
            read(format!("context.{name}").into(), value, &[]);
        }
    }
    for piece in &case.evidence {
        read(piece.id.as_str().into(), &piece.text, &piece.passages);
    }
    let field = |source: Cow<'a, str>, text: &'a str| Place {
        source,
        voice: Voice::Terminal,
        text,
        hits: Hits::default(),
        window: reading::Window::default(),
        heard: true,
    };
    for (name, value) in case.context.iter().filter(|(name, _)| tells(name)) {
        if !value.contains(' ') {
            places.push(field(format!("context.{name}").into(), value));
        }
    }
    if let Some(code) = case
        .error_code
        .as_deref()
        .filter(|code| !code.trim().is_empty())
    {
        places.push(field("error_code".into(), code));
    }
    places
}

/// Context that may hold a code or a message; names of assets do not.
fn tells(name: &str) -> bool {
    if reading::is_name_field(name) {
        return false;
    }
    [
        "code",
        "reason",
        "error",
        "exception",
        "result_state",
        "life_cycle",
        "state_message",
        "detail",
    ]
    .iter()
    .any(|part| name.to_ascii_lowercase().contains(part))
}

fn from_text(catalog: &Catalog, place: &Place<'_>, number: usize) -> Vec<Candidate> {
    let mut out = Vec::new();
    for (pattern, span) in &place.hits.patterns {
        if let Some(pattern) = catalog.scanner().pattern(*pattern) {
            out.push(Candidate {
                cause: pattern.cause,
                rank: pattern.rank,
                place: number,
                span: *span,
                sign: format!("\"{}\"", pattern.written),
            });
        }
    }
    for found in &place.hits.found {
        let Some(rule) = catalog.scanner().entity(found.rule) else {
            continue;
        };
        let (Some(space), Some(value)) =
            (&rule.code, place.text.get(found.span.start..found.span.end))
        else {
            continue;
        };
        // ORA-00942 and ORA-942 are one; in a SQLSTATE the zeros count.
        let digits = if space == "sqlstate" {
            value
        } else {
            value.trim_start_matches('0')
        };
        let key = format!("{space}:{}", digits.to_ascii_lowercase());
        let entry = catalog
            .code(&key)
            .or_else(|| family(catalog, space, value))
            .or_else(|| {
                // Drivers for both write their numbers alike.
                if space == "mysql" {
                    catalog.code(&format!("sql:{value}"))
                } else {
                    None
                }
            });
        if let Some(entry) = entry {
            out.push(Candidate {
                cause: entry.cause,
                rank: entry.rank,
                place: number,
                span: found.span,
                sign: key,
            });
        }
    }
    out
}

/// Numbers whose beginning says enough: SQLSTATE classes, HTTP hundreds.
fn family(catalog: &Catalog, space: &str, value: &str) -> Option<super::entry::CodeEntry> {
    let head = match space {
        "sqlstate" => value.get(..2)?,
        "http" => value.get(..1)?,
        _ => return None,
    };
    catalog
        .code(&format!("{space}:{}xx", head.to_ascii_lowercase()))
        .map(|entry| super::entry::CodeEntry {
            rank: rank::HINT,
            ..entry
        })
}

fn from_field(
    catalog: &Catalog,
    source: Source,
    place: &Place<'_>,
    number: usize,
) -> Option<Candidate> {
    let is_code = place.source == "error_code" || place.source.starts_with("context.");
    if !is_code || place.text.len() > 200 {
        return None;
    }
    let text = place.text.trim();
    let entry = lookup(catalog, source, text)?;
    let context = place.source.starts_with("context.");
    Some(Candidate {
        cause: entry.cause,
        rank: if context {
            entry.rank.min(rank::WEAK_CODE)
        } else {
            entry.rank
        },
        place: number,
        span: Span {
            start: 0,
            end: place.text.len(),
        },
        sign: text.to_owned(),
    })
}

/// Looks a code up as vendors write it: whole, without its sub-class, as the class name of an exception.
fn lookup(catalog: &Catalog, source: Source, code: &str) -> Option<super::entry::CodeEntry> {
    let key = code.to_ascii_lowercase();
    if code.bytes().all(|b| b.is_ascii_digit()) {
        let space = if source == Source::Adf { "adf" } else { "http" };
        return catalog
            .code(&format!("{space}:{key}"))
            .or_else(|| catalog.code(&format!("http:{key}")))
            // Data Factory's numbers are its own; a database's stands in the message.
            .or_else(|| {
                (source != Source::Adf)
                    .then(|| catalog.code(&format!("sql:{key}")))
                    .flatten()
            });
    }
    catalog
        .code(&key)
        .or_else(|| catalog.code(&key.replace([' ', '-'], "_")))
        .or_else(|| catalog.code(key.strip_prefix("usererror")?))
        .or_else(|| catalog.code(key.split('.').next()?))
        .or_else(|| catalog.code(key.rsplit('.').next()?))
        .or_else(|| {
            catalog.code(&format!(
                "ora:{}",
                key.strip_prefix("ora-")?.trim_start_matches('0')
            ))
        })
        .or_else(|| catalog.code(&format!("aadsts:{}", key.strip_prefix("aadsts")?)))
}

/// An unknown Databricks code is decided by its termination type.
fn from_termination_type(
    catalog: &Catalog,
    case: &Case,
    places: &[Place<'_>],
) -> Option<Candidate> {
    let kind = case.context.get(field::TERMINATION_TYPE)?;
    let code = case.error_code.as_deref().unwrap_or_default();
    if !code.is_empty() && catalog.knows_code(code) {
        return None;
    }
    let entry = catalog.code(&format!("type:{}", kind.to_ascii_lowercase()))?;
    let (place, length) = places
        .iter()
        .enumerate()
        .find(|(_, p)| p.source == "error_code")
        .map_or((0, 0), |(i, p)| (i, p.text.len()));
    Some(Candidate {
        cause: entry.cause,
        rank: rank::HINT,
        place,
        span: Span {
            start: 0,
            end: length,
        },
        sign: format!("type {kind}"),
    })
}

/// A log that nobody could read says one thing only.
fn from_unread_log<'a>(
    catalog: &Catalog,
    case: &'a Case,
    known: &Known,
    places: &mut Vec<Place<'a>>,
) -> Option<Candidate> {
    let entry = catalog.code("task_log_unreadable")?;
    if !reading::is_only_reader(&case.message, known) {
        return None;
    }
    places.push(Place {
        source: "message".into(),
        voice: Voice::Terminal,
        text: &case.message,
        hits: Hits::default(),
        window: reading::Window::default(),
        heard: true,
    });
    Some(Candidate {
        cause: entry.cause,
        rank: rank::WORDS,
        place: places.len() - 1,
        span: Span {
            start: 0,
            end: case.message.len().min(1),
        },
        sign: "only the log reader speaks".into(),
    })
}

/// Where only ordinary words speak, the cause with the most and longest of them wins.
fn vote(candidates: &mut [Candidate]) {
    if candidates
        .first()
        .is_none_or(|first| first.rank != rank::WORDS)
    {
        return;
    }
    let words: Vec<(usize, usize)> = candidates
        .iter()
        .filter(|c| c.rank == rank::WORDS)
        .map(|c| (c.cause, c.sign.len()))
        .collect();
    let votes = |cause: usize| {
        words
            .iter()
            .filter(|(other, _)| *other == cause)
            .map(|(_, length)| length)
            .sum::<usize>()
    };
    candidates.sort_by_key(|c| {
        Reverse((
            c.rank,
            if c.rank == rank::WORDS {
                votes(c.cause)
            } else {
                0
            },
        ))
    });
}

/// A sign of an error that repetition never heals counts when it is nearly as specific as the winner,
/// any other non-acting sign when it is just as specific.
fn speaks_against(rank: u8, winner: u8, category: Category) -> bool {
    if category.may_be_acted_on() {
        return rank >= rank::SUGGESTS && rank >= winner;
    }
    // A family's code alone acts only when not even ordinary words speak of something else.
    (rank >= rank::HINT && rank + 2 >= winner) || (rank == rank::WORDS && winner == rank::WEAK_CODE)
}

/// Does a code or number, not only a word, name a throttling?
fn named_throttling(winner: &Candidate, category: Category) -> bool {
    category == Category::Throttling && winner.rank >= rank::CODE
}

/// The guide has an Airflow task retried whose error says "timeout", in whatever words.
pub(super) fn is_of_the_guide(source: Source, cause: &Cause) -> bool {
    source == Source::Airflow && cause.name == "TimeoutError"
}

/// What speaks against an acting winner: its place, a vague word alone (a hint that is no number), or another sign.
fn veto(
    catalog: &Catalog,
    case: &Case,
    candidates: &[Candidate],
    places: &[Place<'_>],
) -> Option<String> {
    let winner = candidates.first()?;
    let cause = catalog.cause(winner.cause)?;
    if !cause.act.acts() {
        return None;
    }
    if places
        .get(winner.place)
        .is_none_or(|place| place.voice != Voice::Terminal)
    {
        return Some("its place: it stands beside the error that ended the run".into());
    }
    let lone_word = winner.rank <= rank::HINT && winner.sign.starts_with('"');
    if lone_word && !is_of_the_guide(case.source, cause) {
        return Some("a vague word alone".into());
    }
    if matches!(cause.category, Category::Quota | Category::Resource)
        && let Some(why) = places
            .get(winner.place)
            .and_then(|place| amounts::never_fits(place.text))
    {
        return Some(why);
    }
    let kind = case
        .context
        .get(field::TERMINATION_TYPE)
        .filter(|kind| kind.eq_ignore_ascii_case("CLIENT_ERROR"));
    // Who calls too often is called a client error as well, but the same request passes later.
    if let Some(kind) = kind
        && !named_throttling(winner, cause.category)
    {
        return Some(format!("type {kind}"));
    }
    candidates
        .iter()
        .skip(1)
        .find(|other| {
            catalog.cause(other.cause).is_some_and(|cause| {
                !cause.act.acts() && speaks_against(other.rank, winner.rank, cause.category)
            })
        })
        .map(|other| other.sign.clone())
}
