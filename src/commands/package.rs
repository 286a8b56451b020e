//! `aiops-rca package`: the function app as Azure wants it, in a folder and in a zip.
//!
//! Comes in: a checkout and an executable. Goes out: `<target>/host.json`, `<target>/<Name>/function.json`,
//! the executable named verbatim as `defaultExecutablePath`, its bill of materials (`sbom.cdx.json`), and `<target>.zip`
//! with the same, byte for byte the same for the same input: sorted entries, fixed times, fixed modes. [`check`]
//! then refuses a package that would not start in Azure. It does not compile anything: `infra/package` does.
//!
//! The modes matter: Azure starts the executable only if its entry has the execute bit, and the zip is
//! mounted as it is.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::local::host::manifest::{App, function_files};
use crate::local::host::{HostError, Settings};

mod executable;
mod sbom;

pub use executable::{ExecutableFault, NEWEST_GLIBC};
pub use sbom::SbomError;

/// The largest package, in bytes.
pub const SIZE_LIMIT: u64 = 12 * 1024 * 1024;

const EXECUTABLE_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// The command's arguments.
#[derive(Debug, Args)]
pub struct PackageArguments {
    /// The checkout, where host.json is
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// The folder to stage into; the zip is put beside it
    #[arg(long, default_value = "target/functionapp")]
    target_dir: PathBuf,
    /// The executable to ship; this very one when absent
    #[arg(long)]
    executable: Option<PathBuf>,
    /// What the executable was built for; the bill of materials lists the crates of that build
    #[arg(long, default_value = "x86_64-unknown-linux-gnu")]
    triple: String,
}

/// Stages, zips, checks, and says what was made.
#[expect(clippy::print_stdout, reason = "a command prints its result")]
pub fn main(arguments: &PackageArguments) -> anyhow::Result<ExitCode> {
    let executable = match &arguments.executable {
        Some(executable) => executable.clone(),
        None => std::env::current_exe()?,
    };
    let options = PackageOptions {
        root: arguments.root.clone(),
        executable,
        target: arguments.target_dir.clone(),
        triple: arguments.triple.clone(),
    };
    let made = package(&options)?;
    println!("{}/", made.folder.display());
    for entry in &made.entries {
        println!("  {entry}");
    }
    println!("{} ({} bytes)", made.zip.display(), made.size);
    Ok(ExitCode::SUCCESS)
}

/// What to package.
#[derive(Debug, Clone)]
pub struct PackageOptions {
    /// The checkout: where `host.json` and `functions/` are.
    pub root: PathBuf,
    /// The executable to ship.
    pub executable: PathBuf,
    /// The folder to stage into; it is emptied first. The zip is put beside it.
    pub target: PathBuf,
    /// What the executable was built for, as rustc names it.
    pub triple: String,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The staged app.
    pub folder: PathBuf,
    /// The zip.
    pub zip: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its entries, in order.
    pub entries: Vec<String>,
}

/// Why there is no package, or why it must not be deployed.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The app's files are refused.
    #[error(transparent)]
    App(#[from] HostError),
    /// A file.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The folder to empty is not one of ours.
    #[error("{0} is not empty and holds no host.json: not deleting it")]
    NotOurs(PathBuf),
    /// There is no bill of materials.
    #[error("the bill of materials: {0}")]
    Sbom(#[from] SbomError),
    /// The zip cannot be written or read.
    #[error("the zip: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// The executable would not run in Azure.
    #[error("{name}: {fault}")]
    Executable {
        /// Its entry.
        name: String,
        /// Why.
        fault: ExecutableFault,
    },
    /// The zip is not what Azure expects.
    #[error("the package: {0}")]
    Wrong(String),
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> PackageError {
    let path = path.to_owned();
    |reason| PackageError::File { path, reason }
}

/// Stages, zips and checks.
pub fn package(options: &PackageOptions) -> Result<Package, PackageError> {
    let zip = options.target.with_extension("zip");
    let made = write(options).and_then(|made| check(&made.zip).map(|()| made));
    if made.is_err() {
        // One that must not be deployed, or that of an earlier run.
        let _none_there = std::fs::remove_file(zip);
    }
    made
}

/// Stages and zips, without the check.
pub fn write(options: &PackageOptions) -> Result<Package, PackageError> {
    let name = executable_name(&options.root)?;
    let mut files = BTreeMap::new();
    let mut add = |entry: String, from: &Path| {
        std::fs::read(from)
            .map_err(file(from))
            .map(|bytes| files.insert(entry, bytes))
    };
    add("host.json".to_owned(), &options.root.join("host.json"))?;
    for (function, path) in function_files(&options.root)? {
        add(format!("{function}/function.json"), &path)?;
    }
    add(name.clone(), &options.executable)?;
    files.insert(
        sbom::NAME.to_owned(),
        sbom::of(&options.root, &options.triple)?,
    );
    stage(&options.target, &name, &files)?;
    let zip = options.target.with_extension("zip");
    let bytes = zip_of(&name, &files)?;
    std::fs::write(&zip, &bytes).map_err(file(&zip))?;
    Ok(Package {
        folder: options.target.clone(),
        zip,
        size: bytes.len() as u64,
        entries: files.into_keys().collect(),
    })
}

/// `defaultExecutablePath`; reading the whole app also refuses files that the host would refuse.
fn executable_name(root: &Path) -> Result<String, PackageError> {
    let settings = Settings::from([("STORAGE_PREFIX".to_owned(), "rca".to_owned())]);
    let name = App::read(root, &settings)?.host.handler.executable_name;
    if name.contains(['/', '\\']) {
        return Err(PackageError::Wrong(format!(
            "defaultExecutablePath `{name}` must be a bare name: only then is its mode kept"
        )));
    }
    Ok(name)
}

fn stage(
    target: &Path,
    executable: &str,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(), PackageError> {
    if target.exists() {
        let empty = std::fs::read_dir(target)
            .map_err(file(target))?
            .next()
            .is_none();
        if !empty && !target.join("host.json").is_file() {
            return Err(PackageError::NotOurs(target.to_owned()));
        }
        std::fs::remove_dir_all(target).map_err(file(target))?;
    }
    for (entry, bytes) in files {
        let path = target.join(entry);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(file(folder))?;
        }
        std::fs::write(&path, bytes).map_err(file(&path))?;
        set_mode(&path, mode_of(entry, executable)).map_err(file(&path))?;
    }
    Ok(())
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> std::io::Result<()> {
    Ok(())
}

fn mode_of(entry: &str, executable: &str) -> u32 {
    if entry == executable {
        EXECUTABLE_MODE
    } else {
        FILE_MODE
    }
}

fn zip_of(executable: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, PackageError> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (entry, bytes) in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(9))
            .last_modified_time(zip::DateTime::DEFAULT)
            .unix_permissions(mode_of(entry, executable));
        writer.start_file(entry.as_str(), options)?;
        writer
            .write_all(bytes)
            .map_err(zip::result::ZipError::from)?;
    }
    Ok(writer.finish()?.into_inner())
}

/// Refuses a zip that Azure could not run: wrong layout, modes, size, or an executable that is not a
/// portable x86-64 ELF.
pub fn check(zip: &Path) -> Result<(), PackageError> {
    let bytes = std::fs::read(zip).map_err(file(zip))?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(PackageError::Wrong(format!(
            "{} bytes, more than {SIZE_LIMIT}",
            bytes.len()
        )));
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    let host: serde_json::Value = serde_json::from_slice(&entry(&mut archive, "host.json")?.0)
        .map_err(|error| PackageError::Wrong(format!("host.json: {error}")))?;
    let name = host
        .pointer("/customHandler/description/defaultExecutablePath")
        .and_then(serde_json::Value::as_str);
    let name = name
        .ok_or_else(|| PackageError::Wrong("host.json names no executable".to_owned()))?
        .to_owned();
    let names = archive
        .file_names()
        .map(|name| name.map(std::borrow::Cow::into_owned))
        .collect::<Result<Vec<_>, _>>()?;
    if !names.iter().any(|entry| entry.ends_with("/function.json")) {
        return Err(PackageError::Wrong("there is no function".to_owned()));
    }
    for each in &names {
        let function = each
            .strip_suffix("/function.json")
            .is_some_and(|folder| !folder.is_empty() && !folder.contains('/'));
        if !["host.json", sbom::NAME, name.as_str()].contains(&each.as_str()) && !function {
            return Err(PackageError::Wrong(format!("unexpected entry {each}")));
        }
        let (_, mode) = entry(&mut archive, each)?;
        let wanted = mode_of(each, &name);
        if mode != Some(wanted) {
            return Err(PackageError::Wrong(format!(
                "{each} has mode {:o}, must be {wanted:o}",
                mode.unwrap_or_default()
            )));
        }
    }
    sbom::check(&entry(&mut archive, sbom::NAME)?.0)?;
    let (executable, _) = entry(&mut archive, &name)?;
    executable::check(&executable).map_err(|fault| PackageError::Executable { name, fault })
}

/// Bytes and permission bits of an entry.
fn entry(
    archive: &mut ZipArchive<Cursor<Vec<u8>>>,
    name: &str,
) -> Result<(Vec<u8>, Option<u32>), PackageError> {
    let mut entry = match archive.by_name(name) {
        Err(zip::result::ZipError::FileNotFound) => {
            return Err(PackageError::Wrong(format!("there is no entry {name}")));
        }
        found => found?,
    };
    let mode = entry.unix_mode().map(|mode| mode & 0o7777);
    let mut bytes = Vec::new();
    entry
        .read_to_end(&mut bytes)
        .map_err(zip::result::ZipError::from)?;
    Ok((bytes, mode))
}
