//! Whether the name servers of this machine answer.
//!
//! The system's resolver does not distinguish a name server that is broken from a domain that is.

use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use resolv_conf::Config;

use super::shortage::shortage;
use crate::model::{Failure, Fault};
use crate::util::text::system_text;

/// The file with the addresses of the name servers.
const FILE: &str = "/etc/resolv.conf";
/// How many name servers the system's resolver asks at most.
const MAX_SERVERS: usize = 3;
/// How long a check may take.
pub(super) const MAX_CHECK: Duration = Duration::from_secs(1);
/// How often each name server is asked, since datagrams get lost.
const ATTEMPTS: u32 = 2;
/// How long a result is used.
const MAX_AGE: Duration = Duration::from_secs(5);
/// A query for the name servers of the root (RFC 1035, 4.1), which every resolver has.
const QUERY: [u8; 17] = [0xc1, 0x41, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
/// The code of an answer (RFC 1035, 4.1.1) of a name server that could not look the name up.
///
/// A server that refuses (5) to answer for the root may still resolve the names of sites.
const SERVFAIL: u8 = 2;

/// The name servers of this machine, with the time and the result of the last check.
#[derive(Debug, Default)]
pub(super) struct NameServers(Mutex<Option<(Instant, Option<Failure>)>>);

impl NameServers {
    /// Why none of the name servers can be used; `None` if one can.
    ///
    /// Asks them within a limit, unless that has just been done. That a lookup has an answer proves nothing, since it may be
    /// from the file of hosts.
    pub(super) fn failure(&self, limit: Duration) -> Option<Failure> {
        let mut checked = self.lock();
        if let Some((at, failure)) = &*checked
            && at.elapsed() < MAX_AGE
        {
            return failure.clone();
        }
        let failure = check_within(limit).err();
        *checked = Some((Instant::now(), failure.clone()));
        failure
    }

    /// Forgets the result of the last check.
    ///
    /// It does not wait for a check that is under way, whose result stays.
    pub(super) fn clear(&self) {
        if let Ok(mut checked) = self.0.try_lock() {
            *checked = None;
        }
    }

    /// Makes name servers that have just been checked, with this result.
    #[cfg(test)]
    pub(super) fn known(failure: Option<Failure>) -> Self {
        Self(Mutex::new(Some((Instant::now(), failure))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Option<Failure>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that one of this machine's name servers can be used, which takes up to a second.
///
/// # Errors
/// Class `local`.
pub fn check() -> Result<(), Failure> {
    check_within(MAX_CHECK)
}

/// Asks each of this machine's name servers, and returns why those cannot be used that cannot.
///
/// Takes up to a second for each of them. Empty if names are looked up over TCP.
#[must_use]
pub fn check_each() -> Vec<Failure> {
    let Ok(config) = read() else { return Vec::new() };
    let servers = if is_over_tcp(&config) { Vec::new() } else { servers(&config) };
    servers.into_iter().filter_map(|server| ask(&[server], MAX_CHECK).err()).collect()
}

/// The addresses of the name servers that this machine asks; empty if they cannot be read.
#[must_use]
pub fn name_servers() -> Vec<String> {
    let servers = read().map(|config| servers(&config)).unwrap_or_default();
    servers.iter().map(|server| server.ip().to_string()).collect()
}

fn read() -> Result<Config, Failure> {
    match fs::read(FILE) {
        Ok(text) => Ok(Config::parse_with_errors(&text).0),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Config::new()),
        Err(error) => Err(shortage(&error).unwrap_or_else(|| unusable(&format!("{FILE}: {}", system_text(&error))))),
    }
}

fn check_within(limit: Duration) -> Result<(), Failure> {
    let config = read()?;
    if is_over_tcp(&config) { Ok(()) } else { ask(&servers(&config), limit) }
}

/// Whether names are looked up over TCP, so that datagrams may be blocked.
fn is_over_tcp(config: &Config) -> bool {
    let more_options = env::var_os("RES_OPTIONS").unwrap_or_default();
    config.use_vc || more_options.to_string_lossy().split_whitespace().any(|option| option == "use-vc")
}

/// The addresses of the name servers that the system's resolver asks.
fn servers(config: &Config) -> Vec<SocketAddr> {
    let mut addresses = config.nameservers.iter().map(ToString::to_string).take(MAX_SERVERS).collect::<Vec<_>>();
    if addresses.is_empty() {
        addresses.push(Ipv4Addr::LOCALHOST.to_string());
    }
    // An address may have a scope, which only this parses.
    addresses.iter().filter_map(|address| (address.as_str(), 53).to_socket_addrs().ok()?.next()).collect()
}

/// Asks all servers, and returns once one of them gives an answer that shows that it can be used.
fn ask(servers: &[SocketAddr], limit: Duration) -> Result<(), Failure> {
    let mut sockets = Vec::new();
    for server in servers {
        match query_socket(*server) {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                if let Some(failure) = shortage(&error) {
                    return Err(failure);
                }
            }
        }
    }
    let began = Instant::now();
    let mut has_failed = false;
    for attempt in 1..=ATTEMPTS {
        for socket in &sockets {
            // What goes wrong shows in the lack of an answer.
            let _ = socket.send(&QUERY);
        }
        let until = limit / ATTEMPTS * attempt;
        for socket in &sockets {
            let Some(code) = answer(socket, until.saturating_sub(began.elapsed())) else { continue };
            if code != SERVFAIL {
                return Ok(());
            }
            has_failed = true;
        }
    }
    let noun = if servers.len() == 1 { "name server" } else { "name servers" };
    let list = servers.iter().map(|server| server.ip().to_string()).collect::<Vec<_>>().join(", ");
    let found = if has_failed { "SERVFAIL" } else { "no answer" };
    Err(unusable(&format!("{found} from {noun} {list} ({FILE})")))
}

fn query_socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if server.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    Ok(socket)
}

/// The code of an answer that arrives within a limit; `None` if there is none.
fn answer(socket: &UdpSocket, limit: Duration) -> Option<u8> {
    socket.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).ok()?;
    let mut message = [0; 512];
    let length = socket.recv(&mut message).ok()?;
    let header = message[..length].first_chunk::<12>()?;
    (header[..2] == QUERY[..2] && header[2] & 0x80 != 0).then_some(header[3] & 0x0f)
}

fn unusable(reason: &str) -> Failure {
    Failure::local(Fault::NameServers, format!("names cannot be resolved: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const LIMIT: Duration = Duration::from_millis(60);

    /// Starts a name server that answers each query with a code, or not at all.
    fn server(code: Option<u8>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                if let Some(code) = code {
                    (query[2], query[3]) = (0x81, 0x80 | code);
                    let _ = socket.send_to(&query[..length], client);
                }
            }
        });
        address
    }

    fn closed() -> SocketAddr {
        UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn one_answer_shows_that_names_can_be_resolved() {
        // No error, a format error, no such name, refused.
        for code in [0, 1, 3, 5] {
            assert_eq!(ask(&[server(Some(code))], LIMIT), Ok(()));
        }
        assert_eq!(ask(&[server(None), closed(), server(Some(2)), server(Some(0))], LIMIT), Ok(()));
    }

    #[test]
    fn name_servers_without_a_useful_answer_are_a_local_failure_in_time() {
        for (servers, expected) in [
            (vec![closed()], "no answer from name server 127.0.0.1 (/etc/resolv.conf)"),
            (vec![server(None), closed()], "no answer from name servers 127.0.0.1, 127.0.0.1 (/etc/resolv.conf)"),
            (vec![server(Some(2))], "SERVFAIL from name server 127.0.0.1 (/etc/resolv.conf)"),
        ] {
            let began = Instant::now();
            let failure = ask(&servers, LIMIT).unwrap_err();
            assert_eq!(failure.to_string(), format!("local: names cannot be resolved: {expected}"));
            assert!(began.elapsed() < 10 * LIMIT, "{:?}", began.elapsed());
        }
    }

    #[test]
    fn name_servers_are_those_that_the_system_asks() {
        let addresses = |text: &str| {
            let servers = servers(&Config::parse_with_errors(text.as_bytes()).0);
            servers.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(addresses("# none\nsearch example.org\n"), ["127.0.0.1:53"]);
        let text =
            "nonsense\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        assert_eq!(addresses(text), ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
        assert_eq!(addresses("nameserver fe80::1%1\n"), ["[fe80::1%1]:53"]);
    }

    #[test]
    fn a_result_is_used_until_it_is_cleared() {
        let failure = Failure::local(Fault::NameServers, "x");
        let servers = NameServers::known(Some(failure.clone()));
        assert_eq!(servers.failure(LIMIT), Some(failure));
        let checking = servers.lock();
        servers.clear();
        assert!(checking.is_some());
        drop(checking);
        servers.clear();
        assert_eq!(*servers.lock(), None);
    }
}
