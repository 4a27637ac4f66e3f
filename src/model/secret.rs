//! The key that an app and a site share.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The 32 bytes that authenticate and encrypt the messages of a connection.
///
/// It is never printed: `Debug` shows nothing of it, and only [`Secret::to_base64`] and [`Secret::as_bytes`] return it. Two
/// of them are compared in constant time.
#[derive(Clone, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

/// Text that is not the base64 of 32 bytes. The error holds no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("secret is not the base64 of 32 bytes")]
pub struct InvalidSecret;

impl Secret {
    /// Accepts a missing `=`, as PHP's `base64_decode` does. Unlike PHP it does not skip other characters.
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );

    /// Decodes base64.
    ///
    /// # Errors
    /// [`InvalidSecret`] where the text is not base64, or not of 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, InvalidSecret> {
        let bytes = Zeroizing::new(Self::BASE64.decode(text).map_err(|_| InvalidSecret)?);
        Ok(Self::from_bytes(bytes.as_slice().try_into().map_err(|_| InvalidSecret)?))
    }

    /// Makes a secret of raw bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret in base64, for exports.
    #[must_use]
    pub fn to_base64(&self) -> String {
        Self::BASE64.encode(*self.0)
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_back_and_debug_shows_nothing() {
        let secret = Secret::from_bytes([7; 32]);
        assert_eq!(Secret::from_base64(&secret.to_base64()), Ok(secret.clone()));
        assert_eq!(Secret::from_base64(secret.to_base64().trim_end_matches('=')), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn secrets_differ_in_any_bit() {
        let secret = Secret::from_bytes([7; 32]);
        assert_eq!(secret, secret.clone());
        for bit in 0..256 {
            let mut other = [7; 32];
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(secret, Secret::from_bytes(other), "{bit}");
        }
    }

    #[test]
    fn text_that_is_not_the_base64_of_32_bytes_is_refused() {
        let good = Secret::from_bytes([7; 32]).to_base64();
        for bad in [String::new(), "AAAA".into(), format!("{good} "), format!("-{}", &good[1..]), good.repeat(2)] {
            assert_eq!(Secret::from_base64(&bad), Err(InvalidSecret));
        }
    }
}
