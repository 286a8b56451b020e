//! Rights that suffice, and no more: every call of the program and of the playbooks against the roles of the templates.
//!
//! The program's calls are recorded by the simulators while it asks everything that it can ask; the playbooks' calls
//! are read from their definitions. A call without a right fails, and so does a right without a call.

#![expect(clippy::panic, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::path::Path;

use aiops_rca::failure::{AlertRef, Source};
use aiops_rca::patrol::{self, Memory, Question};
use aiops_rca::sources::{RowsOf, RowsRequest};
use regex::Regex;
use serde_json::{Value, json};
use simulators::identity::IdentitySite;
use simulators::logic_app::SHIPPED;
use simulators::rights::Call;
use simulators::{data_factory, databricks, log_analytics};

use super::{ADF_RUN, CLUSTER, JOB_RUN, Rig, adf, at, cluster, fixture, gap_of, job, now};
use crate::support::bicep;

const RUN_READER: (&str, &str) = ("infra/modules/data-factory.bicep", "runReader");
const RUNNER: (&str, &str) = ("infra/playbooks/pipeline-runner.bicep", "runner");
const MANAGEMENT: &str = "https://management.azure.com";
const DATABRICKS: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
const CHILD: &str = "11111111-5df1-4b8e-ac2f-064cfa58202b";

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The operations of the custom role in a template.
fn role((template, resource): (&str, &str)) -> BTreeSet<String> {
    let role = bicep::resource(template, resource);
    let actions = bicep::texts(&role["properties"]["permissions"][0]["actions"]);
    assert_eq!(
        role["properties"]["permissions"].as_array().unwrap().len(),
        1
    );
    actions.into_iter().collect()
}

/// One request as a vendor's table knows it: method and pieces below the resource.
type Asked = (String, Vec<String>);

fn find(table: &'static [Call], asked: &Asked) -> &'static Call {
    let pieces: Vec<&str> = asked.1.iter().map(String::as_str).collect();
    Call::find(table, &asked.0, &pieces)
        .unwrap_or_else(|| panic!("no right is known for {asked:?}: add it to CALLS"))
}

/// What the calls need and the role lacks; what the role has and no call needs.
fn compare(
    table: &'static [Call],
    calls: &BTreeSet<Asked>,
    role: &BTreeSet<String>,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let needed: BTreeSet<String> = calls
        .iter()
        .flat_map(|asked| find(table, asked).needs)
        .map(|right| (*right).to_owned())
        .collect();
    (&needed - role, role - &needed)
}

fn grant(rig: &Rig, rights: &BTreeSet<String>) {
    let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
    let token = IdentitySite::token_for(MANAGEMENT);
    rig.factory_site.rights.grant(&token, &rights);
}

fn rows(rows_of: RowsOf, run_id: Option<&str>) -> RowsRequest {
    RowsRequest {
        source: match rows_of {
            RowsOf::AdfRuns => Source::Adf,
            _ => Source::Databricks,
        },
        rows_of,
        from: Some(at("2026-07-27T09:00:00Z")),
        to: Some(at("2026-07-27T09:30:00Z")),
        asset: None,
        run_id: run_id.map(str::to_owned),
        resource: None,
        count: Some(1),
        severity: Some(3),
        alert: AlertRef {
            id: "alert-1".to_owned(),
            rule: None,
        },
    }
}

/// A factory with a failed run inside a failed run, and a workspace with a failed run on a cluster.
fn furnish(rig: &Rig) {
    let mut child = fixture("adf-pipelineruns-get-failed");
    child["runId"] = json!(CHILD);
    let mut nested = fixture("adf-queryactivityruns-failed-copy")["value"][0].clone();
    nested["activityType"] = json!("ExecutePipeline");
    nested["output"] = json!({"pipelineRunId": CHILD});
    rig.factory_site
        .put_run(fixture("adf-pipelineruns-get-failed"));
    rig.factory_site.put_run(child);
    rig.factory_site.put_activities(ADF_RUN, &[nested]);
    let mut run = fixture("dbx-runs-get-cluster-error");
    run["run_id"] = json!(JOB_RUN);
    for task in run["tasks"].as_array_mut().unwrap() {
        task["cluster_instance"] = json!({"cluster_id": CLUSTER});
    }
    rig.databricks_site.put_run(run);
    rig.databricks_site.put_pipeline("p-1", "sales");
    let update =
        json!({"update_id": "u-1", "state": "FAILED", "creation_time": "2026-07-27T09:10:00Z"});
    rig.databricks_site.put_update("p-1", update, &[]);
    let mut broken = fixture("dbx-clusters-get-driver");
    broken["cluster_id"] = json!(CLUSTER);
    rig.databricks_site.put_cluster(broken);
}

/// Everything that the program can ask its vendors; what is refused shows in the gaps.
async fn ask_everything(rig: &Rig) -> Vec<String> {
    let mut gaps = Vec::new();
    for failure in [adf(), job(), cluster(None)] {
        let collected = rig.collect(&failure).await;
        gaps.extend(collected.gaps.into_iter().map(|gap| gap.reason));
    }
    for (rows_of, run) in [
        (RowsOf::AdfRuns, None),
        (RowsOf::AdfRuns, Some(ADF_RUN)),
        (RowsOf::DatabricksJobs, None),
        (RowsOf::DatabricksJobs, Some(JOB_RUN)),
        (RowsOf::DatabricksClusters, None),
    ] {
        let expanded = rig.collector.expand(&rows(rows_of, run), now()).await;
        match expanded {
            Ok(expanded) => gaps.extend(expanded.gaps.into_iter().map(|gap| gap.reason)),
            Err(fault) => gaps.push(fault.reason().to_owned()),
        }
    }
    for (failure, action, run) in [
        (adf(), "retry_pipeline", ADF_RUN),
        (job(), "retry_job", JOB_RUN),
        (cluster(None), "restart_cluster", CLUSTER),
        (cluster(None), "reinstall_libraries", CLUSTER),
    ] {
        let outcome = rig.collector.outcome(&failure, run, None).await;
        gaps.extend(outcome.err().map(|fault| fault.reason().to_owned()));
        let found = rig
            .collector
            .find_attempt_run(&failure, action, "a1", now(), now())
            .await;
        gaps.extend(found.err().map(|fault| fault.reason().to_owned()));
    }
    gaps.extend(what_the_patrol_misses(rig).await);
    gaps.extend(doctor(rig).await.err());
    gaps
}

/// What the patrol misses in factory and workspace.
async fn what_the_patrol_misses(rig: &Rig) -> Vec<String> {
    let question = Question {
        since: at("2026-07-27T00:00:00Z"),
        from: at("2026-07-27T09:00:00Z"),
        to: now(),
        now: now(),
        narrow: false,
        deep: true,
        rare: true,
        memory: Memory {
            active: vec![JOB_RUN.to_owned()],
            ..Memory::default()
        },
    };
    let mut missed = Vec::new();
    for scope in rig.collector.every_scope() {
        let budget = std::time::Duration::from_secs(10);
        let answer = rig.collector.ended(&scope, &question, budget).await;
        missed.extend(answer.gaps);
        missed.extend(answer.fault.map(|fault| fault.reason().to_owned()));
        for unit in [(patrol::PIPELINE, "pl_sales"), (patrol::JOB, "1")] {
            let due = rig.collector.due(&scope, unit, now(), now()).await;
            missed.extend(due.err().map(|fault| fault.reason().to_owned()));
        }
        for run in [ADF_RUN, JOB_RUN] {
            let moved = rig.collector.moved(&scope, run, now()).await;
            let known = moved
                .err()
                .filter(|fault| fault.reason().contains("answered"));
            missed.extend(known.map(|fault| fault.reason().to_owned()));
        }
    }
    missed
}

/// What `doctor` says about factory and workspace.
async fn doctor(rig: &Rig) -> Result<String, String> {
    let factory = rig.collector.data_factory.first().unwrap();
    let workspace = rig.collector.databricks.first().unwrap();
    let [factory, workspace] = [factory.check(now()).await, workspace.check(now()).await];
    let said = [factory, workspace].map(|said| said.map_err(|fault| fault.reason().to_owned()));
    said.into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map(|said| said.join("\n"))
}

/// The recorded requests, each from the piece after `skip` others.
fn recorded(requests: Vec<simulators::Request>, skip: usize) -> BTreeSet<Asked> {
    let asked = |request: simulators::Request| {
        let pieces = request.segments().into_iter().skip(skip).collect();
        (request.method, pieces)
    };
    requests.into_iter().map(asked).collect()
}

fn factory_calls(rig: &Rig) -> BTreeSet<Asked> {
    recorded(rig.factory.requests(), 8)
}

fn workspace_calls(rig: &Rig) -> BTreeSet<Asked> {
    recorded(rig.databricks.requests(), 2)
}

/// Every literal of the pattern's groups in a folder's sources, tests left out.
fn literals(folder: &str, pattern: &str) -> BTreeSet<Vec<String>> {
    let pattern = Regex::new(pattern).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = BTreeSet::new();
    for entry in walkdir::WalkDir::new(folder) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            found.extend(pattern.captures_iter(&text).map(|captures| {
                let groups = captures.iter().skip(1).flatten();
                groups.map(|group| group.as_str().to_owned()).collect()
            }));
        }
    }
    found
}

/// Every call of an `Http` action whose address begins with one of these parameters.
fn playbook_calls(definition: &Value, host: &str, calls: &mut BTreeSet<Asked>) {
    let Some(actions) = definition.as_object() else {
        return;
    };
    let placeholder = Regex::new(r"@\{[^}]*\}").unwrap();
    for action in actions.values() {
        let uri = action["inputs"]["uri"].as_str().unwrap_or_default();
        if action["type"] == "Http"
            && let Some(path) = uri.strip_prefix(host)
        {
            let path = placeholder.replace_all(path, "value");
            let pieces = path.split('/').filter(|piece| !piece.is_empty());
            let method = action["inputs"]["method"].as_str().unwrap().to_owned();
            calls.insert((method, pieces.map(str::to_owned).collect()));
        }
        for inner in ["/actions", "/else/actions", "/default/actions"] {
            playbook_calls(action.pointer(inner).unwrap_or(&Value::Null), host, calls);
        }
        for case in action["cases"].as_object().into_iter().flatten() {
            playbook_calls(&case.1["actions"], host, calls);
        }
    }
}

/// The calls of these playbooks, or of all, to a host.
fn calls_of(names: &[&str], host: &str) -> BTreeSet<Asked> {
    let mut calls = BTreeSet::new();
    for (name, text) in SHIPPED {
        if names.is_empty() || names.contains(&name) {
            let definition: Value = serde_json::from_str(text).unwrap();
            playbook_calls(&definition["actions"], host, &mut calls);
        }
    }
    calls
}

const FACTORY_HOST: &str = "@{parameters('managementHost')}@{parameters('factoryId')}";
const WORKSPACE_HOST: &str = "@{parameters('databricksHost')}";

fn runner_calls() -> BTreeSet<Asked> {
    calls_of(&["retry-adf-pipeline", "rerun-upstream"], FACTORY_HOST)
}

#[tokio::test]
async fn the_program_may_ask_everything_it_asks_and_nothing_else() {
    let rig = Rig::new().await;
    furnish(&rig);
    let role = role(RUN_READER);
    grant(&rig, &role);
    let gaps = ask_everything(&rig).await;
    assert!(!gaps.iter().any(|gap| gap.contains("403")), "{gaps:#?}");
    let calls = factory_calls(&rig);
    // Nothing that the client can ask was left out.
    let written = literals(
        "src/evidence/data_factory",
        r#"\["([A-Za-z]+)"(?:,\s*&?(?:[a-z_]+\.?)+(?:\(\))?)?(?:,\s*"([A-Za-z]+)")?,?\s*\]"#,
    );
    assert!(written.len() >= 3, "{written:?}");
    // Synapse workspaces put the pipeline's name before a run; they have rights of their own.
    for words in written.into_iter().filter(|words| words[0] != "pipelines") {
        let asked = |asked: &Asked| {
            let words = words.iter();
            asked.1.first() == words.clone().next()
                && words
                    .clone()
                    .last()
                    .is_none_or(|last| asked.1.contains(last))
        };
        assert!(
            calls.iter().any(asked),
            "{words:?} was not asked: {calls:?}"
        );
    }
    let (missing, unused) = compare(data_factory::CALLS, &calls, &role);
    assert_eq!((missing, unused), <(BTreeSet<_>, BTreeSet<_>)>::default());
}

#[test]
fn the_playbooks_may_call_everything_they_call_and_nothing_else() {
    let calls = runner_calls();
    assert!(calls.len() >= 3, "{calls:?}");
    let nothing = <(BTreeSet<String>, BTreeSet<String>)>::default();
    assert_eq!(compare(data_factory::CALLS, &calls, &role(RUNNER)), nothing);
    // No other playbook speaks to the factory, and the two are given the role.
    assert_eq!(calls, calls_of(&[], FACTORY_HOST));
    let given = bicep::parameters("infra/playbooks/playbooks.bicep", "runPipelines");
    let principals = json!({"retry": {"$": "retryAdfPipeline.outputs.principalId"},
        "upstream": {"$": "rerunUpstream.outputs.principalId"}});
    assert_eq!(given["principals"], principals);
}

#[test]
fn the_roles_of_before_lack_exactly_the_actions() {
    let all_calls: BTreeSet<Asked> = [
        ("GET", vec![]),
        ("GET", vec!["pipelineruns", "value"]),
        ("POST", vec!["queryPipelineRuns"]),
        ("POST", vec!["pipelineruns", "value", "queryActivityruns"]),
    ]
    .into_iter()
    .map(|(method, pieces)| {
        (
            method.to_owned(),
            pieces.into_iter().map(str::to_owned).collect(),
        )
    })
    .collect();
    let of = |names: &[&str]| -> BTreeSet<String> {
        let full = |name: &&str| format!("Microsoft.DataFactory/factories/{name}");
        names.iter().map(full).collect()
    };
    // The built-in Reader holds every read and no action.
    let reader = of(&[
        "read",
        "pipelineruns/read",
        "querypipelineruns/read",
        "pipelineruns/queryactivityruns/read",
    ]);
    let (missing, _) = compare(data_factory::CALLS, &all_calls, &reader);
    assert_eq!(
        missing,
        of(&[
            "querypipelineruns/action",
            "pipelineruns/queryactivityruns/action"
        ])
    );
    let runner = of(&[
        "pipelineruns/read",
        "querypipelineruns/read",
        "pipelines/createrun/action",
    ]);
    let (missing, _) = compare(data_factory::CALLS, &runner_calls(), &runner);
    assert_eq!(missing, of(&["querypipelineruns/action"]));
}

#[tokio::test]
async fn each_operation_that_is_taken_from_a_role_is_missed_and_named() {
    let role = role(RUN_READER);
    for operation in &role {
        let rig = Rig::new().await;
        furnish(&rig);
        let less: BTreeSet<String> = role
            .iter()
            .filter(|held| *held != operation)
            .cloned()
            .collect();
        grant(&rig, &less);
        let said = doctor(&rig).await.unwrap_err();
        assert!(
            said.contains(&format!("lacks {operation} on the factory")),
            "{said}"
        );
        assert_eq!(said.matches("lacks").count(), 1, "{said}");
        let gaps = ask_everything(&rig).await;
        assert!(gaps.iter().any(|gap| gap.contains(operation)), "{gaps:#?}");
        let (missing, _) = compare(data_factory::CALLS, &factory_calls(&rig), &less);
        assert_eq!(missing, BTreeSet::from([operation.clone()]));
    }
    let runner = self::role(RUNNER);
    for operation in &runner {
        let less: BTreeSet<String> = runner
            .iter()
            .filter(|held| *held != operation)
            .cloned()
            .collect();
        let (missing, _) = compare(data_factory::CALLS, &runner_calls(), &less);
        assert_eq!(missing, BTreeSet::from([operation.clone()]));
    }
}

#[tokio::test]
async fn evidence_that_is_refused_is_a_gap_with_the_missing_operation() {
    let rig = Rig::new().await;
    furnish(&rig);
    let reader = BTreeSet::from(["Microsoft.DataFactory/factories/pipelineruns/read".to_owned()]);
    grant(&rig, &reader);
    let collected = rig.collect(&adf()).await;
    let gap = gap_of(&collected, "adf.activity_runs");
    assert!(
        gap.contains("lacks Microsoft.DataFactory/factories/pipelineruns/queryactivityruns/read"),
        "{gap}"
    );
    assert!(
        !gap.contains("cccc2222"),
        "object ids stay out of reasons: {gap}"
    );
}

#[tokio::test]
async fn every_call_to_a_workspace_has_its_permission_and_doctor_names_the_missing_ones() {
    let rig = Rig::new().await;
    furnish(&rig);
    ask_everything(&rig).await;
    let calls = workspace_calls(&rig);
    for words in literals(
        "src/evidence/databricks",
        r#""api/[0-9.]+/([a-z0-9/A-Z-]+)""#,
    ) {
        let pieces: Vec<&str> = words[0].split('/').collect();
        assert!(
            calls.iter().any(|asked| asked.1 == pieces),
            "{pieces:?} was not asked"
        );
    }
    let of_jobs = ["workspace access", "CAN VIEW"];
    let token = IdentitySite::token_for(DATABRICKS);
    for (held, named) in [
        (&[][..], &["Workspace access"][..]),
        (
            &of_jobs[..1],
            &["CAN VIEW on the job", "CAN ATTACH TO on the cluster"],
        ),
        (
            &of_jobs,
            &["CAN MANAGE RUN", "CAN ATTACH TO on the cluster"],
        ),
        (
            &["workspace access", "CAN VIEW", "CAN MANAGE RUN"],
            &["CAN ATTACH TO on the cluster"],
        ),
    ] {
        rig.databricks_site.rights.grant(&token, held);
        let said = doctor(&rig).await.unwrap_err();
        assert!(
            named.iter().all(|named| said.contains(named)),
            "{held:?}: {said}"
        );
    }
    let all = [
        "workspace access",
        "CAN VIEW",
        "CAN MANAGE RUN",
        "CAN ATTACH TO",
    ];
    rig.databricks_site.rights.grant(&token, &all);
    let said = doctor(&rig).await.unwrap();
    assert!(said.contains("its latest run could be read"), "{said}");
    let needed = calls
        .iter()
        .flat_map(|asked| find(databricks::CALLS, asked).needs);
    assert_eq!(
        needed.copied().collect::<BTreeSet<_>>(),
        BTreeSet::from(all)
    );
}

#[test]
fn the_playbooks_readme_names_the_permissions_that_their_calls_need() {
    let table = read("infra/playbooks/README.md");
    for (name, _) in SHIPPED {
        let row = table
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")))
            .unwrap();
        let calls: BTreeSet<Asked> = calls_of(&[name], WORKSPACE_HOST)
            .into_iter()
            .map(|(method, pieces)| (method, pieces[2..].to_vec()))
            .collect();
        let needs: BTreeSet<&str> = calls
            .iter()
            .flat_map(|asked| find(databricks::CALLS, asked).needs)
            .copied()
            .collect();
        for permission in ["CAN MANAGE RUN", "CAN RESTART", "CAN MANAGE"] {
            // The larger permission contains the smaller one.
            let named = row.contains(&format!("*{permission}*"));
            let contained = permission == "CAN RESTART" && needs.contains("CAN MANAGE");
            assert!(
                named == needs.contains(permission) || contained,
                "{name}: {permission}: {needs:?}"
            );
        }
    }
}

#[test]
fn built_in_roles_hold_what_is_asked_of_them() {
    // learn.microsoft.com/azure/role-based-access-control/built-in-roles, as far as it concerns these calls.
    let built_in = [
        ("Log Analytics Reader", "*/read"),
        (
            "Key Vault Secrets User",
            "Microsoft.KeyVault/vaults/secrets/getSecret/action",
        ),
    ];
    let needed = [
        (
            "infra/modules/workspace-reader.bicep",
            log_analytics::CALLS[0].needs[0],
        ),
        (
            "infra/playbooks/secret-reader.bicep",
            "Microsoft.KeyVault/vaults/secrets/getSecret/action",
        ),
    ];
    for ((role, holds), (template, operation)) in built_in.into_iter().zip(needed) {
        let end = holds.trim_start_matches('*');
        assert!(operation.ends_with(end), "{role} does not hold {operation}");
        let given = bicep::looked_up(bicep::template(template), "roles");
        assert_eq!(given, [role], "{template}");
    }
    // The one call of a playbook to the vault is for the one secret that is granted.
    let calls = calls_of(&[], "@{parameters('keyVaultHost')}");
    let secret = vec!["secrets".to_owned(), "value".to_owned()];
    assert_eq!(calls, BTreeSet::from([("GET".to_owned(), secret)]));
}
