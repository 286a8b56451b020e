//! What people see, in a real browser: dashboard, sign-in page, and the demo's JIRA and Slack.
//!
//! The stories are scripts in `tests/browser/`; here is the world they are played in: the real binary under the
//! stand-in host, with the demo's simulators, samples and settings, attempts after a second instead of half a minute; or
//! alone, with five thousand tickets in its store.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aiops_rca::local::demo::Demo;
use aiops_rca::local::host::{Host, HostOptions, RunningHost};
use aiops_rca::storage::{Storage, StorageSettings};
use chrono::Utc;
use serde_json::{Value, json};

use crate::support;

mod crowd;

const KEY: &str = "the key of this very test";
/// The whole story takes less than this, even on a machine that compiles beside it.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where an app will be found, and its store, which is its own.
struct Place {
    port: u16,
    base: String,
    store: PathBuf,
    prefix: String,
}

/// An app that runs there.
struct App {
    host: RunningHost,
    base: String,
}

/// The demo, with a pace of its own.
struct Rig {
    demo: Demo,
    app: App,
}

impl Place {
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        Self {
            port,
            base: format!("http://localhost:{port}/"),
            store: support::embedded_path(),
            prefix: support::prefix(),
        }
    }

    fn storage(&self) -> Storage {
        let settings = StorageSettings::embedded(&self.store).with_prefix(self.prefix.clone());
        Storage::open(&settings, &support::http()).unwrap()
    }

    async fn start(self, more: BTreeMap<String, String>) -> App {
        let storage = self.storage();
        let own = [
            ("AIOPS_RCA_LOCAL", "true"),
            ("AIOPS_RCA_STORE", &*self.store.to_string_lossy()),
            ("STORAGE_PREFIX", &*self.prefix),
            ("PUBLIC_BASE_URL", &*self.base),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut options = HostOptions::new(env!("CARGO_MANIFEST_DIR"), storage, self.prefix);
        options.executable = Some(env!("CARGO_BIN_EXE_aiops-rca").into());
        options.arguments = Some(Vec::new());
        options.address = ([127, 0, 0, 1], self.port).into();
        options.settings = own.into_iter().chain(more).collect();
        options.knobs.poll_max = Some(Duration::from_millis(200));
        let host = Host::start(options).await.unwrap();
        assert!(
            host.ready(Duration::from_secs(20)).await,
            "the handler does not become ready"
        );
        App {
            host,
            base: self.base,
        }
    }
}

impl Rig {
    async fn set(more: &[(&str, &str)]) -> Self {
        let place = Place::new().await;
        let demo = Demo::start(place.port, None).await.unwrap();
        let mut settings: BTreeMap<String, String> = demo.settings();
        let own = [("REMEDIATION_DELAYS", "1")];
        settings.extend(
            own.iter()
                .chain(more)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let app = place.start(settings).await;
        Self { demo, app }
    }

    /// Posts the demo's samples and waits until all that happens by itself has happened; where JIRA and Slack are.
    async fn play(&self) -> BTreeMap<String, String> {
        let said = Mutex::new(Vec::new());
        let played = self
            .demo
            .play(Duration::from_millis(100), |line| {
                said.lock().unwrap().push(line.to_owned());
            })
            .await;
        let said = said.into_inner().unwrap();
        assert!(played, "{said:#?}");
        self.app.until_shown().await;
        let pair = |line: &String| {
            line.split_once(' ')
                .map(|(name, url)| (name.to_lowercase(), url.trim().to_owned()))
        };
        said.iter().take(4).filter_map(pair).collect()
    }
}

impl App {
    /// Waits until JIRA and Slack show every ticket as it stands: Slack takes one message a second.
    async fn until_shown(&self) {
        let give_up = Instant::now() + Duration::from_secs(60);
        let list = self.get("api/tickets").await;
        for id in list["tickets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|ticket| ticket["id"].as_str().unwrap())
        {
            loop {
                let ticket = self.get(&format!("api/tickets/{id}")).await;
                let version = ticket["version"].as_u64().unwrap();
                if ["jira", "slack", "teams"]
                    .iter()
                    .all(|sink| ticket["deliveries"][sink].as_u64() >= Some(version))
                {
                    break;
                }
                assert!(Instant::now() < give_up, "{id} is not shown: {ticket:#}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    async fn get(&self, path: &str) -> Value {
        let http = support::http();
        let url = format!("{}{path}", self.base).parse().unwrap();
        http.send("the app", http.request(reqwest::Method::GET, &url))
            .await
            .unwrap()
            .json("the app")
            .unwrap()
    }

    /// Plays a story of `tests/browser/`.
    async fn browse(&self, story: &str, mut settings: Value) {
        settings["app"] = json!(self.base);
        settings["dashboard"] = json!(format!("{}dashboard", self.base));
        browse(story, settings).await;
    }
}

/// Plays a story of `tests/browser/`.
async fn browse(story: &str, mut settings: Value) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    settings["tools"] = json!(tools());
    settings["pictures"] = json!(root.join("target/screenshots"));
    settings["kept"] = if are_kept() {
        json!(root.join("tests/screenshots"))
    } else {
        Value::Null
    };
    let mut command = tokio::process::Command::new("node");
    command
        .arg(root.join("tests/browser").join(story))
        .arg(settings.to_string());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .unwrap_or_else(|_| panic!("{story} does not end"));
    let output = output.unwrap();
    let said = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    assert!(output.status.success(), "{story}:\n{said}");
    println!("{story}: {said}");
}

/// Where `./tests/run` puts the driver and the browser; the browser itself may be another, as `AIOPS_RCA_TEST_BROWSER` says.
fn tools() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools");
    for package in ["playwright-core", "axe-core", "adaptivecards"] {
        let path = tools.join("node_modules").join(package);
        assert!(
            path.is_dir(),
            "{package} is not installed at {}: run ./tests/run once",
            path.display()
        );
    }
    tools
}

/// The README's pictures are renewed only on request.
#[expect(clippy::disallowed_methods, reason = "a test reads its own setting")]
fn are_kept() -> bool {
    std::env::var_os("AIOPS_RCA_SCREENSHOTS").is_some_and(|asked| asked == "1")
}

#[tokio::test(flavor = "multi_thread")]
async fn people_look_around_the_demo_and_press_its_buttons() {
    let rig = Rig::set(&[]).await;
    let places = rig.play().await;
    rig.app
        .browse(
            "demo.mjs",
            json!({"jira": places["jira"], "slack": places["slack"], "teams": places["teams"]}),
        )
        .await;
    rig.app.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_and_answer_on_the_dashboard() {
    let rig = Rig::set(&[("DASHBOARD_KEY", KEY)]).await;
    let alert = include_str!("../fixtures/vendor/azmon-logv1-common-adf-several-rows.json");
    let url = format!("{}azure-monitor", rig.app.base).parse().unwrap();
    let http = support::http();
    let request = http
        .request(reqwest::Method::POST, &url)
        .header("content-type", "application/json")
        .body(alert);
    assert_eq!(http.send("the app", request).await.unwrap().status, 200);
    rig.app.browse("sign_in.mjs", json!({"key": KEY})).await;
    rig.app.host.stop().await;
}

/// First byte of a page of the embedded store: what is promised of an optimized build, and what one without optimizations
/// keeps to while other tests run beside it (it takes about a fifth of that alone).
const FIRST_BYTE: Duration = if cfg!(debug_assertions) {
    Duration::from_millis(3000)
} else {
    Duration::from_millis(200)
};

#[tokio::test(flavor = "multi_thread")]
async fn people_find_their_way_among_five_thousand_tickets() {
    let place = Place::new().await;
    crowd::seed(place.storage(), Utc::now()).await;
    let app = place.start(BTreeMap::new()).await;
    let first_byte = u64::try_from(FIRST_BYTE.as_millis()).unwrap();
    let expected =
        json!({"tickets": crowd::TICKETS, "names": crowd::NAMES, "first_byte": first_byte});
    app.browse("crowd.mjs", expected).await;
    app.browse("script.mjs", json!({})).await;
    app.browse("silences.mjs", json!({})).await;
    app.host.stop().await;
}

/// The official package (npm `adaptivecards`) reads every card without complaint and shows each text as it was written.
#[tokio::test(flavor = "multi_thread")]
async fn cards_of_teams_are_parsed_and_rendered_by_the_official_package() {
    let site = std::sync::Arc::new(EmptyPage);
    let server = simulators::serve(0, site).await.unwrap();
    let cards = support::embedded_path().with_extension("cards.json");
    let made: Vec<Value> = (crate::teams::cards::samples().into_iter())
        .map(|(name, card, says)| json!({"name": name, "card": card, "says": says}))
        .collect();
    std::fs::write(&cards, json!(made).to_string()).unwrap();
    browse("cards.mjs", json!({"cards": cards, "page": server.url()})).await;
    std::fs::remove_file(&cards).unwrap();
}

/// Somewhere to show a card.
struct EmptyPage;

impl simulators::Site for EmptyPage {
    fn answer(&self, _: &simulators::Request) -> simulators::Answer {
        let page = "<!doctype html><html lang=\"en\"><title>Cards</title><link rel=\"icon\" href=\"data:,\"><body></body></html>";
        let answer = simulators::Answer::text(200, page);
        simulators::Answer {
            headers: vec![(
                "content-type".to_owned(),
                "text/html; charset=utf-8".to_owned(),
            )],
            ..answer
        }
    }
}
