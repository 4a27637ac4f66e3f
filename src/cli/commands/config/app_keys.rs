//! `cxnpoll config app-keys`: the private key of an app, and requests for its certificate.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{Error, Result};
use crate::cli::output_file::{self, cannot_write};
use crate::cli::ui::output;
use crate::cli::values;
use crate::config::{Config, read_key};
use crate::exit;
use crate::model::AppId;
use crate::protocol::{AppKey, certificate_request, self_signed};
use crate::util::fs_atomic::{AtomicFile, durable_dirs};
use crate::util::text::shell_quoted;

/// The file of the key, as in cxnapp.
const KEYS: &str = "keys.json";
/// The file of the request for a certificate.
const REQUEST: &str = "app.csr";
/// The file of the certificate, as in cxnapp.
const CERTIFICATE: &str = "app.crt";

/// Create the private key of an app, and a request for its certificate
///
/// The key is RSA with 2048 bits, as sites require. It is written to keys.json, mode 0600, in the format of cxnapp, and the
/// request to app.csr. No existing file is replaced. The directory is that of the app in `apps-dir`, if it is there, or one
/// beside the configuration file that is named after the app.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll config app-keys create org.example.myapp --organization 'Example, Inc.'\n  cxnpoll config \
                  app-keys create org.example.myapp --self-signed --dir /etc/cxnpoll/myapp"
)]
pub(in crate::cli) struct Create {
    /// App, such as org.example.myapp
    #[arg(value_name = "APP", value_parser = values::app)]
    app: AppId,
    #[command(flatten)]
    subject: Subject,
    /// Directory of the files [default: that of the app in apps-dir, or one beside the configuration file]
    #[arg(long, value_name = "DIR", value_parser = values::path())]
    dir: Option<PathBuf>,
    /// Also write app.crt, a certificate for development sites, which accept any. It is valid for a year
    #[arg(long)]
    self_signed: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Create a request for a certificate of an app's existing key
///
/// A certificate is valid for a year. The request is written to app.csr beside the key.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll config app-keys request org.example.myapp --force")]
pub(in crate::cli) struct Request {
    /// App, such as org.example.myapp
    #[arg(value_name = "APP", value_parser = values::app)]
    app: AppId,
    #[command(flatten)]
    subject: Subject,
    /// Output file [default: app.csr beside the key]
    #[arg(long, short, value_name = "FILE", value_parser = values::path())]
    output: Option<PathBuf>,
    /// Replace the output file if it exists
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What the subject of a certificate has besides the app.
#[derive(Args)]
struct Subject {
    /// Organization in the certificate, at most 64 characters [default: the name of the app]
    #[arg(long, value_name = "NAME", value_parser = organization)]
    organization: Option<String>,
}

impl Subject {
    fn organization<'a>(&'a self, app: &'a AppId) -> &'a str {
        self.organization.as_deref().unwrap_or_else(|| app.short())
    }
}

fn organization(text: &str) -> Result<String, String> {
    let is_good = !text.trim().is_empty() && text.chars().count() <= 64 && !text.chars().any(char::is_control);
    if is_good { Ok(text.to_owned()) } else { Err("expected 1 to 64 characters".to_owned()) }
}

impl Create {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let dir = match self.dir {
            Some(dir) => dir,
            None => default_dir(context, &self.app)?,
        };
        let names = [KEYS, REQUEST].into_iter().chain(self.self_signed.then_some(CERTIFICATE));
        let existing = names.map(|name| dir.join(name)).find(|path| fs::symlink_metadata(path).is_ok());
        if let Some(existing) = existing {
            return Err(Error::KeyExists(existing));
        }
        durable_dirs(&dir).map_err(|error| cannot_write(&dir, &error))?;
        let key = AppKey::generate().map_err(not_made)?;
        let organization = self.subject.organization(&self.app);
        let request = certificate_request(&key, &self.app, organization).map_err(not_made)?;
        let certificate = self.self_signed.then(|| self_signed(&key, &self.app, organization, context.started));
        let certificate = certificate.transpose().map_err(not_made)?;
        let keys = dir.join(KEYS);
        write(&keys, 0o600, &key.to_json())?;
        write(&dir.join(REQUEST), 0o644, request.as_bytes())?;
        if let Some(certificate) = &certificate {
            write(&dir.join(CERTIFICATE), 0o644, certificate.as_bytes())?;
        }
        if self.json {
            let (app, request) = (self.app.as_str(), dir.join(REQUEST));
            let certificate = self.self_signed.then(|| dir.join(CERTIFICATE));
            output::json(&json!({"app": app, "key": keys, "request": request, "certificate": certificate}));
        }
        context.notify(&next_steps(context, &self.app, &dir, self.self_signed)?);
        Ok(exit::OK)
    }
}

impl Request {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        // A new key may not be in the configuration yet.
        let key = match context.config.app_key(&self.app)? {
            None => {
                let made = default_dir(context, &self.app)?.join(KEYS);
                read_key(&made)?.map(|key| (key, made))
            }
            key => key,
        };
        let (key, file) = key.ok_or_else(|| Error::NoKey(self.app.clone()))?;
        let output = self.output.unwrap_or_else(|| file.with_file_name(REQUEST));
        let request = certificate_request(&key, &self.app, self.subject.organization(&self.app)).map_err(not_made)?;
        output_file::write(
            &output,
            self.force,
            |_| Ok(()),
            |to, path| to.write_all(request.as_bytes()).map_err(|error| cannot_write(path, &error)),
        )?;
        if self.json {
            output::json(&json!({"app": self.app.as_str(), "key": file, "request": output}));
        }
        context.notify(&format!("{} is written. {}", output.display(), SEND));
        Ok(exit::OK)
    }
}

/// What to do with a request.
const SEND: &str = "Send it to civicrm.org, with the URL of the app's metadata, and put the answer into app.crt.";

/// The directory of an app in `apps-dir`, if it is there, or one beside the configuration file.
fn default_dir(context: &Context, app: &AppId) -> Result<PathBuf> {
    let config = &context.config;
    let of_cxnapp = config.apps_dir.as_ref().map(|dir| dir.join(app.short()));
    if let Some(dir) = of_cxnapp.filter(|dir| dir.is_dir()) {
        return Ok(dir);
    }
    let file = match &config.file {
        Some(file) => file.clone(),
        None => Config::file_to_write(context.global.config.as_deref())?,
    };
    Ok(file.with_file_name(app.short()))
}

/// Writes a new file as a whole, so that no other user can read a part of it before.
fn write(path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let failed = |error: io::Error| cannot_write(path, &error);
    let mut file = AtomicFile::beside(path, &Permissions::from_mode(mode)).map_err(failed)?;
    file.file().write_all(content).map_err(failed)?;
    file.commit_new(|| ()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::KeyExists(path.to_owned()),
        _ => failed(error),
    })
}

fn not_made(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::KeyNotMade(io::Error::other(error))
}

/// What to do with the new files.
fn next_steps(context: &Context, app: &AppId, dir: &Path, is_self_signed: bool) -> Result<String> {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let mut lines = vec![format!("{KEYS} and {REQUEST} are written to {}. Next:", dir.display())];
    if rustix::process::geteuid().is_root() {
        lines.push(format!("  chown -R cxnpoll {}  # the user that runs `cxnpoll registration`", shell_quoted(&dir)));
    }
    if is_self_signed {
        lines.push(format!("  {CERTIFICATE} is for development sites with the authority `none`. For others:"));
    }
    lines.push(format!("  send {REQUEST} to civicrm.org, with the URL of the app's metadata, which is"));
    let app_url = context.config.app(app)?.and_then(|app| app.metadata["appUrl"].as_str().map(str::to_owned));
    let url = app_url.unwrap_or_else(|| format!("https://HOST/cxn/{}/cxn", app.short()));
    lines.push(format!("    {}/metadata.json", url.trim_end_matches('/').trim_end_matches("/register")));
    lines.push(format!("  put the certificate that comes back into {}", dir.join(CERTIFICATE).display()));
    let is_in_apps_dir = context.config.apps_dir.as_ref().is_some_and(|apps| dir == apps.join(app.short()));
    if !is_in_apps_dir {
        lines.push(format!("  name both in the configuration: [apps.\"{}\"]", app.short()));
        for (key, name) in [("private-key", KEYS), ("app-cert", CERTIFICATE)] {
            lines.push(format!("    {key} = \"{}\"", dir.join(name).display()));
        }
    }
    lines.push("  cxnpoll config check".to_owned());
    Ok(lines.join("\n"))
}
