//! `cxnpoll config init`: a new configuration file.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use tracing::warn;

use super::answers::{Answers, App};
use super::questions;
use crate::cli::context::Context;
use crate::cli::error::{Error, Result};
use crate::cli::ui::output;
use crate::cli::values;
use crate::config::Config;
use crate::exit;
use crate::model::AppId;
use crate::retry::Policy;
use crate::util::fs_atomic::{AtomicFile, Durability};
use crate::util::open::target_of;
use crate::util::text::shell_quoted;

/// Write a commented configuration file
///
/// At a terminal it asks for each value that no option sets. Without a terminal, or with -n, only the options are set. Every
/// other key is in the file as a comment. The file is checked before it is written, and an existing one is replaced only
/// with --force.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll config init\n  cxnpoll config init -n --app org.example.myapp --app-cert /etc/cxnpoll/myapp.crt \
                  --store /var/lib/cxnpoll\n  cxnpoll config init -n --output -"
)]
pub(in crate::cli) struct Init {
    /// App, such as org.example.myapp
    #[arg(long, value_name = "APP", value_parser = values::app)]
    app: Option<AppId>,
    /// URL at which the app takes registrations
    #[arg(long, value_name = "URL", value_parser = questions::url, requires = "app")]
    app_url: Option<String>,
    /// Certificate of the app, X.509 in PEM
    #[arg(long, value_name = "FILE", value_parser = values::path(), requires = "app")]
    app_cert: Option<PathBuf>,
    /// Retry expression of the app's default job: '20min (x6); 1hour (x24); 1day (x30)'
    #[arg(long, value_name = "EXPR", requires = "app")]
    retry: Option<Policy>,
    /// Directory of cxnapp's apps
    #[arg(long, value_name = "DIR", value_parser = values::path())]
    apps_dir: Option<PathBuf>,
    /// Contact for administrators of sites, sent as part of the user agent
    #[arg(long, value_name = "TEXT")]
    contact: Option<String>,
    /// URL to call after each successful run
    #[arg(long, value_name = "URL")]
    heartbeat: Option<String>,
    /// Output file, or - for standard output [default: --config, `CXNPOLL_CONFIG`, or the first file that is looked for]
    #[arg(long, short, value_name = "FILE", value_parser = values::path())]
    output: Option<PathBuf>,
    /// Replace the output file if it exists
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let default = Config::default_file();
        let output = match (&self.output, &context.global.config) {
            (Some(output), _) => output.clone(),
            (None, named) => Config::file_to_write(named.as_deref())?,
        };
        let is_stdout = output.as_os_str() == "-";
        if !is_stdout && !self.force && fs::symlink_metadata(&output).is_ok() {
            return Err(Error::OutputExists(output));
        }
        let force = self.force;
        let Some(answers) = self.answers(context)? else {
            context.notify("Nothing was written.");
            return Ok(exit::OK);
        };
        let text = answers.text();
        let config = check(&answers, &text, &output)?;
        for app in &answers.apps {
            for problem in config.app(&app.id)?.iter().flat_map(|app| config.certificate_problems(app, context.started))
            {
                warn!("{problem}");
            }
        }
        if is_stdout {
            output::bytes(text.as_bytes());
            return Ok(exit::OK);
        }
        let mode = if answers.heartbeat.is_some() { 0o600 } else { 0o644 };
        write(&output, mode, force, text.as_bytes())?;
        context.notify(&next_steps(&answers, &output, default.as_deref() == Some(&*output)));
        Ok(exit::OK)
    }

    /// The values of the options, and those that are asked for.
    ///
    /// `None` if the questions are not answered to their end.
    fn answers(self, context: &Context) -> Result<Option<Answers>> {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let certificate = self.app_cert.map(absolute);
        let app = self.app.map(|id| App { id, url: self.app_url, certificate, retry: self.retry });
        let given = Answers {
            store: context.global.store.clone().map(absolute),
            apps_dir: self.apps_dir.map(absolute),
            contact: self.contact,
            heartbeat: self.heartbeat,
            apps: app.into_iter().collect(),
        };
        if context.can_ask() { questions::ask(given) } else { Ok(Some(given)) }
    }
}

/// Reads the text as a run would, and returns the configuration.
///
/// # Errors
/// A value cannot be used, or a file that it names cannot be read.
fn check(answers: &Answers, text: &str, output: &Path) -> Result<Config> {
    let certificates = answers.apps.iter().map(|app| &app.certificate);
    let mut paths = [&answers.store, &answers.apps_dir].into_iter().chain(certificates).flatten();
    if let Some(path) = paths.find(|path| path.to_str().is_none()) {
        return Err(Error::PathNotUtf8(path.clone()));
    }
    let dir = output.parent().unwrap_or(Path::new(""));
    let config = Config::parse(text, dir)
        .map_err(|source| Error::Config(crate::config::Error::Toml { path: output.to_owned(), source }))?;
    if config != answers.config() {
        return Err(Error::Panic("the new configuration does not read back".to_owned()));
    }
    config.heartbeat(answers.heartbeat.as_deref())?;
    if let Some(directory) = config.apps_dir.as_ref().filter(|directory| !directory.is_dir()) {
        return Err(Error::NoDirectory(directory.clone()));
    }
    Ok(config)
}

/// Writes the file as a whole, and creates its directory.
fn write(output: &Path, mode: u32, force: bool, text: &[u8]) -> Result<()> {
    let failed = |error: io::Error| Error::OutputFile { path: output.to_owned(), kind: error.kind() };
    let path = target_of(output).map_err(failed)?;
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    let mut file = AtomicFile::beside(&path, &Permissions::from_mode(mode)).map_err(failed)?;
    file.file().write_all(text).map_err(failed)?;
    if force {
        return file.commit(Durability::Durable, || ()).map_err(failed);
    }
    file.commit_new(|| ()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::OutputExists(path.clone()),
        _ => failed(error),
    })
}

/// What to do with the new file.
fn next_steps(answers: &Answers, output: &Path, is_default: bool) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "cxnpoll".into());
    // Cron starts a run in another directory.
    let file = shell_quoted(&std::path::absolute(output).unwrap_or_else(|_| output.to_owned()));
    let config = if is_default { String::new() } else { format!(" --config {file}") };
    let mut lines = vec![format!("{} is written. Next:", output.display())];
    if answers.heartbeat.is_some() && rustix::process::geteuid().is_root() {
        lines.push(format!("  chgrp cxnpoll {file}; chmod 640 {file}  # if runs belong to the user cxnpoll"));
    }
    lines.push(format!("  cxnpoll{config} import FILE  # the connections, as cxnapp or an export has them"));
    for app in &answers.apps {
        let app = app.id.short();
        lines.push(format!("  cxnpoll{config} poll {app} --dry-run"));
        lines.push(format!("  crontab -e  # add: */5 * * * * {}{config} poll {app}", shell_quoted(&program)));
    }
    lines.push(format!("  cxnpoll{config} doctor"));
    lines.join("\n")
}
