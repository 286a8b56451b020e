//! Who owns what, how much it matters, and where its owner reads of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use aiops_rca::diagnosis::{Action, Diagnosis, Severity};
use aiops_rca::evidence::Facts;
use aiops_rca::failure::{AssetKind, Failure, RunKey, Source, field};
use aiops_rca::ownership::{CriticalityRule, OwnerRule, OwnershipSettings, Routes, lines};
use aiops_rca::remediation::{Mode, RemediationSettings, decide};
use aiops_rca::ticket::machine::{Decision, Event, apply};
use aiops_rca::ticket::{Priority, Ticket};
use chrono::{TimeDelta, Utc};

use crate::support::build;

fn settings(owners: &str, criticality: &str) -> OwnershipSettings {
    OwnershipSettings {
        owners: (lines(owners).iter())
            .map(|line| OwnerRule::parse(line, &[]).unwrap())
            .collect(),
        criticality: (lines(criticality).iter())
            .map(|line| CriticalityRule::parse(line, &[]).unwrap())
            .collect(),
    }
}

fn said(asset: &str, context: &[(&str, &str)]) -> Failure {
    let mut failure = build::failure(asset, "r1");
    for (name, value) in context {
        (failure.context).insert((*name).to_owned(), (*value).to_owned());
    }
    failure
}

fn owner(settings: &OwnershipSettings, failure: &Failure) -> Option<String> {
    settings.care(failure).owner.map(|owner| owner.name)
}

/// A name, what the platform says, and whose it is.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);

#[test]
fn the_first_rule_counts_then_the_platform_is_believed() {
    let rules = settings(
        "pl_finance_*=team-finance tag:PII=team-privacy folder:ops/*=team-ops owner:jdoe=team-data run_as:svc-*=team-platform \
         creator:jane.roe=team-jane sandbox_*=nobody",
        "",
    );
    let cases: [Case<'_>; 19] = [
        ("PL_Finance_load", &[], Some("team-finance")),
        (
            "pl_x",
            &[(field::TAGS, "nightly, pii")],
            Some("team-privacy"),
        ),
        (
            "pl_finance_x",
            &[(field::TAGS, "pii")],
            Some("team-finance"),
        ),
        ("pl_x", &[(field::FOLDER, "Ops/Loads")], Some("team-ops")),
        ("pl_x", &[(field::OWNER, "jdoe")], Some("team-data")),
        (
            "pl_x",
            &[(field::OWNER, "airflow, jdoe")],
            Some("team-data"),
        ),
        ("pl_x", &[(field::RUN_AS, "svc-etl")], Some("team-platform")),
        ("pl_x", &[(field::CREATOR, "jane.roe")], Some("team-jane")),
        ("sandbox_1", &[(field::OWNER, "somebody")], None),
        ("pl_x", &[(field::OWNER, "airflow, finops")], Some("finops")),
        (
            "pl_x",
            &[(field::OWNER, "airflow"), (field::TAGS, "Team = Data")],
            Some("Data"),
        ),
        (
            "pl_x",
            &[(field::TAGS, "v2, owner:ops, team-x")],
            Some("ops"),
        ),
        ("pl_x", &[(field::TAGS, "prod, team-x")], Some("team-x")),
        ("pl_x", &[(field::TAGS, "owner:none, teamwork")], None),
        ("pl_x", &[(field::FOLDER, "/Sales/Daily")], Some("Sales")),
        (
            "pl_x",
            &[(field::RUN_AS, "etl"), (field::CREATOR, "jane.roe")],
            Some("team-jane"),
        ),
        ("pl_x", &[(field::OWNER, "***")], None),
        // Nobody can see that name.
        (
            "pl_x",
            &[(field::OWNER, "\u{200b}, \u{1b}"), (field::TAGS, "team-x")],
            Some("team-x"),
        ),
        ("pl_x", &[], None),
    ];
    for (asset, context, expected) in cases {
        let found = owner(&rules, &said(asset, context));
        assert_eq!(found.as_deref(), expected, "{asset} {context:?}");
    }
}

#[test]
fn a_rule_may_name_a_scope() {
    let scope = aiops_rca::failure::Scope {
        source: Source::Databricks,
        id: "adb-1.2.azuredatabricks.net".to_owned(),
        name: "adb-1".to_owned(),
        served: true,
    };
    let rule = OwnerRule::parse("adb-1/*=team-one", &[scope]).unwrap();
    let settings = OwnershipSettings {
        owners: vec![rule],
        criticality: Vec::new(),
    };
    let mut failure = Failure {
        source: Source::Databricks,
        kind: AssetKind::Job,
        key: RunKey::new(Source::Databricks, "", "1", "", ""),
        ..build::failure("nightly", "1")
    };
    failure.set_scope("adb-1.2.azuredatabricks.net");
    assert_eq!(owner(&settings, &failure).as_deref(), Some("team-one"));
    failure.set_scope("adb-2.2.azuredatabricks.net");
    assert_eq!(owner(&settings, &failure), None);
}

fn rated(settings: &OwnershipSettings, asset: &str, diagnosis: Diagnosis) -> Ticket {
    let ticket = build::ticket(build::failure(asset, "r1"), diagnosis, Utc::now(), 7);
    let care = settings.care(&ticket.failure);
    match apply(&ticket, &Event::Rated(Box::new(care)), ticket.received_at) {
        Ok(change) => change.ticket,
        Err(_) => ticket,
    }
}

#[test]
fn importance_sets_severity_priority_and_sla_and_says_why() {
    let settings = settings("", "pl_payroll*=critical; owner:x=high; dev_*=low");
    let error = || Diagnosis {
        severity: Severity::Medium,
        ..build::diagnosis()
    };
    let payroll = rated(&settings, "pl_payroll_eu", error());
    assert_eq!(
        (payroll.severity, payroll.priority),
        (Severity::Critical, Priority::P1)
    );
    assert_eq!(
        payroll.sla.due_at,
        payroll.received_at + TimeDelta::minutes(15)
    );
    let reason = payroll.severity_reason().unwrap();
    assert_eq!(
        reason,
        "the rule `pl_payroll*=critical` (CRITICALITY); the error alone would be Medium"
    );
    assert!(
        payroll
            .books
            .audit
            .iter()
            .any(|entry| entry.what == "Importance Set")
    );
    let dev = rated(&settings, "dev_load", error());
    assert_eq!((dev.severity, dev.priority), (Severity::Low, Priority::P4));
    let other = rated(&settings, "pl_sales", error());
    assert_eq!(
        (other.severity, other.severity_reason()),
        (Severity::Medium, None)
    );
}

#[test]
fn importance_asks_and_lifts_no_question() {
    let settings = settings(
        "",
        "pl_payroll*=critical; pl_pii*=medium,approval=ask; dev_*=low",
    );
    let remediation = RemediationSettings {
        enabled: true,
        playbooks: [Action::RetryPipeline].into(),
        default_mode: Mode::Safe,
        ..RemediationSettings::default()
    };
    let decided = |asset: &str, severity| {
        let diagnosis = Diagnosis {
            severity,
            ..build::diagnosis()
        };
        let ticket = rated(&settings, asset, diagnosis);
        decide(
            &ticket,
            &remediation,
            &[],
            &Facts::assumed(),
            ticket.received_at,
        )
    };
    let asks = |decision: &Decision| matches!(decision, Decision::Ask { .. });
    for (asset, severity, asked) in [
        ("pl_payroll", Severity::Medium, true),
        ("pl_pii", Severity::Medium, true),
        ("dev_x", Severity::Medium, false),
        ("dev_x", Severity::Critical, true),
        ("pl_x", Severity::Medium, false),
    ] {
        let decision = decided(asset, severity);
        assert_eq!(asks(&decision), asked, "{asset} {severity}: {decision:?}");
    }
    let Decision::Ask { why, .. } = decided("pl_payroll", Severity::Medium) else {
        unreachable!("it asks");
    };
    assert!(why.contains("pl_payroll*=critical"), "{why}");
}

#[test]
fn mentions_follow_importance_and_the_route() {
    let settings = settings(
        "pl_*=team-a",
        "pl_pay*=critical; pl_on*=high,mention=S0ONCALL; pl_dev*=low",
    );
    let mut routes = Routes::default();
    let mentioned = |routes: &Routes, asset: &str| {
        let ticket = rated(&settings, asset, build::diagnosis());
        routes.mentions(&ticket).join(" ")
    };
    assert_eq!(mentioned(&routes, "pl_pay"), "here");
    assert_eq!(mentioned(&routes, "pl_x"), "");
    routes.add("TEAM-A: mention=S0TEAM U0JANE").unwrap();
    routes.add("nobody: slack=#unowned").unwrap();
    routes.add("*: labels=other").unwrap();
    for (asset, expected) in [
        ("pl_pay", "S0TEAM U0JANE"),
        ("pl_x", "S0TEAM U0JANE"),
        ("pl_on", "S0ONCALL"),
        ("pl_dev", ""),
        ("elsewhere", ""),
    ] {
        assert_eq!(mentioned(&routes, asset), expected, "{asset}");
    }
    let unowned = rated(&settings, "elsewhere", build::diagnosis());
    assert_eq!(
        routes.of(&unowned).unwrap().slack.as_deref(),
        Some("#unowned")
    );
}
