//! Calling the handler: the POST of an envelope, the wait, the verdict, and what follows from it.
//!
//! [`Core`] is what all parts of a running host share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use chrono::Utc;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::child::{NotReady, Worker};
use super::event::{EventLog, HostEvent, Invocation, Outcome, StopReason};
use super::manifest::{App, Function};
use super::verdict::{Answer, Verdict, judge};
use super::{HOST_VERSION, HostOptions, Keys, Traceparent, group_of};
use crate::http::Http;

pub(super) const HOST_VERSION_HEADER: &str = "x-azure-functions-hostversion";
pub(super) const INVOCATION_HEADER: &str = "x-azure-functions-invocationid";

/// What all parts of a running host share.
#[derive(Debug)]
pub(super) struct Core {
    pub app: App,
    pub options: HostOptions,
    pub keys: Keys,
    pub workers: BTreeMap<String, Worker>,
    pub http: Http,
    pub events: EventLog,
    /// Why the host stops, once it does.
    pub stopping: watch::Sender<Option<StopReason>>,
    /// How much runs that the stop waits for.
    pub running: watch::Sender<usize>,
    calls: AtomicU64,
}

/// Work that the stop waits for; counts itself out when dropped.
pub(super) struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls = calls.saturating_sub(1));
    }
}

impl Core {
    pub(super) fn new(
        app: App,
        options: HostOptions,
        keys: Keys,
        workers: BTreeMap<String, Worker>,
        http: Http,
        events: EventLog,
        stopping: watch::Sender<Option<StopReason>>,
    ) -> Self {
        let running = watch::Sender::new(0);
        Self {
            app,
            options,
            keys,
            workers,
            http,
            events,
            stopping,
            running,
            calls: AtomicU64::new(0),
        }
    }

    /// Begins the stop; the first reason stays.
    pub(super) fn stop(&self, reason: StopReason) {
        stop(&self.stopping, reason);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.borrow().is_some()
    }

    /// Counts something in that the stop waits for.
    pub(super) fn begin(&self) -> Running {
        self.running.send_modify(|calls| *calls += 1);
        Running(self.running.clone())
    }

    /// Resolves when the stop begins.
    pub(super) async fn stop_begins(&self) {
        let mut stopping = self.stopping.subscribe();
        let _gone = stopping.wait_for(Option::is_some).await;
    }

    /// A client's time limit is the function's timeout; `None` is as good as a day.
    pub(super) fn function_timeout(&self) -> Duration {
        let timeout = self
            .options
            .knobs
            .function_timeout
            .or(self.app.host.function_timeout);
        timeout.unwrap_or(Duration::from_hours(24))
    }

    /// The process for a function, ready to be called, and its number. Waits as the host does: four
    /// times the start timeout, then the whole host ends.
    pub(super) async fn ready_worker(&self, function: &Function) -> Result<(&Worker, u64), String> {
        let group = group_of(self.options.instances, &function.name, &function.trigger);
        let worker = self
            .workers
            .get(&group)
            .ok_or("the function is switched off")?;
        let start = self
            .options
            .knobs
            .init_timeout
            .unwrap_or(self.app.host.initialization_timeout);
        match worker.ready(start * 4).await {
            Ok(number) => Ok((worker, number)),
            Err(NotReady::TimedOut) => {
                self.stop(StopReason::NeverReady);
                Err("the handler did not become ready: the host ends".to_owned())
            }
            Err(NotReady::Stopped) => Err("the host has ended".to_owned()),
        }
    }

    /// Headers that the host adds to every call.
    pub(super) fn host_headers(&self, id: Uuid) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST_VERSION_HEADER, HeaderValue::from_static(HOST_VERSION));
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            headers.insert(INVOCATION_HEADER, id);
        }
        if let Some(traceparent) = self.traceparent() {
            headers.insert("traceparent", traceparent);
        }
        headers
    }

    fn traceparent(&self) -> Option<HeaderValue> {
        let turn = self.calls.fetch_add(1, Ordering::Relaxed) % 3;
        let flags = match (self.options.knobs.traceparent, turn) {
            (Traceparent::Never, _) | (Traceparent::Sometimes, 0) => return None,
            (Traceparent::Sometimes, 1) => "00",
            _ => "01",
        };
        let (trace, span) = (
            Uuid::new_v4().simple().to_string(),
            Uuid::new_v4().simple().to_string(),
        );
        let span = span.get(..16)?;
        HeaderValue::from_str(&format!("00-{trace}-{span}-{flags}")).ok()
    }

    /// Runs one call of a queue or timer function; its answer's logs and outputs are taken care of.
    pub(super) async fn invoke(
        &self,
        function: &Function,
        detail: String,
        envelope: &Value,
    ) -> Outcome {
        let _running = self.begin();
        let (id, at, started) = (Uuid::new_v4(), Utc::now(), Instant::now());
        let (status, result) = self.attempt(function, id, envelope).await;
        let result = match result {
            Ok(answer) => self.accept(function, &answer).await,
            Err(reason) => Err(reason),
        };
        let outcome = result.map_or_else(Outcome::Failed, |()| Outcome::Succeeded);
        let took = started.elapsed();
        let function = function.name.clone();
        self.events.push(HostEvent::Invoked(Invocation {
            function,
            id,
            at,
            outcome: outcome.clone(),
            status,
            detail,
            took,
        }));
        outcome
    }

    async fn attempt(
        &self,
        function: &Function,
        id: Uuid,
        envelope: &Value,
    ) -> (Option<u16>, Result<Answer, String>) {
        let (worker, number) = match self.ready_worker(function).await {
            Ok(ready) => ready,
            Err(reason) => return (None, Err(reason)),
        };
        let timeout = self.function_timeout();
        let Ok(exchanged) = tokio::time::timeout(
            timeout,
            self.exchange(worker.port, &function.name, id, envelope),
        )
        .await
        else {
            worker.renew(number);
            return (
                None,
                Err(format!(
                    "timed out after {} s: the handler was killed",
                    timeout.as_secs_f32()
                )),
            );
        };
        let (status, verdict) = match exchanged {
            Ok(answered) => answered,
            Err(reason) => return (None, Err(reason)),
        };
        let result = match verdict {
            Verdict::Success(answer) => Ok(answer),
            Verdict::Failure(reason) => Err(reason),
            Verdict::Hang(why) => {
                self.events.push(HostEvent::Hang {
                    function: function.name.clone(),
                    why: why.to_owned(),
                });
                tokio::select! {
                    () = tokio::time::sleep(self.options.knobs.hang_timeout.min(timeout)) => worker.renew(number),
                    () = worker.replaced(number) => {}
                }
                Err(format!("hung: {why}"))
            }
        };
        (Some(status), result)
    }

    /// `POST /<FunctionName>`, chunked, and what came back.
    async fn exchange(
        &self,
        port: u16,
        name: &str,
        id: Uuid,
        envelope: &Value,
    ) -> Result<(u16, Verdict), String> {
        let url = url::Url::parse(&format!("http://127.0.0.1:{port}/{name}"))
            .map_err(|error| error.to_string())?;
        let body = Bytes::from(envelope.to_string());
        // A stream has no length: that makes it chunked.
        let body =
            reqwest::Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>(body)]));
        let request = self
            .http
            .request(reqwest::Method::POST, &url)
            .headers(self.host_headers(id))
            .header(USER_AGENT, format!("Azure-Functions-Host/{HOST_VERSION}"))
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .timeout(self.function_timeout() + Duration::from_mins(1))
            .body(body);
        let response = request.send().await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let text = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let content_type = text(CONTENT_TYPE);
        let content_length = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let body = response.bytes().await.map_err(|error| broken(&error))?;
        Ok((
            status,
            judge(status, content_type.as_deref(), content_length, &body),
        ))
    }

    /// Logs are logged, outputs are put into their queues; an output that cannot be written fails the call.
    async fn accept(&self, function: &Function, answer: &Answer) -> Result<(), String> {
        for text in &answer.logs {
            self.events.push(HostEvent::FunctionLog {
                function: function.name.clone(),
                text: text.clone(),
            });
        }
        for output in &function.outputs {
            let bare = self.bare(&output.queue).map_err(|error| error.clone())?;
            for message in answer.messages_for(output) {
                let text = if self.app.host.queues.base64 {
                    BASE64.encode(&message)
                } else {
                    String::from_utf8(message)
                        .map_err(|_| format!("output {}: not UTF-8", output.binding))?
                };
                self.options
                    .storage
                    .put_raw(&bare, &text)
                    .await
                    .map_err(|fault| fault.to_string())?;
            }
        }
        Ok(())
    }

    /// A queue's name as the storage wants it: without the prefix.
    pub(super) fn bare(&self, queue: &str) -> Result<String, String> {
        super::queue::bare_name(queue, &self.options.storage_prefix)
    }
}

/// Begins the stop; the first reason stays.
pub(super) fn stop(stopping: &watch::Sender<Option<StopReason>>, reason: StopReason) {
    stopping.send_if_modified(|known| known.is_none() && known.replace(reason).is_none());
}

/// Never holds the URL: it may carry a key.
pub(super) fn broken(error: &reqwest::Error) -> String {
    let what = if error.is_connect() {
        "the handler could not be reached"
    } else if error.is_timeout() {
        "the handler did not answer in time"
    } else {
        "the handler broke the connection"
    };
    what.to_owned()
}

/// Sleeps, but not into the stop.
pub(super) async fn pause(core: &Core, time: Duration) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = core.stop_begins() => {}
    }
}
