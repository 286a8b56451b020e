//! All vendors at once, for `tests/real`: official clients talk to them, and so does the built program.
//!
//! Prints one line of JSON with the addresses, then runs until its input ends. `control` answers `GET /requests?of=<vendor>`
//! (what it was asked so far), `GET /click?ts=…&action=…&user=…` (the signed call that pressing a button in Slack makes),
//! `GET /teams?…` (the activity of the app's installation, or with `id`, `verb` and `person` that of a pressed button) and
//! `GET /not-modelled` (calls of any vendor that are not modelled here).
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program of the tests"
)]

use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use simulators::airflow::{AirflowSite, Api};
use simulators::data_factory::DataFactorySite;
use simulators::databricks::DatabricksSite;
use simulators::identity::IdentitySite;
use simulators::jira::JiraSimulator;
use simulators::log_analytics::LogAnalyticsSite;
use simulators::slack::SlackSimulator;
use simulators::teams::bot::{BotOptions, BotSimulator};
use simulators::{Answer, Request, Server, Site, serve};

const SUBSCRIPTION: &str = "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e";
const WORKSPACE: &str = "00000000-1111-2222-3333-444444444444";
const RUN: &str = "scheduled__2026-07-27T00:00:00+00:00";
const HEADER: &str = "the header";

/// A payload of the vendor from the fixtures.
fn fixture(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/vendor");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

fn items(value: &Value, name: &str) -> Vec<Value> {
    value[name].as_array().cloned().unwrap_or_default()
}

fn factory() -> DataFactorySite {
    let token = IdentitySite::token_for("https://management.azure.com");
    let site = DataFactorySite::new(SUBSCRIPTION, "rg-data", "adf-prod", &token);
    let run = fixture("adf-pipelineruns-get-failed");
    let id = run["runId"].as_str().unwrap_or_default().to_owned();
    site.put_run(run);
    let activities = items(&fixture("adf-queryactivityruns-failed-copy"), "value");
    site.put_activities(&id, &activities);
    site.put_pipeline("pl_ingest_sales");
    site.put_trigger("tr_daily", "pl_ingest_sales", "Started");
    site
}

fn databricks() -> DatabricksSite {
    let site = DatabricksSite::new("dapi-simulated");
    site.put_job(516_892_700_102_118, "nightly ETL");
    site.put_run(fixture("dbx-runs-get-multitask-failed"));
    site.put_output(222, fixture("dbx-runs-get-output-failed"));
    let cluster = fixture("dbx-clusters-get-driver");
    let id = cluster["cluster_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    site.put_cluster(cluster);
    site.put_events(&id, &items(&fixture("dbx-clusters-events"), "events"));
    let libraries = items(&fixture("dbx-libraries-cluster-status"), "library_statuses");
    site.put_libraries(&id, &libraries);
    site
}

fn logs() -> LogAnalyticsSite {
    let token = IdentitySite::token_for("https://api.loganalytics.io");
    let site = LogAnalyticsSite::new(WORKSPACE, &token);
    for (table, rows) in [
        ("ADFActivityRun", "loganalytics-adf-rows"),
        ("ADFPipelineRun", "loganalytics-adf-pipelinerun-rows"),
        ("DatabricksClusters", "loganalytics-databricksclusters-rows"),
    ] {
        site.put_table(table, &fixture(rows));
    }
    site
}

fn airflow(api: Api) -> AirflowSite {
    let site = AirflowSite::new(api, "reader", "secret");
    site.put_run(json!({"dag_id": "sales_etl", "dag_run_id": RUN, "state": "failed", "run_type": "scheduled",
        "logical_date": "2026-07-27T00:00:00Z", "start_date": "2026-07-27T09:00:00Z", "end_date": "2026-07-27T09:20:00Z"}));
    site.put_task(
        json!({"dag_id": "sales_etl", "dag_run_id": RUN, "task_id": "load_orders", "map_index": -1,
        "state": "failed", "try_number": 3, "max_tries": 2, "operator": "PythonOperator",
        "start_date": "2026-07-27T09:15:00Z", "end_date": "2026-07-27T09:15:31Z"}),
    );
    let log = match api {
        Api::V1 => "airflow-api-v1-logs",
        Api::V2 => "airflow-api-v2-logs",
    };
    let page = fixture(log)["content"].clone();
    site.put_log("sales_etl", RUN, "load_orders", -1, 3, &[page]);
    site
}

/// Everything that runs.
struct World {
    servers: Vec<(&'static str, Server)>,
    jira: JiraSimulator,
    slack: SlackSimulator,
    teams: BotSimulator,
}

impl World {
    fn requests(&self, of: &str) -> Vec<Request> {
        match of {
            "jira" => self.jira.requests(),
            "slack" => self.slack.requests(),
            "teams" => self.teams.requests(),
            of => {
                let named = self.servers.iter().find(|(name, _)| *name == of);
                named.map_or_else(Vec::new, |(_, server)| server.requests())
            }
        }
    }

    fn not_modelled(&self) -> Vec<String> {
        let servers = self.servers.iter().map(|(_, server)| server);
        servers
            .flat_map(Server::take_not_modelled)
            .chain(self.jira.take_not_modelled())
            .chain(self.slack.take_not_modelled())
            .chain(self.teams.take_not_modelled())
            .collect()
    }

    fn addresses(&self) -> Value {
        let mut all: serde_json::Map<String, Value> = self
            .servers
            .iter()
            .map(|(name, server)| ((*name).to_owned(), server.url().into()))
            .collect();
        all.insert("jira".to_owned(), self.jira.base_url().into());
        all.insert("slack".to_owned(), self.slack.api_base().into());
        all.insert("teams".to_owned(), self.teams.page().into());
        Value::Object(all)
    }
}

struct Control(Arc<OnceLock<World>>);

impl Site for Control {
    fn answer(&self, request: &Request) -> Answer {
        let Some(world) = self.0.get() else {
            return Answer::empty(503);
        };
        let asked = |name: &str| request.query(name).unwrap_or_default().to_owned();
        let body = match request.path.as_str() {
            "/requests" => {
                let shown = |request: &Request| {
                    json!({"method": request.method, "path": request.path, "query": request.query,
                        "headers": request.headers, "body": String::from_utf8_lossy(&request.body)})
                };
                let requests = world.requests(&asked("of"));
                requests.iter().map(shown).collect::<Vec<_>>().into()
            }
            "/click" => {
                let [ts, action, user] = ["ts", "action", "user"].map(asked);
                let click = world.slack.signed_click(&ts, &action, &user);
                click.map_or(Value::Null, |call| {
                    json!({"timestamp": call.timestamp, "signature": call.signature, "body": call.body})
                })
            }
            "/teams" => {
                let [id, verb, person] = ["id", "verb", "person"].map(asked);
                let activity = if id.is_empty() {
                    Some(world.teams.installation())
                } else {
                    world.teams.click(&id, &verb, &person)
                };
                activity.unwrap_or_default()
            }
            "/not-modelled" => json!(world.not_modelled()),
            _ => return Answer::empty(404),
        };
        Answer::json(200, &body)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // The parts ask for what is not modelled, and fail by it.
    simulators::lenient();
    let serve_all = async || -> std::io::Result<World> {
        let servers = vec![
            ("factory", serve(0, Arc::new(factory())).await?),
            ("databricks", serve(0, Arc::new(databricks())).await?),
            ("logs", serve(0, Arc::new(logs())).await?),
            ("airflow", serve(0, Arc::new(airflow(Api::V2))).await?),
            ("airflow1", serve(0, Arc::new(airflow(Api::V1))).await?),
            (
                "identity",
                serve(0, Arc::new(IdentitySite::new(HEADER))).await?,
            ),
        ];
        let jira = JiraSimulator::start(0, simulators::jira::Config::default()).await?;
        let slack = SlackSimulator::start(0).await?;
        let teams = BotSimulator::start(0, BotOptions::default()).await?;
        Ok(World {
            servers,
            jira,
            slack,
            teams,
        })
    };
    let world = serve_all().await.unwrap_or_else(|error| panic!("{error}"));
    let mut said = world.addresses();
    let held = Arc::new(OnceLock::new());
    let control = serve(0, Arc::new(Control(Arc::clone(&held))))
        .await
        .expect("a port");
    said["control"] = control.url().into();
    said["subscription"] = SUBSCRIPTION.into();
    said["workspace"] = WORKSPACE.into();
    said["identity_header"] = HEADER.into();
    let _first = held.set(world);
    println!("{said}");
    let input =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let _ended = input.await;
}
