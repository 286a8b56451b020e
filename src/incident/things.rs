//! The things that an error names: host, account, integration runtime, cluster, quota, principal.
//!
//! In: the error's text and what the diagnosis found in it. Out: names, lower case. Those that last longer than a run tell
//! repeats apart; the most telling one is what a storm is about. A machine of a cluster, the address of a caller and the
//! pages of documentation name nothing.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::diagnosis::stable;
use crate::failure::field;
use crate::ticket::Ticket;

/// A named thing: its kind and its name, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Thing(pub String, pub String);

/// What an error names.
pub(super) struct Things {
    /// What lasts longer than a run.
    pub(super) lasting: BTreeSet<Thing>,
    /// What a storm is about.
    pub(super) storm: Option<Thing>,
}

const HOST: &str = "host";
const ACCOUNT: &str = "account";
const RUNTIME: &str = "runtime";
const CLUSTER: &str = "cluster";
const QUOTA: &str = "quota";
const PRINCIPAL: &str = "principal";
const VAULT: &str = "vault";
const CONNECTION: &str = "connection";
const NAME: &str = "name";
/// Quoted names that are compared.
const MOST_QUOTED: usize = 12;

/// The most telling first.
const ORDER: [&str; 8] = [
    QUOTA, VAULT, ACCOUNT, HOST, RUNTIME, CLUSTER, PRINCIPAL, CONNECTION,
];

/// A noun before a name, and what kind of thing it is.
const NOUNS: [(&str, &str); 24] = [
    ("host", HOST),
    ("hostname", HOST),
    ("host name", HOST),
    ("server", HOST),
    ("endpoint", HOST),
    ("broker", HOST),
    ("database server", HOST),
    ("account", ACCOUNT),
    ("storage account", ACCOUNT),
    ("integration runtime", RUNTIME),
    ("self-hosted integration runtime", RUNTIME),
    ("gateway", RUNTIME),
    ("cluster", CLUSTER),
    ("instance pool", CLUSTER),
    ("pool", CLUSTER),
    ("warehouse", CLUSTER),
    ("quota", QUOTA),
    ("vault", VAULT),
    ("user", PRINCIPAL),
    ("principal", PRINCIPAL),
    ("identity", PRINCIPAL),
    ("application", PRINCIPAL),
    ("app", PRINCIPAL),
    ("conn_id", CONNECTION),
];

/// Kinds of entities of the diagnosis that name such a thing.
const ENTITIES: [(&str, &str); 9] = [
    ("host", HOST),
    ("server", HOST),
    ("account", ACCOUNT),
    ("ir", RUNTIME),
    ("quota", QUOTA),
    ("user", PRINCIPAL),
    ("object_id", PRINCIPAL),
    ("vault", VAULT),
    ("conn_id", CONNECTION),
];

/// Entities whose names tell repeats apart, though no storm is about them.
const INSIDE: [&str; 6] = [
    "table",
    "column",
    "database",
    "container",
    "secret",
    "library",
];

/// Beginnings of names of classes, which look like hosts.
const PACKAGES: [&str; 12] = [
    "com.",
    "org.",
    "net.",
    "io.",
    "java.",
    "javax.",
    "scala.",
    "sun.",
    "microsoft.",
    "system.",
    "azure.",
    "airflow.",
];

/// Hosts of pages that errors lead to.
const PAGES: [&str; 11] = [
    "docs.microsoft.com",
    "learn.microsoft.com",
    "go.microsoft.com",
    "aka.ms",
    "github.com",
    "stackoverflow.com",
    "docs.databricks.com",
    "airflow.apache.org",
    "spark.apache.org",
    "docs.snowflake.com",
    "portal.azure.com",
];

const ENDINGS: [&str; 44] = [
    "com", "net", "org", "io", "local", "internal", "intern", "eu", "de", "uk", "cloud", "dev",
    "corp", "lan", "app", "ai", "co", "us", "fr", "ch", "nl", "at", "it", "es", "pl", "cn", "jp",
    "in", "br", "au", "ca", "se", "no", "dk", "fi", "be", "ie", "test", "example", "home", "tech",
    "info", "biz", "gov",
];

/// Characters of a name between brackets, and of one between quotes. Not in the patterns: `\w` so many times takes megabytes.
const BRACKETED: usize = 101;
const IN_QUOTES: usize = 61;

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($text).ok());
    };
}

pattern!(
    DOTTED,
    r"(?i)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+"
);
static NOUN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let mut nouns: Vec<&str> = NOUNS.iter().map(|(noun, _)| *noun).collect();
    nouns.sort_by_key(|noun| std::cmp::Reverse(noun.len()));
    let before = nouns.join("|");
    let between = r"(?:\s+(?:named|name|id|on|at|with id|with identifier))?\s*[:=]?\s*";
    let bracketed = r"\(([a-z0-9][\w.\-]+)\)";
    Regex::new(&format!(
        r#"(?i)(?:^|[^\w-])({before}){between}(?:\(?\\?['"`‘“]([^'"`’”\n]{{1,120}})['"`’”]|{bracketed})"#
    ))
    .ok()
});
pattern!(
    FAMILY,
    r"(?i)exceeding approved\s+(.{1,80}?)\s+(?:cores\s+)?quota"
);
pattern!(
    UNKNOWN_HOST,
    r"(?i)(?:UnknownHostException|gaierror|could not resolve host(?: name)?|failed to resolve|ENOTFOUND|translate host name)[:\s'\x22]+([a-z0-9][a-z0-9.\-]{1,120})"
);
pattern!(
    ADDRESS_PAIR,
    r"(?i)(?:server|host|connect to|connecting to|connection to)\D{0,30}?\b(\d{1,3}(?:\.\d{1,3}){3})(?::\d+)?\b"
);
pattern!(CLUSTER_ID, r"\b\d{4}-\d{6}-[a-z0-9]{6,10}\b");
pattern!(
    MACHINE,
    r"^(?:ip-)?\d+(?:-\d+){3}|^\d|\.ec2\.internal$|\.compute\.internal$|\.internal\.cloudapp\.net$"
);
pattern!(NUMBERS, r"\d{4,}|\d+(?:-\d+)+");
pattern!(QUOTED, r#"['"`]([A-Za-z_][\w.\-]+)['"`]"#);
pattern!(PART_OF_NAME, r"[\\/@]$");

pub(super) fn of(ticket: &Ticket) -> Things {
    let text = &ticket.failure.message;
    let mut found = BTreeSet::new();
    let mut add = |kind: &str, name: &str| {
        let name = name.trim().trim_end_matches(['.', ',', ';']).to_lowercase();
        let name = name
            .split_once("://")
            .map_or(name.as_str(), |(_, rest)| rest);
        let name = name.split(['/', ' ', '?']).next().unwrap_or_default();
        let name = if kind == HOST {
            without_port(name)
        } else {
            name
        };
        let says_nothing =
            name.is_empty() || kind == HOST && (is_machine(name) || PAGES.contains(&name));
        if !says_nothing {
            found.insert(Thing(kind.to_owned(), name.to_owned()));
        }
    };
    for host in hosts(text) {
        add(HOST, host);
    }
    for words in NOUN.iter().flat_map(|noun| noun.captures_iter(text)) {
        let bracketed = words.get(3);
        let bracketed = bracketed.filter(|name| name.as_str().chars().count() <= BRACKETED);
        let name = words.get(2).or(bracketed);
        let (Some(noun), Some(name)) = (words.get(1), name) else {
            continue;
        };
        let noun = noun.as_str().to_lowercase();
        if let Some((_, kind)) = NOUNS.iter().find(|(known, _)| *known == noun) {
            add(kind, name.as_str());
        }
    }
    for (pattern, kind) in [
        (&FAMILY, QUOTA),
        (&UNKNOWN_HOST, HOST),
        (&ADDRESS_PAIR, HOST),
    ] {
        for words in pattern
            .iter()
            .flat_map(|pattern| pattern.captures_iter(text))
        {
            if let Some(name) = words.get(1) {
                add(kind, name.as_str());
            }
        }
    }
    for (entity, kind) in ENTITIES {
        if let Some(name) = ticket.diagnosis.entities.get(entity) {
            add(kind, name);
        }
    }
    let mut lasting = found.clone();
    for entity in INSIDE {
        if let Some(name) = ticket.diagnosis.entities.get(entity) {
            let name = NUMBERS.as_ref().map_or(name.as_str().into(), |numbers| {
                numbers.replace_all(name, "#")
            });
            lasting.insert(Thing(entity.to_owned(), name.to_lowercase()));
        }
    }
    lasting.extend(quoted(text).map(|name| Thing(NAME.to_owned(), name)));
    let cluster = ticket.failure.field(field::CLUSTER_ID).map(str::to_owned);
    let cluster = cluster.or_else(|| Some(CLUSTER_ID.as_ref()?.find(text)?.as_str().to_owned()));
    found.extend(cluster.map(|id| Thing(CLUSTER.to_owned(), id)));
    let storm = ORDER
        .iter()
        .find_map(|kind| found.iter().find(|Thing(known, _)| known == kind));
    Things {
        storm: storm.cloned(),
        lasting,
    }
}

/// What stands between quotes and is written like a name that lasts: `orders_2`, not `part-00012` or a random suffix.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    let found = QUOTED
        .iter()
        .flat_map(move |quoted| quoted.captures_iter(text));
    let names = found
        .filter_map(|words| words.get(1))
        .map(|name| name.as_str());
    names
        .filter(|name| name.chars().count() <= IN_QUOTES)
        .filter(|name| name.split(['-', '_', '.']).all(lasts))
        .take(MOST_QUOTED)
        .map(str::to_lowercase)
}

/// A piece of a name: letters, and few digits at its end.
fn lasts(piece: &str) -> bool {
    let digits = piece.trim_start_matches(|c: char| c.is_alphabetic());
    digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The names of hosts in a text.
fn hosts(text: &str) -> impl Iterator<Item = &str> {
    let dotted = DOTTED.iter().flat_map(move |dotted| dotted.find_iter(text));
    dotted
        .filter(move |found| {
            is_host(
                found.as_str(),
                text.get(..found.start()).unwrap_or_default(),
            )
        })
        .map(|found| found.as_str())
}

/// `before`: what stands before the name.
fn is_host(name: &str, before: &str) -> bool {
    let lower = name.to_lowercase();
    let ending = lower.rsplit('.').next().unwrap_or_default();
    let of_class = PACKAGES.iter().any(|package| lower.starts_with(package))
        || name.chars().any(char::is_uppercase);
    let of_path = PART_OF_NAME
        .as_ref()
        .is_some_and(|part| part.is_match(before))
        && !before.ends_with("//")
        && !before.ends_with('@');
    ENDINGS.contains(&ending) && !of_class && !of_path
}

fn without_port(name: &str) -> &str {
    name.split_once(':').map_or(name, |(host, _)| host)
}

/// A machine that lives as long as a run.
fn is_machine(host: &str) -> bool {
    let address =
        host.split('.').count() == 4 && host.split('.').all(|part| part.parse::<u8>().is_ok());
    !address
        && MACHINE
            .as_ref()
            .is_some_and(|machine| machine.is_match(host))
        || stable(host).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_an_end() {
        let names = |length: usize| quoted(&format!("'a{}'", "é".repeat(length - 1))).count();
        assert_eq!((names(IN_QUOTES), names(IN_QUOTES + 1)), (1, 0));
    }
}
