//! Simulated sites in a separate process, so that their CPU time and memory are not measured.

use std::env;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use civisite::{Behaviour, Server, Site};

use super::common::Result;

/// The argument with which a bench serves sites instead of measuring.
const SERVE: &str = "serve";

/// The process that serves the sites.
pub struct Sites {
    process: Child,
    port: u16,
}

impl Sites {
    /// Starts this executable again as the process that serves the sites.
    pub fn start() -> Result<Self> {
        let mut process =
            Command::new(env::current_exe()?).arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut port = String::new();
        BufReader::new(process.stdout.take().ok_or("no pipe from the sites")?).read_line(&mut port)?;
        Ok(Self { process, port: port.trim().parse()? })
    }

    /// Returns a site on its own host.
    pub fn site(&self, number: u32, behaviour: Behaviour, latency: Duration) -> Site {
        self.site_at(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + number), number, behaviour, latency)
    }

    /// Returns a site at a loopback address.
    pub fn site_at(&self, host: Ipv4Addr, number: u32, behaviour: Behaviour, latency: Duration) -> Site {
        let mut site = Site::new(SocketAddr::from((host, self.port)), number, behaviour);
        site.site_url = format!("{}?ms={}", site.site_url, latency.as_millis());
        site
    }
}

impl Drop for Sites {
    fn drop(&mut self) {
        // The process exits when its standard input is closed.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Serves sites if this is their process, and returns whether it was.
///
/// Returns when standard input is closed, which also happens when the bench is killed.
pub fn serve() -> Result<bool> {
    if !env::args().any(|arg| arg == SERVE) {
        return Ok(false);
    }
    let server = Server::bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
    println!("{}", server.port());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(true)
}
