//! The remediation policy: every guard and its reason; what needs a person is never done by a machine.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

use std::collections::BTreeSet;

use aiops_rca::diagnosis::{Action, Category, Risk, Severity};
use aiops_rca::evidence::Facts;
use aiops_rca::failure::{AssetKind, field};
use aiops_rca::remediation::{
    AssetPolicy, Mode, NodeTypes, QuietHours, RemediationSettings, decide, schedule,
};
use aiops_rca::ticket::machine::{Called, Decision, Event, Plan, Report, apply};
use aiops_rca::ticket::store::PastRemediation;
use aiops_rca::ticket::{Status, Ticket};
use chrono::TimeDelta;
use proptest::prelude::*;

use crate::machine::{at, ticket};

const ALL: [Action; 8] = [
    Action::RetryPipeline,
    Action::RetryJob,
    Action::RetryTask,
    Action::RestartCluster,
    Action::ReinstallLibraries,
    Action::CheckUpstream,
    Action::ScaleResources,
    Action::None,
];

fn willing() -> RemediationSettings {
    RemediationSettings {
        enabled: true,
        playbooks: ALL.into_iter().collect(),
        ..RemediationSettings::default()
    }
}

fn rules(text: &str) -> Vec<AssetPolicy> {
    text.split(';')
        .map(|line| AssetPolicy::parse(line, &[]).unwrap())
        .collect()
}

/// `run 30`, `ask: why`, `leave: why`, `exhausted: why`.
fn words(decision: &Decision, now: i64) -> String {
    match decision {
        Decision::Run { due_at, .. } => format!("run {}", (*due_at - at(now)).num_seconds()),
        Decision::Ask { why, .. } => format!("ask: {why}"),
        Decision::Leave {
            why,
            exhausted: true,
        } => format!("exhausted: {why}"),
        Decision::Leave {
            why,
            exhausted: false,
        } => format!("leave: {why}"),
    }
}

fn decided(ticket: &Ticket, settings: &RemediationSettings, past: &[PastRemediation]) -> String {
    words(
        &decide(ticket, settings, past, &Facts::assumed(), at(100)),
        100,
    )
}

fn healing(healed: bool, seconds: i64) -> PastRemediation {
    PastRemediation {
        at: at(seconds),
        healed,
    }
}

/// The ticket after this many failed attempts.
fn tried(times: u32) -> Ticket {
    let mut t = ticket();
    for number in 1..=times {
        let attempt = format!("{}-a{number}", t.id);
        let run = Decision::Run {
            plan: Plan {
                action: Action::RetryPipeline,
                risk: Risk::Low,
                max_attempts: 3,
                node_type: None,
            },
            due_at: at(1),
            why: "transient".to_owned(),
        };
        let events = [
            Event::Decided(run),
            Event::AttemptCalling {
                attempt: attempt.clone(),
                deadline: at(99),
            },
            Event::AttemptCalled {
                attempt: attempt.clone(),
                outcome: Called::Accepted,
            },
            Event::AttemptReported {
                attempt,
                report: Report::Failed("no".to_owned()),
                run_id: None,
            },
        ];
        for event in events {
            t = apply(&t, &event, at(2))
                .unwrap_or_else(|refusal| panic!("{refusal}"))
                .ticket;
        }
    }
    t
}

fn with(change: impl FnOnce(&mut Ticket)) -> Ticket {
    let mut t = ticket();
    change(&mut t);
    t
}

#[test]
fn every_guard_says_why_it_is_left() {
    let w = willing();
    let off = RemediationSettings {
        enabled: false,
        ..willing()
    };
    let bare = RemediationSettings {
        playbooks: BTreeSet::new(),
        ..willing()
    };
    let with_rules = |text: &str| RemediationSettings {
        assets: rules(text),
        ..willing()
    };
    let leave = [
        (
            decided(&ticket(), &off, &[]),
            "leave: automatic remediation is switched off (AUTO_REMEDIATION_ENABLED)",
        ),
        (
            decided(&ticket(), &bare, &[]),
            "leave: no playbook is configured for \"retry the pipeline\"",
        ),
        (
            decided(&with(|t| t.status = Status::Acknowledged), &w, &[]),
            "leave: the ticket is closed",
        ),
        (
            decided(&with(|t| t.diagnosis.action = Action::None), &w, &[]),
            "leave: timeout errors need a person",
        ),
        (
            decided(
                &with(|t| t.diagnosis.action = Action::ScaleResources),
                &w,
                &[],
            ),
            "leave: to scale the resources is a step for a person",
        ),
        (
            decided(&ticket(), &with_rules("PL_*=never"), &[]),
            "leave: the rule `PL_*` says never for this asset",
        ),
        (
            decided(
                &ticket(),
                &RemediationSettings {
                    default_mode: Mode::Never,
                    ..willing()
                },
                &[],
            ),
            "leave: the default says never for this asset",
        ),
        (
            decided(
                &ticket(),
                &w,
                &[1, 2, 3].map(|days| healing(false, -days * 86_400)),
            ),
            "leave: to retry the pipeline was tried for 3 such failures of this asset within 30 days and never helped",
        ),
        (
            decided(&ticket(), &w, &[healing(false, 60)]),
            "leave: healing the same failure of this asset failed at 2025-12-12 10:01 UTC: cooling down",
        ),
        (
            decided(&tried(3), &w, &[]),
            "exhausted: all 3 attempts were made",
        ),
        (
            decided(&tried(1), &with_rules("pl_*=safe,max=1"), &[]),
            "exhausted: all 1 attempts were made",
        ),
    ];
    for (decision, expected) in leave {
        assert_eq!(decision, expected);
    }
}

#[test]
fn every_guard_says_why_a_person_is_asked() {
    let w = willing();
    let with_rules = |text: &str| RemediationSettings {
        assets: rules(text),
        ..willing()
    };
    let quiet = RemediationSettings {
        quiet_hours: QuietHours::parse("09:00-11:00"),
        ..willing()
    };
    let ask = [
        (
            decided(&ticket(), &with_rules("pl_load=ask"), &[]),
            "ask: the rule for this asset requires approval",
        ),
        (
            decided(
                &with(|t| {
                    t.diagnosis.action = Action::RestartCluster;
                    let id = "0727-091233-ab12cd34".to_owned();
                    t.failure.context.insert(field::CLUSTER_ID.to_owned(), id);
                }),
                &with_rules("pl_load=from_failure"),
                &[],
            ),
            "ask: only going on from the failed step is allowed on this asset",
        ),
        (
            decided(
                &with(|t| t.diagnosis.action = Action::CheckUpstream),
                &w,
                &[],
            ),
            "ask: rerunning another pipeline requires approval",
        ),
        (
            decided(&with(|t| t.diagnosis.risk = Risk::High), &w, &[]),
            "ask: the risk is High",
        ),
        (
            decided(&with(|t| t.severity = Severity::Critical), &w, &[]),
            "ask: the severity is Critical",
        ),
        (
            decided(&with(|t| t.diagnosis.confidence = 0.4), &w, &[]),
            "ask: the confidence is low",
        ),
        (
            decided(&ticket(), &w, &[healing(false, -86_400)]),
            "ask: healing the same failure failed within a week",
        ),
        (
            decided(
                &ticket(),
                &w,
                &[
                    healing(true, -3600),
                    healing(true, -7200),
                    healing(true, -9000),
                ],
            ),
            "ask: the same failure was healed 3 times within a week and came back; it helped before, at 2025-12-12 09:00 UTC",
        ),
        (decided(&ticket(), &quiet, &[]), "ask: it is quiet hours"),
    ];
    for (decision, expected) in ask {
        assert_eq!(decision, expected);
    }
}

#[test]
fn a_riskier_attempt_asks_again_after_one_that_failed() {
    let risky = {
        let mut t = tried(1);
        t.diagnosis.risk = Risk::Medium;
        t
    };
    assert_eq!(
        decided(&risky, &willing(), &[]),
        "ask: an earlier attempt failed"
    );
    assert_eq!(
        [Risk::Low, Risk::Medium, Risk::High].map(|risk| schedule(risk).len()),
        [3, 2, 1]
    );
}

#[test]
fn what_no_guard_holds_back_is_run() {
    let w = willing();
    let with_rules = |text: &str| RemediationSettings {
        assets: rules(text),
        ..willing()
    };
    let run = [
        (decided(&ticket(), &w, &[]), "run 30"),
        (decided(&tried(1), &w, &[]), "run 60"),
        (decided(&tried(2), &w, &[]), "run 120"),
        (
            decided(&ticket(), &with_rules("other=never;pl_*=safe;*=never"), &[]),
            "run 30",
        ),
        (
            decided(&ticket(), &w, &[healing(false, -8 * 86_400)]),
            "run 30",
        ),
        (
            decided(&ticket(), &with_rules("pl_load=from_failure"), &[]),
            "run 30",
        ),
    ];
    for (decision, expected) in run {
        assert_eq!(decision, expected);
    }
}

/// A cluster of this size whose machines could not be had.
fn stockout(own: Option<&str>) -> Ticket {
    with(|t| {
        t.failure.kind = AssetKind::Cluster;
        (t.diagnosis.action, t.diagnosis.other_node_type) = (Action::RestartCluster, true);
        t.failure.context.insert(
            field::CLUSTER_ID.to_owned(),
            "0727-091233-ab12cd34".to_owned(),
        );
        t.failure
            .context
            .extend(own.map(|own| (field::NODE_TYPE.to_owned(), own.to_owned())));
    })
}

#[test]
fn a_cluster_is_moved_only_to_a_size_that_is_named_for_its_own() {
    let rules = [
        "Standard_DS4_v2=standard_ds4_v2,Standard_D8ds_v5,Standard_D8as_v5",
        "Standard_E*=Standard_E8ds_v5",
    ];
    let settings = RemediationSettings {
        node_types: NodeTypes::parse(rules).unwrap(),
        ..willing()
    };
    let moved_to = |t: &Ticket| match decide(t, &settings, &[], &Facts::assumed(), at(100)) {
        Decision::Run { plan, why, .. } => {
            let node_type = plan.node_type?;
            assert!(
                why.contains(&format!("restart the cluster with node type {node_type}")),
                "{why}"
            );
            Some(node_type)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        moved_to(&stockout(Some("Standard_DS4_v2"))).as_deref(),
        Some("Standard_D8ds_v5")
    );
    assert_eq!(
        moved_to(&stockout(Some("standard_e16_v3"))).as_deref(),
        Some("Standard_E8ds_v5")
    );
    for left_as_it_is in [
        stockout(Some("Standard_NC6")),
        stockout(None),
        stockout(Some("Standard_E8ds_v5")),
    ] {
        assert_eq!(moved_to(&left_as_it_is), None);
    }
    let mut other_cause = stockout(Some("Standard_DS4_v2"));
    other_cause.diagnosis.other_node_type = false;
    assert_eq!(moved_to(&other_cause), None);

    // What an attempt has tried is not tried again, and a question names what will be done.
    let mut second = tried(1);
    let cluster = stockout(Some("Standard_DS4_v2"));
    (second.failure, second.diagnosis) = (cluster.failure, cluster.diagnosis);
    second.diagnosis.risk = Risk::Medium;
    second.remediation.attempts[0].node_type = Some("Standard_D8ds_v5".to_owned());
    match decide(&second, &settings, &[], &Facts::assumed(), at(100)) {
        Decision::Ask { plan, text, .. } => {
            assert_eq!(plan.node_type.as_deref(), Some("Standard_D8as_v5"));
            assert!(
                text.contains("restart the cluster pl_load with node type Standard_D8as_v5"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    for bad in [
        "Standard_DS4_v2",
        "=Standard_D8ds_v5",
        "a=b,",
        "a=b c",
        "[=b",
        "a=b\"c",
    ] {
        assert!(NodeTypes::parse([bad]).is_err(), "{bad}");
    }
}

#[test]
fn a_jobs_own_cluster_is_left_to_its_jobs_run() {
    for action in [Action::RestartCluster, Action::ReinstallLibraries] {
        let mut t = stockout(None);
        t.diagnosis.action = action;
        t.failure
            .context
            .insert(field::CLUSTER_SOURCE.to_owned(), "JOB".to_owned());
        assert!(
            decided(&t, &willing(), &[]).starts_with("leave: a job's own cluster"),
            "{action:?}"
        );
        t.failure.kind = AssetKind::Job;
        assert_eq!(decided(&t, &willing(), &[]), "run 30");
    }
}

#[test]
fn a_plan_is_bound_to_ticket_and_attempt() {
    let plan = |t: &Ticket| match decide(
        t,
        &RemediationSettings {
            default_mode: Mode::Ask,
            ..willing()
        },
        &[],
        &Facts::assumed(),
        at(100),
    ) {
        Decision::Ask {
            hash, expires_at, ..
        } => (hash, expires_at),
        other => panic!("{other:?}"),
    };
    let (first, expires) = plan(&ticket());
    assert_eq!(expires, at(100) + TimeDelta::hours(4));
    assert_eq!(first, plan(&ticket()).0);
    assert_ne!(first, plan(&tried(1)).0);
    assert_ne!(
        first,
        plan(&with(|t| t.failure.run_id = Some("another".to_owned()))).0
    );
}

#[test]
fn asset_rules_are_read_or_refused() {
    for good in [
        "pl_*=safe",
        "{pl_a,pl_b}*=ask",
        " etl.*= FROM_FAILURE , max=2, cooldown = 90 ",
        "a=b=never",
        "*=safe,cooldown=0",
    ] {
        assert!(AssetPolicy::parse(good, &[]).is_ok(), "{good}");
    }
    for bad in [
        "",
        "=safe",
        "pl_*",
        "pl_*=maybe",
        "pl_*=safe,max=x",
        "pl_*=safe,often=2",
        "pl_[=safe",
        "pl_*=safe,max=-1",
        "max=2",
    ] {
        assert!(AssetPolicy::parse(bad, &[]).is_err(), "{bad}");
    }
    let two = AssetPolicy::parse("{pl_load,pl_b}=never,max=2", &[]).unwrap();
    assert_eq!((two.mode, two.max_attempts), (Mode::Never, Some(2)));
    let settings = RemediationSettings {
        assets: vec![two],
        ..willing()
    };
    assert!(decided(&ticket(), &settings, &[]).starts_with("leave: the rule"));
    let night = QuietHours::parse("22:00-06:00").unwrap();
    let settings = RemediationSettings {
        quiet_hours: Some(night),
        ..willing()
    };
    for (hours, expected) in [
        (11, "run 30"),
        (12, "ask: it is quiet hours"),
        (19, "ask: it is quiet hours"),
        (20, "run 30"),
    ] {
        let now = hours * 3600;
        assert_eq!(
            words(
                &decide(&ticket(), &settings, &[], &Facts::assumed(), at(now)),
                now
            ),
            expected,
            "{hours} hours after ten"
        );
    }
    assert!(QuietHours::parse("22-06").is_none());
}

fn category() -> impl Strategy<Value = Category> {
    prop::sample::select(vec![
        Category::Network,
        Category::Timeout,
        Category::Throttling,
        Category::Resource,
        Category::Authentication,
        Category::Authorization,
        Category::Configuration,
        Category::DataSchema,
        Category::DataQuality,
        Category::MissingData,
        Category::Code,
        Category::Dependency,
        Category::Platform,
        Category::Concurrency,
        Category::Quota,
        Category::Cancelled,
        Category::Undetermined,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Even a catalog or a model that says "remediable" cannot make the policy act on these.
    #[test]
    fn what_needs_a_person_is_never_done(
        category in category(),
        action in prop::sample::select(ALL.to_vec()),
        (remediable, transient, enabled) in any::<(bool, bool, bool)>(),
        risk in prop::sample::select(vec![Risk::Low, Risk::Medium, Risk::High]),
        confidence in 0.0_f32..=1.0,
        mode in prop::sample::select(vec![Mode::Safe, Mode::FromFailure, Mode::Ask, Mode::Never]),
        times in 0_u32..4,
    ) {
        let mut t = tried(times);
        let d = &mut t.diagnosis;
        (d.category, d.action, d.remediable, d.transient, d.risk, d.confidence) =
            (category, action, remediable, transient, risk, confidence);
        let settings = RemediationSettings { enabled, default_mode: mode, ..willing() };
        let decision = decide(&t, &settings, &[], &Facts::assumed(), at(100));
        let acts = matches!(decision, Decision::Run { .. });
        let stays = matches!(decision, Decision::Leave { .. });
        let needs_a_person = matches!(category, Category::Authentication | Category::Authorization | Category::Configuration
            | Category::DataSchema | Category::DataQuality | Category::Code | Category::Undetermined | Category::Cancelled);
        prop_assert!(!needs_a_person || stays, "{category:?} {action:?}");
        prop_assert!(!acts || remediable && action.acts() && enabled);
        prop_assert!(stays || enabled && mode != Mode::Never);
        // Advice that has a playbook may be asked about, never done.
        prop_assert!(stays || remediable && action.acts() || action == Action::CheckUpstream && !acts);
    }
}
