//! What the user gets of an error.

use std::{fmt, io};

use crate::exit;

/// What helps if the system starts no thread.
pub(super) const MORE_THREADS_HINT: &str = "raise the limits of processes and memory (ulimit -u and -v)";

/// What helps where the network policy refuses a site.
pub(in crate::cli) const ALLOW_OWN_NETWORK: &str =
    "allow a network of your own with --allow-net or `allow-net`, and a port with `refuse-ports`";

/// The message, the hint and the exit code of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Report {
    /// What failed, on what.
    pub(in crate::cli) message: String,
    /// What to do about it.
    pub(in crate::cli) hint: Option<String>,
    /// The exit code of the process.
    pub(in crate::cli) exit_code: u8,
}

impl Report {
    /// A report without a hint.
    pub(in crate::cli) fn new(exit_code: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit_code }
    }

    /// A report of something that does not exist.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(exit::NOT_FOUND, message)
    }

    /// A report of wrong arguments.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(exit::USAGE, message)
    }

    /// A report of something wrong in the configuration.
    pub(super) fn config(message: impl Into<String>) -> Self {
        Self::new(exit::CONFIG, message)
    }

    /// A report of an operation that the system should not refuse: `cannot read standard input: …`.
    pub(super) fn cannot(operation: &str, error: &io::Error) -> Self {
        Self::new(exit::INTERNAL, format!("cannot {operation}: {error}"))
    }

    /// The same report with a hint.
    pub(in crate::cli) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Report {
    /// Writes the message, then `hint: …` on a separate line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

/// An id as an argument for a shell. Former builds accepted ids that it would not take as they are.
pub(in crate::cli) fn argument(id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '_' | '-');
    if id.chars().all(is_plain) && !id.starts_with('-') {
        return id.to_owned();
    }
    format!("-- '{}'", id.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_a_separate_line() {
        let report = Report::new(2, "no results selected");
        assert_eq!(report.to_string(), "no results selected");
        assert_eq!(report.hint("use --all").to_string(), "no results selected\nhint: use --all");
    }

    #[test]
    fn an_id_in_a_hint_is_one_argument() {
        for (id, expected) in
            [("cxn:0a", "cxn:0a"), ("--all", "-- '--all'"), ("cxn:*", "-- 'cxn:*'"), ("cxn:'\"", r#"-- 'cxn:'\''"'"#)]
        {
            assert_eq!(argument(id), expected);
        }
    }
}
