//! HTTP/1.1 by its bytes: names, their case and order, reason phrases and broken bodies are what a host's twin is about,
//! and what servers and clients for everyday use hide.
//!
//! In: a stream. Out: heads and bodies as they stand on the wire. It does not know what they mean.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What Kestrel takes of a request's head.
const HEAD_CAP: usize = 32 * 1024;
const MOST_HEADERS: usize = 100;
const ROOM: usize = 16 * 1024;
/// Below this many bytes a second, after the first five seconds, an upload is given up.
const SLOWEST: f64 = 240.0;
const SLOW_GRACE: Duration = Duration::from_secs(5);

/// Headers in their order, each as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Headers(pub Vec<(String, Bytes)>);

impl Headers {
    /// The first value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The first value, if it is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Every value of a name.
    pub(super) fn all<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        let name = name.to_ascii_lowercase();
        self.0
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(&name))
            .map(|(_, value)| value.as_ref())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds one at the end.
    pub(super) fn push(&mut self, name: &str, value: impl Into<Bytes>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Replaces the value where the name stands, or adds it at the end.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Bytes>) {
        let value = value.into();
        match self
            .0
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            Some(known) => known.1 = value,
            None => self.push(name, value),
        }
    }

    /// Removes every header that does not stay.
    pub(super) fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| stays(name));
    }

    /// Is every value plain ASCII?
    pub(super) fn are_ascii(&self) -> bool {
        self.0.iter().all(|(_, value)| value.is_ascii())
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        for (name, value) in &self.0 {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestHead {
    pub method: String,
    pub target: String,
    /// HTTP/1.0?
    pub old: bool,
    pub headers: Headers,
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub status: u16,
    pub reason: String,
    pub headers: Headers,
}

/// Why something could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The peer went away, before the first byte or in the middle.
    Gone { begun: bool },
    /// This is no HTTP.
    Malformed,
    /// More than was allowed.
    TooLarge,
    /// Fewer bytes a second than are waited for.
    TooSlow,
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A stream with what was read of it too far.
#[derive(Debug)]
pub(super) struct Reader<S> {
    pub stream: S,
    buffer: BytesMut,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// Is there anything that was not asked for yet?
    pub(super) fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    pub(super) async fn request(&mut self) -> Result<RequestHead, Unreadable> {
        loop {
            let mut space = [httparse::EMPTY_HEADER; MOST_HEADERS];
            let mut request = httparse::Request::new(&mut space);
            match request.parse(&self.buffer) {
                Ok(httparse::Status::Complete(length)) => {
                    let head = RequestHead {
                        method: request.method.unwrap_or_default().to_owned(),
                        target: request.path.unwrap_or_default().to_owned(),
                        old: request.version == Some(0),
                        headers: copied(request.headers),
                    };
                    drop(self.buffer.split_to(length));
                    return if head.target.is_ascii() {
                        Ok(head)
                    } else {
                        Err(Unreadable::Malformed)
                    };
                }
                Ok(httparse::Status::Partial) => self.head_piece().await?,
                Err(_) => return Err(Unreadable::Malformed),
            }
        }
    }

    pub(super) async fn response(&mut self) -> Result<ResponseHead, Unreadable> {
        loop {
            let mut space = [httparse::EMPTY_HEADER; MOST_HEADERS];
            let mut response = httparse::Response::new(&mut space);
            match response.parse(&self.buffer) {
                Ok(httparse::Status::Complete(length)) => {
                    let head = ResponseHead {
                        status: response.code.unwrap_or_default(),
                        reason: response.reason.unwrap_or_default().to_owned(),
                        headers: copied(response.headers),
                    };
                    drop(self.buffer.split_to(length));
                    // 100 Continue and its like come before the answer.
                    if head.status >= 200 {
                        return Ok(head);
                    }
                }
                Ok(httparse::Status::Partial) => self.head_piece().await?,
                Err(_) => return Err(Unreadable::Malformed),
            }
        }
    }

    async fn head_piece(&mut self) -> Result<(), Unreadable> {
        if self.buffer.len() > HEAD_CAP {
            return Err(Unreadable::TooLarge);
        }
        self.more().await
    }

    async fn more(&mut self) -> Result<(), Unreadable> {
        let begun = !self.buffer.is_empty();
        // Without room only a few bytes at a time are read.
        self.buffer.reserve(ROOM);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Unreadable::Gone { begun }),
            Ok(_) => Ok(()),
        }
    }

    /// The whole body; one that comes too slowly is given up, as the real host does.
    pub(super) async fn upload(&mut self, framing: Framing, cap: u64) -> Result<Bytes, Unreadable> {
        let started = tokio::time::Instant::now();
        let mut body = Body::new(framing);
        let mut whole = BytesMut::new();
        loop {
            let piece = match tokio::time::timeout(SLOW_GRACE, body.next(self)).await {
                Ok(piece) => piece?,
                Err(_) => return Err(Unreadable::TooSlow),
            };
            let Some(piece) = piece else {
                return Ok(whole.freeze());
            };
            whole.extend_from_slice(&piece);
            if whole.len() as u64 > cap {
                return Err(Unreadable::TooLarge);
            }
            let took = started.elapsed();
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let rate = whole.len() as f64 / took.as_secs_f64();
            if took > SLOW_GRACE && rate < SLOWEST {
                return Err(Unreadable::TooSlow);
            }
        }
    }
}

fn copied(headers: &[httparse::Header<'_>]) -> Headers {
    let one = |header: &httparse::Header<'_>| {
        (header.name.to_owned(), Bytes::copy_from_slice(header.value))
    };
    Headers(headers.iter().map(one).collect())
}

/// A body while it is read.
#[derive(Debug)]
pub(super) struct Body {
    framing: Framing,
    /// Of the length, or of the chunk.
    left: u64,
    ended: bool,
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(length) => length,
            Framing::Chunked | Framing::UntilClose => 0,
        };
        Self {
            framing,
            left,
            ended: false,
        }
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next<S: AsyncRead + Unpin>(
        &mut self,
        reader: &mut Reader<S>,
    ) -> Result<Option<Bytes>, Unreadable> {
        if self.ended {
            return Ok(None);
        }
        match self.framing {
            Framing::Length(_) if self.left == 0 => return Ok(None),
            Framing::Length(_) => {}
            Framing::Chunked => {
                if self.left == 0 && !self.chunk(reader).await? {
                    self.ended = true;
                    return Ok(None);
                }
            }
            Framing::UntilClose => {
                if reader.buffer.is_empty() && reader.more().await.is_err() {
                    self.ended = true;
                    return Ok(None);
                }
                return Ok(Some(reader.buffer.split().freeze()));
            }
        }
        if reader.buffer.is_empty() {
            reader
                .more()
                .await
                .map_err(|_| Unreadable::Gone { begun: true })?;
        }
        let length = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(reader.buffer.len());
        self.left -= length as u64;
        let piece = reader.buffer.split_to(length).freeze();
        if self.left == 0 && self.framing == Framing::Chunked {
            line(reader).await?;
        }
        Ok(Some(piece))
    }

    /// Reads the size of the next chunk; `false` after the last one, whose trailers are read away.
    async fn chunk<S: AsyncRead + Unpin>(
        &mut self,
        reader: &mut Reader<S>,
    ) -> Result<bool, Unreadable> {
        let text = line(reader).await?;
        let size = text.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(size, 16).map_err(|_| Unreadable::Malformed)?;
        if self.left > 0 {
            return Ok(true);
        }
        while !line(reader).await?.is_empty() {}
        Ok(false)
    }
}

/// A line without its end.
async fn line<S: AsyncRead + Unpin>(reader: &mut Reader<S>) -> Result<String, Unreadable> {
    loop {
        if let Some(end) = reader.buffer.windows(2).position(|pair| pair == b"\r\n") {
            let line = reader.buffer.split_to(end + 2);
            let text = line.strip_suffix(b"\r\n").unwrap_or(&line);
            return String::from_utf8(text.to_vec()).map_err(|_| Unreadable::Malformed);
        }
        if reader.buffer.len() > HEAD_CAP {
            return Err(Unreadable::TooLarge);
        }
        reader
            .more()
            .await
            .map_err(|_| Unreadable::Gone { begun: true })?;
    }
}

/// How a request's body is delimited; `None` without one.
pub(super) fn request_framing(headers: &Headers) -> Result<Option<Framing>, Unreadable> {
    if is_chunked(headers) {
        return Ok(Some(Framing::Chunked));
    }
    match headers.text("content-length") {
        None if headers.has("content-length") => Err(Unreadable::Malformed),
        None => Ok(None),
        Some(text) => {
            let length = text.trim().parse().map_err(|_| Unreadable::Malformed)?;
            Ok(Some(Framing::Length(length)))
        }
    }
}

/// How an answer's body is delimited.
pub(super) fn response_framing(method: &str, head: &ResponseHead) -> Framing {
    if method == "HEAD" || matches!(head.status, 204 | 304) {
        Framing::Length(0)
    } else if is_chunked(&head.headers) {
        Framing::Chunked
    } else {
        head.headers
            .text("content-length")
            .and_then(|text| text.trim().parse().ok())
            .map_or(Framing::UntilClose, Framing::Length)
    }
}

fn is_chunked(headers: &Headers) -> bool {
    headers
        .text("transfer-encoding")
        .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"))
}

/// Pieces of the size that .NET writes, each as a chunk.
pub(super) fn write_chunked(body: &[u8], size: usize, out: &mut BytesMut) {
    for chunk in body.chunks(size) {
        out.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heads_and_bodies_are_read_as_they_stand() {
        let wire: &[u8] = b"POST /a?b HTTP/1.1\r\nX-Dup: one\r\nx-dup:two\r\nX-Empty:\r\nTransfer-Encoding: chunked\r\n\r\n\
            3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n";
        let mut reader = Reader::new(wire);
        let head = reader.request().await.unwrap();
        assert_eq!(
            (head.method.as_str(), head.target.as_str()),
            ("POST", "/a?b")
        );
        assert_eq!(
            head.headers.all("x-DUP").collect::<Vec<_>>(),
            [b"one", b"two"]
        );
        assert_eq!(head.headers.get("x-empty"), Some(&b""[..]));
        let framing = request_framing(&head.headers).unwrap().unwrap();
        assert_eq!(reader.upload(framing, 5).await.unwrap(), "abcde");
        assert!(reader.request().await.unwrap().old);
        assert_eq!(
            reader.request().await,
            Err(Unreadable::Gone { begun: false })
        );
    }

    #[tokio::test]
    async fn what_is_no_http_or_too_much_is_refused() {
        let read = async |wire: &'static [u8]| Reader::new(wire).request().await;
        assert_eq!(
            read("GET /é HTTP/1.1\r\n\r\n".as_bytes()).await,
            Err(Unreadable::Malformed)
        );
        assert_eq!(read(b"nonsense\r\n\r\n").await, Err(Unreadable::Malformed));
        assert_eq!(
            read(b"GET / HT").await,
            Err(Unreadable::Gone { begun: true })
        );
        let mut reader = Reader::new(&b"abcdef"[..]);
        assert_eq!(
            reader.upload(Framing::Length(6), 5).await,
            Err(Unreadable::TooLarge)
        );
        let mut cut = Reader::new(&b"abc"[..]);
        let whole = cut.upload(Framing::Length(6), 9).await;
        assert_eq!(whole, Err(Unreadable::Gone { begun: true }));
    }
}
