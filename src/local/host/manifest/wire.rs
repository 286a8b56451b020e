//! The JSON names of `host.json` and `function.json`: nowhere else.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    AuthLevel, Function, HandlerCommand, HostJson, HttpTrigger, QueueOptions, QueueOutput,
    QueueTrigger, TimerTrigger, Trigger, queue_name, valid_binding_name, valid_function_name,
};
use crate::local::host::HostError;
use crate::local::host::route::RouteTemplate;
use crate::local::host::schedule::{Schedule, parse_time_span};
use crate::local::host::settings::{self, Settings};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireHost {
    version: String,
    custom_handler: Option<WireHandler>,
    #[serde(default)]
    extensions: WireExtensions,
    function_timeout: Option<String>,
    functions: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireHandler {
    description: Option<WireDescription>,
    #[serde(default)]
    enable_forwarding_http_request: bool,
    #[serde(default)]
    enable_proxying_http_request: bool,
    initialization_timeout: Option<String>,
    port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescription {
    #[serde(default)]
    default_executable_path: String,
    #[serde(default)]
    arguments: Vec<String>,
    working_directory: Option<String>,
    worker_directory: Option<String>,
}

#[derive(Deserialize, Default)]
struct WireExtensions {
    #[serde(default)]
    http: WireHttp,
    #[serde(default)]
    queues: WireQueues,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct WireHttp {
    route_prefix: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct WireQueues {
    batch_size: Option<u8>,
    new_batch_threshold: Option<u16>,
    max_polling_interval: Option<String>,
    visibility_timeout: Option<String>,
    max_dequeue_count: Option<u32>,
    message_encoding: Option<String>,
}

#[derive(Deserialize)]
struct WireFunction {
    #[serde(default)]
    disabled: bool,
    bindings: Vec<WireBinding>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBinding {
    #[serde(rename = "type")]
    kind: String,
    direction: String,
    #[serde(default)]
    name: String,
    auth_level: Option<AuthLevel>,
    #[serde(default)]
    methods: Vec<String>,
    route: Option<String>,
    queue_name: Option<String>,
    data_type: Option<String>,
    schedule: Option<String>,
    use_monitor: Option<bool>,
    #[serde(default)]
    run_on_startup: bool,
}

/// `host.json`, and its allow list of functions.
pub(super) fn read_host_json(
    root: &Path,
    settings: &Settings,
) -> Result<(HostJson, Option<Vec<String>>), HostError> {
    let path = root.join("host.json");
    let refuse = |reason: String| HostError::HostJson {
        path: path.clone(),
        reason,
    };
    let text =
        std::fs::read_to_string(&path).map_err(|error| HostError::unreadable(&path, &error))?;
    let mut document: Value =
        serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    settings::override_host_json(&mut document, settings);
    let wire: WireHost = parse(document).map_err(&refuse)?;
    if wire.version != "2.0" {
        return Err(refuse(format!(
            "version is `{}`, must be \"2.0\"",
            wire.version
        )));
    }
    let handler = wire
        .custom_handler
        .ok_or_else(|| refuse("customHandler is missing".to_owned()))?;
    let description = handler
        .description
        .ok_or_else(|| refuse("customHandler.description is missing".to_owned()))?;
    let span = |text: &Option<String>, what: &str, default: Duration| match text {
        None => Ok(default),
        Some(text) => {
            parse_time_span(text).ok_or_else(|| refuse(format!("{what}: `{text}` is no time span")))
        }
    };
    let function_timeout = match wire.function_timeout.as_deref() {
        None => Some(Duration::from_mins(30)),
        Some("-1" | "-00:00:01") => None,
        Some(text) => Some(
            parse_time_span(text)
                .ok_or_else(|| refuse(format!("functionTimeout: `{text}` is no time span")))?,
        ),
    };
    let host = HostJson {
        handler: command(root, &description, settings).map_err(&refuse)?,
        forwards_http: handler.enable_forwarding_http_request,
        proxies_http: handler.enable_proxying_http_request,
        handler_port: handler.port,
        route_prefix: wire
            .extensions
            .http
            .route_prefix
            .unwrap_or_else(|| "api".to_owned()),
        queues: queues(&wire.extensions.queues, &span, &refuse)?,
        function_timeout,
        initialization_timeout: span(
            &handler.initialization_timeout,
            "initializationTimeout",
            Duration::from_secs(30),
        )?,
    };
    Ok((host, wire.functions))
}

fn queues(
    wire: &WireQueues,
    span: &impl Fn(&Option<String>, &str, Duration) -> Result<Duration, HostError>,
    refuse: &impl Fn(String) -> HostError,
) -> Result<QueueOptions, HostError> {
    let batch_size = wire.batch_size.unwrap_or(16);
    if !(1..=32).contains(&batch_size) {
        return Err(refuse(
            "extensions.queues.batchSize must be 1 to 32".to_owned(),
        ));
    }
    let max_dequeue_count = wire.max_dequeue_count.unwrap_or(5);
    if max_dequeue_count == 0 {
        return Err(refuse(
            "extensions.queues.maxDequeueCount must be 1 or more".to_owned(),
        ));
    }
    let max_polling_interval = span(
        &wire.max_polling_interval,
        "maxPollingInterval",
        Duration::from_secs(2),
    )?;
    if max_polling_interval < Duration::from_millis(100) {
        return Err(refuse(
            "extensions.queues.maxPollingInterval must be 100 ms or more".to_owned(),
        ));
    }
    let base64 = match wire
        .message_encoding
        .as_deref()
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        None | Some("base64") => true,
        Some("none") => false,
        Some(other) => {
            return Err(refuse(format!(
                "messageEncoding `{other}` is neither base64 nor none"
            )));
        }
    };
    Ok(QueueOptions {
        batch_size,
        new_batch_threshold: wire
            .new_batch_threshold
            .unwrap_or(u16::from(batch_size / 2)),
        max_polling_interval,
        visibility_timeout: span(
            &wire.visibility_timeout,
            "visibilityTimeout",
            Duration::ZERO,
        )?,
        max_dequeue_count,
        base64,
    })
}

fn command(
    root: &Path,
    description: &WireDescription,
    settings: &Settings,
) -> Result<HandlerCommand, String> {
    let name = description.default_executable_path.as_str();
    if name.is_empty() {
        return Err("customHandler.description.defaultExecutablePath is empty".to_owned());
    }
    let at = description
        .worker_directory
        .as_ref()
        .map_or_else(|| root.to_owned(), |folder| root.join(folder))
        .join(name);
    Ok(HandlerCommand {
        executable: if at.is_file() { at } else { name.into() },
        executable_name: name.to_owned(),
        arguments: settings::expand(&description.arguments.join(" "), settings)
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        directory: description
            .working_directory
            .as_ref()
            .map_or_else(|| root.to_owned(), |folder| root.join(folder)),
    })
}

/// One `function.json`.
pub(super) fn read_function(
    name: &str,
    file: &Path,
    prefix: &str,
    settings: &Settings,
) -> Result<Function, HostError> {
    let refuse = |reason: String| HostError::function(name, reason);
    if !valid_function_name(name) {
        return Err(refuse("the folder's name is no function name".to_owned()));
    }
    let text =
        std::fs::read_to_string(file).map_err(|error| HostError::unreadable(file, &error))?;
    let wire: WireFunction = serde_json::from_str(&text)
        .map_err(|error| error.to_string())
        .and_then(parse)
        .map_err(&refuse)?;
    let (inputs, outputs): (Vec<_>, Vec<_>) = wire
        .bindings
        .iter()
        .partition(|binding| binding.direction == "in");
    for binding in &wire.bindings {
        let returned = binding.name == "$return" && binding.direction == "out";
        if !valid_binding_name(&binding.name) && !returned {
            return Err(refuse(format!("`{}` is no binding name", binding.name)));
        }
        if !matches!(binding.direction.as_str(), "in" | "out") {
            return Err(refuse(format!(
                "binding {}: direction `{}` is not supported",
                binding.name, binding.direction
            )));
        }
    }
    let [trigger] = inputs.as_slice() else {
        return Err(refuse(format!(
            "needs exactly one trigger, has {} input bindings",
            inputs.len()
        )));
    };
    let disabled = wire.disabled || settings::disabled(name, settings);
    let (trigger, outputs) = match trigger.kind.to_ascii_lowercase().as_str() {
        "httptrigger" => (
            http_trigger(name, trigger, &outputs, prefix).map_err(&refuse)?,
            Vec::new(),
        ),
        "queuetrigger" => (
            queue_trigger(trigger, settings).map_err(&refuse)?,
            queue_outputs(&outputs, settings).map_err(&refuse)?,
        ),
        "timertrigger" => (
            timer_trigger(trigger, settings).map_err(&refuse)?,
            queue_outputs(&outputs, settings).map_err(&refuse)?,
        ),
        _ => {
            return Err(refuse(format!(
                "this host knows no trigger of type `{}`",
                trigger.kind
            )));
        }
    };
    Ok(Function {
        name: name.to_owned(),
        trigger,
        outputs,
        disabled,
    })
}

/// Exactly one trigger and one `http` output: with anything else Azure would wrap the request in JSON,
/// which this stand-in does not do.
fn http_trigger(
    name: &str,
    wire: &WireBinding,
    outputs: &[&WireBinding],
    prefix: &str,
) -> Result<Trigger, String> {
    if !matches!(outputs, [output] if output.kind.eq_ignore_ascii_case("http")) {
        return Err(
            "an HTTP function needs exactly one output, of type http, to be forwarded".to_owned(),
        );
    }
    let route = wire.route.as_deref().unwrap_or(name);
    let lowered = route.to_ascii_lowercase();
    if lowered.starts_with("admin") || lowered.starts_with("runtime") {
        return Err(format!("route `{route}` begins with a reserved word"));
    }
    let whole = if prefix.is_empty() {
        route.to_owned()
    } else {
        format!("{}/{route}", prefix.trim_matches('/'))
    };
    Ok(Trigger::Http(HttpTrigger {
        route: RouteTemplate::parse(&whole)?,
        methods: wire
            .methods
            .iter()
            .map(|method| method.to_ascii_uppercase())
            .collect(),
        lock: wire.auth_level.unwrap_or(AuthLevel::Function),
    }))
}

fn queue_trigger(wire: &WireBinding, settings: &Settings) -> Result<Trigger, String> {
    let queue = queue_name(
        wire.queue_name.as_deref().ok_or("queueName is missing")?,
        settings,
    )?;
    Ok(Trigger::Queue(QueueTrigger {
        binding: wire.name.clone(),
        queue,
        binary: binary(wire),
    }))
}

fn timer_trigger(wire: &WireBinding, settings: &Settings) -> Result<Trigger, String> {
    let raw = wire.schedule.as_deref().ok_or("schedule is missing")?;
    let schedule = Schedule::parse(&settings::resolve(raw, settings)?)?;
    let use_monitor = wire.use_monitor.unwrap_or(true) && !schedule.more_than_once_a_minute();
    Ok(Trigger::Timer(TimerTrigger {
        binding: wire.name.clone(),
        schedule,
        use_monitor,
        run_on_startup: wire.run_on_startup,
    }))
}

fn queue_outputs(wires: &[&WireBinding], settings: &Settings) -> Result<Vec<QueueOutput>, String> {
    let one = |wire: &&WireBinding| {
        if !wire.kind.eq_ignore_ascii_case("queue") {
            return Err(format!("this host knows no output of type `{}`", wire.kind));
        }
        let queue = queue_name(
            wire.queue_name.as_deref().ok_or("queueName is missing")?,
            settings,
        )?;
        Ok(QueueOutput {
            binding: wire.name.clone(),
            queue,
            binary: binary(wire),
        })
    };
    wires.iter().map(one).collect()
}

fn binary(wire: &WireBinding) -> bool {
    wire.data_type
        .as_deref()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("binary"))
}

fn parse<T: DeserializeOwned>(document: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(document).map_err(|error| error.to_string())
}
