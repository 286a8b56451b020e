//! Queues.

use std::time::Duration;

use azure_core::error::ErrorKind;
use azure_storage_queues::{PopReceipt, QueueClient};
use chrono::{DateTime, Utc};

use super::AzureStorage;
use super::attempts::{NOT_FOUND, attempts, fault, refusal};
use crate::fault::Fault;
use crate::storage::Message;
use crate::storage::limits::{TIME_TO_LIVE, check_message, whole_seconds};

pub(super) const QUEUES: &str = "Queue Storage";

impl AzureStorage {
    pub(in crate::storage) async fn put(
        &self,
        queue: &str,
        text: &str,
        delay: Duration,
    ) -> Result<(), Fault> {
        check_message(text)?;
        self.authenticate().await?;
        let queue = &self.queue(queue)?;
        attempts(QUEUES, |_| async move {
            let put = queue
                .put_message(text)
                .visibility_timeout(whole_seconds(delay))
                .ttl(TIME_TO_LIVE);
            put.await.map(|_| ()).map_err(|error| fault(QUEUES, &error))
        })
        .await
    }

    pub(in crate::storage) async fn receive(
        &self,
        queue: &str,
        count: u8,
        hidden: Duration,
    ) -> Result<Vec<Message>, Fault> {
        self.authenticate().await?;
        let queue = &self.queue(queue)?;
        let hidden = whole_seconds(hidden).max(Duration::from_secs(1));
        let received = attempts(QUEUES, |_| async move {
            let get = queue
                .get_messages()
                .number_of_messages(count.clamp(1, 32))
                .visibility_timeout(hidden);
            get.await.map_err(|error| fault(QUEUES, &error))
        })
        .await?;
        let message = |message: azure_storage_queues::operations::Message| Message {
            id: message.message_id,
            receipt: message.pop_receipt,
            text: message.message_text,
            dequeue_count: u32::try_from(message.dequeue_count).unwrap_or(u32::MAX),
            inserted_at: utc(message.insertion_time),
            expires_at: utc(message.expiration_time),
            next_visible_at: utc(message.time_next_visible),
        };
        Ok(received.messages.into_iter().map(message).collect())
    }

    pub(in crate::storage) async fn delete_message(
        &self,
        queue: &str,
        message: &Message,
    ) -> Result<bool, Fault> {
        self.authenticate().await?;
        let queue = &self.queue(queue)?;
        attempts(QUEUES, |again| async move {
            let receipt = PopReceipt::new(message.id.clone(), message.receipt.clone());
            let Err(error) = queue.pop_receipt_client(receipt).delete().await else {
                return Ok(true);
            };
            if is_gone(&error) {
                Ok(again)
            } else {
                lost_receipt(&error).map(|()| false)
            }
        })
        .await
    }

    pub(in crate::storage) async fn hide_message(
        &self,
        queue: &str,
        message: &Message,
        hidden: Duration,
    ) -> Result<Option<String>, Fault> {
        self.authenticate().await?;
        let queue = &self.queue(queue)?;
        attempts(QUEUES, |_| async move {
            let receipt = PopReceipt::new(message.id.clone(), message.receipt.clone());
            let update = queue
                .pop_receipt_client(receipt)
                .update(message.text.clone(), whole_seconds(hidden));
            match update.await {
                Ok(updated) => Ok(Some(updated.pop_receipt)),
                Err(error) if is_gone(&error) => Ok(None),
                Err(error) => lost_receipt(&error).map(|()| None),
            }
        })
        .await
    }

    pub(in crate::storage) async fn depth(&self, queue: &str) -> Result<u64, Fault> {
        self.authenticate().await?;
        let queue = &self.queue(queue)?;
        let metadata = attempts(QUEUES, |_| async move {
            queue
                .get_metadata()
                .await
                .map_err(|error| fault(QUEUES, &error))
        })
        .await?;
        Ok(metadata.approximate_messages_count as u64)
    }

    pub(in crate::storage) async fn oldest_waiting(
        &self,
        queue: &str,
    ) -> Result<Option<DateTime<Utc>>, Fault> {
        self.authenticate().await?;
        let queue = &self.queue(queue)?;
        let peeked = attempts(QUEUES, |_| async move {
            let peek = queue.peek_messages().number_of_messages(32);
            peek.await.map_err(|error| fault(QUEUES, &error))
        })
        .await?;
        let inserted = peeked.messages.into_iter();
        Ok(inserted.map(|message| utc(message.insertion_time)).min())
    }

    pub(super) fn queue(&self, bare: &str) -> Result<QueueClient, Fault> {
        Ok(self.queues.queue_client(self.prefix.queue(bare)?))
    }
}

fn is_gone(error: &azure_core::Error) -> bool {
    refusal(error) == Some((NOT_FOUND, "MessageNotFound"))
}

/// `Ok` when the receipt is no longer valid; any other error is a fault.
fn lost_receipt(error: &azure_core::Error) -> Result<(), Fault> {
    match refusal(error) {
        Some((400, "PopReceiptMismatch" | "InvalidQueryParameterValue")) => Ok(()),
        _ if *error.kind() == ErrorKind::DataConversion => Err(Fault::permanent(
            "Queue Storage answered something we cannot read",
        )),
        _ => Err(fault(QUEUES, error)),
    }
}

fn utc(time: time::OffsetDateTime) -> DateTime<Utc> {
    DateTime::from_timestamp(time.unix_timestamp(), time.nanosecond()).unwrap_or_default()
}
