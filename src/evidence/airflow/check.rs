//! `doctor`'s look at a deployment.

use super::{Airflow, AirflowApi, wire};
use crate::fault::Fault;

impl Airflow {
    /// Asks for the version and the number of DAGs we may see.
    pub async fn check(&self) -> Result<String, Fault> {
        let api = self.api().await?;
        // A setting that does not fit would answer 404 to everything, which reads like "no DAGs".
        if self.settings.api.is_some() && !self.answers(api).await? {
            let other = match api {
                AirflowApi::V1 => AirflowApi::V2,
                AirflowApi::V2 => AirflowApi::V1,
            };
            return Err(Fault::permanent(if self.answers(other).await? {
                format!(
                    "AIRFLOW_API_VERSION={} does not fit: this server answers /api/{fits}; set it to {fits}, or leave it out",
                    api.name(),
                    fits = other.name()
                )
            } else {
                "neither /api/v2 nor /api/v1 answers: check AIRFLOW_BASE_URL".to_owned()
            }));
        }
        let version: wire::Version = self.get(&["version"], &[]).await?.unwrap_or_default();
        let dags: Option<wire::Dags> = self.get(&["dags"], &[("limit", "1")]).await?;
        let dags =
            dags.ok_or_else(|| Fault::permanent("Airflow answered 404 to its list of DAGs"))?;
        Ok(format!(
            "Airflow {} (API {api:?}), {} DAGs visible",
            version.version,
            dags.total_entries.unwrap_or_default()
        ))
    }
}
