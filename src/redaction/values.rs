//! What a value tells about itself: that it is no secret, that it was drawn at random, that a person chose it.

/// Words that follow `password:` or `token is` in prose, in types and in code.
const PLAIN: &[&str] = &[
    "a",
    "abgelaufen",
    "about",
    "absent",
    "accepted",
    "after",
    "again",
    "all",
    "already",
    "also",
    "an",
    "and",
    "any",
    "are",
    "argument",
    "arguments",
    "as",
    "at",
    "authentication",
    "based",
    "be",
    "been",
    "before",
    "being",
    "blank",
    "bool",
    "boolean",
    "both",
    "by",
    "bytes",
    "caducada",
    "can",
    "cannot",
    "case",
    "changed",
    "characters",
    "column",
    "correct",
    "could",
    "current",
    "date",
    "default",
    "denied",
    "did",
    "different",
    "disabled",
    "does",
    "during",
    "each",
    "either",
    "empty",
    "enabled",
    "encrypted",
    "eof",
    "error",
    "est",
    "et",
    "exists",
    "expected",
    "expired",
    "expires",
    "expiry",
    "failed",
    "fails",
    "falsch",
    "field",
    "file",
    "first",
    "flag",
    "for",
    "format",
    "found",
    "from",
    "had",
    "has",
    "have",
    "here",
    "hidden",
    "identifier",
    "if",
    "in",
    "incorrect",
    "incorrecta",
    "incorrecte",
    "int",
    "invalid",
    "inválida",
    "is",
    "ist",
    "it",
    "its",
    "key",
    "keys",
    "last",
    "later",
    "length",
    "less",
    "locked",
    "login",
    "made",
    "malformed",
    "managed",
    "may",
    "mismatch",
    "missing",
    "more",
    "muss",
    "must",
    "name",
    "names",
    "needed",
    "needs",
    "neither",
    "never",
    "new",
    "next",
    "nicht",
    "no",
    "none",
    "not",
    "now",
    "null",
    "oder",
    "of",
    "off",
    "old",
    "on",
    "once",
    "only",
    "option",
    "optional",
    "or",
    "other",
    "parameter",
    "permission",
    "please",
    "policy",
    "previous",
    "prompt",
    "protected",
    "provided",
    "read",
    "refused",
    "rejected",
    "required",
    "reset",
    "revoked",
    "rotated",
    "rotates",
    "rotation",
    "rule",
    "rules",
    "set",
    "should",
    "some",
    "stale",
    "still",
    "stored",
    "str",
    "string",
    "text",
    "than",
    "that",
    "the",
    "there",
    "this",
    "to",
    "too",
    "type",
    "unable",
    "unauthorized",
    "und",
    "undefined",
    "unknown",
    "unset",
    "until",
    "used",
    "user",
    "valid",
    "value",
    "varchar",
    "via",
    "was",
    "were",
    "when",
    "which",
    "will",
    "with",
    "without",
    "wrong",
    "you",
    "your",
];

/// Values that hold no secret: nothing, a mask, a placeholder.
pub(super) fn is_empty(value: &str) -> bool {
    let value = value.trim();
    value
        .chars()
        .all(|c| matches!(c, '*' | '•' | '.' | '#' | '?' | '-' | '_'))
        || (value.len() >= 3 && value.chars().all(|c| matches!(c, 'x' | 'X')))
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
            "(hidden)",
            "[filtered]",
            "masked",
            "[masked]",
            "hidden",
            "n/a",
            "na",
            "unset",
            "%s",
            "%d",
            "{}",
            "yes",
            "required",
            "missing",
            "optional",
            "empty",
            "no",
        ]
        .iter()
        .any(|plain| value.eq_ignore_ascii_case(plain))
}

/// An ordinary word, which nobody uses as a password.
pub(super) fn is_plain_word(value: &str) -> bool {
    let word = value.trim_matches(|c: char| !c.is_alphanumeric());
    let lower = word.to_ascii_lowercase();
    PLAIN.binary_search(&lower.as_str()).is_ok()
}

/// Does the text go on with a reference to where the secret is: `{{secrets/scope/key}}`, `${VAR}`, `$(VAR)`, `os.environ[…]`?
pub(super) fn starts_with_reference(text: &str) -> bool {
    let text = text.trim_start_matches(['"', '\'', '\\']);
    let inside = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.' | ':' | '=' | ';' | ' ')
    };
    let enclosed = [
        ("{{", "}}"),
        ("${", "}"),
        ("$(", ")"),
        ("%(", ")s"),
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
    });
    enclosed || is_code(text) || is_variable(text)
}

/// An expression of a program that fetches the secret.
fn is_code(text: &str) -> bool {
    const CALLS: &[&str] = &[
        "os.environ",
        "os.getenv(",
        "getenv(",
        "env(",
        "env.",
        "process.env",
        "System.getenv(",
        "Environment.Get",
        "dbutils.secrets.",
        "mssparkutils.",
        "notebookutils.",
        "TokenLibrary.",
        "getpass(",
        "getpass.",
        "input(",
        "keyring.",
        "Variable.get(",
        "conn.password",
        "self.",
        "args.",
        "config.",
        "config[",
        "conf.get(",
        "conf[",
        "settings.",
        "secrets.get",
        "secretsmanager:",
        "client.get_secret",
        "get_secret(",
        "getSecret(",
        "vault.",
        "vault:",
        "akv://",
        "arn:aws:secretsmanager",
        "projects/",
        "@pipeline().",
        "@linkedService().",
        "@activity(",
        "@dataset().",
        "@{",
        "$env:",
        "var.",
        "data.",
        "module.",
        "local.",
        "lambda",
        "str,",
        "str)",
        "String)",
        "string;",
    ];
    CALLS.iter().any(|call| text.starts_with(call))
}

/// `$PASSWORD`, `%PASSWORD%`, `:password`, `@pwd`, `<password>`, `{password}`: a name and nothing else.
fn is_variable(text: &str) -> bool {
    let name = |rest: &str| {
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(length)?;
        let named = name.len() >= 2
            && (name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
                || ["pass", "password", "pwd", "secret", "token", "key"]
                    .iter()
                    .any(|word| name.eq_ignore_ascii_case(word)));
        Some((named, after.chars().next()))
    };
    let end = |c: Option<char>| {
        c.is_none_or(|c| c.is_whitespace() || matches!(c, ';' | ',' | '"' | '\'' | ')' | '\\'))
    };
    [
        ("$", ' '),
        ("@", ' '),
        (":", ' '),
        ("%", '%'),
        ("<", '>'),
        ("{", '}'),
    ]
    .into_iter()
    .any(|(open, close)| {
        text.strip_prefix(open)
            .and_then(name)
            .is_some_and(|(named, after)| {
                named
                    && if close == ' ' {
                        end(after)
                    } else {
                        after == Some(close)
                    }
            })
    })
}

/// Drawn at random: at least one long piece that is neither a word nor a number nor a word with a number. No UUID: those are
/// ids of runs, tenants and applications.
pub(super) fn is_random(value: &str) -> bool {
    !is_uuid(value)
        && value
            .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/')))
            .any(|piece| piece.len() >= 7 && !is_wordy(piece))
}

/// A long piece in which capitals and small letters are as many, as chance has it even without a digit: words in camel
/// case have fewer capitals.
pub(super) fn is_mixed(value: &str) -> bool {
    value
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|piece| {
            let capitals = piece.bytes().filter(u8::is_ascii_uppercase).count();
            piece.len() >= 16 && (28..=72).contains(&(capitals * 100 / piece.len()))
        })
}

/// A word, a number, a word with a number (`part0001`), a number with a unit (`20min`).
fn is_wordy(piece: &str) -> bool {
    let digits = piece.bytes().filter(u8::is_ascii_digit).count();
    if digits == piece.len() {
        return true;
    }
    if piece.contains(['+', '/']) {
        return digits == 0 && piece.split(['+', '/']).all(is_wordy);
    }
    let (head, tail) = piece
        .split_at_checked(piece.trim_end_matches(|c: char| c.is_ascii_digit()).len())
        .unwrap_or((piece, ""));
    let letters = |text: &str| text.bytes().all(|b| b.is_ascii_alphabetic());
    if letters(head) {
        let turns = head
            .as_bytes()
            .windows(2)
            .filter(
                |pair| matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()),
            )
            .count();
        let longest = head
            .split(|c: char| c.is_ascii_uppercase())
            .map(str::len)
            .max()
            .unwrap_or(0);
        return tail.len() <= 8
            && longest <= 17
            && (turns <= 1 + head.len() / 6)
            && (turns > 0 || head.len() <= 18);
    }
    let unit = piece.trim_start_matches(|c: char| c.is_ascii_digit());
    letters(unit) && unit.len() <= 3
}

/// Chosen by a person: letters with digits or signs, as no word of a sentence has them.
pub(super) fn is_chosen(value: &str) -> bool {
    const KNOWN: &[&str] = &[
        "sha1", "sha256", "sha384", "sha512", "md5", "base64", "oauth2", "saml2", "utf8", "utf16",
        "aes256", "rc4", "x509", "pkcs12", "log4j", "k8s",
    ];
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let signs = value.bytes().filter(|b| b"!#$%^&*+?~@".contains(b)).count();
    (6..=80).contains(&value.len())
        && letters > 0
        && digits + signs > 0
        && !value.contains(['/', '\\', '(', ')', '"', '\'', '<', '>', '{', '[', '='])
        && !value.contains("::")
        && !KNOWN.iter().any(|known| value.eq_ignore_ascii_case(known))
        && !is_uuid(value)
        && !value
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .bytes()
            .all(|b| b.is_ascii_lowercase())
}

/// `0f8fad5b-d9cb-469f-a165-70867728950e`.
pub(super) fn is_uuid(value: &str) -> bool {
    let mut lengths = value
        .split('-')
        .map(|piece| (piece.len(), piece.bytes().all(|b| b.is_ascii_hexdigit())));
    [8, 4, 4, 4, 12]
        .into_iter()
        .all(|length| lengths.next() == Some((length, true)))
        && lengths.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::{PLAIN, is_chosen, is_random};

    #[test]
    fn words_are_in_order() {
        assert!(PLAIN.is_sorted());
    }

    #[test]
    fn words_and_ids_are_not_random() {
        for value in [
            "orders-daily-load",
            "DefaultAzureCredential",
            "part0001",
            "2025-12-12",
            "0f8fad5b-d9cb-469f-a165-70867728950e",
            "sha256",
            "com.example.sales.Loader",
            "abfss_raw_v2",
            "manual__2025-12-12T10",
            "ORDERS_2024_Q1",
            "UserErrorSourceBlobNotExist",
        ] {
            assert!(!is_random(value), "{value}");
        }
        for value in [
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "0a1b2c3d4e5f60718293a4b5",
            "aBcDeFgHiJkLmNoPqR",
            "x7Kp2Lq9Zr",
        ] {
            assert!(is_random(value), "{value}");
        }
        for value in [
            "hunter2",
            "Summer2024!",
            "S3cr3t",
            "Tr0ub4dor&3",
            "p@ssword",
        ] {
            assert!(is_chosen(value), "{value}");
        }
        for value in ["incorrect", "sha256", "20min", "2024-12-12", "dbo.fn(x1)"] {
            assert!(!is_chosen(value), "{value}");
        }
    }
}
