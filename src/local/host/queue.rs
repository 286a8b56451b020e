//! Queue triggers: the life of a message between the storage and the handler.
//!
//! As the host has it: a received message is hidden for ten minutes and renewed at half of that; success
//! deletes it, failure makes it visible again after `visibilityTimeout`, and the `maxDequeueCount`th
//! failure moves it to `<queue>-poison`, body unchanged. What cannot be decoded goes there at once, what
//! was seen too often without an end too. A poison queue has no poison queue: what fails there stays
//! hidden and is tried again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use tokio::sync::watch;
use uuid::Uuid;

use super::bare_name;
use super::envelope::{self, CallIds, MessageFacts};
use super::event::{HostEvent, Outcome};
use super::invoke::{self, Core};
use super::manifest::{App, Function, QueueTrigger, Trigger};
use super::{HostError, HostOptions};
use crate::storage::Message;

/// Names of all queues that functions read or write, and of their poison queues, as the storage wants them.
pub(super) fn names_in_storage(app: &App, options: &HostOptions) -> Result<Vec<String>, HostError> {
    let mut names = std::collections::BTreeSet::new();
    for function in app.enabled() {
        let trigger = match &function.trigger {
            Trigger::Queue(trigger) => Some(&trigger.queue),
            _ => None,
        };
        for queue in trigger
            .into_iter()
            .chain(function.outputs.iter().map(|output| &output.queue))
        {
            let bare = bare_name(queue, &options.storage_prefix)
                .map_err(|reason| HostError::function(&function.name, reason))?;
            names.extend(
                poison_name(queue)
                    .and_then(|poison| bare_name(&poison, &options.storage_prefix).ok()),
            );
            names.insert(bare);
        }
    }
    Ok(names.into_iter().collect())
}

/// The queue for messages that cannot be handled, if there can be one.
fn poison_name(queue: &str) -> Option<String> {
    let poison = format!("{queue}-poison");
    (!queue.ends_with("-poison") && poison.len() <= 63).then_some(poison)
}

/// Starts a pump for every queue function.
pub(super) fn pump_all(core: &Arc<Core>) {
    for function in core.app.enabled() {
        if let Trigger::Queue(trigger) = &function.trigger {
            let pump = Pump {
                core: core.clone(),
                function: Arc::new(function.clone()),
                trigger: Arc::new(trigger.clone()),
            };
            tokio::spawn(pump.run());
        }
    }
}

#[derive(Clone)]
struct Pump {
    core: Arc<Core>,
    function: Arc<Function>,
    trigger: Arc<QueueTrigger>,
}

impl Pump {
    /// Fetches the next batch when few enough messages are being worked on; backs off while there is nothing.
    async fn run(self) {
        let options = &self.core.app.host.queues;
        let knobs = &self.core.options.knobs;
        let longest = knobs.poll_max.unwrap_or(options.max_polling_interval);
        let threshold = usize::from(options.new_batch_threshold);
        let working = watch::Sender::new(0_usize);
        let mut free = working.subscribe();
        let mut pause = knobs.poll_min;
        let Ok(queue) = self.core.bare(&self.trigger.queue) else {
            return;
        };
        while !self.core.is_draining() {
            drop(free.wait_for(|working| *working <= threshold).await);
            // Never cut in the middle: a message received and forgotten would be hidden for long.
            let running = self.core.begin();
            let received = self
                .core
                .options
                .storage
                .receive(&queue, options.batch_size, knobs.dequeue_invisibility)
                .await;
            let messages = received.unwrap_or_else(|fault| {
                self.trouble(fault.reason());
                Vec::new()
            });
            if messages.is_empty() {
                drop(running);
                invoke::pause(&self.core, jittered(pause)).await;
                pause = (pause * 2).min(longest);
                continue;
            }
            pause = knobs.poll_min;
            for message in messages {
                working.send_modify(|working| *working += 1);
                let (pump, working, running) = (self.clone(), working.clone(), self.core.begin());
                tokio::spawn(async move {
                    pump.work(message).await;
                    drop(running);
                    working.send_modify(|working| *working -= 1);
                });
            }
        }
    }

    /// One message, from receive to its end.
    async fn work(&self, message: Message) {
        if self.core.is_draining() {
            // Received in the moment of the stop: it reappears by itself, as in Azure; here at once.
            let _gone = self.hide(&message, Duration::ZERO).await;
            return;
        }
        let options = &self.core.app.host.queues;
        let body = if options.base64 {
            BASE64.decode(message.text.trim()).ok()
        } else {
            Some(message.text.clone().into_bytes())
        };
        let Some(body) = body else {
            return self.poison(&message, "the message is not base64").await;
        };
        if message.dequeue_count > options.max_dequeue_count
            && poison_name(&self.trigger.queue).is_some()
        {
            return self
                .poison(&message, "it was received too often without an end")
                .await;
        }
        let detail = format!("{} #{}", self.trigger.queue, message.dequeue_count);
        let call = CallIds {
            rand_guid: Uuid::new_v4(),
            utc_now: Utc::now(),
        };
        let facts = facts(&message);
        let envelope = if self.trigger.binary {
            envelope::queue_bytes(&self.function.name, &self.trigger, &body, &facts, &call)
        } else {
            match std::str::from_utf8(&body) {
                Ok(text) => {
                    envelope::queue_text(&self.function.name, &self.trigger, text, &facts, &call)
                }
                Err(_) => return self.failed(&message, "the message is not UTF-8").await,
            }
        };
        let latest = Mutex::new(message);
        let outcome = tokio::select! {
            outcome = self.core.invoke(&self.function, detail, &envelope) => outcome,
            never = self.renew(&latest) => match never {},
        };
        let message = latest.into_inner().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::Succeeded => self.delete(&message).await,
            Outcome::Failed(reason) => self.failed(&message, &reason).await,
        }
    }

    /// Keeps a message hidden while its function runs.
    async fn renew(&self, latest: &Mutex<Message>) -> std::convert::Infallible {
        let hidden = self.core.options.knobs.dequeue_invisibility;
        loop {
            tokio::time::sleep(hidden / 2).await;
            let message = latest
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if let Some(receipt) = self.hide(&message, hidden).await {
                latest
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .receipt = receipt;
            }
        }
    }

    async fn failed(&self, message: &Message, reason: &str) {
        let options = &self.core.app.host.queues;
        if poison_name(&self.trigger.queue).is_none() {
            self.stuck(message, reason);
        } else if message.dequeue_count >= options.max_dequeue_count {
            self.poison(message, reason).await;
        } else {
            let away = self
                .core
                .options
                .knobs
                .visibility_timeout
                .unwrap_or(options.visibility_timeout);
            let _expired = self.hide(message, away).await;
        }
    }

    /// Copies the body as it is, then deletes the message: a crash in between makes two of it, never none.
    async fn poison(&self, message: &Message, why: &str) {
        let Some(poison) = poison_name(&self.trigger.queue) else {
            return self.stuck(message, why);
        };
        let Ok(queue) = self.core.bare(&poison) else {
            return;
        };
        if let Err(fault) = self
            .core
            .options
            .storage
            .put(&queue, &message.text, Duration::ZERO)
            .await
        {
            return self.trouble(fault.reason());
        }
        self.delete(message).await;
        self.core.events.push(HostEvent::Poisoned {
            function: self.function.name.clone(),
            queue: poison,
            message: message.id.clone(),
            why: why.to_owned(),
        });
    }

    async fn delete(&self, message: &Message) {
        let Ok(queue) = self.core.bare(&self.trigger.queue) else {
            return;
        };
        match self
            .core
            .options
            .storage
            .delete_message(&queue, message)
            .await
        {
            Ok(true) => {}
            Ok(false) => self.trouble("a finished message had become visible again: it runs twice"),
            Err(fault) => self.trouble(fault.reason()),
        }
    }

    async fn hide(&self, message: &Message, hidden: Duration) -> Option<String> {
        let queue = self.core.bare(&self.trigger.queue).ok()?;
        match self
            .core
            .options
            .storage
            .hide_message(&queue, message, hidden)
            .await
        {
            Ok(receipt) => receipt,
            Err(fault) => {
                self.trouble(fault.reason());
                None
            }
        }
    }

    fn stuck(&self, message: &Message, why: &str) {
        self.core.events.push(HostEvent::Stuck {
            function: self.function.name.clone(),
            message: message.id.clone(),
            why: why.to_owned(),
        });
    }

    fn trouble(&self, why: &str) {
        self.core.events.push(HostEvent::StoreTrouble {
            queue: self.trigger.queue.clone(),
            why: why.to_owned(),
        });
    }
}

fn facts(message: &Message) -> MessageFacts {
    MessageFacts {
        id: Some(message.id.clone()),
        receipt: Some(message.receipt.clone()),
        dequeue_count: message.dequeue_count,
        inserted_at: message.inserted_at,
        expires_at: message.expires_at,
        next_visible_at: message.next_visible_at,
    }
}

/// What the admin endpoint's calls know: no message, so no id and no receipt.
pub(super) fn facts_of_admin_call(now: DateTime<Utc>) -> MessageFacts {
    let never = DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    MessageFacts {
        id: None,
        receipt: None,
        dequeue_count: 0,
        inserted_at: now,
        expires_at: never,
        next_visible_at: never,
    }
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.8 + 0.4 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storages_prefix_is_taken_off() {
        assert_eq!(bare_name("rca-failures", "rca").unwrap(), "failures");
        assert_eq!(bare_name("dev-failures", "Dev").unwrap(), "failures");
        assert_eq!(bare_name("failures", "").unwrap(), "failures");
        assert!(bare_name("rcafailures", "rca").is_err());
    }

    #[test]
    fn poison_queues_and_long_names_have_no_poison_queue() {
        assert_eq!(
            poison_name("rca-failures").as_deref(),
            Some("rca-failures-poison")
        );
        assert_eq!(poison_name("rca-failures-poison"), None);
        assert_eq!(poison_name(&"a".repeat(57)), None);
    }
}
