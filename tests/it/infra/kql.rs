//! As much of KQL as our rules use: which columns each step of a query has, and which it asks for.
//!
//! Column lists: learn.microsoft.com/azure/azure-monitor/reference/tables/<table>, without the standard ones
//! that every table has.

use std::collections::BTreeSet;

use regex::Regex;

const STANDARD: [&str; 5] = [
    "TenantId",
    "TimeGenerated",
    "Type",
    "_ResourceId",
    "_SubscriptionId",
];
const TABLES: [(&str, &str); 4] = [
    (
        "ADFPipelineRun",
        "Annotations Category CorrelationId End ErrorCode ErrorMessage EventMessage FailureType Input Level Location OperationName Output \
         Parameters PipelineName Predecessors ResourceId RunId Start Status SystemParameters Tags UserProperties",
    ),
    (
        "ADFActivityRun",
        "ActivityIterationCount ActivityName ActivityRunId ActivityType Annotations Category CorrelationId EffectiveIntegrationRuntime End \
         Error ErrorCode ErrorMessage EventMessage FailureType Input Level LinkedServiceName Location OperationName Output PipelineName \
         PipelineRunId ResourceId Start Status Tags UserProperties",
    ),
    ("DatabricksClusters", DATABRICKS),
    ("DatabricksJobs", DATABRICKS),
];
const DATABRICKS: &str = "ActionName Category Identity LogId OperationName OperationVersion RequestId RequestParams Response ServiceName SessionId SourceIPAddress UserAgent";
const WORDS: [&str; 12] = [
    "and", "or", "not", "in", "has", "contains", "true", "false", "between", "asc", "desc", "by",
];

/// The columns a query ends with, or what is wrong with it.
pub(super) fn columns(query: &str) -> Result<BTreeSet<String>, String> {
    let text: String = query
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut steps = split(&text, '|').into_iter();
    let table = steps.next().unwrap_or_default().trim().to_owned();
    let (_, own) = TABLES
        .iter()
        .find(|(name, _)| *name == table)
        .ok_or(format!("there is no table '{table}'"))?;
    let mut columns: BTreeSet<String> = own
        .split(' ')
        .chain(STANDARD)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    for step in steps {
        columns = apply(step.trim(), columns)?;
    }
    Ok(columns)
}

fn apply(step: &str, columns: BTreeSet<String>) -> Result<BTreeSet<String>, String> {
    let (operator, rest) = step.split_once(char::is_whitespace).unwrap_or((step, ""));
    match operator {
        "where" => need(rest, &columns).map(|()| columns),
        "extend" => {
            // All of one extend see the columns before it.
            let mut after = columns.clone();
            for part in split(rest, ',') {
                let (name, value) =
                    assigned(&part).ok_or(format!("extend without a name: {part}"))?;
                need(&value, &columns)?;
                after.insert(name);
            }
            Ok(after)
        }
        "project" => split(rest, ',')
            .into_iter()
            .map(|part| match assigned(&part) {
                Some((name, value)) => need(&value, &columns).map(|()| name),
                None => need(&part, &columns).map(|()| part.trim().to_owned()),
            })
            .collect(),
        "summarize" => {
            let (aggregates, by) = rest.rsplit_once(" by ").ok_or("summarize without by")?;
            let mut after = BTreeSet::new();
            for part in split(by, ',') {
                need(&part, &columns)?;
                after.insert(part.trim().to_owned());
            }
            let inner = aggregates
                .trim()
                .strip_prefix("arg_max(")
                .and_then(|text| text.strip_suffix(')'));
            let inner = inner.ok_or(format!("only arg_max is known here: {aggregates}"))?;
            for part in split(inner, ',') {
                need(&part, &columns)?;
                after.insert(part.trim().to_owned());
            }
            Ok(after)
        }
        "join" => join(rest, columns),
        other => Err(format!("the operator '{other}' is not known here")),
    }
}

fn join(rest: &str, mut left: BTreeSet<String>) -> Result<BTreeSet<String>, String> {
    let shape = Regex::new(r"(?s)^kind=(\w+)\s*\((.*)\)\s*on\s+(.+)$").unwrap();
    let found = shape.captures(rest).ok_or("the join cannot be read")?;
    let right = columns(&found[2])?;
    for condition in split(&found[3], ',') {
        let (l, r) = match condition.trim().split_once("==") {
            Some((l, r)) => (
                l.trim().strip_prefix("$left."),
                r.trim().strip_prefix("$right."),
            ),
            None => (Some(condition.trim()), Some(condition.trim())),
        };
        let (Some(l), Some(r)) = (l, r) else {
            return Err(format!("the join condition {condition}"));
        };
        need(l, &left).map_err(|error| format!("left side of the join: {error}"))?;
        need(r, &right).map_err(|error| format!("right side of the join: {error}"))?;
    }
    for name in right {
        let twice = left.contains(&name);
        left.insert(if twice { format!("{name}1") } else { name });
    }
    Ok(left)
}

/// `Name = value`, but not a comparison.
fn assigned(part: &str) -> Option<(String, String)> {
    let shape = Regex::new(r"(?s)^\s*(\w+)\s*=([^=~].*)$").unwrap();
    let found = shape.captures(part)?;
    Some((found[1].to_owned(), found[2].to_owned()))
}

/// Every column that an expression names must be there.
fn need(expression: &str, columns: &BTreeSet<String>) -> Result<(), String> {
    let without_texts = Regex::new(r"'[^']*'")
        .unwrap()
        .replace_all(expression, "''")
        .into_owned();
    // A name before '(' is a function, one after '.' a member of a dynamic value, one after a digit a time span.
    for found in Regex::new(r"[A-Za-z_]\w*")
        .unwrap()
        .find_iter(&without_texts)
    {
        let (before, name, after) = (
            &without_texts[..found.start()],
            found.as_str(),
            &without_texts[found.end()..],
        );
        let called = after.trim_start().starts_with('(');
        if before.ends_with(|c: char| c == '.' || c.is_ascii_digit()) || WORDS.contains(&name) {
            continue;
        }
        if called && !FUNCTIONS.contains(&name) {
            return Err(format!("there is no function '{name}'"));
        }
        if !called && !columns.contains(name) {
            return Err(format!("there is no column '{name}'"));
        }
    }
    Ok(())
}

const FUNCTIONS: [&str; 8] = [
    "ago",
    "coalesce",
    "ingestion_time",
    "isempty",
    "isnotempty",
    "todynamic",
    "tostring",
    "arg_max",
];

/// Splits outside brackets and texts.
fn split(text: &str, at: char) -> Vec<String> {
    let (mut parts, mut depth, mut quoted) = (vec![String::new()], 0_i32, false);
    for c in text.chars() {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if c == at && depth == 0 && !quoted {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}
