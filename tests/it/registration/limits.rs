//! Limits: how often, how many, and which sites.

use std::fs;

use civisite::Registrant;
use cxnpoll::model::Secret;
use serde_json::json;

use crate::testkit::registrar::{RECORDED_APP, RECORDED_AT, Registrar, body, recorded, vector};

fn error(registrar: &Registrar, name: &str) -> String {
    registrar.send(name).error(vector(name))
}

#[test]
fn an_address_is_limited_and_this_machine_is_not() {
    let registrar = Registrar::new();
    registrar.configure("[registration]\nrequests-per-minute = 3");
    let from = |remote: &str| registrar.post_from(remote, b"garbage");
    for remote in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!([(); 3].map(|()| from(remote).status), [400; 3]);
        let limited = from(remote);
        let retry_after: u64 = limited.headers["Retry-After"].parse().unwrap();
        assert!(limited.status == 429 && (1..=20).contains(&retry_after), "{limited:?}");
        assert_eq!(limited.kind(vector("register_new"), 0).0, "insecure");
    }
    assert_eq!(from("2001:db8::ffff").status, 429);
    assert_eq!(["192.0.2.2", "2001:db8:0:1::1", "unix:"].map(|remote| from(remote).status), [400; 3]);
    assert_eq!([(); 5].map(|()| from("127.0.0.1").status), [400; 5]);
    assert_eq!(fs::metadata(registrar.world.store().join("registration/rates")).unwrap().len(), 1 << 20);
}

#[test]
fn a_site_is_limited_when_it_registers() {
    let registrar = Registrar::new();
    registrar.configure("[registration]\nrequests-per-site-and-hour = 2");
    let send = |name: &str, now| registrar.answer(RECORDED_APP, body(vector(name)), "127.0.0.1", now).status;
    assert_eq!([(); 3].map(|()| send("register_new", RECORDED_AT)), [200, 200, 429]);
    // Other sites are not, nor is the site when it leaves.
    assert_eq!(send("register_via_port", RECORDED_AT), 200);
    assert_eq!([(); 4].map(|()| send("later_unregister", RECORDED_AT)), [200; 4]);
    assert_eq!(send("register_new", RECORDED_AT + 1799), 429);
    assert_eq!(send("register_new", RECORDED_AT + 1800), 200);
}

#[test]
fn strangers_with_the_url_of_a_site_do_not_keep_it_out() {
    let registrar = Registrar::new();
    registrar.world.import_text(&vector("register_new")["expect"]["stored"].to_string());
    registrar.configure("[registration]\nrequests-per-site-and-hour = 2");
    let registrant =
        Registrant::new(RECORDED_APP, recorded()["apps"][RECORDED_APP]["appCert"].as_str().unwrap()).unwrap();
    let stranger = |number: u8, path: &str| {
        let mut cxn = vector("register_new")["expect"]["stored"].clone();
        cxn["cxnId"] = format!("cxn:stranger{number}").into();
        cxn["secret"] = Secret::from_bytes([number; 32]).to_base64().into();
        cxn["siteUrl"] = format!("{}{path}", cxn["siteUrl"].as_str().unwrap()).into();
        registrar.post(&registrant.request(&cxn, "register", &json!([]))).status
    };
    assert_eq!([1, 2, 3].map(|number| stranger(number, "")), [200, 200, 429]);
    // The connection itself has a limit of its own, wherever it says that it is.
    assert_eq!([(); 3].map(|()| registrar.send("register_new").status), [200, 200, 429]);
    assert_eq!(["/a", "/b", "/c"].map(|path| stranger(4, path)), [200, 200, 429]);
}

#[test]
fn no_limit_is_zero() {
    let registrar = Registrar::new();
    registrar.configure("[registration]\nrequests-per-minute = 0\nrequests-per-site-and-hour = 0");
    for _ in 0..100 {
        let reply = registrar.answer(RECORDED_APP, body(vector("register_new")), "192.0.2.1", RECORDED_AT);
        assert_eq!(reply.status, 200);
    }
    assert!(!registrar.world.store().join("registration/rates").exists());
}

#[test]
fn only_allowed_hosts_register_and_all_may_leave() {
    let registrar = Registrar::new();
    registrar.send("register_new");
    registrar.configure("[registration]\nallow = ['*.example.net', '127.0.0.0/8']");
    assert_eq!(error(&registrar, "later_url"), "the app does not take registrations of this host");
    assert_eq!(
        registrar.connections()[vector("register_new")["request_cxn"]["cxnId"].as_str().unwrap()],
        vector("register_new")["expect"]["stored"]
    );
    assert_eq!(registrar.send("details_site_url_loopback").kind(vector("details_site_url_loopback"), 0).0, "success");
    assert_eq!(registrar.send("later_unregister").kind(vector("later_unregister"), 0).0, "success");
    assert_eq!(registrar.connections().len(), 1);
}

#[test]
fn an_app_that_is_switched_off_lets_sites_leave() {
    let registrar = Registrar::new();
    registrar.send("register_new");
    let config = registrar.world.config().replace("app-url", "disabled = true\napp-url");
    registrar.world.set_config(&config);
    for name in ["later_url", "getlink"] {
        assert_eq!(error(&registrar, name), "the app takes no registrations at present");
    }
    assert_eq!(registrar.send("later_unregister").kind(vector("later_unregister"), 0).0, "success");
    assert!(registrar.connections().is_empty());
}

#[test]
fn a_host_has_as_many_connections_as_it_may_have() {
    let registrar = Registrar::new();
    registrar.configure("[registration]\nconnections-per-host = 1");
    let line = vector("register_new")["expect"]["stored"].to_string().replace("cxn:", "cxn:other");
    registrar.world.import_text(&line);
    assert_eq!(error(&registrar, "register_new"), "the host has as many connections as it may have");
    assert_eq!(registrar.send("register_via_port").kind(vector("register_via_port"), 0).0, "success");
    assert_eq!(registrar.connections().len(), 2);
}
