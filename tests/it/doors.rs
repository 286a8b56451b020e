//! The doors: locks, forged tokens, the wire, pages and lists.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

pub(crate) mod lawful;
mod week;

use crate::support::build;
use std::sync::Arc;

use aiops_rca::dashboard;
use aiops_rca::functions::access::DashboardLock;
use aiops_rca::functions::deployment::{self, Idle};
use aiops_rca::functions::secure_webhook::{
    ACTION_GROUP_APPLICATION, ROLE, Refused, SecureWebhook, SecureWebhookSettings, WORDS,
};
use aiops_rca::functions::wire::{self, BODY_CAP, Request, Response};
use aiops_rca::functions::{Doors, Handler};
use aiops_rca::storage::Storage;
use aiops_rca::ticket::machine::Change;
use aiops_rca::ticket::store::{Listed, TicketStore};
use aiops_rca::ticket::{Actor, Channel, Status, Ticket};
use chrono::{TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use serde_json::{Value, json};
use simulators::{self, Answer, Server, Site};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::machine;
use crate::support;

// ── the secure webhook ──────────────────────────────────────────────────────────────────────────

const TENANT: &str = "72f988bf-0000-0000-0000-000000000001";
const AUDIENCE: &str = "api://rca-app";
const SIGNING_KEY: &[u8] = include_bytes!("../fixtures/entra/signing-key.der");
const MODULUS: &str = "wOR8KXvO3yeohdbGPY8xKzdzvXcq3RnhTvUAErWO5mVmRkKtEFRmlUbEXdf8fJPg96pFoSlczjxVZ0VcvAH7ruGQ2eA7UoN_8AOfhUwaOAuZNa8oUe_4lvQM-egaMQVRCgUYRWKDI6UZpdRW-js-LEsSJVF583fgFYxdszUb4lklsM1VxUs8WzybUWEmBKU8tTwPhJlHo--lbNFphiMrfgHCsnjCWZpMBBLzJiHXXfYX79-6jLOr-Ju2PmWW4MVaOds-oj_V49SJsjzxDdOTVeSgausUBRqI_Eha8SbBtYlF0_WGgeZSoHKh4uto_2NEeMmmyWToyFYLusilOAaDnw";

/// A tenant's published keys.
struct Tenant;

impl Site for Tenant {
    fn answer(&self, request: &simulators::Request) -> Answer {
        if request.path != format!("/{TENANT}/discovery/v2.0/keys") {
            return Answer::empty(404);
        }
        let ours = json!({"kty": "RSA", "use": "sig", "kid": "k1", "n": MODULUS, "e": "AQAB"});
        Answer::json(
            200,
            &json!({"keys": [{"kty": "EC", "kid": "other"}, {"kty": "RSA"}, ours]}),
        )
    }
}

async fn tenant() -> (Server, SecureWebhook) {
    let server = simulators::serve(0, Arc::new(Tenant)).await.unwrap();
    let settings = SecureWebhookSettings {
        tenant: TENANT.to_owned(),
        audience: AUDIENCE.to_owned(),
        authority: server.url().parse().unwrap(),
    };
    (server, SecureWebhook::new(settings, support::http()))
}

fn claims() -> Value {
    let now = Utc::now().timestamp();
    json!({
        "aud": AUDIENCE, "iss": format!("https://sts.windows.net/{TENANT}/"), "iat": now, "nbf": now, "exp": now + 3600,
        "azp": ACTION_GROUP_APPLICATION, "roles": [ROLE], "tid": TENANT,
    })
}

fn signed(claims: &Value, kid: &str) -> String {
    let header = Header {
        kid: Some(kid.to_owned()),
        ..Header::new(Algorithm::RS256)
    };
    format!(
        "Bearer {}",
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_rsa_der(SIGNING_KEY)).unwrap()
    )
}

#[tokio::test]
async fn only_the_action_group_service_of_our_tenant_comes_in() {
    let (server, lock) = tenant().await;
    let now = Utc::now();
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims
            .as_object_mut()
            .unwrap()
            .insert(name.to_owned(), value);
        signed(&claims, "k1")
    };
    let v1 = {
        let mut claims = claims();
        let fields = claims.as_object_mut().unwrap();
        let app = fields.remove("azp").unwrap();
        fields.insert("appid".to_owned(), app);
        signed(&claims, "k1")
    };
    let v2 = with("iss", json!(format!("{}{TENANT}/v2.0", server.url())));
    let by_id = with("aud", json!("rca-app"));
    for good in [signed(&claims(), "k1"), v1, v2, by_id] {
        assert_eq!(lock.check(Some(&good), now).await, Ok(()));
    }
    let past = now.timestamp() - 7200;
    let table = [
        (with("exp", json!(past)), Refused::Invalid),
        (with("nbf", json!(now.timestamp() + 7200)), Refused::Invalid),
        (with("aud", json!("api://another")), Refused::Invalid),
        (
            with("iss", json!("https://sts.windows.net/another/")),
            Refused::Invalid,
        ),
        (with("tid", json!("another")), Refused::Forbidden),
        (with("roles", json!(["Reader"])), Refused::Forbidden),
        (with("roles", json!([])), Refused::Forbidden),
        (with("azp", json!("another-app")), Refused::Forbidden),
        // It may be a key of the next minute: nobody is called a liar before the keys were asked for again.
        (signed(&claims(), "unknown"), Refused::Unavailable),
        ("Bearer not.a.token".to_owned(), Refused::Invalid),
        ("Basic dTpw".to_owned(), Refused::Missing),
    ];
    for (token, expected) in table {
        assert_eq!(lock.check(Some(&token), now).await, Err(expected));
    }
    assert_eq!(lock.check(None, now).await, Err(Refused::Missing));
    let lower = signed(&claims(), "k1").replacen("Bearer", "bearer", 1);
    assert_eq!(lock.check(Some(&lower), now).await, Ok(()));
    assert_eq!(
        server.requests().len(),
        1,
        "unknown key ids do not fetch the keys again and again"
    );
    let later = now + TimeDelta::minutes(2);
    let unknown = signed(&claims(), "unknown");
    assert_eq!(
        lock.check(Some(&unknown), later).await,
        Err(Refused::Invalid),
        "now the keys have been asked for again"
    );
    assert_eq!(server.requests().len(), 2);
}

/// An error page is no set of keys, even one that looks like it; and keys that are known work while others are fetched.
#[tokio::test]
async fn only_a_good_answer_brings_keys_and_one_fetch_is_enough() {
    struct Ill(Tenant);
    impl Site for Ill {
        fn answer(&self, request: &simulators::Request) -> Answer {
            Answer {
                status: 500,
                ..self.0.answer(request)
            }
        }
    }
    let ill = simulators::serve(0, Arc::new(Ill(Tenant))).await.unwrap();
    let settings = |server: &Server| SecureWebhookSettings {
        tenant: TENANT.to_owned(),
        audience: AUDIENCE.to_owned(),
        authority: server.url().parse().unwrap(),
    };
    let lock = SecureWebhook::new(settings(&ill), support::http());
    let good = signed(&claims(), "k1");
    let now = Utc::now();
    assert_eq!(
        lock.check(Some(&good), now).await,
        Err(Refused::Unavailable)
    );
    let (server, lock) = tenant().await;
    let crowd = (0..20).map(|_| lock.check(Some(&good), now));
    assert!(
        futures::future::join_all(crowd)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(server.requests().len(), 1, "twenty callers, one fetch");
}

#[tokio::test]
async fn a_token_signed_by_other_means_does_not_come_in() {
    let (_server, lock) = tenant().await;
    let now = Utc::now();
    let part = |value: &Value| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
    };
    let unsigned = format!(
        "Bearer {}.{}.",
        part(&json!({"alg": "none", "typ": "JWT", "kid": "k1"})),
        part(&claims())
    );
    // The public key taken for an HMAC secret.
    let header = Header {
        kid: Some("k1".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let secret = EncodingKey::from_secret(MODULUS.as_bytes());
    let confused = format!(
        "Bearer {}",
        jsonwebtoken::encode(&header, &claims(), &secret).unwrap()
    );
    let mut tampered = signed(&claims(), "k1");
    let cut = tampered.rfind('.').unwrap();
    tampered.truncate(cut + 1);
    for token in [
        unsigned,
        confused,
        tampered.clone(),
        format!("{tampered}AAAA"),
    ] {
        assert_eq!(lock.check(Some(&token), now).await, Err(Refused::Invalid));
    }
}

#[tokio::test]
async fn without_the_tenants_keys_nobody_is_judged() {
    let (mut server, lock) = tenant().await;
    server.stop();
    let refused = lock
        .check(Some(&signed(&claims(), "k1")), Utc::now())
        .await
        .unwrap_err();
    assert_eq!(
        refused.response(&WORDS).status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

// ── the wire ────────────────────────────────────────────────────────────────────────────────────

async fn wire_on() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = |request: Request| async move {
        assert!(request.path != "/panic", "a request that ends badly");
        Response::json(
            StatusCode::OK,
            &json!({"bytes": request.body.len(), "query": request.query}),
        )
    };
    tokio::spawn(wire::serve(listener, answer, std::future::pending()));
    address
}

async fn raw(address: std::net::SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The answer may come before all is sent.
    let _cut_short = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _cut_short = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_are_capped_while_they_stream() {
    let address = wire_on().await;
    let chunked =
        "POST /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunks = |sizes: &[usize]| {
        let mut body = Vec::new();
        for size in sizes {
            body.extend(format!("{size:x}\r\n").bytes());
            body.extend(std::iter::repeat_n(b'x', *size));
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        body
    };
    let whole = raw(address, chunked, &chunks(&[BODY_CAP / 2, BODY_CAP / 2])).await;
    assert!(
        whole.starts_with("HTTP/1.1 200") && whole.contains(&format!("\"bytes\":{BODY_CAP}")),
        "{whole}"
    );
    // A sender that reads only after it has sent everything gets its answer as well.
    let much = raw(address, chunked, &chunks(&[BODY_CAP; 6])).await;
    assert!(
        much.starts_with("HTTP/1.1 413") && much.contains("\"too_large\""),
        "{much}"
    );
    let over = raw(address, chunked, &chunks(&[BODY_CAP / 2, BODY_CAP / 2, 1])).await;
    assert!(
        over.starts_with("HTTP/1.1 413") && over.contains("\"too_large\""),
        "{over}"
    );
}

/// A body that ends before its announced end is nobody's body, whatever its beginning says.
#[tokio::test]
async fn a_body_that_is_cut_off_is_refused() {
    let address = wire_on().await;
    for head in [
        "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"a\": 1}",
        "POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{\"a\": 1}\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _cut_short = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty()
                || answer.starts_with("HTTP/1.1 400") && answer.contains("\"cut_off\""),
            "{answer}"
        );
    }
}

/// Half a head, or half a body and then nothing, holds no connection for ever.
#[tokio::test(start_paused = true)]
async fn who_sends_nothing_more_is_let_go() {
    let address = wire_on().await;
    let slow = |head: &'static str| async move {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _cut_short = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let head = slow("POST /x HTTP/1.1\r\nhost: x\r\ncontent-").await;
    assert!(!head.starts_with("HTTP/1.1 200"), "{head}");
    let body =
        slow("POST /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n{")
            .await;
    assert!(
        body.starts_with("HTTP/1.1 408") && body.contains("\"too_slow\""),
        "{body}"
    );
}

#[tokio::test]
async fn a_panic_ends_one_request() {
    let address = wire_on().await;
    let head = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let broken = raw(address, &head("/panic"), b"").await;
    assert!(
        broken.starts_with("HTTP/1.1 500") && broken.contains("{\"error\":{\"code\":\"internal\""),
        "{broken}"
    );
    assert!(
        !broken.contains("ends badly"),
        "the caller does not read our reasons"
    );
    assert!(
        raw(address, &head("/fine"), b"")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let long = format!("/fine?q={}", "a".repeat(20_000));
    assert!(
        raw(address, &head(&long), b"")
            .await
            .starts_with("HTTP/1.1 200"),
        "a long query is no reason to fail"
    );
    let headed = raw(
        address,
        "HEAD /fine HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"",
    )
    .await;
    assert!(
        headed.starts_with("HTTP/1.1 200") && headed.ends_with("\r\n\r\n"),
        "{headed}"
    );
}

// ── dashboard and API ───────────────────────────────────────────────────────────────────────────

const KEY: &str = "a dashboard key of the test";

fn key_lock(plain_http: bool) -> DashboardLock {
    DashboardLock::Key {
        key: SecretString::from(KEY),
        plain_http,
    }
}

struct Rig {
    handler: Handler,
    store: TicketStore,
}

fn rig(dashboard: DashboardLock) -> Rig {
    rig_with(dashboard, Vec::new())
}

fn rig_with(dashboard: DashboardLock, idle: Vec<Idle>) -> Rig {
    rig_on(support::embedded(), dashboard, idle)
}

fn rig_on(storage: Storage, dashboard: DashboardLock, idle: Vec<Idle>) -> Rig {
    let flow = build::flow(storage);
    let store = flow.store.clone();
    let doors = Doors {
        flow: Ok(flow),
        bot_token: None,
        secure_webhook: None,
        dashboard,
        problems: Vec::new(),
        idle,
    };
    Rig {
        handler: Handler::new(doors),
        store,
    }
}

impl Rig {
    async fn ask(
        &self,
        method: Method,
        target: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> (u16, Response) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        let body = body.as_bytes().to_vec().into();
        let request = Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body,
        };
        let response = self.handler.clone().answer(request).await;
        (response.status.as_u16(), response)
    }

    async fn get(&self, target: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
        let (status, response) = self.ask(Method::GET, target, headers, "").await;
        (status, String::from_utf8(response.body.to_vec()).unwrap())
    }

    /// A ticket of today in the store.
    async fn open(&self, change: impl FnOnce(&mut Ticket)) -> Ticket {
        assert_eq!(
            self.get("/health", &[]).await.0,
            200,
            "tables are made by the first request"
        );
        let mut ticket = machine::ticket();
        let now = Utc::now();
        ticket.id = aiops_rca::ticket::TicketId::new(ticket.failure.source, now, fastrand::u32(..));
        (ticket.received_at, ticket.first_seen) = (now, now);
        change(&mut ticket);
        let mut opened = Change {
            ticket,
            visible: true,
            at: now,
        };
        assert!(self.store.open(&mut opened, &[]).await.unwrap());
        opened.ticket
    }
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response
        .headers
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn the_dashboards_key_is_exchanged_for_a_cookie() {
    let rig = rig(key_lock(false));
    assert_eq!(rig.get("/dashboard", &[]).await.0, 401);
    assert_eq!(rig.get("/api/tickets", &[]).await.0, 401);
    assert_eq!(
        rig.get("/api/tickets", &[("x-dashboard-key", "another key")])
            .await
            .0,
        401
    );
    assert_eq!(
        rig.get("/api/tickets", &[("x-dashboard-key", KEY)]).await.0,
        200
    );
    assert_eq!(
        rig.ask(Method::POST, "/dashboard/login", &[], "key=wrong")
            .await
            .0,
        401
    );
    let form = format!(
        "key={}&next=%2Fdashboard%3Fticket%3DADF-1",
        KEY.replace(' ', "+")
    );
    let (status, welcome) = rig.ask(Method::POST, "/dashboard/login", &[], &form).await;
    let cookie = header(&welcome, "set-cookie").unwrap().to_owned();
    assert_eq!(status, 303);
    assert!(
        cookie.starts_with("__Host-")
            && cookie.contains("; Secure;")
            && cookie.contains("; Path=/;")
            && !cookie.contains("Domain")
            && cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    assert_eq!(
        header(&welcome, "location"),
        Some("/dashboard?ticket=ADF-1")
    );
    assert_eq!(header(&welcome, "cache-control"), Some("no-store"));
    let session = cookie.split(';').next().unwrap().to_owned();
    let crowd = format!("theme=dark; {session}; aiops-rca-other=1");
    assert_eq!(rig.get("/dashboard", &[("cookie", &crowd)]).await.0, 200);
    let (value, signature) = session.split_once('.').unwrap();
    let longer = format!("{value}9.{signature}");
    for forged in [
        longer.as_str(),
        "__Host-aiops-rca=9999999999.",
        "__Host-aiops-rca=9999999999.00",
        "__Host-aiops-rca=",
        session.trim_start_matches("__Host-"),
    ] {
        assert_eq!(
            rig.get("/dashboard", &[("cookie", forged)]).await.0,
            401,
            "{forged}"
        );
    }
    let lock = key_lock(false);
    let old = lock
        .cookie_for(KEY, "", Utc::now() - TimeDelta::hours(9))
        .unwrap();
    assert_eq!(
        rig.get("/dashboard", &[("cookie", old.split(';').next().unwrap())])
            .await
            .0,
        401,
        "it ends after eight hours"
    );
    assert!(
        !key_lock(true)
            .cookie_for(KEY, "", Utc::now())
            .unwrap()
            .contains("Secure"),
        "plain http on this machine"
    );
}

/// Whatever page somebody came for, sign-in leads back to it, and nowhere else.
#[tokio::test]
async fn signing_in_leads_back_to_the_page() {
    let by_key = rig(key_lock(false));
    let (_, asks) = by_key
        .ask(Method::GET, "/dashboard?ticket=ADF-1&from=slack", &[], "")
        .await;
    assert!(
        String::from_utf8_lossy(&asks.body)
            .contains("name=\"next\" value=\"/dashboard?ticket=ADF-1&amp;from=slack\""),
    );
    for elsewhere in [
        "https://evil.example.com/",
        "//evil.example.com",
        "/dashboard//evil.example.com",
        "/dashboard/../api/tickets",
        "/dashboardevil",
        "/dashboard\\evil",
        "/dashboard\r\nset-cookie: a=b",
        "/dashboard/login",
        "/api/tickets",
        "",
    ] {
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("key", KEY)
            .append_pair("next", elsewhere)
            .finish();
        let (_, welcome) = by_key
            .ask(Method::POST, "/dashboard/login", &[], &form)
            .await;
        assert_eq!(
            header(&welcome, "location"),
            Some("/dashboard"),
            "{elsewhere}"
        );
    }
    let by_entra = rig(DashboardLock::Entra { key: None });
    let (status, redirect) = by_entra
        .ask(Method::GET, "/dashboard?ticket=ADF-1", &[], "")
        .await;
    assert_eq!(status, 302);
    assert_eq!(
        header(&redirect, "location"),
        Some("/.auth/login/aad?post_login_redirect_uri=%2Fdashboard%3Fticket%3DADF-1")
    );
    assert_eq!(
        by_entra.get("/api/tickets", &[]).await.0,
        401,
        "a machine is not sent to a page"
    );
}

/// What a program has to know about a call that it made wrongly.
#[tokio::test]
async fn the_api_says_what_is_missing() {
    let rig = rig(key_lock(false));
    let key = [("x-dashboard-key", KEY)];
    let (status, document) = rig.get("/api/openapi.json", &key).await;
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(rig.get("/api/openapi.json", &[]).await.0, 401);
    let id = "ADF-20260727T093000-0a1b2c";
    for (method, path, body, status, code, field) in [
        (
            Method::POST,
            "approve",
            "{}",
            400,
            "missing_field",
            "approval",
        ),
        (
            Method::POST,
            "reject",
            r#"{"approval":"a"}"#,
            400,
            "missing_field",
            "plan",
        ),
        (Method::POST, "burn", "{}", 404, "no_such_action", ""),
        (Method::POST, "acknowledge", "{}", 404, "unknown_ticket", ""),
        (
            Method::GET,
            "acknowledge",
            "",
            405,
            "method_not_allowed",
            "",
        ),
    ] {
        let path = format!("/api/tickets/{id}/{path}");
        let (status_is, answer) = rig.ask(method.clone(), &path, &key, body).await;
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(status_is, status, "{path}: {said}");
        assert_eq!(said["error"]["code"], code, "{path}");
        assert_eq!(said["error"]["path"], field, "{path}");
        if status == 405 {
            assert_eq!(header(&answer, "allow"), Some("POST"));
        }
    }
}

/// Answers for one caller stay with that caller; wrong keys are counted and get slower, the right one does not.
#[tokio::test(start_paused = true)]
async fn wrong_keys_are_counted_and_slowed() {
    let rig = rig(key_lock(false));
    for path in [
        "/api/tickets",
        "/api/tickets.csv",
        "/api/metrics",
        "/api/tickets/ADF-1",
    ] {
        let (_, answer) = rig
            .ask(Method::GET, path, &[("x-dashboard-key", KEY)], "")
            .await;
        assert_eq!(header(&answer, "cache-control"), Some("no-store"), "{path}");
    }
    let took = |wrong: bool| {
        let rig = &rig;
        async move {
            let started = tokio::time::Instant::now();
            let key = if wrong { "guess" } else { KEY };
            rig.get("/api/deadletters", &[("x-dashboard-key", key)])
                .await;
            started.elapsed()
        }
    };
    for _ in 0..10 {
        took(true).await;
    }
    assert!(took(true).await >= std::time::Duration::from_millis(200));
    assert!(took(false).await < std::time::Duration::from_millis(200));
    rig.handler.add_counts().await;
    let (_, metrics) = rig.get("/api/metrics", &[("x-dashboard-key", KEY)]).await;
    assert!(
        metrics.contains("aiops_rca_refused_total{door=\"Api\"} 11"),
        "{metrics}"
    );
}

#[tokio::test]
async fn nothing_changes_without_the_forms_token() {
    let rig = rig(key_lock(false));
    let ticket = rig.open(|_| ()).await;
    let cookie = key_lock(false).cookie_for(KEY, "", Utc::now()).unwrap();
    let session = [
        ("cookie", cookie.split(';').next().unwrap()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let close = format!("/dashboard/tickets/{}/acknowledge", ticket.id);
    for body in ["", "token=", "token=local"] {
        assert_eq!(
            rig.ask(Method::POST, &close, &session, body).await.0,
            403,
            "{body}"
        );
    }
    let api = format!("/api/tickets/{}/acknowledge", ticket.id);
    assert_eq!(
        rig.ask(Method::POST, &api, &session, "").await.0,
        403,
        "a form of another site is no API call"
    );
    let (_, page) = rig
        .get(&format!("/dashboard?ticket={}", ticket.id), &session)
        .await;
    let token = page
        .split("name=\"token\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(
        rig.ask(Method::POST, &close, &session, &format!("token={token}"))
            .await
            .0,
        303
    );
    assert_eq!(
        rig.store.load(&ticket.id).await.unwrap().unwrap().status,
        Status::Acknowledged
    );
    assert_eq!(
        rig.ask(Method::POST, &close, &session, &format!("token={token}"))
            .await
            .0,
        409,
        "it is closed already"
    );
}

#[tokio::test]
async fn in_local_no_other_site_can_press_a_button() {
    let rig = rig(DashboardLock::Open);
    let ticket = rig.open(|_| ()).await;
    let form = format!("/dashboard/tickets/{}/start", ticket.id);
    assert_eq!(
        rig.ask(Method::POST, &form, &[], "token=local").await.0,
        403
    );
    let api = format!("/api/tickets/{}/start", ticket.id);
    let foreign = [
        ("origin", "https://evil.example"),
        ("content-type", "text/plain"),
    ];
    assert_eq!(rig.ask(Method::POST, &api, &foreign, "").await.0, 403);
    assert_eq!(
        rig.ask(Method::POST, &api, &[], "").await.0,
        200,
        "curl needs nothing"
    );
}

#[tokio::test]
async fn whoever_signed_in_speaks_for_himself() {
    let rig = rig(DashboardLock::Entra {
        key: Some(SecretString::from(KEY)),
    });
    assert_eq!(
        rig.get("/dashboard", &[("x-ms-client-principal-name", "me")])
            .await
            .0,
        302,
        "a name alone is nobody: sign in first"
    );
    let ticket = rig.open(|_| ()).await;
    let me = [
        ("x-ms-client-principal-id", "1"),
        ("x-ms-client-principal-name", "jane.doe@example.com"),
        ("content-type", "application/json"),
    ];
    let act = |action: &str| format!("/api/tickets/{}/{action}", ticket.id);
    assert_eq!(
        rig.ask(Method::POST, &act("start"), &me, r#"{"by": "The Boss"}"#)
            .await
            .0,
        200
    );
    let name = async || {
        rig.store
            .load(&ticket.id)
            .await
            .unwrap()
            .unwrap()
            .status_by
            .name
    };
    assert_eq!(name().await, "jane.doe", "no mail address, and nobody else");
    let machine = [("x-dashboard-key", KEY)];
    assert_eq!(
        rig.ask(
            Method::POST,
            &act("acknowledge"),
            &machine,
            r#"{"by": "Ops password=hunter2"}"#
        )
        .await
        .0,
        200
    );
    assert_eq!(name().await, "Ops password=***");
}

#[tokio::test]
async fn paths_methods_and_status_codes() {
    let rig = rig(key_lock(false));
    let ticket = rig.open(|_| ()).await;
    let key = [("x-dashboard-key", KEY)];
    let one = format!("/api/tickets/{}", ticket.id);
    for (target, expected) in [
        (one.clone(), 200),
        (format!("{one}/"), 200),
        ("/api/tickets/".to_owned(), 200),
        (one.replace('-', "%2F"), 404),
        ("/api/tickets/ADF-20251212T100000-000000".to_owned(), 404),
        ("/api/api/tickets".to_owned(), 404),
        // Three pieces of a path are a change, whatever they say: by POST.
        ("/api/tickets/../tickets".to_owned(), 405),
        ("/api/tickets/../tickets/x".to_owned(), 404),
        ("/nothing".to_owned(), 404),
        ("/dashboard/assets/style.css".to_owned(), 200),
        ("/dashboard/assets/../../Cargo.toml".to_owned(), 404),
        (format!("/api/tickets?q={}", "x".repeat(100_000)), 200),
        ("/azure-monitor".to_owned(), 405),
    ] {
        assert_eq!(
            rig.get(&target, &key).await.0,
            expected,
            "{}",
            target.get(..60.min(target.len())).unwrap()
        );
    }
    assert_eq!(rig.ask(Method::HEAD, &one, &key, "").await.0, 200);
    assert_eq!(rig.ask(Method::PUT, &one, &key, "").await.0, 405);
    let act = |action: &str| format!("{one}/{action}");
    assert_eq!(
        rig.ask(Method::POST, &act("explode"), &key, "").await.0,
        404
    );
    assert_eq!(rig.ask(Method::POST, &act("start"), &key, "{").await.0, 400);
    assert_eq!(
        rig.ask(
            Method::POST,
            &act("approve"),
            &key,
            r#"{"approval": "x", "plan": "y"}"#
        )
        .await
        .0,
        409
    );
    for door in [
        "/jira-webhook",
        "/slack/interactions",
        "/remediation-callback",
    ] {
        assert_eq!(
            rig.ask(Method::POST, door, &[], "{}").await.0,
            503,
            "{door} is closed without its secret"
        );
    }
    let (status, body) = rig.get("/health", &[]).await;
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"status":"ok"}"#),
        "it says nothing about the configuration"
    );
}

#[tokio::test]
async fn lists_and_metrics_tell_what_is_there() {
    let rig = rig(key_lock(false));
    let key = [("x-dashboard-key", KEY)];
    let sales = rig.open(|t| t.failure.asset = "pl_Sales".to_owned()).await;
    let closed = rig.open(|t| t.status = Status::Acknowledged).await;
    let old = rig
        .open(|t| {
            let then = Utc::now() - TimeDelta::days(20);
            t.id = aiops_rca::ticket::TicketId::new(t.failure.source, then, 7);
            t.received_at = then;
        })
        .await;
    let ids = async |query: &str| {
        let (_, body) = rig.get(&format!("/api/tickets{query}"), &key).await;
        let list: Value = serde_json::from_str(&body).unwrap();
        let mut ids: Vec<String> = list["tickets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    let sorted = |tickets: &[&Ticket]| {
        let mut ids: Vec<String> = tickets.iter().map(|ticket| ticket.id.to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids("").await, sorted(&[&sales, &closed]));
    assert_eq!(ids("?status=acknowledged").await, sorted(&[&closed]));
    assert_eq!(ids("?q=SALES").await, sorted(&[&sales]));
    assert_eq!(ids("?source=airflow").await, sorted(&[]));
    assert_eq!(ids("?days=30").await, sorted(&[&sales, &closed, &old]));
    assert_eq!(
        ids("?days=-1&status=nonsense").await,
        sorted(&[&sales, &closed]),
        "what makes no sense filters nothing"
    );
    let (_, body) = rig
        .get("/api/tickets?days=soon&status=nonsense&source=adf", &key)
        .await;
    let list: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(list["ignored"], json!(["status", "days"]), "and is said");
    rig.handler.add_counts().await;
    let (_, metrics) = rig.get("/api/metrics", &key).await;
    for line in [
        "aiops_rca_requests_total{door=\"Api\",status=\"200\"}",
        "aiops_rca_queue_messages{queue=\"failures\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.lines().all(
        |line| line.starts_with('#') || line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok()
    ));
}

/// Functions run in several processes; any of them is asked, and a counter never goes back.
#[tokio::test]
async fn counters_are_those_of_all_processes() {
    let (first, key) = (rig(key_lock(false)), [("x-dashboard-key", KEY)]);
    let storage = first.store.storage().clone();
    let second = rig_on(storage, key_lock(false), Vec::new());
    let counted = async |rig: &Rig| {
        let (_, text) = rig.get("/api/metrics", &key).await;
        let of_health = |line: &&str| line.starts_with("aiops_rca_requests_total{door=\"Health\"");
        let line = text.lines().find(of_health);
        line.map_or(0, |line| {
            line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
        })
    };
    let mut seen = Vec::new();
    for (rig, times) in [(&first, 3), (&second, 2), (&first, 1)] {
        for _ in 0..times {
            rig.get("/health", &[]).await;
        }
        rig.handler.add_counts().await;
        seen.push((counted(&first).await, counted(&second).await));
    }
    assert_eq!(seen, [(3, 3), (5, 5), (6, 6)]);
    // A process that was started since goes on where the others are.
    let third = rig_on(second.store.storage().clone(), key_lock(false), Vec::new());
    assert_eq!(counted(&third).await, 6);
}

#[test]
fn no_cell_is_a_formula() {
    let mut ticket = machine::ticket();
    ticket.status = Status::Acknowledged;
    let hostile = [
        "=HYPERLINK(\"http://x\")",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\n=1",
        " =1",
        "＝1",
    ];
    for cell in hostile {
        ticket.failure.asset = cell.to_owned();
        ticket.status_by = Actor {
            channel: Channel::Jira,
            name: cell.to_owned(),
        };
        let text = dashboard::csv(&[Listed::of(&ticket)]);
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let row = reader.records().next().unwrap().unwrap();
        for column in [2, 13] {
            assert_eq!(row.get(column), Some(format!("'{cell}").as_str()));
        }
    }
}

/// Where a list ends early it says so and where it goes on; nothing is on two pages, nothing on none.
#[tokio::test]
async fn lists_are_paged_and_the_overview_counts_what_it_does_not_show() {
    let rig = rig(key_lock(false));
    let key = [("x-dashboard-key", KEY)];
    let mut open = std::collections::BTreeSet::new();
    for number in 0..7_i64 {
        let then = Utc::now() - TimeDelta::minutes(number * 300);
        let opened = rig
            .open(|t| {
                t.id = aiops_rca::ticket::TicketId::new(t.failure.source, then, 7);
                t.received_at = then;
                if number == 2 {
                    t.status = Status::Acknowledged;
                }
            })
            .await;
        if number != 2 {
            open.insert(opened.id.to_string());
        }
    }
    let mut next = Some("/api/tickets?status=open&limit=4".to_owned());
    let (mut seen, mut pages) = (Vec::new(), 0);
    while let Some(target) = next {
        let (status, body) = rig.get(&target, &key).await;
        assert_eq!(status, 200, "{target}");
        let list: Value = serde_json::from_str(&body).unwrap();
        let tickets = list["tickets"].as_array().unwrap();
        seen.extend(tickets.iter().map(|t| t["id"].as_str().unwrap().to_owned()));
        next = list["next"].as_str().map(str::to_owned);
        assert_eq!(list["truncated"], next.is_some());
        pages += 1;
    }
    assert_eq!((pages, seen.len()), (2, open.len()));
    assert!(
        seen.is_sorted_by(|a, b| a > b),
        "the newest first: {seen:?}"
    );
    assert_eq!(
        seen.into_iter().collect::<std::collections::BTreeSet<_>>(),
        open
    );

    let (_, table) = rig
        .ask(Method::GET, "/api/tickets.csv?limit=3", &key, "")
        .await;
    let link = table
        .headers
        .iter()
        .find(|(name, _)| name == "link")
        .map(|(_, value)| value.as_str())
        .unwrap();
    assert!(
        link.starts_with("</api/tickets.csv?limit=3&before=") && link.ends_with("; rel=\"next\""),
        "{link}"
    );
    let (_, page) = rig.get("/dashboard?status=acknowledged", &key).await;
    assert!(
        page.contains("<strong>6</strong><span>open</span>"),
        "{page}"
    );
}

#[tokio::test]
async fn functions_that_the_host_does_not_call_are_said_and_health_says_only_that() {
    let nothing = std::collections::BTreeMap::new();
    let rig = rig_with(key_lock(false), deployment::idle(&nothing, None));
    let key = [("x-dashboard-key", KEY)];
    let (status, body) = rig.get("/health", &[]).await;
    assert_eq!((status, body.as_str()), (503, r#"{"status":"degraded"}"#));
    let (status, body) = rig.get("/api/status", &key).await;
    let said: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &said["status"]), (200, &Value::from("degraded")));
    for shown in [
        said["problems"][0].as_str().unwrap().to_owned(),
        rig.get("/dashboard", &key).await.1,
    ] {
        assert!(shown.contains("STORAGE_PREFIX"), "{shown}");
    }
    assert_eq!(
        rig.get("/api/status", &[]).await.0,
        401,
        "for those with the key"
    );

    // A door alone that is off concerns nobody's failures.
    let off = [
        ("STORAGE_PREFIX".to_owned(), "rca".to_owned()),
        (
            "AzureWebJobs.JiraWebhook.Disabled".to_owned(),
            "1".to_owned(),
        ),
    ];
    let rig = rig_with(key_lock(false), deployment::idle(&off.into(), None));
    assert_eq!(rig.get("/health", &[]).await.0, 200);
    let (_, body) = rig.get("/api/status", &key).await;
    assert!(
        body.contains("JiraWebhook") && body.contains(r#""status":"ok""#),
        "{body}"
    );
}
