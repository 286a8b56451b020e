//! A Log Analytics workspace: tables that answer queries.
//!
//! It reads as much of the query language as our own queries use (`kql`) and answers everything else with the
//! error that a wrong query gets; so a value that left its literal would be seen.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Map, Value, json};

use super::rights::{Call, Rights};
use super::{Answer, Request, Site, lock};

mod kql;

/// The one call, and the operation of Azure RBAC that it needs
/// (learn.microsoft.com/azure/azure-monitor/logs/manage-access).
pub const CALLS: &[Call] = &[Call {
    method: "POST",
    path: "v1/workspaces/*/query",
    needs: &["Microsoft.OperationalInsights/workspaces/query/read"],
}];

/// One workspace.
#[derive(Debug)]
pub struct LogAnalyticsSite {
    workspace: String,
    token: String,
    tables: Mutex<BTreeMap<String, Vec<Map<String, Value>>>>,
    partial: Mutex<bool>,
    /// Identities beside the one that may do everything.
    pub rights: Rights,
}

impl LogAnalyticsSite {
    /// A workspace (GUID) that takes this bearer token.
    pub fn new(workspace: &str, token: &str) -> Self {
        Self {
            workspace: workspace.to_owned(),
            token: token.to_owned(),
            tables: Mutex::default(),
            partial: Mutex::new(false),
            rights: Rights::default(),
        }
    }

    /// Adds rows, given as an answer (`{"tables":[{"columns":[{"name"}],"rows":[[…]]}]}`); the table exists from then on.
    pub fn put_table(&self, name: &str, answer: &Value) {
        let table = answer.pointer("/tables/0").unwrap_or(answer);
        let columns: Vec<&str> = array(table, "columns")
            .filter_map(|column| column.get("name")?.as_str())
            .collect();
        let rows = array(table, "rows").map(|row| {
            let cells = row.as_array().into_iter().flatten().cloned();
            columns
                .iter()
                .map(|column| (*column).to_owned())
                .zip(cells)
                .collect()
        });
        lock(&self.tables)
            .entry(name.to_owned())
            .or_default()
            .extend(rows);
    }

    /// Adds one row.
    pub fn put_row(&self, table: &str, row: &Value) {
        let row = row.as_object().cloned().unwrap_or_default();
        lock(&self.tables)
            .entry(table.to_owned())
            .or_default()
            .push(row);
    }

    /// Whether answers come with `PartialError` from now on.
    pub fn set_partial(&self, partial: bool) {
        *lock(&self.partial) = partial;
    }

    fn run(&self, query: &str) -> Answer {
        if query.trim_start().starts_with("print ") {
            return Answer::json(
                200,
                &table(
                    &["answer".to_owned()],
                    &[Map::from_iter([("answer".to_owned(), json!(42))])],
                ),
            );
        }
        let name = query.lines().next().unwrap_or_default().trim();
        let Some(rows) = lock(&self.tables).get(name).cloned() else {
            return wrong(
                "SEM0100",
                &format!(
                    "'where' operator: Failed to resolve table or column expression named '{name}'"
                ),
            );
        };
        match kql::run(query, rows) {
            Ok((columns, rows)) => {
                let mut body = table(&columns, &rows);
                if let (true, Some(body)) = (*lock(&self.partial), body.as_object_mut()) {
                    let error = json!({"code": "PartialError", "message": "There were some errors when processing your query."});
                    body.insert("error".to_owned(), error);
                }
                Answer::json(200, &body)
            }
            Err(why) => wrong("SYN0002", &why),
        }
    }
}

fn array<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn table(columns: &[String], rows: &[Map<String, Value>]) -> Value {
    let names: Vec<Value> = columns
        .iter()
        .map(|name| json!({"name": name, "type": kind(name, rows)}))
        .collect();
    let cells: Vec<Vec<Value>> = rows
        .iter()
        .map(|row| {
            columns
                .iter()
                .map(|name| row.get(name).cloned().unwrap_or_default())
                .collect()
        })
        .collect();
    json!({"tables": [{"name": "PrimaryResult", "columns": names, "rows": cells}]})
}

/// Columns of the tables that hold times (learn.microsoft.com/azure/azure-monitor/reference/tables).
const TIMES: [&str; 3] = ["TimeGenerated", "Start", "End"];

/// The type of a column: by its name, else by what stands in it.
fn kind(column: &str, rows: &[Map<String, Value>]) -> &'static str {
    if TIMES.contains(&column) {
        return "datetime";
    }
    let mut cells = rows.iter().filter_map(|row| row.get(column));
    match cells.rfind(|cell| !cell.is_null()) {
        Some(Value::Bool(_)) => "bool",
        Some(Value::Number(number)) if number.is_f64() => "real",
        Some(Value::Number(_)) => "long",
        _ => "string",
    }
}

fn wrong(code: &str, message: &str) -> Answer {
    let kind = if code.starts_with("SEM") {
        "SemanticError"
    } else {
        "SyntaxError"
    };
    let inner = json!({"code": kind, "message": "The query is wrong.", "innererror": {"code": code, "message": message}});
    let error = json!({"code": "BadArgumentError", "message": "The request had some invalid properties", "innererror": inner});
    Answer::json(400, &json!({"error": error}))
}

impl Site for LogAnalyticsSite {
    fn answer(&self, request: &Request) -> Answer {
        let refusal = |status: u16, code: &str| {
            Answer::json(status, &json!({"error": {"code": code, "message": code}}))
        };
        let known = request.is_authorized_by(&format!("Bearer {}", self.token));
        if !known && !self.rights.knows(request) {
            return refusal(401, "AuthorizationRequiredError");
        }
        let segments = request.segments();
        let pieces: Vec<&str> = segments.iter().map(String::as_str).collect();
        if Call::find(CALLS, &request.method, &pieces)
            .is_some_and(|call| self.rights.missing(request, call).is_some())
        {
            let inner = json!({"code": "AuthorizationFailed", "message": "The principal may not query this workspace."});
            let error = json!({"code": "InsufficientAccessError", "message": "The provided credentials have insufficient access to perform the requested operation", "innererror": inner});
            return Answer::json(403, &json!({"error": error}));
        }
        match (request.method.as_str(), pieces.as_slice()) {
            ("POST", ["v1", "workspaces", workspace, "query"]) if *workspace == self.workspace => {
                let body = request.json();
                match body.get("query").and_then(Value::as_str) {
                    Some(query) => self.run(query),
                    None => refusal(400, "BadArgumentError"),
                }
            }
            ("POST", ["v1", "workspaces", _, "query"]) => refusal(404, "PathNotFoundError"),
            _ => Answer::not_modelled(request),
        }
    }
}
