//! What history stores.
//!
//! A frame is what bincode's standard configuration makes of the structures below, behind the version of the format. New kinds
//! of entries get new numbers.

use std::net::IpAddr;

use bincode::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::model::{AppId, Condition, CxnId, FailureClass, Fault, JobName, Transition, UnixTime};
use crate::util::time::unix_now;

/// The version of the format of a frame.
const VERSION: u8 = 1;

/// Identifies a connection in history: the first eight bytes of the SHA-256 of its cxnId.
///
/// It stays the same in a restored or compacted store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CxnHash(pub u64);

impl From<&CxnId> for CxnHash {
    fn from(cxn_id: &CxnId) -> Self {
        let hash: [u8; 32] = Sha256::digest(cxn_id.as_str()).into();
        Self(hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    }
}

/// Entries that were appended at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The time of the entries by the clock of the schedule, UTC seconds. Transitions have their own.
    pub at: UnixTime,
    /// The job that they belong to; `None` if they belong to none.
    pub job: Option<(AppId, JobName)>,
    /// The entries, in the order in which they were made.
    pub entries: Vec<Entry>,
}

/// An entry of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A connection's condition changed.
    Transition(SiteTransition),
    /// The problems of the job's runs are not those of the run before.
    RunProblems(RunProblems),
    /// An administrator changed connections.
    Admin(AdminEntry),
}

impl Entry {
    /// The transition; `None` for another entry.
    #[must_use]
    pub fn transition(&self) -> Option<&SiteTransition> {
        if let Self::Transition(transition) = self { Some(transition) } else { None }
    }
}

/// A change of a connection's condition for the job of the frame.
///
/// One whose `to` is not the `from` of the next is not in the store: the process was killed before it recorded the outcome. It
/// does not count, and the next has what the store knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteTransition {
    /// The connection.
    pub cxn: CxnHash,
    /// The address that was connected to; `None` if there was none.
    pub host: Option<IpAddr>,
    /// The change.
    pub transition: Transition,
}

/// A job, and a change of a connection's condition for it.
pub type JobTransition = ((AppId, JobName), SiteTransition);

/// The problems of a run that its next runs may have as well; all empty if it had none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunProblems {
    /// The fault for which the run ended; `None` if it did not end for one.
    pub fault: Option<Fault>,
    /// Since when the runs cannot keep up; `None` if they can.
    pub behind_since: Option<UnixTime>,
    /// The hosts that are down, and how many sites of each were left to the next run.
    pub down: Vec<(IpAddr, u64)>,
}

/// What an administrator did.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AdminEntry {
    /// The real time, UTC seconds.
    pub at: UnixTime,
    /// The user, as the system knows it.
    pub user: String,
    /// The command, such as `revive`; what `import` did; `register` or `unregister` of a site.
    pub action: String,
    /// The connections, by cxnId.
    pub cxns: Vec<String>,
    /// More about it, without secrets; empty if there is nothing more.
    pub detail: String,
}

impl AdminEntry {
    /// Whether the connections were removed.
    #[must_use]
    pub fn removes(&self) -> bool {
        matches!(&*self.action, "remove" | "prune" | "unregister")
    }
}

/// What history adds to a change of connections that a user makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The user, as the system knows it.
    pub user: String,
    /// More about the change, without secrets; empty if there is nothing more.
    pub detail: String,
}

impl Audit {
    /// The frame of an action on connections, made now; `None` if there are none.
    #[must_use]
    pub fn frame(&self, action: &str, cxns: Vec<String>) -> Option<Frame> {
        (!cxns.is_empty()).then(|| Frame { at: unix_now(), job: None, entries: vec![self.entry(action, cxns)] })
    }

    /// The entry of an action on connections, made now.
    #[must_use]
    pub fn entry(&self, action: &str, cxns: Vec<String>) -> Entry {
        let (user, detail) = (self.user.clone(), self.detail.clone());
        Entry::Admin(AdminEntry { at: unix_now(), user, action: action.to_owned(), cxns, detail })
    }
}

#[derive(Encode, Decode)]
enum Wire {
    /// Connection, seconds after the frame, from, to, class or 0, seconds since `unknown_from`, host.
    Transition(u64, i64, u8, u8, u8, Option<i64>, Option<IpAddr>),
    /// Fault or 0, `behind_since`, `down`.
    RunProblems(u8, Option<i64>, Vec<(IpAddr, u64)>),
    Admin(AdminEntry),
}

#[derive(Encode, Decode)]
struct WireFrame {
    at: UnixTime,
    job: Option<(String, String)>,
    entries: Vec<Wire>,
}

impl Frame {
    /// The bytes of the frame.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let entries = self.entries.iter().map(|entry| match entry {
            Entry::Transition(SiteTransition { cxn, host, transition }) => {
                let Transition { at, from, to, class, unknown_from } = transition;
                let class = class.map_or(0, |class| class as u8);
                let back = unknown_from.map(|unknown_from| at.wrapping_sub(unknown_from));
                Wire::Transition(cxn.0, at.wrapping_sub(self.at), *from as u8, *to as u8, class, back, *host)
            }
            Entry::RunProblems(RunProblems { fault, behind_since, down }) => {
                Wire::RunProblems(fault.map_or(0, |fault| fault as u8), *behind_since, down.clone())
            }
            Entry::Admin(admin) => Wire::Admin(admin.clone()),
        });
        let job = self.job.as_ref().map(|(app_id, job)| (app_id.to_string(), job.to_string()));
        let frame = WireFrame { at: self.at, job, entries: entries.collect() };
        super::frames::encode(VERSION, &frame)
    }

    /// Reads the bytes of a frame; `None` if they are not one of a known version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let WireFrame { at, job, entries } = super::frames::decode(VERSION, bytes)?;
        let job = match job {
            Some((app_id, job)) => Some((app_id.parse().ok()?, job.parse().ok()?)),
            None => None,
        };
        let entry = |entry| match entry {
            Wire::Transition(cxn, after, from, to, class, back, host) => {
                let at = at.wrapping_add(after);
                let (from, to) = (Condition::from_number(from)?, Condition::from_number(to)?);
                let (class, unknown_from) = (FailureClass::from_number(class), back.map(|back| at.wrapping_sub(back)));
                let transition = Transition { at, from, to, class, unknown_from };
                Some(Entry::Transition(SiteTransition { cxn: CxnHash(cxn), host, transition }))
            }
            Wire::RunProblems(fault, behind_since, down) => {
                Some(Entry::RunProblems(RunProblems { fault: Fault::from_number(fault), behind_since, down }))
            }
            Wire::Admin(admin) => Some(Entry::Admin(admin)),
        };
        Some(Self { at, job, entries: entries.into_iter().map(entry).collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back() {
        let transition = Transition {
            at: 1_700_000_100,
            from: Condition::Up,
            to: Condition::Failing,
            class: Some(FailureClass::Timeout),
            unknown_from: Some(1_700_000_000),
        };
        let cxn = CxnHash::from(&"cxn:1".parse::<CxnId>().unwrap());
        let problems = RunProblems {
            fault: Some(Fault::Clock),
            behind_since: Some(5),
            down: vec![("2001:db8::1".parse().unwrap(), 396)],
        };
        let admin = AdminEntry {
            at: 7,
            user: "root".into(),
            action: "revive".into(),
            cxns: vec!["cxn:1".into()],
            detail: String::new(),
        };
        let host = Some("203.0.113.7".parse().unwrap());
        let frame = Frame {
            at: 1_700_000_000,
            job: Some(("app:org.example.myapp".parse().unwrap(), "default".parse().unwrap())),
            entries: vec![
                Entry::Transition(SiteTransition { cxn, host, transition }),
                Entry::RunProblems(problems),
                Entry::Admin(admin),
            ],
        };
        assert_eq!(Frame::from_bytes(&frame.to_bytes()), Some(frame.clone()));
        assert_eq!(Frame::from_bytes(&frame.to_bytes()[1..]), None);
        let extreme = Frame { at: i64::MIN, job: None, ..frame };
        assert_eq!(Frame::from_bytes(&extreme.to_bytes()), Some(extreme));
    }

    #[test]
    fn the_hash_of_a_connection_is_part_of_the_format() {
        assert_eq!(CxnHash::from(&"cxn:1".parse::<CxnId>().unwrap()), CxnHash(0x3447_D5EA_F129_3C4C));
    }
}
