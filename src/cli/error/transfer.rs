//! Texts, hints and exit codes for errors of imports, exports and backups.

use std::path::Path;
use std::{fmt, io};

use super::file;
use super::report::Report;
use crate::exit;
use crate::transfer::{
    self, BackupProblem, Foreign, KeyProblem, MAX_PERM_BYTES, MAX_POLL_LEVEL, MAX_RECORD_BYTES, MAX_URL_BYTES,
    Position, Problem,
};
use crate::util::encryption::InvalidIdentities;
use crate::util::text::{count, sanitize};

/// What helps where a file is no private key.
const NAME_IDENTITY: &str = "name the file that age-keygen wrote; its key begins with AGE-SECRET-KEY-";

/// What has the name that was given for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Named {
    /// A connection.
    Cxn,
    /// An app.
    App,
}

impl From<transfer::Error> for Report {
    fn from(error: transfer::Error) -> Self {
        use transfer::Error as E;
        match error {
            E::Store(error) => error.into(),
            E::File(error) => {
                let hint = file::space_hint(error.source.kind()).map(str::to_owned);
                Self { hint, ..Self::new(exit::STORE, file::text(&error)) }
            }
            E::ReadInput(error) if error.raw_os_error().is_none() => {
                bad_input("the gzip data of the input is damaged or cut off")
            }
            E::ReadInput(error) => Self::new(exit::INTERNAL, format!("cannot read the input: {error}")),
            E::Foreign(foreign) => foreign_input(foreign),
            E::NotAnObject { line } => bad_input(&format!("line {line}: expected a JSON object")).hint(
                "write {cxnId: {…}}, as the file store of cxnapp does, or name another format with --format",
            ),
            E::InvalidRecord { number, problem } => bad_input(&format!("record {number}: {problem}")),
            E::RecordTooLong { line } => {
                let limit = MAX_RECORD_BYTES >> 20;
                bad_input(&format!("line {line}: longer than {limit} MiB")).hint("look for a quote that is not closed")
            }
            E::NoHeader => bad_input("the first line does not name the columns").hint(
                "name cxnId, secret, appId, appUrl, siteUrl, … in the first line (`mysql -B` prints it, -N leaves it out)",
            ),
            E::DuplicateColumn { line, column } => {
                bad_input(&format!("line {line}: column {} occurs twice", sanitize(&column)))
            }
            E::OpenBackup(error) | E::OpenIdentity(error) => Self::not_found(file::text(&error)),
            E::Undecryptable { path, problem } => undecryptable(&path, problem),
            E::InvalidIdentity { path, problem } => invalid_identity(&path, problem),
            E::InvalidBackup { path, problem, older } => {
                let hint = older.map_or_else(
                    || "look for an older one in the directory `backups` of the store".to_owned(),
                    |older| format!("restore the backup before it with `{}`", file::restore_command("", &older)),
                );
                Self::new(exit::BAD_DATA, format!("{} is not a complete backup: {problem}", path.display())).hint(hint)
            }
        }
    }
}

/// The output file of an export cannot be written.
pub(super) fn output_file(path: &Path, kind: io::ErrorKind) -> Report {
    if kind == io::ErrorKind::NotFound {
        return Report::not_found(format!("cannot write {}: its directory does not exist", path.display()));
    }
    let hint = match kind {
        io::ErrorKind::PermissionDenied => Some("name a file in a directory that you can write to and others cannot"),
        kind => file::space_hint(kind),
    };
    Report {
        hint: hint.map(str::to_owned),
        ..Report::new(exit::OUTPUT, format!("cannot write {}: {kind}", path.display()))
    }
}

/// The output file of an export has the name of something else.
pub(super) fn not_a_file(text: &str, named: Named) -> Report {
    let text = sanitize(text);
    let (what, hint) = match named {
        Named::Cxn => ("a connection", format!("select it with --cxn {text}")),
        Named::App => ("an app", format!("select its connections with --app {text}")),
    };
    Report::usage(format!("{text} names {what}, not a file; nothing was written"))
        .hint(format!("{hint}, or name the file ./{text}"))
}

/// The report of a check that restores a backup.
pub(in crate::cli) fn bad_backup(error: transfer::Error) -> Report {
    let transfer::Error::InvalidBackup { path, problem, older } = error else { return error.into() };
    let hint = older.map_or_else(
        || {
            "look for faults of the disk and the memory, and write another with `cxnpoll store backup --verify`"
                .to_owned()
        },
        |older| format!("check the backup before it with `{}`", file::restore_command("--check ", &older)),
    );
    let message = format!("{} cannot be restored: {problem}", path.display());
    Report::new(exit::STORE, message).hint(hint)
}

fn undecryptable(path: &Path, problem: KeyProblem) -> Report {
    let path = path.display();
    match problem {
        KeyProblem::NoKey => Report::usage(format!("{path} is encrypted"))
            .hint("name the file of the private key with --identity, as age-keygen wrote it"),
        KeyProblem::OtherKey => Report::new(exit::BAD_DATA, format!("{path} is encrypted to another key")).hint(
            "name the private key of one of its recipients with --identity; if it is this one, the file is damaged",
        ),
        KeyProblem::OtherKind => {
            Report::new(exit::BAD_DATA, format!("{path} is encrypted to keys of another kind, such as those of SSH"))
                .hint("decrypt it with `age --decrypt --identity KEY`, and restore the result")
        }
        // age finds out by itself, and refuses --armor.
        KeyProblem::Armored => {
            Report::new(exit::BAD_DATA, format!("{path} is encrypted, and written as lines of text"))
                .hint("decrypt it with `age --decrypt --identity KEY`, and restore the result")
        }
        KeyProblem::Passphrase => Report::new(exit::BAD_DATA, format!("{path} is encrypted with a passphrase"))
            .hint("decrypt it with `age --decrypt`, and restore the result"),
    }
}

fn invalid_identity(path: &Path, problem: InvalidIdentities) -> Report {
    let path = path.display();
    let (message, hint) = match problem {
        InvalidIdentities::Encrypted => (
            format!("the private key {path} is encrypted"),
            "decrypt it on the way: age --decrypt KEY | cxnpoll store restore FILE --identity - --yes",
        ),
        InvalidIdentities::Empty => (format!("{path} holds no private key"), NAME_IDENTITY),
        InvalidIdentities::Line(line) => (format!("{path}, line {line}: not a private key of age"), NAME_IDENTITY),
    };
    Report::new(exit::BAD_DATA, message).hint(hint)
}

/// An input that is refused as a whole. Inputs are read to their end before anything is applied.
fn bad_input(problem: &str) -> Report {
    Report::new(exit::BAD_DATA, format!("{problem}\nnothing was imported"))
}

fn foreign_input(foreign: Foreign) -> Report {
    match foreign {
        Foreign::Utf16 => bad_input("the input is in UTF-16").hint("convert it with `iconv -f UTF-16 -t UTF-8`"),
        Foreign::Compressed(program) => bad_input(&format!("the input is compressed with {program}"))
            .hint("decompress it; only gzip is read as it is"),
        Foreign::Zip => bad_input("the input is a ZIP archive, or a spreadsheet").hint("save it as CSV"),
        Foreign::Encrypted => bad_input("the input is encrypted with age").hint(
            "restore a backup with `cxnpoll store restore FILE --identity KEY`, or decrypt the input with `age --decrypt`",
        ),
        Foreign::Backup => {
            bad_input("the input is a backup of a store").hint("restore it with `cxnpoll store restore FILE`")
        }
    }
}

/// Describes what is wrong with a record, and where.
///
/// Such as `line 3: batchCode: invalid type, expected u16, at column 7`.
pub(super) fn bad_record(position: &Position, problem: &Problem) -> String {
    let text = problem.to_string();
    // Some problems name the key themselves.
    let key = position.key.as_ref().filter(|key| !text.contains(key.as_str()));
    let key = key.map_or(String::new(), |key| format!("{}: ", sanitize(key)));
    let column = position.column.map_or(String::new(), |column| format!(", at column {column}"));
    format!("line {}: {key}{text}{column}", position.line)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::NotAnObject => f.write_str("expected a JSON object"),
            Self::Incomplete => f.write_str("it ends early, perhaps because the input was cut off"),
            Self::NoLineEnd => f.write_str("the last row has no line end, so the input may have been cut off"),
            Self::UnclosedQuote => f.write_str("a quote is not closed"),
            Self::TextAfterQuote => f.write_str("text follows a closing quote"),
            Self::UnknownKey { key: Some(key), expected } => write!(f, "unknown field `{key}`, expected {expected}"),
            Self::UnknownKey { key: None, expected } => {
                write!(f, "unknown field (not shown, it may be a secret), expected {expected}")
            }
            Self::WrongType { expected } => write!(f, "invalid type, expected {expected}"),
            Self::WrongValue { expected } => write!(f, "invalid value, expected {expected}"),
            Self::Json { reason } => f.write_str(reason),
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
            Self::NotAFlag { column } => write!(f, "{column} is none of true, false, yes, no, 1, 0"),
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
            Self::DamagedHeader => f.write_str("its encryption has a damaged header, or is of a newer version of age"),
            Self::NoEnd => f.write_str("its end is missing"),
            Self::UnknownVersion { found, known } => {
                write!(f, "it has version {found}, this program reads version {known}")
            }
            Self::UnknownLine { line } => write!(f, "line {line} is not a line of a backup"),
            Self::InvalidLine { line, problem } => write!(f, "line {line}: {problem}"),
            Self::WrongChecksum => f.write_str("its checksum is wrong"),
            Self::TrailingData => f.write_str("something follows its end"),
            Self::Faults { count: faults, first } => {
                write!(f, "the store that is restored from it has {}: {}", count(*faults, "fault"), sanitize(first))
            }
            Self::CxnDiffers(cxn_id) => write!(f, "{cxn_id} is restored with other values"),
            Self::CxnsMissing(cxns) => write!(f, "{} would be missing", count(*cxns as u64, "connection")),
            Self::HistoryDiffers => f.write_str("its history is restored with other content"),
            Self::JobsDiffer => f.write_str("its jobs are restored with other values"),
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
        for (error, message) in [
            (transfer::Error::NotAnObject { line: 3 }, "line 3: expected a JSON object"),
            (
                transfer::Error::DuplicateColumn { line: 2, column: "site\u{1b}Url".to_owned() },
                "line 2: column site Url occurs twice",
            ),
            (transfer::Error::Foreign(Foreign::Utf16), "the input is in UTF-16"),
            (
                transfer::Error::ReadInput(io::ErrorKind::UnexpectedEof.into()),
                "the gzip data of the input is damaged or cut off",
            ),
            (transfer::Error::NoHeader, "the first line does not name the columns"),
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
        let expected = "one of `cxnId`, `secret`".to_owned();
        let json = |reason: &str| Problem::Json { reason: reason.to_owned() };
        let a_boolean = || Problem::WrongType { expected: "a boolean".to_owned() };
        for (key, column, problem, text) in [
            (
                None,
                Some(12),
                Problem::UnknownKey { key: Some("viaport".to_owned()), expected: expected.clone() },
                "unknown field `viaport`, expected one of `cxnId`, `secret`, at column 12",
            ),
            (
                None,
                Some(12),
                Problem::UnknownKey { key: None, expected },
                "unknown field (not shown, it may be a secret), expected one of `cxnId`, `secret`, at column 12",
            ),
            (Some("disabled"), Some(12), a_boolean(), "disabled: invalid type, expected a boolean, at column 12"),
            (Some("pollStatus"), None, a_boolean(), "pollStatus: invalid type, expected a boolean"),
            (Some("batchCode"), None, json("batchCode is above 10000"), "batchCode is above 10000"),
            (Some("no\u{1b}tes"), None, Problem::NotUtf8, "no tes: not UTF-8"),
            (None, None, Problem::WrongColumnCount { found: 1, expected: 8 }, "1 column, where the header has 8"),
            (
                None,
                None,
                Problem::SeveralLines { column: "no\u{1b}tes".to_owned() },
                "no tes spans several lines: is a quote not closed?",
            ),
        ] {
            let position = Position { line: 3, column, key: key.map(str::to_owned) };
            assert_eq!(bad_record(&position, &problem), format!("line 3: {text}"));
        }
    }
}
