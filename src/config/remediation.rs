//! What remediation may do. Where a rule cannot be read a person is asked: it may have said never.

use std::collections::BTreeSet;

use chrono::Duration;

use super::reader::{Reader, list};
use crate::diagnosis::Action;
use crate::failure::Scope;
use crate::remediation::{AssetPolicy, Mode, NodeTypes, QuietHours, RemediationSettings};

pub(super) fn remediation(
    r: &mut Reader<'_>,
    playbooks: BTreeSet<Action>,
    scopes: &[Scope],
) -> RemediationSettings {
    let default = RemediationSettings::default();
    let minutes =
        |r: &mut Reader<'_>, name| r.minutes(name, 7 * 24 * 60).unwrap_or(Duration::hours(2));
    let mut delays = Vec::new();
    for word in list(r.text("REMEDIATION_DELAYS"), ',') {
        match word.parse::<u16>() {
            Ok(seconds) => delays.push(Duration::seconds(i64::from(seconds))),
            Err(_) => r.problem(
                "REMEDIATION_DELAYS",
                "must be seconds, separated by commas, e.g. 30,60,120",
            ),
        }
    }
    let mut assets = Vec::new();
    for line in list(r.text("REMEDIATION_ASSETS"), ';') {
        match AssetPolicy::parse(&line, scopes) {
            Ok(policy) => assets.push(policy),
            Err(why) => {
                r.problem("REMEDIATION_ASSETS", why);
                // A rule nobody can read may have said never: nothing acts until it is fixed.
                assets.insert(0, AssetPolicy::ask_about_everything());
            }
        }
    }
    let default_mode = r
        .text("REMEDIATION_DEFAULT")
        .as_deref()
        .map(Mode::from_name);
    if default_mode == Some(None) {
        r.problem(
            "REMEDIATION_DEFAULT",
            "must be safe, from_failure, ask or never",
        );
    }
    let quiet = r
        .text("REMEDIATION_QUIET_HOURS")
        .map(|text| QuietHours::parse(&text));
    if quiet == Some(None) {
        r.problem("REMEDIATION_QUIET_HOURS", "must look like 22:00-06:00");
        // Any hour may be meant: a person is asked until it is fixed.
        assets.insert(0, AssetPolicy::ask_about_everything());
    }
    if r.problems
        .iter()
        .any(|problem| problem.name == "CRITICALITY")
    {
        // The rule may have named what is critical, where a person is asked.
        assets.insert(0, AssetPolicy::ask_about_everything());
    }
    // A rule that cannot be read changes no cluster: it restarts as it is.
    let node_types = list(r.text("REMEDIATION_NODE_TYPES"), ';');
    let node_types =
        NodeTypes::parse(node_types.iter().map(String::as_str)).unwrap_or_else(|why| {
            r.problem("REMEDIATION_NODE_TYPES", why);
            NodeTypes::default()
        });
    RemediationSettings {
        enabled: r.flag("AUTO_REMEDIATION_ENABLED"),
        playbooks,
        assets,
        default_mode: default_mode.flatten().unwrap_or(Mode::Ask),
        node_types,
        quiet_hours: quiet.flatten(),
        max_running: r
            .number("REMEDIATION_MAX_RUNNING", 1, 1000)
            .unwrap_or(default.max_running),
        cooldown: minutes(r, "REMEDIATION_COOLDOWN_MINUTES"),
        flapping_limit: r
            .number("REMEDIATION_FLAPPING_LIMIT", 1, 1000)
            .unwrap_or(default.flapping_limit),
        low_confidence: default.low_confidence,
        approval_ttl: minutes(r, "REMEDIATION_APPROVAL_MINUTES"),
        delays,
        callback_deadline: minutes(r, "REMEDIATION_DEADLINE_MINUTES"),
    }
}
