//! The figures of a run for Prometheus.
//!
//! There is one file per app, job and batch, as the textfile collector of its node exporter reads them. All figures are those of the last run.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use prometheus::{Encoder, GaugeVec, Histogram, HistogramOpts, Opts, Registry, TextEncoder};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::summary::{Summary, by_count};
use crate::model::UnixTime;
use crate::store::failpoint::{self, Failpoint};
use crate::util::fs_atomic::{AtomicFile, Durability};
use crate::util::open::open_trusted;

/// Upper bounds of the histogram, in seconds: a fast site, the limit of connecting, that of a call.
const BUCKETS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// How much of the previous file is read, in bytes. The program's own has some thousand.
const MAX_BYTES: u64 = 1 << 20;
/// The only figure that a failed run keeps from the run before.
const LAST_SUCCESS: &str = "cxnpoll_last_success_timestamp_seconds";

impl Summary {
    /// Writes the metrics of a run that ended at `at` into `directory`, and replaces the file as a whole. If the run did
    /// not succeed, the time of the last success stays that of the previous file. Without one that can be read, there is
    /// none, and a warning unless the file is missing.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_metrics(&self, directory: &Path, at: UnixTime, succeeded: bool, store_bytes: u64) -> io::Result<()> {
        let path = directory.join(self.metrics_file_name());
        let last_success = if succeeded {
            Some(at)
        } else {
            last_success(&path).unwrap_or_else(|error| {
                warn!("cannot read the previous metrics {}: {error}", path.display());
                None
            })
        };
        let text = self.metrics(at, last_success, store_bytes).map_err(io::Error::other)?;
        // The exporter runs as another user.
        let mut file = AtomicFile::beside(&path, &fs::Permissions::from_mode(0o644))?;
        file.file().write_all(&text)?;
        file.commit(Durability::None, || failpoint::hit(Failpoint::MetricsWritten))
    }

    /// `cxnpoll-org.example.myapp-default-0of1.prom`. Names that are too long or not valid in a file name become a hash.
    fn metrics_file_name(&self) -> String {
        let batch = self.run.batch.replace('/', "of");
        let name = format!("{}-{}-{batch}", self.app_id.short(), self.job.as_str());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.len() <= 200 && name.chars().all(is_plain) {
            return format!("cxnpoll-{name}.prom");
        }
        format!("cxnpoll-{}.prom", hex::encode(&Sha256::digest(&name)[..16]))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    fn metrics(&self, at: UnixTime, last_success: Option<UnixTime>, store_bytes: u64) -> prometheus::Result<Vec<u8>> {
        let (app, job, batch) = (self.app_id.short(), self.job.as_str(), self.run.batch.as_str());
        let labels = [app, job, batch];
        let registry = Registry::new();
        let gauge = |name: &str, help: &str, value: f64| -> prometheus::Result<()> {
            let gauge = GaugeVec::new(Opts::new(name, help), &["app", "job", "batch"])?;
            gauge.with_label_values(&labels).set(value);
            registry.register(Box::new(gauge))
        };
        let run = &self.run;
        gauge("cxnpoll_run_timestamp_seconds", "When the last run ended.", at as f64)?;
        if let Some(at) = last_success {
            gauge(LAST_SUCCESS, "When the last successful run ended.", at as f64)?;
        }
        gauge("cxnpoll_run_duration_seconds", "How long the last run took.", run.elapsed_ms as f64 / 1e3)?;
        gauge(
            "cxnpoll_run_outage",
            "Whether this machine's network was down in the last run.",
            f64::from(u8::from(run.outage)),
        )?;
        gauge("cxnpoll_due", "Connections that were due in the last run.", run.due as f64)?;
        gauge("cxnpoll_given_up", "Connections that the last run gave up.", run.given_up as f64)?;
        gauge("cxnpoll_store_bytes", "Size of the store's database.", store_bytes as f64)?;

        let polls = Opts::new("cxnpoll_polls", "Polls of the last run by their outcome.");
        let polls = GaugeVec::new(polls, &["app", "job", "batch", "outcome"])?;
        let rare = [("ok", run.ok), ("deferred", run.deferred), ("dropped", run.dropped)];
        for (outcome, count) in rare.into_iter().chain(by_count(run).map(|(class, count)| (class.name(), count))) {
            polls.with_label_values(&[app, job, batch, outcome]).set(count as f64);
        }
        registry.register(Box::new(polls))?;

        let durations = HistogramOpts::new("cxnpoll_poll_duration_seconds", "How long the polls of the last run took.");
        let labels = [("app", app), ("job", job), ("batch", batch)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let durations = Histogram::with_opts(durations.buckets(BUCKETS.into()).const_labels(labels))?;
        self.durations.iter().for_each(|ms| durations.observe(f64::from(*ms) / 1e3));
        registry.register(Box::new(durations))?;

        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// The time of the last success in the previous file; `None` if there is no such file or no time in it.
///
/// # Errors
/// Those of reading the file, which other users may have put there.
fn last_success(path: &Path) -> io::Result<Option<UnixTime>> {
    let file = match open_trusted(path, File::options().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    let time = text.lines().find(|line| line.starts_with(LAST_SUCCESS)).and_then(|line| line.rsplit(' ').next());
    #[expect(clippy::cast_possible_truncation, reason = "times are written without a fraction")]
    Ok(time.and_then(|time| time.parse().ok()).map(|at: f64| at as UnixTime))
}
