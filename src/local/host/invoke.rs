//! Calling the handler: the POST of an envelope, the wait, the verdict, and what follows from it.
//!
//! [`Core`] is what all parts of a running host share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::Utc;
use tokio::sync::watch;
use uuid::Uuid;

use super::call::{Broken, Outgoing};
use super::child::{NotReady, Worker};
use super::event::{EventLog, HostEvent, Invocation, Outcome, StopReason};
use super::http1::Headers;
use super::manifest::{App, AuthLevel, Function};
use super::verdict::{Answer, Verdict, judge};
use super::{HOST_VERSION, HostOptions, Keys, Traceparent, group_of};

/// From a function's timeout to the kill of its process. Another call that times out until then stops the host.
const KILL_AFTER: Duration = Duration::from_secs(2);

/// What all parts of a running host share.
#[derive(Debug)]
pub(super) struct Core {
    pub app: App,
    pub options: HostOptions,
    pub keys: Keys,
    pub workers: BTreeMap<String, Worker>,
    pub events: EventLog,
    /// Why the host stops, once it does.
    pub stopping: watch::Sender<Option<StopReason>>,
    /// Requests that are being answered: the stop waits for them, however long they take.
    pub answering: watch::Sender<usize>,
    /// No message is fetched any more: what runs has a short time.
    pub draining: watch::Sender<bool>,
    /// How many calls of queues and timers run.
    pub running: watch::Sender<usize>,
    /// When it was started.
    pub started: Instant,
    calls: AtomicU64,
    /// Processes that are about to be killed because a call timed out, by port and number.
    doomed: Mutex<BTreeSet<(u16, u64)>>,
}

/// Work that the stop waits for; counts itself out when dropped.
pub(super) struct Running(watch::Sender<usize>);

impl Running {
    fn begin(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|calls| *calls += 1);
        Self(count.clone())
    }
}

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
        events: EventLog,
        stopping: watch::Sender<Option<StopReason>>,
    ) -> Self {
        Self {
            app,
            options,
            keys,
            workers,
            events,
            stopping,
            answering: watch::Sender::new(0),
            draining: watch::Sender::new(false),
            running: watch::Sender::new(0),
            started: Instant::now(),
            calls: AtomicU64::new(0),
            doomed: Mutex::default(),
        }
    }

    /// Begins the stop; the first reason stays.
    pub(super) fn stop(&self, reason: StopReason) {
        stop(&self.stopping, reason);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.borrow().is_some()
    }

    /// Do queues and timers still look for work? They do while the last requests are answered.
    pub(super) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Resolves when they end.
    pub(super) async fn drain_begins(&self) {
        let mut draining = self.draining.subscribe();
        let _gone = draining.wait_for(|draining| *draining).await;
    }

    /// Counts a call in that the stop waits for.
    pub(super) fn begin(&self) -> Running {
        Running::begin(&self.running)
    }

    /// Counts a request in.
    pub(super) fn begin_http(&self) -> Running {
        Running::begin(&self.answering)
    }

    /// A setting of the app, if it is one of that kind.
    pub(super) fn setting<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.options.settings.get(name)?.parse().ok()
    }

    /// May a caller with this key pass this lock?
    pub(super) fn lets_in(&self, lock: AuthLevel, function: &str, key: Option<&str>) -> bool {
        !self.options.enable_auth || self.keys.open(lock, function, key)
    }

    /// A call reached the function's timeout: its process is killed a little later, free of charge. Two calls that do so
    /// together bring the host to its end: an error in its own clean-up.
    pub(super) fn timed_out(self: &Arc<Self>, worker: &Worker, number: u64) {
        let doomed = (worker.port, number);
        let first = self
            .doomed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(doomed);
        if !first {
            return self.stop(StopReason::TimedOutTogether);
        }
        let core = Arc::clone(self);
        let grace = self.options.knobs.kill_after.unwrap_or(KILL_AFTER);
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            let worker = core.workers.values().find(|worker| worker.port == doomed.0);
            if let Some(worker) = worker {
                worker.renew(number);
            }
        });
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
    /// and a half times the start timeout, then the whole host ends.
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
        // 135 seconds for the usual 30.
        match worker.ready(start * 9 / 2).await {
            Ok(number) => Ok((worker, number)),
            Err(NotReady::TimedOut) => {
                self.stop(StopReason::NeverReady);
                Err("the handler did not become ready: the host ends".to_owned())
            }
            Err(NotReady::Stopped) => Err("the host has ended".to_owned()),
        }
    }

    /// Headers that the host adds to every call.
    pub(super) fn host_headers(&self, id: Uuid) -> Headers {
        let mut headers = Headers::default();
        headers.push("X-Azure-Functions-HostVersion", HOST_VERSION);
        headers.push("X-Azure-Functions-InvocationId", id.to_string());
        if let Some(traceparent) = self.traceparent() {
            headers.push("traceparent", traceparent);
        }
        headers
    }

    fn traceparent(&self) -> Option<String> {
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
        Some(format!("00-{trace}-{span}-{flags}"))
    }

    /// Runs one call of a queue or timer function; its answer's logs and outputs are taken care of.
    pub(super) async fn invoke(
        self: &Arc<Self>,
        function: &Function,
        detail: String,
        envelope: &str,
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
        self: &Arc<Self>,
        function: &Function,
        id: Uuid,
        envelope: &str,
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
            self.timed_out(worker, number);
            return (
                None,
                Err(format!(
                    "timed out after {} s: the handler is killed",
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
                let patience = self
                    .options
                    .knobs
                    .hang_timeout
                    .unwrap_or(timeout)
                    .min(timeout);
                tokio::select! {
                    () = tokio::time::sleep(patience) => self.timed_out(worker, number),
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
        envelope: &str,
    ) -> Result<(u16, Verdict), String> {
        let mut headers = Headers::default();
        headers.push("Host", format!("127.0.0.1:{port}"));
        headers.0.extend(self.host_headers(id).0);
        headers.push("User-Agent", format!("Azure-Functions-Host/{HOST_VERSION}"));
        headers.push("Transfer-Encoding", "chunked");
        headers.push("Content-Type", "application/json; charset=utf-8");
        let outgoing = Outgoing {
            method: "POST".to_owned(),
            target: format!("/{name}"),
            headers,
            body: envelope.to_owned().into(),
            chunked: true,
        };
        let answered = outgoing.send(port).await.map_err(Broken::reason)?;
        let (head, body) = answered.body().await.map_err(Broken::reason)?;
        let content_length = head
            .headers
            .text("content-length")
            .and_then(|length| length.parse().ok());
        let verdict = judge(
            head.status,
            head.headers.text("content-type"),
            content_length,
            &body,
        );
        Ok((head.status, verdict))
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
                    .put(&bare, &text, Duration::ZERO)
                    .await
                    .map_err(|fault| fault.to_string())?;
            }
        }
        Ok(())
    }

    /// A queue's name as the storage wants it: without the prefix.
    pub(super) fn bare(&self, queue: &str) -> Result<String, String> {
        super::bare_name(queue, &self.options.storage_prefix)
    }
}

/// Begins the stop; the first reason stays.
pub(super) fn stop(stopping: &watch::Sender<Option<StopReason>>, reason: StopReason) {
    stopping.send_if_modified(|known| known.is_none() && known.replace(reason).is_none());
}

/// Sleeps, but not into the drain.
pub(super) async fn pause(core: &Core, time: Duration) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = core.drain_begins() => {}
    }
}
