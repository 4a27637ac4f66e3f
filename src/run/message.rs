//! What the coordinator of a run and its threads send to each other.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::selection::Selection;
use crate::model::{Outcome, PollTrace, SeenRedirect, SiteUrl};
use crate::store::error::{Error as StoreError, Result as StoreResult};
use crate::store::{DueEntry, EncodedResult, PollTask, RunRecord, StatusUpdate};

/// A message to the coordinator.
#[derive(Debug)]
pub(super) enum Message {
    /// There are this many workers now.
    Workers(usize),
    /// A worker ended a poll.
    PollEnded(PollResult),
    /// What is due was selected; `None` means that the app has no connections.
    Selected(Result<Option<Selection>, Error>),
    /// A session loaded connections.
    Loaded(Vec<PollTask>),
    /// A session ended.
    SessionEnded(SessionReport),
    /// The last session ended.
    Finished(FinalReport),
    /// The thread of the recorder panicked, with this message.
    RecorderPanicked(String),
}

/// A poll that ended. Times are durations since the run began.
#[derive(Debug)]
pub(super) struct PollResult {
    /// The connection, with its status before the poll.
    pub(super) task: Arc<PollTask>,
    /// The URL of the site for the log, without its query; empty if nothing is logged.
    pub(super) site_url: String,
    /// The addresses to which it may have connected, in order; empty if they were not known.
    pub(super) addresses: Arc<[IpAddr]>,
    /// How many polls each of these allows at once.
    pub(super) limit: usize,
    /// How the poll ended. An error is not the fault of the site: no failure is counted.
    pub(super) outcome: Result<Outcome, Error>,
    /// What a listener keeps of it.
    pub(super) result: Option<EncodedResult>,
    /// The permanent redirect that it met; `None` if there was none, or if the run follows none.
    pub(super) redirect: Option<Redirect>,
    /// What it showed about the network.
    pub(super) trace: PollTrace,
    /// When it began. If the lookup of its name failed, that is when the lookup began.
    pub(super) began: Duration,
    /// How long it waited for a worker since then.
    pub(super) queued: Duration,
    /// When it ended.
    pub(super) ended: Duration,
}

/// A permanent redirect that a poll met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    /// The days on which it was met, with this one.
    pub(super) seen: SeenRedirect,
    /// The siteUrl that takes the place of the old one, after a poll succeeded there; `None` if none does.
    pub(super) adopted: Option<SiteUrl>,
}

impl PollResult {
    /// The address that replied; `None` if none did.
    pub(super) fn good(&self) -> Option<IpAddr> {
        self.trace.address.filter(|_| self.trace.replied)
    }

    /// Whether the run may hold the host because of it.
    pub(super) fn may_hold_host(&self) -> bool {
        !matches!(self.outcome, Ok(Ok(())))
    }

    /// How long the poll took without so long a pause, in milliseconds.
    pub(super) fn duration_ms(&self, paused: Duration) -> u32 {
        u32::try_from(self.ended.saturating_sub(self.began + self.queued + paused).as_millis()).unwrap_or(u32::MAX)
    }
}

/// What a session does, in this order.
///
/// Results are stored before the outcomes of their polls, so that a killed run polls again where a result is missing.
#[derive(Debug, Default)]
pub(super) struct SessionWork {
    /// Connections to be loaded.
    pub(super) load: Vec<DueEntry>,
    /// Results to be stored.
    pub(super) results: Vec<EncodedResult>,
    /// Outcomes to be recorded.
    pub(super) updates: Vec<StatusUpdate>,
}

/// What the last session of a run does.
#[derive(Debug)]
pub(super) struct FinalWork {
    /// The last results and outcomes.
    pub(super) work: SessionWork,
    /// The figures of the run, without these outcomes.
    pub(super) record: RunRecord,
    /// Whether the figures are those of the job's last run.
    pub(super) is_last_run: bool,
}

/// How a session ended.
#[derive(Debug)]
pub(super) struct SessionReport {
    /// The outcomes that it should record.
    pub(super) updates: Vec<StatusUpdate>,
    /// The results that it has not stored, because the run is to end.
    pub(super) results: Vec<EncodedResult>,
    /// For each outcome whether it was recorded, and how long opening and closing the store took.
    ///
    /// `None` if the session only had results.
    pub(super) recorded: StoreResult<Option<(Vec<bool>, Duration)>>,
    /// Why results were not stored; `None` if they were.
    pub(super) results_error: Option<StoreError>,
}

/// How the last session of a run ended.
#[derive(Debug)]
pub(super) struct FinalReport {
    /// The figures of the run with the last outcomes.
    pub(super) recorded: StoreResult<RunRecord>,
    /// Why results were not stored; `None` if they were.
    pub(super) results_error: Option<StoreError>,
}
