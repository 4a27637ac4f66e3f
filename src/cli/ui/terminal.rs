//! Whether streams are attached to a terminal, how wide it is, and whether it gets colors. No other file checks that.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal};

use clap::ColorChoice;
use rustix::termios::tcgetwinsize;

/// The width of a terminal that does not know its own, in characters.
pub(in crate::cli) const DEFAULT_WIDTH: usize = 80;

/// The height of a terminal that does not know its own, in lines.
const DEFAULT_HEIGHT: usize = 24;

/// Whether a file is a terminal.
pub(in crate::cli) fn is_terminal(file: &File) -> bool {
    file.is_terminal()
}

/// Whether standard output is a terminal.
pub(in crate::cli) fn has_stdout() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal, so that a person probably reads it.
pub(in crate::cli) fn has_stderr() -> bool {
    io::stderr().is_terminal()
}

/// Whether a person can be asked: standard input and standard error are terminals.
pub(in crate::cli) fn can_ask() -> bool {
    io::stdin().is_terminal() && has_stderr()
}

/// The width of the terminal at standard output, in characters; `None` if that is no terminal.
pub(in crate::cli) fn width() -> Option<usize> {
    let columns = || tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col.into());
    has_stdout().then(|| match columns() {
        0 => DEFAULT_WIDTH,
        columns => columns,
    })
}

/// The width and the height of the terminal at standard error, in characters.
pub(in crate::cli) fn stderr_size() -> (usize, usize) {
    let or = |size: u16, default| if size == 0 { default } else { size.into() };
    let size = tcgetwinsize(io::stderr()).map(|size| (size.ws_col, size.ws_row));
    let (columns, rows) = size.unwrap_or_default();
    (or(columns, DEFAULT_WIDTH), or(rows, DEFAULT_HEIGHT))
}

/// Whether standard error is a terminal whose cursor can be moved.
pub(in crate::cli) fn can_redraw_stderr() -> bool {
    has_stderr() && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Whether a stream gets colors.
///
/// That depends on the option, the environment of the process, and whether it is a terminal.
pub(in crate::cli) fn is_colored(choice: ColorChoice, is_terminal: bool) -> bool {
    is_colored_in(choice, is_terminal, |name| std::env::var_os(name))
}

/// The rules of no-color.org and bixense.com/clicolors. An empty variable counts as missing.
fn is_colored_in(choice: ColorChoice, is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if variable("NO_COLOR").is_some() => false,
        ColorChoice::Auto if variable("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
        ColorChoice::Auto => {
            is_terminal
                && variable("CLICOLOR").is_none_or(|value| value != "0")
                && variable("TERM").is_some_and(|value| value != "dumb")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_wins_and_then_the_variables_in_their_order() {
        use ColorChoice::{Always, Auto, Never};
        for (choice, is_terminal, environment, expected) in [
            (Auto, true, "TERM=xterm", true),
            (Auto, false, "TERM=xterm", false),
            (Auto, true, "TERM=dumb", false),
            (Auto, true, "", false),
            (Auto, true, "TERM=xterm CLICOLOR=0", false),
            (Auto, true, "TERM=xterm CLICOLOR=1", true),
            (Auto, true, "TERM=dumb CLICOLOR=1", false),
            (Auto, false, "TERM=xterm CLICOLOR=1", false),
            (Auto, false, "CLICOLOR_FORCE=1 CLICOLOR=0", true),
            (Auto, false, "CLICOLOR_FORCE=0", false),
            (Auto, false, "CLICOLOR_FORCE=", false),
            (Auto, true, "TERM=xterm CLICOLOR_FORCE=1 NO_COLOR=1", false),
            (Auto, true, "TERM=xterm NO_COLOR=0", false),
            (Auto, true, "TERM=xterm NO_COLOR= CLICOLOR=", true),
            (Always, false, "TERM=dumb NO_COLOR=1", true),
            (Never, true, "TERM=xterm CLICOLOR_FORCE=1", false),
        ] {
            let variable = |name: &str| {
                let found = environment.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
                found.map(OsString::from)
            };
            assert_eq!(is_colored_in(choice, is_terminal, variable), expected, "{choice} {is_terminal} {environment}");
        }
    }
}
