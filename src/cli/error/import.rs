//! The reports of imports: rejected lines, inputs without connections, temporary files.

use std::io;
use std::path::Path;

use super::file;
use super::report::Report;
use super::transfer::bad_record;
use crate::exit;
use crate::transfer::{Place, Problem};
use crate::util::text::count;

/// Lines that an import rejected, and what became of the other lines.
#[derive(Debug)]
pub(in crate::cli) struct RejectedLines {
    /// The number of rejected lines.
    pub(in crate::cli) count: usize,
    /// The first of them, with their places.
    pub(in crate::cli) reported: Vec<(Place, Problem)>,
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
    /// Nothing was imported, because of `--dry-run` or because there are none.
    None,
    /// They were imported.
    Imported,
}

impl RejectedLines {
    fn summary(&self) -> String {
        let mut lines = vec![format!("{} in the input", count(self.count as u64, "bad line"))];
        lines.extend(self.reported.iter().map(|(place, problem)| bad_record(place, problem)));
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
            Rest::Aborted | Rest::None => "nothing was imported",
            Rest::Imported => "the other lines were imported",
        };
        let pruning = if lines.prune && lines.rest != Rest::Aborted { ", and nothing was pruned" } else { "" };
        let report = Self::new(exit::BAD_DATA, format!("{}\n{rest}{pruning}", lines.summary()));
        let is_accepted_leniently =
            |(_, problem): &(Place, Problem)| matches!(problem, Problem::InvalidName(_) | Problem::NotAWebUrl { .. });
        match lines.rest {
            Rest::Aborted if lines.reported.iter().any(is_accepted_leniently) => report.hint(
                "import the other lines with --on-error skip, or accept names and URLs of former versions with --lenient",
            ),
            Rest::Aborted => report.hint("import the other lines with --on-error skip"),
            Rest::None | Rest::Imported => report,
        }
    }
}

/// An input without a record, named `path`; `None` is standard input.
pub(super) fn empty(path: Option<&Path>) -> Report {
    let name = path.map_or("standard input".to_owned(), |path| path.display().to_string());
    Report::new(exit::BAD_DATA, format!("{name} is empty or has only a header, so there is no connection to import"))
}

/// A temporary file in `dir` that cannot be written or read.
pub(super) fn spool(dir: &Path, error: &io::Error) -> Report {
    let hint = file::space_hint(error.kind()).unwrap_or("name another directory with TMPDIR");
    // An error of the tempfile crate repeats the directory, and the name of a file that does not exist.
    let reason = if error.raw_os_error().is_some() { error.to_string() } else { error.kind().to_string() };
    let message = format!("cannot keep the input in a temporary file in {}: {reason}", dir.display());
    Report::new(exit::STORE, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: usize) -> Place {
        Place { line, ..Place::default() }
    }

    fn report(count: usize, rest: Rest, prune: bool) -> Report {
        let reported = (1..=count.min(2)).map(|line| (place(line), Problem::NotUtf8)).collect();
        RejectedLines { count, reported, rest, prune }.into()
    }

    #[test]
    fn the_first_lines_are_reported_and_the_rest_counted() {
        let first = "line 1: not UTF-8";
        assert_eq!(
            report(1, Rest::Imported, false).message,
            format!("1 bad line in the input\n{first}\nthe other lines were imported")
        );
        let message = report(5, Rest::None, true).message;
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
            let reported = vec![(place(1), Problem::NotUtf8), (place(2), problem)];
            Report::from(RejectedLines { count: 2, reported, rest: Rest::Aborted, prune: false }).hint.unwrap()
        };
        assert!(hint(Problem::NotAWebUrl { key: "siteUrl" }).ends_with("--lenient"));
        assert!(hint(Problem::InvalidSecret).ends_with("--on-error skip"));
    }

    #[test]
    fn only_an_aborted_import_has_a_hint() {
        assert!(report(1, Rest::Aborted, true).hint.is_some());
        assert!(!report(1, Rest::Aborted, true).message.contains("pruned"));
        for rest in [Rest::None, Rest::Imported] {
            assert_eq!((report(1, rest, false).hint, report(1, rest, false).exit_code), (None, exit::BAD_DATA));
        }
    }
}
