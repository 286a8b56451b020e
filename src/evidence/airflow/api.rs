//! The REST API of both versions: which of them answers, how we log in, pages, and what a refusal means.

use chrono::{DateTime, Utc};
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::wire::TaskInstance;
use super::{Airflow, AirflowApi, AirflowLogin, Place, WHAT, log, wire};
use crate::evidence::asking::{ask, url_under};
use crate::evidence::values::{Said, note, tags, tail, without_domain};
use crate::failure::{Failure, field};
use crate::fault::Fault;
use crate::http::Reply;
use crate::redaction::clean;

/// Pages of one log.
const PAGES: usize = 20;
/// The end of a log that is kept, in bytes.
const LOG_TAIL: usize = 64 * 1024;
/// How many newer runs of a DAG are looked at.
const NEWER_RUNS: &str = "5";

impl Airflow {
    /// Does this API answer here?
    pub(super) async fn answers(&self, api: AirflowApi) -> Result<bool, Fault> {
        let url = url_under(&self.settings.base_url, &["api", api.name(), "version"])?;
        let reply = ask(&self.http, WHAT, self.http.request(Method::GET, &url)).await?;
        let named = reply
            .json::<wire::Version>(WHAT)
            .is_ok_and(|version| !version.version.is_empty());
        Ok(reply.is_success() && named || matches!(reply.status, 401 | 403))
    }

    pub(super) async fn run(
        &self,
        at: &Place<'_>,
        run: &str,
    ) -> Result<Option<wire::DagRun>, Fault> {
        self.get(&["dags", at.dag, "dagRuns", run], &[]).await
    }

    /// Who owns the task, else its DAG; and the DAG's tags.
    pub(in crate::evidence) async fn owner(&self, failure: &Failure) -> Result<Said, Fault> {
        let mut said = Said::new();
        let Some(dag) = failure.field(field::DAG_ID) else {
            return Ok(said);
        };
        let of_dag: Option<wire::Dag> = self.get(&["dags", dag], &[]).await?;
        let of_dag = of_dag.unwrap_or_default();
        note(&mut said, field::TAGS, tags(&of_dag.tags));
        let of_task: Option<wire::Task> = match failure.field(field::TASK_ID) {
            Some(task) => self.get(&["dags", dag, "tasks", task], &[]).await?,
            None => None,
        };
        // The list of one owner may hold several, untrimmed.
        let owners = of_task.iter().map(|task| &task.owner).chain(&of_dag.owners);
        let owners = owners.flat_map(|owners| owners.split(','));
        let owners = owners.map(|owner| without_domain(owner.trim()));
        let mut named: Vec<&str> = Vec::new();
        for owner in owners.filter(|owner| !owner.is_empty()) {
            if !named.contains(&owner) {
                named.push(owner);
            }
        }
        note(&mut said, field::OWNER, named.join(", "));
        Ok(said)
    }

    /// The latest runs of the DAG that began since.
    pub(super) async fn runs_since(
        &self,
        at: &Place<'_>,
        since: DateTime<Utc>,
    ) -> Result<Vec<wire::DagRun>, Fault> {
        let since = since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let query = [
            ("start_date_gte", since.as_str()),
            ("order_by", "-start_date"),
            ("limit", NEWER_RUNS),
        ];
        let runs: Option<wire::DagRuns> = self.get(&["dags", at.dag, "dagRuns"], &query).await?;
        Ok(runs.unwrap_or_default().dag_runs)
    }

    pub(super) async fn task(&self, at: &Place<'_>) -> Result<Option<TaskInstance>, Fault> {
        let Some(task) = at.task else { return Ok(None) };
        let mut path = at.instance(task);
        path.extend(at.map_index);
        self.get(&path, &[]).await
    }

    /// How many instances a mapped task has.
    pub(super) async fn mapped(&self, at: &Place<'_>) -> Result<Option<i64>, Fault> {
        let Some(task) = at.task else { return Ok(None) };
        let mut path = at.instance(task);
        path.push("listMapped");
        let found: Option<wire::TaskInstances> = self.get(&path, &[("limit", "1")]).await?;
        let total = found.and_then(|instances| instances.total_entries);
        Ok(total.filter(|total| *total > 1))
    }

    /// The end of a try's log.
    pub(super) async fn log(&self, at: &Place<'_>, try_number: i64) -> Result<String, Fault> {
        let number = try_number.to_string();
        let mut path = at.instance(at.task.unwrap_or_default());
        path.extend(["logs", &number]);
        let mut log = String::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let mut query = vec![("full_content", "true")];
            query.extend(at.map_index.map(|index| ("map_index", index)));
            query.extend(token.as_deref().map(|token| ("token", token)));
            let reply = self.send(&path, &query).await?;
            if reply.status == 404 && log.is_empty() {
                return Err(Fault::permanent(format!(
                    "Airflow has no log of try {try_number}"
                )));
            }
            if !reply.is_success() {
                return Err(self.refusal(self.api().await?, &reply));
            }
            let (text, next) = log::page(&reply.body);
            // v1 names a next page for ever; an empty one is the end.
            let over = text.trim().is_empty() || next.is_none() || next == token;
            log.push_str(&clean(&text));
            log = tail(&log, LOG_TAIL).to_owned();
            token = next;
            if over {
                break;
            }
        }
        Ok(log)
    }

    /// Which API answers here.
    pub(super) async fn api(&self) -> Result<AirflowApi, Fault> {
        let found = self.api.get_or_try_init(|| async {
            for api in [AirflowApi::V2, AirflowApi::V1] {
                if self.answers(api).await? {
                    return Ok(api);
                }
            }
            Err(Fault::permanent(
                "neither /api/v2 nor /api/v1 answers: check AIRFLOW_BASE_URL",
            ))
        });
        found.await.copied()
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Option<T>, Fault> {
        let reply = self.send(path, query).await?;
        match reply.status {
            404 => Ok(None),
            _ if reply.is_success() => reply.json(WHAT).map(Some),
            _ => Err(self.refusal(self.api().await?, &reply)),
        }
    }

    /// Asks with our credential; an expired token is replaced once.
    pub(super) async fn send(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Reply, Fault> {
        let api = self.api().await?;
        let mut pieces = vec!["api", api.name()];
        pieces.extend(path);
        let mut url = url_under(&self.settings.base_url, &pieces)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = || {
            self.http
                .request(Method::GET, &url)
                .header("accept", "application/json")
        };
        let reply = ask(&self.http, WHAT, self.authorize(api, request()).await?).await?;
        if reply.status == 401 && self.jwt.lock().await.take().is_some() {
            return ask(&self.http, WHAT, self.authorize(api, request()).await?).await;
        }
        Ok(reply)
    }

    async fn authorize(
        &self,
        api: AirflowApi,
        request: RequestBuilder,
    ) -> Result<RequestBuilder, Fault> {
        Ok(match (&self.settings.login, api) {
            (AirflowLogin::Open, _) => request,
            (AirflowLogin::Token(token), _) => request.bearer_auth(token.expose_secret()),
            (AirflowLogin::Password { username, password }, AirflowApi::V1) => {
                request.basic_auth(username, Some(password.expose_secret()))
            }
            (AirflowLogin::Password { username, password }, AirflowApi::V2) => {
                let token = self.token(username, password).await?;
                request.bearer_auth(token.expose_secret())
            }
        })
    }

    /// The JWT, asked for when there is none.
    async fn token(&self, username: &str, password: &SecretString) -> Result<SecretString, Fault> {
        let mut jwt = self.jwt.lock().await;
        if let Some(token) = &*jwt {
            return Ok(token.clone());
        }
        let url = url_under(&self.settings.base_url, &["auth", "token"])?;
        let body = json!({"username": username, "password": password.expose_secret()});
        let reply = ask(
            &self.http,
            WHAT,
            self.http.request(Method::POST, &url).json(&body),
        )
        .await?;
        if !reply.is_success() {
            return Err(self.refusal(AirflowApi::V2, &reply));
        }
        let token = reply.json::<wire::AccessToken>(WHAT)?.access_token;
        let token = SecretString::from(token);
        *jwt = Some(token.clone());
        Ok(token)
    }

    /// What a refusal means for this login.
    pub(super) fn refusal(&self, api: AirflowApi, reply: &Reply) -> Fault {
        let token = matches!(self.settings.login, AirflowLogin::Token(_));
        // Airflow 3 answers a token that it cannot read with a bare "Forbidden"; a missing right it names.
        let unreadable = reply.json::<wire::Refused>(WHAT).is_ok_and(|said| {
            matches!(
                said.detail.trim(),
                "Forbidden" | "Invalid JWT token" | "Not authenticated"
            )
        });
        Fault::permanent(match (reply.status, api) {
            (401, AirflowApi::V1) if !token => format!(
                "{WHAT} answered 401: check AIRFLOW_USERNAME and AIRFLOW_PASSWORD, and that [api] auth_backends of Airflow 2 names \
                 airflow.api.auth.backend.basic_auth"
            ),
            (401, _) if token => {
                format!("{WHAT} answered 401: AIRFLOW_TOKEN is wrong or has expired")
            }
            (401, _) => format!("{WHAT} answered 401: check AIRFLOW_USERNAME and AIRFLOW_PASSWORD"),
            (403, AirflowApi::V2) if token && unreadable => format!(
                "{WHAT} answered 403: AIRFLOW_TOKEN is wrong, has expired, or belongs to another deployment"
            ),
            (403, _) => format!(
                "{WHAT} answered 403: give the user the role Viewer, with access to the DAG and its logs"
            ),
            (status, _) => format!("{WHAT} answered {status}"),
        })
    }
}
