//! `call`.

use serde_json::{Value, json};

use crate::testkit::{CERTIFICATE, World, assert_no_secret, code, short_id, stderr, stdout};

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn call_sends_its_arguments_and_prints_the_reply() {
    let world = World::with(["ok"]);
    let site = world.site(0, "ok");
    world.server.record_calls();
    let arguments = ["Contact.get", "email=jo@example.org", "id=7", "where=a=b", "options:={\"limit\": 1}", "--json"];
    for call in [&["call", &site.cxn_id][..], &["cxn:call", short_id(&site)]] {
        let printed = world.text(&[call, &arguments].concat());
        assert_eq!(printed.lines().count(), 1);
        let params =
            json!({"email": "jo@example.org", "id": "7", "where": "a=b", "options": {"limit": 1}, "version": 3});
        let reply: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&reply["is_error"], &reply["values"][0]["params"]), (&json!(0), &params));
        let sent = world.server.last_call(0).unwrap();
        assert_eq!((sent.entity.as_str(), sent.action.as_str(), sent.params), ("Contact", "get", params));
        assert_eq!(sent.app_cert, CERTIFICATE);
    }
    world.json(&["call", &site.cxn_id, "System.get", "version:=4"]);
    assert_eq!(world.server.last_call(0).unwrap().params, json!({"version": 4}));
}

#[test]
fn call_reports_how_a_site_failed() {
    let behaviours = ["api-error", "close", "insecure", "hang"];
    let world = World::with(behaviours);
    let sites = world.sites(behaviours);
    let call = |number: usize, more: &[&str]| {
        let output = world.run(&[&["call", &sites[number].cxn_id, "System.get", "--timeout", "2"], more].concat());
        assert_eq!(code(&output), 3, "{output:?}");
        assert_no_secret(&sites[number], &(stdout(&output) + &stderr(&output)));
        output
    };
    // An API error is a reply too.
    let reply: Value = serde_json::from_slice(&call(0, &["--json"]).stdout).unwrap();
    assert_eq!((&reply["is_error"], &reply["error_code"]), (&json!(1), &json!("unauthorized")));

    for (number, class) in [(1, "disconnected"), (2, "garbled"), (3, "timeout")] {
        let output = call(number, &["--json"]);
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((keys(&printed), keys(&printed["error"])), (vec!["error"], vec!["class", "message"]));
        assert_eq!((&printed["error"]["class"], output.stderr.len()), (&json!(class), 0));
    }
    let output = call(1, &[]);
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).starts_with(&format!("error: {} failed: disconnected", sites[1].cxn_id)), "{output:?}");
}
