//! The sums of the jobs and sites of a report.

use std::collections::BTreeMap;

use super::data::RunHealth;
use super::incidents::NONE;
use super::slices::Slices;
use super::timeline::Present;
use crate::model::{AppId, FailureClass, JobName};
use crate::retry::Policy;
use crate::store::RunOutage;

/// The number of a job in a report.
pub type JobIndex = u16;

/// A job, and the sums of its sites.
#[derive(Debug)]
pub(super) struct JobSums {
    pub(super) app_id: AppId,
    pub(super) job: JobName,
    pub(super) policy: Policy,
    pub(super) outages: Vec<RunOutage>,
    pub(super) sites: u64,
    pub(super) down: u64,
    pub(super) incidents: u64,
    pub(super) classes: BTreeMap<FailureClass, u64>,
    pub(super) slices: Slices,
    pub(super) runs: RunHealth,
}

/// A connection for one job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    /// The number of the connection among the names.
    pub(super) name: u32,
    pub(super) job: JobIndex,
    pub(super) present: Present,
}

/// The sums of a site.
#[derive(Debug, Clone, Copy)]
pub(super) struct SiteSums {
    pub(super) up_s: u32,
    pub(super) down_s: u32,
    /// How much of that is in incidents without a known address.
    pub(super) without_host_s: u32,
    /// The last of its incidents, or [`NONE`].
    pub(super) last: u32,
}

impl Default for SiteSums {
    fn default() -> Self {
        Self { up_s: 0, down_s: 0, without_host_s: 0, last: NONE }
    }
}
