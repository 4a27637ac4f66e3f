//! The report of an import with rejected lines.

use super::report::Report;
use crate::exit;
use crate::transfer::Problem;
use crate::util::text::count;

/// Lines that an import rejected, and what became of the other lines.
#[derive(Debug)]
pub(in crate::cli) struct RejectedLines {
    /// The number of rejected lines.
    pub(in crate::cli) count: usize,
    /// The first of them, with their line numbers.
    pub(in crate::cli) reported: Vec<(usize, Problem)>,
    /// What became of the other lines.
    pub(in crate::cli) rest: Rest,
    /// Whether connections would have been pruned.
    pub(in crate::cli) prune: bool,
}

/// What became of the lines that were not rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Rest {
    /// Nothing was imported, because of the rejected lines.
    Aborted,
    /// Nothing was imported, because of `--dry-run`.
    DryRun,
    /// They were imported.
    Imported,
}

impl RejectedLines {
    fn summary(&self) -> String {
        let mut lines = vec![format!("{} in the input", count(self.count as u64, "bad line"))];
        lines.extend(self.reported.iter().map(|(number, problem)| format!("line {number}: {problem}")));
        match self.count.saturating_sub(self.reported.len()) {
            0 => {}
            more => lines.push(format!("and {more} more")),
        }
        lines.join("\n")
    }
}

impl From<RejectedLines> for Report {
    fn from(lines: RejectedLines) -> Self {
        let rest = match lines.rest {
            Rest::Aborted | Rest::DryRun => "nothing was imported",
            Rest::Imported => "the other lines were imported",
        };
        let pruning = if lines.prune && lines.rest != Rest::Aborted { ", and nothing was pruned" } else { "" };
        let report = Self::new(exit::BAD_DATA, format!("{}\n{rest}{pruning}", lines.summary()));
        let is_accepted_leniently =
            |(_, problem): &(usize, Problem)| matches!(problem, Problem::InvalidName(_) | Problem::NotAWebUrl { .. });
        match lines.rest {
            Rest::Aborted if lines.reported.iter().any(is_accepted_leniently) => report.hint(
                "import the other lines with --on-error skip, or accept names and URLs of former versions with --lenient",
            ),
            Rest::Aborted => report.hint("import the other lines with --on-error skip"),
            Rest::DryRun | Rest::Imported => report,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(count: usize, rest: Rest, prune: bool) -> Report {
        let reported = (1..=count.min(2)).map(|number| (number, Problem::NotUtf8)).collect();
        RejectedLines { count, reported, rest, prune }.into()
    }

    #[test]
    fn the_first_lines_are_reported_and_the_rest_counted() {
        let first = "line 1: not UTF-8";
        assert_eq!(
            report(1, Rest::Imported, false).message,
            format!("1 bad line in the input\n{first}\nthe other lines were imported")
        );
        let message = report(5, Rest::DryRun, true).message;
        assert_eq!(
            message,
            format!(
                "5 bad lines in the input\n{first}\nline 2: not UTF-8\nand 3 more\nnothing was imported, and nothing was pruned"
            )
        );
    }

    #[test]
    fn the_hint_names_lenient_where_that_accepts_a_line() {
        let hint = |problem: Problem| {
            let reported = vec![(1, Problem::NotUtf8), (2, problem)];
            Report::from(RejectedLines { count: 2, reported, rest: Rest::Aborted, prune: false }).hint.unwrap()
        };
        assert!(hint(Problem::NotAWebUrl { key: "siteUrl" }).ends_with("--lenient"));
        assert!(hint(Problem::InvalidSecret).ends_with("--on-error skip"));
    }

    #[test]
    fn only_an_aborted_import_has_a_hint() {
        assert!(report(1, Rest::Aborted, true).hint.is_some());
        assert!(!report(1, Rest::Aborted, true).message.contains("pruned"));
        for rest in [Rest::DryRun, Rest::Imported] {
            assert_eq!((report(1, rest, false).hint, report(1, rest, false).exit_code), (None, exit::BAD_DATA));
        }
    }
}
