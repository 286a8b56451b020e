//! What the real host did, byte for byte (`tests/fixtures/host/`): every recorded client is played against the stand-in
//! around a recording handler, on both paths, and what the handler and the client got is compared.
//!
//! Not compared: dates, ids, ports, receipts, sizes of chunks, the host's own id and uptime.

#![expect(
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::match_wild_err_arm,
    reason = "a test that cannot go on should stop"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_rca::local::host::envelope::{self, CallIds, ScheduleStatus};
use aiops_rca::local::host::manifest::TimerTrigger;
use aiops_rca::local::host::schedule::Schedule;
use aiops_rca::local::host::{Host, HostOptions, Keys, RunningHost, Traceparent};
use aiops_rca::storage::Storage;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use regex::Regex;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::PATIENCE;
use crate::support;

/// This one was recorded over the proxying path, though it lies beside those that were forwarded.
const PROXIED: &str = "http-key-host-header";

/// Cases of which the recording holds no answer for the client: it had given up by then.
const NO_ANSWER_RECORDED: [&str; 1] = ["http-reply-delay-3s"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/host")
}

/// Everything that a handler got, in order.
type Got = Arc<Mutex<Vec<Vec<u8>>>>;

/// A handler that records, and answers what the header `x-rec-reply` says.
async fn record(listener: TcpListener, got: Got) {
    while let Ok((stream, _)) = listener.accept().await {
        let got = got.clone();
        tokio::spawn(async move { serve(stream, got).await });
    }
}

async fn serve(mut stream: TcpStream, got: Got) -> std::io::Result<()> {
    let Some(request) = message(&mut stream, false).await else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&request).into_owned();
    let reply = text
        .lines()
        .find_map(|line| line.strip_prefix("x-rec-reply: "))
        .map_or(Value::Null, |reply| serde_json::from_str(reply).unwrap());
    if !text.starts_with("GET / ") {
        got.lock().unwrap().push(request);
    }
    if reply["cut"] == true {
        return Ok(());
    }
    if let Some(delay) = reply["delay"].as_u64() {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    stream.write_all(&answer(&reply)).await?;
    // What was written arrives before the end.
    stream.shutdown().await?;
    while stream.read(&mut [0; 512]).await? > 0 {}
    Ok(())
}

fn answer(reply: &Value) -> Vec<u8> {
    let status = reply["status"].as_u64().unwrap_or(200);
    let reason = reply["reason"].as_str().unwrap_or("X");
    let body = match (&reply["chunkedBody"], &reply["body"]) {
        (Value::String(chunked), _) => chunked.clone(),
        (_, Value::String(body)) => body.clone(),
        _ => "{}".to_owned(),
    };
    let usual = serde_json::json!({"Content-Type": "application/json"});
    let headers = reply.get("headers").unwrap_or(&usual).as_object().unwrap();
    let mut text = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in headers {
        let values = match value {
            Value::Array(values) => values.clone(),
            one => vec![one.clone()],
        };
        for value in values {
            text.push_str(&format!("{name}: {}\r\n", value.as_str().unwrap()));
        }
    }
    let told = headers.contains_key("Content-Length")
        || reply["chunkedBody"].is_string()
        || reply["nolen"] == true;
    if !told {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(&body);
    text.into_bytes()
}

/// One request or answer as it stands on the wire; `None` when there is none. A reset is noted as the recorder noted it.
async fn message(stream: &mut TcpStream, headless: bool) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    loop {
        if is_whole(&read, headless) {
            return Some(read);
        }
        match tokio::time::timeout(PATIENCE, stream.read_buf(&mut read)).await {
            Ok(Ok(0)) => return (!read.is_empty()).then_some(read),
            Ok(Ok(_)) => {}
            Ok(Err(_)) => {
                read.extend_from_slice(b"ERR ECONNRESET");
                return Some(read);
            }
            Err(_) => panic!("nothing more came after {}", String::from_utf8_lossy(&read)),
        }
    }
}

fn is_whole(read: &[u8], headless: bool) -> bool {
    let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let body = &read[end + 4..];
    if headless || head.starts_with("http/1.1 204") || head.starts_with("http/1.1 304") {
        return true;
    }
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with(b"0\r\n\r\n");
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// What two recordings may differ in, replaced by its name.
fn alike(wire: &[u8]) -> String {
    static RULES: std::sync::LazyLock<Vec<(Regex, &str)>> = std::sync::LazyLock::new(|| {
        let rule = |pattern: &str, with: &'static str| (Regex::new(pattern).unwrap(), with);
        vec![
            rule(
                r"Date: \w{3}, \d\d \w{3} 20\d\d [\d:]{8} GMT",
                "Date: <date>",
            ),
            rule(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
            rule(r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:<port>"),
            rule(
                r#""(ExpirationTime|InsertionTime|NextVisibleTime)":"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00""#,
                "\"$1\":<seconds>",
            ),
            rule(
                r#""UtcNow":"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,6}[1-9])?Z""#,
                "\"UtcNow\":<ticks>",
            ),
            rule(
                r#""PopReceipt":"\\"[^"\\]+\\"""#,
                "\"PopReceipt\":<receipt>",
            ),
            rule(r#"\{"id":"[^"]*","state""#, "{\"id\":<host>,\"state\""),
            rule(r#""processUptime":\d+"#, "\"processUptime\":<uptime>"),
            rule(
                r"(?m)^Content-Length: \d+\r$\n((?:[^\r\n]+\r\n)*\r\n\{.id.:<host>)",
                "Content-Length: <length>\r\n$1",
            ),
        ]
    });
    let (head, body) = match wire.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(end) => wire.split_at(end + 4),
        None => (wire, &b""[..]),
    };
    let head = String::from_utf8_lossy(head).into_owned();
    let body = if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        String::from_utf8_lossy(&unchunked(body)).into_owned()
    } else {
        String::from_utf8_lossy(body).into_owned()
    };
    let mut text = format!("{head}{body}");
    for (pattern, with) in RULES.iter() {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    text
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
    whole
}

/// The shipped functions around a recording handler.
struct Rig {
    _folder: tempfile::TempDir,
    host: RunningHost,
    storage: Storage,
    got: Got,
}

impl Rig {
    async fn build(proxies: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR"));
        for function in std::fs::read_dir(from.join("functions")).unwrap() {
            let function = function.unwrap();
            let to = folder.path().join(function.file_name());
            std::fs::create_dir(&to).unwrap();
            let file = function.path().join("function.json");
            std::fs::copy(file, to.join("function.json")).unwrap();
        }
        let host = std::fs::read(from.join("host.json")).unwrap();
        let mut host: Value = serde_json::from_slice(&host).unwrap();
        host["customHandler"]["port"] = port.into();
        host["customHandler"]["description"] =
            serde_json::json!({"defaultExecutablePath": "sleep", "arguments": ["3600"]});
        // As it was when the recording was made.
        host["extensions"]["queues"]["messageEncoding"] = "base64".into();
        std::fs::write(folder.path().join("host.json"), host.to_string()).unwrap();

        let got = Got::default();
        tokio::spawn(record(listener, got.clone()));
        let storage = support::embedded();
        let prefix = "rca";
        let mut options = HostOptions::new(folder.path(), storage.clone(), prefix);
        let settings = [
            ("STORAGE_PREFIX", prefix),
            ("AzureWebJobs.Sweep.Disabled", "true"),
            ("AzureWebJobs.Patrol.Disabled", "true"),
        ];
        options.settings = settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        options.address.set_port(0);
        options.enable_auth = true;
        options.keys = Some(Keys {
            master: "K".repeat(56),
            host: format!("{}==", "K".repeat(54)),
            functions: BTreeMap::new(),
        });
        options.older_host = !proxies;
        options.knobs.traceparent = Traceparent::Never;
        options.knobs.poll_min = Duration::from_millis(10);
        options.knobs.poll_max = Some(Duration::from_millis(20));
        let host = Host::start(options).await.unwrap();
        assert!(host.ready(PATIENCE).await);
        Self {
            _folder: folder,
            host,
            storage,
            got,
        }
    }

    async fn play(&self, sent: &[u8]) -> Vec<u8> {
        let mut client = TcpStream::connect(("127.0.0.1", self.host.port()))
            .await
            .unwrap();
        client.write_all(sent).await.unwrap();
        message(&mut client, sent.starts_with(b"HEAD"))
            .await
            .unwrap_or_default()
    }

    /// Takes what the handler got, once it is that much.
    async fn take(&self, count: usize) -> Vec<Vec<u8>> {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.got.lock().unwrap().len() < count && std::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::mem::take(&mut *self.got.lock().unwrap())
    }
}

/// What the handler got in a case: the numbered repetitions first.
fn recorded(folder: &Path, case: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.strip_prefix(case)
                .is_some_and(|rest| rest.starts_with(".2-handler-got"))
        })
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

async fn every_case(path: &str, proxies: bool) {
    let folder = fixtures().join(path);
    let rig = Rig::build(proxies).await;
    let (mut wrong, mut played) = (Vec::new(), 0);
    let mut cases: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".1-client-sent.bin").map(str::to_owned)
        })
        .collect();
    cases.sort();
    let mut cases: Vec<(PathBuf, String)> = cases
        .into_iter()
        .map(|case| (folder.clone(), case))
        .filter(|(_, case)| case != PROXIED)
        .collect();
    if proxies {
        cases.push((fixtures().join("forward"), PROXIED.to_owned()));
    }
    for (folder, case) in cases {
        played += 1;
        let read = |part: &str| std::fs::read(folder.join(format!("{case}.{part}.bin"))).unwrap();
        let sent = read("1-client-sent");
        let client_got = rig.play(&sent).await;
        let expected = recorded(&folder, &case);
        let handler_got = rig.take(expected.len()).await;
        if !NO_ANSWER_RECORDED.contains(&case.as_str()) {
            let (real, ours) = (alike(&read("3-client-got")), alike(&client_got));
            if real != ours {
                wrong.push(format!("{case}: the client got\n{ours}\n-- not\n{real}"));
            }
        }
        // What the run of a timer makes of the handler was not recorded.
        let handler_got: Vec<Vec<u8>> = handler_got
            .into_iter()
            .filter(|wire| !wire.starts_with(b"POST /Sweep "))
            .collect();
        let real: Vec<String> = expected.iter().map(|wire| alike(wire)).collect();
        let ours: Vec<String> = handler_got.iter().map(|wire| alike(wire)).collect();
        if real != ours {
            wrong.push(format!(
                "{case}: the handler got\n{ours:#?}\n-- not\n{real:#?}"
            ));
        }
    }
    rig.host.stop().await;
    assert!(played > 60, "{played} cases");
    assert!(
        wrong.is_empty(),
        "{} of {played}:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_forwarded_as_the_real_host_forwards_them() {
    every_case("forward", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_proxied_as_the_real_host_proxies_them() {
    every_case("proxy", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_enveloped_as_the_real_host_envelops_them() {
    let folder = fixtures().join("envelopes");
    let rig = Rig::build(true).await;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("queue-") {
            continue;
        }
        let real = std::fs::read(&path).unwrap();
        let start = real
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        let envelope: Value = serde_json::from_slice(&unchunked(&real[start..])).unwrap();
        let told = envelope["Data"]["item"].as_str().unwrap();
        let text: String = serde_json::from_str(told).unwrap();
        let queue = if name == "queue-poison-envelope" {
            "failures-poison"
        } else {
            "failures"
        };
        let mut wire = BASE64.encode(text);
        if name == "queue-base64-with-newline" {
            wire.push('\n');
        }
        let put = rig.storage.put(queue, &wire, Duration::ZERO);
        put.await.unwrap();
        let got = rig.take(1).await;
        let ours: Vec<String> = got.iter().map(|wire| alike(wire)).collect();
        if ours != [alike(&real)] {
            wrong.push(format!(
                "{name}: the handler got\n{ours:#?}\n-- not\n{}",
                alike(&real)
            ));
        }
    }
    rig.host.stop().await;
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn timers_are_told_what_the_real_host_tells_them() {
    let trigger = TimerTrigger {
        binding: "timer".to_owned(),
        schedule: Schedule::parse("0 * * * * *").unwrap(),
        use_monitor: true,
        run_on_startup: false,
    };
    for (name, past_due) in [("timer-first-ever", false), ("timer-past-due", true)] {
        let real = std::fs::read(fixtures().join(format!("envelopes/{name}.bin"))).unwrap();
        let start = real
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        let real = String::from_utf8(unchunked(&real[start..])).unwrap();
        let read: Value = serde_json::from_str(&real).unwrap();
        let sys = &read["Metadata"]["sys"];
        let told = &read["Data"]["timer"]["ScheduleStatus"];
        let at = |value: &Value| value.as_str().unwrap().parse().ok();
        let run =
            |value: &Value| at(value).filter(|_| !value.as_str().unwrap().starts_with("0001"));
        let status = ScheduleStatus {
            last: run(&told["Last"]),
            next: at(&told["Next"]).unwrap(),
            last_updated: run(&told["LastUpdated"]),
        };
        let call = CallIds {
            rand_guid: sys["RandGuid"].as_str().unwrap().parse().unwrap(),
            utc_now: at(&sys["UtcNow"]).unwrap(),
        };
        let ours = envelope::timer("Sweep", &trigger, Some(&status), past_due, &call);
        assert_eq!(ours, real, "{name}");
    }
}
