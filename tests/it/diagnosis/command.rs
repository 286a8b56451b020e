//! `aiops-rca diagnose`, without a process around it.

use aiops_rca::commands::diagnose::{Format, Options, run};
use serde_json::Value;

fn options(format: Format) -> Options {
    Options {
        files: Vec::new(),
        format,
        colour: false,
        progress: false,
    }
}

fn answers(input: &[u8]) -> (u8, Vec<Value>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = run(&options(Format::Ndjson), input, &mut out, &mut err);
    assert!(err.is_empty(), "{}", String::from_utf8_lossy(&err));
    (
        status,
        String::from_utf8(out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

#[test]
fn ndjson_answers_in_order_and_refuses_bad_lines_alone() {
    let (status, answers) = answers(
        b"{\"id\":\"a\",\"source_system\":\"adf\",\"error_code\":\"GatewayTimeout\",\"message\":\"x\"}\n\
          not json\n\
          \n\
          {\"id\":\"b\",\"source_system\":\"mainframe\",\"message\":\"x\"}\n\
          {\"id\":\"c\",\"source_system\":\"airflow\",\"message\":\"Sensor has timed out\",\"context\":{\"n\":3}}\n\
          \xff\xfe\n\
          [1]",
    );
    assert_eq!(status, 1);
    let ids: Vec<_> = answers
        .iter()
        .map(|answer| answer.get("id").and_then(Value::as_str))
        .collect();
    assert_eq!(ids, [Some("a"), None, Some("b"), Some("c"), None, None]);
    assert_eq!(answers[0]["action"], "retry_pipeline");
    assert_eq!(answers[0]["remediable"], true);
    assert!(answers[1]["error"].is_string() && answers[2]["error"].is_string());
    assert_eq!(answers[3]["action"], "check_upstream");
    let fields = [
        "category",
        "error_type",
        "transient",
        "severity",
        "confidence",
        "root_cause",
        "recommendations",
        "evidence",
        "rule",
    ];
    assert!(
        fields.iter().all(|field| answers[0].get(field).is_some()),
        "{}",
        answers[0]
    );
}

#[test]
fn clean_input_ends_with_success() {
    let (status, answers) =
        answers(b"{\"id\":1,\"source_system\":\"databricks\",\"message\":\"\"}\n");
    assert_eq!((status, answers.len()), (0, 1));
    assert_eq!(answers[0]["category"], "undetermined");
}

#[test]
fn a_person_likes_to_read_the_text() {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let text = "ErrorCode=SqlFailedToConnect,'Type=Microsoft.DataTransfer.Common.Shared.HybridDeliveryException,Message=Cannot connect to SQL \
                Database: 'sql-prod.database.windows.net', Database: 'dwh', User: 'svc_etl'.,''Type=System.Data.SqlClient.SqlException,\
                Message=Login failed for user 'svc_etl'.,Source=.Net SqlClient Data Provider,SqlErrorNumber=18456,Class=14\u{1b}[2J";
    assert_eq!(
        run(&options(Format::Text), text.as_bytes(), &mut out, &mut err),
        0
    );
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}

#[test]
fn a_missing_file_is_named_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("error.txt");
    std::fs::write(&file, "MemoryError").unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let options = Options {
        files: vec![folder.path().join("nothing.txt"), file],
        ..options(Format::Json)
    };
    assert_eq!(run(&options, &b""[..], &mut out, &mut err), 1);
    assert!(String::from_utf8(err).unwrap().contains("nothing.txt"));
    let answers: Vec<Value> = serde_json::from_slice(&out).unwrap();
    assert_eq!(answers[0]["action"], "scale_resources");
}
