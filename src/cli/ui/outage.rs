//! A fault on our side that a run met, as `status` and `explain` show it later.

use crate::model::{Fault, UnixTime};
use crate::store::RunRecord;

/// Describes the fault that a run met: `a fault on our side: no local port was free`.
///
/// `None` if it met none. The cause is missing where a former build recorded the run.
pub(in crate::cli) fn of_run(run: &RunRecord) -> Option<String> {
    let cause = run.outage_cause.map(|fault| format!(": {}", cause(fault)));
    run.is_own_fault().then(|| format!("a fault on our side{}", cause.unwrap_or_default()))
}

/// As [`of_run`], where the fault may be why a site is still due.
///
/// `None` also if the site was not due in the run, or its poll counted: `last_run` and `due` are those of the site.
pub(in crate::cli) fn that_left_due(run: &RunRecord, last_run: UnixTime, due: UnixTime) -> Option<String> {
    of_run(run).filter(|_| last_run < run.now && due <= run.now)
}

fn cause(fault: Fault) -> &'static str {
    match fault {
        Fault::Network => "no site could be reached",
        Fault::NameServers => "the name servers did not answer, or knew no name",
        Fault::SameAddress => "all names had the same address",
        Fault::Firewall => "a firewall or a missing permission forbade connections",
        Fault::NoRoute => "there was no route to the sites",
        Fault::NoPort => "no local port was free",
        Fault::OpenFiles => "the limit of open files was reached",
        Fault::Memory => "there was not enough memory",
        Fault::Clock => "the clock of this machine was wrong",
        Fault::Authorities => "there were no CA certificates",
        Fault::Portal => "a captive portal or a proxy answered for the sites",
        Fault::Refused => "the sites refused with the same status",
        Fault::Distrusted => "the sites refused the app's certificate or its secrets",
        Fault::Listener => "the job's own logic failed",
        Fault::Api => "the API of the sites returned the same error",
        Fault::SameAnswer => "the sites failed with the same answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_described_with_its_cause() {
        let run = |outage, outage_cause| RunRecord { outage, outage_cause, ..RunRecord::default() };
        assert_eq!(of_run(&run(false, None)), None);
        assert_eq!(of_run(&run(true, None)).unwrap(), "a fault on our side");
        assert_eq!(
            of_run(&run(true, Some(Fault::Clock))).unwrap(),
            "a fault on our side: the clock of this machine was wrong"
        );
    }

    #[test]
    fn only_a_site_that_was_due_and_not_counted_was_left_due() {
        let run = |outage| RunRecord { now: 100, outage, ..RunRecord::default() };
        assert!(that_left_due(&run(true), 40, 100).is_some());
        for (outage, last_run, due) in [(false, 40, 100), (true, 100, 100), (true, 40, 101)] {
            assert_eq!(that_left_due(&run(outage), last_run, due), None);
        }
    }
}
