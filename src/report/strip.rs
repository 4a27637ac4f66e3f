//! How a site was over time, in little memory.

use super::timeline::{HostNo, Open, Seconds, Sink};
use crate::model::UnixTime;

/// The number of cells of a strip.
pub const STRIP_CELLS: usize = 192;
const WORDS: usize = STRIP_CELLS / 64;

/// The time of a report in equal cells, each with the worst that is known of a site in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strip {
    up: [u64; WORDS],
    down: [u64; WORDS],
}

/// What is known of a site in a part of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Unknown,
    /// It was up, and not down.
    Up,
    /// It was down for some of the time at least.
    Down,
}

impl Strip {
    /// Adds that the site was up, or down, in a part of the whole time. Both are a start and a later end, in UTC seconds.
    pub(crate) fn add(&mut self, is_up: bool, part: (UnixTime, UnixTime), whole: (UnixTime, UnixTime)) {
        let (from, to) = (part.0.max(whole.0), part.1.min(whole.1));
        if from >= to {
            return;
        }
        let bits = if is_up { &mut self.up } else { &mut self.down };
        for cell in cell_of(from, whole)..=cell_of(to - 1, whole) {
            bits[cell / 64] |= 1 << (cell % 64);
        }
    }

    /// The cells, in the order of time.
    pub fn cells(&self) -> impl Iterator<Item = Cell> {
        let has = |bits: &[u64; WORDS], cell: usize| bits[cell / 64] >> (cell % 64) & 1 == 1;
        (0..STRIP_CELLS).map(move |cell| match (has(&self.up, cell), has(&self.down, cell)) {
            (_, true) => Cell::Down,
            (true, false) => Cell::Up,
            (false, false) => Cell::Unknown,
        })
    }
}

/// Draws the spans of a site.
pub(super) struct StripSink {
    pub(super) strip: Strip,
    /// The end of the report.
    end: Seconds,
}

impl StripSink {
    pub(super) fn new(end: Seconds) -> Self {
        Self { strip: Strip::default(), end }
    }
}

impl Sink for StripSink {
    fn span(&mut self, is_up: bool, from: Seconds, to: Seconds, _: HostNo) {
        self.strip.add(is_up, (from.into(), to.into()), (0, self.end.into()));
    }

    fn incident(&mut self, _: Open, _: Option<Seconds>) {}
}

/// The cell of a time in the whole time.
fn cell_of(at: UnixTime, (from, to): (UnixTime, UnixTime)) -> usize {
    let (after, length) = (i128::from(at) - i128::from(from), i128::from(to) - i128::from(from));
    usize::try_from(after * STRIP_CELLS as i128 / length).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: (UnixTime, UnixTime) = (1000, 1000 + 192 * 10);

    fn runs(strip: &Strip) -> Vec<(Cell, usize)> {
        let cells: Vec<_> = strip.cells().collect();
        cells.chunk_by(PartialEq::eq).map(|cells| (cells[0], cells.len())).collect()
    }

    #[test]
    fn a_cell_shows_the_worst() {
        let mut strip = Strip::default();
        strip.add(false, (1700, 1701), WHOLE);
        strip.add(true, (1000, 1700), WHOLE);
        strip.add(true, (1701, 1719), WHOLE);
        assert_eq!(runs(&strip), [(Cell::Up, 70), (Cell::Down, 1), (Cell::Up, 1), (Cell::Unknown, 120)]);
    }

    #[test]
    fn what_is_outside_is_left_out() {
        let mut strip = Strip::default();
        for part in [(0, 1000), (2920, 3000), (1500, 1500), (i64::MIN, i64::MIN)] {
            strip.add(false, part, WHOLE);
        }
        assert_eq!(runs(&strip), [(Cell::Unknown, 192)]);
        strip.add(true, (i64::MIN, i64::MAX), WHOLE);
        assert_eq!(runs(&strip), [(Cell::Up, 192)]);
        strip.add(false, (0, 9), (7, 7));
        strip.add(false, (i64::MAX - 1, i64::MAX), (i64::MIN, i64::MAX));
        assert_eq!(runs(&strip), [(Cell::Up, 191), (Cell::Down, 1)]);
    }
}
