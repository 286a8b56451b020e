//! The queue service: messages with receipts that change, hidden until their time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::super::{Answer, Request, Site, lock};
use super::{Account, Operation, Refusal, stamped};

const READ: &str = "Microsoft.Storage/storageAccounts/queueServices/queues/messages/read";
const WRITE: &str = "Microsoft.Storage/storageAccounts/queueServices/queues/messages/write";
const ADD: &str = "Microsoft.Storage/storageAccounts/queueServices/queues/messages/add/action";
const DELETE: &str = "Microsoft.Storage/storageAccounts/queueServices/queues/messages/delete";
const PROCESS: &str =
    "Microsoft.Storage/storageAccounts/queueServices/queues/messages/process/action";

operations! {
    CREATE_QUEUE "Create Queue": ["Microsoft.Storage/storageAccounts/queueServices/queues/write"];
    GET_METADATA "Get Queue Metadata": ["Microsoft.Storage/storageAccounts/queueServices/queues/read"];
    PUT_MESSAGE "Put Message": [ADD], [WRITE];
    GET_MESSAGES "Get Messages": [PROCESS], [DELETE, READ];
    PEEK_MESSAGES "Peek Messages": [READ];
    DELETE_MESSAGE "Delete Message": [PROCESS], [DELETE];
    UPDATE_MESSAGE "Update Message": [WRITE];
}

#[derive(Debug, Clone)]
struct Message {
    id: String,
    receipt: String,
    /// As it was sent: escaped.
    text: String,
    put_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    visible_at: DateTime<Utc>,
    received: u32,
}

/// The queues of an account.
#[derive(Debug, Default)]
pub struct QueueSite {
    /// Who may do what, and what was asked.
    pub account: Account,
    state: Mutex<BTreeMap<String, Vec<Message>>>,
}

fn operation(request: &Request, pieces: &[&str]) -> Option<&'static Operation> {
    let peeks = request.query("peekonly") == Some("true");
    match (request.method.as_str(), pieces) {
        ("PUT", [_]) => Some(&CREATE_QUEUE),
        ("GET", [_]) if request.query("comp") == Some("metadata") => Some(&GET_METADATA),
        ("POST", [_, "messages"]) => Some(&PUT_MESSAGE),
        ("GET", [_, "messages"]) if peeks => Some(&PEEK_MESSAGES),
        ("GET", [_, "messages"]) => Some(&GET_MESSAGES),
        ("DELETE", [_, "messages", _]) => Some(&DELETE_MESSAGE),
        ("PUT", [_, "messages", _]) => Some(&UPDATE_MESSAGE),
        _ => None,
    }
}

fn xml(status: u16, body: &str) -> Answer {
    let body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>{body}");
    let mut answer = Answer::text(status, body);
    answer.headers = vec![("content-type".to_owned(), "application/xml".to_owned())];
    answer
}

fn refuse((status, code, message): Refusal) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    xml(status, &body).with_header("x-ms-error-code", code)
}

fn stamp(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn seconds(request: &Request, name: &str, usual: i64) -> TimeDelta {
    let given = request.query(name).and_then(|text| text.parse().ok());
    TimeDelta::seconds(given.unwrap_or(usual))
}

/// The text of the message in a request's body.
fn sent(request: &Request) -> String {
    let body = String::from_utf8_lossy(&request.body);
    let text = body
        .split_once("<MessageText>")
        .and_then(|(_, rest)| rest.split_once("</MessageText>"));
    text.map(|(text, _)| text.to_owned()).unwrap_or_default()
}

impl Message {
    /// As the service lists it; `receipt` where it may be deleted.
    fn listed(&self, receipt: bool, text: bool) -> String {
        let piece = |name: &str, value: &str| format!("<{name}>{value}</{name}>");
        let mut body = [
            piece("MessageId", &self.id),
            piece("InsertionTime", &stamp(self.put_at)),
            piece("ExpirationTime", &stamp(self.expires_at)),
            piece("DequeueCount", &self.received.to_string()),
        ]
        .concat();
        if receipt {
            body += &piece("PopReceipt", &self.receipt);
            body += &piece("TimeNextVisible", &stamp(self.visible_at));
        }
        if text {
            body += &piece("MessageText", &self.text);
        }
        piece("QueueMessage", &body)
    }

    fn renew(&mut self, visible_at: DateTime<Utc>) {
        self.receipt = Uuid::new_v4().simple().to_string();
        self.visible_at = visible_at;
    }
}

impl QueueSite {
    /// Every operation that is understood.
    pub const OPERATIONS: &[&Operation] = ALL;

    fn done(&self, request: &Request, pieces: &[&str]) -> Result<Answer, Refusal> {
        let mut queues = lock(&self.state);
        let name = pieces.first().copied().unwrap_or_default();
        if let ("PUT", [_]) = (request.method.as_str(), pieces) {
            let there = queues.contains_key(name);
            queues.entry(name.to_owned()).or_default();
            return Ok(Answer::empty(if there { 204 } else { 201 }));
        }
        let message = "The specified queue does not exist.";
        let queue = queues
            .get_mut(name)
            .ok_or((404, "QueueNotFound", message))?;
        match (request.method.as_str(), pieces) {
            ("POST", _) => Ok(put(queue, request)),
            ("GET", [_]) => Ok(Answer::empty(200)
                .with_header("x-ms-approximate-messages-count", &queue.len().to_string())),
            ("GET", _) => Ok(list(queue, request)),
            (method, [.., id]) => change(queue, id, method == "DELETE", request),
            _ => Err((400, "InvalidUri", "The requested URI is invalid.")),
        }
    }
}

impl Site for QueueSite {
    fn answer(&self, request: &Request) -> Answer {
        let pieces = request.segments();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let answer = match operation(request, &pieces) {
            None => refuse((501, "NotImplemented", "Not known to this stand-in.")),
            Some(operation) => match self.account.refusal(request, operation) {
                Some(refusal) => refuse(refusal),
                None => self.done(request, &pieces).unwrap_or_else(refuse),
            },
        };
        stamped(answer, request)
    }
}

fn put(queue: &mut Vec<Message>, request: &Request) -> Answer {
    let now = Utc::now();
    let mut message = Message {
        id: Uuid::new_v4().to_string(),
        receipt: String::new(),
        text: sent(request),
        put_at: now,
        expires_at: now + seconds(request, "messagettl", 604_800),
        visible_at: now,
        received: 0,
    };
    message.renew(now + seconds(request, "visibilitytimeout", 0));
    let listed = message.listed(true, false);
    queue.push(message);
    xml(
        201,
        &format!("<QueueMessagesList>{listed}</QueueMessagesList>"),
    )
}

/// Peeks, or receives and hides.
fn list(queue: &mut [Message], request: &Request) -> Answer {
    let now = Utc::now();
    let peeks = request.query("peekonly") == Some("true");
    let count = request
        .query("numofmessages")
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    let mut listed = String::new();
    let visible = queue.iter_mut().filter(|message| message.visible_at <= now);
    for message in visible.take(count) {
        if !peeks {
            message.received += 1;
            message.renew(now + seconds(request, "visibilitytimeout", 30));
        }
        listed += &message.listed(!peeks, true);
    }
    xml(
        200,
        &format!("<QueueMessagesList>{listed}</QueueMessagesList>"),
    )
}

/// Deletes or updates one message.
fn change(
    queue: &mut Vec<Message>,
    id: &str,
    deletes: bool,
    request: &Request,
) -> Result<Answer, Refusal> {
    let message = "The specified message does not exist.";
    let mut messages = queue.iter_mut().enumerate();
    let found = messages.find(|(_, message)| message.id == id);
    let (at, found) = found.ok_or((404, "MessageNotFound", message))?;
    if request.query("popreceipt") != Some(&found.receipt) {
        let message =
            "The specified pop receipt did not match the pop receipt for a dequeued message.";
        return Err((400, "PopReceiptMismatch", message));
    }
    if deletes {
        queue.remove(at);
        return Ok(Answer::empty(204));
    }
    found.text = sent(request);
    found.renew(Utc::now() + seconds(request, "visibilitytimeout", 0));
    Ok(Answer::empty(204)
        .with_header("x-ms-popreceipt", &found.receipt)
        .with_header("x-ms-time-next-visible", &stamp(found.visible_at)))
}
