//! Where the store is and how we may enter it.

use std::collections::HashMap;
#[cfg(feature = "local")]
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use crate::identity::IdentitySettings;

/// The account and key that every Azurite knows; no secret.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const DEFAULT_PREFIX: &str = "rca";

/// The store of this deployment.
#[derive(Debug, Clone)]
pub struct StorageSettings {
    /// Stands before every table and queue name: up to 20 lower-case letters and digits, a letter first; may be empty.
    pub prefix: String,
    /// Which store.
    pub backend: StorageBackend,
}

/// One of the backends.
#[derive(Debug, Clone)]
pub enum StorageBackend {
    /// A storage account in Azure, or Azurite.
    Account(Box<StorageAccount>),
    /// One SQLite file.
    #[cfg(feature = "local")]
    Embedded {
        /// Created when it is missing, with its folder.
        path: PathBuf,
    },
}

/// A storage account.
#[derive(Debug, Clone)]
pub struct StorageAccount {
    /// Its name (signed into every request of a key).
    pub name: String,
    /// Base address of its tables, e.g. `https://acct.table.core.windows.net`.
    pub tables: Url,
    /// Base address of its queues.
    pub queues: Url,
    /// How we enter.
    pub access: StorageAccess,
}

/// How we enter a storage account.
#[derive(Debug, Clone)]
pub enum StorageAccess {
    /// With the account's key.
    Key(SecretString),
    /// With a shared access signature (the query string).
    Sas(SecretString),
    /// As a managed identity with the roles Storage Table Data Contributor and Storage Queue Data Contributor.
    Identity(IdentitySettings),
}

/// What is wrong with a connection string. It never holds any part of the string but a well-known name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    /// There is nothing.
    #[error("the storage connection string is empty")]
    Empty,
    /// A piece is not `Name=value`.
    #[error("a part of the storage connection string is not of the form Name=value")]
    NotAPair,
    /// A necessary part is not there.
    #[error("the storage connection string has no {0}")]
    Missing(&'static str),
    /// An endpoint is no http(s) URL.
    #[error("{0} of the storage connection string is not an http or https address")]
    BadEndpoint(&'static str),
    /// The key is not base64.
    #[error("AccountKey of the storage connection string is not base64: was it cut or masked?")]
    BadKey,
    /// The account name could not be one.
    #[error("AccountName of the storage connection string must be letters, digits and dashes")]
    BadAccount,
}

impl StorageSettings {
    /// The embedded store in this file, with the default prefix.
    #[cfg(feature = "local")]
    pub fn embedded(path: impl Into<PathBuf>) -> Self {
        Self::new(StorageBackend::Embedded { path: path.into() })
    }

    /// An account by its name (`AzureWebJobsStorage__accountName`), entered as a managed identity.
    pub fn of_account(
        name: &str,
        identity: IdentitySettings,
    ) -> Result<Self, ConnectionStringError> {
        check_account(name)?;
        let tables = address(
            "the table endpoint",
            &format!("https://{name}.table.core.windows.net"),
        )?;
        let queues = address(
            "the queue endpoint",
            &format!("https://{name}.queue.core.windows.net"),
        )?;
        Ok(Self::of_services(tables, queues, identity))
    }

    /// An account by the addresses of its services (`AzureWebJobsStorage__tableServiceUri`, `…__queueServiceUri`),
    /// entered as a managed identity.
    pub fn of_services(tables: Url, queues: Url, identity: IdentitySettings) -> Self {
        let name = account_of(&tables);
        Self::new(StorageBackend::Account(Box::new(StorageAccount {
            name,
            tables,
            queues,
            access: StorageAccess::Identity(identity),
        })))
    }

    /// Reads what `AzureWebJobsStorage` may hold: a connection string with a key or a SAS, with or without endpoints,
    /// or `UseDevelopmentStorage=true` (with or without `DevelopmentStorageProxyUri`). Names in any case.
    pub fn from_connection_string(text: &str) -> Result<Self, ConnectionStringError> {
        let mut parts = HashMap::new();
        for part in text
            .trim()
            .trim_matches('"')
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (name, value) = part
                .split_once('=')
                .ok_or(ConnectionStringError::NotAPair)?;
            parts.insert(name.trim().to_ascii_lowercase(), value.trim());
        }
        if parts.is_empty() {
            return Err(ConnectionStringError::Empty);
        }
        let part = |name: &str| parts.get(name).copied().filter(|value| !value.is_empty());
        if part("usedevelopmentstorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return emulator(part("developmentstorageproxyuri").unwrap_or("http://127.0.0.1"));
        }
        let tables = part("tableendpoint")
            .map(|text| address("TableEndpoint", text))
            .transpose()?;
        let queues = part("queueendpoint")
            .map(|text| address("QueueEndpoint", text))
            .transpose()?;
        let name = match (part("accountname"), &tables) {
            (Some(name), _) => name.to_owned(),
            (None, Some(tables)) => account_of(tables),
            (None, None) => return Err(ConnectionStringError::Missing("AccountName")),
        };
        check_account(&name)?;
        let protocol = part("defaultendpointsprotocol").unwrap_or("https");
        let suffix = part("endpointsuffix").unwrap_or("core.windows.net");
        let endpoint = |service: &str| format!("{protocol}://{name}.{service}.{suffix}");
        let tables = tables.map_or_else(|| address("EndpointSuffix", &endpoint("table")), Ok)?;
        let queues = queues.map_or_else(|| address("EndpointSuffix", &endpoint("queue")), Ok)?;
        let access = match (part("accountkey"), part("sharedaccesssignature")) {
            (Some(key), _) => account_key(key)?,
            (None, Some(sas)) => StorageAccess::Sas(sas.trim_start_matches('?').into()),
            (None, None) => {
                return Err(ConnectionStringError::Missing(
                    "AccountKey (or SharedAccessSignature)",
                ));
            }
        };
        Ok(Self::new(StorageBackend::Account(Box::new(
            StorageAccount {
                name,
                tables,
                queues,
                access,
            },
        ))))
    }

    /// The same store under another prefix.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    fn new(backend: StorageBackend) -> Self {
        Self {
            prefix: DEFAULT_PREFIX.to_owned(),
            backend,
        }
    }
}

fn emulator(base: &str) -> Result<StorageSettings, ConnectionStringError> {
    let endpoint = |port: u16| {
        let mut url = address("DevelopmentStorageProxyUri", base)?;
        url.set_port(Some(port))
            .map_err(|()| ConnectionStringError::BadEndpoint("DevelopmentStorageProxyUri"))?;
        url.set_path(EMULATOR_ACCOUNT);
        Ok(url)
    };
    Ok(StorageSettings::new(StorageBackend::Account(Box::new(
        StorageAccount {
            name: EMULATOR_ACCOUNT.to_owned(),
            queues: endpoint(10001)?,
            tables: endpoint(10002)?,
            access: account_key(EMULATOR_KEY)?,
        },
    ))))
}

fn account_key(key: &str) -> Result<StorageAccess, ConnectionStringError> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(key);
    if decoded.is_err() {
        Err(ConnectionStringError::BadKey)
    } else {
        Ok(StorageAccess::Key(key.into()))
    }
}

fn address(what: &'static str, text: &str) -> Result<Url, ConnectionStringError> {
    let url = Url::parse(text.trim_end_matches('/'))
        .map_err(|_| ConnectionStringError::BadEndpoint(what))?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.password().is_none()
        && url.query().is_none();
    if plain {
        Ok(url)
    } else {
        Err(ConnectionStringError::BadEndpoint(what))
    }
}

fn check_account(name: &str) -> Result<(), ConnectionStringError> {
    let legal = !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if legal {
        Ok(())
    } else {
        Err(ConnectionStringError::BadAccount)
    }
}

/// The account in `https://acct.table…` or, as Azurite has it, in `http://127.0.0.1:10002/acct`.
fn account_of(url: &Url) -> String {
    let in_path = url
        .path_segments()
        .and_then(|mut segments| segments.next())
        .filter(|segment| !segment.is_empty());
    let in_host = url.host_str().and_then(|host| host.split('.').next());
    in_path.or(in_host).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn account(text: &str) -> StorageAccount {
        match StorageSettings::from_connection_string(text)
            .expect("readable")
            .backend
        {
            StorageBackend::Account(account) => *account,
            #[cfg(feature = "local")]
            StorageBackend::Embedded { .. } => panic!("no account"),
        }
    }

    #[test]
    fn an_account_with_a_key() {
        let account = account(
            "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=a2V5a2V5;EndpointSuffix=core.windows.net",
        );
        assert_eq!(account.name, "acct");
        assert_eq!(
            account.tables.as_str(),
            "https://acct.table.core.windows.net/"
        );
        assert_eq!(
            account.queues.as_str(),
            "https://acct.queue.core.windows.net/"
        );
        assert!(
            matches!(account.access, StorageAccess::Key(key) if key.expose_secret() == "a2V5a2V5")
        );
    }

    #[test]
    fn the_emulator_on_its_own_ports_and_on_others() {
        let usual = account("UseDevelopmentStorage=true");
        assert_eq!(
            usual.tables.as_str(),
            "http://127.0.0.1:10002/devstoreaccount1"
        );
        let proxied =
            account("usedevelopmentstorage=TRUE;DevelopmentStorageProxyUri=http://azurite");
        assert_eq!(
            proxied.queues.as_str(),
            "http://azurite:10001/devstoreaccount1"
        );
        let explicit = account(
            "AccountName=devstoreaccount1;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:41/devstoreaccount1/;\
             TableEndpoint=http://127.0.0.1:42/devstoreaccount1;",
        );
        assert_eq!(
            explicit.queues.as_str(),
            "http://127.0.0.1:41/devstoreaccount1"
        );
    }

    #[test]
    fn a_sas_names_its_account_by_the_endpoint() {
        let account = account(
            "BlobEndpoint=https://acct.blob.core.windows.net;QueueEndpoint=https://acct.queue.core.windows.net;\
             TableEndpoint=https://acct.table.core.windows.net;SharedAccessSignature=?sv=2022-11-02&sig=a%3D",
        );
        assert_eq!(account.name, "acct");
        assert!(
            matches!(account.access, StorageAccess::Sas(sas) if sas.expose_secret() == "sv=2022-11-02&sig=a%3D")
        );
    }

    #[test]
    fn errors_and_debug_never_hold_the_string() {
        for bad in [
            "",
            "hunter2",
            "AccountName=acct;hunter2",
            "AccountName=acct",
            "AccountKey=hunter2",
            "AccountName=acct;AccountKey=hunter2*",
            "AccountName=hunter2/x;AccountKey=a2V5",
            "AccountName=acct;AccountKey=a2V5;TableEndpoint=hunter2",
            "AccountName=acct;AccountKey=a2V5;TableEndpoint=http://u:hunter2@x",
            "AccountName=acct;AccountKey=a2V5;TableEndpoint=https://x?sig=hunter2",
        ] {
            let error = StorageSettings::from_connection_string(bad).expect_err(bad);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let settings =
            StorageSettings::from_connection_string("AccountName=acct;AccountKey=aHVudGVyMg==")
                .unwrap();
        assert!(!format!("{settings:?}").contains("aHVudGVyMg"));
    }
}
