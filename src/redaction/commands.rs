//! Command lines whose secrets have no name beside them: `sqlcmd -P`, `mysql -p`, `net use`.

use std::ops::Range;
use std::sync::{LazyLock, OnceLock};

use regex::Regex;

use super::pattern::pattern;
use super::spot::Spot;
use super::values;

/// A command, and where behind it the secret stands: the group `value`; `VALUE` is a word or a quoted text.
pub(super) const COMMANDS: &[(&str, &str)] = &[
    ("sqlcmd", r"[ -~]{0,300}?\s-P\s*VALUE"),
    ("bcp", r"\s[ -~]{0,300}?\s-P\s*VALUE"),
    ("isql", r"\s[ -~]{0,300}?\s-P\s*VALUE"),
    ("osql", r"\s[ -~]{0,300}?\s-P\s*VALUE"),
    ("tsql", r"\s[ -~]{0,300}?\s-P\s*VALUE"),
    ("mysql", r"[ -~]{0,300}?\s-p(?:VALUE)"),
    ("mariadb", r"[ -~]{0,300}?\s-p(?:VALUE)"),
    ("net use", r"[ -~]{0,100}?\\\\[^\s]+\s+VALUE(?:\s|$)"),
    ("net use", r"[ -~]{0,200}?\s/u(?:ser)?:[^\s]+\s+VALUE"),
    ("net user", r"\s+[^\s/]+\s+VALUE"),
    ("sshpass", r"\s+-p\s*VALUE"),
    ("login", r"\s[ -~]{0,200}?\s-p\s*VALUE"), // docker, az, oc, helm registry …
    ("redis-cli", r"[ -~]{0,200}?\s-a\s*VALUE"),
    ("mongo", r"[ -~]{0,200}?\s-p\s*VALUE"),
    ("beeline", r"[ -~]{0,200}?\s-p\s*VALUE"),
    ("airflow users", r"\s[ -~]{0,200}?\s-p\s*VALUE"),
    ("connect", r"\s+[A-Za-z0-9_.$#]{1,40}/VALUE@"), // SQL*Plus
    ("dtexec", r"\s[ -~]{0,200}?\s/[dD][eE](?:crypt)?\s+VALUE"),
    ("psexec", r"[ -~]{0,200}?\s-p\s*VALUE"),
    ("plink", r"[ -~]{0,200}?\s-pw\s+VALUE"),
    ("pscp", r"[ -~]{0,200}?\s-pw\s+VALUE"),
    ("putty", r"[ -~]{0,200}?\s-pw\s+VALUE"),
    ("ldapsearch", r"[ -~]{0,200}?\s-w\s*VALUE"),
    ("ldapmodify", r"[ -~]{0,200}?\s-w\s*VALUE"),
    ("ldapadd", r"[ -~]{0,200}?\s-w\s*VALUE"),
    ("smbclient", r#"[ -~]{0,200}?\s-U\s*["']?[^\s%"']+%VALUE"#),
    ("rpcclient", r#"[ -~]{0,200}?\s-U\s*["']?[^\s%"']+%VALUE"#),
    ("openssl", r"[ -~]{0,200}?\s-pass(?:in|out)?\s+pass:VALUE"),
    ("openssl", r"[ -~]{0,200}?\s-[kK]\s+VALUE"),
    (
        "keytool",
        r"[ -~]{0,300}?\s-(?:src|dest)?(?:store|key)pass\s+VALUE",
    ),
    ("jarsigner", r"[ -~]{0,300}?\s-(?:store|key)pass\s+VALUE"),
    ("cmdkey", r"[ -~]{0,200}?\s/p(?:ass|assword)?:VALUE"),
    ("schtasks", r"[ -~]{0,300}?\s/rp\s+VALUE"),
    ("wmic", r"[ -~]{0,200}?\s/password:VALUE"),
    (
        "sqlplus",
        r#"[ -~]{0,60}?\s["']?[A-Za-z0-9_.$#]{1,40}/VALUE@"#,
    ),
    (
        "sqlldr",
        r#"[ -~]{0,60}?[\s=]["']?[A-Za-z0-9_.$#]{1,40}/VALUE@"#,
    ),
    (
        "impdp",
        r#"[ -~]{0,60}?[\s=]["']?[A-Za-z0-9_.$#]{1,40}/VALUE@"#,
    ),
    (
        "expdp",
        r#"[ -~]{0,60}?[\s=]["']?[A-Za-z0-9_.$#]{1,40}/VALUE@"#,
    ),
    ("rman target", r#"\s+["']?[A-Za-z0-9_.$#]{1,40}/VALUE"#),
    (
        "htpasswd",
        r"\s+-[a-zA-Z]*b[a-zA-Z]*\s+[^\s]+\s+[^\s]+\s+VALUE",
    ),
    ("connect to", r"\s+[^\s]+\s+user\s+[^\s]+\s+using\s+VALUE"), // db2
    (".logon", r"\s+[^\s,]+,VALUE"),                              // bteq
    (
        "securestring",
        r#"\s+(?:-String\s+)?\\*["'](?P<value>[^"'\n\\]+)"#,
    ),
    ("lftp", r"[ -~]{0,100}?\s-u\s+[^\s,]+,VALUE"),
    ("7z", r"\s[ -~]{0,100}?\s-p(?:VALUE)"),
    ("zip", r"\s[ -~]{0,100}?\s-P\s*VALUE"),
    (
        "echo",
        r"\s+(?:-n\s+)?VALUE\s*\|\s*(?:sudo|docker|podman|passwd|kinit|base64|gpg|openssl|az|helm|gh)\b",
    ),
    (
        "echo",
        r#"\s+["']?[^\s:"']+:VALUE\s*\|\s*(?:sudo\s+)?chpasswd"#,
    ),
    ("keyvault secret set", r"[ -~]{0,200}?\s--value[\s=]+VALUE"),
    ("from-literal", r#"[\s=]+["']?[^\s=]+=VALUE"#),
    ("--string-value", r"[\s=]+VALUE"),
    ("secret set", r"\s[ -~]{0,100}?\s(?:--body|-b)[\s=]+VALUE"),
    (
        "curl",
        r#"[ -~]{0,200}?\s(?:-u|--user=|--proxy-user=)["']?[^\s:"'=-][^\s:"'=]{0,63}:VALUE"#,
    ),
    (
        "wget",
        r"[ -~]{0,200}?\s--(?:http-|ftp-)?password[\s=]+VALUE",
    ),
    ("pg_dump", r"[ -~]{0,200}?\s-W\s+VALUE"),
    ("xfreerdp", r"[ -~]{0,200}?\s/p:VALUE"),
    ("rdesktop", r"[ -~]{0,200}?\s-p\s+VALUE"),
    ("ipmitool", r"[ -~]{0,200}?\s-P\s*VALUE"),
    ("snmp", r"[ -~]{0,200}?\s-[AX]\s+VALUE"),
    ("mosquitto", r"[ -~]{0,200}?\s-P\s+VALUE"),
    ("cqlsh", r"[ -~]{0,200}?\s-p\s*VALUE"),
    ("kinit", r"[ -~]{0,100}?--password=VALUE"),
    ("vault login", r"\s+(?:token=)?VALUE"),
];

/// Each is compiled when its command is first seen: most never are.
static PATTERNS: LazyLock<Vec<OnceLock<Regex>>> =
    LazyLock::new(|| COMMANDS.iter().map(|_| OnceLock::new()).collect());

fn compiled(row: usize) -> Option<&'static Regex> {
    let (_, goes_on) = COMMANDS.get(row)?;
    Some(PATTERNS.get(row)?.get_or_init(|| {
        let value = r#"(?:\\*["'](?P<quoted>[^"'\n\\]+)\\*["']?|(?P<value>[^\s"'|\\]+))"#;
        // A command ends with its line.
        let goes_on = goes_on
            .replace(r"[^\s", r"[^ \t\n")
            .replace(r"\s", r"[ \t]");
        pattern(&format!("^{}", goes_on.replace("VALUE", value)))
    }))
}

impl Spot<'_> {
    /// The secret of the command of this row of [`COMMANDS`].
    pub(super) fn command(&self, row: usize) -> Option<Range<usize>> {
        let (start, end) = (self.hint.start, self.hint.end);
        if self
            .before(start)
            .is_some_and(|b| b.is_ascii_alphanumeric())
        {
            return None;
        }
        let rest = self.from(end);
        let found = compiled(row)?.captures(rest.get(..rest.floor_char_boundary(1024))?)?;
        let found = found.name("value").or_else(|| found.name("quoted"))?;
        let value = found.as_str();
        if values::is_empty(value)
            || values::is_plain_word(value)
            || values::starts_with_reference(value)
            || value.starts_with(['-', '/', '|', '>'])
            || [" is ", " was ", " has ", " are ", " requires "]
                .iter()
                .any(|verb| self.from(end + found.end()).starts_with(verb))
        {
            return None;
        }
        Some(end + found.start()..end + found.end())
    }
}
