//! How signs are read and weighed: families of numbers, error classes, wrappers, phrases that end alike, and the words
//! that a root cause and its steps are made of.

use aiops_rca::diagnosis::{Action, Category, diagnose};
use aiops_rca::failure::Source::{Adf, Airflow, Databricks};

use super::{case, of};

#[test]
fn a_family_of_numbers_is_known_and_its_members_know_better() {
    let sql = |number: u32| {
        of(
            Adf,
            Some("2200"),
            &format!("A database operation failed. SqlErrorNumber={number},Class=16"),
        )
    };
    assert_eq!(
        sql(9420).error_type,
        "ValueConversion",
        "XML errors are a family"
    );
    assert_eq!(sql(1205).error_type, "SqlDeadlock");
    let oracle = |number: &str| {
        of(
            Airflow,
            None,
            &format!("oracledb.exceptions.DatabaseError: ORA-{number}: x"),
        )
    };
    assert_eq!(
        oracle("01866").category,
        Category::DataQuality,
        "dates are a family"
    );
    assert_eq!(
        oracle("01033").action,
        Action::RetryTask,
        "the server is starting"
    );
    assert_eq!(oracle("01017").category, Category::Authentication);
}

#[test]
fn numbers_count_in_their_own_name_space_only() {
    // 5 is an input/output error to Linux and a denied access to Windows; 32 a broken pipe and a file in use.
    assert_eq!(
        of(
            Airflow,
            None,
            "OSError: [Errno 5] Input/output error: '/mnt/x'"
        )
        .category,
        Category::Platform
    );
    assert_eq!(
        of(Airflow, None, "PermissionError: [WinError 5] x: 'C:\\x'").category,
        Category::Authorization
    );
    assert_eq!(
        of(Airflow, None, "BrokenPipeError: [Errno 32] x").category,
        Category::Network
    );
    assert_eq!(
        of(Airflow, None, "OSError: [WinError 32] x").category,
        Category::Concurrency
    );
    assert_eq!(
        of(
            Adf,
            Some("2200"),
            "Error thrown from driver. Sql code: '-805'"
        )
        .category,
        Category::Configuration
    );
    assert_eq!(
        of(Airflow, None, "curl: (35) x").category,
        Category::Network
    );
}

#[test]
fn an_unknown_error_class_in_brackets_is_guessed_by_its_shape() {
    let found = of(Databricks, None, "[QUINCE_COLUMN_TRUNCATED] quince");
    assert_eq!(
        (found.error_type.as_str(), found.category),
        ("QUINCE_COLUMN_TRUNCATED", Category::DataSchema)
    );
    assert!(!found.remediable);
    assert_eq!(
        of(Databricks, None, "[INFO] [main] quince").category,
        Category::Undetermined,
        "a log level is none"
    );
}

#[test]
fn a_code_that_the_catalog_knows_is_never_called_unknown() {
    let found = of(
        Adf,
        None,
        "ErrorCode=UserErrorOdbcOperationFailed,'Type=System.Data.Odbc.OdbcException,Message=quince'",
    );
    assert!(
        !found.root_cause.contains("does not know"),
        "{}",
        found.root_cause
    );
}

#[test]
fn a_traceback_a_trigger_and_an_exit_status_only_wrap() {
    let refused = "requests.exceptions.ConnectionError: Connection refused";
    let traceback =
        format!("Traceback (most recent call last):\n{refused}\nCommand exited with return code 1");
    assert_eq!(of(Airflow, None, &traceback).action, Action::RetryTask);
    let trigger = "airflow.exceptions.TaskDeferralError: Trigger failure\naiohttp.ClientResponseError: 401, message='Unauthorized'";
    assert_eq!(
        of(Airflow, None, trigger).category,
        Category::Authentication
    );
}

#[test]
fn of_two_phrases_that_end_alike_the_longer_one_counts() {
    assert_eq!(
        of(Databricks, None, "Exception: Data validation failed").category,
        Category::DataQuality
    );
    assert_eq!(
        of(Airflow, None, "Error in x\n  column \"a\" does not exist").category,
        Category::DataSchema
    );
}

#[test]
fn a_named_throttling_acts_although_it_is_called_a_client_error() {
    let with = |code: &str| {
        let mut failed = case(Databricks, Some(code), "");
        failed
            .context
            .insert("termination_type".into(), "CLIENT_ERROR".into());
        failed.context.insert("kind".into(), "cluster".into());
        diagnose(&failed).action
    };
    assert_eq!(
        with("AZURE_RESOURCE_MANAGER_THROTTLING"),
        Action::RestartCluster
    );
    assert_eq!(with("CLOUD_PROVIDER_RESOURCE_STOCKOUT"), Action::None);
}

#[test]
fn sentences_name_things_and_not_wrappers() {
    let timeout = "'Type=Microsoft.DataTransfer.Common.Shared.HybridDeliveryException,Message=Read timed out after 30000 ms,Source=x'";
    let found = of(Adf, None, timeout);
    assert!(
        found.root_cause.contains("30000 ms"),
        "{}",
        found.root_cause
    );
    assert!(
        !found.root_cause.contains("HybridDeliveryException"),
        "{}",
        found.root_cause
    );
    let record =
        "Job 7 ran. ErrorCode=QuinceX,Message=One bad record was found,Source=Quince. Bye.";
    assert_eq!(
        of(Adf, None, record).root_cause,
        "The data itself caused the error: One bad record was found."
    );
}

#[test]
fn steps_are_two_to_four_and_say_nothing_twice() {
    for (source, code, text) in [
        (
            Adf,
            Some("UserErrorSourceBlobNotExist"),
            "The required Blob is missing. Folder path: in/2024.",
        ),
        (Databricks, Some("TEMPORARILY_UNAVAILABLE"), "x"),
        (
            Databricks,
            None,
            "[PATH_NOT_FOUND] Path does not exist: /mnt/x",
        ),
        (
            Airflow,
            None,
            "airflow.exceptions.AirflowSensorTimeout: Sensor has timed out",
        ),
    ] {
        let steps = of(source, code, text).recommendations;
        assert!((2..=4).contains(&steps.len()), "{steps:?}");
        for (number, step) in steps.iter().enumerate() {
            assert!(
                step.ends_with(['.', '?']) && step.split(' ').count() >= 4,
                "{step}"
            );
            assert!(!steps[..number].contains(step), "{steps:?}");
        }
    }
}

#[test]
fn what_data_factory_calls_a_failure_of_its_own_is_no_fault_of_the_code() {
    for code in [
        "GatewayTimeout",
        "HttpConnectionFailed",
        "InternalServerError",
    ] {
        for kind in ["SystemError", "UserError"] {
            // As the evidence of a failed activity reads.
            let text = format!(
                "activity: Call_Ledger (WebActivity)\nattempt: 2\nerror code: {code}\nfailure type: {kind}\nmessage: {code}"
            );
            let found = of(Adf, Some(code), &text);
            assert!(
                found.remediable && found.action == Action::RetryPipeline,
                "{code}, {kind}: {}",
                found.rule
            );
        }
    }
}
