//! Which names say that the value behind them is secret.

/// How sure a name makes us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// `Password`, `AccountKey`: whatever follows is secret.
    Strong,
    /// `token`, `signature`, `pass`: also ordinary words; the value has to look like a secret.
    Weak,
    /// `code`, `key`: secret only as a parameter of a URL.
    Query,
    /// `Authorization`: a scheme and a value follow.
    Header,
    /// `Cookie`: everything up to the end of the line.
    Line,
}

const STRONG: [&str; 33] = [
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "secrets",
    "secretvalue",
    "accountkey",
    "accesskey",
    "accesskeyid",
    "apikey",
    "secretkey",
    "privatekey",
    "signingkey",
    "fernetkey",
    "functionkey",
    "functionskey",
    "masterkey",
    "hostkey",
    "subscriptionkey",
    "storagekey",
    "encryptionkey",
    "instrumentationkey",
    "dashboardkey",
    "sharedkey",
    "authkey",
    "systemkey",
    "sharedaccesssignature",
    "servicekey",
    "workspacekey",
    "cryptokey",
    "identityheader",
];
const WEAK: [&str; 5] = ["token", "signature", "credential", "credentials", "pass"];
/// Words before a lone `key`, as in `API key: …`.
const KEY_OF: [&str; 14] = [
    "api",
    "account",
    "access",
    "secret",
    "shared",
    "function",
    "master",
    "subscription",
    "storage",
    "private",
    "signing",
    "encryption",
    "fernet",
    "host",
];
/// Parts of names of errors (`InvalidPassword: The …`), and names that only look like secrets.
const NOT_SECRET: [&str; 13] = [
    "invalid",
    "incorrect",
    "wrong",
    "missing",
    "expired",
    "error",
    "failed",
    "failure",
    "denied",
    "notfound",
    "exception",
    "publickeytoken",
    "cancellationtoken",
];

/// Judges an identifier, given the word before it (for `API key`).
pub(super) fn strength(identifier: &str, word_before: &str) -> Option<Strength> {
    let name: String = identifier
        .chars()
        .filter(|c| !matches!(c, '_' | '-' | '.' | '[' | ']' | '$'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if NOT_SECRET.iter().any(|part| name.contains(part)) {
        return None;
    }
    if name == "key" && KEY_OF.iter().any(|of| word_before.eq_ignore_ascii_case(of)) {
        return Some(Strength::Strong);
    }
    if name.ends_with("pass") {
        let separated = identifier.len() > 4
            && identifier
                .get(..identifier.len() - 4)
                .is_some_and(|p| p.ends_with(['_', '-']));
        return match (separated, name.as_str()) {
            (true, _) => Some(Strength::Strong),
            (false, "pass" | "dbpass" | "userpass") => Some(Strength::Weak),
            _ => None,
        };
    }
    // Spark: the account follows what is set for it.
    if [
        "azureaccountkey",
        "azuresas",
        "azureaccountoauth2clientsecret",
    ]
    .iter()
    .any(|part| name.contains(part))
    {
        return Some(Strength::Strong);
    }
    if name == "sig" || STRONG.iter().any(|suffix| name.ends_with(suffix)) {
        return Some(Strength::Strong);
    }
    if WEAK.iter().any(|suffix| name.ends_with(suffix)) {
        return Some(Strength::Weak);
    }
    match name.as_str() {
        "code" | "key" => Some(Strength::Query),
        "authorization" | "proxyauthorization" | "xmsauthorization" => Some(Strength::Header),
        "cookie" | "setcookie" => Some(Strength::Line),
        _ => None,
    }
}

/// Values that hold no secret: nothing, a mask.
pub(super) fn is_empty(value: &str) -> bool {
    let value = value.trim();
    value.chars().all(|c| matches!(c, '*' | '•' | '.'))
        || [
            "null",
            "none",
            "nil",
            "true",
            "false",
            "undefined",
            "redacted",
            "[redacted]",
            "<redacted>",
            "[hidden]",
        ]
        .iter()
        .any(|plain| value.eq_ignore_ascii_case(plain))
}

/// Does the text go on with a reference to where the secret is, `{{secrets/scope/key}}`, `${VAR}`, `$(VAR)`?
pub(super) fn starts_with_reference(text: &str) -> bool {
    let text = text.trim_start_matches(['"', '\'', '\\']);
    let inside = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.' | ':' | '=' | ';' | ' ')
    };
    [
        ("{{", "}}"),
        ("${", "}"),
        ("$(", ")"),
        ("@Microsoft.KeyVault(", ")"),
    ]
    .into_iter()
    .any(|(open, close)| {
        text.strip_prefix(open).is_some_and(|rest| {
            let inner = rest.find(|c| !inside(c)).unwrap_or(rest.len());
            inner <= 200
                && rest
                    .get(inner..)
                    .is_some_and(|rest| rest.starts_with(close))
        })
    })
}
