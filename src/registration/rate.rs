//! How many requests are admitted in a period: pure.
//!
//! This is the generic cell rate algorithm. Of each subject it keeps one time: when all its requests so far would have been
//! admitted, had they come one by one.

/// A limit of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// How many, at least 1.
    count: u32,
    /// In how many milliseconds.
    period_ms: u64,
}

impl Limit {
    /// A limit of requests per minute; `None` if there is none, which is 0.
    pub(super) fn per_minute(count: u32) -> Option<Self> {
        (count > 0).then_some(Self { count, period_ms: 60_000 })
    }

    /// A limit of requests per hour; `None` if there is none, which is 0.
    pub(super) fn per_hour(count: u32) -> Option<Self> {
        (count > 0).then_some(Self { count, period_ms: 3_600_000 })
    }

    /// Admits a request at `now` and returns the time to keep.
    ///
    /// If it is not admitted, the error is in how many milliseconds one is.
    /// `kept` is the time that was kept last, and 0 for a new subject. All times are in milliseconds. A time beyond the period
    /// was kept by another clock, and counts as none.
    pub(super) fn admit(self, kept: u64, now: u64) -> Result<u64, u64> {
        let latest = now.saturating_add(self.period_ms);
        let from = if kept > latest { now } else { kept.max(now) };
        let next = from.saturating_add(self.period_ms.div_ceil(self.count.into()));
        if next <= latest { Ok(next) } else { Err(next - latest) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many of the requests at these times, in milliseconds, are admitted.
    fn admitted(limit: Limit, times: impl IntoIterator<Item = u64>) -> usize {
        let mut kept = 0;
        let admit = |now: &u64| limit.admit(kept, *now).map(|next| kept = next).is_ok();
        times.into_iter().filter(admit).count()
    }

    const START: u64 = 1_767_225_600_000;

    #[test]
    fn as_many_as_the_limit_are_admitted_at_once_and_then_one_by_one() {
        let limit = Limit::per_minute(60).unwrap();
        assert_eq!(admitted(limit, [START; 100]), 60);
        // A second later, there is room for one.
        assert_eq!(admitted(limit, [START; 60].into_iter().chain([START + 1000; 9])), 61);
        let mut kept = 0;
        for _ in 0..60 {
            kept = limit.admit(kept, START).unwrap();
        }
        assert_eq!(limit.admit(kept, START), Err(1000));
        assert_eq!(limit.admit(kept, START + 400), Err(600));
        assert_eq!(limit.admit(kept, START + 1000), Ok(kept + 1000));
    }

    #[test]
    fn a_limit_of_one_is_one_per_period() {
        let limit = Limit::per_hour(1).unwrap();
        assert_eq!(admitted(limit, (0..7200).map(|second| START + second * 1000)), 2);
        assert_eq!((Limit::per_hour(0), Limit::per_minute(0)), (None, None));
    }

    #[test]
    fn a_time_of_another_clock_holds_no_request_up() {
        let limit = Limit::per_minute(1).unwrap();
        assert_eq!(limit.admit(u64::MAX, START), Ok(START + 60_000));
        assert_eq!(limit.admit(START + 60_001, START), Ok(START + 60_000));
        assert_eq!(limit.admit(START + 60_000, START), Err(60_000));
    }

    proptest! {
        #[test]
        fn no_period_admits_more_than_twice_the_limit(
            count in 1..50_u32,
            mut times in prop::collection::vec(0..120_000_u64, 0..300),
        ) {
            times.sort_unstable();
            let limit = Limit::per_minute(count).unwrap();
            let mut kept = 0;
            times.retain(|now| limit.admit(kept, START + now).map(|next| kept = next).is_ok());
            for (at, first) in times.iter().enumerate() {
                let in_period = times[at..].iter().take_while(|time| **time < first + 60_000).count();
                prop_assert!(in_period <= 2 * count as usize);
            }
        }

        #[test]
        fn nothing_overflows(count in 1_u32.., kept: u64, now: u64) {
            let _ = Limit::per_hour(count).unwrap().admit(kept, now);
        }
    }
}
