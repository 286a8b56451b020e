//! Which assets a rule of the settings, or a silence, is about: `[<scope>/]<glob>`.

use globset::{GlobBuilder, GlobMatcher};

use super::{Asset, Scope, Source};

/// A pattern on the names of assets, perhaps in some scopes only.
#[derive(Debug, Clone)]
pub struct AssetPattern {
    /// As it was written.
    text: String,
    /// The scopes that its first part names; every scope when empty.
    scopes: Vec<(Source, String)>,
    matcher: GlobMatcher,
}

impl AssetPattern {
    /// Reads `[<scope>/]<glob>`. What stands before the first `/` is a scope if it is the short name of a configured one:
    /// names of jobs hold slashes, too.
    ///
    /// # Errors
    /// It is empty, or no glob.
    pub fn parse(text: &str, configured: &[Scope]) -> Result<Self, String> {
        let text = text.trim();
        let named = |name: &str| -> Vec<(Source, String)> {
            configured
                .iter()
                .filter(|scope| scope.name.eq_ignore_ascii_case(name.trim()))
                .map(|scope| (scope.source, scope.id.clone()))
                .collect()
        };
        let (scopes, pattern) = match text.split_once('/').map(|(name, rest)| (named(name), rest)) {
            Some((scopes, rest)) if !scopes.is_empty() => (scopes, rest),
            _ => (Vec::new(), text),
        };
        Ok(Self {
            text: text.to_owned(),
            scopes,
            matcher: glob(pattern)?,
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Is it about this asset?
    pub fn is_for(&self, asset: &Asset) -> bool {
        let there = |(source, id): &(Source, String)| {
            *source == asset.source && id.eq_ignore_ascii_case(&asset.scope)
        };
        (self.scopes.is_empty() || self.scopes.iter().any(there))
            && self.matcher.is_match(&asset.name)
    }
}

/// A pattern on names, which the vendors take for the same in any case.
///
/// # Errors
/// It is empty, or no glob.
pub fn glob(text: &str) -> Result<GlobMatcher, String> {
    let text = text.trim();
    let glob = GlobBuilder::new(text)
        .case_insensitive(true)
        .build()
        .ok()
        .filter(|_| !text.is_empty());
    glob.map(|glob| glob.compile_matcher())
        .ok_or_else(|| format!("`{text}` is not a glob"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::AssetKind;

    #[test]
    fn a_scope_before_the_slash_is_one_that_is_configured() {
        let scope = Scope {
            source: Source::Databricks,
            id: "adb-1.2.azuredatabricks.net".to_owned(),
            name: "adb-1".to_owned(),
            served: true,
        };
        let asset = |scope: &str, name: &str| Asset {
            source: Source::Databricks,
            scope: scope.to_owned(),
            kind: AssetKind::Job,
            name: name.to_owned(),
        };
        let of_scope = AssetPattern::parse("ADB-1/nightly*", std::slice::from_ref(&scope)).unwrap();
        assert!(of_scope.is_for(&asset(&scope.id, "Nightly ETL")));
        assert!(!of_scope.is_for(&asset("adb-9.2.azuredatabricks.net", "Nightly ETL")));
        let of_name = AssetPattern::parse("finance/nightly*", &[scope]).unwrap();
        assert!(of_name.is_for(&asset(
            "adb-9.2.azuredatabricks.net",
            "finance/nightly load"
        )));
        assert!(AssetPattern::parse(" ", &[]).is_err());
        assert!(AssetPattern::parse("a[", &[]).is_err());
    }
}
