//! `host.json` and the `function.json` files, read and refused as the Functions host does.
//!
//! Comes in: a directory. Goes out: an [`App`], in which every name, route, schedule and queue is valid
//! and every `%SETTING%` is resolved; functions of which that cannot be said are listed apart, and do not run. It does not know processes or storage. The JSON names live in the
//! private `wire` structs. Two layouts are read: the one Azure needs (`<root>/<Name>/function.json`) and,
//! only when there is none of those, our repository's (`<root>/functions/<Name>/function.json`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::HostError;
use super::route::RouteTemplate;
use super::schedule::Schedule;
use super::settings::{self, Settings};

mod wire;

/// The function app as its files describe it.
#[derive(Debug, Clone)]
pub struct App {
    /// Where `host.json` is; the handler's working directory.
    pub root: PathBuf,
    /// What `host.json` says.
    pub host: HostJson,
    /// In order of name; disabled ones included.
    pub functions: Vec<Function>,
    /// Those that cannot run, and why: the host goes on with the others.
    pub in_error: Vec<(String, String)>,
}

/// The part of `host.json` that drives a custom handler.
#[derive(Debug, Clone)]
pub struct HostJson {
    /// How to start the handler.
    pub handler: HandlerCommand,
    /// Rebuild HTTP requests for the handler, instead of wrapping them in JSON.
    pub forwards_http: bool,
    /// Stream HTTP requests to the handler; newer hosts only, and before `forwards_http`.
    pub proxies_http: bool,
    /// A fixed port for the handler, if one is asked for.
    pub handler_port: Option<u16>,
    /// Put before every route.
    pub route_prefix: String,
    /// How queues are read.
    pub queues: QueueOptions,
    /// How long a call may take; `None` is unlimited.
    pub function_timeout: Option<Duration>,
    /// `customHandler.initializationTimeout`, 30 seconds by default.
    pub initialization_timeout: Duration,
}

/// The process to start.
#[derive(Debug, Clone)]
pub struct HandlerCommand {
    /// The executable: a path if that file exists, else a name to look up.
    pub executable: PathBuf,
    /// Verbatim `defaultExecutablePath`: the package needs an entry of exactly this name.
    pub executable_name: String,
    /// Arguments, after splitting at spaces as the host's unquoted join makes the system do.
    pub arguments: Vec<String>,
    /// Its working directory.
    pub directory: PathBuf,
}

/// `extensions.queues`.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// Messages a receive asks for.
    pub batch_size: u8,
    /// The next batch is fetched when no more than this many are being worked on.
    pub new_batch_threshold: u16,
    /// The longest pause between looks at an empty queue.
    pub max_polling_interval: Duration,
    /// How long a failed message stays away.
    pub visibility_timeout: Duration,
    /// After this many failures a message moves to the poison queue.
    pub max_dequeue_count: u32,
    /// Are message texts base64?
    pub base64: bool,
}

/// One function.
#[derive(Debug, Clone)]
pub struct Function {
    /// The folder's name, exactly as on disk.
    pub name: String,
    /// What starts it.
    pub trigger: Trigger,
    /// Queue output bindings.
    pub outputs: Vec<QueueOutput>,
    /// Switched off by its file or by a setting.
    pub disabled: bool,
}

/// What starts a function.
#[derive(Debug, Clone)]
pub enum Trigger {
    /// A request at a route.
    Http(HttpTrigger),
    /// A message in a queue.
    Queue(QueueTrigger),
    /// A schedule.
    Timer(TimerTrigger),
}

/// `httpTrigger` with its `http` output.
#[derive(Debug, Clone)]
pub struct HttpTrigger {
    /// The whole route, prefix included.
    pub route: RouteTemplate,
    /// Upper-case method names; empty means all.
    pub methods: Vec<String>,
    /// Who may call it.
    pub lock: AuthLevel,
}

/// `queueTrigger`.
#[derive(Debug, Clone)]
pub struct QueueTrigger {
    /// Name of the binding: the key in `Data`.
    pub binding: String,
    /// The queue's full name.
    pub queue: String,
    /// `dataType: binary`: the body is passed as base64 of its bytes.
    pub binary: bool,
}

/// `timerTrigger`.
#[derive(Debug, Clone)]
pub struct TimerTrigger {
    /// Name of the binding: the key in `Data`.
    pub binding: String,
    /// When it runs.
    pub schedule: Schedule,
    /// Remember runs, and notice missed ones. Forced off for schedules of more than once a minute.
    pub use_monitor: bool,
    /// Run once at start.
    pub run_on_startup: bool,
}

/// A `queue` output binding.
#[derive(Debug, Clone)]
pub struct QueueOutput {
    /// Name of the binding, or `$return`.
    pub binding: String,
    /// The queue's full name.
    pub queue: String,
    /// `dataType: binary` keeps texts that happen to be base64 as they are.
    pub binary: bool,
}

/// `authLevel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthLevel {
    /// No key.
    Anonymous,
    /// A function key or a host key.
    Function,
    /// The master key.
    Admin,
}

impl App {
    /// Reads the files below `root`.
    pub fn read(root: &Path, settings: &Settings) -> Result<Self, HostError> {
        let root = root
            .canonicalize()
            .map_err(|error| HostError::unreadable(root, &error))?;
        let (host, allowed) = wire::read_host_json(&root, settings)?;
        let (mut functions, mut in_error) = (Vec::new(), Vec::new());
        for (name, file) in function_files(&root)? {
            if allowed
                .as_ref()
                .is_some_and(|allowed| !allowed.contains(&name))
            {
                continue;
            }
            match wire::read_function(&name, &file, &host.route_prefix, settings) {
                Ok(function) => functions.push(function),
                Err(HostError::Function { name, reason }) => in_error.push((name, reason)),
                Err(error) => return Err(error),
            }
        }
        if functions.is_empty() && in_error.is_empty() {
            return Err(HostError::NoFunctions { root });
        }
        refuse_twins(&functions)?;
        Ok(Self {
            root,
            host,
            functions,
            in_error,
        })
    }

    /// The functions that are not switched off.
    pub fn enabled(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(|function| !function.disabled)
    }

    /// The function with this name, without regard to case.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions
            .iter()
            .find(|function| function.name.eq_ignore_ascii_case(name))
    }
}

/// Function files by folder name: only immediate subfolders count.
pub(crate) fn function_files(root: &Path) -> Result<BTreeMap<String, PathBuf>, HostError> {
    let staged = files_in(root)?;
    let checkout = root.join("functions");
    if staged.is_empty() && checkout.is_dir() {
        files_in(&checkout)
    } else {
        Ok(staged)
    }
}

fn files_in(folder: &Path) -> Result<BTreeMap<String, PathBuf>, HostError> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|error| HostError::unreadable(folder, &error))? {
        let entry = entry.map_err(|error| HostError::unreadable(folder, &error))?;
        let file = entry.path().join("function.json");
        if file.is_file() {
            files.insert(entry.file_name().to_string_lossy().into_owned(), file);
        }
    }
    Ok(files)
}

/// Two functions with one name (but for case) or with one route and method: the host picks at random, we refuse.
fn refuse_twins(functions: &[Function]) -> Result<(), HostError> {
    for (index, function) in functions.iter().enumerate() {
        for other in functions.iter().skip(index + 1) {
            let same_name = function.name.eq_ignore_ascii_case(&other.name);
            let same_door = match (&function.trigger, &other.trigger) {
                (Trigger::Http(one), Trigger::Http(two)) => one.collides_with(two),
                _ => false,
            };
            if same_name || same_door {
                let what = if same_name { "the name" } else { "the route" };
                return Err(HostError::function(
                    &function.name,
                    format!("{what} is also that of {}", other.name),
                ));
            }
        }
    }
    Ok(())
}

impl HttpTrigger {
    fn collides_with(&self, other: &Self) -> bool {
        let shared = self.methods.is_empty()
            || other.methods.is_empty()
            || self
                .methods
                .iter()
                .any(|method| other.methods.contains(method));
        shared && self.route.text().eq_ignore_ascii_case(other.route.text())
    }

    /// Does it answer this method?
    pub fn takes(&self, method: &str) -> bool {
        self.methods.is_empty()
            || self
                .methods
                .iter()
                .any(|known| known.eq_ignore_ascii_case(method))
    }
}

/// `^[a-z][a-z0-9_-]{0,127}$` without regard to case, and not `host`.
fn valid_function_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && name.len() <= 128
        && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'))
        && !name.eq_ignore_ascii_case("host")
}

/// A letter, then letters and digits; or `$return` for an output.
fn valid_binding_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && name.len() <= 128
        && letters.all(|letter| letter.is_ascii_alphanumeric())
}

/// Lower-cases and checks a queue's name: 3 to 63 letters, digits and single hyphens, not at the ends.
fn queue_name(raw: &str, settings: &Settings) -> Result<String, String> {
    let name = settings::resolve(raw, settings)?.to_ascii_lowercase();
    let letters_fit = name
        .chars()
        .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    let hyphens_fit = !name.starts_with('-') && !name.ends_with('-') && !name.contains("--");
    if (3..=63).contains(&name.len()) && letters_fit && hyphens_fit {
        Ok(name)
    } else {
        Err(format!("`{name}` is no queue name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_the_host_does() {
        assert!(valid_function_name("Sweep") && valid_function_name("a-b_9"));
        assert!(
            !valid_function_name("9a")
                && !valid_function_name("HOST")
                && !valid_function_name("a.b")
        );
        assert!(!valid_function_name(&"a".repeat(129)));
        assert!(
            valid_binding_name("item2") && !valid_binding_name("it_em") && !valid_binding_name("")
        );
    }

    #[test]
    fn queue_names_resolve_settings_and_are_lower_cased() {
        let settings = Settings::from([("STORAGE_PREFIX".to_owned(), "Dev1".to_owned())]);
        assert_eq!(
            queue_name("%STORAGE_PREFIX%-failures", &settings).unwrap(),
            "dev1-failures"
        );
        assert!(
            queue_name("%NO_SUCH%-failures", &settings)
                .unwrap_err()
                .contains("NO_SUCH")
        );
        assert!(queue_name("a--b", &settings).is_err());
    }
}
