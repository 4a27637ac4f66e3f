//! Replies that break a rule of the protocol.

use super::*;
use crate::model::{AppId, BatchCode, Cxn, Secret};
use crate::site::Api;
use crate::util::time::unix_now;
use std::collections::BTreeMap;
use std::sync::Arc;

#[test]
fn each_broken_rule_of_the_protocol_has_a_message() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../../../fixtures/vectors.json")).unwrap();
    let mut messages = BTreeMap::new();
    for vector in vectors["vectors"].as_array().unwrap() {
        let text = |key: &str| vector[key].as_str().unwrap_or_default();
        let Ok(secret) = Secret::from_base64(text("secret")) else { continue };
        let kind = vector["expect"]["kind"].as_str().unwrap_or_default();
        // Calls use the real clock, and some vectors have not expired by it.
        let is_valid_yet = kind == "expired" && vector["ttl"].as_i64().is_some_and(|ttl| ttl >= unix_now());
        if text("direction") != "reply" || kind.is_empty() || is_valid_yet {
            continue;
        }
        let body = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text("message_b64")).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let cxn = cxn(text("cxnId"), secret, answer([head.into_bytes(), body].concat()));
        let client = client(LONG);
        let failure = Api::new(&client, &cxn, "").call("System", "get", serde_json::Map::new()).unwrap_err();
        let expected = if matches!(kind, "garbled" | "unrecognized_type") { "garbled" } else { "protocol" };
        assert_eq!(failure.class.name(), expected, "{}: {failure}", text("name"));
        *messages.entry(failure.to_string()).or_insert(0) += 1;
    }
    assert!(messages.len() >= 5 && messages.values().sum::<i32>() > 20, "{messages:?}");
}

#[test]
fn no_failure_contains_the_secret_and_a_broken_rule_names_the_host() {
    let secret = Secret::from_bytes([0xA7; 32]);
    let leak = secret.to_base64()[..15].to_owned();
    let failure_of = |reply: String| {
        let cxn = cxn("cxn:1", secret.clone(), answer(reply));
        let client = client(LONG);
        Api::new(&client, &cxn, "").call("System", "get", serde_json::Map::new()).unwrap_err()
    };
    for reply in [
        format!("HTTP/1.1 500 x\r\n\r\n<title>deriveKeys('{leak}')"),
        format!("HTTP/1.1 400 x\r\nContent-Type: a/{leak}\r\n\r\nCXN-0.2-INSECURE\x01{{\"error_message\":\"{leak}\"}}"),
        format!("HTTP/1.1 301 x\r\nLocation: /{leak}\r\n\r\n"),
        format!("<title>5 {leak}</title>"),
    ] {
        let failure = failure_of(reply);
        assert!(!format!("{failure:?}").contains(&leak[..8]) && failure.message.contains(['4', '3', '5']), "{failure}");
    }
    let broken = answer("HTTP/1.1 200 OK\r\n\r\nCXN-0.2-AES-CBC-HMAC\x01cxn:2");
    let failure = failure_of(format!("HTTP/1.1 307 x\r\nLocation: http://{broken}/\r\n\r\n"));
    assert_eq!(failure.to_string(), format!("protocol: at {broken}: the reply belongs to another connection"));
}

/// A connection to the site at this address.
fn cxn(cxn_id: &str, secret: Secret, site: SocketAddr) -> Cxn {
    Cxn {
        cxn_id: cxn_id.parse().unwrap(),
        secret,
        app_id: AppId::from_argument("org.example.myapp").unwrap(),
        app_url: "https://app.example.org/".into(),
        site_url: format!("http://{site}/").into(),
        perm: Arc::default(),
        via_port: None,
        batch_code: BatchCode::MIN,
        disabled: false,
    }
}
