//! What senders must not be able to do: break a door, escape escaping, leave a secret anywhere.

use std::time::Duration;

use serde_json::json;

use super::rig::{Backend, Rig, alert, ids, row, run};

/// The one script of the pages is a file of ours.
const OURS: &str = "<script src=\"/dashboard/assets/app.js\" defer></script>";

const SECRETS: [&str; 6] = [
    "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYg==",
    "s3cr3t-P4ssw0rd",
    "dapi0123456789abcdef0123456789abcdef",
    "sig=Abc%2Bdef%2Fghi%3D",
    "jane.roe@contoso.com",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
];

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_shown_safely_and_secrets_stop_at_the_door() {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    let message = format!(
        "<!channel> <script>alert(1)</script> \u{202e}evil\u{0} *bold* AccountKey={} Password={}; Bearer {} token {} https://h/?sv=1&{} of {}",
        SECRETS[0], SECRETS[1], SECRETS[5], SECRETS[2], SECRETS[3], SECRETS[4]
    );
    let rows = [row(
        "<img src=x onerror=alert(1)> & *pl* <@U123>",
        &run(1),
        "2200",
        &message,
    )];
    let answer = rig.deliver("azure-monitor", &alert("h1", &rows)).await;
    let id = ids(&answer)[0].clone();
    rig.until_shown(std::slice::from_ref(&id), Duration::from_secs(20))
        .await;

    let blocks = serde_json::to_string(&rig.messages()[0].blocks).unwrap();
    assert!(
        !blocks.contains("<!channel>") && !blocks.contains("<@U123>"),
        "{blocks}"
    );
    let page = String::from_utf8_lossy(
        &rig.get(&format!("dashboard?ticket={id}"))
            .await
            .unwrap()
            .body,
    )
    .into_owned();
    assert!(
        !page.replace(OURS, "").contains("<script") && !page.contains("<img src=x"),
        "{page}"
    );
    let list = String::from_utf8_lossy(&rig.get("dashboard").await.unwrap().body).into_owned();
    assert!(!list.contains("<img src=x"), "{list}");

    let mut everywhere = vec![
        ("log", rig.log()),
        ("page", page),
        ("slack", blocks),
        ("jira", format!("{:?}", rig.issues())),
        ("api", rig.ticket(&id).await.unwrap().to_string()),
    ];
    let folder = rig.store.parent().unwrap();
    let name = rig
        .store
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    for file in std::fs::read_dir(folder).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with(&name) {
            everywhere.push((
                "store",
                String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned(),
            ));
        }
    }
    assert!(
        everywhere
            .iter()
            .any(|(place, text)| *place == "store" && text.contains(&id)),
        "the store was looked into"
    );
    for (place, text) in &everywhere {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} stands in {place}");
        }
    }
    rig.assert_wire_laws();
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_cannot_be_read_are_4xx_and_never_more() {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    let deep = "[".repeat(200_000);
    let bodies: Vec<(Vec<u8>, u16)> = vec![
        (b"not json".to_vec(), 400),
        (Vec::new(), 400),
        (b"[]".to_vec(), 400),
        (b"null".to_vec(), 400),
        (b"{}".to_vec(), 400),
        (b"\xff\xfe\x00".to_vec(), 400),
        (deep.into_bytes(), 400),
        (vec![b' '; 2 * 1024 * 1024], 413),
        (
            json!({"data": {"essentials": []}}).to_string().into_bytes(),
            400,
        ),
    ];
    for door in ["azure-monitor", "databricks-monitor", "airflow-monitor"] {
        for (body, expected) in &bodies {
            let reply = rig.post(door, body.clone()).await.unwrap();
            let start = String::from_utf8_lossy(&body[..body.len().min(30)]).into_owned();
            assert_eq!(reply.status, *expected, "{door} {start}");
            let error: serde_json::Value = reply.json("the door").unwrap();
            assert!(
                error["error"]["code"].is_string() && error["error"]["message"].is_string(),
                "{error}"
            );
        }
    }
    let every = std::fs::read_dir(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/vendor"
    ))
    .unwrap()
    .flatten();
    for fixture in every.filter(|file| file.path().extension().is_some_and(|kind| kind == "json")) {
        for door in ["azure-monitor", "databricks-monitor", "airflow-monitor"] {
            let reply = rig
                .post(door, std::fs::read(fixture.path()).unwrap())
                .await
                .unwrap();
            assert!(
                reply.status == 200 || reply.status == 400,
                "{door} answered {} to {:?}",
                reply.status,
                fixture.file_name()
            );
        }
    }
    rig.assert_wire_laws();
    rig.host.stop().await;
}
