//! Faults on this side: the site gets a general text, and the administrator the reason.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::json;

use crate::testkit::library::hold_session;
use crate::testkit::registrar::{CgiReply, ENDPOINT, RECORDED_APP, Registrar, body, recorded, vector};
use crate::testkit::{code, stderr};

const POST: [(&str, &str); 2] = [("REQUEST_METHOD", "POST"), ("PATH_INFO", ENDPOINT)];

fn register(registrar: &Registrar, arguments: &[&str]) -> Output {
    registrar.run_with(arguments, &POST, &body(vector("register_new")))
}

/// Checks the exit code, the status and the start of the error; returns the reply.
fn assert_fault(output: &Output, exit: i32, status: u16, error: &str) -> CgiReply {
    let reply = CgiReply::read(&output.stdout);
    assert_eq!((code(output), reply.status), (exit, status), "{}", stderr(output));
    assert!(stderr(output).starts_with(&format!("error: {error}")), "{}", stderr(output));
    let text = String::from_utf8(reply.body.clone()).unwrap();
    assert!(
        text.starts_with("CXN-0.2-INSECURE\u{1}{\"is_error\":1,\"error_message\":\"the app cannot take registrations"),
        "{text}"
    );
    for hidden in ["/", "store", "key", "config", "error:"] {
        assert!(!text.contains(hidden), "{text}");
    }
    reply
}

#[test]
fn a_missing_store_is_not_created() {
    let registrar = Registrar::without_store();
    let output = register(&registrar, &["registration"]);
    assert_fault(&output, 66, 503, "there is no store in ");
    assert!(!registrar.world.store().exists());
    assert!(registrar.log().contains("registration: a fault on this side"));
}

#[test]
fn a_busy_store_asks_to_come_back() {
    let registrar = Registrar::new();
    hold_session(&registrar.world, "store check", || {
        let output = register(&registrar, &["registration", "--store-wait", "0.1"]);
        let reply = assert_fault(&output, 75, 503, "the store ");
        assert_eq!(reply.headers["Retry-After"], "30");
    });
    assert_eq!(registrar.send("register_new").status, 200);
}

#[test]
fn a_broken_store_is_our_fault() {
    let registrar = Registrar::new();
    fs::write(registrar.world.store().join("CURRENT"), "db-99\n").unwrap();
    assert_fault(&register(&registrar, &["registration"]), 74, 500, "");
}

#[test]
fn a_key_is_needed_and_must_be_one() {
    let registrar = Registrar::new();
    let key = registrar.world.path("org.example.poll.pem");
    fs::write(&key, "no key").unwrap();
    assert_fault(&register(&registrar, &["registration"]), 78, 500, "");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_fault(&register(&registrar, &["registration"]), 78, 500, "");
    let config =
        registrar.world.config().lines().filter(|line| !line.starts_with("private-key")).collect::<Vec<_>>().join("\n");
    registrar.world.set_config(&config);
    assert_fault(&register(&registrar, &["registration"]), 78, 500, "app:org.example.poll has no private key");
}

#[test]
fn a_certificate_of_another_key_is_our_fault() {
    let registrar = Registrar::new();
    let other = recorded()["apps"]["app:org.example.second"]["appCert"].as_str().unwrap();
    fs::write(registrar.world.path("org.example.poll.crt"), other).unwrap();
    assert_fault(
        &register(&registrar, &["registration"]),
        78,
        500,
        "the certificate of app:org.example.poll is not that",
    );
}

#[test]
fn a_private_key_is_never_published() {
    let registrar = Registrar::new();
    let key = recorded()["apps"][RECORDED_APP]["keys"]["privatekey"].as_str().unwrap();
    let certificate = recorded()["apps"][RECORDED_APP]["appCert"].as_str().unwrap();
    let config = registrar.world.config();
    let variables = [("REQUEST_METHOD", "GET"), ("PATH_INFO", "/org.example.poll/cxn/metadata.json")];
    let get = |name: &str, text: &str| {
        fs::write(registrar.world.path("public"), text).unwrap();
        let lines = config.lines().filter(|line| !line.starts_with(name)).collect::<Vec<_>>().join("\n");
        registrar.world.set_config(&lines.replacen("app-url", &format!("{name} = \"public\"\napp-url"), 1));
        registrar.run(&variables, b"")
    };
    for text in [key.to_owned(), format!("{certificate}\n{key}"), json!({"privatekey": key}).to_string()] {
        for name in ["app-cert", "metadata"] {
            let output = get(name, &text);
            assert_fault(&output, 78, 500, registrar.world.path("public").to_str().unwrap());
        }
    }
    assert_fault(&get("app-cert", "a link secret"), 78, 500, "the certificate of app:org.example.poll is not X.509");
}

#[test]
fn a_key_that_cannot_be_read_is_our_fault() {
    let registrar = Registrar::new();
    let key = registrar.world.path("org.example.poll.pem");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    let output = register(&registrar, &["registration"]);
    assert!([74, 78].contains(&code(&output)));
    assert_fault(&output, code(&output), 500, "");
}

#[test]
fn without_a_configuration_there_is_a_reply_too() {
    let registrar = Registrar::new();
    registrar.world.set_config("store = 5\n");
    // Such a body is read before, so that the web server passes the reply on.
    let large = vec![b'x'; 3 << 20];
    assert_fault(&registrar.run(&POST, &large), 78, 500, "in ");
    let head = registrar.run(&[("REQUEST_METHOD", "HEAD"), ("PATH_INFO", "/x")], b"");
    assert!(CgiReply::read(&head.stdout).body.is_empty());
    let missing = register(&registrar, &["--config", "missing.toml", "registration"]);
    assert_fault(&missing, 66, 500, "there is no configuration file ");
}

#[test]
fn a_log_file_that_cannot_be_written_is_our_fault() {
    let registrar = Registrar::new();
    let mut command = registrar.world.command(&["registration", "--log-file", "/"]);
    let output = command.envs(POST).output().unwrap();
    assert_fault(&output, 78, 500, "cannot write the log /");
}

#[test]
fn a_store_that_cannot_be_written_is_our_fault() {
    let registrar = Registrar::new();
    // Where root may write everything, a file in place of the directory has the same effect.
    fs::write(registrar.world.store().join("registration"), "").unwrap();
    let from = |remote| {
        let variables = [POST[0], POST[1], ("REMOTE_ADDR", remote)];
        registrar.run_with(&["registration"], &variables, &body(vector("register_new")))
    };
    for remote in ["127.0.0.1", "192.0.2.1"] {
        assert_fault(&from(remote), 74, 500, "cannot create ");
    }
}

#[test]
fn arguments_are_as_short_as_those_of_a_run() {
    let registrar = Registrar::new();
    // Wrong ones have the error of the whole program.
    let message = registrar.world.refused(2, &["registration", "--pages"]);
    assert!(message.contains("unexpected argument '--pages'") && message.contains("cxnpoll registration"), "{message}");
    assert!(registrar.world.text(&["help", "registration"]).contains("CGI program"));
}
