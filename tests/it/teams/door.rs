//! `/teams/messages`: who comes in, what a click does, and what the clicker sees.

use std::sync::Arc;

use aiops_rca::config::{Config, Environment};
use aiops_rca::flow::{DELIVERIES, Flow, Task};
use aiops_rca::functions::Handler;
use aiops_rca::functions::bot_token::{BotToken, BotTokenSettings, ISSUER, Refused};
use aiops_rca::sinks::teams::activity::{Meaning, Verdict, parse};
use aiops_rca::sinks::teams::card::verb;
use aiops_rca::sinks::teams::{Bot, BotSettings, Teams};
use aiops_rca::ticket::machine::Change;
use aiops_rca::ticket::store::{Place, TicketStore};
use aiops_rca::ticket::{Sink, Status, Ticket};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use simulators::teams::bot::{BotOptions, BotSimulator, signed};
use simulators::{Answer, Fault, Request, Server, Site, serve};

use super::rig::{ask, named_at, status, texts, ticket};
use crate::support::{self, teams};

const JOHN: &str = "77777777-aaaa-bbbb-cccc-888888888888";
const STRANGER: &str = "99999999-aaaa-bbbb-cccc-000000000000";

/// Our doors, as a host that the simulator can reach.
struct App {
    team: BotSimulator,
    store: TicketStore,
    url: url::Url,
    flow: Flow,
    identity: Server,
}

impl App {
    async fn set(more: &[(&str, &str)]) -> Self {
        let team = BotSimulator::start(0, BotOptions::default()).await.unwrap();
        let identity = teams::identity().await;
        let options = BotOptions::default();
        let path = support::embedded_path();
        let mut settings: Environment = [
            ("AIOPS_RCA_LOCAL", "true".to_owned()),
            ("AIOPS_RCA_STORE", path.to_string_lossy().into_owned()),
            ("STORAGE_PREFIX", support::prefix()),
            ("TEAMS_BOT_APP_ID", options.app_id),
            ("TEAMS_TENANT_ID", options.tenant),
            ("TEAMS_APPROVERS", JOHN.to_owned()),
            ("TEAMS_SERVICE_URL", team.service()),
            ("TEAMS_OPENID_URL", team.openid()),
            ("TEAMS_GRAPH_URL", team.graph()),
            ("IDENTITY_ENDPOINT", identity.url()),
            ("IDENTITY_HEADER", "header-of-the-bots-app".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let more = more.iter();
        settings.extend(more.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        settings.retain(|_, value| !value.is_empty());
        let doors = support::doors(Config::read(&settings));
        let flow = doors.flow.as_ref().unwrap().clone();
        let store = flow.store.clone();
        doors.flow.as_ref().unwrap().prepare().await.unwrap();
        let handler = Handler::new(doors);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = move |request| handler.clone().answer(request);
        tokio::spawn(aiops_rca::functions::wire::serve(
            listener,
            answer,
            std::future::pending(),
        ));
        let url: url::Url = format!("http://127.0.0.1:{port}/teams/messages")
            .parse()
            .unwrap();
        let door = url.clone();
        team.change(|team| team.door = Some(door));
        Self {
            team,
            store,
            url,
            flow,
            identity,
        }
    }

    async fn keep(&self, ticket: &Ticket) {
        let mut opened = Change {
            ticket: ticket.clone(),
            visible: true,
            at: Utc::now(),
        };
        self.store.open(&mut opened, &[]).await.unwrap();
    }

    async fn ticket(&self, ticket: &Ticket) -> Ticket {
        self.store.load(&ticket.id).await.unwrap().unwrap()
    }

    /// A card as the sink posts it.
    async fn post(&self, ticket: &mut Ticket) -> String {
        let endpoint = teams::identity().await;
        let sink = teams::sink(&self.team, &endpoint, support::http());
        for _ in 0..20 {
            match sink.step(ticket, Utc::now()).await.unwrap() {
                aiops_rca::sinks::Step::UpToDate => break,
                aiops_rca::sinks::Step::Recorded(record) => ticket.teams = Some(Box::new(record)),
                aiops_rca::sinks::Step::Wait(time, _) => tokio::time::sleep(time).await,
            }
        }
        ticket.teams.as_ref().unwrap().activity.clone().unwrap()
    }

    /// The flow of another process, which does not know yet where to post.
    fn another(&self) -> Flow {
        let http = support::http();
        let settings = BotSettings {
            channel: None,
            ..teams::settings(&self.team)
        };
        let identity = teams::signed_in(&self.identity, &http);
        let mut flow = self.flow.clone();
        flow.sinks.teams = Some(Teams::Bot(Bot::new(settings, http, Some(identity))));
        flow
    }

    async fn waiting(&self) -> u64 {
        let storage = self.store.storage();
        storage.depth(DELIVERIES).await.unwrap()
    }

    async fn send(&self, token: Option<&str>, body: &Value) -> u16 {
        let http = support::http();
        let mut request = (http.request(reqwest::Method::POST, &self.url)).body(body.to_string());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        http.send("the app", request).await.unwrap().status
    }
}

/// One that the sweep has no reason to look at but for Teams.
fn of_now() -> (Ticket, DateTime<Utc>) {
    let now = Utc::now();
    let mut ticket = named_at("pipeline-name", now);
    let off = [Sink::Jira, Sink::Slack].map(|sink| (sink.name().to_owned(), "off".to_owned()));
    ticket.sinks_off = off.into();
    (ticket, now)
}

fn asked() -> Ticket {
    let mut ticket = ticket();
    ask(&mut ticket);
    // As of now: a question that ran out is not answered.
    let approval = ticket.remediation.approval.as_mut().unwrap();
    approval.expires_at = Utc::now() + TimeDelta::hours(1);
    ticket
}

#[tokio::test]
async fn an_approvers_click_counts_once_and_shows_the_card_as_it_is() {
    let app = App::set(&[]).await;
    let mut ticket = asked();
    let card = app.post(&mut ticket).await;
    app.keep(&ticket).await;
    // A stranger is told so, and nothing changes.
    let (code, answer) = app
        .team
        .press(&card, verb::APPROVE, STRANGER)
        .await
        .unwrap();
    assert_eq!((code, &answer["statusCode"]), (200, &json!(200)));
    assert_eq!(answer["type"], "application/vnd.microsoft.activity.message");
    assert!(answer["value"].as_str().unwrap().contains("may not decide"));
    assert!(
        app.ticket(&ticket)
            .await
            .remediation
            .approval
            .unwrap()
            .answer
            .is_none()
    );
    for _ in 0..3 {
        let (code, answer) = app.team.press(&card, verb::APPROVE, JOHN).await.unwrap();
        assert_eq!(code, 200);
        assert_eq!(answer["type"], "application/vnd.microsoft.card.adaptive");
        let texts = texts(&answer["value"]);
        assert!(
            texts
                .iter()
                .any(|text| text.starts_with("👍 Approved by John Doe")),
            "{texts:?}"
        );
    }
    let now = app.ticket(&ticket).await;
    let approval = now.remediation.approval.clone().unwrap();
    let answer = approval.answer.unwrap();
    assert!(answer.approved && answer.by.name == "John Doe");
    assert_eq!(answer.by.channel, aiops_rca::ticket::Channel::Teams);
    assert_eq!(now.remediation.attempts.len(), 1, "no click counts twice");
    // All others see it by the edit.
    assert!(now.lags(Sink::Teams));
}

#[tokio::test]
async fn taking_and_closing_are_changes_of_status_by_a_person() {
    let app = App::set(&[]).await;
    let mut ticket = ticket();
    let card = app.post(&mut ticket).await;
    app.keep(&ticket).await;
    for (verb, becomes) in [
        (verb::TAKE, Status::InProgress),
        (verb::CLOSE, Status::Acknowledged),
    ] {
        app.team.press(&card, verb, STRANGER).await.unwrap();
        assert_ne!(app.ticket(&ticket).await.status, becomes);
        let (code, _) = app.team.press(&card, verb, JOHN).await.unwrap();
        assert_eq!(code, 200);
        let now = app.ticket(&ticket).await;
        assert_eq!(
            (now.status, now.status_by.name.as_str()),
            (becomes, "John Doe")
        );
    }
}

#[tokio::test]
async fn a_forged_or_misdirected_activity_does_not_come_in() {
    let app = App::set(&[]).await;
    let mut ticket = asked();
    let card = app.post(&mut ticket).await;
    app.keep(&ticket).await;
    let click = app.team.click(&card, verb::APPROVE, JOHN).unwrap();
    let service = click["serviceUrl"].as_str().unwrap().to_owned();
    let app_id = BotOptions::default().app_id;
    let now = Utc::now().timestamp();
    let claims =
        json!({"iss": ISSUER, "aud": app_id, "nbf": now, "exp": now + 600, "serviceurl": service});
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        signed(&claims)
    };
    let good = signed(&claims);
    let mut elsewhere = click.clone();
    elsewhere["serviceUrl"] = json!("https://evil.example/teams/");
    let mut other_channel = click.clone();
    other_channel["channelId"] = json!("webchat");
    let mut other_tenant = click.clone();
    other_tenant["channelData"]["tenant"]["id"] = json!("another");
    let evil = with("serviceurl", json!("https://evil.example/teams/"));
    for (what, token, body, status) in [
        ("no token", None, &click, 401),
        (
            "another issuer",
            Some(with("iss", json!("https://sts.windows.net/x/"))),
            &click,
            401,
        ),
        (
            "another audience",
            Some(with("aud", json!("another"))),
            &click,
            401,
        ),
        ("expired", Some(with("exp", json!(now - 400))), &click, 401),
        ("not yet", Some(with("nbf", json!(now + 400))), &click, 401),
        (
            "no address",
            Some(with("serviceurl", Value::Null)),
            &click,
            403,
        ),
        (
            "another address",
            Some(with(
                "serviceurl",
                json!("https://smba.trafficmanager.net/x/"),
            )),
            &click,
            403,
        ),
        (
            "address only in the body",
            Some(good.clone()),
            &elsewhere,
            403,
        ),
        ("a host that is not Teams'", Some(evil), &elsewhere, 403),
        (
            "a channel the key is not for",
            Some(good.clone()),
            &other_channel,
            403,
        ),
        ("another tenant", Some(good.clone()), &other_tenant, 403),
        ("rubbish", Some("a.b.c".to_owned()), &click, 401),
        ("not an activity", Some(good.clone()), &json!([1]), 400),
    ] {
        assert_eq!(app.send(token.as_deref(), body).await, status, "{what}");
        assert!(
            app.ticket(&ticket)
                .await
                .remediation
                .approval
                .unwrap()
                .answer
                .is_none(),
            "{what}"
        );
    }
    // Clocks may be five minutes apart.
    let late = with("exp", json!(now - 200));
    assert_eq!(app.send(Some(&late), &click).await, 200);
    assert!(
        app.ticket(&ticket)
            .await
            .remediation
            .approval
            .unwrap()
            .answer
            .is_some()
    );
}

#[tokio::test]
async fn the_door_is_closed_without_a_bot() {
    let app = App::set(&[("TEAMS_BOT_APP_ID", ""), ("TEAMS_TENANT_ID", "")]).await;
    let body = json!({"type": "message", "serviceUrl": "x", "channelId": "msteams"});
    let token = app.team.token("x");
    assert_eq!(app.send(Some(&token), &body).await, 503);
}

#[tokio::test]
async fn where_the_app_was_installed_is_kept() {
    let app = App::set(&[]).await;
    let (code, _) = app.team.install().await.unwrap();
    assert_eq!(code, 200);
    let place = app.store.place(Sink::Teams).await.unwrap().unwrap();
    let options = BotOptions::default();
    assert_eq!(place.service, app.team.service());
    assert_eq!(place.team, Some(options.team));
    assert_eq!(place.channel, Some(options.channel));
}

async fn deliver(flow: &Flow, ticket: &Ticket, now: DateTime<Utc>) -> Ticket {
    let message = json!({"ticket": ticket.id, "sink": "teams", "attempt": 0});
    let task: Task = serde_json::from_value(message).unwrap();
    flow.work(task, move || now).await.unwrap();
    flow.store.load(&ticket.id).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_waited_for_the_installation_is_posted_right_after_by_any_process() {
    for elsewhere in [false, true] {
        let app = App::set(&[]).await;
        let flow = if elsewhere {
            app.another()
        } else {
            app.flow.clone()
        };
        let (ticket, now) = of_now();
        app.keep(&ticket).await;
        let blocked = deliver(&flow, &ticket, now).await;
        let fault = blocked.fault(Sink::Teams).unwrap();
        assert!(fault.reason.contains("install the app"), "{fault:?}");
        assert!(blocked.blocked(Sink::Teams).is_some());
        let before = app.waiting().await;
        assert_eq!(app.team.install().await.unwrap().0, 200);
        assert_eq!(app.waiting().await, before + 1, "its delivery is put");
        // A second later: nobody has had to look where to post meanwhile.
        let shown = deliver(&flow, &ticket, now + TimeDelta::seconds(1)).await;
        assert!(!shown.lags(Sink::Teams), "{:?}", shown.fault(Sink::Teams));
        assert_eq!(app.team.messages().len(), 1);
        let before = app.waiting().await;
        app.team.install().await.unwrap();
        assert_eq!(app.waiting().await, before, "nothing waits any more");
    }
}

#[tokio::test]
async fn an_app_that_was_taken_out_of_the_team_posts_once_it_is_back() {
    let options = BotOptions::default();
    for (team, kept) in [(options.team.as_str(), true), ("another-team", false)] {
        let more = [
            ("TEAMS_CHANNEL_ID", options.channel.as_str()),
            ("TEAMS_TEAM_ID", team),
        ];
        let app = App::set(&more).await;
        app.team.change(|team| team.installed = false);
        let (ticket, now) = of_now();
        app.keep(&ticket).await;
        let blocked = deliver(&app.flow, &ticket, now).await;
        let fault = blocked.fault(Sink::Teams).unwrap();
        assert!(
            fault.reason.contains("BotNotInConversationRoster"),
            "{fault:?}"
        );
        app.team.change(|team| team.installed = true);
        let before = app.waiting().await;
        app.team.install().await.unwrap();
        assert_eq!(app.waiting().await, before + 1, "{team}");
        let place = app.store.place(Sink::Teams).await.unwrap();
        assert_eq!(place.is_some(), kept, "{team}");
        let shown = deliver(&app.flow, &ticket, now + TimeDelta::seconds(1)).await;
        assert!(!shown.lags(Sink::Teams), "{:?}", shown.fault(Sink::Teams));
    }
}

/// By the program's own settings.
#[tokio::test]
async fn the_rules_of_the_settings_lead_to_an_owners_channel_where_its_buttons_count() {
    let channel = "19:finance@thread.tacv2";
    let rule = format!("team-finance: teams={channel}, mention={STRANGER}");
    let app = App::set(&[("OWNER_ROUTES", rule.as_str())]).await;
    let team = BotOptions::default().team;
    app.team
        .change(|it| it.channels = vec![(team, channel.to_owned())]);
    let ticket = Ticket {
        owner: Some("team-finance".to_owned()),
        ..asked()
    };
    app.keep(&ticket).await;
    deliver(&app.flow, &ticket, Utc::now()).await;
    let card = app.team.messages()[0].clone();
    assert_eq!(card.channel, channel);
    let called = "/msteams/entities/0/mentioned/id";
    assert_eq!(card.card.pointer(called), Some(&json!(STRANGER)));
    // Who is mentioned may not decide by that.
    for (person, counts) in [(STRANGER, false), (JOHN, true)] {
        let (code, answer) = app
            .team
            .press(&card.id, verb::APPROVE, person)
            .await
            .unwrap();
        assert_eq!(code, 200);
        let approval = app.ticket(&ticket).await.remediation.approval.unwrap();
        assert_eq!(approval.answer.is_some(), counts, "{answer}");
    }
    let shown = deliver(&app.flow, &ticket, Utc::now()).await;
    assert_eq!(app.team.messages().len(), 1);
    assert_eq!(shown.fault(Sink::Teams), None);
}

/// A door that dies after it kept the place wakes nobody, and a process may block a ticket before it hears of the place.
#[tokio::test]
async fn the_sweep_wakes_what_the_door_did_not() {
    let app = App::set(&[]).await;
    let (ticket, now) = of_now();
    app.keep(&ticket).await;
    let (flow, sweeper) = (app.another(), app.another());
    deliver(&flow, &ticket, now).await;
    let swept = async |second| {
        let before = app.waiting().await;
        sweeper
            .sweep(now + TimeDelta::seconds(second))
            .await
            .unwrap();
        app.waiting().await - before
    };
    assert_eq!(swept(20).await, 0);
    let options = BotOptions::default();
    let place = Place {
        service: app.team.service(),
        team: Some(options.team),
        channel: Some(options.channel),
        at: now + TimeDelta::seconds(30),
    };
    app.store.put_place(Sink::Teams, &place).await.unwrap();
    assert_eq!(swept(60).await, 1);
    let shown = deliver(&flow, &ticket, now + TimeDelta::seconds(61)).await;
    assert!(!shown.lags(Sink::Teams));
    assert_eq!(swept(120).await, 0);
    assert_eq!(app.team.messages().len(), 1);
}

/// Keys that cannot be had right now, or are said to be elsewhere, open nothing, and are asked for once a minute.
struct KeysElsewhere;

impl Site for KeysElsewhere {
    fn answer(&self, _: &Request) -> Answer {
        Answer::json(
            200,
            &json!({"issuer": ISSUER, "jwks_uri": "https://evil.example/keys"}),
        )
    }
}

#[tokio::test]
async fn keys_come_from_the_documents_own_host() {
    let server = serve(0, Arc::new(KeysElsewhere)).await.unwrap();
    let lock = |document: String| {
        let settings = BotTokenSettings {
            app_id: BotOptions::default().app_id,
            document: document.parse().unwrap(),
        };
        BotToken::new(settings, support::http())
    };
    let team = BotSimulator::start(0, BotOptions::default()).await.unwrap();
    let (now, token) = (Utc::now(), format!("Bearer {}", team.token("x")));
    let elsewhere = lock(server.url())
        .check(Some(&token), ("x", "msteams"), now)
        .await;
    assert_eq!(elsewhere, Err(Refused::Unavailable));
    let ours = lock(team.openid());
    team.faults().next(Fault::status(500));
    assert_eq!(
        ours.check(Some(&token), ("x", "msteams"), now).await,
        Err(Refused::Unavailable)
    );
    for _ in 0..3 {
        assert_eq!(
            ours.check(Some(&token), ("x", "msteams"), now).await,
            Ok(())
        );
    }
    let asked = team.requests();
    let asked = asked
        .iter()
        .filter(|request| request.path.ends_with("/keys"));
    assert_eq!(asked.count(), 1, "keys are kept");
    team.assert_drained();
}

fn press(verb: &str, data: &Value, from: &Value) -> Meaning {
    let body = json!({
        "type": "invoke", "name": "adaptiveCard/action", "serviceUrl": "https://x/", "channelId": "msteams",
        "from": from, "value": {"action": {"type": "Action.Execute", "verb": verb, "data": data}},
    });
    parse(body.to_string().as_bytes()).unwrap().meaning
}

#[test]
fn only_our_own_buttons_mean_something() {
    let john = json!({"id": "29:1", "name": "John Doe", "aadObjectId": JOHN});
    let id = ticket().id;
    let taken = press(verb::TAKE, &json!({"ticket": id}), &john);
    assert!(matches!(taken, Meaning::Pressed(ref press) if press.verdict == Verdict::Take));
    for (verb, data, from) in [
        ("delete", json!({"ticket": id}), john.clone()),
        (verb::TAKE, json!({"ticket": "DROP TABLE"}), john.clone()),
        (verb::TAKE, json!({"ticket": id, "more": 1}), john.clone()),
        (verb::APPROVE, json!({"ticket": id}), john.clone()),
        (
            verb::APPROVE,
            json!({"ticket": id, "approval": "", "plan": "p"}),
            john.clone(),
        ),
        (
            verb::APPROVE,
            json!({"ticket": id, "approval": "a", "plan": "p".repeat(300)}),
            john,
        ),
        (
            verb::TAKE,
            json!({"ticket": id}),
            json!({"name": "John Doe"}),
        ),
        (
            verb::TAKE,
            json!({"ticket": id}),
            json!({"aadObjectId": "not an id"}),
        ),
        (verb::TAKE, json!({"ticket": id}), json!(7)),
        (verb::TAKE, json!("x"), Value::Null),
    ] {
        let meaning = press(verb, &data, &from);
        assert!(
            matches!(meaning, Meaning::Ignored(_)),
            "{verb} {data} {from}: {meaning:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _read_or_not = parse(&bytes);
    }

    #[test]
    fn no_field_of_another_type_makes_it_unreadable(pick in 0..12_usize, odd in "[a-z]{0,6}") {
        let mut body = json!({
            "type": "installationUpdate", "action": "add", "serviceUrl": "https://x/", "channelId": "msteams",
            "from": {"id": "1"}, "recipient": {"id": "28:1"}, "conversation": {"tenantId": "t"}, "membersAdded": [{"id": "28:1"}],
            "channelData": {"tenant": {"id": "t"}, "team": {"id": "19:a@thread.tacv2", "aadGroupId": "55555555-aaaa"},
                "channel": {"id": "19:b@thread.tacv2"}, "settings": {"selectedChannel": {"id": "19:c@thread.tacv2"}}},
        });
        let paths = ["/from", "/recipient", "/conversation", "/membersAdded", "/channelData", "/channelData/tenant",
            "/channelData/team", "/channelData/channel", "/channelData/settings", "/channelData/settings/selectedChannel", "/action", "/from/id"];
        for value in [Value::Null, json!(7), json!(odd), json!([1]), json!({"id": 7})] {
            *body.pointer_mut(paths[pick]).unwrap() = value;
            prop_assert!(parse(body.to_string().as_bytes()).is_ok(), "{}", paths[pick]);
            if body.pointer(paths[pick]).is_none() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_closed_ticket_offers_nothing_to_press() {
    let app = App::set(&[]).await;
    let mut ticket = ticket();
    status(&mut ticket, Status::Acknowledged, "10:20:00");
    let card = app.post(&mut ticket).await;
    assert_eq!(app.team.press(&card, verb::CLOSE, JOHN).await, None);
}
