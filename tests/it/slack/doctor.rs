//! What `doctor` says about Slack.

use aiops_rca::http::Http;
use aiops_rca::sinks::slack::{Slack, SlackSettings};
use simulators::Fault;
use simulators::slack::SlackOptions;

use super::rig::Rig;

async fn lines(options: SlackOptions, change: impl FnOnce(&Rig, &mut SlackSettings)) -> String {
    let rig = Rig::set(options).await;
    let mut settings = rig.settings();
    change(&rig, &mut settings);
    let checks = Slack::new(settings, Http::new(None).unwrap()).check().await;
    assert!(
        rig.slack.calls("chat.postMessage").is_empty(),
        "reading calls only"
    );
    let line = |check: aiops_rca::sinks::Check| {
        let fix = check.fix.map(|fix| format!(" → {fix}")).unwrap_or_default();
        format!(
            "{} {}: {}{fix}",
            if check.ok { "ok  " } else { "FAIL" },
            check.name,
            check.line
        )
    };
    checks.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_finding_has_a_line_and_what_to_do() {
    let mut said = Vec::new();
    said.push((
        "as the guide sets it up",
        lines(SlackOptions::default(), |_, _| {}).await,
    ));
    said.push((
        "by name",
        lines(SlackOptions::default(), |_, settings| {
            settings.channel = "#general".into();
        })
        .await,
    ));
    said.push((
        "wrong token",
        lines(SlackOptions::default(), |_, s| {
            s.bot_token = "xoxb-wrong".to_owned().into();
        })
        .await,
    ));
    let bare = |_: &Rig, settings: &mut SlackSettings| {
        settings.signing_secret = None;
        settings.approvers = Vec::new();
        settings.channel = "nowhere".into();
    };
    said.push((
        "without approvals",
        lines(SlackOptions::default(), bare).await,
    ));
    said.push((
        "no secret",
        lines(SlackOptions::default(), |_, s| s.signing_secret = None).await,
    ));
    said.push((
        "no approvers",
        lines(SlackOptions::default(), |_, s| s.approvers.clear()).await,
    ));
    let mut few = SlackOptions {
        scopes: ["chat:write".to_owned()].into(),
        ..SlackOptions::default()
    };
    said.push(("no channels:read", lines(few.clone(), |_, _| {}).await));
    few.scopes.insert("channels:read".into());
    few.channels[0].is_member = false;
    said.push((
        "not invited",
        lines(few, |_, s| s.approvers = vec!["@john".into()]).await,
    ));
    let mut history = SlackOptions::default();
    history.scopes.insert("channels:history".into());
    said.push(("may read history", lines(history, |_, _| {}).await));
    let mut private = SlackOptions::default();
    private.channels[0].is_private = true;
    private
        .scopes
        .extend(["groups:read", "channels:history"].map(str::to_owned));
    said.push(("private channel", lines(private, |_, _| {}).await));
    let mut archived = SlackOptions::default();
    archived.channels[0].is_archived = true;
    said.push(("archived", lines(archived, |_, _| {}).await));
    let down = |rig: &Rig, _: &mut SlackSettings| rig.slack.faults().next(Fault::status(503));
    said.push(("down", lines(SlackOptions::default(), down).await));
    let said: Vec<String> = said
        .into_iter()
        .map(|(when, lines)| format!("=== {when}\n{lines}"))
        .collect();
    insta::assert_snapshot!("slack_doctor", said.join("\n\n"));
}
