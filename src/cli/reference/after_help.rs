//! The text behind the options of a command: examples and remarks.

use clap::Command;

/// What stands behind the options of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AfterHelp {
    /// Paragraphs that are no examples.
    pub(super) remarks: Vec<String>,
    /// The lines of its examples.
    pub(super) examples: Vec<String>,
}

impl AfterHelp {
    /// Reads that of a command. A paragraph whose first line begins with `Example` has one example in each other line.
    pub(super) fn of(command: &Command) -> Self {
        command.get_after_help().map_or_else(Self::default, |text| Self::parse(&text.to_string()))
    }

    fn parse(text: &str) -> Self {
        let (mut remarks, mut examples) = (Vec::new(), Vec::new());
        for paragraph in text.split("\n\n") {
            match paragraph.split_once('\n') {
                Some((first, lines)) if first.starts_with("Example") => {
                    examples.extend(lines.lines().map(|line| line.trim().to_owned()));
                }
                _ => remarks.push(paragraph.to_owned()),
            }
        }
        Self { remarks, examples }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_separated_from_remarks() {
        let parsed = AfterHelp::parse("A remark.\n\nExamples:\n  cxnpoll get\n  cxnpoll status\n\nAnother one.");
        assert_eq!(parsed.remarks, ["A remark.", "Another one."]);
        assert_eq!(parsed.examples, ["cxnpoll get", "cxnpoll status"]);
    }
}
