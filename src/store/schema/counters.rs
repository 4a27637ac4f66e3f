//! The numbers that are assigned next.

use bincode::{Decode, Encode};

use super::keys::{AppNo, JobNo};
use super::records::{Record, read};
use super::session::ReadSession;
use crate::store::engine::{Get, TreeName, Tx, TxResult, Write};
use crate::store::error::{Error, Result};

const COUNTERS_KEY: &[u8] = b"counters";

/// The number of each kind that is assigned next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Counters {
    /// Of apps.
    pub app: AppNo,
    /// Of jobs.
    pub job: JobNo,
    /// Of values that connections share.
    pub shared: u32,
    /// Of connections.
    pub cxn: u64,
}

impl Record for Counters {
    const TREE: TreeName = TreeName::Meta;
}

impl Counters {
    /// Takes the next sequence number of a connection; `None` if all are used up.
    pub fn take_cxn(&mut self) -> Option<u64> {
        let taken = self.cxn;
        self.cxn = taken.checked_add(1)?;
        Some(taken)
    }
}

/// Takes the next of one kind of numbers; `None` if all are used up. The highest number is never taken.
pub(super) fn take_next(counter: &mut u32) -> Option<u32> {
    let taken = *counter;
    *counter = taken.checked_add(1)?;
    Some(taken)
}

/// Takes a number within a transaction.
///
/// # Errors
/// [`Error::NumbersExhausted`] where `take` returns `None`; those of the database.
pub fn bump_counters<T>(tx: &Tx, take: impl Fn(&mut Counters) -> Option<T>) -> TxResult<T> {
    let mut counters = counters(tx)?;
    let taken = take(&mut counters).ok_or(Error::NumbersExhausted)?;
    tx.insert(TreeName::Meta, COUNTERS_KEY, counters.to_bytes()?)?;
    Ok(taken)
}

/// Reads the counters.
///
/// # Errors
/// Those of the database.
pub fn counters<G: Get>(from: &G) -> Result<Counters, G::Error> {
    Ok(read(from, COUNTERS_KEY)?.unwrap_or_default())
}

/// The write that replaces the counters.
///
/// # Errors
/// [`Error::RecordTooLarge`].
pub fn write_counters(counters: &Counters) -> Result<Write> {
    Ok(Write::put(TreeName::Meta, COUNTERS_KEY, counters.to_bytes()?))
}

impl ReadSession {
    /// How many connections there are at most; connections that were removed are counted.
    ///
    /// It is the sequence number that the next connection gets; the highest if the counters cannot be read.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn cxn_count_upper_bound(&self) -> Result<u64> {
        let counters = self.skip(counters(&self.trees), || (TreeName::Meta, COUNTERS_KEY.to_vec(), None))?;
        Ok(counters.map_or(u64::MAX, |counters| counters.cxn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_is_never_taken() {
        let mut counter = u32::MAX - 1;
        assert_eq!(take_next(&mut counter), Some(u32::MAX - 1));
        assert_eq!(take_next(&mut counter), None);
        let mut counters = Counters { cxn: u64::MAX, ..Counters::default() };
        assert_eq!(counters.take_cxn(), None);
    }
}
