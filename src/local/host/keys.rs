//! The keys of a function app, and who may pass with which.
//!
//! `func` lets everybody in; so does this host unless `enable_auth` is set. New keys are made at every
//! start unless they are given.

use std::collections::BTreeMap;
use std::fmt;

use subtle::ConstantTimeEq;

use super::manifest::AuthLevel;

/// Keys of the app.
#[derive(Clone)]
pub struct Keys {
    /// Opens everything, the admin endpoints too.
    pub master: String,
    /// Opens every function.
    pub host: String,
    /// Opens one function, by name.
    pub functions: BTreeMap<String, String>,
}

impl Keys {
    /// Fresh random keys.
    pub fn generate() -> Self {
        let key = || {
            format!(
                "{}{}",
                uuid::Uuid::new_v4().simple(),
                uuid::Uuid::new_v4().simple()
            )
        };
        Self {
            master: key(),
            host: key(),
            functions: BTreeMap::new(),
        }
    }

    /// May a caller with this key pass this lock? An empty key of ours opens nothing.
    pub fn open(&self, lock: AuthLevel, function: &str, given: Option<&str>) -> bool {
        let is = |key: &String| {
            !key.is_empty()
                && given.is_some_and(|given| bool::from(given.as_bytes().ct_eq(key.as_bytes())))
        };
        match lock {
            AuthLevel::Anonymous => true,
            AuthLevel::Admin => is(&self.master),
            AuthLevel::Function => {
                is(&self.master) | is(&self.host) | self.functions.get(function).is_some_and(is)
            }
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lock_has_its_keys() {
        let mut keys = Keys::generate();
        keys.functions.insert("F".to_owned(), "only-f".to_owned());
        let (master, host) = (keys.master.clone(), keys.host.clone());
        assert!(keys.open(AuthLevel::Anonymous, "F", None));
        assert!(
            !keys.open(AuthLevel::Function, "F", None)
                && !keys.open(AuthLevel::Function, "F", Some(""))
        );
        assert!(
            keys.open(AuthLevel::Function, "F", Some(&host))
                && keys.open(AuthLevel::Function, "G", Some(&host))
        );
        assert!(
            keys.open(AuthLevel::Function, "F", Some("only-f"))
                && !keys.open(AuthLevel::Function, "G", Some("only-f"))
        );
        assert!(
            keys.open(AuthLevel::Admin, "F", Some(&master))
                && !keys.open(AuthLevel::Admin, "F", Some(&host))
        );
        assert!(!format!("{keys:?}").contains(&master));
    }
}
