//! Posts messages to a URL, signed as Standard Webhooks define it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::error::DeliveryError;
use crate::model::{Cause, Failure, FailureClass};
use crate::site::Client;
use crate::util::file_error::{FileError, FileOp};
use crate::util::time::unix_now;

/// The pauses before a run tries again. Later runs do the rest.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
/// How often a wait looks whether the process is to end.
const STOP_INTERVAL: Duration = Duration::from_millis(20);
/// What comes before a key in base64.
const BASE64_KEY: &str = "whsec_";
/// A longer file holds no key, in bytes.
const MAX_KEY_BYTES: u64 = 4096;

/// Reads the key that messages are signed with.
///
/// It is the text of a file, or what is behind `whsec_`, decoded from base64.
///
/// # Errors
/// The file cannot be read, has no key, or may be read by all users.
pub fn read_key(path: &Path) -> Result<Vec<u8>, DeliveryError> {
    let failed = |op| move |source| DeliveryError::File(FileError::at(op, path)(source));
    let file = File::open(path).map_err(failed(FileOp::Open))?;
    if file.metadata().map_err(failed(FileOp::Inspect))?.permissions().mode() & 0o007 != 0 {
        return Err(DeliveryError::ExposedKey(path.to_owned()));
    }
    let mut text = String::new();
    file.take(MAX_KEY_BYTES).read_to_string(&mut text).map_err(failed(FileOp::Read))?;
    let text = text.trim();
    let key = match text.strip_prefix(BASE64_KEY) {
        Some(encoded) => BASE64_STANDARD.decode(encoded).unwrap_or_default(),
        None => text.as_bytes().to_vec(),
    };
    if key.is_empty() { Err(DeliveryError::NoKey(path.to_owned())) } else { Ok(key) }
}

/// The headers of a message that is sent at a time; without a key, it is not signed.
fn headers(key: Option<&[u8]>, id: &str, at: i64, body: &[u8]) -> Vec<(&'static str, String)> {
    let mut headers = vec![("webhook-id", id.to_owned()), ("webhook-timestamp", at.to_string())];
    // HMAC takes keys of any length.
    if let Some(mut mac) = key.and_then(|key| Hmac::<Sha256>::new_from_slice(key).ok()) {
        mac.update(format!("{id}.{at}.").as_bytes());
        mac.update(body);
        headers.push(("webhook-signature", format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))));
    }
    headers
}

/// Posts a message, a few times where the receiver did not accept it.
///
/// It may have processed a message whose reply was lost. The id shows the repetition.
pub(super) fn post(
    client: Client,
    url: String,
    key: Option<&[u8]>,
    id: &str,
    body: Vec<u8>,
    stop: &AtomicBool,
) -> Result<(), DeliveryError> {
    let (key, id) = (key.map(<[u8]>::to_vec), id.to_owned());
    let (done, outcome) = channel();
    // A call cannot be interrupted, so it has a thread that the process need not wait for.
    let work = move || {
        let send = || client.post_json(&url, &headers(key.as_deref(), &id, unix_now(), &body), &body);
        let mut sent = send();
        for pause in RETRY_PAUSES {
            if !sent.as_ref().is_err_and(may_be_repeated) {
                break;
            }
            thread::sleep(pause);
            sent = send();
        }
        let _ = done.send(sent);
    };
    thread::Builder::new().spawn(work).map_err(DeliveryError::NoThread)?;
    loop {
        match outcome.recv_timeout(STOP_INTERVAL) {
            Ok(sent) => return sent.map_err(DeliveryError::Webhook),
            Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::Relaxed) => {}
            Err(_) => return Err(DeliveryError::Stopped),
        }
    }
}

/// Whether a failure may pass soon. A timeout is left to the next run, as a run never waits long.
fn may_be_repeated(failure: &Failure) -> bool {
    let is_passing = |status| matches!(status, 408 | 429 | 500..);
    match failure.class {
        FailureClass::Connect | FailureClass::Dns | FailureClass::Disconnected => true,
        _ => matches!(failure.cause, Cause::Status(status, _) if is_passing(status)),
    }
}
