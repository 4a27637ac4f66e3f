//! How single polls end: well, or with a failure that is typical of sites or of this machine.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use cxnpoll::model::{Cause, Failure, FailureClass, Fault, PollTrace, TlsCause};
use cxnpoll::run::simulation::Reply;
use fastrand::Rng;

/// The limit of connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The limit of a call.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// What is wrong with one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    NoSuchName,
    NameServer,
    Refused,
    Unreachable,
    Silent,
    Hanging,
    Expired,
    WrongName,
    UnknownIssuer,
    Disconnected,
    Status(u16),
    Redirect,
    Page,
    Api,
}

/// How often a site that fails has each flaw, in percent.
const MIX: [(u32, Flaw); 18] = [
    (12, Flaw::NoSuchName),
    (4, Flaw::NameServer),
    (13, Flaw::Refused),
    (4, Flaw::Unreachable),
    (17, Flaw::Silent),
    (8, Flaw::Hanging),
    (7, Flaw::Expired),
    (3, Flaw::WrongName),
    (2, Flaw::UnknownIssuer),
    (3, Flaw::Disconnected),
    (8, Flaw::Status(500)),
    (3, Flaw::Status(502)),
    (4, Flaw::Status(503)),
    (4, Flaw::Status(403)),
    (2, Flaw::Status(404)),
    (2, Flaw::Redirect),
    (2, Flaw::Page),
    (2, Flaw::Api),
];

impl Flaw {
    /// Returns a flaw as often as it is found.
    pub fn any(rng: &mut Rng) -> Self {
        let mut percent = rng.u32(..100);
        for (share, flaw) in MIX {
            if percent < share {
                return flaw;
            }
            percent -= share;
        }
        unreachable!("the shares add up to 100")
    }

    /// Returns whether the name of a site with this flaw has an address.
    pub fn has_address(self) -> bool {
        !matches!(self, Self::NoSuchName | Self::NameServer)
    }

    /// Returns how a poll of a site with this flaw ends.
    pub fn reply(self, site: &Site, rng: &mut Rng) -> Reply {
        use FailureClass::{Api, Connect, Disconnected, Garbled, Http, Redirect, Timeout, Tls};
        let latency = site.latency(rng);
        let at_once = Duration::from_millis(1);
        let own = |text: &str| format!("{text} {}", site.name);
        match self {
            Self::NoSuchName => site.unresolved(Cause::NoSuchName, latency / 4),
            Self::NameServer => site.unresolved(Cause::NameServer, Duration::from_millis(rng.u64(5..4000))),
            Self::Refused => site.silent(Connect, "connection refused", at_once),
            Self::Unreachable => site.silent(Connect, "no route to host", at_once),
            Self::Silent => site.silent(Timeout, "connecting", CONNECT_LIMIT),
            Self::Hanging => site.hanging(),
            Self::Expired => site.answer(Tls, Cause::Tls(TlsCause::Expired), latency),
            Self::WrongName => site.answer(Tls, Cause::Tls(TlsCause::WrongName), latency),
            Self::UnknownIssuer => site.answer(Tls, Cause::Tls(TlsCause::UnknownIssuer), latency),
            Self::Disconnected => site.answer(Disconnected, Cause::Message, latency),
            // A firewall refuses before the site works.
            Self::Status(403) => site.answer(Http, Cause::Status(403, None), Duration::from_millis(rng.u64(2..20))),
            Self::Status(status) => site.answer(Http, Cause::Status(status, None), latency),
            Self::Redirect => site.answer(Redirect, Cause::Redirect(own("www.")), latency),
            Self::Page => site.answer(Garbled, Cause::Page(own("Home of")), latency),
            Self::Api => site.answer(Api, Cause::Text("API permission check failed".into()), latency),
        }
    }
}

/// What is wrong with this machine, its network or its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ours {
    Refused,
    Silent,
    NameServers,
    SilentNameServers,
    NoSuchName,
    SameAddress,
    Forbidden,
    Distrusted,
    Listener,
    Api,
    ClockAhead,
    ClockBehind,
    Certificates,
    Authorities,
    PortalRedirect,
    PortalPage,
    PortalLogin,
    NoPort,
}

impl Ours {
    /// Returns how a poll of a site without a flaw ends.
    pub fn reply(self, site: &Site, rng: &mut Rng) -> Reply {
        use FailureClass::{Api, Blocked, Connect, Garbled, Http, Listener, Protocol, Redirect, Timeout, Tls};
        let latency = site.latency(rng);
        let at_once = Duration::from_millis(1);
        let nearby = Duration::from_millis(rng.u64(2..30));
        match self {
            Self::Refused => site.silent(Connect, "network unreachable", at_once),
            Self::Silent => site.silent(Timeout, "connecting", CONNECT_LIMIT),
            Self::NameServers => site.unresolved(Cause::NameServer, at_once),
            Self::SilentNameServers => site.unresolved(Cause::NameServer, Duration::from_secs(4)),
            Self::NoSuchName => site.unresolved(Cause::NoSuchName, nearby),
            Self::SameAddress => {
                let address = Cause::Address(Ipv4Addr::new(10, 0, 0, 1).into());
                Reply { trace: PollTrace::default(), ..site.answer(Blocked, address, nearby) }
            }
            Self::Forbidden => site.answer(Http, Cause::Status(403, None), latency),
            Self::Distrusted => site.answer(Http, Cause::Status(400, Some("Invalid appCert".into())), latency),
            Self::Listener => site.answer(Listener, Cause::Text("KeyError: version".into()), latency),
            Self::Api => site.answer(Api, Cause::Text("API permission check failed".into()), latency),
            Self::ClockAhead => with_offset(site.answer(Protocol, Cause::Expired, latency), -10_800),
            Self::ClockBehind => {
                let cause = Cause::Status(400, Some("Invalid TTL".into()));
                with_offset(site.answer(Http, cause, latency), 10_800)
            }
            Self::Certificates => site.answer(Tls, Cause::Tls(TlsCause::Expired), latency),
            Self::Authorities => site.answer(Tls, Cause::Tls(TlsCause::UnknownIssuer), latency),
            Self::PortalRedirect => site.at_portal(Redirect, Cause::Redirect("login.example.net".into()), nearby),
            Self::PortalPage => site.at_portal(Garbled, Cause::Page("Welcome to our network".into()), nearby),
            Self::PortalLogin => site.at_portal(Http, Cause::Status(511, None), nearby),
            Self::NoPort => {
                let failure = Failure::local(Fault::NoPort, "no local port is free");
                Reply { outcome: Err(failure), trace: PollTrace::default(), duration: at_once }
            }
        }
    }

    /// Returns the cause that a run should name.
    pub fn cause(self) -> Fault {
        match self {
            Self::Refused | Self::Silent => Fault::Network,
            Self::NameServers | Self::SilentNameServers | Self::NoSuchName => Fault::NameServers,
            Self::SameAddress => Fault::SameAddress,
            Self::Forbidden => Fault::Refused,
            Self::Distrusted => Fault::Distrusted,
            Self::Listener => Fault::Listener,
            Self::Api => Fault::Api,
            Self::ClockAhead | Self::ClockBehind | Self::Certificates => Fault::Clock,
            Self::Authorities => Fault::Authorities,
            Self::PortalRedirect | Self::PortalPage | Self::PortalLogin => Fault::Portal,
            Self::NoPort => Fault::NoPort,
        }
    }

    /// Returns whether names have addresses that may be connected to.
    pub fn has_addresses(self) -> bool {
        !matches!(self, Self::NameServers | Self::SilentNameServers | Self::NoSuchName | Self::SameAddress)
    }

    /// Returns whether polls that are under way fail as well when it begins.
    pub fn cuts(self) -> bool {
        matches!(self, Self::Refused | Self::Silent)
    }

    /// Returns whether sites whose own flaw is this one fail for the fault instead.
    pub fn hides(self, flaw: Flaw) -> bool {
        use Flaw::{NameServer, NoSuchName, Refused, Silent, Unreachable};
        match self {
            Self::Refused | Self::Silent => !matches!(flaw, NoSuchName | NameServer),
            Self::NameServers | Self::SilentNameServers | Self::NoSuchName | Self::SameAddress | Self::NoPort => true,
            Self::PortalRedirect | Self::PortalPage | Self::PortalLogin => !matches!(flaw, NoSuchName | NameServer),
            Self::Certificates | Self::Authorities => {
                !matches!(flaw, NoSuchName | NameServer | Refused | Unreachable | Silent)
            }
            _ => false,
        }
    }
}

/// Where a site is, and how quick.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name. Sites of one name are on one host.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its usual time to reply, in milliseconds.
    pub usual_ms: u64,
    /// Its clock minus that of the world, in seconds.
    pub clock_s: i64,
}

impl Site {
    /// Returns how a poll ends that succeeds.
    pub fn well(&self, rng: &mut Rng) -> Reply {
        Reply { outcome: Ok(()), trace: self.trace(), duration: self.latency(rng) }
    }

    /// Returns how a poll ends whose network disappears while it is under way.
    pub fn cut_off(&self, rng: &mut Rng) -> Reply {
        if rng.bool() {
            return self.silent(FailureClass::Timeout, "connecting", CONNECT_LIMIT);
        }
        self.hanging()
    }

    fn latency(&self, rng: &mut Rng) -> Duration {
        Duration::from_millis((self.usual_ms * rng.u64(70..150) / 100).clamp(20, 800))
    }

    fn trace(&self) -> PollTrace {
        PollTrace {
            address: Some(self.address),
            connected: true,
            answered: true,
            replied: true,
            clock_offset_s: Some(self.clock_s),
        }
    }

    /// Returns how a poll ends whose reply begins and does not end.
    fn hanging(&self) -> Reply {
        let reply = self.answer(FailureClass::Timeout, Cause::Message, CALL_LIMIT);
        Reply { trace: PollTrace { replied: false, ..reply.trace }, ..reply }
    }

    fn answer(&self, class: FailureClass, cause: Cause, duration: Duration) -> Reply {
        let failure = Failure { cause, ..Failure::new(class, format!("at {}", self.name)) };
        Reply { outcome: Err(failure), trace: self.trace(), duration }
    }

    /// Returns the answer of a captive portal, which has no clock.
    fn at_portal(&self, class: FailureClass, cause: Cause, duration: Duration) -> Reply {
        let reply = self.answer(class, cause, duration);
        Reply { trace: PollTrace { clock_offset_s: None, ..reply.trace }, ..reply }
    }

    fn silent(&self, class: FailureClass, message: &str, duration: Duration) -> Reply {
        let trace = PollTrace { address: Some(self.address), ..PollTrace::default() };
        Reply { outcome: Err(Failure::new(class, message)), trace, duration }
    }

    fn unresolved(&self, cause: Cause, duration: Duration) -> Reply {
        let failure = Failure { cause, ..Failure::new(FailureClass::Dns, format!("cannot resolve {}", self.name)) };
        Reply { outcome: Err(failure), trace: PollTrace::default(), duration }
    }
}

fn with_offset(mut reply: Reply, offset_s: i64) -> Reply {
    reply.trace.clock_offset_s = reply.trace.clock_offset_s.map(|clock_s| clock_s + offset_s);
    reply
}
