//! The simulated sites of a case, and their connections.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::DateTime;
use civisite::{Server, Site};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::case::SiteSpec;

/// The app of a site that names none.
pub const APP: &str = "org.example.poll";
/// The URL of every app.
pub const APP_URL: &str = "http://app.example.org/";

/// The simulated sites of a case.
pub struct Sites {
    pub server: Server,
    specs: BTreeMap<u32, SiteSpec>,
}

impl Sites {
    /// Starts the sites that the file of a case describes.
    pub fn of(content: &toml::Value, dir: &Path) -> Self {
        let server = Server::start().unwrap();
        let mut specs = BTreeMap::new();
        for (numbers, spec) in content.get("store").and_then(toml::Value::as_table).into_iter().flatten() {
            let mut spec = SiteSpec::deserialize(spec.clone()).unwrap();
            // Placeholders of sites depend on these URLs, which name no sites themselves.
            spec.site_url = spec.site_url.map(|url| fill_address(&url, &server, dir));
            specs.extend(in_set(numbers).into_iter().map(|number| (number, spec.clone())));
        }
        Self { server, specs }
    }

    /// Returns the connection of a site with the five keys that an import needs.
    pub fn connection(&self, number: u32) -> Map<String, Value> {
        let Site { cxn_id, secret_base64, .. } = self.server.site(number);
        let spec = self.specs.get(&number).cloned().unwrap_or_default();
        let app_id = format!("app:{}", spec.app.as_deref().unwrap_or(APP));
        let path = spec.behaviour.map_or(number.to_string(), |behaviour| format!("{number}/{behaviour}"));
        let site_url = spec.site_url.unwrap_or_else(|| format!("{}/site/{path}", base(&self.server)));
        [
            ("cxnId", cxn_id),
            ("secret", secret_base64),
            ("appId", app_id),
            ("appUrl", APP_URL.into()),
            ("siteUrl", site_url),
        ]
        .map(|(key, value)| (key.to_owned(), value.into()))
        .into_iter()
        .collect()
    }

    /// Returns the JSON lines of all connections that are in the store at first.
    pub fn store_lines(&self) -> String {
        self.specs.iter().map(|(number, spec)| self.store_line(*number, spec)).collect()
    }

    fn store_line(&self, number: u32, spec: &SiteSpec) -> String {
        let mut connection = self.connection(number);
        let mut add = |key: &str, value: Option<Value>| {
            connection.extend(value.map(|value| (key.to_owned(), value)));
        };
        add("viaPort", spec.via_port.clone().map(Value::from));
        add("batchCode", spec.batch_code.map(Value::from));
        add("perm", spec.perm.clone());
        let is_polled = spec.level.is_some() || spec.count.is_some() || spec.last_run.is_some();
        let job = spec.job.as_deref().unwrap_or("default");
        let status = json!({
            "pollLevel": spec.level.unwrap_or_default(),
            "pollCount": spec.count.unwrap_or_default(),
            "lastRun": spec.last_run.as_ref().map(unix_time).unwrap_or_default(),
        });
        let own = is_polled.then(|| json!({ job: status }));
        add("pollStatus", spec.poll_status.clone().or(own));
        format!("{}\n", Value::from(connection))
    }
}

/// Replaces `{base}`, `{port}` and `{dir}`.
pub fn fill_address(text: &str, server: &Server, dir: &Path) -> String {
    let text = text.replace("{base}", &base(server)).replace("{port}", &server.port().to_string());
    text.replace("{dir}", dir.to_str().unwrap())
}

fn base(server: &Server) -> String {
    format!("http://{}", server.addr())
}

/// Returns the numbers in a set such as `1..3,6`.
pub fn in_set(set: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        first.parse().unwrap()..=last.parse().unwrap()
    };
    set.split(',').flat_map(range).collect()
}

fn unix_time(time: &Value) -> i64 {
    time.as_i64().unwrap_or_else(|| DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap().timestamp())
}
