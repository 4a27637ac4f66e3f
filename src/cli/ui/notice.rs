//! Notices: what a command did, on standard error and in the log file.

use std::io::Write;

use tracing::info;

use super::logging::FILE_ONLY;
use super::stderr::Stderr;
use super::terminal;

/// Whether notices are printed: at a terminal or with `-v`, and never with `-q`.
pub(in crate::cli) fn is_shown(quiet: bool, verbose: u8) -> bool {
    is_shown_at(quiet, verbose, terminal::has_stderr())
}

fn is_shown_at(quiet: bool, verbose: u8, at_terminal: bool) -> bool {
    !quiet && (verbose > 0 || at_terminal)
}

/// Writes a notice to the log file and, if it [`is_shown`], to standard error.
pub(in crate::cli) fn print(text: &str, quiet: bool, verbose: u8) {
    if !quiet && verbose > 0 {
        // Both get it as a log line, which names the run.
        info!("{text}");
    } else {
        info!(target: FILE_ONLY, "{text}");
        show(text, is_shown(quiet, verbose));
    }
}

/// Writes a notice to standard error if it `is_shown`. The log file has it in another form.
pub(in crate::cli) fn show(text: &str, is_shown: bool) {
    if is_shown {
        let _ = Stderr.write_all(format!("{text}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_for_terminals_and_verbose_commands_but_never_for_quiet_ones() {
        for (quiet, verbose, at_terminal, shown) in [
            (false, 0, false, false),
            (false, 0, true, true),
            (false, 1, false, true),
            (true, 0, true, false),
            (true, 2, true, false),
        ] {
            assert_eq!(is_shown_at(quiet, verbose, at_terminal), shown, "-q {quiet}, -v {verbose}, {at_terminal}");
        }
    }
}
