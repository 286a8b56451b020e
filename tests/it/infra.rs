//! What no compiler of Bicep knows: names in the templates are the names in the code, and everything that is decided
//! there is decided as it is meant. The templates are read by checkov's own parser (`tests/it/support/bicep.rs`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aiops_rca::config::{PLAYBOOKS, SETTINGS};
use regex::Regex;
use serde_json::{Value, json};
use simulators::logic_app::SHIPPED;

use crate::support::bicep::{self, call, name};

mod azd;
mod compiler;
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

const MAIN: &str = "infra/main.bicep";
const ALERTS: &str = "infra/alerts.bicep";
const STORAGE: &str = "infra/modules/storage.bicep";
const FUNCTION: &str = "infra/modules/function.bicep";
const WATCHER: &str = "infra/modules/watcher.bicep";
const WORKFLOW: &str = "infra/playbooks/workflow.bicep";
const PLAYBOOKS_FILE: &str = "infra/playbooks/playbooks.bicep";

fn binding(function: &str) -> Value {
    let path = format!("functions/{function}/function.json");
    serde_json::from_str::<Value>(&read(&path)).unwrap()["bindings"][0].clone()
}

/// The app package is made, names the bot, and asks for nothing but what the docs say.
#[test]
fn the_teams_app_package_names_the_bot() {
    let bot = "11111111-aaaa-bbbb-cccc-222222222222";
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("teams-app.zip");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/teams-app");
    let made = std::process::Command::new("python3")
        .arg(&script)
        .args([bot, path.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let show = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; print(z.read('manifest.json').decode()); \
                assert all(z.read(n)[:8] == b'\\x89PNG\\r\\n\\x1a\\n' for n in ('color.png', 'outline.png'))";
    let shown = std::process::Command::new("python3")
        .args(["-c", show, path.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(
        shown.status.success(),
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    let manifest: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(manifest["bots"][0]["botId"], bot);
    assert_eq!(manifest["bots"][0]["scopes"], serde_json::json!(["team"]));
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    let asked = &manifest["authorization"]["permissions"]["resourceSpecific"];
    assert_eq!(asked.as_array().unwrap().len(), 1);
    assert_eq!(asked[0]["name"], "ChannelMessage.Read.Group");
    let refused = std::process::Command::new("python3")
        .arg(&script)
        .arg("nonsense")
        .output();
    assert!(!refused.unwrap().status.success());
}

#[test]
fn tables_and_queues_exist_under_the_names_of_the_code() {
    for (what, names, pattern) in [
        (
            "table",
            &aiops_rca::ticket::store::TABLES[..],
            "${prefix}${tableName}",
        ),
        ("queue", &aiops_rca::flow::QUEUES, "${prefix}-${queueName}"),
    ] {
        let made = &bicep::template(STORAGE)["resources"][what]["config"];
        assert_eq!(made["each"]["name"], pattern);
        let list = format!("{what}s");
        assert_eq!(made["in"], name(&list));
        assert_eq!(bicep::texts(bicep::variable(STORAGE, &list)), names);
    }
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
    assert_eq!(*bicep::default(MAIN, "storagePrefix"), default);
}

#[test]
fn the_account_names_keep_the_rules_of_the_vendors() {
    // 3 to 24 lower-case letters and digits; a vault may have dashes as well.
    let take = |of: Value| call("take", &[of, json!(24)]);
    let letters = json!("${replace(name, '-', '')}${suffix}");
    let storage = take(call("to_lower", &[letters]));
    assert_eq!(*bicep::variable(MAIN, "storageName"), storage);
    let vault = take(json!("${name}-${suffix}"));
    assert_eq!(*bicep::variable(MAIN, "vaultName"), vault);
}

/// What `node` adds to the app settings: objects, unions, choices, and variables that hold such.
fn collect(node: &Value, settings: &mut BTreeMap<String, Value>) {
    if let Some(variable) = node.get("$") {
        if variable != "extraSettings" {
            collect(bicep::variable(MAIN, bicep::text(variable)), settings);
        }
    } else if node["call"] == "union" {
        let parts = node["with"].as_array().unwrap();
        for part in parts {
            collect(part, settings);
        }
    } else if node.get("then").is_some() {
        collect(&node["then"], settings);
        collect(&node["else"], settings);
    } else {
        let pairs = node.as_object().unwrap().clone();
        settings.extend(pairs);
    }
}

/// Name → value of every app setting that main.bicep makes.
fn app_settings() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    collect(&bicep::parameters(MAIN, "settings")["settings"], &mut found);
    assert!(found.len() > 40, "{found:#?}");
    found
}

#[test]
fn app_settings_are_settings_of_the_code() {
    // The host reads these, and the C library the last.
    let others = [
        "AzureWebJobsStorage__credential",
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
        "MALLOC_ARENA_MAX",
    ];
    let known: BTreeSet<&str> = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .chain(others)
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
    // What a parameter sets wins over extraSettings.
    let union = bicep::calls(&bicep::parameters(MAIN, "settings")["settings"], "union");
    assert_eq!(union[0][0], name("extraSettings"));
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
    let vault = bicep::parameters(MAIN, "vault")["secrets"]
        .as_object()
        .unwrap();
    let mut made = set(vault.keys().cloned());
    made.extend(
        playbooks()
            .into_iter()
            .map(|(_, given)| bicep::text(&given["setting"]).to_owned()),
    );
    for (setting, value) in app_settings() {
        let secret = SETTINGS
            .iter()
            .any(|known| known.name == setting && known.secret);
        let reference = format!("${{secret}}{})", setting.replace('_', "-"));
        assert_eq!(value == reference, secret, "{setting}: {value}");
        assert!(!secret || made.contains(&setting), "{setting} is not made");
    }
    for (path, resource, from) in [
        ("infra/modules/vault.bicep", "secret", "entry.key"),
        (WORKFLOW, "url", "setting"),
    ] {
        let dashed = call("replace", &[name(from), json!("_"), json!("-")]);
        assert_eq!(bicep::resource(path, resource)["name"], dashed);
    }
}

#[test]
fn secure_parameters_are_marked_and_read_from_the_environment_only() {
    let declared = bicep::template(MAIN)["parameters"].as_object().unwrap();
    let marked = |parameter: &Value, mark: &str| {
        let decorators = parameter["decorators"].as_array().unwrap();
        decorators.iter().any(|decorator| decorator["type"] == mark)
    };
    let secure = declared
        .iter()
        .filter(|(_, parameter)| marked(parameter, "secure"));
    let secure: Vec<&String> = secure.map(|(parameter, _)| parameter).collect();
    assert!(secure.len() >= 9);
    let values = read("infra/main.bicepparam");
    for parameter in secure {
        assert!(
            values.contains(&format!("param {parameter} = readEnvironmentVariable('")),
            "{parameter}"
        );
    }
    // The parser does not read parameter files, and a knob that is left at its default stands there in a comment.
    let given = set(all(&values, r"(?m)^(?:// )?param (\w+) ="));
    assert_eq!(
        set(declared.keys().cloned()),
        given,
        "every knob is in the parameters file, and no other"
    );
    for (parameter, declared) in declared {
        assert!(
            marked(declared, "description"),
            "{parameter} is not explained"
        );
    }
}

/// The playbooks' modules: the name of the definition's file, and what the module is given.
fn playbooks() -> Vec<(String, &'static Value)> {
    let modules = bicep::template(PLAYBOOKS_FILE)["modules"]
        .as_object()
        .unwrap();
    let workflows = modules
        .iter()
        .filter(|(_, module)| module["detail"]["path"] == "workflow.bicep");
    workflows
        .map(|(module, _)| {
            let given = bicep::parameters(PLAYBOOKS_FILE, module);
            let file = bicep::calls(&given["definition"], "load_json_content");
            let file = bicep::text(&file[0][0]).trim_end_matches(".json");
            (file.to_owned(), given)
        })
        .collect()
}

/// The names in an object, or in a union of objects and of variables that hold one.
fn names_in(path: &str, node: &Value) -> BTreeSet<String> {
    if let Some(variable) = node.get("$") {
        return names_in(path, bicep::variable(path, bicep::text(variable)));
    }
    if node["call"] == "union" {
        let parts = node["with"].as_array().unwrap();
        return parts.iter().flat_map(|part| names_in(path, part)).collect();
    }
    set(node.as_object().unwrap().keys().cloned())
}

#[test]
fn each_playbook_is_deployed_with_its_parameters_under_its_setting() {
    let mut settings = BTreeSet::new();
    let mut names = BTreeSet::new();
    let always = json!({"callbackBase": {"value": name("callbackBase")}, "runMinutes": {"value": name("runMinutes")}});
    let workflow = &bicep::resource(WORKFLOW, "workflow")["properties"];
    let union = call("union", &[name("values"), always]);
    assert_eq!(workflow["parameters"], union);
    for (file, module) in playbooks() {
        settings.insert(bicep::text(&module["setting"]).to_owned());
        assert_eq!(module["name"], format!("${{name}}-{file}"));
        let (_, text) = SHIPPED
            .iter()
            .find(|(name, _)| *name == file)
            .unwrap_or_else(|| panic!("{file} is not shipped"));
        let mut given = names_in(PLAYBOOKS_FILE, &module["values"]);
        given.extend(["callbackBase".to_owned(), "runMinutes".to_owned()]);
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
    let (route, level) = (
        binding("AzureMonitor")["route"].clone(),
        binding("AzureMonitor")["authLevel"].clone(),
    );
    assert_eq!((route, level), (json!("azure-monitor"), json!("function")));
    let door = "https://${app.properties.defaultHostName}/azure-monitor";
    assert_eq!(*bicep::variable(ALERTS, "door"), door);
    assert_eq!(
        bicep::variable(ALERTS, "receiver")["serviceUri"],
        "${door}?code=${uriComponent(key)}"
    );
    // The key of that one function.
    assert_eq!(
        bicep::resource(ALERTS, "app__azureMonitor")["name"],
        "AzureMonitor"
    );
    let key = bicep::variable(ALERTS, "key");
    assert!(
        bicep::walk(key).contains(&&json!([name("azureMonitor"), "listKeys"])),
        "{key}"
    );
    assert_eq!(
        binding("RemediationCallback")["route"],
        "remediation-callback"
    );
    assert_eq!(
        bicep::parameters(MAIN, "playbooks")["callbackBase"],
        "https://${functionApp.outputs.hostName}/remediation-callback?"
    );
    let host: Value = serde_json::from_str(&read("host.json")).unwrap();
    assert_eq!(host["extensions"]["http"]["routePrefix"], "");
    let app = bicep::resource(FUNCTION, "app");
    let runtime = &app["properties"]["functionAppConfig"]["runtime"];
    assert_eq!(*runtime, json!({"name": "custom", "version": "1.0"}));
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
    let set = bicep::keys(bicep::template(FUNCTION));
    assert!(
        properties.iter().all(|property| !set.contains(property)),
        "{set:?}"
    );
    let plan = &bicep::resource(FUNCTION, "plan")["sku"];
    assert_eq!(*plan, json!({"tier": "FlexConsumption", "name": "FC1"}));
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
    let id = Regex::new(r"^[0-9a-f]{8}-[0-9a-f]{4}-").unwrap();
    for (path, template) in bicep::templates() {
        for key in bicep::looked_up(template, "roles") {
            if let Some(role) = key.as_str() {
                used.insert(role.to_owned());
            } else {
                // The roles of a loop.
                let loops = bicep::walk(template).into_iter();
                let loops = loops.filter(|node| node["for"] == key["$"]);
                used.extend(loops.flat_map(|node| bicep::texts(&node["in"])));
            }
        }
        let texts = bicep::walk(template).into_iter().filter_map(Value::as_str);
        for text in texts {
            assert!(
                !id.is_match(text),
                "{path}: roles are given by name: {text}"
            );
        }
        used.extend(roles_by_property(template));
    }
    // No role that may change what is watched, and none that is not used.
    assert_eq!(used, set(roles.as_object().unwrap().keys().cloned()));
}

/// `roles.Reader`: names without blanks need no brackets.
fn roles_by_property(template: &Value) -> Vec<String> {
    let names = bicep::walk(template)
        .into_iter()
        .filter_map(|node| node.get("$")?.as_str());
    names
        .filter_map(|name| name.strip_prefix("roles."))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_file_that_bicep_loads_is_there() {
    for (path, template) in bicep::templates() {
        let folder = root().join(path);
        let folder = folder.parent().unwrap();
        let modules = template["modules"].as_object().into_iter().flatten();
        let modules = modules.map(|(_, module)| bicep::text(&module["detail"]["path"]));
        let loaded =
            ["load_json_content", "load_text_content"].map(|load| bicep::calls(template, load));
        let loaded = loaded.iter().flatten().map(|given| bicep::text(&given[0]));
        for file in modules.chain(loaded) {
            assert!(folder.join(file).is_file(), "{path}: {file}");
        }
    }
}

#[test]
fn nothing_is_opened_by_a_shared_key() {
    let account = &bicep::resource(STORAGE, "account")["properties"];
    assert_eq!(account["allowSharedKeyAccess"], false);
    assert_eq!(account["allowBlobPublicAccess"], false);
    let insights = bicep::resource("infra/modules/monitoring.bicep", "insights");
    assert_eq!(insights["properties"]["DisableLocalAuth"], true);
    assert_eq!(
        bicep::resource(FUNCTION, "app")["properties"]["httpsOnly"],
        true
    );
    for (path, template) in bicep::templates() {
        let text = template.to_string();
        assert!(!text.contains("AccountKey"), "{path}");
        // The one key that is read is that of a function.
        assert_eq!(text.contains("listKeys"), path == ALERTS, "{path}");
    }
}

#[test]
fn diagnostic_settings_are_resource_specific_and_hold_the_guides_categories() {
    for (file, resource, categories) in [
        (
            "data-factory",
            "runs",
            ["PipelineRuns", "ActivityRuns", "TriggerRuns"],
        ),
        ("databricks", "audit", ["clusters", "jobs", "notebook"]),
    ] {
        let made = &bicep::resource(&format!("infra/modules/{file}.bicep"), resource)["properties"];
        assert_eq!(made["logAnalyticsDestinationType"], "Dedicated", "{file}");
        let logs = categories.map(|category| json!({"category": category, "enabled": true}));
        assert_eq!(made["logs"], json!(logs), "{file}");
    }
}

/// A new door is either behind the sign-in or left alone by it; which, its row in the table says.
#[test]
fn the_sign_in_leaves_alone_the_doors_that_have_locks_of_their_own() {
    use aiops_rca::functions::{Door, Trigger};
    let path = "infra/modules/authentication.bicep";
    let list = bicep::texts(bicep::variable(path, "doorsWithLocksOfTheirOwn"));
    let routes = Door::ALL
        .into_iter()
        .filter_map(|door| match door.trigger() {
            Trigger::Http { route, .. } if !matches!(door.name(), "Dashboard" | "Api") => {
                Some(format!("/{route}"))
            }
            _ => None,
        });
    assert_eq!(list, routes.collect::<Vec<_>>());
    let validation = &bicep::resource(path, "authentication")["properties"]["globalValidation"];
    assert_eq!(
        validation["excludedPaths"],
        name("doorsWithLocksOfTheirOwn")
    );
    assert_eq!(validation["requireAuthentication"], false);
}

#[test]
fn playbooks_are_started_by_the_app_alone_unless_signed_urls_are_asked_for() {
    let policy = &bicep::variable(WORKFLOW, "tokenPolicy")["triggers"];
    assert_eq!(policy["sasAuthenticationPolicy"]["state"], "Disabled");
    let policies = policy["openAuthenticationPolicies"]["policies"]
        .as_object()
        .unwrap();
    assert_eq!(policies.len(), 1);
    let claims = policies["app"]["claims"].as_array().unwrap();
    for claim in [("oid", "callerObjectId"), ("aud", "audience")] {
        let claim = json!({"name": claim.0, "value": name(claim.1)});
        assert!(claims.contains(&claim), "{claim}");
    }
    let chosen = &bicep::resource(WORKFLOW, "workflow")["properties"]["accessControl"];
    let tokens =
        json!({"if": name("entraOnly"), "then": call("any", &[name("tokenPolicy")]), "else": {}});
    assert_eq!(*chosen, tokens);
    assert_eq!(*bicep::default(MAIN, "playbookAccess"), "entra");
    let given = bicep::parameters(MAIN, "playbooks");
    let entra = json!({"op": "equals", "of": [name("playbookAccess"), "entra"]});
    let principal =
        json!({"if": entra, "then": name("identity.properties.principalId"), "else": ""});
    assert_eq!(given["callerObjectId"], principal);
    // The token is asked for with the audience that the policy names.
    let audience = json!({"call": "environment", "with": [], "of": "resourceManager"});
    assert_eq!(given["audience"], audience);
    assert_eq!(app_settings()["PLAYBOOK_AUDIENCE"], audience);
    assert_eq!(playbooks().len(), PLAYBOOKS.len());
    for (file, given) in playbooks() {
        assert_eq!(given["callerObjectId"], name("callerObjectId"), "{file}");
        assert_eq!(given["audience"], name("audience"), "{file}");
    }
}

/// Two deployments in one group, and what people made after the guide, keep their own objects.
#[test]
fn names_are_the_deployments_own() {
    for (file, given) in playbooks() {
        assert_eq!(given["name"], format!("${{name}}-{file}"));
    }
    // Databricks' list of identities names them as they are deployed.
    let listed = bicep::variable(PLAYBOOKS_FILE, "databricksPrincipals")
        .as_array()
        .unwrap();
    for identity in listed {
        assert!(
            bicep::text(&identity["name"]).starts_with("${name}-"),
            "{identity}"
        );
    }
    for (path, resource) in [
        ("infra/modules/data-factory.bicep", "runs"),
        ("infra/modules/databricks.bicep", "audit"),
    ] {
        let made = bicep::resource(path, resource);
        assert_eq!(
            made["name"], "aiops-rca-${uniqueString(toLower(workspaceId))}",
            "{path}"
        );
    }
    let (rule, group) = (
        bicep::resource(ALERTS, "rule"),
        bicep::resource(ALERTS, "actionGroup"),
    );
    assert_eq!(rule["name"], "${name}-${entry.name}");
    assert_eq!(group["name"], "${name}-webhook");
    // All rules are always deployed: one that is switched off later is disabled.
    assert_eq!(rule["properties"]["enabled"], name("entry.enabled"));
    assert!(bicep::condition(ALERTS, "resources", "rule").is_null());
    let watch = bicep::resource(WATCHER, "rule");
    assert_eq!(watch["name"], "${name}-${entry.name}");
    for (path, resource, role) in [
        (
            "infra/modules/data-factory.bicep",
            "runReader",
            "run reader",
        ),
        (
            "infra/playbooks/pipeline-runner.bicep",
            "runner",
            "pipeline runner",
        ),
    ] {
        let made = bicep::resource(path, resource);
        let id = call("guid", &[name("factory.id"), name("owner"), json!(role)]);
        assert_eq!(made["name"], id);
        let title = format!("aiops-rca {role} (${{owner}}, ${{uniqueString(factory.id)}})");
        assert_eq!(made["properties"]["roleName"], title);
        let none = call("empty", &[name("roleId")]);
        assert_eq!(*bicep::condition(path, "resources", resource), none);
    }
}

/// Costs that nobody asked for are off, and the watcher's own watch is on where there is an address.
#[test]
fn noise_is_off_and_the_watcher_is_watched() {
    assert_eq!(*bicep::default(MAIN, "hostLogs"), false);
    assert_eq!(
        *bicep::condition(FUNCTION, "resources", "logs"),
        name("hostLogs")
    );
    let blobs = &bicep::resource(STORAGE, "blobs")["properties"];
    assert_eq!(blobs["isVersioningEnabled"], false);
    assert_eq!(blobs["deleteRetentionPolicy"]["enabled"], true);
    let kinds = bicep::template(STORAGE)["resources"].as_object().unwrap();
    let kinds = kinds
        .values()
        .map(|resource| bicep::text(&resource["type"]));
    assert!(
        kinds
            .into_iter()
            .all(|kind| !kind.ends_with("managementPolicies"))
    );
    let given = call("empty", &[name("operatorEmail")]);
    let wanted = bicep::condition(MAIN, "modules", "watcher");
    assert_eq!(*wanted, json!({"op": "not", "of": [given]}));
    assert_eq!(*bicep::default(MAIN, "watcherAlerts"), true);
    let watcher = bicep::keys(bicep::template(WATCHER));
    assert!(watcher.contains("emailReceivers") && !watcher.contains("webhookReceivers"));
    let rules = bicep::calls(bicep::variable(WATCHER, "rules"), "load_text_content");
    assert_eq!(rules.len(), 5);
    for query in rules {
        assert!(
            bicep::text(&query[0]).starts_with("../queries/watch-"),
            "{query:?}"
        );
    }
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
    for path in bicep::templates().keys() {
        assert!(!read(path).contains("checkov:skip"), "{path}");
    }
}

/// A fresh subscription has few providers registered: who deploys must know which are needed.
#[test]
fn the_providers_of_all_resources_are_named_in_the_documentation() {
    let docs = read("docs/deployment.md");
    let (_, begin) = docs.split_once("## Before you begin").unwrap();
    let begin = begin.split("\n## ").next().unwrap();
    for (path, template) in bicep::templates() {
        for resource in template["resources"].as_object().into_iter().flatten() {
            let kind = bicep::text(&resource.1["type"]);
            let provider = kind.split('/').next().unwrap();
            let existing = resource.1["existing"] == true;
            // Every subscription has this one, and nobody removes it.
            if provider != "Microsoft.Authorization" && !existing {
                assert!(
                    begin.contains(&format!("`{provider}`")),
                    "{path}: {provider}"
                );
            }
        }
    }
}
