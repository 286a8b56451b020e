//! What failed, and where: the key of locks, cooldown, healing history and rules.

use super::{AssetKind, Failure, RunKey, Source};

/// A pipeline, job, cluster or task with its place. Two factories may each have a `pl_load`: they are two assets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// The platform.
    pub source: Source,
    /// The factory or Synapse workspace (resource id, lower case), the Databricks workspace, the Airflow deployment;
    /// empty when nobody said.
    pub scope: String,
    /// What kind of thing it is.
    pub kind: AssetKind,
    /// Its name: pipeline, job, cluster, or `dag.task`.
    pub name: String,
}

impl Asset {
    /// The asset of a failure.
    pub fn of(failure: &Failure) -> Self {
        Self {
            source: failure.source,
            scope: failure.scope().unwrap_or_default().to_lowercase(),
            kind: failure.kind,
            name: failure.asset.clone(),
        }
    }

    /// Hex, safe as a storage key; the same for names that their vendor takes for the same.
    pub fn key(&self) -> String {
        RunKey::new(self.source, self.kind.label(), &self.name, &self.scope, "").hash()
    }

    /// Names what keeps failing: this cause, by its fingerprint, on this asset.
    pub fn fingerprint(&self, cause: &str) -> String {
        let scope = format!("{}/{}", self.kind.label(), self.scope);
        let key = RunKey::new(self.source, &self.name, cause, &scope, "");
        key.hash()
    }

    /// The same asset as versions before scopes knew it.
    #[must_use]
    pub fn without_scope(&self) -> Self {
        Self {
            scope: String::new(),
            ..self.clone()
        }
    }
}

impl Failure {
    /// What failed, and where.
    pub fn asset_id(&self) -> Asset {
        Asset::of(self)
    }
}
