//! The reports of imports: rejected lines, inputs without connections, temporary files.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::file;
use super::report::Report;
use super::transfer::bad_record;
use crate::exit;
use crate::model::AppId;
use crate::transfer::{Position, Problem};
use crate::util::text::count;

/// How many apps are named.
const MAX_NAMED: usize = 10;

/// Lines that an import rejected, and what became of the other lines.
#[derive(Debug)]
pub(in crate::cli) struct RejectedLines {
    /// The number of rejected lines.
    pub(in crate::cli) count: usize,
    /// The first of them, with their positions.
    pub(in crate::cli) reported: Vec<(Position, Problem)>,
    /// What became of the other lines.
    pub(in crate::cli) rest: Rest,
    /// The apps of which nothing was pruned because of the rejected lines; none without `--prune`.
    pub(in crate::cli) spared: Spared,
}

/// Apps of which nothing is pruned, because bad lines may be theirs.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Spared {
    /// These apps.
    Apps(BTreeSet<AppId>),
    /// All apps.
    All,
}

impl Default for Spared {
    fn default() -> Self {
        Self::Apps(BTreeSet::new())
    }
}

/// An app of which an import would remove more connections than it may.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) struct Excess {
    /// The app.
    pub(in crate::cli) app_id: AppId,
    /// How many connections would be removed.
    pub(in crate::cli) removed: u64,
    /// How many connections are stored.
    pub(in crate::cli) stored: u64,
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
        lines.extend(self.reported.iter().map(|(position, problem)| bad_record(position, problem)));
        match self.count.saturating_sub(self.reported.len()) {
            0 => {}
            more => lines.push(format!("and {more} more")),
        }
        lines.join("\n")
    }
}

impl Spared {
    /// The end of a sentence about the import; empty if no app is spared.
    fn clause(&self) -> String {
        match self {
            Self::All => ", and nothing was pruned".to_owned(),
            Self::Apps(apps) if apps.is_empty() => String::new(),
            Self::Apps(apps) => {
                let mut names: Vec<_> = apps.iter().take(MAX_NAMED).map(ToString::to_string).collect();
                match apps.len() - names.len() {
                    0 => {}
                    more => names.push(format!("{more} more")),
                }
                format!(", and nothing of {} was pruned", names.join(", "))
            }
        }
    }
}

/// The report of a prune that would remove too many connections.
pub(super) fn prune_over_limit(excess: &[Excess]) -> Report {
    let mut lines = vec!["--prune would remove too many connections; nothing was changed".to_owned()];
    let line = |Excess { app_id, removed, stored }: &Excess| {
        format!("{app_id}: {removed} of {}", count(*stored, "connection"))
    };
    lines.extend(excess.iter().map(line));
    let most = excess.iter().map(|app| app.removed).max().unwrap_or_default();
    Report::new(exit::BAD_DATA, lines.join("\n")).hint(format!(
        "check that the input is complete; list the connections with --dry-run, or allow this with --prune-at-most {most}"
    ))
}

impl From<RejectedLines> for Report {
    fn from(lines: RejectedLines) -> Self {
        let rest = match lines.rest {
            Rest::Aborted | Rest::None => "nothing was imported",
            Rest::Imported => "the other lines were imported",
        };
        let pruning = if lines.rest == Rest::Aborted { String::new() } else { lines.spared.clause() };
        let report = Self::new(exit::BAD_DATA, format!("{}\n{rest}{pruning}", lines.summary()));
        let is_accepted_leniently = |(_, problem): &(Position, Problem)| {
            matches!(problem, Problem::InvalidName(_) | Problem::NotAWebUrl { .. })
        };
        let is_cut = |(_, problem): &(Position, Problem)| {
            matches!(problem, Problem::Incomplete | Problem::NoLineEnd | Problem::UnclosedQuote)
        };
        match lines.rest {
            Rest::Aborted if lines.reported.iter().any(is_cut) => {
                report.hint("check that the input is complete, or import the other lines with --on-error skip")
            }
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
    Report::new(exit::BAD_DATA, format!("{name} has no connections"))
}

/// A temporary file in `dir` that cannot be written or read.
pub(super) fn spool(dir: &Path, error: &io::Error) -> Report {
    let hint = file::space_hint(error.kind()).unwrap_or("name another directory with TMPDIR");
    let (dir, reason) = (dir.display(), file::temp_reason(error));
    let message = format!("cannot keep the input in a temporary file in {dir}: {reason}");
    Report::new(exit::STORE, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(count: usize, rest: Rest, spared: Spared) -> Report {
        let reported = (1..=count.min(2)).map(|line| (Position::at_line(line), Problem::NotUtf8)).collect();
        RejectedLines { count, reported, rest, spared }.into()
    }

    #[test]
    fn the_first_lines_are_reported_and_the_rest_counted() {
        let first = "line 1: not UTF-8";
        assert_eq!(
            report(1, Rest::Imported, Spared::default()).message,
            format!("1 bad line in the input\n{first}\nthe other lines were imported")
        );
        let message = report(5, Rest::None, Spared::All).message;
        assert_eq!(
            message,
            format!(
                "5 bad lines in the input\n{first}\nline 2: not UTF-8\nand 3 more\nnothing was imported, and nothing was pruned"
            )
        );
    }

    #[test]
    fn the_hint_depends_on_what_is_wrong() {
        let hint = |problem: Problem| {
            let reported = vec![(Position::at_line(1), Problem::NotUtf8), (Position::at_line(2), problem)];
            Report::from(RejectedLines { count: 2, reported, rest: Rest::Aborted, spared: Spared::default() })
                .hint
                .unwrap()
        };
        assert!(hint(Problem::NotAWebUrl { key: "siteUrl" }).ends_with("--lenient"));
        assert!(hint(Problem::InvalidSecret).starts_with("import the other lines"));
        for cut in [Problem::Incomplete, Problem::NoLineEnd, Problem::UnclosedQuote] {
            assert!(hint(cut).starts_with("check that the input is complete"));
        }
    }

    #[test]
    fn only_an_aborted_import_has_a_hint() {
        assert!(report(1, Rest::Aborted, Spared::All).hint.is_some());
        assert!(!report(1, Rest::Aborted, Spared::All).message.contains("pruned"));
        for rest in [Rest::None, Rest::Imported] {
            assert_eq!(
                (report(1, rest, Spared::default()).hint, report(1, rest, Spared::default()).exit_code),
                (None, exit::BAD_DATA)
            );
        }
    }

    #[test]
    fn the_apps_that_are_not_pruned_are_named() {
        let apps = |number: usize| Spared::Apps((0..number).map(|n| format!("app:{n:02}").parse().unwrap()).collect());
        for (number, end) in [
            (0, "the other lines were imported"),
            (1, ", and nothing of app:00 was pruned"),
            (2, ", and nothing of app:00, app:01 was pruned"),
            (12, " app:08, app:09, 2 more was pruned"),
        ] {
            let message = report(1, Rest::Imported, apps(number)).message;
            assert!(message.ends_with(end), "{message}");
        }
    }

    #[test]
    fn a_refused_prune_names_each_app_and_the_limit_that_allows_all() {
        let excess = |app: &str, removed, stored| Excess { app_id: app.parse().unwrap(), removed, stored };
        let report = prune_over_limit(&[excess("app:a", 37, 40), excess("app:b", 1, 1)]);
        assert!(report.message.ends_with("\napp:a: 37 of 40 connections\napp:b: 1 of 1 connection"), "{report}");
        assert!(report.hint.unwrap().ends_with("--prune-at-most 37"));
    }
}
