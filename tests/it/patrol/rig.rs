//! Three platforms, a store, and a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use aiops_rca::evidence::airflow::{AirflowLogin, AirflowSettings};
use aiops_rca::evidence::data_factory::{DataFactorySettings, SynapseSettings};
use aiops_rca::evidence::databricks::DatabricksSettings;
use aiops_rca::evidence::{Airflow, DataFactory, Databricks, Key};
use aiops_rca::flow::patrol::Patrolled;
use aiops_rca::flow::{FAILURES, Flow, Message};
use aiops_rca::patrol::Watch;
use aiops_rca::storage::Storage;
use aiops_rca::ticket::Ticket;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};
use simulators::airflow::{AirflowSite, Api};
use simulators::data_factory::DataFactorySite;
use simulators::databricks::DatabricksSite;
use simulators::{Server, serve};

use crate::support::{self, build};

pub(super) const SUBSCRIPTION: &str = "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e";
const TOKEN: &str = "token";

/// Everything that is asked, and what asks.
pub(super) struct Rig {
    pub(super) factory: Server,
    pub(super) factory_site: Arc<DataFactorySite>,
    pub(super) databricks: Server,
    pub(super) databricks_site: Arc<DatabricksSite>,
    pub(super) airflow: Server,
    pub(super) airflow_site: Arc<AirflowSite>,
    pub(super) flow: Flow,
    pub(super) now: DateTime<Utc>,
}

pub(super) fn start() -> DateTime<Utc> {
    "2026-11-29T03:00:00Z".parse().unwrap()
}

pub(super) fn stamp(at: DateTime<Utc>) -> Value {
    Value::from(at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

pub(super) fn data_factory(url: &str) -> DataFactory {
    let settings = DataFactorySettings {
        subscription: SUBSCRIPTION.to_owned(),
        resource_group: "rg-data".to_owned(),
        factory: "adf-prod".to_owned(),
        base_url: url.parse().unwrap(),
    };
    DataFactory::new(settings, support::http(), key())
}

pub(super) fn synapse(url: &str) -> DataFactory {
    let settings = SynapseSettings {
        resource_id: format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-data/providers/Microsoft.Synapse/workspaces/syn"
        ),
        base_url: url.parse().unwrap(),
    };
    DataFactory::synapse(settings, support::http(), key())
}

pub(super) fn databricks(url: &str) -> Databricks {
    let settings = DatabricksSettings {
        workspace_url: url.parse().unwrap(),
    };
    Databricks::new(settings, support::http(), key())
}

pub(super) fn airflow(url: &str, api: Option<aiops_rca::evidence::airflow::AirflowApi>) -> Airflow {
    let settings = AirflowSettings {
        base_url: url.parse().unwrap(),
        api,
        login: AirflowLogin::Password {
            username: "u".to_owned(),
            password: SecretString::from("p"),
        },
    };
    Airflow::new(settings, support::http())
}

fn key() -> Key {
    Key::Token(SecretString::from(TOKEN))
}

impl Rig {
    pub(super) async fn build() -> Self {
        Self::of(support::embedded(), Api::V2).await
    }

    pub(super) async fn of(storage: Storage, api: Api) -> Self {
        let factory_site = Arc::new(DataFactorySite::new(
            SUBSCRIPTION,
            "rg-data",
            "adf-prod",
            TOKEN,
        ));
        let databricks_site = Arc::new(DatabricksSite::new(TOKEN));
        let airflow_site = Arc::new(AirflowSite::new(api, "u", "p"));
        let factory = serve(0, Arc::clone(&factory_site)).await.unwrap();
        let databricks_server = serve(0, Arc::clone(&databricks_site)).await.unwrap();
        let airflow_server = serve(0, Arc::clone(&airflow_site)).await.unwrap();
        let mut flow = build::flow(storage);
        flow.collector.data_factory = vec![data_factory(&factory.url())];
        flow.collector.databricks = vec![databricks(&databricks_server.url())];
        flow.collector.airflow = vec![airflow(&airflow_server.url(), None)];
        flow.prepare().await.unwrap();
        let rig = Self {
            factory,
            factory_site,
            databricks: databricks_server,
            databricks_site,
            airflow: airflow_server,
            airflow_site,
            flow,
            now: start(),
        };
        rig.set_clocks();
        rig
    }

    fn set_clocks(&self) {
        self.factory_site.clock.set(self.now);
        self.databricks_site.clock.set(self.now);
        self.airflow_site.clock.set(self.now);
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, minutes: i64) {
        self.now += TimeDelta::minutes(minutes);
        self.set_clocks();
    }

    /// One tick, a minute after what was before, and everything that follows from it.
    pub(super) async fn tick(&mut self) -> Patrolled {
        self.pass(1);
        let done = self.flow.patrol(self.now).await.unwrap();
        self.work().await;
        done
    }

    /// What waits in the queue of failures.
    pub(super) async fn work(&self) {
        loop {
            let storage = self.flow.store.storage();
            let messages = storage
                .receive(FAILURES, 32, Duration::from_secs(60))
                .await
                .unwrap();
            if messages.is_empty() {
                return;
            }
            for message in messages {
                let task = Message::decode(&message.text).unwrap().task;
                self.flow.work(task, || self.now).await.unwrap();
                storage.delete_message(FAILURES, &message).await.unwrap();
            }
        }
    }

    /// Every ticket, the oldest first.
    pub(super) async fn tickets(&self) -> Vec<Ticket> {
        let later = self.now + TimeDelta::hours(1);
        let mut all = self.flow.store.recent(later, 9, 10_000).await.unwrap();
        // Those of one tick come in any order.
        all.sort_by_key(|ticket| (ticket.received_at, ticket.failure.asset.clone()));
        all
    }

    pub(super) async fn the_ticket(&self) -> Ticket {
        let mut all = self.tickets().await;
        assert_eq!(all.len(), 1, "{:#?}", names(&all));
        all.remove(0)
    }

    pub(super) async fn watch(&self, source: &str) -> Watch {
        let watches = self.flow.watches().await.unwrap();
        watches
            .into_iter()
            .find(|watch| watch.source == source)
            .unwrap()
    }

    /// A pipeline run that ended now.
    pub(super) fn pipeline_run(&self, id: u32, pipeline: &str, status: &str, began: i64) -> String {
        self.pipeline_run_by(
            id,
            pipeline,
            status,
            began,
            &json!({"name": "daily", "invokedByType": "ScheduleTrigger"}),
        )
    }

    pub(super) fn pipeline_run_by(
        &self,
        id: u32,
        pipeline: &str,
        status: &str,
        began: i64,
        by: &Value,
    ) -> String {
        let run = format!("00000000-0000-4000-8000-{id:012}");
        let message = if status == "Failed" {
            "Operation on target Load failed: ErrorCode=SqlFailedToConnect,'Type=Microsoft.DataTransfer.Common.Shared.HybridDeliveryException,Message=Cannot connect to SQL Database: 'sql-sales', Database: 'sales'.,Source=Microsoft.DataTransfer.ClientLibrary,'"
        } else {
            ""
        };
        let over = !matches!(status, "InProgress" | "Queued");
        let end = if over { stamp(self.now) } else { Value::Null };
        self.factory_site.put_run(json!({
            "runId": run, "runGroupId": run, "isLatest": true, "pipelineName": pipeline, "parameters": {},
            "invokedBy": by, "runStart": stamp(self.now - TimeDelta::minutes(began)), "runEnd": end,
            "durationInMs": 1000, "status": status, "message": message, "lastUpdated": stamp(self.now),
        }));
        run
    }

    /// A job run that ended now, or goes on.
    pub(super) fn job_run(&self, id: i64, job: i64, result: &str, began: i64, more: &Value) {
        let over = !result.is_empty();
        let mut run = json!({
            "run_id": id, "job_id": job, "run_name": format!("job {job}"), "run_type": "JOB_RUN", "trigger": "PERIODIC",
            "start_time": (self.now - TimeDelta::minutes(began)).timestamp_millis(),
            "end_time": if over { self.now.timestamp_millis() } else { 0 },
            "state": {"life_cycle_state": if over { "TERMINATED" } else { "RUNNING" }, "result_state": result,
                "state_message": if result == "SUCCESS" { "" } else { "Task load failed: KeyError: 'amount'" }},
            "tasks": [],
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            run[name] = value.clone();
        }
        self.databricks_site.put_run(run);
    }

    /// A task instance that failed now.
    pub(super) fn failed_task(&self, dag: &str, run: &str, task: &str) {
        self.airflow_site.put_task(json!({
            "dag_id": dag, "dag_run_id": run, "task_id": task, "map_index": -1, "state": "failed", "try_number": 1,
            "max_tries": 0, "start_date": stamp(self.now - TimeDelta::minutes(2)), "end_date": stamp(self.now),
            "operator": "PythonOperator", "updated_at": stamp(self.now),
        }));
        let log = json!([{"event": "Task failed with exception", "error_detail": [{"exc_type": "KeyError", "exc_value": "'amount'"}]}]);
        self.airflow_site.put_log(dag, run, task, -1, 1, &[log]);
    }

    /// A DAG run that ended now.
    pub(super) fn dag_run(&self, dag: &str, run: &str, state: &str, began: i64) {
        self.airflow_site.put_run(json!({
            "dag_id": dag, "dag_run_id": run, "state": state, "run_type": "scheduled",
            "start_date": stamp(self.now - TimeDelta::minutes(began)), "end_date": stamp(self.now),
            "updated_at": stamp(self.now),
        }));
    }
}

pub(super) fn names(tickets: &[Ticket]) -> Vec<String> {
    tickets
        .iter()
        .map(|ticket| format!("{} {:?}", ticket.failure.asset, ticket.failure.run_id))
        .collect()
}
