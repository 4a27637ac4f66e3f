//! What a run reports while it is active.

use std::time::Duration;

use super::backlog::Backlog;
use super::outage::Outage;
use super::{Queue, Summary};
use crate::model::UnixTime;
use crate::store;

/// The target of log messages that go to the log file only.
pub const FILE_ONLY: &str = "cxnpoll::file";

/// A report of an active run.
#[derive(Debug)]
pub enum Update<'a> {
    /// Polling begins.
    Started {
        /// How many connections are due.
        due: usize,
    },
    /// Polling continues.
    Polling {
        /// The figures so far.
        summary: &'a Summary,
        /// The queue, for the polls in flight.
        queue: &'a Queue,
    },
    /// No new poll starts.
    Stopping {
        /// How many polls are in flight.
        in_flight: usize,
    },
    /// Failures are our own fault, and not counted.
    Outage {
        /// Why.
        outage: &'a Outage,
        /// How many sites are left to the next run.
        left: u64,
    },
    /// Polling is over. The outcomes may still have to be recorded.
    PollingEnded,
    /// The figures are final. The run may still have failed.
    Ended {
        /// The figures.
        summary: &'a Summary,
    },
    /// Something did not work, and the run continues.
    Warning(Warning),
}

/// Something that did not work without ending a run.
#[derive(Debug)]
pub enum Warning {
    /// The store was busy for too long. Outcomes are recorded by a later session.
    StoreBusy {
        /// Which command kept the store busy, and for how long.
        error: store::error::Error,
        /// How many outcomes wait.
        outcomes: usize,
    },
    /// Outcomes could not be recorded at the end of a run that failed for another reason.
    NotRecorded {
        /// Why.
        error: store::error::Error,
        /// How many outcomes.
        outcomes: usize,
    },
    /// Results of listeners could not be stored. The outcomes of their polls are recorded all the same.
    ResultsNotStored(store::error::Error),
    /// The run could not poll all sites in time.
    CannotKeepUp(Backlog),
    /// No run had begun for a long time, and sites became due meanwhile.
    NoRun {
        /// When the last run before began.
        from: UnixTime,
        /// When this run began.
        to: UnixTime,
        /// How many sites are due.
        due: u64,
        /// The period over which their next polls are spread; `None` if they are not.
        spread: Option<Duration>,
    },
}
