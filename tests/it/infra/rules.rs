//! The alert rules: they leave no gap, and our parser knows what they send. `infra/check` runs their queries.

use aiops_rca::sources::{Parsed, azure_monitor};
use serde_json::{Value, json};

use super::{all, read};
use crate::support::bicep;

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

const ALERTS: &str = "infra/alerts.bicep";

fn rules() -> Vec<Rule> {
    let rules = bicep::variable(ALERTS, "rules").as_array().unwrap();
    let rule = |rule: &Value| {
        let by = bicep::text(&rule["dimensions"]["$"]);
        Rule {
            name: bicep::text(&rule["name"]).to_owned(),
            query: read(&format!(
                "infra/{}",
                bicep::text(&bicep::calls(&rule["query"], "load_text_content")[0][0])
            )),
            frequency: minutes(bicep::text(&rule["frequency"])),
            window: minutes(bicep::text(&rule["window"])),
            split: bicep::texts(&bicep::variable(ALERTS, by)["in"]),
        }
    };
    let rules: Vec<Rule> = rules.iter().map(rule).collect();
    assert_eq!(rules.len(), 4);
    rules
}

#[test]
fn no_row_falls_between_two_evaluations_however_late_it_comes() {
    for rule in rules() {
        let looks_back = minutes(&all(&rule.query, r"ingestion_time\(\) > ago\((\w+)\)")[0]);
        let overlap = looks_back - rule.frequency;
        assert!((30..=60).contains(&overlap), "{}: {overlap}", rule.name);
        assert!(
            rule.split.len() <= 6,
            "no more than six dimensions are allowed"
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
    let rule = &bicep::resource(ALERTS, "rule")["properties"];
    assert_eq!(rule["autoMitigate"], false);
    assert_eq!(rule["windowSize"], bicep::name("entry.window"));
    assert_eq!(rule["evaluationFrequency"], bicep::name("entry.frequency"));
    assert_eq!(
        bicep::variable(ALERTS, "receiver")["useCommonAlertSchema"],
        true
    );
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
