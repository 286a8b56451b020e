//! What tests of several rooms need.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may fail as tests do"
)]

pub(crate) mod azurite;
pub(crate) mod bicep;
pub(crate) mod build;
pub(crate) mod collector;
pub(crate) mod identity;
pub(crate) mod proxy;
pub(crate) mod teams;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use aiops_rca::http::Http;
use aiops_rca::sinks::jira::JiraSettings;
use aiops_rca::storage::{Storage, StorageSettings};
use simulators::jira::{Config, JiraSimulator};

pub(crate) use azurite::azurite;

/// A prefix that no other test uses.
pub(crate) fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "t{}x{:06x}",
        NEXT.fetch_add(1, Ordering::Relaxed),
        fastrand::u32(..0x0100_0000)
    )
}

/// A path for an embedded store that no other test uses; files of earlier runs are removed.
pub(crate) fn embedded_path() -> PathBuf {
    static FOLDER: std::sync::LazyLock<PathBuf> = std::sync::LazyLock::new(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("embedded");
        std::fs::create_dir_all(&folder).expect("a folder for stores");
        for file in std::fs::read_dir(&folder)
            .expect("a folder for stores")
            .flatten()
        {
            let age = file
                .metadata()
                .and_then(|metadata| metadata.modified())
                .ok()
                .and_then(|at| at.elapsed().ok());
            if age.is_some_and(|age| age.as_secs() > 3600) {
                let _gone_already = std::fs::remove_file(file.path());
            }
        }
        folder
    });
    FOLDER.join(format!("{}-{}.db", std::process::id(), prefix()))
}

/// An HTTP client as the program has it.
pub(crate) fn http() -> Http {
    Http::new(None).expect("a client")
}

/// The doors of a configuration.
pub(crate) fn doors(config: aiops_rca::config::Config) -> aiops_rca::functions::Doors {
    let parts = config.wire().expect("parts");
    config.into_doors(parts)
}

/// Leads to this JIRA, as the account that may write there.
pub(crate) fn jira_settings(simulator: &JiraSimulator) -> JiraSettings {
    let site = Config::default();
    JiraSettings {
        domain: simulator.base_url().parse().expect("its address"),
        user_email: site.email,
        api_token: site.token.into(),
        token_expires: None,
        gateway: simulator.base_url().parse().expect("its address"),
        project_key: site.project,
        issue_type: String::new(),
        webhook_secret: None,
        dashboard_base: None,
    }
}

/// A new, empty embedded store.
pub(crate) fn embedded() -> Storage {
    let settings = StorageSettings::embedded(embedded_path()).with_prefix(prefix());
    Storage::open(&settings, &http()).expect("an embedded store")
}

/// A store in Azurite that no other test uses.
pub(crate) fn on_azurite() -> Storage {
    let settings = StorageSettings::from_connection_string(&azurite())
        .expect("Azurite's connection string")
        .with_prefix(prefix());
    Storage::open(&settings, &http()).expect("a store")
}

/// One new, empty store of every kind, with its name.
pub(crate) fn storages() -> Vec<(&'static str, Storage)> {
    vec![("embedded", embedded()), ("azurite", on_azurite())]
}

/// A number that may be set in the environment of a test: how many stories, the first seed.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a flag of this test")]
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}
