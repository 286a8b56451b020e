//! The identity endpoint of an App Service, as a server that remembers who asked for what.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use aiops_rca::identity::IdentitySettings;
use serde_json::Value;
use warp::Filter as _;
use warp::http::Response;

/// What the host puts into `IDENTITY_HEADER`.
pub(crate) const HEADER: &str = "header-only-the-app-knows";

/// A running endpoint.
#[derive(Clone, Default)]
pub(crate) struct IdentityEndpoint {
    state: Arc<Mutex<State>>,
    port: u16,
}

#[derive(Default)]
struct State {
    /// Answers before the usual one: status, Retry-After, body.
    scripted: VecDeque<(u16, Option<u32>, String)>,
    usual: Value,
    asked: Vec<HashMap<String, String>>,
}

impl IdentityEndpoint {
    /// Answers this to everybody who knows the header; 401 to all others.
    pub(crate) async fn start(usual: Value) -> Self {
        let state = Arc::new(Mutex::new(State {
            usual,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        let token = warp::path!("msi" / "token")
            .and(warp::query::<HashMap<String, String>>())
            .and(warp::header::optional::<String>("X-IDENTITY-HEADER"))
            .then(move |query, header: Option<String>| {
                let shared = Arc::clone(&shared);
                async move {
                    // Long enough that callers who do not wait for one another would meet here.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    answer(&shared, query, header.as_deref())
                }
            });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(warp::serve(token).incoming(listener).run());
        Self { state, port }
    }

    /// Settings of an app beside this endpoint.
    pub(crate) fn settings(&self, client_id: Option<&str>) -> IdentitySettings {
        IdentitySettings {
            endpoint: url::Url::parse(&format!("http://127.0.0.1:{}/msi/token", self.port))
                .expect("a URL"),
            header: HEADER.into(),
            client_id: client_id.map(str::to_owned),
        }
    }

    /// The next answer.
    pub(crate) fn next(&self, status: u16, retry_after: Option<u32>, body: &str) {
        self.state
            .lock()
            .expect("sane")
            .scripted
            .push_back((status, retry_after, body.to_owned()));
    }

    /// The answer from now on.
    pub(crate) fn usual(&self, usual: Value) {
        self.state.lock().expect("sane").usual = usual;
    }

    /// The queries so far.
    pub(crate) fn asked(&self) -> Vec<HashMap<String, String>> {
        self.state.lock().expect("sane").asked.clone()
    }
}

fn answer(
    state: &Mutex<State>,
    query: HashMap<String, String>,
    header: Option<&str>,
) -> Response<String> {
    let mut state = state.lock().expect("sane");
    state.asked.push(query);
    let (status, retry_after, body) = match state.scripted.pop_front() {
        Some(scripted) => scripted,
        None if header == Some(HEADER) => (200, None, state.usual.to_string()),
        None => (401, None, String::new()),
    };
    let mut response = Response::builder().status(status);
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(body).expect("a response")
}
