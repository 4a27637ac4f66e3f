//! A name server that can fail in every way.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::namespace::NAME_SERVER;

/// How often the thread looks whether it is to end.
const WAIT: Duration = Duration::from_millis(20);
/// Type and class of a question for an IPv4 address, and of one for an IPv6 address.
const A: [u8; 4] = [0, 1, 0, 1];
const AAAA: [u8; 4] = [0, 28, 0, 1];

/// What the name server answers about a name.
pub enum Answer {
    /// This address, and none of the other family.
    Address(IpAddr),
    /// These addresses, those of each family in this order.
    Addresses(Vec<IpAddr>),
    /// NXDOMAIN.
    Unknown,
    /// SERVFAIL.
    Failure,
    /// Nothing.
    Silence,
}

/// Returns the name of a site.
pub fn name(number: u32) -> String {
    format!("www.site{number}.example")
}

/// Returns the number of the site with a name; `None` if no site has it.
pub fn number(name: &str) -> Option<u32> {
    name.strip_prefix("www.site")?.strip_suffix(".example")?.parse().ok()
}

type Answers = Box<dyn Fn(&str) -> Answer + Send>;

/// A name server on the address that `/etc/resolv.conf` names.
pub struct NameServer {
    answers: Arc<Mutex<Answers>>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts a name server.
    pub fn start(answers: impl Fn(&str) -> Answer + Send + 'static) -> Self {
        let mut server =
            Self { answers: Arc::new(Mutex::new(Box::new(answers))), is_stopped: Arc::default(), thread: None };
        server.resume();
        server
    }

    /// Replaces what the server answers.
    pub fn answer(&self, answers: impl Fn(&str) -> Answer + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(answers);
    }

    /// Closes the port.
    pub fn stop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }

    /// Listens again, if it does not.
    pub fn resume(&mut self) {
        if self.thread.is_some() {
            return;
        }
        self.is_stopped.store(false, Ordering::Relaxed);
        let socket = UdpSocket::bind((NAME_SERVER, 53)).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        let (answers, is_stopped) = (Arc::clone(&self.answers), Arc::clone(&self.is_stopped));
        self.thread = Some(thread::spawn(move || {
            let mut question = [0; 512];
            while !is_stopped.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut question) else { continue };
                if let Some(reply) = reply(&question[..length], &**answers.lock().unwrap()) {
                    let _ = socket.send_to(&reply, client);
                }
            }
        }));
    }
}

/// Returns the reply to a question (RFC 1035, section 4.1); `None` for silence.
fn reply(message: &[u8], answers: &dyn Fn(&str) -> Answer) -> Option<Vec<u8>> {
    let (mut name, mut at) = (String::new(), 12);
    while message[at] > 0 {
        let end = at + 1 + usize::from(message[at]);
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(str::from_utf8(&message[at + 1..end]).unwrap());
        at = end;
    }
    let question = &message[12..at + 5];
    let kind = &message[at + 1..at + 5];
    let (code, addresses) = match answers(&name) {
        Answer::Address(ip) => (0, vec![ip]),
        Answer::Addresses(addresses) => (0, addresses),
        Answer::Unknown => (3, vec![]),
        Answer::Failure => (2, vec![]),
        Answer::Silence => return None,
    };
    let records = addresses.into_iter().filter_map(|address| match address {
        IpAddr::V4(ip) if kind == A => Some(ip.octets().to_vec()),
        IpAddr::V6(ip) if kind == AAAA => Some(ip.octets().to_vec()),
        _ => None,
    });
    let records: Vec<_> = records.collect();
    let count = u8::try_from(records.len()).unwrap();
    let mut reply = [&message[..2], &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
    for data in records {
        // The name is that of the question. The answer may be cached for a minute.
        reply.extend([&[0xC0, 12], kind, &[0, 0, 0, 60, 0, u8::try_from(data.len()).unwrap()], &data].concat());
    }
    Some(reply)
}
