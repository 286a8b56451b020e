//! Several factories, workspaces and deployments: each entry works or is a named problem; rules may name a scope.

use aiops_rca::config::Config;
use aiops_rca::failure::{Scope, Source};
use aiops_rca::remediation::AssetPolicy;

use super::{problems, read};

const SYNAPSE: &str =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Synapse/workspaces/syn-prod";

fn factory(name: &str) -> String {
    format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.DataFactory/factories/{name}")
}

const IDENTITY: [(&str, &str); 2] = [
    ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token"),
    ("IDENTITY_HEADER", "h"),
];

fn with_identity(settings: &[(&str, &str)]) -> Config {
    let all: Vec<(&str, &str)> = IDENTITY.iter().chain(settings).copied().collect();
    read(&all)
}

/// `name` of those that the playbooks serve, `(name)` of the others.
fn scopes(config: &Config, source: Source) -> Vec<String> {
    let label = |scope: &Scope| {
        if scope.served {
            scope.name.clone()
        } else {
            format!("({})", scope.name)
        }
    };
    let mut scopes = config.vendors.scopes();
    scopes.retain(|scope| scope.source == source);
    scopes.iter().map(label).collect()
}

#[test]
fn further_factories_and_synapse_workspaces_stand_beside_the_single_one() {
    let list = format!("{}, {SYNAPSE},{}", factory("adf-dev"), factory("adf-prod"));
    let single = [
        ("AZURE_SUBSCRIPTION_ID", "s"),
        ("AZURE_RESOURCE_GROUP", "g"),
        ("AZURE_DATA_FACTORY_NAME", "adf-prod"),
        ("AZURE_DATA_FACTORIES", list.as_str()),
    ];
    let config = with_identity(&single);
    assert_eq!(
        scopes(&config, Source::Adf),
        ["adf-prod", "(adf-dev)", "(syn-prod)"]
    );
    let mut named = single.to_vec();
    named.push(("PLAYBOOK_SCOPES", "adf-dev"));
    assert_eq!(
        scopes(&with_identity(&named), Source::Adf),
        ["adf-prod", "adf-dev", "(syn-prod)"]
    );
    named.pop();
    named.push(("PLAYBOOK_SCOPES", "*"));
    assert_eq!(
        scopes(&with_identity(&named), Source::Adf),
        ["adf-prod", "adf-dev", "syn-prod"]
    );
    // The only one is served, but no playbook that ships acts in a Synapse workspace.
    let only = factory("adf-two");
    let config = with_identity(&[("AZURE_DATA_FACTORIES", &only)]);
    assert_eq!(scopes(&config, Source::Adf), ["adf-two"]);
    let config = with_identity(&[("AZURE_DATA_FACTORIES", SYNAPSE)]);
    assert_eq!(scopes(&config, Source::Adf), ["(syn-prod)"]);
}

#[test]
fn workspaces_and_deployments_have_credentials_of_their_own() {
    let settings = [
        (
            "DATABRICKS_WORKSPACES",
            "https://adb-1.2.azuredatabricks.net,adb-3.4.azuredatabricks.net",
        ),
        ("DATABRICKS_TOKEN_ADB_1", "dapi1"),
        ("DATABRICKS_TOKEN_ADB_3", "dapi3"),
        (
            "AIRFLOW_DEPLOYMENTS",
            "prod-eu=https://airflow.example.com/eu, dev=https://dev.example.com",
        ),
        ("AIRFLOW_TOKEN_PROD_EU", "t"),
        ("AIRFLOW_USERNAME_DEV", "u"),
        ("AIRFLOW_PASSWORD_DEV", "p"),
        ("AIRFLOW_API_VERSION_DEV", "v1"),
    ];
    assert_eq!(problems(&settings), Vec::<&str>::new());
    let config = read(&settings);
    assert_eq!(scopes(&config, Source::Databricks), ["(adb-1)", "(adb-3)"]);
    assert_eq!(scopes(&config, Source::Airflow), ["(prod-eu)", "(dev)"]);
    let ids: Vec<String> = (config
        .wire()
        .unwrap()
        .collector
        .scopes(Source::Airflow)
        .into_iter())
    .map(|scope| scope.id)
    .collect();
    assert_eq!(ids, ["airflow.example.com/eu", "dev.example.com"]);
    let shown = format!("{config:?}");
    assert!(!shown.contains("dapi1") && !shown.contains("dapi3"));
}

#[test]
fn a_bad_entry_is_a_named_problem_and_the_others_work() {
    let list = format!("adf-dev,{},/subscriptions/s", factory("adf-prod"));
    let config = with_identity(&[
        ("AZURE_DATA_FACTORIES", &list),
        (
            "DATABRICKS_WORKSPACES",
            "http://adb-1.2.azuredatabricks.net,https://adb-3.4.azuredatabricks.net",
        ),
        (
            "AIRFLOW_DEPLOYMENTS",
            "https://airflow.example.com,dev=https://dev.example.com,prod=nonsense://x",
        ),
        ("PLAYBOOK_SCOPES", "adf-nowhere"),
    ]);
    assert_eq!(scopes(&config, Source::Adf), ["adf-prod"]);
    assert_eq!(scopes(&config, Source::Databricks), ["adb-3"]);
    assert_eq!(scopes(&config, Source::Airflow), ["dev"]);
    let told: Vec<String> = config.problems.iter().map(ToString::to_string).collect();
    for (name, entry) in [
        ("AZURE_DATA_FACTORIES: ", "entry 1 "),
        ("AZURE_DATA_FACTORIES: ", "entry 3 "),
        ("DATABRICKS_WORKSPACES: ", "entry 1 "),
        ("AIRFLOW_DEPLOYMENTS: ", "entry 1 "),
        ("AIRFLOW_DEPLOYMENTS: ", "entry 3 "),
        ("PLAYBOOK_SCOPES: ", "adf-nowhere"),
    ] {
        let start = format!("{name}{entry}");
        assert!(
            told.iter().any(|problem| problem.starts_with(&start)),
            "{start} is not among {told:#?}"
        );
    }
    // Without an identity or a token the workspace names the variable that it wants.
    let alone = read(&[(
        "DATABRICKS_WORKSPACES",
        "https://adb-1.2.azuredatabricks.net",
    )]);
    let told: Vec<String> = alone.problems.iter().map(ToString::to_string).collect();
    assert!(
        told.iter()
            .any(|problem| problem.contains("DATABRICKS_TOKEN_ADB_1")),
        "{told:#?}"
    );
}

#[test]
fn what_stands_before_the_first_slash_is_a_scope_only_if_one_is_called_so() {
    let scope = Scope {
        source: Source::Adf,
        id: factory("adf-prod").to_lowercase(),
        name: "adf-prod".to_owned(),
        served: true,
    };
    let scopes = [scope];
    let asset = |name: &str, scope: &str| aiops_rca::failure::Asset {
        source: Source::Adf,
        scope: scope.to_lowercase(),
        kind: aiops_rca::failure::AssetKind::Pipeline,
        name: name.to_owned(),
    };
    let rule = AssetPolicy::parse("ADF-prod/pl_load_*=never", &scopes).unwrap();
    assert!(rule.is_for(&asset("pl_load_sales", &factory("adf-prod"))));
    assert!(!rule.is_for(&asset("pl_load_sales", &factory("adf-dev"))));
    assert!(!rule.is_for(&asset("pl_other", &factory("adf-prod"))));
    let job = AssetPolicy::parse("team a/nightly*=never", &scopes).unwrap();
    assert!(job.is_for(&asset("team a/nightly load", "")));
    assert!(!job.is_for(&asset("nightly load", "")));
}
