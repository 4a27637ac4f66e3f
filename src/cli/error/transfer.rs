//! Texts, hints and exit codes for errors of imports, exports and backups.

use std::fmt;

use super::file;
use super::report::Report;
use crate::exit;
use crate::transfer::{self, BackupProblem, MAX_PERM_BYTES, MAX_POLL_LEVEL, MAX_URL_BYTES, Problem};
use crate::util::text::{count, sanitize};

impl From<transfer::Error> for Report {
    fn from(error: transfer::Error) -> Self {
        use transfer::Error as E;
        match error {
            E::Store(error) => error.into(),
            E::File(error) => {
                let hint = file::space_hint(error.source.kind()).map(str::to_owned);
                Self { hint, ..Self::new(exit::STORE, file::text(&error)) }
            }
            E::ReadInput(error) => Self::new(exit::INTERNAL, format!("cannot read the input: {error}")),
            E::InvalidJson { line, problem } => {
                bad_input(&format!("line {line}: {problem}")).hint(
                    "write {cxnId: {…}}, as the file store of cxnapp does, or name another format with --format",
                )
            }
            E::InvalidLine { line, problem } => bad_input(&format!("line {line}: {problem}")),
            E::NoHeader => bad_input("the first line does not name the columns").hint(
                "name cxnId, secret, appId, appUrl, siteUrl, … in the first line (`mysql -B` prints it, -N leaves it out)",
            ),
            E::UnclosedQuote => bad_input("a quote is not closed"),
            E::OpenBackup(error) => Self::not_found(file::text(&error)),
            E::InvalidBackup { path, problem, older } => {
                let hint = older.map_or_else(
                    || "look for an older one in the directory `backups` of the store".to_owned(),
                    |older| format!("restore the backup before it with `cxnpoll store restore {} --yes`", older.display()),
                );
                Self::new(exit::BAD_DATA, format!("{} is not a complete backup: {problem}", path.display())).hint(hint)
            }
        }
    }
}

/// An input that is refused as a whole. Inputs are read to their end before anything is applied.
fn bad_input(problem: &str) -> Report {
    Report::new(exit::BAD_DATA, format!("{problem}\nnothing was imported"))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::NotAnObject => f.write_str("expected a JSON object"),
            Self::UnknownKey { key: Some(key), expected, column } => {
                write!(f, "unknown field `{key}`, expected {expected}, at column {column}")
            }
            Self::UnknownKey { key: None, expected, column } => {
                write!(f, "unknown field (not shown, it may be a secret), expected {expected}, at column {column}")
            }
            Self::WrongType { expected, column } => write!(f, "invalid type, expected {expected}, at column {column}"),
            Self::WrongValue { expected, column } => {
                write!(f, "invalid value, expected {expected}, at column {column}")
            }
            Self::Json { reason, column } => write!(f, "{reason}, at column {column}"),
            Self::InvalidSecret => f.write_str("secret is not the base64 of 32 bytes"),
            Self::InvalidUrl { key } => {
                write!(f, "{key} is empty, longer than {MAX_URL_BYTES} bytes, or has control characters")
            }
            Self::NotAWebUrl { key } => {
                write!(f, "{key} is not a URL of http or https, or has invisible characters")
            }
            Self::InvalidName(error) => write!(f, "{error}"),
            Self::PermTooLarge => write!(f, "perm is larger than {MAX_PERM_BYTES} bytes"),
            Self::UnknownFailureClass => f.write_str("a failure class in the pollStatus is unknown"),
            Self::TimeOutOfRange => f.write_str("a time in the pollStatus is not between 1970 and 9999"),
            Self::LevelTooHigh => write!(f, "the pollLevel is above {MAX_POLL_LEVEL}"),
            Self::WrongColumnCount { found, expected } => {
                write!(f, "{}, where the header has {expected}", count(*found as u64, "column"))
            }
            Self::NotANumber { column } => write!(f, "{column} is not a number"),
            Self::NotAFlag { column } => write!(f, "{column} is neither 0 nor 1"),
            Self::NotJson { column } => write!(f, "{column} does not hold JSON"),
            Self::SeveralLines { column } => {
                write!(f, "{} spans several lines: is a quote not closed?", sanitize(column))
            }
            Self::InvalidEscape => f.write_str("a backslash is not followed by n, t, 0 or another backslash"),
            Self::CxnIdDiffers => f.write_str("the cxnId differs from the key of the entry"),
            Self::DuplicateCxn(cxn_id) => write!(f, "{cxn_id} occurs a second time"),
            Self::UnknownCxn(cxn_id) => write!(f, "there is no connection {cxn_id}"),
        }
    }
}

impl fmt::Display for BackupProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "{error}"),
            Self::NoEnd => f.write_str("its end is missing"),
            Self::UnknownVersion { found, known } => {
                write!(f, "it has version {found}, this program reads version {known}")
            }
            Self::UnknownLine { line } => write!(f, "line {line} is not a line of a backup"),
            Self::InvalidLine { line, problem } => write!(f, "line {line}: {problem}"),
            Self::WrongChecksum => f.write_str("its checksum is wrong"),
            Self::TrailingData => f.write_str("something follows its end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::file_error::{FileError, FileOp};
    use std::io;
    use std::path::Path;

    #[test]
    fn a_refused_input_reports_that_nothing_was_imported() {
        let problem = || Problem::Json { reason: "expected value".to_owned(), column: 7 };
        for (error, message) in [
            (transfer::Error::InvalidJson { line: 3, problem: problem() }, "line 3: expected value, at column 7"),
            (transfer::Error::InvalidLine { line: 2, problem: Problem::NotUtf8 }, "line 2: not UTF-8"),
            (transfer::Error::NoHeader, "the first line does not name the columns"),
            (transfer::Error::UnclosedQuote, "a quote is not closed"),
        ] {
            let error = Report::from(error);
            assert_eq!((error.exit_code, error.message), (exit::BAD_DATA, format!("{message}\nnothing was imported")));
        }
    }

    #[test]
    fn a_missing_backup_is_not_found_and_a_damaged_one_is_bad_data() {
        let path = Path::new("/b/1.jsonl.gz");
        let missing = FileError::at(FileOp::Open, path)(io::ErrorKind::NotFound.into());
        let missing = Report::from(transfer::Error::OpenBackup(missing));
        assert_eq!(
            (missing.exit_code, missing.message.as_str()),
            (exit::NOT_FOUND, "cannot open /b/1.jsonl.gz: entity not found")
        );
        let problem = BackupProblem::InvalidLine { line: 7, problem: Problem::InvalidSecret };
        let damaged = Report::from(transfer::Error::InvalidBackup { path: path.to_owned(), problem, older: None });
        assert_eq!(damaged.exit_code, exit::BAD_DATA);
        assert_eq!(
            damaged.message,
            "/b/1.jsonl.gz is not a complete backup: line 7: secret is not the base64 of 32 bytes"
        );
    }

    #[test]
    fn problems_are_precise() {
        let (expected, column) = ("one of `cxnId`, `secret`".to_owned(), 12);
        for (problem, text) in [
            (
                Problem::UnknownKey { key: Some("viaport".to_owned()), expected: expected.clone(), column },
                "unknown field `viaport`, expected one of `cxnId`, `secret`, at column 12",
            ),
            (
                Problem::UnknownKey { key: None, expected, column },
                "unknown field (not shown, it may be a secret), expected one of `cxnId`, `secret`, at column 12",
            ),
            (
                Problem::WrongType { expected: "a boolean".to_owned(), column },
                "invalid type, expected a boolean, at column 12",
            ),
            (Problem::WrongColumnCount { found: 1, expected: 8 }, "1 column, where the header has 8"),
            (
                Problem::SeveralLines { column: "no\u{1b}tes".to_owned() },
                "no tes spans several lines: is a quote not closed?",
            ),
        ] {
            assert_eq!(problem.to_string(), text);
        }
    }
}
