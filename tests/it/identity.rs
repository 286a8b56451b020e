//! The managed identity against an endpoint that remembers who asked for what.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::time::Duration;

use aiops_rca::fault::Fault;
use aiops_rca::identity::{Identity, IdentitySettings};
use chrono::Utc;
use secrecy::ExposeSecret as _;
use serde_json::json;
use simulators::Fault as Fate;
use simulators::identity::IdentitySite;

use crate::support;
use crate::support::identity::{HEADER, IdentityEndpoint};

const STORAGE: &str = "https://storage.azure.com";

fn identity(endpoint: &IdentityEndpoint, client_id: Option<&str>) -> Identity {
    Identity::new(endpoint.settings(client_id), support::http())
}

fn in_seconds(seconds: i64) -> i64 {
    Utc::now().timestamp() + seconds
}

async fn token(identity: &Identity, resource: &str) -> String {
    identity
        .token(resource)
        .await
        .unwrap()
        .expose_secret()
        .to_owned()
}

#[tokio::test]
async fn the_question_is_the_one_of_app_service() {
    let endpoint = IdentityEndpoint::start(
        json!({"access_token": "t1", "expires_on": in_seconds(3600).to_string()}),
    )
    .await;
    assert_eq!(token(&identity(&endpoint, None), STORAGE).await, "t1");
    assert_eq!(
        token(&identity(&endpoint, Some("0f8f-id")), STORAGE).await,
        "t1"
    );
    let asked = endpoint.asked();
    for query in &asked {
        assert_eq!(query["api-version"], "2019-08-01");
        assert_eq!(query["resource"], STORAGE);
    }
    assert_eq!(asked[0].get("client_id"), None);
    assert_eq!(asked[1]["client_id"], "0f8f-id");
}

#[tokio::test]
async fn tokens_are_kept_per_resource_until_five_minutes_before_their_end() {
    for expires_on in [json!(in_seconds(3600)), json!(in_seconds(3600).to_string())] {
        let endpoint = IdentityEndpoint::start(
            json!({"access_token": "t", "expires_on": expires_on, "token_type": "Bearer"}),
        )
        .await;
        let identity = identity(&endpoint, None);
        for _ in 0..3 {
            token(&identity, STORAGE).await;
            token(&identity.clone(), "https://api.loganalytics.io").await;
        }
        assert_eq!(endpoint.asked().len(), 2);
    }
    for expires_on in [
        json!(in_seconds(200)),
        json!(in_seconds(-5)),
        json!("soon"),
        json!(null),
        json!(1e300),
    ] {
        let endpoint =
            IdentityEndpoint::start(json!({"access_token": "t1", "expires_on": expires_on})).await;
        let identity = identity(&endpoint, None);
        assert_eq!(token(&identity, STORAGE).await, "t1");
        endpoint.usual(json!({"access_token": "t2", "expires_on": in_seconds(3600)}));
        let known = expires_on.as_i64().is_some();
        assert_eq!(
            token(&identity, STORAGE).await,
            if known { "t2" } else { "t1" },
            "{expires_on}: an unknown end is taken for near, not for past"
        );
    }
}

#[tokio::test]
async fn callers_of_one_resource_wait_for_one_request() {
    let endpoint =
        IdentityEndpoint::start(json!({"access_token": "t", "expires_on": in_seconds(3600)})).await;
    let identity = identity(&endpoint, None);
    let tokens = futures::future::join_all((0..20).map(|_| token(&identity, STORAGE))).await;
    assert!(tokens.iter().all(|token| token == "t"));
    assert_eq!(endpoint.asked().len(), 1);
}

#[tokio::test]
async fn a_busy_endpoint_is_asked_again() {
    let endpoint =
        IdentityEndpoint::start(json!({"access_token": "t", "expires_on": in_seconds(3600)})).await;
    endpoint.next(500, None, "");
    endpoint.next(429, Some(0), "");
    assert_eq!(token(&identity(&endpoint, None), STORAGE).await, "t");
    assert_eq!(endpoint.asked().len(), 3);

    endpoint.next(429, Some(90), "");
    let fault = identity(&endpoint, None).token(STORAGE).await.unwrap_err();
    assert_eq!(endpoint.asked().len(), 4, "a long wait is the caller's");
    assert!(
        matches!(fault, Fault::Transient { retry_after: Some(wait), .. } if wait == Duration::from_secs(90)),
        "{fault:?}"
    );
}

#[tokio::test]
async fn a_token_near_its_end_bridges_an_outage() {
    let endpoint =
        IdentityEndpoint::start(json!({"access_token": "old", "expires_on": in_seconds(120)}))
            .await;
    let identity = identity(&endpoint, None);
    assert_eq!(token(&identity, STORAGE).await, "old");
    for _ in 0..3 {
        endpoint.next(503, None, "");
    }
    assert_eq!(token(&identity, STORAGE).await, "old");
    endpoint.usual(json!({"access_token": "new", "expires_on": in_seconds(3600)}));
    assert_eq!(token(&identity, STORAGE).await, "new");
}

#[tokio::test]
async fn refusals_say_what_to_do_and_tell_no_secret() {
    let endpoint = IdentityEndpoint::start(json!({"access_token": "t", "expires_on": 1})).await;
    let no_identity =
        r#"{"statusCode":400,"message":"No MSI found for specified ClientId/ResourceId."}"#;
    for (client_id, advice) in [(Some("wrong"), "check the client id"), (None, "turn on")] {
        endpoint.next(400, None, no_identity);
        let fault = identity(&endpoint, client_id)
            .token(STORAGE)
            .await
            .unwrap_err();
        assert!(
            !fault.is_transient() && fault.reason().contains(advice),
            "{fault}"
        );
    }
    for body in ["<html>", "{}", r#"{"access_token":7}"#] {
        endpoint.next(200, None, body);
        assert!(
            !identity(&endpoint, None)
                .token(STORAGE)
                .await
                .unwrap_err()
                .is_transient(),
            "{body}"
        );
    }
    let mut settings = endpoint.settings(None);
    settings.header = "guessed".into();
    let fault = Identity::new(settings, support::http())
        .token(STORAGE)
        .await
        .unwrap_err();
    assert!(
        !fault.is_transient() && !fault.to_string().contains("guessed"),
        "{fault}"
    );
    let shown = format!(
        "{:?} {:?}",
        identity(&endpoint, Some("id")),
        endpoint.settings(None)
    );
    assert!(!shown.contains(HEADER), "{shown}");
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_transient() {
    let mut settings = IdentityEndpoint::start(json!({})).await.settings(None);
    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    settings.endpoint.set_port(Some(free)).unwrap();
    assert!(
        Identity::new(settings, support::http())
            .token(STORAGE)
            .await
            .unwrap_err()
            .is_transient()
    );
}

/// The endpoint comes up with the instance: the first token may take ten seconds. Later ones have three for each try,
/// and the token that is still good stands in. Time is paused: it passes when nothing else can happen.
#[tokio::test(start_paused = true)]
async fn the_first_token_of_a_cold_start_has_ten_seconds() {
    let site = std::sync::Arc::new(IdentitySite::new(HEADER));
    let server = simulators::serve(0, std::sync::Arc::clone(&site))
        .await
        .unwrap();
    let settings = IdentitySettings {
        endpoint: format!("{}msi/token", server.url()).parse().unwrap(),
        header: HEADER.into(),
        client_id: None,
    };
    // So near its end that the next caller asks again.
    site.set_lifetime(chrono::TimeDelta::minutes(2));
    let cold = Identity::new(settings, support::http());
    server.faults.next(Fate::Delay(Duration::from_secs(9)));
    let began = tokio::time::Instant::now();
    let first = token(&cold, STORAGE).await;
    let took = began.elapsed();
    assert_eq!(server.requests().len(), 1, "{took:?}");
    assert!(
        took >= Duration::from_secs(9) && took < Duration::from_secs(10),
        "{took:?}"
    );
    for _ in 0..3 {
        server.faults.next(Fate::Delay(Duration::from_secs(4)));
    }
    let began = tokio::time::Instant::now();
    assert_eq!(token(&cold, STORAGE).await, first);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(9) && took < Duration::from_secs(11),
        "{took:?}"
    );
    assert!(server.faults.is_drained());
}
