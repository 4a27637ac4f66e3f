//! Addresses that accept, fail or stay silent, in virtual time.

use super::*;
use rustix::io::Errno;
use std::cell::Cell;
use std::rc::Rc;

/// What becomes of an attempt.
#[derive(Clone, Copy)]
enum Site {
    /// The system returns this at once.
    AtOnce(Result<(), Errno>),
    /// This arrives after as many milliseconds.
    After(u64, Result<(), Errno>),
    /// Nothing arrives.
    Silent,
}
use Site::{After, AtOnce, Silent};

/// Sites on 127.0.0.1, 127.0.0.2, and so on, and a clock.
struct Scripted {
    sites: Vec<Site>,
    now: Cell<Duration>,
    /// How much longer than it should each wait lasts.
    oversleeps: Duration,
    /// How many sockets may be open.
    max_open: usize,
    open: Rc<Cell<usize>>,
    /// The site and the time in milliseconds of each attempt.
    begun: Vec<(usize, u128)>,
}

struct Socket {
    end: Option<(Duration, Result<(), Errno>)>,
    open: Rc<Cell<usize>>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

impl Socket {
    fn has_ended(&self, now: Duration) -> bool {
        self.end.is_some_and(|(at, _)| at <= now)
    }
}

impl Sockets for Scripted {
    type Socket = Socket;

    fn elapsed(&self) -> Duration {
        self.now.get()
    }

    fn begin(&mut self, address: SocketAddr) -> Result<(Socket, bool), ConnectError> {
        if self.open.get() == self.max_open {
            return Err(io::Error::from(Errno::MFILE).into());
        }
        let SocketAddr::V4(address) = address else { unreachable!() };
        let number = usize::from(address.ip().octets()[3]);
        self.begun.push((number, self.now.get().as_millis()));
        let end = match self.sites[number - 1] {
            AtOnce(Err(errno)) => return Err(io::Error::from(errno).into()),
            AtOnce(Ok(())) => Some((self.now.get(), Ok(()))),
            After(milliseconds, result) => Some((self.now.get() + ms(milliseconds), result)),
            Silent => None,
        };
        self.open.set(self.open.get() + 1);
        Ok((Socket { end, open: Rc::clone(&self.open) }, matches!(self.sites[number - 1], AtOnce(_))))
    }

    fn wait(&mut self, attempts: &[Attempt<Socket>], limit: Duration) -> io::Result<Vec<bool>> {
        let ends = attempts.iter().filter_map(|attempt| Some(attempt.socket.end?.0));
        let until = ends.chain([self.now.get() + limit]).min().unwrap();
        self.now.set(until.max(self.now.get()) + self.oversleeps);
        Ok(attempts.iter().map(|attempt| attempt.socket.has_ended(self.now.get())).collect())
    }

    fn end(&mut self, socket: &Socket) -> Result<(), ConnectError> {
        let (_, result) = socket.end.unwrap();
        result.map_err(|errno| ConnectError { error: errno.into(), at_once: false })
    }

    fn has_route(&self, _address: SocketAddr) -> bool {
        true
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn scripted(sites: &[Site]) -> Scripted {
    Scripted {
        sites: sites.to_vec(),
        now: Cell::default(),
        oversleeps: Duration::ZERO,
        max_open: usize::MAX,
        open: Rc::default(),
        begun: Vec::new(),
    }
}

impl Scripted {
    /// Connects to one of the sites; returns its number, or the failure.
    fn connect(&mut self, limit: Duration) -> Result<usize, String> {
        let addresses = (1..).zip(&self.sites).map(|(number, _)| ([127, 0, 0, number], 9).into()).collect::<Vec<_>>();
        let connected = connect(self, &addresses, limit);
        assert_eq!(self.open.get(), usize::from(connected.is_ok()), "all other sockets are closed");
        let number = |address| match address {
            IpAddr::V4(address) => usize::from(address.octets()[3]),
            IpAddr::V6(_) => unreachable!(),
        };
        connected.map(|(address, _)| number(address)).map_err(|failure| failure.to_string())
    }

    fn took(&self) -> u128 {
        self.now.get().as_millis()
    }
}

const LIMIT: Duration = Duration::from_secs(10);
const TIMED_OUT: &str = "timeout: timed out while connecting";
const REFUSED: &str = "connect: Connection refused";
const OK: Result<(), Errno> = Ok(());

#[test]
fn the_next_address_is_tried_after_a_delay_and_the_first_connection_wins() {
    for (sites, winner, took, begun) in [
        (&[AtOnce(OK), AtOnce(OK)][..], 1, 0, &[(1, 0)][..]),
        (&[After(249, OK), AtOnce(OK)], 1, 249, &[(1, 0)]),
        (&[Silent, AtOnce(OK)], 2, 250, &[(1, 0), (2, 250)]),
        (&[After(260, OK), After(20, OK)], 1, 260, &[(1, 0), (2, 250)]),
        (&[After(300, OK), After(20, OK)], 2, 270, &[(1, 0), (2, 250)]),
        (&[After(270, OK), After(20, OK)], 1, 270, &[(1, 0), (2, 250)]),
        (&[Silent, Silent, Silent, After(20, OK)], 4, 770, &[(1, 0), (2, 250), (3, 500), (4, 750)]),
        (&[After(9_999, OK)], 1, 9_999, &[(1, 0)]),
    ] {
        let mut scripted = scripted(sites);
        assert_eq!((scripted.connect(LIMIT), scripted.took()), (Ok(winner), took));
        assert_eq!(scripted.begun, begun);
    }
}

#[test]
fn the_next_address_is_tried_at_once_after_any_error() {
    for errno in [
        Errno::CONNREFUSED,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::ACCESS,
        Errno::PERM,
        Errno::ADDRNOTAVAIL,
        Errno::AFNOSUPPORT,
        Errno::INVAL,
        Errno::CONNRESET,
        Errno::MFILE,
        Errno::TIMEDOUT,
    ] {
        let mut at_once = scripted(&[AtOnce(Err(errno)), AtOnce(OK), AtOnce(OK)]);
        assert_eq!((at_once.connect(LIMIT), at_once.took()), (Ok(2), 0), "{errno}");
        let mut later = scripted(&[After(30, Err(errno)), After(10, OK), AtOnce(OK)]);
        assert_eq!((later.connect(LIMIT), later.took()), (Ok(2), 40), "{errno}");
        assert_eq!(later.begun, [(1, 0), (2, 30)]);
    }
    let refused = Err(Errno::CONNREFUSED);
    let mut other_in_flight = scripted(&[Silent, After(10, refused), Silent, After(10, refused), After(10, OK)]);
    assert_eq!(other_in_flight.connect(LIMIT), Ok(5));
    assert_eq!(other_in_flight.begun, [(1, 0), (2, 250), (3, 260), (4, 510), (5, 520)]);
}

#[test]
fn the_last_of_many_addresses_has_half_of_the_limit() {
    for limit in [10_000, 2_000, 500, 100].map(ms) {
        for living in 1..=16 {
            let sites = (1..=16).map(|number| {
                if number == living { After(u64::try_from(limit.as_millis()).unwrap() / 2 - 1, OK) } else { Silent }
            });
            let mut scripted = scripted(&sites.collect::<Vec<_>>());
            assert_eq!(scripted.connect(limit), Ok(living), "{limit:?}");
        }
    }
    assert_eq!(attempt_delay(16, LIMIT), ATTEMPT_DELAY);
    assert_eq!(attempt_delay(5, ms(1_000)), ms(125));
    assert_eq!((attempt_delay(1, ms(100)), attempt_delay(0, ms(100))), (ms(50), ms(50)));
}

#[test]
fn the_most_telling_failure_is_reported() {
    for (errors, expected) in [
        (&[Errno::CONNREFUSED, Errno::TIMEDOUT][..], REFUSED),
        (&[Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::CONNREFUSED], REFUSED),
        (&[Errno::MFILE, Errno::CONNREFUSED, Errno::ACCESS], REFUSED),
        (&[Errno::ACCESS, Errno::TIMEDOUT], TIMED_OUT),
        (&[Errno::TIMEDOUT, Errno::HOSTUNREACH], "connect: No route to host"),
    ] {
        let mut scripted = scripted(&errors.iter().map(|errno| AtOnce(Err(*errno))).collect::<Vec<_>>());
        assert_eq!(scripted.connect(LIMIT), Err(expected.to_owned()), "{errors:?}");
        assert_eq!(scripted.begun.len(), errors.len());
    }
    let local = scripted(&[AtOnce(Err(Errno::NETUNREACH)), AtOnce(Err(Errno::MFILE)), AtOnce(Err(Errno::ACCESS))])
        .connect(LIMIT);
    assert!(local.unwrap_err().starts_with("local: too many open files"));
    let mut beside_silence = scripted(&[Silent, After(10, Err(Errno::CONNREFUSED)), AtOnce(Err(Errno::ACCESS))]);
    assert_eq!((beside_silence.connect(LIMIT), beside_silence.took()), (Err(REFUSED.to_owned()), 10_000));
}

#[test]
fn attempts_end_with_the_limit() {
    for (sites, limit, expected) in [
        (&[Silent][..], 2_000, TIMED_OUT),
        (&[AtOnce(Err(Errno::ACCESS)), Silent], 2_000, TIMED_OUT),
        (&[After(2_001, OK), Silent, Silent], 2_000, TIMED_OUT),
        (&[Silent], 10, TIMED_OUT),
    ] {
        let mut scripted = scripted(sites);
        assert_eq!((scripted.connect(ms(limit)), scripted.took()), (Err(expected.to_owned()), u128::from(limit)));
    }
    assert_eq!(scripted(&[]).connect(LIMIT), Err(TIMED_OUT.to_owned()));
    assert_eq!(scripted(&[After(5, OK)]).connect(Duration::ZERO), Ok(1), "there is a least limit");
}

#[test]
fn a_connection_that_was_made_during_a_pause_counts() {
    for sites in [&[After(100, OK)][..], &[After(10_001, OK), Silent]] {
        let mut scripted = Scripted { oversleeps: ms(60_000), ..scripted(sites) };
        assert_eq!(scripted.connect(LIMIT), Ok(1));
    }
}

#[test]
fn an_address_without_a_descriptor_is_tried_again_when_another_has_ended() {
    let refused = Err(Errno::CONNREFUSED);
    for (sites, winner, begun) in [
        (&[After(600, refused), After(10, OK)][..], Ok(2), &[(1, 0), (2, 600)][..]),
        (&[After(600, OK), After(10, OK)], Ok(1), &[(1, 0)]),
        (&[After(100, refused), After(600, refused), After(10, OK)], Ok(3), &[(1, 0), (2, 100), (3, 700)]),
        (&[Silent, After(10, OK)], Err(TIMED_OUT.to_owned()), &[(1, 0)]),
    ] {
        let mut scripted = Scripted { max_open: 1, ..scripted(sites) };
        assert_eq!(scripted.connect(LIMIT), winner);
        assert_eq!(scripted.begun, begun);
    }
    let failure = Scripted { max_open: 0, ..scripted(&[AtOnce(OK), AtOnce(OK)]) }.connect(LIMIT).unwrap_err();
    assert!(failure.starts_with("local: too many open files"), "{failure}");
}
