//! What must be known before anything acts: the run, its place, how it stands. Pure.
//!
//! In: a ticket and the [`Facts`] about its run. Out: what is verified, in words, with reasons to ask a person; or why
//! nothing may act. Asked when an attempt is planned and again right before its call.

use crate::diagnosis::Action;
use crate::evidence::{Facts, Known, Progress, Standing};
use crate::failure::{AssetKind, Failure, Place, Source, field};
use crate::redaction::cap;
use crate::ticket::Ticket;

/// As much of an outside name as a reason shows.
const NAME_CAP: usize = 200;

/// What the facts carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grounds {
    /// What is known, in words, for the plan's reason.
    pub known: String,
    /// Why a person is asked all the same.
    pub doubts: Vec<String>,
}

/// Do the facts carry the ticket's action? `Err`: why nothing acts.
pub fn grounds(ticket: &Ticket, facts: &Facts) -> Result<Grounds, String> {
    let failure = &ticket.failure;
    let mut grounds = Grounds::default();
    let scope = place(&facts.place, &mut grounds)?;
    let run = subject(failure, ticket.remediation_action())?;
    standing(failure, facts, &run, &scope, &mut grounds)?;
    Ok(grounds)
}

impl Ticket {
    /// The planned action, or the one that the diagnosis proposes.
    fn remediation_action(&self) -> Action {
        self.current_attempt()
            .map_or(self.diagnosis.action, |attempt| attempt.action)
    }
}

/// A scope that the playbooks serve, as people call it.
fn place(place: &Place, grounds: &mut Grounds) -> Result<String, String> {
    match place {
        Place::Here(scope) if scope.served => Ok(format!(" in {}", scope.name)),
        Place::Here(scope) if scope.is_synapse() => Err(format!(
            "the run belongs to the Synapse workspace {}, where no playbook acts (PLAYBOOK_SCOPES)",
            scope.name
        )),
        Place::Here(scope) => Err(format!(
            "the run belongs to {}, which the playbooks do not serve (PLAYBOOK_SCOPES)",
            scope.name
        )),
        Place::Elsewhere(named) => Err(format!(
            "the run belongs to {}, where no playbook acts",
            short(named)
        )),
        Place::AnyOf(scopes) => {
            let names: Vec<&str> = scopes.iter().map(|scope| scope.name.as_str()).collect();
            Err(format!(
                "it is not known in which of {} the run is",
                names.join(", ")
            ))
        }
        Place::Unconfigured(Some(named)) if named.contains("/microsoft.synapse/") => Err(format!(
            "the run belongs to the Synapse workspace {}, where no playbook acts",
            short(named)
        )),
        Place::Unconfigured(Some(named)) => {
            grounds.doubts.push(format!(
                "the report is about {}, and no configured scope says that the playbooks act there",
                short(named)
            ));
            Ok(String::new())
        }
        Place::Unconfigured(None) => Ok(String::new()),
    }
}

/// What would be acted on: a cluster, or a run that is known by its id.
fn subject(failure: &Failure, action: Action) -> Result<String, String> {
    if matches!(action, Action::RestartCluster | Action::ReinstallLibraries) {
        return failure
            .field(field::CLUSTER_ID)
            .map(|id| format!("cluster {}", short(id)))
            .ok_or_else(|| "no cluster is known by its id".to_owned());
    }
    if failure.source == Source::Airflow && failure.field(field::TASK_ID).is_none() {
        return Err("no task is known: the report is about a whole DAG run".to_owned());
    }
    if failure.kind == AssetKind::Cluster {
        return Err("no run is known: the report is about a cluster".to_owned());
    }
    failure
        .run_id
        .as_deref()
        .map(str::trim)
        .filter(|run| !run.is_empty())
        .map(|run| format!("run {}", short(run)))
        .ok_or_else(|| "no run is known: the report names none".to_owned())
}

fn standing(
    failure: &Failure,
    facts: &Facts,
    run: &str,
    scope: &str,
    grounds: &mut Grounds,
) -> Result<(), String> {
    let platform = match failure.source {
        Source::Adf => "Data Factory",
        Source::Databricks => "Databricks",
        Source::Airflow => "Airflow",
        Source::System => return Err("nothing ran that could be run again".to_owned()),
    };
    match &facts.known {
        Known::Said(Standing::Failed) => {
            grounds.known = format!("{run}{scope} is failed and the latest");
        }
        Known::Said(Standing::Running) => {
            grounds.known = format!("{run}{scope} has not ended: its end is waited for");
        }
        Known::Said(Standing::Unknown) => return Err(format!("{platform} does not know {run}")),
        Known::Said(Standing::Succeeded) => return Err(format!("{run} has succeeded")),
        Known::Said(Standing::Over(how)) => return Err(format!("{run} {how}")),
        Known::Said(Standing::Newer {
            run: newer,
            progress,
        }) => match progress {
            Progress::Succeeded => {
                return Err(format!("a newer run ({}) has succeeded", short(newer)));
            }
            Progress::Going => {
                grounds.known = format!(
                    "{run}{scope} is failed; a newer run ({}) is waited for",
                    short(newer)
                );
            }
            Progress::Failed => {
                grounds.known = format!("{run}{scope} is failed");
                grounds
                    .doubts
                    .push(format!("a newer run ({}) failed as well", short(newer)));
            }
        },
        Known::Silent(why) => {
            grounds.known = format!("not verified: {why}");
            grounds
                .doubts
                .push(format!("{platform} could not be asked about {run}: {why}"));
        }
        Known::Later(why) => {
            grounds.known =
                format!("not verified yet ({why}): {platform} is asked before the call");
        }
        Known::NotAsked => {
            grounds.known = format!("not verified: no API of {platform} is configured");
        }
    }
    Ok(())
}

fn short(name: &str) -> String {
    cap(name, NAME_CAP)
}
