//! Teams by a bot and the real binary: two instances on one channel, killed at random, with lost answers and throttling, in a team
//! where the app is installed late. Each ticket has one card and each entry of its story stands below it once; a click counts
//! once, and a stranger's not at all.
//!
//! `AIOPS_RCA_SEED` sets another seed.

use std::collections::BTreeMap;
use std::time::Duration;

use aiops_rca::local::host::{Host, HostOptions};
use serde_json::Value;
use simulators::Fault;
use simulators::teams::bot::{BotMessage, BotOptions, BotSimulator};

use super::rig::{Backend, Rig, alert, ids, row, run};
use crate::support::{self, teams};

const JOHN: &str = "77777777-aaaa-bbbb-cccc-888888888888";
const STRANGER: &str = "99999999-aaaa-bbbb-cccc-000000000000";
const FAILURES: u32 = 8;
/// A lease of a process that was killed has to run out, and five minutes is when a blocked delivery is tried by itself.
const PATIENCE: Duration = Duration::from_secs(200);
const BUSY: &str = "ErrorCode=SqlDeadlock,'Type=System.Data.SqlClient.SqlException,Message=Transaction (Process ID 88) was \
    deadlocked on lock resources with another process and has been chosen as the deadlock victim. Rerun the transaction.,Source=.Net SqlClient Data Provider,SqlErrorNumber=1205'";

fn settings(team: &BotSimulator, identity: String) -> Vec<(String, String)> {
    let options = BotOptions::default();
    [
        ("TEAMS_BOT_APP_ID", options.app_id),
        ("TEAMS_TENANT_ID", options.tenant),
        ("TEAMS_APPROVERS", JOHN.to_owned()),
        ("TEAMS_SERVICE_URL", team.service()),
        ("TEAMS_OPENID_URL", team.openid()),
        ("TEAMS_GRAPH_URL", team.graph()),
        ("IDENTITY_ENDPOINT", identity),
        ("IDENTITY_HEADER", teams::HEADER.to_owned()),
        ("AUTO_REMEDIATION_ENABLED", "true".to_owned()),
        ("REMEDIATION_DEFAULT", "ask".to_owned()),
        ("CALLBACK_SIGNING_KEY", "0123456789abcdef0123".to_owned()),
        // Nobody is there, and nobody approves.
        (
            "PLAYBOOK_RETRY_PIPELINE",
            "https://localhost:9/playbook".to_owned(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What may go wrong with a call.
fn fault(dice: &mut fastrand::Rng) -> Fault {
    let code = |code: u16| Fault::Status {
        code,
        headers: vec![("retry-after".to_owned(), "1".to_owned())],
        body: String::new(),
    };
    match dice.u8(0..5) {
        0 => Fault::AcceptThenDrop,
        1 => Fault::DropBefore,
        2 => code(429),
        3 => code(412),
        _ => code(503),
    }
}

/// Every message by its mark, its card's first element: none is there twice.
fn marks(messages: &[BotMessage]) -> BTreeMap<String, u32> {
    let mut marks = BTreeMap::new();
    for message in messages {
        let mark = message.card["body"][0]["id"].as_str().unwrap().to_owned();
        *marks.entry(mark).or_default() += 1;
    }
    marks
}

fn all(team: &BotSimulator) -> Vec<BotMessage> {
    let roots = team.messages();
    let threads: Vec<BotMessage> = roots
        .iter()
        .flat_map(|root| team.thread(&root.id))
        .collect();
    roots.into_iter().chain(threads).collect()
}

fn card_of(team: &BotSimulator, ticket: &str) -> Option<BotMessage> {
    let is = |message: &BotMessage| message.card.to_string().contains(ticket);
    team.messages().into_iter().find(is)
}

async fn state(rig: &Rig, id: &str) -> String {
    let ticket = rig.ticket(id).await.unwrap_or_default();
    let state = ticket["sinks"]["teams"]["state"].as_str();
    state.unwrap_or_default().to_owned()
}

async fn until_all(rig: &Rig, what: &str, tickets: &[String], holds: impl AsyncFn(&str) -> bool) {
    rig.until(what, PATIENCE, async |_: &Rig| {
        for id in tickets {
            if !holds(id).await {
                return false;
            }
        }
        true
    })
    .await;
}

/// Presses until the door is there to answer; `None`: the card has no such button any more.
async fn press(team: &BotSimulator, card: &str, verb: &str, person: &str) -> Option<Value> {
    for _ in 0..100 {
        team.click(card, verb, person)?;
        if let Some((200, answer)) = team.press(card, verb, person).await {
            return Some(answer);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody answered {verb}");
}

async fn a_team(backend: &Backend) {
    let seed = support::number("AIOPS_RCA_SEED", 20_261_130);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let team = BotSimulator::start(0, BotOptions::default()).await.unwrap();
    let identity = teams::identity().await;
    let mut other: Option<HostOptions> = None;
    let rig = Rig::build_under(
        backend,
        async |base| {
            let door = base.join("teams/messages").unwrap();
            team.change(|team| team.door = Some(door));
            settings(&team, identity.url())
        },
        |options| other = Some(options.clone()),
    )
    .await;
    let mut options = other.unwrap();
    options.address = ([127, 0, 0, 1], 0).into();
    let second = Host::start(options).await.unwrap();
    assert!(second.ready(Duration::from_secs(20)).await);

    let rows: Vec<Value> = (0..FAILURES)
        .map(|number| row(&format!("pl_{number}"), &run(700 + number), "1205", BUSY))
        .collect();
    let tickets = ids(&rig.deliver("azure-monitor", &alert("carded", &rows)).await);
    until_all(&rig, "all wait for the app", &tickets, async |id| {
        state(&rig, id).await == "blocked"
    })
    .await;
    assert_eq!(team.messages(), []);

    // Installed: what waited comes now, whatever happens on the way.
    for _ in 0..5 {
        let script = team.faults();
        script.next_on("POST", "/v3/conversations", fault(&mut dice));
    }
    while team.install().await.is_none_or(|(code, _)| code != 200) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_millis(dice.u64(0..1500))).await;
    for host in [&rig.host, &second] {
        host.kill_child();
        tokio::time::sleep(Duration::from_millis(dice.u64(0..1500))).await;
    }
    until_all(&rig, "all have cards", &tickets, async |id| {
        state(&rig, id).await == "up_to_date"
    })
    .await;

    // People press, more than once, while calls fail and an instance dies.
    for _ in 0..4 {
        let script = team.faults();
        script.next_on("POST", "/activities", fault(&mut dice));
        script.next_on("PUT", "/activities/", fault(&mut dice));
    }
    for (number, id) in tickets.iter().enumerate() {
        let card = card_of(&team, id).unwrap().id;
        let verb = if number % 2 == 0 { "reject" } else { "take" };
        let told = press(&team, &card, verb, STRANGER).await.unwrap();
        assert!(told["value"].as_str().unwrap().contains("may not decide"));
        let before = rig.ticket(id).await.unwrap();
        assert!(before["remediation"]["approval"]["answer"].is_null());
        assert_eq!(before["status"], "open", "{before:#}");
        // Shown to who pressed; the button may have gone before the second time.
        let shown = press(&team, &card, verb, JOHN).await.unwrap();
        assert!(shown["value"].is_object(), "{shown}");
        press(&team, &card, verb, JOHN).await;
        if number == 2 {
            rig.host.kill_child();
        }
    }
    until_all(&rig, "all show what was decided", &tickets, async |id| {
        let card = card_of(&team, id).unwrap().card.to_string();
        let decided = ["Rejected by John Doe", "Taken by John Doe"];
        state(&rig, id).await == "up_to_date" && decided.iter().any(|words| card.contains(words))
    })
    .await;
    // What is still under way could double something.
    tokio::time::sleep(Duration::from_secs(12)).await;
    for (mark, count) in marks(&all(&team)) {
        assert_eq!(count, 1, "{mark}, seed {seed}");
    }
    assert_eq!(team.messages().len(), tickets.len(), "seed {seed}");
    for id in &tickets {
        let ticket = rig.ticket(id).await.unwrap();
        let root = card_of(&team, id).unwrap();
        let story = ticket["story"].as_array().unwrap();
        let thread = team.thread(&root.id);
        assert_eq!(thread.len(), story.len(), "{id}, seed {seed}: {thread:#?}");
        let decided = story.iter().filter(|entry| {
            let text = entry["text"].as_str().unwrap_or_default();
            text.contains("John Doe")
        });
        assert_eq!(decided.count(), 1, "{id}, seed {seed}: {story:#?}");
        assert_eq!(ticket["remediation"]["attempts"], serde_json::json!([]));
    }
    rig.assert_wire_laws();
    second.stop().await;
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_reads_of_each_failure_once_and_decides_once_on_azurite() {
    a_team(&Backend::azurite()).await;
}
