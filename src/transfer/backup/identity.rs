//! The private keys that decrypt a backup.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::transfer::error::{Error, Result};
use crate::util::encryption::Identities;
use crate::util::file_error::{FileError, FileOp};

/// The most bytes of a file of keys. Longer ones hold something else.
const MAX_BYTES: usize = 64 << 10;

/// Reads private keys as `age-keygen` writes them; `-` is standard input.
///
/// # Errors
/// [`Error::OpenIdentity`], [`Error::InvalidIdentity`].
pub fn read_identities(path: &Path) -> Result<Identities> {
    // With room for all, it is never moved, so that no copy stays in memory.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    let mut read = |input: &mut dyn Read| input.take(MAX_BYTES as u64).read_to_end(&mut text);
    let read = if path == Path::new("-") {
        read(&mut io::stdin())
    } else {
        File::open(path).and_then(|mut file| read(&mut file))
    };
    read.map_err(|error| Error::OpenIdentity(FileError::at(FileOp::Read, path)(error)))?;
    Identities::parse(&text).map_err(|problem| Error::InvalidIdentity { path: path.to_owned(), problem })
}
