//! A bar of days: how long sites were up on each.

use std::env;

use crate::report::Slice;

/// The marks from down all day to up all day, for terminals and locales with Unicode, and for others.
///
/// The last is for time of which nothing is known.
const UNICODE: [char; 9] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█', '·'];
const PLAIN: [char; 9] = ['_', '.', '.', '-', '-', '+', '+', '#', '?'];

/// Draws a mark for each slice: the higher, the longer sites were up.
pub(in crate::cli) fn bar(slices: &[Slice]) -> String {
    draw(slices, if has_blocks(|name| env::var(name).ok()) { UNICODE } else { PLAIN })
}

fn draw(slices: &[Slice], marks: [char; 9]) -> String {
    let mark = |slice: &Slice| {
        let (up, down) = (slice.times.up_s, slice.times.down_s);
        match (up, down) {
            (0, 0) => marks[8],
            (_, 0) => marks[7],
            (0, _) => marks[0],
            // Only what was never down, or never up, has the first and the last mark.
            (up, down) => {
                marks[1 + usize::try_from(u128::from(up) * 6 / (u128::from(up) + u128::from(down))).unwrap_or(0)]
            }
        }
    };
    slices.iter().map(mark).collect()
}

/// Whether the blocks of Unicode are shown, by the locale and the kind of the terminal.
///
/// The console of Linux has only some of them.
fn has_blocks(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(&variable).find(|value| !value.is_empty());
    let is_utf8 =
        locale.is_some_and(|locale| ["utf-8", "utf8"].iter().any(|name| locale.to_lowercase().contains(name)));
    is_utf8 && variable("TERM").is_none_or(|term| term != "linux" && term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Times;

    #[test]
    fn a_mark_is_the_higher_the_longer_sites_were_up() {
        let slice =
            |(up_s, down_s)| Slice { from: 0, to: 0, times: Times { up_s, down_s, unknown_s: 0 }, incidents: 0 };
        let slices: Vec<_> = [(0, 0), (9, 0), (9999, 1), (5, 5), (1, 9999), (0, 9)].map(slice).into();
        assert_eq!(draw(&slices, UNICODE), "·█▇▅▂▁");
        assert_eq!(draw(&slices, PLAIN), "?#+-._");
    }

    #[test]
    fn blocks_need_a_locale_and_a_terminal_that_have_them() {
        for (environment, expected) in [
            ("LANG=C.UTF-8 TERM=xterm", true),
            ("LANG=de_DE.utf8", true),
            ("LC_ALL=en_US.UTF-8 LANG=C", true),
            ("LC_ALL=C LANG=en_US.UTF-8 TERM=xterm", false),
            ("LC_ALL= LANG=en_US.UTF-8 TERM=xterm", true),
            ("LANG=de_DE.ISO-8859-1", false),
            ("TERM=xterm", false),
            ("LANG=C.UTF-8 TERM=linux", false),
            ("LANG=C.UTF-8 TERM=dumb", false),
        ] {
            let variable = |name: &str| {
                environment.split(' ').find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
            };
            assert_eq!(has_blocks(variable), expected, "{environment}");
        }
    }
}
