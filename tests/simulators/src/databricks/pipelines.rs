//! Lakeflow pipelines: their list with the latest updates, an update, the events.

use serde_json::{Value, json};

use super::{DatabricksSite, State, refusal, set, text};
use crate::{Answer, Request, lock};

/// How many updates the list shows of each pipeline.
const LATEST: usize = 5;

impl DatabricksSite {
    /// A pipeline.
    pub fn put_pipeline(&self, id: &str, name: &str) {
        let pipeline =
            json!({"pipeline_id": id, "name": name, "state": "IDLE", "creator_user_name": "x"});
        lock(&self.state).pipelines.insert(id.to_owned(), pipeline);
    }

    /// An update of it, the newest of all: `update_id`, `state`, `creation_time`, `cause`; and what it says of errors.
    pub fn put_update(&self, pipeline: &str, update: Value, errors: &[Value]) {
        let mut state = lock(&self.state);
        for error in errors {
            let mut event = error.clone();
            set(&mut event, "level", "ERROR");
            set(
                &mut event,
                "origin",
                json!({"pipeline_id": pipeline, "update_id": update.get("update_id")}),
            );
            let events = state.pipeline_events.entry(pipeline.to_owned());
            events.or_default().insert(0, event);
        }
        let updates = state.updates.entry(pipeline.to_owned()).or_default();
        let id = text(&update, "update_id");
        updates.retain(|known| text(known, "update_id") != id);
        updates.insert(0, update);
    }
}

pub(super) fn list(state: &State, request: &Request) -> Answer {
    let most = request.query("max_results").and_then(|n| n.parse().ok());
    let (start, size): (usize, usize) = (
        request
            .query("page_token")
            .and_then(|n| n.parse().ok())
            .unwrap_or(0),
        most.unwrap_or(25).min(100),
    );
    let shown: Vec<Value> = state
        .pipelines
        .iter()
        .skip(start)
        .take(size)
        .map(|(id, pipeline)| {
            let mut pipeline = pipeline.clone();
            let updates = state.updates.get(id).into_iter().flatten().take(LATEST);
            let latest: Vec<Value> = updates
                .map(|update| {
                    json!({"update_id": update.get("update_id"), "state": update.get("state"),
                        "creation_time": update.get("creation_time")})
                })
                .collect();
            set(&mut pipeline, "latest_updates", latest);
            pipeline
        })
        .collect();
    let mut body = json!({"statuses": shown});
    if start + size < state.pipelines.len() {
        set(&mut body, "next_page_token", (start + size).to_string());
    }
    Answer::json(200, &body)
}

pub(super) fn update(state: &State, pipeline: &str, update: &str) -> Answer {
    let updates = state.updates.get(pipeline).into_iter().flatten();
    let found = updates
        .into_iter()
        .find(|known| text(known, "update_id") == update);
    found.map_or_else(
        || refusal(404, "RESOURCE_DOES_NOT_EXIST", "The update does not exist."),
        |update| Answer::json(200, &json!({"update": update})),
    )
}

pub(super) fn events(state: &State, pipeline: &str) -> Answer {
    let events = state.pipeline_events.get(pipeline).cloned();
    Answer::json(200, &json!({"events": events.unwrap_or_default()}))
}
