//! Tasks that only watch a run of another platform: the inputs of K5 in the reports, and their kin.

use std::collections::BTreeMap;

use aiops_rca::diagnosis::{Action, Case, Category, Diagnosis, Piece, diagnose};
use aiops_rca::failure::{Source, field};

fn watching(operator: &str, message: &str) -> Diagnosis {
    diagnose(&case(operator, message))
}

fn case(operator: &str, message: &str) -> Case {
    let mut case = super::case(Source::Airflow, None, message);
    case.context = BTreeMap::from([(field::OPERATOR.to_owned(), operator.to_owned())]);
    case
}

fn left(found: &Diagnosis) {
    assert!(!found.remediable, "{found:#?}");
    assert_eq!(found.action, Action::None, "{found:#?}");
    let steps = found.recommendations.join(" ").to_lowercase();
    assert!(!steps.contains("rerun"), "{steps}");
}

#[test]
fn a_remote_run_that_succeeded_needs_no_second_one() {
    // apache/airflow#56350: the trigger is cancelled after the run has ended.
    let found = watching(
        "AzureDataFactoryRunPipelineOperator",
        "AirflowException: (PipelineRunNotRunning) Pipeline run has already completed with status 'Succeeded'. Only pipeline runs in progress or queued can be canceled.\nCode: PipelineRunNotRunning",
    );
    left(&found);
    assert!(
        found.root_cause.contains("Data Factory run succeeded"),
        "{}",
        found.root_cause
    );
    assert!(found.recommendations[1].contains("Mark the task as successful"));
}

#[test]
fn a_remote_run_that_goes_on_is_named_and_looked_at() {
    // astronomer-providers#366.
    let found = watching(
        "AzureDataFactoryRunPipelineOperatorAsync",
        "Traceback (most recent call last):\n  File \"/x/astronomer/providers/microsoft/azure/operators/data_factory.py\", line 89, in execute_complete\n    raise AirflowException(event[\"message\"])\nairflow.exceptions.AirflowException: Timeout: The pipeline run 389780b0-d815-11ec-9848-4eb583b4c754 has InProgress.",
    );
    left(&found);
    assert_eq!(found.category, Category::Timeout);
    for part in ["389780b0-d815-11ec-9848-4eb583b4c754", "InProgress"] {
        assert!(found.root_cause.contains(part), "{}", found.root_cause);
    }
    assert!(found.recommendations.join(" ").contains("second one"));
}

#[test]
fn a_worker_that_died_leaves_the_remote_run_alone() {
    let zombie = "Detected zombie job: {'full_filepath': '/opt/airflow/dags/dag.py', 'msg': \"{'DAG Id': 'd', 'Task Id': 't', 'Run Id': 'scheduled__2023-06-30T00:00:00+00:00', 'Hostname': 'a39eba268731'}\"}";
    for operator in [
        "DatabricksRunNowOperator",
        "DatabricksSubmitRunOperator",
        "AzureDataFactoryPipelineRunStatusSensor",
        "AzureSynapseRunPipelineOperator",
        "DbtCloudRunJobOperator",
        "DbtCloudJobRunSensor",
        "SparkSubmitOperator",
        "EmrAddStepsOperator",
        "EmrContainerSensor",
        "BigQueryInsertJobOperator",
        "DataprocSubmitJobOperator",
        "GlueJobOperator",
        "airflow.providers.databricks.operators.databricks.DatabricksNotebookOperator",
    ] {
        let found = watching(operator, zombie);
        left(&found);
        assert_eq!(found.category, Category::Platform, "{operator}");
    }
    // A task that does its own work is run again.
    for operator in ["PythonOperator", "BashOperator", "DatabricksSqlOperator"] {
        let found = watching(operator, zombie);
        assert!(found.remediable, "{operator}");
        assert_eq!(found.action, Action::RetryTask, "{operator}");
    }
}

#[test]
fn a_log_tells_a_watcher_where_the_report_names_no_operator() {
    let mut found = super::case(
        Source::Airflow,
        None,
        "requests.exceptions.ConnectionError: ('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))",
    );
    found.evidence = vec![Piece {
        id: "e1".to_owned(),
        text: "[2026-07-27] {taskinstance.py:1332} INFO - Executing <Task(DatabricksSubmitRunDeferrableOperator): load>\n[2026-07-27] {databricks.py:1} INFO - Run submitted with run_id: 998877665544\n"
            .to_owned(),
        passages: Vec::new(),
    }];
    let found = diagnose(&found);
    left(&found);
    assert!(
        found.root_cause.contains("998877665544"),
        "{}",
        found.root_cause
    );
}

#[test]
fn the_platforms_own_word_counts_more_than_the_tasks() {
    let with = |state: &str| {
        let mut found = case("DatabricksRunNowOperator", "Task timed out");
        for (name, value) in [
            (field::REMOTE_PLATFORM, "Databricks"),
            (field::REMOTE_RUN_ID, "4711"),
            (field::REMOTE_STATE, state),
        ] {
            found.context.insert(name.to_owned(), value.to_owned());
        }
        diagnose(&found)
    };
    let over = with("succeeded");
    left(&over);
    assert!(over.root_cause.contains("Databricks run `4711` succeeded"));
    let going = with("RUNNING");
    left(&going);
    assert!(
        going.root_cause.contains("still RUNNING"),
        "{}",
        going.root_cause
    );
    let failed = with("failed");
    left(&failed);
    assert!(failed.recommendations[0].contains("Open the Databricks run `4711`"));
}

#[test]
fn a_remote_run_that_never_began_may_be_begun_again() {
    let found = watching(
        "GlueJobOperator",
        "botocore.exceptions.ClientError: An error occurred (ThrottlingException) when calling the StartJobRun operation (reached max retries: 4): Rate exceeded",
    );
    assert!(found.remediable);
    let found = watching(
        "GlueJobOperator",
        "botocore.exceptions.ClientError: An error occurred (ThrottlingException) when calling the GetJobRun operation (reached max retries: 4): Rate exceeded",
    );
    left(&found);
}
