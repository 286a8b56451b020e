//! Our questions beside those of the vendors' own SDKs: the same path, version and body.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_rca::evidence::Collector;
use aiops_rca::evidence::airflow::AirflowApi;
use aiops_rca::patrol::{Memory, Question};
use chrono::DateTime;
use serde_json::{Value, json};
use simulators::{Answer, Request, Site, serve};
use url::Url;

use super::rig::{airflow, data_factory, databricks, start, synapse};

/// Answers with empty lists, and one failed update of a pipeline.
#[derive(Default)]
struct Empty(Mutex<Vec<Request>>);

impl Site for Empty {
    fn answer(&self, request: &Request) -> Answer {
        self.0.lock().unwrap().push(request.clone());
        let update =
            json!({"update_id": "u-1", "state": "FAILED", "creation_time": "2026-11-29T03:05:00Z"});
        Answer::json(
            200,
            &json!({"value": [], "runs": [], "dag_runs": [], "task_instances": [], "total_entries": 0, "clusters": [],
                "statuses": [{"pipeline_id": "p-1", "name": "sales", "latest_updates": [update]}],
                "access_token": "x", "run_id": 455_644_833, "state": {"life_cycle_state": "RUNNING"}}),
        )
    }
}

/// Method, path, query and body, with times in one spelling.
fn shape(method: &str, target: &str, body: &Value) -> String {
    let url = Url::parse("http://host").unwrap().join(target).unwrap();
    let query: BTreeSet<(String, String)> = url
        .query_pairs()
        .map(|(name, value)| (name.into_owned(), time(&value)))
        .collect();
    let mut body = body.clone();
    for (_, value) in body.as_object_mut().into_iter().flatten() {
        if let Some(text) = value.as_str() {
            *value = Value::from(time(text));
        }
    }
    format!("{method} {} {query:?} {body}", url.path())
}

fn time(text: &str) -> String {
    let spelt = text.replace("+0000", "+00:00");
    DateTime::parse_from_rfc3339(&spelt).map_or(spelt, |at| at.timestamp_millis().to_string())
}

async fn asked(collector: impl FnOnce(&str) -> Collector) -> BTreeSet<String> {
    let site = Arc::new(Empty::default());
    let server = serve(0, Arc::clone(&site)).await.unwrap();
    let collector = collector(&server.url());
    let question = Question {
        since: start(),
        from: start(),
        to: "2026-11-29T03:16:00Z".parse().unwrap(),
        now: "2026-11-29T03:15:00Z".parse().unwrap(),
        narrow: false,
        deep: false,
        rare: true,
        memory: Memory {
            active: vec!["455644833".to_owned()],
            ..Memory::default()
        },
    };
    for scope in collector.every_scope() {
        let answer = collector
            .ended(&scope, &question, Duration::from_secs(10))
            .await;
        assert_eq!(answer.fault, None, "{}", scope.name);
    }
    let requests = site.0.lock().unwrap();
    requests
        .iter()
        .map(|request| {
            let mut target = Url::parse("http://host")
                .unwrap()
                .join(&request.path)
                .unwrap();
            if !request.query.is_empty() {
                target.query_pairs_mut().extend_pairs(&request.query);
            }
            shape(&request.method, target.as_str(), &request.json())
        })
        .collect()
}

#[tokio::test]
async fn our_questions_are_those_of_the_official_sdks() {
    let mut ours = BTreeSet::new();
    ours.extend(
        asked(|url| Collector {
            data_factory: vec![data_factory(url)],
            databricks: vec![databricks(url)],
            airflow: vec![airflow(url, Some(AirflowApi::V2))],
            ..Collector::default()
        })
        .await,
    );
    ours.extend(
        asked(|url| Collector {
            data_factory: vec![synapse(url)],
            airflow: vec![airflow(url, Some(AirflowApi::V1))],
            ..Collector::default()
        })
        .await,
    );
    let recorded = include_str!("../../fixtures/patrol/requests.jsonl");
    let mut compared = 0;
    for line in recorded.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let call = line["call"].as_str().unwrap();
        // Asked about single runs, and with a token only where there is a second page.
        if call.contains("query_by_factory.next")
            || call.contains("activity_runs")
            || call == "adf.pipeline_runs.get"
        {
            continue;
        }
        let target = line["target"].as_str().unwrap();
        let theirs = shape(line["method"].as_str().unwrap(), target, &line["body"]);
        assert!(ours.contains(&theirs), "{call}\n{theirs}\nours:\n{ours:#?}");
        compared += 1;
    }
    assert_eq!(compared, 15);
}
