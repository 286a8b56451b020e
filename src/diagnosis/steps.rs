//! What to do: the cause's own steps, and those of its category.

use std::collections::BTreeMap;

use super::catalog::Catalog;
use super::{Case, Category, wording};

/// The steps that fit how the case signs in: nothing about a password where none is used.
pub(super) fn fitting(
    catalog: &Catalog,
    case: &Case,
    category: Category,
    own: &[String],
    entities: &BTreeMap<String, String>,
) -> Vec<String> {
    let about_password = |step: &String| step.to_ascii_lowercase().contains("password");
    if !own.iter().any(about_password) || !signs_in_without_password(case) {
        return steps(catalog, category, own, entities);
    }
    let mut fit = vec![
        "Check the identity, token, key or certificate that the connection uses: is it valid, and known to the remote service?"
            .to_owned(),
    ];
    fit.extend(own.iter().filter(|step| !about_password(step)).cloned());
    steps(catalog, category, &fit, entities)
}

/// Does the text name another way to sign in, and no password?
fn signs_in_without_password(case: &Case) -> bool {
    const OTHER_WAYS: [&str; 22] = [
        "managed identity",
        "managedidentity",
        "service principal",
        "serviceprincipal",
        "token-identified",
        "access token",
        "accesstoken",
        "access_token",
        "bearer",
        "jwt",
        "oauth",
        "aadsts",
        "sas token",
        "shared access signature",
        "account key",
        "access key",
        "certificate",
        "workload identity",
        "key pair",
        "private key",
        "publickey",
        "kerberos",
    ];
    let mut texts = vec![case.message.as_str()];
    texts.extend(case.context.values().map(String::as_str));
    texts.extend(case.evidence.iter().map(|piece| piece.text.as_str()));
    let lower: Vec<String> = texts.iter().map(|text| text.to_ascii_lowercase()).collect();
    let says = |word: &str| lower.iter().any(|text| text.contains(word));
    !says("password") && !says("pwd=") && OTHER_WAYS.iter().any(|way| says(way))
}

/// The cause's own steps. A single one is joined by one of its category's: the last, which ends with the rerun, or the
/// first where the cause's own speaks of that already. Without any, the category's steps stand.
pub(super) fn steps(
    catalog: &Catalog,
    category: Category,
    own: &[String],
    entities: &BTreeMap<String, String>,
) -> Vec<String> {
    let general = catalog
        .defaults(category)
        .map(|defaults| defaults.steps.as_slice())
        .unwrap_or_default();
    let general = match own {
        [] => general.iter().collect(),
        [one] if speaks_of_a_rerun(one) => general.first().into_iter().collect(),
        [_] => general.last().into_iter().collect(),
        _ => Vec::new(),
    };
    own.iter()
        .chain(general)
        .take(4)
        .map(|step| wording::fill(step, entities))
        .collect()
}

pub(super) fn speaks_of_a_rerun(step: &str) -> bool {
    ["erun", " again", "estart", "epair", "lear the task"]
        .iter()
        .any(|word| step.contains(word))
}
