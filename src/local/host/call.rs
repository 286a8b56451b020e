//! One exchange with the handler, byte for byte as the host's HTTP client has it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::http1::{self, Body, Framing, Headers, Reader, ResponseHead, Unreadable, write_chunked};

/// .NET writes content of unknown length in pieces of this size.
const CHUNK: usize = 1024;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// A request to the handler.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub method: String,
    pub target: String,
    /// With the headers of the content.
    pub headers: Headers,
    pub body: Bytes,
    /// Written in chunks, as the headers say.
    pub chunked: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// No connection.
    Unreachable,
    /// The handler hung up before the first byte of an answer.
    Cut,
    /// It hung up in the middle, or what it said is no HTTP.
    Half,
}

impl Broken {
    /// As people read it.
    pub(super) fn reason(self) -> String {
        match self {
            Self::Unreachable => "the handler could not be reached",
            Self::Cut | Self::Half => "the handler broke the connection",
        }
        .to_owned()
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub(super) struct Answered {
    pub head: ResponseHead,
    pub framing: Framing,
    pub reader: Reader<TcpStream>,
}

impl Outgoing {
    /// Sends it once and reads the head of the answer.
    pub(super) async fn send(&self, port: u16) -> Result<Answered, Broken> {
        let connect = TcpStream::connect(("127.0.0.1", port));
        let mut stream = tokio::time::timeout(CONNECT, connect)
            .await
            .map_err(|_| Broken::Unreachable)?
            .map_err(|_| Broken::Unreachable)?;
        let _slower = stream.set_nodelay(true);
        let mut wire = BytesMut::new();
        wire.extend_from_slice(format!("{} {} HTTP/1.1\r\n", self.method, self.target).as_bytes());
        self.headers.write(&mut wire);
        if self.chunked {
            write_chunked(&self.body, CHUNK, &mut wire);
        } else {
            wire.extend_from_slice(&self.body);
        }
        // A handler that answers without reading everything has answered all the same.
        let _cut = stream.write_all(&wire).await;
        let mut reader = Reader::new(stream);
        let head = reader
            .response()
            .await
            .map_err(|unreadable| match unreadable {
                Unreadable::Gone { begun: false } => Broken::Cut,
                _ => Broken::Half,
            })?;
        let framing = http1::response_framing(&self.method, &head);
        Ok(Answered {
            head,
            framing,
            reader,
        })
    }
}

impl Answered {
    /// The whole body.
    pub(super) async fn body(mut self) -> Result<(ResponseHead, Bytes), Broken> {
        let mut body = Body::new(self.framing);
        let mut whole = BytesMut::new();
        loop {
            match body.next(&mut self.reader).await {
                Ok(Some(piece)) => whole.extend_from_slice(&piece),
                Ok(None) => return Ok((self.head, whole.freeze())),
                Err(_) => return Err(Broken::Half),
            }
        }
    }
}
