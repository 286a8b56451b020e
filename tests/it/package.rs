//! The package: same bytes twice, right names and modes, and what the check refuses.
#![expect(clippy::unwrap_used, reason = "helpers of tests may")]

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aiops_rca::commands::package::{
    ExecutableFault, NEWEST_GLIBC, PackageError, PackageOptions, check, write,
};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

fn options(folder: &Path) -> PackageOptions {
    PackageOptions {
        root: env!("CARGO_MANIFEST_DIR").into(),
        executable: folder.join("built"),
        target: folder.join("functionapp"),
        triple: "x86_64-unknown-linux-gnu".to_owned(),
    }
}

/// A folder with the smallest program that is a static x86-64 ELF: nothing but its header.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("built"), elf(62)).unwrap();
    folder
}

fn elf(machine: u16) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend([0; 24]);
    bytes.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 0, 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes
}

/// Mode and bytes by name.
type Entries = BTreeMap<String, (u32, Vec<u8>)>;

fn entries(zip: &Path) -> Entries {
    let mut archive = ZipArchive::new(Cursor::new(std::fs::read(zip).unwrap())).unwrap();
    (0..archive.len())
        .map(|index| {
            let mut entry = archive.by_index(index).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (
                entry.name().unwrap().into_owned(),
                (entry.unix_mode().unwrap(), bytes),
            )
        })
        .collect()
}

/// Writes a zip of these entries, checks it.
fn checked(entries: &Entries) -> Result<(), PackageError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zip");
    let mut writer = ZipWriter::new(std::fs::File::create(&path).unwrap());
    for (name, (mode, bytes)) in entries {
        writer
            .start_file(
                name.as_str(),
                SimpleFileOptions::default()
                    .compression_method(CompressionMethod::Stored)
                    .unix_permissions(*mode),
            )
            .unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap();
    check(&path)
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = folder();
    let first = write(&options(folder.path())).unwrap();
    let bytes = std::fs::read(&first.zip).unwrap();
    let second = write(&options(folder.path())).unwrap();
    assert_eq!(bytes, std::fs::read(&second.zip).unwrap());
    assert_eq!(first.size, bytes.len() as u64);
    check(&first.zip).unwrap();
}

#[test]
fn it_holds_the_flattened_app_and_nothing_else() {
    let folder = folder();
    let made = write(&options(folder.path())).unwrap();
    insta::assert_snapshot!("package_entries", made.entries.join("\n"));
    for (name, (mode, bytes)) in entries(&made.zip) {
        assert_eq!(
            mode & 0o7777,
            if name == "aiops-rca" { 0o755 } else { 0o644 },
            "{name}"
        );
        let staged = made.folder.join(&name);
        assert_eq!(std::fs::read(&staged).unwrap(), bytes, "{name}");
        assert_eq!(
            staged.metadata().unwrap().permissions().mode() & 0o777,
            mode & 0o777,
            "{name}"
        );
    }
}

#[test]
fn the_bill_of_materials_lists_what_is_shipped() {
    let folder = folder();
    let made = write(&options(folder.path())).unwrap();
    let bytes = &entries(&made.zip)["sbom.cdx.json"].1;
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")));
    let bill: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(bill["metadata"]["component"]["name"], "aiops-rca");
    assert_eq!(
        bill["metadata"]["component"]["version"],
        env!("CARGO_PKG_VERSION")
    );
    let components: BTreeMap<&str, &serde_json::Value> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| (each["name"].as_str().unwrap(), each))
        .collect();
    // Ships; only builds; only in development builds, in the tests, of another system.
    assert_eq!(components["reqwest"]["scope"], "required");
    assert_eq!(components["async-trait"]["scope"], "excluded");
    for absent in [
        "rusqlite",
        "zip",
        "aiops-rca-simulators",
        "insta",
        "windows-sys",
    ] {
        assert!(!components.contains_key(absent), "{absent}");
    }
    // Every registry crate with its checksum, licence and URL, and every reference leads somewhere.
    let known: Vec<_> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&bill["metadata"]["component"]])
        .map(|each| each["bom-ref"].as_str().unwrap())
        .collect();
    for (name, each) in &components {
        assert_eq!(each["hashes"][0]["content"].as_str().unwrap().len(), 64);
        let licence = each["licenses"][0]["expression"].as_str().unwrap();
        assert!(!licence.contains('/'), "{name}: {licence}");
        let purl = each["purl"].as_str().unwrap();
        assert!(purl.starts_with(&format!("pkg:cargo/{name}@")), "{purl}");
    }
    for edge in bill["dependencies"].as_array().unwrap() {
        assert!(known.contains(&edge["ref"].as_str().unwrap()));
        for to in edge["dependsOn"].as_array().unwrap() {
            assert!(known.contains(&to.as_str().unwrap()), "{to}");
        }
    }
    assert_eq!(bill["dependencies"].as_array().unwrap().len(), known.len());
}

#[test]
fn only_a_folder_of_ours_is_emptied() {
    let folder = folder();
    let target = folder.path().join("functionapp");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("thesis.txt"), "years of work").unwrap();
    assert!(matches!(
        write(&options(folder.path())),
        Err(PackageError::NotOurs(_))
    ));
    assert!(target.join("thesis.txt").exists());
}

#[test]
fn the_check_refuses_what_azure_could_not_run() {
    let folder = folder();
    let good = entries(&write(&options(folder.path())).unwrap().zip);
    checked(&good).unwrap();
    let refused = |change: &dyn Fn(&mut Entries), says: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = checked(&bad).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    refused(&|bad| bad.get_mut("aiops-rca").unwrap().0 = 0o644, "mode");
    refused(&|bad| bad.get_mut("host.json").unwrap().0 = 0o755, "mode");
    refused(&|bad| drop(bad.remove("aiops-rca")), "no entry aiops-rca");
    refused(&|bad| drop(bad.remove("host.json")), "no entry host.json");
    refused(
        &|bad| drop(bad.remove("sbom.cdx.json")),
        "no entry sbom.cdx.json",
    );
    refused(
        &|bad| bad.get_mut("sbom.cdx.json").unwrap().1 = b"{}".to_vec(),
        "bill of materials",
    );
    refused(
        &|bad| bad.retain(|name, _| !name.ends_with("function.json")),
        "no function",
    );
    refused(
        &|bad| {
            let sweep = bad.remove("Sweep/function.json").unwrap();
            bad.insert("functions/Sweep/function.json".to_owned(), sweep);
        },
        "unexpected",
    );
    refused(
        &|bad| drop(bad.insert("local.settings.json".to_owned(), (0o644, b"{}".to_vec()))),
        "unexpected",
    );
    refused(
        &|bad| bad.get_mut("aiops-rca").unwrap().1 = b"#!/bin/sh".to_vec(),
        "no ELF",
    );
    refused(
        &|bad| bad.get_mut("aiops-rca").unwrap().1 = elf(183),
        "x86-64",
    );
    let large = vec![0; 13 * 1024 * 1024];
    refused(
        &|bad| bad.get_mut("aiops-rca").unwrap().1.extend(&large),
        "bytes, more than",
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_dynamic_executable_is_judged_by_the_newest_glibc_it_needs() {
    let folder = folder();
    let good = entries(&write(&options(folder.path())).unwrap().zip);
    let shell = std::fs::read("/bin/sh").unwrap();
    // The names of versions are plain text in the file: read here in another way than the check does.
    let names = regex::bytes::Regex::new(r"GLIBC_(\d+)\.(\d+)").unwrap();
    let number = |digits: &[u8]| std::str::from_utf8(digits).unwrap().parse::<u32>().unwrap();
    let newest = names
        .captures_iter(&shell)
        .map(|found| (number(&found[1]), number(&found[2])))
        .max()
        .unwrap();
    let mut packed = good;
    packed.get_mut("aiops-rca").unwrap().1 = shell;
    match checked(&packed) {
        Ok(()) => assert!(newest <= NEWEST_GLIBC, "{newest:?}"),
        Err(PackageError::Executable {
            fault: ExecutableFault::TooNew { needs },
            ..
        }) => {
            assert!(newest > NEWEST_GLIBC);
            assert_eq!(needs, format!("GLIBC_{}.{}", newest.0, newest.1));
        }
        Err(other) => panic!("{other}"),
    }
}
