//! A wording is kept and used again, as far as it still holds.

use crate::support::build;
use aiops_rca::flow::{Flow, Task};
use aiops_rca::model::{Worded, cache_key};
use aiops_rca::sources::Parsed;
use aiops_rca::ticket::Ticket;

use super::*;

const CAUSE: &str = "The database server refused the login of `svc_etl`.";

async fn kept(story: &Story) -> Worded {
    let rig = Rig::new(Vendor::OpenAi).await;
    let dated = "The login failed on 2026-07-27 at night.";
    rig.site.think(mind(&says(
        &[
            (CAUSE, &[("e0", "The login failed with error 18456.")]),
            (dated, &[("e0", "The login failed on 2026-07-27")]),
        ],
        &[],
    )));
    let asked = rig
        .model
        .ask(
            story.diagnosis.clone(),
            &story.failure,
            &story.evidence,
            now(),
        )
        .await;
    assert_eq!(asked.gap, None);
    let worded = asked.worded.unwrap();
    let stored = serde_json::to_string(&worded).unwrap();
    assert_eq!(serde_json::from_str::<Worded>(&stored).unwrap(), worded);
    worded
}

#[tokio::test]
async fn sentences_that_no_longer_hold_are_not_used_again() {
    let story = Story::of(&format!("{REFUSED} The login failed on 2026-07-27"));
    let worded = kept(&story).await;
    let same = worded
        .onto(&story.diagnosis, &story.failure, &story.evidence)
        .unwrap();
    assert_eq!(
        same.root_cause,
        format!("{CAUSE} The login failed on 2026-07-27 at night.")
    );
    let next = Story::of(&format!("{REFUSED} The login failed on 2026-07-28"));
    let again = worded
        .onto(&next.diagnosis, &next.failure, &next.evidence)
        .unwrap();
    assert_eq!(again.root_cause, CAUSE);
    let other = Story::of(&REFUSED.replace("18456", "18470"));
    assert!(
        worded
            .onto(&other.diagnosis, &other.failure, &other.evidence)
            .is_err()
    );
}

#[test]
fn the_key_forgets_times_and_ids_and_nothing_else() {
    let key = |story: &Story, model: &str| {
        cache_key(&story.diagnosis, &story.failure, &story.evidence, model)
    };
    let story = Story::of(&format!(
        "{REFUSED} run 5c0f1f0e-4a1b-4c7e-9d57-4f3e9a6f1a11"
    ));
    let tomorrow = Story::of(&format!(
        "{REFUSED} run 0d9be5a2-1a2b-4c3d-8e4f-5a6b7c8d9e0f"
    ));
    assert_eq!(key(&story, "m"), key(&tomorrow, "m"));
    assert_eq!(key(&story, "m").len(), 64);
    let mut renamed = story.clone();
    renamed.failure.asset = "pl_other".to_owned();
    let richer = Story::with(
        &story.failure.message,
        &[("adf.activity_runs", "more is known")],
    );
    let others = [
        key(&story, "n"),
        key(&renamed, "m"),
        key(&richer, "m"),
        key(&Story::of(THROTTLED), "m"),
    ];
    assert!(
        others.iter().all(|other| *other != key(&story, "m")),
        "{others:?}"
    );
}

/// A flow over an embedded store, with the rig's model and nobody else.
async fn flow_of(model: Model) -> Flow {
    let flow = Flow {
        model: Some(model),
        ..build::flow(crate::support::embedded())
    };
    flow.prepare().await.unwrap();
    flow
}

async fn ticket_of(flow: &Flow, run: &str, message: &str) -> Ticket {
    let failure = Failure {
        key: RunKey::new(Source::Adf, "factory", run, "", ""),
        run_id: Some(run.to_owned()),
        ..failure(message)
    };
    let accepted = flow
        .accept(Parsed::Failures(vec![failure]), now())
        .await
        .unwrap();
    let ticket = accepted.ticket_id.unwrap();
    Box::pin(flow.work(
        Task::Failure {
            ticket: ticket.clone(),
        },
        now,
    ))
    .await
    .unwrap();
    flow.store.load(&ticket).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_corridor_asks_once_for_one_cause_and_no_more_than_its_budget() {
    let rig = Rig::new(Vendor::OpenAi).await;
    rig.site.think(mind(&says(
        &[(CAUSE, &[("e0", "The login failed with error 18456.")])],
        &[],
    )));
    let settings = ModelSettings {
        provider: Provider::OpenAiCompatible,
        endpoint: rig.server.url().parse().unwrap(),
        model: "gpt-4o".to_owned(),
        api_key: Some(KEY.to_owned().into()),
        daily_budget: 2,
    };
    let flow = flow_of(Model::new(settings, Http::new(None).unwrap(), None)).await;
    for run in ["run-1", "run-2", "run-3"] {
        let ticket = ticket_of(&flow, run, &format!("{REFUSED} Activity id {run}")).await;
        assert_eq!(
            (
                ticket.diagnosis.root_cause.as_str(),
                ticket.diagnosis.worded_by.as_str()
            ),
            (CAUSE, "model gpt-4o"),
            "{run}"
        );
        assert!(!ticket.gaps.iter().any(|gap| gap.source == "model"));
    }
    assert_eq!(rig.asked(), 1);
    // Another cause: it is asked, and what it says does not hold there.
    let ticket = ticket_of(&flow, "run-4", THROTTLED).await;
    assert!(
        ticket
            .diagnosis
            .worded_by
            .contains("nothing it said is supported"),
        "{}",
        ticket.diagnosis.worded_by
    );
    assert!(ticket.diagnosis.remediable);
    // The budget of two is used up.
    let ticket = ticket_of(&flow, "run-5", THROTTLED).await;
    assert!(
        ticket.diagnosis.worded_by.contains("AI_DAILY_BUDGET"),
        "{}",
        ticket.diagnosis.worded_by
    );
    assert!(
        ticket
            .gaps
            .iter()
            .any(|gap| gap.source == "model" && gap.reason.contains("AI_DAILY_BUDGET"))
    );
    assert_eq!(rig.asked(), 2);
}
