//! What an administrator does to connections that are there.

use super::keys::{CxnKey, JobNo};
use super::put::forget;
use super::record::{CxnRecord, Record};
use super::session::{Session, Tx, TxResult};
use crate::error::Result;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alteration {
    /// Due at once for the jobs that are named, as if it were new.
    Revive,
    /// Never due.
    Disable,
    /// Due again.
    Enable,
    /// Gone, with its statuses.
    Remove,
}

/// A connection, and the jobs in which something is done to it.
pub type Target = (CxnKey, Vec<JobNo>);

/// How many connections are altered in one transaction.
pub(super) const AT_ONCE: usize = 256;

impl Session {
    /// Alters connections, and tells of each whether that changed anything: one that is gone, or is so already, stays as it
    /// is. All or none are altered of what fits into one transaction, see [`Session::slices`].
    ///
    /// # Errors
    /// [`crate::error::Kind::Store`] where the store can't be read or written.
    pub fn alter(&self, targets: &[Target], how: Alteration) -> Result<Vec<bool>> {
        let mut changed = Vec::with_capacity(targets.len());
        for some in targets.chunks(AT_ONCE) {
            let jobs = some
                .iter()
                .map(|(key, _)| Ok(self.job_names(key.app)?.iter().map(|(no, _)| *no).collect()))
                .collect::<Result<Vec<Vec<JobNo>>>>()?;
            let one = |tx: &Tx, ((key, named), jobs): (&Target, &Vec<JobNo>)| alter_one(tx, *key, named, jobs, how);
            let done =
                self.transact(|tx| some.iter().zip(&jobs).map(|target| one(tx, target)).collect::<TxResult<Vec<_>>>())?;
            changed.extend(done);
        }
        Ok(changed)
    }
}

fn alter_one(tx: &Tx, key: CxnKey, named: &[JobNo], jobs: &[JobNo], how: Alteration) -> TxResult<bool> {
    let Some(record) = Tx::read::<CxnRecord>(tx.cxn, &key.to_bytes())? else { return Ok(false) };
    let host = record.host();
    let disabled = match how {
        Alteration::Remove => {
            forget(tx, jobs, key, &record)?;
            return Ok(true);
        }
        Alteration::Revive => {
            let mut changed = false;
            for job in named {
                let Some(before) = tx.status(*job, key.place)? else { continue };
                let mut status = before.clone();
                status.revive();
                if status != before {
                    let (old, new) = ((&before, record.disabled), (&status, record.disabled, host));
                    tx.move_status(*job, key.place, Some(old), Some(new))?;
                    changed = true;
                }
            }
            return Ok(changed);
        }
        Alteration::Disable => true,
        Alteration::Enable => false,
    };
    if record.disabled == disabled {
        return Ok(false);
    }
    for job in jobs {
        if let Some(status) = tx.status(*job, key.place)? {
            let (old, new) = ((&status, record.disabled), (&status, disabled, host));
            tx.move_status(*job, key.place, Some(old), Some(new))?;
        }
    }
    tx.insert(tx.cxn, &key.to_bytes(), CxnRecord { disabled, ..record }.to_bytes())?;
    Ok(true)
}

impl super::Store {
    /// Alters connections in slices, and tells how many that changed. What is removed loses its kept results, too.
    ///
    /// # Errors
    /// Those of [`super::Store::session`]: what was altered before stays altered.
    pub fn alter(&self, targets: &[Target], how: Alteration) -> Result<u64> {
        self.in_use(|| {
            let mut changed = 0;
            let mut rest = targets;
            while !rest.is_empty() {
                let (done, gone) = self.session(|session| {
                    let began = std::time::Instant::now();
                    let (mut done, mut gone) = (0, Vec::new());
                    for some in rest.chunks(AT_ONCE) {
                        if how == Alteration::Remove {
                            for (key, _) in some {
                                gone.extend(session.cxn(*key)?.map(|cxn| cxn.cxn_id));
                            }
                        }
                        changed += session.alter(some, how)?.into_iter().filter(|changed| *changed).count() as u64;
                        done += some.len();
                        if began.elapsed() > super::SLICE {
                            break;
                        }
                    }
                    Ok((done, gone))
                })?;
                self.forget_gone(&gone)?;
                rest = &rest[done..];
            }
            Ok(changed)
        })
    }
}
