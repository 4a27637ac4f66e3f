//! The command line: one file a command, its flags beside its code.

mod act;
mod call;
mod check;
mod config;
mod event;
mod explain;
mod export;
mod filter;
mod get;
mod import;
mod logging;
mod manual;
mod output;
mod poll;
mod results;
mod retry;
mod status;
mod store;

use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tracing::warn;

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::listener::{Listener, Listeners};
use crate::model::{AppId, AppMeta, CxnId, JobName, Tls, UnixTime};
use crate::retry::Policy;
use crate::site::{self, Client};
use crate::store::{Alteration, CxnKey, Job, Session, Store};

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
69 own outage, 74 store, 75 declined or busy, 78 configuration, 130/143 ended by a signal";

#[derive(Args)]
struct Global {
    /// The configuration file [default: `cxnpoll.toml` in the user's configuration folder, then /etc/cxnpoll/]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// The folder of the store [default: `CXNPOLL_STORE`, then the configuration, then the platform's state folder]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    store: Option<PathBuf>,
    /// How many seconds to wait for the store while another command works on it
    #[arg(long, global = true, value_name = "S", default_value = "30", value_parser = seconds, help_heading = "Global options")]
    store_wait: Duration,
    /// Allow connections to a network that is not public; may be repeated
    #[arg(long, global = true, value_name = "CIDR", value_parser = network, help_heading = "Global options")]
    allow_net: Vec<IpNet>,
    /// Tell more: -v the summary and what failed, -vv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
    /// Tell errors alone
    #[arg(short, long, global = true, help_heading = "Global options")]
    quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    color: ColorChoice,
    /// Also write a log to this file
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    log_file: Option<PathBuf>,
    /// The form of the log file
    #[arg(long, global = true, value_name = "FORM", default_value = "text", help_heading = "Global options")]
    log_format: logging::Format,

    // Options of cxnapp's console, so that a crontab line changes in its program path alone.
    #[arg(short = 'e', long, global = true, hide = true, overrides_with = "env")]
    env: Option<String>,
    #[arg(long, global = true, hide = true)]
    no_debug: bool,
    #[arg(short = 'n', long, global = true, hide = true)]
    no_interaction: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Poll the sites of an app that are due
    #[command(alias = "cxn:poll")]
    Poll(poll::Poll),
    /// List connections
    #[command(alias = "cxn:get")]
    Get(get::Get),
    /// Print the event that a listener program would get
    Event(event::Event),
    /// Send one API call to a site
    #[command(alias = "cxn:call")]
    Call(call::Call),
    /// Tell where the connections of each app and job stand
    Status(status::Status),
    /// Tell why a connection is due or not
    Explain(explain::Explain),
    /// Show the timeline of a retry expression
    Retry(retry::Retry),
    /// Make connections due at once, as if they were new
    #[command(
        after_help = "Examples:\n  cxnpoll revive cxn:0123456789abcdef0123456789abcdef\n  cxnpoll revive --state given-up --host '*.example.org'"
    )]
    Revive(act::Act),
    /// Switch connections off: they are not polled
    #[command(after_help = "Example:\n  cxnpoll disable --url 'http://staging.*'")]
    Disable(act::Act),
    /// Switch connections on again
    #[command(after_help = "Example:\n  cxnpoll enable cxn:0123456789abcdef0123456789abcdef")]
    Enable(act::Act),
    /// Remove connections, their poll statuses and kept results
    #[command(after_help = "Example, for cron:\n  cxnpoll remove --state given-up --older-than '6 month' --all --yes")]
    Remove(act::Act),
    /// Add and update connections
    Import(import::Import),
    /// Write out all connections, with their secrets
    Export(export::Export),
    /// Show what listeners kept of their polls
    Results(results::Results),
    /// Look after the store
    #[command(subcommand)]
    Store(StoreCommand),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell
    Completions(manual::Completions),
    /// Print a manual page
    Man(manual::Man),
}

#[derive(Subcommand)]
enum StoreCommand {
    /// Check that everything in the store agrees
    Check(check::Check),
    /// Write a backup
    Backup(store::BackUp),
    /// Put a backup into the place of what is there
    Restore(store::Restore),
    /// Write the store anew, as small as it can be
    Compact(store::Compact),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check the configuration, the apps that it names and their certificates
    Check(config::Check),
    /// Show every value that is in force, and where it came from
    Show(config::Show),
}

/// What every command works with.
struct Context {
    global: Global,
    config: Config,
    /// The command, for those who have to wait for it.
    name: &'static str,
    /// What is called when sites are polled: of the configuration and of the program that we are part of.
    listeners: Listeners,
    /// When the process started, UTC seconds.
    started: UnixTime,
}

/// Runs the program with the arguments that the process got (the first is its name) and returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    run_with(arguments, Vec::new())
}

/// The same, with listeners beside those of the configuration.
pub(crate) fn run_with(arguments: impl IntoIterator<Item = OsString>, listeners: Vec<Listener>) -> u8 {
    // A run judges sites by the moment at which its process started, before any lock or wait.
    let started = Utc::now().timestamp().max(0);
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
    // A panic is told as the error that it is; where it happened goes to the log.
    panic::set_hook(Box::new(|info| tracing::error!(target: logging::FILE_ONLY, "{info}")));
    let done = panic::catch_unwind(AssertUnwindSafe(|| execute(cli, started, listeners)));
    let done = done.unwrap_or_else(|panic| {
        let error = Error::new(Kind::Internal, format!("this is a bug: {}", crate::error::panic_text(&*panic)));
        Err(error.hint("nothing that was recorded is lost; --log-file tells where it happened"))
    });
    done.unwrap_or_else(|error| {
        tracing::error!(target: logging::FILE_ONLY, "{error}");
        output::error(&error, color);
        error.kind.exit_code()
    })
}

/// The colours that were asked for, before all else is understood: also a mistake has them.
fn color(arguments: &[OsString]) -> ColorChoice {
    let texts: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let after = |index: usize| texts.get(index + 1).map(AsRef::as_ref);
    let told = texts.iter().enumerate().rev().find_map(|(index, text)| match text.strip_prefix("--color") {
        Some("") => after(index),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    told.and_then(|text| clap::ValueEnum::from_str(text, true).ok()).unwrap_or(ColorChoice::Auto)
}

fn execute(cli: Cli, started: UnixTime, more: Vec<Listener>) -> Result<u8> {
    logging::start(&cli.global)?;
    let config = Config::load(cli.global.config.as_deref())?;
    let mut listeners = config.listeners();
    for listener in more {
        listeners.add(listener);
    }
    let context = Context { global: cli.global, config, name: cli.command.name(), listeners, started };
    match cli.command {
        Command::Poll(command) => command.run(&context),
        Command::Get(command) => command.run(&context),
        Command::Call(command) => command.run(&context),
        Command::Event(command) => command.run(&context),
        Command::Status(command) => command.run(&context),
        Command::Explain(command) => command.run(&context),
        Command::Retry(command) => command.run(&context),
        Command::Revive(command) => command.run(&context, Alteration::Revive),
        Command::Disable(command) => command.run(&context, Alteration::Disable),
        Command::Enable(command) => command.run(&context, Alteration::Enable),
        Command::Remove(command) => command.run(&context, Alteration::Remove),
        Command::Import(command) => command.run(&context),
        Command::Export(command) => command.run(&context),
        Command::Results(command) => command.run(&context),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
        Command::Config(ConfigCommand::Check(command)) => command.run(&context),
        Command::Config(ConfigCommand::Show(command)) => command.run(&context),
        Command::Store(StoreCommand::Check(command)) => command.run(&context),
        Command::Store(StoreCommand::Backup(command)) => command.run(&context),
        Command::Store(StoreCommand::Restore(command)) => command.run(&context),
        Command::Store(StoreCommand::Compact(command)) => command.run(&context),
    }
}

impl Command {
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

impl Context {
    /// The store, which must be there.
    fn store(&self) -> Result<Store> {
        let path = self.config.store_path(self.global.store.as_deref())?;
        Ok(Store::open(&path, self.global.store_wait)?.visited_by(self.name))
    }

    /// A client for the sites of an app, by the rules of command line and configuration; `timeout` is the command line's
    /// limit for a whole call.
    fn client(&self, app: &AppMeta, timeout: Option<Duration>) -> Result<Client> {
        let config = &self.config;
        let mut timeouts = config.timeouts;
        timeouts.call = timeout.unwrap_or(timeouts.call);
        Ok(Client::new(site::Options {
            allow_net: [config.allow_net.as_slice(), &self.global.allow_net].concat(),
            refuse_ports: config.refuse_ports.clone(),
            timeouts,
            tls: app.tls,
            authorities: config.authorities()?,
            user_agent: config.user_agent(),
        }))
    }

    /// A client for whoever watches over us, at any address.
    fn watcher(&self) -> Result<Client> {
        let ten = Duration::from_secs(10);
        Ok(Client::new(site::Options {
            allow_net: vec![IpNet::from(Ipv4Net::default()), IpNet::from(Ipv6Net::default())],
            timeouts: site::Timeouts { call: ten, ..site::Timeouts::default() },
            authorities: self.config.authorities()?,
            user_agent: self.config.user_agent(),
            ..site::Options::default()
        }))
    }

    /// The app of an id: from the configuration, or known by its connections alone.
    fn app(&self, store: &Store, app_id: &AppId) -> Result<AppMeta> {
        if let Some(app) = self.config.app(app_id)? {
            app.certificate_problems(Utc::now().timestamp()).iter().for_each(|problem| warn!("{problem}"));
            return Ok(app);
        }
        let known_by_cxns = || AppMeta {
            app_id: app_id.clone(),
            app_cert: String::new(),
            disabled: false,
            tls: Tls::Verify,
            metadata: serde_json::Value::Null,
        };
        if store.knows(app_id) {
            return Ok(known_by_cxns());
        }
        let stored = store.session(Session::apps)?;
        if stored.iter().any(|(_, known)| known == app_id) {
            return Ok(known_by_cxns());
        }
        let stored = stored.iter().map(|(_, known)| known.short().to_owned());
        let names: Vec<String> = stored.chain(self.config.app_names()).collect();
        let error = Error::new(Kind::NotFound, format!("there is no app {app_id}"));
        Err(match closest(app_id.short(), &names) {
            Some(name) => error.hint(format!("did you mean {name}?")),
            None => error.hint("`cxnpoll status` lists the apps of the store; the configuration may name others"),
        })
    }

    /// The connection of an id as a person types it: `cxn:` may be left out.
    fn find(session: &Session, text: &str) -> Result<CxnKey> {
        for id in [text.to_owned(), format!("cxn:{text}")] {
            let cxn_id: CxnId = id.parse().map_err(|error| Error::new(Kind::Usage, format!("{error}")))?;
            if let Some(key) = session.find(&cxn_id)? {
                return Ok(key);
            }
        }
        Err(Error::new(Kind::NotFound, format!("there is no connection {text}")).hint("`cxnpoll get` lists them"))
    }
}

/// What connections are judged by, where a command only looks.
#[derive(Args)]
struct Judge {
    /// Judge by this expression instead of the one that the job last ran with
    #[arg(long, value_name = "EXPR")]
    retry: Option<Policy>,
    /// Pretend that it is this moment: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "T", value_parser = moment)]
    now: Option<UnixTime>,
}

impl Judge {
    fn now(&self, context: &Context) -> UnixTime {
        self.now.unwrap_or(context.started)
    }

    fn policy(&self, job: Option<&Job>) -> Result<Policy> {
        match (&self.retry, job.and_then(|job| job.retry.as_deref())) {
            (Some(policy), _) => Ok(policy.clone()),
            (None, Some(retry)) => retry
                .parse()
                .map_err(|error| Error::new(Kind::Store, format!("the job's remembered expression: {error}"))),
            (None, None) => Ok(Policy::default()),
        }
    }
}

/// The name that is most like `text`, where one is alike.
fn closest<'a>(text: &str, names: &'a [String]) -> Option<&'a String> {
    let likeness = |name: &String| strsim::jaro_winkler(text, name);
    names.iter().filter(|name| likeness(name) > 0.85).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// A number of seconds, perhaps with a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number of seconds, such as 30 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| expected())?;
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| duration.as_secs() < 1 << 32).ok_or_else(expected)
}

/// A number of seconds that is not 0.
fn some_seconds(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|duration| {
        if duration.is_zero() { Err("expected more than 0 seconds".to_owned()) } else { Ok(duration) }
    })
}

/// A network, or an address as the network that holds it alone.
fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "expected a network, such as 10.0.0.0/8 or fd00::/8".to_owned())
}

/// A moment: RFC 3339 or UTC seconds since 1970.
fn moment(text: &str) -> Result<UnixTime, String> {
    text.parse()
        .ok()
        .or_else(|| chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp()))
        .filter(|moment| (0..=253_402_300_799).contains(moment))
        .ok_or_else(|| "expected a time such as 2026-01-31T12:00:00Z, or seconds since 1970".to_owned())
}

/// An app as a person types it.
fn app(text: &str) -> Result<AppId, String> {
    AppId::from_argument(text).map_err(|error| error.to_string())
}

/// A job's name.
fn job(text: &str) -> Result<JobName, String> {
    text.parse().map_err(|error: crate::model::InvalidId| error.to_string())
}
