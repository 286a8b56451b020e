//! Timer triggers: when they run, what they learn about their earlier runs.
//!
//! As the host has it: at start a monitored timer that missed its time runs at once with `IsPastDue`,
//! else `runOnStartup` may; then the schedule. Runs never overlap; a failed run is only reported. The
//! status of a monitored timer lives in a file of the state directory (in Azure: a blob), so a restart
//! of the host knows what was missed.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::envelope::{self, CallIds, ScheduleStatus};
use super::invoke::{self, Core};
use super::manifest::{Function, TimerTrigger, Trigger};

/// Starts every timer.
pub(super) fn run_all(core: &Arc<Core>) {
    for function in core.app.enabled() {
        if let Trigger::Timer(trigger) = &function.trigger {
            let timer = Timer {
                core: core.clone(),
                function: function.clone(),
                trigger: trigger.clone(),
                status: None,
            };
            tokio::spawn(timer.run());
        }
    }
}

struct Timer {
    core: Arc<Core>,
    function: Function,
    trigger: TimerTrigger,
    status: Option<ScheduleStatus>,
}

impl Timer {
    async fn run(mut self) {
        let now = Utc::now();
        let stored = self.stored();
        let past_due = stored.is_some_and(|status| status.next < now);
        self.status = stored.or_else(|| first_status(&self.trigger, now));
        if past_due || self.trigger.run_on_startup {
            self.tick(now, past_due).await;
        }
        let mut after = Utc::now();
        while let Some(next) = self.trigger.schedule.next_after(after) {
            let pause = (next - Utc::now()).to_std().unwrap_or_default();
            invoke::pause(&self.core, pause).await;
            if self.core.is_draining() {
                return;
            }
            self.tick(next, false).await;
            // Times that passed while it ran are skipped.
            after = Utc::now().max(next);
        }
    }

    async fn tick(&mut self, planned: DateTime<Utc>, past_due: bool) {
        // The next run gets the actual time, not the planned one.
        let began = Utc::now();
        let envelope = envelope_of(
            &self.function,
            &self.trigger,
            self.status.as_ref(),
            past_due,
        );
        let detail = if past_due {
            "timer, past due".to_owned()
        } else {
            "timer".to_owned()
        };
        self.core.invoke(&self.function, detail, &envelope).await;
        if !self.trigger.use_monitor {
            return;
        }
        if let Some(next) = self.trigger.schedule.next_after(planned) {
            self.status = Some(ScheduleStatus {
                last: Some(began),
                next,
                last_updated: Some(began),
            });
            self.store();
        }
    }

    fn file(&self) -> Option<PathBuf> {
        let folder = self.core.options.state_directory.as_ref()?;
        self.trigger
            .use_monitor
            .then(|| folder.join(format!("timer-{}.json", self.function.name)))
    }

    fn stored(&self) -> Option<ScheduleStatus> {
        serde_json::from_slice(&std::fs::read(self.file()?).ok()?).ok()
    }

    /// A status that cannot be written only means that a missed run is not noticed.
    fn store(&self) {
        let (Some(file), Some(status)) = (self.file(), &self.status) else {
            return;
        };
        if let (Some(folder), Ok(text)) = (file.parent(), serde_json::to_string(status)) {
            let _best_effort =
                std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, text));
        }
    }
}

fn first_status(trigger: &TimerTrigger, now: DateTime<Utc>) -> Option<ScheduleStatus> {
    let next = trigger
        .schedule
        .next_after(now)
        .filter(|_| trigger.use_monitor)?;
    Some(ScheduleStatus {
        last: None,
        next,
        last_updated: None,
    })
}

fn envelope_of(
    function: &Function,
    trigger: &TimerTrigger,
    status: Option<&ScheduleStatus>,
    past_due: bool,
) -> String {
    let call = CallIds {
        rand_guid: Uuid::new_v4(),
        utc_now: Utc::now(),
    };
    envelope::timer(&function.name, trigger, status, past_due, &call)
}

/// A call from the admin endpoint.
pub(super) fn admin_envelope(function: &Function, trigger: &TimerTrigger) -> String {
    envelope_of(
        function,
        trigger,
        first_status(trigger, Utc::now()).as_ref(),
        false,
    )
}
