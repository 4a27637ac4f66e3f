//! Registrations: how a site connects to an app, as pure functions.
//!
//! A request is `CXN-0.2-RSA D appId D sealed secret D hmac D envelope D ciphertext`, where `D` is the byte 0x01. The app's
//! key opens the sealed one-time secret, which authenticates and encrypts the rest. The rules were taken from the PHP library
//! that sites run (civicrm-cxn-rpc) and from cxnapp. Their known answers are in `fixtures/registration-vectors.json`.

mod details;
mod open;
mod request;

use serde_json::{Value, json};

pub use details::MAX_PERM_DEPTH;
pub use details::{Sender, SiteDetails};
pub use open::{Opened, Rejection, open};
pub use request::{Action, Invalid, Request};

use super::message::{TTL_S, encode};
use crate::model::UnixTime;

/// The longest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 1 << 20;

/// The reply that something was done: a message to the sender, with the `values` of the reply.
///
/// `iv` must be fresh random bytes for each message.
#[must_use]
pub fn success(to: &Sender, values: &Value, now: UnixTime, iv: &[u8; 32]) -> Vec<u8> {
    reply(to, &json!({"is_error": 0, "values": values}), now, iv)
}

/// The reply that something was refused: a message to the sender, with the reason.
///
/// `iv` must be fresh random bytes for each message.
#[must_use]
pub fn refusal(to: &Sender, error_message: &str, now: UnixTime, iv: &[u8; 32]) -> Vec<u8> {
    reply(to, &json!({"is_error": 1, "error_message": error_message}), now, iv)
}

fn reply(to: &Sender, value: &Value, now: UnixTime, iv: &[u8; 32]) -> Vec<u8> {
    encode(&to.cxn_id, &to.secret, value.to_string().as_bytes(), now.saturating_add(TTL_S), iv)
}

#[cfg(test)]
pub(super) mod tests;
