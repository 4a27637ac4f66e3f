//! What happens to fleets.

use super::poll::{Flaw, Ours};

/// What happens to a fleet again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Nothing that is our fault.
    Theirs(Theirs),
    /// A fault of ours lasts for some runs.
    Ours(Ours, Onset),
}

/// What happens to sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theirs {
    /// Single sites fail.
    Single,
    /// Some sites have been dead for weeks, from few to all but one.
    Crowd,
    /// All sites have been dead for weeks.
    AllDead,
    /// A provider of 30 % of the sites, with one network and many names, fails in this way.
    Provider(Flaw),
    /// 30 % of the sites fail in this way, each on a network of its own.
    Spread(Flaw),
    /// Half of the sites fail in this way.
    Half(Flaw),
}

/// When a fault of ours begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onset {
    /// Before the run.
    Before,
    /// At any time during the run.
    During,
}

/// All scenarios with their names, in the order of the tables.
pub const SCENARIOS: [(&str, Scenario); 32] = [
    ("1 to 5 % fail", Scenario::Theirs(Theirs::Single)),
    ("a crowd has been dead for weeks", Scenario::Theirs(Theirs::Crowd)),
    ("all have been dead for weeks", Scenario::Theirs(Theirs::AllDead)),
    ("a provider of 30 % is unreachable", Scenario::Theirs(Theirs::Provider(Flaw::Unreachable))),
    ("a provider of 30 % is silent", Scenario::Theirs(Theirs::Provider(Flaw::Silent))),
    ("a provider of 30 % answers 503", Scenario::Theirs(Theirs::Provider(Flaw::Status(503)))),
    ("a provider's name servers fail", Scenario::Theirs(Theirs::Provider(Flaw::NameServer))),
    ("30 % die on networks of their own", Scenario::Theirs(Theirs::Spread(Flaw::Unreachable))),
    ("30 % fall silent on networks of their own", Scenario::Theirs(Theirs::Spread(Flaw::Silent))),
    ("half of the sites answer 403", Scenario::Theirs(Theirs::Half(Flaw::Status(403)))),
    ("half of the certificates expire", Scenario::Theirs(Theirs::Half(Flaw::Expired))),
    ("every connection fails at once", Scenario::Ours(Ours::Refused, Onset::Before)),
    ("no packet comes back", Scenario::Ours(Ours::Silent, Onset::Before)),
    ("connections fail during the run", Scenario::Ours(Ours::Refused, Onset::During)),
    ("no packet comes back during the run", Scenario::Ours(Ours::Silent, Onset::During)),
    ("the name server fails", Scenario::Ours(Ours::NameServers, Onset::Before)),
    ("the name server fails during the run", Scenario::Ours(Ours::NameServers, Onset::During)),
    ("the name server is silent", Scenario::Ours(Ours::SilentNameServers, Onset::Before)),
    ("the name server knows no name", Scenario::Ours(Ours::NoSuchName, Onset::Before)),
    ("all names are one address", Scenario::Ours(Ours::SameAddress, Onset::Before)),
    ("all sites answer 403", Scenario::Ours(Ours::Forbidden, Onset::Before)),
    ("all sites distrust us", Scenario::Ours(Ours::Distrusted, Onset::Before)),
    ("the listener fails", Scenario::Ours(Ours::Listener, Onset::Before)),
    ("the API refuses us", Scenario::Ours(Ours::Api, Onset::Before)),
    ("our clock is ahead", Scenario::Ours(Ours::ClockAhead, Onset::Before)),
    ("our clock is behind", Scenario::Ours(Ours::ClockBehind, Onset::Before)),
    ("all certificates seem to have expired", Scenario::Ours(Ours::Certificates, Onset::Before)),
    ("no authority is trusted", Scenario::Ours(Ours::Authorities, Onset::Before)),
    ("a portal redirects", Scenario::Ours(Ours::PortalRedirect, Onset::Before)),
    ("a portal answers with its page", Scenario::Ours(Ours::PortalPage, Onset::Before)),
    ("a portal answers 511", Scenario::Ours(Ours::PortalLogin, Onset::Before)),
    ("no local port is free", Scenario::Ours(Ours::NoPort, Onset::Before)),
];
