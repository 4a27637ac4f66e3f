//! The report as one HTML file, without scripts and without anything from other places.
//!
//! The template escapes all text. Names and URLs, which strangers may have chosen, are made printable and shortened. Lists are
//! bounded too. So the file is below 1 MiB, however many sites there are.

mod bar;
mod chart;
#[cfg(test)]
mod tests;
mod text;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use askama::Template;

use crate::model::{FailureClass, Fault, UnixTime};
use crate::report::{Incident, JobReport, Report, SiteReport, Slice, Times};
use bar::Bar;
use chart::Chart;
use text::{Cause, Class, Number, OrDash, Shown, Time};

/// The most sites, hosts and incidents of each list.
pub(super) const MOST: usize = 50;
/// The most jobs that are listed.
const MAX_JOBS: usize = 100;
/// The most own outages that are listed.
const MAX_OUTAGES: usize = 20;

/// Writes a report as HTML. `generated_at` is in UTC seconds.
pub(super) fn write(report: &Report, generated_at: UnixTime, out: &mut impl Write) -> io::Result<()> {
    let slices = slices(&report.jobs);
    Page {
        report,
        total: Total::of(&report.jobs),
        jobs: &report.jobs[..report.jobs.len().min(MAX_JOBS)],
        chart: Chart::of(&slices),
        slices,
        outages: outages(&report.jobs),
        generated_at,
    }
    .write_into(out)
}

/// What the template shows.
#[derive(Template)]
#[template(path = "page.html", config = "src/cli/commands/report/html/askama.toml")]
struct Page<'a> {
    report: &'a Report,
    total: Total,
    /// The jobs that are listed.
    jobs: &'a [JobReport],
    /// The parts of the time, of all jobs together.
    slices: Vec<Slice>,
    /// `None` if nothing is known.
    chart: Option<Chart>,
    /// The last own outages, the latest first.
    outages: Vec<(UnixTime, Option<Fault>, &'a JobReport)>,
    generated_at: UnixTime,
}

impl Page<'_> {
    fn bar(&self, site: &SiteReport) -> Bar {
        Bar::of(site, self.report.to)
    }

    /// When history begins, if that is later than the report.
    fn late_start(&self) -> Option<UnixTime> {
        self.report.began.filter(|began| *began > self.report.from)
    }

    /// How long an incident lasted, in seconds, also before the report.
    fn length(&self, incident: &Incident) -> u64 {
        incident.duration_s(self.report.to).unsigned_abs()
    }

    /// How many jobs are not listed.
    fn other_jobs(&self) -> u64 {
        others(self.report.jobs.len() as u64, self.jobs)
    }

    /// How many incidents are not among the longest.
    fn not_longest(&self) -> u64 {
        others(self.total.incidents, &self.report.longest)
    }

    /// How many incidents are not among the latest.
    fn not_latest(&self) -> u64 {
        others(self.total.incidents, &self.report.latest)
    }

    /// How many sites are not among the worst.
    fn other_sites(&self) -> u64 {
        others(self.total.sites, &self.report.worst_sites)
    }

    /// How many hosts are not among the worst.
    fn other_hosts(&self) -> u64 {
        others(self.report.hosts, &self.report.worst_hosts)
    }
}

/// How many of all are not in a list.
fn others<T>(all: u64, listed: &[T]) -> u64 {
    all.saturating_sub(listed.len() as u64)
}

/// The figures of all jobs together.
#[derive(Default)]
struct Total {
    sites: u64,
    down: u64,
    times: Times,
    incidents: u64,
    runs: u64,
    /// The incidents by class, the most frequent first.
    classes: Vec<(Option<FailureClass>, u64)>,
}

impl Total {
    fn of(jobs: &[JobReport]) -> Self {
        let mut total = Self::default();
        let mut classes: BTreeMap<_, u64> = BTreeMap::new();
        for job in jobs {
            total.sites += job.sites;
            total.down += job.down;
            total.times += job.times;
            total.incidents += job.incidents;
            total.runs += job.runs.total;
            job.classes.iter().for_each(|(class, incidents)| *classes.entry(Some(*class)).or_default() += *incidents);
        }
        let unknown = total.incidents.saturating_sub(classes.values().sum());
        classes.extend((unknown > 0).then_some((None, unknown)));
        total.classes = classes.into_iter().collect();
        total.classes.sort_by_key(|(_, incidents)| Reverse(*incidents));
        total
    }

    /// The part of all incidents, in percent.
    fn share(&self, (_, incidents): &(Option<FailureClass>, u64)) -> u64 {
        (incidents * 100).checked_div(self.incidents).unwrap_or(0)
    }
}

/// The parts of the time, of all jobs together.
fn slices(jobs: &[JobReport]) -> Vec<Slice> {
    let mut slices = BTreeMap::new();
    for slice in jobs.iter().flat_map(|job| &job.slices) {
        let sum = slices.entry(slice.from).or_insert(Slice { times: Times::default(), incidents: 0, ..*slice });
        sum.times += slice.times;
        sum.incidents += slice.incidents;
    }
    slices.into_values().collect()
}

/// The last own outages of all jobs, the latest first.
fn outages(jobs: &[JobReport]) -> Vec<(UnixTime, Option<Fault>, &JobReport)> {
    let mut outages: Vec<_> =
        jobs.iter().flat_map(|job| job.runs.outages.iter().map(move |(at, fault)| (*at, *fault, job))).collect();
    outages.sort_by_key(|(at, ..)| Reverse(*at));
    outages.truncate(MAX_OUTAGES);
    outages
}
