//! The language model's settings.

use super::reader::Reader;
use crate::model::{ModelSettings, Provider};

pub(super) fn model(r: &mut Reader<'_>, identity: bool) -> Option<ModelSettings> {
    let provider = match r
        .text("AI_PROVIDER")
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "none" => return None,
        "azure-openai" => Provider::AzureOpenAi,
        "openai-compatible" => Provider::OpenAiCompatible,
        _ => {
            r.problem(
                "AI_PROVIDER",
                "must be none, azure-openai or openai-compatible",
            );
            return None;
        }
    };
    let because = "AI_PROVIDER is set";
    let (endpoint, name) = (
        r.required_url("AI_ENDPOINT", because),
        r.required("AI_MODEL", because),
    );
    let api_key = r.secret("AI_API_KEY");
    if provider == Provider::AzureOpenAi && api_key.is_none() && !identity {
        r.problem(
            "AI_API_KEY",
            "is missing, and there is no managed identity instead",
        );
        return None;
    }
    let daily_budget = r.number("AI_DAILY_BUDGET", 0, 1_000_000).unwrap_or(500);
    Some(ModelSettings {
        provider,
        endpoint: endpoint?,
        model: name?,
        api_key,
        daily_budget,
    })
}
