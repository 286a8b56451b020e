//! A handler for the tests of the stand-in host: it does what the call tells it to.
//!
//! HTTP calls are answered with what arrived (`/echo…`), or by the last segment of the path. Envelope
//! calls are answered by the words of the message, or of `SCRIPT_TIMER` for timers. Every envelope call is
//! appended as a JSON line to the file `SCRIPT_RECORD`. `SCRIPT_START` plays at the start: `exit:<code>`,
//! `exit-once:<code>`, `silent` (never listens), `stderr:<text>`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is what the tests look at"
)]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test program: what is wrong ends it"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a test program, told by its environment what to do"
)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use warp::http::{HeaderMap, Method, Response};
use warp::{Filter, Reply};

type Answer = warp::reply::Response;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let setting = |name: &str| std::env::var(name).unwrap_or_default();
    let port: u16 = setting("FUNCTIONS_CUSTOMHANDLER_PORT")
        .parse()
        .expect("a port");
    match setting("SCRIPT_START").split_once(':') {
        Some(("exit", code)) => std::process::exit(code.parse().expect("a code")),
        Some(("exit-once", code)) => {
            let mark = setting("SCRIPT_MARK");
            if !std::path::Path::new(&mark).exists() {
                std::fs::write(mark, "").expect("the mark");
                std::process::exit(code.parse().expect("a code"));
            }
        }
        Some(("stderr", text)) => eprintln!("{text}"),
        _ => {}
    }
    if setting("SCRIPT_START") == "silent" {
        std::future::pending::<()>().await;
    }
    println!(
        "{}",
        json!({"level": "INFO", "fields": {"message": "listening", "port": port}})
    );
    let all = warp::method()
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(body())
        .then(answer);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .expect("the port");
    warp::serve(all).incoming(listener).run().await;
}

fn body() -> impl Filter<Extract = (Vec<u8>,), Error = warp::Rejection> + Copy {
    warp::body::stream().and_then(collect)
}

async fn collect<B: warp::Buf>(
    stream: impl futures::Stream<Item = Result<B, warp::Error>>,
) -> Result<Vec<u8>, warp::Rejection> {
    let mut whole = Vec::new();
    let mut stream = std::pin::pin!(stream);
    while let Some(piece) = stream.next().await {
        let mut piece = piece.map_err(|_| warp::reject::reject())?;
        while piece.has_remaining() {
            let chunk = piece.chunk().to_vec();
            piece.advance(chunk.len());
            whole.extend(chunk);
        }
    }
    Ok(whole)
}

async fn answer(
    method: Method,
    path: warp::path::FullPath,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
) -> Answer {
    let path = path.as_str().to_owned();
    if path == "/" {
        return typed(200, "text/plain", "ready");
    }
    let is_envelope = headers
        .get("content-type")
        .is_some_and(|kind| kind == "application/json; charset=utf-8")
        && serde_json::from_slice::<Value>(&body).is_ok_and(|body| body.get("Metadata").is_some());
    if is_envelope {
        return envelope(&path, &headers, &body).await;
    }
    let mut all = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in &headers {
        all.entry(name.to_string())
            .or_default()
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    if let Some(word) = path.strip_prefix("/do/") {
        return act(word).await;
    }
    let echo = json!({
        "method": method.as_str(), "path": path, "query": query, "headers": all, "body": String::from_utf8_lossy(&body),
        "pid": std::process::id(), "app_root": std::env::var("FUNCTIONS_APP_ROOT_PATH").ok(),
        "worker_id": std::env::var("FUNCTIONS_CUSTOMHANDLER_WORKER_ID").ok(), "old_worker_id": std::env::var("FUNCTIONS_HTTPWORKER_ID").ok(),
        "port": std::env::var("FUNCTIONS_CUSTOMHANDLER_PORT").ok(), "old_port": std::env::var("FUNCTIONS_HTTPWORKER_PORT").ok(),
        "cwd": std::env::current_dir().ok(), "arguments": std::env::args().skip(1).collect::<Vec<_>>(),
    });
    let mut reply = typed(201, "application/json", &echo.to_string());
    reply
        .headers_mut()
        .append("set-cookie", "a=1".parse().expect("a header"));
    reply
        .headers_mut()
        .append("set-cookie", "b=2".parse().expect("a header"));
    reply
}

async fn envelope(path: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
    let call: Value = serde_json::from_slice(body).expect("an envelope");
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let record = json!({
        "path": path, "envelope": call, "pid": std::process::id(),
        "chunked": text("transfer-encoding"), "length": text("content-length"), "traceparent": text("traceparent"),
        "agent": text("user-agent"), "invocation": text("x-azure-functions-invocationid"), "version": text("x-azure-functions-hostversion"),
    });
    if let Ok(file) = std::env::var("SCRIPT_RECORD") {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .expect("the record");
        file.write_all(format!("{record}\n").as_bytes())
            .expect("the record");
    }
    let item = call["Data"]["item"].as_str().map(str::to_owned);
    let word = item.map_or_else(
        || std::env::var("SCRIPT_TIMER").unwrap_or_default(),
        |item| serde_json::from_str::<String>(&item).unwrap_or_default(),
    );
    act(&word).await
}

async fn act(word: &str) -> Answer {
    let fine = r#"{"Outputs":{},"Logs":["done"],"ReturnValue":null}"#;
    let (verb, rest) = word.split_once(':').unwrap_or((word, ""));
    match verb {
        "empty" => typed(200, "application/json", ""),
        "null" => typed(200, "application/json", "null"),
        "no-content" => Response::builder()
            .status(204)
            .body(bytes::Bytes::new())
            .expect("an answer")
            .into_response(),
        "text" => typed(200, "text/plain", fine),
        "status" => typed(rest.parse().expect("a status"), "application/json", fine),
        "redirect" => Response::builder()
            .status(302)
            .header("location", "/elsewhere")
            .body(bytes::Bytes::new())
            .expect("an answer")
            .into_response(),
        "answer" => typed(200, "application/json", rest),
        "slow" => {
            tokio::time::sleep(Duration::from_millis(rest.parse().expect("milliseconds"))).await;
            typed(200, "application/json", fine)
        }
        "exit" => std::process::exit(rest.parse().expect("a code")),
        "stderr" => {
            eprintln!("{rest}");
            typed(200, "application/json", fine)
        }
        _ => typed(200, "application/json", fine),
    }
}

fn typed(status: u16, kind: &str, body: &str) -> Answer {
    let body = bytes::Bytes::from(body.to_owned());
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(body)
        .expect("an answer")
        .into_response()
}
