//! The metrics in the text format of Prometheus. Names and help texts are the same in all files of a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prometheus::proto::{self, Bucket, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, Opts, Registry, Result, TextEncoder,
};

use super::files::Subject;
use super::sample::Former;
use crate::exit;
use crate::model::{FailureClass, UnixTime};
use crate::retry::State;
use crate::run::summary::{Summary, by_count};
use crate::store::{SkipReason, StateCounts};

/// When the connections were counted.
pub(super) const COUNTED_AT: &str = "cxnpoll_connections_timestamp_seconds";
/// How long that took.
pub(super) const COUNT_DURATION: &str = "cxnpoll_connections_count_seconds";
const CONNECTIONS: &str = "cxnpoll_connections";
const STORE_BYTES: &str = "cxnpoll_store_bytes";
const LAST_SUCCESS: &str = "cxnpoll_last_success_timestamp_seconds";
const POLLS_TOTAL: &str = "cxnpoll_polls_total";
const RUNS_TOTAL: &str = "cxnpoll_runs_total";
const GIVEN_UP_TOTAL: &str = "cxnpoll_given_up_total";
const LATENESS: &str = "cxnpoll_lateness_seconds";

/// Upper bounds of the histogram, in seconds: a fast site, the limit of connecting, that of a call.
const BUCKETS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Upper bounds of lateness, in seconds: in time, as exact as cron, the usual ticks and periods.
const LATENESS_BUCKETS: [u32; 12] = [0, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400];

/// How many connections are in each state, and how long it took to count them.
pub(super) struct Counted {
    pub(super) states: StateCounts,
    pub(super) took: Duration,
}

/// A run that ended.
pub(super) struct Ended<'a> {
    pub(super) summary: &'a Summary,
    pub(super) exit_code: u8,
    pub(super) at: UnixTime,
    /// `None` if the connections were not counted.
    pub(super) counted: Option<Counted>,
    /// `None` if that is unknown.
    pub(super) store_bytes: Option<u64>,
}

/// Encodes the metrics of a run, which continue those of the former file.
///
/// # Errors
/// A name or label is not valid.
pub(super) fn encode(subject: &Subject, ended: &Ended<'_>, former: &Former) -> Result<Vec<u8>> {
    let families = Families { subject, former, registry: Registry::new() };
    families.add_run(ended)?;
    families.add_polls(ended.summary)?;
    families.add_runs(ended.exit_code)?;
    families.add_connections(ended)?;
    let mut gathered = families.registry.gather();
    gathered.push(families.lateness(&ended.summary.lateness_s));
    let mut text = Vec::new();
    TextEncoder::new().encode(&gathered, &mut text)?;
    Ok(text)
}

/// Adds families of metrics that all have the labels of a subject.
struct Families<'a> {
    subject: &'a Subject,
    former: &'a Former,
    registry: Registry,
}

#[expect(clippy::cast_precision_loss, reason = "counts and times stay far below 2^52")]
impl Families<'_> {
    /// Adds what is known of the last run.
    fn add_run(&self, ended: &Ended<'_>) -> Result<()> {
        let (run, at) = (&ended.summary.run, ended.at as f64);
        self.gauge("cxnpoll_run_timestamp_seconds", "When the last run ended.", Some(at))?;
        let last_success = if ended.exit_code == exit::OK { Some(at) } else { self.former.get(LAST_SUCCESS, None) };
        self.gauge(LAST_SUCCESS, "When the last successful run ended.", last_success)?;
        self.gauge("cxnpoll_run_exit_code", "The exit code of the last run.", Some(ended.exit_code.into()))?;
        let seconds = run.elapsed_ms as f64 / 1e3;
        self.gauge("cxnpoll_run_duration_seconds", "How long the last run took.", Some(seconds))?;
        let outage = f64::from(u8::from(run.is_own_fault()));
        self.gauge(
            "cxnpoll_run_outage",
            "Whether the last run met a fault of this machine, its network or its configuration.",
            Some(outage),
        )?;
        let cause = run.outage_cause.map(|cause| (cause.name(), 1.0));
        self.gauges("cxnpoll_run_outage_cause", "The cause of the outage in the last run.", "cause", cause)?;
        self.gauge("cxnpoll_due", "Connections that were due in the last run.", Some(run.due as f64))?;
        let threads = Some(ended.summary.threads as f64);
        self.gauge("cxnpoll_run_threads", "How many sites the last run polled at a time, at most.", threads)?;
        let skipped = Some(run.skipped as f64);
        self.gauge("cxnpoll_skipped", "Connections that the last run left to the next, for their host.", skipped)?;
        let hosts = SkipReason::ALL.map(|reason| {
            let hosts = run.skipped_hosts.iter().filter(|host| host.reason == reason);
            (reason.name(), hosts.count() as f64)
        });
        self.gauges("cxnpoll_skipped_hosts", "Hosts of these connections by the reason.", "reason", hosts)?;
        self.gauge("cxnpoll_given_up", "Connections that the last run gave up.", Some(run.given_up as f64))?;
        let bytes = ended.store_bytes.map(|bytes| bytes as f64).or_else(|| self.former.get(STORE_BYTES, None));
        self.gauge(STORE_BYTES, "Size of the store's database.", bytes)?;
        let version = [(env!("CARGO_PKG_VERSION"), 1.0)];
        self.gauges("cxnpoll_build_info", "The version of cxnpoll that made the last run.", "version", version)?;
        let given_up = self.former.count(GIVEN_UP_TOTAL, None) + run.given_up as f64;
        self.counter(GIVEN_UP_TOTAL, "Connections that were given up.", given_up)
    }

    /// Adds the polls of the last run and of all runs.
    fn add_polls(&self, summary: &Summary) -> Result<()> {
        let run = &summary.run;
        let rare = [("ok", run.ok), ("deferred", run.deferred), ("dropped", run.dropped)];
        let outcomes = rare.into_iter().chain(by_count(run).map(|(class, count)| (class.name(), count)));
        let outcomes: BTreeMap<_, _> = outcomes.map(|(outcome, count)| (outcome, count as f64)).collect();
        let polls = outcomes.iter().map(|(outcome, count)| (*outcome, *count));
        self.gauges("cxnpoll_polls", "Polls of the last run by their outcome.", "outcome", polls)?;
        // All classes from the start: an increase from nothing to 1 would not be seen.
        let all = rare.map(|(outcome, _)| outcome).into_iter().chain(FailureClass::ALL.map(FailureClass::name));
        let totals = all.map(|outcome| {
            let before = self.former.count(POLLS_TOTAL, Some(("outcome", outcome)));
            (outcome, before + outcomes.get(outcome).copied().unwrap_or(0.0))
        });
        self.counters(POLLS_TOTAL, "Polls by their outcome.", "outcome", totals)?;
        let seconds = summary.durations.iter().map(|ms| f64::from(*ms) / 1e3);
        self.histogram("cxnpoll_poll_duration_seconds", "How long the polls of the last run took.", seconds)
    }

    /// Adds the number of runs by their exit code.
    fn add_runs(&self, exit_code: u8) -> Result<()> {
        let former = self.former.labels(RUNS_TOTAL, "exit_code").filter_map(|code| code.parse::<u8>().ok());
        let codes: BTreeSet<u8> = former.chain([exit::OK, exit_code]).collect();
        let codes: Vec<_> = codes.into_iter().map(|code| (code.to_string(), code == exit_code)).collect();
        let totals = codes.iter().map(|(code, is_last)| {
            let before = self.former.count(RUNS_TOTAL, Some(("exit_code", code)));
            (code.as_str(), before + f64::from(u8::from(*is_last)))
        });
        self.counters(RUNS_TOTAL, "Runs by their exit code.", "exit_code", totals)
    }

    /// Adds the connections by their state: those that were counted, or else those of the former file.
    fn add_connections(&self, ended: &Ended<'_>) -> Result<()> {
        let states = State::ALL.into_iter().filter_map(|state| {
            let count = match &ended.counted {
                Some(counted) => counted.states.of(state) as f64,
                None => self.former.get(CONNECTIONS, Some(("state", state.name())))?,
            };
            Some((state.name(), count))
        });
        self.gauges(CONNECTIONS, "Connections by their state when they were last counted.", "state", states)?;
        let (counted_at, took) = match &ended.counted {
            Some(counted) => (Some(ended.at as f64), Some(counted.took.as_secs_f64())),
            None => (self.former.get(COUNTED_AT, None), self.former.get(COUNT_DURATION, None)),
        };
        self.gauge(COUNTED_AT, "When the connections were last counted.", counted_at)?;
        self.gauge(COUNT_DURATION, "How long it took to count the connections.", took)
    }

    fn labels(&self) -> [(&'static str, &str); 3] {
        let Subject { app, job, batch } = self.subject;
        [("app", app), ("batch", batch), ("job", job)]
    }

    fn opts(&self, name: &str, help: &str) -> Opts {
        let labels = self.labels().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Opts::new(name, help).const_labels(labels.into())
    }

    /// Adds a gauge, if there is a value.
    fn gauge(&self, name: &str, help: &str, value: Option<f64>) -> Result<()> {
        let Some(value) = value else { return Ok(()) };
        let gauge = Gauge::with_opts(self.opts(name, help))?;
        gauge.set(value);
        self.registry.register(Box::new(gauge))
    }

    fn gauges<'v>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, f64)>,
    ) -> Result<()> {
        let gauges = GaugeVec::new(self.opts(name, help), &[label])?;
        values.into_iter().for_each(|(of, value)| gauges.with_label_values(&[of]).set(value));
        self.registry.register(Box::new(gauges))
    }

    fn counter(&self, name: &str, help: &str, value: f64) -> Result<()> {
        let counter = Counter::with_opts(self.opts(name, help))?;
        counter.inc_by(value);
        self.registry.register(Box::new(counter))
    }

    fn counters<'v>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, f64)>,
    ) -> Result<()> {
        let counters = CounterVec::new(self.opts(name, help), &[label])?;
        values.into_iter().for_each(|(of, value)| counters.with_label_values(&[of]).inc_by(value));
        self.registry.register(Box::new(counters))
    }

    fn histogram(&self, name: &str, help: &str, values: impl Iterator<Item = f64>) -> Result<()> {
        let options = HistogramOpts { common_opts: self.opts(name, help), buckets: BUCKETS.into() };
        let histogram = Histogram::with_opts(options)?;
        values.for_each(|value| histogram.observe(value));
        self.registry.register(Box::new(histogram))
    }

    /// The histogram of lateness, which goes on from the former file. Those of the registry start from 0.
    fn lateness(&self, seconds: &[u32]) -> MetricFamily {
        let mut histogram = self.former_lateness().unwrap_or_default();
        for (bucket, bound) in histogram.buckets.iter_mut().zip(LATENESS_BUCKETS) {
            *bucket += seconds.iter().filter(|seconds| **seconds <= bound).count() as u64;
        }
        histogram.count += seconds.len() as u64;
        histogram.sum += seconds.iter().map(|seconds| f64::from(*seconds)).sum::<f64>();
        let bucket = |(bound, count): (u32, u64)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound.into());
            bucket.set_cumulative_count(count);
            bucket
        };
        let mut written = proto::Histogram::default();
        written.set_bucket(LATENESS_BUCKETS.into_iter().zip(histogram.buckets).map(bucket).collect());
        written.set_sample_count(histogram.count);
        written.set_sample_sum(histogram.sum);
        let label = |(name, value): (&str, &str)| {
            let mut label = LabelPair::default();
            label.set_name(name.to_owned());
            label.set_value(value.to_owned());
            label
        };
        let mut metric = Metric::from_label(self.labels().map(label).into());
        metric.set_histogram(written);
        let mut family = MetricFamily::default();
        family.set_name(LATENESS.to_owned());
        family.set_help("How long after their due time polls began.".to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        family
    }

    /// The histogram of the former file; `None` unless it is complete and has the same buckets.
    fn former_lateness(&self) -> Option<LatenessCounts> {
        let bucket = |bound: &str| self.former.integer(&format!("{LATENESS}_bucket"), Some(("le", bound)));
        let mut former = LatenessCounts { count: bucket("+Inf")?, ..LatenessCounts::default() };
        for (count, bound) in former.buckets.iter_mut().zip(LATENESS_BUCKETS) {
            *count = bucket(&bound.to_string())?;
        }
        former.sum = self.former.get(&format!("{LATENESS}_sum"), None)?;
        former.buckets.iter().chain([&former.count]).is_sorted().then_some(former)
    }
}

/// How late the polls of all runs were.
#[derive(Default)]
struct LatenessCounts {
    /// How many were no later than each of [`LATENESS_BUCKETS`].
    buckets: [u64; LATENESS_BUCKETS.len()],
    count: u64,
    /// In seconds.
    sum: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fault, JobName};
    use crate::run::metrics::sample::parse;
    use crate::store::{RunRecord, SkippedHost};

    /// The metrics of a run that follow those of a former one.
    fn text(run: RunRecord, lateness_s: &[u32], former: &str) -> String {
        let subject = Subject { app: "a".into(), job: "j".into(), batch: "0/1".into() };
        let (app_id, job) = ("app:a".parse().unwrap(), JobName::default());
        let lateness_s = lateness_s.to_vec();
        let summary = Summary {
            app_id,
            job,
            run,
            durations: Vec::new(),
            lateness_s,
            threads: 0,
            given_up_sites: Vec::new(),
            interrupted: None,
        };
        let ended = Ended { summary: &summary, exit_code: exit::OWN_OUTAGE, at: 9, counted: None, store_bytes: None };
        String::from_utf8(encode(&subject, &ended, &Former(parse(former))).unwrap()).unwrap()
    }

    #[test]
    fn lateness_goes_on_from_a_former_file_that_is_complete() {
        let after = |lateness_s: &[u32], former: &str| text(RunRecord::default(), lateness_s, former);
        let counts = |text: &str| {
            let family = text.lines().filter(|line| line.starts_with(LATENESS));
            family.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect::<Vec<u64>>()
        };
        let first = after(&[0, 0, 30, 31, 1800, 90_000], "");
        let expected = [2, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6, 91_861, 6];
        assert_eq!(counts(&first), expected, "{first}");
        assert!(first.contains("# TYPE cxnpoll_lateness_seconds histogram"), "{first}");
        let second = after(&[60], &first);
        assert_eq!(counts(&second)[..4], [2, 3, 5, 5], "{second}");
        assert_eq!(counts(&second)[12..], [7, 91_921, 7]);
        // Cut, damaged, or of the build that wrote a summary.
        let cut = first.split_once("le=\"1800\"").unwrap().0;
        let damaged = first.replace("le=\"30\"} 3", "le=\"30\"} 7");
        let summary = "cxnpoll_lateness_seconds_sum{} 99\ncxnpoll_lateness_seconds_count{} 9\n";
        for former in [cut, &damaged, summary] {
            assert_eq!(counts(&after(&[60], former))[..3], [0, 0, 1], "{former}");
            assert_eq!(counts(&after(&[60], former))[12..], [1, 60, 1], "{former}");
        }
    }

    #[test]
    fn a_run_that_ended_in_an_outage_has_its_cause_and_what_it_skipped() {
        let text = |run| text(run, &[], "");
        let host = |number: u8, reason| SkippedHost {
            address: [203, 0, 113, number].into(),
            reason,
            sites: 1,
            names: Vec::new(),
        };
        let found = text(RunRecord {
            outage: true,
            outage_cause: Some(Fault::Clock),
            skipped: 7,
            skipped_hosts: vec![host(1, SkipReason::Down), host(2, SkipReason::Down)],
            ..RunRecord::default()
        });
        let labels = "app=\"a\",batch=\"0/1\"";
        for line in [
            format!("cxnpoll_run_outage{{{labels},job=\"j\"}} 1"),
            format!("cxnpoll_run_outage_cause{{{labels},cause=\"clock\",job=\"j\"}} 1"),
            format!("cxnpoll_skipped{{{labels},job=\"j\"}} 7"),
            format!("cxnpoll_skipped_hosts{{{labels},job=\"j\",reason=\"down\"}} 2"),
            format!("cxnpoll_skipped_hosts{{{labels},job=\"j\",reason=\"asked-to-wait\"}} 0"),
        ] {
            assert!(found.lines().any(|found| found == line), "{line}: {found}");
        }
        assert!(!text(RunRecord::default()).contains("outage_cause"));
    }
}
