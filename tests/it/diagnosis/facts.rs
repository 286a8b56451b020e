//! Facts before words: what is read as the error, what is only log, name, wrapper or our own sentence.
//!
//! The inputs are our own wordings of kinds of public reports; their forms come from the named projects.

use std::sync::LazyLock;

use aiops_rca::diagnosis::{Action, Case, Catalog, Category, Diagnosis, Piece, diagnose};
use aiops_rca::evidence::{Passage, Voice};
use aiops_rca::failure::Source::{self, Adf, Airflow, Databricks};
use aiops_rca::failure::own_words;
use proptest::prelude::*;

use super::{case, of};

fn quiet(found: &Diagnosis, what: &str) {
    assert!(
        !found.remediable && !found.action.acts(),
        "{what}: {}",
        found.rule
    );
}

/// An Airflow log: lines with a level, then the end.
fn airflow(before: &str, end: &str) -> String {
    format!(
        "*** Found local files:\n***   * /opt/airflow/logs/dag_id=sales/task_id=load/attempt=1.log\n\
         [2026-11-29T02:00:00.100+0000] {{taskinstance.py:1157}} INFO - Dependencies all met\n\
         {before}\n\
         [2026-11-29T02:10:00.100+0000] {{taskinstance.py:3313}} ERROR - Task failed with exception\n\
         Traceback (most recent call last):\n  File \"/opt/airflow/dags/sales.py\", line 42, in load\n    transform(rows)\n\
         {end}\n\
         [2026-11-29T02:10:00.200+0000] {{taskinstance.py:1226}} INFO - Marking task as FAILED. dag_id=sales, task_id=load"
    )
}

/// Apache Airflow's log form; HolmesGPT's reports of noise before the root cause.
#[test]
fn the_exception_that_ended_the_run_decides_not_the_loudest_line() {
    for noise in [
        "[2026-11-29T02:01:20.100+0000] {client.py:88} WARNING - 429 Too Many Requests for url https://api.example.com, sleeping 20 s",
        "[2026-11-29T02:01:20.100+0000] {pool.py:12} INFO - Connection reset by peer, retrying (attempt 2 of 5)",
        "[2026-11-29T02:01:20.100+0000] {hook.py:9} ERROR - could not connect to server: Connection refused, will retry in 5 s",
        "[2026-11-29T02:01:20.100+0000] {logging_mixin.py:190} INFO - java.net.SocketTimeoutException: Read timed out",
        "[2026-11-29T02:01:20.100+0000] {warn.py:9} WARNING - call failed\nTraceback (most recent call last):\n  File \"a.py\", line 1\nTimeoutError: 503 Service Unavailable",
    ] {
        let found = of(Airflow, None, &airflow(noise, "KeyError: 'country'"));
        assert_eq!(found.category, Category::Code, "{noise}: {}", found.rule);
        assert!(
            found.root_cause.contains("'country'"),
            "{}",
            found.root_cause
        );
        quiet(&found, noise);
        let found = of(
            Airflow,
            None,
            &airflow(
                noise,
                "pandera.errors.SchemaError: column 'amount' not in dataframe",
            ),
        );
        assert_eq!(
            found.category,
            Category::DataSchema,
            "{noise}: {}",
            found.rule
        );
        quiet(&found, noise);
    }
    let spark = "25/07/27 09:15:31 WARN TaskSetManager: Lost task 0.0: FetchFailed\n25/07/27 09:15:33 WARN AzureBlobFileSystem: 503 ServerBusy, retrying\n\
                 25/07/27 09:15:40 ERROR ApplicationMaster: User class threw exception\norg.apache.spark.sql.AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table or view `a`.`b` cannot be found.";
    let found = of(Databricks, None, spark);
    assert_eq!(found.category, Category::MissingData, "{}", found.rule);
}

#[test]
fn what_is_below_error_names_a_cause_at_most() {
    for text in [
        "[2026-11-29T02:00:00.1+0000] {client.py:8} WARNING - 429 Too Many Requests",
        "25/07/27 09:15:31 WARN NetworkClient: Connection to node -1 could not be established: Connection refused",
        "WARNING:root:Read timed out",
        "{\"level\":\"warning\",\"msg\":\"503 Service Unavailable\"}",
    ] {
        quiet(&of(Airflow, None, text), text);
    }
}

/// Airflow's own log reader speaks of itself.
#[test]
fn what_a_log_reader_says_about_itself_is_no_error_of_the_task() {
    for text in [
        "*** Log file does not exist: /home/airflow/gcs/logs/d/t/5.log\n*** Fetching from: http://:8793/log/d/t/5.log\n*** Failed to fetch log file from worker. Invalid URL: No host supplied",
        "*** Could not read served logs: HTTPConnectionPool(host='worker-1', port=8793): Max retries exceeded: Connection refused",
        "*** Unable to read remote log from s3://logs/d/t/1.log\n*** An error occurred (503) when calling the GetObject operation: SlowDown",
        "*** !!!! Please make sure that all your Airflow components have the same 'secret_key' configured\n*** Could not read served logs: 403 Client Error: FORBIDDEN",
    ] {
        let found = of(Airflow, None, text);
        assert_eq!(
            found.error_type, "TaskLogUnreadable",
            "{text}: {}",
            found.rule
        );
        assert!(found.confidence < 0.45, "{text}");
        quiet(&found, text);
        let with_error = format!(
            "{text}\n[2026-11-29T02:00:00.1+0000] {{t.py:1}} ERROR - Task failed with exception\nValueError: no rows for 2026"
        );
        assert_ne!(
            of(Airflow, None, &with_error).error_type,
            "TaskLogUnreadable"
        );
    }
}

/// A line begins with the name of what failed, and somebody named it like that.
#[test]
fn a_name_like_the_log_readers_words_is_a_name() {
    let of_pipeline = |name: &str, text: &str| {
        let mut case = case(Adf, None, text);
        case.context.insert("pipeline".to_owned(), name.to_owned());
        diagnose(&case).error_type
    };
    for name in ["Could not read served logs", "Found local files"] {
        for text in [
            format!("{name}: KeyError: 'country'"),
            format!("started\n  {name}: KeyError: 'country'"),
        ] {
            assert_eq!(of_pipeline(name, &text), "PythonValueError", "{text}");
        }
        let reader = format!("{name}: HTTPConnectionPool(host='worker-1', port=8793): 403");
        assert_eq!(of_pipeline("pl_orders", &reader), "TaskLogUnreadable");
    }
}

/// dbt under Airflow (astronomer-cosmos), Spark, Databricks and shells wrap what went wrong.
#[test]
fn wrappers_and_consequences_yield_to_what_they_wrap() {
    let line =
        |text: &str| format!("[2026-09-08, 10:14:54 +07] {{subprocess.py:94}} INFO - {text}\n");
    let dbt = [
        "03:14:54  Completed with 1 error and 0 warnings:",
        "03:14:54    Database Error in model stg_orders (models/stg_orders.sql)",
        "  improper relation name (too many dotted names): a.b.c.d",
        "03:14:54  Done. PASS=0 WARN=0 ERROR=1 SKIP=0 TOTAL=1",
        "Command exited with return code 1",
    ]
    .map(line)
    .concat();
    let found = of(Airflow, None, &dbt);
    for fact in ["stg_orders", "improper relation name"] {
        assert!(found.root_cause.contains(fact), "{}", found.root_cause);
    }
    for (text, category) in [
        (
            "Task Load failed with message: Workload failed, see run output for details. This caused all downstream tasks to get skipped.\nKeyError: 'country'",
            Category::Code,
        ),
        (
            "Task Report: UPSTREAM_FAILED: An upstream task failed.\nTask Load: ModuleNotFoundError: No module named 'pandas'",
            Category::Dependency,
        ),
        (
            "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 failed 4 times\nCaused by: org.apache.spark.SparkFileNotFoundException: File does not exist: abfss://raw/x.parquet",
            Category::MissingData,
        ),
        (
            "airflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.\nDatabase Error in model m (m.sql)\n  permission denied for schema x",
            Category::Authorization,
        ),
        (
            "dbt command failed\nCompilation Error in model m (m.sql)\n  'ref' is undefined: depends on a node named 'gone' which was not found",
            Category::Code,
        ),
    ] {
        let found = of(Databricks, None, text);
        assert_eq!(found.category, category, "{text}: {}", found.rule);
    }
    let child = format!(
        "{}{}{}[2026-09-08, 10:14:55 +07] {{taskinstance.py:18}} ERROR - Task failed with exception\nairflow.exceptions.AirflowException: Bash command failed. The command returned a non-zero exit code 1.",
        line("429 Too Many Requests, sleeping"),
        line("Traceback (most recent call last):"),
        line("KeyError: 'country'"),
    );
    let found = of(Airflow, None, &child);
    assert_eq!(found.category, Category::Code, "{}", found.rule);
    quiet(&found, "a child's own error");
    let alone = of(Databricks, None, "An upstream task failed.");
    assert_eq!(
        alone.error_type, "UpstreamTaskFailed",
        "nothing else is said"
    );
}

#[test]
fn our_own_sentences_are_not_read() {
    let rule = Some("ADF 503 ServerBusy");
    for sentence in [
        own_words::nameless(
            Some(3),
            "pipeline run",
            rule,
            "no failed run was found in the alert's window (logs arrive minutes late)",
        ),
        own_words::nameless(
            None,
            "job run",
            Some("Connection refused"),
            "the vendor answered 403",
        ),
        own_words::untold_by_alert("Pipeline Rate limit exceeded report", None),
        own_words::untold_by_alert(
            "Activity Gateway timeout statistics of pipeline Deadlock",
            Some("2200"),
        ),
        own_words::untold_by_report("Run 1 of Databricks job throttling", None),
        own_words::untold_by_callback("Airflow task out of memory.connection refused"),
    ] {
        let found = of(Adf, None, &sentence);
        assert_eq!(
            found.category,
            Category::Undetermined,
            "{sentence}: {}",
            found.rule
        );
        assert!(
            found.root_cause.starts_with("The cause is unknown: "),
            "{}",
            found.root_cause
        );
    }
}

/// A code that says little, or a name that the catalog does not know: the error's own words stand in the sentence.
#[test]
fn the_errors_own_words_are_not_lost() {
    for (source, code, text, fact, category) in [
        (
            Adf,
            Some("2200"),
            "dq check failed: 12 rows without country",
            "12 rows without country",
            Category::DataQuality,
        ),
        (
            Adf,
            Some("2200"),
            "Operation on target Sync throttling metrics failed: twelve rows looked odd",
            "says: twelve rows looked odd.",
            Category::Undetermined,
        ),
        (
            Adf,
            None,
            "twelve rows looked odd",
            "says: twelve rows looked odd.",
            Category::Undetermined,
        ),
        (
            Airflow,
            None,
            "pandera.errors.SchemaError: column 'amount' not in dataframe",
            "'amount'",
            Category::DataSchema,
        ),
        (
            Databricks,
            None,
            "com.example.etl.SourceMappingException: field amount of order 7 has no rule",
            "field amount of order 7",
            Category::DataSchema,
        ),
    ] {
        let found = of(source, code, text);
        assert!(
            found.root_cause.contains(fact),
            "{text}: {}",
            found.root_cause
        );
        assert_eq!(found.category, category, "{text}: {}", found.rule);
        quiet(&found, text);
    }
}

/// Azure's documentation and issues of MicrosoftDocs/azure-docs: connectors of Data Factory are .NET programs.
#[test]
fn a_connectors_exception_is_no_fault_of_the_users_code() {
    let inner = |class: &str, says: &str| {
        format!(
            "ErrorCode=SqlOperationFailed,'Type=Microsoft.DataTransfer.Common.Shared.HybridDeliveryException,Message=A database operation failed. Please search error to get more details.,Source=Microsoft.DataTransfer.ClientLibrary,''Type=System.{class},Message={says},Source=System.Data,'"
        )
    };
    for (class, says, category) in [
        (
            "InvalidOperationException",
            "Column 'KeyID' does not allow DBNull.Value.",
            Category::DataQuality,
        ),
        (
            "NullReferenceException",
            "Object reference not set to an instance of an object.",
            Category::Platform,
        ),
        (
            "ArgumentOutOfRangeException",
            "Index was outside the bounds of the array.",
            Category::Platform,
        ),
        (
            "InvalidCastException",
            "Specified cast is not valid.",
            Category::DataSchema,
        ),
        (
            "ObjectDisposedException",
            "Cannot access a disposed object.",
            Category::Platform,
        ),
    ] {
        let found = of(Adf, Some("2200"), &inner(class, says));
        assert_eq!(found.category, category, "{class}: {}", found.rule);
        assert!(
            !found
                .recommendations
                .iter()
                .any(|step| step.contains("named line")),
            "{:?}",
            found.recommendations
        );
        quiet(&found, class);
    }
}

#[test]
fn a_number_that_errors_share_does_not_beat_the_message() {
    let ready = of(
        Adf,
        Some("3202"),
        "Jobs is not fully initialized yet. Please retry later.",
    );
    assert_eq!(
        (ready.category, ready.action),
        (Category::Platform, Action::RetryPipeline)
    );
    for text in [
        "Hit unexpected exception, please retry.",
        "The notebook activity could not be submitted.",
        "Library install canceled for this session.",
    ] {
        for code in ["2010", "3202"] {
            let found = of(Adf, Some(code), text);
            assert!(
                !found.root_cause.contains("is offline")
                    && !found.root_cause.contains("hourly limit"),
                "{code} {text}: {}",
                found.root_cause
            );
        }
    }
    assert_eq!(
        of(Adf, Some("2010"), "").error_type,
        "SelfHostedIROffline",
        "without a text the number is all there is"
    );
}

#[test]
fn boilerplate_and_grammar_are_no_facts() {
    for text in [
        "Databricks execution failed with error state: Terminated. For more details please check the run page url: https://adb-1.1.azuredatabricks.net/?o=0#job/51/run/99.",
        "Databricks execution failed with error state: InternalError. For more details please check the run page url: https://adb-1.1.azuredatabricks.net/?o=0#job/51/run/99.",
    ] {
        let found = of(Adf, Some("3204"), text);
        assert!(
            !found.root_cause.contains("For more details") && found.root_cause.contains("99"),
            "{}",
            found.root_cause
        );
        assert_ne!(found.category, Category::Configuration);
    }
    for (text, never) in [
        (
            "Received an invalid column length from the bcp client for colid 7.",
            "`length`",
        ),
        (
            "Invalid column mapping provided to copy activity",
            "`mapping`",
        ),
        (
            "The column count of the file does not fit the table",
            "`count`",
        ),
        ("Invalid column delimiter in row 3", "`delimiter`"),
    ] {
        let found = of(Adf, Some("2200"), text);
        assert!(!found.root_cause.contains(never), "{}", found.root_cause);
    }
}

#[test]
fn a_status_in_words_is_that_status() {
    for text in [
        "Requesting response from path Statements failed with status code Unauthorized and message .",
        "The remote server answered: Unauthorized",
        "Response status code: 'Unauthorized'. More details: token",
        "GET https://api.example.com/v1 returned 401 Unauthorized",
    ] {
        assert_eq!(
            of(Adf, Some("2200"), text).category,
            Category::Authentication,
            "{text}"
        );
    }
    for text in [
        "The user is unauthorized to access this table",
        "status code Forbidden",
        "You are not authorized to read it",
    ] {
        assert_eq!(
            of(Adf, None, text).category,
            Category::Authorization,
            "{text}"
        );
    }
}

/// Remote runs: apache/airflow's operators for dbt Cloud, Synapse, ADF.
#[test]
fn a_remote_run_is_called_by_its_platform() {
    for (text, says, never) in [
        (
            "airflow.providers.dbt.cloud.hooks.dbt.DbtCloudJobRunException: Job run 70471 has failed or has been cancelled.",
            ["dbt Cloud", "70471"],
            "ADF",
        ),
        (
            "AzureDataFactoryPipelineRunException: Pipeline run 389780b0-d815-11ec-9848-4eb583b4c754 has failed or has been cancelled.",
            ["ipeline run", "389780b0"],
            "dbt",
        ),
        (
            "Databricks execution failed, see /run/4711 for details",
            ["Databricks", "4711"],
            "ADF",
        ),
    ] {
        let found = of(Airflow, None, text);
        assert!(
            says.iter().all(|fact| found.root_cause.contains(fact)),
            "{}",
            found.root_cause
        );
        assert!(!found.root_cause.contains(never), "{}", found.root_cause);
        quiet(&found, text);
    }
}

#[test]
fn codes_and_words_have_the_right_class() {
    for (source, text, category) in [
        (
            Adf,
            "Spark job failed: {\"errorMessage\":\"DF-DRAFT_001 at Source 'orders'(Line 46/Col 0): Unresolved specification\"}",
            Category::Configuration,
        ),
        (
            Adf,
            "Package execution failed. Output: {\"OperationErrorMessages\": \"Failed to start Named pipe proxy\"}",
            Category::Configuration,
        ),
        (
            Adf,
            "ADO NET Source has failed to acquire the connection: \"Could not create a managed connection manager.\"",
            Category::Dependency,
        ),
        (
            Databricks,
            "cannot create cluster: invalid character '<' looking for beginning of value",
            Category::Configuration,
        ),
        (
            Databricks,
            "Unexpected token '<', \"<!doctype \"... is not valid JSON",
            Category::Configuration,
        ),
        (
            Databricks,
            "abc is not able to transition from TERMINATING to RUNNING: Cluster terminated by INACTIVITY",
            Category::Platform,
        ),
        (
            Airflow,
            "Processor for /opt/airflow/dags/x.py with PID 9 has timed out, killing it.",
            Category::Timeout,
        ),
    ] {
        let found = of(source, None, text);
        assert_eq!(found.category, category, "{text}: {}", found.rule);
        quiet(&found, text);
    }
}

/// The sentence is true for the state that the message names.
#[test]
fn a_state_is_the_one_that_the_message_names() {
    for (source, text, says, never) in [
        (
            Adf,
            "The cluster is in Pending state, not available to receive jobs. Please fix the cluster or retry later.",
            "Pending",
            "terminated",
        ),
        (
            Adf,
            "The cluster is in Terminated state, not available to receive jobs. Please fix the cluster or retry later.",
            "Terminated",
            "Pending",
        ),
        (
            Databricks,
            "Cluster 0727-1 is in unexpected state Restarting.",
            "Restarting",
            "Terminated",
        ),
        (
            Airflow,
            "Executor reports task instance finished (success) although the task says it's queued. Was the task killed externally?",
            "success",
            "before it ran",
        ),
        (
            Airflow,
            "State of this instance has been externally set to removed. Terminating instance.",
            "removed",
            "success",
        ),
        (Airflow, "Pipeline run 38 has InProgress.", "", "failed"),
    ] {
        let code = text.starts_with("The cluster").then_some("3203");
        let found = of(source, code, text);
        assert!(
            found.root_cause.contains(says),
            "{text}: {}",
            found.root_cause
        );
        let claims = found.root_cause.contains(never) && !text.contains(never);
        assert!(!claims, "{text}: {}", found.root_cause);
    }
}

#[test]
fn nobody_is_sent_to_a_password_that_is_not_used() {
    for text in [
        "Login failed for user '<token-identified principal>'.",
        "Login failed for managed identity 'adf-prod'",
        "snowflake.connector.errors.DatabaseError: 250001 (08001): JWT token is invalid",
        "Authentication failed for user etl: the certificate was refused",
    ] {
        let found = of(Adf, None, text);
        assert_eq!(
            found.category,
            Category::Authentication,
            "{text}: {}",
            found.rule
        );
        assert!(
            !found
                .recommendations
                .concat()
                .to_lowercase()
                .contains("password"),
            "{text}: {:?}",
            found.recommendations
        );
        assert!((2..=4).contains(&found.recommendations.len()));
    }
    let used = of(
        Airflow,
        None,
        "FATAL: password authentication failed for user \"etl\"",
    );
    assert!(used.recommendations.concat().contains("password"));
}

#[test]
fn names_in_vendors_sentences_and_paths_are_no_errors() {
    for (source, text, category, fact) in [
        (
            Adf,
            "Operation on target Check gateway timeout failed: KeyError: 'country'",
            Category::Code,
            "'country'",
        ),
        (
            Adf,
            "Operation on target Connection refused retry failed: Operation on target 503 handler failed: ValueError: bad row",
            Category::Code,
            "bad row",
        ),
        (
            Airflow,
            "ValueError: /data/rate limit exceeded report/2026.csv is odd",
            Category::Code,
            "ValueError",
        ),
        (
            Databricks,
            "Task Deadlock report failed with message: ModuleNotFoundError: No module named 'x'",
            Category::Dependency,
            "`x`",
        ),
        (
            Airflow,
            "KeyError: 'connection timed out'",
            Category::Code,
            "KeyError",
        ),
    ] {
        let found = of(source, None, text);
        assert_eq!(found.category, category, "{text}: {}", found.rule);
        assert!(found.root_cause.contains(fact), "{}", found.root_cause);
        quiet(&found, text);
    }
}

#[test]
fn records_are_not_read_and_what_stands_beside_never_acts() {
    let piece = |voice: Voice, text: &str| Piece {
        id: "e1".to_owned(),
        text: text.to_owned(),
        passages: vec![Passage {
            voice,
            start: 0,
            end: text.len(),
        }],
    };
    let with = |message: &str, voice: Voice| {
        let evidence = vec![piece(
            voice,
            "java.net.SocketTimeoutException: Read timed out",
        )];
        diagnose(&Case {
            evidence,
            ..Case::new(Airflow, None, message)
        })
    };
    let wrapper = "Bash command failed. The command returned a non-zero exit code 1.";
    assert_eq!(
        with(wrapper, Voice::Record).category,
        Category::Code,
        "a record says nothing"
    );
    let beside = with(wrapper, Voice::Beside);
    assert_eq!(beside.category, Category::Timeout, "{}", beside.rule);
    quiet(&beside, "beside");
    assert_eq!(with("KeyError: 'x'", Voice::Log).category, Category::Code);
}

/// `AIOPS_RCA_CASES` sets how many.
fn cases() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a flag of this test")]
    let cases = std::env::var("AIOPS_RCA_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(200)
}

static PHRASES: LazyLock<Vec<String>> = LazyLock::new(|| {
    // Nobody quotes a name that holds quotes, and a name of one or two letters is no name.
    let named = |phrase: String| phrase.replace(['\'', '"', '`'], "").trim().to_owned();
    let phrases = Catalog::get().phrases().into_iter().map(named);
    phrases.filter(|name| name.len() > 2).collect()
});

fn phrase() -> impl Strategy<Value = String> {
    (0..PHRASES.len()).prop_map(|number| PHRASES[number].clone())
}

fn error() -> impl Strategy<Value = (Source, Option<&'static str>, &'static str)> {
    prop::sample::select(vec![
        (Adf, None, "KeyError: 'country'"),
        (
            Adf,
            Some("2200"),
            "dq check failed: 12 rows without country",
        ),
        (
            Adf,
            None,
            "ErrorCode=SqlOperationFailed,'Type=System.Data.SqlClient.SqlException,Message=Transaction was deadlocked and has been chosen as the deadlock victim.,SqlErrorNumber=1205'",
        ),
        (
            Airflow,
            None,
            "pandera.errors.SchemaError: column 'amount' not in dataframe",
        ),
        (
            Airflow,
            None,
            "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.example.com', port=443): Connection refused",
        ),
        (
            Databricks,
            Some("CLOUD_PROVIDER_RESOURCE_STOCKOUT"),
            "The VM size is not available now",
        ),
    ])
}

/// What must not change; the sentence may name the thing.
fn verdict(found: &Diagnosis) -> (Category, String, bool, Action, u32) {
    let percent = format!("{:.0}", found.confidence * 100.0).parse().unwrap();
    (
        found.category,
        found.error_type.clone(),
        found.remediable,
        found.action,
        percent,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_name_changes_neither_diagnosis_nor_decision(
        name in phrase(), (source, code, error) in error(),
        field in prop::sample::select(vec!["pipeline", "activity", "job_name", "notebook_path", "table", "dag_id", "container", "task_key"]),
        form in prop::sample::select(vec!["{e}", "{e}\npipeline: {n}", "Operation on target {n} failed: {e}", "Pipeline '{n}' failed: {e}",
            "Error in \"{n}\": {e}", "{e} (table `{n}`)", "in notebook /Repos/prod/{n}/Load: {e}", "{n}: {e}", "ERROR - {n}: {e}", "[{n}] {e}",
            "Activity {n} failed because an inner activity failed; Inner activity name: {n}, Error: {e}", "Task {n} failed with message: {e}",
            "{\"pipelineName\":\"{n}\",\"error\":\"{e}\"}", "dag_id={n}, run_id=x: {e}", "activity={n} run=r1 {e}", "Container {n}: {e}",
            "Activity {n} of pipeline p: {e}", "{e} at Source '{n}'", "{e}. Pipeline: {n}."]),
    ) {
        // Then "name: the rest" and the error are one text: nobody can tell them apart.
        prop_assume!(!error.to_lowercase().starts_with(&name.to_lowercase()));
        let with = |name: &str| {
            let text = form.replace("{n}", name).replace("{e}", error);
            let mut case = case(source, code, &text);
            case.context.insert(field.to_owned(), name.to_owned());
            verdict(&diagnose(&case))
        };
        prop_assert_eq!(with(&name), with("pl_orders_daily"), "{} {}", field, form);
        // An alert rule, a job: known to the case, not to the text.
        let mut case = case(source, code, error);
        let plain = verdict(&diagnose(&case));
        case.names.push(name);
        prop_assert_eq!(verdict(&diagnose(&case)), plain);
    }

    #[test]
    fn a_handled_line_before_the_end_changes_no_decision(
        phrase in phrase(),
        level in prop::sample::select(vec![
            "[2026-11-29T02:01:20.1+0000] {client.py:88} WARNING - {p}", "[2026-11-29T02:01:20.1+0000] {client.py:88} INFO - {p}",
            "25/07/27 09:15:31 WARN Client: {p}", "WARNING:root:{p}", "2026-07-27 09:15:31,123 - app - INFO - {p}",
            "[2026-11-29T02:01:20.1+0000] {client.py:88} ERROR - {p}, retrying in 5 s", "[warn] {p}", "2026-11-29T02:01:20Z DEBUG {p}",
            "[2026-11-29T02:01:20.1+0000] {hook.py:88} ERROR - {p}\n[2026-11-29T02:01:21.1+0000] {hook.py:88} INFO - attempt 2 succeeded",
            "{\"timestamp\":\"2026-11-29T02:01:20Z\",\"level\":\"warning\",\"event\":\"{p}\",\"logger\":\"client\"}",
            "2026-11-29 02:01:20 WARN  o.a.h.Client - {p}",
        ]),
        (end, acts) in prop::sample::select(vec![("KeyError: 'country'", false), ("psycopg2.OperationalError: could not connect to server: Connection refused", true)]),
    ) {
        let log = |noise: &str| {
            format!("{noise}\n[2026-11-29T02:10:00.1+0000] {{t.py:1}} ERROR - Task failed with exception\nTraceback (most recent call last):\n  File \"a.py\", line 1\n{end}")
        };
        let quiet = of(Airflow, None, &log("[2026-11-29T02:01:20.1+0000] {client.py:88} INFO - fine"));
        let noisy = of(Airflow, None, &log(&level.replace("{p}", &phrase)));
        prop_assert_eq!(quiet.remediable, acts);
        prop_assert_eq!(verdict(&noisy), verdict(&quiet), "{}", noisy.rule);
    }
}
