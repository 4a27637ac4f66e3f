//! Public and private keys, and the key of a file that is encrypted to them.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp, encode_lower_to_fmt};
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce};
use hkdf::Hkdf;
use serde::Deserialize;
use sha2::Sha256;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

use super::error::{InvalidIdentities, InvalidRecipient, Undecryptable};

/// How each encrypted file begins.
pub const MAGIC: &[u8] = VERSION.as_bytes();
/// How a file begins whose encrypted form was written as lines of text, which are not read.
pub const ARMORED: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
/// The first line of an encrypted file.
pub(super) const VERSION: &str = "age-encryption.org/v1\n";

const RECIPIENT_PREFIX: Hrp = Hrp::parse_unchecked("age");
const IDENTITY_PREFIX: Hrp = Hrp::parse_unchecked("age-secret-key-");

/// The purpose of keys that encrypt the key of a file.
const LABEL: &str = "age-encryption.org/v1/X25519";

/// A key of 32 bytes, which is overwritten when it is dropped.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// The key of one file, which is encrypted to each recipient.
pub(super) type FileKey = Zeroizing<[u8; 16]>;

/// Fills a new secret with random bytes.
pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut bytes[..])?;
    Ok(bytes)
}

/// Derives a key from a secret, for one purpose: HKDF with SHA-256.
pub(super) fn derive(salt: &[u8], secret: &[u8], label: &str) -> Key {
    let mut key = Zeroizing::new([0; 32]);
    let derived = Hkdf::<Sha256>::new(Some(salt), secret).expand(label.as_bytes(), &mut key[..]);
    derived.expect("HKDF derives up to 8160 bytes");
    key
}

/// The public key of a person or machine that can decrypt files: `age1…`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Recipient(PublicKey);

impl FromStr for Recipient {
    type Err = InvalidRecipient;

    fn from_str(text: &str) -> Result<Self, InvalidRecipient> {
        let key = parse(text, RECIPIENT_PREFIX).map(|key| PublicKey::from(*key));
        // With a point of low order, the shared secret is the same for all private keys.
        let is_safe = |key: &PublicKey| StaticSecret::from([1; 32]).diffie_hellman(key).was_contributory();
        key.filter(is_safe).map(Self).ok_or_else(|| {
            let is_private = text.trim_start().to_ascii_lowercase().starts_with(IDENTITY_PREFIX.as_str());
            if is_private { InvalidRecipient::PrivateKey } else { InvalidRecipient::Other }
        })
    }
}

impl TryFrom<String> for Recipient {
    type Error = InvalidRecipient;

    fn try_from(text: String) -> Result<Self, InvalidRecipient> {
        text.parse()
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        encode_lower_to_fmt::<Bech32, _>(f, RECIPIENT_PREFIX, self.0.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// Reads 32 bytes in Bech32. The text has one case, and the unused bits at its end are zero.
fn parse(text: &str, prefix: Hrp) -> Option<Key> {
    let text = CheckedHrpstring::new::<Bech32>(text).ok().filter(|text| text.hrp() == prefix)?;
    text.validate_segwit_padding().ok()?;
    let bytes = text.byte_iter();
    let mut key = Zeroizing::new([0; 32]);
    if bytes.len() != key.len() {
        return None;
    }
    key.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    Some(key)
}

/// The key of a file as one recipient can decrypt it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WrappedKey {
    /// A public key whose private key was used once.
    pub share: [u8; 32],
    /// The encrypted key.
    pub key: [u8; 16],
    /// What authenticates it.
    pub tag: [u8; 16],
}

impl Recipient {
    /// Encrypts the key of a file.
    pub(super) fn wrap(&self, file_key: &FileKey) -> Result<WrappedKey, getrandom::Error> {
        let private = StaticSecret::from(*random()?);
        let share = PublicKey::from(&private);
        let cipher = wrapping_cipher(&private.diffie_hellman(&self.0), &share, &self.0);
        let mut key = **file_key;
        let tag = cipher.encrypt_inout_detached(&Nonce::default(), b"", (&mut key[..]).into());
        let tag = tag.expect("16 bytes are not too long").into();
        Ok(WrappedKey { share: share.to_bytes(), key, tag })
    }
}

/// The cipher of a wrapped key. It is used once, so that its nonce is zero.
fn wrapping_cipher(shared: &SharedSecret, share: &PublicKey, recipient: &PublicKey) -> ChaCha20Poly1305 {
    let salt = [share.to_bytes(), recipient.to_bytes()].concat();
    ChaCha20Poly1305::new((&*derive(&salt, shared.as_bytes(), LABEL)).into())
}

/// A private key with its public key.
#[derive(Clone)]
struct Identity {
    private: StaticSecret,
    public: PublicKey,
}

impl Identity {
    fn new(key: &Key) -> Self {
        let private = StaticSecret::from(**key);
        Self { public: PublicKey::from(&private), private }
    }

    /// Decrypts the key of a file; `None` if it is encrypted to another key.
    fn unwrap(&self, wrapped: &WrappedKey) -> Result<Option<FileKey>, Undecryptable> {
        let share = PublicKey::from(wrapped.share);
        let shared = self.private.diffie_hellman(&share);
        if !shared.was_contributory() {
            return Err(Undecryptable::Damaged);
        }
        let cipher = wrapping_cipher(&shared, &share, &self.public);
        let mut key = Zeroizing::new(wrapped.key);
        let opened = cipher.decrypt_inout_detached(&Nonce::default(), b"", (&mut key[..]).into(), &wrapped.tag.into());
        Ok(opened.is_ok().then_some(key))
    }
}

/// Private keys, any of which may decrypt a file.
#[derive(Clone, Default)]
pub struct Identities(Vec<Identity>);

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
}

impl Identities {
    /// Makes a new key, and its recipient.
    ///
    /// # Errors
    /// Fails where the system has no random bytes.
    pub fn generate() -> Result<(Self, Recipient), getrandom::Error> {
        let identity = Identity::new(&random()?);
        let recipient = Recipient(identity.public);
        Ok((Self(vec![identity]), recipient))
    }

    /// Reads identities as `age-keygen` writes them: one per line, with comments after `#`.
    ///
    /// # Errors
    /// [`InvalidIdentities`].
    pub fn parse(text: &[u8]) -> Result<Self, InvalidIdentities> {
        if text.starts_with(MAGIC) || text.starts_with(ARMORED) {
            return Err(InvalidIdentities::Encrypted);
        }
        let key = |line: Option<&str>| parse(line?, IDENTITY_PREFIX).as_ref().map(Identity::new);
        let identities = key_lines(text).map(|(number, line)| key(line).ok_or(InvalidIdentities::Line(number)));
        let identities: Vec<_> = identities.collect::<Result<_, _>>()?;
        if identities.is_empty() { Err(InvalidIdentities::Empty) } else { Ok(Self(identities)) }
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decrypts the key of a file.
    pub(super) fn unwrap(&self, wrapped: &[WrappedKey]) -> Result<FileKey, Undecryptable> {
        for identity in &self.0 {
            for key in wrapped {
                if let Some(file_key) = identity.unwrap(key)? {
                    return Ok(file_key);
                }
            }
        }
        Err(Undecryptable::OtherKey)
    }
}

/// The lines of a file of keys with their numbers from 1, without comments.
///
/// `None` stands for a line that is not UTF-8.
pub fn key_lines(text: &[u8]) -> impl Iterator<Item = (usize, Option<&str>)> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1..);
    let keys = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#"));
    keys.map(|(line, number)| (number, str::from_utf8(line).ok()))
}
