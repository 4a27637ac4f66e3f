//! The events and effects of a run: the interface of its state machine.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::backlog::{Behind, Pace};
use super::clock::Pause;
use super::message::{FinalReport, FinalWork, PollResult, SessionReport, SessionWork};
use super::outage::Outage;
use super::update::Warning;
use crate::model::{Outcome, PollStatus, UnixTime};
use crate::retry::Policy;
use crate::store::{HostKey, PollTask, RunOutage, SkipReason, SkippedHost};

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// There are this many workers now.
    Workers(usize),
    /// Polls ended.
    PollsEnded(Vec<PollResult>),
    /// A session loaded connections.
    Loaded(Vec<PollTask>),
    /// A session ended.
    SessionEnded(SessionReport),
    /// The last session ended.
    Finished(FinalReport),
    /// This many waiting tasks were cancelled, and those of held hosts.
    Cancelled(usize, Vec<SkippedHost>),
    /// This many waiting tasks were left to the next run.
    Left(usize),
    /// The tasks of held hosts were removed from the queue.
    Skipped(Vec<SkippedHost>),
    /// A signal asked the run to end; its exit code.
    Signal(u8),
    /// The process did not run for a while. Comes before the results of polls that ended meanwhile.
    Paused(Pause),
    /// The recorder panicked, with this message: nothing more can be recorded.
    RecorderPanicked(String),
    /// The run is to stop, other than by a signal.
    Stop,
    /// Time passed.
    Tick,
}

impl Event {
    /// The polls that ended in failure, each with the address that replied, if one did.
    ///
    /// The queue is to learn of their ends once the event was applied. Else more sites of a host that refuses would be
    /// polled before it is held.
    pub(super) fn failed_polls(&self) -> Vec<(Arc<PollTask>, Option<IpAddr>)> {
        let Self::PollsEnded(results) = self else { return Vec::new() };
        let failed = results.iter().filter(|result| result.may_hold_host());
        failed.map(|result| (Arc::clone(&result.task), result.good())).collect()
    }
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Effect {
    /// Add tasks to the queue.
    Enqueue(Vec<PollTask>),
    /// Limit how many more polls start; `None` is no limit.
    SetPermits(Option<usize>),
    /// Start no new poll: answer with [`Event::Cancelled`].
    CancelPending,
    /// Leave what waits to the next run: answer with [`Event::Left`]. So many more are due and not in the queue.
    LeaveWaiting {
        /// How many.
        unloaded: usize,
    },
    /// Start a session of the store: answer with [`Event::Loaded`] and [`Event::SessionEnded`].
    StartSession(SessionWork),
    /// Polling is over: end the listener programs and report it.
    EndPolling,
    /// Record what is left: answer with [`Event::Finished`].
    Finish(FinalWork),
    /// Call no site of the hosts with this address any longer.
    HoldHost(IpAddr, SkipReason),
    /// Call one site of a host that is held.
    ProbeHost(IpAddr),
    /// Call the sites of a host again that was held.
    ReleaseHost(IpAddr),
    /// Leave the sites of held hosts to the next run: answer with [`Event::Skipped`].
    SkipHeld,
    /// Report that no new poll starts, and how many are in flight.
    ReportStopping(usize),
    /// Report why failures are our own fault.
    ReportOutage(Outage),
    /// Report that the process did not run for some time, and how many failures are not counted for it.
    ReportPause(Duration, usize),
    /// Report something that did not work.
    Warn(Warning),
    /// Report what the outcome of a poll by hand leads to.
    ReportByHand(Outcome, PollStatus),
}

impl Effect {
    /// Whether it changes which hosts are held.
    pub(super) fn changes_hosts(&self) -> bool {
        matches!(self, Self::HoldHost(..) | Self::ProbeHost(_) | Self::ReleaseHost(_))
    }
}

/// The fixed inputs of the decisions of a run.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The retry expression.
    pub(super) policy: Policy,
    /// The time of the schedule, which becomes the lastRun of every site that is polled.
    pub(super) now: UnixTime,
    /// Whether one connection is polled by hand, due or not. Such a run is not the job's last run.
    pub(super) by_hand: bool,
    /// No new poll starts after this time, without pauses; `None` is no limit.
    pub(super) max_runtime: Option<Duration>,
    /// A poll of this duration is slow.
    pub(super) slow: Duration,
    /// Since when all runs of the job ended for our own fault.
    pub(super) outage_since: Option<UnixTime>,
    /// The last runs of the job that ended for our own fault.
    pub(super) outages: Vec<RunOutage>,
    /// The key of the hashes of hosts and networks.
    pub(super) host_key: HostKey,
    /// What decides whether the run keeps up; `None` if it does not poll all that is due.
    pub(super) pace: Option<Pace>,
    /// Since when the runs before could not.
    pub(super) behind: Behind,
}
