//! The admin endpoints that people use by hand: `POST /admin/functions/<Name>` runs a queue or timer
//! function now, with `{"input":"…"}` as its message.

use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use serde::Deserialize;
use uuid::Uuid;
use warp::Reply;
use warp::http::{Method, StatusCode};

use super::{Answer, plain};
use crate::local::host::envelope::{self, CallIds};
use crate::local::host::invoke::Core;
use crate::local::host::manifest::Trigger;
use crate::local::host::{HOST_VERSION, queue, timer};

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    input: Option<String>,
}

pub(super) fn answer(
    core: &Arc<Core>,
    method: &Method,
    path: &str,
    body: &Bytes,
) -> Result<Answer, StatusCode> {
    let path = path.trim_matches('/');
    let below = |parent: &str| {
        path.get(..parent.len())
            .filter(|head| head.eq_ignore_ascii_case(parent))
            .and_then(|_| path.get(parent.len()..))
    };
    if let Some(name) = below("admin/functions/") {
        return if *method == Method::POST {
            run(core, name, body)
        } else {
            Err(StatusCode::NOT_FOUND)
        };
    }
    match below("admin/host/") {
        Some("ping") => Ok(plain(StatusCode::OK, "")),
        Some("status") => Ok(status(core)),
        _ => Err(StatusCode::NOT_FOUND),
    }
}

fn status(core: &Core) -> Answer {
    let state = if core.is_stopping() {
        "Stopping"
    } else {
        "Running"
    };
    warp::reply::json(&serde_json::json!({"state": state, "version": HOST_VERSION})).into_response()
}

/// 202: it runs by itself, and the caller learns nothing of the outcome.
fn run(core: &Arc<Core>, name: &str, body: &Bytes) -> Result<Answer, StatusCode> {
    let function = core
        .app
        .function(name)
        .ok_or(StatusCode::NOT_FOUND)?
        .clone();
    let input: Input = if body.is_empty() {
        Input { input: None }
    } else {
        serde_json::from_slice(body).map_err(|_| StatusCode::BAD_REQUEST)?
    };
    let text = input.input.unwrap_or_default();
    let now = Utc::now();
    let call = CallIds {
        rand_guid: Uuid::new_v4(),
        utc_now: now,
    };
    let facts = queue::facts_of_admin_call(now);
    let envelope = match &function.trigger {
        Trigger::Queue(trigger) if trigger.binary => {
            envelope::queue_bytes(&function.name, trigger, text.as_bytes(), &facts, &call)
        }
        Trigger::Queue(trigger) => {
            envelope::queue_text(&function.name, trigger, &text, &facts, &call)
        }
        Trigger::Timer(trigger) => timer::admin_envelope(&function, trigger),
        // It has a URL of its own.
        Trigger::Http(_) => return Err(StatusCode::BAD_REQUEST),
    };
    let core = core.clone();
    tokio::spawn(async move { core.invoke(&function, "admin".to_owned(), &envelope).await });
    Ok(plain(StatusCode::ACCEPTED, ""))
}
