//! The alert rules: their queries run on the documented tables, leave no gap, and our parser knows what they send.

use aiops_rca::sources::{Parsed, azure_monitor};
use regex::Regex;
use serde_json::{Value, json};

use super::kql::columns;
use super::{all, read};

struct Rule {
    name: String,
    query: String,
    frequency: i64,
    window: i64,
    split: Vec<String>,
}

fn minutes(text: &str) -> i64 {
    let amount: i64 = text
        .trim_start_matches("PT")
        .trim_end_matches(['H', 'M', 'm', 'h'])
        .parse()
        .unwrap();
    if text.to_ascii_uppercase().ends_with('H') {
        amount * 60
    } else {
        amount
    }
}

fn rules() -> Vec<Rule> {
    let text = read("infra/alerts.bicep");
    let shape = r"(?s)\{\s+name: '([\w-]+)'\s+about: .*?query: loadTextContent\('([^']+)'\).*?frequency: '(\w+)'\s+window: '(\w+)'\s+dimensions: (\w+)";
    let rules: Vec<Rule> = Regex::new(shape)
        .unwrap()
        .captures_iter(&text)
        .map(|found| Rule {
            name: found[1].to_owned(),
            query: read(&format!("infra/{}", &found[2])),
            frequency: minutes(&found[3]),
            window: minutes(&found[4]),
            split: all(
                &all(
                    &text,
                    &format!(r"var {} = \[for column in \[(.*?)\]", &found[5]),
                )[0],
                "'([^']+)'",
            ),
        })
        .collect();
    assert_eq!(rules.len(), 4);
    rules
}

#[test]
fn the_queries_name_only_columns_that_exist_and_end_with_those_the_rules_split_by() {
    for rule in rules() {
        let ends_with = columns(&rule.query).unwrap_or_else(|why| panic!("{}: {why}", rule.name));
        for column in rule
            .split
            .iter()
            .map(String::as_str)
            .chain(["TimeGenerated", "_ResourceId"])
        {
            assert!(
                ends_with.contains(column),
                "{}: {column} is not in {ends_with:?}",
                rule.name
            );
        }
        assert!(
            rule.split.len() <= 6,
            "no more than six dimensions are allowed"
        );
    }
}

#[test]
fn the_guides_own_query_cannot_run_and_ours_says_why() {
    let guide = "ADFPipelineRun
| where TimeGenerated > ago(15m)
| where Status == 'Failed'
| join kind=inner (
    ADFActivityRun
    | where TimeGenerated > ago(15m)
    | where Status == 'Failed'
) on PipelineRunId
| project TimeGenerated, PipelineName, RunId=PipelineRunId, ActivityName, ErrorCode, ErrorMessage";
    assert_eq!(
        columns(guide).unwrap_err(),
        "left side of the join: there is no column 'PipelineRunId'"
    );
    for (query, why) in [
        (
            "ADFRuns | where Status == 'Failed'",
            "there is no table 'ADFRuns'",
        ),
        (
            "ADFPipelineRun | where State == 'Failed'",
            "there is no column 'State'",
        ),
        (
            "ADFPipelineRun | project PipelineName | where RunId == ''",
            "there is no column 'RunId'",
        ),
        (
            "DatabricksJobs | extend x = tojson(RequestParams)",
            "there is no function 'tojson'",
        ),
        (
            "DatabricksJobs | extend a = todynamic(RequestParams), b = tostring(a.x)",
            "there is no column 'a'",
        ),
    ] {
        assert_eq!(columns(query).unwrap_err(), why);
    }
}

#[test]
fn no_row_falls_between_two_evaluations_however_late_it_comes() {
    for rule in rules() {
        let looks_back = minutes(&all(&rule.query, r"ingestion_time\(\) > ago\((\w+)\)")[0]);
        assert!(
            looks_back >= rule.frequency && looks_back <= 2 * rule.frequency,
            "{}",
            rule.name
        );
        let late = if rule.name.starts_with("databricks") {
            90
        } else {
            45
        };
        assert!(
            rule.window >= looks_back + late,
            "{}: rows that come late are outside the window",
            rule.name
        );
    }
    let text = read("infra/alerts.bicep");
    assert!(text.contains("autoMitigate: false") && text.contains("useCommonAlertSchema: true"));
}

/// The alert of a rule with these dimensions, in the common schema.
fn alert(rule: &Rule, values: &[(&str, &str)]) -> Value {
    let path = "tests/fixtures/vendor/azmon-logv2-adf-fired-dimensions.json";
    let mut alert: Value = serde_json::from_str(&read(path)).unwrap();
    alert["data"]["essentials"]["alertRule"] = json!(rule.name);
    let condition = &mut alert["data"]["alertContext"]["condition"]["allOf"][0];
    condition["searchQuery"] = json!(rule.query);
    let value = |name: &String| {
        values
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    };
    condition["dimensions"] = rule
        .split
        .iter()
        .map(|name| json!({"name": name, "value": value(name)}))
        .collect();
    alert
}

#[test]
fn our_parser_reads_the_alerts_of_every_rule() {
    let run = "2f7fdb90-5df1-4b8e-ac2f-064cfa58202b";
    let values = [
        ("RunId", run),
        ("PipelineName", "pl_ingest_sales"),
        ("ActivityName", "Copy_Sales"),
        ("ErrorCode", "2200"),
        ("clusterId", "0727-091233-ab12cd34"),
        ("clusterName", "etl-shared"),
        ("clusterState", "Terminated"),
        ("termination", "DRIVER_UNREACHABLE"),
        ("runId", "998877665544332"),
        ("jobId", "516892700102118"),
        ("jobTerminalState", "Failed"),
    ];
    for (rule, asset, id) in rules()
        .iter()
        .zip([
            ("pl_ingest_sales", Some(run)),
            ("pl_ingest_sales", Some(run)),
            ("etl-shared", None),
            ("516892700102118", Some("998877665544332")),
        ])
        .map(|(rule, (asset, id))| (rule, asset, id))
    {
        let body = alert(rule, &values).to_string();
        match azure_monitor::parse(body.as_bytes()) {
            Ok(Parsed::Failures(failures)) => {
                assert_eq!(failures.len(), 1, "{}", rule.name);
                assert!(
                    failures[0].asset.contains(asset),
                    "{}: {}",
                    rule.name,
                    failures[0].asset
                );
                assert!(
                    id.is_none() || failures[0].run_id.as_deref() == id,
                    "{}: {:?}",
                    rule.name,
                    failures[0].run_id
                );
            }
            Ok(Parsed::NeedsRows(request)) => assert!(
                id.is_none_or(|id| format!("{request:?}").contains(id)),
                "{}",
                rule.name
            ),
            other => panic!("{}: {other:?}", rule.name),
        }
    }
}
