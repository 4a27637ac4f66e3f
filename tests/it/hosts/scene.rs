//! Sites on a server that counts, and runs over them.

use std::cell::Cell;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use civisite::Site;
use serde_json::Value;

use super::server::{Answer, Request, Server};
use crate::testkit::name_server::{self, NameServer};
use crate::testkit::namespace::{Network, ip};
use crate::testkit::{APP, MIDNIGHT, World, code, stderr};

/// Sites of a server that counts.
pub struct Scene {
    pub world: World,
    pub server: Server,
    /// The time of the next run.
    now: Cell<i64>,
}

/// A run that has ended.
pub struct Run {
    pub code: i32,
    pub summary: Value,
    pub elapsed: Duration,
    /// How many sites' status the run changed.
    pub charged: usize,
}

impl Scene {
    /// Starts a server on all loopback addresses of IPv4.
    pub fn new(answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::at(&[Ipv4Addr::UNSPECIFIED.into()], answers)
    }

    /// Starts a server on all addresses.
    pub fn on_both_families(answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::at(&[Ipv6Addr::UNSPECIFIED.into()], answers)
    }

    /// Starts a server on these addresses.
    pub fn at(addresses: &[IpAddr], answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let world = World::new();
        // Backups from the time of a wrong clock would cause warnings.
        world.append_config("[backups]\nevery-hours = 0\n");
        Self { world, server: Server::start(addresses, answers), now: Cell::new(MIDNIGHT) }
    }

    /// Imports a site at each of these hosts. Sites are polled in the order of their numbers.
    pub fn import(&self, hosts: impl IntoIterator<Item = impl Display>) {
        self.import_with(hosts, |_| ());
    }

    /// Imports a site at each of these hosts, after a change.
    pub fn import_with(&self, hosts: impl IntoIterator<Item = impl Display>, change: impl Fn(&mut Site)) {
        let site = |(number, host)| {
            let site_url = format!("http://{host}:{}/site/{number}", self.server.port);
            let batch_code = Some(u16::try_from(number).unwrap());
            let mut site = Site { site_url, batch_code, ..self.world.site(number, "ok") };
            change(&mut site);
            site
        };
        self.world.import(&(0..).zip(hosts).map(site).collect::<Vec<_>>());
    }

    /// Imports sites of which some are polled through a proxy.
    ///
    /// `hosts` returns the host of a site, and that of its proxy.
    pub fn import_proxied(&self, count: u32, hosts: impl Fn(u32) -> (String, Option<IpAddr>)) {
        let line = |number| {
            let (host, proxy) = hosts(number);
            let site_url = format!("http://{host}:{}/site/{number}", self.server.port);
            let mut line = serde_json::to_value(Site { site_url, ..self.world.site(number, "ok") }).unwrap();
            line["batchCode"] = number.into();
            line["viaPort"] = proxy.map(|proxy| format!("{proxy}:{}", self.server.port)).into();
            line.to_string()
        };
        self.world.import_text(&(0..count).map(line).collect::<Vec<_>>().join("\n"));
    }

    /// Lets the next run be minutes later.
    pub fn wait(&self, minutes: i64) {
        self.now.set(self.now.get() + minutes * 60);
    }

    /// Runs `poll --json` minutes after the last run.
    pub fn poll_after(&self, minutes: i64, more: &[&str]) -> Run {
        self.wait(minutes);
        self.poll(more)
    }

    /// Runs `poll --json`.
    pub fn poll(&self, more: &[&str]) -> Run {
        let before = self.world.statuses();
        let now = self.now.get().to_string();
        let mut command = self.world.command(&["poll", APP, "--json", "--now", &now]);
        // Names are looked up as usual.
        command.args(more).env_remove("RES_OPTIONS");
        let began = Instant::now();
        let output = command.output().unwrap();
        let elapsed = began.elapsed();
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let after = self.world.statuses();
        let charged = after.iter().filter(|(number, [level, count, _])| [*level, *count] != before[number][..2]);
        let charged = charged.count();
        println!("{:.2} s, {charged} charged: {summary}{}", elapsed.as_secs_f64(), stderr(&output));
        Run { code: code(&output), summary, elapsed, charged }
    }
}

impl Run {
    /// Asserts how many sites replied, failed, and were left to the next run.
    pub fn assert_counts(&self, ok: usize, failed: usize, skipped: usize) {
        let counts = ["ok", "failed", "skipped"].map(|key| self.summary[key].as_u64());
        assert_eq!(counts, [ok, failed, skipped].map(|count| Some(count as u64)), "{}", self.summary);
        assert_eq!((self.code, self.charged), (0, failed), "{}", self.summary);
    }

    /// Asserts that the run did not take longer than some seconds.
    pub fn assert_within(&self, seconds: f64) {
        assert!(self.elapsed.as_secs_f64() <= seconds, "{:?}: {}", self.elapsed, self.summary);
    }
}

/// A network with these names, in which addresses are dead in several ways.
///
/// `9.0.0.0/8` and `2a00:dead::/32` are black holes. Connecting to `2a00:7::/32` is forbidden, and to `2a00:8::/32`
/// there is no route. All of `11.0.0.0/8` and `2a00:1::/32` belongs to this machine.
pub fn network(names: impl Fn(&str) -> name_server::Answer + Send + 'static) -> (Network, NameServer) {
    let network = Network::set_up();
    for arguments in [
        "address add 2a00:1::2/128 dev lo nodad",
        "link add hole type veth peer name bottom",
        "link set hole arp off up",
        "link set bottom arp off up",
        "route add 9.0.0.0/8 dev hole src 11.0.0.1 table local",
        "-6 route add 2a00:dead::/32 dev hole src 2a00:1::2 table local",
        "-6 route add local 2a00:7::/32 dev lo src 2a00:1::2 table local",
        "-6 route add local 2a00:8::/32 dev lo src 2a00:1::2 table local",
        "-6 rule add pref 10 ipproto tcp to 2a00:7::/32 type prohibit",
        "-6 rule add pref 11 ipproto tcp to 2a00:8::/32 type unreachable",
        "-6 rule add pref 100 lookup local",
        "-6 rule del pref 0",
    ] {
        ip(arguments);
    }
    (network, NameServer::start(names))
}
