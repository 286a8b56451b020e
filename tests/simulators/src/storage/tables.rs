//! The table service: entities as the JSON that was sent, versions by count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::{Map, Value, json};

use super::super::{Answer, Request, Site, lock};
use super::{Account, Operation, Refusal, stamped};

const READ: &str = "Microsoft.Storage/storageAccounts/tableServices/tables/entities/read";
const WRITE: &str = "Microsoft.Storage/storageAccounts/tableServices/tables/entities/write";
const ADD: &str = "Microsoft.Storage/storageAccounts/tableServices/tables/entities/add/action";
const UPDATE: &str =
    "Microsoft.Storage/storageAccounts/tableServices/tables/entities/update/action";
const DELETE: &str = "Microsoft.Storage/storageAccounts/tableServices/tables/entities/delete";

operations! {
    CREATE_TABLE "Create Table": ["Microsoft.Storage/storageAccounts/tableServices/tables/write"];
    QUERY_ENTITIES "Query Entities": [READ];
    INSERT_ENTITY "Insert Entity": [WRITE], [ADD];
    INSERT_OR_REPLACE "Insert Or Replace Entity": [WRITE], [ADD, UPDATE];
    UPDATE_ENTITY "Update Entity": [WRITE], [UPDATE];
    DELETE_ENTITY "Delete Entity": [DELETE];
}

#[derive(Debug, Clone)]
struct Row {
    version: u64,
    properties: Map<String, Value>,
}

impl Row {
    fn etag(&self) -> String {
        format!("W/\"datetime'{}'\"", self.version)
    }

    /// As a read with full metadata gives it.
    fn listed(&self) -> Map<String, Value> {
        let mut properties = self.properties.clone();
        properties.insert("odata.etag".to_owned(), self.etag().into());
        properties
    }
}

#[derive(Debug, Default)]
struct Tables {
    names: BTreeSet<String>,
    /// By table, partition and row.
    rows: BTreeMap<[String; 3], Row>,
    versions: u64,
}

/// The tables of an account.
#[derive(Debug, Default)]
pub struct TableSite {
    /// Who may do what, and what was asked.
    pub account: Account,
    state: Mutex<Tables>,
}

/// What a request's path names.
enum Target {
    Tables,
    Table(String),
    Entity([String; 3]),
}

fn target(request: &Request) -> Option<Target> {
    let piece = request.segments().into_iter().next_back()?;
    if piece == "Tables" {
        return Some(Target::Tables);
    }
    let Some((table, keys)) = piece.split_once('(') else {
        return Some(Target::Table(piece));
    };
    let keys = keys.strip_suffix(')')?;
    if keys.is_empty() {
        return Some(Target::Table(table.to_owned()));
    }
    let keys = keys.strip_prefix("PartitionKey='")?.strip_suffix('\'')?;
    let (partition, row) = keys.split_once("',RowKey='")?;
    let unquoted = |text: &str| text.replace("''", "'");
    Some(Target::Entity([
        table.to_owned(),
        unquoted(partition),
        unquoted(row),
    ]))
}

fn operation(request: &Request, target: &Target) -> Option<&'static Operation> {
    let conditional = request.header("if-match").is_some();
    match (request.method.as_str(), target) {
        ("POST", Target::Tables) => Some(&CREATE_TABLE),
        ("POST", Target::Table(_)) => Some(&INSERT_ENTITY),
        ("GET", Target::Table(_) | Target::Entity(_)) => Some(&QUERY_ENTITIES),
        ("PUT", Target::Entity(_)) if conditional => Some(&UPDATE_ENTITY),
        ("PUT", Target::Entity(_)) => Some(&INSERT_OR_REPLACE),
        ("DELETE", Target::Entity(_)) => Some(&DELETE_ENTITY),
        _ => None,
    }
}

fn refuse((status, code, message): Refusal) -> Answer {
    let error =
        json!({"odata.error": {"code": code, "message": {"lang": "en-US", "value": message}}});
    Answer::json(status, &error).with_header("x-ms-error-code", code)
}

const NO_TABLE: Refusal = (404, "TableNotFound", "The table specified does not exist.");
const NO_ENTITY: Refusal = (
    404,
    "ResourceNotFound",
    "The specified resource does not exist.",
);
const STALE: Refusal = (
    412,
    "UpdateConditionNotSatisfied",
    "The update condition specified in the request was not satisfied.",
);

impl TableSite {
    /// Every operation that is understood.
    pub const OPERATIONS: &[&Operation] = ALL;

    fn done(&self, request: &Request, target: Target) -> Result<Answer, Refusal> {
        let mut state = lock(&self.state);
        match target {
            Target::Tables => state.create(request),
            Target::Table(table) | Target::Entity([table, _, _])
                if !state.names.contains(&table) =>
            {
                Err(NO_TABLE)
            }
            Target::Table(table) if request.method == "POST" => state.insert(&table, request),
            Target::Table(table) => Ok(state.query(&table, request)),
            Target::Entity(key) => match request.method.as_str() {
                "GET" => state.get(&key),
                "DELETE" => state.delete(&key, request),
                _ => state.replace(&key, request),
            },
        }
    }
}

/// A transaction as the client sends it: the requests of its one set of changes, each with the headers that all share.
fn parts(batch: &Request) -> Vec<Request> {
    let text = String::from_utf8_lossy(&batch.body);
    let part = |part: &str| {
        let (head, body) = part.split_once("HTTP/1.1\n")?;
        let (method, url) = head.lines().last()?.trim().split_once(' ')?;
        let path = url.splitn(4, '/').nth(3)?;
        let (headers, body) = body.split_once("\n\n")?;
        let mut all = batch.headers.clone();
        all.extend(headers.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_lowercase(), value.to_owned()))
        }));
        Some(Request {
            method: method.to_owned(),
            path: format!("/{path}"),
            query: Vec::new(),
            headers: all,
            body: body.trim_end().to_owned().into(),
        })
    };
    text.split("--changeset_").filter_map(part).collect()
}

/// The answer to a transaction: that of each of its requests, or that of the one that failed.
fn batch_answer(answers: &[Answer]) -> Answer {
    let part = |answer: &Answer| {
        let headers = answer.headers.iter().map(|(name, value)| {
            let name = if name == "etag" { "ETag" } else { name };
            format!("{name}: {value}\r\n")
        });
        let headers: String = headers.collect();
        format!(
            "\n--changesetresponse_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 {} Answer\r\n{headers}\r\n\r\n",
            answer.status
        )
    };
    let parts: String = answers.iter().map(part).collect();
    let body = format!(
        "--batchresponse_1\r\nContent-Type: multipart/mixed; boundary=changesetresponse_1\r\n\r\n{parts}\n--changesetresponse_1--\r\n--batchresponse_1--\r\n"
    );
    let mut answer =
        Answer::empty(202).with_header("content-type", "multipart/mixed; boundary=batchresponse_1");
    answer.body = body.into();
    answer
}

impl TableSite {
    /// All requests of a transaction, or none.
    fn batch(&self, batch: &Request) -> Answer {
        let before = {
            let state = lock(&self.state);
            (state.rows.clone(), state.versions)
        };
        let mut answers = Vec::new();
        for request in parts(batch) {
            let answer = self.one(&request);
            if answer.status >= 400 {
                let mut state = lock(&self.state);
                state.rows = before.0;
                return batch_answer(&[answer]);
            }
            answers.push(answer);
        }
        batch_answer(&answers)
    }

    fn one(&self, request: &Request) -> Answer {
        let target = target(request);
        let known = target.and_then(|target| Some((operation(request, &target)?, target)));
        match known {
            None => refuse((501, "NotImplemented", "Not known to this stand-in.")),
            Some((operation, target)) => match self.account.refusal(request, operation) {
                Some(refusal) => refuse(refusal),
                None => self.done(request, target).unwrap_or_else(refuse),
            },
        }
    }
}

impl Site for TableSite {
    fn answer(&self, request: &Request) -> Answer {
        let answer = if request.path.ends_with("/$batch") {
            self.batch(request)
        } else {
            self.one(request)
        };
        stamped(answer, request)
    }
}

impl Tables {
    fn create(&mut self, request: &Request) -> Result<Answer, Refusal> {
        let body = request.json();
        let name = body.get("TableName").and_then(Value::as_str);
        let name = name.unwrap_or_default();
        if !self.names.insert(name.to_owned()) {
            let message = "The table specified already exists.";
            return Err((409, "TableAlreadyExists", message));
        }
        let id = format!("Tables('{name}')");
        let body = json!({"odata.metadata": "$metadata#Tables/@Element", "odata.type": "account.Tables",
            "odata.id": id, "odata.editLink": id, "TableName": name});
        Ok(Answer::json(201, &body))
    }

    fn next(&mut self, request: &Request) -> Row {
        self.versions += 1;
        let properties = request.json();
        Row {
            version: self.versions,
            properties: properties.as_object().cloned().unwrap_or_default(),
        }
    }

    fn insert(&mut self, table: &str, request: &Request) -> Result<Answer, Refusal> {
        let row = self.next(request);
        let key = |name: &str| row.properties.get(name).and_then(Value::as_str);
        let (Some(partition), Some(name)) = (key("PartitionKey"), key("RowKey")) else {
            let message = "The required property is missing.";
            return Err((400, "PropertiesNeedValue", message));
        };
        let key = [table, partition, name].map(str::to_owned);
        if self.rows.contains_key(&key) {
            let message = "The specified entity already exists.";
            return Err((409, "EntityAlreadyExists", message));
        }
        let answer = Answer::empty(204).with_header("etag", &row.etag());
        self.rows.insert(key, row);
        Ok(answer.with_header("preference-applied", "return-no-content"))
    }

    fn get(&self, key: &[String; 3]) -> Result<Answer, Refusal> {
        let row = self.rows.get(key).ok_or(NO_ENTITY)?;
        let mut body = row.listed();
        let metadata = "$metadata#table/@Element";
        body.insert("odata.metadata".to_owned(), metadata.into());
        Ok(Answer::json(200, &Value::Object(body)).with_header("etag", &row.etag()))
    }

    /// Does the condition of the request hold? Without one it does.
    fn check(&self, key: &[String; 3], request: &Request) -> Result<(), Refusal> {
        let Some(condition) = request.header("if-match") else {
            return Ok(());
        };
        let row = self.rows.get(key).ok_or(NO_ENTITY)?;
        if condition == "*" || condition == row.etag() {
            Ok(())
        } else {
            Err(STALE)
        }
    }

    fn replace(&mut self, key: &[String; 3], request: &Request) -> Result<Answer, Refusal> {
        self.check(key, request)?;
        let mut row = self.next(request);
        for (name, part) in ["PartitionKey", "RowKey"].into_iter().zip(&key[1..]) {
            row.properties.insert(name.to_owned(), part.clone().into());
        }
        let answer = Answer::empty(204).with_header("etag", &row.etag());
        self.rows.insert(key.clone(), row);
        Ok(answer)
    }

    fn delete(&mut self, key: &[String; 3], request: &Request) -> Result<Answer, Refusal> {
        self.check(key, request)?;
        self.rows.remove(key).ok_or(NO_ENTITY)?;
        Ok(Answer::empty(204))
    }

    /// Filters are comparisons of keys, joined by `and`.
    fn query(&self, table: &str, request: &Request) -> Answer {
        let filter = request.query("$filter").unwrap_or_default();
        let comparisons: Vec<Vec<&str>> = filter
            .split(" and ")
            .map(|comparison| comparison.splitn(3, ' ').collect())
            .collect();
        let top: usize = request
            .query("$top")
            .and_then(|top| top.parse().ok())
            .unwrap_or(1000);
        let from = ["NextPartitionKey", "NextRowKey"].map(|name| request.query(name));
        let mut found = self.rows.iter().filter(|([of, partition, row], _)| {
            let goes_on = match from {
                [Some(at), next] => {
                    (partition.as_str(), row.as_str()) >= (at, next.unwrap_or_default())
                }
                _ => true,
            };
            let holds = |comparison: &Vec<&str>| {
                let [name, operator, value] = comparison[..] else {
                    return false;
                };
                let key = if name == "RowKey" { row } else { partition };
                let value = value.trim_matches('\'').replace("''", "'");
                match operator {
                    "eq" => *key == value,
                    "ge" => *key >= value,
                    "lt" => *key < value,
                    _ => false,
                }
            };
            of == table && goes_on && comparisons.iter().all(holds)
        });
        let page: Vec<Value> = found
            .by_ref()
            .take(top)
            .map(|(_, row)| Value::Object(row.listed()))
            .collect();
        let body = json!({"odata.metadata": "$metadata#table", "value": page});
        let answer = Answer::json(200, &body);
        match found.next() {
            None => answer,
            Some(([_, partition, row], _)) => answer
                .with_header("x-ms-continuation-nextpartitionkey", partition)
                .with_header("x-ms-continuation-nextrowkey", row),
        }
    }
}
