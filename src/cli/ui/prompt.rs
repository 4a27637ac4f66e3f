//! The yes/no question before a change, its rules, and the preview above it.

use std::io::{self, BufRead, Write};

use clap::Args;

use super::stderr::Stderr;
use crate::cli::error::{Error, Result};

/// How many lines a preview shows.
const MAX_PREVIEW_LINES: usize = 10;

/// The option of every command that asks.
#[derive(Debug, Args)]
pub(in crate::cli) struct Confirmation {
    /// Do not ask
    #[arg(long, short = 'y')]
    pub(in crate::cli) yes: bool,
}

/// The first lines of what a command is about to change, and how many lines there are.
#[derive(Debug, Default)]
pub(in crate::cli) struct Preview {
    lines: Vec<String>,
    count: usize,
}

impl Preview {
    /// Counts a line, and makes it if it is among those that are shown.
    pub(in crate::cli) fn add(&mut self, line: impl FnOnce() -> String) {
        self.count += 1;
        if self.lines.len() < MAX_PREVIEW_LINES {
            self.lines.push(line());
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for line in &self.lines {
            writeln!(out, "{line}")?;
        }
        match self.count - self.lines.len() {
            0 => Ok(()),
            more => writeln!(out, "… and {more} more"),
        }
    }
}

/// A change that may need a confirmation.
#[derive(Debug)]
pub(in crate::cli) struct Change {
    /// What is about to happen, as an imperative: `remove 7 connections`.
    pub(in crate::cli) action: String,
    /// How many things change; `None` if that is unknown, which counts as several.
    pub(in crate::cli) count: Option<usize>,
    /// Whether flags such as `--yes` have confirmed it.
    pub(in crate::cli) is_confirmed: bool,
    /// Whether the question is asked even for a single thing.
    pub(in crate::cli) asks_about_one: bool,
    /// How to confirm it without a terminal.
    pub(in crate::cli) hint: &'static str,
}

/// What the rules decide about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Proceed,
    Ask,
    Refuse,
}

impl Change {
    /// Without a terminal, one thing may change and several need flags. At a terminal the user is asked instead.
    fn decide(&self, can_ask: bool) -> Decision {
        match self.count {
            _ if self.is_confirmed => Decision::Proceed,
            Some(0) => Decision::Proceed,
            Some(1) if !(can_ask && self.asks_about_one) => Decision::Proceed,
            _ if can_ask => Decision::Ask,
            _ => Decision::Refuse,
        }
    }

    /// Returns whether the change shall be made, asking at the terminal if the rules want it.
    ///
    /// # Errors
    /// [`Error::Unconfirmed`] if a confirmation is needed and `can_ask` is false, [`Error::Prompt`] if the terminal fails.
    pub(in crate::cli) fn confirm(self, can_ask: bool, preview: &Preview) -> Result<bool> {
        match self.decide(can_ask) {
            Decision::Proceed => Ok(true),
            Decision::Ask => ask(&self.action, preview, &mut io::stdin().lock(), &mut Stderr).map_err(Error::Prompt),
            Decision::Refuse => Err(Error::Unconfirmed { action: self.action, hint: self.hint }),
        }
    }
}

/// Asks for a value at the terminal until `parse` accepts the answer; `None` at the end of the input.
///
/// An empty answer is the default.
///
/// # Errors
/// [`Error::Prompt`] if the terminal fails.
pub(in crate::cli) fn question<T>(
    text: &str,
    default: Option<&str>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>> {
    ask_value(text, default, parse, &mut io::stdin().lock(), &mut Stderr).map_err(Error::Prompt)
}

fn ask_value<T>(
    text: &str,
    default: Option<&str>,
    parse: impl Fn(&str) -> Result<T, String>,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> io::Result<Option<T>> {
    loop {
        match default {
            Some(default) => write!(out, "{text} [{default}]: ")?,
            None => write!(out, "{text}: ")?,
        }
        out.flush()?;
        let mut answer = String::new();
        // What has no end was not confirmed.
        if input.read_line(&mut answer)? == 0 || !answer.ends_with('\n') {
            writeln!(out)?;
            return Ok(None);
        }
        let answer = Some(answer.trim()).filter(|answer| !answer.is_empty());
        match parse(answer.or(default).unwrap_or_default()) {
            Ok(value) => return Ok(Some(value)),
            Err(problem) => writeln!(out, "{problem}")?,
        }
    }
}

/// Asks whether to do `action`; anything but a yes is a no.
fn ask(action: &str, preview: &Preview, input: &mut impl BufRead, out: &mut impl Write) -> io::Result<bool> {
    preview.write(out)?;
    let mut letters = action.chars();
    let capital: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    write!(out, "{capital}{}? [y/N] ", letters.as_str())?;
    out.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    let is_yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    if !is_yes {
        writeln!(out, "Nothing was changed.")?;
    }
    Ok(is_yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(count: Option<usize>, is_confirmed: bool, asks_about_one: bool) -> Change {
        Change { action: "remove them".to_owned(), count, is_confirmed, asks_about_one, hint: "use --yes" }
    }

    #[test]
    fn only_several_unconfirmed_things_are_refused_without_a_terminal() {
        for (count, is_confirmed, expected) in [
            (Some(0), false, Decision::Proceed),
            (Some(1), false, Decision::Proceed),
            (Some(2), false, Decision::Refuse),
            (None, false, Decision::Refuse),
            (Some(2), true, Decision::Proceed),
            (None, true, Decision::Proceed),
        ] {
            for asks_about_one in [false, true] {
                let change = change(count, is_confirmed, asks_about_one);
                assert_eq!(change.decide(false), expected, "{change:?}");
            }
        }
    }

    #[test]
    fn a_terminal_is_asked_about_several_things_and_about_one_that_is_lost() {
        for (count, is_confirmed, asks_about_one, expected) in [
            (Some(0), false, true, Decision::Proceed),
            (Some(1), false, false, Decision::Proceed),
            (Some(1), false, true, Decision::Ask),
            (Some(2), false, false, Decision::Ask),
            (None, false, false, Decision::Ask),
            (Some(2), true, true, Decision::Proceed),
        ] {
            let change = change(count, is_confirmed, asks_about_one);
            assert_eq!(change.decide(true), expected, "{change:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_change_and_the_flags() {
        let refused = change(Some(2), false, false).confirm(false, &Preview::default()).unwrap_err();
        let Error::Unconfirmed { action, hint } = refused else { panic!("{refused:?}") };
        assert_eq!((action.as_str(), hint), ("remove them", "use --yes"));
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, expected) in [("y\n", true), ("YES \n", true), ("\n", false), ("", false), ("yeah\n", false)] {
            let mut out = Vec::new();
            let is_yes = ask("remove them", &Preview::default(), &mut answer.as_bytes(), &mut out).unwrap();
            let shown = String::from_utf8(out).unwrap();
            assert_eq!(is_yes, expected, "{answer:?}");
            assert!(shown.starts_with("Remove them? [y/N] "), "{shown}");
            assert_eq!(shown.ends_with("Nothing was changed.\n"), !expected, "{shown}");
        }
    }

    #[test]
    fn a_value_is_asked_for_until_it_is_accepted() {
        let ask = |default, input: &str| {
            let mut out = Vec::new();
            let number = |text: &str| text.parse::<u8>().map_err(|_| "expected a number".to_owned());
            let value = ask_value("Number", default, number, &mut input.as_bytes(), &mut out).unwrap();
            (value, String::from_utf8(out).unwrap())
        };
        assert_eq!(ask(Some("7"), "\n"), (Some(7), "Number [7]: ".to_owned()));
        assert_eq!(ask(None, "x\n 8 \n"), (Some(8), "Number: expected a number\nNumber: ".to_owned()));
        for end in ["", "8", "x\n"] {
            assert_eq!(ask(None, end).0, None, "{end:?}");
        }
    }

    #[test]
    fn a_preview_shows_the_first_lines_and_counts_the_rest() {
        let mut preview = Preview::default();
        (0..=MAX_PREVIEW_LINES).for_each(|number| preview.add(|| format!("line {number}")));
        let mut out = Vec::new();
        preview.write(&mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert_eq!(shown.lines().count(), MAX_PREVIEW_LINES + 1);
        assert!(shown.starts_with("line 0\n") && shown.ends_with("line 9\n… and 1 more\n"), "{shown}");
    }
}
