//! The command line that is completed, as far as it determines the store and the configuration.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::util::home;

/// The words of a command line.
pub(super) struct Line(Vec<String>);

impl Line {
    /// The line of this process: the arguments behind the first `--`, without quotes.
    pub(super) fn of_process() -> Self {
        Self::of(std::env::args_os())
    }

    fn of(arguments: impl Iterator<Item = OsString>) -> Self {
        let words = arguments.skip_while(|argument| argument != "--").skip(1);
        Self(words.map(|word| unquoted(&word)).collect())
    }

    /// The words, the name of the program first.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The last value of an option that is a path; `None` if it is not given.
    pub(super) fn path(&self, option: &str) -> Option<PathBuf> {
        let mut values = self.0.iter().enumerate().filter_map(|(index, word)| match word.strip_prefix(option)? {
            "" => self.0.get(index + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        });
        home::expand(Path::new(values.next_back()?)).ok()
    }
}

/// A word without the quotes and backslashes that the shell would remove.
fn unquoted(word: &OsStr) -> String {
    let (mut text, mut quote, mut is_escaped) = (String::new(), None, false);
    for c in word.to_string_lossy().chars() {
        match c {
            _ if is_escaped => {
                is_escaped = false;
                text.push(c);
            }
            '\\' if quote != Some('\'') => is_escaped = true,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            _ if quote == Some(c) => quote = None,
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_line_are_found_in_both_forms() {
        let line = |text: &str| Line::of(text.split(' ').map(OsString::from));
        let store = |text: &str| line(text).path("--store");
        assert_eq!(store("x -- cxnpoll --store /a get"), Some("/a".into()));
        assert_eq!(store("x -- cxnpoll --store=/a get --store '/b'"), Some("/b".into()));
        assert_eq!(store("x -- cxnpoll get --store-wait 3"), None);
        assert_eq!(store("x -- cxnpoll get --store"), None);
        assert_eq!(store("--store /a"), None);
    }

    #[test]
    fn quotes_and_backslashes_are_removed() {
        for (word, expected) in [("'a b'/c", "a b/c"), (r"a\ b", "a b"), (r#""a'b""#, "a'b"), (r"'a\b'", r"a\b")] {
            assert_eq!(unquoted(OsStr::new(word)), expected);
        }
    }
}
