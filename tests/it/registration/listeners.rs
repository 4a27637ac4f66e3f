//! Listeners of registrations.

use std::fs;

use serde_json::Value;

use crate::testkit::registrar::{CgiReply, ENDPOINT, RECORDED_APP, Registrar, body, vector};
use crate::testkit::{code, json_lines, stderr};

/// An app with a program that writes its events to a file, and answers with a line.
fn listening(event: &str, answer: &str) -> Registrar {
    let registrar = Registrar::new();
    listen(&registrar, event, answer);
    registrar
}

fn listen(registrar: &Registrar, event: &str, answer: &str) {
    fs::write(registrar.world.path("answer"), format!("{answer}\n")).unwrap();
    let text = registrar.world.config();
    let program = "[\"sh\", \"-c\", \"read -r event; echo \\\"$event\\\" >> events; cat answer\"]";
    registrar.world.set_config(&format!("{text}\n[[listeners]]\nevent = \"{event}\"\nprogram = {program}\n"));
}

fn events(registrar: &Registrar) -> Vec<Value> {
    json_lines(&fs::read_to_string(registrar.world.path("events")).unwrap_or_default())
}

fn kind(registrar: &Registrar, name: &str) -> &'static str {
    registrar.send(name).kind(vector(name), 0).0
}

#[test]
fn a_program_gets_what_a_site_registers() {
    let registrar = listening("app:org.example.poll:register", "{\"ok\":true}");
    assert_eq!(kind(&registrar, "register_via_port"), "success");
    let [event] = &events(&registrar)[..] else { panic!("it was called more than once") };
    let stored = &vector("register_via_port")["expect"]["stored"];
    for key in ["cxnId", "appId", "appUrl", "siteUrl", "viaPort", "perm"] {
        assert_eq!(event["cxn"][key], stored[key], "{key}");
    }
    assert_eq!((&event["event"], &event["remote"]), (&"app:org.example.poll:register".into(), &"127.0.0.1".into()));
    assert_eq!(event["app"]["appId"], RECORDED_APP);
    assert!(!event.to_string().contains(&stored["secret"].as_str().unwrap()[..8]));
    assert_eq!(registrar.connections().len(), 1);
}

#[test]
fn a_program_refuses_a_registration() {
    let secret = vector("register_new")["request_cxn"]["secret"].as_str().unwrap();
    let registrar = listening("civi_cxn.register", "{\"error\":\"not\\u001b[2J you\"}");
    assert_eq!(registrar.send("register_new").error(vector("register_new")), "not [2J you");
    fs::write(registrar.world.path("answer"), format!("{{\"error\":\"{}\"}}\n", "x".repeat(300))).unwrap();
    assert_eq!(registrar.send("register_new").error(vector("register_new")).chars().count(), 200);
    fs::write(registrar.world.path("answer"), format!("{{\"error\":\"no {secret}\"}}\n")).unwrap();
    assert!(!registrar.send("register_new").error(vector("register_new")).contains(&secret[..8]));
    assert!(registrar.connections().is_empty());
    assert!(registrar.log().contains("registration: refused by a listener"));
    // It is not called for a site that would be refused anyway, nor for other actions.
    let called = events(&registrar).len();
    for name in ["flipped_hmac", "details_no_perm", "later_unregister", "getlink"] {
        registrar.send(name);
    }
    assert_eq!((called, events(&registrar).len()), (3, 3));
}

#[test]
fn only_a_change_is_an_event() {
    let registrar = listening("civi_cxn.register", "{\"ok\":true}");
    let before = vector("register_other_secret")["before"].as_array().unwrap();
    let lines: Vec<_> = before.iter().map(ToString::to_string).collect();
    registrar.world.import_text(&lines.join("\n"));
    for name in ["register_other_secret", "register_cxn_of_other_app"] {
        registrar.send(name);
    }
    let others = events(&registrar).iter().filter(|event| event["cxn"]["cxnId"] == before[0]["cxnId"]).count();
    assert_eq!(others, 0);
    registrar.send("register_new");
    let called = events(&registrar).len();
    // The same message once more.
    assert_eq!(kind(&registrar, "register_new"), "success");
    assert_eq!(events(&registrar).len(), called);
}

#[test]
fn a_listener_of_another_app_is_not_called() {
    let registrar = listening("app:org.example.second:register", "{\"error\":\"no\"}");
    assert_eq!(kind(&registrar, "register_new"), "success");
    assert!(events(&registrar).is_empty());
}

#[test]
fn a_site_that_leaves_cannot_be_refused() {
    let registrar = listening("app:org.example.poll:unregister", "{\"error\":\"stay\"}");
    registrar.send("register_new");
    // Anyone can say that a connection leaves which never was there.
    assert_eq!(kind(&registrar, "unregister_unknown"), "success");
    assert!(events(&registrar).is_empty());
    assert_eq!(kind(&registrar, "later_unregister"), "success");
    assert!(registrar.connections().is_empty());
    let [event] = &events(&registrar)[..] else { panic!("it was called more than once") };
    assert_eq!(event["event"], "app:org.example.poll:unregister");
    assert_eq!(event["cxn"]["cxnId"], vector("register_new")["request_cxn"]["cxnId"]);
}

#[test]
fn a_program_that_does_not_work_is_our_fault() {
    let post = |registrar: &Registrar, name: &str| {
        let output = registrar.run(&[("REQUEST_METHOD", "POST"), ("PATH_INFO", ENDPOINT)], &body(vector(name)));
        (code(&output), CgiReply::read(&output.stdout), stderr(&output))
    };
    for answer in ["babble", ""] {
        let registrar = listening("civi_cxn.register", answer);
        let (exit, reply, message) = post(&registrar, "register_new");
        assert_eq!((exit, reply.status), (78, 500), "{message}");
        assert!(message.starts_with("error: the program sh -c"), "{message}");
        assert!(registrar.connections().is_empty());
    }
    let registrar = Registrar::new();
    registrar.send("register_new");
    listen(&registrar, "civi_cxn.unregister", "babble");
    // The site has left, and gets its reply.
    let (exit, reply, message) = post(&registrar, "later_unregister");
    assert_eq!((exit, reply.status, reply.kind(vector("later_unregister"), 0).0), (78, 200, "success"), "{message}");
    assert!(message.starts_with("error: the program sh -c") && registrar.connections().is_empty(), "{message}");
}

#[test]
fn calls_have_no_site_to_call() {
    let registrar = Registrar::new();
    let text = registrar.world.config();
    let listener = "[[listeners]]\nevent = \"civi_cxn.register\"\ncalls = [{ api = \"System.get\" }]\n";
    registrar.world.set_config(&format!("{text}\n{listener}"));
    let message = registrar.world.refused(78, &["config", "check"]);
    assert!(message.contains("civi_cxn.register has no site that could be called: expected `program`"), "{message}");
}
