//! The figures of a run for Prometheus.
//!
//! There is one file per app, job and batch, as the textfile collector of its node exporter reads them. Most figures are
//! those of the last run. Counters, and what the run has not found out, continue those of the former file.

mod families;
mod files;
mod sample;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::debug;

use super::PollRun;
use super::summary::Summary;
use crate::model::UnixTime;
use crate::store::{self, StateCounts, Store};
use families::{COUNT_DURATION, COUNTED_AT, Counted, Ended, encode};
use files::{MetricsFile, Subject};
use sample::Former;

/// The longest count of connections that each run makes, in seconds.
const SHORT_COUNT_S: f64 = 0.25;
/// A longer one is repeated after this many times its duration.
const COUNT_PAUSE: f64 = 100.0;
/// How long after the last count a run with nothing due counts, in seconds.
const IDLE_COUNT_INTERVAL_S: f64 = 3600.0;
/// How long a count waits for the store.
const COUNT_STORE_WAIT: Duration = Duration::from_secs(2);

impl PollRun {
    /// Writes the metrics of a run that ended at `at`, and replaces the file as a whole.
    ///
    /// `store` is `None` if it could not be used.
    ///
    /// Files of the same job that the new one replaces are removed. If the former file cannot be read, counters start from
    /// 0, and there is a warning unless it is missing.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_metrics(
        &self,
        directory: &Path,
        store: Option<&Store>,
        summary: &Summary,
        exit_code: u8,
        at: UnixTime,
    ) -> io::Result<()> {
        let subject = Subject {
            app: self.app.app_id.short().to_owned(),
            job: self.job.as_str().to_owned(),
            batch: self.batch.to_string(),
        };
        // Other runs have the directory while this one counts.
        let former = MetricsFile::find(directory, &subject).former;
        let counts = summary.interrupted.is_none() && needs_count(&former, at, summary.run.due > 0);
        let counted = store.filter(|_| counts).and_then(|store| self.count(store));
        let store_bytes = store.and_then(|store| store.file_size().ok());
        let file = MetricsFile::find(directory, &subject);
        let ended = Ended { summary, exit_code, at, counted, store_bytes };
        let text = encode(&subject, &ended, &file.former).map_err(io::Error::other)?;
        file.replace(&text)
    }

    /// Counts the connections of the batch by state; `None` if the store is not available.
    fn count(&self, store: &Store) -> Option<Counted> {
        let began = Instant::now();
        let count = || {
            // What cannot be read was reported by the run.
            let store = Store::open(store.path(), COUNT_STORE_WAIT)?.with_owner("poll");
            let job = store.read(|session| match session.app_no(&self.app.app_id)? {
                Some(app) => session.job(app, &self.job),
                None => Ok(None),
            })?;
            let states = match job {
                Some(job) => store.state_counts(&job, &self.policy, &self.batch.range(), self.now, false)?,
                None => StateCounts::default(),
            };
            Ok::<_, store::error::Error>(Counted { states, took: began.elapsed() })
        };
        count().inspect_err(|error| debug!(?error, "the connections cannot be counted")).ok()
    }
}

/// Whether connections are counted at `at`, after a run that had something due or not.
///
/// A run that polls has used the database, so it counts, unless that took long the last time.
fn needs_count(former: &Former, at: UnixTime, has_due: bool) -> bool {
    let Some(counted_at) = former.get(COUNTED_AT, None) else { return true };
    #[expect(clippy::cast_precision_loss, reason = "times stay far below 2^52")]
    let elapsed = at as f64 - counted_at;
    let took = former.get(COUNT_DURATION, None).filter(|took| *took > SHORT_COUNT_S).unwrap_or(0.0);
    let pause = if has_due { took * COUNT_PAUSE } else { IDLE_COUNT_INTERVAL_S };
    // After a clock that was ahead, the last count counts no longer.
    elapsed < 0.0 || elapsed >= pause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_takes_a_small_share_of_the_time() {
        let former = |at: u32, took: &str| {
            let text = format!("{COUNTED_AT}{{}} {at}\n{COUNT_DURATION}{{}} {took}\n");
            Former(sample::parse(&text))
        };
        for (former, has_due, expected) in [
            (Former::default(), false, true),
            (former(10_000, "0.02"), true, true),
            (former(9_999, "0.02"), false, false),
            (former(6_400, "0.02"), false, true),
            (former(9_801, "2"), true, false),
            (former(9_800, "2"), true, true),
            (former(10_001, "2"), true, true),
            (former(10_001, "2"), false, true),
        ] {
            assert_eq!(needs_count(&former, 10_000, has_due), expected, "{former:?} {has_due}");
        }
    }
}
