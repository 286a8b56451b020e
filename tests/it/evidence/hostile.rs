//! Text from outside goes out as data and as nothing else: every request goes to the configured host, to the same
//! path pieces, with the same queries, whatever the ids say.

use aiops_rca::failure::{AlertRef, AssetKind, Source, field};
use aiops_rca::sources::{RowsOf, RowsRequest};
use serde_json::json;
use simulators::Request;

use super::{Rig, SUBSCRIPTION, WORKSPACE, adf, at, cluster, failure, now, task};

const HOSTILE: [&str; 16] = [
    "..",
    ".",
    "../../../../subscriptions/other",
    "%2e%2e/%2e%2e",
    "a/b?c=d#e",
    "x\" | union Secrets //",
    "x\\\" | project Password //",
    "x'; drop table ADFPipelineRun; --",
    "line\nbreak\r\nHost: evil.example",
    "tab\tnul\0bell\u{7}",
    "http://169.254.169.254/latest/meta-data",
    "//evil.example/x",
    "@evil.example:80/",
    "\u{202e}txt.exe\u{2028}\u{feff}😀",
    "{\"runId\":\"x\"},\"filters\":[]",
    "2f7fdb90 or 1 == 1",
];

fn pieces(request: &Request) -> Vec<String> {
    request.segments()
}

#[tokio::test]
async fn factory_ids_stay_one_piece_of_the_path_or_one_value_of_the_body() {
    let rig = Rig::new().await;
    for hostile in HOSTILE {
        let mut failure = adf();
        failure.run_id = Some(hostile.to_owned());
        failure.asset = hostile.to_owned();
        let _collected = rig.collect(&failure).await;
        let _outcome = rig.collector.outcome(&failure, hostile, None).await;
        let _found = rig
            .collector
            .find_attempt_run(&failure, "retry_pipeline", hostile, now(), now())
            .await;
    }
    let base = [
        "subscriptions",
        SUBSCRIPTION,
        "resourceGroups",
        "rg-data",
        "providers",
        "Microsoft.DataFactory",
        "factories",
        "adf-prod",
    ];
    let asked = rig.factory.requests();
    assert!(asked.len() > HOSTILE.len());
    for request in asked {
        let pieces = pieces(&request);
        assert_eq!(pieces[..8], base, "{}", request.path);
        match &pieces[8..] {
            [runs, id] => assert!(
                runs == "pipelineruns" && HOSTILE.contains(&id.as_str()),
                "{}",
                request.path
            ),
            [query] => {
                assert_eq!(query, "queryPipelineRuns");
                let body = request.json();
                let filters = body["filters"].as_array().unwrap();
                assert_eq!(filters.len(), 1);
                assert!(HOSTILE.contains(&filters[0]["values"][0].as_str().unwrap()));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(
            request.query,
            [("api-version".to_owned(), "2018-06-01".to_owned())]
        );
    }
    rig.finish();
}

#[tokio::test]
async fn workspace_ids_stay_values_of_the_query() {
    let rig = Rig::new().await;
    for hostile in HOSTILE {
        let mut ended = cluster(None);
        ended
            .context
            .insert(field::CLUSTER_ID.to_owned(), hostile.to_owned());
        let _collected = rig.collect(&ended).await;
        let job = failure(
            Source::Databricks,
            AssetKind::Job,
            hostile,
            Some(hostile),
            &[(field::JOB_ID, hostile)],
        );
        let _collected = rig.collect(&job).await;
        let _outcome = rig.collector.outcome(&job, hostile, None).await;
        let _found = rig
            .collector
            .find_attempt_run(&job, "retry_job", hostile, now(), now())
            .await;
    }
    for request in rig.databricks.requests() {
        match request.path.as_str() {
            "/api/2.1/clusters/get" => {
                assert_eq!(request.query.len(), 1);
                assert!(HOSTILE.contains(&request.query("cluster_id").unwrap()));
            }
            "/api/2.1/clusters/events" => {
                assert!(HOSTILE.contains(&request.json()["cluster_id"].as_str().unwrap()));
            }
            other => panic!("{other}"),
        }
    }
    rig.finish();
}

#[tokio::test]
async fn airflow_ids_stay_one_piece_of_the_path() {
    let rig = Rig::new().await;
    for hostile in HOSTILE {
        let mut failed = task(&[
            (field::DAG_ID, hostile),
            (field::TASK_ID, hostile),
            (field::MAP_INDEX, hostile),
        ]);
        failed.run_id = Some(hostile.to_owned());
        let _collected = rig.collect(&failed).await;
        let _outcome = rig.collector.outcome(&failed, hostile, None).await;
    }
    let mut asked = 0;
    for request in rig.airflow.requests() {
        match pieces(&request)
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .as_slice()
        {
            ["api", "v1" | "v2", "version"] => {}
            [
                "api",
                "v1",
                "dags",
                dag,
                "dagRuns",
                run,
                "taskInstances",
                task,
            ] => {
                asked += 1;
                assert!(HOSTILE.contains(dag) && dag == run && run == task);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asked, 2 * (HOSTILE.len() - 2), "dots are asked for nowhere");
    rig.finish();
}

#[tokio::test]
async fn log_queries_keep_their_shape_and_find_the_value_itself() {
    let mut rig = Rig::new().await;
    rig.collector.data_factory = Vec::new();
    rig.collector.databricks = Vec::new();
    for hostile in HOSTILE {
        for table in ["ADFPipelineRun", "ADFActivityRun"] {
            rig.logs_site.put_row(
                table,
                &json!({"TimeGenerated": "2026-07-27T09:12:40Z", "Status": "Failed", "PipelineName": hostile,
                "RunId": hostile, "PipelineRunId": hostile, "_ResourceId": hostile}),
            );
        }
    }
    let shape = |query: &str| {
        query
            .lines()
            .map(|line| line.split('"').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let mut shapes = std::collections::BTreeSet::new();
    for hostile in HOSTILE {
        let before = rig.logs.requests().len();
        let mut failure = adf();
        failure.run_id = Some(hostile.to_owned());
        let collected = rig.collect(&failure).await;
        assert!(
            collected.evidence[0].title.starts_with("1 rows"),
            "{hostile:?}: {:?}",
            collected.gaps
        );
        let request = RowsRequest {
            source: Source::Adf,
            rows_of: RowsOf::AdfRuns,
            from: Some(at("2026-07-27T09:00:00Z")),
            to: Some(at("2026-07-27T09:15:00Z")),
            asset: Some(hostile.to_owned()),
            run_id: Some(hostile.to_owned()),
            resource: Some(format!("/factories/{hostile}")),
            count: None,
            severity: None,
            alert: AlertRef {
                id: hostile.to_owned(),
                rule: None,
            },
        };
        let _expanded = rig.collector.expand(&request, now()).await.unwrap();
        for sent in rig.logs.requests().iter().skip(before) {
            assert_eq!(sent.path, format!("/v1/workspaces/{WORKSPACE}/query"));
            shapes.insert(shape(sent.json()["query"].as_str().unwrap()));
        }
    }
    // One shape for the evidence, and one for each of the three tables that are asked for runs.
    assert!(shapes.len() <= 5, "{shapes:#?}");
    rig.finish();
}
