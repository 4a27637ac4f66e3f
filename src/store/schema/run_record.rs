//! What a run did, as it is stored with its job.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::model::{FailureClass, UnixTime};

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// The time at which the run checked what is due, UTC seconds.
    pub now: UnixTime,
    /// The batch, `id/count`.
    pub batch: String,
    /// How many connections were due.
    pub due: u64,
    /// How many were polled.
    pub polled: u64,
    /// How many of these succeeded.
    pub ok: u64,
    /// How many failed, and had the failure counted.
    pub failed: u64,
    /// How many asked to be deferred.
    pub deferred: u64,
    /// How many outcomes were not recorded.
    ///
    /// Then the connection was changed during its poll, the network of this machine was down, or a listener program did
    /// not work.
    pub dropped: u64,
    /// How many were given up by this run.
    pub given_up: u64,
    /// Failures by the number of their class.
    pub failures: Vec<(u8, u64)>,
    /// Wall time of the run until its last session, milliseconds.
    pub elapsed_ms: u64,
    /// Whether it ended because this machine's network was down.
    pub outage: bool,
}

impl RunRecord {
    /// Failures by class. Numbers of classes that this program does not know are left out.
    pub fn failures(&self) -> impl Iterator<Item = (FailureClass, u64)> {
        self.failures.iter().filter_map(|(class, count)| Some((FailureClass::from_number(*class)?, *count)))
    }

    /// Since when all runs have ended in an outage, up to this one.
    ///
    /// `since` is the same up to the run before.
    ///
    /// `None` means that this run reached the network. A run that polled nothing does not show whether it works.
    #[must_use]
    pub fn outage_since(&self, since: Option<UnixTime>) -> Option<UnixTime> {
        if self.outage {
            return since.or(Some(self.now));
        }
        if self.polled == 0 { since } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_until_a_run_reaches_the_network() {
        let run = |now, polled, outage| RunRecord { now, polled, outage, ..RunRecord::default() };
        assert_eq!(run(100, 3, true).outage_since(None), Some(100));
        assert_eq!(run(200, 3, true).outage_since(Some(100)), Some(100));
        assert_eq!(run(300, 0, true).outage_since(Some(100)), Some(100));
        assert_eq!(run(300, 0, false).outage_since(Some(100)), Some(100), "nothing was polled");
        assert_eq!(run(300, 0, false).outage_since(None), None);
        assert_eq!(run(300, 1, false).outage_since(Some(100)), None);
    }
}
