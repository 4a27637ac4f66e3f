//! `cxnpoll config show`: every effective value and its origin.

use std::collections::BTreeSet;
use std::env;

use clap::Args;
use serde_json::{Value, json};
use url::Url;

use super::apps::{app, file};
use crate::cli::context::Context;
use crate::cli::error::Result;
use crate::cli::ui::output;
use crate::cli::ui::table::Table;
use crate::config::{CONFIG_VARIABLE, Config, HEARTBEAT_VARIABLE, JobTable, Origin, STORE_VARIABLE};
use crate::exit;
use crate::model::{AppId, JobName};
use crate::run::PollRun;
use crate::util::text::escape;

/// Show every effective value and its origin
///
/// The origin is an option, an environment variable, a file, or the default.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll config show")]
pub(in crate::cli) struct Show {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let values = values(context)?;
        if self.json {
            output::json(&values.iter().map(Setting::json).collect());
            return Ok(exit::OK);
        }
        let mut table = Table::new(["KEY", "VALUE", "FROM"]);
        for Setting { key, value, from } in &values {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            table.add(&[key.as_str(), &escape(&value), from]);
        }
        table.print()?;
        Ok(exit::OK)
    }
}

/// An effective value.
struct Setting {
    key: String,
    value: Value,
    /// Its origin: an option, an environment variable, a file, or `default`.
    from: String,
}

impl Setting {
    fn new(key: impl Into<String>, value: Value, from: impl Into<String>) -> Self {
        Self { key: key.into(), value, from: from.into() }
    }

    fn json(&self) -> Value {
        json!({"key": self.key, "value": self.value, "from": self.from})
    }
}

/// Every value in the order in which it is shown.
fn values(context: &Context) -> Result<Vec<Setting>> {
    let config = &context.config;
    let written = config.written()?;
    let mut values = top_level(context, &written)?;
    values.extend(limits(config, &written));
    values.extend(notify(config, &written));
    for name in config.app_names() {
        values.extend(of_app(config, &name)?);
    }
    for (app, name) in jobs(config) {
        values.extend(of_job(config, &app, &name, &written)?);
    }
    for (number, listener) in config.listeners().iter().enumerate() {
        values.push(Setting::new(format!("listeners.{number}"), json!(listener.event.to_string()), file(config)));
    }
    Ok(values)
}

/// The keys outside of tables, with the options and variables that override them.
fn top_level(context: &Context, written: &toml::Table) -> Result<Vec<Setting>> {
    let (config, global) = (&context.config, &context.global);
    let source = |key: &str| if written.contains_key(key) { file(config) } else { "default".to_owned() };
    let variable = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let config_from = match (&config.file, &global.config) {
        (None, _) => "no file was found",
        (_, Some(_)) => "--config",
        _ if variable(CONFIG_VARIABLE) => CONFIG_VARIABLE,
        _ => "the first that is there",
    };
    let store_from = match &global.store {
        Some(_) => "--store".to_owned(),
        None if variable(STORE_VARIABLE) => STORE_VARIABLE.to_owned(),
        None => source("store"),
    };
    let mut values = vec![
        Setting::new("config", json!(config.file), config_from),
        Setting::new("store", json!(context.store_path()?), store_from),
    ];
    values.extend(
        [
            ("apps-dir", json!(config.apps_dir)),
            ("contact", json!(config.contact)),
            ("refuse-ports", json!(config.refuse_ports)),
            ("ca-file", json!(config.ca_file)),
            ("allow-net", json!(config.allow_net)),
        ]
        .map(|(key, value)| Setting::new(key, value, source(key))),
    );
    values.push(heartbeat(config)?);
    values.extend(global.allow_net.iter().map(|network| Setting::new("allow-net", json!(network), "--allow-net")));
    let per_host = config.per_host.iter();
    values.extend(
        per_host.map(|(host, limit)| Setting::new(format!("per-host.{host}"), json!(limit), source("per-host"))),
    );
    let limits = config.limits.iter().enumerate();
    values.extend(limits.map(|(number, limit)| Setting::new(format!("limits.{number}"), json!(limit), file(config))));
    Ok(values)
}

/// The heartbeat URL without what may be a key.
fn heartbeat(config: &Config) -> Result<Setting> {
    let Some((url, origin)) = config.heartbeat(None)? else {
        return Ok(Setting::new("heartbeat", Value::Null, "default"));
    };
    let from = if origin == Origin::Variable { HEARTBEAT_VARIABLE.to_owned() } else { file(config) };
    Ok(Setting::new("heartbeat", json!(without_key(&url)), from))
}

/// A URL without what may be a key.
fn without_key(url: &str) -> String {
    let url = Url::parse(url).ok();
    format!("{}/…", url.as_ref().and_then(Url::host_str).unwrap_or_default())
}

/// The jobs that have a table, and the default job of each other app.
fn jobs(config: &Config) -> BTreeSet<(AppId, JobName)> {
    let with_table = config.jobs.keys().cloned();
    let apps = config.app_names().into_iter().filter_map(|name| AppId::from_argument(&name).ok());
    let without = apps.filter(|app| config.jobs.keys().all(|(of, _)| of != app));
    with_table.chain(without.map(|app| (app, JobName::default()))).collect()
}

/// The values of a job in a run without options.
fn of_job(config: &Config, app: &AppId, name: &JobName, written: &toml::Table) -> Result<Vec<Setting>> {
    let values = config.job_values(app, name, &JobTable::default());
    let (max_runtime, heartbeat) = (&values.max_runtime, values.heartbeat()?);
    let max_runtime_s = max_runtime.value.unwrap_or_else(|| PollRun::default_max_runtime(&values.retry.value));
    let has_timeout = written.get("timeouts").is_some_and(|table| table.get("call").is_some());
    let from = |key: &str, origin: Origin| match origin {
        Origin::Option => "option".to_owned(),
        Origin::Variable => HEARTBEAT_VARIABLE.to_owned(),
        Origin::Job => format!("jobs.\"{}\".{name} in {}", app.short(), file(config)),
        Origin::File if key == "timeout" && has_timeout => format!("timeouts.call in {}", file(config)),
        Origin::File if key == "heartbeat" => format!("heartbeat in {}", file(config)),
        Origin::File | Origin::Default => "default".to_owned(),
    };
    let settings = [
        ("retry", json!(values.retry.value.to_string()), values.retry.origin),
        ("threads", json!(values.threads.value.to_string()), values.threads.origin),
        ("per-host", json!(values.per_host.value), values.per_host.origin),
        ("timeout", json!(values.timeout.value.as_secs_f64()), values.timeout.origin),
        ("max-runtime", json!(max_runtime_s.as_secs_f64()), max_runtime.origin),
        ("metrics", json!(values.metrics.value), values.metrics.origin),
        (
            "heartbeat",
            json!(heartbeat.map(|(url, _)| without_key(url))),
            heartbeat.map_or(Origin::Default, |(_, origin)| origin),
        ),
    ];
    let setting =
        |(key, value, origin)| Setting::new(format!("jobs.{}.{name}.{key}", app.short()), value, from(key, origin));
    Ok(settings.map(setting).into())
}

/// The tables of limits.
fn limits(config: &Config, written: &toml::Table) -> Vec<Setting> {
    let source = |table: &str, key: &str| {
        let is_written = written.get(table).and_then(|table| table.get(key)).is_some();
        if is_written { file(config) } else { "default".to_owned() }
    };
    let (timeouts, registration) = (&config.timeouts, &config.registration);
    [
        ("timeouts", "resolve", json!(timeouts.resolve.as_secs_f64())),
        ("timeouts", "connect", json!(timeouts.connect.as_secs_f64())),
        ("timeouts", "tls", json!(timeouts.tls.as_secs_f64())),
        ("timeouts", "first-byte", json!(timeouts.first_byte.map(|limit| limit.as_secs_f64()))),
        ("timeouts", "call", json!(timeouts.call.as_secs_f64())),
        ("backups", "every-hours", json!(config.backups.every_hours)),
        ("backups", "keep", json!(config.backups.keep)),
        ("backups", "verify", json!(config.backups.verify)),
        ("backups", "recipients", config.backups.recipients.iter().map(|key| json!(key.to_string())).collect()),
        ("backups", "recipients-file", json!(config.backups.recipients_file)),
        ("history", "days", json!(config.history.days)),
        ("results", "all", json!(config.results.all)),
        ("results", "failures", json!(config.results.failures)),
        ("results", "max-kib", json!(config.results.max_kib)),
        ("follow", "permanent", json!(config.follow.permanent)),
        ("registration", "requests-per-minute", json!(registration.requests_per_minute)),
        ("registration", "requests-per-site-and-hour", json!(registration.requests_per_site_and_hour)),
        ("registration", "connections-per-host", json!(registration.connections_per_host)),
        ("registration", "allow", json!(registration.allow)),
        ("registration", "hold", json!(registration.hold)),
    ]
    .map(|(table, key, value)| Setting::new(format!("{table}.{key}"), value, source(table, key)))
    .into()
}

/// The table of notifications, without arguments and the URL, which may hold keys.
fn notify(config: &Config, written: &toml::Table) -> Vec<Setting> {
    let Some(table) = &config.notify else { return Vec::new() };
    let command = table.command.iter().flatten().next();
    let values = [
        ("every", json!(table.every.0.as_secs_f64())),
        ("command", json!(command)),
        ("webhook", json!(table.webhook.as_ref().map(|url| without_key(&url.0)))),
        ("webhook-secret-file", json!(table.webhook_secret_file)),
        ("sendmail", json!(table.sendmail)),
        ("sendmail-program", json!(table.sendmail_program)),
        ("from", json!(table.from)),
        ("subject", json!(table.subject)),
        ("body", json!(table.body)),
    ];
    let is_written = |key| written.get("notify").is_some_and(|table| table.get(key).is_some());
    let from = |key| if is_written(key) { file(config) } else { "default".to_owned() };
    values.map(|(key, value)| Setting::new(format!("notify.{key}"), value, from(key))).into()
}

/// The metadata of an app.
fn of_app(config: &Config, name: &str) -> Result<Vec<Setting>> {
    let app = app(config, name)?;
    let table = config.app_table(&app.app_id);
    let from = match &config.apps_dir {
        Some(directory) if table.is_none() => directory.join(name).display().to_string(),
        _ => file(config),
    };
    let certificate = if app.app_cert.trim().is_empty() { "none" } else { "there" };
    let values = [
        ("title", app.metadata["title"].clone()),
        ("app-url", app.metadata["appUrl"].clone()),
        ("certificate", json!(certificate)),
        ("private-key", json!(config.key_file(&app.app_id))),
        ("metadata", json!(table.and_then(|table| table.metadata.as_ref()))),
        ("link-secret-file", json!(table.and_then(|table| table.link_secret_file.as_ref()))),
        ("links", json!(table.map(|table| &table.links))),
        ("disabled", json!(app.disabled)),
        ("tls", json!(app.tls)),
    ];
    Ok(values.map(|(key, value)| Setting::new(format!("apps.{name}.{key}"), value, from.as_str())).into())
}
