//! Laws for any input.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aiops_rca::diagnosis::{Action, Case, Category, Piece, diagnose};
use aiops_rca::failure::Source;
use proptest::prelude::*;

use super::{case, of};

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        Just(Source::Adf),
        Just(Source::Databricks),
        Just(Source::Airflow)
    ]
}

/// Text that is likely to hit the readers of entities: pieces of real messages mixed with anything.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "SqlErrorNumber=",
            "'",
            "\"",
            "`",
            "column name '",
            "ErrorCode=",
            "AADSTS",
            "ORA-",
            ".dfs.core.windows.net",
            "https://",
            "status code ",
            "\\n",
            "\n",
            "Caused by: ",
            "Exception",
            "\u{202e}",
            "\u{0}",
            "é",
            "table `a`.`",
            "[",
            "<",
            "\\'",
            "exit code ",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_panics_and_every_quote_is_verbatim(source in source(), code in prop::option::of(hostile()), message in hostile(), evidence in hostile()) {
        let context = BTreeMap::from([("state_message".to_owned(), message.clone())]);
        let piece = Piece { id: "e1".into(), text: evidence.clone(), passages: Vec::new() };
        let case = Case { context, evidence: vec![piece], ..Case::new(source, code.as_deref(), &message) };
        let found = diagnose(&case);
        for quote in &found.evidence {
            let text = match quote.source.as_str() {
                "message" | "context.state_message" => &message,
                "error_code" => code.as_ref().unwrap(),
                "e1" => &evidence,
                other => panic!("{other}"),
            };
            prop_assert!(text.contains(&quote.quote), "{:?}", quote);
        }
        prop_assert!((0.0..=1.0).contains(&found.confidence));
        prop_assert!((2..=4).contains(&found.recommendations.len()));
        prop_assert!(!found.root_cause.trim().is_empty());
        prop_assert_eq!(&found, &diagnose(&case));
    }

    #[test]
    fn what_repetition_cannot_heal_never_acts(source in source(), code in prop::option::of("[A-Za-z_]{1,30}"), message in hostile()) {
        let found = of(source, code.as_deref(), &message);
        let acts = !matches!(found.action, Action::None | Action::CheckUpstream | Action::ScaleResources);
        prop_assert_eq!(acts, found.remediable);
        let hopeless = matches!(found.category, Category::Authentication | Category::Authorization | Category::Configuration
            | Category::DataSchema | Category::DataQuality | Category::MissingData | Category::Code | Category::Cancelled | Category::Undetermined);
        prop_assert!(!(hopeless && found.remediable), "{}", found.rule);
    }

    #[test]
    fn fingerprints_ignore_ids_times_and_numbers(
        template in prop::sample::select(vec![
            "Error at {t}: table dbo.Orders in run {u} lacks 4 rows; worker-{n}",
            "[{t}] FileNotFoundError: /lake/{d}/orders.csv (pid {n}, request {u})",
            "Login failed for user 'etl' (ClientConnectionId:{u}, attempt {n})",
        ]),
        uuids in (any::<[u8; 16]>(), any::<[u8; 16]>()), numbers in (any::<u32>(), any::<u32>()), days in (1u8..28, 1u8..28),
    ) {
        let fill = |uuid: [u8; 16], number: u32, day: u8| {
            let uuid = uuid::Uuid::from_bytes(uuid).to_string();
            template.replace("{u}", &uuid).replace("{n}", &number.to_string())
                .replace("{t}", &format!("2025-03-{day:02}T10:00:{:02}Z", number % 60)).replace("{d}", &format!("2025/03/{day:02}"))
        };
        let a = of(Source::Airflow, None, &fill(uuids.0, numbers.0, days.0)).fingerprint;
        let b = of(Source::Airflow, None, &fill(uuids.1, numbers.1, days.1)).fingerprint;
        prop_assert_eq!(a, b);
    }
}

#[test]
fn the_worst_texts_take_linear_time() {
    // Anchors and first parts of patterns, over and over. Quadratic time over 512 KB would take minutes here.
    for unit in [
        "column '",
        "timed out ",
        "Pod … Pod ",
        "https://",
        "ErrorCode=Error: ",
        "host ",
        "'''''",
        "Exception",
        "Caused by: ",
    ] {
        let case = case(Source::Airflow, None, &unit.repeat(512 * 1024 / unit.len()));
        let start = Instant::now();
        let _ = diagnose(&case);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{unit}: {:?}",
            start.elapsed()
        );
    }
}
