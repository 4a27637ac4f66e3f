//! What a run does about notifications: see [`crate::notify`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tracing::warn;

use super::context::Context;
use super::error::Report;
use super::error::notify::{delivery_text, given_up_text};
use crate::notify::{AfterRun, Channel, DeliveryError, Message, Notifier, Sender};
use crate::run::{PollRun, Signals, Summary, active_runs};
use crate::store::Store;

/// Notifies after a run. A failure does not fail the run.
pub(super) struct Notifying<'a> {
    context: &'a Context,
    store: Store,
    plan: &'a PollRun,
    signals: &'a Signals,
}

impl<'a> Notifying<'a> {
    /// Prepares channels that are new, before the run changes anything.
    pub(super) fn begin(context: &'a Context, store: &Store, plan: &'a PollRun, signals: &'a Signals) -> Self {
        let notifying = Self { context, store: store.clone().with_cancel(signals.stop_flag()), plan, signals };
        if let Some(Err(error)) = notifying.notifier().map(|notifier| notifier.begin()) {
            warn!("notifications cannot be prepared: {}", Report::from(error));
        }
        notifying
    }

    /// The notifier; `None` if no channel is configured, and after a poll by hand.
    fn notifier(&self) -> Option<Notifier<'_>> {
        Notifier::new(self.context.config.notify.as_ref(), &self.store).filter(|_| self.plan.only.is_none())
    }

    /// Sends what is due. Without a channel, warns of sites that were given up where no summary is printed.
    pub(super) fn finish(&self, summary: &Summary) {
        let Self { context, store, plan, signals } = self;
        let Some(notifier) = self.notifier() else {
            if summary.run.given_up > 0 && plan.only.is_none() && !context.shows_notices() {
                warn!("{}", given_up_text(summary));
            }
            return;
        };
        if signals.stop_code().is_some() {
            return;
        }
        let run = AfterRun {
            now: plan.now,
            is_active: &|(app_id, job)| !active_runs(store, app_id, job).is_empty(),
            send: &|channel, message| send(context, signals.stop_flag(), channel, message),
        };
        match notifier.finish(&run) {
            Ok(failed) => failed.into_iter().for_each(|(channel, error)| warn!("{}", delivery_text(channel, error))),
            Err(_) if signals.stop_code().is_some() => {}
            Err(error) => warn!("notifications are left to the next run: {}", Report::from(error)),
        }
    }
}

/// Sends a message over a channel of the configuration.
///
/// # Errors
/// The channel did not accept it.
pub(super) fn send(
    context: &Context,
    stop: Arc<AtomicBool>,
    channel: Channel,
    message: &Message,
) -> Result<(), DeliveryError> {
    let Some(table) = &context.config.notify else { return Ok(()) };
    let dir = context.config.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let client = || context.client_for_own_urls();
    Sender { table, dir, client: &client, stop }.send(channel, message)
}
