//! `infra/check.d/compile` with a stand-in for the Bicep compiler: what it looks at, and at what it stops.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use super::root;
use crate::support::bicep;

/// Answers as the compiler does when all is well, and writes down its calls.
const GOOD: &str = r#"#!/bin/sh
echo "$*" >> 'CALLS'
case "$1" in
--version) echo "Bicep CLI version 0.0.0 (a stand-in)" ;;
--help) echo "  bicep snapshot <params-file>" ;;
build) echo '{"resources": [{"apiVersion": "an Error x: that is text"}]}' ;;
lint) ;;
format) cat "$3" ;;
snapshot)
    printf '"apiVersion"\n' > "${2%.bicepparam}.snapshot.json"
    [ -z "$AZURE_DATA_FACTORY_NAME" ] || printf '"apiVersion"\n' >> "${2%.bicepparam}.snapshot.json"
    grep -h '^param workspaceId' "$2" >> 'CALLS' ;;
esac
"#;

/// Runs the check with this compiler on the path, or with none.
fn run(compiler: Option<&str>, forced: bool) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls");
    if let Some(compiler) = compiler {
        let path = folder.path().join("bicep");
        std::fs::write(
            &path,
            compiler.replace("CALLS", &calls.display().to_string()),
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("bash");
    command
        .arg(root().join("infra/check.d/compile"))
        .env_clear()
        .env("HOME", folder.path())
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
    if forced {
        command.env("INFRA_CHECK_COMPILER", "1");
    }
    let output = command.output().unwrap();
    (output, std::fs::read_to_string(calls).unwrap_or_default())
}

#[test]
fn the_compiler_sees_every_template_and_predicts_three_deployments() {
    let (output, calls) = run(Some(GOOD), true);
    assert!(output.status.success(), "{output:?}\n{calls}");
    for path in bicep::templates().keys() {
        for step in ["build --stdout", "lint", "format --stdout"] {
            let call = format!("{step} {path}\n");
            assert!(calls.contains(&call), "{call}: {calls}");
        }
    }
    assert_eq!(calls.matches("snapshot ").count(), 3, "{calls}");
    assert_eq!(
        calls.matches("param workspaceId = ''").count(),
        2,
        "{calls}"
    );
    assert_eq!(
        calls.matches("param workspaceId = '/subscr").count(),
        1,
        "{calls}"
    );
}

#[test]
fn a_compiler_that_is_not_content_stops_the_check() {
    let warning = "echo 'main.bicep(3,7) : Warning no-unused-params: x' >&2";
    for (right, wrong, says) in [
        ("lint) ;;", format!("lint) {warning} ;;"), "is not clean"),
        ("lint) ;;", "lint) exit 1 ;;".to_owned(), "bicep lint"),
        ("build) ", format!("build) {warning}; "), "is not clean"),
        ("build) ", "build) exit 1; ".to_owned(), "bicep build"),
        (
            "cat \"$3\"",
            "sed 's/^  / /' \"$3\"".to_owned(),
            "is not formatted",
        ),
        ("bicep snapshot <", "bicep <".to_owned(), "too old"),
        (
            "[ -z \"$AZURE",
            "[ : -o \"$AZURE".to_owned(),
            "cannot be right",
        ),
    ] {
        assert!(GOOD.contains(right), "{right}");
        let (output, _) = run(Some(&GOOD.replace(right, &wrong)), true);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{wrong}: {said}");
        assert!(said.contains(says), "{wrong}: {said}");
    }
}

#[test]
fn without_a_compiler_the_check_says_so_loudly_and_a_release_stops() {
    let (output, _) = run(None, false);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("THE BICEP COMPILER IS NOT HERE"), "{said}");
    let (output, _) = run(None, true);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // Both workflows bring it and ask for it.
    for workflow in ["ci", "release"] {
        let text = super::read(&format!(".github/workflows/{workflow}.yml"));
        assert!(text.contains("az bicep install") && text.contains("INFRA_CHECK_COMPILER: '1'"));
    }
}
