//! The handler as a process: start, readiness, exits, kills, output (1, 3, 12, 13, 14).

use std::time::Duration;

use aiops_rca::local::host::{
    ExitZero, Host, HostError, HostEvent, LineLevel, Outcome, StopReason,
};
use serde_json::{Value, json};

use super::support::{App, PATIENCE, Running, failure};

fn start(script: &str) -> (String, String) {
    ("SCRIPT_START".to_owned(), script.to_owned())
}

async fn echo(running: &Running) -> Value {
    running.get("/echo").await.json("the handler").unwrap()
}

#[tokio::test]
async fn the_child_gets_its_folder_its_environment_and_its_arguments() {
    let app = App::new().http("Echo", "echo", &[], "anonymous");
    app.host_json(|document| {
        document["customHandler"]["description"]["arguments"] =
            json!(["--one", "two %WORDS%", "%UNSET%"]);
    });
    let running = app
        .start_with(|options| {
            drop(
                options
                    .settings
                    .insert("WORDS".to_owned(), "2 words".to_owned()),
            );
        })
        .await;
    let seen = echo(&running).await;
    let root = app.path().canonicalize().unwrap().display().to_string();
    assert_eq!(
        (&seen["cwd"], &seen["app_root"]),
        (&json!(root), &json!(root))
    );
    assert_eq!(
        seen["arguments"],
        json!(["--one", "two", "2", "words"]),
        "joined by spaces, not quoted"
    );
    assert_eq!(seen["port"], seen["old_port"]);
    assert_eq!(seen["worker_id"], seen["old_worker_id"]);
    assert!(
        seen["worker_id"]
            .as_str()
            .unwrap()
            .parse::<uuid::Uuid>()
            .is_ok()
    );
    running.host.stop().await;
}

#[tokio::test]
async fn the_packaged_name_is_found_in_the_root() {
    let app = App::new().http("Echo", "echo", &[], "anonymous");
    std::fs::copy(
        super::support::scripted_handler(),
        app.path().join("handler"),
    )
    .unwrap();
    let running = app.start_with(|options| options.executable = None).await;
    assert_eq!(running.get("/echo").await.status, 201);
    running.host.stop().await;
}

#[tokio::test]
async fn a_call_that_comes_early_waits_for_the_handler() {
    let app = App::new().http("Echo", "echo", &[], "anonymous");
    let running = app.start().await;
    assert_eq!(
        running.get("/echo").await.status,
        201,
        "asked at once after the start"
    );
    assert!(running.host.ready(PATIENCE).await);
    running
        .find(|event| matches!(event, HostEvent::ChildReady { .. }).then_some(()))
        .await;
    running.host.stop().await;
}

#[tokio::test]
async fn a_handler_that_never_listens_is_an_error_each_time() {
    let app = App::new().queue("Work", "jobs");
    let running = app
        .start_with(|options| {
            options.knobs.init_timeout = Some(Duration::from_millis(80));
            options.environment.push(start("silent"));
        })
        .await;
    assert_eq!(running.host.wait().await, StopReason::TooManyCrashes);
    let counted: Vec<_> = running
        .exits()
        .into_iter()
        .map(|(how, counted)| (how.contains("GET /"), counted))
        .collect();
    assert_eq!(counted, [(true, Some(1)), (true, Some(2)), (true, Some(3))]);
}

#[tokio::test]
async fn a_waiting_call_ends_a_host_whose_handler_never_gets_ready() {
    let app = App::new().http("Echo", "echo", &[], "anonymous");
    let running = app
        .start_with(|options| {
            options.knobs.init_timeout = Some(Duration::from_millis(50));
            options.knobs.crash_limit = None;
            options.environment.push(start("silent"));
        })
        .await;
    assert_eq!(running.get("/echo").await.status, 500);
    assert_eq!(running.host.wait().await, StopReason::NeverReady);
}

#[tokio::test]
async fn the_third_crash_ends_the_host() {
    let app =
        App::new()
            .http("Do", "do/{word}", &[], "anonymous")
            .http("Echo", "echo", &[], "anonymous");
    let running = app.start().await;
    let port = echo(&running).await["port"].clone();
    for crash in 1..=2 {
        assert_eq!(
            running.once("/do/exit:3").await.status,
            500,
            "the call in flight fails"
        );
        running.exited(crash).await;
        assert_eq!(
            echo(&running).await["port"],
            port,
            "restarted on the same port"
        );
    }
    assert_eq!(running.once("/do/exit:3").await.status, 500);
    assert_eq!(running.host.wait().await, StopReason::TooManyCrashes);
    assert_eq!(
        running.exits().last().unwrap(),
        &("exit code 3".to_owned(), Some(3))
    );
}

/// A request without a body is sent again into each restarted process: one GET is enough to end the host.
#[tokio::test]
async fn a_get_that_ends_the_process_ends_the_host() {
    let app = App::new().http("Do", "do/{word}", &[], "anonymous");
    let running = app.start().await;
    assert_eq!(running.get("/do/exit:3").await.status, 500);
    assert_eq!(running.host.wait().await, StopReason::TooManyCrashes);
    assert_eq!(running.exits().len(), 3);
}

#[tokio::test]
async fn two_calls_that_time_out_together_end_the_host() {
    let app = App::new().queue("Work", "jobs");
    let running = app
        .start_with(|options| {
            options.knobs.function_timeout = Some(Duration::from_millis(300));
            options.knobs.kill_after = Some(Duration::from_secs(2));
        })
        .await;
    running.put("jobs", "slow:60000").await;
    running.put("jobs", "slow:60000").await;
    assert_eq!(running.host.wait().await, StopReason::TimedOutTogether);
    assert_eq!(
        running.storage.depth("jobs").await.unwrap(),
        2,
        "nothing is lost"
    );
}

/// While the last requests are answered messages are still fetched; then a call has a short time.
#[tokio::test]
async fn requests_end_first_and_messages_are_fetched_meanwhile() {
    let app = App::new()
        .queue("Work", "jobs")
        .http("Do", "do/{word}", &[], "anonymous");
    let running = app
        .start_with(|options| options.knobs.drain = PATIENCE)
        .await;
    assert!(running.host.ready(PATIENCE).await);
    let (slow, reason) = tokio::join!(running.once("/do/slow:1500"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        running.host.stopper().begin();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let late = tokio::net::TcpStream::connect(("127.0.0.1", running.host.port())).await;
        assert!(late.is_err(), "new connections are refused");
        running.put("jobs", "late").await;
        running.host.wait().await
    });
    assert_eq!((slow.status, reason), (200, StopReason::Asked));
    assert_eq!(running.invoked("Work", 1).await.outcome, Outcome::Succeeded);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_handler_may_be_left_behind() {
    let app = App::new()
        .queue("Work", "jobs")
        .http("Echo", "echo", &[], "anonymous");
    let running = app
        .start_with(|options| {
            options.knobs.orphans = true;
            options.knobs.drain = Duration::from_millis(50);
        })
        .await;
    let pid = echo(&running).await["pid"].as_u64().unwrap();
    running.put("jobs", "slow:60000").await;
    running.called(&app, 1).await;
    running.host.stop().await;
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status();
    assert!(killed.unwrap().success());
}

#[tokio::test]
async fn exit_code_200_is_a_free_restart() {
    let app =
        App::new()
            .http("Do", "do/{word}", &[], "anonymous")
            .http("Echo", "echo", &[], "anonymous");
    let running = app.start().await;
    for count in 1..=4 {
        running.once("/do/exit:200").await;
        running.exited(count).await;
        assert_eq!(running.get("/echo").await.status, 201);
    }
    assert_eq!(running.exits(), vec![("exit code 200".to_owned(), None); 4]);
    running.host.stop().await;
}

#[tokio::test]
async fn exit_code_0_is_a_restart_now_and_the_end_of_all_calls_before() {
    for (exit_zero, status) in [(ExitZero::Restarts, 201), (ExitZero::Ignored, 500)] {
        let app = App::new().http("Do", "do/{word}", &[], "anonymous").http(
            "Echo",
            "echo",
            &[],
            "anonymous",
        );
        let running = app
            .start_with(|options| options.knobs.exit_zero = exit_zero)
            .await;
        running.once("/do/exit:0").await;
        running.exited(1).await;
        assert_eq!(running.get("/echo").await.status, status, "{exit_zero:?}");
        assert_eq!(running.exits(), [("exit code 0".to_owned(), None)]);
        running.host.stop().await;
    }
}

#[tokio::test]
async fn a_killed_child_is_restarted_and_its_message_comes_again() {
    let app = App::new().queue("Work", "jobs");
    let running = app.start().await;
    running.put("jobs", "slow:400").await;
    running.called(&app, 1).await;
    running.host.kill_child();
    assert!(failure(&running.invoked("Work", 1).await).contains("broke the connection"));
    assert_eq!(running.invoked("Work", 2).await.outcome, Outcome::Succeeded);
    running.depth("jobs", 0).await;
    assert_eq!(running.exits(), [("signal 9".to_owned(), Some(1))]);
    running.host.stop().await;
}

#[tokio::test]
async fn the_functions_timeout_kills_the_handler_and_the_message_is_tried_again() {
    let app = App::new().queue("Work", "jobs");
    let running = app
        .start_with(|options| options.knobs.function_timeout = Some(Duration::from_millis(300)))
        .await;
    running.put("jobs", "slow:60000").await;
    let (queue, why) = running.poisoned().await;
    assert_eq!(queue, "t-jobs-poison");
    assert!(why.contains("timed out"), "{why}");
    assert_eq!(app.calls().len(), 3);
    let exits = running.exits();
    assert!(
        exits.len() >= 2
            && exits
                .iter()
                .all(|(how, counted)| how.contains("timed out") && counted.is_none()),
        "{exits:?}"
    );
    running.host.stop().await;
}

#[tokio::test]
async fn the_stop_is_sigkill_even_in_the_middle_of_a_call() {
    let app = App::new()
        .queue("Work", "jobs")
        .http("Echo", "echo", &[], "anonymous");
    let running = app
        .start_with(|options| options.knobs.drain = Duration::from_millis(50))
        .await;
    let pid = echo(&running).await["pid"].as_u64().unwrap();
    running.put("jobs", "slow:60000").await;
    running.called(&app, 1).await;
    assert_eq!(running.host.stop().await, StopReason::Asked);
    assert!(
        !std::path::Path::new(&format!("/proc/{pid}")).exists(),
        "process {pid} still runs"
    );
    assert_eq!(
        running.storage.depth("jobs").await.unwrap(),
        1,
        "its message is not lost"
    );
    assert_eq!(
        running.host.events_so_far().last().unwrap(),
        &HostEvent::Stopped(StopReason::Asked)
    );
}

#[tokio::test]
async fn the_stop_lets_a_running_call_end() {
    let app = App::new().queue("Work", "jobs");
    let running = app
        .start_with(|options| options.knobs.drain = PATIENCE)
        .await;
    running.put("jobs", "slow:200").await;
    running.called(&app, 1).await;
    running.host.stop().await;
    assert_eq!(running.invoked("Work", 1).await.outcome, Outcome::Succeeded);
    assert_eq!(running.storage.depth("jobs").await.unwrap(), 0);
}

#[tokio::test]
async fn output_is_logged_by_the_hosts_rules() {
    let app = App::new().queue("Work", "jobs");
    let running = app.start().await;
    running.put("jobs", "stderr:a warning, only").await;
    running.put("jobs", "stderr:something else").await;
    let line = |wanted: LineLevel| {
        running.find(move |event| match event {
            HostEvent::ChildLine { level, text, .. } if *level == wanted => Some(text.clone()),
            _ => None,
        })
    };
    assert!(line(LineLevel::Information).await.contains("listening"));
    assert_eq!(line(LineLevel::Warning).await, "a warning, only");
    assert_eq!(line(LineLevel::Error).await, "something else");
    running.put("jobs", "exit:9").await;
    let last = running.find(|event| match event {
        HostEvent::ChildExited { last_errors, .. } => Some(last_errors.clone()),
        _ => None,
    });
    let mut last = last.await;
    last.sort();
    assert_eq!(
        last,
        ["a warning, only", "something else"],
        "the exit says what was last on stderr"
    );
    running.host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_is_not_counted_and_a_taken_port_is_an_error() {
    let app = App::new().http("Echo", "echo", &[], "anonymous");
    let running = app
        .start_with(|options| {
            options.executable = Some("/no/such/handler".into());
            options.knobs.init_timeout = Some(Duration::from_millis(50));
        })
        .await;
    assert_eq!(running.get("/echo").await.status, 500, "after a long wait");
    assert_eq!(running.host.wait().await, StopReason::NeverReady);
    let exits = running.exits();
    assert!(
        matches!(exits.as_slice(), [(how, None)] if how.starts_with("could not be started")),
        "once, and not counted: {exits:?}"
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = app.options();
    options.address = taken.local_addr().unwrap();
    assert!(matches!(
        Host::start(options).await,
        Err(HostError::Listen { .. })
    ));
    drop(taken);

    app.host_json(|document| {
        document["customHandler"]["enableForwardingHttpRequest"] = json!(false);
    });
    let mut options = app.options();
    options.older_host = true;
    assert!(
        matches!(Host::start(options).await, Err(HostError::HostJson { .. })),
        "HTTP would be wrapped in JSON"
    );
}

/// What `local` prints when it does not start.
fn refused(root: &std::path::Path, port: u16) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_aiops-rca"))
        .args(["local", "--port", &port.to_string(), "--root"])
        .arg(root)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn the_port_is_blamed_only_where_it_is_taken() {
    let app = App::new().http("Echo", "echo", &[], "anonymous");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let said = refused(app.path(), port);
    assert!(said.contains("the port is taken"), "{said}");
    assert!(said.contains(&port.to_string()), "{said}");
    let empty = tempfile::tempdir().unwrap();
    let said = refused(empty.path(), 0);
    assert!(said.contains("host.json"), "{said}");
    assert!(!said.contains("port"), "{said}");
}

#[tokio::test]
async fn after_the_stop_the_port_is_free() {
    let app = App::new().http("Echo", "echo", &[], "anonymous");
    let first = app.start().await;
    assert_eq!(first.get("/echo").await.status, 201);
    let port = first.host.port();
    first.host.stop().await;
    let second = app
        .start_with(|options| options.address.set_port(port))
        .await;
    assert_eq!(second.get("/echo").await.status, 201);
    second.host.stop().await;
}

/// The real command: a signal must not leave a handler behind.
#[tokio::test]
async fn a_signal_stops_the_command_and_its_child() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let app = App::new().http("Echo", "echo", &[], "anonymous");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_aiops-rca"));
    command
        .args(["local", "--port", "0", "--root"])
        .arg(app.path())
        .arg("--executable")
        .arg(super::support::scripted_handler());
    let mut command = command
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(command.stdout.take().unwrap()).lines();
    let started = regex::Regex::new(r"process (\d+) on port").unwrap();
    let mut child = None;
    while let Some(line) = lines.next_line().await.unwrap() {
        child = child.or_else(|| started.captures(&line).map(|found| found[1].to_owned()));
        if line.contains("ready after") {
            break;
        }
    }
    let (child, host) = (child.unwrap(), command.id().unwrap().to_string());
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &host])
            .status()
            .unwrap()
            .success()
    );
    let status = tokio::time::timeout(PATIENCE, command.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success(), "{status}");
    assert!(
        !std::path::Path::new(&format!("/proc/{child}")).exists(),
        "process {child} still runs"
    );
}
