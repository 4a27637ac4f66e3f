//! What a report contains.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::strip::Strip;
use crate::model::{AppId, CxnId, FailureClass, Fault, JobName, Lateness, SiteUrl, UnixTime};
use crate::util::text::percent;

/// A report about the time from `from` to `to`, without the sites that are not among the worst.
#[derive(Debug, Clone)]
pub struct Report {
    /// The start of the time, UTC seconds.
    pub from: UnixTime,
    /// The end of the time, UTC seconds.
    pub to: UnixTime,
    /// When history begins. Nothing is known of the time before. `None` if there is no history.
    pub began: Option<UnixTime>,
    /// The jobs of the report, by app and name.
    pub jobs: Vec<JobReport>,
    /// The sites that were down for the largest part of their known time, the worst first.
    pub worst_sites: Vec<SiteReport>,
    /// The hosts whose sites were down the longest together, the worst first.
    pub worst_hosts: Vec<HostReport>,
    /// How many hosts had sites with incidents, also those that are not among the worst.
    pub hosts: u64,
    /// The incidents that lasted longest, the longest first.
    pub longest: Vec<IncidentReport>,
    /// The incidents that began last, the latest first.
    pub latest: Vec<IncidentReport>,
    /// What history has of connections that the store no longer has; `None` for a selection.
    pub gone: Option<Gone>,
}

/// How long sites were up, down, and neither as far as is known, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// From a successful poll to the next failing one.
    pub up_s: u64,
    /// From the first failing poll to the next successful one.
    pub down_s: u64,
    /// All other time.
    pub unknown_s: u64,
}

/// A job of an app.
#[derive(Debug, Clone)]
pub struct JobReport {
    /// The app.
    pub app_id: AppId,
    /// The name of the job.
    pub job: JobName,
    /// How many sites the report covers.
    pub sites: u64,
    /// How many of them were down at the end of the time.
    pub down: u64,
    /// The times of all sites together.
    pub times: Times,
    /// The incidents of all sites together.
    pub incidents: u64,
    /// These by the class of the first failure. One without a known class is left out.
    pub classes: BTreeMap<FailureClass, u64>,
    /// The times and incidents by part of the time, in order. At most 400.
    pub slices: Vec<Slice>,
    /// What its runs did.
    pub runs: RunHealth,
}

/// A part of the time: a day in UTC, or an hour if the whole is short, or several days.
///
/// The first and the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Its start, UTC seconds.
    pub from: UnixTime,
    /// Its end, UTC seconds.
    pub to: UnixTime,
    /// The times of all sites of the job together.
    pub times: Times,
    /// How many incidents began in it.
    pub incidents: u64,
}

/// A site, for one job.
#[derive(Debug, Clone)]
pub struct SiteReport {
    /// The connection.
    pub cxn_id: CxnId,
    /// The app.
    pub app_id: AppId,
    /// The name of the job.
    pub job: JobName,
    /// The URL of the site. A stranger chose it.
    pub site_url: SiteUrl,
    /// How long it was up and down.
    pub times: Times,
    /// Its incidents, the oldest first.
    pub incidents: Vec<Incident>,
    /// When it was up and down, roughly. Empty unless `Ledger::add_strips` filled it.
    pub strip: Strip,
}

/// A time from a site's first failing poll to its next successful one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incident {
    /// When it began, UTC seconds. That may be before the start of the report.
    pub from: UnixTime,
    /// When it ended; `None` if it lasted at the end of the report.
    pub to: Option<UnixTime>,
    /// The class of its first failure; `None` if it is not known.
    pub class: Option<FailureClass>,
}

/// An incident with its site.
#[derive(Debug, Clone)]
pub struct IncidentReport {
    /// The connection.
    pub cxn_id: CxnId,
    /// The app.
    pub app_id: AppId,
    /// The name of the job.
    pub job: JobName,
    /// The URL of the site. A stranger chose it.
    pub site_url: SiteUrl,
    /// The incident.
    pub incident: Incident,
}

/// A host, and how long the sites on it were down.
#[derive(Debug, Clone)]
pub struct HostReport {
    /// The host.
    pub host: Host,
    /// How many sites had incidents on it. A site counts once for each of its jobs.
    pub sites: u64,
    /// The incidents of these sites that began on it.
    pub incidents: u64,
    /// How long these sites were down together, in seconds.
    pub down_s: u64,
}

/// A host by its address, or by its name where no address was connected to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// The address.
    Address(IpAddr),
    /// The name. A stranger chose it.
    Name(String),
}

/// What the runs of a job did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunHealth {
    /// The runs that had something due or failed, the last 10,000 at most.
    pub total: u64,
    /// The runs that could not keep up, or were late by a period.
    ///
    /// In the second case, 5 % of the polls began a usual period or more after their due times.
    pub late: u64,
    /// The runs that ended for a fault of this machine, its network or its configuration.
    pub own_outages: u64,
    /// The last of these, the latest first, with the fault; `None` if it is not known.
    pub outages: Vec<(UnixTime, Option<Fault>)>,
    /// How many of the other runs did not end with exit code 0.
    pub failed: u64,
    /// How long a run took: half of the runs took no longer, 95 % of them, and all, in milliseconds.
    ///
    /// `None` if there was no run.
    pub elapsed_ms: Option<(u64, u64, u64)>,
    /// How late polls began, in seconds.
    ///
    /// The median of the runs' `p50`, that of their `p95`, and the largest `max`. `None` if no run has any.
    pub lateness_s: Option<Lateness>,
}

impl RunHealth {
    /// The runs that were not late.
    #[must_use]
    pub fn on_time(&self) -> u64 {
        self.total.saturating_sub(self.late)
    }
}

/// What history has of connections that the store no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gone {
    /// How many connections, once for each of their jobs.
    pub sites: u64,
    /// How many of their failures began in the time of the report.
    pub incidents: u64,
}

#[cfg(test)]
impl Report {
    /// A report without anything in it, for tests.
    #[must_use]
    pub fn empty(from: UnixTime, to: UnixTime) -> Self {
        let (jobs, worst_sites, worst_hosts) = (Vec::new(), Vec::new(), Vec::new());
        let (longest, latest, gone) = (Vec::new(), Vec::new(), None);
        Self { from, to, began: None, jobs, worst_sites, worst_hosts, hosts: 0, longest, latest, gone }
    }
}

impl Times {
    /// The part of the known time in which sites were up, from 0 to 1; `None` if nothing is known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the sum of a century of a million sites is exact")]
    pub fn availability(&self) -> Option<f64> {
        let known = self.up_s + self.down_s;
        (known > 0).then(|| self.up_s as f64 / known as f64)
    }

    /// The availability in percent, as [`percent`] writes it; `None` if nothing is known.
    #[must_use]
    pub fn percent(&self) -> Option<String> {
        percent(self.up_s, self.up_s + self.down_s)
    }

    /// The part of all time of which nothing is known, in percent; `None` if there is no time.
    #[must_use]
    pub fn unknown_percent(&self) -> Option<String> {
        percent(self.unknown_s, self.up_s + self.down_s + self.unknown_s)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl std::ops::AddAssign for Times {
    fn add_assign(&mut self, other: Self) {
        self.up_s += other.up_s;
        self.down_s += other.down_s;
        self.unknown_s += other.unknown_s;
    }
}

impl SiteReport {
    /// Since when the site fails; `None` if it did not at the end of the report.
    #[must_use]
    pub fn failing_since(&self) -> Option<UnixTime> {
        self.incidents.last().filter(|incident| incident.to.is_none()).map(|incident| incident.from)
    }
}

impl Incident {
    /// How long it lasted, in seconds. If it did not end, it counts until `end`, the end of the report.
    #[must_use]
    pub fn duration_s(&self, end: UnixTime) -> i64 {
        self.to.unwrap_or(end).saturating_sub(self.from).max(0)
    }
}
