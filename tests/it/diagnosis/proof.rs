//! What a sentence names stands in the proof, the proof is lines and not documents, and no word of the grammar is a name.

use aiops_rca::diagnosis::diagnose;
use aiops_rca::failure::Source::{self, Adf, Airflow, Databricks};

use super::{metrics::figures, of};

const FILES: [&str; 13] = [
    include_str!("../../eval/adf_connectors.jsonl"),
    include_str!("../../eval/adf_pipelines.jsonl"),
    include_str!("../../eval/airflow.jsonl"),
    include_str!("../../eval/common_systems.jsonl"),
    include_str!("../../eval/databricks.jsonl"),
    include_str!("../../eval/documented_formats.jsonl"),
    include_str!("../../eval/forums.jsonl"),
    include_str!("../../eval/mixed_a.jsonl"),
    include_str!("../../eval/mixed_b.jsonl"),
    include_str!("../../eval/other_systems.jsonl"),
    include_str!("../../eval/published.jsonl"),
    include_str!("../../eval/rare_systems.jsonl"),
    include_str!("../../eval/services.jsonl"),
];

#[test]
fn every_named_thing_stands_in_a_quote_and_quotes_are_lines() {
    let mut named = 0;
    for (labelled, case) in FILES.iter().flat_map(|file| figures::read(file).unwrap()) {
        let found = diagnose(&case);
        for (name, value) in &found.entities {
            named += 1;
            let quoted = found
                .evidence
                .iter()
                .any(|quote| quote.quote.contains(value.as_str()));
            assert!(
                quoted,
                "{}: {name} `{value}` stands in no quote of {:?}",
                labelled.id, found.evidence
            );
        }
        for quote in &found.evidence {
            // A sign may reach over a line's end.
            let lines = quote.quote.lines().count();
            assert!(lines <= 3, "{}: {:?}", labelled.id, quote.quote);
        }
    }
    assert!(named > 4000, "{named}");
}

/// Sentences that were false: (source, text, what must not be said).
#[test]
fn sentences_say_nothing_that_the_text_does_not() {
    let cases: [(Source, &str, &str); 7] = [
        (
            Adf,
            "Failure happened on 'Sink' side. ErrorCode=JavaInvocationException,Message=An error occurred when invoking java: \
             java.lang.OutOfMemoryError: Java heap space on integration runtime shir-01",
            "Spark",
        ),
        (
            Adf,
            "The value does not fit: the column length is 20, the data has 31 characters.",
            "`length`",
        ),
        (
            Databricks,
            "RESOURCE_DOES_NOT_EXIST: Job 887 does not exist.",
            "otebook",
        ),
        (
            Airflow,
            "FATAL: no pg_hba.conf entry for host \"10.1.2.3\", user \"loader\", database \"sales\", no encryption",
            "login of `10.1.2.3`",
        ),
        (
            Databricks,
            "org.apache.spark.sql.catalyst.util.UnknownFieldException: [UNKNOWN_FIELD_EXCEPTION.NEW_FIELDS_IN_FILE] Encountered \
             unknown fields during parsing: loyalty_tier",
            "notification",
        ),
        (
            Airflow,
            "psycopg2.errors.SyntaxError: unterminated quoted string at or near \"'x\"",
            "Python file",
        ),
        (
            Adf,
            "The cluster could not be reached because the table was not ready in time.",
            "`could`",
        ),
    ];
    for (source, text, wrong) in cases {
        let said = of(source, None, text).root_cause;
        assert!(!said.contains(wrong), "{text}\n{said}");
    }
}

/// The one name that the text gives stands in the sentence: (source, code, text, names).
#[test]
fn causes_name_the_thing() {
    let cases: [(Source, Option<&str>, &str, &[&str]); 10] = [
        (
            Adf,
            None,
            "Cannot open server 'sql-ledger' requested by the login. Client with IP address '20.40.60.80' is not allowed to access \
             the server. SqlErrorNumber=40615",
            &["sql-ledger", "20.40.60.80"],
        ),
        (
            Adf,
            None,
            "The SELECT permission was denied on the object 'Orders', database 'Sales', schema 'dbo'. SqlErrorNumber=229",
            &["SELECT", "Orders"],
        ),
        (
            Databricks,
            None,
            "Operation results in exceeding quota limits of Core. Maximum allowed: 350, Current in use: 348, Additional requested: 8.",
            &["350", "348"],
        ),
        (
            Airflow,
            None,
            "Failure in test not_null_orders_customer_id (models/schema.yml)\n  Got 12 results, configured to fail if != 0",
            &["not_null_orders_customer_id"],
        ),
        (
            Airflow,
            None,
            "requests.exceptions.HTTPError: 503 Server Error: Service Unavailable for url: https://ledger.contoso.com/v1/rows",
            &["ledger.contoso.com"],
        ),
        (
            Airflow,
            None,
            "AssertionError: expected 1200 rows, found 1187",
            &["1200", "1187"],
        ),
        (
            Adf,
            None,
            "ErrorCode=DelimitedTextMoreColumnsThanDefined,Message=Error found when processing 'Csv/Tsv Format Text' source \
             'orders_2024.csv' with row number 42: found more columns than expected column count: 9.",
            &["orders_2024.csv", "42"],
        ),
        (
            Databricks,
            None,
            "RESOURCE_DOES_NOT_EXIST: Job 887 does not exist.",
            &["887"],
        ),
        (
            Databricks,
            None,
            "User does not have USE SCHEMA on Schema 'prod.sales'.",
            &["USE SCHEMA", "prod.sales"],
        ),
        (
            Airflow,
            None,
            "jinja2.exceptions.UndefinedError: 'dict object' has no attribute 'bucket_name'",
            &["bucket_name"],
        ),
    ];
    for (source, code, text, names) in cases {
        let said = of(source, code, text).root_cause;
        for name in names {
            assert!(said.contains(name), "{name} is missing\n{text}\n{said}");
        }
    }
}

#[test]
fn the_guides_table_holds_in_any_wording() {
    for text in [
        "API error while reading the page",
        "The API returned an error.",
        "The API of the warehouse answered with an error",
        "timeout",
        "The task ended: timeout.",
    ] {
        let found = of(Airflow, None, text);
        assert!(found.remediable, "{text}: {found:#?}");
    }
    // Facts forbid.
    for text in [
        "API error: 401 Unauthorized, the token is invalid",
        "API error: column customer_id does not exist in table orders",
    ] {
        let found = of(Airflow, None, text);
        assert!(!found.remediable, "{text}: {found:#?}");
    }
}

#[test]
fn a_request_for_more_than_there_ever_is_does_not_act() {
    let asks = |cores: u32| {
        let text = format!(
            "AVAILABLE_COMPUTE_CAPACITY_EXCEEDED: Your job requested {cores} vcores. However, the pool only has 0 vcores available \
             out of quota of 12 vcores."
        );
        of(Adf, None, &text)
    };
    assert!(asks(12).remediable);
    assert!(!asks(16).remediable);
}
