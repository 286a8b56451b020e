//! The optional language model: it words the deterministic diagnosis, it never decides (law L6).

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use url::Url;

use super::Diagnosis;
use crate::evidence::{Evidence, Gap};
use crate::failure::Failure;
use crate::http::Http;
use crate::identity::Identity;

/// Whose wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Azure OpenAI.
    AzureOpenAi,
    /// OpenAI, Ollama, Gemini's compatible endpoint.
    OpenAiCompatible,
}

/// Which model, and how to enter.
#[derive(Debug, Clone)]
pub struct ModelSettings {
    /// `AI_PROVIDER`.
    pub provider: Provider,
    /// `AI_ENDPOINT`.
    pub endpoint: Url,
    /// `AI_MODEL`.
    pub model: String,
    /// `AI_API_KEY`.
    pub api_key: Option<SecretString>,
    /// `AI_DAILY_BUDGET`: at most so many calls a day.
    pub daily_budget: u32,
}

/// The model's client.
#[derive(Debug, Clone)]
pub struct Model {
    settings: ModelSettings,
    _http: Http,
    _identity: Option<Identity>,
}

impl Model {
    /// Nothing is asked before the first diagnosis.
    pub fn new(settings: ModelSettings, http: Http, identity: Option<Identity>) -> Self {
        Self { settings, _http: http, _identity: identity }
    }

    /// At most so many calls a day.
    pub fn daily_budget(&self) -> u32 {
        self.settings.daily_budget
    }

    /// One call that says whether the model answers.
    #[expect(clippy::unused_async, reason = "being built")]
    pub async fn check(&self, _now: DateTime<Utc>) -> Result<String, crate::fault::Fault> {
        Err(crate::fault::Fault::permanent("not built yet"))
    }

    /// Words the diagnosis; on any trouble the given one comes back with the gap that says why.
    #[expect(clippy::unused_async, reason = "being built")]
    pub async fn word(
        &self,
        diagnosis: Diagnosis,
        _failure: &Failure,
        _evidence: &[Evidence],
        _now: DateTime<Utc>,
    ) -> (Diagnosis, Option<Gap>) {
        (diagnosis, Some(Gap { source: "model".to_owned(), reason: "not built yet".to_owned() }))
    }
}
