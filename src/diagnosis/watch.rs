//! A task that only watches a run of another platform is not run again: that would start the remote run a second time.
//!
//! In: a case and what was diagnosed. Out: the same diagnosis, or one that names the remote run, says how it stands and
//! leaves the task to a person. Only a remote run that surely never began leaves the task as it is.

use super::{Action, Case, Category, Diagnosis, Risk};
use crate::failure::remote::{RemoteRun, RemoteState, platform_named, remote_run};
use crate::failure::{Source, field};

/// The run that the case's task watches, if it watches one.
pub(super) fn watched(case: &Case) -> Option<RemoteRun> {
    if case.source != Source::Airflow {
        return None;
    }
    let known = |name: &str| case.context.get(name).map(String::as_str);
    let mut texts = vec![case.message.as_str()];
    texts.extend(case.evidence.iter().map(|piece| piece.text.as_str()));
    let mut run = remote_run(known(field::OPERATOR), &texts).or_else(|| {
        Some(RemoteRun {
            platform: platform_named(known(field::REMOTE_PLATFORM)?)?,
            run_id: None,
            state: RemoteState::Unknown,
        })
    })?;
    // The platform itself knows better than the task's last words.
    if let Some(id) = known(field::REMOTE_RUN_ID) {
        run.run_id = Some(id.to_owned());
    }
    if let Some(state) = known(field::REMOTE_STATE) {
        run.state = RemoteState::named(state);
    }
    Some(run)
}

/// The diagnosis of a task that watches `run`.
pub(super) fn of_watcher(run: &RemoteRun, mut found: Diagnosis) -> Diagnosis {
    if run.state == RemoteState::NeverBegan {
        return found;
    }
    let acted = found.remediable || found.action.acts();
    let name = name(run);
    match &run.state {
        RemoteState::Succeeded => {
            found.root_cause =
                format!("The {name} succeeded; only the task that watched it failed.");
            found.recommendations = vec![
                format!("Open the {name} and check that it did all its work."),
                "Mark the task as successful in Airflow.".to_owned(),
                "Do not clear the task: that would start the work a second time.".to_owned(),
            ];
        }
        RemoteState::Going(word) => {
            found.root_cause = format!(
                "{} The {name} that the task watches was still {word}.",
                sentence(&found)
            );
            found.recommendations = vec![
                format!("Look at the {name}: it was {word} when the task gave up."),
                "Do not start a second one while it goes on.".to_owned(),
                "When it has ended well, mark the task as successful; if it fails, its own error is the cause."
                    .to_owned(),
            ];
        }
        RemoteState::Failed => {
            if !mentions(&found.root_cause, run) {
                found.root_cause = format!("{} It is the {name} that failed.", sentence(&found));
            }
            let own = without_reruns(&found.recommendations, 2);
            found.recommendations = vec![format!("Open the {name}: its own error is the cause.")];
            found.recommendations.extend(own);
            found.recommendations.push(format!(
                "Repair it in {} when the cause is gone, and mark the task as successful then.",
                run.platform
            ));
        }
        RemoteState::Unknown => {
            let open = acted
                || found.category == Category::Undetermined
                || found.category.may_be_acted_on();
            if open {
                found.root_cause = format!(
                    "{} The task watches a {name}, which may still go on.",
                    sentence(&found)
                );
                let own = without_reruns(&found.recommendations, 2);
                found.recommendations = vec![
                    format!("Look at the {name} first: it may still go on, or have ended well."),
                    "Do not clear the task before that: it could start the work a second time."
                        .to_owned(),
                ];
                found.recommendations.extend(own);
            }
        }
        RemoteState::NeverBegan => {}
    }
    if acted {
        found
            .rule
            .push_str("; does not act because the task watches a run of ");
        found.rule.push_str(run.platform);
    }
    found.remediable = false;
    if found.action != Action::CheckUpstream && found.action != Action::ScaleResources {
        found.action = Action::None;
        found.risk = Risk::High;
    }
    found.other_node_type = false;
    found
}

/// `Databricks run `4711``.
fn name(run: &RemoteRun) -> String {
    match &run.run_id {
        Some(id) => format!("{} run `{id}`", run.platform),
        None => format!("{} run", run.platform),
    }
}

fn mentions(text: &str, run: &RemoteRun) -> bool {
    text.contains(run.platform) && run.run_id.as_deref().is_none_or(|id| text.contains(id))
}

fn sentence(found: &Diagnosis) -> &str {
    found.root_cause.trim()
}

/// The first of these steps that do not have the task run again.
fn without_reruns(steps: &[String], most: usize) -> Vec<String> {
    steps
        .iter()
        .filter(|step| !super::steps::speaks_of_a_rerun(step))
        .take(most)
        .cloned()
        .collect()
}
