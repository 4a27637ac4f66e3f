//! The chart of availability over time.

use std::fmt::Write;

use super::text::{OrDash, Time};
use crate::model::UnixTime;
use crate::report::Slice;
use crate::util::text::count;
use crate::util::time::{DAY_S, HOUR_S};

/// The least height of a bar, in percent of the chart, so that any time down is visible.
const MIN_HEIGHT: f64 = 1.0;
/// With more bars than this there are no gaps between them.
const MAX_WITH_GAPS: usize = 120;
/// The parts of the time that the height of the chart can stand for.
const SCALES: [f64; 12] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/// What the template draws.
pub(super) struct Chart {
    /// What a bar stands for: `a day`.
    pub(super) unit: String,
    /// The number of bars.
    pub(super) width: usize,
    /// The path of the bars.
    pub(super) down: String,
    /// The path of the marks where nothing is known.
    pub(super) unknown: String,
    /// The availability at half of the height, and at the foot.
    pub(super) scale: [String; 2],
    /// The start of the first, the middle and the last bar.
    pub(super) starts: Vec<String>,
    /// What the chart shows, in words.
    pub(super) text: String,
}

impl Chart {
    /// Draws parts of the time; `None` if nothing is known of any.
    pub(super) fn of(slices: &[Slice]) -> Option<Self> {
        let known = slices.iter().filter_map(|slice| Some((slice, 1.0 - slice.times.availability()?)));
        let (worst, most) = known.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let scale = SCALES.into_iter().find(|scale| *scale >= most).unwrap_or(1.0);
        let width = if slices.len() > MAX_WITH_GAPS { 1.0 } else { 0.8 };
        let (mut bars, mut unknown) = (String::new(), String::new());
        for (x, slice) in slices.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = match slice.times.availability().map(|availability| 1.0 - availability) {
                None => write!(unknown, "M{x} 96h1v4h-1z"),
                Some(down) if down > 0.0 => {
                    write!(bars, "M{x} 0h{width}v{:.1}h-{width}z", (down / scale * 100.0).max(MIN_HEIGHT))
                }
                Some(_) => Ok(()),
            };
        }
        let length = slices.iter().map(|slice| slice.to - slice.from).max()?;
        let (unit, start): (_, fn(&UnixTime) -> String) = if length <= HOUR_S {
            ("an hour".to_owned(), Time::time_of_day)
        } else if length <= DAY_S {
            ("a day".to_owned(), Time::day)
        } else {
            (count(length.unsigned_abs().div_ceil(DAY_S.unsigned_abs()), "day"), Time::day)
        };
        let starts = match slices {
            [first, .., last] => vec![first.from, slices[slices.len() / 2].from, last.from],
            _ => vec![worst.from],
        };
        Some(Self {
            unit,
            width: slices.len(),
            down: bars,
            unknown,
            scale: [1.0 - scale / 2.0, 1.0 - scale].map(short_percent),
            starts: starts.iter().map(start).collect(),
            text: match most {
                0.0 => "No site was down.".to_owned(),
                _ => format!("The lowest is {}, from {}.", worst.times.percent().or_dash(), worst.from.minute()),
            },
        })
    }
}

/// A part from 0 to 1 with the digits that it needs, at most three: `99.5 %`.
fn short_percent(part: f64) -> String {
    let text = format!("{:.3}", part * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}
