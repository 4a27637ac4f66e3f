//! What the end of a poll leads to.

use std::sync::Arc;

use super::{Completed, RunState};
use crate::model::{Condition, Outcome, host};
use crate::run::Error;
use crate::run::event::Effect;
use crate::run::message::PollResult;
use crate::run::outage::{Conclusion, Observation, Poll, network_hash};
use crate::store::{CxnHash, Moved, RunOutage, SiteTransition, StatusUpdate};
use crate::util::text::sanitize;

/// How many of the sites that a run gives up are named.
const MAX_NAMED_SITES: usize = 3;

impl RunState {
    /// Applies a poll that ended.
    ///
    /// Failures that may be our own fault wait to be counted. A failure of a poll that overlaps a pause is not counted.
    pub(super) fn add_result(&mut self, result: PollResult, effects: &mut Vec<Effect>) {
        if !self.counts_polls() {
            return;
        }
        self.outstanding -= 1;
        let paused = self.pauses.within(result.began, result.ended);
        if paused.is_some() && may_be_of_pause(&result.outcome) {
            self.summary.run.polled += 1;
            self.summary.run.dropped += 1;
            self.paused += 1;
            self.watch_host(&result, None, effects);
            return;
        }
        self.watch_host(&result, result.outcome.as_ref().ok(), effects);
        let duration_ms = result.duration_ms(paused.unwrap_or_default());
        let PollResult { task, addresses, outcome, result, redirect, trace, began, .. } = result;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.summary.run.dropped += 1;
                self.error.get_or_insert(error);
                return;
            }
        };
        self.summary.run.polled += 1;
        self.add_results(result);
        self.summary.durations.push(duration_ms);
        if !self.rules.by_hand {
            self.summary.add_lateness(&task, began);
        }
        let address = trace.address.or(addresses.first().copied());
        let network = trace.address.map(|address| network_hash(self.rules.host_key, address));
        let site = if outcome.is_err() { host(&task.cxn.site_url.to_string(), None) } else { String::new() };
        let poll =
            Poll { before: &task.status, host: task.host, site: &site, network, began, outcome: &outcome, trace };
        let seen = Observation::new(&poll);
        let completed =
            Completed { task: Arc::unwrap_or_clone(task), outcome, duration_ms, network, address, redirect };
        for completed in self.detector.observe(seen, completed) {
            self.count(completed, effects);
        }
    }

    /// Decides on failures that may be our own fault.
    pub(super) fn conclude(&mut self, effects: &mut Vec<Effect>) {
        let Conclusion { outage, counted } = self.detector.conclude();
        for completed in counted {
            self.count(completed, effects);
        }
        if let Some(outage) = outage {
            self.summary.run.dropped += outage.uncounted;
            self.summary.run.outage = outage.ends_run;
            self.summary.run.outage_cause = Some(outage.fault);
            effects.push(Effect::ReportOutage(outage));
        }
    }

    /// Counts an outcome: works out the next state of the connection.
    fn count(&mut self, completed: Completed, effects: &mut Vec<Effect>) {
        let Completed { task, outcome, duration_ms, network, address, redirect } = completed;
        let mut next = task.status.clone();
        self.rules.policy.apply(&mut next, self.rules.now, &outcome);
        if let Some(last) = next.attempts.last_mut() {
            last.duration_ms = duration_ms;
        }
        if let Some(spread) = &mut self.spread {
            spread.place(&mut next);
        }
        if outcome.is_ok() {
            next.network = network.or(next.network);
        }
        next.redirect = redirect.as_ref().filter(|redirect| redirect.adopted.is_none()).map(|redirect| redirect.seen);
        let outages: Vec<_> = RunOutage::times_for(&self.rules.outages, task.locator.batch_code).collect();
        let transition = self.rules.policy.transition(&task.status, &next, &outages);
        let cxn = || CxnHash::from(&task.cxn.cxn_id);
        let transition = transition.map(|transition| SiteTransition { cxn: cxn(), host: address, transition });
        if transition.is_some_and(|of_site| of_site.transition.to == Condition::GivenUp)
            && self.summary.given_up_sites.len() < MAX_NAMED_SITES
        {
            self.summary.given_up_sites.push(sanitize(&task.cxn.site_url.without_query()));
        }
        self.summary.count(&outcome, &next);
        if self.rules.by_hand {
            effects.push(Effect::ReportByHand(outcome, next.clone()));
        }
        let moved = redirect.and_then(|redirect| {
            Some(Box::new(Moved { cxn_id: task.cxn.cxn_id, from: task.cxn.site_url, to: redirect.adopted? }))
        });
        self.updates.push(StatusUpdate { locator: task.locator, expected: task.status, next, transition, moved });
    }
}

/// Whether a poll may have ended so because the process did not run for a while.
///
/// A site whose reply was not read in time may answer anything. Only a deferral is certainly the site's own.
fn may_be_of_pause(outcome: &Result<Outcome, Error>) -> bool {
    match outcome {
        Ok(Ok(())) => false,
        Ok(Err(failure)) => failure.retry_after.is_none(),
        Err(error) => error.is_program_timeout(),
    }
}
