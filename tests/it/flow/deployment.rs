//! An Airflow deployment with its scheduler, the flow that reads it, and a playbook that notes what it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aiops_rca::evidence::Airflow;
use aiops_rca::evidence::airflow::{AirflowLogin, AirflowSettings};
use aiops_rca::ticket::Ticket;
use base64::Engine as _;
use chrono::TimeDelta;
use serde_json::{Value, json};
use simulators::airflow::AirflowSite;
use simulators::airflow::scheduler::Release;
use simulators::{Answer, Request, Server, Site};

use super::Rig;
use crate::support;

pub(super) const DAG: &str = "etl";

/// A playbook that notes what it was asked to run again.
#[derive(Default)]
pub(super) struct Noting(pub(super) Mutex<Vec<Value>>);

impl Site for Noting {
    fn answer(&self, request: &Request) -> Answer {
        self.0.lock().unwrap().push(request.json());
        Answer::empty(202)
    }
}

/// A deployment with its scheduler, and the flow that reads it.
pub(super) struct Deployment {
    pub(super) rig: Rig,
    pub(super) calls: Arc<Noting>,
    pub(super) site: Arc<AirflowSite>,
    pub(super) server: Server,
    pub(super) release: Release,
}

impl Deployment {
    pub(super) async fn of(release: Release) -> Self {
        let calls = Arc::new(Noting::default());
        let mut rig = Rig::with(Arc::clone(&calls)).await;
        let site = Arc::new(AirflowSite::of(release, "rca", "secret"));
        let server = simulators::serve(0, Arc::clone(&site)).await.unwrap();
        let settings = AirflowSettings {
            base_url: server.url().parse().unwrap(),
            api: None,
            login: AirflowLogin::Password {
                username: "rca".to_owned(),
                password: "secret".to_owned().into(),
            },
        };
        rig.flow.collector.airflow = vec![Airflow::new(settings, support::http())];
        rig.flow.remediation.flapping_limit = usize::MAX;
        rig.flow.remediation.cooldown = TimeDelta::zero();
        Self {
            rig,
            calls,
            site,
            server,
            release,
        }
    }

    /// A request that the playbook, or a person, makes to the API.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut request = Request {
            method: method.to_owned(),
            path: "/auth/token".to_owned(),
            query: Vec::new(),
            headers: BTreeMap::new(),
            body: json!({"username": "rca", "password": "secret"})
                .to_string()
                .into(),
        };
        let authorization = if self.release == Release::V2_10 {
            let pair = base64::engine::general_purpose::STANDARD.encode("rca:secret");
            format!("Basic {pair}")
        } else {
            "POST".clone_into(&mut request.method);
            let token: Value = serde_json::from_slice(&self.site.answer(&request).body).unwrap();
            format!("Bearer {}", token["access_token"].as_str().unwrap())
        };
        method.clone_into(&mut request.method);
        let api = if self.release == Release::V2_10 {
            "v1"
        } else {
            "v2"
        };
        request.path = format!("/api/{api}/{path}");
        request
            .headers
            .insert("authorization".to_owned(), authorization);
        request.body = body.to_string().into();
        let answer = self.site.answer(&request);
        assert_eq!(answer.status, 200, "{method} {path}: {:?}", answer.body);
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Clears as the shipped playbook does; API v1 cannot say which index.
    pub(super) fn clear(&self, run: &str, task: &str, index: Option<i64>) -> usize {
        let id = match index {
            Some(index) if self.release != Release::V2_10 => json!([task, index]),
            _ => json!(task),
        };
        let body = json!({"dry_run": false, "dag_run_id": run, "task_ids": [id], "only_failed": true, "include_downstream": true,
            "reset_dag_runs": true});
        let cleared = self.ask("POST", &format!("dags/{DAG}/clearTaskInstances"), &body);
        cleared["task_instances"].as_array().unwrap().len()
    }
}

pub(super) fn state_of(task: &Value) -> &str {
    task["state"].as_str().unwrap_or("none")
}

/// A task instance's name and index.
pub(super) type Unit = (String, Option<i64>);

pub(super) fn unit_of(task: &Value) -> Unit {
    let index = task["map_index"].as_i64().filter(|index| *index >= 0);
    (
        task["task_id"].as_str().unwrap_or_default().to_owned(),
        index,
    )
}

pub(super) fn unit(ticket: &Ticket) -> Unit {
    let field = |name| ticket.failure.field(name);
    (
        field("task_id").unwrap_or_default().to_owned(),
        field("map_index").map(|index| index.parse().unwrap()),
    )
}
