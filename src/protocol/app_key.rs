//! The private key of an app, with which registrations are opened.

use std::fmt;

use getrandom::SysRng;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, LineEnding};
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePublicKey as _};
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, PrivateKey, PublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The bytes of the modulus. Sites and apps seal secrets for this size only.
pub(super) const MODULUS_BYTES: usize = 256;
/// The same in bits.
const MODULUS_BITS: usize = 8 * MODULUS_BYTES;

/// The RSA-2048 key of an app. `Debug` shows nothing of it.
pub struct AppKey(PrivateKey);

/// Why a text is not the key of an app. It holds no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAppKey {
    /// Not a private RSA key in PEM, as PKCS#1 or PKCS#8, without a passphrase.
    #[error("not an RSA private key in PEM (PKCS#1 or PKCS#8, without a passphrase)")]
    NotAKey,
    /// A key of another size.
    #[error("the key has {bits} bits, and sites only accept 2048")]
    WrongSize {
        /// The bits of its modulus.
        bits: usize,
    },
    /// JSON without a private key, or with a public key that is not one.
    #[error("JSON without the texts `privatekey` and `publickey`")]
    NoKeyInJson,
    /// JSON with the public key of another private key.
    #[error("`publickey` is not the public key of `privatekey`")]
    OtherPublicKey,
}

/// The content of cxnapp's `keys.json`. Other keys, such as `partialkey`, are not needed.
#[derive(Deserialize, Serialize)]
struct KeysJson {
    #[serde(deserialize_with = "zeroizing", serialize_with = "as_text")]
    privatekey: Zeroizing<String>,
    #[serde(default)]
    publickey: Option<String>,
    #[serde(default, skip_deserializing)]
    partialkey: bool,
}

fn zeroizing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

fn as_text<S: Serializer>(text: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl AppKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, rsa::Error> {
        PrivateKey::new(&mut SysRng, MODULUS_BITS).map(Self)
    }

    /// Reads a key from a file's text: JSON as cxnapp writes it, or PEM.
    ///
    /// # Errors
    /// [`InvalidAppKey`].
    pub fn from_text(text: &str) -> Result<Self, InvalidAppKey> {
        if !text.trim_start().starts_with('{') {
            return Self::from_pem(text);
        }
        // The error may quote the text.
        let keys: KeysJson = serde_json::from_str(text).map_err(|_| InvalidAppKey::NoKeyInJson)?;
        let key = Self::from_pem(&keys.privatekey)?;
        let Some(pem) = keys.publickey else { return Ok(key) };
        let public = PublicKey::from_public_key_pem(pem.trim()).map_err(|_| InvalidAppKey::NoKeyInJson)?;
        if public == *key.0.as_public_key() { Ok(key) } else { Err(InvalidAppKey::OtherPublicKey) }
    }

    /// The key as JSON, as cxnapp and its PHP library read and write it.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        // Encoding only fails for lengths beyond those of DER.
        let private = self.0.to_pkcs1_pem(LineEnding::CRLF).expect("a key of 256 bytes has an encoding");
        let public = self.0.as_public_key().to_public_key_pem(LineEnding::CRLF);
        let public = public.expect("a key of 256 bytes has an encoding");
        let keys = KeysJson {
            privatekey: Zeroizing::new(private.trim_end().to_owned()),
            publickey: Some(public.trim_end().to_owned()),
            partialkey: false,
        };
        // A vector that grows would leave copies behind.
        let mut json = Zeroizing::new(Vec::with_capacity(8192));
        // Only maps with keys that are not text, and writers, fail.
        serde_json::to_writer_pretty(&mut *json, &keys).expect("texts have an encoding");
        json
    }

    /// Reads a key from PEM, as PKCS#1 or PKCS#8, with any line ends.
    ///
    /// # Errors
    /// [`InvalidAppKey`].
    pub fn from_pem(pem: &str) -> Result<Self, InvalidAppKey> {
        let pem = pem.trim();
        let key = PrivateKey::from_pkcs1_pem(pem).or_else(|_| PrivateKey::from_pkcs8_pem(pem));
        let key = key.map_err(|_| InvalidAppKey::NotAKey)?;
        match key.n().bit_width_vartime() as usize {
            MODULUS_BITS => Ok(Self(key)),
            bits => Err(InvalidAppKey::WrongSize { bits }),
        }
    }

    /// The public key, as `SubjectPublicKeyInfo` in DER.
    #[must_use]
    pub fn public_der(&self) -> Vec<u8> {
        // Encoding only fails for lengths beyond those of DER.
        self.0.to_public_key().to_public_key_der().expect("a key of 256 bytes has an encoding").into_vec()
    }

    /// The private key, for signatures.
    #[must_use]
    pub fn private(&self) -> &PrivateKey {
        &self.0
    }

    /// Opens what was sealed for the app by RSAES-OAEP; `None` if it was not.
    ///
    /// That has SHA-256 as hash, SHA-1 in MGF1, and no label.
    /// The operation is blinded, and its time depends on neither the key nor the content.
    pub(super) fn open(&self, sealed: &[u8; MODULUS_BYTES]) -> Option<Zeroizing<Vec<u8>>> {
        let padding = Oaep::<Sha256, Sha1>::new_with_mgf_hash();
        self.0.decrypt_blinded(&mut SysRng, padding, sealed).ok().map(Zeroizing::new)
    }
}

/// Whether `SubjectPublicKeyInfo` in DER is a key that sites seal secrets for.
#[must_use]
pub fn is_app_public_key(der: &[u8]) -> bool {
    PublicKey::from_public_key_der(der).is_ok_and(|key| key.n().bit_width_vartime() as usize == MODULUS_BITS)
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::registration::tests::file;

    /// The key of the recorded file of cxnapp.
    fn recorded() -> &'static str {
        file()["keys_json"].as_str().unwrap()
    }

    #[test]
    fn keys_of_cxnapp_are_read_and_written_as_it_does() {
        let key = AppKey::from_text(recorded()).unwrap();
        let of_app = &file()["apps"]["app:org.example.poll"]["keys"];
        let without_partialkey = AppKey::from_text(&of_app.to_string()).unwrap();
        assert_eq!(key.public_der(), without_partialkey.public_der());
        // PHP writes `\/` where others write `/`.
        let parse = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&key.to_json()), parse(recorded().as_bytes()));
        assert_eq!(format!("{key:?}"), "AppKey(…)");
    }

    #[test]
    fn a_key_is_read_from_pem_with_any_line_ends() {
        let pem = file()["apps"]["app:org.example.poll"]["keys"]["privatekey"].as_str().unwrap();
        for text in [pem.to_owned(), format!("{pem}\r\n"), pem.replace("\r\n", "\n"), format!("\n{pem}\n\n")] {
            assert!(AppKey::from_text(&text).is_ok());
        }
    }

    #[test]
    fn what_is_no_key_of_an_app_is_refused() {
        let keys: Vec<_> = file()["apps"].as_object().unwrap().values().map(|app| app["keys"].clone()).collect();
        let mut other = keys[0].clone();
        other["publickey"] = keys[1]["publickey"].clone();
        let mut broken = keys[0].clone();
        broken["publickey"] = "PEM".into();
        let short = include_str!("../../fixtures/rsa-1024.pem");
        for (text, expected) in [
            ("", InvalidAppKey::NotAKey),
            (keys[0]["publickey"].as_str().unwrap(), InvalidAppKey::NotAKey),
            ("{}", InvalidAppKey::NoKeyInJson),
            ("{\"privatekey\": false}", InvalidAppKey::NoKeyInJson),
            ("{\"privatekey\": \"\", \"partialkey\": \"a:1\"}", InvalidAppKey::NotAKey),
            (&other.to_string(), InvalidAppKey::OtherPublicKey),
            (&broken.to_string(), InvalidAppKey::NoKeyInJson),
            (short, InvalidAppKey::WrongSize { bits: 1024 }),
        ] {
            assert_eq!(AppKey::from_text(text).unwrap_err(), expected);
        }
    }
}
