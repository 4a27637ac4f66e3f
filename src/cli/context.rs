//! What every command gets: the global options, the configuration, the store and the app.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ColorChoice};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tracing::{error, warn};

use super::error::{Error, Report, Result};
use super::ui::progress::Display;
use super::ui::{logging, notice, prompt, terminal};
use super::values::{self, Verbosity};
use crate::config::{self, Config, JobTable, STORE_VARIABLE};
use crate::exit;
use crate::listener::Listeners;
use crate::model::{AppId, AppMeta, JobName, UnixTime};
use crate::retry::Policy;
use crate::site::{self, Client};
use crate::store::{self, Job, ReadSession, SkippedEntries, Store};
use crate::util::time::unix_now;

/// The limit of the call to a heartbeat URL or a webhook.
const OWN_URL_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(super) struct Global {
    /// Configuration file. The default is `cxnpoll.toml` in the user's configuration directory, then in
    /// /etc/cxnpoll/
    #[arg(long, global = true, value_name = "FILE", value_parser = values::path(), help_heading = "Global options")]
    pub(super) config: Option<PathBuf>,
    /// Directory of the store. The default is `CXNPOLL_STORE`, then the configuration, then the platform's state
    /// directory
    #[arg(long, global = true, value_name = "DIR", value_parser = values::path(), help_heading = "Global options")]
    pub(super) store: Option<PathBuf>,
    /// Wait at most this long for the store while another command uses it, such as 30s or 5m
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = values::duration, help_heading = "Global options")]
    pub(super) store_wait: Duration,
    /// Allow connections to a network that is not public (repeatable)
    #[arg(long, global = true, value_name = "CIDR", value_parser = values::network, help_heading = "Global options")]
    pub(super) allow_net: Vec<IpNet>,
    /// Print more: -v the summary and the failures, -vv everything
    #[arg(
        short, long, global = true, value_name = "LEVEL", value_parser = values::verbosity, num_args = 0..=1,
        require_equals = true, default_missing_value = "", help_heading = "Global options"
    )]
    verbose: Vec<Verbosity>,
    /// Print only errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(super) quiet: bool,
    /// When to use colors
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    pub(super) color: ColorChoice,
    /// Also write a log to this file; - is standard error
    #[arg(long, global = true, value_name = "FILE", value_parser = values::path(), help_heading = "Global options")]
    pub(super) log_file: Option<PathBuf>,
    /// Format of the log file
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", help_heading = "Global options")]
    pub(super) log_format: logging::Format,

    // Options of cxnapp's console, so that only the program path changes in a crontab line. Flags that mean nothing here
    // are names of one. `in_our_terms` replaces those that mean the same as an option of ours.
    #[arg(short = 'e', long, global = true, hide = true)]
    pub(super) env: Option<String>,
    #[arg(long, aliases = ["process-isolation", "profile", "shell"], short_alias = 's', global = true, hide = true)]
    pub(super) no_debug: bool,
    #[arg(short = 'n', long, global = true, hide = true)]
    pub(super) no_interaction: bool,
}

impl Global {
    /// What is logged where.
    pub(super) fn logging(&self) -> logging::Options<'_> {
        logging::Options {
            quiet: self.quiet,
            verbose: self.verbosity(),
            file: self.log_file.as_deref(),
            format: self.log_format,
        }
    }

    /// How much more is printed: the last `--verbose=LEVEL`, and one more for each `-v` after it.
    pub(super) fn verbosity(&self) -> u8 {
        self.verbose.iter().fold(0, |level, given| match given {
            Verbosity::More => level.saturating_add(1),
            Verbosity::Level(level) => *level,
        })
    }
}

/// What every command gets.
pub(super) struct Context {
    pub(super) global: Global,
    pub(super) config: Config,
    /// The command, which other processes that wait for the store name in their messages.
    pub(super) name: &'static str,
    /// The listeners of the configuration and of the program that embeds this library.
    pub(super) listeners: Listeners,
    /// When the process started, in seconds since 1970.
    pub(super) started: UnixTime,
    /// What the command skipped because it cannot be read.
    pub(super) skipped: SkippedEntries,
}

impl Context {
    /// The directory of the store, whether or not it exists.
    ///
    /// # Errors
    /// No directory is configured and the platform has no default.
    pub(super) fn store_path(&self) -> Result<PathBuf> {
        Ok(self.config.store_path(self.global.store.as_deref())?)
    }

    /// Whether the path of the store is known without the configuration.
    pub(super) fn names_store(&self) -> bool {
        self.global.store.is_some() || std::env::var_os(STORE_VARIABLE).is_some_and(|path| !path.is_empty())
    }

    /// Opens the store to read it.
    ///
    /// # Errors
    /// There is no store, or it cannot be opened.
    pub(super) fn store(&self) -> Result<Store> {
        self.opened(Store::open_to_read)
    }

    /// Opens the store for a command that writes to it.
    ///
    /// # Errors
    /// As [`Context::store`], and where the store cannot be written.
    pub(super) fn writable_store(&self) -> Result<Store> {
        self.opened(Store::open)
    }

    /// Opens the store to read it, or also to write to it.
    ///
    /// # Errors
    /// As [`Context::writable_store`].
    pub(super) fn store_for(&self, writes: bool) -> Result<Store> {
        if writes { self.writable_store() } else { self.store() }
    }

    fn opened(&self, open: impl FnOnce(&Path, Duration) -> store::Result<Store>) -> Result<Store> {
        let store = open(&self.store_path()?, self.global.store_wait)?;
        Ok(store.with_owner(self.name).with_skipped(self.skipped.clone()))
    }

    /// The exit code of a command that would end with `code`, with what it skipped so far.
    pub(super) fn exit_code(&self, code: u8) -> u8 {
        if !self.skipped.is_empty() && yields_to_skipped(code) { exit::STORE } else { code }
    }

    /// Turns the success of a command that skipped entries of the store into the error that names them.
    ///
    /// If it failed or was interrupted, they are logged before that is reported.
    ///
    /// # Errors
    /// Those of `result`; [`Error::Skipped`].
    pub(super) fn with_skipped(&self, result: Result<u8>) -> Result<u8> {
        let skipped = self.skipped.take();
        match result {
            result if skipped.is_empty() => result,
            Ok(code) if yields_to_skipped(code) => Err(Error::Skipped(skipped)),
            result => {
                error!("{}", Report::from(Error::Skipped(skipped)));
                result
            }
        }
    }

    /// Opens the store as [`Context::store_for`]; `None` if there is none yet.
    ///
    /// # Errors
    /// There is a store, but it cannot be opened.
    pub(super) fn existing_store(&self, writes: bool) -> Result<Option<Store>> {
        match self.store_for(writes) {
            Ok(store) => Ok(Some(store)),
            Err(Error::Store(store::Error::NoStore { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A client for the sites of an app; `timeout` overrides the configuration's limit for a whole call.
    ///
    /// # Errors
    /// The configured certificate authorities cannot be read.
    pub(super) fn client(&self, app: &AppMeta, timeout: Option<Duration>) -> Result<Client> {
        let mut timeouts = self.config.timeouts;
        timeouts.call = timeout.unwrap_or(timeouts.call);
        self.client_with(app, timeouts)
    }

    /// A client for the sites of an app with these limits of time.
    ///
    /// # Errors
    /// As [`Context::client`].
    pub(super) fn client_with(&self, app: &AppMeta, timeouts: site::Timeouts) -> Result<Client> {
        let config = &self.config;
        Ok(Client::new(site::Options {
            allow_net: [config.allow_net.as_slice(), &self.global.allow_net].concat(),
            refuse_ports: config.refuse_ports.clone(),
            timeouts,
            tls: app.tls,
            authorities: config.authorities()?,
            user_agent: config.user_agent(),
        }))
    }

    /// A client for heartbeats and webhooks. The administrator chose their URLs, which may be at any address.
    ///
    /// # Errors
    /// The configured certificate authorities cannot be read.
    pub(super) fn client_for_own_urls(&self) -> Result<Client, config::Error> {
        Ok(Client::new(site::Options {
            allow_net: vec![IpNet::from(Ipv4Net::default()), IpNet::from(Ipv6Net::default())],
            timeouts: site::Timeouts { call: OWN_URL_TIMEOUT, ..site::Timeouts::default() },
            authorities: self.config.authorities()?,
            user_agent: self.config.user_agent(),
            ..site::Options::default()
        }))
    }

    /// The metadata of an app: from the configuration, or bare for an app that only has connections.
    ///
    /// # Errors
    /// [`Error::UnknownApp`] if neither knows the app; its metadata or the store cannot be read.
    pub(super) fn app(&self, store: &Store, app_id: &AppId) -> Result<AppMeta> {
        if let Some(app) = self.config.app(app_id)? {
            for problem in self.config.certificate_problems(&app, unix_now()) {
                warn!("{problem}");
            }
            return Ok(app);
        }
        self.check_app(Some(store), app_id)?;
        Ok(AppMeta::bare(app_id.clone()))
    }

    /// Checks that the store or the configuration has an app; `store` is `None` if there is none yet.
    ///
    /// # Errors
    /// [`Error::UnknownApp`] if neither has it; the store cannot be read.
    pub(super) fn check_app(&self, store: Option<&Store>, app_id: &AppId) -> Result<()> {
        let mut names = self.config.app_names();
        if names.iter().any(|name| name == app_id.short()) || store.is_some_and(|store| store.knows_app(app_id)) {
            return Ok(());
        }
        let stored = store.map_or(Ok(Vec::new()), |store| store.read(ReadSession::apps))?;
        if stored.iter().any(|(_, known)| known == app_id) {
            return Ok(());
        }
        names.extend(stored.iter().map(|(_, known)| known.short().to_owned()));
        let suggestion = values::closest(app_id.short(), &names).cloned();
        Err(Error::UnknownApp { app_id: app_id.clone(), suggestion })
    }

    /// Whether notices are printed.
    pub(super) fn shows_notices(&self) -> bool {
        notice::is_shown(self.global.quiet, self.global.verbosity())
    }

    /// Logs what the command did, and prints it for a person.
    pub(super) fn notify(&self, text: &str) {
        notice::print(text, self.global.quiet, self.global.verbosity());
    }

    /// Whether progress bars are drawn, and how.
    pub(super) fn progress_display(&self) -> Display {
        if self.global.quiet || !terminal::can_redraw_stderr() {
            Display::Hidden
        } else if terminal::is_colored(self.global.color, true) {
            Display::Colored
        } else {
            Display::Plain
        }
    }

    /// Whether a person can be asked.
    pub(super) fn can_ask(&self) -> bool {
        terminal::can_ask() && !self.global.no_interaction
    }

    /// Returns whether a change shall be made, asking at the terminal if needed.
    ///
    /// # Errors
    /// [`Error::Unconfirmed`] if a confirmation is needed and there is no terminal to ask at.
    pub(super) fn confirm(&self, change: prompt::Change, preview: &prompt::Preview) -> Result<bool> {
        change.confirm(self.can_ask(), preview)
    }
}

/// The time that a command uses as the current time.
#[derive(Args, Default)]
pub(super) struct Clock {
    /// Use this time as the current time: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "T", value_parser = values::time)]
    now: Option<UnixTime>,
}

impl Clock {
    /// The given time, or else the start of the process.
    pub(super) fn now(&self, context: &Context) -> UnixTime {
        self.now.unwrap_or(context.started)
    }
}

/// The schedule by which a command that polls nothing computes states and due times.
#[derive(Args, Default)]
pub(super) struct ScheduleArgs {
    /// Use this expression instead of that of the job's last run, or of the configuration
    #[arg(long, value_name = "EXPR")]
    retry: Option<Policy>,
    #[command(flatten)]
    pub(super) clock: Clock,
}

impl ScheduleArgs {
    /// The given policy, or else that of the last run, or else that of the configuration.
    ///
    /// `job` is `None` if the store does not have it.
    ///
    /// # Errors
    /// [`Error::StoredRetry`] if the job's expression cannot be read.
    pub(super) fn policy(&self, config: &Config, app: &AppId, name: &JobName, job: Option<&Job>) -> Result<Policy> {
        match (&self.retry, job.and_then(|job| job.retry.as_deref())) {
            (Some(policy), _) => Ok(policy.clone()),
            (None, Some(stored)) => stored.parse().map_err(Error::StoredRetry),
            (None, None) => Ok(config.job_values(app, name, &JobTable::default()).retry.value),
        }
    }
}

/// Whether an exit code gives way to that of skipped entries.
fn yields_to_skipped(code: u8) -> bool {
    matches!(code, exit::OK | exit::SITE_FAILED)
}
