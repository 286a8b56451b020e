//! Remediation policy: run this playbook | ask a person | leave it, and why.
//!
//! Pure: (ticket, settings, history, facts, now) → [`Decision`]. The catalog says what *could* help (law L6), the
//! settings say what is allowed on this asset, the history says what was tried, the facts say whether the run is known,
//! failed and the latest in a place that the playbooks serve (law L13). Wrongly acting is the worst
//! error (law L8), so every guard that does not hold ends in a question or in leaving it, never in acting.
//! This room calls nothing: attempts are recorded by the machine and made by the flow.

mod facts;
mod node_types;

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, NaiveTime, Utc};
use globset::{GlobBuilder, GlobMatcher};

use crate::diagnosis::{Action, Category, Risk, Severity};
use crate::digest::sha256;
use crate::evidence::Facts;
use crate::failure::{Asset, AssetKind, Scope, Source, field};
use crate::ticket::machine::{Decision, Plan};
use crate::ticket::store::PastRemediation;
use crate::ticket::{AttemptState, Ticket, with_node_type};

pub use facts::{Grounds, grounds};
pub use node_types::NodeTypes;

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
    glob: String,
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
fn glob(text: &str) -> Result<GlobMatcher, String> {
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

    fn contains(self, now: DateTime<Utc>) -> bool {
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
    pub node_types: NodeTypes,
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
            node_types: NodeTypes::default(),
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

/// Attempts and their delays by risk: Low 3 (30 s, 60 s, 120 s), Medium 2 (60 s, 180 s), High 1 (180 s).
pub fn schedule(risk: Risk) -> &'static [i64] {
    match risk {
        Risk::Low => &[30, 60, 120],
        Risk::Medium => &[60, 180],
        Risk::High => &[180],
    }
}

const FLAPPING_WINDOW: Duration = Duration::days(7);

/// Decides what becomes of this ticket next. `past`: how healing this cause on this asset ended before.
pub fn decide(
    ticket: &Ticket,
    settings: &RemediationSettings,
    past: &[PastRemediation],
    facts: &Facts,
    now: DateTime<Utc>,
) -> Decision {
    let permit = match permitted(ticket, settings, past, now) {
        Ok(permit) => permit,
        Err(leave) => return leave,
    };
    match grounds(ticket, facts) {
        Ok(grounds) => propose(ticket, settings, past, &permit, grounds, now),
        Err(why) => Decision::Leave {
            why,
            exhausted: false,
        },
    }
}

/// Would the policy act, or ask, if the facts carried it? Otherwise nobody need be asked for them.
pub fn needs_facts(
    ticket: &Ticket,
    settings: &RemediationSettings,
    past: &[PastRemediation],
    now: DateTime<Utc>,
) -> bool {
    permitted(ticket, settings, past, now).is_ok()
}

fn acts_on_cluster(action: Action) -> bool {
    matches!(action, Action::RestartCluster | Action::ReinstallLibraries)
}

/// What the policy of the asset leaves room for.
struct Permit {
    mode: Mode,
    max_attempts: u32,
    made: u32,
}

fn permitted(
    ticket: &Ticket,
    settings: &RemediationSettings,
    past: &[PastRemediation],
    now: DateTime<Utc>,
) -> Result<Permit, Decision> {
    let leave = |why: String| {
        Err(Decision::Leave {
            why,
            exhausted: false,
        })
    };
    let diagnosis = &ticket.diagnosis;
    let action = diagnosis.action;
    let advice = action == Action::CheckUpstream
        && settings.playbooks.contains(&action)
        && (diagnosis.category.may_be_acted_on() || diagnosis.category == Category::MissingData);
    if ticket.is_closed() {
        return leave("the ticket is closed".to_owned());
    }
    if ticket.failure.field(field::TEST_RUN).is_some() {
        return leave("it was a test run without a scheduler: nothing can run it again".to_owned());
    }
    if !(advice || diagnosis.remediable && action.acts()) {
        return leave(match action {
            Action::None => format!("{} errors need a person", diagnosis.category.words()),
            action => format!("to {} is a step for a person", action.words()),
        });
    }
    if !diagnosis.category.may_be_acted_on() && !advice {
        return leave(format!(
            "{} errors need a person",
            diagnosis.category.words()
        ));
    }
    if !settings.enabled {
        return leave(
            "automatic remediation is switched off (AUTO_REMEDIATION_ENABLED)".to_owned(),
        );
    }
    if !settings.playbooks.contains(&action) {
        return leave(format!(
            "no playbook is configured for \"{}\"",
            action.words()
        ));
    }
    if acts_on_cluster(action)
        && ticket
            .failure
            .field(field::CLUSTER_SOURCE)
            .is_some_and(|by| by.eq_ignore_ascii_case("JOB"))
        && ticket.failure.kind == AssetKind::Cluster
    {
        return leave(
            "a job's own cluster cannot be restarted: its job's run is what is repaired".to_owned(),
        );
    }
    let asset = Asset::of(&ticket.failure);
    let policy = settings.assets.iter().find(|policy| policy.is_for(&asset));
    let mode = policy.map_or(settings.default_mode, |policy| policy.mode);
    if mode == Mode::Never {
        let rule = policy.map_or("the default".to_owned(), |policy| {
            format!("the rule `{}`", policy.glob)
        });
        return leave(format!("{rule} says never for this asset"));
    }
    let of_risk = u32::try_from(schedule(diagnosis.risk).len()).unwrap_or(1);
    let max_attempts = policy
        .and_then(|policy| policy.max_attempts)
        .map_or(of_risk, |max| max.min(of_risk));
    let made = u32::try_from(
        ticket
            .remediation
            .attempts
            .iter()
            .filter(|a| a.state != AttemptState::Cancelled)
            .count(),
    )
    .unwrap_or(u32::MAX);
    if made >= max_attempts {
        return Err(Decision::Leave {
            why: format!("all {max_attempts} attempts were made"),
            exhausted: made > 0,
        });
    }
    let cooldown = policy
        .and_then(|policy| policy.cooldown)
        .unwrap_or(settings.cooldown);
    if made == 0
        && let Some(last) = past
            .iter()
            .filter(|healing| !healing.healed)
            .map(|healing| healing.at)
            .max()
        && now < last + cooldown
    {
        return leave(format!(
            "healing the same failure of this asset failed at {}: cooling down",
            last.format("%Y-%m-%d %H:%M UTC")
        ));
    }
    Ok(Permit {
        mode,
        max_attempts,
        made,
    })
}

fn propose(
    ticket: &Ticket,
    settings: &RemediationSettings,
    past: &[PastRemediation],
    permit: &Permit,
    grounds: Grounds,
    now: DateTime<Utc>,
) -> Decision {
    let diagnosis = &ticket.diagnosis;
    let (action, risk, max_attempts) = (diagnosis.action, diagnosis.risk, permit.max_attempts);
    let node_type = node_type(ticket, &settings.node_types).map(str::to_owned);
    let with = with_node_type(node_type.as_deref());
    let plan = Plan {
        action,
        risk,
        max_attempts,
        node_type,
    };
    let why = format!(
        "{} is {} and the catalog allows to {}{with} (rule {}, risk {risk:?}, confidence {}); {}",
        diagnosis.error_type,
        if diagnosis.transient {
            "transient"
        } else {
            "remediable"
        },
        action.words(),
        diagnosis.rule,
        diagnosis.confidence_word(),
        grounds.known,
    );
    let mut reasons = reasons_to_ask(ticket, settings, past, permit, now);
    reasons.extend(grounds.doubts);
    if reasons.is_empty() {
        let by_risk: Vec<Duration> = schedule(risk)
            .iter()
            .copied()
            .map(Duration::seconds)
            .collect();
        let delays = if settings.delays.is_empty() {
            &by_risk
        } else {
            &settings.delays
        };
        let made = usize::try_from(permit.made).unwrap_or(usize::MAX);
        let delay = delays
            .get(made)
            .or(delays.last())
            .copied()
            .unwrap_or(Duration::seconds(60));
        return Decision::Run {
            plan,
            due_at: now + delay,
            why,
        };
    }
    let attempt = permit.made + 1;
    let text = format!(
        "Attempt {attempt} of {max_attempts}: {} {}{with} (run {}). Risk {risk:?}.",
        action.words(),
        ticket.failure.asset,
        ticket.failure.run_id.as_deref().unwrap_or("unknown"),
    );
    let hash = sha256(format!("{}\n{attempt}\n{text}", ticket.id));
    Decision::Ask {
        plan,
        text,
        hash: hash.get(..16).unwrap_or_default().to_owned(),
        why: reasons.join("; "),
        expires_at: now + settings.approval_ttl,
    }
}

/// The size the cluster is to be restarted with, where the catalog says that another one is what helps.
fn node_type<'a>(ticket: &'a Ticket, node_types: &'a NodeTypes) -> Option<&'a str> {
    let tried: Vec<&str> = ticket
        .remediation
        .attempts
        .iter()
        .filter_map(|attempt| attempt.node_type.as_deref())
        .collect();
    let own = ticket.failure.field(field::NODE_TYPE);
    node_types
        .other_than(own, &tried)
        .filter(|_| ticket.diagnosis.other_node_type)
}

fn reasons_to_ask(
    ticket: &Ticket,
    settings: &RemediationSettings,
    past: &[PastRemediation],
    permit: &Permit,
    now: DateTime<Utc>,
) -> Vec<String> {
    let diagnosis = &ticket.diagnosis;
    let goes_on = matches!(
        diagnosis.action,
        Action::RetryPipeline | Action::RetryJob | Action::RetryTask
    );
    let healed = past
        .iter()
        .filter(|healing| healing.healed && now < healing.at + FLAPPING_WINDOW)
        .count();
    let failed_before = past
        .iter()
        .any(|healing| !healing.healed && now < healing.at + FLAPPING_WINDOW);
    [
        (
            permit.mode == Mode::Ask,
            "the rule for this asset requires approval".to_owned(),
        ),
        (
            permit.mode == Mode::FromFailure && !goes_on,
            "only going on from the failed step is allowed on this asset".to_owned(),
        ),
        (
            diagnosis.action == Action::CheckUpstream,
            "rerunning another pipeline requires approval".to_owned(),
        ),
        (diagnosis.risk == Risk::High, "the risk is High".to_owned()),
        (
            ticket.severity == Severity::Critical,
            "the severity is Critical".to_owned(),
        ),
        (
            diagnosis.confidence < settings.low_confidence,
            "the confidence is low".to_owned(),
        ),
        // Low-risk attempts follow their own schedule; anything riskier asks again after a failed attempt.
        (
            permit.made > 0 && diagnosis.risk != Risk::Low,
            "an earlier attempt failed".to_owned(),
        ),
        (
            permit.made == 0 && failed_before,
            "healing the same failure failed within a week".to_owned(),
        ),
        (
            healed >= settings.flapping_limit,
            format!("the same failure was healed {healed} times within a week and came back"),
        ),
        (
            settings
                .quiet_hours
                .is_some_and(|quiet| quiet.contains(now)),
            "it is quiet hours".to_owned(),
        ),
    ]
    .into_iter()
    .filter_map(|(holds, why)| holds.then_some(why))
    .collect()
}
