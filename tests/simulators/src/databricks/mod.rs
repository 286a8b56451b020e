//! A Databricks workspace: jobs, runs, repairs, clusters, events, libraries.
//!
//! Everything is kept as the JSON that the API sends. What takes time (a run, a repair, a start, an installation)
//! goes on a step at each look and ends as scripted. The rules that playbooks stumble over are the real ones: a
//! running run cannot be repaired, the second repair must name the first, only running clusters restart, only
//! terminated ones start, a job's own cluster does neither.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use serde_json::{Value, json};

use super::rights::{Call, Rights};
use super::{Answer, Clock, Request, Site, lock};

mod clusters;
mod pipelines;
mod runs;

/// The calls below `api/<version>` and the permission that each needs, as the workspace's dialogs name them
/// (docs.databricks.com/aws/en/security/auth/access-control; `workspace access` is the entitlement). For a job's own
/// cluster the permission on the job counts: CAN MANAGE RUN stands for CAN ATTACH TO there.
pub const CALLS: &[Call] = &[
    Call {
        method: "GET",
        path: "preview/scim/v2/Me",
        needs: &["workspace access"],
    },
    Call {
        method: "GET",
        path: "jobs/get",
        needs: &["CAN VIEW"],
    },
    Call {
        method: "POST",
        path: "jobs/run-now",
        needs: &["CAN MANAGE RUN"],
    },
    Call {
        method: "GET",
        path: "jobs/runs/get",
        needs: &["CAN VIEW"],
    },
    Call {
        method: "GET",
        path: "jobs/runs/list",
        needs: &["workspace access"],
    },
    Call {
        method: "GET",
        path: "jobs/runs/get-output",
        needs: &["CAN MANAGE RUN"],
    },
    Call {
        method: "POST",
        path: "jobs/runs/repair",
        needs: &["CAN MANAGE RUN"],
    },
    Call {
        method: "POST",
        path: "jobs/runs/cancel",
        needs: &["CAN MANAGE RUN"],
    },
    Call {
        method: "GET",
        path: "clusters/get",
        needs: &["CAN ATTACH TO"],
    },
    Call {
        method: "GET",
        path: "clusters/list",
        needs: &["workspace access"],
    },
    Call {
        method: "POST",
        path: "clusters/events",
        needs: &["CAN ATTACH TO"],
    },
    Call {
        method: "POST",
        path: "clusters/start",
        needs: &["CAN RESTART"],
    },
    Call {
        method: "POST",
        path: "clusters/restart",
        needs: &["CAN RESTART"],
    },
    Call {
        method: "POST",
        path: "clusters/delete",
        needs: &["CAN RESTART"],
    },
    Call {
        method: "POST",
        path: "clusters/edit",
        needs: &["CAN MANAGE"],
    },
    Call {
        method: "POST",
        path: "clusters/update",
        needs: &["CAN MANAGE"],
    },
    Call {
        method: "GET",
        path: "pipelines",
        needs: &["workspace access"],
    },
    Call {
        method: "GET",
        path: "pipelines/*/updates/*",
        needs: &["CAN VIEW"],
    },
    Call {
        method: "GET",
        path: "pipelines/*/events",
        needs: &["CAN VIEW"],
    },
    Call {
        method: "GET",
        path: "libraries/cluster-status",
        needs: &["CAN ATTACH TO"],
    },
    Call {
        method: "POST",
        path: "libraries/install",
        needs: &["CAN MANAGE"],
    },
    Call {
        method: "POST",
        path: "libraries/uninstall",
        needs: &["CAN MANAGE"],
    },
];

/// How something that was started ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Looks until it ends.
    pub polls: u32,
    /// `None`: well. Else a termination code, its type and a message.
    pub failure: Option<(String, String, String)>,
}

impl Ending {
    /// Ends well at the look after `polls` others.
    pub fn well(polls: u32) -> Self {
        Self {
            polls,
            failure: None,
        }
    }

    /// Ends badly.
    pub fn badly(polls: u32, code: &str, kind: &str, message: &str) -> Self {
        Self {
            polls,
            failure: Some((code.to_owned(), kind.to_owned(), message.to_owned())),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<String, Value>,
    runs: BTreeMap<String, Value>,
    outputs: BTreeMap<String, Value>,
    /// Runs and clusters under way.
    going: BTreeMap<String, Ending>,
    /// Endings for what is started next, by job or cluster.
    scripts: BTreeMap<String, VecDeque<Ending>>,
    tokens: BTreeMap<String, String>,
    clusters: BTreeMap<String, Value>,
    events: BTreeMap<String, Vec<Value>>,
    libraries: BTreeMap<String, Vec<Value>>,
    /// Libraries that cannot be installed: text of the library, message.
    broken: BTreeMap<String, String>,
    /// Lakeflow pipelines, the updates of each (newest first), and their events.
    pipelines: BTreeMap<String, Value>,
    updates: BTreeMap<String, Vec<Value>>,
    pipeline_events: BTreeMap<String, Vec<Value>>,
    next_id: i64,
}

/// One workspace.
#[derive(Debug)]
pub struct DatabricksSite {
    token: String,
    page_size: Mutex<usize>,
    state: Mutex<State>,
    /// Identities beside the one that may do everything.
    pub rights: Rights,
    /// The workspace's clock.
    pub clock: Clock,
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).map(scalar).unwrap_or_default()
}

/// Ids are numbers in answers and may be text in requests.
fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(
        || {
            if value.is_null() {
                String::new()
            } else {
                value.to_string()
            }
        },
        str::to_owned,
    )
}

fn set(value: &mut Value, name: &str, to: impl Into<Value>) {
    if let Some(map) = value.as_object_mut() {
        map.insert(name.to_owned(), to.into());
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"error_code": code, "message": message}))
}

fn invalid(message: &str) -> Answer {
    refusal(400, "INVALID_PARAMETER_VALUE", message)
}

impl DatabricksSite {
    /// A workspace that takes this bearer token.
    pub fn new(token: &str) -> Self {
        let state = State {
            next_id: 445_566_778_800,
            ..State::default()
        };
        Self {
            token: token.to_owned(),
            page_size: Mutex::new(100),
            state: Mutex::new(state),
            rights: Rights::default(),
            clock: Clock::default(),
        }
    }

    /// A job that can be run: `job_id`, `settings.name`.
    pub fn put_job(&self, job_id: i64, name: &str) {
        let job = json!({"job_id": job_id, "settings": {"name": name}});
        lock(&self.state).jobs.insert(job_id.to_string(), job);
    }

    /// Who made the job and as whom it runs, and its tags.
    pub fn own_job(&self, job_id: i64, run_as: &str, creator: &str, tags: &Value) {
        let job = json!({"job_id": job_id, "settings": {"name": "owned", "tags": tags},
            "run_as_user_name": run_as, "creator_user_name": creator});
        lock(&self.state).jobs.insert(job_id.to_string(), job);
    }

    /// A run as the API sends it; its job comes with it. Task runs can be asked for by their own ids.
    pub fn put_run(&self, run: Value) {
        let mut state = lock(&self.state);
        let job = json!({"job_id": run.get("job_id"), "settings": {"name": run.get("run_name")}});
        state.jobs.entry(text(&run, "job_id")).or_insert(job);
        state.runs.insert(text(&run, "run_id"), run);
    }

    /// What `get-output` says of a task run.
    pub fn put_output(&self, run_id: i64, output: Value) {
        lock(&self.state).outputs.insert(run_id.to_string(), output);
    }

    /// A cluster as the API sends it.
    pub fn put_cluster(&self, cluster: Value) {
        lock(&self.state)
            .clusters
            .insert(text(&cluster, "cluster_id"), cluster);
    }

    /// Events of a cluster as the API sends them.
    pub fn put_events(&self, cluster_id: &str, events: &[Value]) {
        lock(&self.state)
            .events
            .entry(cluster_id.to_owned())
            .or_default()
            .extend_from_slice(events);
    }

    /// Libraries of a cluster as `cluster-status` sends them.
    pub fn put_libraries(&self, cluster_id: &str, statuses: &[Value]) {
        lock(&self.state)
            .libraries
            .insert(cluster_id.to_owned(), statuses.to_vec());
    }

    /// From now on this library cannot be installed.
    pub fn break_library(&self, library: &Value, message: &str) {
        lock(&self.state)
            .broken
            .insert(library.to_string(), message.to_owned());
    }

    /// How the next run or repair of a job, or the next start of a cluster, ends; by its id. Without a script
    /// things end well at the second look.
    pub fn script(&self, id: &str, ending: Ending) {
        lock(&self.state)
            .scripts
            .entry(id.to_owned())
            .or_default()
            .push_back(ending);
    }

    /// Have all scripted endings been used?
    pub fn is_drained(&self) -> bool {
        lock(&self.state).scripts.values().all(VecDeque::is_empty)
    }

    /// How many tasks, runs or events a page holds.
    pub fn set_page_size(&self, items: usize) {
        *lock(&self.page_size) = items.max(1);
    }

    /// A run as it stands.
    pub fn run(&self, run_id: i64) -> Option<Value> {
        lock(&self.state).runs.get(&run_id.to_string()).cloned()
    }

    /// All runs.
    pub fn runs(&self) -> Vec<Value> {
        lock(&self.state).runs.values().cloned().collect()
    }

    /// A cluster as it stands.
    pub fn cluster(&self, cluster_id: &str) -> Option<Value> {
        lock(&self.state).clusters.get(cluster_id).cloned()
    }

    /// The libraries of a cluster as they stand.
    pub fn libraries(&self, cluster_id: &str) -> Vec<Value> {
        lock(&self.state)
            .libraries
            .get(cluster_id)
            .cloned()
            .unwrap_or_default()
    }
}

impl State {
    fn id(&mut self) -> i64 {
        self.next_id += 11;
        self.next_id
    }

    fn ending_for(&mut self, id: &str) -> Ending {
        self.scripts
            .get_mut(id)
            .and_then(VecDeque::pop_front)
            .unwrap_or_else(|| Ending::well(1))
    }

    /// One look at something under way; its ending when it is over.
    fn look(&mut self, id: &str) -> Option<Ending> {
        let ending = self.going.get_mut(id)?;
        if ending.polls > 0 {
            ending.polls -= 1;
            return None;
        }
        self.going.remove(id)
    }
}

impl Site for DatabricksSite {
    fn answer(&self, request: &Request) -> Answer {
        let known = request.is_authorized_by(&format!("Bearer {}", self.token));
        if !known && !self.rights.knows(request) {
            return refusal(
                401,
                "401",
                "Credential was not sent or was of an unsupported type for this API.",
            );
        }
        let segments = request.segments();
        let pieces: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["api", "2.0" | "2.1" | "2.2", rest @ ..] = pieces.as_slice() else {
            return refusal(404, "ENDPOINT_NOT_FOUND", "No API found for that path");
        };
        if let Some(missing) = Call::find(CALLS, &request.method, rest)
            .and_then(|call| self.rights.missing(request, call))
        {
            let message = format!("User does not have permission: {missing} is required.");
            return refusal(403, "PERMISSION_DENIED", &message);
        }
        let now = self.clock.now();
        let page = *lock(&self.page_size);
        let mut state = lock(&self.state);
        match (request.method.as_str(), rest) {
            ("GET", ["preview", "scim", "v2", "Me"]) => Answer::json(
                200,
                &json!({"id": "42", "userName": "aiops-rca", "displayName": "aiops-rca", "active": true}),
            ),
            ("GET", ["jobs", "get"]) => {
                let job = state.jobs.get(request.query("job_id").unwrap_or_default());
                job.map_or_else(
                    || invalid("Job does not exist."),
                    |job| Answer::json(200, job),
                )
            }
            ("POST", ["jobs", "run-now"]) => runs::run_now(&mut state, &request.json(), now),
            ("GET", ["jobs", "runs", "get"]) => runs::get(&mut state, request, page, now),
            ("GET", ["jobs", "runs", "list"]) => runs::list(&state, request, page),
            ("GET", ["jobs", "runs", "get-output"]) => {
                runs::output(&state, request.query("run_id").unwrap_or_default())
            }
            ("POST", ["jobs", "runs", "repair"]) => runs::repair(&mut state, &request.json(), now),
            ("POST", ["jobs", "runs", "cancel"]) => runs::cancel(&mut state, &request.json(), now),
            ("GET", ["pipelines"]) => pipelines::list(&state, request),
            ("GET", ["pipelines", pipeline, "updates", update]) => {
                pipelines::update(&state, pipeline, update)
            }
            ("GET", ["pipelines", pipeline, "events"]) => pipelines::events(&state, pipeline),
            ("GET", ["clusters", "get"]) => clusters::get(
                &mut state,
                request.query("cluster_id").unwrap_or_default(),
                now,
            ),
            ("GET", ["clusters", "list"]) => Answer::json(
                200,
                &json!({"clusters": state.clusters.values().collect::<Vec<_>>(), "next_page_token": ""}),
            ),
            ("POST", ["clusters", "events"]) => clusters::events(&state, &request.json(), page),
            (
                "POST",
                [
                    "clusters",
                    change @ ("start" | "restart" | "delete" | "edit" | "update"),
                ],
            ) => clusters::change(&mut state, change, &request.json(), now),
            ("GET", ["libraries", "cluster-status"]) => clusters::library_status(
                &mut state,
                request.query("cluster_id").unwrap_or_default(),
            ),
            ("POST", ["libraries", change @ ("install" | "uninstall")]) => {
                clusters::change_libraries(&mut state, change, &request.json())
            }
            _ => Answer::not_modelled(request),
        }
    }
}
