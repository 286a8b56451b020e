//! The admin endpoints that people use by hand: `POST /admin/functions/<Name>` runs a queue or timer
//! function now, with `{"input":"…"}` as its message; ping and status.

use std::sync::Arc;

use chrono::Utc;
use serde::Deserialize;
use uuid::Uuid;

use super::{Answer, Incoming};
use crate::local::host::envelope::{self, CallIds};
use crate::local::host::invoke::Core;
use crate::local::host::manifest::Trigger;
use crate::local::host::{HOST_VERSION, queue, timer};

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    input: Option<String>,
}

pub(super) fn answer(core: &Arc<Core>, request: &Incoming) -> Answer {
    let path = request.path.trim_matches('/');
    let below = |parent: &str| {
        path.get(..parent.len())
            .filter(|head| head.eq_ignore_ascii_case(parent))
            .and_then(|_| path.get(parent.len()..))
    };
    if let Some(name) = below("admin/functions/").filter(|_| request.head.method == "POST") {
        return run(core, name, &request.body);
    }
    match below("admin/host/") {
        Some("ping") => Answer::own(200)
            .with("Cache-Control", "no-store,no-cache")
            .with("Pragma", "no-cache"),
        Some("status") => status(core),
        _ => Answer::own(404),
    }
}

fn status(core: &Core) -> Answer {
    let state = if core.is_stopping() {
        "Stopping"
    } else {
        "Running"
    };
    let version = HOST_VERSION.trim_end_matches(".0");
    let mut answer = Answer::own(200).with("Content-Type", "application/json; charset=utf-8");
    answer.body = format!(
        r#"{{"id":"local","state":"{state}","version":"{HOST_VERSION}","versionDetails":"{version}.0","platformVersion":"","instanceId":"","computerName":"","processUptime":{},"functionAppContentEditingState":"Unknown"}}"#,
        core.started.elapsed().as_millis()
    )
    .into();
    answer
}

/// 202: it runs by itself, and the caller learns nothing of the outcome.
fn run(core: &Arc<Core>, name: &str, body: &[u8]) -> Answer {
    let Some(function) = core.app.function(name).cloned() else {
        return Answer::own(404);
    };
    let Ok(input) = serde_json::from_slice::<Input>(body) else {
        return Answer::own(400);
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
        // It has a URL of its own; the real host says 202 and does nothing that anybody sees.
        Trigger::Http(_) => return Answer::own(202),
    };
    let core = core.clone();
    tokio::spawn(async move { core.invoke(&function, "admin".to_owned(), &envelope).await });
    Answer::own(202)
}
