//! A request as a file.
//!
//! By it, the process that has the session gets the request from the one that waits for the answer.
//!
//! ```text
//! 1 byte     the answer; 0 until it is there
//! 4 bytes    the CRC-32 of the rest, little-endian
//! the rest   the request, in bincode's standard configuration
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::model::{Secret, UnixTime};
use crate::protocol::json;
use crate::store::error::{Error, Item, Result};
use crate::store::ops::{CxnPatch, FieldPatch, Registered, Registration, RegistrationChange, RegistrationOutcome};
use crate::util::file_error::{FileError, FileOp};

/// The version of the format. A process leaves requests of other versions to their owners.
const VERSION: u8 = 1;
/// The largest file, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// How many requests are applied in one session at most.
const MAX_GROUP: usize = 256;
/// How many bytes they have together at most, and one more request.
const MAX_GROUP_BYTES: usize = 8 << 20;
/// The suffix of a request, and that of one which is not complete.
const SUFFIX: &str = "request";
const STAGING_SUFFIX: &str = "new";

#[derive(Encode, Decode)]
struct Wire {
    version: u8,
    number: u64,
    now: UnixTime,
    hmac: [u8; 32],
    ttl: UnixTime,
    origin: String,
    cxn_id: String,
    secret: [u8; 32],
    app_id: String,
    register: Option<WireDetails>,
}

#[derive(Encode, Decode)]
struct WireDetails {
    app_url: String,
    site_url: String,
    perm: Option<String>,
    via_port: Option<String>,
    hold: bool,
    per_host: Option<u32>,
}

/// The request of this process. The kernel holds its lock until this is dropped, or the process ends.
pub struct OwnRequest {
    file: File,
    path: PathBuf,
    /// Its number, which is its name too.
    pub number: u64,
}

/// A request of another process, which no process applies any more but this one.
pub struct Claimed {
    file: File,
    /// Its number.
    pub number: u64,
    /// When its owner received it.
    pub now: UnixTime,
    /// What it asks for.
    pub registration: Registration,
}

impl OwnRequest {
    /// Writes a request, locks it, and gives it its name.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::RecordTooLarge`].
    pub fn publish(dir: &Path, registration: &Registration, now: UnixTime) -> Result<Self> {
        loop {
            let number = getrandom::u64().map_err(Error::Random)?;
            let path = dir.join(format!("{number:016x}.{SUFFIX}"));
            let staging = path.with_extension(STAGING_SUFFIX);
            let bytes = encode(registration, number, now);
            if bytes.len() > MAX_BYTES {
                return Err(Error::RecordTooLarge(Item::Perm));
            }
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&staging);
            let file = file.map_err(FileError::at(FileOp::Create, &staging))?;
            // Until it is locked, another process takes it for one of a dead process, and removes it.
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => continue,
                Err(fs::TryLockError::Error(error)) => return Err(FileError::at(FileOp::Lock, &staging)(error).into()),
            }
            let own = Self { file, path, number };
            own.file.write_all_at(&bytes, 0).map_err(FileError::at(FileOp::Write, &staging)).inspect_err(|_| {
                let _ = fs::remove_file(&staging);
            })?;
            match fs::rename(&staging, &own.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => {
                    renamed.map_err(FileError::at(FileOp::Move, &staging))?;
                    return Ok(own);
                }
            }
        }
    }

    /// The answer; `None` if there is none yet.
    pub fn answer(&self) -> Option<Registered> {
        let mut code = [0];
        self.file.read_exact_at(&mut code, 0).ok()?;
        registered(code[0])
    }

    /// Takes the request back. `false` means that another process has claimed it: that one applies it, or did, or was killed.
    pub fn withdraw(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

impl Drop for OwnRequest {
    fn drop(&mut self) {
        let _ = self.withdraw();
    }
}

impl Claimed {
    /// Gives the owner its answer.
    pub fn answer(&self, answer: Registered) {
        // An owner without an answer finds out itself, once it gets the session.
        let _ = self.file.write_all_at(&[code(answer)], 0);
    }
}

/// Claims the requests whose owners live and wait, and removes those of dead processes.
///
/// Only for the process that has the session. What cannot be read is left to its owner.
pub fn claim_all(dir: &Path, own: &OwnRequest) -> Vec<Claimed> {
    let (mut claimed, mut bytes) = (Vec::new(), 0);
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_request = path.extension().is_some_and(|suffix| suffix == SUFFIX);
        let is_ours = is_request || path.extension().is_some_and(|suffix| suffix == STAGING_SUFFIX);
        if !is_ours || path == own.path {
            continue;
        }
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
        match file.try_lock() {
            Ok(()) => _ = fs::remove_file(&path),
            Err(fs::TryLockError::WouldBlock) if is_request => {
                if claimed.len() == MAX_GROUP || bytes >= MAX_GROUP_BYTES {
                    continue;
                }
                if let Some((request, length)) = read(file)
                    // This is what a process that stops to wait does too, and only one of them can.
                    && fs::remove_file(&path).is_ok()
                {
                    claimed.push(request);
                    bytes += length;
                }
            }
            Err(_) => {}
        }
    }
    claimed
}

/// Reads a request, and returns its size too; `None` if it cannot be read, or is answered.
pub(super) fn read(mut file: File) -> Option<(Claimed, usize)> {
    let mut bytes = Zeroizing::new(Vec::new());
    (&mut file).take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
    let Wire { version, number, now, hmac, ttl, origin, cxn_id, secret, app_id, register } = decode(&bytes)?;
    if version != VERSION || bytes[0] != 0 {
        return None;
    }
    let (cxn_id, secret, app_id) = (cxn_id.parse().ok()?, Secret::from_bytes(secret), app_id.parse().ok()?);
    let change = match register {
        None => RegistrationChange::Unregister { cxn_id, secret, app_id },
        Some(WireDetails { app_url, site_url, perm, via_port, hold, per_host }) => {
            let patch = CxnPatch {
                cxn_id,
                secret,
                app_id,
                app_url,
                site_url: site_url.into(),
                perm: patch(perm, |text| json::read_kept(text.as_bytes()).ok())?,
                via_port: patch(via_port, |text| text.parse().ok())?,
                batch_code: None,
                disabled: FieldPatch::Keep,
                poll_status: Vec::new(),
            };
            RegistrationChange::Register { patch: Box::new(patch), hold, per_host }
        }
    };
    let length = bytes.len();
    Some((Claimed { file, number, now, registration: Registration { change, hmac, ttl, origin } }, length))
}

fn patch<T>(text: Option<String>, parse: impl FnOnce(&str) -> Option<T>) -> Option<FieldPatch<T>> {
    match text {
        None => Some(FieldPatch::Clear),
        Some(text) => parse(&text).map(FieldPatch::Set),
    }
}

fn encode(registration: &Registration, number: u64, now: UnixTime) -> Zeroizing<Vec<u8>> {
    let Registration { change, hmac, ttl, origin } = registration;
    let (cxn_id, secret, app_id, register) = match change {
        RegistrationChange::Unregister { cxn_id, secret, app_id } => (cxn_id, secret, app_id, None),
        RegistrationChange::Register { patch, hold, per_host } => {
            let details = WireDetails {
                app_url: patch.app_url.clone(),
                site_url: patch.site_url.with_credentials().to_owned(),
                perm: patch.perm.clone().applied_to(None).map(|perm: Value| perm.to_string()),
                via_port: patch.via_port.clone().applied_to(None).map(|via_port| via_port.to_string()),
                hold: *hold,
                per_host: *per_host,
            };
            (&patch.cxn_id, &patch.secret, &patch.app_id, Some(details))
        }
    };
    let wire = Wire {
        version: VERSION,
        number,
        now,
        hmac: *hmac,
        ttl: *ttl,
        origin: origin.clone(),
        cxn_id: cxn_id.as_str().to_owned(),
        secret: *secret.as_bytes(),
        app_id: app_id.as_str().to_owned(),
        register,
    };
    let mut bytes = Zeroizing::new(vec![0; 5]);
    // Encoding fails only if the writer does, and a vector never does.
    bincode::encode_into_std_write(wire, &mut *bytes, bincode::config::standard()).expect("a vector can be written to");
    let sum = crc32fast::hash(&bytes[5..]).to_le_bytes();
    bytes[1..5].copy_from_slice(&sum);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Wire> {
    let (head, body) = bytes.split_first_chunk::<5>()?;
    if bytes.len() > MAX_BYTES || head[1..] != crc32fast::hash(body).to_le_bytes() {
        return None;
    }
    let config = bincode::config::standard().with_limit::<{ 16 * MAX_BYTES }>();
    bincode::decode_from_slice(body, config).ok().filter(|(_, read)| *read == body.len()).map(|(wire, _)| wire)
}

/// The byte of an answer; 0 is none.
fn code(answer: Registered) -> u8 {
    match answer {
        Registered { outcome: RegistrationOutcome::Done, is_removed: false } => 1,
        Registered { outcome: RegistrationOutcome::Done, is_removed: true } => 2,
        Registered { outcome: RegistrationOutcome::Repeated, .. } => 3,
        Registered { outcome: RegistrationOutcome::OtherSecret, .. } => 4,
        Registered { outcome: RegistrationOutcome::OtherApp, .. } => 5,
        Registered { outcome: RegistrationOutcome::HostFull, .. } => 6,
    }
}

fn registered(code: u8) -> Option<Registered> {
    let outcome = match code {
        1 | 2 => RegistrationOutcome::Done,
        3 => RegistrationOutcome::Repeated,
        4 => RegistrationOutcome::OtherSecret,
        5 => RegistrationOutcome::OtherApp,
        6 => RegistrationOutcome::HostFull,
        _ => return None,
    };
    Some(Registered { outcome, is_removed: code == 2 })
}
