//! Which values a job has: those of options, of its table, of all jobs, or the defaults.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use super::error::{Error, Result};
use super::file::Config;
use super::heartbeat::{HEARTBEAT_VARIABLE, HeartbeatUrl};
use super::job_table::JobTable;
use super::origin::Origin;
use crate::model::{AppId, JobName, Threads};
use crate::retry::Policy;
use crate::retry::duration::TimeLimit;
use crate::site::Endpoint;

/// How many polls at a time one address gets by default.
const DEFAULT_PER_HOST: u16 = 4;

/// A value and its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Its origin.
    pub origin: Origin,
}

/// The values with which a job runs.
#[derive(Debug, Clone, PartialEq)]
pub struct JobValues {
    /// The retry expression.
    pub retry: Sourced<Policy>,
    /// How many sites are polled at a time.
    pub threads: Sourced<Threads>,
    /// How many sites are polled at a time on one address.
    pub per_host: Sourced<u16>,
    /// How long a call may take.
    pub timeout: Sourced<Duration>,
    /// After which time a run starts no new poll; `None` if that follows from the retry expression.
    pub max_runtime: Sourced<Option<Duration>>,
    /// The directory of metrics; `None` if none are written.
    pub metrics: Sourced<Option<PathBuf>>,
    /// The URL to call after successful runs; `None` if none is called.
    heartbeat: Sourced<Option<HeartbeatUrl>>,
}

impl JobValues {
    /// The heartbeat URL and its origin; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::InvalidHeartbeat`] if it is not an http or https URL.
    pub fn heartbeat(&self) -> Result<Option<(&str, Origin)>> {
        let Sourced { value, origin } = &self.heartbeat;
        match value {
            Some(url) if Endpoint::new(&url.0, None).is_err() => Err(Error::InvalidHeartbeat(*origin)),
            Some(url) => Ok(Some((&url.0, *origin))),
            None => Ok(None),
        }
    }
}

impl Config {
    /// The values of a job in a run with these options.
    #[must_use]
    pub fn job_values(&self, app: &AppId, name: &JobName, options: &JobTable) -> JobValues {
        self.resolve(options, self.jobs.get(&(app.clone(), name.clone())))
    }

    /// The heartbeat URL of jobs without one of their own, and its origin; `None` if there is none.
    ///
    /// That is the one that is named, or else `CXNPOLL_HEARTBEAT`, or the configuration's.
    ///
    /// # Errors
    /// As [`JobValues::heartbeat`].
    pub fn heartbeat(&self, named: Option<&str>) -> Result<Option<(String, Origin)>> {
        let options = JobTable { heartbeat: named.map(|url| HeartbeatUrl(url.to_owned())), ..JobTable::default() };
        let values = self.resolve(&options, None);
        Ok(values.heartbeat()?.map(|(url, origin)| (url.to_owned(), origin)))
    }

    /// Whether the file has a heartbeat URL, which may hold a key.
    #[must_use]
    pub fn has_heartbeat(&self) -> bool {
        self.heartbeat.is_some() || self.jobs.values().any(|job| job.heartbeat.is_some())
    }

    fn resolve(&self, options: &JobTable, table: Option<&JobTable>) -> JobValues {
        let variable = env::var_os(HEARTBEAT_VARIABLE).filter(|value| !value.is_empty());
        resolve(options, variable.map(|url| HeartbeatUrl(url.to_string_lossy().into_owned())), table, self)
    }
}

/// Chooses each value: of an option, a variable, the job's table, all jobs, or the default.
fn resolve(
    options: &JobTable,
    heartbeat: Option<HeartbeatUrl>,
    table: Option<&JobTable>,
    config: &Config,
) -> JobValues {
    let table = table.cloned().unwrap_or_default();
    let seconds = |limit: TimeLimit| limit.0;
    JobValues {
        retry: either(options, &table, |job| job.retry.clone()).or(Policy::default(), Origin::Default),
        threads: either(options, &table, |job| job.threads).or(Threads::default(), Origin::Default),
        per_host: either(options, &table, |job| job.per_host).or(DEFAULT_PER_HOST, Origin::Default),
        timeout: either(options, &table, |job| job.timeout.map(seconds)).or(config.timeouts.call, Origin::File),
        max_runtime: either(options, &table, |job| job.max_runtime.map(seconds)),
        metrics: either(options, &table, |job| job.metrics.clone()),
        heartbeat: first([
            (options.heartbeat.clone(), Origin::Option),
            (heartbeat, Origin::Variable),
            (table.heartbeat, Origin::Job),
            (config.heartbeat.clone(), Origin::File),
        ]),
    }
}

/// The value of an option, or else that of the table.
fn either<T>(options: &JobTable, table: &JobTable, value: impl Fn(&JobTable) -> Option<T>) -> Sourced<Option<T>> {
    first([(value(options), Origin::Option), (value(table), Origin::Job)])
}

/// The first value that is there.
fn first<T, const N: usize>(values: [(Option<T>, Origin); N]) -> Sourced<Option<T>> {
    let found = values.into_iter().find(|(value, _)| value.is_some());
    let (value, origin) = found.unwrap_or((None, Origin::Default));
    Sourced { value, origin }
}

impl<T> Sourced<Option<T>> {
    /// The value, or else another one.
    fn or(self, value: T, origin: Origin) -> Sourced<T> {
        match self.value {
            Some(value) => Sourced { value, origin: self.origin },
            None => Sourced { value, origin },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<Config, toml::de::Error> {
        Config::parse(text, Path::new("/etc/cxnpoll"))
    }

    /// A table with a number in each of its values.
    fn table(number: u16) -> JobTable {
        JobTable {
            retry: Some(format!("{number} min (x1)").parse().unwrap()),
            threads: Some(Threads::Fixed(number.into())),
            per_host: Some(number),
            timeout: Some(TimeLimit(Duration::from_secs(number.into()))),
            max_runtime: Some(TimeLimit(Duration::from_secs(number.into()))),
            metrics: Some(number.to_string().into()),
            heartbeat: Some(HeartbeatUrl(format!("https://{number}.example.org/"))),
        }
    }

    /// Each value as the number in it, with its origin.
    fn numbers(values: &JobValues) -> [(String, Origin); 7] {
        let JobValues { retry, threads, per_host, timeout, max_runtime, metrics, heartbeat } = values.clone();
        let seconds = |limit: Duration| limit.as_secs().to_string();
        [
            (retry.value.to_string().replace(" min (x1)", ""), retry.origin),
            (threads.value.to_string(), threads.origin),
            (per_host.value.to_string(), per_host.origin),
            (seconds(timeout.value), timeout.origin),
            (max_runtime.value.map_or_else(String::new, seconds), max_runtime.origin),
            (metrics.value.map_or_else(String::new, |dir| dir.display().to_string()), metrics.origin),
            (
                heartbeat
                    .value
                    .map_or_else(String::new, |url| url.0)
                    .replace("https://", "")
                    .replace(".example.org/", ""),
                heartbeat.origin,
            ),
        ]
    }

    #[test]
    fn options_precede_the_table_and_that_precedes_what_holds_for_all_jobs() {
        let all = parse("heartbeat = \"https://3.example.org/\"\n[timeouts]\ncall = 3\n").unwrap();
        let url = || Some(HeartbeatUrl("https://4.example.org/".to_owned()));
        let of = |options: &JobTable, variable, table: Option<&JobTable>, config| {
            numbers(&resolve(options, variable, table, config))
        };
        let (none, one, two) = (JobTable::default(), table(1), table(2));
        let each = |number: &str, origin| std::array::from_fn(|_| (number.to_owned(), origin));
        assert_eq!(of(&one, url(), Some(&two), &all), each("1", Origin::Option));
        assert_eq!(of(&none, None, Some(&two), &all), each("2", Origin::Job));
        // Only the heartbeat has a variable.
        let with_variable = of(&none, url(), Some(&two), &all);
        assert_eq!(with_variable[..6], of(&none, None, Some(&two), &all)[..6]);
        assert_eq!(with_variable[6], ("4".to_owned(), Origin::Variable));
        let defaults =
            |config| of(&none, None, Some(&none), config).map(|(value, origin)| format!("{value} {origin:?}"));
        let retry = format!("{} Default", Policy::default());
        let [of_program, of_file] = [&Config::default(), &all].map(defaults);
        let [timeout, heartbeat] = ["60 File", " Default"];
        assert_eq!(of_program, [&retry, "auto Default", "4 Default", timeout, " Default", " Default", heartbeat]);
        let [timeout, heartbeat] = ["3 File", "3 File"];
        assert_eq!(of_file, [&retry, "auto Default", "4 Default", timeout, " Default", " Default", heartbeat]);
    }

    #[test]
    fn debug_output_has_no_heartbeat_url() {
        let config = parse("heartbeat = \"https://T0KEN/\"\n[jobs.a.b]\nheartbeat = \"https://T0KEN/\"").unwrap();
        let values = config.job_values(&"app:a".parse().unwrap(), &"b".parse().unwrap(), &JobTable::default());
        let shown = format!("{config:?} {values:?}");
        assert!(shown.contains("HeartbeatUrl(…)") && !shown.contains("T0KEN"), "{shown}");
    }

    #[test]
    fn a_job_has_the_values_of_its_table_only() {
        let text = "[jobs.\"org.example.a\".default]\nper-host = 1\n[jobs.\"app:org.example.a\".other]\nper-host = 2\n\
                    [jobs.\"org.example.b\".default]\nper-host = 3\nmetrics = \"m\"\nthreads = \"auto\"\n";
        let config = parse(text).unwrap();
        let per_host = |app: &str, name: &str| {
            config.job_values(&app.parse().unwrap(), &name.parse().unwrap(), &JobTable::default()).per_host.value
        };
        assert_eq!(per_host("app:org.example.a", "default"), 1);
        assert_eq!(per_host("app:org.example.a", "other"), 2);
        assert_eq!(per_host("app:org.example.b", "default"), 3);
        assert_eq!(per_host("app:org.example.b", "other"), DEFAULT_PER_HOST);
        let b = &config.jobs[&("app:org.example.b".parse().unwrap(), JobName::default())];
        assert_eq!((b.metrics.as_deref(), b.threads), (Some(Path::new("/etc/cxnpoll/m")), Some(Threads::Auto)));
    }
}
