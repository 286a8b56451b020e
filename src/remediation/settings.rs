//! What remediation may do, and when: the operator's settings.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, NaiveTime, Utc};

use crate::diagnosis::Action;
use crate::failure::{Asset, AssetPattern, Scope};

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
    /// Every asset when absent.
    pattern: Option<AssetPattern>,
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
            pattern: None,
            mode: Mode::Ask,
            max_attempts: None,
            cooldown: None,
        }
    }

    /// Is the rule about this asset?
    pub fn is_for(&self, asset: &Asset) -> bool {
        let matches = |pattern: &AssetPattern| pattern.is_for(asset);
        self.pattern.as_ref().is_none_or(matches)
    }

    /// The assets, as they were written.
    pub(super) fn text(&self) -> &str {
        self.pattern.as_ref().map_or("*", AssetPattern::text)
    }

    /// One line of `REMEDIATION_ASSETS`: `[<scope>/]<glob>=<mode>[,max=<n>][,cooldown=<minutes>]`.
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
        let pattern = AssetPattern::parse(glob, configured)?;
        let mode = Mode::from_name(mode).ok_or_else(|| {
            format!("what follows `{glob}=` is not safe, from_failure, ask or never[,max=<n>][,cooldown=<minutes>]")
        })?;
        Ok(Self {
            pattern: Some(pattern),
            mode,
            max_attempts,
            cooldown,
        })
    }
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
