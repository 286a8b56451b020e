//! Who owns what, how much it matters, and where its owner reads of it. A rule nobody can read is left out and said.

use super::reader::{Reader, list};
use crate::failure::Scope;
use crate::ownership::{CriticalityRule, OwnerRule, OwnershipSettings, Routes, lines};

pub(super) fn ownership(r: &mut Reader<'_>, scopes: &[Scope]) -> OwnershipSettings {
    OwnershipSettings {
        owners: rules(r, "OWNERS", |line| OwnerRule::parse(line, scopes)),
        criticality: rules(r, "CRITICALITY", |line| {
            CriticalityRule::parse(line, scopes)
        }),
    }
}

fn rules<T>(
    r: &mut Reader<'_>,
    name: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let mut rules = Vec::new();
    for line in lines(&r.text(name).unwrap_or_default()) {
        match parse(&line) {
            Ok(rule) => rules.push(rule),
            Err(why) => r.problem(name, why),
        }
    }
    rules
}

pub(super) fn routes(r: &mut Reader<'_>) -> Routes {
    let mut routes = Routes::default();
    for rule in list(r.text("OWNER_ROUTES"), ';') {
        if let Err(why) = routes.add(&rule) {
            r.problem("OWNER_ROUTES", why);
        }
    }
    routes
}
