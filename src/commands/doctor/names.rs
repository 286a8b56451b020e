//! Names that are nearly those of a setting, and secrets that are of another kind than the setting wants.

use std::collections::BTreeSet;

use crate::config::{Environment, SETTINGS};
use crate::sinks::{Check, bad};

/// Letters in which a misspelt name may differ.
const SLIPS: usize = 2;
/// Shorter names are like too many others.
const SHORTEST: usize = 8;

/// How a secret begins, the setting it is taken for, and what it is.
const OTHER_KINDS: &[(&str, &str, &str)] = &[
    (
        "SLACK_BOT_TOKEN",
        "xoxp-",
        "a user token: the bot token (xoxb-…) is on the same page, OAuth & Permissions",
    ),
    (
        "SLACK_BOT_TOKEN",
        "xapp-",
        "an app-level token: the bot token (xoxb-…) is under OAuth & Permissions",
    ),
    (
        "SLACK_BOT_TOKEN",
        "xoxe",
        "a token that expires: switch token rotation off, and install the app again",
    ),
    (
        "SLACK_BOT_TOKEN",
        "https://",
        "a webhook's URL: messages are edited and answered, which needs the bot token (xoxb-…)",
    ),
    (
        "SLACK_SIGNING_SECRET",
        "xox",
        "a token: the signing secret is under Basic Information",
    ),
    (
        "SLACK_SIGNING_SECRET",
        "xapp-",
        "a token: the signing secret is under Basic Information",
    ),
    (
        "JIRA_API_TOKEN",
        "ATBB",
        "an app password of Bitbucket: make an API token at id.atlassian.com",
    ),
    (
        "JIRA_API_TOKEN",
        "ATCTT",
        "a token of an organisation's admin API: make an API token at id.atlassian.com",
    ),
    (
        "DATABRICKS_TOKEN",
        "dose",
        "a client secret of a service principal: DATABRICKS_TOKEN takes an access token (dapi…), or leave it empty for the managed identity",
    ),
    (
        "AI_API_KEY",
        "sk-ant-",
        "a key of Anthropic, whose API is another: AI_PROVIDER wants Azure OpenAI or a compatible one",
    ),
];

/// What is set and is not what it seems.
pub(super) fn check(environment: &Environment) -> Vec<Check> {
    misspelt(environment)
        .chain(of_another_kind(environment))
        .collect()
}

fn misspelt(environment: &Environment) -> impl Iterator<Item = Check> {
    let set = |name: &str| (environment.get(name)).is_some_and(|value| !value.trim().is_empty());
    (environment.keys())
        .filter(|name| SETTINGS.iter().all(|setting| setting.name != name.as_str()))
        .filter_map(move |name| {
            let meant = SETTINGS
                .iter()
                .find(|setting| !set(setting.name) && is_nearly(name, setting.name))?;
            Some(bad(
                name,
                format!("is no setting; {} is, and is not set", meant.name),
                format!("rename it to {}", meant.name),
            ))
        })
}

/// A slip of the pen, another case, or a word too few or too many.
fn is_nearly(name: &str, setting: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let words = |name: &str| -> BTreeSet<String> {
        let words = name.split(['_', '-']).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    let (given, wanted) = (words(&upper), words(setting));
    let same_vendor = upper.split('_').next() == setting.split('_').next();
    let a_word_off = same_vendor
        && given.len() >= 2
        && given.len().abs_diff(wanted.len()) <= 1
        && (given.is_subset(&wanted) || wanted.is_subset(&given));
    let slips = strsim::damerau_levenshtein(&upper, setting);
    let a_slip_off = setting.len() >= SHORTEST && slips <= SLIPS;
    a_word_off || a_slip_off
}

fn of_another_kind(environment: &Environment) -> impl Iterator<Item = Check> {
    OTHER_KINDS.iter().filter_map(|(setting, start, kind)| {
        let value = environment.get(*setting)?.trim();
        value.starts_with(start).then(|| {
            let (what, fix) = kind.split_once(": ").unwrap_or((kind, kind));
            bad(setting, format!("looks like {what}"), fix)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pairs: &[(&str, &str)]) -> Vec<String> {
        let environment = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let checks = check(&environment.collect());
        checks
            .into_iter()
            .map(|check| format!("{}: {}", check.name, check.line))
            .collect()
    }

    #[test]
    fn a_name_that_is_nearly_a_setting_is_named_with_it() {
        for (name, meant) in [
            ("SLACK_TOKEN", "SLACK_BOT_TOKEN"),
            ("JIRA_TOKEN", "JIRA_API_TOKEN"),
            ("JIRA_API_TOKN", "JIRA_API_TOKEN"),
            ("slack_bot_token", "SLACK_BOT_TOKEN"),
            ("DATABRICKS_ACCESS_TOKEN", "DATABRICKS_TOKEN"),
        ] {
            let expected = format!("{name}: is no setting; {meant} is, and is not set");
            assert_eq!(found(&[(name, "x")]), [expected]);
            assert_eq!(found(&[(name, "x"), (meant, "y")]), [""; 0], "{name}");
        }
    }

    #[test]
    fn names_of_others_are_left_alone() {
        for name in [
            "PATH",
            "HOME",
            "LANG",
            "AIRFLOW_HOME",
            "AIRFLOW__CORE__DAGS_FOLDER",
            "AZURE_CONFIG_DIR",
            "WEBSITE_SITE_NAME",
            "DATABRICKS_RUNTIME_VERSION",
        ] {
            assert_eq!(found(&[(name, "x")]), [""; 0]);
        }
    }

    #[test]
    fn a_secret_of_another_kind_is_named_without_it() {
        let said = found(&[
            ("SLACK_BOT_TOKEN", "xoxp-1234567890"),
            ("SLACK_SIGNING_SECRET", "xoxb-1234567890"),
        ]);
        assert_eq!(
            said,
            [
                "SLACK_BOT_TOKEN: looks like a user token",
                "SLACK_SIGNING_SECRET: looks like a token"
            ]
        );
        assert_eq!(
            found(&[("SLACK_BOT_TOKEN", "xoxb-1"), ("DATABRICKS_TOKEN", "dapi0")]),
            [""; 0]
        );
    }
}
