//! The one line about failures that are our own fault.

use ureq::http::StatusCode;

use crate::model::{Fault, UnixTime};
use crate::run::outage::{Detail, Outage};
use crate::site::name_servers;
use crate::util::text::count;
use crate::util::time::{rfc3339, unix_now};

/// The line about failures that are our own fault. `left` is how many sites are left to the next run.
///
/// It has the cause, what happens to the sites, and what to do.
pub(in crate::cli) fn outage_text(outage: &Outage, left: u64) -> String {
    let name_servers = if outage.fault == Fault::NameServers { name_servers() } else { Vec::new() };
    text(outage, left, &name_servers, unix_now())
}

fn text(outage: &Outage, left: u64, name_servers: &[String], now: UnixTime) -> String {
    let cause = cause(outage, now);
    let hint = hint(outage, name_servers).map_or_else(String::new, |hint| format!("; {hint}"));
    let (failures, left) = (count(outage.uncounted, "failure"), count(left, "site"));
    format!("{cause}; {failures} not counted, the next run polls {left}{hint}")
}

fn cause(outage: &Outage, now: UnixTime) -> String {
    let Outage { fault, detail, .. } = outage;
    let sites = count(outage.sites, "site");
    let were_fine = if outage.ends_run { format!("{sites} that were fine before") } else { sites.clone() };
    let message = match detail {
        Detail::Message(message) | Detail::Text(message) => format!(" ({message})"),
        Detail::Local(message) => return format!("{sites} could not be tried: {message}"),
        _ => String::new(),
    };
    match fault {
        Fault::Network => format!(
            "this machine's network seems to be down, or a firewall refuses connections: {were_fine} cannot be \
             reached{message}"
        ),
        Fault::NameServers => match detail {
            Detail::Address(address, _) => format!(
                "the name server gives addresses that may not be connected to, such as {address}, for {were_fine}"
            ),
            _ => format!("the names of {were_fine} cannot be resolved{message}"),
        },
        Fault::SameAddress => match detail {
            Detail::Address(address, is_blocked) => {
                let not_called = if *is_blocked { ", and no connection to it was made" } else { "" };
                format!("the name server gives the same address, {address}, for {were_fine}{not_called}")
            }
            _ => format!("the name server gives the same address for {were_fine}"),
        },
        Fault::Firewall | Fault::NoRoute | Fault::NoPort | Fault::OpenFiles | Fault::Memory => {
            format!("{sites} could not be tried{message}")
        }
        Fault::Clock => clock(&were_fine, detail, now),
        Fault::Authorities => format!("this machine trusts none of the certificates of {were_fine}{message}"),
        Fault::Portal => {
            let answer = match detail {
                Detail::Redirect(host) => format!("redirect to {host}"),
                Detail::Page(title) => format!("answer with one page, \"{title}\""),
                detail => answered(detail),
            };
            format!(
                "{were_fine} all {answer}: a captive portal, or a proxy that wants a login, seems to answer for them"
            )
        }
        Fault::Refused => {
            let why = match detail {
                Detail::Status(500.., _) => "a proxy before this machine, or what the job sends, may cause that",
                _ => "this machine's address or the app seems to be blocked",
            };
            format!("{were_fine} all {}: {why}", answered(detail))
        }
        Fault::Distrusted => {
            format!("{were_fine} all {}: they do not accept the app's certificate or our secrets", answered(detail))
        }
        Fault::Listener => format!("the listener fails at {were_fine}{message}"),
        Fault::Api => format!("the API of {were_fine} returns the same error{message}"),
        Fault::SameAnswer => format!("{were_fine} all fail in the same way{message}"),
    }
}

/// What to do; `None` if the cause says it.
fn hint(outage: &Outage, name_servers: &[String]) -> Option<String> {
    let is_local = matches!(outage.detail, Detail::Local(_));
    let hint = match outage.fault {
        Fault::Network => "check the network, and the firewall of this machine",
        Fault::NameServers if is_local => "check the name server, or change it",
        Fault::NameServers => {
            let which = match name_servers {
                [] => "/etc/resolv.conf".to_owned(),
                servers => format!("{} (/etc/resolv.conf)", servers.join(", ")),
            };
            return Some(format!("check the name server {which}"));
        }
        Fault::SameAddress => "check /etc/resolv.conf: a captive portal or a filter may answer for names",
        Fault::Firewall => "check the firewall of this machine, and the permissions of the program's user or service",
        Fault::NoRoute => "check the network and its routes (ip route, ip -6 route)",
        Fault::Memory => "free memory, or use fewer --threads",
        Fault::NoPort | Fault::OpenFiles => return None,
        Fault::Clock => "correct the clock (timedatectl)",
        Fault::Authorities if is_local => return None,
        Fault::Authorities => {
            "update ca-certificates, or set `ca-file` to the certificate of the proxy that inspects TLS"
        }
        Fault::Portal => "log in to the network, or ask its administrator",
        Fault::Refused => "see the whole reply with `cxnpoll call`, and ask one of the sites or its provider",
        Fault::Distrusted => "check the certificate with `cxnpoll config check`, and that the store is no old copy",
        Fault::Listener => "correct the job's own logic, and try it with `cxnpoll event`",
        Fault::Api => "check what the job calls, and the permissions of the app",
        Fault::SameAnswer => "look for a cause on this machine and in its network first",
    };
    Some(hint.to_owned())
}

fn clock(were_fine: &str, detail: &Detail, now: UnixTime) -> String {
    let shown = format!("it shows {}", rfc3339(now));
    let seem = match detail {
        Detail::ClockOffset(offset) => {
            let direction = if *offset > 0 { "behind" } else { "ahead of" };
            return format!("this machine's clock is {} {direction} that of {were_fine} ({shown})", length(*offset));
        }
        Detail::CertificatesExpired => format!("the certificates of {were_fine} all seem to have expired"),
        Detail::CertificatesNotYetValid => format!("the certificates of {were_fine} all seem not to be valid yet"),
        _ => format!("messages from or to {were_fine} all seem to have expired"),
    };
    format!("{seem}: this machine's clock may be wrong ({shown})")
}

/// What sites answered: `answered 403 Forbidden`.
fn answered(detail: &Detail) -> String {
    let (status, text) = match detail {
        Detail::Status(status, text) => (status, text),
        Detail::Message(message) => return format!("refused ({message})"),
        _ => return "refused".to_owned(),
    };
    let reason = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let answer = format!("answered {status} {reason}").trim_end().to_owned();
    text.as_ref().map_or(answer.clone(), |text| format!("{answer}, \"{text}\""))
}

/// A length of time in one unit: `3 hours`.
fn length(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    let units = [(86_400, "day"), (3600, "hour")];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds >= 2 * unit).unwrap_or((60, "minute"));
    count((seconds + unit / 2) / unit, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = 1_769_860_800;
    const SPARED: &str = "; 14 failures not counted, the next run polls 60 sites";

    /// The cause in the line, and its hint.
    fn line(fault: Fault, detail: Detail) -> (String, String) {
        let outage = Outage { fault, detail, sites: 13, uncounted: 14, ends_run: true };
        let line = text(&outage, 60, &["192.0.2.53".to_owned()], NOW);
        let (cause, hint) = line.split_once(SPARED).unwrap();
        (cause.to_owned(), hint.trim_start_matches("; ").to_owned())
    }

    #[test]
    fn each_fault_has_a_line_that_names_its_cause() {
        let message = |text: &str| Detail::Message(text.to_owned());
        let same = |is_blocked| Detail::Address([10, 0, 0, 1].into(), is_blocked);
        for (fault, detail, expected) in [
            (
                Fault::Network,
                message("connection refused"),
                "this machine's network seems to be down, or a firewall refuses connections: 13 sites that were fine \
                 before cannot be reached (connection refused)",
            ),
            (
                Fault::NameServers,
                message("no answer"),
                "the names of 13 sites that were fine before cannot be resolved (no answer)",
            ),
            (
                Fault::NameServers,
                same(true),
                "the name server gives addresses that may not be connected to, such as 10.0.0.1, for 13 sites that were \
                 fine before",
            ),
            (
                Fault::SameAddress,
                same(true),
                "the name server gives the same address, 10.0.0.1, for 13 sites that were fine before, and no connection \
                 to it was made",
            ),
            (
                Fault::SameAddress,
                same(false),
                "the name server gives the same address, 10.0.0.1, for 13 sites that were fine before",
            ),
            (
                Fault::NoRoute,
                Detail::Local("this machine has no IPv6 route to 2001:db8::1".to_owned()),
                "13 sites could not be tried: this machine has no IPv6 route to 2001:db8::1",
            ),
            (
                Fault::Clock,
                Detail::ClockOffset(10_830),
                "this machine's clock is 3 hours behind that of 13 sites that were fine before (it shows \
                 2026-01-31T12:00:00Z)",
            ),
            (
                Fault::Clock,
                Detail::CertificatesExpired,
                "the certificates of 13 sites that were fine before all seem to have expired: this machine's clock may be \
                 wrong (it shows 2026-01-31T12:00:00Z)",
            ),
        ] {
            assert_eq!(line(fault, detail).0, expected);
        }
    }

    #[test]
    fn each_answer_has_a_line_that_shows_it() {
        let text = |text: &str| Some(text.to_owned());
        for (fault, detail, expected) in [
            (
                Fault::Portal,
                Detail::Redirect("login.example".to_owned()),
                "13 sites that were fine before all redirect to login.example: a captive portal, or a proxy that wants a \
                 login, seems to answer for them",
            ),
            (
                Fault::Portal,
                Detail::Page("Log in".to_owned()),
                "13 sites that were fine before all answer with one page, \"Log in\": a captive portal, or a proxy that \
                 wants a login, seems to answer for them",
            ),
            (
                Fault::Portal,
                Detail::Status(511, None),
                "13 sites that were fine before all answered 511 Network Authentication Required: a captive portal, or a \
                 proxy that wants a login, seems to answer for them",
            ),
            (
                Fault::Refused,
                Detail::Status(403, None),
                "13 sites that were fine before all answered 403 Forbidden: this machine's address or the app seems to be \
                 blocked",
            ),
            (
                Fault::Refused,
                Detail::Status(502, None),
                "13 sites that were fine before all answered 502 Bad Gateway: a proxy before this machine, or what the \
                 job sends, may cause that",
            ),
            (
                Fault::Distrusted,
                Detail::Status(400, text("Invalid appCert")),
                "13 sites that were fine before all answered 400 Bad Request, \"Invalid appCert\": they do not accept the \
                 app's certificate or our secrets",
            ),
            (
                Fault::Listener,
                Detail::Text("KeyError: version".to_owned()),
                "the listener fails at 13 sites that were fine before (KeyError: version)",
            ),
            (
                Fault::Api,
                Detail::Text("no permission".to_owned()),
                "the API of 13 sites that were fine before returns the same error (no permission)",
            ),
            (
                Fault::SameAnswer,
                Detail::Message("garbled".to_owned()),
                "13 sites that were fine before all fail in the same way (garbled)",
            ),
        ] {
            assert_eq!(line(fault, detail).0, expected);
        }
    }

    #[test]
    fn each_fault_has_a_line_with_a_hint_and_few_name_the_network() {
        for fault in Fault::ALL {
            let (cause, hint) = line(fault, Detail::Message("no".to_owned()));
            let says_what_to_do = matches!(fault, Fault::NoPort | Fault::OpenFiles);
            assert!(cause.contains("13 sites") && hint.is_empty() == says_what_to_do, "{cause}; {hint}");
            assert_eq!(cause.contains("network seems to be down"), fault == Fault::Network, "{cause}");
        }
        let (_, hint) = line(Fault::NameServers, Detail::Message("no".to_owned()));
        assert_eq!(hint, "check the name server 192.0.2.53 (/etc/resolv.conf)");
    }

    #[test]
    fn a_length_of_time_is_rounded() {
        for (seconds, expected) in [
            (400 * 86_400, "400 days"),
            (-10_790, "3 hours"),
            (7_199, "120 minutes"),
            (86_400, "24 hours"),
            (330, "6 minutes"),
        ] {
            assert_eq!(length(seconds), expected);
        }
    }
}
