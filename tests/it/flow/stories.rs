//! Seeded stories of Airflow 2.10, 3.1 and 3.3: a scheduler that fires the callbacks of its release, a playbook that does
//! what the shipped one does, people who clear and close. Never a storm, never two tickets, nothing unreported.

use std::collections::{BTreeMap, BTreeSet};

use aiops_rca::flow::Task;
use aiops_rca::sinks::playbook::callback;
use aiops_rca::sources::{Parsed, airflow};
use aiops_rca::ticket::store::TicketStore;
use aiops_rca::ticket::{AttemptState, RemediationState, Ticket, TicketId};
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use serde_json::{Value, json};
use simulators::airflow::scheduler::{Callback, End, Release, RunPlan, TaskPlan};

use super::deployment::{DAG, Deployment, Unit, state_of, unit, unit_of};
use crate::machine::at;
use crate::support;

/// The attempts of one ticket for what these tasks fail of.
const ALLOWED: usize = 3;
/// No story takes more steps of two seconds.
const STEPS: usize = 2_000;

fn end(rng: &mut Rng) -> End {
    match rng.u8(..10) {
        0..=4 => End::Raises(
            "ConnectionError: connection error while reading from api.example.com:443".to_owned(),
        ),
        5 => End::Raises(
            "FileNotFoundError: [Errno 2] No such file or directory: '/data/in/part.csv'"
                .to_owned(),
        ),
        6 | 7 => End::Killed,
        8 => End::WorkerDies,
        _ => End::Succeeds,
    }
}

fn plan(number: u64, base_url: &str, rng: &mut Rng) -> RunPlan {
    let mapped = rng.bool();
    let count = rng.i64(1..4);
    let mut tasks: Vec<TaskPlan> = (0..count)
        .map(|n| TaskPlan {
            task_id: if mapped {
                "part".to_owned()
            } else {
                format!("t{n}")
            },
            map_index: mapped.then_some(n),
            retries: rng.i64(0..3),
            upstream: Vec::new(),
            tries: (0..rng.usize(..14)).map(|_| end(rng)).collect(),
        })
        .collect();
    let retries = tasks[0].retries;
    for task in tasks.iter_mut().filter(|_| mapped) {
        task.retries = retries;
    }
    let upstream = tasks.iter().map(|task| task.task_id.clone()).collect();
    tasks.push(TaskPlan {
        task_id: "after".to_owned(),
        map_index: None,
        retries: 0,
        upstream,
        tries: Vec::new(),
    });
    let hangs = rng.u8(..12) == 0;
    if hangs {
        tasks[0].tries = vec![End::Hangs; 20];
    }
    let level = rng.u8(..4);
    RunPlan {
        dag_id: DAG.to_owned(),
        run_id: format!("manual__{number}"),
        tasks,
        of_tasks: (level != 0).then_some(if rng.u8(..4) == 0 {
            Callback::Plain
        } else {
            Callback::Telling
        }),
        of_dag: level != 1 || hangs,
        linked: rng.bool(),
        timeout: hangs.then_some(20),
        base_url: base_url.to_owned(),
    }
}

/// A call of the playbook that goes on.
struct Workflow {
    ticket: TicketId,
    attempt: String,
    unit: Unit,
}

/// One run, from its first failure until nobody does anything any more.
struct Story<'a> {
    name: String,
    deployment: &'a Deployment,
    plan: RunPlan,
    /// Tickets and failures that wait to be analysed.
    tickets: BTreeSet<TicketId>,
    /// Tickets that a report of the DAG was about.
    looked_at: Vec<TicketId>,
    workflows: Vec<Workflow>,
    /// How often each task was really cleared by the playbook.
    made: BTreeMap<String, usize>,
    failed: BTreeSet<Unit>,
    timed_out: bool,
    /// What people may still do.
    people: u32,
    /// What happened, for readers of a failed story.
    told: Vec<String>,
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{:#?}\n{}", self.plan, self.told.join("\n"));
        }
    }
}

impl Story<'_> {
    fn tell(&mut self, what: impl Into<String>) {
        let now = self.now().format("%H:%M:%S");
        self.told.push(format!("{now} {}", what.into()));
    }

    fn now(&self) -> DateTime<Utc> {
        self.deployment.site.clock.now()
    }

    fn instances(&self) -> Vec<Value> {
        let mut tasks = self.deployment.site.tasks();
        tasks.retain(|task| task["dag_run_id"] == json!(self.plan.run_id));
        tasks
    }

    fn run_goes_on(&self) -> bool {
        let state = self.deployment.site.run_state(DAG, &self.plan.run_id);
        matches!(state.as_deref(), Some("queued" | "running"))
    }

    async fn report(&mut self, body: &Value, rng: &mut Rng) {
        let failures = match airflow::parse(body.to_string().as_bytes()) {
            Ok(Parsed::Failures(failures)) => failures,
            told => {
                let early = body["try_number"].as_i64() <= body["max_tries"].as_i64();
                assert!(
                    early && self.deployment.release == Release::V3_1,
                    "{}: {told:?} for {body}",
                    self.name
                );
                return;
            }
        };
        for _ in 0..=u8::from(rng.u8(..4) == 0) {
            let now = self.now();
            let (id, status) = self.deployment.rig.accept(&failures[0], now).await;
            self.tell(format!("{status:?} {id} {body}"));
            self.tickets.insert(id.clone());
            if body["task_id"].is_null() {
                self.looked_at.push(id);
            }
        }
    }

    async fn analyse(&self, task: Task) {
        self.deployment
            .rig
            .flow
            .work(task, || self.now())
            .await
            .unwrap();
    }

    async fn load(&self, id: &TicketId) -> Option<Ticket> {
        self.deployment.rig.flow.store.load(id).await.unwrap()
    }

    /// What the queue `failures` would do: open tickets, look at runs, read what was named better.
    async fn queue(&mut self) {
        for ticket in std::mem::take(&mut self.looked_at) {
            self.analyse(Task::Recheck {
                ticket: ticket.clone(),
            })
            .await;
            let waits = self.deployment.rig.flow.store.waiting(&ticket).await;
            if waits.unwrap().is_some() {
                self.looked_at.push(ticket);
            }
        }
        let (rows, _) = self
            .deployment
            .rig
            .flow
            .store
            .active(1000, None)
            .await
            .unwrap();
        let rows = rows.iter().filter_map(|row| TicketId::parse(&row.row));
        self.tickets.extend(rows);
        for ticket in self.tickets.clone() {
            let known = self.load(&ticket).await;
            if known.is_none_or(|ticket| !ticket.is_closed()) {
                self.analyse(Task::Failure { ticket }).await;
            }
        }
    }

    /// What the queue `deliveries` would do for the playbook. Gives the time at which the next one is due.
    async fn deliver(&mut self, rng: &mut Rng) -> Option<DateTime<Utc>> {
        let mut next: Option<DateTime<Utc>> = None;
        for id in self.tickets.clone() {
            let Some(ticket) = self.load(&id).await else {
                continue;
            };
            let Some(attempt) = ticket.current_attempt() else {
                continue;
            };
            let due = match attempt.state {
                AttemptState::Scheduled => attempt.due_at,
                AttemptState::Accepted => attempt.deadline.unwrap(),
                _ => self.now(),
            };
            if due > self.now() {
                next = Some(next.map_or(due, |known| known.min(due)));
                continue;
            }
            self.deployment.rig.deliver(&id, self.now()).await;
            // What cannot go on now is tried again soon.
            let soon = self.now() + TimeDelta::seconds(10);
            next = Some(next.map_or(soon, |known| known.min(soon)));
            let asked: Vec<Value> = std::mem::take(&mut *self.deployment.calls.0.lock().unwrap());
            for body in asked {
                self.called(&body, rng).await;
            }
        }
        next
    }

    /// The shipped playbook: nothing is done for a task that has not failed.
    async fn called(&mut self, body: &Value, rng: &mut Rng) {
        let unit = unit_of(&json!({"task_id": body["task_id"], "map_index": body["map_index"]}));
        let workflow = Workflow {
            ticket: serde_json::from_value(body["ticket_id"].clone()).unwrap(),
            attempt: body["attempt_id"].as_str().unwrap().to_owned(),
            unit: unit.clone(),
        };
        assert_eq!(body["original_run_id"], json!(self.plan.run_id));
        let instances = self.instances();
        let found = instances.iter().find(|task| unit_of(task) == unit).unwrap();
        let state = state_of(found).to_owned();
        self.tell(format!("{} called for {unit:?}, {state}", workflow.ticket));
        if !matches!(state.as_str(), "failed" | "upstream_failed") {
            let why = format!("The task is in the state {state}, not failed; nothing was done.");
            let told = json!({"status": "failed", "error_message": why});
            return self.call_back(&workflow, &told).await;
        }
        assert!(
            self.deployment.clear(&self.plan.run_id, &unit.0, unit.1) > 0,
            "{}",
            self.name
        );
        *self.made.entry(unit.0).or_default() += 1;
        let started = json!({"status": "running", "remediation_run_id": self.plan.run_id});
        self.call_back(&workflow, &started).await;
        // One in eight dies before it could say how it ended.
        if rng.u8(..8) > 0 {
            self.workflows.push(workflow);
        }
    }

    async fn call_back(&self, workflow: &Workflow, told: &Value) {
        let callback = callback::parse(told.to_string().as_bytes()).unwrap();
        let flow = &self.deployment.rig.flow;
        // Its attempt may be over by what Airflow reported.
        let _over = flow
            .callback(&workflow.ticket, &workflow.attempt, &callback, self.now())
            .await;
    }

    async fn watch(&mut self) {
        let instances = self.instances();
        for workflow in std::mem::take(&mut self.workflows) {
            let task = instances.iter().find(|task| unit_of(task) == workflow.unit);
            let told = match task.map(state_of).unwrap() {
                "success" => json!({"status": "succeeded"}),
                state @ ("failed" | "upstream_failed" | "skipped") => {
                    json!({"status": "failed", "error_message": format!("The task ended as {state}.")})
                }
                _ => {
                    self.workflows.push(workflow);
                    continue;
                }
            };
            let mut told = told;
            told["remediation_run_id"] = json!(self.plan.run_id);
            self.call_back(&workflow, &told).await;
        }
    }

    /// Somebody clears a task by hand, or closes a ticket.
    async fn person(&mut self, rng: &mut Rng) {
        if self.people == 0 || rng.u8(..12) > 0 {
            return;
        }
        self.people -= 1;
        if rng.bool() {
            let failed = self.instances();
            let failed: Vec<&Value> = failed
                .iter()
                .filter(|task| state_of(task) == "failed")
                .collect();
            if let Some(task) = rng.choice(failed) {
                let (task, index) = unit_of(task);
                self.tell(format!("cleared by hand: {task} {index:?}"));
                self.deployment.clear(&self.plan.run_id, &task, index);
            }
            return;
        }
        for id in &self.tickets.clone() {
            if let Some(ticket) = self.load(id).await
                && !ticket.is_closed()
            {
                let seconds = (self.now() - at(0)).num_seconds();
                let closed = self.deployment.rig.closed(id, seconds).await;
                return self.tell(format!("closed by hand: {}", closed.id));
            }
        }
    }

    async fn play(&mut self, rng: &mut Rng) {
        for _ in 0..STEPS {
            let mut reports = self.deployment.site.step();
            for task in self.instances() {
                if state_of(&task) == "failed" {
                    self.failed.insert(unit_of(&task));
                }
            }
            self.timed_out |= reports.iter().any(|body| body["reason"] == "timed_out");
            if rng.u8(..3) == 0 {
                rng.shuffle(&mut reports);
            }
            for body in &reports {
                self.report(body, rng).await;
            }
            self.queue().await;
            self.watch().await;
            let next = self.deliver(rng).await;
            self.person(rng).await;
            let quiet = !self.run_goes_on() && reports.is_empty() && self.workflows.is_empty();
            match next {
                Some(due) if quiet => self.deployment.site.clock.set(due.max(self.now())),
                None if quiet && !self.waits().await && (self.people == 0 || rng.bool()) => {
                    // The scheduler hands its callbacks over after it has stored the states.
                    let late = self.deployment.site.step();
                    if late.is_empty() {
                        return;
                    }
                    for body in &late {
                        self.report(body, rng).await;
                    }
                }
                _ => {}
            }
        }
        panic!("{}: it does not come to an end", self.name);
    }

    async fn waits(&self) -> bool {
        for id in &self.tickets {
            let waiting = self.deployment.rig.flow.store.waiting(id).await.unwrap();
            if waiting.is_some() {
                return true;
            }
        }
        !self.looked_at.is_empty()
    }

    async fn check(&mut self) -> usize {
        for id in self.tickets.clone() {
            let told = match self.load(&id).await {
                None => format!("{id} does not exist"),
                Some(ticket) => format!(
                    "{id} {} {:?} {:?}, follows {:?}, {:?}: {} | {:?}",
                    ticket.failure.asset,
                    ticket.failure.field("map_index"),
                    ticket.status,
                    ticket.follows,
                    ticket.remediation.state,
                    ticket.remediation.decision,
                    ticket.gaps
                ),
            };
            self.tell(told);
        }
        let name = &self.name;
        for (task, made) in &self.made {
            assert!(*made <= ALLOWED, "{name}: {made} reruns of {task}");
        }
        let mut of_unit: BTreeMap<Unit, Vec<Ticket>> = BTreeMap::new();
        for id in &self.tickets {
            if let Some(ticket) = self.load(id).await {
                let state = ticket.remediation.state;
                let over = matches!(
                    state,
                    RemediationState::None
                        | RemediationState::AwaitingApproval
                        | RemediationState::Succeeded
                        | RemediationState::Exhausted
                        | RemediationState::Rejected
                );
                assert!(over, "{name}: {id} is left as {state:?}");
                of_unit.entry(unit(&ticket)).or_default().push(ticket);
            }
        }
        for (unit, tickets) in &of_unit {
            let whole = unit.0.is_empty();
            // What was healed before anybody told of it may still hold the run down by the tasks behind it.
            let held_down = || {
                let state = |task: &Value| state_of(task) == "upstream_failed";
                self.instances().iter().any(state) && tickets.iter().all(|t| t.follows.is_none())
            };
            assert!(
                whole && (self.timed_out || held_down()) || self.failed.contains(unit),
                "{name}: {unit:?} never failed"
            );
            let open = tickets.iter().filter(|ticket| !ticket.is_closed()).count();
            assert!(open <= 1, "{name}: {open} open tickets of {unit:?}");
            let first = tickets.iter().filter(|t| t.follows.is_none()).count();
            // A run that takes too long may follow any of its tasks.
            assert!(
                first == 1 || first == 0 && whole,
                "{name}: {unit:?} began {first} stories"
            );
            let all = || of_unit.values().flatten();
            for ticket in tickets {
                if let Some(before) = &ticket.follows {
                    let followed = all().find(|other| other.id == *before);
                    let same =
                        followed.is_some_and(|other| super::deployment::unit(other) == *unit);
                    assert!(same || whole, "{name}: {} follows another unit", ticket.id);
                    assert!(
                        followed.is_some_and(Ticket::is_closed),
                        "{name}: {} of {unit:?} follows {before}, {:?}",
                        ticket.id,
                        followed.map(|ticket| ticket.status)
                    );
                }
            }
        }
        for task in self.instances() {
            self.is_reported(&task, &of_unit);
        }
        of_unit.values().map(Vec::len).sum()
    }

    /// A task that is failed at the end has a ticket, if any callback of its deployment could tell.
    fn is_reported(&self, task: &Value, of_unit: &BTreeMap<Unit, Vec<Ticket>>) {
        let made = task["try_number"].as_i64().unwrap();
        let plan = self
            .plan
            .tasks
            .iter()
            .find(|plan| (plan.task_id.clone(), plan.map_index) == unit_of(task))
            .unwrap();
        let end = plan
            .tries
            .get(usize::try_from(made - 1).unwrap_or_default());
        let of_task = match (end, self.deployment.release) {
            (Some(End::Killed), Release::V2_10) | (Some(End::Raises(_) | End::WorkerDies), _) => {
                self.plan.of_tasks.is_some()
            }
            _ => false,
        };
        if state_of(task) != "failed" || !(self.plan.of_dag || of_task) {
            return;
        }
        let tickets = of_unit.get(&unit_of(task)).map_or(&[][..], Vec::as_slice);
        let known = tickets
            .iter()
            .filter_map(|ticket| ticket.books.latest.try_number);
        // The try of an attempt is reported as the attempt's end, also to those who closed the ticket meanwhile.
        let of_attempt = tickets.iter().any(|ticket| {
            let last = ticket.remediation.attempts.last();
            last.is_some_and(|attempt| attempt.state == AttemptState::Failed)
                && ticket.books.latest.try_number == Some(made - 1)
        });
        let known = known.max();
        assert!(
            known == Some(made) || of_attempt,
            "{}: {:?} failed in try {made}, told is {known:?}, {} tickets",
            self.name,
            unit_of(task),
            tickets.len()
        );
    }
}

#[tokio::test]
async fn no_story_of_airflow_is_a_storm() {
    let seed = support::number("AIOPS_RCA_SEED", 20_261_129);
    let (first, stories) = (
        support::number("AIOPS_RCA_AIRFLOW_STORY", 0),
        support::number("AIOPS_RCA_AIRFLOW_STORIES", 60),
    );
    let mut stages = Vec::new();
    for release in [Release::V2_10, Release::V3_1, Release::V3_3] {
        stages.push(Deployment::of(release).await);
    }
    let (mut tickets, mut made, mut failed) = (0, 0, 0);
    for story in first..first + stories {
        let mut rng = Rng::with_seed(seed.wrapping_add(story));
        let chosen = rng.usize(..stages.len());
        let deployment = &mut stages[chosen];
        deployment.rig.flow.store = TicketStore::new(support::embedded());
        deployment.rig.flow.prepare().await.unwrap();
        deployment.site.clock.set(at(0));
        let plan = plan(story, &deployment.server.url(), &mut rng);
        deployment.site.start_run(plan.clone());
        let mut story = Story {
            name: format!(
                "AIOPS_RCA_SEED={seed} AIOPS_RCA_AIRFLOW_STORY={story} ({:?})",
                deployment.release
            ),
            deployment,
            plan,
            tickets: BTreeSet::new(),
            looked_at: Vec::new(),
            workflows: Vec::new(),
            made: BTreeMap::new(),
            failed: BTreeSet::new(),
            timed_out: false,
            people: rng.u32(..4),
            told: Vec::new(),
        };
        story.play(&mut rng).await;
        tickets += story.check().await;
        made += story.made.values().sum::<usize>();
        failed += story.failed.len();
        deployment.site.forget_run(DAG, &story.plan.run_id);
    }
    println!("{stories} stories: {failed} failed task instances, {tickets} tickets, {made} reruns");
}

/// One task, or more, that fail like this at the first try, with both levels reported.
fn failing(deployment: &Deployment, tasks: &[(&str, End)]) -> RunPlan {
    let task = |(name, end): &(&str, End)| TaskPlan {
        task_id: (*name).to_owned(),
        map_index: None,
        retries: 0,
        upstream: Vec::new(),
        tries: vec![end.clone()],
    };
    RunPlan {
        dag_id: DAG.to_owned(),
        run_id: "manual__1".to_owned(),
        tasks: tasks.iter().map(task).collect(),
        of_tasks: Some(Callback::Telling),
        of_dag: true,
        linked: true,
        timeout: None,
        base_url: deployment.server.url(),
    }
}

fn story<'a>(deployment: &'a Deployment, tasks: &[(&str, End)]) -> Story<'a> {
    deployment.site.clock.set(at(0));
    let plan = failing(deployment, tasks);
    deployment.site.start_run(plan.clone());
    Story {
        name: format!("{:?}", deployment.release),
        deployment,
        plan,
        tickets: BTreeSet::new(),
        looked_at: Vec::new(),
        workflows: Vec::new(),
        made: BTreeMap::new(),
        failed: BTreeSet::new(),
        timed_out: false,
        people: 0,
        told: Vec::new(),
    }
}

fn lost() -> End {
    End::Raises(
        "ConnectionError: connection error while reading from api.example.com:443".to_owned(),
    )
}

/// Airflow 3 calls no task-level callback for a task that was killed: the run's own report is about both.
#[tokio::test]
async fn a_killed_task_beside_one_that_raised_has_its_own_ticket() {
    for release in [Release::V2_10, Release::V3_1, Release::V3_3] {
        let deployment = Deployment::of(release).await;
        let mut story = story(&deployment, &[("raises", lost()), ("killed", End::Killed)]);
        story.play(&mut Rng::with_seed(1)).await;
        assert_eq!(story.check().await, 2, "{release:?}");
    }
}

/// Before the call of its attempt the task succeeded after a person cleared it: no call, and nothing stays open.
#[tokio::test]
async fn what_somebody_healed_before_the_attempt_is_closed() {
    let deployment = Deployment::of(Release::V3_3).await;
    let mut story = story(&deployment, &[("extract", lost())]);
    let mut rng = Rng::with_seed(1);
    while story.failed.is_empty() || story.run_goes_on() {
        for body in deployment.site.step() {
            story.report(&body, &mut rng).await;
        }
        story.queue().await;
        let failed = story.instances();
        story.failed.extend(
            failed
                .iter()
                .filter(|t| state_of(t) == "failed")
                .map(unit_of),
        );
    }
    let id = story.tickets.first().unwrap().clone();
    let ticket = story.load(&id).await.unwrap();
    let due = ticket.current_attempt().unwrap().due_at;
    deployment.clear(&story.plan.run_id, "extract", None);
    while story.run_goes_on() {
        deployment.site.step();
    }
    deployment.site.clock.set(due);
    story.deliver(&mut rng).await;
    let ticket = story.load(&id).await.unwrap();
    assert!(ticket.is_closed(), "{}", ticket.remediation.decision);
    assert_eq!(deployment.rig.calls(), 0);
    assert!(
        ticket.story.last().unwrap().text.contains("has succeeded"),
        "{:?}",
        ticket.story.last()
    );
    let past = deployment
        .rig
        .flow
        .store
        .past_remediations(&ticket.failure.asset_id(), &ticket.diagnosis.fingerprint)
        .await
        .unwrap();
    assert_eq!(past, [], "nothing cools down");
}
