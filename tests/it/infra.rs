//! The infrastructure as text: names in Bicep are the names in the code, and the rules' queries can run.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on should stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aiops_rca::config::{PLAYBOOKS, SETTINGS};
use regex::Regex;
use serde_json::{Value, json};
use simulators::logic_app::SHIPPED;

mod azd;
mod rules;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every match of the pattern's one group.
fn all(text: &str, pattern: &str) -> Vec<String> {
    Regex::new(pattern)
        .unwrap()
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .collect()
}

fn set(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    names.into_iter().collect()
}

fn bicep_files() -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(root().join("infra"))
        .into_iter()
        .map(|entry| entry.unwrap().into_path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "bicep")
        })
        .collect();
    files.sort();
    assert!(files.len() > 10);
    files
}

/// A Bicep array of plain texts: `var queues = ['a', 'b']`.
fn list(text: &str, name: &str) -> Vec<String> {
    let line = all(text, &format!(r"(?m)^var {name} = \[(.*)\]$"));
    all(&line[0], "'([^']*)'")
}

fn binding(function: &str) -> Value {
    let path = format!("functions/{function}/function.json");
    serde_json::from_str::<Value>(&read(&path)).unwrap()["bindings"][0].clone()
}

#[test]
fn tables_and_queues_exist_under_the_names_of_the_code() {
    let storage = read("infra/modules/storage.bicep");
    assert_eq!(list(&storage, "tables"), aiops_rca::ticket::store::TABLES);
    assert_eq!(list(&storage, "queues"), aiops_rca::flow::QUEUES);
    assert!(
        storage.contains("name: '${prefix}-${queueName}'")
            && storage.contains("name: '${prefix}${tableName}'")
    );
    let triggered: BTreeSet<String> = aiops_rca::flow::QUEUES
        .iter()
        .map(|queue| format!("%STORAGE_PREFIX%-{queue}"))
        .collect();
    let functions = walkdir::WalkDir::new(root().join("functions"))
        .min_depth(1)
        .max_depth(1);
    let names = functions
        .into_iter()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let bound = names
        .map(|name| binding(&name))
        .filter_map(|binding| binding["queueName"].as_str().map(str::to_owned));
    assert_eq!(set(bound), triggered);
    let default = SETTINGS
        .iter()
        .find(|setting| setting.name == "STORAGE_PREFIX")
        .unwrap()
        .default;
    assert!(
        read("infra/main.bicep").contains(&format!("param storagePrefix string = '{default}'"))
    );
}

#[test]
fn the_account_names_keep_the_rules_of_the_vendors() {
    let main = read("infra/main.bicep");
    // 3 to 24 lower-case letters and digits; a vault may have dashes as well.
    assert!(
        main.contains("var storageName = take(toLower('${replace(name, '-', '')}${suffix}'), 24)")
    );
    assert!(main.contains("var vaultName = take('${name}-${suffix}', 24)"));
}

/// Name → value text of every app setting that main.bicep makes.
fn app_settings() -> BTreeMap<String, String> {
    let main = read("infra/main.bicep");
    let blocks =
        Regex::new(r"(?ms)^var \w+Settings = (?:empty\(\w+\) \? \{\} : )?\{(.*?)\}$").unwrap();
    let pair = Regex::new(r"(?m)^\s*([A-Z][A-Za-z0-9_]+): (.+?)\s*$").unwrap();
    let found: BTreeMap<String, String> = blocks
        .captures_iter(&main)
        .flat_map(|block| {
            pair.captures_iter(&block[1])
                .map(|found| (found[1].to_owned(), found[2].to_owned()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(found.len() > 40, "{found:#?}");
    found
}

#[test]
fn app_settings_are_settings_of_the_code() {
    let host = [
        "AzureWebJobsStorage__credential",
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    ];
    let known: BTreeSet<&str> = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .chain(host)
        .collect();
    let unknown: Vec<String> = app_settings()
        .into_keys()
        .filter(|name| !known.contains(name.as_str()))
        .collect();
    assert_eq!(
        unknown,
        Vec::<String>::new(),
        "no such setting in src/config"
    );
}

/// What Azure or the stand-in host sets, and no deployment.
const OF_THE_PLATFORM: [&str; 9] = [
    "AzureWebJobsStorage",
    "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AIOPS_RCA_STORE",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "FUNCTIONS_CUSTOMHANDLER_PORT",
    "WEBSITE_AUTH_ENABLED",
    "AIOPS_RCA_LOCAL",
];

/// A deployment replaces all app settings: one that no parameter sets would be lost each time.
#[test]
fn every_setting_of_the_code_can_be_set_by_the_templates() {
    let made = app_settings();
    let rest: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| {
            !made.contains_key(setting.name) && !OF_THE_PLATFORM.contains(&setting.name)
        })
        .collect();
    let secrets: Vec<_> = rest.iter().filter(|setting| setting.secret).collect();
    assert!(
        secrets.is_empty(),
        "a secret needs a secure parameter and a place in the vault: {secrets:?}"
    );
    let main = read("infra/main.bicep");
    let union = &main[main.find("    settings: union(").unwrap()..];
    assert!(
        union.starts_with("    settings: union(\n      extraSettings,\n"),
        "what a parameter sets wins over extraSettings"
    );
    // The parameter file and the documentation list what goes into extraSettings.
    let wanted: Vec<String> = rest
        .iter()
        .map(|setting| format!("`{}`", setting.name))
        .collect();
    let docs = read("docs/deployment.md");
    let (_, list) = docs.split_once("<!-- extra settings -->").unwrap();
    let (list, _) = list.split_once("<!-- /extra settings -->").unwrap();
    assert_eq!(
        list.split_whitespace().collect::<Vec<_>>().join(" "),
        wanted.join(", "),
        "docs/deployment.md"
    );
    assert!(read("infra/main.bicepparam").contains("\nparam extraSettings = {}"));
}

#[test]
fn secrets_are_references_into_the_vault_to_secrets_that_are_made() {
    let vault = all(
        &read("infra/main.bicep"),
        r"(?m)^      ([A-Z_]+): [a-zA-Z]+$",
    );
    let playbooks = all(
        &read("infra/playbooks/playbooks.bicep"),
        r"setting: '([A-Z_]+)'",
    );
    let made: BTreeSet<String> = vault.into_iter().chain(playbooks).collect();
    for (name, value) in app_settings() {
        let secret = SETTINGS
            .iter()
            .any(|setting| setting.name == name && setting.secret);
        let reference = format!("'${{secret}}{})'", name.replace('_', "-"));
        assert_eq!(value == reference, secret, "{name}: {value}");
        assert!(!secret || made.contains(&name), "{name} is not made");
    }
    assert!(read("infra/modules/vault.bicep").contains("name: replace(entry.key, '_', '-')"));
    assert!(read("infra/playbooks/workflow.bicep").contains("name: replace(setting, '_', '-')"));
}

#[test]
fn secure_parameters_are_marked_and_read_from_the_environment_only() {
    let main = read("infra/main.bicep");
    let secure = all(&main, r"@secure\(\)\nparam (\w+)");
    assert!(secure.len() >= 9);
    let values = read("infra/main.bicepparam");
    for name in secure {
        assert!(
            values.contains(&format!("param {name} = readEnvironmentVariable('")),
            "{name}"
        );
    }
    let declared = set(all(&main, r"(?m)^param (\w+) "));
    let given = set(all(&values, r"(?m)^(?:// )?param (\w+) ="));
    assert_eq!(
        declared, given,
        "every knob is in the parameters file, and no other"
    );
    let described = all(&main, r"@description\(('[^\n]+')\)\n(?:@[^\n]+\n)*param ").len();
    assert_eq!(described, declared.len(), "every knob is explained");
}

#[test]
fn each_playbook_is_deployed_with_its_parameters_under_its_setting() {
    let bicep = read("infra/playbooks/playbooks.bicep");
    let modules =
        Regex::new(r"(?s)module \w+ 'workflow\.bicep' = if \([^)]*\) \{(.*?)\n\}").unwrap();
    let mut settings = BTreeSet::new();
    let mut names = BTreeSet::new();
    for module in modules.captures_iter(&bicep) {
        let file = all(&module[1], r"loadJsonContent\('([\w-]+)\.json'\)")[0].clone();
        settings.insert(all(&module[1], r"setting: '(\w+)'")[0].clone());
        assert!(module[1].contains(&format!("name: '${{name}}-{file}'")));
        let (_, text) = SHIPPED
            .iter()
            .find(|(name, _)| *name == file)
            .unwrap_or_else(|| panic!("{file} is not shipped"));
        let values = all(&module[1], r"(?m)^    values: (.+)$")[0].clone();
        let groups = all(&values, r"\b(\w+Parameters)\b");
        let texts: Vec<String> = groups
            .iter()
            .map(|group| {
                all(
                    &bicep,
                    &format!(r"(?ms)^var {group} = \{{(.*?)\}}\n(?:var|\n)"),
                )[0]
                .clone()
            })
            .collect();
        let given: BTreeSet<String> = texts
            .iter()
            .chain([&values])
            .flat_map(|text| all(text, r"(\w+): \{ value:"))
            .chain(["callbackBase".to_owned(), "runMinutes".to_owned()])
            .collect();
        let definition: Value = serde_json::from_str(text).unwrap();
        for (parameter, declared) in definition["parameters"].as_object().unwrap() {
            assert!(
                given.contains(parameter) || declared.get("defaultValue").is_some(),
                "{file}: {parameter} gets no value"
            );
        }
        for parameter in &given {
            assert!(
                definition["parameters"].get(parameter).is_some(),
                "{file} has no parameter {parameter}"
            );
        }
        names.insert(file);
    }
    assert_eq!(
        settings,
        set(PLAYBOOKS.iter().map(|(_, setting)| (*setting).to_owned()))
    );
    assert_eq!(
        names,
        set(SHIPPED.iter().map(|(name, _)| (*name).to_owned()))
    );
}

#[test]
fn routes_in_bicep_are_routes_of_functions() {
    let alerts = read("infra/alerts.bicep");
    let (route, level) = (
        binding("AzureMonitor")["route"].clone(),
        binding("AzureMonitor")["authLevel"].clone(),
    );
    assert_eq!((route, level), (json!("azure-monitor"), json!("function")));
    assert!(
        alerts.contains("var door = 'https://${app.properties.defaultHostName}/azure-monitor'")
    );
    assert!(
        alerts.contains("name: 'AzureMonitor'")
            && alerts.contains("var key = app::azureMonitor.listKeys().default")
    );
    assert_eq!(
        binding("RemediationCallback")["route"],
        "remediation-callback"
    );
    assert!(
        read("infra/main.bicep").contains(
            "callbackBase: 'https://${functionApp.outputs.hostName}/remediation-callback?'"
        )
    );
    let host: Value = serde_json::from_str(&read("host.json")).unwrap();
    assert_eq!(host["extensions"]["http"]["routePrefix"], "");
    assert!(
        read("infra/modules/function.bicep")
            .contains("runtime: { name: 'custom', version: '1.0' }")
    );
}

#[test]
fn nothing_is_set_that_flex_consumption_refuses() {
    // learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations
    let settings = [
        "ENABLE_ORYX_BUILD",
        "FUNCTIONS_EXTENSION_VERSION",
        "FUNCTIONS_WORKER_RUNTIME",
        "FUNCTIONS_WORKER_RUNTIME_VERSION",
        "FUNCTIONS_MAX_HTTP_CONCURRENCY",
        "FUNCTIONS_WORKER_PROCESS_COUNT",
        "FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED",
        "SCM_DO_BUILD_DURING_DEPLOYMENT",
        "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
        "WEBSITE_CONTENTOVERVNET",
        "WEBSITE_CONTENTSHARE",
        "WEBSITE_DNS_SERVER",
        "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
        "WEBSITE_RUN_FROM_PACKAGE",
        "WEBSITE_SKIP_CONTENTSHARE_VALIDATION",
        "WEBSITE_VNET_ROUTE_ALL",
    ];
    let properties = [
        "alwaysOn",
        "containerSize",
        "ftpsState",
        "functionAppScaleLimit",
        "healthCheckPath",
        "isReserved",
        "linuxFxVersion",
        "minimumElasticInstanceCount",
        "netFrameworkVersion",
        "preWarmedInstanceCount",
        "use32BitWorkerProcess",
        "vnetContentShareEnabled",
        "vnetImagePullEnabled",
        "vnetRouteAllEnabled",
    ];
    let made = app_settings();
    assert!(
        settings.iter().all(|setting| !made.contains_key(*setting)),
        "{made:#?}"
    );
    let app = read("infra/modules/function.bicep");
    assert!(
        properties
            .iter()
            .all(|property| !app.contains(&format!("{property}:"))),
        "{app}"
    );
    assert!(app.contains("tier: 'FlexConsumption', name: 'FC1'"));
}

#[test]
fn roles_are_given_by_name_and_every_name_is_known() {
    // learn.microsoft.com/azure/role-based-access-control/built-in-roles
    let documented = json!({
        "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
        "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
        "Log Analytics Reader": "73c42c96-874c-492b-b04d-ab87d138a893",
        "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    });
    let roles: Value = serde_json::from_str(&read("infra/modules/roles.json")).unwrap();
    assert_eq!(roles, documented);
    let mut used = BTreeSet::new();
    let id = Regex::new(r"'[0-9a-f]{8}-[0-9a-f]{4}-").unwrap();
    for path in bicep_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        used.extend(all(&text, r"roles\['([^']+)'\]"));
        used.extend(all(&text, r"roles\.([A-Z]\w+)"));
        used.extend(
            all(&text, r"for role in \[(.*)\]")
                .iter()
                .flat_map(|names| all(names, "'([^']+)'")),
        );
        assert!(
            !id.is_match(&text),
            "{}: roles are given by name",
            path.display()
        );
        assert!(
            !["Owner'", "'Contributor'", "Data Factory Contributor'"]
                .iter()
                .any(|role| text.contains(role) && !text.contains("Storage Blob Data Owner'"))
        );
    }
    assert_eq!(used, set(roles.as_object().unwrap().keys().cloned()));
}

#[test]
fn every_file_that_bicep_loads_is_there() {
    for path in bicep_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        for loaded in all(
            &text,
            r"(?:load\w+Content\(|^module \w+ |(?m:^module \w+ ))'([^']+)'",
        ) {
            assert!(
                path.parent().unwrap().join(&loaded).is_file(),
                "{}: {loaded}",
                path.display()
            );
        }
    }
}

#[test]
fn nothing_is_opened_by_a_shared_key() {
    let storage = read("infra/modules/storage.bicep");
    assert!(
        storage.contains("allowSharedKeyAccess: false")
            && storage.contains("allowBlobPublicAccess: false")
    );
    assert!(read("infra/modules/monitoring.bicep").contains("DisableLocalAuth: true"));
    assert!(read("infra/modules/function.bicep").contains("httpsOnly: true"));
    for path in bicep_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("AccountKey") && !text.contains(".listKeys().keys"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn diagnostic_settings_are_resource_specific_and_hold_the_guides_categories() {
    for (file, categories) in [
        (
            "data-factory",
            ["PipelineRuns", "ActivityRuns", "TriggerRuns"],
        ),
        ("databricks", ["clusters", "jobs", "notebook"]),
    ] {
        let text = read(&format!("infra/modules/{file}.bicep"));
        assert!(
            text.contains("logAnalyticsDestinationType: 'Dedicated'"),
            "{file}"
        );
        assert_eq!(all(&text, r"category: '(\w+)', enabled: true"), categories);
    }
}

/// A new door is either behind the sign-in or left alone by it; which, its row in the table says.
#[test]
fn the_sign_in_leaves_alone_the_doors_that_have_locks_of_their_own() {
    use aiops_rca::functions::{Door, Trigger};
    let authentication = read("infra/modules/authentication.bicep");
    let list = all(
        &authentication,
        r"(?s)var doorsWithLocksOfTheirOwn = \[(.*?)\]",
    )[0]
    .clone();
    let routes = Door::ALL
        .into_iter()
        .filter_map(|door| match door.trigger() {
            Trigger::Http { route, .. } if !matches!(door.name(), "Dashboard" | "Api") => {
                Some(format!("/{route}"))
            }
            _ => None,
        });
    assert_eq!(all(&list, "'([^']+)'"), routes.collect::<Vec<_>>());
    assert!(authentication.contains("excludedPaths: doorsWithLocksOfTheirOwn"));
    assert!(authentication.contains("requireAuthentication: false"));
}

#[test]
fn playbooks_are_started_by_the_app_alone_unless_signed_urls_are_asked_for() {
    let workflow = read("infra/playbooks/workflow.bicep");
    for wanted in [
        "sasAuthenticationPolicy: { state: 'Disabled' }",
        "{ name: 'oid', value: callerObjectId }",
        "{ name: 'aud', value: audience }",
        "accessControl: entraOnly ? any(tokenPolicy) : {}",
    ] {
        assert!(workflow.contains(wanted), "{wanted}");
    }
    let main = read("infra/main.bicep");
    assert!(main.contains("param playbookAccess string = 'entra'"));
    assert!(main.contains(
        "callerObjectId: playbookAccess == 'entra' ? identity.properties.principalId : ''"
    ));
    // The token is asked for with the audience that the policy names.
    assert!(main.contains("    audience: environment().resourceManager\n"));
    assert!(main.contains("  PLAYBOOK_AUDIENCE: environment().resourceManager\n"));
    let playbooks = read("infra/playbooks/playbooks.bicep");
    assert_eq!(
        playbooks
            .matches("    callerObjectId: callerObjectId\n")
            .count(),
        PLAYBOOKS.len()
    );
}

/// Two deployments in one group, and what people made after the guide, keep their own objects.
#[test]
fn names_are_the_deployments_own() {
    let named = |path: &str| all(&read(path), r"(?m)^ +name: '([^']+)'");
    for name in named("infra/playbooks/playbooks.bicep") {
        // Databricks' list of identities names them as they are deployed.
        assert!(name.starts_with("${name}-"), "{name}");
    }
    for path in [
        "infra/modules/data-factory.bicep",
        "infra/modules/databricks.bicep",
    ] {
        let text = read(path);
        assert!(
            text.contains("  name: 'aiops-rca-${uniqueString(toLower(workspaceId))}'"),
            "{path}"
        );
    }
    let alerts = read("infra/alerts.bicep");
    assert!(
        alerts.contains("    name: '${name}-${entry.name}'\n")
            && alerts.contains("  name: '${name}-webhook'\n")
    );
    // All rules are always deployed: one that is switched off later is disabled.
    assert!(alerts.contains("enabled: entry.enabled") && !alerts.contains("if (entry."));
    assert!(read("infra/modules/watcher.bicep").contains("    name: '${name}-${entry.name}'\n"));
    for (path, role) in [
        ("infra/modules/data-factory.bicep", "run reader"),
        ("infra/playbooks/pipeline-runner.bicep", "pipeline runner"),
    ] {
        let text = read(path);
        assert!(text.contains(&format!("name: guid(factory.id, owner, '{role}')")));
        assert!(text.contains(&format!(
            "roleName: 'aiops-rca {role} (${{owner}}, ${{uniqueString(factory.id)}})'"
        )));
        assert!(text.contains("if (empty(roleId))"));
    }
}

/// Costs that nobody asked for are off, and the watcher's own watch is on where there is an address.
#[test]
fn noise_is_off_and_the_watcher_is_watched() {
    let main = read("infra/main.bicep");
    assert!(main.contains("param hostLogs bool = false"));
    assert!(read("infra/modules/function.bicep").contains("= if (hostLogs) {"));
    let storage = read("infra/modules/storage.bicep");
    assert!(
        storage.contains("isVersioningEnabled: false") && !storage.contains("managementPolicies")
    );
    assert!(storage.contains("deleteRetentionPolicy: { enabled: true"));
    assert!(main.contains("module watcher 'modules/watcher.bicep' = if (!empty(operatorEmail))"));
    assert!(main.contains("param watcherAlerts bool = true"));
    let watcher = read("infra/modules/watcher.bicep");
    assert!(watcher.contains("emailReceivers") && !watcher.contains("webhookReceivers"));
    assert_eq!(
        watcher
            .matches("loadTextContent('../queries/watch-")
            .count(),
        5
    );
}

#[test]
fn checkov_skips_nothing_without_a_reason() {
    let config = read("infra/.checkov.yaml");
    let mut reasoned = false;
    for line in config
        .lines()
        .skip_while(|line| *line != "skip-check:")
        .skip(1)
    {
        if line.trim_start().starts_with('#') {
            reasoned = true;
        } else {
            assert!(reasoned && line.starts_with("  - CKV_AZURE_"), "{line}");
        }
    }
    for path in bicep_files() {
        assert!(
            !std::fs::read_to_string(path)
                .unwrap()
                .contains("checkov:skip")
        );
    }
}
