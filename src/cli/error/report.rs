//! What the user gets of an error.

use std::fmt;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_a_separate_line() {
        let report = Report::new(2, "no results selected");
        assert_eq!(report.to_string(), "no results selected");
        assert_eq!(report.hint("use --all").to_string(), "no results selected\nhint: use --all");
    }
}
