//! Which fault failures point to.

use super::*;

#[test]
fn each_cause_has_its_fault() {
    use FailureClass::{Api, Blocked, Dns, Garbled, Http, Listener, Protocol, Redirect, Timeout, Tls};
    let text = |text: &str| Some(text.to_owned());
    let same: IpAddr = [10, 0, 0, 1].into();
    for (class, cause, fault, detail) in [
        (Dns, Cause::NoSuchName, Fault::NameServers, Detail::Message("it failed".into())),
        (Timeout, Cause::NameServer, Fault::NameServers, Detail::Message("it failed".into())),
        (Blocked, Cause::Address(same), Fault::SameAddress, Detail::Address(same, true)),
        (Redirect, Cause::Redirect("portal.example".into()), Fault::Portal, Detail::Redirect("portal.example".into())),
        (Garbled, Cause::Page("Log in".into()), Fault::Portal, Detail::Page("Log in".into())),
        (Http, Cause::Status(511, None), Fault::Portal, Detail::Status(511, None)),
        (Http, Cause::Status(407, None), Fault::Portal, Detail::Status(407, None)),
        (Http, Cause::Status(400, text("Invalid TTL")), Fault::Clock, Detail::MessagesExpired),
        (
            Http,
            Cause::Status(400, text("Invalid appCert")),
            Fault::Distrusted,
            Detail::Status(400, text("Invalid appCert")),
        ),
        (Http, Cause::Status(502, None), Fault::Refused, Detail::Status(502, None)),
        (Protocol, Cause::Expired, Fault::Clock, Detail::MessagesExpired),
        (Tls, Cause::Tls(TlsCause::Expired), Fault::Clock, Detail::CertificatesExpired),
        (Tls, Cause::Tls(TlsCause::NotYetValid), Fault::Clock, Detail::CertificatesNotYetValid),
        (Tls, Cause::Tls(TlsCause::UnknownIssuer), Fault::Authorities, Detail::Message("it failed".into())),
        (Listener, Cause::Text("KeyError".into()), Fault::Listener, Detail::Text("KeyError".into())),
        (Listener, Cause::Message, Fault::Listener, Detail::Text("it failed".into())),
        (Api, Cause::Text("no permission".into()), Fault::Api, Detail::Text("no permission".into())),
        (Garbled, Cause::Message, Fault::SameAnswer, Detail::Message("it failed".into())),
    ] {
        let mut run = Run::new();
        run.poll(0..5, &failed(class, cause.clone()));
        let outage = run.outage();
        assert_eq!((outage.fault, outage.detail), (fault, detail), "{class} {cause:?}");
    }
}

#[test]
fn the_clock_is_wrong_by_the_median_of_the_sites() {
    for (offsets, expected) in [
        ([10_800, 10_799, 0, 10_801, 10_802], Detail::ClockOffset(10_800)),
        ([-10_800, -10_799, 0, -10_801, -10_802], Detail::ClockOffset(-10_800)),
        ([3, 4, 5, 9_999, 0], Detail::MessagesExpired),
    ] {
        let mut run = Run::new();
        for (number, offset) in (0..).zip(offsets) {
            let trace = PollTrace { answered: true, clock_offset_s: Some(offset), ..PollTrace::default() };
            run.poll_of(&after(&[None]), number, &failed(FailureClass::Protocol, Cause::Expired), trace);
        }
        assert_eq!(run.outage().detail, expected);
    }
}

#[test]
fn a_wrong_clock_explains_why_all_sites_refuse() {
    for (offset, expected) in [(10_800, Fault::Clock), (60, Fault::Refused)] {
        let mut run = Run::new();
        let trace = PollTrace { answered: true, clock_offset_s: Some(offset), ..PollTrace::default() };
        (0..5).for_each(|number| run.poll_of(&after(&[None]), number, &status(400), trace));
        assert_eq!(run.outage().fault, expected);
    }
}

#[test]
fn names_that_all_have_one_address_are_the_resolvers_fault() {
    let address = |last: u8| PollTrace { address: Some(IpAddr::from([203, 0, 113, last])), ..PollTrace::default() };
    let before = PollStatus { network: Some(1), ..after(&[None]) };
    for (addresses, expected) in [([7; 4], Fault::SameAddress), ([7, 7, 7, 200], Fault::Network)] {
        let mut run = Run::new();
        (0..).zip(addresses).for_each(|(number, last)| run.poll_of(&before, number, &refused(), address(last)));
        assert_eq!(run.outage().fault, expected);
    }
    // Different private addresses are the fault of name servers, too.
    let mut run = Run::new();
    for number in 0..4 {
        let outcome = failed(FailureClass::Blocked, Cause::Address([10, 0, 0, number].into()));
        run.poll_of(&before, number.into(), &outcome, PollTrace::default());
    }
    assert_eq!(run.outage().fault, Fault::NameServers);
}

#[test]
fn a_portal_explains_other_failures_as_well() {
    let redirected = failed(FailureClass::Redirect, Cause::Redirect("portal.example".into()));
    for other in [failed(FailureClass::Tls, Cause::Tls(TlsCause::UnknownIssuer)), refused()] {
        let mut run = Run::new();
        run.poll(0..4, &redirected);
        run.poll(10..16, &other);
        let outage = run.outage();
        assert_eq!((outage.fault, outage.sites, outage.uncounted), (Fault::Portal, 4, 10), "{other:?}");
    }
}
