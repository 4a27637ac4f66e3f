//! The bar of a site: when it was up, down, and neither as far as is known.

use std::fmt::Write;

use super::text::Time;
use crate::model::UnixTime;
use crate::report::{Cell, STRIP_CELLS, SiteReport};
use crate::util::text::count;

/// What the template draws. The heights differ, so that the bar can be read without colours.
pub(super) struct Bar {
    /// The width in its own units.
    pub(super) width: usize,
    /// The path of the time up.
    pub(super) up: String,
    /// The path of the time down.
    pub(super) down: String,
    /// The path of the other time.
    pub(super) unknown: String,
    /// What the bar shows, in words.
    pub(super) text: String,
}

impl Bar {
    /// Draws a site in a report that ends at `end`.
    pub(super) fn of(site: &SiteReport, end: UnixTime) -> Self {
        let cells: Vec<_> = site.strip.cells().collect();
        let [mut up, mut down, mut unknown] = [const { String::new() }; 3];
        let mut x = 0;
        for run in cells.chunk_by(PartialEq::eq) {
            let (path, y, height) = match run[0] {
                Cell::Up => (&mut up, 7, 6),
                Cell::Down => (&mut down, 0, 20),
                Cell::Unknown => (&mut unknown, 9, 2),
            };
            // Writing to a string does not fail.
            let _ = write!(path, "M{x} {y}h{width}v{height}h-{width}z", width = run.len());
            x += run.len();
        }
        let longest = site.incidents.iter().max_by_key(|incident| incident.duration_s(end));
        let text = longest.map_or_else(
            || "never down".to_owned(),
            |longest| {
                let to =
                    longest.to.map_or_else(|| ", which is not over".to_owned(), |to| format!(" to {}", to.minute()));
                let times = count(site.incidents.len() as u64, "time");
                format!("down {times}, for the longest time from {}{to}", longest.from.minute())
            },
        );
        Self { width: STRIP_CELLS, up, down, unknown, text }
    }
}
