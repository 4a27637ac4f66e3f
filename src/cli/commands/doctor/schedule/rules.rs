//! What is wrong with the entries that start runs, and which jobs they leave out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::calendar::Gaps;
use super::entry::{Off, Run, Start};
use crate::batch::Batch;
use crate::cli::commands::findings::{Check, Findings};
use crate::cli::ui::time;
use crate::cli::values;
use crate::config::{Config, JobTable, Origin};
use crate::model::{AppId, BatchCode, JobName, Threads, UnixTime};
use crate::retry::Policy;

/// A job that did not run for so long is not missed, if another job of the app is scheduled.
const MAX_FORGOTTEN_S: UnixTime = 30 * 86_400;

/// What the rules need to know of the installation.
pub(in super::super) struct Facts<'a> {
    /// The apps of the configuration and of the store, without `app:`; `None` if not all of them are known.
    pub(in super::super) apps: Option<&'a [String]>,
    /// The apps with connections that are not switched off.
    pub(in super::super) polled: &'a BTreeSet<AppId>,
    /// The jobs that have run.
    pub(in super::super) jobs: &'a [Job],
    /// The user that the store belongs to; `None` if there is no store.
    pub(in super::super) owner: Option<&'a str>,
    /// The path of this program, with the options that it needs in a crontab.
    pub(in super::super) program: &'a str,
    /// Whether the template of a timer is installed.
    pub(in super::super) has_template: bool,
    /// How many workers the limit of open files allows.
    pub(in super::super) max_workers: usize,
    /// The configuration, whose tables of jobs have the values that entries leave out.
    pub(in super::super) config: &'a Config,
    pub(in super::super) now: UnixTime,
}

/// A job of the store.
#[derive(Debug, Clone)]
pub(in super::super) struct Job {
    pub(in super::super) app: AppId,
    pub(in super::super) name: JobName,
    /// The expression that it last ran with.
    pub(in super::super) retry: Policy,
    /// When it last ran; `None` if that is not known.
    pub(in super::super) last_run: Option<UnixTime>,
    /// The batch codes of its connections.
    pub(in super::super) codes: Vec<BatchCode>,
}

/// What the entries of a job have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in super::super) struct Schedule {
    /// The batches that are polled.
    batches: Vec<Batch>,
    /// The times between two starts; `None` if they are not known.
    pub(in super::super) gaps: Option<Gaps>,
    /// The retry expression of the first of them.
    retry: Policy,
    /// The longest time that a run may take, in seconds.
    pub(in super::super) max_runtime_s: i64,
}

/// The schedules of jobs.
#[derive(Debug, Default)]
pub(in super::super) struct Schedules {
    by_job: BTreeMap<(AppId, JobName), Schedule>,
    /// What entries that cannot work hold. That an app in it is not polled follows from what is wrong with them.
    broken: Vec<String>,
    /// Whether an entry starts a job that is not known.
    has_unknown: bool,
    /// The jobs of entries that do not start again and again: what is wrong, and the remedy.
    off: BTreeMap<(AppId, JobName), (String, String)>,
}

impl Schedules {
    /// Schedules that also have these texts of entries that cannot work.
    ///
    /// `has_unknown` is whether there may be entries that could not be read.
    pub(in super::super) fn with_broken(broken: Vec<String>, has_unknown: bool) -> Self {
        Self { broken, has_unknown, ..Self::default() }
    }

    /// Adds the job of an entry that does not start again and again; `false` if the entry does.
    pub(in super::super) fn add_off(&mut self, start: &Start) -> bool {
        let Some(Off { reason, remedy }) = &start.entry.off else { return false };
        if let Run::Poll(poll) = &start.run {
            let (app, name, place) = (&poll.1.app, &poll.1.name, &start.entry.place);
            let message = format!("no crontab or timer starts the job {name} of {}: {place} {reason}", app.short());
            self.off.entry((app.clone(), name.clone())).or_insert((message, remedy.clone()));
        }
        true
    }

    /// The schedule of a job; `None` if no entry starts it.
    pub(in super::super) fn of(&self, app: &AppId, name: &JobName) -> Option<&Schedule> {
        self.by_job.get(&(app.clone(), name.clone()))
    }

    /// The schedule of one job.
    #[cfg(test)]
    pub(in super::super) fn of_job(app: &AppId, name: &JobName, gap_s: Option<i64>, max_runtime_s: i64) -> Self {
        let gaps = gap_s.map(Gaps::always);
        let schedule = Schedule { batches: vec![Batch::default()], gaps, max_runtime_s, ..Schedule::default() };
        Self { by_job: [((app.clone(), name.clone()), schedule)].into(), ..Self::default() }
    }

    fn polls(&self, app: &AppId) -> bool {
        self.by_job.keys().any(|(scheduled, _)| scheduled == app)
    }

    fn is_broken(&self, app: &AppId) -> bool {
        self.broken.iter().any(|text| text.contains(app.short()))
    }
}

/// Checks the entries, and adds the schedule of each job that they name.
pub(in super::super) fn check_entries(
    starts: &[Start],
    facts: &Facts,
    schedules: &mut Schedules,
    findings: &mut Findings,
) {
    findings.check([Check::Entries]);
    for start in starts {
        let (place, edit) = (&start.entry.place, &start.entry.edit);
        if let (Some(user), Some(owner)) = (&start.user, facts.owner)
            && user != owner
        {
            let message = format!("{place} runs as {user}, but the store belongs to {owner}");
            findings.add(Check::Entries, message, format!("make it run as {owner}: {edit}"));
        }
        let poll = match &start.run {
            Run::Poll(poll) => &poll.1,
            Run::Invalid { reason, words } => {
                schedules.broken.extend(words.iter().cloned());
                let message = format!("{place} cannot start a run: {reason}");
                findings.add(
                    Check::Entries,
                    message,
                    format!("correct its options, see `cxnpoll poll --help`: {edit}"),
                );
                continue;
            }
            Run::Unknown => {
                schedules.has_unknown = true;
                match &start.entry.unread {
                    Some(file) => findings.skip(Check::Entries, format!("{place}: {} cannot be read", file.display())),
                    None => findings.note(Check::Entries, format!("{place} has a variable whose value is not known")),
                }
                continue;
            }
        };
        if poll.dry_run || poll.cxn.is_some() {
            continue;
        }
        if let Some(apps) = facts.apps.filter(|apps| apps.iter().all(|name| name != poll.app.short())) {
            let similar = values::closest(poll.app.short(), apps);
            schedules.broken.extend(similar.cloned());
            let similar = similar.map_or_else(String::new, |name| format!("; did you mean {name}?"));
            let message = format!("{place} polls {}, which is not an app of this installation{similar}", poll.app);
            findings.add(Check::Entries, message, format!("correct the name, or remove it: {edit}"));
            continue;
        }
        let values = poll.values(facts.config);
        if let Threads::Fixed(threads) = values.threads.value
            && threads > facts.max_workers
        {
            let message = format!("{place} asks for {threads} threads, and open files allow {}", facts.max_workers);
            findings.add(Check::OpenFiles, message, "raise the hard limit (ulimit -Hn, or LimitNOFILE= of the unit)");
        }
        let job = facts.jobs.iter().find(|job| job.app == poll.app && job.name == poll.name);
        let retry = &values.retry;
        if let Some(job) = job.filter(|job| job.retry != retry.value) {
            let verb = if retry.origin == Origin::Job { "gets" } else { "has" };
            let message = format!("{place} {verb} --retry '{}', and the last run had '{}'", retry.value, job.retry);
            findings.note(Check::Entries, message);
        }
        let table = facts.config.jobs.get(&(poll.app.clone(), poll.name.clone()));
        let options = table.map(|table| table.contradicted_by(&poll.options())).unwrap_or_default();
        if !options.is_empty() {
            let (options, app, name) = (options.join(" and "), poll.app.short(), &poll.name);
            let message =
                format!("{place} has another {options} than [jobs.\"{app}\".{name}], which polls by hand use");
            findings.note(Check::Entries, message);
        }
        let first = || Schedule { retry: retry.value.clone(), gaps: start.entry.gaps, ..Schedule::default() };
        let schedule = schedules.by_job.entry((poll.app.clone(), poll.name.clone())).or_insert_with(first);
        if schedule.retry != retry.value {
            let message = format!(
                "{place} has --retry '{}', and another entry of the same job has '{}'",
                retry.value, schedule.retry
            );
            findings.add(Check::Entries, message, format!("use the same --retry in both: {edit}"));
        }
        schedule.batches.push(poll.batch);
        schedule.gaps = schedule.gaps.zip(start.entry.gaps).map(|(one, other)| one.either(other));
        let default = || crate::run::PollRun::default_max_runtime(&retry.value);
        let max_runtime = values.max_runtime.value.unwrap_or_else(default);
        schedule.max_runtime_s = schedule.max_runtime_s.max(i64::try_from(max_runtime.as_secs()).unwrap_or(i64::MAX));
    }
}

/// Finds jobs and parts of jobs that no entry starts.
pub(in super::super) fn check_jobs(schedules: &Schedules, facts: &Facts, findings: &mut Findings) {
    findings.check([Check::Jobs]);
    for job in facts.jobs.iter().filter(|job| facts.polled.contains(&job.app)) {
        let (app, name) = (job.app.short(), &job.name);
        let Some(schedule) = schedules.of(&job.app, name) else {
            if schedules.is_broken(&job.app) {
                continue;
            }
            let is_old = job.last_run.is_some_and(|last| facts.now - last > MAX_FORGOTTEN_S);
            if is_old && schedules.polls(&job.app) {
                findings.note(Check::Jobs, format!("the job {name} of {app} is not scheduled any more"));
                continue;
            }
            if let Some((message, remedy)) = schedules.off.get(&(job.app.clone(), name.clone())) {
                findings.add(Check::Jobs, message, remedy);
                continue;
            }
            let message = format!("no crontab or timer starts the job {name} of {app}");
            if schedules.has_unknown {
                findings.skip(Check::Jobs, format!("{message}, as far as their entries can be read"));
            } else {
                findings.add(Check::Jobs, message, remedy(facts, app, Some(job)));
            }
            continue;
        };
        find_rare_starts(&format!("the job {name} of {app}"), schedule, findings);
        for missing in uncovered(&schedule.batches) {
            if job.codes.iter().any(|code| missing.contains(&code.get())) {
                let batches: Vec<_> = schedule.batches.iter().map(ToString::to_string).collect();
                let message = format!(
                    "the entries of the job {name} of {app} poll only batch {}, and some of its sites are in none",
                    batches.join(", ")
                );
                findings.add(Check::Jobs, message, "add entries for the other batches, or remove --batch: crontab -e");
            }
        }
    }
    let has_job = |app: &AppId| facts.jobs.iter().any(|job| job.app == *app);
    for app in facts.polled.iter().filter(|app| !has_job(app)) {
        let off = schedules.off.iter().find(|((of, _), _)| of == app).map(|(_, off)| off);
        if let Some((message, remedy)) = off.filter(|_| !schedules.polls(app)) {
            findings.add(Check::Jobs, message, remedy);
        } else if !schedules.polls(app) && !schedules.is_broken(app) && !schedules.has_unknown {
            let message = format!("no crontab or timer polls the connections of {}", app.short());
            findings.add(Check::Jobs, message, remedy(facts, app.short(), None));
        } else {
            findings.note(Check::LastRuns, format!("{} has not been polled yet", app.short()));
        }
    }
}

/// Finds a job that starts much more rarely than its sites are due.
fn find_rare_starts(job: &str, schedule: &Schedule, findings: &mut Findings) {
    let period_s = i64::try_from(schedule.retry.usual_period().as_secs()).unwrap_or(i64::MAX);
    let Some(gaps) = schedule.gaps.filter(|gaps| gaps.shortest_s > period_s) else { return };
    let (gap, period) = (time::duration(gaps.shortest_s), time::duration(period_s));
    let message = format!("{job} starts only every {gap}, although its sites are due every {period}");
    // A job of every night may have the default expression.
    let allowed = if schedule.retry == Policy::default() { 24 } else { 4 };
    if gaps.shortest_s > period_s.saturating_mul(allowed) {
        findings.add(Check::Jobs, message, "start it more often, such as at */5 * * * *, or set another --retry");
    } else {
        findings.note(Check::Jobs, message);
    }
}

/// How to schedule a job.
fn remedy(facts: &Facts, app: &str, job: Option<&Job>) -> String {
    let named = job.filter(|job| job.name != JobName::default());
    if facts.has_template && named.is_none() {
        return format!("enable its timer: systemctl enable --now cxnpoll@{app}.timer");
    }
    let name = named.map_or_else(String::new, |job| format!(" --name {}", job.name));
    let configured = |job: &&Job| facts.config.job_values(&job.app, &job.name, &JobTable::default()).retry.value;
    let retry = job.filter(|job| job.retry != configured(job));
    let retry = retry.map_or_else(String::new, |job| format!(" --retry='{}'", job.retry));
    let user = facts.owner.map_or_else(String::new, |owner| format!(" of {owner}"));
    format!("add to the crontab{user} with `crontab -e`: */5 * * * * {} poll {app}{name}{retry}", facts.program)
}

/// The ranges of batch codes that no batch covers.
fn uncovered(batches: &[Batch]) -> Vec<RangeInclusive<u16>> {
    let mut ranges: Vec<_> = batches.iter().map(|batch| batch.range()).collect();
    ranges.sort_by_key(|range| range.start().get());
    let (mut next, mut missing) = (0, Vec::new());
    for range in ranges {
        let (start, end) = (range.start().get(), range.end().get());
        if start > next {
            missing.push(next..=start - 1);
        }
        next = next.max(end + 1);
    }
    if next <= BatchCode::MAX.get() {
        missing.push(next..=BatchCode::MAX.get());
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::super::sandbox::Sandbox;
    use super::super::shell;
    use super::*;

    #[test]
    fn batches_cover_all_codes_or_leave_ranges_out() {
        let uncovered = |batches: &[&str]| {
            let batches: Vec<_> = batches.iter().map(|batch| batch.parse().unwrap()).collect();
            uncovered(&batches).into_iter().map(|range| (*range.start(), *range.end())).collect::<Vec<_>>()
        };
        for whole in [&["0/1"][..], &["1/2", "0/2"], &["0/3", "1/3", "2/3", "0/1"]] {
            assert_eq!(uncovered(whole), []);
        }
        assert_eq!(uncovered(&["0/2"]), [(5000, 10_000)]);
        assert_eq!(uncovered(&["1/4", "3/4"]), [(0, 2499), (5000, 7499)]);
    }

    #[test]
    fn a_job_whose_variables_cannot_be_read_is_not_missed() {
        let app: AppId = "app:org.example.myapp".parse().unwrap();
        let mut entry = Entry {
            place: "cxnpoll@job.timer".to_owned(),
            edit: String::new(),
            user: None,
            off: None,
            gaps: None,
            variables: BTreeMap::new(),
            path: String::new(),
            sandbox: Sandbox::default(),
            unread: Some("/etc/cxnpoll/jobs/job.env".into()),
            commands: shell::commands("cxnpoll poll job"),
        };
        let facts = Facts {
            apps: Some(&[]),
            polled: &[app].into(),
            jobs: &[],
            owner: None,
            program: "cxnpoll",
            has_template: true,
            max_workers: 64,
            config: &Config::default(),
            now: 0,
        };
        let found = |entry: &Entry| {
            let (mut schedules, mut findings) = (Schedules::default(), Findings::default());
            let starts: Vec<_> = entry.starts(|_| Ok(None)).collect();
            check_entries(&starts, &facts, &mut schedules, &mut findings);
            check_jobs(&schedules, &facts, &mut findings);
            (findings.ids(), findings.skipped.len())
        };
        assert_eq!(found(&entry), (vec![], 1));
        entry.unread = None;
        assert_eq!(found(&entry), (vec!["jobs"], 0));
    }
}
