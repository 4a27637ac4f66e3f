//! What the last runs of the jobs show.

use super::schedule::rules::Schedules;
use crate::cli::commands::findings::{Check, Findings};
use crate::cli::ui::time;
use crate::model::{AppId, Fault, JobName, UnixTime};
use crate::run::{ActiveRun, no_run_since};
use crate::store::{Job, RunRecord, StateCounts};
use crate::util::text::count;

/// How far ahead of the clock a last run may be, in seconds.
pub(super) const CLOCK_TOLERANCE_S: i64 = 300;
/// So many starts of runs may fail to happen.
const MAX_MISSED_STARTS: i64 = 3;
/// How many dropped outcomes are usual.
const MAX_DROPPED: u64 = 10;

/// A job of the store that has run, with the states of its connections.
pub(super) struct LastRun<'a> {
    pub(super) app: &'a AppId,
    pub(super) job: &'a Job,
    pub(super) counts: &'a StateCounts,
    pub(super) active: &'a [ActiveRun],
}

/// Checks the last run of each job.
pub(super) fn check(runs: &[LastRun], schedules: &Schedules, now: UnixTime, findings: &mut Findings) {
    findings.check([Check::LastRuns]);
    for LastRun { app, job, counts, active } in runs {
        let what = format!("the job {} of {}", job.name, app.short());
        let Some(last) = &job.last_run else { continue };
        if last.now > now.saturating_add(CLOCK_TOLERANCE_S) {
            let ahead = time::relative(last.now, now);
            let message = format!("the last run of {what} is in the future ({ahead}): the clock was or is wrong");
            findings.add(
                Check::Clock,
                message,
                "compare the clock with another: date -u; if it is right, run the job once",
            );
        }
        if let Some(since) = job.outage_since {
            let message = outage(last, since, &what, now);
            findings.add(Check::LastRuns, message, remedy(last.outage_cause, app, &job.name));
        } else if let Some(fault) = last.outage_cause {
            let message = format!(
                "the last run of {what} could not poll {} of {} sites for a fault of this machine ({})",
                last.dropped,
                last.polled,
                fault.name()
            );
            findings.add(Check::LastRuns, message, remedy(Some(fault), app, &job.name));
        }
        if last.dropped >= MAX_DROPPED && last.dropped * 10 > last.polled && !last.is_own_fault() {
            let message = format!("the last run of {what} dropped {} of {} outcomes", last.dropped, last.polled);
            findings.add(
                Check::LastRuns,
                message,
                "see why with `cxnpoll poll -v --log-file -`: a listener may not work",
            );
        }
        if let Some(since) = last.behind_since {
            let message = format!("{what} has not polled all due sites in time since {}", time::utc(since));
            let remedy = "do what the warning of its runs says, or poll less often: see docs/scaling.md";
            findings.add(Check::LastRuns, message, remedy);
        }
        let Some(schedule) = schedules.of(app, &job.name) else { continue };
        let elapsed_s = i64::try_from(last.elapsed_ms / 1000).unwrap_or(i64::MAX);
        let left = last.due.saturating_sub(last.polled + last.skipped);
        if left > 0 && !last.outage && last.behind_since.is_none() && elapsed_s >= schedule.max_runtime_s {
            let message = format!(
                "the last run of {what} had no time for {} of {} due sites: it took {}",
                left,
                last.due,
                time::duration(elapsed_s)
            );
            findings.add(Check::LastRuns, message, "poll more sites at a time (--threads), or raise --max-runtime");
        }
        let Some(gap_s) = schedule.gaps.map(|gaps| gaps.longest_s) else { continue };
        let limit_s = gap_s.saturating_mul(MAX_MISSED_STARTS).saturating_add(schedule.max_runtime_s);
        if let Some(since) = no_run_since(job, counts, !active.is_empty(), now, limit_s) {
            let message = format!(
                "no run of {what} has begun since {}, although one should start every {}; {} due",
                time::utc(since),
                time::duration(gap_s),
                count(counts.due_now, "site")
            );
            let remedy =
                "see whether cron works (systemctl status cron, journalctl -u cron), and its mail and the log file";
            findings.add(Check::LastRuns, message, remedy);
        }
    }
}

/// The message about a job whose runs end in an outage.
fn outage(last: &RunRecord, since: UnixTime, what: &str, now: UnixTime) -> String {
    let cause = last.outage_cause.map_or_else(String::new, |fault| format!(" ({})", fault.name()));
    if since == last.now {
        format!("the last run of {what} ended {} in an outage of this machine{cause}", time::relative(since, now))
    } else {
        format!("all runs of {what} since {} ended in an outage of this machine{cause}", time::utc(since))
    }
}

/// What to do about a fault of this machine.
fn remedy(fault: Option<Fault>, app: &AppId, job: &JobName) -> String {
    let app = app.short();
    let remedy = match fault {
        Some(Fault::Network | Fault::Firewall | Fault::SameAddress) => {
            "try to reach a site: curl -I https://example.org/"
        }
        Some(Fault::NoRoute) => "check the routes, also those of IPv6: ip route; ip -6 route",
        Some(Fault::NoPort) => "see what uses the local ports: ss -s",
        Some(Fault::NameServers) => "try to resolve a name: getent hosts example.org",
        Some(Fault::Clock) => "correct the clock: timedatectl set-ntp true",
        Some(Fault::Authorities) => "install the CA certificates: apt-get install ca-certificates",
        Some(Fault::OpenFiles | Fault::Memory) => {
            "raise the limit (LimitNOFILE=8192 of the unit), or use fewer --threads"
        }
        Some(Fault::Distrusted) => "check the certificate: cxnpoll config check",
        _ => return format!("see what the run prints: cxnpoll poll {app} --name {job} -v"),
    };
    remedy.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = 1_800_000_000;

    /// The findings and notes about a job that starts every five minutes.
    fn found(
        run: RunRecord,
        outage_since: Option<UnixTime>,
        due_since: Option<UnixTime>,
    ) -> (Vec<&'static str>, usize) {
        let app = "app:org.example.a".parse().unwrap();
        let mut job = Job::unknown(1, 1, JobName::default());
        (job.last_run, job.outage_since) = (Some(run), outage_since);
        let counts = StateCounts { due_since, due_now: 7, ..StateCounts::default() };
        let schedules = Schedules::of_job(&app, &job.name, Some(300), 600);
        let mut findings = Findings::default();
        check(&[LastRun { app: &app, job: &job, counts: &counts, active: &[] }], &schedules, NOW, &mut findings);
        (findings.ids(), findings.notes.len())
    }

    #[test]
    fn a_last_run_is_well_or_shows_what_is_wrong() {
        let well = || RunRecord { now: NOW - 60, due: 100, polled: 100, ok: 100, ..RunRecord::default() };
        assert_eq!(found(well(), None, None), (vec![], 0));
        assert_eq!(found(RunRecord { now: NOW - 86_400, ..well() }, None, None), (vec![], 0), "nothing was due since");
        assert_eq!(found(well(), None, Some(NOW - 7200)), (vec![], 0), "the last run was limited");
        let old = RunRecord { now: NOW - 7200, ..well() };
        assert_eq!(found(old.clone(), None, Some(NOW - 1500)), (vec![], 0));
        assert_eq!(found(old, None, Some(NOW - 1501)), (vec!["last-runs"], 0));
        let outage = RunRecord { outage: true, outage_cause: Some(Fault::Clock), dropped: 99, ..well() };
        for since in [NOW - 60, NOW - 9000] {
            assert_eq!(found(outage.clone(), Some(since), None), (vec!["last-runs"], 0));
        }
        let partly = RunRecord { outage_cause: Some(Fault::NoRoute), ..well() };
        assert_eq!(found(partly, None, None), (vec!["last-runs"], 0), "its exit code was 69");
        for (dropped, expected) in [(10, vec![]), (11, vec!["last-runs"])] {
            assert_eq!(found(RunRecord { dropped, ..well() }, None, None).0, expected);
        }
        let cut = RunRecord { due: 900, elapsed_ms: 600_000, ..well() };
        assert_eq!(found(cut.clone(), None, None).0, ["last-runs"]);
        let behind = RunRecord { behind_since: Some(NOW - 7200), ..cut.clone() };
        assert_eq!(found(behind, None, None).0, ["last-runs"], "once");
        assert_eq!(found(RunRecord { behind_since: Some(NOW - 7200), ..well() }, None, None).0, ["last-runs"]);
        assert_eq!(found(RunRecord { elapsed_ms: 60_000, ..cut }, None, None), (vec![], 0), "--limit");
        assert_eq!(found(RunRecord { now: NOW + 301, ..well() }, None, None).0, ["clock"]);
    }

    #[test]
    fn an_outage_names_its_cause_and_a_remedy() {
        for fault in Fault::ALL {
            let run = RunRecord { now: NOW, outage: true, outage_cause: Some(fault), ..RunRecord::default() };
            let message = outage(&run, NOW - 7200, "the job", NOW);
            assert!(message.contains(fault.name()) && message.contains("since 2027-01-15"), "{message}");
            let remedy = remedy(Some(fault), &"app:org.example.a".parse().unwrap(), &JobName::default());
            assert!(!remedy.is_empty() && !remedy.contains("APP"), "{remedy}");
        }
    }
}
