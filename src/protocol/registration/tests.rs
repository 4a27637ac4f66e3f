//! The recorded requests, as far as they do not need a store.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::*;
use crate::model::{AppId, Secret};
use crate::protocol::{AppKey, decode, json};

/// The file of the vectors.
pub(in crate::protocol) fn file() -> &'static Value {
    static FILE: LazyLock<Value> =
        LazyLock::new(|| json::read_kept(include_bytes!("../../../fixtures/registration-vectors.json")).unwrap());
    &FILE
}

fn key(file: &Value, app: &str) -> AppKey {
    AppKey::from_pem(file["apps"][app]["keys"]["privatekey"].as_str().unwrap()).unwrap()
}

fn message(vector: &Value) -> Vec<u8> {
    let mut message = BASE64_STANDARD.decode(vector["message_b64"].as_str().unwrap()).unwrap();
    if let Some(length) = vector["fill_to"].as_u64() {
        message.resize(usize::try_from(length).unwrap(), b'x');
    }
    message
}

/// What becomes of a request before the store is asked.
///
/// That is `insecure`, `error` (in-band), or what the request asks for.
fn read(message: &[u8], app: &AppId, key: &AppKey, now: UnixTime) -> Result<Request, (&'static str, String)> {
    let opened = open(message, app, key, now, [1; 32]).map_err(|rejection| ("insecure", rejection.to_string()))?;
    Request::read(&opened.plaintext, app)
        .map_err(|invalid| (if invalid.sender.is_some() { "error" } else { "insecure" }, invalid.text))
}

#[test]
fn every_vector_is_opened_or_refused_as_recorded() {
    let file = file();
    let keys: Vec<(AppId, AppKey)> =
        file["apps"].as_object().unwrap().keys().map(|app| (app.parse().unwrap(), key(file, app))).collect();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 156);
    for vector in vectors {
        let (name, expect) = (vector["name"].as_str().unwrap(), &vector["expect"]);
        let (app, key) = keys.iter().find(|(app, _)| vector["app"] == app.as_str()).unwrap();
        let result = read(&message(vector), app, key, vector["now"].as_i64().unwrap());
        let alternatives = expect["or"].as_array().into_iter().flatten();
        let kinds: Vec<_> =
            [&expect["kind"]].into_iter().chain(alternatives).map(|kind| kind.as_str().unwrap()).collect();
        match &result {
            Ok(request) => {
                // The state of the store decides between the two.
                assert!(kinds.contains(&"success") || kinds.contains(&"error"), "{name}: {request:?}");
                let bad = ["bad_details", "bad_plaintext"].contains(&expect["fault"].as_str().unwrap_or_default());
                assert!(!bad, "{name}: {request:?}");
                assert_eq!(request.sender.cxn_id.as_str(), vector["request_cxn"]["cxnId"].as_str().unwrap(), "{name}");
            }
            Err((kind, _)) => assert!(kinds.contains(kind), "{name}: {result:?}"),
        }
        let is_unreadable = result.as_ref().is_err_and(|(_, text)| *text == Rejection::Unreadable.to_string());
        let faults = ["garbled", "malformed", "unknown_app", "bad_rsa", "bad_secret", "bad_hmac"];
        if expect["status"] != 413 && expect["kind"] == "insecure" {
            let fault = expect["fault"].as_str().unwrap();
            assert_eq!(is_unreadable, faults.contains(&fault), "{name}: {result:?}");
        }
    }
}

#[test]
fn what_is_read_is_what_was_sent() {
    let file = file();
    let app: AppId = "app:org.example.poll".parse().unwrap();
    let key = key(file, app.as_str());
    let mut compared = 0;
    for vector in file["vectors"].as_array().unwrap().iter().filter(|vector| vector["expect"]["store"] == "added") {
        let Ok(request) = read(&message(vector), &app, &key, vector["now"].as_i64().unwrap()) else { continue };
        let Action::Register(details) = request.action else { panic!("{vector}") };
        let stored = &vector["expect"]["stored"];
        assert_eq!(details.app_url, stored["appUrl"].as_str().unwrap());
        assert_eq!(details.site_url.with_credentials(), stored["siteUrl"].as_str().unwrap());
        assert_eq!(details.perm, stored["perm"]);
        assert_eq!(details.via_port.map(|via_port| via_port.to_string()).as_deref(), stored["viaPort"].as_str());
        assert_eq!(request.sender.secret.to_base64(), stored["secret"].as_str().unwrap());
        compared += 1;
    }
    assert!(compared >= 10, "{compared}");
}

#[test]
fn replies_are_messages_for_the_sender() {
    let sender = Sender { cxn_id: "cxn:ab".parse().unwrap(), secret: Secret::from_bytes([9; 32]) };
    let reply = success(&sender, &json!({"cxn_id": "cxn:ab"}), 1000, &[5; 32]);
    let expected = json!({"is_error": 0, "values": {"cxn_id": "cxn:ab"}});
    assert_eq!(decode(&reply, &sender.cxn_id, &sender.secret, 1000 + TTL_S), Ok(expected));
    let reply = refusal(&sender, "no", 1000, &[5; 32]);
    let expected = json!({"is_error": 1, "error_message": "no"});
    assert_eq!(decode(&reply, &sender.cxn_id, &sender.secret, 1000), Ok(expected));
}

#[test]
fn texts_name_fields_and_no_values() {
    let app: AppId = "app:org.example.poll".parse().unwrap();
    let secret = Secret::from_bytes([9; 32]).to_base64();
    let good = json!({"cxnId": "cxn:1", "secret": secret, "appId": app, "appUrl": "https://a.example/",
        "siteUrl": "https://s.example/", "perm": {}});
    for (key, bad, text) in [
        ("siteUrl", json!("hidden"), "missing or invalid: siteUrl"),
        ("siteUrl", json!("http:hidden"), "missing or invalid: siteUrl"),
        ("siteUrl", json!("http:///hidden"), "missing or invalid: siteUrl"),
        ("appUrl", json!(7), "missing or invalid: appUrl"),
        ("perm", json!("hidden"), "missing or invalid: perm"),
        ("perm", json!(["x".repeat(MAX_PERM)]), "missing or invalid: perm"),
        ("perm", nested(MAX_PERM_DEPTH + 1), "missing or invalid: perm"),
        ("viaPort", json!("hidden"), "missing or invalid: viaPort"),
        ("viaPort", json!(3), "missing or invalid: viaPort"),
        ("appId", json!("app:hidden"), "missing or invalid: appId"),
        ("secret", json!("hidden"), "missing or invalid: secret"),
        ("cxnId", json!(" hidden"), "missing or invalid: cxnId"),
    ] {
        let mut cxn = good.clone();
        cxn[key] = bad;
        let request = json!({"cxn": cxn, "entity": "Cxn", "action": "register", "params": []});
        assert_eq!(Request::read(&request, &app).unwrap_err().text, text);
    }
    let mut deep = good.clone();
    deep["perm"] = nested(MAX_PERM_DEPTH);
    assert!(Request::read(&json!({"cxn": deep, "entity": "Cxn", "action": "register"}), &app).is_ok());
    let request = json!({"cxn": good, "entity": "Cxn", "action": "REGISTER"});
    assert!(Request::read(&request, &app).is_ok());
}

/// Lists in lists.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

/// Just too long, with its brackets and quotes.
const MAX_PERM: usize = (64 << 10) - 3;

#[test]
fn nothing_secret_is_shown() {
    let file = file();
    let key = key(file, "app:org.example.poll");
    assert_eq!(format!("{key:?}"), "AppKey(…)");
    let sender = Sender { cxn_id: "cxn:ab".parse().unwrap(), secret: Secret::from_bytes([9; 32]) };
    assert!(format!("{sender:?}").contains("Secret(…)"));
    let opened = Opened { hmac: [1; 32], ttl: 1000, plaintext: json!({"cxn": {"secret": "hidden"}}) };
    assert_eq!(format!("{opened:?}"), "Opened(…)");
}

proptest! {
    #[test]
    fn no_change_of_a_request_panics_or_is_accepted(at: prop::sample::Index, bit in 0..8u8, cut: prop::sample::Index) {
        let file = file();
        let app: AppId = "app:org.example.poll".parse().unwrap();
        let key = key(file, app.as_str());
        let vector = &file["vectors"][0];
        let (message, now) = (message(vector), vector["now"].as_i64().unwrap());
        let mut changed = message.clone();
        changed[at.index(message.len())] ^= 1 << bit;
        prop_assert!(read(&changed, &app, &key, now).is_err());
        prop_assert!(read(&message[..cut.index(message.len())], &app, &key, now).is_err());
    }
}
