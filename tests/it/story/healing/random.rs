//! Thousands of stories at random: lost answers, kills at any point, late and doubled callbacks, people, alerts.
//!
//! `AIOPS_RCA_STORIES` sets how many (2,000 by default), `AIOPS_RCA_SEED` the first seed.

use std::collections::{BTreeMap, BTreeSet};

use aiops_rca::failure::{AssetKind, Failure, Source, field};
use aiops_rca::flow::Flow;
use aiops_rca::sources::Parsed;
use aiops_rca::ticket::machine::Event;
use aiops_rca::ticket::store::UpdateError;
use aiops_rca::ticket::{Actor, AttemptState, Channel, RemediationState, Status, Ticket, TicketId};
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;

use super::super::simulation::{Simulation, Task, noon};
use super::rig::{Answered, Call, Fate, Fates, Newer, Outside, Rig, State, Told, failure};

/// Stories that share a scenario, a clock and a sweep.
const STORIES_A_TOWN: u64 = 25;

#[derive(Debug)]
struct Dice {
    seed: u64,
    /// Without a vendor to ask, the alert of a run nobody named is a failure like any other.
    alerts: bool,
}

impl Fates for Dice {
    fn fate(&mut self, asset: &str, attempt: u64, call: usize) -> Fate {
        let salt = asset.bytes().fold(attempt * 31 + call as u64, |sum, byte| {
            sum.wrapping_mul(131).wrapping_add(u64::from(byte))
        });
        let mut dice = fastrand::Rng::with_seed(self.seed ^ salt);
        Fate {
            answer: match dice.u32(0..20) {
                0..=12 => Answered::Accepted,
                13..=15 => Answered::TimedOutAfterStart,
                16 => Answered::TimedOutBeforeStart,
                17 | 18 => Answered::Throttled,
                _ => Answered::Refused,
            },
            heals: dice.u32(0..10) < 6,
            takes: TimeDelta::seconds(if dice.u32(0..25) == 0 {
                dice.i64(600..1000)
            } else {
                dice.i64(0..200)
            }),
            told: match dice.u32(0..18) {
                0..=6 => Told::Honestly,
                7 | 8 => Told::TooEarly,
                9 => Told::Nothing,
                10 => Told::Late,
                11 => Told::Twice,
                12 => Told::Contradictory,
                13 | 14 => Told::WithoutRun,
                15 => Told::FalselyWithoutRun,
                16 => Told::FalselyUnknownRun,
                _ => Told::FalselyOriginalRun,
            },
            alerts: self.alerts && dice.bool(),
        }
    }
}

/// Another factory, a Synapse workspace, a task that only watches a run of Databricks.
fn bend(failure: &mut Failure, asset: &str) {
    let providers = "/subscriptions/s/resourcegroups/g/providers";
    if asset.starts_with("foreign") {
        failure.set_scope(&format!("{providers}/microsoft.datafactory/factories/dev"));
    } else if asset.starts_with("synapse") {
        failure.set_scope(&format!("{providers}/microsoft.synapse/workspaces/syn"));
    } else if asset.starts_with("watch") {
        failure.source = Source::Airflow;
        failure.kind = AssetKind::Task;
        let operator = "DatabricksSubmitRunOperator".to_owned();
        failure.context.insert(field::OPERATOR.to_owned(), operator);
    }
}

/// A run that somebody else starts at about the time of the story.
fn later(asset: &str, start: TimeDelta, dice: &mut fastrand::Rng) -> Newer {
    let after = start + TimeDelta::seconds(dice.i64(0..300));
    let takes = TimeDelta::seconds(dice.i64(1..120));
    let mut newer = Newer::of(asset, noon() + after, takes);
    newer.succeeds = dice.u32(0..3) > 0;
    newer
}

/// What happens besides messages and sweeps.
#[derive(Debug, Clone)]
enum Act {
    Report(Failure),
    Outside(Outside),
    Person(String, Deed),
    KillSwitch,
    FactoryFails(u16),
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Close,
    Reopen,
    Answer { approved: bool, forged: bool },
}

struct Scenario {
    seed: u64,
    rig: Rig<Act>,
    vendor: bool,
    /// When automatic remediation was switched off.
    off_since: Option<DateTime<Utc>>,
    /// What became of the reports, by asset and run.
    ids: BTreeMap<String, TicketId>,
}

impl Scenario {
    async fn build(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let vendor = dice.u32(0..5) > 0;
        let mut rig = Rig::build(
            seed,
            vendor,
            Dice {
                seed,
                alerts: vendor,
            },
        )
        .await;
        rig.simulation.kills = *dice.choice(&[0, 5, 10, 25]).unwrap();
        rig.simulation
            .plan_act(TimeDelta::zero(), Act::FactoryFails(503));
        for story in 0..STORIES_A_TOWN {
            let asset = match dice.u32(0..30) {
                0..=9 => format!("safe-{story}"),
                10..=12 => format!("ask-{story}"),
                13 => format!("never-{story}"),
                14 | 15 => format!("code-{story}"),
                16..=19 => format!("shared-{}", dice.u32(0..2)),
                20 => format!("foreign-{story}"),
                21 => format!("synapse-{story}"),
                22 | 23 => format!("lost-{story}"),
                24 | 25 => format!("watch-{story}"),
                _ => format!("newer-{story}"),
            };
            let run = format!("00000000-0000-4000-8000-{story:012x}");
            let (code, message) = if asset.starts_with("code") {
                (
                    "2200",
                    "ErrorCode=UserErrorSourceBlobNotExist,'Message=The required Blob is missing.'",
                )
            } else {
                ("GatewayTimeout", "The gateway did not answer in time.")
            };
            let mut failure = failure(&asset, &run, code, message);
            let start = TimeDelta::seconds(dice.i64(0..300));
            bend(&mut failure, &asset);
            rig.know(&run, &asset);
            if asset.starts_with("lost") {
                rig.vendors.state().lost.insert(run.clone());
            }
            if asset.starts_with("newer") {
                rig.newer(later(&asset, start, &mut dice));
            }
            let simulation = &mut rig.simulation;
            for _ in 0..dice.u32(1..3) {
                simulation.plan_act(
                    start + TimeDelta::seconds(dice.i64(0..120)),
                    Act::Report(failure.clone()),
                );
            }
            let mut person = |chance: u32, within: i64, deed: Deed| {
                if dice.u32(0..100) < chance {
                    simulation.plan_act(
                        start + TimeDelta::seconds(dice.i64(30..within)),
                        Act::Person(run.clone(), deed),
                    );
                }
            };
            person(15, 600, Deed::Close);
            person(8, 900, Deed::Reopen);
            if asset.starts_with("ask") {
                person(
                    30,
                    600,
                    Deed::Answer {
                        approved: true,
                        forged: true,
                    },
                );
                person(
                    60,
                    900,
                    Deed::Answer {
                        approved: true,
                        forged: false,
                    },
                );
                person(
                    40,
                    900,
                    Deed::Answer {
                        approved: false,
                        forged: false,
                    },
                );
                person(
                    40,
                    1800,
                    Deed::Answer {
                        approved: true,
                        forged: false,
                    },
                );
            }
        }
        let simulation = &mut rig.simulation;
        for _ in 0..dice.u32(0..6) {
            let status = *dice.choice(&[429, 500, 503]).unwrap();
            simulation.plan_act(
                TimeDelta::seconds(dice.i64(0..900)),
                Act::FactoryFails(status),
            );
        }
        if dice.u32(0..10) == 0 {
            simulation.plan_act(TimeDelta::seconds(dice.i64(0..500)), Act::KillSwitch);
        }
        simulation.plan(simulation.now + TimeDelta::minutes(1), Task::Sweep);
        Self {
            seed,
            rig,
            vendor,
            off_since: None,
            ids: BTreeMap::new(),
        }
    }

    async fn play(&mut self) {
        let begin = self.rig.simulation.now;
        while let Some(task) = self.rig.simulation.next() {
            self.rig.tick();
            let late = self.rig.simulation.now - begin;
            // Whatever still hangs then is found by the judge.
            if late > TimeDelta::hours(4) {
                break;
            }
            match task {
                Task::Message {
                    queue,
                    text,
                    dequeues,
                } => drop(self.rig.simulation.handle(queue, text, dequeues).await),
                Task::Sweep => {
                    // The long tail of a few stories need not be swept as often as the crowd at the start.
                    let every = if late < TimeDelta::minutes(20) { 3 } else { 8 };
                    self.rig.simulation.sweep(TimeDelta::minutes(every)).await;
                    if self.rig.simulation.is_idle()
                        && late > TimeDelta::minutes(20)
                        && self.is_over().await
                    {
                        break;
                    }
                }
                Task::Act(act) => self.act(act).await,
            }
            let news = std::mem::take(&mut self.rig.vendors.state().news);
            for (at, outside) in news {
                self.rig
                    .simulation
                    .plan(at, Task::Act(Act::Outside(outside)));
            }
        }
    }

    async fn tickets(&self) -> Vec<Ticket> {
        self.rig
            .simulation
            .flow
            .store
            .recent(self.rig.simulation.now, 2, 10_000)
            .await
            .unwrap()
    }

    async fn is_over(&self) -> bool {
        let waits = |ticket: &Ticket| {
            ticket.current_attempt().is_some()
                || ticket.remediation.state == RemediationState::AwaitingApproval
        };
        !self.tickets().await.iter().any(waits)
    }

    async fn act(&mut self, act: Act) {
        let (flow, now) = (self.rig.simulation.flow.clone(), self.rig.simulation.now);
        let (kills, again) = (self.rig.simulation.kills, act.clone());
        let done = match act {
            Act::FactoryFails(status) => {
                self.rig.vendors.state().factory_faults.push(status);
                true
            }
            Act::KillSwitch => {
                self.rig.simulation.flow.remediation.enabled = false;
                self.off_since = Some(now);
                true
            }
            Act::Report(failure) | Act::Outside(Outside::Alert(failure)) => {
                let run = failure.run_id.clone().unwrap();
                let work = flow.accept(Parsed::Failures(vec![failure]), now);
                let accepted =
                    Simulation::<Act>::survive(kills, &mut self.rig.simulation.dice, work).await;
                if let Some(Ok(accepted)) = &accepted {
                    let id = accepted.ticket_id.clone().unwrap();
                    let known = self.ids.entry(run).or_insert_with(|| id.clone());
                    assert_eq!(*known, id, "seed {}: one run, two tickets", self.seed);
                }
                matches!(accepted, Some(Ok(_)))
            }
            Act::Outside(Outside::Callback {
                ticket,
                attempt,
                body,
            }) => {
                let work = Rig::<Act>::call_back(&flow, &ticket, &attempt, &body, now);
                let answered =
                    Simulation::<Act>::survive(kills, &mut self.rig.simulation.dice, work).await;
                matches!(
                    answered,
                    Some(Ok(_) | Err(UpdateError::Refused(_) | UpdateError::Missing))
                )
            }
            Act::Person(run, deed) => {
                if let Some(id) = self.ids.get(&run).cloned() {
                    self.deed(&flow, &id, deed, now).await;
                }
                true
            }
        };
        // Senders come again.
        if !done {
            let wait = TimeDelta::seconds(self.rig.simulation.dice.i64(5..60));
            self.rig.simulation.plan_act(wait, again);
        }
    }

    async fn deed(&mut self, flow: &Flow, id: &TicketId, deed: Deed, now: DateTime<Utc>) {
        let Some(ticket) = flow.store.load(id).await.unwrap() else {
            return;
        };
        let by = Actor {
            channel: Channel::Dashboard,
            name: "Jane Roe".to_owned(),
        };
        let event = match deed {
            Deed::Close => Event::StatusChanged {
                to: Status::Acknowledged,
                by,
                at: now,
                jira_status: None,
            },
            Deed::Reopen => Event::StatusChanged {
                to: Status::Open,
                by,
                at: now,
                jira_status: None,
            },
            Deed::Answer { approved, forged } => {
                let Some(question) = ticket.remediation.approval else {
                    return;
                };
                let plan = if forged {
                    "forged".to_owned()
                } else {
                    question.plan
                };
                Event::ApprovalAnswered {
                    approval: question.id,
                    plan,
                    approved,
                    by,
                }
            }
        };
        let work = flow.apply(id, &event, now);
        let outcome = Simulation::<Act>::survive(
            self.rig.simulation.kills,
            &mut self.rig.simulation.dice,
            work,
        )
        .await;
        if let Deed::Answer { forged: true, .. } = deed {
            assert!(
                !matches!(outcome, Some(Ok(_))),
                "seed {}: a forged plan was approved",
                self.seed
            );
        }
    }

    /// What must hold whatever happened.
    async fn judge(&mut self) {
        let seed = self.seed;
        let tickets = self.tickets().await;
        for ticket in tickets
            .iter()
            .rev()
            .filter(|_| crate::support::number("AIOPS_RCA_STORIES", 2_000) <= STORIES_A_TOWN)
        {
            println!(
                "{} {:?} {} by {:?}",
                ticket.id, ticket.failure.run_id, ticket.failure.asset, ticket.status_by.channel
            );
            for chapter in &ticket.story {
                println!("    {} {}", chapter.at.format("%H:%M:%S"), chapter.text);
            }
            for attempt in &ticket.remediation.attempts {
                println!("    {attempt:?}");
            }
        }
        let attempts: BTreeSet<&str> = tickets
            .iter()
            .flat_map(|t| {
                t.remediation
                    .attempts
                    .iter()
                    .map(|attempt| attempt.id.as_str())
            })
            .collect();
        let state = self.rig.vendors.state();
        let mut may_run: BTreeMap<&str, u32> = BTreeMap::new();
        for call in &state.calls {
            assert!(
                attempts.contains(call.attempt.as_str()),
                "seed {seed}: {} was called and is not recorded",
                call.attempt
            );
            assert!(
                !call.asset.starts_with("never") && !call.asset.starts_with("code"),
                "seed {seed}: {} was called",
                call.asset
            );
            judge_call(seed, call, self.vendor, &state);
            assert!(
                self.off_since.is_none_or(|off| call.at < off),
                "seed {seed}: {} was called when off",
                call.attempt
            );
            *may_run.entry(&call.attempt).or_default() += u32::from(call.may_run);
        }
        assert!(
            may_run.values().all(|calls| *calls <= 1),
            "seed {seed}: an attempt was called twice: {may_run:?}"
        );
        for ticket in &tickets {
            judge_ticket(seed, ticket);
            for attempt in &ticket.remediation.attempts {
                if self.vendor && attempt.state == AttemptState::Succeeded {
                    let healed = state.runs.iter().any(|run| {
                        run.attempt == attempt.id && run.heals && Some(run.end) <= attempt.ended_at
                    });
                    assert!(
                        healed,
                        "seed {seed}: {} counts as healed, by no run: {attempt:#?}",
                        ticket.id
                    );
                }
                if attempt.state == AttemptState::Succeeded {
                    assert!(
                        attempt.run_id.is_some(),
                        "seed {seed}: {} counts as healed by a run that nobody named",
                        ticket.id
                    );
                }
                let named = attempt.run_id.as_ref();
                if let Some(run) = named.filter(|run| self.vendor && run.starts_with("7e7e")) {
                    let own = tickets
                        .iter()
                        .find(|ticket| ticket.failure.run_id.as_ref() == Some(run));
                    assert!(
                        own.is_none(),
                        "seed {seed}: the run of {} has a ticket of its own",
                        attempt.id
                    );
                }
            }
        }
        overlaps(seed, &tickets);
        let locks = futures::executor::block_on(self.rig.simulation.flow.store.asset_locks());
        assert_eq!(
            locks.unwrap(),
            Vec::new(),
            "seed {seed}: an asset stays taken"
        );
        let stories: BTreeSet<&str> = tickets
            .iter()
            .filter_map(|t| t.failure.run_id.as_deref())
            .collect();
        assert_eq!(
            stories.len(),
            tickets.len(),
            "seed {seed}: a run has two tickets"
        );
        let reported = stories
            .iter()
            .filter(|run| run.starts_with("00000000"))
            .count() as u64;
        assert_eq!(
            reported, STORIES_A_TOWN,
            "seed {seed}: a story has no ticket"
        );
    }
}

/// A call that the facts do not carry.
fn judge_call(seed: u64, call: &Call, vendor: bool, state: &State) {
    let asset = &call.asset;
    let foreign = ["foreign", "synapse", "watch"];
    let unknown = vendor && asset.starts_with("lost");
    assert!(
        !unknown && !foreign.iter().any(|kind| asset.starts_with(kind)),
        "seed {seed}: {asset} was called, which the facts do not carry"
    );
    let newer = state.newer.values().find(|run| run.pipeline == *asset);
    let beside =
        newer.is_some_and(|run| call.at >= run.start && (call.at < run.end || run.succeeds));
    assert!(
        !(vendor && beside),
        "seed {seed}: {asset} was called beside a newer run"
    );
}

fn judge_ticket(seed: u64, ticket: &Ticket) {
    let healing = &ticket.remediation;
    let asset = &ticket.failure.asset;
    assert!(
        ticket.current_attempt().is_none(),
        "seed {seed}: hanging: {ticket:#?}"
    );
    let made = healing
        .attempts
        .iter()
        .filter(|attempt| attempt.state != AttemptState::Cancelled)
        .count();
    assert!(made <= 3, "seed {seed}: {made} attempts");
    if asset.starts_with("never") || asset.starts_with("code") {
        assert_eq!(made, 0, "seed {seed}: {asset}");
    }
    if asset.starts_with("ask") && !healing.attempts.is_empty() {
        assert!(
            ticket
                .story
                .iter()
                .any(|c| c.kind == aiops_rca::ticket::ChapterKind::ApprovalGiven),
            "seed {seed}: unasked"
        );
    }
    let healed = healing
        .attempts
        .iter()
        .any(|attempt| attempt.state == AttemptState::Succeeded);
    if ticket.is_closed() && !ticket.status_by.is_person() {
        assert!(healed, "seed {seed}: {} was closed by nobody", ticket.id);
    }
    if healed && !ticket.is_closed() {
        assert!(
            ticket.status_by.is_person(),
            "seed {seed}: {} is healed and open",
            ticket.id
        );
    }
    assert_eq!(
        ticket
            .story
            .iter()
            .map(|chapter| chapter.number)
            .collect::<Vec<_>>(),
        (1..=u32::try_from(ticket.story.len()).unwrap()).collect::<Vec<_>>(),
        "seed {seed}"
    );
}

/// At most one running attempt an asset.
fn overlaps(seed: u64, tickets: &[Ticket]) {
    let mut spans: Vec<(&str, DateTime<Utc>, DateTime<Utc>)> = tickets
        .iter()
        .flat_map(|t| {
            t.remediation
                .attempts
                .iter()
                .map(|a| (t.failure.asset.as_str(), a))
        })
        .filter_map(|(asset, attempt)| Some((asset, attempt.called_at?, attempt.ended_at?)))
        .collect();
    spans.sort_unstable();
    for pair in spans.windows(2) {
        let ((one, _, end), (other, start, _)) = (pair[0], pair[1]);
        assert!(
            one != other || end <= start,
            "seed {seed}: two attempts at once on {one}"
        );
    }
}

#[tokio::test]
async fn no_story_goes_wrong() {
    let (first, towns) = (
        crate::support::number("AIOPS_RCA_SEED", 1),
        crate::support::number("AIOPS_RCA_STORIES", 2_000).div_ceil(STORIES_A_TOWN),
    );
    let mut outcomes = BTreeMap::new();
    let played = futures::stream::iter(first..first + towns).map(|seed| async move {
        let mut scenario = Scenario::build(seed).await;
        scenario.play().await;
        scenario.judge().await;
        scenario
            .tickets()
            .await
            .into_iter()
            .map(|ticket| format!("{:?}", ticket.remediation.state))
            .collect::<Vec<_>>()
    });
    let mut played = std::pin::pin!(played.buffer_unordered(3));
    while let Some(states) = played.next().await {
        for state in states {
            *outcomes.entry(state).or_insert(0_u32) += 1;
        }
    }
    // The stories are worth something only if they differ.
    for state in ["None", "Succeeded", "Exhausted", "Rejected"] {
        assert!(
            outcomes.get(state).copied().unwrap_or(0) > 0 || towns < 20,
            "{state} never came: {outcomes:?}"
        );
    }
}
