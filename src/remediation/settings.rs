//! What remediation may do, and when: the operator's settings.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, NaiveTime, Utc};
use globset::{GlobBuilder, GlobMatcher};

use crate::diagnosis::Action;
use crate::failure::{Asset, Scope, Source};

/// How an asset may be healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::EnumString)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Mode {
    /// Running it again is safe.
    Safe,
    /// Only actions that go on from the failed step are safe (rerun from failure, repair, clear the task).
    FromFailure,
    /// A person is asked every time.
    Ask,
    /// Nothing is ever done.
    Never,
}

impl Mode {
    /// `safe`, `from_failure`, `ask`, `never`.
    pub fn from_name(name: &str) -> Option<Self> {
        name.trim().parse().ok()
    }
}

/// What is allowed on assets whose name matches.
#[derive(Debug, Clone)]
pub struct AssetPolicy {
    /// As it was written.
    pub(super) glob: String,
    /// The scopes that its first part names; every scope when empty.
    scopes: Vec<(Source, String)>,
    /// Every asset when absent.
    matcher: Option<GlobMatcher>,
    /// How it may be healed.
    pub mode: Mode,
    /// Maximum number of attempts; the risk's own number when absent.
    pub max_attempts: Option<u32>,
    /// No new attempt for so long after all attempts failed; the general one when absent.
    pub cooldown: Option<Duration>,
}

impl AssetPolicy {
    /// Stands in for a rule nobody could read.
    pub fn ask_about_everything() -> Self {
        Self {
            glob: "*".to_owned(),
            scopes: Vec::new(),
            matcher: None,
            mode: Mode::Ask,
            max_attempts: None,
            cooldown: None,
        }
    }

    /// Is the rule about this asset?
    pub fn is_for(&self, asset: &Asset) -> bool {
        let there = |(source, id): &(Source, String)| {
            *source == asset.source && id.eq_ignore_ascii_case(&asset.scope)
        };
        (self.scopes.is_empty() || self.scopes.iter().any(there))
            && self
                .matcher
                .as_ref()
                .is_none_or(|matcher| matcher.is_match(&asset.name))
    }

    /// One line of `REMEDIATION_ASSETS`: `[<scope>/]<glob>=<mode>[,max=<n>][,cooldown=<minutes>]`. What stands before the
    /// first `/` is a scope if it is the short name of a configured one: names of jobs hold slashes, too.
    pub fn parse(line: &str, configured: &[Scope]) -> Result<Self, String> {
        // From the end, so that a glob may hold commas (`{a,b}*`).
        let (mut rest, mut max_attempts, mut cooldown) = (line.trim(), None, None);
        while let Some((head, word)) = rest.rsplit_once(',') {
            let Some((name, value)) = word.trim().split_once('=') else {
                break;
            };
            let number = || {
                value
                    .trim()
                    .parse::<u32>()
                    .map_err(|_| format!("`{}` is not a number", word.trim()))
            };
            match name.trim() {
                "max" => max_attempts = Some(number()?),
                "cooldown" => cooldown = Some(Duration::minutes(i64::from(number()?))),
                _ => break,
            }
            rest = head.trim_end();
        }
        let (glob, mode) = rest.rsplit_once('=').ok_or_else(|| {
            format!("`{line}` is not `<glob>=<mode>[,max=<n>][,cooldown=<minutes>]`")
        })?;
        let named = |name: &str| -> Vec<(Source, String)> {
            configured
                .iter()
                .filter(|scope| scope.name.eq_ignore_ascii_case(name.trim()))
                .map(|scope| (scope.source, scope.id.clone()))
                .collect()
        };
        let (scopes, pattern) = match glob.split_once('/').map(|(name, rest)| (named(name), rest)) {
            Some((scopes, rest)) if !scopes.is_empty() => (scopes, rest),
            _ => (Vec::new(), glob),
        };
        let matcher = Some(self::glob(pattern)?);
        let mode = Mode::from_name(mode).ok_or_else(|| {
            format!("what follows `{glob}=` is not safe, from_failure, ask or never[,max=<n>][,cooldown=<minutes>]")
        })?;
        Ok(Self {
            glob: glob.trim().to_owned(),
            scopes,
            matcher,
            mode,
            max_attempts,
            cooldown,
        })
    }
}

/// A pattern on names, which the vendors take for the same in any case.
pub(super) fn glob(text: &str) -> Result<GlobMatcher, String> {
    let text = text.trim();
    let glob = GlobBuilder::new(text)
        .case_insensitive(true)
        .build()
        .ok()
        .filter(|_| !text.is_empty());
    glob.map(|glob| glob.compile_matcher())
        .ok_or_else(|| format!("`{text}` is not a glob"))
}

/// Hours (UTC) in which nothing is done without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    /// From, included.
    pub from: NaiveTime,
    /// To, excluded; may lie past midnight.
    pub to: NaiveTime,
}

impl QuietHours {
    /// `22:00-06:00`.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").ok();
        Some(Self {
            from: time(from)?,
            to: time(to)?,
        })
    }

    pub(super) fn contains(self, now: DateTime<Utc>) -> bool {
        let time = now.time();
        if self.from <= self.to {
            self.from <= time && time < self.to
        } else {
            time >= self.from || time < self.to
        }
    }
}

/// What remediation may do.
#[derive(Debug, Clone)]
pub struct RemediationSettings {
    /// `AUTO_REMEDIATION_ENABLED`: nothing is ever called without it.
    pub enabled: bool,
    /// Actions that have a playbook.
    pub playbooks: BTreeSet<Action>,
    /// The first that matches decides.
    pub assets: Vec<AssetPolicy>,
    /// For assets that no policy names.
    pub default_mode: Mode,
    /// What a cluster may be moved to when machines of its own size cannot be had.
    pub node_types: super::NodeTypes,
    /// Hours in which a person is asked.
    pub quiet_hours: Option<QuietHours>,
    /// Maximum number of attempts at once, over all assets.
    pub max_running: usize,
    /// No new attempt for so long after all attempts failed.
    pub cooldown: Duration,
    /// Healed so often within a week and failed again: a person is asked.
    pub flapping_limit: usize,
    /// Below that a person is asked.
    pub low_confidence: f32,
    /// How long a question to a person stands.
    pub approval_ttl: Duration,
    /// Waits before attempts instead of those of the risk; the last counts for all further ones. Empty: by risk.
    pub delays: Vec<Duration>,
    /// How long a playbook may stay silent.
    pub callback_deadline: Duration,
}

impl Default for RemediationSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            playbooks: BTreeSet::new(),
            assets: Vec::new(),
            default_mode: Mode::Safe,
            node_types: super::NodeTypes::default(),
            quiet_hours: None,
            max_running: 10,
            cooldown: Duration::hours(2),
            flapping_limit: 3,
            low_confidence: 0.5,
            approval_ttl: Duration::hours(4),
            delays: Vec::new(),
            callback_deadline: Duration::hours(2),
        }
    }
}
