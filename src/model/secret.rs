//! The key that a site and an app share.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// The 32 bytes that authenticate and encipher a connection. Never printed: `Debug` shows nothing of it, and it
/// leaves the program through [`Secret::to_base64`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

/// Text that is not the base64 of 32 bytes. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("secret is not the base64 of 32 bytes")]
pub struct InvalidSecret;

impl Secret {
    /// PHP's `base64_decode` takes secrets whose `=` is missing, so do we; it also skips over junk, which we don't.
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );

    /// Reads the base64 form.
    ///
    /// # Errors
    /// Where the text is not base64, or not of 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, InvalidSecret> {
        let bytes = Zeroizing::new(Self::BASE64.decode(text).map_err(|_| InvalidSecret)?);
        Ok(Self::from_bytes(bytes.as_slice().try_into().map_err(|_| InvalidSecret)?))
    }

    /// Takes the raw bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The base64 form, for exports.
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
    fn reads_what_it_prints_and_debug_prints_nothing() {
        let secret = Secret::from_bytes([7; 32]);
        assert_eq!(Secret::from_base64(&secret.to_base64()), Ok(secret.clone()));
        assert_eq!(Secret::from_base64(secret.to_base64().trim_end_matches('=')), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn refuses_junk() {
        let good = Secret::from_bytes([7; 32]).to_base64();
        for bad in [String::new(), "AAAA".into(), format!("{good} "), format!("-{}", &good[1..]), good.repeat(2)] {
            assert_eq!(Secret::from_base64(&bad), Err(InvalidSecret));
        }
    }
}
