//! The embedded store: one file, several openers, fast enough.

use std::time::{Duration, Instant};

use aiops_rca::storage::{Inserted, Storage, StorageSettings, Swapped};

use crate::support;

fn open(path: &std::path::Path, prefix: &str) -> Storage {
    Storage::open(
        &StorageSettings::embedded(path).with_prefix(prefix),
        &support::http(),
    )
    .expect("opened")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_share_one_file() {
    let path = support::embedded_path();
    let (one, two) = (open(&path, "rca"), open(&path, "rca"));
    one.prepare(&["tickets"], &["failures"]).await.unwrap();
    let Inserted::Created(etag) = one.insert("tickets", "p", "r", "1").await.unwrap() else {
        panic!("new")
    };
    assert_eq!(
        two.insert("tickets", "p", "r", "2").await.unwrap(),
        Inserted::Exists
    );
    assert!(matches!(
        two.swap("tickets", "p", "r", &etag, "2").await.unwrap(),
        Swapped::Done(_)
    ));
    assert_eq!(
        one.swap("tickets", "p", "r", &etag, "3").await.unwrap(),
        Swapped::Conflict
    );
    two.put("failures", "m", Duration::ZERO).await.unwrap();
    assert_eq!(
        one.receive("failures", 1, Duration::from_mins(1))
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(
        two.receive("failures", 1, Duration::from_mins(1))
            .await
            .unwrap()
            .is_empty()
    );
}

/// Errors, names and audit are nobody else's on a shared machine; a file of an older version is closed as well.
#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let path = support::embedded_path();
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let storage = open(&path, "rca");
    storage.prepare(&["tickets"], &["failures"]).await.unwrap();
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&*path.file_name().unwrap().to_string_lossy()) {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_are_apart() {
    let path = support::embedded_path();
    let (one, two) = (open(&path, "one"), open(&path, "two"));
    for storage in [&one, &two] {
        storage.prepare(&["tickets"], &["failures"]).await.unwrap();
        assert!(matches!(
            storage.insert("tickets", "p", "r", "1").await.unwrap(),
            Inserted::Created(_)
        ));
    }
    one.put("failures", "m", Duration::ZERO).await.unwrap();
    assert_eq!(two.depth("failures").await.unwrap(), 0);
    let settings = StorageSettings::embedded(&path).with_prefix("Not Legal");
    assert!(
        !Storage::open(&settings, &support::http())
            .unwrap_err()
            .is_transient()
    );
}

/// Two real processes: the second is this very test binary, run again for one test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::disallowed_methods,
    reason = "the environment tells the second process what it is"
)]
async fn two_processes_share_one_file() {
    const PATH: &str = "AIOPS_RCA_TEST_SHARED_FILE";
    const EACH: u32 = 100;
    if let Some(path) = std::env::var_os(PATH) {
        count_up(&open(path.as_ref(), "rca"), EACH).await;
        return;
    }
    let path = support::embedded_path();
    let storage = open(&path, "rca");
    storage.prepare(&["tickets"], &[]).await.unwrap();
    storage
        .upsert("tickets", "p", "counter", "0")
        .await
        .unwrap();
    let mut second = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storage::embedded::two_processes_share_one_file"])
        .env(PATH, &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("this binary runs");
    count_up(&storage, EACH).await;
    assert!(second.wait().await.unwrap().success());
    let counter = storage
        .get("tickets", "p", "counter")
        .await
        .unwrap()
        .expect("there");
    assert_eq!(counter.document, (2 * EACH).to_string());
}

async fn count_up(storage: &Storage, times: u32) {
    for _ in 0..times {
        loop {
            let read = storage
                .get("tickets", "p", "counter")
                .await
                .unwrap()
                .expect("there");
            let next = (read.document.parse::<u32>().unwrap() + 1).to_string();
            if let Swapped::Done(_) = storage
                .swap("tickets", "p", "counter", &read.etag, &next)
                .await
                .unwrap()
            {
                break;
            }
        }
    }
}

/// Thousands a second in practice; the bound only notices a lost WAL mode or a connection per call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_operations_take_no_time() {
    let storage = support::embedded();
    storage.prepare(&["tickets"], &["failures"]).await.unwrap();
    let started = Instant::now();
    for number in 0..250 {
        let row = number.to_string();
        storage.insert("tickets", "p", &row, "{}").await.unwrap();
        storage.get("tickets", "p", &row).await.unwrap();
        storage.put("failures", &row, Duration::ZERO).await.unwrap();
        let messages = storage
            .receive("failures", 1, Duration::from_mins(1))
            .await
            .unwrap();
        assert!(
            storage
                .delete_message("failures", &messages[0])
                .await
                .unwrap()
        );
    }
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn faults_say_what_to_do_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let settings = StorageSettings::embedded(folder.path());
    let fault = Storage::open(&settings, &support::http()).unwrap_err();
    assert!(!fault.is_transient());
    assert!(fault.reason().contains("cannot be opened"), "{fault}");
}
