//! The CiviConnect protocol, CXN-0.2: messages as pure functions.
//!
//! The current time is passed in. A message is `CXN-0.2-AES-CBC-HMAC D cxnId D hmac D envelope D ciphertext`, where `D`
//! is the byte 0x01. The rules were taken from the PHP library that sites run (civicrm-cxn-rpc). Its known answers are
//! in `fixtures/vectors.json`.

mod app_certificate;
mod app_key;
mod call;
mod insecure;
pub(crate) mod json;
mod link;
mod message;
pub mod registration;

pub use app_certificate::{certificate_request, self_signed};
pub use app_key::{AppKey, InvalidAppKey, is_app_public_key};
pub use call::{api_failure, request};
pub(crate) use call::{before_secret, redact, redact_text};
pub use insecure::{insecure, insecure_error};
pub use link::{check_token, is_page, token};
pub use message::{CONTENT_TYPE, ProtocolError, TTL_S, check, decode, encode, may_be_message, message_start};
