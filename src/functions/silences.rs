//! Silences through the API, the dashboard and Slack.

use chrono::{DateTime, Utc};
use serde_json::json;
use warp::http::StatusCode;

use super::access::Caller;
use super::wire::Response;
use crate::dashboard;
use crate::fault::Fault;
use crate::flow::{Flow, ListedSilence, NotSilenced};
use crate::silence::Asked;
use crate::ticket::{Actor, Channel, Silence, SilenceState};

/// The longest name of somebody who acts, in bytes.
const NAME_CAP: usize = 120;

/// Who acts: a signed-in person in their own name only.
pub(super) fn actor(caller: &Caller, by: Option<&str>) -> Actor {
    let given = by
        .map(str::trim)
        .filter(|by| !caller.is_known && !by.is_empty());
    Actor {
        channel: Channel::Dashboard,
        name: given.map_or_else(
            || caller.name.clone(),
            |by| crate::redaction::cap(&crate::redaction::redact(by), NAME_CAP),
        ),
    }
}

fn shown(silence: &Silence, now: DateTime<Utc>) -> serde_json::Value {
    dashboard::silence(&ListedSilence {
        silence: silence.clone(),
        state: silence.state(now),
        failures: 0,
    })
}

/// All of them.
pub(super) async fn list(flow: &Flow, now: DateTime<Utc>) -> Result<Response, Fault> {
    let listed = flow.list_silences(now).await?;
    let items: Vec<_> = listed.iter().map(dashboard::silence).collect();
    Ok(Response::json(StatusCode::OK, &json!({"silences": items})))
}

/// A new one, as JSON asks for it.
pub(super) async fn set(
    flow: &Flow,
    body: &[u8],
    caller: &Caller,
    now: DateTime<Utc>,
) -> Result<Response, Fault> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let asked: Asked = match serde_path_to_error::deserialize(&mut json) {
        Ok(asked) => asked,
        Err(wrong) => {
            return Ok(Response::error(
                StatusCode::BAD_REQUEST,
                "not_json",
                "the body is not the JSON that is expected here",
                &crate::redaction::cap(&wrong.path().to_string(), 100),
            ));
        }
    };
    let by = actor(caller, asked.by.as_deref());
    match flow.set_silence(&asked, by, now).await {
        Ok(silence) => Ok(Response::json(StatusCode::CREATED, &shown(&silence, now))),
        Err(NotSilenced::Invalid(invalid)) => Ok(Response::error(
            StatusCode::BAD_REQUEST,
            "invalid_silence",
            &invalid.why,
            invalid.field,
        )),
        Err(NotSilenced::Store(fault)) => Err(fault),
    }
}

/// Ends one early.
pub(super) async fn end(
    flow: &Flow,
    id: &str,
    by: &Actor,
    now: DateTime<Utc>,
) -> Result<Response, Fault> {
    let ended = flow.end_silence(id, by, now).await?;
    Ok(match ended {
        Some(silence) => Response::json(StatusCode::OK, &shown(&silence, now)),
        None => Response::error(
            StatusCode::NOT_FOUND,
            "unknown_silence",
            "there is no such silence, or it is over",
            "",
        ),
    })
}

/// How many hold now.
pub(super) async fn active(flow: &Flow, now: DateTime<Utc>) -> Result<usize, Fault> {
    let known = flow.store.known_silences(now).await?;
    let active = known
        .iter()
        .filter(|silence| silence.state(now) == SilenceState::Active);
    Ok(active.count())
}
