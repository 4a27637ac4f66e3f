//! The questions of `config init`.

use std::path::{Path, PathBuf};
use std::{env, fs};

use super::answers::{Answers, App};
use crate::cli::error::Result;
use crate::cli::ui::prompt::question;
use crate::cli::values;
use crate::config::Config;
use crate::model::AppId;
use crate::retry::{InvalidRetry, Policy};
use crate::site::Endpoint;
use crate::util::home;

/// Where cxnapp is often installed.
const CXNAPP_DIRS: [&str; 5] = ["/var/www/cxnapp", "/var/www/html/cxnapp", "/srv/cxnapp", "/opt/cxnapp", "~/cxnapp"];
/// The directory of its apps.
const APPS_DIR: &str = "app/cxn";

/// Asks for each value that is not given; `None` if the input ends.
///
/// # Errors
/// The terminal cannot be read.
pub(super) fn ask(given: Answers) -> Result<Option<Answers>> {
    let mut answers = given;
    if answers.store.is_none() {
        let default = default_store();
        let default = default.as_ref().map(|path| path.display().to_string());
        match question("Directory of the store", default.as_deref(), path)? {
            Some(store) => answers.store = store,
            None => return Ok(None),
        }
    }
    if answers.apps_dir.is_none() {
        let found = cxnapp_dir().map(|dir| dir.display().to_string());
        match question("Directory of cxnapp's apps (- for none)", found.as_deref(), directory)? {
            Some(dir) => answers.apps_dir = dir,
            None => return Ok(None),
        }
    }
    if answers.apps.is_empty() {
        loop {
            let new = |text: &str| optional(text, |text| new_app(text, &answers.apps));
            match question("App, such as org.example.myapp (empty: no more)", None, new)? {
                Some(Some(id)) => {
                    let Some(url) =
                        question("  URL at which it takes registrations", None, |text| optional(text, url))?
                    else {
                        return Ok(None);
                    };
                    let Some(certificate) = question("  Certificate file, in PEM", None, file)? else {
                        return Ok(None);
                    };
                    let Some(retry) = question("  Retry expression, such as 20min (x6); 1hour (x24)", None, retry)?
                    else {
                        return Ok(None);
                    };
                    answers.apps.push(App { id, url, certificate, retry });
                }
                Some(None) => break,
                None => return Ok(None),
            }
        }
    }
    if answers.contact.is_none() {
        match question("Contact for administrators of sites, a URL or an address", None, text)? {
            Some(contact) => answers.contact = contact,
            None => return Ok(None),
        }
    }
    if answers.heartbeat.is_none() {
        match question("Heartbeat URL, called after each successful run", None, |text| optional(text, url))? {
            Some(heartbeat) => answers.heartbeat = heartbeat,
            None => return Ok(None),
        }
    }
    Ok(Some(answers))
}

/// A value that may be left out: empty, or `-`.
fn optional<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.is_empty() || text == "-" { Ok(None) } else { parse(text).map(Some) }
}

/// An app that was not named before.
fn new_app(text: &str, apps: &[App]) -> Result<AppId, String> {
    let id = values::app(text)?;
    if apps.iter().any(|app| app.id == id) { Err(format!("{} is in the file already", id.short())) } else { Ok(id) }
}

fn text(text: &str) -> Result<Option<String>, String> {
    optional(text, |text| Ok(text.to_owned()))
}

fn retry(text: &str) -> Result<Option<Policy>, String> {
    optional(text, |text| text.parse().map_err(|error: InvalidRetry| error.to_string()))
}

/// An absolute path.
fn path(text: &str) -> Result<Option<PathBuf>, String> {
    optional(text, |text| {
        let path = home::expand(Path::new(text)).map_err(|error| error.to_string())?;
        std::path::absolute(path).map_err(|error| error.to_string())
    })
}

fn directory(text: &str) -> Result<Option<PathBuf>, String> {
    let path = path(text)?;
    let is_there = path.as_ref().is_none_or(|path| path.is_dir());
    if is_there { Ok(path) } else { Err("there is no such directory".to_owned()) }
}

fn file(text: &str) -> Result<Option<PathBuf>, String> {
    let path = path(text)?;
    let read = path.as_ref().map_or(Ok(()), |path| fs::read(path).map(drop));
    read.map(|()| path).map_err(|error| format!("it cannot be read: {error}"))
}

/// An http or https URL.
pub(super) fn url(text: &str) -> Result<String, String> {
    Endpoint::new(text, None).map(|_| text.to_owned()).map_err(|_| "expected an http or https URL".to_owned())
}

/// The store that is proposed: for root, that of the package.
fn default_store() -> Option<PathBuf> {
    let is_named = env::var_os(crate::config::STORE_VARIABLE).is_some_and(|path| !path.is_empty());
    if rustix::process::geteuid().is_root() && !is_named {
        return Some("/var/lib/cxnpoll".into());
    }
    Config::default().store_path(None).ok()
}

/// The directory of apps of an installation of cxnapp; `None` if none is found.
fn cxnapp_dir() -> Option<PathBuf> {
    let dirs = CXNAPP_DIRS.iter().filter_map(|dir| home::expand(Path::new(dir)).ok());
    dirs.map(|dir| dir.join(APPS_DIR)).find(|dir| dir.is_dir())
}
