//! The command line: its commands, and the dispatch to them.

mod commands;
mod context;
mod cxn_arg;
mod error;
mod selection;
pub mod ui;
mod values;

use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::Config;
use crate::exit;
use crate::listener::{InvalidListener, Listener};
use crate::model::UnixTime;
use crate::run::survive_file_size_limit;
use crate::store::{AdminAction, SkippedEntries};
use crate::util::text::panic_message;
use crate::util::time::unix_now;
use context::{Context, Global};
use error::{Error, Report, Result};
use ui::{logging, output};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .error(AnsiColor::Red.on_default().bold());

/// Polls the CiviCRM sites that are connected to a CiviConnect application.
///
/// Cron starts `cxnpoll poll APP` every few minutes; a retry expression decides which sites are due.
#[derive(Parser)]
#[command(version, styles = STYLES, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 done, 1 internal error, 2 usage, 3 the site failed, 65 bad records, 66 not found, \
69 network down, 74 store, 75 declined or busy, 78 configuration, 129/130/143 ended by a signal";

/// The commands. The help of a command stands at its arguments, unless several commands share them.
#[derive(Subcommand)]
enum Command {
    #[command(alias = "cxn:poll")]
    Poll(commands::poll::Poll),
    #[command(alias = "cxn:get")]
    Get(commands::get::Get),
    Event(commands::event::Event),
    #[command(alias = "cxn:call")]
    Call(commands::call::Call),
    Status(commands::status::Status),
    Explain(commands::explain::Explain),
    Retry(commands::retry::Retry),
    /// Reset connections to new, so that they are due at once
    #[command(
        after_help = "Examples:\n  cxnpoll revive cxn:0123456789abcdef0123456789abcdef\n  cxnpoll revive --state given-up --host '*.example.org'"
    )]
    Revive(commands::admin::AdminArgs),
    /// Stop polling connections
    #[command(after_help = "Example:\n  cxnpoll disable --url 'http://staging.*'")]
    Disable(commands::admin::AdminArgs),
    /// Resume polling connections
    #[command(after_help = "Example:\n  cxnpoll enable cxn:0123456789abcdef0123456789abcdef")]
    Enable(commands::admin::AdminArgs),
    /// Remove connections, their poll statuses and kept results
    #[command(after_help = "Example, for cron:\n  cxnpoll remove --state given-up --older-than '6 month' --all --yes")]
    Remove(commands::admin::AdminArgs),
    Import(commands::import::Import),
    Export(commands::export::Export),
    Results(commands::results::Results),
    /// Check, back up, restore or compact the store
    #[command(subcommand)]
    Store(StoreCommand),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    Completions(commands::completions::Completions),
    Man(commands::man::Man),
}

#[derive(Subcommand)]
enum StoreCommand {
    Check(commands::store::check::Check),
    Backup(commands::store::backup::Backup),
    Restore(commands::store::restore::Restore),
    Compact(commands::store::compact::Compact),
}

#[derive(Subcommand)]
enum ConfigCommand {
    Check(commands::config::check::Check),
    Show(commands::config::show::Show),
}

/// Runs the program with the arguments of the process, its name first, and returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    run_with(arguments, Ok(Vec::new()))
}

/// Listeners that a program adds to those of the configuration, or why one of them cannot be added.
type Added = Result<Vec<Listener>, InvalidListener>;

/// Runs the program with more listeners than those of the configuration.
///
/// If one cannot be added, that is reported instead of running the command.
pub(crate) fn run_with(arguments: impl IntoIterator<Item = OsString>, listeners: Added) -> u8 {
    survive_file_size_limit();
    // The schedule uses the time at which the process started, before any lock or wait.
    let started = unix_now().max(0);
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed = Cli::command().color(color(&arguments)).try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(exit::USAGE);
        }
    };
    let color = cli.global.color;
    // A panic is reported as an error; its place goes to the log file.
    panic::set_hook(Box::new(|info| tracing::error!(target: logging::FILE_ONLY, "{info}")));
    let result = panic::catch_unwind(AssertUnwindSafe(|| execute(cli, started, listeners)));
    let result = result.unwrap_or_else(|panic| Err(Error::Panic(panic_message(&*panic))));
    result.unwrap_or_else(|error| {
        let report = Report::from(error);
        tracing::error!(target: logging::FILE_ONLY, "{report}");
        output::error(&report, color);
        report.exit_code
    })
}

/// The value of `--color`, found before the arguments are parsed: usage errors have colors, too.
fn color(arguments: &[OsString]) -> ColorChoice {
    let texts: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let after = |index: usize| texts.get(index + 1).map(AsRef::as_ref);
    let given = texts.iter().enumerate().rev().find_map(|(index, text)| match text.strip_prefix("--color") {
        Some("") => after(index),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    given.and_then(|text| clap::ValueEnum::from_str(text, true).ok()).unwrap_or(ColorChoice::Auto)
}

fn execute(cli: Cli, started: UnixTime, added: Added) -> Result<u8> {
    logging::start(cli.global.logging())?;
    let added = added?;
    let config = Config::load(cli.global.config.as_deref())?;
    let mut listeners = config.listeners();
    for listener in added {
        listeners.add(listener);
    }
    let (name, skipped) = (cli.command.name(), SkippedEntries::default());
    let context = Context { global: cli.global, config, name, listeners, started, skipped };
    context.with_skipped(dispatch(cli.command, &context))
}

fn dispatch(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Poll(command) => command.run(context),
        Command::Get(command) => command.run(context),
        Command::Call(command) => command.run(context),
        Command::Event(command) => command.run(context),
        Command::Status(command) => command.run(context),
        Command::Explain(command) => command.run(context),
        Command::Retry(command) => command.run(context),
        Command::Revive(command) => command.run(context, AdminAction::Revive),
        Command::Disable(command) => command.run(context, AdminAction::Disable),
        Command::Enable(command) => command.run(context, AdminAction::Enable),
        Command::Remove(command) => command.run(context, AdminAction::Remove),
        Command::Import(command) => command.run(context),
        Command::Export(command) => command.run(context),
        Command::Results(command) => command.run(context),
        Command::Completions(command) => command.run(&mut Cli::command()),
        Command::Man(command) => command.run(Cli::command()),
        Command::Config(ConfigCommand::Check(command)) => command.run(context),
        Command::Config(ConfigCommand::Show(command)) => command.run(context),
        Command::Store(StoreCommand::Check(command)) => command.run(context),
        Command::Store(StoreCommand::Backup(command)) => command.run(context),
        Command::Store(StoreCommand::Restore(command)) => command.run(context),
        Command::Store(StoreCommand::Compact(command)) => command.run(context),
    }
}

impl Command {
    /// The name of the command, which waiting processes see.
    fn name(&self) -> &'static str {
        match self {
            Self::Poll(_) => "poll",
            Self::Get(_) => "get",
            Self::Call(_) => "call",
            Self::Event(_) => "event",
            Self::Status(_) => "status",
            Self::Explain(_) => "explain",
            Self::Retry(_) => "retry",
            Self::Revive(_) => "revive",
            Self::Disable(_) => "disable",
            Self::Enable(_) => "enable",
            Self::Remove(_) => "remove",
            Self::Import(_) => "import",
            Self::Export(_) => "export",
            Self::Results(_) => "results",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Config(ConfigCommand::Check(_)) => "config check",
            Self::Config(ConfigCommand::Show(_)) => "config show",
            Self::Store(StoreCommand::Check(_)) => "store check",
            Self::Store(StoreCommand::Backup(_)) => "store backup",
            Self::Store(StoreCommand::Restore(_)) => "store restore",
            Self::Store(StoreCommand::Compact(_)) => "store compact",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_color_counts_also_before_the_arguments_are_parsed() {
        let color = |arguments: &[&str]| color(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(color(&["cxnpoll", "get"]), ColorChoice::Auto);
        assert_eq!(color(&["cxnpoll", "--color", "never", "get"]), ColorChoice::Never);
        assert_eq!(color(&["cxnpoll", "get", "--color=never", "--color=always"]), ColorChoice::Always);
        assert_eq!(color(&["cxnpoll", "get", "--color"]), ColorChoice::Auto);
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_listener_that_cannot_be_added_ends_any_command_with_a_configuration_error() {
        let cli = Cli::try_parse_from(["cxnpoll", "--quiet", "retry", "20min (x6)"]).unwrap();
        let invalid = InvalidListener::WrongMethod("civi_cxn.poll".parse().unwrap());
        let report = Report::from(execute(cli, 0, Err(invalid)).unwrap_err());
        assert_eq!(report.exit_code, exit::CONFIG);
        assert!(report.message.ends_with("civi_cxn.poll"), "{report}");
    }
}
