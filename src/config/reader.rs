//! Reads values out of a map of settings and collects every problem, each with its variable's name.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use url::Url;

use super::settings::SETTINGS;

/// Settings by name.
pub type Environment = BTreeMap<String, String>;

/// Something wrong with a setting, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which setting.
    pub name: &'static str,
    /// What is wrong and what to do; never its value.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }
}

pub(super) struct Reader<'a> {
    environment: &'a Environment,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            problems: Vec::new(),
        }
    }

    /// Notes a problem, once.
    pub(super) fn problem(&mut self, name: &'static str, text: impl Into<String>) {
        let problem = Problem {
            name,
            text: text.into(),
        };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// A Key Vault reference that Azure could not resolve arrives as its own text.
    fn is_unresolved(&mut self, name: &'static str) -> bool {
        let unresolved = self
            .environment
            .get(name)
            .is_some_and(|value| value.trim().starts_with("@Microsoft.KeyVault("));
        if unresolved {
            self.problem(name, "the Key Vault reference was not resolved: check the vault's access and the secret's name");
        }
        unresolved
    }

    /// The value, trimmed; its default when it is absent; `None` when both are empty.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        let default = SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .map_or("", |setting| setting.default);
        debug_assert!(
            SETTINGS.iter().any(|setting| setting.name == name),
            "{name} is not in the table of settings"
        );
        let given = self
            .environment
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty());
        // Key Vault references that Azure could not resolve arrive as their own text.
        let given = given.filter(|value| !value.starts_with("@Microsoft.KeyVault("));
        Some(given.unwrap_or(default).to_owned()).filter(|value| !value.is_empty())
    }

    /// A credential of one of several scopes: `<setting>_<NAME>`, the scope's short name in capitals, with `_` for whatever
    /// is neither a letter nor a digit.
    pub(super) fn of_scope(&self, setting: &'static str, scope: &str) -> Option<String> {
        let given = self.environment.get(&name_of_scope(setting, scope))?.trim();
        let unresolved = given.is_empty() || given.starts_with("@Microsoft.KeyVault(");
        (!unresolved).then(|| given.to_owned())
    }

    /// Is it given at all?
    pub(super) fn has(&self, name: &'static str) -> bool {
        self.environment
            .get(name)
            .is_some_and(|value| !value.trim().is_empty())
    }

    pub(super) fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        if self.is_unresolved(name) {
            return None;
        }
        self.text(name).map(SecretString::from)
    }

    pub(super) fn required(&mut self, name: &'static str, because: &str) -> Option<String> {
        if self.is_unresolved(name) {
            return None;
        }
        let value = self.text(name);
        if value.is_none() {
            self.problem(name, format!("is missing, and needed because {because}"));
        }
        value
    }

    pub(super) fn required_secret(
        &mut self,
        name: &'static str,
        because: &str,
    ) -> Option<SecretString> {
        self.required(name, because)?;
        self.secret(name)
    }

    /// An absolute http(s) URL; https unless it leads to this machine.
    pub(super) fn url(&mut self, name: &'static str) -> Option<Url> {
        let text = self.text(name)?;
        match address(&text) {
            Ok(url) => Some(url),
            Err(why) => {
                self.problem(name, why);
                None
            }
        }
    }

    pub(super) fn required_url(&mut self, name: &'static str, because: &str) -> Option<Url> {
        self.required(name, because)?;
        self.url(name)
    }

    pub(super) fn number<N: std::str::FromStr + PartialOrd + fmt::Display + Copy>(
        &mut self,
        name: &'static str,
        from: N,
        to: N,
    ) -> Option<N> {
        let text = self.text(name)?;
        match text.parse::<N>() {
            Ok(number) if number >= from && number <= to => Some(number),
            _ => {
                self.problem(name, format!("must be a number from {from} to {to}"));
                None
            }
        }
    }

    /// Minutes, a fraction allowed: more than none, at most `most`.
    pub(super) fn minutes(&mut self, name: &'static str, most: u32) -> Option<chrono::Duration> {
        let minutes = self.number(name, 0.01, f64::from(most))?;
        chrono::Duration::from_std(std::time::Duration::from_secs_f64(minutes * 60.0)).ok()
    }

    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        match self
            .text(name)
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str()
        {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" | "" => false,
            _ => {
                self.problem(name, "must be true or false");
                false
            }
        }
    }
}

/// An absolute http(s) URL; https unless it leads to this machine. `Err`: what is wrong.
pub(super) fn address(text: &str) -> Result<Url, &'static str> {
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let url = Url::parse(&text).map_err(|_| "is not a URL")?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if !(url.scheme() == "https" || url.scheme() == "http" && local) || url.host_str().is_none() {
        return Err("must begin with https:// (http:// only for this machine)");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password");
    }
    Ok(url)
}

/// The variable that holds a scope's own value of a setting.
pub(super) fn name_of_scope(setting: &str, scope: &str) -> String {
    let suffix: String = scope
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("{setting}_{suffix}")
}

/// The items of a list, without the empty ones.
pub(super) fn list(text: Option<String>, separator: char) -> Vec<String> {
    text.unwrap_or_default()
        .split(separator)
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}
