//! What .NET makes of headers, paths and queries on their way through the host.
//!
//! Pure. Every rule was seen on the real host (`tests/fixtures/host/`): Kestrel hands known headers out in an order of
//! its own and joins repeated ones, decodes a path but for `%2F` and resolves its dots; the rebuilt query joins values.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::http1::Headers;

/// Kestrel's own order of request headers; what is not here follows in the order in which it came.
const REQUEST: [&str; 48] = [
    "Accept",
    "Connection",
    "Host",
    "User-Agent",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Access-Control-Request-Headers",
    "Access-Control-Request-Method",
    "Authorization",
    "baggage",
    "Cache-Control",
    "Content-Type",
    "Cookie",
    "Correlation-Context",
    "Date",
    "Expect",
    "From",
    "Grpc-Accept-Encoding",
    "Grpc-Encoding",
    "Grpc-Timeout",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Keep-Alive",
    "Max-Forwards",
    "Origin",
    "Pragma",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Range",
    "Referer",
    "Request-Id",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "TE",
    "traceparent",
    "tracestate",
    "Transfer-Encoding",
    "Translate",
    "Upgrade",
    "Upgrade-Insecure-Requests",
    "Via",
    "Content-Length",
];

/// And of response headers.
const RESPONSE: [&str; 41] = [
    "Content-Length",
    "Connection",
    "Content-Type",
    "Date",
    "Server",
    "Accept-Ranges",
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
    "Age",
    "Allow",
    "Alt-Svc",
    "Cache-Control",
    "Content-Encoding",
    "Content-Language",
    "Content-Location",
    "Content-MD5",
    "Content-Range",
    "ETag",
    "Expires",
    "Grpc-Encoding",
    "Grpc-Message",
    "Grpc-Status",
    "Keep-Alive",
    "Last-Modified",
    "Location",
    "Pragma",
    "Proxy-Authenticate",
    "Proxy-Connection",
    "Retry-After",
    "Set-Cookie",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Vary",
    "Via",
    "Warning",
    "WWW-Authenticate",
];

/// .NET keeps these with the content.
const CONTENT: [&str; 11] = [
    "allow",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "expires",
    "last-modified",
];

pub(super) fn is_content(name: &str) -> bool {
    CONTENT.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// A request's headers as Kestrel hands them out: known ones first, each name once, its values joined.
pub(super) fn requested(headers: &Headers) -> Headers {
    let mut joined = Headers::default();
    for (name, value) in &headers.0 {
        if let Some((_, known)) = joined
            .0
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            let separator: &[u8] = if name.eq_ignore_ascii_case("cookie") {
                b"; "
            } else {
                b", "
            };
            *known = Bytes::from([known.as_ref(), separator, value.as_ref()].concat());
        } else {
            joined.push(name, value.clone());
        }
    }
    ordered(joined, &REQUEST)
}

/// An answer's headers as Kestrel writes them.
pub(super) fn answered(headers: Headers) -> Headers {
    ordered(headers, &RESPONSE)
}

fn ordered(mut headers: Headers, order: &[&str]) -> Headers {
    let place = |name: &str| {
        order
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
            .unwrap_or(usize::MAX)
    };
    headers.0.sort_by_key(|(name, _)| place(name));
    for (name, _) in &mut headers.0 {
        if let Some(known) = order.iter().find(|known| known.eq_ignore_ascii_case(name)) {
            (*known).clone_into(name);
        }
    }
    headers
}

/// A path as Kestrel has it: decoded but for `%2F`, dot segments resolved. Bytes that are no UTF-8 stay encoded.
pub(super) fn path(raw: &str) -> String {
    let mut decoded = String::new();
    let mut rest = raw;
    while !rest.is_empty() {
        // Runs of escapes are decoded together: a letter may take several.
        let (run, after) = rest.split_at(escapes(rest));
        if run.is_empty() {
            let mut letters = rest.chars();
            decoded.extend(letters.next());
            rest = letters.as_str();
        } else {
            match percent_decode_str(run).decode_utf8() {
                Ok(text) => decoded.push_str(&text),
                Err(_) => decoded.push_str(run),
            }
            rest = after;
        }
    }
    without_dots(&decoded)
}

/// How long the run of escapes at the start is; `%2F` is none.
fn escapes(text: &str) -> usize {
    let mut length = 0;
    while let Some(next) = text.get(length..length + 3)
        && next.starts_with('%')
        && next.bytes().skip(1).all(|digit| digit.is_ascii_hexdigit())
        && !next.eq_ignore_ascii_case("%2f")
    {
        length += 3;
    }
    length
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." && kept.len() > 1 {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    kept.join("/")
}

const UNRESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// What a path may hold as it is.
const PATH: AsciiSet = UNRESERVED
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');
/// What .NET's encoder for query values leaves as it is.
const QUERY: AsciiSet = UNRESERVED
    .remove(b'!')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';')
    .remove(b'@');

/// The path that a forwarding host sends: `\` becomes `/`, an escaped slash stays.
pub(super) fn forwarded_path(path: &str) -> String {
    let slashed = without_dots(&path.replace('\\', "/"));
    let encoded = utf8_percent_encode(&slashed, &PATH).to_string();
    encoded.replace("%252F", "%2F").replace("%252f", "%2f")
}

/// The path that a proxying host sends: what stayed encoded is encoded once more.
pub(super) fn proxied_path(path: &str) -> String {
    utf8_percent_encode(path, &PATH).to_string()
}

/// The query that a forwarding host rebuilds, with its `?`: a name once, its values joined with a bare comma.
pub(super) fn forwarded_query(query: &str) -> String {
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match merged
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(&name))
        {
            Some((_, values)) => {
                values.push(',');
                values.push_str(&value);
            }
            None => merged.push((name.into_owned(), value.into_owned())),
        }
    }
    let encode = |text: &str| utf8_percent_encode(text, &QUERY).to_string();
    let pairs: Vec<_> = merged
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

/// A `Content-Type` as .NET writes it; `None` when it cannot read it.
pub(super) fn content_type(raw: &str) -> Option<String> {
    let mut parts = raw.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    if !token(kind) || !token(subtype) {
        return None;
    }
    let mut out = format!("{kind}/{subtype}");
    for part in parts.filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        out.extend(["; ", name.trim(), "=", value.trim()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_take_both_ways() {
        for (raw, forwarded, proxied) in [
            (
                "/api/a%2Fb/c%20d/%C3%A9",
                "/api/a%2Fb/c%20d/%C3%A9",
                "/api/a%252Fb/c%20d/%C3%A9",
            ),
            ("/api/a/../b//c/./d/", "/api/b//c/d/", "/api/b//c/d/"),
            ("/api/a/%2e%2e/b%5Cc", "/api/b/c", "/api/b%5Cc"),
            (
                "/e%25f/(g)'h!~*;x=1,y:z@w+q",
                "/e%25f/(g)'h!~*;x=1,y:z@w+q",
                "/e%25f/(g)'h!~*;x=1,y:z@w+q",
            ),
            ("/../a", "/a", "/a"),
            ("/a%2f%2Fb%", "/a%2f%2Fb%25", "/a%252f%252Fb%25"),
            ("/", "/", "/"),
            ("/a/..", "/", "/"),
        ] {
            let decoded = path(raw);
            assert_eq!(forwarded_path(&decoded), forwarded, "{raw}");
            assert_eq!(proxied_path(&decoded), proxied, "{raw}");
        }
    }

    #[test]
    fn a_forwarded_query_is_rebuilt() {
        assert_eq!(forwarded_query(""), "");
        assert_eq!(
            forwarded_query(
                "a=1&a=2&b&c=&d=x%20y&e=a%2Cb&f=%C3%A9&g=a+b&code=KEY&A=3&h=%26%3D%2B%25"
            ),
            "?a=1,2,3&b=&c=&d=x%20y&e=a,b&f=%C3%A9&g=a%20b&code=KEY&h=%26%3D%2B%25"
        );
    }

    #[test]
    fn content_types_are_read_and_written() {
        let read = |raw| content_type(raw);
        assert_eq!(
            read("application/json;charset=\"UTF-8\" ; x=y").as_deref(),
            Some("application/json; charset=\"UTF-8\"; x=y")
        );
        assert_eq!(read("text/plain").as_deref(), Some("text/plain"));
        for wrong in ["json", "", "a/", "a b/c", "a/b; c"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
