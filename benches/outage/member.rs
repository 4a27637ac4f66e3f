//! The sites of a fleet, with their connections and their history.

use std::net::Ipv4Addr;
use std::sync::Arc;

use cxnpoll::model::{BatchCode, Cxn, PollStatus, Secret, UnixTime};
use cxnpoll::retry::Policy;
use cxnpoll::store::{CxnLocator, PollTask};
use fastrand::Rng;

use super::common::HOUR;
use super::poll::{Flaw, Site};
use super::scenario::{Scenario, Theirs};

/// How long dead sites have been dead when the first run begins, in seconds.
const DEAD_S: UnixTime = 14 * 86_400;
/// How many addresses a network has.
const SERVERS: u64 = 4;
/// The chance that a site is on the network of another.
const SHARED: f64 = 0.2;

/// One site with its connection.
pub struct Member {
    /// Where it is, and how quick.
    pub site: Site,
    /// The number of its network.
    pub network: u32,
    /// The number of its host.
    host: u64,
    cxn: Cxn,
    /// The status of its last poll.
    pub status: PollStatus,
    /// What is wrong with it for some runs.
    pub flaw: Option<Flaw>,
    /// What it died of, weeks ago; `None` if it is alive.
    pub died_of: Option<Flaw>,
    /// Whether what happens to the fleet happens to this site.
    pub is_hit: bool,
}

/// Returns the sites of a fleet that is polled for the first time at `start`.
pub fn members(scenario: Scenario, size: usize, policy: &Policy, start: UnixTime, rng: &mut Rng) -> Vec<Member> {
    let crowd = match scenario {
        Scenario::Theirs(Theirs::AllDead) => 1.0,
        Scenario::Theirs(Theirs::Crowd) => 0.95 * rng.f64(),
        Scenario::Theirs(Theirs::Single) => 0.0,
        // Some fleets have one.
        _ if rng.bool() => 0.5 * rng.f64(),
        _ => 0.0,
    };
    let is_provided = matches!(scenario, Scenario::Theirs(Theirs::Provider(_)));
    let provided = if is_provided { (size * 3 / 10).max(1) } else { 0 };
    // The number of the network and that of the host, by which a site is known.
    let mut places: Vec<(u32, u64)> = Vec::with_capacity(size);
    for number in 0..u32::try_from(size).expect("a small number") {
        let host = u64::from(number);
        let place = match places.len() {
            // The first network is that of the provider.
            at if at > 0 && at < provided => (0, if rng.u8(..3) == 0 { places[at - 1].1 } else { host }),
            at if at > provided && rng.f64() < SHARED => {
                let (network, host_of_other) = places[rng.usize(provided..at)];
                (network, if rng.bool() { host_of_other } else { host })
            }
            _ => (number, host),
        };
        places.push(place);
    }
    let mut members: Vec<Member> = places
        .into_iter()
        .enumerate()
        .map(|(index, (network, host))| {
            let died_of = (index >= provided && rng.f64() < crowd).then(|| Flaw::any(rng));
            let mut member = Member::new(index as u64, network, host, rng);
            member.is_hit = index < provided;
            member.died_of = died_of;
            member.remember(policy, start, rng);
            member
        })
        .collect();
    // The sequence numbers are places in the list, and the order of polls begins with that of the store.
    rng.shuffle(&mut members);
    members
}

impl Member {
    fn new(seq: u64, network: u32, host: u64, rng: &mut Rng) -> Self {
        let name = format!("site{host}.example.org");
        let cxn = Cxn {
            cxn_id: format!("cxn:{seq}").parse().expect("a valid cxnId"),
            secret: Secret::from_bytes([0; 32]),
            app_id: "app:org.example.myapp".parse().expect("a valid appId"),
            app_url: "https://app.example.org/".into(),
            site_url: format!("https://{name}/{seq}").into(),
            perm: Arc::default(),
            via_port: None,
            batch_code: BatchCode::MIN,
            disabled: false,
        };
        // A network has few servers, and a name is always on the same one.
        let server = u32::try_from(host % SERVERS).expect("a small number");
        let first = Ipv4Addr::new(11, 0, 0, 1).to_bits();
        let address = Ipv4Addr::from_bits(first + network * 256 + server).into();
        // Some clocks are wrong.
        let clock_s = if rng.u8(..50) == 0 { rng.i64(-7200..7200) } else { rng.i64(-2..=2) };
        let site = Site { name, address, usual_ms: rng.u64(30..550), clock_s };
        let status = PollStatus::default();
        Self { site, network, host, cxn, status, flaw: None, died_of: None, is_hit: false }
    }

    /// Sets the status of a site that was well an hour before `start`, or died long before.
    fn remember(&mut self, policy: &Policy, start: UnixTime, rng: &mut Rng) {
        let Some(flaw) = self.died_of else {
            policy.apply(&mut self.status, start - HOUR, &Ok(()));
            return;
        };
        let mut due = start - DEAD_S - rng.i64(0..24) * HOUR;
        policy.apply(&mut self.status, due - HOUR, &Ok(()));
        while due < start {
            policy.apply(&mut self.status, due, &flaw.reply(&self.site, rng).outcome);
            due = policy.next_due_of_status(&self.status).expect("no site is given up within weeks");
        }
    }

    /// Returns the task of polling it; `None` if it is given up.
    pub fn task(&self, seq: u64, policy: &Policy) -> Option<PollTask> {
        Some(PollTask {
            locator: CxnLocator { batch_code: BatchCode::MIN, seq },
            host: self.host,
            due: policy.next_due_of_status(&self.status)?,
            permille_late: 0,
            cxn: self.cxn.clone(),
            status: self.status.clone(),
        })
    }
}
