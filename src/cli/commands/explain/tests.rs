use super::*;
use crate::model::{AppId, Attempt, BatchCode, Failure, FailureClass, Secret};
use crate::store::SkipReason;

const NOW: UnixTime = 1_769_860_800;
const MINUTE: UnixTime = 60;

fn case(status: PollStatus) -> Case {
    let cxn = Cxn {
        cxn_id: "cxn:1".parse().unwrap(),
        secret: Secret::from_bytes([0; 32]),
        app_id: AppId::from_argument("org.example.myapp").unwrap(),
        app_url: "https://example.org".into(),
        site_url: "https://site.example.org".into(),
        perm: Value::Null.into(),
        via_port: None,
        batch_code: BatchCode::MIN,
        disabled: false,
    };
    let policy = "20 min (x6); 1 hour (x24)".parse().unwrap();
    Case {
        cxn,
        host: 7,
        status,
        job: JobName::default(),
        policy,
        last_run: None,
        actions: Vec::new(),
        recent: None,
        now: NOW,
    }
}

/// A connection that was polled ten minutes ago.
fn polled() -> PollStatus {
    PollStatus { last_run: NOW - 10 * MINUTE, ..PollStatus::default() }
}

#[test]
fn each_state_has_its_sentence() {
    let deferred = PollStatus { not_before: Some(NOW + MINUTE), deferrals: 1, ..polled() };
    for (status, sentence) in [
        (PollStatus::default(), "New: never polled for this job, or revived since. It is due now."),
        (polled(), "Healthy: the last poll succeeded."),
        (PollStatus { count: 3, ..polled() }, "Retrying: 3 of 6 failures at level 0 (every 20 min)."),
        (PollStatus { level: 1, ..polled() }, "Retrying: 0 of 24 failures at level 1 (every 1 hour)."),
        (PollStatus { deferrals: 1, ..polled() }, "No longer deferred: the time that the site asked for is over."),
        (
            PollStatus { level: 2, ..polled() },
            "Given up: not polled again, because it failed as often as the retry expression allows.",
        ),
        (
            deferred,
            "Deferred: the site asked not to be polled until 2026-01-31 12:01:00Z (in 1 min). \
             This does not count as a failure.",
        ),
    ] {
        let case = case(status);
        assert_eq!(case.state_sentence(), sentence);
        assert!(case.sentences().iter().any(|line| line == sentence));
    }
    let mut disabled = case(polled());
    disabled.cxn.disabled = true;
    assert_eq!(disabled.state_sentence(), "Disabled: not polled until it is enabled.");
    assert_eq!(disabled.next_due(), None);
}

#[test]
fn endless_levels_and_single_failures_read_well() {
    let mut case = case(PollStatus { count: 1, ..polled() });
    case.policy = "20 min (x*)".parse().unwrap();
    assert_eq!(case.state_sentence(), "Retrying: 1 failure at level 0 (every 20 min).");
    assert!(case.forecast().last().unwrap().ends_with("every 20 min, without end (level 0)"), "{:?}", case.forecast());
    case.policy = "20 min (x1); 1 hour (x1)".parse().unwrap();
    case.status = PollStatus { level: 1, ..polled() };
    assert_eq!(case.state_sentence(), "Retrying: 0 of 1 failure at level 1 (every 1 hour).");
}

#[test]
fn the_forecast_ends_when_the_site_is_given_up() {
    let forecast = case(PollStatus { count: 5, ..polled() }).forecast();
    assert_eq!(
        forecast,
        [
            "If every poll fails from now on:",
            "  2026-01-31 12:10:00Z  every 20 min, once (level 0)",
            "  2026-01-31 13:10:00Z  every 1 hour, 24 times (level 1)",
            "  2026-02-01 12:10:00Z  given up (in 1 d)",
        ]
    );
    assert!(case(PollStatus { level: 2, ..polled() }).forecast().is_empty());
}

#[test]
fn a_due_connection_is_due_since_a_time_and_another_at_a_time() {
    let sentences = case(polled()).sentences();
    assert!(sentences.iter().any(|line| line == "It is due at 2026-01-31 12:10:00Z (in 10 min)."), "{sentences:?}");
    let sentences = case(PollStatus { last_run: NOW - 80 * MINUTE, ..polled() }).sentences();
    assert!(
        sentences.iter().any(|line| line == "It is due now, since 2026-01-31 11:00:00Z (1 h ago)."),
        "{sentences:?}"
    );
}

#[test]
fn a_site_that_was_due_in_the_last_run_and_not_tried_was_skipped_for_its_host() {
    let mut case = case(PollStatus { last_run: NOW - 30 * MINUTE, ..PollStatus::default() });
    let host = |reason, names: &[HostHash]| SkippedHost {
        address: [203, 0, 113, 7].into(),
        reason,
        sites: 9,
        names: names.into(),
    };
    let run = RunRecord {
        now: NOW - 5 * MINUTE,
        batch: "0/2".to_owned(),
        skipped_hosts: vec![host(SkipReason::Down, &[1, 2]), host(SkipReason::AskedToWait, &[3, 7])],
        ..RunRecord::default()
    };
    case.last_run = Some(run.clone());
    let sentence = "Not tried in the last run, at 2026-01-31 11:55:00Z (5 min ago): its host 203.0.113.7 asked to \
                    wait (two of its sites answered 429 or 503 with Retry-After).";
    assert!(case.sentences().iter().any(|line| line == sentence), "{:?}", case.sentences());
    let skipped = json!({"at": run.now, "address": "203.0.113.7", "reason": "asked-to-wait"});
    assert_eq!(case.json()["skipped"], skipped);
    // Due only since the run, polled since, or by it, or on another host.
    for (last_run, host) in [(-20, 7), (0, 7), (-5, 7), (-30, 4)] {
        (case.status.last_run, case.host) = (NOW + last_run * MINUTE, host);
        assert_eq!(case.json()["skipped"], Value::Null, "{last_run} {host}");
    }
    (case.status.last_run, case.host) = (NOW - 30 * MINUTE, 7);
    assert!(case.skipped().is_some());
    case.cxn.batch_code = BatchCode::MAX;
    assert!(case.skipped().is_none(), "the run had another batch");
    case.cxn.batch_code = BatchCode::MIN;
    case.cxn.disabled = true;
    assert!(case.skipped().is_none());
}

#[test]
fn a_connection_is_due_after_a_wrong_clock() {
    let deferred = PollStatus {
        last_run: NOW + 6 * MINUTE,
        not_before: Some(NOW + 90 * MINUTE),
        deferrals: 1,
        ..PollStatus::default()
    };
    let case = case(deferred);
    assert_eq!((case.state(), case.next_due()), (State::Retrying, Some(NOW)));
    let sentences = case.sentences();
    for expected in [
        "No longer deferred: the clock was wrong when the site asked to wait.",
        "It is due now, since 2026-01-31 12:00:00Z (now).",
        "This is more than five minutes ahead: the clock was wrong.",
    ] {
        assert!(sentences.iter().any(|line| line == expected), "{sentences:?}");
    }
}

#[test]
fn a_credible_new_address_is_suggested() {
    let message = "redirected (301 Moved Permanently) to https://www.site.example.org/";
    let mut status = polled();
    status.remember(NOW - 99, &Err(Failure::new(FailureClass::Redirect, message)));
    let mut case = case(status);
    let suggestion = "The site seems to have moved to https://www.site.example.org/. If so: cxnpoll";
    assert!(case.sentences().contains(&format!("{suggestion} follow cxn:1")), "{:?}", case.sentences());
    assert_eq!(case.json()["suggestedSiteUrl"], "https://www.site.example.org/");
    case.cxn.via_port = Some("127.0.0.1:80".parse().unwrap());
    let set = format!("{suggestion} set cxn:1 siteUrl=… viaPort=…");
    assert!(case.sentences().contains(&set), "{:?}", case.sentences());
    case.status.remember(NOW, &Ok(()));
    assert_eq!(case.json()["suggestedSiteUrl"], Value::Null);
}

#[test]
fn only_a_failure_of_the_last_poll_explains_its_message() {
    let failure = Failure::new(FailureClass::Http, "status 500");
    let mut status = polled();
    status.last_failure = Some((NOW - 99, failure));
    status.attempts = vec![
        Attempt { at: NOW - 99, class: Some(FailureClass::Http), duration_ms: 0 },
        Attempt { at: NOW - 10, class: None, duration_ms: 0 },
    ];
    let json = case(status.clone()).json();
    assert_eq!(json["lastOutcome"], json!({"at": NOW - 10, "class": "ok", "message": null}));
    status.attempts.pop();
    let json = case(status).json();
    assert_eq!(json["lastOutcome"], json!({"at": NOW - 99, "class": "http", "message": "status 500"}));
}
