//! What a platform says about who owns an asset: asked once for each asset and kept for a while.
//!
//! It is asked beside the evidence and never held against it: without an answer the asset is owned by whom a rule names,
//! or by nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::values::Said;
use crate::failure::{Failure, field};

/// How long an answer holds.
const KEPT: TimeDelta = TimeDelta::minutes(30);
/// Assets that are remembered.
const MOST: usize = 2000;

/// When something was said, and what.
type Kept = (DateTime<Utc>, Said);

/// What platforms said lately, by asset.
#[derive(Debug, Clone, Default)]
pub struct Owners(Arc<Mutex<BTreeMap<String, Kept>>>);

impl Owners {
    pub(super) fn known(&self, key: &str, now: DateTime<Utc>) -> Option<Said> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, said) = known.get(key)?;
        (now - *at < KEPT).then(|| said.clone())
    }

    pub(super) fn keep(&self, key: String, said: Said, now: DateTime<Utc>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, (now, said));
    }
}

/// Whose asset it is.
pub(super) fn key(scope: &str, failure: &Failure) -> String {
    let name = failure.field(field::JOB_ID).unwrap_or(&failure.asset);
    format!("{scope}\n{name}")
}
