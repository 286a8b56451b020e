//! Seeded interleavings: several workers with stale tickets, lost answers, crashes, people. In the end there
//! is one issue, each chapter once, the right words, and nobody's decision was undone.

use std::time::Duration;

use aiops_rca::sinks::Step;
use aiops_rca::sinks::jira::{Jira, ticket_status};
use aiops_rca::ticket::{Channel, ChapterKind, Status, Ticket};
use chrono::{DateTime, TimeDelta, Utc};
use simulators::Fault as Script;
use simulators::jira::{Comment, Config, JiraSimulator, Person};

use super::rig::{chapter, noon, set_status, sink, ticket};

struct Race {
    random: fastrand::Rng,
    simulator: JiraSimulator,
    /// Processes; workers of the same process share one.
    processes: Vec<Jira>,
    /// What is stored, with its version.
    stored: (Ticket, u64),
    /// What each worker loaded, and in which process it runs.
    workers: Vec<(usize, Option<(Ticket, u64)>)>,
    now: DateTime<Utc>,
    /// Webhooks on their way: when a person moved the issue, and to what.
    on_their_way: Vec<(DateTime<Utc>, Status)>,
    /// The newest webhook that the ticket has seen.
    heard: DateTime<Utc>,
}

impl Race {
    async fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let index_lag = Duration::from_secs(random.u64(0..12));
        let simulator = JiraSimulator::start(
            0,
            Config {
                index_lag,
                ..Config::default()
            },
        )
        .await
        .unwrap();
        simulator.clock().set(noon());
        let processes = vec![sink(&simulator), sink(&simulator)];
        let workers = vec![(0, None), (0, None), (1, None)];
        Self {
            random,
            simulator,
            processes,
            stored: (ticket(), 0),
            workers,
            now: noon(),
            on_their_way: Vec::new(),
            heard: noon(),
        }
    }

    fn pass(&mut self, time: TimeDelta) {
        self.now += time;
        self.simulator.clock().set(self.now);
    }

    fn change_ticket(&mut self) {
        let ticket = &mut self.stored.0;
        match self.random.u8(0..4) {
            0 => {
                let number = u32::try_from(ticket.story.len()).unwrap() + 1;
                ticket.story.push(chapter(
                    number,
                    ChapterKind::RemediationStarted,
                    "Something happened.",
                ));
            }
            1 => ticket.diagnosis.root_cause = format!("Cause {}.", self.random.u32(..)),
            _ => {
                let status = [Status::Open, Status::InProgress, Status::Acknowledged]
                    [self.random.usize(0..3)];
                // A machine may close; it would not reopen what a person closed, which is judged elsewhere.
                let choice = if status == Status::Acknowledged { 3 } else { 2 };
                let by = [Channel::Slack, Channel::Dashboard, Channel::Playbook]
                    [self.random.usize(0..choice)];
                if status != ticket.status {
                    set_status(ticket, status, by, self.now);
                }
            }
        }
        self.stored.1 += 1;
    }

    fn person_decides(&mut self) {
        let Some(issue) = self.simulator.issues().first().cloned() else {
            return;
        };
        let status = ["To Do", "In Progress", "Done"][self.random.usize(0..3)];
        if self
            .simulator
            .moves(&issue.key, status, &Person::named("John Doe"))
        {
            self.on_their_way
                .push((self.now, ticket_status(status, None).unwrap()));
        }
    }

    /// One webhook arrives, perhaps out of order; the ticket takes it unless it knows something newer: a later
    /// webhook, or a later decision of a person elsewhere.
    fn webhook_arrives(&mut self) {
        if self.on_their_way.is_empty() {
            return;
        }
        let (at, status) = self
            .on_their_way
            .swap_remove(self.random.usize(0..self.on_their_way.len()));
        let ticket = &mut self.stored.0;
        let overruled = matches!(
            ticket.status_by.channel,
            Channel::Slack | Channel::Dashboard
        ) && at < ticket.status_at;
        if at < self.heard || overruled {
            return;
        }
        self.heard = at;
        if status != ticket.status {
            set_status(ticket, status, Channel::Jira, at);
            self.stored.1 += 1;
        }
    }

    fn script_fault(&mut self) {
        let faults = [
            Script::AcceptThenDrop,
            Script::DropBefore,
            Script::status(500),
            Script::Status {
                code: 429,
                headers: vec![("retry-after".into(), "3".into())],
                body: String::new(),
            },
        ];
        let fault = faults[self.random.usize(0..faults.len())].clone();
        let method = ["POST", "PUT", "GET"][self.random.usize(0..3)];
        self.simulator.faults().next_on(method, "/rest/", fault);
    }

    /// `None`: a worker has only loaded; else whether it found nothing left to do on the newest ticket.
    async fn work(&mut self) -> Option<bool> {
        let worker = self.random.usize(0..self.workers.len());
        let (process, loaded) = self.workers[worker].clone();
        let Some((ticket, version)) = loaded else {
            self.workers[worker].1 = Some(self.stored.clone());
            return None;
        };
        let outcome = self.processes[process].step(&ticket, self.now).await;
        let fresh = version == self.stored.1;
        let crashed = self.random.u8(0..14) == 0;
        if crashed {
            self.processes[process] = sink(&self.simulator);
            for other in self.workers.iter_mut().filter(|(of, _)| *of == process) {
                other.1 = None;
            }
            return Some(false);
        }
        self.workers[worker].1 = None;
        match outcome {
            Ok(Step::UpToDate) => return Some(fresh),
            Ok(Step::Recorded(record)) if fresh => {
                self.stored.0.jira = record;
                self.stored.1 += 1;
                // The flow goes on with what it stored.
                self.workers[worker].1 = Some(self.stored.clone());
            }
            Ok(Step::Recorded(_)) => {}
            Ok(Step::Wait(time, _)) => self.pass(TimeDelta::from_std(time).unwrap() / 2),
            Err(fault) => {
                assert!(fault.is_transient(), "{fault}");
                self.pass(TimeDelta::seconds(2));
            }
        }
        Some(false)
    }

    async fn run(mut self) {
        for _ in 0..self.random.usize(40..120) {
            match self.random.u8(0..20) {
                0 | 1 => self.change_ticket(),
                2 => self.person_decides(),
                3 => self.script_fault(),
                4 => self.webhook_arrives(),
                5 => {
                    let wait = TimeDelta::seconds(self.random.i64(0..40));
                    self.pass(wait);
                }
                _ => drop(self.work().await),
            }
            self.pass(TimeDelta::milliseconds(20));
        }
        while !self.on_their_way.is_empty() {
            self.webhook_arrives();
        }
        // Calm: workers go on until they have found several times in a row that nothing is left.
        let mut calm = 0;
        for _ in 0..600 {
            match self.work().await {
                None => {}
                Some(true) => calm += 1,
                Some(false) => calm = 0,
            }
            self.pass(TimeDelta::milliseconds(500));
            if calm == 6 {
                return self.judge();
            }
        }
        panic!("no calm: {:?}", self.stored.0.jira);
    }

    fn judge(self) {
        let issues = self.simulator.issues();
        assert_eq!(issues.len(), 1, "one issue");
        let (issue, ticket) = (&issues[0], &self.stored.0);
        assert_eq!(ticket.jira.key.as_deref(), Some(issue.key.as_str()));
        let mut told: Vec<String> = issue.comments.iter().map(Comment::text).collect();
        assert_eq!(
            told.len(),
            ticket.story.len(),
            "each chapter once: {told:#?}"
        );
        told.sort();
        told.dedup();
        assert_eq!(told.len(), ticket.story.len(), "no chapter twice");
        assert!(
            issue
                .description_text()
                .contains(&ticket.diagnosis.root_cause),
            "the newest words are shown"
        );
        assert_eq!(
            ticket_status(&issue.status, None),
            Some(ticket.status),
            "JIRA and the ticket agree"
        );
    }
}

#[tokio::test]
async fn no_interleaving_doubles_or_undoes_anything() {
    for seed in 0..30 {
        let race = tokio::spawn(async move { Race::new(seed).await.run().await });
        assert!(race.await.is_ok(), "seed {seed}");
    }
}

#[tokio::test]
async fn two_tasks_of_one_process_send_one_creation() {
    let simulator = JiraSimulator::start(
        0,
        Config {
            index_lag: Duration::from_secs(5),
            ..Config::default()
        },
    )
    .await
    .unwrap();
    simulator.clock().set(noon());
    let jira = sink(&simulator);
    let mut ticket = ticket();
    let Ok(Step::Recorded(record)) = jira.step(&ticket, noon()).await else {
        panic!("it claims")
    };
    ticket.jira = record;
    let outcomes = tokio::join!(
        jira.step(&ticket, noon()),
        jira.step(&ticket, noon()),
        jira.step(&ticket, noon())
    );
    let made = [outcomes.0, outcomes.1, outcomes.2]
        .iter()
        .filter(|outcome| matches!(outcome, Ok(Step::Recorded(_))))
        .count();
    assert!(made >= 1);
    assert_eq!(simulator.issues().len(), 1);
    assert_eq!(simulator.requests_to("POST", "/rest/api/3/issue").len(), 1);
}
