//! HTTP through the host: routes, locks, limits, forwarding and proxying (9, 10, 15, 16, 17).

use aiops_rca::http::Reply;
use aiops_rca::local::host::{HOST_VERSION, HostEvent, Instances, Keys, Outcome, Traceparent};
use futures::future::join_all;
use serde_json::Value;

use super::support::App;

fn echo(reply: &Reply) -> Value {
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json("the handler").unwrap()
}

fn chunked(text: &'static str) -> reqwest::Body {
    reqwest::Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>(text)]))
}

#[tokio::test]
async fn an_older_host_rebuilds_the_request() {
    let app = App::new().http("Echo", "echo/{*path}", &["get", "post"], "anonymous");
    let running = app.start_with(|options| options.older_host = true).await;
    let request = running
        .request("POST", "/Echo/a%20b?code=key%2B1&x=1&y&x=2")
        .header("host", "rca.example.org")
        .header("x-functions-key", "secret")
        .header("x-azure-functions-invocationid", "forged")
        .header("user-agent", "curl/8")
        .header("content-type", "text/plain")
        .header("content-encoding", "identity")
        .body("hello");
    let reply = running.send(request).await;
    let seen = echo(&reply);
    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["path"], "/Echo/a%20b");
    assert_eq!(seen["query"], "code=key%2B1&x=1,2&y=");
    assert_eq!(seen["body"], "hello");
    let headers = &seen["headers"];
    assert_eq!(headers["host"][0], "rca.example.org");
    assert_eq!(headers["x-functions-key"][0], "secret");
    assert_eq!(
        headers["user-agent"][0],
        format!("curl/8 Azure-Functions-Host/{HOST_VERSION}")
    );
    assert_eq!(headers["x-azure-functions-hostversion"][0], HOST_VERSION);
    let id = headers["x-azure-functions-invocationid"][0]
        .as_str()
        .unwrap();
    assert!(
        id.starts_with("forged, ") && id.len() == "forged, ".len() + 36,
        "{id}: joined with the caller's"
    );
    assert_eq!(headers["content-type"][0], "text/plain");
    assert!(headers.get("content-encoding").is_none());
    assert_eq!(
        reply.headers.get_all("set-cookie").iter().count(),
        2,
        "headers come back as they are"
    );

    let lost = running
        .send(running.request("POST", "/echo").body(chunked("lost")))
        .await;
    assert_eq!(lost.status, 500, "a chunked body cannot be forwarded");
    let bare = echo(
        &running
            .send(
                running
                    .request("GET", "/echo")
                    .header("content-type", "text/plain"),
            )
            .await,
    );
    assert!(
        bare["headers"].get("content-type").is_none(),
        "content headers need content"
    );
    running.host.stop().await;
}

#[tokio::test]
async fn a_newer_host_passes_the_request_on() {
    let app = App::new().http("Echo", "echo/{*path}", &["get", "post"], "anonymous");
    let running = app.start().await;
    let request = running
        .request("POST", "/echo/x?x=1&x=2&y")
        .header("host", "rca.example.org")
        .header("x-azure-functions-invocationid", "forged")
        .header("x-hop", "1")
        .header("connection", "x-hop")
        .body(chunked("streamed"));
    let seen = echo(&running.send(request).await);
    assert_eq!(seen["query"], "x=1&x=2&y");
    assert_eq!(seen["body"], "streamed");
    assert_eq!(
        seen["headers"]["host"][0],
        format!("127.0.0.1:{}", seen["port"].as_str().unwrap())
    );
    assert_eq!(
        seen["headers"]["x-azure-functions-invocationid"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "overwritten"
    );
    assert_ne!(
        seen["headers"]["x-azure-functions-invocationid"][0],
        "forged"
    );
    assert_eq!(
        seen["headers"]["x-hop"][0], "1",
        "named in Connection, and kept"
    );
    assert_eq!(seen["headers"]["x-forwarded-for"][0], "127.0.0.1");
    assert_eq!(seen["headers"]["x-forwarded-host"][0], "rca.example.org");
    assert!(seen["headers"]["x-ms-invocation-id"][0].is_string());
    running.host.stop().await;
}

#[tokio::test]
async fn any_status_of_the_handler_goes_back_and_counts_as_success() {
    for older_host in [true, false] {
        let app = App::new().http("Do", "do/{word}", &[], "anonymous");
        let running = app
            .start_with(|options| options.older_host = older_host)
            .await;
        assert_eq!(running.get("/do/status:503").await.status, 503);
        let redirect = running.get("/do/redirect").await;
        assert_eq!(
            (
                redirect.status,
                redirect.headers["location"].to_str().unwrap()
            ),
            (302, "/elsewhere")
        );
        for count in 1..=2 {
            assert_eq!(
                running.invoked("Do", count).await.outcome,
                Outcome::Succeeded
            );
        }
        let cut = running.once("/do/exit:7").await;
        assert_eq!(
            (cut.status, cut.body.len()),
            (500, 0),
            "a cut connection is the host's own 500"
        );
        assert!(matches!(
            running.invoked("Do", 3).await.outcome,
            Outcome::Failed(_)
        ));
        running.host.stop().await;
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_404_and_large_bodies_500() {
    let app = App::new()
        .http("Post", "only/post", &["post"], "anonymous")
        .http("Off", "off", &[], "anonymous");
    let running = app
        .start_with(|options| {
            options.settings.insert(
                "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT".to_owned(),
                "10".to_owned(),
            );
            options
                .settings
                .insert("AzureWebJobs.Off.Disabled".to_owned(), "1".to_owned());
        })
        .await;
    assert_eq!(
        running.get("/only/post?code=hidden").await.status,
        404,
        "a wrong method is no 405"
    );
    assert_eq!(running.get("/nowhere").await.status, 404);
    assert_eq!(running.get("/off").await.status, 404);
    assert_eq!(running.get("/").await.status, 200, "the host's home page");
    assert_eq!(
        running
            .send(running.request("POST", "/only/post").body("0123456789"))
            .await
            .status,
        201
    );
    assert_eq!(
        running
            .send(running.request("POST", "/only/post").body("01234567890"))
            .await
            .status,
        500,
        "the host's own, and no 413"
    );
    let refused = |event: &HostEvent| matches!(event, HostEvent::Refused { path, status: 404, .. } if path == "/only/post");
    assert!(
        running.host.events_so_far().iter().any(refused),
        "without its query"
    );
    running.host.stop().await;
}

#[tokio::test]
async fn keys_are_asked_for_before_the_handler_is_called() {
    let app = App::new()
        .http("Key", "key", &[], "function")
        .http("Free", "free", &[], "anonymous")
        .http("Own", "own", &[], "admin");
    let mut keys = Keys::generate();
    keys.functions
        .insert("Key".to_owned(), "key of Key".to_owned());
    let (host, master) = (keys.host.clone(), keys.master.clone());
    let running = app
        .start_with(|options| {
            options.enable_auth = true;
            options.keys = Some(keys);
        })
        .await;
    assert_eq!(running.get("/free").await.status, 201);
    assert_eq!(running.get("/key").await.status, 401);
    assert_eq!(running.get("/key?code=key%20of%20Key").await.status, 201);
    let with_header = |key: &str, path: &str| {
        running
            .request("GET", path)
            .header("x-functions-key", key.to_owned())
    };
    assert_eq!(
        running
            .send(with_header("wrong", &format!("/key?code={host}")))
            .await
            .status,
        401,
        "the header wins"
    );
    assert_eq!(running.send(with_header(&host, "/key")).await.status, 201);
    assert_eq!(running.send(with_header(&host, "/own")).await.status, 401);
    assert_eq!(running.send(with_header(&master, "/own")).await.status, 201);
    assert_eq!(
        running
            .send(running.request("POST", "/admin/functions/Nope"))
            .await
            .status,
        401
    );
    assert_eq!(running.get("/admin/host/status").await.status, 401);
    assert_eq!(running.get("/admin/host/ping").await.status, 200, "open");
    assert_eq!(
        running
            .send(with_header(&master, "/admin/host/status"))
            .await
            .status,
        200
    );
    let kept = format!("{:?}", running.host.events_so_far());
    assert!(
        !kept.contains(&host) && !kept.contains("key of Key"),
        "no key in any event"
    );
    running.host.stop().await;
}

#[tokio::test]
async fn without_auth_everybody_is_let_in_as_func_does() {
    let app = App::new().http("Key", "key", &[], "function");
    let running = app.start().await;
    assert_eq!(running.get("/key").await.status, 201);
    assert!(running.host.keys().is_none());
    running.host.stop().await;
}

#[tokio::test]
async fn traces_are_sometimes_there() {
    let app = App::new().http("Echo", "echo", &[], "anonymous");
    let running = app
        .start_with(|options| {
            options.older_host = true;
            options.knobs.traceparent = Traceparent::Sometimes;
        })
        .await;
    let mut flags = Vec::new();
    for _ in 0..3 {
        let seen = echo(&running.get("/echo").await);
        flags.push(
            seen["headers"]["traceparent"][0]
                .as_str()
                .and_then(|trace| trace.rsplit('-').next())
                .map(str::to_owned),
        );
    }
    assert_eq!(flags, [None, Some("00".to_owned()), Some("01".to_owned())]);
    let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for _ in 0..2 {
        let seen = echo(
            &running
                .send(running.request("GET", "/echo").header("traceparent", own))
                .await,
        );
        assert_eq!(
            seen["headers"]["traceparent"].as_array().unwrap(),
            &[Value::from(own)],
            "a caller's own stays alone"
        );
    }
    running.host.stop().await;
}

#[tokio::test]
async fn a_host_that_proxies_goes_on_with_the_callers_trace() {
    let app = App::new().http("Echo", "echo", &[], "anonymous");
    let running = app
        .start_with(|options| options.knobs.traceparent = Traceparent::Always)
        .await;
    for flags in ["00", "01"] {
        let own = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        let seen = echo(
            &running
                .send(running.request("GET", "/echo").header("traceparent", &own))
                .await,
        );
        let [told] = seen["headers"]["traceparent"]
            .as_array()
            .unwrap()
            .as_slice()
        else {
            panic!("{seen}")
        };
        let told = told.as_str().unwrap();
        assert!(
            told.starts_with("00-0af7651916cd43dd8448eb211c80319c-")
                && told.ends_with(&format!("-{flags}")),
            "{told}"
        );
        assert_ne!(told, own, "its own span");
    }
    let seen = echo(
        &running
            .send(
                running
                    .request("GET", "/echo")
                    .header("traceparent", "nonsense"),
            )
            .await,
    );
    assert_ne!(seen["headers"]["traceparent"][0], "nonsense");
    running.host.stop().await;
}

#[tokio::test]
async fn calls_run_side_by_side_and_groups_in_processes_of_their_own() {
    let app = App::new()
        .http("Echo", "echo", &[], "anonymous")
        .http("Do", "do/{word}", &[], "anonymous")
        .queue("Work", "jobs");
    let running = app
        .start_with(|options| options.instances = Instances::PerGroup)
        .await;
    running.put("jobs", "fine").await;
    running.invoked("Work", 1).await;
    let http_pid = echo(&running.get("/echo").await)["pid"].clone();
    assert_ne!(
        app.calls()[0]["pid"],
        http_pid,
        "HTTP and a queue share no process"
    );
    let started = std::time::Instant::now();
    let replies = join_all((0..8).map(|_| running.get("/do/slow:300"))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert!(
        started.elapsed().as_millis() < 8 * 300,
        "one after the other"
    );
    running.host.stop().await;
}
