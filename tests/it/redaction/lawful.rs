//! The laws of redaction for any text; the fuzz target checks the same ones.

use aiops_rca::redaction::{redact, redact_name};

/// What must hold for any text.
pub(crate) fn assert_lawful(text: &str) {
    let once = redact(text);
    assert_eq!(redact(&once), once, "redacting twice changed {text:?}");
    assert!(
        !once.contains(|c: char| c.is_control() && c != '\n' && c != '\t'),
        "{once:?}"
    );
    let name = redact_name(text);
    assert_eq!(redact_name(&name), name, "a name, twice: {text:?}");
    // What hides between others is found wherever it stands.
    let planted = format!("{text}\n\npassword=\"Zq9planted9qZ\"");
    assert!(!redact(&planted).contains("Zq9planted9qZ"), "{text:?}");
}
