//! The store: a connection string, or an account that is entered as a managed identity.

use secrecy::ExposeSecret as _;

use super::identity;
use super::reader::Reader;
use crate::fault::Fault;
use crate::storage::{StorageBackend, StorageSettings};

const PLAIN: &str = "AzureWebJobsStorage";
const ACCOUNT: &str = "AzureWebJobsStorage__accountName";
const TABLES: &str = "AzureWebJobsStorage__tableServiceUri";
const QUEUES: &str = "AzureWebJobsStorage__queueServiceUri";

/// Both forms may be set: tools put a plain `AzureWebJobsStorage` beside the identity's settings, and the Functions host
/// then takes the plain one. For one account we enter as the identity and report what the host does; two accounts
/// would split queues and tables, so neither is opened.
pub(super) fn storage(r: &mut Reader<'_>) -> Result<StorageSettings, Fault> {
    let named = [ACCOUNT, TABLES, QUEUES]
        .into_iter()
        .find(|name| r.has(name));
    let plain = r.secret(PLAIN);
    let settings = match (plain, named) {
        (Some(text), named) => {
            let plain = match StorageSettings::from_connection_string(text.expose_secret()) {
                Ok(settings) => settings,
                Err(error) => {
                    r.problem(PLAIN, error.to_string());
                    return Err(Fault::permanent("AzureWebJobsStorage cannot be read"));
                }
            };
            match named {
                None => plain,
                Some(named) => {
                    let ours = by_identity(r, named)?;
                    beside(r, &plain, ours, named)?
                }
            }
        }
        (None, Some(named)) => by_identity(r, named)?,
        (None, None) => elsewhere(r)?,
    };
    Ok(settings.with_prefix(r.text("STORAGE_PREFIX").unwrap_or_default()))
}

/// The identity's settings, where a connection string is set as well.
fn beside(
    r: &mut Reader<'_>,
    plain: &StorageSettings,
    ours: StorageSettings,
    named: &'static str,
) -> Result<StorageSettings, Fault> {
    if account(plain) == account(&ours) {
        r.problem(
            PLAIN,
            format!(
                "is set beside {named}, and the Functions host takes it: the host enters the account with its key instead of the \
                 identity; remove {PLAIN}"
            ),
        );
        return Ok(ours);
    }
    r.problem(
        PLAIN,
        format!(
            "names another storage account than {named}: the Functions host would read its queues there, and we would write here; \
             remove one of the two"
        ),
    );
    Err(Fault::permanent(format!(
        "{PLAIN} and {named} name two storage accounts"
    )))
}

#[cfg_attr(
    not(feature = "local"),
    expect(
        clippy::unnecessary_wraps,
        reason = "the embedded store has no account"
    )
)]
fn account(settings: &StorageSettings) -> Option<String> {
    match &settings.backend {
        StorageBackend::Account(account) => Some(account.name.to_ascii_lowercase()),
        #[cfg(feature = "local")]
        StorageBackend::Embedded { .. } => None,
    }
}

fn by_identity(r: &mut Reader<'_>, named: &'static str) -> Result<StorageSettings, Fault> {
    let (account, tables, queues) = (r.text(ACCOUNT), r.url(TABLES), r.url(QUEUES));
    let Some(identity) = identity(r, "AzureWebJobsStorage__clientId") else {
        r.problem(
            "IDENTITY_ENDPOINT",
            "the storage is to be opened with a managed identity, but this process has none",
        );
        return Err(Fault::permanent("there is no managed identity"));
    };
    match (account, tables, queues) {
        (_, Some(tables), Some(queues)) => {
            Ok(StorageSettings::of_services(tables, queues, identity))
        }
        (Some(account), _, _) => StorageSettings::of_account(&account, identity).map_err(|error| {
            r.problem(ACCOUNT, error.to_string());
            Fault::permanent(format!("{ACCOUNT} cannot be read"))
        }),
        (None, tables, _) => {
            let missing = if tables.is_none() { TABLES } else { QUEUES };
            r.problem(
                missing,
                format!(
                    "is missing beside {named}: both service URIs, or the account's name, are needed"
                ),
            );
            Err(Fault::permanent(format!("{missing} is missing")))
        }
    }
}

#[cfg(feature = "local")]
fn elsewhere(r: &mut Reader<'_>) -> Result<StorageSettings, Fault> {
    match r.text("AIOPS_RCA_STORE") {
        Some(path) => Ok(StorageSettings::embedded(path)),
        None => missing(r),
    }
}

#[cfg(not(feature = "local"))]
fn elsewhere(r: &mut Reader<'_>) -> Result<StorageSettings, Fault> {
    missing(r)
}

fn missing(r: &mut Reader<'_>) -> Result<StorageSettings, Fault> {
    r.problem(
        PLAIN,
        "is missing: a connection string, or AzureWebJobsStorage__accountName with a managed identity",
    );
    Err(Fault::permanent("AzureWebJobsStorage is missing"))
}
