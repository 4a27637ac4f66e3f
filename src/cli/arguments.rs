//! The arguments before they are parsed.

use std::ffi::OsString;

use clap::{ColorChoice, ValueEnum};

/// Replaces `--ansi` and `--no-ansi` of cxnapp's console by `--color`.
///
/// So the last of all three counts.
pub(super) fn in_our_terms(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut are_options = true;
    let replace = |argument: OsString| {
        are_options &= argument != "--";
        match argument.to_str() {
            Some("--ansi") if are_options => "--color=always".into(),
            Some("--no-ansi") if are_options => "--color=never".into(),
            _ => argument,
        }
    };
    arguments.into_iter().map(replace).collect()
}

/// The value of `--color`, found before the arguments are parsed: usage errors have colors, too.
pub(super) fn color(arguments: &[OsString]) -> ColorChoice {
    let options = arguments.split(|argument| argument == "--").next().unwrap_or_default();
    let texts: Vec<_> = options.iter().map(|argument| argument.to_string_lossy()).collect();
    let after = |index: usize| texts.get(index + 1).map(AsRef::as_ref);
    let given = texts.iter().enumerate().rev().find_map(|(index, text)| match text.strip_prefix("--color") {
        Some("") => after(index),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    given.and_then(|text| ColorChoice::from_str(text, true).ok()).unwrap_or(ColorChoice::Auto)
}
