//! The report for people.

use clap::ColorChoice;
use clap::builder::styling::Style;

use crate::cli::error::Result;
use crate::cli::ui::table::Table;
use crate::cli::ui::wrap::{self, words};
use crate::cli::ui::{terminal, time};
use crate::model::{AppId, JobName, UnixTime};
use crate::report::{IncidentReport, JobReport, Report, RunHealth, Times};
use crate::util::text::{count, sanitize};

/// How many sites, hosts and incidents are listed.
pub(super) const MOST: usize = 10;
/// How many of the last outages are listed.
const MAX_OUTAGES: usize = 3;

/// How the text is written.
pub(super) struct Text {
    /// The width of the terminal; no limit elsewhere.
    width: usize,
    has_colors: bool,
}

impl Text {
    /// Text for standard output.
    pub(super) fn for_stdout(color: ColorChoice) -> Self {
        let width = terminal::width().unwrap_or(usize::MAX);
        Self { width, has_colors: terminal::is_colored(color, terminal::has_stdout()) }
    }

    /// Text for a file.
    pub(super) fn for_a_file() -> Self {
        Self { width: usize::MAX, has_colors: false }
    }

    /// The lines of a report.
    ///
    /// # Errors
    /// That of [`Table::lines`].
    pub(super) fn lines(&self, report: &Report) -> Result<Vec<String>> {
        let (from, to) = (report.from, report.to);
        let title = format!("From {} to {} ({})", time::utc(from), time::utc(to), time::duration(to - from));
        let mut lines = self.sentence(&title);
        match report.began {
            None => lines.extend(self.sentence("There is no history yet, so nothing is known.")),
            Some(began) if began > from => {
                let text = format!("History begins at {}. The time before is unknown.", time::utc(began));
                lines.extend(self.sentence(&text));
            }
            Some(_) => {}
        }
        if report.jobs.is_empty() {
            lines.extend(self.sentence("No job has run."));
        }
        let is_one_job = report.jobs.len() == 1;
        self.section(&mut lines, "Availability", jobs(report))?;
        self.section(&mut lines, "Worst sites", worst_sites(report, is_one_job))?;
        self.section(&mut lines, "Worst hosts", worst_hosts(report))?;
        self.section(&mut lines, "Longest incidents", incidents(&report.longest, report.to, is_one_job))?;
        self.section(&mut lines, "Latest incidents", incidents(&report.latest, report.to, is_one_job))?;
        self.section(&mut lines, "Runs", runs(report))?;
        for job in &report.jobs {
            lines.extend(outages(job).map(|text| self.sentence(&text)).unwrap_or_default());
        }
        if let Some(gone) = report.gone.filter(|gone| gone.sites > 0) {
            let text = format!(
                "Left out: {} of {} that the store no longer has.",
                count(gone.incidents, "incident"),
                count(gone.sites, "connection")
            );
            lines.extend([String::new()].into_iter().chain(self.sentence(&text)));
        }
        Ok(lines)
    }

    fn sentence(&self, text: &str) -> Vec<String> {
        wrap::lines(words(text), self.width, 2)
    }

    /// Adds a table with a title and an empty line before it; nothing if it has no rows.
    fn section(&self, lines: &mut Vec<String>, title: &str, table: Option<Table>) -> Result<()> {
        let Some(table) = table else { return Ok(()) };
        let style = if self.has_colors { Style::new().bold() } else { Style::new() };
        lines.extend([String::new(), format!("{style}{title}{style:#}")]);
        lines.extend(table.lines(self.width)?);
        Ok(())
    }
}

/// A table with these rows; `None` if there are none.
fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Option<Table> {
    let mut rows = rows.into_iter().peekable();
    rows.peek()?;
    let site = header.iter().position(|title| *title == "SITE");
    let mut table = Table::new(header).shortening(site.into_iter().collect());
    rows.for_each(|row| table.add(&row));
    Some(table)
}

fn jobs(report: &Report) -> Option<Table> {
    let row = |job: &JobReport| {
        [
            job.app_id.short().to_owned(),
            job.job.to_string(),
            job.sites.to_string(),
            job.down.to_string(),
            availability(&job.times),
            job.times.unknown_percent().unwrap_or_else(|| "-".to_owned()),
            job.incidents.to_string(),
        ]
    };
    let header = ["APP", "JOB", "SITES", "DOWN NOW", "AVAILABILITY", "UNKNOWN", "INCIDENTS"];
    table(header, report.jobs.iter().map(row))
}

fn worst_sites(report: &Report, is_one_job: bool) -> Option<Table> {
    let rows = report.worst_sites.iter().map(|site| {
        [
            availability(&site.times),
            sanitize(&site.site_url.to_string()),
            seconds(site.times.down_s),
            site.incidents.len().to_string(),
            site.cxn_id.to_string() + &of_job(&site.app_id, &site.job, is_one_job),
        ]
    });
    table(["AVAILABILITY", "SITE", "DOWN", "INCIDENTS", "CXN"], rows)
}

fn worst_hosts(report: &Report) -> Option<Table> {
    let rows = report.worst_hosts.iter().map(|host| {
        let name = sanitize(&host.host.to_string());
        [name, host.sites.to_string(), host.incidents.to_string(), seconds(host.down_s)]
    });
    table(["HOST", "SITES", "INCIDENTS", "DOWN, ALL SITES"], rows)
}

fn incidents(incidents: &[IncidentReport], to: UnixTime, is_one_job: bool) -> Option<Table> {
    let rows = incidents.iter().map(|report| {
        let incident = &report.incident;
        let lasts = if incident.to.is_none() { ", not over" } else { "" };
        [
            time::utc(incident.from),
            sanitize(&report.site_url.to_string()),
            time::duration(incident.duration_s(to)) + lasts,
            incident.class.map_or("-", |class| class.name()).to_owned(),
            report.cxn_id.to_string() + &of_job(&report.app_id, &report.job, is_one_job),
        ]
    });
    table(["BEGAN", "SITE", "LASTED", "FAILURE", "CXN"], rows)
}

fn runs(report: &Report) -> Option<Table> {
    let rows = report.jobs.iter().filter(|job| job.runs.total > 0).map(|job| {
        let RunHealth { total, late, own_outages, failed, elapsed_ms, lateness_s, .. } = &job.runs;
        let elapsed =
            elapsed_ms.map(|(p50, p95, max)| [p50, p95, max].map(|ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100)));
        let lateness = lateness_s.map(|late| [late.p50, late.p95, late.max].map(|late| seconds(late.into())));
        let text = |values: Option<[String; 3]>| values.map_or_else(|| "-".to_owned(), |values| values.join(" / "));
        [
            job.app_id.short().to_owned(),
            job.job.to_string(),
            total.to_string(),
            late.to_string(),
            own_outages.to_string(),
            failed.to_string(),
            text(elapsed),
            text(lateness),
        ]
    });
    let header =
        ["APP", "JOB", "RUNS", "LATE", "OWN OUTAGES", "FAILED", "DURATION 50/95/100 %", "LATENESS 50/95/100 %"];
    table(header, rows)
}

/// The last outages of a job; `None` if there were none.
fn outages(job: &JobReport) -> Option<String> {
    let outages: Vec<_> = job
        .runs
        .outages
        .iter()
        .take(MAX_OUTAGES)
        .map(|(at, fault)| format!("{} {}", time::utc(*at), fault.map_or("unknown", |fault| fault.name())))
        .collect();
    (!outages.is_empty())
        .then(|| format!("Last own outages of {} {}: {}", job.app_id.short(), job.job, outages.join(", ")))
}

/// The job behind a connection, if there are several in the report.
fn of_job(app_id: &AppId, job: &JobName, is_one_job: bool) -> String {
    if is_one_job { String::new() } else { format!(" {} {job}", app_id.short()) }
}

fn availability(times: &Times) -> String {
    times.percent().unwrap_or_else(|| "-".to_owned())
}

fn seconds(seconds: u64) -> String {
    time::duration(i64::try_from(seconds).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fault;
    use crate::report::{Gone, Incident};

    fn report() -> Report {
        Report { began: Some(0), ..Report::empty(0, 86_400) }
    }

    fn job(name: &str, runs: RunHealth) -> JobReport {
        JobReport {
            app_id: "app:org.example.myapp".parse().unwrap(),
            job: name.parse().unwrap(),
            sites: 0,
            down: 0,
            times: Times::default(),
            incidents: 0,
            classes: std::collections::BTreeMap::new(),
            slices: Vec::new(),
            runs,
        }
    }

    fn text(report: &Report) -> String {
        Text::for_a_file().lines(report).unwrap().join("\n")
    }

    #[test]
    fn only_what_there_is_is_written() {
        let mut report = report();
        report.gone = Some(Gone { sites: 0, incidents: 0 });
        assert_eq!(text(&report), "From 1970-01-01 00:00:00Z to 1970-01-02 00:00:00Z (1 d)\nNo job has run.");
        report.gone = Some(Gone { sites: 2, incidents: 1 });
        report.began = Some(60);
        report.jobs.push(job("default", RunHealth::default()));
        let shown = text(&report);
        assert!(shown.contains("History begins at 1970-01-01 00:01:00Z.") && !shown.contains("\nRuns\n"), "{shown}");
        assert!(shown.ends_with("\n\nLeft out: 1 incident of 2 connections that the store no longer has."), "{shown}");
        report.began = None;
        assert!(text(&report).contains("There is no history yet"));
    }

    #[test]
    fn a_job_is_named_where_there_are_several() {
        let mut report = report();
        let outages = (1..=4).rev().map(|at| (at, Some(Fault::Network))).collect();
        report.jobs.push(job("default", RunHealth { total: 4, own_outages: 4, outages, ..RunHealth::default() }));
        report.latest.push(IncidentReport {
            cxn_id: "cxn:1".parse().unwrap(),
            app_id: "app:org.example.myapp".parse().unwrap(),
            job: "default".parse().unwrap(),
            site_url: "https://jo:sesame@a.example/?q=1".into(),
            incident: Incident { from: 1, to: None, class: None },
        });
        let shown = text(&report);
        assert!(shown.contains("https://a.example/?q=1 ") && shown.contains("  cxn:1\n"), "{shown}");
        assert_eq!(shown.lines().last().unwrap().matches(" network").count(), MAX_OUTAGES);
        report.jobs.push(job("other", RunHealth::default()));
        assert!(text(&report).contains("  cxn:1 org.example.myapp default\n"));
    }
}
