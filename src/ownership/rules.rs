//! The rules of `OWNERS` and `CRITICALITY`.

use globset::GlobMatcher;

use super::routes::{NOBODY, words};
use super::tags;
use crate::diagnosis::Severity;
use crate::failure::{Asset, AssetPattern, Failure, Scope, field, glob};
use crate::ticket::{Importance, Owner};

/// The longest name of an owner, in bytes.
const NAME_CAP: usize = 100;

/// What a rule is about.
#[derive(Debug, Clone)]
enum Subject {
    /// Assets by their names, and perhaps by their scopes.
    Asset(AssetPattern),
    /// What the platform says about them, under this name.
    Said(Said, GlobMatcher),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Owner,
    Tag,
    Folder,
    RunAs,
    Creator,
}

const SAID: [(&str, Said); 6] = [
    ("owner:", Said::Owner),
    ("tag:", Said::Tag),
    ("annotation:", Said::Tag),
    ("folder:", Said::Folder),
    ("run_as:", Said::RunAs),
    ("creator:", Said::Creator),
];

impl Subject {
    fn parse(text: &str, scopes: &[Scope]) -> Result<Self, String> {
        let text = text.trim();
        for (prefix, said) in SAID {
            let head = text.get(..prefix.len()).unwrap_or_default();
            if let Some(rest) = text
                .get(prefix.len()..)
                .filter(|_| head.eq_ignore_ascii_case(prefix))
            {
                return Ok(Self::Said(said, glob(rest)?));
            }
        }
        AssetPattern::parse(text, scopes).map(Self::Asset)
    }

    /// `owner`: who was found to own it.
    fn is_for(&self, failure: &Failure, owner: Option<&str>) -> bool {
        let (said, matcher) = match self {
            Self::Asset(pattern) => return pattern.is_for(&Asset::of(failure)),
            Self::Said(said, matcher) => (*said, matcher),
        };
        let of_field = |name| {
            failure
                .field(name)
                .is_some_and(|text| matcher.is_match(text))
        };
        match said {
            Said::Owner => {
                let mut named = failure.field(field::OWNER).unwrap_or_default().split(',');
                owner.is_some_and(|owner| matcher.is_match(owner))
                    || named.any(|name| matcher.is_match(name.trim()))
            }
            Said::Tag => tags(failure).any(|tag| matcher.is_match(tag)),
            Said::Folder => of_field(field::FOLDER),
            Said::RunAs => of_field(field::RUN_AS),
            Said::Creator => of_field(field::CREATOR),
        }
    }
}

/// One rule of `OWNERS`: `<what>=<owner>`.
#[derive(Debug, Clone)]
pub struct OwnerRule {
    subject: Subject,
    owner: String,
    text: String,
}

impl OwnerRule {
    /// Reads `[<scope>/]<glob>=<owner>`, or `tag:<glob>=<owner>` and so on.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str, scopes: &[Scope]) -> Result<Self, String> {
        let form = || format!("`{line}` is not `<glob>=<owner>`");
        let (what, owner) = line.rsplit_once('=').ok_or_else(form)?;
        let owner = owner.trim();
        if owner.is_empty() || owner.len() > NAME_CAP {
            return Err(form());
        }
        Ok(Self {
            subject: Subject::parse(what, scopes)?,
            owner: owner.to_owned(),
            text: line.trim().to_owned(),
        })
    }

    pub(super) fn is_for(&self, failure: &Failure) -> bool {
        self.subject.is_for(failure, None)
    }

    pub(super) fn owner(&self) -> Option<Owner> {
        (!self.owner.eq_ignore_ascii_case(NOBODY)).then(|| Owner {
            name: self.owner.clone(),
            known_from: format!("the rule `{}` (OWNERS)", self.text),
        })
    }
}

/// One rule of `CRITICALITY`: `<what>=<level>[,mention=<who>][,approval=ask]`.
#[derive(Debug, Clone)]
pub struct CriticalityRule {
    subject: Subject,
    importance: Importance,
}

impl CriticalityRule {
    /// Reads `[<scope>/]<glob>=critical|high|medium|low[,mention=<who> <who>|nobody][,approval=ask]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str, scopes: &[Scope]) -> Result<Self, String> {
        let line = line.trim();
        // From the end, so that a glob may hold commas (`{a,b}*`).
        let (mut rest, mut mention, mut asks) = (line, None, false);
        while let Some((head, word)) = rest.rsplit_once(',') {
            let Some((name, value)) = word.trim().split_once('=') else {
                break;
            };
            match (name.trim(), value.trim()) {
                ("mention", who) if who.eq_ignore_ascii_case(NOBODY) => mention = Some(Vec::new()),
                ("mention", who) => mention = Some(words(who)),
                ("approval", "ask") => asks = true,
                ("approval", other) => {
                    return Err(format!(
                        "`approval={other}`: only `approval=ask` is known; REMEDIATION_ASSETS says what is safe"
                    ));
                }
                _ => break,
            }
            rest = head.trim_end();
        }
        let form = || {
            format!(
                "`{line}` is not `<glob>=critical|high|medium|low[,mention=<who>][,approval=ask]`"
            )
        };
        let (what, level) = rest.rsplit_once('=').ok_or_else(form)?;
        let severity = match level.trim().to_ascii_lowercase().as_str() {
            "critical" => Severity::Critical,
            "high" => Severity::High,
            "medium" | "normal" => Severity::Medium,
            "low" => Severity::Low,
            _ => return Err(form()),
        };
        Ok(Self {
            subject: Subject::parse(what, scopes)?,
            importance: Importance {
                severity,
                rule: line.to_owned(),
                asks: asks || severity == Severity::Critical,
                mention,
            },
        })
    }

    pub(super) fn is_for(&self, failure: &Failure, owner: Option<&str>) -> bool {
        self.subject.is_for(failure, owner)
    }

    pub(super) fn importance(&self) -> Importance {
        self.importance.clone()
    }
}

/// The rules of a setting: separated by `;` or line breaks, or by spaces where none of those is used. Then a word without
/// `=` belongs to the rule before or after it: `nightly ETL*=team-data` is one rule.
pub fn lines(text: &str) -> Vec<String> {
    let filled = |rule: &&str| !rule.is_empty();
    if text.contains([';', '\n']) {
        let rules = text.split([';', '\n']).map(str::trim).filter(filled);
        return rules.map(str::to_owned).collect();
    }
    let mut rules: Vec<String> = Vec::new();
    let mut begun = String::new();
    for word in text.split_whitespace() {
        if !begun.is_empty() {
            begun.push(' ');
        }
        begun.push_str(word);
        if word.contains('=') {
            rules.push(std::mem::take(&mut begun));
        }
    }
    match rules.last_mut() {
        Some(last) if !begun.is_empty() => {
            last.push(' ');
            last.push_str(&begun);
        }
        None if !begun.is_empty() => rules.push(begun),
        Some(_) | None => {}
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_apart_by_semicolons_or_spaces() {
        assert_eq!(
            lines("pl_finance_*=team-finance  dev_*=team-dev"),
            ["pl_finance_*=team-finance", "dev_*=team-dev"]
        );
        assert_eq!(
            lines("nightly ETL*=team-data pl_x=team-x"),
            ["nightly ETL*=team-data", "pl_x=team-x"]
        );
        assert_eq!(
            lines("pl_*=Team Finance; nightly ETL=Team Data;"),
            ["pl_*=Team Finance", "nightly ETL=Team Data"]
        );
        assert_eq!(lines("pl_*=Team Finance"), ["pl_*=Team Finance"]);
        assert_eq!(lines("nonsense here"), ["nonsense here"]);
        assert!(lines("  ").is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for wrong in ["pl_*", "=team", "pl_*=", "a[=team"] {
            assert!(OwnerRule::parse(wrong, &[]).is_err(), "{wrong}");
        }
        for wrong in [
            "pl_*=urgent",
            "pl_*",
            "pl_*=low,approval=never",
            "pl_*=low,sla=3",
        ] {
            assert!(CriticalityRule::parse(wrong, &[]).is_err(), "{wrong}");
        }
        let rule =
            CriticalityRule::parse("{pl_a,pl_b}*=High, mention=S0AB here ,approval=ask", &[]);
        let importance = rule.unwrap().importance();
        assert_eq!(importance.severity, Severity::High);
        assert!(importance.asks);
        assert_eq!(
            importance.mention,
            Some(vec!["S0AB".to_owned(), "here".to_owned()])
        );
    }
}
