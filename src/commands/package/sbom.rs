//! The bill of materials of the package: every crate of the shipped executable as CycloneDX.
//!
//! Comes in: what `cargo tree` says about the build without the feature `local`, and Cargo.lock for the checksums.
//! `cargo metadata` would also list what only tests and the feature `local` turn on. No times, no random numbers, no paths of
//! the checkout: the same lock file gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Its entry in the package.
pub(super) const NAME: &str = "sbom.cdx.json";

/// What a package URL leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Why there is no bill of materials.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// `cargo tree` cannot be run.
    #[error("cargo tree: {0}")]
    Cargo(#[from] std::io::Error),
    /// It ends with an error.
    #[error("cargo tree: {0}")]
    Refused(String),
    /// A line of it is not what was asked for.
    #[error("cargo tree writes `{0}`")]
    Line(String),
    /// Cargo.lock cannot be read.
    #[error("Cargo.lock: {0}")]
    Lock(#[from] toml::de::Error),
    /// The file in the package is no CycloneDX document with components.
    #[error("not a CycloneDX document with components")]
    Document,
}

/// The bill of materials of the executable that is built from this checkout for this target, as the bytes of its file.
pub(super) fn of(root: &Path, triple: &str) -> Result<Vec<u8>, SbomError> {
    let lock = std::fs::read_to_string(root.join("Cargo.lock"))?;
    let built = tree(root, triple, "normal,build")?;
    let linked = tree(root, triple, "normal,no-proc-macro")?;
    let mut bytes = format!("{:#}", render(&built, &linked, &lock, triple)?).into_bytes();
    bytes.push(b'\n');
    Ok(bytes)
}

/// Refuses what is no bill of materials.
pub(super) fn check(bytes: &[u8]) -> Result<(), SbomError> {
    let bill: Value = serde_json::from_slice(bytes).map_err(|_| SbomError::Document)?;
    let components = bill.get("components").and_then(Value::as_array);
    if bill.get("bomFormat") == Some(&json!("CycloneDX"))
        && components.is_some_and(|all| !all.is_empty())
    {
        Ok(())
    } else {
        Err(SbomError::Document)
    }
}

fn tree(root: &Path, triple: &str, edges: &str) -> Result<String, SbomError> {
    let output = Command::new("cargo")
        .args(["tree", "--quiet", "--locked", "--no-default-features"])
        .args(["--package", "aiops-rca", "--target", triple])
        .args(["--edges", edges, "--prefix", "depth", "--charset", "ascii"])
        .args(["--format", "\t{p}\t{l}\t{r}\t"])
        .env("CARGO_TERM_COLOR", "never")
        .current_dir(root)
        .output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(SbomError::Refused(said.trim().to_owned()))
    }
}

/// Name and version.
type Id = (String, String);

struct Crate {
    licence: String,
    repository: String,
    depends_on: BTreeSet<Id>,
}

/// Reads the lines `<depth>\t<name> v<version> …\t<licence>\t<repository>\t…`, the root first.
fn crates(tree: &str) -> Result<(Id, BTreeMap<Id, Crate>), SbomError> {
    let mut crates: BTreeMap<Id, Crate> = BTreeMap::new();
    let mut above: Vec<Id> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let wrong = || SbomError::Line(line.to_owned());
        let mut fields = line.split('\t');
        let mut field = || fields.next().ok_or_else(wrong);
        let depth: usize = field()?.parse().map_err(|_| wrong())?;
        let mut package = field()?.split(' ');
        let (licence, repository) = (field()?, field()?);
        let name = package.next().ok_or_else(wrong)?;
        let version = package.next().and_then(|word| word.strip_prefix('v'));
        let id = (name.to_owned(), version.ok_or_else(wrong)?.to_owned());
        if depth > above.len() || (depth == 0) != above.is_empty() {
            return Err(wrong());
        }
        above.truncate(depth);
        if let Some(parent) = above.last().and_then(|parent| crates.get_mut(parent)) {
            parent.depends_on.insert(id.clone());
        }
        above.push(id.clone());
        crates.entry(id).or_insert_with(|| Crate {
            licence: licence.replace(" / ", " OR ").replace('/', " OR "),
            repository: repository.to_owned(),
            depends_on: BTreeSet::new(),
        });
    }
    let root = above.into_iter().next();
    let root = root.ok_or_else(|| SbomError::Line(String::new()))?;
    Ok((root, crates))
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

fn render(built: &str, linked: &str, lock: &str, triple: &str) -> Result<Value, SbomError> {
    let lock: Lock = toml::from_str(lock)?;
    let checksums: BTreeMap<Id, String> = lock
        .package
        .into_iter()
        .filter_map(|locked| Some(((locked.name, locked.version), locked.checksum?)))
        .collect();
    let (root, crates) = crates(built)?;
    let (_, linked) = self::crates(linked)?;
    let component = |id: &Id, found: &Crate| {
        let mut component = json!({
            "type": if *id == root { "application" } else { "library" },
            "bom-ref": reference(id),
            "name": id.0,
            "version": id.1,
            "purl": reference(id),
        });
        if *id != root {
            // What only builds the others is not in the executable.
            let scope = if linked.contains_key(id) {
                "required"
            } else {
                "excluded"
            };
            put(&mut component, "scope", json!(scope));
        }
        if !found.licence.is_empty() {
            put(
                &mut component,
                "licenses",
                json!([{ "expression": found.licence }]),
            );
        }
        if let Some(checksum) = checksums.get(id) {
            put(
                &mut component,
                "hashes",
                json!([{ "alg": "SHA-256", "content": checksum }]),
            );
        }
        if !found.repository.is_empty() {
            put(
                &mut component,
                "externalReferences",
                json!([{ "type": "vcs", "url": found.repository }]),
            );
        }
        component
    };
    let mut bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{ "phase": "build" }],
            "component": crates.get(&root).map(|found| component(&root, found)),
            "properties": [{ "name": "cdx:rustc:sbom:target:triple", "value": triple }],
        },
        "components": crates
            .iter()
            .filter(|(id, _)| **id != root)
            .map(|(id, found)| component(id, found))
            .collect::<Vec<_>>(),
        "dependencies": crates
            .iter()
            .map(|(id, found)| {
                let depends_on: Vec<_> = found.depends_on.iter().map(reference).collect();
                json!({ "ref": reference(id), "dependsOn": depends_on })
            })
            .collect::<Vec<_>>(),
    });
    // The same content has the same number.
    let number = Uuid::new_v5(&Uuid::NAMESPACE_URL, bill.to_string().as_bytes());
    let number = json!(number.urn().to_string());
    put(&mut bill, "serialNumber", number);
    Ok(bill)
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// The package URL, which is also the name within the document.
fn reference((name, version): &Id) -> String {
    let version = utf8_percent_encode(version, PLAIN);
    format!("pkg:cargo/{}@{version}", utf8_percent_encode(name, PLAIN))
}
