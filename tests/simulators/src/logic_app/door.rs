//! The door of the service: who may start a run, and what the caller hears.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::{Workflow, World, engine, history, schema};
use crate::{Answer, Fault, FaultScript, Request, cut, lock, respond};

/// Answers one request, or fails it as scripted.
pub(super) async fn door(
    workflows: &BTreeMap<String, Arc<Workflow>>,
    world: &Arc<World>,
    script: &FaultScript,
    request: &Request,
) -> warp::reply::Response {
    let answer = match script.take(&request.method, &request.path) {
        None => answer(workflows, world, request).await,
        Some(Fault::Delay(wait)) => {
            tokio::time::sleep(wait).await;
            answer(workflows, world, request).await
        }
        Some(Fault::AcceptThenDelay(wait)) => {
            let answer = answer(workflows, world, request).await;
            tokio::time::sleep(wait).await;
            answer
        }
        Some(Fault::Status {
            code,
            headers,
            body,
        }) => Answer {
            status: code,
            headers,
            body: body.into(),
        },
        Some(Fault::DropBefore) => return cut(),
        Some(Fault::AcceptThenDrop) => {
            let _started = answer(workflows, world, request).await;
            return cut();
        }
    };
    respond(answer)
}

async fn answer(
    workflows: &BTreeMap<String, Arc<Workflow>>,
    world: &Arc<World>,
    request: &Request,
) -> Answer {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method.as_str(), segments.as_slice()) {
        ("GET", [""]) => {
            let page = history::page(&lock(&world.history)).into_string();
            Answer {
                status: 200,
                headers: vec![(
                    "content-type".to_owned(),
                    "text/html; charset=utf-8".to_owned(),
                )],
                body: page.into(),
            }
        }
        ("GET", ["runs"]) => Answer::json(200, &json!(*lock(&world.history))),
        ("POST", ["workflows", name, "triggers", "manual", "paths", "invoke"]) => {
            match workflows.get(*name) {
                Some(workflow) => trigger(workflow, world, request).await,
                None => refusal(404, "WorkflowNotFound", "The workflow could not be found."),
            }
        }
        _ => refusal(404, "NotFound", "There is nothing here."),
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": {"code": code, "message": message}}),
    )
}

/// learn.microsoft.com/azure/logic-apps/logic-apps-securing-a-logic-app: a signature or a token, never both.
fn unauthorized(workflow: &Workflow, request: &Request) -> Option<Answer> {
    let signed = request.query("sig");
    let bearer = request.header("authorization");
    match (&*lock(&workflow.caller), signed, bearer) {
        (_, Some(_), Some(_)) => Some(refusal(
            401,
            "DirectApiAuthorizationRequired",
            "The request must be authenticated by one scheme only.",
        )),
        (None, signed, None) if signed == Some(&workflow.signature) => None,
        (None, _, _) => Some(refusal(
            401,
            "DirectApiAuthorizationRequired",
            "The request must be authenticated only by Shared Access scheme.",
        )),
        (Some(token), None, Some(bearer)) if bearer == format!("Bearer {token}") => None,
        (Some(_), None, Some(_)) => Some(refusal(
            403,
            "MisMatchingOAuthClaims",
            "One or more claims either missing or does not match with the open authentication access control policy.",
        )),
        (Some(_), _, _) => Some(refusal(
            401,
            "SharedAccessSignatureDisabled",
            "Shared Access scheme is disabled for this trigger.",
        )),
    }
}

async fn trigger(workflow: &Arc<Workflow>, world: &Arc<World>, request: &Request) -> Answer {
    if let Some(refused) = unauthorized(workflow, request) {
        return refused;
    }
    if !workflow.enabled.load(Ordering::SeqCst) {
        let message = format!(
            "Could not execute workflow '{}' trigger 'manual' with state 'Disabled': trigger is not enabled.",
            workflow.name
        );
        return refusal(404, "WorkflowTriggerIsNotEnabled", &message);
    }
    let body = serde_json::from_slice(&request.body)
        .unwrap_or_else(|_| json!(String::from_utf8_lossy(&request.body)));
    let trigger = workflow.definition.trigger().map(|(_, trigger)| trigger);
    let validated = trigger.is_some_and(|trigger| {
        trigger.operation_options.as_deref() == Some("EnableSchemaValidation")
    });
    let schema = trigger
        .and_then(|trigger| trigger.inputs.get("schema"))
        .cloned()
        .unwrap_or_default();
    if let Some(why) = schema::mismatch(&schema, &body).filter(|_| validated) {
        let message = format!(
            "The input body for trigger 'manual' of type 'Request' did not match its schema definition. Error details: '{why}'."
        );
        return refusal(400, "TriggerInputSchemaMismatch", &message);
    }
    if workflow.waiting.load(Ordering::SeqCst)
        >= workflow
            .waiting_limit
            .saturating_add(workflow.runs.available_permits())
    {
        return refusal(
            429,
            "TooManyRequests",
            "The limit of waiting runs is reached.",
        )
        .with_header("Retry-After", "15");
    }
    start(workflow, world, request, body).await
}

async fn start(
    workflow: &Arc<Workflow>,
    world: &Arc<World>,
    request: &Request,
    body: Value,
) -> Answer {
    let run_id = format!(
        "0858{}CU00",
        uuid::Uuid::new_v4().simple().to_string().to_uppercase()
    );
    let tracking_id = request
        .header("x-ms-client-tracking-id")
        .unwrap_or(&run_id)
        .to_owned();
    world.begin(&run_id, &workflow.name, &tracking_id);
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let mut engine = engine::Engine::new(
        Arc::clone(workflow),
        Arc::clone(world),
        run_id.clone(),
        body,
        Value::Object(headers),
    );
    let (respond, response) = oneshot::channel();
    engine.respond = workflow.answers.then_some(respond);
    let waiting = Waiting::new(workflow);
    let (its_workflow, its_world, its_id) =
        (Arc::clone(workflow), Arc::clone(world), run_id.clone());
    let task = tokio::spawn(async move {
        let permit = its_workflow.runs.acquire().await;
        drop(waiting);
        its_world.running(&its_id);
        let status = engine.run().await;
        its_world.end(&its_id, status, Some(engine.history()));
        drop(permit);
    });
    lock(&world.aborts).insert(run_id.clone(), task.abort_handle());
    if world.take_gateway_timeout() {
        return refusal(
            504,
            "GatewayTimeout",
            "The server did not receive a response from an upstream server.",
        );
    }
    let answer = if workflow.answers {
        match tokio::time::timeout(world.response_timeout, response).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => refusal(
                502,
                "NoResponse",
                "The server did not receive a response from an upstream server.",
            ),
            Err(_) => refusal(
                504,
                "GatewayTimeout",
                "The server did not receive a response from an upstream server.",
            ),
        }
    } else {
        Answer::empty(202)
    };
    answer
        .with_header("x-ms-workflow-run-id", &run_id)
        .with_header("x-ms-workflow-name", &workflow.name)
        .with_header("x-ms-client-tracking-id", &tracking_id)
}

/// One run in the queue of its workflow; dropped when it begins or is cancelled.
struct Waiting(Arc<Workflow>);

impl Waiting {
    fn new(workflow: &Arc<Workflow>) -> Self {
        workflow.waiting.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(workflow))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
