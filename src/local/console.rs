//! The host on a terminal: a table at the start, then one line for everything that happens.
//!
//! Comes in: a [`RunningHost`] and its events. Goes out: lines on stdout, coloured on a terminal. It does
//! not decide anything. The handler's own JSON log lines are shown compactly; everything else verbatim,
//! with control characters made visible.

use std::fmt::Write as _;
use std::io::Write as _;

use chrono::{DateTime, Utc};
use owo_colors::{OwoColorize, Stream, Style};
use serde_json::Value;

use super::host::event::{EventStream, HostEvent, Invocation, LineLevel, Outcome, StopReason};
use super::host::manifest::{App, AuthLevel, Trigger};
use super::host::{HOST_VERSION, RunningHost};
use crate::redaction::clean;

/// Writes lines; whether in colours is decided once.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    colours: bool,
}

impl Console {
    /// Colours when stdout is a terminal that wants them.
    pub fn for_terminal() -> Self {
        // The library decides while it writes: what it wrote tells.
        let bold = "x"
            .if_supports_color(Stream::Stdout, |text| text.bold())
            .to_string();
        Self {
            colours: bold != "x",
        }
    }

    /// Never colours.
    pub fn plain() -> Self {
        Self { colours: false }
    }

    /// Prints the table of functions.
    pub fn print_table(self, host: &RunningHost) {
        let mut text = self.table(host.app(), |path| host.url(path));
        if let Some(keys) = host.keys() {
            let _infallible = write!(
                text,
                "\nKeys of this run (x-functions-key or ?code=)\n  host   {}\n  master {}\n",
                keys.host, keys.master
            );
        }
        print(&text);
    }

    /// Prints events until the host has stopped: all, or only those that say that something went wrong.
    pub async fn follow(self, mut events: EventStream, all: bool) {
        while let Some(event) = events.next().await {
            if all || is_trouble(&event) {
                print(&format!("{}\n", self.line(&event, Utc::now())));
            }
            if matches!(event, HostEvent::Stopped(_)) {
                return;
            }
        }
    }

    /// What runs where, as text.
    pub fn table(self, app: &App, url: impl Fn(&str) -> String) -> String {
        let mut text = format!(
            "{}\nStands in for the Azure Functions host {HOST_VERSION}: same files, same calls, this machine only.\nRoot {}\n",
            self.paint("aiops-rca local: a development host", Style::new().bold()),
            app.root.display()
        );
        let section = |text: &mut String, title: &str, rows: Vec<[String; 3]>| {
            if !rows.is_empty() {
                let _infallible = write!(
                    text,
                    "\n{}\n{}",
                    self.paint(title, Style::new().bold()),
                    aligned(&rows)
                );
            }
        };
        let (mut http, mut queues, mut timers) = (Vec::new(), Vec::new(), Vec::new());
        for function in &app.functions {
            let name = if function.disabled {
                format!("{} (off)", function.name)
            } else {
                function.name.clone()
            };
            match &function.trigger {
                Trigger::Http(trigger) => {
                    let methods = if trigger.methods.is_empty() {
                        "any".to_owned()
                    } else {
                        trigger.methods.join(",")
                    };
                    let lock = match trigger.lock {
                        AuthLevel::Anonymous => "",
                        AuthLevel::Function => "  function key",
                        AuthLevel::Admin => "  master key",
                    };
                    http.push([
                        name,
                        methods,
                        format!("{}{lock}", url(trigger.route.text())),
                    ]);
                }
                Trigger::Queue(trigger) => {
                    queues.push([name, "queue".to_owned(), trigger.queue.clone()]);
                }
                Trigger::Timer(trigger) => {
                    timers.push([name, "timer".to_owned(), trigger.schedule.text().to_owned()]);
                }
            }
        }
        section(&mut text, "HTTP", http);
        section(&mut text, "Queues", queues);
        section(&mut text, "Timers", timers);
        text.push('\n');
        text
    }

    /// One event as one line (an exit also shows what was last on stderr).
    pub fn line(self, event: &HostEvent, now: DateTime<Utc>) -> String {
        let (good, bad, dim) = (
            Style::new().green(),
            Style::new().red().bold(),
            Style::new().dimmed(),
        );
        let loud = Style::new().white().on_red().bold();
        let text = match event {
            HostEvent::ChildStarted { group, pid, port } => self.paint(&format!("{group}: process {pid} on port {port}"), dim),
            HostEvent::ChildReady { group, after, .. } => {
                self.paint(&format!("{group}: ready after {} ms", after.as_millis()), good)
            }
            HostEvent::ChildExited { group, how, counted, last_errors } => {
                let count = counted.map_or_else(|| "restart".to_owned(), |count| format!("error {count} of 3"));
                let said = last_errors.iter().map(|line| clean(line)).collect::<Vec<_>>().join("\n          ");
                let said = if said.is_empty() { said } else { format!("\n          {said}") };
                self.paint(&format!("{group}: {how} ({count}){said}"), bad)
            }
            HostEvent::ChildLine { level, text, .. } => self.child_line(*level, text),
            HostEvent::Invoked(call) => self.invocation(call),
            HostEvent::FunctionLog { function, text } => self.paint(&format!("{function}: {}", clean(text)), dim),
            HostEvent::Hang { function, why } => {
                self.paint(&format!(" HANG in {function}: {why}; Azure would wait for the timeout, then kill the handler "), loud)
            }
            HostEvent::Poisoned { function, queue, message, why } => {
                self.paint(&format!("{function}: message {message} moved to {queue}: {}", clean(why)), bad)
            }
            HostEvent::Stuck { function, message, why } => {
                self.paint(&format!("{function}: message {message} stays, hidden for now: {}", clean(why)), bad)
            }
            HostEvent::InError { function, why } => {
                self.paint(&format!("{function} does not run: {}", clean(why)), bad)
            }
            HostEvent::Refused { method, path, status } => {
                self.paint(&format!("{method} {} → {status}, the handler was not called", clean(path)), dim)
            }
            HostEvent::StoreTrouble { queue, why } => self.paint(&format!("queue {queue}: {}", clean(why)), bad),
            HostEvent::Stopped(reason) => match reason {
                StopReason::Asked => self.paint("stopped", dim),
                StopReason::TooManyCrashes => self.paint("the handler crashed too often: the host ends, as in Azure", bad),
                StopReason::TimedOutTogether => self.paint("two calls timed out together: the host ends, as in Azure", bad),
                StopReason::NeverReady => self.paint("the handler never answered GET /: the host ends, as in Azure", bad),
            },
        };
        format!("{}  {text}", self.paint(&clock(event, now), dim))
    }

    fn invocation(self, call: &Invocation) -> String {
        let took = call.took.as_millis();
        let status = call
            .status
            .map_or_else(|| "---".to_owned(), |status| status.to_string());
        let style = match (&call.outcome, call.status) {
            (Outcome::Failed(_), _) => Style::new().red().bold(),
            (_, Some(status)) if status >= 500 => Style::new().red(),
            (_, Some(status)) if status >= 400 => Style::new().yellow(),
            _ => Style::new().green(),
        };
        let why = match &call.outcome {
            Outcome::Succeeded => String::new(),
            Outcome::Failed(reason) => format!("  failed: {}", clean(reason)),
        };
        format!(
            "{}  {:<20} {:>5} ms  {}{}",
            self.paint(&status, style),
            call.function,
            took,
            self.paint(&clean(&call.detail), Style::new().dimmed()),
            self.paint(&why, style)
        )
    }

    fn child_line(self, level: LineLevel, text: &str) -> String {
        let compact = compact(text).unwrap_or_else(|| clean(text).into_owned());
        let style = match level {
            LineLevel::Information | LineLevel::System => Style::new().dimmed(),
            LineLevel::Warning => Style::new().yellow(),
            LineLevel::Error => Style::new().red(),
        };
        self.paint(&format!("│ {compact}"), style)
    }

    fn paint(self, text: &str, style: Style) -> String {
        if self.colours {
            text.style(style).to_string()
        } else {
            text.to_owned()
        }
    }
}

/// Does the event say that something went wrong in the host or in the handler? What a sink or a vendor refuses is shown
/// on the ticket.
fn is_trouble(event: &HostEvent) -> bool {
    match event {
        HostEvent::ChildExited { counted, .. } => counted.is_some(),
        HostEvent::Invoked(call) => matches!(call.outcome, Outcome::Failed(_)),
        HostEvent::Hang { .. }
        | HostEvent::Poisoned { .. }
        | HostEvent::Stuck { .. }
        | HostEvent::InError { .. }
        | HostEvent::StoreTrouble { .. } => true,
        HostEvent::Stopped(reason) => !matches!(reason, StopReason::Asked),
        HostEvent::ChildStarted { .. }
        | HostEvent::ChildReady { .. }
        | HostEvent::ChildLine { .. }
        | HostEvent::FunctionLog { .. }
        | HostEvent::Refused { .. } => false,
    }
}

/// When it happened, to the second.
fn clock(event: &HostEvent, now: DateTime<Utc>) -> String {
    let at = match event {
        HostEvent::Invoked(call) => call.at,
        _ => now,
    };
    at.format("%H:%M:%S").to_string()
}

/// `{"level":"INFO","fields":{"message":"x","a":1}}` as `INFO x a=1`.
fn compact(text: &str) -> Option<String> {
    let Ok(Value::Object(mut line)) = serde_json::from_str(text) else {
        return None;
    };
    let mut fields = match line.remove("fields") {
        Some(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let level = line.remove("level")?.as_str()?.to_owned();
    for noise in [
        "timestamp",
        "target",
        "span",
        "spans",
        "filename",
        "line_number",
        "threadId",
    ] {
        line.remove(noise);
    }
    fields.append(&mut line);
    let message = fields
        .remove("message")
        .map(|message| scalar(&message))
        .unwrap_or_default();
    let mut out = format!("{level} {}", clean(&message));
    for (name, value) in &fields {
        let _infallible = write!(out, " {name}={}", clean(&scalar(value)));
    }
    Some(out)
}

fn scalar(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Columns as wide as their widest cell.
fn aligned(rows: &[[String; 3]]) -> String {
    let width = |pick: fn(&[String; 3]) -> &String| {
        rows.iter()
            .map(|row| pick(row).chars().count())
            .max()
            .unwrap_or_default()
    };
    let (first, second) = (width(|[cell, _, _]| cell), width(|[_, cell, _]| cell));
    let mut text = String::new();
    for [one, two, three] in rows {
        let _infallible = writeln!(text, "  {one:first$}  {two:second$}  {three}");
    }
    text
}

/// A closed stdout (`| head`) is no reason to stop the host.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_log_lines_become_compact() {
        let line = r#"{"timestamp":"t","level":"INFO","fields":{"message":"ticket opened","ticket.id":"ADF-1","n":2},"target":"x"}"#;
        assert_eq!(
            compact(line).unwrap(),
            "INFO ticket opened n=2 ticket.id=ADF-1"
        );
        assert_eq!(
            compact(r#"{"level":"WARN","message":"flat","a":true}"#).unwrap(),
            "WARN flat a=true"
        );
        assert_eq!(compact("plain"), None);
        assert_eq!(compact("[1]"), None);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let event = HostEvent::ChildLine {
            group: "g".to_owned(),
            level: LineLevel::Error,
            text: "a\u{1b}[2Jb".to_owned(),
        };
        let line = Console::plain().line(&event, DateTime::UNIX_EPOCH);
        assert_eq!(line, "00:00:00  │ ab");
    }
}
