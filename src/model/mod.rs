//! The optional language model: it words the deterministic diagnosis, it never decides (law L6).
//!
//! In: a [`Diagnosis`] with its failure and evidence (redacted before). Out: the same diagnosis in better
//! words, or unchanged with the [`Gap`] that says why. `prompt` says what is sent, `wire` how, `answer` what
//! of the answer is believed, `guard` which words may be shown. Only this file calls anybody. It knows no
//! ticket and no policy: category, action, severity and risk are decided before and after, never here; the
//! one exception is a doubt, which makes a diagnosis undetermined and takes its action away.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use url::Url;

use crate::diagnosis::Diagnosis;
use crate::evidence::{Evidence, Gap};
use crate::failure::Failure;
use crate::fault::Fault;
use crate::http::{Http, Reply};
use crate::identity::Identity;

mod answer;
mod guard;
mod prompt;
mod wire;

pub use answer::{Claim, Step, Unusable, Worded};
pub use prompt::Prompt;

use wire::{Ask, Dialect, Refusal, WHAT};

/// The resource that the managed identity's tokens are for.
const RESOURCE: &str = "https://cognitiveservices.azure.com";
/// All calls about one failure together take at most so long.
const BUDGET: Duration = Duration::from_secs(20);
/// Further calls after a transient fault.
const RETRIES: u32 = 2;
/// The wait before a further call when the other side names none.
const PAUSE: Duration = Duration::from_millis(400);
/// A further call that cannot take so long is not begun.
const CALL_LEAST: Duration = Duration::from_millis(50);
/// Part of every cache key: what was worded under other rules is worded again.
const RULES: &str = "1";

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
    /// `AI_DAILY_BUDGET`: the most calls per day.
    pub daily_budget: u32,
}

/// The model's client.
#[derive(Debug, Clone)]
pub struct Model {
    settings: ModelSettings,
    http: Http,
    identity: Option<Identity>,
    budget: Duration,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// In the model's words, or the given one.
    pub diagnosis: Diagnosis,
    /// Why it is the given one.
    pub gap: Option<Gap>,
    /// What the model said, where some of it was of use: worth keeping under [`Model::cache_key`].
    pub worded: Option<Worded>,
}

/// Under which key a wording is kept: the same cause on the same asset, seen in the same sources, for the same model.
///
/// Ids, times and numbers do not matter (the fingerprint leaves them out): a kept wording is held against the
/// new evidence before it is used ([`Worded::onto`]).
pub fn cache_key(
    diagnosis: &Diagnosis,
    failure: &Failure,
    evidence: &[Evidence],
    model: &str,
) -> String {
    let mut sources: Vec<&str> = evidence.iter().map(|piece| piece.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    let named = [
        RULES,
        model,
        failure.source.name(),
        &failure.asset,
        &diagnosis.fingerprint,
        diagnosis.category.words(),
        &diagnosis.error_type,
        diagnosis.action.name(),
    ];
    let mut digest = Sha256::new();
    for part in named.into_iter().chain(sources) {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    hex::encode(digest.finalize())
}

/// The diagnosis in the catalog's words, saying why it is not in the model's; and the gap that says it too.
pub fn not_worded(mut diagnosis: Diagnosis, why: &str) -> (Diagnosis, Gap) {
    diagnosis.worded_by = format!("catalog (model: {why})");
    (
        diagnosis,
        Gap {
            source: "model".to_owned(),
            reason: why.to_owned(),
        },
    )
}

impl Model {
    /// Nothing is asked before the first diagnosis.
    pub fn new(settings: ModelSettings, http: Http, identity: Option<Identity>) -> Self {
        Self {
            settings,
            http,
            identity,
            budget: BUDGET,
        }
    }

    /// With another limit for all calls about one failure together.
    #[must_use]
    pub fn with_time(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// The most calls per day.
    pub fn daily_budget(&self) -> u32 {
        self.settings.daily_budget
    }

    /// [`cache_key`] for this model.
    pub fn cache_key(
        &self,
        diagnosis: &Diagnosis,
        failure: &Failure,
        evidence: &[Evidence],
    ) -> String {
        cache_key(diagnosis, failure, evidence, &self.settings.model)
    }

    /// One cheap call that says whether the model answers.
    pub async fn check(&self, now: DateTime<Utc>) -> Result<String, Fault> {
        self.within_budget(Ask::Check, now).await?;
        let Self { settings, .. } = self;
        let provider = match settings.provider {
            Provider::AzureOpenAi => "Azure OpenAI",
            Provider::OpenAiCompatible => "OpenAI compatible",
        };
        let host = settings.endpoint.host_str().unwrap_or("its host");
        Ok(format!(
            "{} answers at {host} ({provider}), at most {} calls a day",
            settings.model, settings.daily_budget
        ))
    }

    /// Words the diagnosis; on any trouble the given one comes back with the gap that says why. With it: what is worth
    /// keeping.
    pub async fn ask(
        &self,
        diagnosis: Diagnosis,
        failure: &Failure,
        evidence: &[Evidence],
        now: DateTime<Utc>,
    ) -> Asked {
        let prompt = Prompt::of(&diagnosis, failure, evidence);
        let judged = match self.within_budget(Ask::Word(&prompt), now).await {
            Ok(text) => Worded::parse(&text, &prompt.receipt, &self.settings.model)
                .and_then(|worded| Ok((worded.onto(&diagnosis, failure, evidence)?, worded)))
                .map_err(|why| format!("{WHAT} was of no use: {why}")),
            Err(fault) => Err(fault.reason().to_owned()),
        };
        match judged {
            Ok((diagnosis, worded)) => Asked {
                diagnosis,
                gap: None,
                worded: Some(worded),
            },
            Err(why) => {
                tracing::info!(reason = %why, "the diagnosis keeps the catalog's words");
                let (diagnosis, gap) = not_worded(diagnosis, &why);
                Asked {
                    diagnosis,
                    gap: Some(gap),
                    worded: None,
                }
            }
        }
    }

    async fn within_budget(&self, ask: Ask<'_>, now: DateTime<Utc>) -> Result<String, Fault> {
        let deadline = Instant::now() + self.budget;
        tokio::time::timeout_at(deadline, Box::pin(self.with_retries(ask, deadline, now)))
            .await
            .unwrap_or_else(|_| {
                Err(Fault::transient(format!(
                    "{WHAT} did not answer within {} s",
                    self.budget.as_secs_f32()
                )))
            })
    }

    async fn with_retries(
        &self,
        ask: Ask<'_>,
        deadline: Instant,
        now: DateTime<Utc>,
    ) -> Result<String, Fault> {
        let mut dialect = Dialect {
            thinks: false,
            schema: true,
        };
        let mut retries = 0;
        loop {
            match self.once(ask, dialect, deadline, now).await {
                Ok(text) => return Ok(text),
                // Each part of a dialect changes at most once, so this ends.
                Err(Refusal::Dialect(next)) => dialect = next,
                Err(Refusal::Fault(Fault::Transient {
                    reason,
                    retry_after,
                })) => {
                    let pause = retry_after.unwrap_or(PAUSE * (retries + 1));
                    if retries == RETRIES {
                        return Err(Fault::transient(format!("{reason}, {} times", RETRIES + 1)));
                    }
                    if deadline.duration_since(Instant::now()) < pause + CALL_LEAST {
                        let wait = retry_after.map(|wait| {
                            format!(
                                " and wants to be asked again in {} s, which is too late",
                                wait.as_secs_f32().ceil()
                            )
                        });
                        return Err(Fault::transient_after(
                            format!("{reason}{}", wait.unwrap_or_default()),
                            retry_after,
                        ));
                    }
                    tokio::time::sleep(pause).await;
                    retries += 1;
                }
                Err(Refusal::Fault(fault)) => return Err(fault),
            }
        }
    }

    async fn once(
        &self,
        ask: Ask<'_>,
        dialect: Dialect,
        deadline: Instant,
        now: DateTime<Utc>,
    ) -> Result<String, Refusal> {
        let Self { settings, http, .. } = self;
        let url = wire::address(settings.provider, &settings.endpoint, &settings.model);
        let body = wire::body(
            settings.provider,
            &settings.endpoint,
            &settings.model,
            ask,
            dialect,
        );
        let request = http
            .request(reqwest::Method::POST, &url)
            .json(&body)
            .timeout(deadline.duration_since(Instant::now()));
        let request = self.signed(request).await?;
        let reply: Reply = http.send(WHAT, request).await.map_err(Fault::from)?;
        match ask {
            Ask::Word(prompt) => wire::read(&reply, dialect, prompt, now),
            Ask::Check => wire::read_check(&reply, dialect, now),
        }
    }

    /// The key, else the managed identity's token (only to Azure), else nothing (Ollama).
    async fn signed(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::RequestBuilder, Fault> {
        match (
            self.settings.provider,
            &self.settings.api_key,
            &self.identity,
        ) {
            (Provider::AzureOpenAi, Some(key), _) => {
                let mut value =
                    HeaderValue::from_str(key.expose_secret().trim()).map_err(|_| {
                        Fault::permanent("AI_API_KEY holds characters that no header can carry")
                    })?;
                value.set_sensitive(true);
                Ok(request.header("api-key", value))
            }
            (Provider::AzureOpenAi, None, Some(identity)) => {
                Ok(request.bearer_auth(identity.token(RESOURCE).await?.expose_secret()))
            }
            (Provider::AzureOpenAi, None, None) => Err(Fault::permanent(
                "AI_API_KEY is missing, and there is no managed identity instead",
            )),
            (Provider::OpenAiCompatible, Some(key), _) => {
                Ok(request.bearer_auth(key.expose_secret().trim()))
            }
            (Provider::OpenAiCompatible, None, _) => Ok(request),
        }
    }
}
