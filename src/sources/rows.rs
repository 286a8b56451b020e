//! Tables of Log Analytics → failures. The three parsers and the evidence room share it.
//!
//! In: a [`Table`] (column names and rows), whether it was embedded in an alert, asked for by us, or is the one
//! "row" that an alert's dimensions are. Out: [`Reading`]: sealed failures, one per run, and what was left out
//! and why. Columns are found by *name* in any case, with the suffixes of `AzureDiagnostics` (`pipelineName_s`,
//! `pipelineRunId_g`) or without, never by position. This room does not know who asked, which alert schema
//! carried the rows, or what a cause means; [`adf`] and [`databricks`] know the columns of their tables.

use std::collections::HashSet;
use std::rc::Rc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::json::{member, prose, scalar};
use super::time::instant_of;
use super::{Parsed, RowsOf};
use crate::failure::{AlertRef, Failure, RunKey};

pub mod adf;
pub mod databricks;

/// A result table: column names and rows of cells in the same order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// The columns' names as sent.
    pub columns: Vec<String>,
    /// The rows; a short row lacks its last cells.
    pub rows: Vec<Vec<Value>>,
}

/// What every failure of a table inherits from the alert that carried it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Origin {
    /// The alert's severity, 0 (worst) to 4.
    pub severity: Option<u8>,
    /// The alert.
    pub alert: Option<AlertRef>,
    /// When the alert fired: stands in for rows without a time of their own.
    pub at: Option<DateTime<Utc>>,
    /// The factory or workspace the alert is about (a resource id).
    pub resource: Option<String>,
    /// Who owns the asset, if the alert says so.
    pub owner: Option<String>,
}

/// What a table said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Failed runs, folded to one each, in order of appearance, sealed.
    pub failures: Vec<Failure>,
    /// Rows that are no failures: each distinct reason once, in order of appearance.
    pub skipped: Vec<String>,
    /// Rows that concern the platform and name no run (counts, summaries).
    pub unusable: usize,
}

impl Reading {
    /// The outcome of a body that is no alert: its failures, or why its rows are none. `None`: it says neither.
    pub(super) fn without_alert(self) -> Option<Parsed> {
        if self.failures.is_empty() {
            return (!self.skipped.is_empty()).then(|| Parsed::Ignored(self.skipped.join(", ")));
        }
        let failures = self.failures.into_iter().map(|failure| Failure {
            alert: None,
            ..failure
        });
        Some(Parsed::Failures(failures.collect()))
    }
}

/// Reads a table of this kind: rows of one run fold into one failure.
pub fn read_as(of: RowsOf, table: &Table, origin: &Origin) -> Reading {
    match of {
        RowsOf::AdfRuns => adf::read(table, origin),
        RowsOf::DatabricksClusters | RowsOf::DatabricksJobs => databricks::read(table, origin),
    }
}

/// Reads a table of whichever platform its columns show; `hint` decides when they do not.
/// `None`: the table concerns neither platform.
pub fn read(table: &Table, origin: &Origin, hint: Option<RowsOf>) -> Option<(RowsOf, Reading)> {
    let of = platform(table).or(hint)?;
    Some((of, read_as(of, table, origin)))
}

/// Which platform a table's columns (or the resources its rows name) belong to.
pub fn platform(table: &Table) -> Option<RowsOf> {
    let names = table.names();
    let has = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&name.as_str()));
    if has(&[
        "pipelinename",
        "pipelinerunid",
        "activityname",
        "activityrunid",
        "activitytype",
    ]) {
        return Some(RowsOf::AdfRuns);
    }
    if has(&["jobid", "jobname", "taskkey", "jobterminalstate"]) {
        return Some(RowsOf::DatabricksJobs);
    }
    if has(&["clusterid", "clustername", "clusterterminationreasoncode"]) {
        return Some(RowsOf::DatabricksClusters);
    }
    let row = table.records().next()?;
    let says = |wanted: &[&str]| row.text(wanted).unwrap_or_default().to_ascii_lowercase();
    let place = says(&[
        "resourceid",
        "resourceprovider",
        "category",
        "type",
        "servicename",
        "operationname",
    ]);
    let category = says(&["category", "type", "servicename"]);
    if place.contains("microsoft.datafactory")
        || category.starts_with("adf")
        || category.starts_with("synapseintegration")
        || matches!(category.as_str(), "pipelineruns" | "activityruns")
    {
        return Some(RowsOf::AdfRuns);
    }
    if has(&["requestparams"]) && has(&["actionname", "operationname"])
        || place.contains("databricks")
    {
        return Some(if category.contains("jobs") {
            RowsOf::DatabricksJobs
        } else {
            RowsOf::DatabricksClusters
        });
    }
    None
}

/// Every table of a query's answer (`{"tables":[…]}`), of an alert's `SearchResults`, or of a list of objects.
pub fn tables(results: &Value) -> Vec<Table> {
    if let Some(list) = member(results, "tables").and_then(Value::as_array) {
        return list.iter().filter_map(Table::from_value).collect();
    }
    if let Some(table) = Table::from_value(results) {
        return vec![table];
    }
    let list = results
        .as_array()
        .or_else(|| member(results, "value").and_then(Value::as_array));
    list.and_then(|items| Table::from_objects(items))
        .into_iter()
        .collect()
}

impl Table {
    /// A table as `{"columns":[{"name":…}|"…"],"rows":[[…]|{…}]}`.
    pub fn from_value(value: &Value) -> Option<Self> {
        let columns = member(value, "columns")?.as_array()?;
        let name = |column: &Value| {
            column.as_str().map(str::to_owned).or_else(|| {
                member(column, "name")
                    .or_else(|| member(column, "columnName"))
                    .and_then(scalar)
            })
        };
        let columns: Vec<String> = columns
            .iter()
            .map(|column| name(column).unwrap_or_default())
            .collect();
        let rows = member(value, "rows")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let cells = |row: &Value| match row {
            Value::Array(cells) => Some(cells.clone()),
            Value::Object(_) => Some(
                columns
                    .iter()
                    .map(|name| member(row, name).cloned().unwrap_or_default())
                    .collect(),
            ),
            _ => None,
        };
        let rows = rows.iter().filter_map(cells).collect();
        Some(Self { columns, rows })
    }

    /// A table from a list of objects, as Logic Apps hand on the results of a query.
    pub fn from_objects(items: &[Value]) -> Option<Self> {
        let mut columns: Vec<String> = Vec::new();
        for key in items
            .iter()
            .filter_map(Value::as_object)
            .flat_map(serde_json::Map::keys)
        {
            if columns.len() < 200 && !columns.contains(key) {
                columns.push(key.clone());
            }
        }
        let cells = |item: &Value| {
            columns
                .iter()
                .map(|name| item.get(name).cloned().unwrap_or_default())
                .collect()
        };
        let rows: Vec<Vec<Value>> = items
            .iter()
            .filter(|item| item.is_object())
            .map(cells)
            .collect();
        (!columns.is_empty()).then_some(Self { columns, rows })
    }

    /// One row from names and values: how an alert's dimensions are read.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, Value)>) -> Self {
        let (columns, row) = pairs.into_iter().unzip();
        Self {
            columns,
            rows: vec![row],
        }
    }

    /// The distinct values of a column, found by its name.
    pub(super) fn distinct(&self, names: &[&str]) -> Vec<String> {
        let mut values: Vec<String> = Vec::new();
        for value in self.records().filter_map(|record| record.text(names)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    fn names(&self) -> Vec<String> {
        self.columns.iter().map(|name| plain(name)).collect()
    }

    /// The rows with access by name.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let names = Rc::new(self.names());
        self.rows.iter().map(move |cells| Record {
            names: names.clone(),
            cells,
        })
    }
}

/// One row with access by plain column name.
#[derive(Debug, Clone)]
pub(super) struct Record<'t> {
    names: Rc<Vec<String>>,
    cells: &'t [Value],
}

impl<'t> Record<'t> {
    /// The first non-null cell whose column has one of the names (lower case, no `_`), in order of the names.
    pub(super) fn cell(&self, names: &[&str]) -> Option<&'t Value> {
        names.iter().find_map(|wanted| {
            let found = self
                .names
                .iter()
                .zip(self.cells)
                .filter(|(name, _)| name.as_str() == *wanted);
            found
                .map(|(_, cell)| cell)
                .find(|cell| prose(cell).is_some())
        })
    }

    /// Does the table have one of the columns, even if this row holds nothing there?
    pub(super) fn has(&self, names: &[&str]) -> bool {
        self.names.iter().any(|name| names.contains(&name.as_str()))
    }

    /// The text of such a cell.
    pub(super) fn text(&self, names: &[&str]) -> Option<String> {
        self.cell(names).and_then(prose)
    }

    /// The time in the first such cell that holds one.
    pub(super) fn time(&self, names: &[&str]) -> Option<DateTime<Utc>> {
        names
            .iter()
            .find_map(|name| self.cell(&[name]).and_then(instant_of))
    }
}

impl Reading {
    /// Notes a row that is no failure.
    pub(super) fn skip(&mut self, reason: String) {
        if self.skipped.len() < 20 && !self.skipped.contains(&reason) {
            self.skipped.push(reason);
        }
    }

    /// Adds what another table of the same alert said; a run both know stays one failure.
    pub(super) fn absorb(&mut self, other: Self) {
        let mut known: HashSet<RunKey> = self
            .failures
            .iter()
            .map(|failure| failure.key.clone())
            .collect();
        self.failures.extend(
            other
                .failures
                .into_iter()
                .filter(|failure| known.insert(failure.key.clone())),
        );
        for reason in other.skipped {
            self.skip(reason);
        }
        self.unusable += other.unusable;
    }
}

/// A column's name without case, separators, and the `properties_` and type suffix of `AzureDiagnostics`.
fn plain(name: &str) -> String {
    let name = name.trim();
    let stem = ["_s", "_g", "_d", "_t", "_b"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .filter(|stem| !stem.is_empty());
    let stem = stem.unwrap_or(name);
    let stem = stem
        .strip_prefix("properties_")
        .or_else(|| stem.strip_prefix("Properties_"))
        .unwrap_or(stem);
    stem.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_found_by_plain_name() {
        for name in [
            "PipelineRunId",
            "pipelineRunId_g",
            "pipeline_run_id",
            "PIPELINERUNID",
            " PipelineRunId ",
        ] {
            assert_eq!(plain(name), "pipelinerunid", "{name}");
        }
        assert_eq!(plain("_ResourceId"), "resourceid");
        assert_eq!(plain("_s"), "s");
        assert_eq!(plain("properties_Error_message_s"), "errormessage");
    }

    #[test]
    fn tables_come_in_several_dresses() {
        let expected = Table {
            columns: vec!["A".into()],
            rows: vec![vec![json!(1)]],
        };
        for value in [
            json!({"tables": [{"name": "PrimaryResult", "columns": [{"name": "A", "type": "int"}], "rows": [[1]]}]}),
            json!({"Tables": [{"Columns": [{"ColumnName": "A"}], "Rows": [[1]]}]}),
            json!({"columns": ["A"], "rows": [{"a": 1}, 7]}),
            json!({"value": [{"A": 1}]}),
            json!([{"A": 1}, "noise"]),
        ] {
            assert_eq!(tables(&value), vec![expected.clone()], "{value}");
        }
        assert_eq!(tables(&json!({"tables": "none"})), vec![]);
        assert_eq!(tables(&json!({})), vec![]);
    }
}
