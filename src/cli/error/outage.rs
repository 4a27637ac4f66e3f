//! The one line about failures that are our own fault.

use std::fs;

use ureq::http::StatusCode;

use crate::model::{Fault, UnixTime};
use crate::run::outage::{Detail, Outage};
use crate::util::text::count;
use crate::util::time::{rfc3339, unix_now};

/// What a line may say about this machine.
struct Machine {
    /// The name servers, as its configuration lists them.
    name_servers: Vec<String>,
    now: UnixTime,
}

/// The line about failures that are our own fault. `left` is how many sites are left to the next run.
pub(in crate::cli) fn outage_text(outage: &Outage, left: u64) -> String {
    let name_servers = match outage.fault {
        Fault::NameServers => name_servers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
        _ => Vec::new(),
    };
    text(outage, left, &Machine { name_servers, now: unix_now() })
}

fn text(outage: &Outage, left: u64, machine: &Machine) -> String {
    let (cause, hint) = explain(outage, machine);
    let failures = count(outage.uncounted, "failure");
    let rest = match left {
        0 => String::new(),
        1 => ", and the next run polls the one site that is left".to_owned(),
        left => format!(", and the next run polls the {left} sites that are left"),
    };
    format!("{cause}: {failures} not counted{rest}; {hint}")
}

/// The cause, and what to do about it.
fn explain(outage: &Outage, machine: &Machine) -> (String, String) {
    let Outage { fault, detail, sites, .. } = outage;
    let sites = count(*sites, "site");
    let were_fine = format!("{sites} that were fine before");
    let message = match detail {
        Detail::Message(message) | Detail::Text(message) => format!(" ({message})"),
        _ => String::new(),
    };
    let (cause, hint) = match fault {
        Fault::Network => (
            format!("this machine's network seems to be down, or a firewall refuses connections: {were_fine} cannot be reached{message}"),
            "check the network, and the firewall of this machine".to_owned(),
        ),
        Fault::NameServers => name_server_fault(&were_fine, &message, detail, machine),
        Fault::SameAddress => same_address(&were_fine, detail),
        Fault::Firewall => (
            format!("this machine may not connect to {sites}: a firewall or a missing permission forbids it{message}"),
            "check the firewall of this machine, and what its user or service may do".to_owned(),
        ),
        Fault::NoRoute => (
            format!("this machine has no route to {sites}{message}"),
            "check the network and its routes (ip route, ip -6 route)".to_owned(),
        ),
        Fault::NoPort => (
            format!("no local port is free to connect to {sites}{message}"),
            "see which program uses the ports (ss -tan), and widen net.ipv4.ip_local_port_range".to_owned(),
        ),
        Fault::OpenFiles => (
            format!("the limit of open files is reached, so {sites} could not be polled{message}"),
            "raise it (ulimit -n, or LimitNOFILE= of the service), or use fewer --threads".to_owned(),
        ),
        Fault::Memory => (
            format!("there is not enough memory to poll {sites}{message}"),
            "free memory, or use fewer --threads".to_owned(),
        ),
        Fault::Clock => clock(&were_fine, detail, machine),
        Fault::Authorities => (
            format!("no trusted CA certificate verifies the certificates of {sites}{message}"),
            "install the package ca-certificates, and check SSL_CERT_FILE and SSL_CERT_DIR; a proxy that inspects TLS needs `ca-file`".to_owned(),
        ),
        Fault::Portal => portal(&were_fine, detail),
        Fault::Refused => (
            format!("{were_fine} all {}: they seem to block this machine's address or the app", answered(detail)),
            "ask one of the sites, or its provider, why it refuses; `cxnpoll call` shows the whole reply".to_owned(),
        ),
        Fault::Distrusted => (
            format!("{were_fine} all {}: they do not accept the app's certificate or our secrets", answered(detail)),
            "check `app-cert` with `cxnpoll config check`, and that the store is not an old copy".to_owned(),
        ),
        Fault::Listener => (
            format!("the listener failed at {were_fine}{message}"),
            "correct the job's own logic; `cxnpoll event` calls it for one connection".to_owned(),
        ),
        Fault::Api => (
            format!("the API of {were_fine} returned the same error{message}"),
            "check what the job calls, and the permissions of the app".to_owned(),
        ),
        Fault::SameAnswer => (
            format!("{were_fine} all failed in the same way{message}"),
            "look for a cause on this machine or in its network before you blame the sites".to_owned(),
        ),
    };
    (cause, hint)
}

fn name_server_fault(were_fine: &str, message: &str, detail: &Detail, machine: &Machine) -> (String, String) {
    let servers = match machine.name_servers.as_slice() {
        [] => "the name server".to_owned(),
        [one] => format!("the name server {one} of /etc/resolv.conf"),
        several => format!("the name servers {} of /etc/resolv.conf", several.join(", ")),
    };
    let cause = match detail {
        Detail::Address(address, _) => {
            format!("the names of {were_fine} have addresses such as {address} now, to which no connection was made")
        }
        _ => format!("the names of {were_fine} cannot be resolved{message}"),
    };
    (cause, format!("check {servers}, and the network"))
}

fn same_address(were_fine: &str, detail: &Detail) -> (String, String) {
    let (address, not_called) = match detail {
        Detail::Address(address, true) => {
            (format!("the same address, {address}"), ", and no connection to it was made")
        }
        Detail::Address(address, false) => (format!("the same address, {address}"), ""),
        _ => ("the same address".to_owned(), ""),
    };
    (
        format!("the name server gives {address}, for the names of {were_fine}{not_called}"),
        "check /etc/resolv.conf and the network: a captive portal or a DNS filter may answer for all names".to_owned(),
    )
}

fn clock(were_fine: &str, detail: &Detail, machine: &Machine) -> (String, String) {
    let shown = format!("which shows {}", rfc3339(machine.now));
    let cause = match detail {
        Detail::ClockOffset(offset) => {
            let direction = if *offset > 0 { "behind" } else { "ahead of" };
            format!("this machine's clock, {shown}, is {} {direction} that of {were_fine}", length(*offset))
        }
        Detail::CertificatesExpired => {
            format!(
                "all certificates seem to have expired, those of {were_fine}: this machine's clock, {shown}, may be wrong"
            )
        }
        Detail::CertificatesNotYetValid => {
            format!("no certificate seems to be valid yet, of {were_fine}: this machine's clock, {shown}, may be wrong")
        }
        _ => format!("all messages seem to have expired, of {were_fine}: this machine's clock, {shown}, may be wrong"),
    };
    (cause, "correct the clock (timedatectl)".to_owned())
}

fn portal(were_fine: &str, detail: &Detail) -> (String, String) {
    let cause = match detail {
        Detail::Redirect(host) => format!("{were_fine} all redirect to {host}"),
        Detail::Page(title) => format!("{were_fine} all answer with one page, \"{title}\""),
        _ => format!("the network requires a login: {were_fine} all {}", answered(detail)),
    };
    (
        format!("{cause}: a captive portal or a proxy seems to answer for them"),
        "log in to the network, or ask its administrator".to_owned(),
    )
}

/// What sites answered: `answered 403 Forbidden`.
fn answered(detail: &Detail) -> String {
    let (status, text) = match detail {
        Detail::Status(status, text) => (status, text),
        Detail::Message(message) => return format!("refused ({message})"),
        _ => return "refused".to_owned(),
    };
    let reason = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let answer = format!("answered {status} {reason}");
    match text {
        None => answer.trim_end().to_owned(),
        Some(text) => format!("{}, \"{text}\"", answer.trim_end()),
    }
}

/// A length of time in one unit: `3 hours`.
fn length(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    let (unit, name) =
        [(86_400, "day"), (3600, "hour")].into_iter().find(|(unit, _)| seconds >= 2 * unit).unwrap_or((60, "minute"));
    count((seconds + unit / 2) / unit, name)
}

/// The name servers that a `resolv.conf` lists.
fn name_servers(resolv_conf: &str) -> Vec<String> {
    let server = |line: &str| Some(line.trim().strip_prefix("nameserver")?.split_whitespace().next()?.to_owned());
    resolv_conf.lines().filter_map(server).collect()
}
