//! The file of recent requests: of which address and which site, as hashes.
//!
//! `registration/rates` in the store has a fixed size, and is a table of sets. A subject has its place in one set, and there it
//! replaces the one that was admitted the longest ago. Nothing is synced: a file that is missing or damaged is made anew, with
//! another key.

use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use url::Url;

use super::error::{Error, Result};
use super::rate::Limit;
use crate::model::{CxnId, Secret, SiteUrl, UnixTime, host};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::private_file;
use crate::util::lock::{Backoff, FileLock, Mode};

/// The file in the store's directory of registrations.
const FILE: &str = "rates";
/// The start of the file: its format. The key follows.
const MAGIC: [u8; 8] = *b"cxnrate1";
/// The bytes of the key.
const KEY_BYTES: usize = 32;
/// The bytes of an entry: a hash, and the time that is kept of it.
const ENTRY_BYTES: usize = 16;
/// The bytes of a set of eight entries. The header takes as much.
const SET_BYTES: usize = 8 * ENTRY_BYTES;
/// The bytes of the file.
const FILE_BYTES: u64 = 1 << 20;
/// How many sets follow the header.
const SETS: u64 = FILE_BYTES / SET_BYTES as u64 - 1;
/// How long another process may hold the file, which it does for microseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// What a limit counts the requests of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// An address of IPv4, or a network of 64 bits of IPv6.
    Address(String),
    /// A connection: a hash of its id and its secret.
    Connection(String),
    /// A site: scheme, host, port and path of its URL.
    Site(String),
}

impl Subject {
    /// The address that a request came from; `None` if it is of this machine, or no address.
    ///
    /// A proxy of this machine would share one limit among all sites.
    pub(super) fn address(remote: &str) -> Option<Self> {
        match remote.parse::<IpAddr>().ok()?.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Self::Address(address.to_string())),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Some(Self::Address(format!("{a:x}:{b:x}:{c:x}:{d:x}")))
            }
        }
    }

    /// A connection. A stranger cannot name it, since that takes its secret.
    pub(super) fn connection(cxn_id: &CxnId, secret: &Secret) -> Self {
        Self::Connection(hex::encode(
            Sha256::new().chain_update(secret.as_bytes()).chain_update(cxn_id.as_str()).finalize(),
        ))
    }

    /// The site of a URL, whatever its user, query and fragment are.
    pub(super) fn site(site_url: &SiteUrl) -> Self {
        let shown = site_url.to_string();
        let rest = Url::parse(&shown)
            .map(|url| format!("{}:{}{}", url.scheme(), url.port_or_known_default().unwrap_or_default(), url.path()));
        Self::Site(format!("{} {}", host(&shown, None), rest.unwrap_or_default()))
    }

    /// Its set, and its hash in the set, which is never 0.
    fn place(&self, key: &[u8; KEY_BYTES]) -> (u64, u64) {
        let (kind, text) = match self {
            Self::Address(text) => (b'a', text.as_str()),
            Self::Connection(text) => (b'c', text.as_str()),
            Self::Site(text) => (b's', text.as_str()),
        };
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(&[kind]);
        mac.update(text.as_bytes());
        let hash: [u8; 32] = mac.finalize().into_bytes().into();
        (number(&hash) % SETS, number(&hash[8..]).max(1))
    }
}

/// The first eight bytes as a number. There must be as many.
fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Counts a request, and returns in how many seconds it is admitted; `None` if it is admitted now.
///
/// # Errors
/// The file cannot be made, read or written.
pub(super) fn wait_s(dir: &Path, subject: &Subject, limit: Limit, now: UnixTime) -> Result<Option<u64>> {
    let path = dir.join(FILE);
    let at = |op| FileError::at(op, &path);
    let file = private_file(&path).map_err(at(FileOp::Open))?;
    let mut lock = FileLock::new(file.try_clone().map_err(at(FileOp::Open))?);
    if !lock.acquire(Mode::Exclusive, &mut Backoff::new(LOCK_TIMEOUT)).map_err(at(FileOp::Lock))? {
        // The process that holds it is stopped, which is no reason to refuse a site.
        return Ok(None);
    }
    let key = match read_key(&file).map_err(at(FileOp::Read))? {
        Some(key) => key,
        None => make(&file, &at(FileOp::Write))?,
    };
    let (set, hash) = subject.place(&key);
    let offset = (1 + set) * SET_BYTES as u64;
    let mut entries = [0; SET_BYTES];
    file.read_exact_at(&mut entries, offset).map_err(at(FileOp::Read))?;
    let now_ms = u64::try_from(now).unwrap_or(0).saturating_mul(1000);
    let (entry, kept) = find(&entries, hash);
    match limit.admit(kept, now_ms) {
        Ok(next) => {
            let bytes = [hash.to_le_bytes(), next.to_le_bytes()].concat();
            file.write_all_at(&bytes, offset + (entry * ENTRY_BYTES) as u64).map_err(at(FileOp::Write))?;
            Ok(None)
        }
        Err(wait_ms) => Ok(Some(wait_ms.div_ceil(1000))),
    }
}

/// The key of a file; `None` if the file is not whole.
fn read_key(file: &File) -> std::io::Result<Option<[u8; KEY_BYTES]>> {
    let mut header = [0; MAGIC.len() + KEY_BYTES];
    if file.metadata()?.len() != FILE_BYTES {
        return Ok(None);
    }
    file.read_exact_at(&mut header, 0)?;
    Ok(header.strip_prefix(&MAGIC).and_then(|key| key.try_into().ok()))
}

/// Makes the file anew, with a random key.
fn make(file: &File, at: &impl Fn(std::io::Error) -> FileError) -> Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(Error::Random)?;
    let header = [&MAGIC[..], &key].concat();
    let written = file.set_len(0).and_then(|()| file.set_len(FILE_BYTES)).and_then(|()| file.write_all_at(&header, 0));
    written.map_err(at)?;
    Ok(key)
}

/// The entry of a hash in a set, and its time; without one, the entry to replace, and 0.
fn find(entries: &[u8; SET_BYTES], hash: u64) -> (usize, u64) {
    let times = entries.chunks(ENTRY_BYTES).map(|entry| (number(entry), number(&entry[8..])));
    if let Some((at, (_, time))) = times.clone().enumerate().find(|(_, (other, _))| *other == hash) {
        return (at, time);
    }
    let oldest = times.enumerate().min_by_key(|(_, (_, time))| *time);
    (oldest.map_or(0, |(at, _)| at), 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: UnixTime = 1_767_225_600;

    fn address(remote: &str) -> Subject {
        Subject::address(remote).unwrap()
    }

    fn wait(dir: &Path, subject: &Subject, now: UnixTime) -> Option<u64> {
        wait_s(dir, subject, Limit::per_minute(2).unwrap(), now).unwrap()
    }

    #[test]
    fn each_subject_has_its_own_limit_which_survives_processes() {
        let dir = tempfile::tempdir().unwrap();
        let subjects = [address("192.0.2.1"), address("192.0.2.2"), Subject::Site("192.0.2.1".to_owned())];
        for subject in &subjects {
            let waits = [0, 0, 0, 29, 30].map(|after| wait(dir.path(), subject, NOW + after));
            assert_eq!(waits, [None, None, Some(30), Some(1), None], "{subject:?}");
        }
        let file = fs::metadata(dir.path().join("rates")).unwrap();
        assert_eq!((file.len(), file.permissions().mode() & 0o777), (1 << 20, 0o600));
    }

    #[test]
    fn a_damaged_file_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rates");
        let subject = address("192.0.2.1");
        let use_up = || [(); 3].map(|()| wait(dir.path(), &subject, NOW))[2];
        for content in [vec![], b"cxnrate1".to_vec(), vec![0xff; 1 << 20], vec![b'x'; (1 << 20) + 1]] {
            assert_eq!(use_up(), Some(30));
            fs::write(&file, &content).unwrap();
            assert_eq!(wait(dir.path(), &subject, NOW), None);
            assert_eq!(fs::metadata(&file).unwrap().len(), 1 << 20);
        }
        // Entries that hold anything are of another clock.
        let key = fs::read(&file).unwrap()[..SET_BYTES].to_vec();
        fs::write(&file, [key, vec![0xff; (1 << 20) - SET_BYTES]].concat()).unwrap();
        assert_eq!(use_up(), Some(30));
    }

    #[test]
    fn the_file_cannot_be_read_back_into_addresses() {
        let [one, two] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for dir in [&one, &two] {
            wait(dir.path(), &address("192.0.2.1"), NOW);
        }
        let entries = |dir: &tempfile::TempDir| {
            let bytes = fs::read(dir.path().join("rates")).unwrap();
            bytes[SET_BYTES..]
                .chunks(ENTRY_BYTES)
                .filter(|entry| number(entry) > 0)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        };
        assert_eq!((entries(&one).len(), entries(&two).len()), (1, 1));
        assert_ne!(entries(&one)[0][..8], entries(&two)[0][..8]);
    }

    #[test]
    fn a_full_set_replaces_what_was_admitted_the_longest_ago() {
        let mut entries = [0; SET_BYTES];
        for at in 0..8_u8 {
            let entry = &mut entries[usize::from(at) * ENTRY_BYTES..][..ENTRY_BYTES];
            entry[0] = at + 1;
            entry[8] = if at == 5 { 1 } else { 100 };
        }
        assert_eq!(find(&entries, 3), (2, 100));
        assert_eq!(find(&entries, 99), (5, 0));
    }

    #[test]
    fn no_request_is_lost_or_counted_twice_by_many_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let limit = Limit::per_hour(25).unwrap();
        let admit = || wait_s(dir.path(), &address("192.0.2.1"), limit, NOW).unwrap().is_none();
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..10).filter(|_| admit()).count())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 25);
    }

    #[test]
    fn a_file_that_cannot_be_made_is_a_fault_of_this_side() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("rates")).unwrap();
        let limit = Limit::per_minute(1).unwrap();
        assert!(matches!(wait_s(dir.path(), &address("192.0.2.1"), limit, NOW), Err(Error::RateFile(_))));
    }

    #[test]
    fn ipv6_is_limited_by_network_and_this_machine_is_not() {
        assert_eq!(address("2001:db8:1:2:3::4"), address("2001:db8:1:2:ffff::"));
        assert_ne!(address("2001:db8:1:2::"), address("2001:db8:1:3::"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        for remote in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "", "unix:", "no address"] {
            assert_eq!(Subject::address(remote), None, "{remote}");
        }
    }

    #[test]
    fn a_site_is_its_url_without_user_query_and_fragment() {
        let site = |url: &str| Subject::site(&url.into());
        let same = site("https://site.example.org/civicrm/cxn/api");
        for url in [
            "https://jo:sesame@site.example.org/civicrm/cxn/api",
            "HTTPS://Site.Example.ORG.:443/civicrm/cxn/api?a=b&c=1#d",
            "https://site.example.org/x/../civicrm/cxn/api",
        ] {
            assert_eq!(site(url), same, "{url}");
        }
        for url in [
            "http://site.example.org/civicrm/cxn/api",
            "https://site.example.org:8443/civicrm/cxn/api",
            "https://site.example.org/civicrm/cxn/api/",
            "https://other.example.org/civicrm/cxn/api",
        ] {
            assert_ne!(site(url), same, "{url}");
        }
    }
}
