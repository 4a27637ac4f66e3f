//! The command line: its commands, and the dispatch to them.

mod arguments;
mod availability;
mod commands;
mod completion;
mod context;
mod cxn_arg;
mod error;
mod named;
mod notifying;
mod output_file;
mod reference;
mod selection;
pub mod simulation;
pub mod ui;
mod values;

use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::Config;
use crate::exit;
use crate::listener::{InvalidListener, Listener};
use crate::model::UnixTime;
use crate::run::survive_file_size_limit;
use crate::store::{AdminAction, SkippedEntries};
use crate::util::home::expand_temp_dir;
use crate::util::text::panic_message;
use crate::util::time::unix_now;
use arguments::{color, in_our_terms};
use context::{Context, Global};
use error::{Error, Report, Result};
use ui::{logging, output, terminal};

/// The width of help at a wide terminal, in characters.
const MAX_HELP_WIDTH: usize = 100;
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .error(AnsiColor::Red.on_default().bold());

/// Polls the CiviCRM sites that are connected to a CiviConnect application.
///
/// Cron starts `cxnpoll poll APP` every few minutes; a retry expression decides which sites are due.
#[derive(Parser)]
#[command(version, styles = STYLES, after_help = AFTER_HELP, args_override_self = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 done, 1 internal error, 2 usage, 3 the site failed, 65 bad records, 66 not found, \
69 own outage, 74 store or output, 75 declined or busy, 78 configuration, 129/130/143 ended by a signal";

const POLL: &str = "poll";
const REGISTRATION: &str = "registration";
/// The name of `poll` in cxnapp's console.
const POLL_ALIAS: &str = "cxn:poll";

/// The commands. The help of a command stands at its arguments, unless several commands share them.
#[derive(Subcommand)]
enum Command {
    #[command(name = POLL, alias = POLL_ALIAS)]
    Poll(commands::poll::Poll),
    #[command(alias = "cxn:get")]
    Get(commands::get::Get),
    Event(commands::event::Event),
    #[command(alias = "cxn:call")]
    Call(commands::call::Call),
    Status(commands::status::Status),
    Explain(commands::explain::Explain),
    #[command(name = "plan")]
    PollPlan(commands::plan::PollPlan),
    Retry(commands::retry::Retry),
    /// Reset connections to new, so that they are due at once
    ///
    /// Also brings back connections that were given up. At a terminal, a change of several connections shows them and asks
    /// first. Elsewhere, and with -n, it needs --all and --yes.
    #[command(
        after_help = "Examples:\n  cxnpoll revive cxn:0123456789abcdef0123456789abcdef\n  cxnpoll revive --state given-up --host '*.example.org'"
    )]
    Revive(commands::admin::AdminArgs),
    /// Stop polling connections
    ///
    /// They keep their poll statuses. At a terminal, a change of several connections shows them and asks first. Elsewhere, and
    /// with -n, it needs --all and --yes.
    #[command(after_help = "Example:\n  cxnpoll disable --url 'http://staging.*'")]
    Disable(commands::admin::AdminArgs),
    /// Resume polling connections
    ///
    /// They continue with the poll statuses that they had. At a terminal, a change of several connections shows them and asks
    /// first. Elsewhere, and with -n, it needs --all and --yes.
    #[command(after_help = "Example:\n  cxnpoll enable cxn:0123456789abcdef0123456789abcdef")]
    Enable(commands::admin::AdminArgs),
    /// Remove connections, their poll statuses and kept results
    ///
    /// At a terminal it shows the connections and asks first. Elsewhere, and with -n, one connection is removed at once, and
    /// more need --all and --yes. Connections that the store cannot read are removed too, if they are named.
    #[command(after_help = "Example, for cron:\n  cxnpoll remove --state given-up --older-than '6 month' --all --yes")]
    Remove(commands::admin::AdminArgs),
    Set(commands::set::Set),
    Follow(commands::follow::Follow),
    Import(commands::import::Import),
    Export(commands::export::Export),
    Results(commands::results::Results),
    Report(commands::report::Report),
    #[command(name = REGISTRATION)]
    Registration(commands::registration::Registration),
    /// Create, check, back up, restore or compact the store
    #[command(subcommand)]
    Store(StoreCommand),
    /// Send notifications about sites and runs
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Write, check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    Demo(commands::demo::Demo),
    Doctor(commands::doctor::Doctor),
    Completions(commands::completions::Completions),
    Man(commands::man::Man),
}

#[derive(Subcommand)]
enum StoreCommand {
    Create(commands::store::create::Create),
    Check(commands::store::check::Check),
    Backup(commands::store::backup::Backup),
    Restore(commands::store::restore::Restore),
    Compact(commands::store::compact::Compact),
}

#[derive(Subcommand)]
enum NotifyCommand {
    Test(commands::notify::Test),
}

#[derive(Subcommand)]
enum ConfigCommand {
    Init(commands::config::init::Init),
    Check(commands::config::check::Check),
    Show(commands::config::show::Show),
    /// Create the private key of an app, or requests for its certificate
    #[command(subcommand)]
    AppKeys(AppKeysCommand),
}

#[derive(Subcommand)]
enum AppKeysCommand {
    Create(commands::config::app_keys::Create),
    Request(commands::config::app_keys::Request),
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
    let arguments: Vec<_> = arguments.into_iter().collect();
    if completion::answer(&arguments, command) {
        return exit::OK;
    }
    survive_file_size_limit();
    expand_temp_dir();
    // The schedule uses the time at which the process started, before any lock or wait.
    let started = unix_now().max(0);
    let arguments = in_our_terms(arguments);
    let color_of_parser = color(&arguments);
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            output::parser_report(&error, color_of_parser);
            return output::finish(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE), color_of_parser);
        }
    };
    let color = cli.global.color;
    // A panic is reported as an error; its place goes to the log file.
    panic::set_hook(Box::new(|info| tracing::error!(target: logging::FILE_ONLY, "{info}")));
    let result = panic::catch_unwind(AssertUnwindSafe(|| execute(cli, started, listeners)));
    let result = result.unwrap_or_else(|panic| Err(Error::Panic(panic_message(&*panic))));
    let code = match result {
        Ok(code) => code,
        Err(Error::Stdout(_)) => exit::OK,
        Err(error) => {
            let report = Report::from(error);
            output::error(&report, color);
            report.exit_code
        }
    };
    output::finish(code, color)
}

/// The commands and options. At a terminal, help is as wide as that, and at most 100 characters.
fn command() -> clap::Command {
    match terminal::width() {
        Some(width) => Cli::command().term_width(width.min(MAX_HELP_WIDTH)),
        None => Cli::command(),
    }
}

/// Parses the arguments.
///
/// Those of a run or a registration need the options of no other command. Every error is that of the whole program.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let small = arguments.iter().find_map(|argument| program_with(argument.to_str()?));
    let small = small.and_then(|program| program.try_get_matches_from(arguments).ok());
    let matches = small.map_or_else(|| command().try_get_matches_from(arguments), Ok)?;
    Cli::from_arg_matches(&matches)
}

/// The program without its other commands, if an argument names one that starts often.
///
/// To build the options of all commands takes longer than a run with nothing due.
fn program_with(argument: &str) -> Option<clap::Command> {
    let command = match argument {
        POLL | POLL_ALIAS => commands::poll::Poll::augment_args(clap::Command::new(POLL).alias(POLL_ALIAS)),
        REGISTRATION => commands::registration::Registration::augment_args(clap::Command::new(REGISTRATION)),
        _ => return None,
    };
    let program = Global::augment_args(clap::Command::new(POLL)).subcommand_required(true);
    Some(program.args_override_self(true).subcommand(command))
}

fn execute(cli: Cli, started: UnixTime, added: Added) -> Result<u8> {
    let Cli { global, command } = cli;
    let prepared = panic::catch_unwind(AssertUnwindSafe(|| prepare(global, &command, started, added)));
    let prepared = prepared.unwrap_or_else(|panic| Err(Error::Panic(panic_message(&*panic))));
    match (prepared, command) {
        (Ok(context), command) => context.with_skipped(dispatch(command, &context)),
        // A web server gets a reply in any case.
        (Err(error), Command::Registration(_)) => commands::registration::Registration::run(Err(error)),
        (Err(error), _) => Err(error),
    }
}

/// Makes what a command gets.
fn prepare(global: Global, command: &Command, started: UnixTime, added: Added) -> Result<Context> {
    logging::start(global.logging())?;
    let added = added?;
    let config = match command {
        // Nothing of this machine changes the demo.
        Command::Demo(_) => Config::default(),
        command => match Config::load(global.config.as_deref()) {
            Err(_) if !command.needs_config() => Config::default(),
            config => config?,
        },
    };
    let mut listeners = config.listeners();
    for listener in added {
        listeners.add(listener);
    }
    let (name, skipped) = (command.name(), SkippedEntries::default());
    Ok(Context { global, config, name, listeners, started, skipped })
}

fn dispatch(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Poll(command) => command.run(context),
        Command::Get(command) => command.run(context),
        Command::Call(command) => command.run(context),
        Command::Event(command) => command.run(context),
        Command::Status(command) => command.run(context),
        Command::Explain(command) => command.run(context),
        Command::PollPlan(command) => command.run(context),
        Command::Retry(command) => command.run(context),
        Command::Revive(command) => command.run(context, AdminAction::Revive),
        Command::Disable(command) => command.run(context, AdminAction::Disable),
        Command::Enable(command) => command.run(context, AdminAction::Enable),
        Command::Remove(command) => command.run(context, AdminAction::Remove),
        Command::Set(command) => command.run(context),
        Command::Follow(command) => command.run(context),
        Command::Import(command) => command.run(context),
        Command::Export(command) => command.run(context),
        Command::Results(command) => command.run(context),
        Command::Report(command) => command.run(context),
        Command::Registration(_) => commands::registration::Registration::run(Ok(context)),
        Command::Demo(command) => command.run(context),
        Command::Doctor(command) => Ok(command.run(context, parse_poll)),
        Command::Completions(command) => Ok(command.run(&mut Cli::command())),
        Command::Man(command) => command.run(Cli::command()),
        Command::Notify(NotifyCommand::Test(command)) => command.run(context),
        Command::Config(ConfigCommand::Init(command)) => command.run(context),
        Command::Config(ConfigCommand::Check(command)) => command.run(context),
        Command::Config(ConfigCommand::Show(command)) => command.run(context),
        Command::Config(ConfigCommand::AppKeys(AppKeysCommand::Create(command))) => command.run(context),
        Command::Config(ConfigCommand::AppKeys(AppKeysCommand::Request(command))) => command.run(context),
        Command::Store(StoreCommand::Create(command)) => command.run(context),
        Command::Store(StoreCommand::Check(command)) => command.run(context),
        Command::Store(StoreCommand::Backup(command)) => command.run(context),
        Command::Store(StoreCommand::Restore(command)) => command.run(context),
        Command::Store(StoreCommand::Compact(command)) => command.run(context),
    }
}

/// Parses the arguments of a run, such as those in a crontab; `None` if they are of another command.
fn parse_poll(arguments: Vec<OsString>) -> Result<Option<(Global, commands::poll::Poll)>, clap::Error> {
    let cli = Cli::try_parse_from(in_our_terms(arguments))?;
    Ok(if let Command::Poll(poll) = cli.command { Some((cli.global, poll)) } else { None })
}

impl Command {
    /// Whether the command cannot work if the configuration cannot be read.
    fn needs_config(&self) -> bool {
        !matches!(self, Self::Doctor(_) | Self::Config(ConfigCommand::Init(_)))
    }

    /// The name of the command, which waiting processes see.
    fn name(&self) -> &'static str {
        match self {
            Self::Poll(_) => POLL,
            Self::Get(_) => "get",
            Self::Call(_) => "call",
            Self::Event(_) => "event",
            Self::Status(_) => "status",
            Self::Explain(_) => "explain",
            Self::PollPlan(_) => "plan",
            Self::Retry(_) => "retry",
            Self::Revive(_) => "revive",
            Self::Disable(_) => "disable",
            Self::Enable(_) => "enable",
            Self::Remove(_) => "remove",
            Self::Set(_) => "set",
            Self::Follow(_) => "follow",
            Self::Import(_) => "import",
            Self::Export(_) => "export",
            Self::Results(_) => "results",
            Self::Report(_) => "report",
            Self::Registration(_) => REGISTRATION,
            Self::Demo(_) => "demo",
            Self::Doctor(_) => "doctor",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Notify(NotifyCommand::Test(_)) => "notify test",
            Self::Config(ConfigCommand::Init(_)) => "config init",
            Self::Config(ConfigCommand::Check(_)) => "config check",
            Self::Config(ConfigCommand::Show(_)) => "config show",
            Self::Config(ConfigCommand::AppKeys(AppKeysCommand::Create(_))) => "config app-keys create",
            Self::Config(ConfigCommand::AppKeys(AppKeysCommand::Request(_))) => "config app-keys request",
            Self::Store(StoreCommand::Create(_)) => "store create",
            Self::Store(StoreCommand::Check(_)) => "store check",
            Self::Store(StoreCommand::Backup(_)) => "store backup",
            Self::Store(StoreCommand::Restore(_)) => "store restore",
            Self::Store(StoreCommand::Compact(_)) => "store compact",
        }
    }
}

#[cfg(test)]
mod tests;
