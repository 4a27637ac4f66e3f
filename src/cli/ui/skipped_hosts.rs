//! Hosts whose sites a run skipped, as `poll`, `status` and `explain` show them.

use crate::store::{RunRecord, SkipReason};
use crate::util::text::count;

/// How many hosts are shown.
const MAX_SHOWN: usize = 5;

/// One line per skipped host of a run, the most sites first; at most five, and how many more.
pub(in crate::cli) fn lines(run: &RunRecord) -> Vec<String> {
    let hosts = run.skipped_hosts_by_sites();
    let more = hosts.len().saturating_sub(MAX_SHOWN) as u64;
    let lines = hosts.into_iter().take(MAX_SHOWN).map(|host| {
        let state = match host.reason {
            SkipReason::Down => "was down",
            SkipReason::AskedToWait => "asked to wait",
        };
        format!("Host {} {state}: {} skipped.", host.address, count(host.sites, "site"))
    });
    lines.chain((more > 0).then(|| format!("And {}.", count(more, "more host")))).collect()
}

/// Why a site of a host was not tried: `was down (its polls could not connect or timed out)`.
pub(in crate::cli) fn reason(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Down => "was down (its polls could not connect or timed out)",
        SkipReason::AskedToWait => "asked to wait (two of its sites answered 429 or 503 with Retry-After)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SkippedHost;

    #[test]
    fn five_hosts_are_shown() {
        let host = |number: u8| SkippedHost {
            address: [203, 0, 113, number].into(),
            reason: if number == 1 { SkipReason::AskedToWait } else { SkipReason::Down },
            sites: number.into(),
            names: Vec::new(),
        };
        let lines =
            |hosts| lines(&RunRecord { skipped_hosts: (1..=hosts).map(host).collect(), ..RunRecord::default() });
        assert!(lines(0).is_empty());
        assert_eq!(
            lines(2),
            ["Host 203.0.113.2 was down: 2 sites skipped.", "Host 203.0.113.1 asked to wait: 1 site skipped."]
        );
        assert_eq!(
            (lines(5).len(), lines(6)[5].as_str(), lines(7)[5].as_str()),
            (5, "And 1 more host.", "And 2 more hosts.")
        );
    }
}
