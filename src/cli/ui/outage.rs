//! A fault on our side that a run met, as `status` and `explain` show it later.

use crate::model::Fault;
use crate::store::RunRecord;

/// Describes the fault that a run met: `a fault on our side: no local port was free`.
///
/// `None` if it met none. The cause is missing where a former build recorded the run.
pub(in crate::cli) fn of_run(run: &RunRecord) -> Option<String> {
    let cause = run.outage_cause.map(|fault| format!(": {}", cause(fault)));
    run.is_own_fault().then(|| format!("a fault on our side{}", cause.unwrap_or_default()))
}

/// What the fault was, without a capital letter and a full stop.
pub(in crate::cli) fn cause(fault: Fault) -> &'static str {
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
}
