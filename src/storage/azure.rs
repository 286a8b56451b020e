//! Azure Storage (being built).

use std::time::Duration;

use super::{Continuation, ETag, Entity, Inserted, Message, Page, Swapped};
use crate::fault::Fault;

/// Azure Storage.
#[derive(Debug, Clone)]
pub struct AzureStorage;

fn nothing() -> Fault {
    Fault::permanent("not built yet")
}

impl AzureStorage {
    pub(super) async fn prepare(&self, _tables: &[&str], _queues: &[&str]) -> Result<(), Fault> {
        Err(nothing())
    }
    pub(super) async fn insert(&self, _table: &str, _partition: &str, _row: &str, _document: &str) -> Result<Inserted, Fault> {
        Err(nothing())
    }
    pub(super) async fn get(&self, _table: &str, _partition: &str, _row: &str) -> Result<Option<Entity>, Fault> {
        Err(nothing())
    }
    pub(super) async fn swap(
        &self,
        _table: &str,
        _partition: &str,
        _row: &str,
        _etag: &ETag,
        _document: &str,
    ) -> Result<Swapped, Fault> {
        Err(nothing())
    }
    pub(super) async fn upsert(&self, _table: &str, _partition: &str, _row: &str, _document: &str) -> Result<(), Fault> {
        Err(nothing())
    }
    pub(super) async fn delete(&self, _table: &str, _partition: &str, _row: &str, _etag: Option<&ETag>) -> Result<bool, Fault> {
        Err(nothing())
    }
    pub(super) async fn scan(
        &self,
        _table: &str,
        _partition: &str,
        _from: &str,
        _to: &str,
        _limit: u32,
        _after: Option<&Continuation>,
    ) -> Result<Page, Fault> {
        Err(nothing())
    }
    pub(super) async fn put(&self, _queue: &str, _text: &str, _delay: Duration) -> Result<(), Fault> {
        Err(nothing())
    }
    pub(super) async fn put_raw(&self, _queue: &str, _text: &str) -> Result<(), Fault> {
        Err(nothing())
    }
    pub(super) async fn receive(&self, _queue: &str, _count: u8, _hidden: Duration) -> Result<Vec<Message>, Fault> {
        Err(nothing())
    }
    pub(super) async fn delete_message(&self, _queue: &str, _message: &Message) -> Result<bool, Fault> {
        Err(nothing())
    }
    pub(super) async fn hide_message(
        &self,
        _queue: &str,
        _message: &Message,
        _hidden: Duration,
    ) -> Result<Option<String>, Fault> {
        Err(nothing())
    }
    pub(super) async fn depth(&self, _queue: &str) -> Result<u64, Fault> {
        Err(nothing())
    }
}
