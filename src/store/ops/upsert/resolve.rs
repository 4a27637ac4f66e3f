//! The numbers of what a patch names: its app, its jobs, and what it shares with other connections.

use std::collections::HashMap;

use serde_json::Value;

use super::patch::{CxnPatch, FieldPatch};
use crate::model::{AppId, JobName, PollStatus};
use crate::store::engine::TreeName;
use crate::store::error::Result;
use crate::store::schema::{AppNo, Job, JobNo, ReadSession, WriteSession, find_record, job_name_key};

/// The number of what is not stored yet, where nothing is written. The store never assigns it.
const UNASSIGNED: u32 = u32::MAX;

/// A patch with the numbers of what it names.
pub struct Resolved<'a> {
    /// The patch.
    pub patch: &'a CxnPatch,
    /// Its app.
    pub app: AppNo,
    /// All jobs of the app, among them those of the patch.
    pub jobs: &'a [Job],
    /// What it shares with other connections.
    pub shared: u32,
    /// The jobs of the app that the connection leaves; empty where it stays.
    pub left_jobs: Vec<JobNo>,
    /// Whether a stored connection that is given up is revived, even if it is still where it was.
    pub revives: bool,
}

impl Resolved<'_> {
    /// The status that the patch has for a job; `None` if it has none.
    pub fn status(&self, job: &Job) -> Option<&PollStatus> {
        self.patch.poll_status.iter().find(|(name, _)| *name == job.name).map(|(_, status)| status)
    }
}

/// Finds numbers, each session in its own way.
///
/// One that only reads has [`UNASSIGNED`] for what is not stored.
pub trait Numbers {
    /// The session, for reading.
    fn session(&self) -> &ReadSession;
    /// The number of an app.
    fn app_no(&self, app_id: &AppId) -> Result<AppNo>;
    /// All jobs of an app, and those of these names.
    fn jobs_with(&self, app: AppNo, names: &[&JobName]) -> Result<Vec<Job>>;
    /// The number of what connections share.
    fn shared_with(&self, app_url: &str, perm: &Value) -> Result<u32>;
}

impl Numbers for ReadSession {
    fn session(&self) -> &ReadSession {
        self
    }

    fn app_no(&self, app_id: &AppId) -> Result<AppNo> {
        Ok(self.app_no(app_id)?.unwrap_or(UNASSIGNED))
    }

    fn jobs_with(&self, app: AppNo, names: &[&JobName]) -> Result<Vec<Job>> {
        let mut jobs = self.jobs(Some(app))?;
        for name in names {
            if !jobs.iter().any(|job| job.name == **name) {
                jobs.push(Job::unknown(UNASSIGNED, app, (*name).clone()));
            }
        }
        Ok(jobs)
    }

    fn shared_with(&self, app_url: &str, perm: &Value) -> Result<u32> {
        Ok(self.shared_no(app_url, perm)?.unwrap_or(UNASSIGNED))
    }
}

impl Numbers for WriteSession {
    fn session(&self) -> &ReadSession {
        self
    }

    fn app_no(&self, app_id: &AppId) -> Result<AppNo> {
        self.intern_app(app_id)
    }

    fn jobs_with(&self, app: AppNo, names: &[&JobName]) -> Result<Vec<Job>> {
        for name in names {
            // The statuses for a job that cannot be read are left out.
            self.skip(self.ensure_job(app, name), || (TreeName::Meta, job_name_key(app, name), None))?;
        }
        self.jobs(Some(app))
    }

    fn shared_with(&self, app_url: &str, perm: &Value) -> Result<u32> {
        self.intern_shared(app_url, perm)
    }
}

/// The jobs of the apps of patches, among them those that the patches bring a status for.
pub fn jobs_of(numbers: &impl Numbers, patches: &[CxnPatch]) -> Result<HashMap<AppNo, Vec<Job>>> {
    let mut names: Vec<(AppNo, Vec<&JobName>)> = Vec::new();
    for patch in patches {
        let app = numbers.app_no(&patch.app_id)?;
        let at = names.iter().position(|(no, _)| *no == app).unwrap_or_else(|| {
            names.push((app, Vec::new()));
            names.len() - 1
        });
        for (name, _) in &patch.poll_status {
            if !names[at].1.contains(&name) {
                names[at].1.push(name);
            }
        }
    }
    names.into_iter().map(|(app, names)| Ok((app, numbers.jobs_with(app, &names)?))).collect()
}

/// Resolves a patch; `jobs` are those of [`jobs_of`].
pub fn resolve<'a>(
    numbers: &impl Numbers,
    patch: &'a CxnPatch,
    jobs: &'a HashMap<AppNo, Vec<Job>>,
) -> Result<Resolved<'a>> {
    let session = numbers.session();
    let app = numbers.app_no(&patch.app_id)?;
    let stored = find_record(&session.trees, &patch.cxn_id)?;
    let shared = match (&patch.perm, &stored) {
        (FieldPatch::Set(perm), _) => numbers.shared_with(&patch.app_url, perm)?,
        (FieldPatch::Keep, Some((_, record))) => {
            let shared = session.shared(record.shared)?;
            if *shared.app_url == *patch.app_url {
                record.shared
            } else {
                numbers.shared_with(&patch.app_url, &shared.perm)?
            }
        }
        (FieldPatch::Clear, _) | (FieldPatch::Keep, None) => numbers.shared_with(&patch.app_url, &Value::Null)?,
    };
    let left_jobs = match stored {
        Some((key, _)) if key.app != app => session.job_names(key.app)?.iter().map(|(no, _)| *no).collect(),
        _ => Vec::new(),
    };
    Ok(Resolved { patch, app, jobs: jobs.get(&app).map_or(&[][..], Vec::as_slice), shared, left_jobs, revives: false })
}
