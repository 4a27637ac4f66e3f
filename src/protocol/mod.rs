//! The CiviConnect protocol, CXN-0.2: messages as functions of bytes, keys and a clock that is handed in.
//!
//! A message is `CXN-0.2-AES-CBC-HMAC D cxnId D hmac D envelope D ciphertext`, where `D` is the byte 0x01. The rules
//! were taken from the PHP library that sites run (civicrm-cxn-rpc); its known answers are in `fixtures/vectors.json`.

mod call;
mod json;
mod message;

pub(crate) use call::scrubbed;
pub use call::{api_failure, request};
pub use message::{ProtocolError, TTL, decode, encode, may_be_message};

/// The media type of a message.
pub const CONTENT_TYPE: &str = "application/x-civi-cxn";
