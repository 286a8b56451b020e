//! Tasks that only watch a run of another platform: which platform, which run, and how that run stood.
//!
//! In: an operator's class and texts of the task's error and log. Out: a [`RemoteRun`], or that the task does its work
//! itself. To run such a task again is to start the remote run a second time, whether or not the first one goes on.

use std::sync::LazyLock;

use regex::Regex;

/// A run of another platform that a task waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRun {
    /// As people call the platform.
    pub platform: &'static str,
    /// The run's id, if a text names it.
    pub run_id: Option<String>,
    /// How it stood.
    pub state: RemoteState,
}

/// How a remote run stands, as far as a text or the platform says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteState {
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// It had not ended: the platform's own word.
    Going(String),
    /// It was never begun: the call that was to start it was refused.
    NeverBegan,
    /// Nobody said.
    Unknown,
}

impl RemoteState {
    /// The state that a platform's answer is kept under: `succeeded`, `failed`, or its own word for a run that goes on.
    pub fn named(word: &str) -> Self {
        match word {
            "succeeded" => Self::Succeeded,
            "failed" => Self::Failed,
            "" => Self::Unknown,
            going => Self::Going(going.to_owned()),
        }
    }
}

/// As people call Databricks.
pub const DATABRICKS: &str = "Databricks";
/// As people call Data Factory.
pub const DATA_FACTORY: &str = "Data Factory";
/// As people call Synapse.
pub const SYNAPSE: &str = "Synapse";
const DBT: &str = "dbt Cloud";
const SPARK: &str = "Spark";
const EMR: &str = "EMR";
const BIG_QUERY: &str = "BigQuery";

/// Words of operators', sensors' and triggers' classes that start or watch remote runs.
const CLASSES: [(&str, &str); 37] = [
    ("DataFactory", DATA_FACTORY),
    ("Synapse", SYNAPSE),
    ("DbtCloud", DBT),
    ("SparkSubmit", SPARK),
    ("SparkSql", SPARK),
    ("SparkJDBC", SPARK),
    ("SparkKubernetes", SPARK),
    ("Livy", "Livy"),
    ("Emr", EMR),
    ("EMR", EMR),
    ("BigQuery", BIG_QUERY),
    ("Dataproc", "Dataproc"),
    ("Dataflow", "Dataflow"),
    ("DataFusion", "Data Fusion"),
    ("CloudRun", "Cloud Run"),
    ("VertexAI", "Vertex AI"),
    ("CustomTraining", "Vertex AI"),
    ("GlueJob", "Glue"),
    ("GlueCrawler", "Glue"),
    ("GlueDataBrew", "Glue"),
    ("Athena", "Athena"),
    ("RedshiftData", "Redshift"),
    ("SageMaker", "SageMaker"),
    ("StepFunction", "Step Functions"),
    ("EcsRunTask", "ECS"),
    ("AzureBatch", "Azure Batch"),
    ("BatchOperator", "AWS Batch"),
    ("BatchSensor", "AWS Batch"),
    ("ContainerInstances", "Container Instances"),
    ("MachineLearning", "Azure Machine Learning"),
    ("Fabric", "Fabric"),
    ("PowerBI", "Power BI"),
    ("Airbyte", "Airbyte"),
    ("Fivetran", "Fivetran"),
    ("SnowflakeSqlApi", "Snowflake"),
    ("TriggerDagRun", "Airflow"),
    ("ExternalTask", "Airflow"),
];

/// Modules of Airflow's providers in a traceback, and the platform whose runs their classes watch.
const MODULES: [(&str, &str); 9] = [
    ("data_factory", DATA_FACTORY),
    ("synapse", SYNAPSE),
    ("dbt", DBT),
    ("spark_submit", SPARK),
    ("livy", "Livy"),
    ("emr", EMR),
    ("bigquery", BIG_QUERY),
    ("dataproc", "Dataproc"),
    ("databricks", DATABRICKS),
];

/// A platform by its name.
pub fn platform_named(name: &str) -> Option<&'static str> {
    [DATABRICKS, DATA_FACTORY, SYNAPSE]
        .into_iter()
        .find(|platform| *platform == name)
}

/// The platform whose runs a class of Airflow's starts or watches; `None`: it does its work itself.
pub fn watched_by(class: &str) -> Option<&'static str> {
    let name = class.rsplit(['.', ' ']).next().unwrap_or(class);
    // SQL goes through a connection, and ends with it; a statement of the API goes on.
    let sql = name.contains("Sql") || name.contains("SQL") || name.contains("CopyInto");
    if name.contains("Databricks") && (!sql || name.contains("Statements")) {
        return Some(DATABRICKS);
    }
    CLASSES
        .iter()
        .find(|(word, _)| name.contains(word))
        .map(|(_, platform)| *platform)
}

/// The remote run that a task watches. `texts`: its error and its log, the more telling first.
pub fn remote_run(operator: Option<&str>, texts: &[&str]) -> Option<RemoteRun> {
    let platform = operator
        .and_then(watched_by)
        .or_else(|| texts.iter().find_map(|text| watched_in(text)))?;
    let run_id = texts.iter().find_map(|text| run_id(platform, text));
    let state = texts
        .iter()
        .map(|text| state(text))
        .find(|state| *state != RemoteState::Unknown)
        .unwrap_or(RemoteState::Unknown);
    Some(RemoteRun {
        platform,
        run_id,
        state,
    })
}

/// The class that a log or a traceback names as the task's own.
fn watched_in(text: &str) -> Option<&'static str> {
    static TASK: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"<(?:Mapped)?Task\((\w+)\)").ok());
    static MODULE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"providers[\w/\\.\-]*?[/\\.](?:operators|sensors|triggers)[/\\.](\w+)").ok()
    });
    if let Some(task) = TASK.as_ref().and_then(|task| task.captures(text)) {
        return watched_by(task.get(1)?.as_str());
    }
    MODULE.as_ref()?.captures_iter(text).find_map(|module| {
        let name = module.get(1)?.as_str();
        let known = MODULES
            .iter()
            .find(|(word, _)| name.contains(word) && !name.contains("sql"));
        known.map(|(_, platform)| *platform)
    })
}

/// Characters of a run's id; a longer one is cut. Not in the pattern: `\w` so many times takes megabytes.
const LONGEST: usize = 200;

fn run_id(platform: &str, text: &str) -> Option<String> {
    static GUID: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b").ok()
    });
    static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?i)(?:\brun[ _]?id\b[^\w\n]{0,6}|/runs?/|\bjob run(?: id)? #?|\brun (?:with id )?#?)(\d{2,20})\b")
            .ok()
    });
    static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"\b(?:s-[0-9A-Z]{8,}|j-[0-9A-Z]{8,}|application_\d+_\d+|driver-\d+-\d+)\b").ok()
    });
    static JOB: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r#"(?i)\b(?:job|run|batch|execution|query)[ _]?id\b[\s:='"`]{1,4}([\w:.\-]{4,})"#,
        )
        .ok()
    });
    let first = |pattern: &Option<Regex>, group: usize| {
        let found = pattern.as_ref()?.captures(text)?;
        let id: String = found.get(group)?.as_str().chars().take(LONGEST).collect();
        Some(id.trim_end_matches('.').to_owned())
    };
    match platform {
        DATA_FACTORY | SYNAPSE | "Fabric" | "Power BI" => first(&GUID, 0),
        DATABRICKS | DBT => first(&NUMBER, 1),
        SPARK | EMR => first(&WORD, 0),
        _ => first(&JOB, 1),
    }
}

fn state(text: &str) -> RemoteState {
    static SUCCEEDED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r#"(?i)completed with (?:status|state) ['"]?succe|\b(?:status|state|result_state)['"]?\s*(?:[:=]|is|was)\s*['"]?succe|\brun\b[^.\n]{0,80}\b(?:has |already )?succeeded"#,
        )
        .ok()
    });
    static FAILED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r#"(?i)\b(?:status|state|result_state)['"]?\s*(?:[:=]|is|was)\s*['"]?(?:failed|error|timedout|internal_error|cancell?ed)|\brun\b[^.\n]{0,80}\bhas (?:failed|errored|been cancell?ed)|terminal state: \{"#,
        )
        .ok()
    });
    static GOING: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r#"(?i)(?:\b(?:status|state|life_cycle_state)['"]?\s*(?:[:=]|is|was)\s*['"]?|\brun\b[^.\n]{0,80}\b(?:has|is|was)(?: still)? )(in ?progress|running|queued|pending|starting|in_progress)\b"#,
        )
        .ok()
    });
    static NEVER: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"(?:Throttling\w*|TooManyRequests\w*|\w*LimitExceeded\w*|ConcurrentRunsExceeded\w*)\) when calling the (?:Start|Submit|Run|Create|Add)\w+ operation|Failed to connect to master \S+:\d+|All masters are unresponsive",
        )
        .ok()
    });
    let says = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|one| one.is_match(text));
    if says(&SUCCEEDED) {
        return RemoteState::Succeeded;
    }
    if says(&FAILED) {
        return RemoteState::Failed;
    }
    if says(&NEVER) {
        return RemoteState::NeverBegan;
    }
    let word = GOING
        .as_ref()
        .and_then(|going| going.captures(text)?.get(1));
    word.map_or(RemoteState::Unknown, |word| {
        RemoteState::Going(word.as_str().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_watch_are_told_from_those_that_work() {
        for (class, platform) in [
            ("DatabricksRunNowOperator", DATABRICKS),
            ("DatabricksSubmitRunDeferrableOperator", DATABRICKS),
            ("DatabricksSQLStatementsSensor", DATABRICKS),
            ("AzureDataFactoryRunPipelineOperatorAsync", DATA_FACTORY),
            (
                "airflow.providers.microsoft.azure.sensors.data_factory.AzureDataFactoryPipelineRunStatusSensor",
                DATA_FACTORY,
            ),
            ("AzureSynapseRunPipelineOperator", SYNAPSE),
            ("DbtCloudRunJobOperator", DBT),
            ("SparkSubmitOperator", SPARK),
            ("EmrAddStepsOperator", EMR),
            ("EmrServerlessStartJobOperator", EMR),
            ("BigQueryInsertJobOperator", BIG_QUERY),
            ("GlueJobSensor", "Glue"),
            ("TriggerDagRunOperator", "Airflow"),
        ] {
            assert_eq!(watched_by(class), Some(platform), "{class}");
        }
        for class in [
            "PythonOperator",
            "BashOperator",
            "DatabricksSqlOperator",
            "KubernetesPodOperator",
            "SQLExecuteQueryOperator",
            "S3KeySensor",
            "",
        ] {
            assert_eq!(watched_by(class), None, "{class}");
        }
    }

    #[test]
    fn an_id_is_read_whole_and_ends_somewhere() {
        let of = |id: &str| run_id("Glue", &format!("job id: {id}"));
        assert_eq!(of("jr_Führung.7.").as_deref(), Some("jr_Führung.7"));
        assert_eq!(of("jr"), None);
        assert_eq!(of(&"ü".repeat(300)), Some("ü".repeat(LONGEST)));
    }

    #[test]
    fn the_run_and_its_state_are_read_from_the_text() {
        let guid = "389780b0-d815-11ec-9848-4eb583b4c754";
        let of = |operator: &str, text: &str| remote_run(Some(operator), &[text]).unwrap();
        let timeout = of(
            "AzureDataFactoryRunPipelineOperatorAsync",
            &format!("Timeout: The pipeline run {guid} has InProgress."),
        );
        assert_eq!(timeout.run_id.as_deref(), Some(guid));
        assert_eq!(timeout.state, RemoteState::Going("InProgress".to_owned()));
        let done = of(
            "AzureDataFactoryRunPipelineOperator",
            "Pipeline run has already completed with status 'Succeeded'.Only runs in progress can be canceled",
        );
        assert_eq!(done.state, RemoteState::Succeeded);
        let failed = of(
            "DatabricksSubmitRunOperator",
            "Job run failed with terminal state: {'life_cycle_state': 'TERMINATED', 'result_state': 'FAILED'} run_id: 4711",
        );
        assert_eq!(
            (failed.run_id.as_deref(), failed.state),
            (Some("4711"), RemoteState::Failed)
        );
        let dbt = of(
            "DbtCloudRunJobOperator",
            "Job run 70471831332476 has failed",
        );
        assert_eq!(dbt.run_id.as_deref(), Some("70471831332476"));
        let step = of(
            "EmrStepSensor",
            "EMR step s-2X1Y3Z4W5V6U of j-ABCDEFGHIJKL timed out",
        );
        assert_eq!(step.run_id.as_deref(), Some("s-2X1Y3Z4W5V6U"));
    }

    #[test]
    fn a_run_that_was_refused_never_began() {
        let refused = "ClientError: An error occurred (ThrottlingException) when calling the StartJobRun operation";
        let run = remote_run(Some("GlueJobOperator"), &[refused]).unwrap();
        assert_eq!(run.state, RemoteState::NeverBegan);
        let polled = "ClientError: An error occurred (ThrottlingException) when calling the GetJobRun operation";
        let run = remote_run(Some("GlueJobOperator"), &[polled]).unwrap();
        assert_eq!(run.state, RemoteState::Unknown);
    }

    #[test]
    fn a_log_names_the_class_when_the_report_does_not() {
        let log = "INFO - Executing <Task(DatabricksRunNowOperator): load> on 2026-07-27";
        assert_eq!(
            remote_run(None, &[log]).map(|run| run.platform),
            Some(DATABRICKS)
        );
        let traceback = "File \"/x/airflow/providers/microsoft/azure/operators/data_factory.py\", line 89, in execute_complete";
        assert_eq!(
            remote_run(None, &[traceback]).map(|run| run.platform),
            Some(DATA_FACTORY)
        );
        let sql = "File \"/x/airflow/providers/databricks/operators/databricks_sql.py\", line 9";
        assert_eq!(remote_run(None, &[sql]), None);
        assert_eq!(
            remote_run(None, &["<Task(PythonOperator): a> databricks"]),
            None
        );
    }
}
