//! Real Azurites on free ports, in memory: one for the whole test binary, and a few among which stories take turns.
//!
//! It ends when its stdin closes. The kernel closes it however the test binary ends: no test run leaves one behind.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The account of every Azurite.
pub(crate) const ACCOUNT: &str = "devstoreaccount1";
/// Its key; no secret.
pub(crate) const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Runs Azurite's main file as if it had been called by node itself.
const RUN: &str = "process.stdin.on('close', () => process.exit(0)).resume(); process.argv.splice(1, 0, 'azurite'); require(process.argv[2]);";

/// A running Azurite.
pub(crate) struct Azurite {
    process: Child,
    _stdin: Option<ChildStdin>,
    queues: String,
    tables: String,
}

/// The connection string of the shared Azurite, which is started by the first call.
pub(crate) fn azurite() -> String {
    static SHARED: LazyLock<Azurite> = LazyLock::new(|| Azurite::start(&[]));
    SHARED.connection_string()
}

/// The connection string of one of a few others, in turn: a story that stores much does not slow all that run beside it.
pub(crate) fn next_azurite() -> String {
    static OTHERS: [LazyLock<Azurite>; 3] = [const { LazyLock::new(|| Azurite::start(&[])) }; 3];
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed) % OTHERS.len();
    OTHERS.get(next).expect("one of them").connection_string()
}

/// `azurite.js`: where `AIOPS_RCA_TEST_AZURITE` says, else where `./tests/run` puts it.
#[expect(clippy::disallowed_methods, reason = "a test reads its own setting")]
pub(crate) fn azurite_path() -> PathBuf {
    let path = std::env::var_os("AIOPS_RCA_TEST_AZURITE").map_or_else(
        || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(".tools/node_modules/azurite/dist/src/azurite.js")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "Azurite is not installed at {}: run ./tests/run once",
        path.display()
    );
    path
}

impl Azurite {
    /// Starts one with further arguments (`--oauth basic --cert … --key …`); it ends when dropped.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new("node")
            .args(["-e", RUN])
            .arg(azurite_path())
            .args([
                "--silent",
                "--skipApiVersionCheck",
                "--disableTelemetry",
                "--inMemoryPersistence",
            ])
            .args(["--blobPort", "0", "--queuePort", "0", "--tablePort", "0"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs");
        let stdin = process.stdin.take();
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut address = |service: &str| {
            for line in lines.by_ref() {
                let line = line.expect("text");
                if let Some((before, address)) = line.split_once(" is successfully listening at ")
                    && before.contains(service)
                {
                    return address.trim().to_owned();
                }
            }
            panic!("Azurite ended before it listened");
        };
        let queues = address("Queue");
        let tables = address("Table");
        // Its pipe must not fill.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            _stdin: stdin,
            queues,
            tables,
        }
    }

    /// Base address of its queues, with the account.
    pub(crate) fn queues(&self) -> String {
        format!("{}/{ACCOUNT}", self.queues)
    }

    /// Base address of its tables, with the account.
    pub(crate) fn tables(&self) -> String {
        format!("{}/{ACCOUNT}", self.tables)
    }

    /// With the account's key.
    pub(crate) fn connection_string(&self) -> String {
        format!(
            "AccountName={ACCOUNT};AccountKey={KEY};QueueEndpoint={};TableEndpoint={};",
            self.queues(),
            self.tables()
        )
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _ended_already = self.process.wait();
    }
}
