//! Remediation policy: run this playbook | ask a person | leave it, and why.
//!
//! Pure: (ticket, settings, history, facts, now) → [`Decision`]. The catalog says what *could* help (law L6), the
//! settings say what is allowed on this asset, the history says what was tried, the facts say whether the run is known,
//! failed and the latest in a place that the playbooks serve (law L13). Wrongly acting is the worst
//! error (law L8), so every guard that does not hold ends in a question or in leaving it, never in acting.
//! This room calls nothing: attempts are recorded by the machine and made by the flow.

mod facts;
mod node_types;
mod settings;

use chrono::{DateTime, Duration, Utc};

use crate::diagnosis::{Action, Category, Risk, Severity};
use crate::digest::sha256;
use crate::evidence::Facts;
use crate::failure::{Asset, AssetKind, field};
use crate::ticket::machine::{Decision, Plan};
use crate::ticket::store::PastRemediation;
use crate::ticket::{AttemptState, Ticket, with_node_type};

pub use facts::{Grounds, grounds};
pub use node_types::NodeTypes;
pub use settings::{AssetPolicy, Mode, QuietHours, RemediationSettings};

/// Attempts and their delays by risk: Low 3 (30 s, 60 s, 120 s), Medium 2 (60 s, 180 s), High 1 (180 s).
pub fn schedule(risk: Risk) -> &'static [i64] {
    match risk {
        Risk::Low => &[30, 60, 120],
        Risk::Medium => &[60, 180],
        Risk::High => &[180],
    }
}

const FLAPPING_WINDOW: Duration = Duration::days(7);
/// What failed so often within this time, and never helped, is not tried again.
const NEVER_HELPED: usize = 3;
const NEVER_HELPED_WINDOW: Duration = Duration::days(30);

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
            format!("the rule `{}`", policy.text())
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
    let lately = || {
        past.iter()
            .filter(|healing| now < healing.at + NEVER_HELPED_WINDOW)
    };
    let failed = lately().filter(|healing| !healing.healed).count();
    if made == 0 && failed >= NEVER_HELPED && !lately().any(|healing| healing.healed) {
        return leave(format!(
            "to {} was tried for {failed} such failures of this asset within 30 days and never helped",
            action.words()
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
        "{} is {} and the catalog allows to {}{with} (rule {}, risk {risk}, confidence {}); {}",
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
        "Attempt {attempt} of {max_attempts}: {} {}{with} (run {}). Risk {risk}.",
        action.words(),
        ticket.failure.asset,
        ticket.failure.run_id.as_deref().unwrap_or("unknown"),
    );
    let hash = sha256(format!("{}\n{attempt}\n{text}", ticket.id));
    Decision::Ask {
        plan,
        text,
        hash: hash.get(..16).unwrap_or_default().to_owned(),
        why: format!("{}{}", reasons.join("; "), helped(past)),
        expires_at: now + settings.approval_ttl,
    }
}

/// What helped before is said with the question; it lifts no guard.
fn helped(past: &[PastRemediation]) -> String {
    let last = past
        .iter()
        .filter(|healing| healing.healed)
        .map(|healing| healing.at)
        .max();
    last.map(|at| format!("; it helped before, at {}", at.format("%Y-%m-%d %H:%M UTC")))
        .unwrap_or_default()
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

/// Does the importance of the asset want a person to be asked?
fn is_asked(ticket: &Ticket) -> bool {
    let importance = ticket.importance.as_ref();
    importance.is_some_and(|importance| importance.asks)
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
            [ticket.severity, diagnosis.severity].contains(&Severity::Critical)
                && !is_asked(ticket),
            "the severity is Critical".to_owned(),
        ),
        (
            is_asked(ticket),
            format!(
                "{} is {} by {}",
                ticket.failure.asset,
                ticket.severity,
                ticket.severity_reason().unwrap_or_default()
            ),
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
