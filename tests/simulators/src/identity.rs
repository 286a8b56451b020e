//! The App Service identity endpoint: one token a resource, for those who know the header.

use std::sync::Mutex;

use chrono::TimeDelta;
use serde_json::json;

use super::{Answer, Clock, Request, Site, lock};

/// The API version of the App Service endpoint.
const API_VERSION: &str = "2019-08-01";

/// Issues tokens.
#[derive(Debug)]
pub struct IdentitySite {
    header: String,
    lifetime: Mutex<TimeDelta>,
    /// The endpoint's clock.
    pub clock: Clock,
}

impl IdentitySite {
    /// `header`: the expected value of `X-IDENTITY-HEADER`.
    pub fn new(header: &str) -> Self {
        Self {
            header: header.to_owned(),
            lifetime: Mutex::new(TimeDelta::hours(24)),
            clock: Clock::default(),
        }
    }

    /// How long the tokens issued from now on live.
    pub fn set_lifetime(&self, lifetime: TimeDelta) {
        *lock(&self.lifetime) = lifetime;
    }

    /// The token that this endpoint issues for a resource, for the sites that check it.
    pub fn token_for(resource: &str) -> String {
        format!("token-for-{}", resource.trim_end_matches('/'))
    }
}

impl Site for IdentitySite {
    fn answer(&self, request: &Request) -> Answer {
        let refusal = |status: u16, message: &str| {
            Answer::json(status, &json!({"statusCode": status, "message": message}))
        };
        if request.header("x-identity-header") != Some(self.header.as_str()) {
            return refusal(401, "X-IDENTITY-HEADER is missing or wrong");
        }
        if request.query("api-version") != Some(API_VERSION) {
            return refusal(400, "api-version is missing or unknown");
        }
        let Some(resource) = request
            .query("resource")
            .filter(|resource| !resource.is_empty())
        else {
            return refusal(400, "resource is missing");
        };
        let expires = self.clock.now() + *lock(&self.lifetime);
        let mut body = json!({
            "access_token": Self::token_for(resource),
            "expires_on": expires.timestamp().to_string(),
            "resource": resource,
            "token_type": "Bearer",
        });
        if let (Some(client), Some(body)) = (request.query("client_id"), body.as_object_mut()) {
            body.insert("client_id".to_owned(), client.into());
        }
        Answer::json(200, &body)
    }
}
