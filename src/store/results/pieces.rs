//! Results in pieces: sled neither syncs nor removes a leaf of more than 128 KiB in order.

use std::convert::Infallible;

use sled::Db;
use sled::transaction::{ConflictableTransactionResult, TransactionError, Transactional, TransactionalTree};

use crate::store::engine::Entry;
use crate::store::error::Result;
use crate::store::schema::MAX_VALUE_BYTES;

/// The tree of what results have beyond [`MAX_VALUE_BYTES`], in pieces of this size.
///
/// A key is that of the result and the number of the piece.
const PIECES: &str = "pieces";

/// Replaces a result by a record, all of it or nothing; an empty record removes it.
///
/// # Errors
/// Those of the database.
pub(super) fn replace(database: &Db, key: &[u8], record: &[u8]) -> Result<()> {
    let pieces = database.open_tree(PIECES)?;
    let former = pieces.scan_prefix(key).keys().collect::<sled::Result<Vec<_>>>()?;
    let (first, rest) = record.split_at(record.len().min(MAX_VALUE_BYTES));
    let write = |(results, pieces): &(TransactionalTree, TransactionalTree)| {
        for key in &former {
            pieces.remove(key)?;
        }
        if first.is_empty() {
            results.remove(key)?;
        } else {
            results.insert(key, first)?;
        }
        for (piece, bytes) in (0_u32..).zip(rest.chunks(MAX_VALUE_BYTES)) {
            pieces.insert([key, &piece.to_be_bytes()].concat(), bytes)?;
        }
        ConflictableTransactionResult::<(), Infallible>::Ok(())
    };
    (&**database, &pieces).transaction(write).map_err(|error| match error {
        TransactionError::Abort(never) => match never {},
        TransactionError::Storage(error) => error.into(),
    })
}

/// Adds to the first part of a record its other parts. Former builds wrote long records in one part.
///
/// # Errors
/// Those of the database.
pub(super) fn whole(database: &Db, (key, first): Entry) -> Result<Entry> {
    if first.len() != MAX_VALUE_BYTES {
        return Ok((key, first));
    }
    let mut record = first.to_vec();
    for piece in database.open_tree(PIECES)?.scan_prefix(&key).values() {
        record.extend_from_slice(&piece?);
    }
    Ok((key, record.into()))
}
