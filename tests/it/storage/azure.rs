//! What is special to storage accounts: ways in, bad networks, lost answers.

use std::time::{Duration, Instant};

use aiops_rca::fault::Fault;
use aiops_rca::http::Http;
use aiops_rca::storage::{Inserted, Storage, StorageSettings, Swapped};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::support;
use crate::support::azurite::{ACCOUNT, Azurite, KEY};
use crate::support::identity::IdentityEndpoint;
use crate::support::proxy::{Fate, Proxy};

const MINUTE: Duration = Duration::from_mins(1);

async fn works(storage: &Storage) {
    storage.prepare(&["tickets"], &["failures"]).await.unwrap();
    assert!(matches!(
        storage.insert("tickets", "p", "r/'#", "{}").await.unwrap(),
        Inserted::Created(_)
    ));
    assert_eq!(
        storage
            .scan("tickets", "p", "", "", 10, None)
            .await
            .unwrap()
            .entities
            .len(),
        1
    );
    storage.put("failures", "m", Duration::ZERO).await.unwrap();
    let messages = storage.receive("failures", 1, MINUTE).await.unwrap();
    assert!(
        storage
            .delete_message("failures", &messages[0])
            .await
            .unwrap()
    );
}

fn open(connection_string: &str) -> Storage {
    let settings = StorageSettings::from_connection_string(connection_string)
        .unwrap()
        .with_prefix(support::prefix());
    Storage::open(&settings, &support::http()).unwrap()
}

/// The address of one service in the shared Azurite's connection string, e.g. `127.0.0.1:41234`.
fn address(service: &str) -> String {
    let string = support::azurite();
    let part = string
        .split(';')
        .find_map(|part| part.strip_prefix(&format!("{service}Endpoint=http://")))
        .unwrap();
    part.split('/').next().unwrap().to_owned()
}

/// The shared Azurite behind proxies.
async fn proxied() -> (Storage, Proxy, Proxy) {
    let tables = Proxy::start(&address("Table")).await;
    let queues = Proxy::start(&address("Queue")).await;
    let storage = open(&through(&tables, &queues));
    storage.prepare(&["tickets"], &["failures"]).await.unwrap();
    (storage, tables, queues)
}

fn through(tables: &Proxy, queues: &Proxy) -> String {
    format!(
        "AccountName={ACCOUNT};AccountKey={KEY};TableEndpoint=http://127.0.0.1:{}/{ACCOUNT};QueueEndpoint=http://127.0.0.1:{}/{ACCOUNT}",
        tables.port(),
        queues.port()
    )
}

/// An account SAS for tables and queues, as the portal makes them.
fn account_sas() -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let until = (Utc::now() + TimeDelta::hours(1))
        .format("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let to_sign = format!("{ACCOUNT}\nrwdlacup\nqt\nsco\n\n{until}\n\n\n2018-11-09\n");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&STANDARD.decode(KEY).unwrap()).unwrap();
    mac.update(to_sign.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([
        ("sv", "2018-11-09"),
        ("ss", "qt"),
        ("srt", "sco"),
        ("sp", "rwdlacup"),
        ("se", until.as_str()),
        ("sig", &signature),
    ]);
    query.finish()
}

#[tokio::test]
async fn a_shared_access_signature_opens() {
    let endpoints = format!(
        "TableEndpoint=http://{}/{ACCOUNT};QueueEndpoint=http://{}/{ACCOUNT}",
        address("Table"),
        address("Queue")
    );
    works(&open(&format!(
        "{endpoints};SharedAccessSignature={}",
        account_sas()
    )))
    .await;

    let forged = account_sas().replace("sig=", "sig=forged");
    let storage = open(&format!("{endpoints};SharedAccessSignature={forged}"));
    for fault in [
        storage.get("tickets", "p", "r").await.unwrap_err(),
        storage
            .put("failures", "m", Duration::ZERO)
            .await
            .unwrap_err(),
    ] {
        assert!(
            !fault.is_transient() && fault.reason().contains("check the key or SAS"),
            "{fault}"
        );
        assert!(
            !format!("{fault:?} {storage:?}").contains("forged"),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_key_is_permanent_and_says_what_to_check() {
    let key = STANDARD.encode("another key");
    let storage = open(&support::azurite().replace(KEY, &key));
    for fault in [
        storage.prepare(&["tickets"], &[]).await.unwrap_err(),
        storage.prepare(&[], &["failures"]).await.unwrap_err(),
        storage.insert("tickets", "p", "r", "{}").await.unwrap_err(),
        storage.depth("failures").await.unwrap_err(),
    ] {
        assert!(
            !fault.is_transient() && fault.reason().contains("AzureWebJobsStorage"),
            "{fault}"
        );
        assert!(
            !format!("{fault:?} {storage:?}").contains(&key),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_managed_identity_opens_over_https() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let azurite = Azurite::start(&[
        "--oauth",
        "basic",
        "--cert",
        cert.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ]);
    let now = Utc::now().timestamp();
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "aud": "https://storage.azure.com", "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
        "iat": now - 60, "nbf": now - 60, "exp": now + 3600,
    });
    let token = format!(
        "{}.{}.c2ln",
        part(json!({"alg": "RS256", "typ": "JWT"})),
        part(claims)
    );
    let endpoint = IdentityEndpoint::start(
        json!({"access_token": token, "expires_on": (now + 3600).to_string()}),
    )
    .await;
    let http = Http::new(Some(certified.cert.pem().as_bytes())).unwrap();
    for client_id in [None, Some("5ca1ab1e-0000-4000-8000-000000000001")] {
        let parse = |text: String| url::Url::parse(&text).unwrap();
        let settings = StorageSettings::of_services(
            parse(azurite.tables()),
            parse(azurite.queues()),
            endpoint.settings(client_id),
        )
        .with_prefix(support::prefix());
        let storage = Storage::open(&settings, &http).unwrap();
        works(&storage).await;
        assert!(!format!("{storage:?}").contains(&token));
        let asked = endpoint.asked();
        assert_eq!(
            asked.len(),
            1 + usize::from(client_id.is_some()),
            "one token serves tables and queues"
        );
        assert_eq!(
            asked.last().unwrap().get("client_id").map(String::as_str),
            client_id
        );
    }
    endpoint.next(400, None, "");
    let settings = StorageSettings::of_account("acct", endpoint.settings(None)).unwrap();
    let fault = Storage::open(&settings, &http)
        .unwrap()
        .get("tickets", "p", "r")
        .await
        .unwrap_err();
    assert!(
        !fault.is_transient() && fault.reason().contains("system-assigned"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_busy_store_is_asked_again_when_it_wants() {
    let (storage, tables, queues) = proxied().await;
    tables.next([
        Fate::Answer("HTTP/1.1 503 Server Busy\r\nretry-after: 1"),
        Fate::Answer("HTTP/1.1 500 Internal Server Error"),
    ]);
    let started = Instant::now();
    assert!(matches!(
        storage.insert("tickets", "p", "r", "{}").await.unwrap(),
        Inserted::Created(_)
    ));
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    queues.next([Fate::Answer(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 0",
    )]);
    storage.put("failures", "m", Duration::ZERO).await.unwrap();

    let before = tables.requests().len();
    tables.next([Fate::Answer("HTTP/1.1 503 Server Busy\r\nretry-after: 120")]);
    let fault = storage.get("tickets", "p", "r").await.unwrap_err();
    assert!(
        matches!(fault, Fault::Transient { retry_after: Some(wait), .. } if wait == Duration::from_mins(2)),
        "{fault:?}"
    );
    assert_eq!(
        tables.requests().len(),
        before + 1,
        "a long wait is the caller's"
    );

    tables.always(Fate::Answer("HTTP/1.1 503 Server Busy"));
    let before = tables.requests().len();
    assert!(
        storage
            .get("tickets", "p", "r")
            .await
            .unwrap_err()
            .is_transient()
    );
    assert_eq!(tables.requests().len(), before + 4, "a few tries");
    assert!(tables.is_drained() && queues.is_drained());
}

/// Paused time: seconds pass while nothing happens.
#[tokio::test(start_paused = true)]
async fn a_silent_store_is_given_up_after_eight_seconds() {
    let silent = Proxy::start("127.0.0.1:1").await;
    silent.always(Fate::Hang);
    let storage = open(&through(&silent, &silent));
    let started = tokio::time::Instant::now();
    let fault = storage.get("tickets", "p", "r").await.unwrap_err();
    assert!(
        fault.is_transient() && fault.reason().contains("Table Storage"),
        "{fault}"
    );
    assert!(
        started.elapsed() <= Duration::from_secs(9),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_store_that_is_not_there_is_transient() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let storage = open(&format!(
        "AccountName=a;AccountKey={KEY};TableEndpoint=http://127.0.0.1:{free}/a;QueueEndpoint=http://127.0.0.1:{free}/a"
    ));
    let fault = storage.insert("tickets", "p", "r", "{}").await.unwrap_err();
    assert!(
        fault.is_transient()
            && fault
                .reason()
                .starts_with("Table Storage could not be reached: nothing listens at 127.0.0.1:"),
        "{fault}"
    );
}

#[tokio::test]
async fn connections_are_used_again() {
    let proxy = Proxy::start("127.0.0.1:1").await;
    proxy.always(Fate::Answer(
        "HTTP/1.1 404 Not Found\r\nx-ms-error-code: ResourceNotFound",
    ));
    let storage = open(&through(&proxy, &proxy));
    for row in 0..20 {
        assert_eq!(
            storage.get("tickets", "p", &row.to_string()).await.unwrap(),
            None
        );
    }
    assert_eq!((proxy.requests().len(), proxy.connections()), (20, 1));
}

#[tokio::test]
async fn writes_whose_answer_was_lost_are_known_as_ours() {
    let (storage, tables, queues) = proxied().await;
    tables.next([Fate::LoseAnswer]);
    let Inserted::Created(etag) = storage.insert("tickets", "p", "r", "1").await.unwrap() else {
        panic!("it was ours")
    };
    tables.next([Fate::LoseAnswer]);
    let Swapped::Done(etag) = storage.swap("tickets", "p", "r", &etag, "2").await.unwrap() else {
        panic!("it was ours")
    };
    tables.next([Fate::LoseAnswer, Fate::LoseAnswer]);
    storage.upsert("tickets", "p", "r", "3").await.unwrap();
    tables.next([Fate::LoseAnswer]);
    assert_eq!(
        storage.swap("tickets", "p", "r", &etag, "4").await.unwrap(),
        Swapped::Conflict,
        "somebody else wrote"
    );
    tables.next([Fate::LoseAnswer]);
    assert_eq!(
        storage.insert("tickets", "p", "r", "3").await.unwrap(),
        Inserted::Exists,
        "the same text, but not our write"
    );
    assert_eq!(
        storage
            .get("tickets", "p", "r")
            .await
            .unwrap()
            .unwrap()
            .document,
        "3"
    );
    tables.next([Fate::LoseAnswer]);
    assert!(storage.delete("tickets", "p", "r", None).await.unwrap());
    queues.next([Fate::LoseAnswer]);
    storage.put("failures", "m", Duration::ZERO).await.unwrap();
    assert_eq!(
        storage.depth("failures").await.unwrap(),
        2,
        "at least once: readers must not mind"
    );
    let messages = storage.receive("failures", 1, MINUTE).await.unwrap();
    queues.next([Fate::LoseAnswer]);
    assert!(
        storage
            .delete_message("failures", &messages[0])
            .await
            .unwrap()
    );
    assert!(tables.is_drained() && queues.is_drained());
}
