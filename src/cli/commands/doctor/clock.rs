//! The clock of this machine, compared with the dates of replies.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::commands::findings::{Check, Findings};
use crate::cli::context::Context;
use crate::cli::ui::time;
use crate::model::{AppMeta, Cxn, Tls};
use crate::site::{Client, Timeouts};
use crate::util::text::count;

use super::last_runs::CLOCK_TOLERANCE_S;

/// How long the sites may take to answer.
const MAX_WAIT: Duration = Duration::from_secs(4);

/// Asks sites for the time, each with one request for the header of its front page.
pub(super) fn check(context: &Context, sites: Vec<Cxn>, findings: &mut Findings) {
    if sites.is_empty() {
        return findings.skip(Check::Clock, "no site has been polled with success yet, so that none can be asked");
    }
    let step = MAX_WAIT / 2;
    let timeouts = Timeouts { resolve: step, connect: step, tls: step, first_byte: None, call: MAX_WAIT };
    // What the policy refuses is not asked. A certificate does not matter for the time.
    let app = AppMeta { tls: Tls::SkipVerify, ..AppMeta::bare(sites[0].app_id.clone()) };
    let Ok(client) = context.client_with(&app, timeouts) else {
        return findings.skip(Check::Clock, "the CA certificates of the configuration cannot be read");
    };
    let asked = sites.len();
    let offsets = ask(client, sites);
    match median(offsets.clone()) {
        None => findings.skip(Check::Clock, format!("none of {} answered with a date", count(asked as u64, "site"))),
        Some(offset) if offset.abs() > CLOCK_TOLERANCE_S => {
            let direction = if offset > 0 { "behind" } else { "ahead of" };
            let message = format!(
                "the clock is {} {direction} that of {}",
                time::duration(offset.abs()),
                count(offsets.len() as u64, "site")
            );
            findings.add(Check::Clock, message, "correct the clock: timedatectl set-ntp true");
        }
        Some(_) => findings.check([Check::Clock]),
    }
}

/// The times of sites minus that of this machine, in seconds, of those that answer in time.
fn ask(client: Client, sites: Vec<Cxn>) -> Vec<i64> {
    let client = Arc::new(client);
    let (sender, receiver) = mpsc::channel();
    for cxn in sites {
        let (client, sender) = (client.clone(), sender.clone());
        let ask = move || {
            // Nothing waits for an answer that is late.
            let _ = sender.send(client.clock_offset_s(&cxn));
        };
        // Without a thread the site is not asked.
        let _ = thread::Builder::new().spawn(ask);
    }
    drop(sender);
    let until = Instant::now() + MAX_WAIT;
    let mut offsets = Vec::new();
    while let Ok(answer) = receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
        offsets.extend(answer);
    }
    offsets
}

/// The median; `None` of nothing.
fn median(mut offsets: Vec<i64>) -> Option<i64> {
    offsets.sort_unstable();
    offsets.get(offsets.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_not_that_of_one_wrong_site() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![7]), Some(7));
        assert_eq!(median(vec![9000, 0]), Some(0));
        assert_eq!(median(vec![9000, 1, 0]), Some(1));
    }
}
