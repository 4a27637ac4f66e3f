//! Sites on distinct networks that were polled well a day ago, and runs over them.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use civisite::Site;
use serde_json::Value;

use super::front::{DAY, Front, Reply};
use crate::testkit::name_server::{Answer, NameServer, name, number};
use crate::testkit::namespace::Network;
use crate::testkit::{APP, World, code, stderr};

/// The ports of sites: http, https, and http of sites that can be down while others are not.
const PORTS: [u16; 3] = [80, 443, MORTAL_PORT];
const MORTAL_PORT: u16 = 8080;

/// How sites are named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Urls {
    /// http and a name.
    Http,
    /// https and a name.
    Https,
    /// https and a name for every other site, http and a name for the others.
    Mixed,
    /// http and an IPv4 address.
    Addresses,
}

/// How the sites of a scene are made.
#[derive(Clone, Copy)]
pub struct Layout {
    /// How they are named.
    pub urls: Urls,
    /// The address of each site; that of the name, where it has one.
    pub address: fn(u32) -> IpAddr,
    /// Which sites [`Scene::kill`] makes unreachable.
    pub is_mortal: fn(u32, u32) -> bool,
    /// The viaPort of all sites; `None` if they have none.
    pub via_port: Option<&'static str>,
    /// Whether they are polled in the order of their numbers.
    pub is_in_order: bool,
}

/// Sites with names on distinct networks.
pub const NAMES: Layout =
    Layout { urls: Urls::Http, address: ipv4, is_mortal: |_, _| false, via_port: None, is_in_order: false };

/// Returns an address on a network of its own.
pub fn ipv4(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0B01_0001 + (number << 8)).into()
}

/// Returns an IPv6 address on a network of its own.
pub fn ipv6(number: u32) -> IpAddr {
    Ipv6Addr::new(0x2a00, 1, u16::try_from(number).unwrap(), 0, 0, 0, 0, 1).into()
}

/// Simulated sites in a network of their own, with a name server.
pub struct Scene {
    pub world: World,
    pub network: Network,
    pub names: NameServer,
    pub front: Front,
    pub layout: Layout,
    pub size: u32,
    /// The program that starts cxnpoll, with its arguments; empty if none does.
    pub starter: Vec<String>,
    /// The file that holds the CA certificates of the platform.
    pub authorities: &'static str,
    /// Ports that another program holds.
    pub held_ports: Vec<TcpListener>,
    config: String,
    /// The time of the first run, a day before this test.
    began: i64,
}

/// A run that has ended.
pub struct Run {
    pub code: i32,
    pub summary: Value,
    pub stderr: String,
}

impl Scene {
    /// Sets up the network and imports sites.
    pub fn new(layout: Layout, size: u32) -> Self {
        let network = Network::set_up();
        let world = World::new();
        // Backups from the time of a wrong clock would cause warnings.
        world.append_config("[backups]\nevery-hours = 0\n");
        let names = (0..size).map(name).collect();
        let (front, authority) = Front::start(world.server.addr(), &PORTS, names);
        fs::write(world.path("ca.pem"), authority).unwrap();
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let scene = Self {
            names: NameServer::start(table(layout)),
            config: world.config(),
            network,
            world,
            front,
            layout,
            size,
            starter: vec![],
            held_ports: vec![],
            authorities: "ca.pem",
            began: now - i64::try_from(DAY).unwrap(),
        };
        let line = |number| {
            let mut line = serde_json::to_value(scene.site(number)).unwrap();
            line["viaPort"] = layout.via_port.into();
            if layout.is_in_order {
                line["batchCode"] = number.into();
            }
            line.to_string()
        };
        scene.world.import_text(&(0..size).map(line).collect::<Vec<_>>().join("\n"));
        scene
    }

    fn site(&self, number: u32) -> Site {
        let site = self.world.site(number, "ok");
        let Layout { urls, address, .. } = self.layout;
        let is_https = urls == Urls::Https || (urls == Urls::Mixed && number % 2 == 1);
        let host = if urls == Urls::Addresses { address(number).to_string() } else { name(number) };
        let port = if self.is_mortal(number) { format!(":{MORTAL_PORT}") } else { String::new() };
        let scheme = if is_https { "https" } else { "http" };
        Site { site_url: format!("{scheme}://{host}{port}/site/{number}/ok"), ..site }
    }

    /// Polls the sites well for the first time, a day ago.
    pub fn poll_well(&self) {
        let run = self.poll(&["--now", &self.began.to_string()]);
        assert_eq!((run.code, &run.summary["ok"], &*run.stderr), (0, &self.size.into(), ""), "{}", run.summary);
    }

    /// Polls hours after [`Scene::poll_well`].
    pub fn poll_after(&self, hours: i64, more: &[&str]) -> Run {
        self.poll(&[&["--now", &(self.began + hours * 3600).to_string()], more].concat())
    }

    /// Runs `poll --json` without a terminal.
    pub fn poll(&self, more: &[&str]) -> Run {
        let program = env!("CARGO_BIN_EXE_cxnpoll").to_owned();
        let words: Vec<_> = self.starter.iter().chain([&program]).collect();
        let mut command: Command = self.world.command_of(words[0]);
        command.args(&words[1..]).args(["poll", APP, "--json"]).args(more);
        command.env_remove("RES_OPTIONS").env("SSL_CERT_FILE", self.world.path(self.authorities));
        let output = command.output().unwrap();
        let summary = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        Run { code: code(&output), summary, stderr: stderr(&output) }
    }

    /// Whether [`Scene::kill`] makes a site unreachable.
    pub fn is_mortal(&self, number: u32) -> bool {
        (self.layout.is_mortal)(number, self.size)
    }

    /// Returns the numbers of the sites that [`Scene::kill`] makes unreachable.
    pub fn mortals(&self) -> BTreeSet<u32> {
        (0..self.size).filter(|number| self.is_mortal(*number)).collect()
    }

    /// Makes the sites unreachable that can be.
    pub fn kill(&mut self, by: Death) {
        match by {
            Death::Refused => self.front.close(MORTAL_PORT),
            Death::NoRoute => self.route_mortals("unreachable"),
            Death::NoPacket => self.route_mortals("dev lo"),
            Death::NoName => {
                let (mortals, table) = (self.mortals(), table(self.layout));
                let is_mortal = move |name: &str| number(name).is_some_and(|number| mortals.contains(&number));
                self.names.answer(move |name| if is_mortal(name) { Answer::Unknown } else { table(name) });
            }
        }
    }

    fn route_mortals(&self, kind: &str) {
        let addresses: BTreeSet<_> = self.mortals().into_iter().map(self.layout.address).collect();
        for address in addresses {
            self.network.route(kind, &address.to_string());
        }
    }

    /// Makes everything work again.
    pub fn restore(&mut self) {
        self.network.restore();
        self.names.answer(table(self.layout));
        self.names.resume();
        self.front.reply(|_| Reply::Site);
        for port in PORTS {
            self.front.open(port);
        }
        self.world.set_config(&self.config);
        self.starter.clear();
        self.held_ports.clear();
        self.authorities = "ca.pem";
    }
}

/// How sites become unreachable.
#[derive(Clone, Copy)]
pub enum Death {
    /// ECONNREFUSED.
    Refused,
    /// EHOSTUNREACH.
    NoRoute,
    /// No packet comes back.
    NoPacket,
    /// NXDOMAIN.
    NoName,
}

/// Returns the answers of a name server that knows the sites.
fn table(layout: Layout) -> impl Fn(&str) -> Answer + Send + 'static {
    move |asked| number(asked).map_or(Answer::Unknown, |number| Answer::Address((layout.address)(number)))
}
