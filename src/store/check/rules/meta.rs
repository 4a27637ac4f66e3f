//! The rules of the tree `meta`.

use serde_json::Value;
use url::Url;

use crate::model::JobName;
use crate::store::check::finding::Finding;
use crate::store::engine::{TreeName, Write};
use crate::store::error::{Result, if_readable};
use crate::store::schema::{
    JobRecord, MESSAGES, ReadSession, Record, SharedRecord, counters, first_text, job_name_key, meta_key, parse_number,
    repaired_messages, write_counters,
};

/// What takes the place of an appUrl that cannot be read.
const UNKNOWN_URL: &str = "https://unknown.invalid/";

/// Names lead to numbers and back, and every record can be read.
///
/// No number is in use that is still to be assigned. Findings are passed on one by one, since each may be large.
pub fn meta(session: &ReadSession, mut emit: impl FnMut(Finding) -> Result<()>) -> Result<()> {
    let stored = if_readable(counters(&session.trees))?;
    let mut needed = stored.clone().unwrap_or_default();
    for entry in session.trees.entries(TreeName::Meta, &[], None) {
        let (key, value) = entry?;
        let Some((kind, rest)) = key.split_first() else { continue };
        let finding = match (kind, parse_number(rest)) {
            (b'A', Ok(no)) => {
                needed.app = needed.app.max(no.saturating_add(1));
                app(session, no, &value)?
            }
            (b'J', Ok(no)) => {
                needed.job = needed.job.max(no.saturating_add(1));
                job(session, no, &value)?
            }
            (b'S', Ok(no)) => {
                needed.shared = needed.shared.max(no.saturating_add(1));
                shared(session, no, &value)?
            }
            (b'j', _) => job_name(session, rest, &value)?,
            (&MESSAGES, _) => messages(session, &key, &value)?,
            _ => None,
        };
        finding.map_or(Ok(()), &mut emit)?;
    }
    match stored {
        Some(stored) if stored == needed => Ok(()),
        Some(_) => {
            let what = "a number was not counted that is in use";
            emit(Finding::repairable(what, "counted", vec![write_counters(&needed)?]))
        }
        None => {
            let write = write_counters(&needed)?;
            let unreadable = session.get(write.tree, &write.key)?.unwrap_or_default();
            let (key, what) = (write.key.clone(), "the counters cannot be read");
            let finding = Finding::repairable(what, "counted again", vec![write]);
            emit(finding.with_quarantine(TreeName::Meta, &key, &unreadable))
        }
    }
}

/// An app can be read, and its appId leads to its number.
fn app(session: &ReadSession, no: u32, app_id: &[u8]) -> Result<Option<Finding>> {
    let Ok(name) = session.app_id(no) else {
        return Ok(Some(Finding::unrepairable("an app's id cannot be read")));
    };
    leads_back(session, meta_key(b'a', app_id), no, || format!("{name} has no number"))
}

/// A job can be read, and its name leads to its number.
fn job(session: &ReadSession, no: u32, value: &[u8]) -> Result<Option<Finding>> {
    match if_readable(session.job_by_no(no))? {
        Some(job) if session.app_id(job.app).is_ok() => {
            leads_back(session, job_name_key(job.app, &job.name), no, || format!("job {} has no number", job.name))
        }
        Some(_) => Ok(Some(Finding::unrepairable("a job cannot be read"))),
        None => {
            for entry in session.trees.entries(TreeName::Meta, b"j", None) {
                let (key, number) = entry?;
                if *number == no.to_be_bytes()
                    && let Some(finding) = recreated_job(&key[1..], &number)?
                {
                    return Ok(Some(finding.with_quarantine(TreeName::Meta, &meta_key(b'J', &number), value)));
                }
            }
            let what = "a job cannot be read, and has no name";
            Ok(Some(Finding::unreadable(what, TreeName::Meta, &meta_key(b'J', &no.to_be_bytes()), value)))
        }
    }
}

/// The messages of an entry can be read and belong there, each once.
fn messages(session: &ReadSession, key: &[u8], value: &[u8]) -> Result<Option<Finding>> {
    let Some(write) = repaired_messages(session, key, value)? else { return Ok(None) };
    let what = match write.value {
        None => "messages of sites cannot be read",
        Some(_) => "a message of a site is remembered twice or in the wrong place",
    };
    let finding = Finding::repairable(what, "forgotten", vec![write]);
    Ok(Some(finding.with_quarantine(TreeName::Meta, key, value)))
}

/// What connections share can be read.
///
/// The repair keeps the connections, since a poll needs neither value: the perm becomes null, and the appUrl stays if
/// it can be decoded.
fn shared(session: &ReadSession, no: u32, value: &[u8]) -> Result<Option<Finding>> {
    if if_readable(session.shared(no))?.is_some() {
        return Ok(None);
    }
    let number = no.to_be_bytes();
    let key = meta_key(b'S', &number);
    let app_url = first_text::<SharedRecord>(value).filter(|url| Url::parse(url).is_ok());
    let repair = if app_url.is_some() {
        "moved to quarantine; import its connections again to set their perm"
    } else {
        "moved to quarantine; import its connections again to set their appUrl and perm"
    };
    let app_url = app_url.unwrap_or_else(|| UNKNOWN_URL.to_owned());
    let replaced = SharedRecord { app_url, perm: Value::Null.to_string() }.to_bytes()?;
    let what = "what connections share cannot be read";
    let mut finding = Finding::repairable(what, repair, vec![Write::put(TreeName::Meta, key.clone(), replaced)])
        .with_quarantine(TreeName::Meta, &key, value);
    for entry in session.trees.entries(TreeName::Meta, &meta_key(b'T', &number), None) {
        let (key, piece) = entry?;
        finding = finding.with_quarantine(TreeName::Meta, &key, &piece);
        finding.writes.push(Write::remove(TreeName::Meta, &*key));
    }
    // The hash of the former value must not lead to the new one.
    for entry in session.trees.entries(TreeName::Meta, b"s", None) {
        let (key, value) = entry?;
        if *value == number {
            finding.writes.push(Write::remove(TreeName::Meta, &*key));
        }
    }
    Ok(Some(finding))
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
    let finding = recreated_job(rest, number)?;
    Ok(Some(finding.unwrap_or_else(|| Finding::unrepairable("a job cannot be read"))))
}

/// Creates the record of a job again; `None` if the key has no name, or the value no number.
fn recreated_job(rest: &[u8], number: &[u8]) -> Result<Option<Finding>> {
    let job = rest.split_first_chunk().and_then(|(app, name)| {
        let name: JobName = std::str::from_utf8(name).ok()?.parse().ok()?;
        Some((u32::from_be_bytes(*app), name))
    });
    let (Some((app, name)), Ok(_)) = (job, parse_number(number)) else { return Ok(None) };
    let write = Write::put(TreeName::Meta, meta_key(b'J', number), JobRecord::new(app, &name).to_bytes()?);
    let what = format!("job {name} cannot be read");
    Ok(Some(Finding::repairable(what, "created again, without what its last run did", vec![write])))
}
