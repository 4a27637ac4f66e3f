//! Encoding and decoding of one message.

use aes::Aes128;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::call::Checked;
use super::insecure::find;
use super::json;
use crate::model::{Cause, CxnId, Failure, FailureClass, Secret, UnixTime};

/// The media type of a message.
pub const CONTENT_TYPE: &str = "application/x-civi-cxn";
/// The only message type that an application accepts as a reply.
const NAME: &[u8] = b"CXN-0.2-AES-CBC-HMAC";
/// Separates the parts.
pub(super) const DELIMITER: u8 = 0x01;
/// How long a message is valid that is sent from here, in seconds.
pub const TTL_S: UnixTime = 7200;
/// The longest envelope that is parsed, in bytes.
const MAX_ENVELOPE_BYTES: usize = 512;

/// What is wrong with a message, in the order in which a message is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Not a message of this type: a page of HTML, an insecure message, or nothing.
    #[error("the reply is not a CiviConnect message")]
    Garbled,
    /// A message of another connection.
    #[error("the reply belongs to another connection")]
    WrongCxn,
    /// The signature was not made with the secret of the connection.
    #[error("the reply's signature is wrong")]
    BadHmac,
    /// An envelope of more than 512 bytes.
    #[error("the reply's envelope is too long")]
    OversizedEnvelope,
    /// An envelope that is not JSON, or empty.
    #[error("the reply's envelope is malformed")]
    MalformedEnvelope,
    /// A time to live that has passed, or none.
    #[error("the reply has expired, or the site's clock is wrong")]
    Expired,
    /// An initialisation vector that is not 64 lowercase hex digits.
    #[error("the reply's initialisation vector is malformed")]
    MalformedIv,
    /// A ciphertext that cannot be decrypted.
    #[error("the reply cannot be decrypted")]
    Undecipherable,
    /// A plaintext that is not JSON, or nested too deep.
    #[error("the reply does not hold JSON")]
    NotJson,
    /// A plaintext whose values would take too much memory.
    #[error("the values of the reply take more than {} MiB of memory", json::MAX_REPLY_MEMORY_BYTES >> 20)]
    TooLarge,
}

impl From<json::Refusal> for ProtocolError {
    fn from(refusal: json::Refusal) -> Self {
        match refusal {
            json::Refusal::NotJson => Self::NotJson,
            json::Refusal::TooLarge => Self::TooLarge,
        }
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        let class = match error {
            ProtocolError::Garbled => FailureClass::Garbled,
            ProtocolError::TooLarge => FailureClass::TooLarge,
            _ => FailureClass::Protocol,
        };
        let cause = if error == ProtocolError::Expired { Cause::Expired } else { Cause::Message };
        Failure { cause, ..Failure::new(class, error.to_string()) }
    }
}

/// Computes an HMAC-SHA256 with a key of any length.
pub(super) fn mac(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    // HMAC hashes long keys and pads short ones.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac
}

/// Derives the key of the cipher. AES-128 uses the first half of the derived bytes.
fn cipher_key(secret: &Secret) -> [u8; 16] {
    let derived = mac(secret.as_bytes(), b"dearbrutus").finalize().into_bytes();
    *derived.first_chunk().expect("32 bytes hold 16")
}

/// Derives the key of the signature from the secret.
fn signing_key(secret: &Secret) -> [u8; 32] {
    mac(secret.as_bytes(), b"thefaultisinourselves").finalize().into_bytes().into()
}

/// Encodes a message with `plaintext` for the site of `cxn_id`, valid until `ttl` (seconds since 1970).
///
/// `iv` must be fresh random bytes for each message. The protocol uses only its first half.
#[must_use]
pub fn encode(cxn_id: &CxnId, secret: &Secret, plaintext: &[u8], ttl: UnixTime, iv: &[u8; 32]) -> Vec<u8> {
    let iv_half: &[u8; 16] = iv.first_chunk().expect("32 bytes hold 16");
    let ciphertext = cbc::Encryptor::<Aes128>::new(&cipher_key(secret).into(), iv_half.into())
        .encrypt_padded_vec::<Pkcs7>(plaintext);
    let mut body = format!(r#"{{"ttl":{ttl},"iv":"{}"}}"#, hex::encode(iv)).into_bytes();
    body.push(DELIMITER);
    body.extend_from_slice(&ciphertext);
    let hmac = hex::encode(mac(&signing_key(secret), &body).finalize().into_bytes());
    [NAME, cxn_id.as_str().as_bytes(), hmac.as_bytes(), &body].join(&DELIMITER)
}

/// Whether bytes that start like this may be a message, also one that was cut off.
#[must_use]
pub fn may_be_message(beginning: &[u8]) -> bool {
    beginning.strip_prefix(NAME).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == DELIMITER))
}

/// Where a message begins in what a site sent; `None` if there is none.
#[must_use]
pub fn message_start(reply: &[u8]) -> Option<usize> {
    find(reply, &[NAME, &[DELIMITER]].concat())
}

/// Decodes the reply of the site of `cxn_id` at the time `now`.
///
/// # Errors
/// The first rule that the message breaks, in the order of [`ProtocolError`].
pub fn decode(message: &[u8], cxn_id: &CxnId, secret: &Secret, now: UnixTime) -> Result<Value, ProtocolError> {
    Ok(json::parse(&decrypt(message, cxn_id, secret, now)?)?)
}

/// Checks the reply as [`decode`] does, without building its values.
///
/// Returns the failure that the reply reports; `None` if it reports none. This needs little memory, and the number of
/// values is not limited.
///
/// # Errors
/// As [`decode`], except [`ProtocolError::TooLarge`].
pub fn check(message: &[u8], cxn_id: &CxnId, secret: &Secret, now: UnixTime) -> Result<Option<Failure>, ProtocolError> {
    Ok(json::check::<Checked<'_>>(&decrypt(message, cxn_id, secret, now)?)?.failure(secret))
}

/// Checks a message up to its plaintext, and returns that.
fn decrypt(message: &[u8], cxn_id: &CxnId, secret: &Secret, now: UnixTime) -> Result<Vec<u8>, ProtocolError> {
    let mut parts = message.splitn(4, |byte| *byte == DELIMITER);
    if parts.next() != Some(NAME) {
        return Err(ProtocolError::Garbled);
    }
    // The cxnId is not signed, so it must be compared.
    if parts.next() != Some(cxn_id.as_str().as_bytes()) {
        return Err(ProtocolError::WrongCxn);
    }
    let (Some(hmac), Some(body)) = (parts.next(), parts.next()) else {
        return Err(ProtocolError::BadHmac);
    };
    verify(hmac, body, secret)?;
    let (envelope, ciphertext) = split_envelope(body);
    let Envelope { iv, .. } = open_envelope(envelope, now)?;
    decipher(ciphertext, secret, &iv)
}

/// Checks the signature of an envelope and its ciphertext, and returns it as bytes.
///
/// # Errors
/// [`ProtocolError::BadHmac`].
pub(super) fn verify(hmac: &[u8], body: &[u8], secret: &Secret) -> Result<[u8; 32], ProtocolError> {
    // `verify_slice` compares in constant time. Uppercase digits would pass `hex::decode`, but no site sends them.
    let hmac = lowercase_hex::<32>(hmac).ok_or(ProtocolError::BadHmac)?;
    mac(&signing_key(secret), body).verify_slice(&hmac).map_err(|_| ProtocolError::BadHmac)?;
    Ok(hmac)
}

/// Splits an envelope from its ciphertext, which is empty where no separator is.
pub(super) fn split_envelope(body: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = body.splitn(2, |byte| *byte == DELIMITER);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// Decrypts a ciphertext.
///
/// # Errors
/// [`ProtocolError::Undecipherable`].
pub(super) fn decipher(ciphertext: &[u8], secret: &Secret, iv: &[u8; 16]) -> Result<Vec<u8>, ProtocolError> {
    cbc::Decryptor::<Aes128>::new(&cipher_key(secret).into(), iv.into())
        .decrypt_padded_vec::<Pkcs7>(ciphertext)
        .map_err(|_| ProtocolError::Undecipherable)
}

/// What an envelope holds.
pub(super) struct Envelope {
    /// Until when the message is valid; in the far future, the highest time.
    pub ttl: UnixTime,
    /// The first half of the initialisation vector.
    pub iv: [u8; 16],
}

/// Checks an envelope.
///
/// # Errors
/// From [`ProtocolError::OversizedEnvelope`] to [`ProtocolError::MalformedIv`].
pub(super) fn open_envelope(envelope: &[u8], now: UnixTime) -> Result<Envelope, ProtocolError> {
    if envelope.len() > MAX_ENVELOPE_BYTES {
        return Err(ProtocolError::OversizedEnvelope);
    }
    let envelope = match json::parse(envelope) {
        Ok(Value::Object(fields)) if !fields.is_empty() => Value::Object(fields),
        Ok(Value::Array(items)) if !items.is_empty() => Value::Array(items),
        _ => return Err(ProtocolError::MalformedEnvelope),
    };
    let ttl = alive_until(&envelope["ttl"], now).ok_or(ProtocolError::Expired)?;
    let iv = envelope["iv"].as_str().and_then(|iv| lowercase_hex::<32>(iv.as_bytes()));
    let iv = iv.ok_or(ProtocolError::MalformedIv)?;
    Ok(Envelope { ttl, iv: *iv.first_chunk().expect("32 bytes hold 16") })
}

/// A time to live, a number or its text, in whole seconds; `None` if it has passed.
#[expect(clippy::cast_precision_loss, reason = "seconds of this era are exact in 53 bits")]
#[expect(clippy::cast_possible_truncation, reason = "a time beyond all others is the highest")]
fn alive_until(ttl: &Value, now: UnixTime) -> Option<UnixTime> {
    let ttl = ttl.as_f64().or_else(|| ttl.as_str()?.parse().ok());
    ttl.filter(|ttl| now as f64 <= *ttl).map(|ttl| ttl as UnixTime)
}

/// Decodes exactly `N` bytes of lowercase hex digits; `None` for any other text.
fn lowercase_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A time at which the vectors without a time of their own have not expired.
    const NOW: UnixTime = 1_900_000_000;

    fn vectors() -> Vec<Value> {
        let file: Value = serde_json::from_str(include_str!("../../fixtures/vectors.json")).unwrap();
        file["vectors"].as_array().unwrap().clone()
    }

    fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
        vector[key].as_str().unwrap_or_else(|| panic!("{key} of {}", vector["name"]))
    }

    /// The results that differ from those of the PHP library.
    ///
    /// It is lenient or crashes there, or PHP does not distinguish objects from arrays.
    fn deviations() -> BTreeMap<&'static str, Result<Value, ProtocolError>> {
        use ProtocolError::{Expired, Garbled, MalformedEnvelope, MalformedIv, NotJson, Undecipherable, WrongCxn};
        BTreeMap::from([
            ("reply_empty_object", Ok(Value::Object(serde_json::Map::new()))),
            ("reply_unencodable_data", Err(NotJson)),
            ("iv_63_hex_newline", Err(MalformedIv)),
            ("envelope_string", Err(MalformedEnvelope)),
            ("envelope_array", Err(Expired)),
            ("garbled_prefix", Err(Garbled)),
            ("truncated_name_only", Err(WrongCxn)),
            ("signed_no_delim_in_body", Err(Undecipherable)),
            ("wrong_cxn_unknown", Err(WrongCxn)),
            ("wrong_cxn_relabel_unknown", Err(WrongCxn)),
            ("aes256_key", Err(Undecipherable)),
            ("pad_zero", Err(Undecipherable)),
            ("ciphertext_empty", Err(Undecipherable)),
            ("plaintext_not_json", Err(NotJson)),
            ("plaintext_deep_513", Err(NotJson)),
            ("plaintext_lone_surrogate", Err(NotJson)),
        ])
    }

    fn expected(vector: &Value) -> Result<Value, ProtocolError> {
        if let Some(result) = deviations().remove(text(vector, "name")) {
            return result;
        }
        let expect = &vector["expect"];
        if expect["result"] == "ok" {
            return Ok(json::parse(expect["json"].as_str().unwrap().as_bytes()).unwrap());
        }
        Err(match expect["kind"].as_str().unwrap() {
            "garbled" => ProtocolError::Garbled,
            "wrong_cxn" => ProtocolError::WrongCxn,
            "bad_hmac" => ProtocolError::BadHmac,
            "oversized_envelope" => ProtocolError::OversizedEnvelope,
            "malformed_envelope" => ProtocolError::MalformedEnvelope,
            "expired" => ProtocolError::Expired,
            "malformed_iv" => ProtocolError::MalformedIv,
            kind => panic!("unknown kind {kind}"),
        })
    }

    #[test]
    fn every_vector_decodes_as_in_the_php_library_or_is_refused() {
        for vector in vectors() {
            let name = text(&vector, "name");
            let Ok(secret) = Secret::from_base64(text(&vector, "secret")) else {
                let refused = ["secret_31_bytes", "secret_16_bytes", "secret_not_base64", "secret_with_junk"];
                assert!(refused.contains(&name), "{name}");
                continue;
            };
            let message = BASE64_STANDARD.decode(text(&vector, "message_b64")).unwrap();
            let cxn_id = text(&vector, "cxnId").parse().unwrap();
            let now = vector["now"].as_i64().unwrap_or(NOW);
            assert_eq!(decode(&message, &cxn_id, &secret, now), expected(&vector), "{name}");
        }
    }

    #[test]
    fn messages_are_encoded_to_the_same_bytes_as_in_the_php_library() {
        let mut encoded = 0;
        for vector in vectors().iter().filter(|v| v["origin"] == "library" && v["envelope"].is_string()) {
            let name = text(vector, "name");
            let message = BASE64_STANDARD.decode(text(vector, "message_b64")).unwrap();
            let Ok(secret) = Secret::from_base64(text(vector, "secret")) else { continue };
            let labelled = message.splitn(3, |b| *b == DELIMITER).nth(1).unwrap();
            if labelled != text(vector, "cxnId").as_bytes() {
                continue;
            }
            let iv = hex::decode(text(vector, "iv_hex")).unwrap().try_into().unwrap();
            let plaintext = BASE64_STANDARD.decode(text(vector, "decrypted_b64")).unwrap();
            let ttl = vector["ttl"].as_i64().unwrap();
            let cxn_id = text(vector, "cxnId").parse().unwrap();
            assert_eq!(encode(&cxn_id, &secret, &plaintext, ttl, &iv), message, "{name}");
            encoded += 1;
        }
        assert!(encoded >= 10, "only {encoded} vectors were encoded");
    }

    fn sample() -> (CxnId, Secret, Vec<u8>) {
        let (cxn_id, secret) = ("cxn:ab".parse().unwrap(), Secret::from_bytes([9; 32]));
        let message = encode(&cxn_id, &secret, br#"{"is_error":0,"values":[1,2,3]}"#, NOW + TTL_S, &[5; 32]);
        (cxn_id, secret, message)
    }

    proptest! {
        #[test]
        fn an_encoded_message_is_decoded_until_it_expires(
            plaintext in "[ -~]{0,99}", iv: [u8; 32], key: [u8; 32], ttl in NOW..NOW * 2
        ) {
            let (cxn_id, secret) = ("cxn:x".parse().unwrap(), Secret::from_bytes(key));
            let json = serde_json::to_vec(&plaintext).unwrap();
            let message = encode(&cxn_id, &secret, &json, ttl, &iv);
            prop_assert_eq!(decode(&message, &cxn_id, &secret, NOW), Ok(Value::String(plaintext)));
            prop_assert_eq!(decode(&message, &cxn_id, &secret, ttl + 1), Err(ProtocolError::Expired));
        }

        #[test]
        fn a_truncated_message_is_never_accepted(at in 0..200usize) {
            let (cxn_id, secret, message) = sample();
            let at = at % message.len();
            prop_assert!(decode(&message[..at], &cxn_id, &secret, NOW).is_err());
        }

        #[test]
        fn a_flipped_bit_is_never_accepted(at: prop::sample::Index, bit in 0..8u8) {
            let (cxn_id, secret, mut message) = sample();
            let at = at.index(message.len());
            message[at] ^= 1 << bit;
            prop_assert!(decode(&message, &cxn_id, &secret, NOW).is_err());
        }

        #[test]
        fn spliced_messages_are_never_accepted(
            cut: prop::sample::Index, paste: prop::sample::Index, junk: Vec<u8>, len in 0..40usize
        ) {
            let (cxn_id, secret, message) = sample();
            let (from, to) = (cut.index(message.len()), paste.index(message.len()));
            let end = (from + len).min(message.len());
            let spliced = [&message[..to], &message[from..end], &junk, &message[to..]].concat();
            prop_assume!(spliced != message);
            prop_assert!(decode(&spliced, &cxn_id, &secret, NOW).is_err());
        }

        #[test]
        fn any_signed_body_is_refused_without_a_panic(body: Vec<u8>, tail in "\\PC{0,60}") {
            let (cxn_id, secret, _) = sample();
            for body in [body, format!(r#"{{"ttl":4102452000,"iv":"{tail}"}}"#).into_bytes()] {
                let hmac = hex::encode(mac(&signing_key(&secret), &body).finalize().into_bytes());
                let message = [NAME, cxn_id.as_str().as_bytes(), hmac.as_bytes(), &body].join(&DELIMITER);
                prop_assert!(decode(&message, &cxn_id, &secret, NOW).is_err());
            }
        }
    }
}
