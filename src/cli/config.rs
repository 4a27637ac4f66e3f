//! `cxnpoll config`: what the configuration says, and whether it makes sense.

use std::env;
use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde_json::{Value, json};

use super::{Context, output};
use crate::config::{CONFIG_VARIABLE, Config, STORE_VARIABLE};
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::model::{AppId, AppMeta};

/// Check the configuration, the apps that it names and their certificates
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll config check --config /etc/cxnpoll/cxnpoll.toml")]
pub(super) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show every value that is in force, and where it came from
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll config show")]
pub(super) struct Show {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let config = &context.config;
        let mut problems = Vec::new();
        if let Some(folder) = config.apps_dir.as_ref().filter(|folder| !folder.is_dir()) {
            problems.push(format!("apps-dir: {} is no folder", folder.display()));
        }
        if let Err(error) = config.authorities() {
            problems.push(error.message);
        }
        let names = config.app_names();
        let mut warnings = Vec::new();
        for name in &names {
            match app(config, name) {
                Ok(app) => {
                    problems.extend(app.certificate_problems(context.started));
                    warnings.extend(app.tls_warning());
                }
                Err(error) => problems.push(error.message),
            }
        }
        if let Err(error) = config.store_path(context.global.store.as_deref()) {
            problems.push(error.message);
        }
        let file = file(config);
        if self.json {
            let line = json!({"file": config.file, "apps": names.len(), "problems": problems, "warnings": warnings});
            output::json(&line)?;
        } else {
            for problem in problems.iter().chain(&warnings) {
                tracing::warn!("{problem}");
            }
        }
        if !problems.is_empty() {
            return Err(Error::new(Kind::Config, format!("{} problems with {file}", problems.len())));
        }
        if !self.json && (io::stderr().is_terminal() || context.global.verbose > 0) {
            let _ = writeln!(io::stderr(), "{file} is fine: {} apps", names.len());
        }
        Ok(exit::OK)
    }
}

impl Show {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let values = values(context)?;
        if self.json {
            let object =
                |(key, value, from): &(String, Value, String)| json!({"key": key, "value": value, "from": from});
            return output::json(&values.iter().map(object).collect::<Value>()).map(|()| exit::OK);
        }
        let mut table = output::table(&["KEY", "VALUE", "FROM"]);
        for (key, value, from) in &values {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            table.add_row([key, &value, from]);
        }
        output::print_table(&mut table)?;
        Ok(exit::OK)
    }
}

/// The file that is in force, for people.
fn file(config: &Config) -> String {
    config.file.as_ref().map_or("the configuration (there is no file)".to_owned(), |file| file.display().to_string())
}

/// The app of a name that the configuration knows.
fn app(config: &Config, name: &str) -> Result<AppMeta> {
    let wrong = |why: &str| Error::new(Kind::Config, format!("the app '{name}': {why}"));
    let app_id = AppId::from_argument(name).map_err(|error| wrong(&error.to_string()))?;
    config.app(&app_id)?.ok_or_else(|| wrong("there is no metadata.json for it"))
}

/// Every value with its key and where it came from.
fn values(context: &Context) -> Result<Vec<(String, Value, String)>> {
    let (config, global) = (&context.config, &context.global);
    let written = config.written()?;
    let source = |key: &str| if written.contains_key(key) { file(config) } else { "default".to_owned() };
    let found_by = match (&config.file, &global.config, env::var_os(CONFIG_VARIABLE)) {
        (None, ..) => "no file was found".to_owned(),
        (_, Some(_), _) => "--config".to_owned(),
        (_, None, Some(variable)) if !variable.is_empty() => CONFIG_VARIABLE.to_owned(),
        _ => "the first that is there".to_owned(),
    };
    let store_from = match (&global.store, env::var_os(STORE_VARIABLE)) {
        (Some(_), _) => "--store".to_owned(),
        (None, Some(variable)) if !variable.is_empty() => STORE_VARIABLE.to_owned(),
        _ => source("store"),
    };
    let mut values = vec![
        ("config".to_owned(), json!(config.file), found_by),
        ("store".to_owned(), json!(config.store_path(global.store.as_deref())?), store_from),
        ("apps-dir".to_owned(), json!(config.apps_dir), source("apps-dir")),
        ("contact".to_owned(), json!(config.contact), source("contact")),
        ("refuse-ports".to_owned(), json!(config.refuse_ports), source("refuse-ports")),
        ("ca-file".to_owned(), json!(config.ca_file), source("ca-file")),
    ];
    let mut add = |key: String, value: Value, from: String| values.push((key, value, from));
    add("allow-net".to_owned(), json!(config.allow_net), source("allow-net"));
    for network in &global.allow_net {
        add("allow-net".to_owned(), json!(network), "--allow-net".to_owned());
    }
    for (host, limit) in &config.per_host {
        add(format!("per-host.{host}"), json!(limit), source("per-host"));
    }
    let within = |table: &str, key: &str| {
        let named = written.get(table).and_then(|table| table.get(key)).is_some();
        if named { file(config) } else { "default".to_owned() }
    };
    let limits = &config.timeouts;
    for (table, key, value) in [
        ("timeouts", "resolve", json!(limits.resolve.as_secs_f64())),
        ("timeouts", "connect", json!(limits.connect.as_secs_f64())),
        ("timeouts", "tls", json!(limits.tls.as_secs_f64())),
        ("timeouts", "first-byte", json!(limits.first_byte.map(|limit| limit.as_secs_f64()))),
        ("timeouts", "call", json!(limits.call.as_secs_f64())),
        ("backups", "every-hours", json!(config.backups.every_hours)),
        ("backups", "keep", json!(config.backups.keep)),
        ("results", "all", json!(config.results.all)),
        ("results", "failures", json!(config.results.failures)),
        ("results", "max-kib", json!(config.results.max_kib)),
    ] {
        add(format!("{table}.{key}"), value, within(table, key));
    }
    for name in config.app_names() {
        let app = app(config, &name)?;
        let from = match &config.apps_dir {
            Some(folder) if !config.apps.contains_key(&name) && !config.apps.contains_key(app.app_id.as_str()) => {
                folder.join(&name).display().to_string()
            }
            _ => file(config),
        };
        let certificate = if app.app_cert.is_empty() { "none" } else { "there" };
        for (key, value) in [
            ("title", app.metadata["title"].clone()),
            ("app-url", app.metadata["appUrl"].clone()),
            ("certificate", json!(certificate)),
            ("disabled", json!(app.disabled)),
            ("tls", json!(app.tls)),
        ] {
            add(format!("apps.{name}.{key}"), value, from.clone());
        }
    }
    for (number, event) in config.listeners().events().enumerate() {
        add(format!("listeners.{number}"), json!(event), file(config));
    }
    Ok(values)
}
