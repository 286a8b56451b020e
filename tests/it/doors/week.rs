//! What people see and do on the dashboard: numbers, lists, names, words.

use aiops_rca::diagnosis::Category;
use aiops_rca::ticket::{RemediationState, TicketId};
use chrono::{DateTime, Duration};

use super::*;

const BY_KEY: [(&str, &str); 1] = [("x-dashboard-key", KEY)];

/// A ticket of so long ago.
async fn opened(rig: &Rig, number: u32, ago: Duration, change: impl FnOnce(&mut Ticket)) -> Ticket {
    let then: DateTime<Utc> = Utc::now() - ago;
    rig.open(|ticket| {
        ticket.id = TicketId::new(ticket.failure.source, then, number);
        (ticket.received_at, ticket.first_seen, ticket.status_at) = (then, then, then);
        ticket.sla.due_at = then + Duration::hours(2);
        change(ticket);
    })
    .await
}

fn closed(ticket: &mut Ticket, channel: Channel, name: &str, after: Duration) {
    ticket.status = Status::Acknowledged;
    ticket.status_at = ticket.received_at + after;
    ticket.status_by = Actor {
        channel,
        name: name.to_owned(),
    };
}

/// Two healed, one recovered, one closed by a person late, one open; the last of them a fortnight old.
async fn week(rig: &Rig) {
    for number in 0..2 {
        opened(rig, number, Duration::hours(30), |t| {
            closed(
                t,
                Channel::Playbook,
                "auto-remediation",
                Duration::minutes(4),
            );
            t.remediation.state = RemediationState::Succeeded;
        })
        .await;
    }
    opened(rig, 2, Duration::hours(60), |t| {
        closed(t, Channel::System, "aiops-rca", Duration::hours(1));
        t.books.recovered_by = Some("run-9".to_owned());
        t.owner = Some("Data Team".to_owned());
    })
    .await;
    opened(rig, 3, Duration::days(14), |t| {
        closed(t, Channel::Jira, "Jane Roe", Duration::hours(5));
        t.sla.breached_at = Some(t.sla.due_at);
        "pl_old".clone_into(&mut t.failure.asset);
    })
    .await;
    opened(rig, 4, Duration::minutes(20), |t| {
        "pl_fresh".clone_into(&mut t.failure.asset);
        t.diagnosis
            .entities
            .insert("host".to_owned(), "sql-17.example.net".to_owned());
        t.diagnosis.category = Category::Network;
    })
    .await;
}

async fn summary(rig: &Rig, days: u32) -> Value {
    let (status, body) = rig.get(&format!("/api/summary?days={days}"), &BY_KEY).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn numbers_are_the_same_counted_and_kept() {
    let rig = rig(key_lock(false));
    week(&rig).await;
    let live = summary(&rig, 30).await;
    for (name, expected) in [
        ("failures", 5),
        ("healed", 2),
        ("recovered", 1),
        ("closed_by_people", 1),
        ("open", 1),
        ("sla_missed", 1),
        ("sla_kept", 3),
        ("unaided_percent", 75),
    ] {
        assert_eq!(live[name], expected, "{name} of {live}");
    }
    assert_eq!(live["by_owner"]["Data Team"], 1);
    assert_eq!(live["stretches"].as_array().unwrap().len(), 30);
    let median = live["median_seconds_to_close"].as_i64().unwrap();
    assert!((120..=3600).contains(&median), "{median}");

    // Every day in its turn, by two processes at once; the numbers stay the same.
    let now = Utc::now();
    for tick in 0..120 {
        let at = now + Duration::minutes(5 * tick);
        let (one, other) = tokio::join!(rig.store.roll_up(at), rig.store.roll_up(at));
        one.and(other).unwrap();
    }
    assert_eq!(summary(&rig, 30).await, live);
    assert_eq!(summary(&rig, 7).await["failures"], 4);
    let day = summary(&rig, 1).await;
    assert_eq!(
        (&day["step"], &day["failures"]),
        (&json!("hour"), &json!(1))
    );
    assert_eq!(day["stretches"].as_array().unwrap().len(), 24);
    let (_, odd) = rig.get("/api/summary?days=soon", &BY_KEY).await;
    assert!(odd.contains(r#""ignored":["days"]"#), "{odd}");

    // Its tickets go for their age; what was counted stays.
    let old = (now - Duration::days(14)).date_naive();
    let day = aiops_rca::ticket::store::day_name(old);
    let (rows, _) = rig
        .store
        .list_of_day(&day, None, 10, &|_| true)
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    rig.store.forget(&rows[0], None, &[]).await.unwrap();
    for tick in 0..400 {
        rig.store
            .roll_up(now + Duration::minutes(5 * tick))
            .await
            .unwrap();
    }
    assert_eq!(summary(&rig, 30).await["failures"], 5);
}

#[tokio::test]
async fn lists_are_searched_filtered_sorted_and_say_what_they_do_not_know() {
    let rig = rig(key_lock(false));
    week(&rig).await;
    let ids = async |query: &str| {
        let (status, body) = rig
            .get(&format!("/api/tickets?days=30&{query}"), &BY_KEY)
            .await;
        assert_eq!(status, 200);
        let list: Value = serde_json::from_str(&body).unwrap();
        list["tickets"].as_array().unwrap().len()
    };
    for (query, found) in [
        ("q=SQL-17", 1),
        ("q=jane", 1),
        ("q=data+team", 1),
        ("owner=data+team", 1),
        ("category=network", 1),
        ("priority=P1", 0),
        ("only=healed", 2),
        ("only=recovered", 1),
        ("only=unowned", 4),
        ("asset=pl_old", 1),
    ] {
        assert_eq!(ids(query).await, found, "{query}");
    }
    let (_, page) = rig
        .get(
            "/dashboard?days=30&status=opne&sort=sla&group=asset",
            &BY_KEY,
        )
        .await;
    for words in [
        "There is no status <code>opne</code>: it filters nothing.",
        "<strong>2</strong><span>healed</span>",
        "<tr class=\"group\">",
        "data-due",
        "class=\"chart\"",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let (_, csv) = rig
        .get("/api/tickets.csv?days=30&only=recovered", &BY_KEY)
        .await;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1, "the filter applies");
    let cell = |name: &str| {
        let place = header.iter().position(|known| known == name).unwrap();
        rows[0].get(place).unwrap().to_owned()
    };
    assert_eq!(
        (cell("sla"), cell("owner"), cell("count")),
        ("kept".into(), "Data Team".into(), "1".into())
    );
    assert!(!cell("closed_at").is_empty() && cell("closed_by") == "aiops-rca");
}

#[tokio::test]
async fn people_have_names_say_things_and_close_many_at_once() {
    let rig = rig(key_lock(true));
    let (one, two) = (
        opened(&rig, 1, Duration::minutes(9), |_| ()).await,
        opened(&rig, 2, Duration::minutes(8), |_| ()).await,
    );
    let form = format!("key={}&name=Jane+Roe", KEY.replace(' ', "+"));
    let (_, welcome) = rig.ask(Method::POST, "/dashboard/login", &[], &form).await;
    let cookie = header(&welcome, "set-cookie").unwrap();
    let session = cookie.split(';').next().unwrap().to_owned();
    let signed_in = [("cookie", session.as_str())];
    let (_, page) = rig.get("/dashboard", &signed_in).await;
    assert!(
        page.contains("<span>Jane Roe</span>") && page.contains("Sign out"),
        "{page}"
    );
    let forged = session.replace("4a616e65", "4a6f6e65");
    assert_ne!(forged, session, "the name is in it, in hex");
    assert_eq!(rig.get("/dashboard", &[("cookie", &forged)]).await.0, 401);
    let token = page.split_once("name=\"token\" value=\"").unwrap().1;
    let token = token.split_once('"').unwrap().0;

    let body = format!("token={token}&text=the+source+was+late+Password%3Dhunter2");
    let target = format!("/dashboard/tickets/{}/comment", one.id);
    assert_eq!(
        rig.ask(Method::POST, &target, &signed_in, &body).await.0,
        303
    );
    let body = format!("token={token}&category=missing+data&text=nothing+was+delivered");
    let target = format!("/dashboard/tickets/{}/correct", one.id);
    assert_eq!(
        rig.ask(Method::POST, &target, &signed_in, &body).await.0,
        303
    );
    let ticket = rig.store.load(&one.id).await.unwrap().unwrap();
    let told: Vec<&str> = ticket
        .story
        .iter()
        .map(|chapter| chapter.text.as_str())
        .collect();
    assert!(
        told[0].starts_with("Jane Roe: the source was late") && !told[0].contains("hunter2"),
        "{told:?}"
    );
    assert_eq!(
        told[1],
        "Jane Roe says that the cause is another: missing data: nothing was delivered"
    );
    let (_, page) = rig
        .get(&format!("/dashboard?ticket={}", one.id), &signed_in)
        .await;
    assert!(
        page.contains("Cause Corrected") && page.contains("nothing was delivered"),
        "{page}"
    );
    let listed = Listed::of(&ticket);
    assert_eq!(
        listed.root_cause,
        "Corrected: missing data: nothing was delivered"
    );

    let body = format!(
        "token={token}&id={}&id={}&id=nonsense&back=%2Fdashboard%3Fdays%3D30%26before%3D{}",
        one.id, two.id, one.id
    );
    let (status, answer) = rig
        .ask(
            Method::POST,
            "/dashboard/bulk/acknowledge",
            &signed_in,
            &body,
        )
        .await;
    assert_eq!(
        (status, header(&answer, "location")),
        (
            303,
            Some(format!("/dashboard?days=30&before={}", one.id).as_str())
        )
    );
    for id in [&one.id, &two.id] {
        let ticket = rig.store.load(id).await.unwrap().unwrap();
        assert_eq!(
            (ticket.is_closed(), ticket.status_by.name.as_str()),
            (true, "Jane Roe")
        );
    }
    let without = body.replace(token, "0");
    assert_eq!(
        rig.ask(
            Method::POST,
            "/dashboard/bulk/acknowledge",
            &signed_in,
            &without
        )
        .await
        .0,
        403
    );

    let body = format!("token={token}");
    let (status, out) = rig
        .ask(Method::POST, "/dashboard/logout", &signed_in, &body)
        .await;
    assert_eq!(status, 303);
    assert!(header(&out, "set-cookie").unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn the_api_takes_words_and_says_what_is_missing() {
    let rig = rig(key_lock(false));
    let ticket = opened(&rig, 1, Duration::minutes(9), |_| ()).await;
    let ask = async |action: &str, body: Value| {
        let target = format!("/api/tickets/{}/{action}", ticket.id);
        let (status, answer) = rig
            .ask(Method::POST, &target, &BY_KEY, &body.to_string())
            .await;
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        (
            status,
            said["error"]["path"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    assert_eq!(ask("comment", json!({})).await, (400, "text".to_owned()));
    assert_eq!(
        ask("correct", json!({"text": "x"})).await,
        (400, "category".to_owned())
    );
    assert_eq!(
        ask("correct", json!({"category": "gremlins"})).await,
        (400, "category".to_owned())
    );
    assert_eq!(
        ask("correct", json!({"category": "quota", "by": "Jane"}))
            .await
            .0,
        200
    );
    assert_eq!(
        ask("correct", json!({"category": "quota", "by": "Jane"}))
            .await
            .0,
        409
    );
    assert_eq!(
        ask("comment", json!({"text": "hello", "by": "Jane"}))
            .await
            .0,
        200
    );
    let (_, body) = rig
        .get(&format!("/api/tickets/{}", ticket.id), &BY_KEY)
        .await;
    let whole: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(whole["correction"]["category"], "quota");
    assert_eq!(whole["story"].as_array().unwrap().len(), 2);
}

/// A full store: the page stays small, and whole.
#[tokio::test]
async fn five_thousand_tickets_make_a_small_page() {
    let rig = rig(key_lock(false));
    let rows = (0..5000_u32).map(|number| {
        let rig = &rig;
        async move {
            let ago = Duration::minutes(i64::from(number));
            opened(rig, number, ago, |t| {
                t.failure.asset = format!("pl_{:03}_load_sales_of_the_region", number % 300);
                t.diagnosis.root_cause =
                    "The source file was not found where the pipeline looks for it. ".repeat(4);
                if number % 3 == 0 {
                    closed(t, Channel::Jira, "Jane Roe", Duration::minutes(50));
                }
            })
            .await;
        }
    });
    for row in rows {
        row.await;
    }
    for query in [
        "",
        "?days=1",
        "?days=90&group=asset",
        "?status=open&page=12&sort=asset",
    ] {
        let begun = std::time::Instant::now();
        let (status, page) = rig.get(&format!("/dashboard{query}"), &BY_KEY).await;
        println!("{query}: {} bytes after {:?}", page.len(), begun.elapsed());
        assert_eq!(status, 200);
        assert!(page.len() < 300_000, "{query}: {} bytes", page.len());
        // Unoptimized code is ten times slower.
        let patience = if cfg!(debug_assertions) { 5000 } else { 200 };
        assert!(
            begun.elapsed().as_millis() < patience,
            "{query}: {:?}",
            begun.elapsed()
        );
        assert!(page.matches("data-row").count() == 50);
        assert!(page.contains("rel=\"next\"") || page.contains("rel=\"prev\""));
    }
}
