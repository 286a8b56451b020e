//! Incidents: followers are reported to their leader, and the leader is brought up to date with them.
//!
//! Each change of a follower is noted beside its leader, in a row of its own, and has the leader looked at: by a message
//! soon, and by a row of the sweep should that be lost. So a thousand followers write nothing on their leader; what it
//! shows of them is read and counted a few times a minute. Closing, taking and reopening an incident reaches its
//! followers the same way.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Flow, Task};
use crate::evidence::Facts;
use crate::fault::Fault;
use crate::incident::{self, closed_for_good, summary};
use crate::remediation;
use crate::ticket::machine::{self, Change, Event};
use crate::ticket::store::UpdateError;
use crate::ticket::{DeepCause, Joined, Member, RemediationState, Sink, Ticket, TicketId};
use crate::trace;

/// A leader is brought up to date at most this often.
const GATHER: i64 = 30;
/// Followers that are acted on in one round; the next goes on.
const AT_ONCE: usize = 100;

impl Flow {
    /// What a person does to a follower is done to its incident.
    pub(super) async fn act_on_leader(
        &self,
        ticket: &Ticket,
        event: &Event,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let by_person = matches!(event, Event::StatusChanged { by, .. } if by.is_person());
        let Some(joined) = ticket.joined.as_ref().filter(|_| by_person) else {
            return Ok(());
        };
        let applied = Box::pin(self.apply(&joined.leader, event, now)).await;
        UpdateError::unless_refused(applied).map(drop)
    }

    /// One answer to all questions about the followers of an incident, as they were shown: each of them is answered for its
    /// own ticket, whose guards hold.
    pub(super) async fn answer_incident(
        &self,
        leader: &Ticket,
        event: &Event,
        now: DateTime<Utc>,
    ) -> Result<Ticket, UpdateError> {
        let Event::ApprovalAnswered {
            plan, approved, by, ..
        } = event
        else {
            return Ok(leader.clone());
        };
        let refused = |why: &str| UpdateError::Refused(machine::Refusal::Contradicts(why.into()));
        let asked = leader.incident.as_ref();
        let Some(asked) = asked.filter(|incident| !incident.questions.is_empty()) else {
            return Err(refused("these questions are no longer asked"));
        };
        if asked.plans() != *plan {
            return Err(refused("the questions have changed since they were shown"));
        }
        let (mut answered, mut refusal) = (0, None);
        for question in &asked.questions {
            let event = Event::ApprovalAnswered {
                approval: question.approval.clone(),
                plan: question.plan.clone(),
                approved: *approved,
                by: by.clone(),
            };
            match Box::pin(self.apply(&question.ticket, &event, now)).await {
                Ok(_) => answered += 1,
                Err(UpdateError::Store(fault)) => return Err(UpdateError::Store(fault)),
                Err(late) => {
                    tracing::info!(ticket.id = %question.ticket, reason = %late, "an answer changed nothing");
                    refusal = Some(late);
                }
            }
        }
        if let Some(refusal) = refusal.filter(|_| answered == 0) {
            return Err(refusal);
        }
        let event = Event::IncidentAnswered {
            count: answered,
            approved: *approved,
            by: by.clone(),
        };
        Box::pin(self.apply(&leader.id, &event, now)).await
    }

    /// After a change: the leader of a follower, or the followers of a leader, are told of it.
    pub(super) async fn tell_incident(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        if ticket.is_follower() {
            return self.report_to_leader(ticket, now).await;
        }
        if ticket.incident.is_some() {
            let ticket = ticket.id.clone();
            return self.put(Task::Gather { ticket }, Duration::ZERO).await;
        }
        Ok(())
    }

    /// Leaders whose incidents turned out to be this one: a run names runs of both. One that a person works on stays.
    pub(super) async fn merge(
        &self,
        others: &[TicketId],
        joined: &Joined,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        for other in others.iter().filter(|other| **other != joined.leader) {
            let event = Event::Joined(Joined {
                waits_for_probe: false,
                ..joined.clone()
            });
            let merged = self.store.update(other, |ticket| {
                if ticket.is_follower() || ticket.is_closed() || ticket.last_word().by.is_person() {
                    return Err(machine::Refusal::Contradicts(
                        "it goes its own way".to_owned(),
                    ));
                }
                machine::apply(ticket, &event, now)
            });
            let Some(change) = UpdateError::unless_refused(merged.await)? else {
                continue;
            };
            tracing::info!(ticket.id = %other, incident.leader = %joined.leader, "an incident is part of another one");
            self.look_at_followers(other, now).await?;
            self.report_to_leader(&change.ticket, now).await?;
            self.put_deliveries(&change.ticket, Sink::ALL, now).await?;
        }
        Ok(())
    }

    /// Has its leader list a follower that is about to be opened: then nothing is left to tell once it is.
    pub(super) async fn list_new(
        &self,
        opened: Change,
        now: DateTime<Utc>,
    ) -> Result<Change, Fault> {
        let Some(joined) = &opened.ticket.joined else {
            return Ok(opened);
        };
        let member = incident::member(&opened.ticket, joined);
        self.store.put_member(&joined.leader, &member).await?;
        self.look_at_followers(&joined.leader, now).await?;
        let version = opened.ticket.version;
        super::append(&opened, &Event::ToldLeader { version }, now)
            .map_err(|refusal| Fault::permanent(refusal.to_string()))
    }

    /// Has its leader list a follower as it is now.
    pub(super) async fn report_to_leader(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let Some(joined) = ticket.joined.as_ref().filter(|_| !ticket.is_reported()) else {
            return Ok(());
        };
        let leads = self.incident_of(&joined.leader, now).await?;
        let leader = match leads {
            Some(standing) => standing.leader,
            None => self.store.heir(&joined.leader, &ticket.id).await?,
        };
        if leader == ticket.id {
            return self.lead(ticket, now).await;
        }
        if leader != joined.leader {
            return self
                .follow(
                    ticket,
                    Joined {
                        leader,
                        ..joined.clone()
                    },
                    now,
                )
                .await;
        }
        self.store
            .put_member(&leader, &incident::member(ticket, joined))
            .await?;
        self.look_at_followers(&leader, now).await?;
        let event = Event::ToldLeader {
            version: ticket.version,
        };
        let told = self
            .store
            .update(&ticket.id, |ticket| machine::apply(ticket, &event, now));
        UpdateError::unless_refused(told.await).map(drop)
    }

    /// The ticket leads its own incident from now on: its leader is gone.
    async fn lead(&self, ticket: &Ticket, now: DateTime<Utc>) -> Result<(), Fault> {
        let before = ticket.joined.as_ref().map(|joined| joined.leader.clone());
        let why = match &before {
            Some(leader) => format!("ticket {leader}, which led it, or its issue is gone"),
            None => "nobody leads it".to_owned(),
        };
        let left = self.store.update(&ticket.id, |ticket| {
            machine::apply(ticket, &Event::Left { why: why.clone() }, now)
        });
        let Some(left) = UpdateError::unless_refused(left.await)? else {
            return Ok(());
        };
        if let Some(before) = before {
            self.store.drop_member(&before, &ticket.id).await?;
        }
        tracing::info!(ticket.id = %ticket.id, "a follower leads its incident now");
        self.put_deliveries(&left.ticket, Sink::ALL, now).await
    }

    /// The ticket follows another leader than before.
    async fn follow(
        &self,
        ticket: &Ticket,
        joined: Joined,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let before = ticket.joined.as_ref().map(|joined| joined.leader.clone());
        let event = Event::Joined(Joined { at: now, ..joined });
        let followed = self
            .store
            .update(&ticket.id, |ticket| machine::apply(ticket, &event, now));
        let Some(followed) = UpdateError::unless_refused(followed.await)? else {
            return Ok(());
        };
        if let Some(before) = before {
            self.store.drop_member(&before, &ticket.id).await?;
        }
        Box::pin(self.report_to_leader(&followed.ticket, now)).await
    }

    /// Has a leader brought up to date soon: once for all that happens until then.
    async fn look_at_followers(&self, leader: &TicketId, now: DateTime<Utc>) -> Result<(), Fault> {
        let slot = now.timestamp().div_euclid(GATHER) + 1;
        let at = DateTime::from_timestamp(slot * GATHER, 0).unwrap_or(now);
        self.gather_at(leader, at, now).await
    }

    async fn gather_at(
        &self,
        leader: &TicketId,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        if self.store.gather_at(leader, at).await? {
            let ticket = leader.clone();
            let delay = (at - now).to_std().unwrap_or_default();
            self.put(Task::Gather { ticket }, delay).await?;
        }
        Ok(())
    }

    /// Brings a leader up to date with its followers, and them with it.
    pub(super) async fn gather(&self, id: &TicketId, now: DateTime<Utc>) -> Result<(), Fault> {
        trace::note("ticket.id", id.to_string());
        let Some(mut loaded) = self.store.find(id).await? else {
            if self.store.waiting(id).await?.is_some() {
                // Still to be analysed.
                return self.look_at_followers(id, now).await;
            }
            // It was no failure after all, or it is gone.
            let members = self.store.members(id).await?;
            return self.hand_over(id, &members, now).await;
        };
        let leader = loaded.ticket.clone();
        let members = self.store.members(id).await?;
        if members.is_empty() {
            return Ok(());
        }
        if leader.is_follower() || leader.jira.deleted {
            let open = |member: &Member| !(leader.jira.deleted && member.is_closed());
            let members: Vec<Member> = members.into_iter().filter(open).collect();
            return self.hand_over(id, &members, now).await;
        }
        let leader = match self.reopen(&leader, &members, now).await? {
            Some(reopened) => reopened,
            None => leader,
        };
        let members = self.follow_status(&leader, members, now).await?;
        let (mut found, deepest) = summary(&leader, &members);
        if let Some(deepest) = deepest
            && let Some(ticket) = self.store.load(&deepest).await?
        {
            found.cause = Some(Box::new(DeepCause {
                ticket: deepest,
                diagnosis: ticket.diagnosis,
            }));
        }
        let event = Event::Gathered(Box::new(found));
        let gathered = self
            .store
            .change(&mut loaded, |ticket| machine::apply(ticket, &event, now));
        let leader = match UpdateError::unless_refused(gathered.await)? {
            Some(change) => {
                if change.visible {
                    self.put_deliveries(&change.ticket, Sink::ALL, now).await?;
                }
                change.ticket
            }
            None => leader,
        };
        if let Some(due) = leader.digest_due() {
            self.gather_at(id, due.max(now), now).await?;
        }
        self.heal_the_others(&leader, &members, now).await
    }

    /// Followers of a ticket that leads no longer: they follow whom it follows, or the first of them.
    async fn hand_over(
        &self,
        leader: &TicketId,
        members: &[Member],
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        for member in members.iter().take(AT_ONCE) {
            match self.store.load(&member.id).await? {
                Some(ticket)
                    if ticket
                        .joined
                        .as_ref()
                        .is_some_and(|joined| joined.leader == *leader) =>
                {
                    let joined = ticket.joined.clone();
                    let leads = self.incident_of(leader, now).await?;
                    let next = match leads {
                        Some(standing) => standing.leader,
                        None => self.store.heir(leader, &ticket.id).await?,
                    };
                    if next == ticket.id {
                        self.lead(&ticket, now).await?;
                    } else if let Some(joined) = joined.filter(|_| next != *leader) {
                        self.follow(
                            &ticket,
                            Joined {
                                leader: next,
                                ..joined
                            },
                            now,
                        )
                        .await?;
                    }
                }
                // It is about to be opened, as a follower of this one.
                None if self.store.waiting(&member.id).await?.is_some() => {
                    self.look_at_followers(leader, now).await?;
                }
                Some(_) | None => self.store.drop_member(leader, &member.id).await?,
            }
        }
        Ok(())
    }

    /// A follower that failed after the incident was closed opens it again, unless a person closed it for good.
    async fn reopen(
        &self,
        leader: &Ticket,
        members: &[Member],
        now: DateTime<Utc>,
    ) -> Result<Option<Ticket>, Fault> {
        if !leader.is_closed() || closed_for_good(leader) {
            return Ok(None);
        }
        let newer = |member: &&Member| !member.is_closed() && member.received_at > leader.status_at;
        let Some(newer) = members
            .iter()
            .filter(newer)
            .min_by_key(|member| member.received_at)
        else {
            return Ok(None);
        };
        let event = Event::Recurred {
            ticket: newer.id.clone(),
            at: newer.received_at,
        };
        let reopened = self
            .store
            .update(&leader.id, |ticket| machine::apply(ticket, &event, now));
        Ok(UpdateError::unless_refused(reopened.await)?.map(|change| change.ticket))
    }

    /// What a person did to the incident is done to its followers. Healed and recovered ones stay closed.
    async fn follow_status(
        &self,
        leader: &Ticket,
        mut members: Vec<Member>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Member>, Fault> {
        if !leader.last_word().by.is_person() {
            return Ok(members);
        }
        let (to, by) = (leader.status, leader.last_word().by);
        let behind = |member: &&mut Member| {
            let newer = member.received_at > leader.status_at && !leader.is_closed();
            member.status != to && !newer
        };
        for member in members.iter_mut().filter(behind).take(AT_ONCE) {
            let Some(ticket) = self.store.load(&member.id).await? else {
                continue;
            };
            if ticket.is_closed() && !ticket.last_word().by.is_person() {
                continue;
            }
            let event = Event::Followed { to, by: by.clone() };
            let followed = self
                .store
                .update(&member.id, |ticket| machine::apply(ticket, &event, now));
            let change = UpdateError::unless_refused(followed.await)?;
            let ticket = change.map_or(ticket, |change| change.ticket);
            if let Some(joined) = ticket
                .joined
                .as_ref()
                .filter(|joined| joined.leader == leader.id)
            {
                *member = incident::member(&ticket, joined);
                self.store.put_member(&leader.id, member).await?;
                let event = Event::ToldLeader {
                    version: ticket.version,
                };
                let told = self
                    .store
                    .update(&ticket.id, |ticket| machine::apply(ticket, &event, now));
                UpdateError::unless_refused(told.await)?;
            }
            self.put_deliveries(&ticket, [Sink::Playbook], now).await?;
            self.after_attempts(&ticket).await?;
        }
        Ok(members)
    }

    /// One asset of a storm is healed: now the others may be.
    async fn heal_the_others(
        &self,
        leader: &Ticket,
        members: &[Member],
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let healed = leader.remediation.state == RemediationState::Succeeded
            || members.iter().any(|member| member.healed);
        let waits = |member: &&Member| member.waits_for_probe && !member.is_closed();
        if !healed {
            return Ok(());
        }
        for member in members.iter().filter(waits).take(AT_ONCE) {
            let released = self.store.update(&member.id, |ticket| {
                machine::apply(ticket, &Event::ProbeSucceeded, now)
            });
            let Some(change) = UpdateError::unless_refused(released.await)? else {
                continue;
            };
            let ticket = change.ticket;
            let (asset, cause) = (ticket.failure.asset_id(), &ticket.diagnosis.fingerprint);
            let past = self.store.past_remediations(&asset, cause).await?;
            let facts = if remediation::needs_facts(&ticket, &self.remediation, &past, now) {
                self.facts(&ticket, None, now).await
            } else {
                Facts::assumed()
            };
            let decision = remediation::decide(&ticket, &self.remediation, &past, &facts, now);
            self.try_apply(&ticket.id, Event::Decided(decision), now)
                .await?;
            if let Some(ticket) = self.store.load(&ticket.id).await? {
                self.report_to_leader(&ticket, now).await?;
            }
        }
        Ok(())
    }
}
