//! Nothing acts on what the facts do not carry: foreign scopes, runs that nobody knows, newer runs, claims without a run.

use aiops_rca::evidence::data_factory::DataFactorySettings;
use aiops_rca::evidence::{DataFactory, Key};
use aiops_rca::failure::{Failure, RunKey, Source, field};
use aiops_rca::sources::{Parsed, azure_monitor};
use aiops_rca::ticket::store::UpdateError;
use aiops_rca::ticket::{AttemptState, RemediationState, Ticket, TicketId};
use chrono::TimeDelta;
use serde_json::json;

use super::rig::{Fate, Newer, Outside, Rig, Script, Told, failure};
use crate::support;

const OWN: &str = "/subscriptions/s/resourcegroups/g/providers/microsoft.datafactory/factories/f";
const OTHER: &str =
    "/subscriptions/s/resourcegroups/rg-dev/providers/microsoft.datafactory/factories/adf-dev";
const SYNAPSE: &str =
    "/subscriptions/s/resourcegroups/g/providers/microsoft.synapse/workspaces/syn-prod";
const RUN: &str = "00000000-0000-4000-8000-0000000000aa";

fn minutes(minutes: i64) -> TimeDelta {
    TimeDelta::minutes(minutes)
}

fn timeout(asset: &str, run: &str) -> Failure {
    failure(
        asset,
        run,
        "GatewayTimeout",
        "The gateway did not answer in time.",
    )
}

async fn rig(vendor: bool, fates: &[Fate]) -> Rig<Outside> {
    Rig::build(11, vendor, Script(fates.to_vec())).await
}

/// What became of it, and how often a playbook was called.
async fn told(rig: &mut Rig<Outside>, failure: Failure, time: TimeDelta) -> (Ticket, usize) {
    let id = rig.accept(failure).await;
    rig.pass(time).await;
    let calls = rig.vendors.state().calls.len();
    (rig.ticket(&id).await, calls)
}

fn in_scope(scope: &str) -> Failure {
    let mut failure = timeout("pl_load", RUN);
    failure
        .context
        .insert(field::FACTORY.to_owned(), scope.to_owned());
    failure
}

#[tokio::test]
async fn another_factory_and_a_synapse_workspace_are_left_to_people() {
    for scope in [OTHER, SYNAPSE] {
        let mut rig = rig(true, &[]).await;
        let (ticket, calls) = told(&mut rig, in_scope(scope), minutes(5)).await;
        let why = &ticket.remediation.decision;
        assert_eq!((calls, ticket.remediation.attempts.len()), (0, 0), "{why}");
        assert!(
            why.contains(scope) && why.contains("no playbook acts"),
            "{why}"
        );
    }
    let mut rig = rig(true, &[]).await;
    let (ticket, calls) = told(&mut rig, in_scope(&OWN.to_uppercase()), minutes(5)).await;
    assert_eq!((ticket.is_closed(), calls), (true, 1));
}

#[tokio::test]
async fn a_named_scope_that_nothing_confirms_asks_a_person() {
    let mut rig = rig(false, &[]).await;
    let (ticket, calls) = told(&mut rig, in_scope(OTHER), minutes(5)).await;
    assert_eq!(
        (ticket.remediation.state, calls),
        (RemediationState::AwaitingApproval, 0)
    );
    let why = ticket.remediation.approval.unwrap().why;
    assert!(why.contains("adf-dev"), "{why}");
    // A Synapse workspace has no playbook, no matter who approves.
    let mut failure = in_scope(SYNAPSE);
    failure.key = RunKey::new(Source::Adf, "factory", "other", "", "");
    let (ticket, calls) = told(&mut rig, failure, minutes(5)).await;
    assert_eq!((ticket.remediation.attempts.len(), calls), (0, 0));
}

#[tokio::test]
async fn a_run_that_the_vendor_does_not_know_is_left() {
    let mut rig = rig(true, &[]).await;
    rig.vendors.state().lost.insert(RUN.to_owned());
    let (ticket, calls) = told(&mut rig, timeout("pl_lost", RUN), minutes(5)).await;
    let why = &ticket.remediation.decision;
    assert_eq!(calls, 0);
    assert!(why.contains("Data Factory does not know run"), "{why}");
}

#[tokio::test]
async fn without_a_run_nothing_acts_whoever_can_be_asked() {
    for vendor in [true, false] {
        let mut rig = rig(vendor, &[]).await;
        let mut failure = timeout("ADF 503 ServerBusy", RUN);
        failure.run_id = None;
        let (ticket, calls) = told(&mut rig, failure, minutes(5)).await;
        let why = &ticket.remediation.decision;
        assert_eq!(calls, 0);
        assert!(why.contains("no run is known"), "{why}");
    }
}

#[tokio::test]
async fn a_plan_without_an_api_says_that_it_is_not_verified() {
    let mut rig = rig(false, &[]).await;
    let id = rig.accept(timeout("pl_load", RUN)).await;
    rig.pass(TimeDelta::seconds(20)).await;
    let planned = rig.ticket(&id).await.remediation;
    assert_eq!(planned.state, RemediationState::Scheduled);
    assert!(
        planned
            .decision
            .contains("not verified: no API of Data Factory is configured"),
        "{}",
        planned.decision
    );
}

#[tokio::test]
async fn a_newer_green_run_at_planning_or_before_the_call_means_leave() {
    for (after, planned) in [(-5, 0), (20, 1)] {
        let mut rig = rig(true, &[]).await;
        rig.know(RUN, "pl_newer");
        let start = rig.simulation.now + TimeDelta::seconds(after);
        rig.newer(Newer::of("pl_newer", start, TimeDelta::seconds(3)));
        let (ticket, calls) = told(&mut rig, timeout("pl_newer", RUN), minutes(5)).await;
        let why = &ticket.remediation.decision;
        assert_eq!(
            (calls, ticket.remediation.attempts.len()),
            (0, planned),
            "{why}"
        );
        assert!(why.contains("has succeeded"), "{why}");
        assert!(!ticket.is_closed());
    }
}

#[tokio::test]
async fn a_newer_run_that_goes_on_is_waited_for() {
    for (ends_well, calls_after) in [(true, 0), (false, 0)] {
        let mut rig = rig(true, &[]).await;
        rig.know(RUN, "pl_newer");
        let start = rig.simulation.now - TimeDelta::seconds(5);
        let mut newer = Newer::of("pl_newer", start, minutes(4));
        newer.succeeds = ends_well;
        rig.newer(newer);
        let id = rig.accept(timeout("pl_newer", RUN)).await;
        rig.pass(minutes(3)).await;
        assert_eq!(rig.vendors.state().calls.len(), 0);
        assert_eq!(
            rig.ticket(&id).await.remediation.attempts[0].state,
            AttemptState::Scheduled
        );
        rig.pass(minutes(5)).await;
        let ticket = rig.ticket(&id).await;
        assert_eq!(rig.vendors.state().calls.len(), calls_after);
        assert_eq!(
            ticket.remediation.attempts[0].state,
            AttemptState::Cancelled
        );
    }
}

#[tokio::test]
async fn a_newer_run_that_failed_as_well_asks_a_person() {
    let mut rig = rig(true, &[]).await;
    rig.know(RUN, "pl_newer");
    let start = rig.simulation.now - TimeDelta::seconds(50);
    let mut newer = Newer::of("pl_newer", start, TimeDelta::seconds(9));
    newer.succeeds = false;
    rig.newer(newer);
    let (ticket, calls) = told(&mut rig, timeout("pl_newer", RUN), minutes(3)).await;
    assert_eq!(
        (ticket.remediation.state, calls),
        (RemediationState::AwaitingApproval, 0)
    );
}

#[tokio::test]
async fn a_failed_rerun_is_a_part_of_the_story_and_not_a_newer_run() {
    let bad = Fate {
        heals: false,
        ..Fate::default()
    };
    let mut rig = rig(true, &[bad, bad]).await;
    rig.know(RUN, "pl_own");
    let (ticket, calls) = told(&mut rig, timeout("pl_own", RUN), minutes(12)).await;
    assert_eq!((calls, ticket.is_closed()), (3, true));
}

#[tokio::test]
async fn several_factories_are_asked_each_for_its_own_runs() {
    let mut rig = rig(true, &[]).await;
    let url = rig.server.url();
    let second = |name: &str| {
        let settings = DataFactorySettings {
            subscription: "s".to_owned(),
            resource_group: "g".to_owned(),
            factory: name.to_owned(),
            base_url: url.parse().unwrap(),
        };
        let key = Key::Token("token".to_owned().into());
        DataFactory::new(settings, support::http(), key).served(false)
    };
    let flow = &mut rig.simulation.flow;
    flow.collector.data_factory.push(second("g"));
    let scope = OWN.replace("factories/f", "factories/g");
    let (ticket, calls) = told(&mut rig, in_scope(&scope), minutes(5)).await;
    let why = &ticket.remediation.decision;
    assert_eq!(calls, 0, "{why}");
    assert!(why.contains("the playbooks do not serve"), "{why}");
    let mut named = in_scope("f");
    named.key = RunKey::new(Source::Adf, "factory", "named", "", "");
    named.run_id = Some("00000000-0000-4000-8000-0000000000ab".to_owned());
    let (ticket, calls) = told(&mut rig, named, minutes(5)).await;
    assert_eq!((calls, ticket.failure.scope()), (1, Some(OWN)));
}

/// Calls back the attempt of a ticket with this body.
async fn call_back(rig: &Rig<Outside>, id: &TicketId, body: &serde_json::Value) {
    let (flow, now) = (&rig.simulation.flow, rig.simulation.now);
    let attempt = format!("{id}-a1");
    let answer =
        Rig::<Outside>::call_back(flow, id.as_str(), &attempt, &body.to_string(), now).await;
    assert!(
        matches!(answer, Ok(_) | Err(UpdateError::Refused(_))),
        "{answer:?}"
    );
}

/// K3 of the reports, and its kin.
#[tokio::test]
async fn a_claim_of_success_without_a_run_closes_nothing() {
    let silent = Fate {
        told: Told::Nothing,
        answer: super::rig::Answered::TimedOutBeforeStart,
        ..Fate::default()
    };
    let report = include_str!("../../../fixtures/reports/k3-callback-success-without-run.json");
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    let bodies = [
        report,
        json!({"status": "succeeded", "remediation_run_id": null}),
        json!({"status": "Succeeded", "remediation_run_id": "null"}),
        json!({"status": "succeeded", "remediation_run_id": "@{body('Create_run')?['runId']}"}),
        json!({"status": "success", "remediationRunId": "{{ run_id }}"}),
        json!({"success": true, "remediation_run_id": ""}),
    ];
    for vendor in [true, false] {
        for body in &bodies {
            let mut rig = rig(vendor, &[silent]).await;
            let id = rig.accept(timeout("pl_load", RUN)).await;
            rig.pass(minutes(2)).await;
            call_back(&rig, &id, body).await;
            rig.pass(minutes(5)).await;
            let ticket = rig.ticket(&id).await;
            assert_eq!(
                (ticket.is_closed(), ticket.remediation.state),
                (false, RemediationState::Verifying),
                "{body}"
            );
            rig.pass(minutes(10)).await;
            let ticket = rig.ticket(&id).await;
            assert_eq!(
                (ticket.is_closed(), ticket.remediation.state),
                (false, RemediationState::Exhausted),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn a_success_that_names_somebody_elses_run_closes_nothing() {
    let silent = Fate {
        told: Told::Nothing,
        answer: super::rig::Answered::TimedOutBeforeStart,
        ..Fate::default()
    };
    let mut rig = rig(true, &[silent]).await;
    rig.know(RUN, "pl_load");
    // A green run of another pipeline, and one of this pipeline that ended before the call.
    let now = rig.simulation.now;
    let other = rig.newer(Newer::of("pl_other", now, TimeDelta::seconds(1)));
    let old = rig.newer(Newer::of("pl_load", now - minutes(90), minutes(1)));
    let id = rig.accept(timeout("pl_load", RUN)).await;
    rig.pass(minutes(2)).await;
    assert_eq!(rig.vendors.state().calls.len(), 1);
    for run in [other, old] {
        let body = json!({"status": "succeeded", "remediation_run_id": run});
        call_back(&rig, &id, &body).await;
        rig.pass(minutes(2)).await;
        assert!(!rig.ticket(&id).await.is_closed(), "{run}");
    }
    rig.pass(minutes(15)).await;
    let ticket = rig.ticket(&id).await;
    assert_eq!(
        (ticket.is_closed(), ticket.remediation.state),
        (false, RemediationState::Exhausted)
    );
}

/// K17 of the reports.
#[tokio::test]
async fn the_reason_in_an_error_object_reaches_the_ticket() {
    let silent = Fate {
        told: Told::Nothing,
        ..Fate::default()
    };
    let mut rig = rig(false, &[silent]).await;
    let id = rig.accept(timeout("pl_load", RUN)).await;
    rig.pass(minutes(2)).await;
    let report = include_str!("../../../fixtures/reports/k17-callback-error-object.json");
    call_back(&rig, &id, &serde_json::from_str(report).unwrap()).await;
    let ticket = rig.ticket(&id).await;
    let outcome = ticket.remediation.attempts[0].outcome.clone().unwrap();
    assert_eq!(
        outcome,
        "failed: An action failed. No dependent actions succeeded."
    );
}

#[tokio::test]
async fn the_request_carries_the_scope() {
    let mut rig = rig(true, &[]).await;
    let (_, calls) = told(&mut rig, timeout("pl_load", RUN), minutes(5)).await;
    assert_eq!(calls, 1);
    let asked = rig.server.requests_to("POST", "/playbook");
    assert_eq!(asked[0].json()["scope"], OWN);
}

/// The alert of a report, as the door of Azure Monitor reads it.
fn alert(text: &str) -> Parsed {
    azure_monitor::parse(text.as_bytes()).unwrap()
}

/// K4 of the reports.
#[tokio::test]
async fn an_alert_of_another_factory_calls_nothing() {
    let report = include_str!("../../../fixtures/reports/k4-alert-of-another-factory.json");
    for (vendor, expected) in [
        (true, "where no playbook acts"),
        (false, "no configured scope"),
    ] {
        let mut rig = rig(vendor, &[]).await;
        let (flow, now) = (&rig.simulation.flow, rig.simulation.now);
        let accepted = flow.accept(alert(report), now).await.unwrap();
        rig.pass(minutes(5)).await;
        assert_eq!(rig.vendors.state().calls.len(), 0);
        let ticket = rig.ticket(&accepted.ticket_id.unwrap()).await;
        let healing = ticket.remediation;
        let asked = healing.approval.map(|asked| asked.why).unwrap_or_default();
        let why = format!("{} {asked}", healing.decision);
        assert!(why.contains(expected), "{why}");
    }
}

/// K21 of the reports: the factory does not know the run, whatever its pipeline is called.
#[tokio::test]
async fn an_alert_about_a_run_that_the_factory_does_not_know_calls_nothing() {
    let report = include_str!("../../../fixtures/reports/k21-adf-pipeline-name-no-text.json");
    for name in [
        "Rate limit exceeded report",
        "Gateway timeout statistics",
        "Sync throttling metrics",
        "503 ServerBusy",
    ] {
        let mut rig = rig(true, &[]).await;
        let run = "2f7fdb90-5df1-4b8e-ac2f-064cfa582003";
        rig.vendors.state().lost.insert(run.to_owned());
        let text = report.replace("Rate limit exceeded report", name);
        let (flow, now) = (&rig.simulation.flow, rig.simulation.now);
        flow.accept(alert(&text), now).await.unwrap();
        rig.pass(minutes(5)).await;
        assert_eq!(rig.vendors.state().calls.len(), 0, "{name}");
    }
}

/// K23 of the reports: an alert whose runs nobody could name is acted on by nobody.
#[tokio::test]
async fn an_alert_without_runs_calls_nothing() {
    let fixture = include_str!("../../../fixtures/vendor/azmon-logv2-adf-fired-no-dimensions.json");
    for rule in ["ADF 503 ServerBusy", "Gateway timeout", "throttling (429)"] {
        let mut rig = rig(true, &[]).await;
        let mut body: serde_json::Value = serde_json::from_str(fixture).unwrap();
        body["data"]["essentials"]["alertRule"] = json!(rule);
        let (flow, now) = (&rig.simulation.flow, rig.simulation.now);
        let accepted = flow.accept(alert(&body.to_string()), now).await.unwrap();
        assert_eq!(accepted.ticket_id, None);
        rig.pass(minutes(30)).await;
        assert_eq!(rig.vendors.state().calls.len(), 0, "{rule}");
        let flow = &rig.simulation.flow;
        let tickets = flow.store.recent(rig.simulation.now, 1, 10).await.unwrap();
        assert_eq!(tickets.len(), 1, "it is not lost");
        assert!(tickets[0].remediation.attempts.is_empty());
    }
}
