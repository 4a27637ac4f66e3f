//! The times of many sites by part of the window.

use super::data::{Slice, Times};
use crate::model::UnixTime;
use crate::util::time::{DAY_S, HOUR_S};

/// A window that is not longer has a slice for each hour.
const MAX_HOURS_S: UnixTime = 3 * DAY_S;
const MAX_SLICES: UnixTime = 400;

/// The seconds of spans by slice.
///
/// A span takes the same time however many slices it covers.
#[derive(Debug, Clone)]
pub(super) struct Slices {
    /// A multiple of the length, so that days begin at midnight.
    first: UnixTime,
    length: UnixTime,
    /// One more than there are slices.
    sums: Vec<Sums>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// Up and down: seconds of spans that cover a part of the slice.
    parts: [i64; 2],
    /// Up and down: how many more spans cover the whole slice than the one before.
    whole: [i64; 2],
    incidents: u64,
}

impl Slices {
    /// The slices of a window.
    pub(super) fn new(from: UnixTime, to: UnixTime) -> Self {
        let window = to.saturating_sub(from);
        let length = if window <= MAX_HOURS_S { HOUR_S } else { DAY_S * (1 + window / (DAY_S * MAX_SLICES)) };
        let first = from.div_euclid(length).saturating_mul(length);
        let count = usize::try_from(to.saturating_sub(first).max(1).saturating_add(length - 1) / length).unwrap_or(1);
        Self { first, length, sums: vec![Sums::default(); count + 1] }
    }

    /// Adds a span within the window.
    pub(super) fn add_span(&mut self, is_up: bool, from: UnixTime, to: UnixTime) {
        let kind = usize::from(!is_up);
        let (first, last) = (self.slice_of(from), self.slice_of(to));
        let (first_begin, last_begin) = (self.begin_of(first), self.begin_of(last));
        // All of the slices from that of `from` to the one before that of `to`, less what is before `from`, and the rest.
        self.sums[first].whole[kind] += 1;
        self.sums[last].whole[kind] -= 1;
        self.sums[first].parts[kind] -= from - first_begin;
        self.sums[last].parts[kind] += to - last_begin;
    }

    /// Counts an incident that began in the window.
    pub(super) fn add_incident(&mut self, at: UnixTime) {
        let slice = self.slice_of(at).min(self.sums.len() - 2);
        self.sums[slice].incidents += 1;
    }

    /// The slices of a window with so many sites.
    pub(super) fn finish(&self, from: UnixTime, to: UnixTime, sites: u64) -> Vec<Slice> {
        let mut whole = [0; 2];
        let slice = |(index, sums): (usize, &Sums)| {
            let begin = self.begin_of(index);
            let (slice_from, slice_to) = (begin.max(from), begin.saturating_add(self.length).min(to));
            let mut seconds = [0; 2];
            for kind in 0..2 {
                whole[kind] += sums.whole[kind];
                seconds[kind] = u64::try_from(whole[kind] * self.length + sums.parts[kind]).unwrap_or(0);
            }
            let [up_s, down_s] = seconds;
            let all = sites * slice_to.saturating_sub(slice_from).max(0).unsigned_abs();
            let times = Times { up_s, down_s, unknown_s: all.saturating_sub(up_s + down_s) };
            Slice { from: slice_from, to: slice_to, times, incidents: sums.incidents }
        };
        self.sums[..self.sums.len() - 1].iter().enumerate().map(slice).collect()
    }

    fn slice_of(&self, at: UnixTime) -> usize {
        usize::try_from((at - self.first) / self.length).unwrap_or(0).min(self.sums.len() - 1)
    }

    fn begin_of(&self, slice: usize) -> UnixTime {
        self.first + i64::try_from(slice).unwrap_or(0) * self.length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slices_are_hours_or_days_in_utc() {
        let of = |from, to| {
            let slices = Slices::new(from, to).finish(from, to, 1);
            let lengths: Vec<_> = slices.iter().map(|slice| slice.to - slice.from).collect();
            (slices.len(), lengths[0], *lengths.last().unwrap())
        };
        assert_eq!(of(1800, 3 * 3600), (3, 1800, 3600));
        assert_eq!(of(DAY_S / 2, 10 * DAY_S + 60), (11, DAY_S / 2, 60));
        assert_eq!(of(0, 365 * DAY_S), (365, DAY_S, DAY_S));
        assert_eq!(of(0, 4000 * DAY_S), (364, 11 * DAY_S, 7 * DAY_S));
        assert_eq!(of(7200, 7200), (1, 0, 0));
        assert_eq!(of(0, MAX_HOURS_S), (72, HOUR_S, HOUR_S));
        assert_eq!(of(0, MAX_HOURS_S + 1), (4, DAY_S, 1));
    }

    #[test]
    fn an_incident_at_the_end_is_in_the_last_slice() {
        let mut slices = Slices::new(0, 2 * HOUR_S);
        slices.add_incident(0);
        slices.add_incident(2 * HOUR_S);
        let incidents: Vec<_> = slices.finish(0, 2 * HOUR_S, 1).iter().map(|slice| slice.incidents).collect();
        assert_eq!(incidents, [1, 1]);
    }

    proptest! {
        #[test]
        fn the_slices_have_the_seconds_of_all_spans(
            from in 0..10_000_000_i64,
            length in 1..40 * DAY_S,
            spans in prop::collection::vec((any::<bool>(), 0..=1000_i64, 0..=1000_i64), 0..20),
        ) {
            let to = from + length;
            let mut slices = Slices::new(from, to);
            let at = |permille: i64| from + length * permille / 1000;
            let spans: Vec<_> = spans.into_iter().map(|(is_up, a, b)| (is_up, at(a.min(b)), at(a.max(b)))).collect();
            for (is_up, begin, end) in &spans {
                slices.add_span(*is_up, *begin, *end);
            }
            let slices = slices.finish(from, to, 20);
            prop_assert_eq!((slices[0].from, slices.last().unwrap().to), (from, to));
            for slice in slices {
                let overlap = |wanted: bool| {
                    let of = |(is_up, begin, end): &(bool, i64, i64)| {
                        if *is_up == wanted { (slice.to.min(*end) - slice.from.max(*begin)).max(0).unsigned_abs() } else { 0 }
                    };
                    spans.iter().map(of).sum::<u64>()
                };
                let Times { up_s, down_s, unknown_s } = slice.times;
                prop_assert_eq!((up_s, down_s), (overlap(true), overlap(false)));
                prop_assert_eq!(up_s + down_s + unknown_s, 20 * (slice.to - slice.from).unsigned_abs());
            }
        }
    }
}
