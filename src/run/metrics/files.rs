//! The files of a metrics directory: their names, and which of them a run replaces.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tracing::warn;

use super::sample::{Former, Sample, parse};
use crate::store::failpoint::{self, Failpoint};
use crate::util::fs_atomic::{AtomicFile, Durability};
use crate::util::lock::{Backoff, FileLock, Mode};
use crate::util::open::open_trusted;

/// How much of a file is read, in bytes. The program's own have some thousand.
const MAX_BYTES: u64 = 1 << 20;
/// The longest name of a file, in bytes, without what is around it.
const MAX_NAME_BYTES: usize = 200;
/// How long to wait for another process that replaces files.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const PREFIX: &str = "cxnpoll-";
const SUFFIX: &str = ".prom";

/// What a metrics file is about: the labels of all its samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) app: String,
    pub(super) job: String,
    /// `I/N`
    pub(super) batch: String,
}

impl Subject {
    /// The subject of a sample; `None` if it is not this program's.
    fn of(sample: &Sample) -> Option<Self> {
        let label = |name: &str| sample.labels.get(name).cloned();
        Some(Self { app: label("app")?, job: label("job")?, batch: label("batch")? })
    }

    /// `cxnpoll-org.example.myapp-default-0of1.prom`. A name that is too long becomes a hash.
    ///
    /// Different subjects have different names, also where letters in upper and lower case are the same.
    fn file_name(&self) -> String {
        let name = [&self.app, &self.job, &self.batch.replace('/', "of")].map(|part| escape(part)).join("-");
        if name.len() <= MAX_NAME_BYTES {
            return format!("{PREFIX}{name}{SUFFIX}");
        }
        format!("{PREFIX}{}{SUFFIX}", hex::encode(&Sha256::digest(&name)[..16]))
    }

    /// Whether a file about `other` only repeats what the file of this subject says.
    ///
    /// It is about the same app and job, and about the same batch or one of another number of batches.
    fn replaces(&self, other: &Self) -> bool {
        let count = |batch: &str| batch.split_once('/').map(|(_, count)| count.to_owned());
        let is_same_job = (&self.app, &self.job) == (&other.app, &other.job);
        is_same_job && (self.batch == other.batch || count(&self.batch) != count(&other.batch))
    }
}

/// Percent-encodes all but lower-case letters, digits, `.` and `_`.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'_' {
            escaped.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// The file of a subject, and what was in the directory before it is replaced.
pub(super) struct MetricsFile {
    path: PathBuf,
    /// The former file about the same subject.
    pub(super) former: Former,
    /// Why the former file cannot be read, if it is there.
    unreadable: Option<io::Error>,
    /// Other files that this one replaces.
    obsolete: Vec<PathBuf>,
    /// Held while the file is replaced, so that no count of another process is lost.
    _lock: Option<FileLock>,
}

impl MetricsFile {
    /// Looks for what a new file replaces, and locks the directory.
    pub(super) fn find(dir: &Path, subject: &Subject) -> Self {
        let lock = lock(dir);
        let path = dir.join(subject.file_name());
        let (mut former, unreadable) = match read(&path) {
            Ok(former) => (former, None),
            Err(error) => (Vec::new(), Some(error).filter(|error| error.kind() != io::ErrorKind::NotFound)),
        };
        former.retain(|sample| Subject::of(sample).as_ref() == Some(subject));
        let mut obsolete = Vec::new();
        // The directory may be writable and not readable.
        for name in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name()) {
            let is_metrics = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
            let other = dir.join(name);
            if !is_metrics || other == path {
                continue;
            }
            // What is not readable is not known to be of this job.
            let samples = read(&other).unwrap_or_default();
            let Some(about) = samples.iter().find_map(Subject::of).filter(|about| subject.replaces(about)) else {
                continue;
            };
            // A former build gave the file another name.
            if former.is_empty() && about == *subject {
                former = samples;
            }
            obsolete.push(other);
        }
        Self { path, former: Former(former), unreadable, obsolete, _lock: lock }
    }

    /// Replaces the file as a whole, and removes the others that it replaces.
    ///
    /// If the former file cannot be read, that is a warning.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn replace(self, text: &[u8]) -> io::Result<()> {
        if let Some(error) = &self.unreadable {
            warn!("cannot read the previous metrics {}: {error}", self.path.display());
        }
        // The collector runs as another user.
        let mut file = AtomicFile::beside(&self.path, &fs::Permissions::from_mode(0o644))?;
        file.file().write_all(text)?;
        file.commit(Durability::None, || failpoint::hit(Failpoint::MetricsWritten))?;
        for path in &self.obsolete {
            if let Err(error) = fs::remove_file(path) {
                warn!("cannot remove former metrics {}: {error}", path.display());
            }
        }
        Ok(())
    }
}

/// Locks a directory; `None` if that is not possible, or takes too long. Metrics must not stop a run.
fn lock(dir: &Path) -> Option<FileLock> {
    let mut lock = FileLock::new(File::open(dir).ok()?);
    let is_held = lock.acquire(Mode::Exclusive, &mut Backoff::new(LOCK_TIMEOUT));
    is_held.unwrap_or(false).then_some(lock)
}

/// Reads the samples of a file, which other users may have put there.
fn read(path: &Path) -> io::Result<Vec<Sample>> {
    let file = open_trusted(path, File::options().read(true))?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn subject(app: &str, job: &str, batch: &str) -> Subject {
        Subject { app: app.to_owned(), job: job.to_owned(), batch: batch.to_owned() }
    }

    #[test]
    fn different_subjects_have_different_names_in_any_case() {
        let long = "x".repeat(250);
        let names = [
            ("org.a-b", "c", "0/1"),
            ("org.a", "b-c", "0/1"),
            ("org.a", "b", "0/1"),
            ("org.a", "b", "0/11"),
            ("org.a", "b", "1/11"),
            ("org.A", "b", "0/1"),
            ("org.a", "B", "0/1"),
            ("org.a", "b%2D", "0/1"),
            ("org.a", "b-", "0/1"),
            ("org.a", "b%2d", "0/1"),
            ("org.a", "b/c", "0/1"),
            ("org.a", "../b", "0/1"),
            ("org.a", "ü\"\n ", "0/1"),
            ("org.a", "ü\"\\n ", "0/1"),
            (&long, "b", "0/1"),
            (&long, "c", "0/1"),
            ("b", &long, "0/1"),
        ]
        .map(|(app, job, batch)| subject(app, job, batch).file_name().to_lowercase());
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
        assert!(names.iter().all(|name| name.len() < 255 && !name.contains('/')), "{names:?}");
        assert_eq!(subject("org.a", "default", "0/1").file_name(), "cxnpoll-org.a-default-0of1.prom");
    }

    #[test]
    fn only_files_of_the_same_job_in_another_layout_are_replaced() {
        let new = subject("a", "j", "0/2");
        for (app, job, batch, replaced) in [
            ("a", "j", "0/2", true),
            ("a", "j", "1/2", false),
            ("a", "j", "0/1", true),
            ("a", "j", "2/3", true),
            ("a", "k", "0/1", false),
            ("b", "j", "0/1", false),
        ] {
            assert_eq!(new.replaces(&subject(app, job, batch)), replaced, "{app} {job} {batch}");
        }
    }
}
