//! Files that are encrypted to recipients: <https://age-encryption.org/v1>.
//!
//! A recipient is a public key, and an identity the private key that belongs to it. Only X25519 is used.

mod error;
mod header;
mod keys;
mod stream;

use std::io::{self, BufRead, Write};

pub use error::{InvalidIdentities, InvalidRecipient, Undecryptable};
pub use header::note;
pub use keys::{ARMORED, Identities, MAGIC, Recipient, key_lines};
use keys::{FileKey, Key};
pub use stream::{StreamReader, StreamWriter};

/// Random bytes between the header and the content.
type Nonce = [u8; 16];

/// The key that encrypts the content.
fn content_key(file_key: &FileKey, nonce: &Nonce) -> Key {
    keys::derive(nonce, &file_key[..], "payload")
}

/// Writes a file, encrypted or as it is.
pub enum Encrypting<W: Write> {
    /// There are no recipients.
    Plain(W),
    /// Nothing is readable before [`Encrypting::finish`].
    Age(StreamWriter<W>),
}

impl<W: Write> Encrypting<W> {
    /// Starts to encrypt to all recipients; without any, the file is written as it is.
    ///
    /// `note` is a line of the header that all can read: a name, and words without blanks.
    ///
    /// # Errors
    /// Those of `out`, and where the system has no random bytes.
    pub fn new(mut out: W, recipients: &[Recipient], note: &[&str]) -> io::Result<Self> {
        if recipients.is_empty() {
            return Ok(Self::Plain(out));
        }
        let file_key = keys::random().map_err(io::Error::other)?;
        let header = header::format(&file_key, recipients, note).map_err(io::Error::other)?;
        let nonce: Nonce = *keys::random().map_err(io::Error::other)?;
        out.write_all(header.as_bytes())?;
        out.write_all(&nonce)?;
        Ok(Self::Age(StreamWriter::new(out, &content_key(&file_key, &nonce))))
    }

    /// Writes the end of the file.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Age(out) => out.finish(),
        }
    }
}

impl<W: Write> Write for Encrypting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Age(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Age(out) => out.flush(),
        }
    }
}

/// Starts to decrypt a file. A reader of the result gets an error where the file was changed or cut off.
///
/// # Errors
/// [`Undecryptable`].
pub fn decrypt<R: BufRead>(mut file: R, identities: &Identities) -> Result<StreamReader<R>, Undecryptable> {
    let file_key = header::read(&mut file, identities)?;
    let mut nonce = Nonce::default();
    file.read_exact(&mut nonce).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Undecryptable::Damaged,
        _ => Undecryptable::Read(error),
    })?;
    Ok(StreamReader::new(file, &content_key(&file_key, &nonce)))
}

#[cfg(test)]
mod tests;
