//! The rules of the tree `meta`.

use crate::model::JobName;
use crate::store::check::finding::Finding;
use crate::store::engine::{TreeName, Write};
use crate::store::error::Result;
use crate::store::schema::{
    JobRecord, ReadSession, Record, counters, job_name_key, meta_key, parse_number, write_counters,
};

/// Names lead to numbers and back, and every record can be read.
///
/// No number is in use that is still to be assigned.
pub fn meta(session: &ReadSession) -> Result<Vec<Finding>> {
    let Ok(stored) = counters(&session.trees) else {
        return Ok(vec![Finding::unrepairable("the counters cannot be read")]);
    };
    let mut findings = Vec::new();
    let mut needed = stored.clone();
    for entry in session.trees.entries(TreeName::Meta, &[], None) {
        let (key, value) = entry?;
        let Some((kind, rest)) = key.split_first() else { continue };
        findings.extend(match (kind, parse_number(rest)) {
            (b'A', Ok(no)) => {
                needed.app = needed.app.max(no.saturating_add(1));
                app(session, no, &value)?
            }
            (b'J', Ok(no)) => {
                needed.job = needed.job.max(no.saturating_add(1));
                job(session, no)?
            }
            (b'S', Ok(no)) => {
                needed.shared = needed.shared.max(no.saturating_add(1));
                let is_readable = session.shared(no).is_ok();
                (!is_readable).then(|| Finding::unrepairable("what connections share cannot be read"))
            }
            (b'j', _) => job_name(session, rest, &value)?,
            _ => None,
        });
    }
    if needed != stored {
        let what = "a number was not counted that is in use";
        findings.push(Finding::repairable(what, "counted", vec![write_counters(&needed)]));
    }
    Ok(findings)
}

/// An app can be read, and its appId leads to its number.
fn app(session: &ReadSession, no: u32, app_id: &[u8]) -> Result<Option<Finding>> {
    let Ok(name) = session.app_id(no) else {
        return Ok(Some(Finding::unrepairable("an app's id cannot be read")));
    };
    leads_back(session, meta_key(b'a', app_id), no, || format!("{name} has no number"))
}

/// A job can be read, and its name leads to its number.
fn job(session: &ReadSession, no: u32) -> Result<Option<Finding>> {
    match session.job_by_no(no) {
        Ok(job) if session.app_id(job.app).is_ok() => {
            leads_back(session, job_name_key(job.app, &job.name), no, || format!("job {} has no number", job.name))
        }
        _ => Ok(Some(Finding::unrepairable("a job cannot be read"))),
    }
}

fn leads_back(session: &ReadSession, key: Vec<u8>, no: u32, what: impl Fn() -> String) -> Result<Option<Finding>> {
    let number = no.to_be_bytes();
    if session.get(TreeName::Meta, &key)?.as_deref() == Some(&number) {
        return Ok(None);
    }
    Ok(Some(Finding::repairable(what(), "entered", vec![Write::put(TreeName::Meta, key, number)])))
}

/// The name of a job leads to a record. If it does not, the job is created again; its statuses are still there.
fn job_name(session: &ReadSession, rest: &[u8], number: &[u8]) -> Result<Option<Finding>> {
    let record_key = meta_key(b'J', number);
    if session.trees.contains(TreeName::Meta, &record_key)? {
        return Ok(None);
    }
    let job = rest.split_first_chunk().and_then(|(app, name)| {
        let name: JobName = std::str::from_utf8(name).ok()?.parse().ok()?;
        Some((u32::from_be_bytes(*app), name))
    });
    let (Some((app, name)), Ok(_)) = (job, parse_number(number)) else {
        return Ok(Some(Finding::unrepairable("a job cannot be read")));
    };
    let write = Write::put(TreeName::Meta, record_key, JobRecord::new(app, &name).to_bytes());
    let what = format!("job {name} cannot be read");
    Ok(Some(Finding::repairable(what, "created again, without what its last run did", vec![write])))
}
