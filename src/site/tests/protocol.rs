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
        let cxn = Cxn {
            cxn_id: text("cxnId").parse().unwrap(),
            secret,
            app_id: AppId::from_argument("org.example.myapp").unwrap(),
            app_url: "https://app.example.org/".into(),
            site_url: format!("http://{}/", answer([head.into_bytes(), body].concat())).into(),
            perm: Arc::default(),
            via_port: None,
            batch_code: BatchCode::MIN,
            disabled: false,
        };
        let client = client(LONG);
        let failure = Api::new(&client, &cxn, "").call("System", "get", serde_json::Map::new()).unwrap_err();
        let expected = if matches!(kind, "garbled" | "unrecognized_type") { "garbled" } else { "protocol" };
        assert_eq!(failure.class.name(), expected, "{}: {failure}", text("name"));
        assert!(!failure.before_first_byte);
        *messages.entry(failure.to_string()).or_insert(0) += 1;
    }
    assert!(messages.len() >= 5 && messages.values().sum::<i32>() > 20, "{messages:?}");
}
