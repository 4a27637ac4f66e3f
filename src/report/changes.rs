//! What changed for the sites of each job lately.

use std::collections::HashMap;

use crate::model::{AppId, Condition, JobName, Transition, UnixTime, was_recorded};
use crate::store::{CxnHash, Entry, Error, Frame, History, Result};

/// How many sites of a job are in another condition than before.
///
/// A site is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sites that fail, and did not before.
    pub failing: u64,
    /// Sites that were given up.
    pub given_up: u64,
    /// Sites that failed, and do not any more.
    pub recovered: u64,
    /// Sites that failed meanwhile, and neither before nor now.
    pub failed_meanwhile: u64,
}

/// A site, by its transitions.
struct Site {
    /// Before the first transition.
    first: Condition,
    /// Before the last transition.
    before: Condition,
    /// After it.
    now: Condition,
    has_failed: bool,
}

impl Changes {
    fn add(&mut self, site: &Site) {
        let Site { first, now, has_failed, .. } = site;
        match (first.is_down(), now) {
            // It was removed.
            (_, Condition::New) => {}
            (_, Condition::GivenUp) if *first != Condition::GivenUp => self.given_up += 1,
            (false, now) if now.is_down() => self.failing += 1,
            (false, _) if *has_failed => self.failed_meanwhile += 1,
            (true, Condition::Up) => self.recovered += 1,
            _ => {}
        }
    }
}

impl Site {
    fn new(from: Condition) -> Self {
        Self { first: from, before: from, now: from, has_failed: false }
    }

    /// Takes the next transition, which shows whether the store recorded the one before.
    fn add(&mut self, Transition { from, to, .. }: Transition) {
        if !was_recorded(&self.before.is_up(), &self.now.is_up(), &from.is_up()) {
            self.now = self.before;
        } else if self.now == Condition::New {
            // It was removed, and added again.
            *self = Self::new(Condition::New);
        }
        (self.before, self.now) = (self.now, to);
        self.has_failed |= to.is_down();
    }
}

/// What changed after `since`, until `to`, by app and job. A job without changes is left out, as are removed connections.
///
/// The last transition of a site counts although a killed process may not have recorded it.
///
/// # Errors
/// History cannot be read.
pub fn changes(history: &History, since: UnixTime, to: UnixTime) -> Result<HashMap<(AppId, JobName), Changes>> {
    let mut jobs: HashMap<(AppId, JobName), HashMap<CxnHash, Site>> = HashMap::new();
    history.scan(since, |Frame { job, entries, .. }| {
        for entry in &entries {
            match (&job, entry) {
                (Some(job), Entry::Transition(site)) if site.transition.at > since && site.transition.at <= to => {
                    let sites = jobs.entry(job.clone()).or_default();
                    sites.entry(site.cxn).or_insert_with(|| Site::new(site.transition.from)).add(site.transition);
                }
                // Only former programs remove a connection without a transition.
                (_, Entry::Admin(admin)) if admin.removes() => {
                    let removed = admin.cxns.iter().filter_map(|cxn_id| cxn_id.parse().ok());
                    for cxn in removed.map(|cxn_id| CxnHash::from(&cxn_id)) {
                        for sites in jobs.values_mut() {
                            if sites.get(&cxn).is_some_and(|site| site.now != Condition::New) {
                                sites.remove(&cxn);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Ok::<_, Error>(())
    })?;
    let counted = jobs.into_iter().map(|(job, sites)| {
        let mut changes = Changes::default();
        for site in sites.values() {
            changes.add(site);
        }
        (job, changes)
    });
    Ok(counted.filter(|(_, changes)| *changes != Changes::default()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Condition::{Failing, GivenUp, New, Up};

    fn counted(transitions: &[(Condition, Condition)]) -> [u64; 4] {
        let mut site = Site::new(transitions[0].0);
        for (from, to) in transitions {
            site.add(Transition { at: 0, from: *from, to: *to, class: None, unknown_from: None });
        }
        let mut changes = Changes::default();
        changes.add(&site);
        [changes.failing, changes.given_up, changes.recovered, changes.failed_meanwhile]
    }

    #[test]
    fn a_site_counts_by_what_it_was_before_and_is_now() {
        for (transitions, expected) in [
            (&[(Up, Failing)][..], [1, 0, 0, 0]),
            (&[(New, Failing)], [1, 0, 0, 0]),
            (&[(Failing, Up)], [0, 0, 1, 0]),
            (&[(GivenUp, Up)], [0, 0, 1, 0]),
            (&[(Failing, GivenUp)], [0, 1, 0, 0]),
            (&[(Up, Failing), (Failing, GivenUp)], [0, 1, 0, 0]),
            (&[(Up, Failing), (Failing, Up)], [0, 0, 0, 1]),
            (&[(Failing, Up), (Up, Failing)], [0, 0, 0, 0]),
            (&[(New, Up)], [0, 0, 0, 0]),
            (&[(Up, Up)], [0, 0, 0, 0]),
            (&[(GivenUp, GivenUp)], [0, 0, 0, 0]),
            (&[(Failing, New)], [0, 0, 0, 0]),
            (&[(Up, Failing), (Failing, New)], [0, 0, 0, 0]),
            (&[(Failing, New), (New, Up)], [0, 0, 0, 0]),
            (&[(Up, Failing), (Failing, New), (New, Up)], [0, 0, 0, 0]),
            (&[(Failing, New), (New, Failing)], [1, 0, 0, 0]),
            (&[(Failing, New), (New, GivenUp)], [0, 1, 0, 0]),
        ] {
            assert_eq!(counted(transitions), expected, "{transitions:?}");
        }
    }

    #[test]
    fn a_transition_that_was_never_recorded_does_not_count() {
        assert_eq!(counted(&[(Failing, Up), (Failing, GivenUp)]), [0, 1, 0, 0]);
        assert_eq!(counted(&[(Failing, Up), (Failing, Up)]), [0, 0, 1, 0]);
        assert_eq!(counted(&[(Failing, New), (Failing, Up)]), [0, 0, 1, 0]);
        assert_eq!(counted(&[(Up, New), (Up, Failing)]), [1, 0, 0, 0]);
        assert_eq!(counted(&[(Up, Failing), (Failing, New), (Failing, Up)]), [0, 0, 0, 1]);
    }
}
