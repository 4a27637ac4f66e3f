//! Opening a request: from its bytes to its plaintext.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::model::{AppId, Secret, UnixTime};
use crate::protocol::app_key::{AppKey, MODULUS_BYTES};
use crate::protocol::json;
use crate::protocol::message::{self, DELIMITER, Envelope, ProtocolError};

/// The first part of a request.
const TAG: &[u8] = b"CXN-0.2-RSA";

/// Why a request cannot be opened. A sender gets the text, which holds nothing of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Not a request to this app that its key opens. Whatever the reason, there is one text, so that it is no oracle.
    #[error("the message cannot be read: it must be encrypted for this app, with its current certificate")]
    Unreadable,
    /// The envelope is too long, or malformed.
    #[error("the message's envelope is malformed")]
    MalformedEnvelope,
    /// The time to live has passed, or is missing.
    #[error("the message has expired; the clock of the site's server may be wrong")]
    Expired,
    /// The initialisation vector is not 64 lowercase hex digits.
    #[error("the message's initialisation vector is malformed")]
    MalformedIv,
    /// The plaintext cannot be decrypted, or is not JSON that can be read.
    #[error("the message does not contain JSON that can be read")]
    BadPlaintext,
}

/// A request that was opened. `Debug` shows nothing of it, since it holds the secret of a connection.
pub struct Opened {
    /// Its signature, which no other message has.
    pub hmac: [u8; 32],
    /// Until when it is valid.
    pub ttl: UnixTime,
    /// What is in it.
    pub plaintext: Value,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened(…)")
    }
}

/// Opens a request to an app at the time `now`.
///
/// `random` takes the place of a one-time secret that cannot be opened, so that such a request is refused no sooner than one
/// with a wrong signature.
///
/// # Errors
/// The first check that fails.
pub fn open(body: &[u8], app_id: &AppId, key: &AppKey, now: UnixTime, random: [u8; 32]) -> Result<Opened, Rejection> {
    let mut parts = body.splitn(5, |byte| *byte == DELIMITER);
    let mut part = || parts.next().ok_or(Rejection::Unreadable);
    let (tag, to, sealed, hmac, body) = (part()?, part()?, part()?, part()?, part()?);
    if tag != TAG || to != app_id.as_str().as_bytes() {
        return Err(Rejection::Unreadable);
    }
    let sealed = BASE64_STANDARD.decode(sealed).ok();
    let sealed: [u8; MODULUS_BYTES] = sealed.and_then(|sealed| sealed.try_into().ok()).ok_or(Rejection::Unreadable)?;
    let secret = one_time_secret(key.open(&sealed)).unwrap_or_else(|| Secret::from_bytes(random));
    let hmac = message::verify(hmac, body, &secret).map_err(|_| Rejection::Unreadable)?;

    let (envelope, ciphertext) = message::split_envelope(body);
    let Envelope { ttl, iv } = message::open_envelope(envelope, now).map_err(|error| match error {
        ProtocolError::Expired => Rejection::Expired,
        ProtocolError::MalformedIv => Rejection::MalformedIv,
        _ => Rejection::MalformedEnvelope,
    })?;
    let plaintext = message::decipher(ciphertext, &secret, &iv).map_err(|_| Rejection::BadPlaintext)?;
    let plaintext = Zeroizing::new(plaintext);
    let plaintext = json::parse(&plaintext).map_err(|_| Rejection::BadPlaintext)?;
    Ok(Opened { hmac, ttl, plaintext })
}

/// The one-time secret of opened bytes, which are its base64; `None` if they are not.
fn one_time_secret(opened: Option<Zeroizing<Vec<u8>>>) -> Option<Secret> {
    let opened = opened?;
    Secret::from_base64(std::str::from_utf8(&opened).ok()?).ok()
}
