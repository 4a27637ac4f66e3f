//! How late the polls of a run began.

use serde::{Deserialize, Serialize};

/// How long after their due times the polls of a run began, in seconds.
///
/// The names of its fields are those of JSON, and of the run in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lateness {
    /// Half of the polls were later by no more than this.
    pub p50: u32,
    /// 95 % of the polls were later by no more than this.
    pub p95: u32,
    /// The latest poll.
    pub max: u32,
}

impl Lateness {
    /// The percentiles of polls that began so late; `None` if there were none.
    #[must_use]
    pub fn of(seconds: &[u32]) -> Option<Self> {
        let mut sorted = seconds.to_vec();
        sorted.sort_unstable();
        // The smallest value that is at least as large as this part of all.
        let percentile = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { p50: percentile(50)?, p95: percentile(95)?, max: percentile(100)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let of = |seconds: &[u32]| Lateness::of(seconds).map(|lateness| (lateness.p50, lateness.p95, lateness.max));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[7]), Some((7, 7, 7)));
        assert_eq!(of(&[9, 1]), Some((1, 9, 9)));
        let hundred: Vec<_> = (1..=100).rev().collect();
        assert_eq!(of(&hundred), Some((50, 95, 100)));
        assert_eq!(of(&[&hundred[..], &[500]].concat()), Some((51, 96, 500)));
    }
}
