//! The table of a job as the configuration file defines it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::de::DeTable;

use super::heartbeat::HeartbeatUrl;
use crate::model::{AppId, InvalidId, JobName, Threads};
use crate::retry::Policy;
use crate::retry::duration::TimeLimit;
use crate::site::Endpoint;
use crate::util::home;

/// The largest number of polls at a time of one address.
pub(crate) const MAX_PER_HOST: u16 = 4096;

/// A table `[jobs."org.example.myapp".NAME]`, or the options of a run. What is `None` is not there.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    default,
    expecting = "the table of a job, such as [jobs.\"org.example.myapp\".default]"
)]
pub struct JobTable {
    /// How often to poll, and how long to retry sites that fail.
    #[serde(deserialize_with = "retry")]
    pub retry: Option<Policy>,
    /// How many sites to poll at a time.
    pub threads: Option<Threads>,
    /// How many sites to poll at a time on one address, 1 to 4096.
    #[serde(deserialize_with = "per_host")]
    pub per_host: Option<u16>,
    /// How long a call may take.
    pub timeout: Option<TimeLimit>,
    /// After which time a run starts no new poll.
    pub max_runtime: Option<TimeLimit>,
    /// The directory of metrics.
    #[serde(deserialize_with = "home::deserialize")]
    pub metrics: Option<PathBuf>,
    /// The URL to call after successful runs.
    #[serde(deserialize_with = "heartbeat")]
    pub heartbeat: Option<HeartbeatUrl>,
}

impl JobTable {
    /// The names of the options that give another value than the table of the job.
    #[must_use]
    pub fn contradicted_by(&self, options: &Self) -> Vec<&'static str> {
        fn differ<T: PartialEq>(of_table: Option<&T>, option: Option<&T>) -> bool {
            of_table.zip(option).is_some_and(|(of_table, option)| of_table != option)
        }
        let names = [
            ("--retry", differ(self.retry.as_ref(), options.retry.as_ref())),
            ("--threads", differ(self.threads.as_ref(), options.threads.as_ref())),
            ("--per-host", differ(self.per_host.as_ref(), options.per_host.as_ref())),
            ("--timeout", differ(self.timeout.as_ref(), options.timeout.as_ref())),
            ("--max-runtime", differ(self.max_runtime.as_ref(), options.max_runtime.as_ref())),
            ("--metrics", differ(self.metrics.as_ref(), options.metrics.as_ref())),
            ("--heartbeat", differ(self.heartbeat.as_ref(), options.heartbeat.as_ref())),
        ];
        names.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

/// The tables of jobs.
pub type JobTables = BTreeMap<(AppId, JobName), JobTable>;

fn retry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Policy>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
}

fn per_host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    match u16::deserialize(deserializer)? {
        number @ 1..=MAX_PER_HOST => Ok(Some(number)),
        number => Err(D::Error::custom(format!("{number} is not in 1..={MAX_PER_HOST}"))),
    }
}

fn heartbeat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HeartbeatUrl>, D::Error> {
    let url = HeartbeatUrl::deserialize(deserializer)?;
    // The message leaves the URL out, because it may hold a key.
    if Endpoint::new(&url.0, None).is_ok() {
        Ok(Some(url))
    } else {
        Err(D::Error::custom("expected an http or https URL"))
    }
}

/// Reads the tables of jobs. An app may have `app:` or not.
///
/// # Errors
/// Those of the values. A name is not valid, or a job has two tables.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JobTables, D::Error> {
    deserializer.deserialize_map(Tables)
}

/// The line of the table of a job in the text of a file, from 1; `None` if the text has no such table.
pub(super) fn line_of(text: &str, app: &AppId, name: &JobName) -> Option<usize> {
    let file = DeTable::parse(text).ok()?.into_inner();
    let apps = file.get("jobs")?.get_ref().as_table()?;
    let of_app = apps.iter().filter(|(id, _)| [app.short(), app.as_str()].contains(&&**id.get_ref()));
    let mut tables = of_app.filter_map(|(_, jobs)| jobs.get_ref().as_table()?.get_key_value(name.as_str()));
    let (key, _) = tables.next()?;
    Some(text.get(..key.span().start)?.matches('\n').count() + 1)
}

struct Tables;

impl<'de> Visitor<'de> for Tables {
    type Value = JobTables;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tables such as [jobs.\"org.example.myapp\".default]")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut apps: A) -> Result<JobTables, A::Error> {
        let mut tables = JobTables::new();
        while let Some((AppKey(app), jobs)) = apps.next_entry::<_, JobsOfApp>()? {
            for (name, table) in jobs.0 {
                let job = (app.clone(), name);
                if tables.contains_key(&job) {
                    return Err(A::Error::custom(format!("the job {} of {app} has two tables", job.1)));
                }
                tables.insert(job, table);
            }
        }
        Ok(tables)
    }
}

/// The id of an app as a key, with or without `app:`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct AppKey(AppId);

impl TryFrom<String> for AppKey {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        AppId::from_argument(&text).map(Self)
    }
}

/// The tables of the jobs of one app.
#[derive(Deserialize)]
struct JobsOfApp(BTreeMap<JobName, JobTable>);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn tables_are_found_in_the_text() {
        let text = "# first\r\n[jobs.\"app:org.example.a\".one]\nretry = \"1 day (x3)\"\n\n[jobs.\"org.example.a\"]\ntwo = {}\n";
        let line = |name: &str| super::line_of(text, &"app:org.example.a".parse().unwrap(), &name.parse().unwrap());
        assert_eq!((line("one"), line("two"), line("retry")), (Some(2), Some(6), None));
    }

    #[test]
    fn a_mistake_in_a_table_is_reported_with_its_line() {
        let job = "[jobs.\"org.example.a\".default]\n";
        for (text, line, expected) in [
            (format!("{job}retri = \"1 day (x3)\""), 2, "unknown field `retri`, expected one of `retry`, `threads`"),
            (format!("{job}retry = \"1 dya (x3)\""), 2, "expected a unit: sec, min, hour, day, week, month or year"),
            (format!("{job}threads = 0"), 2, "expected \"auto\", or a number from 1 to 4096"),
            (format!("{job}threads = 4097"), 2, "expected \"auto\", or a number from 1 to 4096"),
            (format!("{job}threads = true"), 2, "expected \"auto\", or a number from 1 to 4096"),
            (format!("{job}per-host = 0"), 2, "0 is not in 1..=4096"),
            (format!("{job}timeout = \"0s\""), 2, "expected a duration"),
            (format!("{job}max-runtime = \"1 month\""), 2, "expected a duration"),
            (format!("{job}heartbeat = \"hc.example.org\""), 2, "expected an http or https URL"),
            ("\n[jobs.\"org example\".default]".to_owned(), 2, "may hold only letters"),
            ("\n[jobs.\"org.example.a\".\" x\"]".to_owned(), 2, "begins or ends with a blank"),
            (
                "[jobs.\"org.example.a\"]\nretry = \"1 day (x3)\"".to_owned(),
                2,
                "expected the table of a job, such as [jobs",
            ),
            ("jobs = 3".to_owned(), 1, "expected tables such as [jobs"),
            (
                format!("{job}[jobs.\"app:org.example.a\".default]"),
                1,
                "job default of app:org.example.a has two tables",
            ),
        ] {
            let message = Config::parse(&text, Path::new("")).unwrap_err().to_string();
            assert!(message.contains(&format!("line {line}")) && message.contains(expected), "{text}: {message}");
        }
    }
}
