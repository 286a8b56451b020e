//! The alert rules: they leave no gap, and our parser knows what they send. `infra/check` runs their queries.

use aiops_rca::sources::{Parsed, azure_monitor};
use regex::Regex;
use serde_json::{Value, json};

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
                    &format!(r"var {} = \[\s+for column in \[(.*?)\]", &found[5]),
                )[0],
                "'([^']+)'",
            ),
        })
        .collect();
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
