//! A fleet: sites whose statuses evolve from run to run.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use cxnpoll::model::{PollStatus, UnixTime};
use cxnpoll::retry::Policy;
use cxnpoll::run::simulation::{Ran, Reply, Simulation};
use cxnpoll::store::PollTask;
use fastrand::Rng;

use super::common::{HOUR, MIDNIGHT};
use super::member::{Member, members};
use super::poll::{Flaw, Ours};
use super::scenario::{Onset, Scenario, Theirs};

/// How many polls are in flight on one host.
const PER_HOST: usize = 4;
/// How many runs a status remembers.
const HISTORY: u32 = 10;
/// The chance that a site which failed is well again in the next run.
const RECOVERY: f64 = 0.5;

/// A fleet, and what happens to it.
pub struct Fleet {
    scenario: Scenario,
    threads: usize,
    policy: Policy,
    now: UnixTime,
    outage_since: Option<UnixTime>,
    /// The chance that a living site fails in a run.
    failing: f64,
    members: Vec<Member>,
    rng: Rng,
    /// How many runs remain until something happens, and then until it is over.
    calm: u32,
    lasts: u32,
}

/// What a run was like.
pub struct Observed {
    /// The fault of ours that the run met; `None` if there was none.
    pub fault: Option<Ours>,
    /// How many networks had a witness whose poll had not begun when the fault did, or the run.
    pub witnesses: usize,
    /// How many sites that were well before had a failure counted that was ours.
    pub charged: usize,
    /// What the run led to.
    pub ran: Ran,
}

/// What happens in one run.
#[derive(Clone, Copy)]
enum Happening {
    Nothing,
    /// The sites that are hit fail so.
    Flaw(Flaw),
    /// All fail so that begin after so much time.
    Fault(Ours, Duration),
}

impl Fleet {
    /// Returns a fleet of `size` sites that have been polled before.
    pub fn new(scenario: Scenario, size: usize, threads: usize, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        // Failing sites are polled as often as others, or once a day after two days.
        let retry = if rng.bool() { "1 hour (x*)" } else { "1 hour (x48); 1 day (x90)" };
        let policy: Policy = retry.parse().expect("a valid expression");
        let failing = 0.01 + 0.04 * rng.f64();
        let members = members(scenario, size, &policy, MIDNIGHT, &mut rng);
        let (now, outage_since) = (MIDNIGHT, None);
        let mut fleet = Self { scenario, threads, policy, now, outage_since, failing, members, rng, calm: 2, lasts: 0 };
        // The statuses hold the networks of the sites from now on.
        fleet.next_run();
        fleet
    }

    /// Makes the next run.
    pub fn next_run(&mut self) -> Observed {
        self.change_flaws();
        let due = self.due();
        let happening = self.happening(&due);
        let (fault, fault_at) = match happening {
            Happening::Fault(fault, at) => (Some(fault), at),
            Happening::Nothing | Happening::Flaw(_) => (None, Duration::ZERO),
        };
        let witnesses = due.iter().filter(|task| is_witness(&task.status)).map(|task| task.locator.seq);
        let mut waiting: HashSet<u64> = witnesses.collect();
        let mut innocent = HashSet::new();
        let simulation = Simulation {
            policy: self.policy.clone(),
            now: self.now,
            threads: self.threads,
            per_host: PER_HOST,
            outage_since: self.outage_since,
        };
        let (members, rng) = (&self.members, &mut self.rng);
        let addresses = |task: &PollTask| addresses(member(members, task.locator.seq), happening);
        let ran = simulation.run(due, addresses, |task, began| {
            let seq = task.locator.seq;
            if began < fault_at {
                waiting.remove(&seq);
            }
            let (reply, is_ours) = reply(member(members, seq), happening, began, rng);
            if is_ours && is_witness(&task.status) {
                innocent.insert(seq);
            }
            reply
        });
        let networks: HashSet<u32> = waiting.iter().map(|seq| member(&self.members, *seq).network).collect();
        let is_charged = |seq: u64, next: &PollStatus| innocent.contains(&seq) && !is_witness(next);
        let charged = ran.updates.iter().filter(|update| is_charged(update.locator.seq, &update.next)).count();
        for update in &ran.updates {
            let index = usize::try_from(update.locator.seq).expect("a small number");
            self.members[index].status = update.next.clone();
        }
        if charged > 0 {
            // Faults of ours are rare. The next one comes when the histories of the sites show no trace of this one.
            (self.calm, self.lasts) = (HISTORY, 0);
        }
        self.outage_since = ran.outage_since;
        self.now += HOUR;
        Observed { fault, witnesses: networks.len(), charged, ran }
    }

    /// Makes sites fail and recover.
    fn change_flaws(&mut self) {
        for member in &mut self.members {
            let changes = if member.flaw.is_some() { RECOVERY } else { self.failing };
            if self.rng.f64() < changes {
                member.flaw = member.flaw.is_none().then(|| Flaw::any(&mut self.rng));
            }
        }
    }

    fn due(&self) -> Vec<PollTask> {
        let tasks = self.members.iter().zip(0..).filter_map(|(member, seq)| member.task(seq, &self.policy));
        tasks.filter(|task| task.due <= self.now).collect()
    }

    /// Returns what happens now, and chooses the sites that are hit.
    fn happening(&mut self, due: &[PollTask]) -> Happening {
        if self.calm > 0 {
            self.calm -= 1;
            return Happening::Nothing;
        }
        if self.lasts == 0 {
            self.lasts = if matches!(self.scenario, Scenario::Ours(..)) { self.rng.u32(1..=3) } else { 1 };
        }
        self.lasts -= 1;
        if self.lasts == 0 {
            self.calm = self.rng.u32(1..=2);
        }
        match self.scenario {
            Scenario::Ours(fault, Onset::Before) => Happening::Fault(fault, Duration::ZERO),
            Scenario::Ours(fault, Onset::During) => {
                let total: u64 = due.iter().map(|task| member(&self.members, task.locator.seq).site.usual_ms).sum();
                let length = Duration::from_millis(total / self.threads.min(due.len()).max(1) as u64);
                Happening::Fault(fault, length.mul_f64(0.8 * self.rng.f64()))
            }
            Scenario::Theirs(Theirs::Single | Theirs::Crowd | Theirs::AllDead) => Happening::Nothing,
            Scenario::Theirs(Theirs::Provider(flaw)) => Happening::Flaw(flaw),
            Scenario::Theirs(Theirs::Spread(flaw)) => {
                self.hit_some(30);
                Happening::Flaw(flaw)
            }
            Scenario::Theirs(Theirs::Half(flaw)) => {
                self.hit_some(50);
                Happening::Flaw(flaw)
            }
        }
    }

    /// Hits this share of the living sites.
    fn hit_some(&mut self, percent: usize) {
        let mut living: Vec<usize> =
            (0..self.members.len()).filter(|index| self.members[*index].died_of.is_none()).collect();
        self.rng.shuffle(&mut living);
        let hit = living.len() * percent / 100;
        for (place, index) in living.into_iter().enumerate() {
            self.members[index].is_hit = place < hit;
        }
    }
}

/// Returns the addresses of a site, none if its name is not resolved when the run begins.
fn addresses(member: &Member, happening: Happening) -> Vec<IpAddr> {
    let is_resolved = match happening {
        Happening::Flaw(flaw) if member.is_hit => flaw.has_address(),
        Happening::Fault(fault, Duration::ZERO) => fault.has_addresses(),
        _ => true,
    };
    let own = member.died_of.or(member.flaw);
    if is_resolved && own.is_none_or(Flaw::has_address) { vec![member.site.address] } else { Vec::new() }
}

/// Returns how a poll ends that begins at `began`, and whether it fails for a fault of ours alone.
fn reply(member: &Member, happening: Happening, began: Duration, rng: &mut Rng) -> (Reply, bool) {
    let own = member.died_of.or(member.flaw);
    let flaw = match happening {
        Happening::Flaw(flaw) if member.is_hit => own.or(Some(flaw)),
        _ => own,
    };
    let site = &member.site;
    let usual = match flaw {
        Some(flaw) => flaw.reply(site, rng),
        None => site.well(rng),
    };
    let Happening::Fault(fault, at) = happening else { return (usual, false) };
    if began >= at {
        if flaw.is_none_or(|flaw| fault.hides(flaw)) {
            return (fault.reply(site, rng), flaw.is_none());
        }
    } else if began + usual.duration > at && fault.cuts() && usual.outcome.is_ok() {
        return (site.cut_off(rng), true);
    }
    (usual, false)
}

fn member(members: &[Member], seq: u64) -> &Member {
    &members[usize::try_from(seq).expect("a small number")]
}

/// Returns whether the last poll succeeded.
fn is_witness(status: &PollStatus) -> bool {
    status.attempts.last().is_some_and(|attempt| attempt.class.is_none())
}
