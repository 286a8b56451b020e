//! The simulator itself: what the service promises about order, failure, loops, answers and queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aiops_rca::http::{Http, Reply};
use serde_json::{Value, json};
use simulators::logic_app::{
    Deployment, LogicAppSettings, LogicAppSimulator, RunStatus, StartError, UntilLimit, WorkflowRun,
};
use simulators::{Answer, Fault, Request, Server, Site, serve};

/// Answers what its path says, with the body it was sent.
struct Echo;

impl Site for Echo {
    fn answer(&self, request: &Request) -> Answer {
        let status = request.path.trim_matches('/').parse().unwrap_or(200);
        Answer::json(
            status,
            &json!({"got": request.json(), "auth": request.header("authorization")}),
        )
    }
}

fn definition(actions: &Value, trigger: &Value) -> Value {
    let mut manual = json!({"type": "Request", "kind": "Http", "inputs": {"schema": {}}});
    manual
        .as_object_mut()
        .unwrap()
        .extend(trigger.as_object().unwrap().clone());
    json!({
        "$schema": "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"greeting": {"type": "String", "defaultValue": "hello"}},
        "triggers": {"manual": manual},
        "actions": actions,
    })
}

struct Rig {
    simulator: LogicAppSimulator,
    echo: Server,
}

impl Rig {
    async fn new(actions: Value) -> Self {
        Self::with(&actions, &json!({}), LogicAppSettings::default()).await
    }

    async fn with(actions: &Value, trigger: &Value, settings: LogicAppSettings) -> Self {
        let echo = serve(0, Arc::new(Echo)).await.unwrap();
        let deployments = vec![Deployment {
            name: "w".into(),
            definition: definition(actions, trigger),
            parameters: BTreeMap::new(),
        }];
        let hosts = BTreeMap::from([(
            "https://echo.example.com".to_owned(),
            echo.url().parse().unwrap(),
        )]);
        let simulator = LogicAppSimulator::start(
            0,
            LogicAppSettings {
                deployments,
                hosts,
                ..settings
            },
        )
        .await
        .unwrap();
        Self { simulator, echo }
    }

    async fn post(&self, body: &Value) -> Reply {
        let http = Http::new(None).unwrap();
        let request = http
            .request(reqwest::Method::POST, &self.simulator.url("w").unwrap())
            .header("x-ms-client-tracking-id", "t-1");
        http.send("it", request.json(body)).await.unwrap()
    }

    async fn run(&self, body: Value) -> WorkflowRun {
        self.post(&body).await;
        self.simulator.settled().await;
        self.simulator.runs().pop().unwrap()
    }
}

fn status(run: &WorkflowRun, action: &str) -> RunStatus {
    run.action(action)
        .unwrap_or_else(|| panic!("{action} is not in the history"))
        .status
}

fn shown(run: &WorkflowRun, action: &str) -> Value {
    serde_json::to_value(run.action(action).unwrap()).unwrap()["outputs"].clone()
}

fn compose(value: &str, after: &Value) -> Value {
    json!({"type": "Compose", "inputs": value, "runAfter": after})
}

fn http(path: &str, retry: &Value, after: &Value) -> Value {
    json!({"type": "Http", "inputs": {"method": "POST", "uri": format!("https://echo.example.com/{path}"), "body": "@triggerBody()", "retryPolicy": retry}, "runAfter": after})
}

#[tokio::test]
async fn what_runs_after_a_failure_runs_and_what_runs_after_success_is_skipped() {
    let none = json!({"type": "none"});
    let rig = Rig::new(json!({
        "Bad": http("500", &none, &json!({})),
        "Good_path": compose("1", &json!({"Bad": ["Succeeded"]})),
        "Catch": compose("@outputs('Bad')?['statusCode']", &json!({"Bad": ["Failed"]})),
        "After_skipped": compose("2", &json!({"Good_path": ["Skipped"]})),
    }))
    .await;
    let run = rig.run(json!({})).await;
    assert_eq!(
        (status(&run, "Bad"), status(&run, "Good_path")),
        (RunStatus::Failed, RunStatus::Skipped)
    );
    assert_eq!(
        (shown(&run, "Catch"), shown(&run, "After_skipped")),
        (json!(500), json!("2"))
    );
    assert_eq!(
        run.status,
        RunStatus::Succeeded,
        "every last action succeeded"
    );
    assert_eq!(run.tracking_id, "t-1");
}

#[tokio::test]
async fn a_scope_fails_with_its_last_action_and_tells_what_failed() {
    let none = json!({"type": "none"});
    let rig = Rig::new(json!({
        "Try": {"type": "Scope", "actions": {"Fine": compose("1", &json!({})), "Bad": http("404", &none, &json!({"Fine": ["Succeeded"]})), "Never": compose("1", &json!({"Bad": ["Succeeded"]}))}},
        "Which": {"type": "Query", "inputs": {"from": "@result('Try')", "where": "@equals(item()['status'], 'Failed')"}, "runAfter": {"Try": ["Failed"]}},
        "Name": compose("@first(body('Which'))['name']", &json!({"Which": ["Succeeded"]})),
        "Code": compose("@actions('Bad')?['code']", &json!({"Name": ["Succeeded"]})),
        "List": {"type": "Select", "inputs": {"from": "@result('Try')", "select": "@item()['status']"}, "runAfter": {"Code": ["Succeeded"]}},
    }))
    .await;
    let run = rig.run(json!({})).await;
    assert_eq!(status(&run, "Try"), RunStatus::Failed);
    assert_eq!(
        (shown(&run, "Name"), shown(&run, "Code")),
        (json!("Bad"), json!("NotFound"))
    );
    assert_eq!(
        shown(&run, "List")["body"],
        json!(["Failed", "Succeeded", "Skipped"])
    );
}

#[tokio::test]
async fn branches_loops_and_variables() {
    let set = |name: &str, value: &str, after: Value| json!({"type": "SetVariable", "inputs": {"name": name, "value": value}, "runAfter": after});
    let rig = Rig::new(json!({
        "N": {"type": "InitializeVariable", "inputs": {"variables": [{"name": "n", "type": "integer"}]}},
        "L": {"type": "InitializeVariable", "inputs": {"variables": [{"name": "l", "type": "array", "value": []}]}, "runAfter": {"N": ["Succeeded"]}},
        "S": {"type": "InitializeVariable", "inputs": {"variables": [{"name": "s", "type": "string", "value": "@parameters('greeting')"}]}, "runAfter": {"L": ["Succeeded"]}},
        "Each": {"type": "Foreach", "foreach": "@triggerBody()['items']", "runAfter": {"S": ["Succeeded"]}, "actions": {
            "Add": {"type": "AppendToArrayVariable", "inputs": {"name": "l", "value": "@concat(items('Each'), '!')"}}}},
        "Loop": {"type": "Until", "expression": "@equals(variables('n'), 3)", "limit": {"count": 9, "timeout": "PT1H"}, "runAfter": {"Each": ["Succeeded"]}, "actions": {
            "Up": {"type": "IncrementVariable", "inputs": {"name": "n", "value": 1}}}},
        "Which": {"type": "Switch", "expression": "@variables('n')", "runAfter": {"Loop": ["Succeeded"]},
            "cases": {"Two": {"case": 2, "actions": {"In_two": set("s", "two", json!({}))}}, "Three": {"case": 3, "actions": {"In_three": set("s", "three", json!({}))}}},
            "default": {"actions": {"In_default": set("s", "default", json!({}))}}},
        "Cond": {"type": "If", "expression": {"and": [{"equals": ["@variables('s')", "three"]}, {"not": {"contains": ["@variables('l')", "z"]}}]}, "runAfter": {"Which": ["Succeeded"]},
            "actions": {"Yes": compose("@join(variables('l'), ',')", &json!({}))}, "else": {"actions": {"No": compose("1", &json!({}))}}},
        "Parsed": {"type": "ParseJson", "inputs": {"content": "@string(triggerBody())", "schema": {"type": "object", "required": ["items"]}}, "runAfter": {"Cond": ["Succeeded"]}},
        "Wrong": {"type": "ParseJson", "inputs": {"content": "@body('Parsed')", "schema": {"required": ["nothing"]}}, "runAfter": {"Parsed": ["Succeeded"]}},
        "Long_wait": {"type": "Wait", "inputs": {"interval": {"count": 30, "unit": "Day"}}, "runAfter": {"Wrong": ["Failed"]}},
    }))
    .await;
    let run = rig.run(json!({"items": ["a", "b"]})).await;
    assert_eq!(shown(&run, "Yes"), json!("a!,b!"));
    assert_eq!(
        (
            status(&run, "No"),
            status(&run, "In_two"),
            status(&run, "In_default")
        ),
        (RunStatus::Skipped, RunStatus::Skipped, RunStatus::Skipped)
    );
    assert_eq!(
        (
            run.action("Up").unwrap().repetitions,
            run.action("Add").unwrap().repetitions
        ),
        (3, 2)
    );
    assert_eq!(run.status, RunStatus::Succeeded);
    let waited = run.action("Long_wait").unwrap();
    assert!(
        waited.ended_at - waited.started_at >= chrono::TimeDelta::days(30),
        "time is the run's own"
    );
}

#[tokio::test]
async fn a_variable_keeps_its_type_and_a_bad_expression_fails_its_action() {
    let rig = Rig::new(json!({
        "N": {"type": "InitializeVariable", "inputs": {"variables": [{"name": "n", "type": "integer", "value": 1}]}},
        "Text": {"type": "SetVariable", "inputs": {"name": "n", "value": "x"}, "runAfter": {"N": ["Succeeded"]}},
        "Missing": compose("@triggerBody()['nothing']", &json!({"Text": ["Failed"]})),
    }))
    .await;
    let run = rig.run(json!({})).await;
    assert_eq!(
        (status(&run, "Text"), status(&run, "Missing"), run.status),
        (RunStatus::Failed, RunStatus::Failed, RunStatus::Failed)
    );
    assert_eq!(
        run.action("Missing").unwrap().error["code"],
        "InvalidTemplate"
    );
}

#[tokio::test]
async fn terminate_ends_the_run_at_once() {
    let rig = Rig::new(json!({
        "A": {"type": "Scope", "actions": {"Stop": {"type": "Terminate", "inputs": {"runStatus": "Cancelled"}}}},
        "B": compose("1", &json!({"A": ["Succeeded", "Failed", "Skipped", "TimedOut"]})),
    }))
    .await;
    let run = rig.run(json!({})).await;
    assert_eq!(
        (run.status, run.action("B").is_none()),
        (RunStatus::Cancelled, true)
    );
}

#[tokio::test]
async fn loops_end_at_their_limits() {
    let forever = |timeout: &str, options: Value| {
        let mut until = json!({"type": "Until", "expression": "@equals(1, 2)", "limit": {"count": 5, "timeout": timeout},
            "actions": {"Nap": {"type": "Wait", "inputs": {"interval": {"count": 1, "unit": "Minute"}}}}});
        until
            .as_object_mut()
            .unwrap()
            .extend(options.as_object().unwrap().clone());
        json!({"Loop": until})
    };
    for (timeout, naps) in [("PT1H", 5), ("PT150S", 3)] {
        let run = Rig::new(forever(timeout, json!({})))
            .await
            .run(json!({}))
            .await;
        assert_eq!(
            (status(&run, "Loop"), run.action("Nap").unwrap().repetitions),
            (RunStatus::TimedOut, naps)
        );
    }
    let lenient = LogicAppSettings {
        until_limit: UntilLimit::Succeeds,
        ..LogicAppSettings::default()
    };
    let rig = Rig::with(&forever("PT1H", json!({})), &json!({}), lenient).await;
    assert_eq!(
        status(&rig.run(json!({})).await, "Loop"),
        RunStatus::Succeeded
    );
    let strict = forever("PT1H", json!({"operationOptions": "FailWhenLimitsReached"}));
    assert_eq!(
        status(&Rig::new(strict).await.run(json!({})).await, "Loop"),
        RunStatus::Failed
    );
}

#[tokio::test]
async fn the_default_policy_repeats_what_may_pass() {
    let default = json!({"Call": {"type": "Http", "inputs": {"method": "POST", "uri": "https://echo.example.com/200", "body": {"a": "@triggerBody()?['x']"},
        "authentication": {"type": "ManagedServiceIdentity", "audience": "https://vault.azure.net"}}}});
    let rig = Rig::new(default).await;
    for fault in [
        Fault::status(429),
        Fault::status(503),
        Fault::DropBefore,
        Fault::status(408),
    ] {
        rig.echo.faults.next(fault);
    }
    let run = rig.run(json!({"x": 7})).await;
    assert_eq!(
        (status(&run, "Call"), rig.echo.requests().len()),
        (RunStatus::Succeeded, 5)
    );
    assert_eq!(
        shown(&run, "Call")["body"],
        json!({"got": {"a": 7}, "auth": "Bearer simulated"})
    );
    rig.echo.faults.next(Fault::status(403));
    assert_eq!(status(&rig.run(json!({})).await, "Call"), RunStatus::Failed);
    assert_eq!(rig.echo.requests().len(), 6);
}

#[tokio::test]
async fn unknown_hosts_are_not_reached_but_noted() {
    let rig =
        Rig::new(json!({"Call": {"type": "Http", "inputs": {"method": "GET", "uri": "https://evil.example.com/x?y"}}})).await;
    assert_eq!(status(&rig.run(json!({})).await, "Call"), RunStatus::Failed);
    assert_eq!(rig.simulator.strangers(), ["https://evil.example.com"]);
}

#[tokio::test]
async fn a_response_action_answers_the_caller_and_a_late_one_is_a_504() {
    let answer = json!({"Answer": {"type": "Response", "kind": "Http", "inputs": {"statusCode": 201, "headers": {"x-a": "b"}, "body": {"runId": "@triggerBody()?['x']"}}}});
    let rig = Rig::new(answer).await;
    let reply = rig.post(&json!({"x": "r-1"})).await;
    assert_eq!(
        (reply.status, reply.json::<Value>("it").unwrap()),
        (201, json!({"runId": "r-1"}))
    );
    assert_eq!(
        (
            reply.headers["x-a"].to_str().unwrap(),
            reply.headers.contains_key("x-ms-workflow-run-id")
        ),
        ("b", true)
    );

    let late = json!({"Nap": {"type": "Wait", "inputs": {"interval": {"count": 1, "unit": "Hour"}}},
        "Answer": {"type": "Response", "inputs": {"statusCode": 200}, "runAfter": {"Nap": ["Succeeded"]}}});
    let settings = LogicAppSettings {
        pace: Duration::from_millis(120),
        response_timeout: Some(Duration::from_millis(20)),
        ..LogicAppSettings::default()
    };
    let rig = Rig::with(&late, &json!({}), settings).await;
    assert_eq!(rig.post(&json!({})).await.status, 504);
    rig.simulator.settled().await;
    assert_eq!(
        rig.simulator.runs()[0].status,
        RunStatus::Succeeded,
        "the workflow went on"
    );

    let never = json!({"Bad": compose("@triggerBody()['x']", &json!({})), "Answer": {"type": "Response", "inputs": {"statusCode": 200}, "runAfter": {"Bad": ["Succeeded"]}}});
    assert_eq!(Rig::new(never).await.post(&json!({})).await.status, 502);
}

#[tokio::test]
async fn runs_wait_for_one_another_and_the_queue_is_bounded() {
    let nap =
        json!({"Nap": {"type": "Wait", "inputs": {"interval": {"count": 1, "unit": "Hour"}}}});
    let trigger =
        json!({"runtimeConfiguration": {"concurrency": {"runs": 1, "maximumWaitingRuns": 1}}});
    let settings = LogicAppSettings {
        pace: Duration::from_millis(60),
        ..LogicAppSettings::default()
    };
    let rig = Rig::with(&nap, &trigger, settings).await;
    let mut statuses = Vec::new();
    for _call in 0..4 {
        statuses.push(rig.post(&json!({})).await.status);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(statuses, [202, 202, 429, 429]);
    rig.simulator.settled().await;
    let runs = rig.simulator.runs();
    assert_eq!(runs.len(), 2);
    assert!(
        runs[1].actions[0].started_at
            >= runs[0].ended_at.unwrap() - chrono::TimeDelta::milliseconds(5)
    );
}

#[tokio::test]
async fn a_cancelled_run_does_nothing_more() {
    let actions = json!({"Nap": {"type": "Wait", "inputs": {"interval": {"count": 1, "unit": "Hour"}}}, "Call": http("200", &json!({"type": "none"}), &json!({"Nap": ["Succeeded"]}))});
    let settings = LogicAppSettings {
        pace: Duration::from_mins(1),
        ..LogicAppSettings::default()
    };
    let rig = Rig::with(&actions, &json!({}), settings).await;
    let reply = rig.post(&json!({})).await;
    rig.simulator
        .cancel(reply.headers["x-ms-workflow-run-id"].to_str().unwrap());
    rig.simulator.settled().await;
    assert_eq!(
        (rig.simulator.runs()[0].status, rig.echo.requests().len()),
        (RunStatus::Cancelled, 0)
    );
}

#[tokio::test]
async fn a_wrong_signature_starts_nothing_and_the_page_shows_the_runs() {
    let rig = Rig::new(json!({"A": compose("<b>1</b>", &json!({}))})).await;
    rig.run(json!({})).await;
    let http = Http::new(None).unwrap();
    let get =
        async |url: url::Url, method| http.send("it", http.request(method, &url)).await.unwrap();
    let mut url = rig.simulator.url("w").unwrap();
    url.query_pairs_mut().clear().append_pair("sig", "wrong");
    let refused = get(url, reqwest::Method::POST).await;
    assert_eq!(
        (
            refused.status,
            refused.json::<Value>("it").unwrap()["error"]["code"].clone()
        ),
        (401, json!("DirectApiAuthorizationRequired"))
    );
    assert_eq!(rig.simulator.runs().len(), 1);
    let base = rig.simulator.url("w").unwrap();
    let page = get(base.join("/").unwrap(), reqwest::Method::GET).await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        page.contains("Playbook runs")
            && page.contains("<code>t-1</code>")
            && !page.contains("sig=")
    );
    assert_eq!(
        get(base.join("/runs").unwrap(), reqwest::Method::GET)
            .await
            .json::<Value>("it")
            .unwrap()[0]["playbook"],
        "w"
    );
    assert_eq!(
        get(
            base.join("/workflows/x/triggers/manual/paths/invoke")
                .unwrap(),
            reqwest::Method::POST
        )
        .await
        .status,
        404
    );
}

#[tokio::test]
async fn parameters_are_checked_when_it_is_deployed() {
    let start = async |definition: Value, parameters: Value| {
        let parameters = parameters
            .as_object()
            .unwrap()
            .clone()
            .into_iter()
            .collect();
        let deployments = vec![Deployment {
            name: "w".into(),
            definition,
            parameters,
        }];
        LogicAppSimulator::start(
            0,
            LogicAppSettings {
                deployments,
                ..LogicAppSettings::default()
            },
        )
        .await
        .map(|_| ())
    };
    let actions = json!({"A": compose("1", &json!({}))});
    assert!(
        start(definition(&actions, &json!({})), json!({"greeting": "hi"}))
            .await
            .is_ok()
    );
    for (parameters, why) in [
        (json!({"greeting": 1}), "not allowed"),
        (json!({"other": 1}), "not declared"),
    ] {
        let Err(StartError::Definition { error, .. }) =
            start(definition(&actions, &json!({})), parameters).await
        else {
            panic!("accepted")
        };
        assert!(error.to_string().contains(why), "{error}");
    }
    let mut without = definition(&actions, &json!({}));
    without["parameters"]["greeting"]
        .as_object_mut()
        .unwrap()
        .remove("defaultValue");
    assert!(
        start(without, json!({}))
            .await
            .unwrap_err()
            .to_string()
            .contains("has no value")
    );
}
