//! The recorded requests, each with the store that it met.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::testkit::registrar::{CgiReply, RECORDED_APP, Registrar, body, recorded, vector};

/// Checks a reply, and the store after it.
fn check(vector: &Value, reply: &CgiReply, registrar: &Registrar, before: &BTreeMap<String, Value>) {
    let (name, expect) = (vector["name"].as_str().unwrap(), &vector["expect"]);
    let now = vector["now"].as_i64().unwrap();
    let (kind, json) = reply.kind(vector, now);
    let others = expect["or"].as_array().into_iter().flatten();
    assert!(expect["kind"] == kind || others.into_iter().any(|other| *other == kind), "{name}: {kind} {json}");
    assert_eq!(reply.headers["Content-Type"], "application/x-civi-cxn", "{name}");
    let after = registrar.connections();
    if expect["kind"] != kind {
        assert_eq!(after, *before, "{name}");
        return;
    }
    assert_eq!(expect["status"], reply.status, "{name}");
    if let Some(expected) = expect["json"].as_str() {
        assert_eq!(json.to_string(), expected, "{name}");
    }
    let id = vector["request_cxn"]["cxnId"].as_str().unwrap_or_default();
    let mut expected = before.clone();
    match expect["store"].as_str().unwrap() {
        "unchanged" => {}
        "removed" => assert!(expected.remove(id).is_some(), "{name}"),
        change => {
            let replaced = expected.insert(id.to_owned(), expect["stored"].clone());
            assert_eq!(replaced.is_some(), change == "updated", "{name}");
        }
    }
    assert_eq!(after, expected, "{name}");
}

#[test]
fn every_recorded_request_is_answered_as_it_should_be() {
    let vectors = recorded()["vectors"].as_array().unwrap();
    // Requests that change nothing share a store.
    let mut shared: BTreeMap<String, Registrar> = BTreeMap::new();
    for request in vectors {
        let now = request["now"].as_i64().unwrap();
        let state = format!("{}{}", request["before"], request["after"]);
        let state = if request["expect"]["store"] == "unchanged" { state } else { request["name"].to_string() };
        let registrar = shared.entry(state).or_insert_with(|| {
            let registrar = Registrar::new();
            let lines: Vec<_> = request["before"].as_array().unwrap().iter().map(ToString::to_string).collect();
            if !lines.is_empty() {
                registrar.world.import_text(&lines.join("\n"));
            }
            for name in request["after"].as_array().into_iter().flatten() {
                let before = vector(name.as_str().unwrap());
                let reply = registrar.answer(RECORDED_APP, body(before), "192.0.2.1", before["now"].as_i64().unwrap());
                assert_eq!(reply.kind(before, now).0, "success", "{name} before {}", request["name"]);
            }
            // The limits are not what is tested.
            registrar.configure("[registration]\nrequests-per-minute = 0\nrequests-per-site-and-hour = 0");
            registrar
        });
        let before = registrar.connections();
        // The body that is too long is not read, which other tests check.
        if request["expect"]["status"] == 413 {
            continue;
        }
        let reply = registrar.answer(request["app"].as_str().unwrap(), body(request), "192.0.2.1", now);
        check(request, &reply, registrar, &before);
    }
    assert!(vectors.len() >= 156);
}

#[test]
fn the_program_answers_as_the_library_does() {
    let registrar = Registrar::new();
    let first = registrar.send("empty_body");
    for name in [
        "tag_v01",
        "tag_bom_before",
        "parts_1",
        "parts_4",
        "app_unknown",
        "app_empty",
        "key_of_stranger",
        "rsa_zero",
        "rsa_above_modulus",
        "rsa_base64_url",
        "one_time_31_bytes",
        "flipped_rsa",
        "flipped_ttl",
        "hmac_upper",
        "std_message",
        "form_data",
        "body_1_mib",
        "body_1_mib_after_hmac",
    ] {
        // What cannot be read gets the same bytes, whatever is wrong with it.
        assert_eq!(registrar.send(name), first, "{name}");
        assert_eq!(vector(name)["expect"]["kind"], "insecure");
    }
    assert_eq!(first.status, 400);
    for (name, expected) in [
        ("envelope_not_json", "envelope"),
        ("ttl_long_past", "has expired; the clock of the site's server may be wrong"),
        ("iv_upper", "initialisation vector"),
        ("json_not", "JSON"),
        ("details_no_secret", "missing or invalid: secret"),
        ("details_site_url_ftp", "missing or invalid: siteUrl"),
        ("entity_lower", "entity"),
        ("action_unknown", "action"),
        ("getlink_unknown_cxn", "not registered"),
    ] {
        let error = registrar.send(name).error(vector(name));
        assert!(error.contains(expected), "{name}: {error}");
    }
    assert!(registrar.connections().is_empty());
}
