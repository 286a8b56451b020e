//! The laws of the envelope: what the host writes, the handler reads; the fuzz target checks the same ones.

use aiops_rca::functions::envelope as handler;
use aiops_rca::local::host::envelope::{self, CallIds, MessageFacts};
use aiops_rca::local::host::manifest::QueueTrigger;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Any bytes at the handler, and any text through both.
pub(crate) fn assert_lawful(bytes: &[u8]) {
    let _any_answer = handler::queue_text(bytes);
    let text = String::from_utf8_lossy(bytes);
    let now = chrono::DateTime::UNIX_EPOCH;
    let trigger = QueueTrigger {
        binding: "message".to_owned(),
        queue: "failures".to_owned(),
        binary: false,
    };
    let facts = MessageFacts {
        id: None,
        receipt: None,
        dequeue_count: 1,
        inserted_at: now,
        expires_at: now,
        next_visible_at: now,
    };
    let call = CallIds {
        rand_guid: uuid::Uuid::nil(),
        utc_now: now,
    };
    let sent = envelope::queue_text("AnalyseFailure", &trigger, &text, &facts, &call);
    let read = handler::queue_text(sent.as_bytes());
    // An older version left objects in base64.
    let older = BASE64
        .decode(text.trim())
        .ok()
        .filter(|bytes| bytes.trim_ascii_start().starts_with(b"{"));
    if older.is_none() || read.as_ref().map(String::as_bytes) != older.as_deref() {
        assert_eq!(read.as_deref(), Some(&*text), "from {sent}");
    }
}
