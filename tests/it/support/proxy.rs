//! A proxy in front of a store that can be told what to do with each of the next requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is forwarded and answered.
    Pass,
    /// It is forwarded, and the answer is lost with the connection.
    LoseAnswer,
    /// It is answered by this, unseen by the store: status line and headers, without the empty line.
    Answer(&'static str),
    /// The connection ends, unseen by the store.
    Cut,
    /// It is never answered.
    Hang,
    /// It is forwarded and answered after this time.
    Delay(Duration),
}

impl Fate {
    /// What a store in trouble does: refuses in any of its ways, whether or not it did what was asked, or takes its time.
    fn of_trouble(dice: &mut fastrand::Rng) -> Self {
        match dice.u32(0..9) {
            0 => Self::Answer("HTTP/1.1 500 Internal Server Error"),
            1 => Self::Answer("HTTP/1.1 503 Server Busy"),
            2 => Self::Answer("HTTP/1.1 429 Too Many Requests"),
            3 => Self::Answer("HTTP/1.1 409 Conflict"),
            4 => Self::Answer("HTTP/1.1 412 Precondition Failed"),
            5 => Self::Cut,
            6 | 7 => Self::LoseAnswer,
            _ => Self::Delay(Duration::from_millis(dice.u64(2_000..10_000))),
        }
    }
}

/// One proxy on a port of its own.
#[derive(Clone)]
pub(crate) struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    fates: VecDeque<Fate>,
    /// After the script.
    otherwise: Option<Fate>,
    /// Then this many of a hundred requests meet a store in trouble.
    trouble: Option<(fastrand::Rng, u32)>,
    connections: usize,
    requests: Vec<String>,
    bodies: Vec<Vec<u8>>,
}

impl Proxy {
    /// A proxy of `target` (`127.0.0.1:port`); passes everything until told otherwise.
    pub(crate) async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let proxy = Self {
            port,
            state: Arc::default(),
        };
        let (state, target) = (Arc::clone(&proxy.state), target.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                state.lock().expect("sane").connections += 1;
                tokio::spawn(serve(client, target.clone(), Arc::clone(&state)));
            }
        });
        proxy
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The fates of the next requests; those after them pass.
    pub(crate) fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        self.state.lock().expect("sane").fates.extend(fates);
    }

    /// The fate of all requests after the script.
    pub(crate) fn always(&self, fate: Fate) {
        self.state.lock().expect("sane").otherwise = Some(fate);
    }

    /// From now on this many of a hundred requests meet a store in trouble.
    pub(crate) fn trouble(&self, seed: u64, percent: u32) {
        let dice = fastrand::Rng::with_seed(seed);
        self.state.lock().expect("sane").trouble = Some((dice, percent));
    }

    /// Nothing scripted is left.
    pub(crate) fn is_drained(&self) -> bool {
        self.state.lock().expect("sane").fates.is_empty()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().expect("sane").connections
    }

    /// First lines and headers of all requests.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().expect("sane").requests.clone()
    }

    /// The bodies of all requests.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.state.lock().expect("sane").bodies.clone()
    }
}

async fn serve(mut client: TcpStream, target: String, state: Arc<Mutex<State>>) {
    while let Some((head, body)) = read_request(&mut client).await {
        let fate = {
            let mut state = state.lock().expect("sane");
            state.requests.push(head.clone());
            state.bodies.push(body.clone());
            let troubled = state.trouble.as_mut().and_then(|(dice, percent)| {
                (dice.u32(0..100) < *percent).then(|| Fate::of_trouble(dice))
            });
            let otherwise = state.otherwise.clone().or(troubled).unwrap_or(Fate::Pass);
            state.fates.pop_front().unwrap_or(otherwise)
        };
        match fate {
            Fate::Answer(answer) => {
                let answer = format!("{answer}\r\ncontent-length: 0\r\n\r\n");
                if client.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Fate::Hang => {
                tokio::time::sleep(Duration::from_hours(1)).await;
                return;
            }
            Fate::Cut => return,
            Fate::Pass | Fate::LoseAnswer | Fate::Delay(_) => {
                if let Fate::Delay(time) = fate {
                    tokio::time::sleep(time).await;
                }
                let answer = forward(&target, &head, &body).await;
                if fate != Fate::LoseAnswer {
                    let _client_may_have_left = client.write_all(&answer).await;
                }
                return; // and the connection with it
            }
        }
    }
}

async fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let mut body = read.split_off(end + 4);
            let head = String::from_utf8_lossy(&read).trim_end().to_owned();
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            while body.len() < length {
                let count = client
                    .read(&mut buffer)
                    .await
                    .ok()
                    .filter(|&count| count > 0)?;
                body.extend(buffer.iter().take(count));
            }
            return Some((head, body));
        }
        let count = client
            .read(&mut buffer)
            .await
            .ok()
            .filter(|&count| count > 0)?;
        read.extend(buffer.iter().take(count));
    }
}

async fn forward(target: &str, head: &str, body: &[u8]) -> Vec<u8> {
    let mut store = TcpStream::connect(target).await.expect("the store runs");
    store
        .write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .expect("sent");
    store.write_all(body).await.expect("sent");
    let mut answer = Vec::new();
    store.read_to_end(&mut answer).await.expect("answered");
    answer
}
