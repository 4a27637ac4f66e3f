//! The rule of the files of history.

use super::finding::Reported;
use crate::store::error::Result;
use crate::store::history::{FileFaults, History};
use crate::store::sessions::Sessions;

/// Checks that each file of history can be read, and that no other user can.
///
/// `repair` removes what is damaged, with a copy of it in `kept/`, and corrects permissions.
///
/// # Errors
/// [`Error::File`](crate::store::Error::File), and those of the sessions.
pub(super) fn check(sessions: &Sessions, repair: bool, mut emit: impl FnMut(Reported)) -> Result<()> {
    let history = History::new(sessions.source.history());
    let refused = |what: &str, mode| format!("{what} has mode {mode:04o}, so that other users can use it");
    if let Some(mode) = history.refused_mode()? {
        let what = refused("the directory of history", mode);
        emit(repaired(what, repair.then(|| history.make_private(None, mode)), "permissions removed")?);
    }
    for name in history.names()? {
        let faults = history.check_file(&name)?;
        if !faults.damaged.is_empty() {
            let what = format!("{} bytes of history/{name} are damaged", faults.damaged_bytes());
            let remove = || sessions.write(|session| history.remove_damage(session, &sessions.source, &name));
            emit(repaired(what, repair.then(remove), "moved to kept/")?);
        }
        let FileFaults { unreadable, mode, .. } = faults;
        if unreadable > 0 {
            let entries = if unreadable == 1 { "1 entry".to_owned() } else { format!("{unreadable} entries") };
            let what = format!("{entries} of history/{name} cannot be read: written by another version");
            emit(Reported { what, repaired: false });
        }
        if let Some(mode) = mode {
            let what = refused(&format!("history/{name}"), mode);
            emit(repaired(what, repair.then(|| history.make_private(Some(&name), mode)), "permissions removed")?);
        }
    }
    Ok(())
}

/// A finding, and its repair if that was tried.
fn repaired(what: String, repair: Option<Result<()>>, done: &str) -> Result<Reported> {
    Ok(match repair.transpose()? {
        Some(()) => Reported { what: format!("{what} (repaired: {done})"), repaired: true },
        None => Reported { what, repaired: false },
    })
}
