//! What the targets share: an app, and the whole way from a request to its reply.

#![allow(dead_code, reason = "each target uses a part")]

use std::sync::LazyLock;

use civisite::{Registrant, Reply, message};
use cxnpoll::AppId;
use cxnpoll::protocol::AppKey;
use cxnpoll::protocol::registration::{Action, Request, open, refusal, success};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The time of the server, as in most vectors.
const NOW: i64 = 4_102_444_800;
/// The secret of the requests that are signed here.
const ONE_TIME: [u8; 32] = [7; 32];

struct App {
    id: AppId,
    key: AppKey,
    registrant: Registrant,
    /// A request up to its signature.
    start: Vec<u8>,
}

static APP: LazyLock<App> = LazyLock::new(|| {
    let file = include_str!("../../fixtures/registration-vectors.json");
    let mut deserializer = serde_json::Deserializer::from_str(file);
    deserializer.disable_recursion_limit();
    let file: Value = serde::Deserialize::deserialize(&mut deserializer).expect("JSON");
    let id = "app:org.example.poll";
    let keys = &file["apps"][id]["keys"];
    let key = AppKey::from_pem(keys["privatekey"].as_str().expect("text")).expect("a key");
    let registrant = Registrant::new(id, keys["publickey"].as_str().expect("text")).expect("a key");
    let request = registrant.seal(b"", &ONE_TIME, 0, &[0; 32]);
    let start = request.splitn(4, |byte| *byte == 1).take(3).collect::<Vec<_>>().join(&1);
    App { id: id.parse().expect("an app"), key, registrant, start: [start.as_slice(), &[1]].concat() }
});

/// Returns a request with this envelope and ciphertext, signed.
pub fn signed(bytes: &[u8]) -> Vec<u8> {
    let mac = |key: &[u8], bytes: &[u8]| {
        Hmac::<Sha256>::new_from_slice(key).expect("any length").chain_update(bytes).finalize().into_bytes()
    };
    let signature = hex::encode(mac(&mac(&ONE_TIME, b"thefaultisinourselves"), bytes));
    [APP.start.as_slice(), signature.as_bytes(), &[1], bytes].concat()
}

/// Returns a request with this plaintext.
pub fn encrypted(plaintext: &[u8]) -> Vec<u8> {
    let ttl = NOW.unsigned_abs() + 7200;
    // Its end is that of an ordinary message.
    let message = message::encode("", &ONE_TIME, ttl, &[9; 32], plaintext);
    let end = message.splitn(3, |byte| *byte == 1).last().expect("three parts");
    [APP.start.as_slice(), end].concat()
}

/// Opens a request and reads what is in it.
pub fn answer(body: &[u8]) {
    match open(body, &APP.id, &APP.key, NOW, [1; 32]) {
        Ok(opened) => {
            assert!(opened.ttl >= NOW);
            read(&opened.plaintext);
        }
        Err(rejection) => assert!(!format!("{rejection:?}{rejection}").is_empty()),
    }
}

/// Reads the plaintext of a request, and checks that the reply to its sender can be read.
pub fn read(plaintext: &Value) {
    let (sender, reply, expected) = match Request::read(plaintext, &APP.id) {
        Ok(request) => {
            if let Action::Register(details) = &request.action {
                assert!(details.app_url.len() <= 2048 && details.perm.to_string().len() <= 64 << 10);
            }
            let values = json!({"cxn_id": request.sender.cxn_id.as_str()});
            let reply = success(&request.sender, &values, NOW, &[3; 32]);
            (request.sender, reply, json!({"is_error": 0, "values": values}))
        }
        Err(invalid) => {
            assert!(invalid.text.is_ascii() && invalid.text.len() < 120, "{}", invalid.text);
            let Some(sender) = invalid.sender else { return };
            let reply = refusal(&sender, &invalid.text, NOW, &[3; 32]);
            (sender, reply, json!({"is_error": 1, "error_message": invalid.text}))
        }
    };
    let cxn = json!({"cxnId": sender.cxn_id.as_str(), "secret": sender.secret.to_base64()});
    assert_eq!(Reply::read(&cxn, &reply), Ok(Reply::Message(expected)));
}
