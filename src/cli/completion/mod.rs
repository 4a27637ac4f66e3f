//! Answers to shells that complete a command line, and the scripts that make them ask.
//!
//! The scripts start the program with the name of the shell in `COMPLETE` and the words of the line. The candidates come
//! from the options and from the configuration and the store that the line or the environment names. Whatever goes wrong,
//! there are only fewer of them: nothing is changed, printed or waited for long.

mod candidates;
mod line;
mod script;

use std::ffi::OsString;
use std::panic;
use std::sync::Arc;

use clap::{Arg, Command, ValueHint};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;

use super::commands::set::KEYS;
use candidates::{Apps, CommandNames, Connections, Jobs};
use script::PROGRAM;
pub(super) use script::{VARIABLE, registration};

/// Answers a shell that asks for completions; `false` if the process was started for something else.
///
/// Another value of the variable than the name of a shell has nothing to do with this program.
pub(super) fn answer(arguments: &[OsString], command: impl Fn() -> Command) -> bool {
    let Some(shell) = std::env::var_os(VARIABLE) else { return false };
    if shell.to_str().is_none_or(|name| script::SHELLS.completer(name).is_none()) {
        return false;
    }
    panic::set_hook(Box::new(|_| {}));
    let complete = || {
        let words = CompleteEnv::with_factory(|| with_candidates(command(), &Arc::new(command()))).var(VARIABLE);
        words
            .completer(PROGRAM)
            .shells(script::SHELLS)
            .try_complete(arguments.iter().cloned(), std::env::current_dir().ok().as_deref())
    };
    // A command line that cannot be completed has no candidates.
    let _ = panic::catch_unwind(panic::AssertUnwindSafe(complete));
    true
}

/// Adds what may be given for the arguments of a command and of all commands below it.
///
/// The name of a value determines what it is.
fn with_candidates(command: Command, all: &Arc<Command>) -> Command {
    let below = command.mut_subcommands(|below| with_candidates(below, all));
    below.mut_args(|argument| with_values(argument, all))
}

fn with_values(argument: Arg, all: &Arc<Command>) -> Arg {
    let name = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    match name.as_deref() {
        Some("APP") => argument.add(ArgValueCompleter::new(Apps)),
        Some("J") => argument.add(ArgValueCompleter::new(Jobs)),
        Some("CXN" | "ID") => argument.add(ArgValueCompleter::new(Connections)),
        Some("COMMAND") => argument.add(ArgValueCompleter::new(CommandNames(Arc::clone(all)))),
        Some("SETTING") => {
            argument.add(ArgValueCandidates::new(|| KEYS.map(|key| CompletionCandidate::new(format!("{key}="))).into()))
        }
        Some("auto|N") => argument.add(ArgValueCandidates::new(|| vec!["auto".into()])),
        Some("FILE") => argument.value_hint(ValueHint::FilePath),
        Some("DIR") => argument.value_hint(ValueHint::DirPath),
        _ => argument,
    }
}
