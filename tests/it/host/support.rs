//! An app of one's own in a temporary folder, a host around it, and what its handler was called with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aiops_rca::http::{Http, Reply};
use aiops_rca::local::host::{
    Host, HostEvent, HostOptions, Invocation, Knobs, Outcome, RunningHost, Traceparent,
};
use aiops_rca::storage::Storage;
use aiops_rca::storage::embedded::EmbeddedStorage;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// Long enough on a busy machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) const PREFIX: &str = "t";

/// The example, built with the profile of this test. `cargo test --test it` alone does not build it.
pub(crate) fn scripted_handler() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let profile = std::env::current_exe()
            .unwrap()
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .to_owned();
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args([
                "build",
                "--quiet",
                "--example",
                "scripted_handler",
                "--target-dir",
            ])
            .arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(
            cargo
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status()
                .unwrap()
                .success(),
            "the scripted handler does not build"
        );
        profile.join("examples").join("scripted_handler")
    })
}

/// A folder with an app.
pub(crate) struct App {
    pub(crate) folder: tempfile::TempDir,
}

impl App {
    /// `host.json` with both flags and no route prefix; change it with [`App::host_json`].
    pub(crate) fn new() -> Self {
        let app = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        app.host_json(|_| {});
        app
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn host_json(&self, change: impl FnOnce(&mut Value)) {
        let mut document = json!({
            "version": "2.0",
            "customHandler": {
                "description": {"defaultExecutablePath": "handler"},
                "enableForwardingHttpRequest": true, "enableProxyingHttpRequest": true,
            },
            "extensions": {"http": {"routePrefix": ""}, "queues": {"maxDequeueCount": 3}},
        });
        change(&mut document);
        std::fs::write(self.path().join("host.json"), document.to_string()).unwrap();
    }

    pub(crate) fn function(self, name: &str, bindings: &Value) -> Self {
        let folder = self.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join("function.json"),
            json!({"bindings": bindings}).to_string(),
        )
        .unwrap();
        self
    }

    pub(crate) fn http(self, name: &str, route: &str, methods: &[&str], lock: &str) -> Self {
        let trigger = json!({"type": "httpTrigger", "direction": "in", "name": "req", "route": route, "methods": methods, "authLevel": lock});
        self.function(
            name,
            &json!([trigger, {"type": "http", "direction": "out", "name": "res"}]),
        )
    }

    pub(crate) fn queue(self, name: &str, queue: &str) -> Self {
        let trigger = json!({"type": "queueTrigger", "direction": "in", "name": "item", "queueName": format!("%STORAGE_PREFIX%-{queue}")});
        self.function(name, &json!([trigger]))
    }

    pub(crate) fn timer(self, name: &str, schedule: &str, on_startup: bool) -> Self {
        let trigger = json!({"type": "timerTrigger", "direction": "in", "name": "timer", "schedule": schedule, "runOnStartup": on_startup});
        self.function(name, &json!([trigger]))
    }

    pub(crate) fn storage(&self) -> Storage {
        Storage::Embedded(EmbeddedStorage::open(&self.path().join("store.db"), PREFIX).unwrap())
    }

    /// Options with short times and the scripted handler.
    pub(crate) fn options(&self) -> HostOptions {
        let mut options = HostOptions::new(self.path(), self.storage(), PREFIX);
        options
            .settings
            .insert("STORAGE_PREFIX".to_owned(), PREFIX.to_owned());
        options.executable = Some(scripted_handler().to_owned());
        options.address.set_port(0);
        options.environment.push((
            "SCRIPT_RECORD".to_owned(),
            self.record_file().display().to_string(),
        ));
        options.knobs = Knobs {
            hang_timeout: Some(Duration::from_millis(50)),
            kill_after: Some(Duration::ZERO),
            poll_min: Duration::from_millis(10),
            poll_max: Some(Duration::from_millis(20)),
            visibility_timeout: Some(Duration::ZERO),
            drain: Duration::from_millis(500),
            traceparent: Traceparent::Never,
            ..Knobs::default()
        };
        options
    }

    pub(crate) async fn start(&self) -> Running {
        self.start_with(|_| {}).await
    }

    pub(crate) async fn start_with(&self, change: impl FnOnce(&mut HostOptions)) -> Running {
        let mut options = self.options();
        change(&mut options);
        Running {
            storage: options.storage.clone(),
            host: Host::start(options).await.unwrap(),
            http: Http::new(None).unwrap(),
        }
    }

    fn record_file(&self) -> PathBuf {
        self.path().join("record.ndjson")
    }

    /// The envelope calls that the handler got, in order.
    pub(crate) fn calls(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.record_file()).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A host with a client.
pub(crate) struct Running {
    pub(crate) host: RunningHost,
    pub(crate) storage: Storage,
    pub(crate) http: Http,
}

impl Running {
    pub(crate) fn request(&self, method: &str, path_and_query: &str) -> reqwest::RequestBuilder {
        let url = format!("http://127.0.0.1:{}{path_and_query}", self.host.port())
            .parse()
            .unwrap();
        self.http.request(method.parse().unwrap(), &url)
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        self.http.send("the host", request).await.unwrap()
    }

    pub(crate) async fn get(&self, path_and_query: &str) -> Reply {
        self.send(self.request("GET", path_and_query)).await
    }

    /// A request with a body: no host sends it twice.
    pub(crate) async fn once(&self, path_and_query: &str) -> Reply {
        self.send(self.request("POST", path_and_query).body("once"))
            .await
    }

    /// As a producer for the host's default `messageEncoding` does.
    pub(crate) async fn put(&self, queue: &str, text: &str) {
        self.put_raw(queue, &BASE64.encode(text)).await;
    }

    pub(crate) async fn put_raw(&self, queue: &str, text: &str) {
        self.storage.put(queue, text, Duration::ZERO).await.unwrap();
    }

    /// Waits for the first event that `pick` likes, from the start on.
    pub(crate) async fn find<T>(&self, pick: impl FnMut(&HostEvent) -> Option<T>) -> T {
        let mut events = self.host.events();
        let found = events.find(PATIENCE, pick).await;
        found.unwrap_or_else(|| panic!("no such event among {:#?}", self.host.events_so_far()))
    }

    /// Waits for the `count`th invocation of a function.
    pub(crate) async fn invoked(&self, function: &str, count: usize) -> Invocation {
        let mut seen = 0;
        self.find(|event| match event {
            HostEvent::Invoked(call) if call.function == function => {
                seen += 1;
                (seen == count).then(|| call.clone())
            }
            _ => None,
        })
        .await
    }

    pub(crate) async fn poisoned(&self) -> (String, String) {
        self.find(|event| match event {
            HostEvent::Poisoned { queue, why, .. } => Some((queue.clone(), why.clone())),
            _ => None,
        })
        .await
    }

    /// Waits until the handler was called that often with an envelope.
    pub(crate) async fn called(&self, app: &App, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while app.calls().len() < count {
            assert!(
                Instant::now() < deadline,
                "called {} times",
                app.calls().len()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a queue holds this many messages, hidden ones included.
    pub(crate) async fn depth(&self, queue: &str, wanted: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let depth = self.storage.depth(queue).await.unwrap();
            if depth == wanted {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{queue} holds {depth}, not {wanted}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until that many processes have ended.
    pub(crate) async fn exited(&self, count: usize) {
        let mut seen = 0;
        self.find(|event| {
            seen += usize::from(matches!(event, HostEvent::ChildExited { .. }));
            (seen == count).then_some(())
        })
        .await;
    }

    /// How the handler's processes ended: (how, counted).
    pub(crate) fn exits(&self) -> Vec<(String, Option<u32>)> {
        let exit = |event| match event {
            HostEvent::ChildExited { how, counted, .. } => Some((how, counted)),
            _ => None,
        };
        self.host
            .events_so_far()
            .into_iter()
            .filter_map(exit)
            .collect()
    }
}

pub(crate) fn failure(call: &Invocation) -> &str {
    match &call.outcome {
        Outcome::Failed(reason) => reason,
        Outcome::Succeeded => panic!("{call:?} did not fail"),
    }
}
