//! `azd up` as far as it is ours: what its steps name exists, and its last step waits, passes on and explains.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use regex::Regex;

use super::{all, read, root, set};
use crate::support::bicep;

const STEP: &str = "infra/deploy-alerts";

/// Parameter → variable, as the last step passes them to infra/alerts.bicep.
fn passed() -> Vec<(String, String)> {
    let pair = Regex::new(r#"\b(\w+)="\$\{?(\w+)(?::-)?\}?""#).unwrap();
    let step = read(STEP);
    let (_, parameters) = step.split_once("--parameters").unwrap();
    let pairs = pair.captures_iter(parameters);
    pairs
        .map(|pair| (pair[1].to_owned(), pair[2].to_owned()))
        .collect()
}

#[test]
fn every_step_names_files_outputs_and_parameters_that_exist() {
    let azd = read("azure.yaml");
    for run in all(&azd, r"(?m)^\s+run: (infra/\S+)$") {
        let mode = std::fs::metadata(root().join(&run)).unwrap().permissions();
        assert!(mode.mode() & 0o111 != 0, "{run} cannot be run");
    }
    assert!(azd.contains("run: infra/package") && azd.contains("run: infra/deploy-alerts"));
    // The zip that infra/package makes beside its folder.
    assert!(azd.contains("dist: target/functionapp.zip"));
    assert!(read("infra/package").contains("--target-dir target/functionapp"));
    assert!(
        azd.contains("azd config set alpha.language.custom on") && azd.contains("language: custom")
    );
    let tags = &bicep::resource("infra/modules/function.bicep", "app")["tags"];
    assert_eq!(tags["azd-service-name"], "aiops-rca");
    assert!(azd.contains("\n  aiops-rca:\n"));
    let outputs = &bicep::template("infra/main.bicep")["outputs"];
    let parameters = &bicep::template("infra/alerts.bicep")["parameters"];
    let step = read(STEP);
    let required = all(&step, r"(?s)for name in (.*?); do")[0].replace('\\', "");
    let required: BTreeSet<&str> = required.split_whitespace().collect();
    for name in &required {
        assert!(
            name.starts_with("AZURE_") || outputs.get(*name).is_some(),
            "{name} is no output of main"
        );
    }
    for (parameter, variable) in passed() {
        assert!(parameters.get(&parameter).is_some(), "{parameter}");
        // What may be absent comes from the environment, everything else from the deployment before.
        assert_ne!(
            required.contains(variable.as_str()),
            step.contains(&format!("${{{variable}:-}}"))
        );
    }
}

#[test]
fn the_document_deploys_the_alerts_with_the_same_values() {
    let readme = read("docs/deployment.md");
    let (_, third) = readme
        .split_once("--template-file infra/alerts.bicep")
        .unwrap();
    let third = third.split("```").next().unwrap();
    let by_hand = set(all(third, r"(\w+)="));
    let by_azd: BTreeSet<String> = passed()
        .into_iter()
        .map(|(parameter, _)| parameter)
        .collect();
    let optional = BTreeSet::from([
        "secureWebhookObjectId".to_owned(),
        "secureWebhookIdentifierUri".to_owned(),
    ]);
    assert_eq!(by_hand, &by_azd - &optional);
}

/// Runs the last step with a stand-in for the Azure CLI, which writes down its calls, and for `sleep`.
fn run(az: Option<&str>, left_out: &str) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls");
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        let text = format!("#!/bin/sh\necho {name} \"$@\" >> 'CALLS'\n{text}\n");
        std::fs::write(&path, text.replace("CALLS", &calls.display().to_string())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    put("sleep", "");
    if let Some(az) = az {
        put("az", az);
    }
    let found = ["/usr/bin", "/bin"].map(|place| Path::new(place).join("dirname"));
    let found = found.iter().find(|path| path.exists()).unwrap();
    std::os::unix::fs::symlink(found, folder.path().join("dirname")).unwrap();
    let mut command = std::process::Command::new("/bin/sh");
    command
        .arg(root().join(STEP))
        .env_clear()
        .env("PATH", folder.path());
    for (name, value) in [
        ("AZURE_SUBSCRIPTION_ID", "subscription"),
        ("AZURE_RESOURCE_GROUP", "rg"),
        ("namePrefix", "rca-two"),
        ("functionAppName", "rca-two-app"),
        ("workspaceId", "/subscriptions/s/workspace"),
        ("workspaceLocation", "northeurope"),
        ("watchesPipelines", "true"),
        ("watchesClusters", "false"),
    ] {
        if name != left_out {
            command.env(name, value);
        }
    }
    let output = command.output().unwrap();
    (output, std::fs::read_to_string(calls).unwrap_or_default())
}

#[test]
fn the_last_step_waits_for_the_key_and_passes_everything_on() {
    // No key at the first two looks.
    let az = "case \"$*\" in *\"keys list\"*)
        [ \"$(/bin/grep -c 'keys list' 'CALLS')\" -gt 2 ] && echo the-key ;;
    esac
    exit 0";
    let (output, calls) = run(Some(az), "");
    assert!(output.status.success(), "{output:?}\n{calls}");
    assert_eq!(calls.matches("keys list").count(), 3, "{calls}");
    assert_eq!(calls.matches("sleep 10").count(), 2, "{calls}");
    for wanted in [
        "name=rca-two ",
        "functionAppName=rca-two-app",
        "location=northeurope",
        "watchPipelines=true",
        "watchClusters=false",
        "--name rca-two-alerts",
        "--template-file infra/alerts.bicep",
    ] {
        assert!(calls.contains(wanted), "{wanted}: {calls}");
    }
    assert!(!calls.contains("the-key"), "the key is not passed on");
}

#[test]
fn a_step_that_is_missing_or_fails_says_what_to_do() {
    let no_key = "case \"$*\" in *\"keys list\"*) exit 1 ;; esac; exit 0";
    let no_login = "case \"$*\" in \"account show\"*) exit 1 ;; esac; echo x";
    let refused = "case \"$*\" in \"deployment group create\"*) exit 1 ;; esac; echo x";
    for (az, left_out, says) in [
        (None, "", "the Azure CLI is missing"),
        (
            Some("exit 0"),
            "workspaceLocation",
            "workspaceLocation is not set: run azd provision",
        ),
        (Some(no_login), "", "az login"),
        (Some(no_key), "", "is the package published"),
        (Some(refused), "", "the alerts were not deployed"),
    ] {
        let (output, calls) = run(az, left_out);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(says),
            "{says}: {said}"
        );
        assert!(calls.matches("sleep 10").count() <= 30);
    }
}

#[test]
fn the_alerts_can_be_left_out() {
    let output = std::process::Command::new("/bin/sh")
        .arg(root().join(STEP))
        .env("SKIP_ALERTS", "true")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("no alert rules are deployed"),
        "{output:?}"
    );
}
