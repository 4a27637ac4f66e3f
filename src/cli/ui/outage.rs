//! An outage of this machine, as `status` and `explain` show it later.

use crate::model::{Fault, UnixTime};
use crate::store::RunRecord;

/// Describes the outage of a run: `an outage of this machine: no local port was free`.
///
/// `None` if it had none. The cause is missing where a former build recorded the run.
pub(in crate::cli) fn of_run(run: &RunRecord) -> Option<String> {
    let cause = run.outage_cause.map(|fault| format!(": {}", cause(fault)));
    (run.outage || cause.is_some()).then(|| format!("an outage of this machine{}", cause.unwrap_or_default()))
}

/// As [`of_run`], where the outage may be why a site is still due.
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
        Fault::Firewall => "a firewall or a missing permission did not let it connect",
        Fault::NoRoute => "it had no route to the sites",
        Fault::NoPort => "no local port was free",
        Fault::OpenFiles => "the limit of open files was reached",
        Fault::Memory => "there was not enough memory",
        Fault::Clock => "its clock was wrong",
        Fault::Authorities => "it had no CA certificates",
        Fault::Portal => "a captive portal or a proxy answered for the sites",
        Fault::Refused => "the sites refused it with the same status",
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
    fn an_outage_is_described_with_its_cause() {
        let run = |outage, outage_cause| RunRecord { outage, outage_cause, ..RunRecord::default() };
        assert_eq!(of_run(&run(false, None)), None);
        assert_eq!(of_run(&run(true, None)).unwrap(), "an outage of this machine");
        assert_eq!(of_run(&run(true, Some(Fault::Clock))).unwrap(), "an outage of this machine: its clock was wrong");
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
