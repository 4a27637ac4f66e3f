//! The header of an encrypted file, with the key of the file for each recipient.
//!
//! It is authenticated with that key, and made of stanzas. Each has a line with words and a body in base64. The first word is its
//! kind.

use std::fmt::Write as _;
use std::io::BufRead;

use base64::prelude::{BASE64_STANDARD_NO_PAD as BASE64, Engine};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::error::Undecryptable;
use super::keys::{FileKey, Identities, MAGIC, Recipient, VERSION, WrappedKey, derive};

/// How the last line begins, which is authenticated up to here.
const END: &str = "---";
/// The characters of a line of a body. A shorter line ends it.
const BODY_LINE: usize = 64;
/// The most bytes of a header, for 100,000 recipients. Longer ones are not read into memory.
const MAX_BYTES: u64 = 16 << 20;

/// Formats a header with the key of a file for each recipient.
///
/// `note` is a stanza without a body. It comes first, so that it is found in the first bytes.
pub(super) fn format(file_key: &FileKey, recipients: &[Recipient], note: &[&str]) -> Result<String, getrandom::Error> {
    let mut text = format!("{VERSION}-> {}\n\n", note.join(" "));
    for recipient in recipients {
        let WrappedKey { share, key, tag } = recipient.wrap(file_key)?;
        let _ = writeln!(text, "-> X25519 {}\n{}", BASE64.encode(share), BASE64.encode([key, tag].concat()));
    }
    text.push_str(END);
    let mac = mac(file_key, &text).finalize().into_bytes();
    let _ = writeln!(text, " {}", BASE64.encode(mac));
    Ok(text)
}

/// What authenticates a header up to [`END`].
fn mac(file_key: &FileKey, text: &str) -> Hmac<Sha256> {
    let key = derive(b"", &file_key[..], "header");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key[..]).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac
}

/// Reads a header, and decrypts the key of the file.
pub(super) fn read(file: impl BufRead, identities: &Identities) -> Result<FileKey, Undecryptable> {
    let (mut text, mut line) = (Vec::new(), 0);
    let mut limited = file.take(MAX_BYTES);
    while !text[line..].starts_with(END.as_bytes()) {
        line = text.len();
        if limited.read_until(b'\n', &mut text).map_err(Undecryptable::Read)? == 0 {
            return Err(Undecryptable::Damaged);
        }
    }
    let header = str::from_utf8(&text).ok().and_then(parse).ok_or(Undecryptable::Damaged)?;
    if header.has_passphrase {
        return Err(Undecryptable::Passphrase);
    }
    if header.keys.is_empty() {
        return Err(Undecryptable::OtherKind);
    }
    let file_key = identities.unwrap(&header.keys)?;
    // It compares in constant time.
    mac(&file_key, header.authenticated).verify_slice(&header.mac).map_err(|_| Undecryptable::Damaged)?;
    Ok(file_key)
}

struct Header<'a> {
    authenticated: &'a str,
    mac: [u8; 32],
    keys: Vec<WrappedKey>,
    has_passphrase: bool,
}

/// Parses a header that ends with the first line that begins with [`END`]. `None` if it breaks a rule.
fn parse(text: &str) -> Option<Header<'_>> {
    let mut lines = text.strip_prefix(VERSION)?.strip_suffix('\n')?.split('\n');
    let (mut keys, mut stanzas, mut has_passphrase) = (Vec::new(), 0, false);
    let mac = loop {
        let line = lines.next()?;
        if let Some(mac) = line.strip_prefix(END) {
            break bytes(mac.strip_prefix(' ')?)?;
        }
        let words: Vec<&str> = line.strip_prefix("-> ")?.split(' ').collect();
        let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
        if !words.iter().all(is_word) {
            return None;
        }
        let body = body(&mut lines)?;
        stanzas += 1;
        match words[..] {
            ["X25519", share] => {
                let (key, tag) = body.split_at_checked(16)?;
                keys.push(WrappedKey { share: bytes(share)?, key: key.try_into().ok()?, tag: tag.try_into().ok()? });
            }
            ["X25519", ..] => return None,
            ["scrypt", ..] => has_passphrase = true,
            // Other programs have other kinds of keys, and some write stanzas that mean nothing.
            _ => {}
        }
    };
    // A passphrase authenticates the file only if nothing else decrypts it.
    let is_allowed = if has_passphrase { stanzas == 1 } else { stanzas > 0 };
    let authenticated = &text[..text.rfind(END)? + END.len()];
    is_allowed.then_some(Header { authenticated, mac, keys, has_passphrase })
}

/// Reads the body of a stanza.
fn body<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = lines.next().filter(|line| line.len() <= BODY_LINE)?;
        BASE64.decode_vec(line, &mut body).ok()?;
        if line.len() < BODY_LINE {
            return Some(body);
        }
    }
}

/// Decodes `N` bytes. There is one text for them: without padding, and with zeros as unused bits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

/// Finds the words after the name of a note in the first bytes of an encrypted file.
///
/// `None` if it has no such note.
#[must_use]
pub fn note<'a>(start: &'a [u8], name: &str) -> Option<&'a str> {
    let lines =
        start.strip_prefix(MAGIC)?.split(|byte| *byte == b'\n').take_while(|line| !line.starts_with(END.as_bytes()));
    let mut notes = lines.filter_map(|line| str::from_utf8(line).ok()?.strip_prefix("-> ")?.strip_prefix(name));
    notes.next().map(str::trim)
}
