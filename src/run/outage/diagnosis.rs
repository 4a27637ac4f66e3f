//! The likely cause of failures that are our own fault, and what shows it.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use super::fingerprint::is_about_time;
use super::observation::{Evidence, Observation};
use super::witness::Key;
use crate::model::{Cause, FailureClass, Fault, TlsCause};

/// A clock that differs by more seconds is wrong.
const MAX_CLOCK_OFFSET_S: i64 = 300;

/// How many names with one address make it suspicious, although each had a network of its own before.
const MIN_NAMES: usize = 3;

/// Failures that are our own fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The most likely cause.
    pub fault: Fault,
    /// What shows it.
    pub detail: Detail,
    /// How many sites show it: witnesses that failed for this cause, or what this machine could not try.
    pub sites: u64,
    /// How many failures are not counted.
    pub uncounted: u64,
    /// Whether the run ends for it. If not, this machine could not try some sites, and polled the others.
    pub ends_run: bool,
}

/// What shows the cause of an outage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// What this machine could not do, by the message of one of the failures.
    Local(String),
    /// The message of one of the failures.
    Message(String),
    /// The address of all names, and whether the egress policy refuses it.
    Address(IpAddr, bool),
    /// The host that all sites redirect to.
    Redirect(String),
    /// The title of the page that all sites answer with.
    Page(String),
    /// The status of all answers, and the text of sites that cannot read our messages.
    Status(u16, Option<String>),
    /// The text of a listener or of the API.
    Text(String),
    /// The time of the sites minus the time of this machine, in seconds.
    ClockOffset(i64),
    /// All certificates seem to have expired.
    CertificatesExpired,
    /// No certificate seems to be valid yet.
    CertificatesNotYetValid,
    /// All messages seem to have expired.
    MessagesExpired,
}

/// The diagnosis of a run in which this machine could not try some sites.
pub(super) fn local(fault: Fault, evidence: &Evidence, sites: u64) -> Outage {
    let detail = Detail::Local(evidence.failure.message.clone());
    Outage { fault, detail, sites, uncounted: sites, ends_run: false }
}

/// The diagnosis of failures that are our own fault, by what most of them have in common; at least one.
pub(super) fn verdict(found: &[&Observation], uncounted: u64) -> Outage {
    let evidence: Vec<_> = found.iter().filter_map(|seen| seen.failure.as_ref()).collect();
    let fault = most_frequent(evidence.iter().map(|evidence| fault_of(evidence))).unwrap_or(Fault::SameAnswer);
    if let (Fault::Refused | Fault::Distrusted | Fault::SameAnswer, Some(offset)) = (fault, wrong_clock(found)) {
        let (detail, sites) = (Detail::ClockOffset(offset), evidence.len() as u64);
        return Outage { fault: Fault::Clock, detail, sites, uncounted, ends_run: true };
    }
    let example = evidence.iter().find(|evidence| fault_of(evidence) == fault);
    let (fault, detail) = example.map_or((fault, Detail::Message(String::new())), |example| {
        same_address(found, fault).unwrap_or_else(|| (fault, detail(fault, example, found)))
    });
    let sites = evidence.len() as u64;
    Outage { fault, detail, sites, uncounted, ends_run: true }
}

/// Whether a portal may have answered for the site.
pub(super) fn is_of_portal(seen: &Observation) -> bool {
    seen.failure.as_ref().is_some_and(|evidence| fault_of(evidence) == Fault::Portal)
}

/// The fault that one failure points to, where many sites have the same failure.
pub(super) fn fault_of(evidence: &Evidence) -> Fault {
    use FailureClass::{Api, Blocked, Connect, Disconnected, Dns, Gone, Http, Listener, Timeout, Tls};
    match (evidence.failure.class, &evidence.failure.cause) {
        (_, Cause::Local(fault)) => *fault,
        (_, Cause::NoSuchName | Cause::NameServer) | (Dns, _) => Fault::NameServers,
        (Blocked, Cause::Address(_)) => Fault::SameAddress,
        (_, Cause::Redirect(_) | Cause::Page(_) | Cause::Status(407 | 511, _)) => Fault::Portal,
        (_, cause) if is_about_time(cause) => Fault::Clock,
        (_, Cause::Tls(TlsCause::UnknownIssuer)) => Fault::Authorities,
        (_, Cause::Status(_, Some(_))) => Fault::Distrusted,
        (Http | Gone, _) | (_, Cause::Status(400.., None)) => Fault::Refused,
        (Listener, _) => Fault::Listener,
        (Api, _) => Fault::Api,
        (Connect | Timeout | Disconnected | Tls, _) if !evidence.trace.answered => Fault::Network,
        _ => Fault::SameAnswer,
    }
}

/// The diagnosis that all names have one address.
///
/// `None` if they have not, or if another explains more.
fn same_address(found: &[&Observation], fault: Fault) -> Option<(Fault, Detail)> {
    if !matches!(fault, Fault::SameAddress | Fault::Network | Fault::Authorities | Fault::SameAnswer) {
        return None;
    }
    let addresses: Vec<_> = found.iter().filter_map(|seen| address(seen.failure.as_ref()?)).collect();
    let (address, is_blocked) = *addresses.first()?;
    let names: HashSet<_> = found.iter().map(|seen| seen.key).filter(|key| matches!(key, Key::Name(_))).collect();
    let is_same = addresses.len() == found.len() && addresses.iter().all(|(other, _)| *other == address);
    if is_same && names.len() >= MIN_NAMES {
        return Some((Fault::SameAddress, Detail::Address(address, is_blocked)));
    }
    // Addresses that differ, and may not be connected to: these names were public before.
    (fault == Fault::SameAddress).then_some((Fault::NameServers, Detail::Address(address, is_blocked)))
}

/// The address of a failure, and whether the egress policy refuses it.
fn address(evidence: &Evidence) -> Option<(IpAddr, bool)> {
    match evidence.failure.cause {
        Cause::Address(address) => Some((address, true)),
        _ => evidence.trace.address.map(|address| (address, false)),
    }
}

fn detail(fault: Fault, example: &Evidence, found: &[&Observation]) -> Detail {
    let message = || Detail::Message(example.failure.message.clone());
    match (&example.failure.cause, fault) {
        (Cause::Local(_), _) => Detail::Local(example.failure.message.clone()),
        (cause, Fault::Clock) => match wrong_clock(found) {
            Some(offset) => Detail::ClockOffset(offset),
            _ if *cause == Cause::Tls(TlsCause::Expired) => Detail::CertificatesExpired,
            _ if *cause == Cause::Tls(TlsCause::NotYetValid) => Detail::CertificatesNotYetValid,
            _ => Detail::MessagesExpired,
        },
        (Cause::Redirect(host), _) => Detail::Redirect(host.clone()),
        (Cause::Page(title), _) => Detail::Page(title.clone()),
        (Cause::Status(status, text), _) => Detail::Status(*status, text.clone()),
        (Cause::Text(text), _) => Detail::Text(text.clone()),
        (_, Fault::Listener | Fault::Api) => Detail::Text(example.failure.message.clone()),
        _ => message(),
    }
}

/// How much the clock of this machine is wrong, in seconds, by the median of those of witnesses.
///
/// `None` if it is right, or if no reply had a date.
fn wrong_clock(found: &[&Observation]) -> Option<i64> {
    let offset = |seen: &&Observation| Some((seen.key, seen.failure.as_ref()?.trace.clock_offset_s?));
    let mut offsets: Vec<_> = found.iter().filter_map(offset).collect::<HashMap<_, _>>().into_values().collect();
    offsets.sort_unstable();
    offsets.get(offsets.len() / 2).copied().filter(|offset| offset.abs() > MAX_CLOCK_OFFSET_S)
}

fn most_frequent<T: Copy + Eq + Hash + Ord>(items: impl Iterator<Item = T>) -> Option<T> {
    let mut counts = HashMap::<T, usize>::new();
    items.for_each(|item| *counts.entry(item).or_default() += 1);
    counts.into_iter().max_by_key(|(item, count)| (*count, *item)).map(|(item, _)| item)
}
