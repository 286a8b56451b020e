//! Redaction from outside: what must vanish, what must stay, and the laws.

pub(crate) mod lawful;
pub(crate) mod tables;

use aiops_rca::redaction::{cap, redact};
use proptest::prelude::*;

/// (text, the same text redacted)
const VANISHES: &[(&str, &str)] = &[
    // Storage and Service Bus connection strings
    (
        "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=Zm9vYmFyZm9vYmFyZm9vYmFy==;EndpointSuffix=core.windows.net",
        "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=***;EndpointSuffix=core.windows.net",
    ),
    (
        "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=abc+def/ghi=",
        "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=***",
    ),
    (
        "SharedAccessSignature=sv=2024-01-01&sig=abc%2Fdef%3D;Password=hunter2;",
        "SharedAccessSignature=***;Password=***;",
    ),
    (
        "Account Key: Zm9vYmFy, API key: 12345 and more",
        "Account Key: ***, API key: *** and more",
    ),
    // URLs
    (
        "GET https://a.blob.core.windows.net/c/f.csv?sv=2022-11-02&se=2026-01-01&sp=r&sig=a%2Bb%3D failed",
        "GET https://a.blob.core.windows.net/c/f.csv?sv=2022-11-02&se=2026-01-01&sp=r&sig=*** failed",
    ),
    (
        "https://f.azurewebsites.net/api/x?code=abcDEF123_-xyz==&a=1",
        "https://f.azurewebsites.net/api/x?code=***&a=1",
    ),
    (
        "redirect=https%3A%2F%2Fx%3Fa%3D1%26sig%3Dabc%252F%26b%3D2",
        "redirect=https%3A%2F%2Fx%3Fa%3D1%26sig%3D***%26b%3D2",
    ),
    (
        "postgresql+psycopg2://user:S3cr3t@db:5432/prod",
        "postgresql+psycopg2://user:***@db:5432/prod",
    ),
    ("amqp://me:p@ss:w0rd@host/vhost", "amqp://me:***@host/vhost"),
    (
        "redis://:onlypass@cache:6379/0",
        "redis://:***@cache:6379/0",
    ),
    (
        "jdbc:oracle:thin:scott/tiger@//db:1521/orcl",
        "jdbc:oracle:thin:scott/***@//db:1521/orcl",
    ),
    (
        "post to https://hooks.slack.com/services/T00/B00/abcdef.",
        "post to https://hooks.slack.com/***.",
    ),
    // SQL, ODBC and JDBC
    (
        "Server=tcp:db.example;Database=d;User ID=etl;Password=p w&d,1;Encrypt=True",
        "Server=tcp:db.example;Database=d;User ID=etl;Password=***;Encrypt=True",
    ),
    (
        "Driver={ODBC};UID=sa;PWD={a;b};",
        "Driver={ODBC};UID=sa;PWD={***};",
    ),
    (
        "jdbc:sqlserver://db:1433;user=etl;password=/slash;encrypt=true",
        "jdbc:sqlserver://db:1433;user=etl;password=***;encrypt=true",
    ),
    // JSON, JSON in JSON, Python, XML, YAML, command lines
    (
        r#"{"password": "hunter2", "user":"bob"}"#,
        r#"{"password": "***", "user":"bob"}"#,
    ),
    (
        r#"{"a":"{\"password\":\"hun\\\"ter2\",\"user\":\"bob\"}"}"#,
        r#"{"a":"{\"password\":\"***\",\"user\":\"bob\"}"}"#,
    ),
    (
        r#"\\\"client_secret\\\":\\\"abc\\\",\\\"x\\\":1"#,
        r#"\\\"client_secret\\\":\\\"***\\\",\\\"x\\\":1"#,
    ),
    (
        r#"{"name":"DB_PASSWORD","value":"hunter2"}"#,
        r#"{"name":"DB_PASSWORD","value":"***"}"#,
    ),
    (
        "{'api_key': 'abc', 'host': 'db'}",
        "{'api_key': '***', 'host': 'db'}",
    ),
    ("<password>hunter2</password>", "<password>***</password>"),
    ("password: hunter2\nhost: db1", "password: ***\nhost: db1"),
    (
        "\"password\":\r\n   \"hunter2\"",
        "\"password\":\n   \"***\"",
    ),
    (
        "cmd --password hunter2 --host db",
        "cmd --password *** --host db",
    ),
    (
        "conf['fs.azure.account.key']; client.secret=abc\\r\\nnext=1",
        "conf['fs.azure.account.key']; client.secret=***\\r\\nnext=1",
    ),
    (
        "AIRFLOW__CORE__FERNET_KEY=xyz",
        "AIRFLOW__CORE__FERNET_KEY=***",
    ),
    (
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "aws_secret_access_key = ***",
    ),
    // .NET writes quotes and ampersands of nested JSON as \\u0022 and \\u0026
    (
        r"{\u0022password\u0022:\u0022hunter2\u0022,\u0022user\u0022:\u0022bob\u0022}",
        r"{\u0022password\u0022:\u0022***\u0022,\u0022user\u0022:\u0022bob\u0022}",
    ),
    (
        r"https://x/y?se=1\u0026sig=abc%2F\u0026sp=r",
        r"https://x/y?se=1\u0026sig=***\u0026sp=r",
    ),
    (
        r"first line\nsig=abc\nlast line",
        r"first line\nsig=***\nlast line",
    ),
    // Spark, shells, SQL
    (
        "fs.azure.account.key.acct.dfs.core.windows.net Zm9vYmFy next",
        "fs.azure.account.key.acct.dfs.core.windows.net *** next",
    ),
    (
        "\"spark.hadoop.fs.azure.account.key.acct.blob.core.windows.net\": \"Zm9v\"",
        "\"spark.hadoop.fs.azure.account.key.acct.blob.core.windows.net\": \"***\"",
    ),
    ("curl -u bob:hunter2 https://x", "curl -u bob:*** https://x"),
    (
        "CREATE LOGIN etl WITH PASSWORD = N'hun;ter2', CHECK_POLICY = ON",
        "CREATE LOGIN etl WITH PASSWORD = N'***', CHECK_POLICY = ON",
    ),
    (
        "ALTER USER etl IDENTIFIED BY 'hunter2'",
        "ALTER USER etl IDENTIFIED BY '***'",
    ),
    ("user: bob pass: hunter2", "user: bob pass: ***"),
    // Headers
    (
        "Authorization: Bearer abc.def-123",
        "Authorization: Bearer ***",
    ),
    (
        "authorization: SharedKey acct:c2lnbmF0dXJl=",
        "authorization: SharedKey ***",
    ),
    (
        r#"{"Authorization":"Basic dXNlcjpwYXNz"}"#,
        r#"{"Authorization":"Basic ***"}"#,
    ),
    (
        "curl -H 'x-functions-key: abcdef' x",
        "curl -H 'x-functions-key: ***' x",
    ),
    (
        "sent Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln\"",
        "sent Bearer ***\"",
    ),
    ("Basic dXNlcjpwYXNzd29yZA==", "Basic ***"),
    ("Cookie: a=b; session=c\nHost: x", "Cookie: ***\nHost: x"),
    // Shapes
    ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "***"),
    ("token xoxb-123-456-abc here", "token *** here"),
    ("dapi0123456789abcdef0123456789abcdef-2", "***"),
    ("ATATT3xFfGF0abcdefgh_-=1A2B3C4D", "***"),
    (
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789 github_pat_11ABCDEFG0123456789_abc",
        "*** ***",
    ),
    ("key AKIAIOSFODNN7EXAMPLE used", "key *** used"),
    ("AIzaSyA-1234567890abcdefghijklmnopqrstu", "***"),
    (
        "fernet ZmVybmV0a2V5ZmVybmV0a2V5ZmVybmV0a2V5ZmVybWU=.",
        "fernet ***.",
    ),
    ("gAAAAABlabcdefghijklmnopqrstuvwxyz0123456789==", "***"),
    ("abc8Q~defghijklmnopqrstuvwxyz0123456789abc", "***"),
    (
        "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDeFgHAzFuabcdefg==",
        "***",
    ),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\nafter",
        "***\nafter",
    ),
    (
        "-----BEGIN PRIVATE KEY-----\\nMIIabc+/=\\n-----END PRIVATE KEY-----\\nx",
        "***\\nx",
    ),
    ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIcut", "***"),
    // People
    (
        "mail bob.o'neil+x@mail.example.co.uk, please",
        "mail ***, please",
    ),
    ("/Users/etl@example.com/notebook", "/Users/***/notebook"),
    ("?user=bob%40example.com&x=1", "?user=***&x=1"),
    // Made to evade
    ("pass\u{200b}word=hunter2", "password=***"),
    ("\u{1b}[31mpwd\u{1b}[0m=hunter2", "pwd=***"),
];

/// Facts a diagnosis needs.
const STAYS: &[&str] = &[
    "Cannot open server 'sql01.database.windows.net' requested by the login. SqlErrorNumber=40532,Class=20,State=1",
    "Login failed for user 'etl_user'. Reason: Password did not match that for the login provided.",
    "ErrorCode=UserErrorSourceBlobNotExist,'Type=Microsoft.DataTransfer.Common.Shared.HybridDeliveryException'",
    "Microsoft.DataTransfer.ClientLibrary, Version=4.0.0.0, Culture=neutral, PublicKeyToken=b77a5c561934e089",
    "abfss://raw@lake01.dfs.core.windows.net/sales/2025/12/12/part-0001.parquet",
    "run 0f8fad5b-d9cb-469f-a165-70867728950e d41d8cd98f00b204e9800998ecf8427e",
    "Violation of PRIMARY KEY constraint 'PK_Orders'. Cannot insert duplicate key in object 'dbo.Orders'. The duplicate key value is (42).",
    "KeyError: 'customer_id'; columns: ['key', 'code', 'amount']; partition key: 5; exit code: 137; code=404",
    "Unexpected token: } at line 4, column 17 (token=EOF)",
    "ExpiredAuthenticationToken: The access token expiry UTC time '12/12/2025 10:00:00 AM' is earlier than current UTC time",
    "InvalidPassword: the account is locked",
    "spark.conf fs.azure.account.key={{secrets/scope/key}} password=${DB_PASSWORD} secret: @Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/x)",
    "Secret does not exist with scope: kv and key: sp-secret",
    "Bearer authentication is required; Basic authentication is off; missing bearer token",
    "PWD=/opt/airflow OLDPWD=/root PATH=/usr/bin",
    "at java.base/java.util.HashMap.get(HashMap.java:556) https://adb-1.2.azuredatabricks.net:443/?o=1#job/7/run/8",
    "@pipeline().parameters.x and @activity('Copy').output; lodash@4.17.21; 'root'@'localhost'",
    "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value",
    "connection to server at \"db.internal\" (10.0.0.4), port 5432 failed: FATAL: password authentication failed for user \"airflow\"",
    "git@github.com:org/repo.git; docker run -u 1000:1000 image; bypass: 12; tests pass: 3",
    "password=*** pwd=null \"password\": \"\" token: None",
    "https://github.com/org/repo:8080/x and http://[::1]:8080/y",
];

#[test]
fn secrets_vanish_and_their_surroundings_stay() {
    for (text, redacted) in VANISHES {
        assert_eq!(redact(text), *redacted, "from {text}");
    }
}

#[test]
fn facts_stay() {
    for text in STAYS {
        assert_eq!(redact(text), *text);
    }
}

/// Real payloads: as sent (JSON in JSON, escapes) and as decoded.
#[test]
fn fixtures_hold_no_secret_afterwards() {
    let fixtures = [
        (
            include_str!("../fixtures/vendor/adf-queryactivityruns-failed-huge.json"),
            &[
                "Zm9vYmFyZm9v",
                "abc%2Fdef%3D",
                "hunter2",
                "c2ln",
                "MIIexample",
            ][..],
        ),
        (
            include_str!("../fixtures/vendor/airflow-callback-huge-unicode.json"),
            &["S3cr3t"][..],
        ),
        (
            include_str!("../fixtures/vendor/dbx-runs-get-cluster-error.json"),
            &["etl@example.com"][..],
        ),
        (
            include_str!("../fixtures/vendor/airflow-api-v2-token.json"),
            &["eyJhbGciOiJIUzUxMiJ9.example.sig"][..],
        ),
        (
            include_str!("../fixtures/vendor/azmon-activitylog-administrative-test.json"),
            &["user@contoso.com"][..],
        ),
    ];
    for (body, secrets) in fixtures {
        let mut texts = vec![body.to_owned(), serde_json::to_string(body).unwrap()];
        collect_strings(&serde_json::from_str(body).unwrap(), &mut texts);
        for secret in secrets {
            assert!(
                texts.iter().any(|text| text.contains(secret)),
                "the fixture has no {secret}"
            );
        }
        for text in texts {
            let redacted = redact(&text);
            for secret in secrets {
                assert!(!redacted.contains(secret), "{secret} is still there");
            }
            assert!(!redacted.contains(['\0', '\u{202e}', '\u{1b}']));
            assert_eq!(redact(&redacted), redacted);
        }
    }
}

/// JSON stays JSON: only values inside quotes are replaced.
#[test]
fn fixtures_stay_readable() {
    for body in [
        include_str!("../fixtures/vendor/adf-queryactivityruns-failed-huge.json"),
        include_str!("../fixtures/vendor/airflow-callback-huge-unicode.json"),
        include_str!("../fixtures/vendor/dbx-runs-get-cluster-error.json"),
    ] {
        let before: serde_json::Value = serde_json::from_str(body).unwrap();
        let after: serde_json::Value = serde_json::from_str(&redact(body)).expect("still JSON");
        let (mut texts_before, mut texts_after) = (Vec::new(), Vec::new());
        collect_strings(&before, &mut texts_before);
        collect_strings(&after, &mut texts_after);
        assert_eq!(texts_before.len(), texts_after.len());
        let changed = texts_before
            .iter()
            .zip(&texts_after)
            .filter(|(before, after)| before != after)
            .count();
        assert!(changed <= 2, "{changed} texts changed");
    }
}

fn collect_strings(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => into.push(text.clone()),
        serde_json::Value::Array(items) => {
            for item in items {
                collect_strings(item, into);
            }
        }
        serde_json::Value::Object(members) => members
            .values()
            .for_each(|item| collect_strings(item, into)),
        _ => {}
    }
}

/// Texts made to be slow: every hint again and again, never a value. Eight times the text may take eight times as long;
/// were it quadratic, it would be sixty-four times.
#[test]
fn hostile_texts_take_linear_time() {
    let pieces = [
        "password",
        "pwd=\"",
        "://a:",
        "a@",
        "%40",
        "eyJ",
        "-----BEGIN PRIVATE KEY-----",
        "=",
        "Bearer ",
        "\\\"",
        "key:{",
        ";pwd=",
        "<pwd>",
        "x@y.",
        "\u{1b}]",
        " -u a:",
        "@Microsoft.KeyVault(",
        "pwd=${",
    ];
    let time = |length: usize| {
        let started = std::time::Instant::now();
        for piece in pieces {
            redact(&piece.repeat(length / piece.len()));
        }
        started.elapsed()
    };
    time(1_000);
    let (short, long) = (time(40_000), time(320_000));
    assert!(long < short * 24, "{short:?}, then {long:?}");
}

/// Texts rich in hints, quotes and separators.
fn hinted() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("password"),
        Just("pwd"),
        Just("=\""),
        Just("\": \""),
        Just("\\\""),
        Just("="),
        Just(": "),
        Just("://"),
        Just("u:p@"),
        Just("@x.com"),
        Just("%40"),
        Just("&sig="),
        Just("?code="),
        Just(";"),
        Just("Bearer "),
        Just("Basic "),
        Just("eyJhbGciOi"),
        Just("***"),
        Just("\r\n"),
        Just("{"),
        Just("}"),
        Just("'"),
        Just("abc123"),
        Just("Authorization: "),
        Just("token"),
        Just("Q~"),
        Just("dapi0123456789abcdef0123"),
        Just("-----BEGIN PRIVATE KEY-----"),
        Just("\u{1b}["),
        Just("é"),
        Just(" "),
        Just("<"),
        Just(">"),
        Just("Cookie: "),
        Just("key"),
        Just("--secret "),
        Just("."),
        Just("%3D"),
        Just("\\n"),
        Just("xoxb-"),
        Just("hooks.slack.com/"),
    ];
    prop::collection::vec(
        prop_oneof![4 => piece.prop_map(str::to_owned), 1 => ".{0,6}"],
        0..24,
    )
    .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn redacting_twice_is_redacting_once(text in hinted()) {
        let once = redact(&text);
        prop_assert_eq!(redact(&once), once);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let once = redact(&String::from_utf8_lossy(&bytes));
        prop_assert_eq!(redact(&once), once);
    }

    #[test]
    fn a_password_never_survives_json_nesting(secret in "[A-Za-z0-9 !#%&/()=?+*~.,:;<>|@'{}\\[\\]\"\\\\-]{4,20}", depth in 0usize..4) {
        let secret = format!("Zq9{secret}qZ9");
        let mut text = serde_json::json!({"user": "bob", "password": secret, "host": "db1"}).to_string();
        for _ in 0..depth {
            text = serde_json::json!({ "message": text }).to_string();
        }
        let redacted = redact(&text);
        prop_assert!(!redacted.contains("Zq9"), "{}", redacted);
        prop_assert!(redacted.contains("bob"), "{}", redacted);
    }

    #[test]
    fn a_password_never_survives_a_connection_string(secret in "[A-Za-z0-9!#%&/()=?+*~.,:<>|@\\[\\]_ -]{0,16}[A-Za-z0-9]") {
        let secret = format!("Zq9{secret}");
        for (before, after) in [("Server=db1;Password=", ";Encrypt=True"), ("Server=db1;Pwd=", ""), ("db1;AccountKey=", ";x=y\nline"), ("db1 password='", "'")] {
            let redacted = redact(&format!("{before}{secret}{after}"));
            prop_assert!(!redacted.contains(&secret) && !redacted.contains("Zq9"), "{}", redacted);
            prop_assert!(redacted.contains("db1") && redacted.ends_with(after), "{}", redacted);
        }
    }

    #[test]
    fn a_password_never_survives_an_address(secret in "[A-Za-z0-9!$&()*+,;=:@%._~-]{1,20}") {
        let redacted = redact(&format!("cannot reach postgres://etl:Zq9{secret}@db1:5432/x, giving up"));
        prop_assert_eq!(redacted, "cannot reach postgres://etl:***@db1:5432/x, giving up");
    }

    #[test]
    fn caps_hold(text in ".{0,80}", limit in 0usize..120) {
        let capped = cap(&text, limit);
        prop_assert!(capped.len() <= limit);
        if text.len() <= limit {
            prop_assert_eq!(capped, text);
        } else if limit >= 16 {
            prop_assert!(capped.contains('…') && capped.len() + 8 > limit);
        }
    }
}
