//! The handler as its host has it: what no GET may do, what no stuck call may do, and what the host does not say.

use std::path::Path;
use std::time::{Duration, Instant};

use aiops_rca::functions::{Door, Trigger};
use aiops_rca::local::host::event::{HostEvent, LineLevel};
use aiops_rca::local::host::{Host, HostOptions, Outcome, RunningHost, StopReason};
use aiops_rca::storage::{Storage, StorageSettings};
use serde_json::{Value, json};

use crate::support;

/// Every page, list and number there is.
pub(super) const GETS: [&str; 11] = [
    "/dashboard",
    "/dashboard/tickets/ADF-20251212T100000-abc123",
    "/dashboard/assets/style.css",
    "/dashboard/nowhere",
    "/api/tickets",
    "/api/tickets.csv",
    "/api/tickets/ADF-20251212T100000-abc123",
    "/api/deadletters",
    "/api/metrics",
    "/api/status",
    "/health",
];
const PATIENCE: Duration = Duration::from_secs(30);

/// The real binary under the stand-in host, with an open dashboard and nothing around it.
struct Rig {
    host: RunningHost,
    storage: Storage,
    settings: Vec<(String, String)>,
}

impl Rig {
    async fn build(settings: &[(&str, &str)], change: impl FnOnce(&mut HostOptions)) -> Self {
        let (store, prefix) = (support::embedded_path(), support::prefix());
        let storage = StorageSettings::embedded(&store).with_prefix(prefix.clone());
        let storage = Storage::open(&storage, &support::http()).unwrap();
        let mut options = HostOptions::new(env!("CARGO_MANIFEST_DIR"), storage.clone(), &prefix);
        options.executable = Some(env!("CARGO_BIN_EXE_aiops-rca").into());
        options.arguments = Some(Vec::new());
        options.address.set_port(0);
        let store = store.to_string_lossy();
        let usual = [
            ("STORAGE_PREFIX", prefix.as_str()),
            ("AIOPS_RCA_STORE", &store),
            ("AIOPS_RCA_LOCAL", "true"),
        ];
        for (name, value) in usual.iter().chain(settings) {
            options
                .settings
                .insert((*name).to_owned(), (*value).to_owned());
        }
        options.knobs.poll_max = Some(Duration::from_millis(200));
        options.knobs.drain = Duration::from_secs(1);
        change(&mut options);
        let settings = options.settings.clone().into_iter().collect();
        let host = Host::start(options).await.unwrap();
        assert!(
            host.ready(PATIENCE).await,
            "the handler does not become ready"
        );
        Self {
            host,
            storage,
            settings,
        }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.host.port());
        let http = support::http();
        let mut request = http
            .request(method.parse().unwrap(), &url.parse().unwrap())
            .timeout(PATIENCE);
        if !body.is_empty() {
            request = request.body(body.to_owned());
        }
        let reply = http.send("the host", request).await.unwrap();
        (
            reply.status,
            String::from_utf8_lossy(&reply.body).into_owned(),
        )
    }

    /// The handler is the one that was started.
    fn assert_never_ended(&self) {
        for event in self.host.events_so_far() {
            assert!(
                !matches!(event, HostEvent::ChildExited { .. } | HostEvent::Stopped(_)),
                "{event:?}"
            );
        }
    }
}

#[test]
fn every_door_that_takes_gets_is_walked() {
    for door in Door::ALL {
        if let Trigger::Http { route, methods } = door.trigger()
            && methods.contains(&"get")
        {
            let start = format!("/{}", route.trim_end_matches("/{*path}"));
            assert!(GETS.iter().any(|get| get.starts_with(&start)), "{door:?}");
        }
    }
}

async fn no_get_ends_the_handler(older_host: bool) {
    let rig = Rig::build(&[("AIOPS_RCA_FAULTS", "deadline=6")], |options| {
        options.older_host = older_host;
    })
    .await;
    for path in GETS {
        for (fault, status) in [
            ("abort", 503),
            ("recursion", 503),
            ("allocation", 503),
            ("panic", 500),
        ] {
            let (answered, body) = rig.ask("GET", &format!("{path}?fault={fault}"), "").await;
            assert_eq!(answered, status, "{path} {fault}: {body}");
        }
    }
    for fault in ["hang", "spin"] {
        let asked = Instant::now();
        let path = format!("/health?fault={fault}");
        assert_eq!(rig.ask("GET", &path, "").await.0, 503, "{fault}");
        assert!(asked.elapsed() < Duration::from_secs(25), "{fault}");
    }
    // All the time it was the same process, and it is well.
    rig.assert_never_ended();
    assert_eq!(rig.ask("GET", "/health", "").await.0, 200);
    let alert = json!({"dag_id": "d", "task_id": "t", "run_id": "r", "exception": "boom"});
    let (status, body) = rig
        .ask("POST", "/airflow-monitor", &alert.to_string())
        .await;
    assert!(matches!(status, 200 | 400), "{status} {body}");
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_get_ends_the_handler_of_a_host_that_proxies() {
    no_get_ends_the_handler(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_get_ends_the_handler_of_a_host_that_forwards() {
    no_get_ends_the_handler(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_get_has_an_effect() {
    let rig = Rig::build(
        &[
            ("AzureWebJobs.Sweep.Disabled", "true"),
            ("AzureWebJobs.AnalyseFailure.Disabled", "true"),
            ("AzureWebJobs.DeliverTicket.Disabled", "true"),
            ("AzureWebJobs.RecordPoisonFailure.Disabled", "true"),
            ("AzureWebJobs.RecordPoisonDelivery.Disabled", "true"),
        ],
        |_| {},
    )
    .await;
    // The first request makes tables and queues.
    assert_eq!(rig.ask("GET", "/api/tickets", "").await.0, 200);
    rig.storage
        .put("failures", "{}", Duration::ZERO)
        .await
        .unwrap();
    let store = rig
        .settings
        .iter()
        .find(|(name, _)| name == "AIOPS_RCA_STORE")
        .unwrap();
    let dump = || {
        let file = rusqlite::Connection::open(&store.1).unwrap();
        let rows = |query: &str| -> Vec<String> {
            let mut rows = file.prepare(query).unwrap();
            let columns = rows.column_count();
            let rows = rows
                .query_map([], |row| {
                    let cell = |column| -> rusqlite::Result<String> {
                        Ok(format!("{:?}", row.get_ref(column)?))
                    };
                    let cells: rusqlite::Result<Vec<String>> = (0..columns).map(cell).collect();
                    Ok(cells?.join("|"))
                })
                .unwrap();
            rows.map(Result::unwrap).collect()
        };
        [
            rows("SELECT * FROM entity ORDER BY table_name, partition, row"),
            rows("SELECT * FROM message ORDER BY sequence"),
        ]
    };
    let before = dump();
    for path in GETS {
        for more in ["", "?ticket=x", "?days=90&status=open"] {
            rig.ask("GET", &format!("{path}{more}"), "").await;
        }
    }
    for id in ["acknowledge", "reopen", "start", "approve"] {
        let path = format!("/api/tickets/ADF-20251212T100000-abc123/{id}");
        assert_eq!(rig.ask("GET", &path, "").await.0, 405);
    }
    assert_eq!(dump(), before);
    rig.host.stop().await;
}

/// Each door and each queue and timer hangs; two calls that reached the function's timeout together would stop the host.
#[tokio::test(flavor = "multi_thread")]
async fn no_stuck_call_stops_the_host_and_nothing_is_lost() {
    let names: Vec<String> = Door::ALL.map(|door| format!("hang={}", door.name())).into();
    let faults = format!("deadline=1&{}", names.join("&"));
    let rig = Rig::build(&[("AIOPS_RCA_FAULTS", &faults)], |options| {
        options.knobs.function_timeout = Some(Duration::from_secs(8));
    })
    .await;
    let doors: Vec<String> = Door::ALL
        .into_iter()
        .filter_map(|door| match door.trigger() {
            Trigger::Http { route, methods } => {
                let method = methods.first().unwrap().to_uppercase();
                Some(format!(
                    "{method} /{}?fault=hang",
                    route.trim_end_matches("/{*path}")
                ))
            }
            Trigger::Queue(_) | Trigger::Timer(_) => None,
        })
        .collect();
    let mut queues = Vec::new();
    for door in Door::ALL {
        if let Some(queue) = door.queue() {
            for number in 0..3 {
                let text = json!({ "number": number }).to_string();
                rig.storage.put(queue, &text, Duration::ZERO).await.unwrap();
            }
            queues.push(queue);
        }
    }
    let swept = rig.ask("POST", "/admin/functions/Sweep", "{}").await;
    assert_eq!(swept.0, 202);
    let rig = &rig;
    let asked = doors.iter().map(|door| async move {
        let (method, path) = door.split_once(' ').unwrap();
        let body = if method == "POST" { "{}" } else { "" };
        (door, rig.ask(method, path, body).await.0)
    });
    for (door, status) in futures::future::join_all(asked).await {
        assert_eq!(status, 503, "{door}");
    }
    let expected = 3 * queues.len() + 1;
    let mut events = rig.host.events();
    let mut called = 0;
    events
        .find(PATIENCE, |event| {
            if let HostEvent::Invoked(call) = event
                && (call.detail.contains('#') || call.detail == "admin")
            {
                assert_eq!(call.outcome, Outcome::Succeeded, "{call:?}");
                called += 1;
            }
            (called >= expected).then_some(())
        })
        .await
        .unwrap();
    rig.assert_never_ended();
    // The host deletes a message only after its call has ended.
    for queue in queues {
        let put_back = async {
            while rig.storage.depth(queue).await.unwrap() != 3 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, put_back)
            .await
            .unwrap_or_else(|_| panic!("{queue}: its messages are put back, each once"));
    }
    assert_eq!(rig.host.stop().await, StopReason::Asked);
}

/// The app with one function's file changed.
fn staged(function: &str, text: &str) -> tempfile::TempDir {
    let (folder, from) = (
        tempfile::tempdir().unwrap(),
        Path::new(env!("CARGO_MANIFEST_DIR")),
    );
    std::fs::copy(from.join("host.json"), folder.path().join("host.json")).unwrap();
    for name in Door::ALL.map(Door::name) {
        let to = folder.path().join(name);
        std::fs::create_dir(&to).unwrap();
        let file = from.join("functions").join(name).join("function.json");
        std::fs::copy(file, to.join("function.json")).unwrap();
    }
    std::fs::write(folder.path().join(function).join("function.json"), text).unwrap();
    folder
}

/// The host runs on without a word; the app notices, and says what to correct.
async fn is_said(rig: Rig, root: &Path, named: &str) {
    let (status, body) = rig.ask("GET", "/health", "").await;
    assert_eq!((status, body.as_str()), (503, r#"{"status":"degraded"}"#));
    for path in ["/api/status", "/dashboard"] {
        let (status, body) = rig.ask("GET", path, "").await;
        assert!(
            status == 200 && body.contains(named),
            "{path}: {status} {body}"
        );
    }
    let logged = rig.host.events_so_far().into_iter().any(|event| {
        matches!(event, HostEvent::ChildLine { level: LineLevel::Error, text, .. } if text.contains(named))
    });
    assert!(logged, "{named} is in the log");
    let settings = rig.settings.clone();
    let doctor = std::process::Command::new(env!("CARGO_BIN_EXE_aiops-rca"))
        .args(["doctor", "--json"])
        .env_clear()
        .envs(settings)
        .env("FUNCTIONS_APP_ROOT_PATH", root)
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let checks = said["checks"].as_array().unwrap();
    assert!(
        checks
            .iter()
            .any(|check| check["ok"] == false && check["name"] == named),
        "{said:#}"
    );
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_prefix_is_said() {
    let rig = Rig::build(&[], |options| {
        options.settings.remove("STORAGE_PREFIX");
    })
    .await;
    let in_error = rig
        .host
        .events_so_far()
        .into_iter()
        .filter(|event| matches!(event, HostEvent::InError { .. }))
        .count();
    assert_eq!(in_error, 4, "the host calls none of the queue functions");
    is_said(rig, Path::new(env!("CARGO_MANIFEST_DIR")), "STORAGE_PREFIX").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_said() {
    let wrong = r#"{"bindings":[{"type":"queueTrigger","direction":"in","name":"my_item","queueName":"%STORAGE_PREFIX%-failures","connection":"AzureWebJobsStorage"}]}"#;
    let app = staged("AnalyseFailure", wrong);
    let root = app.path().to_owned();
    let rig = Rig::build(&[], |options| options.root.clone_from(&root)).await;
    is_said(rig, &root, "AnalyseFailure/function.json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_switched_off_is_said() {
    let setting = "AzureWebJobs.DeliverTicket.Disabled";
    let rig = Rig::build(&[(setting, "true")], |_| {}).await;
    is_said(rig, Path::new(env!("CARGO_MANIFEST_DIR")), setting).await;
}

/// Its host is killed: the handler, and the process that reads for it, end by themselves.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_ends_itself() {
    let port = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let store = support::embedded_path();
    // A host that is a shell: it starts the handler, and is killed.
    let script = format!("{} & echo $!; wait", env!("CARGO_BIN_EXE_aiops-rca"));
    let mut shell = tokio::process::Command::new("sh")
        .args(["-c", &script])
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        .env("STORAGE_PREFIX", support::prefix())
        .env("AIOPS_RCA_STORE", store)
        .env("AIOPS_RCA_LOCAL", "true")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(shell.stdout.take().unwrap()));
    let pid: u32 = lines.next_line().await.unwrap().unwrap().parse().unwrap();
    let http = support::http();
    let url: url::Url = format!("http://127.0.0.1:{port}/health").parse().unwrap();
    let give_up = Instant::now() + PATIENCE;
    while http
        .send("the handler", http.request(reqwest::Method::GET, &url))
        .await
        .is_err()
    {
        assert!(Instant::now() < give_up, "the handler does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let reader = children_of(pid);
    assert_eq!(
        reader.len(),
        1,
        "the health was read by a process of its own"
    );
    shell.kill().await.unwrap();
    for process in [pid, reader[0]] {
        while runs(process) {
            assert!(Instant::now() < give_up, "process {process} still runs");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// SIGKILL of `local` itself: whatever it started, and whatever that started, ends as well.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn local_takes_its_processes_along() {
    let port = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut local = tokio::process::Command::new(env!("CARGO_BIN_EXE_aiops-rca"))
        .args(["local", "--separate", "--port", &port.to_string()])
        .args(["--root", env!("CARGO_MANIFEST_DIR"), "--store"])
        .arg(support::embedded_path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let http = support::http();
    let url: url::Url = format!("http://127.0.0.1:{port}/health").parse().unwrap();
    let give_up = Instant::now() + PATIENCE;
    while http
        .send("the app", http.request(reqwest::Method::GET, &url))
        .await
        .is_err()
    {
        assert!(Instant::now() < give_up, "local does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut started = children_of(local.id().unwrap());
    assert!(!started.is_empty(), "handlers are processes");
    let below: Vec<u32> = started.iter().flat_map(|pid| children_of(*pid)).collect();
    started.extend(below);
    local.kill().await.unwrap();
    for process in started {
        while runs(process) {
            assert!(Instant::now() < give_up, "{process} outlives local");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Is there such a process, and does it do anything but wait to be buried?
#[cfg(target_os = "linux")]
fn runs(pid: u32) -> bool {
    stat(&format!("/proc/{pid}/stat")).is_some_and(|(state, _)| state != "Z")
}

#[cfg(target_os = "linux")]
fn children_of(pid: u32) -> Vec<u32> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .filter(|child| {
            stat(&format!("/proc/{child}/stat")).is_some_and(|(_, parent)| parent == pid)
        })
        .collect()
}

/// State and parent of a process.
#[cfg(target_os = "linux")]
fn stat(path: &str) -> Option<(String, u32)> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}
