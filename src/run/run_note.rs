//! What runs leave in their lock files: which are active, and what the next one needs to know.
//!
//! A run writes its start into its lock file, behind those of the runs before. One that needs the database also writes its
//! process and batch, and removes these when it ends. What a killed run leaves of them means nothing, because no process
//! holds the lock. What stays is about the runs before.

use std::process;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Deserializer;
use tracing::debug;

use super::PollRun;
use super::backlog::Behind;
use super::run_lock::{MARK, notes_of};
use super::spread::SiteCounts;
use super::ticks::{Stop, Ticks};
use crate::model::{AppId, JobName, UnixTime};
use crate::store::Store;
use crate::util::lock::FileLock;
use crate::util::time::unix_now;

/// With more levels, sites are counted in each run: a lock file is not to be long.
const MAX_COUNTED_LEVELS: usize = 256;

/// A run that is active. The names of its fields are those of JSON and of the store's format.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveRun {
    /// When it began, UTC seconds; `None` if that was just now, or if it is a run of a former build.
    pub since: Option<UnixTime>,
    /// Its process; `None` if that is not known.
    pub pid: Option<u32>,
    /// Its batch, `id/count`; `None` for a poll by hand, and if it is not known.
    pub batch: Option<String>,
    /// How many connections were due at its start; `None` until that is known.
    pub due: Option<u64>,
}

/// Lists the runs of a job that are active. It is empty if the lock files cannot be read.
#[must_use]
pub fn active_runs(store: &Store, app_id: &AppId, job: &JobName) -> Vec<ActiveRun> {
    let held = contents(store, app_id, job).into_iter().filter(|(is_held, _)| *is_held);
    let mut runs: Vec<_> = held.map(|(_, content)| content.run.unwrap_or_default()).collect();
    runs.sort_by(|a, b| (a.since, &a.batch).cmp(&(b.since, &b.batch)));
    runs
}

/// Returns when the last runs of a job began, of the batch whose last run is the latest.
///
/// It is empty if the lock files cannot be read, or if runs of other builds wrote them.
#[must_use]
pub fn ticks_of(store: &Store, app_id: &AppId, job: &JobName) -> Ticks {
    let ticks = contents(store, app_id, job).into_iter().map(|(_, content)| content.ticks);
    ticks.max_by_key(Ticks::last).unwrap_or_default()
}

/// The contents of a job's lock files, and whether a run holds the file. Empty if they cannot be read.
fn contents(store: &Store, app_id: &AppId, job: &JobName) -> Vec<(bool, Content)> {
    let notes = notes_of(&store.runs(), app_id, job);
    let notes = notes.inspect_err(|error| debug!(%error, "the lock files of runs cannot be read")).unwrap_or_default();
    notes.into_iter().map(|(is_held, note)| (is_held, Content::parse(&note))).collect()
}

/// The content of a lock file behind the mark.
#[derive(Default, Serialize, Deserialize)]
struct Content {
    #[serde(flatten)]
    run: Option<ActiveRun>,
    #[serde(default)]
    ticks: Ticks,
    /// When the last run ended that had something due; `None` if it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<UnixTime>,
    /// The last time in which no run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop: Option<Stop>,
    #[serde(default)]
    behind: Behind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sites: Option<SiteCounts>,
}

impl Content {
    /// Reads the content of a lock file. Any other text means that nothing is known.
    ///
    /// Behind the content may be the end of an earlier one: see [`FileLock::write_note`].
    fn parse(note: &str) -> Self {
        let first = |json| Deserializer::from_str(json).into_iter().next()?.ok();
        note.strip_prefix(MARK).and_then(first).unwrap_or_default()
    }
}

/// What a run writes into its lock file. When this is dropped, only what the next run needs stays.
pub(super) struct Note<'a> {
    lock: &'a mut FileLock,
    content: Content,
    began: Instant,
    /// The time before this run in which none began, and whether it is a part of the schedule.
    stop: Option<(Stop, bool)>,
}

impl<'a> Note<'a> {
    /// Writes that a run of the schedule begins at `now`; `None` is a poll by hand.
    pub(super) fn write(lock: &'a mut FileLock, now: Option<UnixTime>) -> Self {
        let former = Content::parse(&lock.read_note().unwrap_or_default());
        let mut note = Self { lock, content: Content { run: None, ..former }, began: Instant::now(), stop: None };
        if let Some(now) = now {
            note.content.ticks.add(now);
            note.add_stop();
            note.rewrite();
        }
        note
    }

    fn add_stop(&mut self) {
        let Content { ticks, ended, stop: before, .. } = &mut self.content;
        self.stop = ticks.stop(ended.take()).map(|stop| {
            let repeats = before.replace(stop).is_some_and(|before| stop.repeats(before, ticks.usual_s()));
            (stop, repeats)
        });
    }

    /// The time before this run in which none began, and whether it is a part of the schedule.
    ///
    /// `None` if there was none.
    pub(super) fn stop(&self) -> Option<(Stop, bool)> {
        self.stop
    }

    /// Since when the runs before this one cannot keep up.
    pub(super) fn behind(&self) -> Behind {
        self.content.behind
    }

    /// Replaces since when runs cannot keep up.
    pub(super) fn set_behind(&mut self, behind: Behind) {
        if self.content.behind != behind {
            self.content.behind = behind;
            self.rewrite();
        }
    }

    /// When the runs of the job began, this one last.
    pub(super) fn ticks(&self) -> &Ticks {
        &self.content.ticks
    }

    /// How many sites the job has, as a run counted them; `None` if that is not known.
    pub(super) fn sites(&self) -> Option<&SiteCounts> {
        self.content.sites.as_ref()
    }

    /// Adds when the run began, its process and its batch.
    pub(super) fn set_active(&mut self, run: &PollRun) {
        let batch = run.only.is_none().then(|| run.batch.to_string());
        self.content.run = Some(ActiveRun { since: Some(unix_now()), pid: Some(process::id()), batch, due: None });
        self.rewrite();
    }

    /// Adds how many connections are due, and how many sites there are if the run counted them.
    pub(super) fn set_due(&mut self, due: u64, sites: Option<SiteCounts>) {
        let sites = sites.filter(|sites| sites.by_level.len() <= MAX_COUNTED_LEVELS);
        self.content.sites = sites.or(self.content.sites.take());
        if let Some(run) = &mut self.content.run {
            run.due = Some(due);
        }
        self.rewrite();
    }

    /// Without room in the file system, the run is shown without details.
    fn rewrite(&mut self) {
        if let Ok(text) = serde_json::to_string(&self.content) {
            let _ = self.lock.write_note(&format!("{MARK}{text}"));
        }
    }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        if self.content.run.take().is_some() {
            let elapsed_s = self.began.elapsed().as_secs();
            self.content.ended = self.content.ticks.last().map(|start| start.saturating_add_unsigned(elapsed_s));
            self.rewrite();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::util::lock::Mode;

    #[test]
    fn what_is_left_of_an_earlier_content_is_ignored() {
        let last = |content: &str| Content::parse(&format!("{MARK}{content}")).ticks.last();
        assert_eq!(last(r#"{"ticks":[60,120]}80,240]}"#), Some(120));
        assert_eq!(last(r#"{"since":7,"pid":8,"batch":null,"due":null}"#), None, "of a former build");
        for other in ["", "{", r#"{"ticks":[60,"#, r#"{"ticks":"60"}"#] {
            assert_eq!(last(other), None, "{other}");
        }
    }

    #[test]
    fn a_note_of_any_expression_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let mut lock = FileLock::open(&directory.path().join("lock")).unwrap();
        assert!(lock.try_acquire(Mode::Exclusive).unwrap());
        for (now, levels, is_kept) in [(60, MAX_COUNTED_LEVELS, true), (120, 10_000, false)] {
            let sites = SiteCounts { counted_at: now, by_level: vec![u64::MAX; levels] };
            Note::write(&mut lock, Some(now)).set_due(7, Some(sites));
            let note = Note::write(&mut lock, None);
            let counted_at = note.sites().map(|sites| sites.counted_at);
            assert_eq!((note.ticks().last(), counted_at == Some(now)), (Some(now), is_kept));
        }
    }

    #[test]
    fn a_note_that_cannot_be_written_stops_no_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        fs::write(&path, format!("{MARK}{}", r#"{"ticks":[60,120]}"#)).unwrap();
        let mut lock = FileLock::new(File::open(&path).unwrap());
        assert!(lock.try_acquire(Mode::Exclusive).unwrap());
        let mut note = Note::write(&mut lock, Some(180));
        note.set_due(7, None);
        assert_eq!(note.ticks().last(), Some(180));
        drop(note);
        assert!(fs::read_to_string(&path).unwrap().ends_with("[60,120]}"));
    }
}
