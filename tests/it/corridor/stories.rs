//! Seeded stories of Airflow 2.10, 3.1 and 3.3: which callbacks each fires, what a clear does, and never a storm.
//!
//! The stand-in for Airflow is small and knows no wire: instances with tries, and the reports that the versions make of
//! them. 2.10 and 3.x tell a task that raised once its retries are used up. A killed task is told by 2.10 with a
//! dictionary of ids, by 3.1 without an exception and although retries remain, by 3.3 twice, or not at all. A DAG's own
//! report comes whenever the run ends as failed, with or without a link. API v1 clears all failed indices of a task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aiops_rca::sources::{Parsed, airflow};
use aiops_rca::ticket::TicketId;
use aiops_rca::ticket::machine::{Event, Report};
use fastrand::Rng;
use serde_json::{Value, json};
use simulators::{Answer, Request, Site};

use super::Corridor;
use crate::machine::at;

/// The attempts of one ticket for what these tasks fail of.
const ALLOWED: usize = 3;

/// A playbook that notes what it was asked to run again.
#[derive(Default)]
pub(super) struct Noting(Mutex<Vec<Value>>);

impl Site for Noting {
    fn answer(&self, request: &Request) -> Answer {
        self.0.lock().unwrap().push(request.json());
        Answer::empty(202)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Version {
    V2,
    V31,
    V33,
}

struct Instance {
    task: String,
    index: Option<i64>,
    tries: i64,
    max_tries: i64,
    retries: i64,
    /// So many tries fail yet.
    bad: u32,
    killed: bool,
    queued: bool,
    failed: bool,
}

struct Airflow {
    version: Version,
    of_tasks: bool,
    of_dag: bool,
    linked: bool,
    run: String,
    instances: Vec<Instance>,
    now: i64,
}

impl Airflow {
    fn new(number: u64, rng: &mut Rng) -> Self {
        let version = [Version::V2, Version::V31, Version::V33][rng.usize(..3)];
        let mapped = rng.bool();
        let count = rng.i64(1..4);
        let instances = (0..count).map(|n| {
            let retries = rng.i64(0..3);
            Instance {
                task: if mapped {
                    "part".to_owned()
                } else {
                    format!("t{n}")
                },
                index: mapped.then_some(n),
                tries: 0,
                max_tries: retries,
                retries,
                bad: rng.u32(0..14),
                killed: rng.u8(..5) == 0,
                queued: true,
                failed: false,
            }
        });
        let instances = instances.collect();
        let level = rng.u8(..3);
        Self {
            version,
            of_tasks: level != 0,
            of_dag: level != 1,
            linked: rng.bool(),
            run: format!("manual__{number}"),
            instances,
            now: 0,
        }
    }

    /// Runs all that is queued; the reports, in order.
    fn run(&mut self) -> Vec<Value> {
        let mut reports = Vec::new();
        let (version, run, of_tasks) = (self.version, self.run.clone(), self.of_tasks);
        for instance in self.instances.iter_mut().filter(|i| i.queued) {
            loop {
                self.now += 2;
                instance.tries += 1;
                instance.queued = false;
                instance.failed = instance.bad > 0;
                instance.bad = instance.bad.saturating_sub(1);
                let last = instance.tries > instance.max_tries;
                let told = match (instance.failed, instance.killed, version) {
                    (false, _, _) => 0,
                    (_, true, Version::V31) => 1,
                    (_, true, Version::V33) if last => 2 * usize::from(instance.tries % 2 == 0),
                    _ => usize::from(last),
                };
                for _ in 0..told {
                    if of_tasks {
                        reports.push(instance.report(version, &run, self.now));
                    }
                }
                if !instance.failed || last {
                    break;
                }
            }
        }
        if self.of_dag && self.instances.iter().any(|i| i.failed) {
            self.now += 1;
            let link = format!(
                "http://a:8080/dags/etl/runs/{run}/tasks/{}",
                self.instances[0].task
            );
            let mut report = json!({"level": "dag", "dag_id": "etl", "run_id": run, "state": "failed", "reason": "task_failure",
                "exception": "", "end_date": at(self.now).to_rfc3339()});
            if self.linked {
                report["log_url"] = json!(link);
            }
            reports.push(report);
        }
        reports
    }

    /// What the playbook's clear does; `only_failed`.
    fn clear(&mut self, task: &str, index: Option<i64>) {
        for instance in &mut self.instances {
            let meant =
                instance.task == task && (self.version == Version::V2 || instance.index == index);
            if meant && instance.failed {
                instance.queued = true;
                instance.max_tries = instance.tries + instance.retries;
            }
        }
    }
}

impl Instance {
    fn report(&self, version: Version, run: &str, now: i64) -> Value {
        let exception = match (self.killed, version) {
            (false, _) => {
                "ConnectionError: connection error while reading from api.example.com:443"
                    .to_owned()
            }
            (true, Version::V2) => format!(
                "{{'DAG Id': 'etl', 'Task Id': '{}', 'Run Id': '{run}', 'Hostname': 'vm'}}",
                self.task
            ),
            (true, _) => String::new(),
        };
        let end = (!self.killed || version == Version::V2).then(|| at(now).to_rfc3339());
        json!({"level": "task", "dag_id": "etl", "task_id": self.task, "run_id": run, "state": "failed", "try_number": self.tries,
            "max_tries": self.max_tries, "map_index": self.index.unwrap_or(-1), "exception": exception, "end_date": end})
    }
}

/// One run, from its first failure until nobody does anything any more.
struct Story<'a> {
    corridor: &'a Corridor,
    calls: &'a Noting,
    airflow: Airflow,
    tickets: BTreeSet<TicketId>,
    units: BTreeSet<String>,
    whole: bool,
    made: BTreeMap<String, usize>,
    /// Tickets whose story a person or a rerun ended.
    ended: usize,
}

impl Story<'_> {
    async fn tell(&mut self, mut reports: Vec<Value>, rng: &mut Rng) {
        if rng.u8(..3) == 0 {
            rng.shuffle(&mut reports);
        }
        for report in reports {
            let Ok(Parsed::Failures(failures)) = airflow::parse(report.to_string().as_bytes())
            else {
                // 3.1 tells of a try that will be repeated.
                assert_eq!(self.airflow.version, Version::V31, "{report}");
                continue;
            };
            match report["task_id"].as_str() {
                Some(task) => _ = self.units.insert(format!("{task} {}", report["map_index"])),
                None => self.whole = true,
            }
            for _ in 0..=u8::from(rng.u8(..4) == 0) {
                let now = at(self.airflow.now + 1);
                let (id, _) = self.corridor.accept(&failures[0], now).await;
                if self.tickets.insert(id.clone()) || rng.bool() {
                    self.corridor.analysed(&id, now).await;
                }
            }
        }
        for id in self.tickets.clone() {
            self.corridor.analysed(&id, at(self.airflow.now + 2)).await;
        }
    }

    /// Calls every playbook that is due; what it was asked is done, and its end is sometimes told, sometimes not.
    async fn act(&mut self, rng: &mut Rng) -> bool {
        let mut acted = false;
        for id in self.tickets.clone() {
            let ticket = self.corridor.load(&id).await;
            let Some(attempt) = ticket.current_attempt().cloned() else {
                continue;
            };
            self.airflow.now = self.airflow.now.max((attempt.due_at - at(0)).num_seconds());
            self.corridor.deliver(&id, at(self.airflow.now)).await;
            let asked: Vec<Value> = std::mem::take(&mut *self.calls.0.lock().unwrap());
            for body in asked {
                acted = true;
                let task = body["task_id"].as_str().unwrap_or_default().to_owned();
                *self.made.entry(task.clone()).or_default() += 1;
                self.airflow.clear(&task, body["map_index"].as_i64());
                self.airflow.now += 5;
                let reports = self.airflow.run();
                self.tell(reports, rng).await;
                let healed = !self.airflow.instances.iter().any(|i| {
                    i.task == task
                        && i.failed
                        && (self.airflow.version == Version::V2
                            || i.index == body["map_index"].as_i64())
                });
                let report = if healed {
                    Report::Succeeded
                } else {
                    Report::Failed("the task ended as failed".to_owned())
                };
                let event = Event::AttemptReported {
                    attempt: attempt.id.clone(),
                    report,
                    run_id: Some(self.airflow.run.clone()),
                };
                let _over_already = self
                    .corridor
                    .flow
                    .apply(&id, &event, at(self.airflow.now + 3))
                    .await;
                self.airflow.now += 4;
                self.ended += usize::from(healed);
            }
        }
        acted
    }

    fn check(&self, seed: &str) {
        for (task, made) in &self.made {
            assert!(
                *made <= ALLOWED,
                "{seed}: {made} calls for {task} in one run"
            );
        }
        let wanted = match (self.units.len(), self.whole) {
            (0, true) => 1,
            (units, _) => units,
        };
        let opened = self.tickets.len();
        assert!(
            opened >= wanted.min(1) && opened <= wanted + self.ended,
            "{seed}: {opened} tickets for {wanted} units, {} of them ended before",
            self.ended
        );
    }
}

fn number(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a flag of this test")]
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

#[tokio::test]
async fn no_story_of_airflow_is_a_storm() {
    let seed = number("AIOPS_RCA_SEED", 20_261_129);
    let stories = number("AIOPS_RCA_AIRFLOW_STORIES", 100);
    let calls = Arc::new(Noting::default());
    let mut corridor = Corridor::with(Arc::clone(&calls)).await;
    corridor.flow.remediation.flapping_limit = usize::MAX;
    corridor.flow.remediation.cooldown = chrono::Duration::zero();
    let (mut tickets, mut made) = (0, 0);
    for story in 0..stories {
        let mut rng = Rng::with_seed(seed.wrapping_add(story));
        let name = format!("AIOPS_RCA_SEED={seed}, story {story}");
        let mut story = Story {
            corridor: &corridor,
            calls: &calls,
            airflow: Airflow::new(story, &mut rng),
            tickets: BTreeSet::new(),
            units: BTreeSet::new(),
            whole: false,
            made: BTreeMap::new(),
            ended: 0,
        };
        let reports = story.airflow.run();
        story.tell(reports, &mut rng).await;
        for round in 0..8 {
            // A person clears by hand, or closes a ticket.
            if rng.u8(..6) == 0 {
                let instance = &story.airflow.instances[rng.usize(..story.airflow.instances.len())];
                let (task, index) = (instance.task.clone(), instance.index);
                story.airflow.clear(&task, index);
                story.airflow.now += 100;
                let reports = story.airflow.run();
                story.tell(reports, &mut rng).await;
            }
            if rng.u8(..6) == 0
                && let Some(id) = story.tickets.iter().next().cloned()
                && !corridor.load(&id).await.is_closed()
            {
                story.airflow.now += 50;
                corridor.closed(&id, story.airflow.now).await;
                story.ended += 1;
            }
            if !story.act(&mut rng).await && round > 3 {
                break;
            }
        }
        story.check(&name);
        tickets += story.tickets.len();
        made += story.made.values().sum::<usize>();
    }
    println!("{stories} stories: {tickets} tickets, {made} calls");
}
