//! What every backend promises. Each promise is one function, run on each backend as a test of its own.

use std::time::Duration;

use aiops_rca::storage::{
    DOCUMENT_CAP, ETag, Inserted, MESSAGE_CAP, Message, Page, Storage, Swapped, WRITES_CAP, Write,
};
use chrono::{TimeDelta, Utc};

use crate::support;

macro_rules! contract {
    ($($promise:ident),+ $(,)?) => {
        mod on_embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() { super::$promise(super::prepared(super::support::embedded()).await).await; })+
        }
        mod on_azurite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() { super::$promise(super::prepared(super::support::on_azurite()).await).await; })+
        }
    };
}

contract!(
    only_the_first_insert_creates,
    only_the_current_version_is_swapped,
    upserts_write_whatever_was_there,
    deletes_tell_whether_they_did,
    transactions_are_whole_or_nothing,
    concurrent_transactions_lose_nothing,
    transactions_are_capped,
    versions_are_never_reused,
    scans_are_ordered_and_bounded,
    scans_go_on_where_they_stopped,
    big_documents_come_back,
    hostile_keys_are_only_keys,
    hostile_keys_keep_their_order,
    concurrent_swaps_lose_nothing,
    one_of_many_inserts_wins,
    messages_are_kept_and_counted,
    delayed_messages_wait,
    messages_are_capped,
    messages_are_not_touched,
    old_receipts_are_worthless,
    hidden_messages_come_back,
    many_receivers_share_a_queue,
    what_is_missing_is_transient,
    preparing_twice_keeps_what_is_there,
);

const T: &str = "tickets";
const Q: &str = "failures";
const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_mins(1);

async fn prepared(storage: Storage) -> Storage {
    storage
        .prepare(&[T, "index"], &[Q, "failures-poison"])
        .await
        .expect("prepared");
    storage
}

async fn insert(storage: &Storage, partition: &str, row: &str, document: &str) -> ETag {
    match storage
        .insert(T, partition, row, document)
        .await
        .expect("inserted")
    {
        Inserted::Created(etag) => etag,
        Inserted::Exists => panic!("{partition:?} {row:?} was there"),
    }
}

async fn document(storage: &Storage, partition: &str, row: &str) -> Option<String> {
    storage
        .get(T, partition, row)
        .await
        .expect("read")
        .map(|entity| entity.document)
}

async fn receive_one(storage: &Storage, hidden: Duration) -> Option<Message> {
    let mut messages = storage.receive(Q, 1, hidden).await.expect("received");
    assert!(messages.len() <= 1);
    messages.pop()
}

fn rows(page: &Page) -> Vec<&str> {
    page.entities
        .iter()
        .map(|entity| entity.row.as_str())
        .collect()
}

async fn only_the_first_insert_creates(storage: Storage) {
    assert_eq!(storage.get(T, "p", "r").await.unwrap(), None);
    let etag = insert(&storage, "p", "r", r#"{"n":1}"#).await;
    assert_eq!(
        storage.insert(T, "p", "r", r#"{"n":1}"#).await.unwrap(),
        Inserted::Exists
    );
    let found = storage.get(T, "p", "r").await.unwrap().expect("there");
    assert_eq!(
        (
            found.partition.as_str(),
            found.row.as_str(),
            found.document.as_str()
        ),
        ("p", "r", r#"{"n":1}"#)
    );
    assert!(
        matches!(
            storage.swap(T, "p", "r", &etag, "2").await.unwrap(),
            Swapped::Done(_)
        ),
        "the insert's version is the current one"
    );
    assert_eq!(
        storage.get("index", "p", "r").await.unwrap(),
        None,
        "tables are apart"
    );
    assert_eq!(
        storage.get(T, "q", "r").await.unwrap(),
        None,
        "partitions are apart"
    );
}

async fn only_the_current_version_is_swapped(storage: Storage) {
    let first = insert(&storage, "p", "r", "1").await;
    let Swapped::Done(second) = storage.swap(T, "p", "r", &first, "2").await.unwrap() else {
        panic!("current")
    };
    assert_ne!(first, second);
    assert_eq!(
        storage.swap(T, "p", "r", &first, "3").await.unwrap(),
        Swapped::Conflict
    );
    assert_eq!(document(&storage, "p", "r").await.as_deref(), Some("2"));
    let read = storage.get(T, "p", "r").await.unwrap().expect("there").etag;
    assert!(
        matches!(
            storage.swap(T, "p", "r", &read, "4").await.unwrap(),
            Swapped::Done(_)
        ),
        "a read version is good"
    );
    assert_eq!(
        storage.swap(T, "p", "absent", &second, "5").await.unwrap(),
        Swapped::Conflict
    );
    assert_eq!(
        storage
            .swap(T, "p", "r", &ETag("nonsense".into()), "6")
            .await
            .unwrap(),
        Swapped::Conflict
    );
}

async fn upserts_write_whatever_was_there(storage: Storage) {
    storage
        .upsert(T, "p", "r", &"long ".repeat(20_000))
        .await
        .unwrap();
    let before = storage.get(T, "p", "r").await.unwrap().expect("there");
    storage.upsert(T, "p", "r", "short").await.unwrap();
    assert_eq!(
        document(&storage, "p", "r").await.as_deref(),
        Some("short"),
        "no piece of the longer one is left"
    );
    assert_eq!(
        storage.swap(T, "p", "r", &before.etag, "x").await.unwrap(),
        Swapped::Conflict
    );
}

async fn deletes_tell_whether_they_did(storage: Storage) {
    assert!(!storage.delete(T, "p", "r", None).await.unwrap());
    let old = insert(&storage, "p", "r", "1").await;
    let Swapped::Done(new) = storage.swap(T, "p", "r", &old, "2").await.unwrap() else {
        panic!("current")
    };
    assert!(!storage.delete(T, "p", "r", Some(&old)).await.unwrap());
    assert!(storage.delete(T, "p", "r", Some(&new)).await.unwrap());
    assert_eq!(document(&storage, "p", "r").await, None);
    insert(&storage, "p", "r", "3").await;
    assert!(storage.delete(T, "p", "r", None).await.unwrap());
}

async fn transactions_are_whole_or_nothing(storage: Storage) {
    let commit = async |writes: &[Write<'_>]| storage.commit(T, "p", writes).await.unwrap();
    insert(&storage, "p", "old", "1").await;
    let Swapped::Done(etag) = commit(&[
        Write::Insert("o'a/b", r#"{"text":"é\n<&>"}"#),
        Write::Upsert("b", "2"),
        Write::Upsert("old", "3"),
    ])
    .await
    else {
        panic!("nothing is in the way")
    };
    let documents = async || {
        let page = storage.scan(T, "p", "", "", 10, None).await.unwrap();
        let entities = page.entities.into_iter();
        entities.map(|e| (e.row, e.document)).collect::<Vec<_>>()
    };
    let before = documents().await;
    assert_eq!(
        before,
        [("b", "2"), ("o'a/b", r#"{"text":"é\n<&>"}"#), ("old", "3")]
            .map(|(row, document)| (row.to_owned(), document.to_owned()))
    );
    // Each kind of write can be what is in the way, in any place.
    let stale = ETag("W/\"datetime'2020-01-01T00%3A00%3A00.0000000Z'\"".to_owned());
    for wrong in [
        Write::Insert("b", "9"),
        Write::Swap("b", &stale, "9"),
        Write::Swap("gone", &etag, "9"),
        Write::Delete("gone"),
    ] {
        for writes in [
            [Write::Upsert("new", "8"), Write::Delete("old"), wrong],
            [wrong, Write::Delete("old"), Write::Upsert("new", "8")],
        ] {
            assert_eq!(commit(&writes).await, Swapped::Conflict, "{wrong:?}");
            assert_eq!(documents().await, before, "{wrong:?}");
        }
    }
    // The version that is answered is that of the first row.
    let Swapped::Done(next) = commit(&[
        Write::Swap("o'a/b", &etag, "4"),
        Write::Delete("old"),
        Write::Insert("c", "5"),
    ])
    .await
    else {
        panic!("the version is the current one")
    };
    assert_eq!(
        commit(&[Write::Swap("o'a/b", &etag, "6")]).await,
        Swapped::Conflict
    );
    assert!(matches!(
        storage.swap(T, "p", "o'a/b", &next, "7").await.unwrap(),
        Swapped::Done(_)
    ));
    assert_eq!(document(&storage, "p", "old").await, None);
    assert_eq!(document(&storage, "p", "c").await.as_deref(), Some("5"));
}

async fn concurrent_transactions_lose_nothing(storage: Storage) {
    insert(&storage, "p", "sum", "0").await;
    let tasks = (0..8).map(|task| {
        let storage = storage.clone();
        tokio::spawn(async move {
            for number in 0..10 {
                loop {
                    let sum = storage.get(T, "p", "sum").await.unwrap().unwrap();
                    let next = (sum.document.parse::<u32>().unwrap() + 1).to_string();
                    let row = format!("{task}-{number}");
                    let writes = [
                        Write::Insert(&row, "1"),
                        Write::Swap("sum", &sum.etag, &next),
                    ];
                    if storage.commit(T, "p", &writes).await.unwrap() != Swapped::Conflict {
                        break;
                    }
                }
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(document(&storage, "p", "sum").await.as_deref(), Some("80"));
    let page = storage.scan(T, "p", "", "", 200, None).await.unwrap();
    assert_eq!(page.entities.len(), 81);
}

async fn transactions_are_capped(storage: Storage) {
    let rows: Vec<String> = (0..=WRITES_CAP)
        .map(|number| format!("{number:03}"))
        .collect();
    let writes: Vec<Write<'_>> = rows.iter().map(|row| Write::Insert(row, "{}")).collect();
    let most = writes.get(..WRITES_CAP).unwrap();
    assert!(matches!(
        storage.commit(T, "p", most).await.unwrap(),
        Swapped::Done(_)
    ));
    for bad in [&writes[..], &[]] {
        assert!(
            !storage
                .commit(T, "q", bad)
                .await
                .unwrap_err()
                .is_transient()
        );
    }
    let long = "x".repeat(DOCUMENT_CAP + 1);
    let fault = storage.commit(T, "q", &[Write::Upsert("r", &long)]).await;
    assert!(!fault.unwrap_err().is_transient());
    assert_eq!(document(&storage, "q", "000").await, None);
}

async fn versions_are_never_reused(storage: Storage) {
    let old = insert(&storage, "p", "r", "1").await;
    assert!(storage.delete(T, "p", "r", None).await.unwrap());
    let new = insert(&storage, "p", "r", "1").await;
    assert_ne!(old, new);
    assert_eq!(
        storage.swap(T, "p", "r", &old, "2").await.unwrap(),
        Swapped::Conflict
    );
}

async fn scans_are_ordered_and_bounded(storage: Storage) {
    for row in ["b", "a", "C", "a.1", "a-1", "a_1", "9", "aa"] {
        insert(&storage, "p", row, row).await;
    }
    insert(&storage, "q", "a", "another partition").await;
    let all = storage.scan(T, "p", "", "", 100, None).await.unwrap();
    assert_eq!(rows(&all), ["9", "C", "a", "a-1", "a.1", "a_1", "aa", "b"]);
    assert_eq!(all.next, None);
    assert!(
        all.entities
            .iter()
            .all(|entity| entity.document == entity.row && entity.partition == "p")
    );
    let some = storage.scan(T, "p", "a", "aa", 100, None).await.unwrap();
    assert_eq!(
        rows(&some),
        ["a", "a-1", "a.1", "a_1"],
        "from is in, to is out"
    );
    assert_eq!(
        rows(&storage.scan(T, "p", "aa", "", 100, None).await.unwrap()),
        ["aa", "b"]
    );
    assert_eq!(
        rows(&storage.scan(T, "nobody", "", "", 100, None).await.unwrap()),
        [""; 0]
    );
    let listed = some.entities.first().expect("a row");
    assert!(
        matches!(
            storage.swap(T, "p", "a", &listed.etag, "2").await.unwrap(),
            Swapped::Done(_)
        ),
        "a listed version is good"
    );
}

async fn scans_go_on_where_they_stopped(storage: Storage) {
    let names: Vec<String> = (0..23).map(|n| format!("r{n:02}/é")).collect();
    for name in &names {
        insert(&storage, "p'#", name, "{}").await;
    }
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = storage
            .scan(T, "p'#", "r01", "r22", 5, after.as_ref())
            .await
            .unwrap();
        assert!(page.entities.len() <= 5);
        seen.extend(page.entities.into_iter().map(|entity| entity.row));
        pages += 1;
        match page.next {
            Some(next) => {
                assert!(
                    next.0
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
                    "text-safe: {next:?}"
                );
                let stored = serde_json::to_string(&next).unwrap();
                after = Some(serde_json::from_str(&stored).unwrap());
            }
            None => break,
        }
    }
    assert_eq!(seen, names.get(1..22).unwrap());
    assert!(pages >= 5);
    let nonsense = aiops_rca::storage::Continuation("***".into());
    assert!(
        !storage
            .scan(T, "p'#", "", "", 5, Some(&nonsense))
            .await
            .unwrap_err()
            .is_transient()
    );
}

async fn big_documents_come_back(storage: Storage) {
    for (row, text) in [
        ("empty", String::new()),
        ("pieces", "0123456789".repeat(6_100)),
        ("wide", "é😱\u{0}\u{1f}\r\n\"\\".repeat(20_000)),
        ("biggest", "x".repeat(DOCUMENT_CAP)),
        ("biggest wide", "€".repeat(DOCUMENT_CAP / 3)),
    ] {
        let etag = insert(&storage, "p", row, &text).await;
        let back = document(&storage, "p", row).await.unwrap();
        let differ = back
            .char_indices()
            .zip(text.chars())
            .find(|((_, b), t)| b != t);
        assert!(
            back == text,
            "{row}: {} bytes became {}, first difference {differ:?}",
            text.len(),
            back.len()
        );
        assert!(matches!(
            storage.swap(T, "p", row, &etag, "1").await.unwrap(),
            Swapped::Done(_)
        ));
        assert_eq!(
            document(&storage, "p", row).await.as_deref(),
            Some("1"),
            "{row}"
        );
    }
    let fault = storage
        .insert(T, "p", "too big", &"x".repeat(DOCUMENT_CAP + 1))
        .await
        .unwrap_err();
    assert!(!fault.is_transient(), "{fault}");
}

const HOSTILE: [&str; 22] = [
    "",
    " ",
    "o'brien",
    "''",
    "a/b",
    "a\\b",
    "a#b",
    "a?b=c&d",
    "%27",
    "%",
    "+",
    "a b",
    "(1),RowKey='x'",
    "' or 1 eq 1 or '",
    "é😱",
    "\u{0}",
    "\n\t\u{1f}\u{7f}\u{85}",
    "..",
    ".",
    "\u{202e}x",
    "~!@$^*;:[]{}|`\"<>",
    "\u{ffff}\u{10ffff}",
];

async fn hostile_keys_are_only_keys(storage: Storage) {
    for (number, key) in HOSTILE.iter().enumerate() {
        insert(&storage, key, key, &number.to_string()).await;
        assert_eq!(
            storage.insert(T, key, key, "again").await.unwrap(),
            Inserted::Exists,
            "{key:?}"
        );
    }
    for (number, key) in HOSTILE.iter().enumerate() {
        let found = storage.get(T, key, key).await.unwrap().expect("there");
        assert_eq!(
            (found.partition.as_str(), found.row.as_str(), found.document),
            (*key, *key, number.to_string())
        );
        assert_eq!(
            rows(&storage.scan(T, key, "", "", 10, None).await.unwrap()),
            [*key]
        );
        assert!(
            matches!(
                storage
                    .swap(T, key, key, &found.etag, "swapped")
                    .await
                    .unwrap(),
                Swapped::Done(_)
            ),
            "{key:?}"
        );
        storage.upsert(T, key, key, "upserted").await.unwrap();
        assert!(storage.delete(T, key, key, None).await.unwrap(), "{key:?}");
        assert_eq!(document(&storage, key, key).await, None);
    }
    let fault = storage.get(T, "p", &"k".repeat(600)).await.unwrap_err();
    assert!(!fault.is_transient(), "{fault}");
}

async fn hostile_keys_keep_their_order(storage: Storage) {
    for key in HOSTILE {
        insert(&storage, "p", key, "{}").await;
    }
    let mut sorted = HOSTILE;
    sorted.sort_unstable_by_key(|key| key.as_bytes());
    assert_eq!(
        rows(&storage.scan(T, "p", "", "", 100, None).await.unwrap()),
        sorted
    );
    for bound in HOSTILE.iter().filter(|bound| !bound.is_empty()) {
        let below = sorted.iter().filter(|key| key < &bound).count();
        assert_eq!(
            rows(&storage.scan(T, "p", "", bound, 100, None).await.unwrap()),
            sorted.get(..below).unwrap(),
            "< {bound:?}"
        );
        assert_eq!(
            rows(&storage.scan(T, "p", bound, "", 100, None).await.unwrap()),
            sorted.get(below..).unwrap(),
            ">= {bound:?}"
        );
    }
}

async fn concurrent_swaps_lose_nothing(storage: Storage) {
    insert(&storage, "p", "counter", "0").await;
    let tasks = (0..20).map(|_| {
        let storage = storage.clone();
        tokio::spawn(async move {
            loop {
                let read = storage
                    .get(T, "p", "counter")
                    .await
                    .unwrap()
                    .expect("there");
                let next = (read.document.parse::<u32>().unwrap() + 1).to_string();
                if let Swapped::Done(_) = storage
                    .swap(T, "p", "counter", &read.etag, &next)
                    .await
                    .unwrap()
                {
                    break;
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(
        document(&storage, "p", "counter").await.as_deref(),
        Some("20")
    );
}

async fn one_of_many_inserts_wins(storage: Storage) {
    let tasks = (0..10).map(|number: u32| {
        let storage = storage.clone();
        tokio::spawn(async move {
            (
                number,
                storage
                    .insert(T, "p", "claim", &number.to_string())
                    .await
                    .unwrap(),
            )
        })
    });
    let mut winners = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        if let (number, Inserted::Created(_)) = task.await.unwrap() {
            winners.push(number.to_string());
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(
        document(&storage, "p", "claim").await.as_deref(),
        winners.first().map(String::as_str)
    );
}

async fn messages_are_kept_and_counted(storage: Storage) {
    assert_eq!(storage.depth(Q).await.unwrap(), 0);
    assert!(receive_one(&storage, LONG).await.is_none());
    let text = "{\"a\":\"é😱<&>\"}";
    storage.put(Q, text, NOW).await.unwrap();
    storage
        .put("failures-poison", "another queue", NOW)
        .await
        .unwrap();
    let message = receive_one(&storage, LONG).await.expect("visible");
    assert_eq!(message.text, text);
    assert_eq!(message.dequeue_count, 1);
    let now = Utc::now();
    assert!((now - message.inserted_at).abs() < TimeDelta::minutes(1));
    assert!(
        (message.expires_at - message.inserted_at - TimeDelta::days(7)).abs()
            < TimeDelta::seconds(2)
    );
    assert!((message.next_visible_at - now - TimeDelta::seconds(60)).abs() < TimeDelta::seconds(5));
    assert!(receive_one(&storage, LONG).await.is_none(), "hidden");
    assert_eq!(storage.depth(Q).await.unwrap(), 1, "hidden ones count");
    assert_eq!(
        storage.oldest_waiting(Q).await.unwrap(),
        None,
        "hidden ones do not wait"
    );
    assert!(storage.delete_message(Q, &message).await.unwrap());
    assert!(!storage.delete_message(Q, &message).await.unwrap());
    assert_eq!(storage.depth(Q).await.unwrap(), 0);
    for number in 0..3 {
        storage.put(Q, &number.to_string(), NOW).await.unwrap();
    }
    let oldest = storage.oldest_waiting(Q).await.unwrap().unwrap();
    assert!((Utc::now() - oldest).abs() < TimeDelta::minutes(1));
    let mut texts: Vec<_> = storage
        .receive(Q, 32, LONG)
        .await
        .unwrap()
        .into_iter()
        .map(|m| m.text)
        .collect();
    texts.sort();
    assert_eq!(texts, ["0", "1", "2"]);
}

async fn delayed_messages_wait(storage: Storage) {
    let put = std::time::Instant::now();
    storage
        .put(Q, "later", Duration::from_millis(1100))
        .await
        .unwrap();
    storage
        .put(Q, "much later", Duration::from_hours(30 * 24))
        .await
        .unwrap();
    assert_eq!(storage.depth(Q).await.unwrap(), 2);
    assert!(receive_one(&storage, LONG).await.is_none());
    let message = loop {
        match receive_one(&storage, LONG).await {
            Some(message) => break message,
            None if put.elapsed() > Duration::from_secs(10) => panic!("it never came"),
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    assert_eq!(message.text, "later");
    assert!(
        put.elapsed() >= Duration::from_secs(1),
        "{:?}",
        put.elapsed()
    );
}

async fn messages_are_capped(storage: Storage) {
    storage.put(Q, &"x".repeat(MESSAGE_CAP), NOW).await.unwrap();
    let fault = storage
        .put(Q, &"x".repeat(MESSAGE_CAP + 1), NOW)
        .await
        .unwrap_err();
    assert!(!fault.is_transient(), "{fault}");
    let message = receive_one(&storage, LONG).await.expect("visible");
    assert_eq!(message.text.len(), 64 * 1024);
}

async fn messages_are_not_touched(storage: Storage) {
    let text = "not base64: <b>&amp;\"é😱'</b> {}";
    storage.put(Q, text, NOW).await.unwrap();
    assert_eq!(
        receive_one(&storage, LONG).await.expect("visible").text,
        text
    );
    assert!(
        !storage
            .put(Q, "NUL \0", NOW)
            .await
            .unwrap_err()
            .is_transient()
    );
}

async fn old_receipts_are_worthless(storage: Storage) {
    storage.put(Q, "m", NOW).await.unwrap();
    let first = receive_one(&storage, LONG).await.expect("visible");
    let receipt = storage
        .hide_message(Q, &first, NOW)
        .await
        .unwrap()
        .expect("valid");
    assert_ne!(receipt, first.receipt);
    assert!(
        !storage.delete_message(Q, &first).await.unwrap(),
        "its receipt was replaced"
    );
    assert_eq!(storage.hide_message(Q, &first, LONG).await.unwrap(), None);
    let second = receive_one(&storage, LONG).await.expect("visible at once");
    assert_eq!(
        (
            second.id.as_str(),
            second.dequeue_count,
            second.text.as_str()
        ),
        (first.id.as_str(), 2, first.text.as_str())
    );
    let stale = Message { receipt, ..first };
    assert!(
        !storage.delete_message(Q, &stale).await.unwrap(),
        "somebody else received it"
    );
    assert_eq!(storage.depth(Q).await.unwrap(), 1);
    assert!(storage.delete_message(Q, &second).await.unwrap());
}

async fn hidden_messages_come_back(storage: Storage) {
    storage.put(Q, "m", NOW).await.unwrap();
    let mut first = receive_one(&storage, Duration::from_secs(1))
        .await
        .expect("visible");
    first.receipt = storage
        .hide_message(Q, &first, LONG)
        .await
        .unwrap()
        .expect("valid");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(
        receive_one(&storage, LONG).await.is_none(),
        "its time was extended"
    );
    first.receipt = storage
        .hide_message(Q, &first, NOW)
        .await
        .unwrap()
        .expect("valid");
    let second = receive_one(&storage, LONG).await.expect("visible at once");
    assert_eq!((second.id, second.dequeue_count), (first.id, 2));
}

async fn many_receivers_share_a_queue(storage: Storage) {
    for number in 0..40 {
        storage.put(Q, &number.to_string(), NOW).await.unwrap();
    }
    let tasks = (0..4).map(|_| {
        let storage = storage.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            loop {
                let messages = storage.receive(Q, 7, LONG).await.unwrap();
                if messages.is_empty() {
                    return ids;
                }
                for message in messages {
                    assert!(storage.delete_message(Q, &message).await.unwrap());
                    ids.push(message.id);
                }
            }
        })
    });
    let mut ids = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        ids.extend(task.await.unwrap());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40, "each once");
    assert_eq!(storage.depth(Q).await.unwrap(), 0);
}

async fn what_is_missing_is_transient(storage: Storage) {
    let faults = [
        storage.insert("absent", "p", "r", "1").await.unwrap_err(),
        storage.get("absent", "p", "r").await.unwrap_err(),
        storage.put("absent", "m", NOW).await.unwrap_err(),
        storage.receive("absent", 1, LONG).await.unwrap_err(),
        storage.depth("absent").await.unwrap_err(),
    ];
    for fault in faults {
        assert!(fault.is_transient(), "{fault}");
    }
    for fault in [
        storage.get("no-table'", "p", "r").await.unwrap_err(),
        storage.depth("No_Queue").await.unwrap_err(),
    ] {
        assert!(!fault.is_transient(), "{fault}");
    }
}

async fn preparing_twice_keeps_what_is_there(storage: Storage) {
    insert(&storage, "p", "r", "1").await;
    storage.put(Q, "m", NOW).await.unwrap();
    prepared(storage.clone()).await;
    assert_eq!(document(&storage, "p", "r").await.as_deref(), Some("1"));
    assert_eq!(storage.depth(Q).await.unwrap(), 1);
}
