//! Files that are encrypted to recipients: <https://age-encryption.org/v1>.
//!
//! A recipient is a public key, and an identity the private key that belongs to it. Only X25519 is used.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufRead, Write};
use std::iter;
use std::str::FromStr;

use age::stream::{StreamReader, StreamWriter};
use age::{DecryptError, Decryptor, EncryptError, Encryptor, x25519};
use age_core::format::{FileKey, Stanza};
use serde::Deserialize;

/// How each encrypted file begins.
pub const MAGIC: &[u8] = b"age-encryption.org/v1\n";

/// How the text of an identity begins. Case does not count.
const IDENTITY_PREFIX: &str = "AGE-SECRET-KEY-";

/// The public key of a person or machine that can decrypt files: `age1…`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Recipient(x25519::Recipient);

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

impl FromStr for Recipient {
    type Err = InvalidRecipient;

    fn from_str(text: &str) -> Result<Self, InvalidRecipient> {
        text.parse().map(Self).map_err(|_| {
            let is_private = text.trim_start().to_ascii_uppercase().starts_with(IDENTITY_PREFIX);
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
        self.0.fmt(f)
    }
}

/// Private keys, any of which may decrypt a file.
#[derive(Clone, Default)]
pub struct Identities(Vec<x25519::Identity>);

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
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

impl Identities {
    /// Makes a new key, and its recipient.
    #[must_use]
    pub fn generate() -> (Self, Recipient) {
        let identity = x25519::Identity::generate();
        let recipient = Recipient(identity.to_public());
        (Self(vec![identity]), recipient)
    }

    /// Reads identities as `age-keygen` writes them: one per line, with comments after `#`.
    ///
    /// # Errors
    /// [`InvalidIdentities`].
    pub fn parse(text: &[u8]) -> Result<Self, InvalidIdentities> {
        if text.starts_with(MAGIC) || text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
            return Err(InvalidIdentities::Encrypted);
        }
        let identities: Vec<_> = key_lines(text)
            .map(|(number, line)| line.and_then(|line| line.parse().ok()).ok_or(InvalidIdentities::Line(number)))
            .collect::<Result<_, _>>()?;
        if identities.is_empty() { Err(InvalidIdentities::Empty) } else { Ok(Self(identities)) }
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    /// Those of `out`.
    pub fn new(out: W, recipients: &[Recipient], note: &[&str]) -> io::Result<Self> {
        if recipients.is_empty() {
            return Ok(Self::Plain(out));
        }
        let note = Note(note.iter().map(|word| (*word).to_owned()).collect());
        // It comes first, where it is found in the first bytes.
        let keys = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
        let all = iter::once(&note as &dyn age::Recipient).chain(keys);
        let encryptor = Encryptor::with_recipients(all).map_err(|error| match error {
            EncryptError::Io(error) => error,
            error => io::Error::other(error),
        })?;
        Ok(Self::Age(encryptor.wrap_output(out)?))
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

/// A line of the header without a key. Programs skip what they do not know there.
struct Note(Vec<String>);

impl age::Recipient for Note {
    fn wrap_file_key(&self, _: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let mut words = self.0.iter().cloned();
        let tag = words.next().unwrap_or_default();
        Ok((vec![Stanza { tag, args: words.collect(), body: Vec::new() }], HashSet::new()))
    }
}

/// Finds the words after the name of a note in the first bytes of an encrypted file.
///
/// `None` if it has no such note.
#[must_use]
pub fn note<'a>(start: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = start.strip_prefix(MAGIC)?.split(|byte| *byte == b'\n').take_while(|line| !line.starts_with(b"---"));
    let mut notes = lines.filter_map(|line| str::from_utf8(line).ok()?.strip_prefix("-> ")?.strip_prefix(name));
    notes.next().map(str::trim)
}

/// Why a file cannot be decrypted.
#[derive(Debug)]
pub enum Undecryptable {
    /// None of the identities is that of a recipient.
    OtherKey,
    /// It is encrypted with a passphrase.
    Passphrase,
    /// Its header is damaged, or of a newer version.
    Damaged,
    /// It cannot be read.
    Read(io::Error),
}

/// Starts to decrypt a file. A reader of the result gets an error where the file was changed or cut off.
///
/// # Errors
/// [`Undecryptable`].
pub fn decrypt<R: BufRead>(file: R, identities: &Identities) -> Result<StreamReader<R>, Undecryptable> {
    let decryptor = Decryptor::new_buffered(file).map_err(Undecryptable::from)?;
    if decryptor.is_scrypt() {
        return Err(Undecryptable::Passphrase);
    }
    Ok(decryptor.decrypt(identities.0.iter().map(|identity| identity as &dyn age::Identity))?)
}

impl From<DecryptError> for Undecryptable {
    fn from(error: DecryptError) -> Self {
        match error {
            DecryptError::NoMatchingKeys => Self::OtherKey,
            DecryptError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => Self::Read(error),
            _ => Self::Damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn encrypted(text: &[u8], recipients: &[Recipient]) -> Vec<u8> {
        let mut out = Encrypting::new(Vec::new(), recipients, &["cxnpoll-test", "7"]).unwrap();
        out.write_all(text).unwrap();
        out.finish().unwrap()
    }

    fn decrypted(file: &[u8], identities: &Identities) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        let mut reader = decrypt(file, identities).map_err(|error| format!("{error:?}"))?;
        reader.read_to_end(&mut text).map(|_| text).map_err(|error| error.kind().to_string())
    }

    #[test]
    fn any_of_the_recipients_decrypts_and_no_other_key_does() {
        let [(first, first_key), (second, second_key), (other, _)] = [(); 3].map(|()| Identities::generate());
        let text = vec![b'x'; 200_000];
        let file = encrypted(&text, &[first_key, second_key]);
        assert_eq!(decrypted(&file, &first).as_deref(), Ok(&text[..]));
        assert_eq!(decrypted(&file, &second).as_deref(), Ok(&text[..]));
        assert_eq!(decrypted(&file, &other), Err("OtherKey".to_owned()));
        assert_eq!(decrypted(&file, &Identities::default()), Err("OtherKey".to_owned()));
        assert_eq!((note(&file, "cxnpoll-test"), note(&file, "X25519 ").is_some()), (Some("7"), true));
        assert_eq!(note(&file, "cxnpoll-other"), None);
        assert_eq!(encrypted(b"text", &[]), b"text");
    }

    #[test]
    fn a_changed_or_cut_file_is_an_error_at_each_place() {
        let (key, recipient) = Identities::generate();
        let file = encrypted(&vec![b'x'; 70_000], &[recipient]);
        for at in (0..400).chain((400..file.len()).step_by(977)).chain([file.len() - 1]) {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(decrypted(&changed, &key).is_err(), "byte {at} is changed");
            assert!(decrypted(&file[..at], &key).is_err(), "cut at {at}");
        }
        assert!(decrypted(&[&file[..], b"x"].concat(), &key).is_err());
    }

    #[test]
    fn keys_are_read_and_never_shown() {
        use age::secrecy::ExposeSecret;
        let (key, recipient) = Identities::generate();
        let private = key.0[0].to_string();
        let private = private.expose_secret();
        assert_eq!(recipient.to_string().parse(), Ok(recipient.clone()));
        assert_eq!(private.parse::<Recipient>(), Err(InvalidRecipient::PrivateKey));
        assert_eq!(private.to_lowercase().parse::<Recipient>(), Err(InvalidRecipient::PrivateKey));
        for other in ["", "age1", "ssh-ed25519 AAAA", "age1yubikey1qqqq", &recipient.to_string()[1..]] {
            assert_eq!(other.parse::<Recipient>(), Err(InvalidRecipient::Other), "{other}");
        }
        let read = Identities::parse(format!("# created: today\r\n\r\n {private}\r\n").as_bytes()).unwrap();
        assert_eq!((read.0.len(), format!("{read:?}")), (1, "Identities(1)".to_owned()));
        assert_eq!(Identities::parse(b"# nothing\n").unwrap_err(), InvalidIdentities::Empty);
        assert_eq!(Identities::parse(MAGIC).unwrap_err(), InvalidIdentities::Encrypted);
        let public = format!("# key\n{recipient}\n");
        assert_eq!(Identities::parse(public.as_bytes()).unwrap_err(), InvalidIdentities::Line(2));
        assert_eq!(Identities::parse(b"\xff\n").unwrap_err(), InvalidIdentities::Line(1));
    }
}
