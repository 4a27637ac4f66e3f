//! Whether a run keeps up with its sites.

use std::time::Duration;

use super::RunState;
use crate::model::Lateness;
use crate::run::backlog::{Behind, Ran};
use crate::run::event::Effect;
use crate::run::update::Warning;

impl RunState {
    /// Takes the lateness of the polls, and whether the run kept up. One that ends for another reason shows neither.
    pub(super) fn check_backlog(&mut self, at: Duration, effects: &mut Vec<Effect>) {
        self.summary.run.lateness_s = Lateness::of(&self.summary.lateness_s);
        let is_cut_short = self.ends_for_outage || self.must_stop || self.summary.interrupted.is_some();
        let has_failed = self.error.is_some() || self.recorder_panic.is_some();
        if let Some(pace) = self.rules.pace.as_ref().filter(|_| !is_cut_short && !has_failed) {
            let ran = Ran {
                polled: self.summary.run.polled,
                // Polls that still hang after the grace period have not ended either.
                left: self.left_for_time.map_or(0, |left| (left + self.outstanding) as u64),
                elapsed: at,
                busy: self.summary.durations.iter().map(|ms| Duration::from_millis((*ms).into())).sum(),
                workers: self.summary.threads,
                lateness_s: self.summary.run.lateness_s,
            };
            let backlog = pace.backlog(&ran);
            let reports = self.behind.update(self.rules.now, backlog.is_none());
            effects.extend(backlog.filter(|_| reports).map(|backlog| Effect::Warn(Warning::CannotKeepUp(backlog))));
        }
        self.summary.run.behind_since = self.behind.since;
    }

    /// Since when the runs of the batch cannot keep up, and when that was reported.
    pub(in crate::run) fn behind(&self) -> Behind {
        self.behind
    }
}
