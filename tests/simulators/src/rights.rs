//! Which call needs which right, and who holds what.
//!
//! A vendor's table names the calls that a simulator answers, each with the rights that the vendor asks for. A
//! simulator that knows an identity ([`Rights`]) looks a request up and refuses it, in the vendor's words, for the
//! first right that its bearer token does not hold. Without any identity everything is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::{Request, lock};

/// One call, and what the vendor wants to see before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Upper case.
    pub method: &'static str,
    /// The path below the resource; `*` is any one piece, letter case does not count.
    pub path: &'static str,
    /// All of them.
    pub needs: &'static [&'static str],
}

impl Call {
    /// Is this the call?
    pub fn is(&self, method: &str, pieces: &[&str]) -> bool {
        let ours = self.path.split('/').filter(|piece| !piece.is_empty());
        let ours: Vec<&str> = ours.collect();
        self.method == method
            && ours.len() == pieces.len()
            && ours
                .iter()
                .zip(pieces)
                .all(|(ours, theirs)| *ours == "*" || ours.eq_ignore_ascii_case(theirs))
    }

    /// The call of `table` that this is.
    pub fn find(table: &'static [Self], method: &str, pieces: &[&str]) -> Option<&'static Self> {
        table.iter().find(|call| call.is(method, pieces))
    }
}

/// Bearer tokens and what each may do.
#[derive(Debug, Default)]
pub struct Rights(Mutex<BTreeMap<String, BTreeSet<String>>>);

impl Rights {
    /// From now on this token is known and may do this much, and no more.
    pub fn grant(&self, token: &str, rights: &[&str]) {
        let rights = rights.iter().map(|right| (*right).to_owned()).collect();
        lock(&self.0).insert(format!("Bearer {token}"), rights);
    }

    /// Has this token been granted anything?
    pub fn knows(&self, request: &Request) -> bool {
        request
            .header("authorization")
            .is_some_and(|bearer| lock(&self.0).contains_key(bearer))
    }

    /// Does the request's token hold this right?
    pub fn holds(&self, request: &Request, right: &str) -> bool {
        let held = lock(&self.0);
        let held = request.header("authorization").and_then(|it| held.get(it));
        held.is_some_and(|held| held.contains(right))
    }

    /// The first right that the call needs and the request's token does not hold.
    pub fn missing(&self, request: &Request, call: &Call) -> Option<&'static str> {
        let held = lock(&self.0);
        let held = held.get(request.header("authorization")?)?;
        let mut needs = call.needs.iter();
        needs.find(|right| !held.contains(**right)).copied()
    }
}
