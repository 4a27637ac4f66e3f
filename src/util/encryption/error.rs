//! Why a key is no key, or a file cannot be decrypted.

use std::io;

/// Text that is no recipient. The error holds no part of the text, which may be a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecipient {
    /// It is an identity.
    #[error("this is a private key, which must stay secret; expected its public key, age1…")]
    PrivateKey,
    /// It is something else.
    #[error("expected a public key of age, as age-keygen prints it: age1…")]
    Other,
}

/// Why a text holds no identities. The error holds no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidIdentities {
    /// It is encrypted, with a passphrase or to another key.
    Encrypted,
    /// It has nothing but comments.
    Empty,
    /// A line, counted from 1, is no identity.
    Line(usize),
}

/// Why a file cannot be decrypted.
#[derive(Debug)]
pub enum Undecryptable {
    /// None of the identities is that of a recipient.
    OtherKey,
    /// It is encrypted only to keys of other kinds, such as those of SSH.
    OtherKind,
    /// It is encrypted with a passphrase.
    Passphrase,
    /// Its header is damaged, or of a newer version.
    Damaged,
    /// It cannot be read.
    Read(io::Error),
}
