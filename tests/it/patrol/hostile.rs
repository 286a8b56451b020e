//! Platforms that refuse, hang, talk nonsense or never end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aiops_rca::failure::Source;
use chrono::TimeDelta;
use serde_json::json;
use simulators::airflow::Api;
use simulators::{Answer, Fault, Request, Site, serve};

use super::rig::{Rig, data_factory, stamp};
use crate::support;

fn too_many(seconds: u32) -> Fault {
    Fault::Status {
        code: 429,
        headers: vec![("Retry-After".to_owned(), seconds.to_string())],
        body: json!({"error": {"code": "TooManyPipelineRunQueryRequests", "message": "slow down"}})
            .to_string(),
    }
}

#[tokio::test]
async fn one_platform_that_refuses_does_not_hold_up_another() {
    let page = "<html><body>Down for maintenance</body></html>";
    for fault in [
        Fault::status(500),
        Fault::status(403),
        Fault::DropBefore,
        Fault::Status {
            code: 200,
            headers: Vec::new(),
            body: page.to_owned(),
        },
        Fault::Status {
            code: 200,
            headers: Vec::new(),
            body: r#"{"value": [null, 7, {"runId": []}], "continuationToken": {}}"#.to_owned(),
        },
    ] {
        let mut rig = Rig::build().await;
        rig.tick().await;
        rig.factory.faults.stands(Some(fault.clone()));
        rig.pipeline_run(1, "pl_sales", "Failed", 3);
        rig.job_run(11, 7, "FAILED", 3, &json!({}));
        rig.failed_task("nightly", "scheduled__1", "load");
        let done = rig.tick().await;
        assert_eq!((done.faults, done.failed), (1, 2), "{fault:?}");
        let trouble = rig.watch("adf").await.trouble;
        assert!(trouble.is_some(), "{fault:?}");
        rig.factory.faults.stands(None);
        rig.pass(10);
        rig.tick().await;
        assert_eq!(rig.tickets().await.len(), 3, "{fault:?}");
        assert_eq!(rig.watch("adf").await.trouble, None);
    }
}

/// A list that cannot be read is no list in which nothing ended.
#[tokio::test]
async fn a_list_that_cannot_be_read_is_asked_for_again() {
    for garbage in [
        r#"{"runs": [null, 7]}"#,
        r#"{"runs": {"run_id": 11}}"#,
        r#"{"runs": "none"}"#,
    ] {
        let mut rig = Rig::build().await;
        rig.tick().await;
        let answer = Fault::Status {
            code: 200,
            headers: Vec::new(),
            body: garbage.to_owned(),
        };
        rig.databricks.faults.stands(Some(answer));
        rig.job_run(11, 7, "FAILED", 3, &json!({}));
        assert_eq!(rig.tick().await.faults, 1, "{garbage}");
        assert!(rig.watch("databricks").await.trouble.is_some(), "{garbage}");
        rig.databricks.faults.stands(None);
        rig.pass(10);
        rig.tick().await;
        assert_eq!(rig.tickets().await.len(), 1, "{garbage}");
    }
}

#[tokio::test]
async fn a_platform_is_left_alone_for_as_long_as_it_asks() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.factory.faults.next(too_many(150));
    rig.pipeline_run(1, "pl_sales", "Failed", 3);
    rig.tick().await;
    let asked = rig.factory.requests().len();
    rig.tick().await;
    rig.tick().await;
    assert_eq!(
        rig.factory.requests().len(),
        asked,
        "150 seconds are not over"
    );
    rig.tick().await;
    assert!(rig.factory.requests().len() > asked);
    assert_eq!(rig.tickets().await.len(), 1);
}

/// Pages without an end: the same again, or always another one.
struct Endless {
    same: bool,
    number: AtomicU32,
    failed_at: serde_json::Value,
}

impl Site for Endless {
    fn answer(&self, request: &Request) -> Answer {
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        if !request.path.contains("queryPipelineRuns") {
            return Answer::json(404, &json!({"error": {"code": "NotFound", "message": ""}}));
        }
        let number = if self.same { 0 } else { number };
        let run = json!({"runId": format!("00000000-0000-4000-8000-{number:012}"), "pipelineName": format!("pl_{number}"), "status": "Failed",
            "runStart": self.failed_at, "runEnd": self.failed_at, "lastUpdated": self.failed_at, "message": "it broke"});
        Answer::json(
            200,
            &json!({"value": [run], "continuationToken": format!("page-{number}")}),
        )
    }
}

#[tokio::test]
async fn pages_without_an_end_cost_a_bounded_number_of_calls() {
    for same in [true, false] {
        let mut rig = Rig::build().await;
        let site = Arc::new(Endless {
            same,
            number: AtomicU32::new(0),
            failed_at: stamp(rig.now + TimeDelta::minutes(2)),
        });
        let server = serve(0, site).await.unwrap();
        rig.flow.collector.data_factory = vec![data_factory(&server.url())];
        rig.tick().await;
        rig.tick().await;
        let asked = server.requests_to("POST", "queryPipelineRuns").len();
        assert!(asked <= 2 * 62, "{asked}");
        // What was told on the way is a failure all the same, and the others are asked.
        assert!(!rig.tickets().await.is_empty());
        assert!(rig.watch("airflow").await.answered_at.is_some());
        assert!(rig.watch("adf").await.answered_at.is_none());
    }
}

#[tokio::test]
async fn a_scope_that_cannot_be_asked_for_long_is_one_ticket_until_it_can() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.databricks.faults.stands(Some(Fault::status(403)));
    for _ in 0..40 {
        rig.tick().await;
    }
    let ticket = rig.the_ticket().await;
    assert_eq!(ticket.failure.source, Source::System);
    assert_eq!(ticket.diagnosis.error_type, "ScopeUnreachable");
    assert!(
        ticket.failure.message.contains("403"),
        "{}",
        ticket.failure.message
    );
    assert!(!ticket.is_closed());
    rig.databricks.faults.stands(None);
    for _ in 0..10 {
        rig.tick().await;
    }
    assert!(rig.the_ticket().await.is_closed());
    // The next outage is another ticket.
    rig.databricks.faults.stands(Some(Fault::status(500)));
    for _ in 0..40 {
        rig.tick().await;
    }
    assert_eq!(rig.tickets().await.len(), 2);
}

#[tokio::test]
async fn two_patrols_at_once_find_each_failure_once() {
    for (_, storage) in support::storages() {
        let mut rig = Rig::of(storage, Api::V2).await;
        rig.tick().await;
        for id in 0..20 {
            rig.pipeline_run(id, &format!("pl_{id}"), "Failed", 3);
        }
        rig.pass(1);
        let both = futures::future::join(rig.flow.patrol(rig.now), rig.flow.patrol(rig.now)).await;
        both.0.unwrap();
        both.1.unwrap();
        rig.work().await;
        rig.tick().await;
        assert_eq!(rig.tickets().await.len(), 20);
    }
}

#[tokio::test]
async fn nothing_is_asked_where_it_is_off_or_nothing_is_configured() {
    let mut rig = Rig::build().await;
    rig.flow.patrol.on = false;
    rig.tick().await;
    assert!(rig.factory.requests().is_empty());
    rig.flow.patrol.on = true;
    rig.flow.collector = aiops_rca::evidence::Collector::default();
    assert_eq!(
        rig.tick().await,
        aiops_rca::flow::patrol::Patrolled::default()
    );
}
