//! The lists over all DAGs, as the servers of both APIs filter, sort and cut them.
//!
//! Rows can be filtered by a time that no answer shows: `updated_at` of a stored row is taken out again.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{AirflowSite, Api, text};
use crate::{Answer, Request, lock};

/// What API v1 takes as a query of these lists; it refuses the rest.
const KEYS: [&str; 11] = [
    "state",
    "limit",
    "offset",
    "order_by",
    "updated_at_gte",
    "updated_at_lte",
    "start_date_gte",
    "start_date_lte",
    "end_date_gte",
    "end_date_lte",
    "run_type",
];

impl AirflowSite {
    /// A DAG run as the API sends it; `updated_at`, which no answer shows, may stand beside the rest.
    pub fn put_run(&self, run: Value) {
        let key = (
            text(&run, "dag_id").to_owned(),
            text(&run, "dag_run_id").to_owned(),
        );
        lock(&self.state).runs.insert(key, run);
    }

    pub(super) fn all_runs(&self, request: &Request) -> Answer {
        let rows: Vec<Value> = lock(&self.state).runs.values().cloned().collect();
        self.listed("dag_runs", rows, request, true)
    }

    /// The runs of one DAG; one that was never heard of has none here, and is not there.
    pub(super) fn runs_of(&self, dag: &str, request: &Request) -> Answer {
        let rows: Vec<Value> = {
            let state = lock(&self.state);
            let own = state.runs.iter().filter(|((of, _), _)| of == dag);
            own.map(|(_, run)| run.clone()).collect()
        };
        if rows.is_empty() {
            return self.refusal(404, &format!("The DAG with dag_id: {dag} was not found"));
        }
        self.listed("dag_runs", rows, request, true)
    }

    pub(super) fn all_tasks(&self, request: &Request) -> Answer {
        let rows: Vec<Value> = lock(&self.state).tasks.clone();
        // API v1 has no order for them.
        self.listed("task_instances", rows, request, self.api == Api::V2)
    }

    /// A DAG, unless it has no run.
    pub(super) fn dag(&self, dag: &str) -> Answer {
        let state = lock(&self.state);
        if !state.knows(dag) {
            return self.refusal(404, &format!("The DAG with dag_id: {dag} was not found"));
        }
        let paused = state.paused.contains(dag);
        let (word, stands) = match self.api {
            Api::V1 => ("is_active", true),
            Api::V2 => ("is_stale", false),
        };
        let mut body =
            json!({"dag_id": dag, "is_paused": paused, word: stands, "owners": ["airflow"]});
        if let (Some((owners, tags)), Some(fields)) = (state.owned.get(dag), body.as_object_mut()) {
            let tags: Vec<Value> = tags.iter().map(|tag| json!({"name": tag})).collect();
            fields.insert("owners".to_owned(), json!(owners));
            fields.insert("tags".to_owned(), json!(tags));
        }
        Answer::json(200, &self.dag_shown(body))
    }

    /// Who owns the DAG, and its tags.
    pub fn own(&self, dag: &str, owners: &[&str], tags: &[&str]) {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let owned = (texts(owners), texts(tags));
        lock(&self.state).owned.insert(dag.to_owned(), owned);
    }

    /// Who owns the task.
    pub fn own_task(&self, dag: &str, task: &str, owner: &str) {
        let key = (dag.to_owned(), task.to_owned());
        lock(&self.state).task_owners.insert(key, owner.to_owned());
    }

    /// The instances of a mapped task.
    pub(super) fn mapped(&self, dag: &str, run: &str, task: &str) -> Answer {
        let state = lock(&self.state);
        let is_it = |row: &&Value| {
            row["dag_id"] == dag
                && row["dag_run_id"] == run
                && row["task_id"] == task
                && row["map_index"].as_i64().is_some_and(|index| index >= 0)
        };
        let found: Vec<&Value> = state.tasks.iter().filter(is_it).collect();
        let page = found.get(..1).unwrap_or_default();
        Answer::json(
            200,
            &json!({"task_instances": page, "total_entries": found.len()}),
        )
    }

    /// A task of a DAG, as it is defined.
    pub(super) fn defined_task(&self, dag: &str, task: &str) -> Answer {
        let state = lock(&self.state);
        if !state.knows(dag) {
            return self.refusal(404, &format!("The DAG with dag_id: {dag} was not found"));
        }
        let key = (dag.to_owned(), task.to_owned());
        let owner = state
            .task_owners
            .get(&key)
            .map_or("airflow", String::as_str);
        Answer::json(
            200,
            &json!({
                "task_id": task, "task_display_name": task, "owner": owner, "is_mapped": false, "operator_name": "PythonOperator",
                "start_date": "2026-01-01T00:00:00Z", "end_date": null, "trigger_rule": "all_success", "depends_on_past": false,
                "wait_for_downstream": false, "retries": 0.0, "queue": "default", "pool": "default_pool", "pool_slots": 1.0,
                "execution_timeout": null, "retry_delay": null, "retry_exponential_backoff": 0.0, "priority_weight": 1.0,
                "weight_rule": "downstream", "ui_color": "#ffefeb", "ui_fgcolor": "#000", "template_fields": [],
                "downstream_task_ids": [], "doc_md": null, "params": {}, "class_ref": {}, "extra_links": []
            }),
        )
    }

    /// From now on the DAG is paused.
    pub fn pause(&self, dag: &str) {
        lock(&self.state).paused.insert(dag.to_owned());
    }

    fn listed(&self, what: &str, mut rows: Vec<Value>, request: &Request, sorts: bool) -> Answer {
        let query = &request.query;
        let unknown = query.iter().find(|(key, _)| !KEYS.contains(&key.as_str()));
        let unsorted = query.iter().find(|(key, _)| !sorts && key == "order_by");
        if self.api == Api::V1
            && let Some((key, _)) = unknown.or(unsorted)
        {
            return self.refusal(400, &format!("Extra query parameter(s) {key} not in spec"));
        }
        for (key, bound) in query {
            let (Some((field, side)), Some(bound)) = (key.rsplit_once('_'), time(bound)) else {
                continue;
            };
            rows.retain(|row| {
                let at = time(text(row, field)).or_else(|| {
                    let by_update = field == "updated_at";
                    by_update.then(|| time(text(row, "end_date"))).flatten()
                });
                match side {
                    "gte" => at.is_some_and(|at| at >= bound),
                    "lte" => at.is_some_and(|at| at <= bound),
                    _ => true,
                }
            });
        }
        let states: Vec<&str> = query
            .iter()
            .filter(|(key, _)| key == "state")
            .map(|(_, state)| state.as_str())
            .collect();
        rows.retain(|row| states.is_empty() || states.contains(&text(row, "state")));
        if let Some(order) = request.query("order_by") {
            let field = order.trim_start_matches('-');
            rows.sort_by_key(|row| text(row, field).to_owned());
            if order.starts_with('-') {
                rows.reverse();
            }
        }
        let number = |key: &str| request.query(key).and_then(|text| text.parse().ok());
        let (total, offset) = (rows.len(), number("offset").unwrap_or(0));
        // API v1 cuts a page at its `maximum_page_limit`.
        let most = if self.api == Api::V1 { 100 } else { usize::MAX };
        let limit = number("limit").unwrap_or(50).min(most);
        let page: Vec<Value> = rows
            .into_iter()
            .skip(offset)
            .take(limit)
            .map(without_update)
            .map(|row| match what {
                "dag_runs" => self.run_shown(row),
                _ => self.task_shown(row),
            })
            .collect();
        Answer::json(200, &json!({what: page, "total_entries": total}))
    }
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    Some(at.with_timezone(&Utc))
}

fn without_update(mut row: Value) -> Value {
    if let Some(map) = row.as_object_mut() {
        map.remove("updated_at");
    }
    row
}
