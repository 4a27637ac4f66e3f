//! Registrations: the program that a web server starts for each request of a site.

mod body;
mod faults;
mod limits;
mod listeners;
mod paths;
mod vectors;

use std::fs;

use crate::testkit::registrar::{ENDPOINT, Registrar, body, vector};
use crate::testkit::{code, stderr, stdout};

#[test]
fn a_site_connects_changes_and_disconnects() {
    let registrar = Registrar::new();
    let registered = registrar.send("register_new");
    assert_eq!((registered.status, registered.kind(vector("register_new"), 0).0), (200, "success"));
    assert_eq!(registered.headers["Content-Type"], "application/x-civi-cxn");
    let stored = &vector("register_new")["expect"]["stored"];
    assert_eq!(registrar.connections().values().collect::<Vec<_>>(), [stored]);
    registrar.send("later_url");
    assert_eq!(registrar.connections().values().collect::<Vec<_>>(), [&vector("later_url")["expect"]["stored"]]);
    registrar.send("later_unregister");
    assert!(registrar.connections().is_empty());
    registrar.world.assert_sound();
}

#[test]
fn the_log_has_a_line_for_each_request() {
    let registrar = Registrar::new();
    registrar.send("register_new");
    registrar.send("flipped_hmac");
    registrar.run(&[("REQUEST_METHOD", "POST"), ("PATH_INFO", "/\u{1b}[2J\n/x"), ("REMOTE_ADDR", "a\nb")], b"");
    let log = registrar.log();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    let id = vector("register_new")["request_cxn"]["cxnId"].as_str().unwrap();
    for part in [
        "registration: registered",
        "remote=127.0.0.1",
        &format!("path={ENDPOINT}"),
        "status=200",
        "host=site.example.org",
    ] {
        assert!(lines[0].contains(part), "{part}: {log}");
    }
    assert!(lines[0].contains(&format!("cxn={id}")), "{log}");
    assert!(lines[1].contains("status=400") && !lines[1].contains("cxn=") && !lines[1].contains("host="), "{log}");
    assert!(lines[2].contains("status=404") && lines[2].contains("remote=a b") && !log.contains('\u{1b}'), "{log}");
}

#[test]
fn held_connections_wait_until_they_are_enabled() {
    let registrar = Registrar::new();
    registrar.configure("[registration]\nhold = true");
    assert_eq!(registrar.send("register_new").kind(vector("register_new"), 0).0, "success");
    let id = vector("register_new")["request_cxn"]["cxnId"].as_str().unwrap();
    let is_disabled = || registrar.world.export()[0].contains("\"disabled\":true");
    assert!(is_disabled());
    // A change of its details does not enable it.
    registrar.send("later_url");
    assert!(is_disabled());
    registrar.world.text(&["enable", id]);
    assert!(!is_disabled());
}

#[test]
fn a_terminal_is_no_web_server() {
    let registrar = Registrar::new();
    let output = registrar.world.run(&["registration"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (2, ""));
    assert!(
        stderr(&output).contains("REQUEST_METHOD is not set\nhint: set it up as a CGI program"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    let registrar = Registrar::new();
    fs::write(registrar.world.path("body"), body(vector("register_new"))).unwrap();
    let program = env!("CARGO_BIN_EXE_cxnpoll");
    for (number, end) in ["| true", ">&-", "> /dev/null"].into_iter().enumerate() {
        // With a pipe, the exit code is that of `true`, so it is written to a file.
        let script = format!("{{ {program} registration < body; echo $? > code; }} {end}");
        let mut shell = registrar.world.command_of("/bin/sh");
        shell.args(["-c", &script]).env("REQUEST_METHOD", "POST").env("PATH_INFO", ENDPOINT);
        let output = shell.output().unwrap();
        assert_eq!(stderr(&output), "", "{end}");
        assert_eq!(fs::read_to_string(registrar.world.path("code")).unwrap(), "0\n", "{end} {number}");
    }
    assert_eq!(registrar.connections().len(), 1);
    let full = format!("exec {program} registration < body > /dev/full");
    let mut shell = registrar.world.command_of("/bin/sh");
    let output = shell.args(["-c", &full]).env("REQUEST_METHOD", "POST").env("PATH_INFO", ENDPOINT).output().unwrap();
    assert_eq!(code(&output), 74);
    assert!(stderr(&output).starts_with("error: cannot write to standard output"), "{}", stderr(&output));
}

#[test]
fn a_link_opens_a_page_of_the_app() {
    let registrar = Registrar::new();
    let vector = vector("getlink");
    let lines: Vec<_> = vector["before"].as_array().unwrap().iter().map(ToString::to_string).collect();
    registrar.world.import_text(&lines.join("\n"));
    let (kind, json) = registrar.send("getlink").kind(vector, 0);
    assert_eq!(kind, "success");
    let values = &json["values"];
    let url = values["url"].as_str().unwrap();
    assert_eq!(
        (values["mode"].as_str(), values["width"].as_str(), values["height"].as_str()),
        (Some("iframe"), Some("50%"), Some("50%"))
    );
    let id = vector["request_cxn"]["cxnId"].as_str().unwrap();
    assert_eq!(values["cxn_id"], id);
    let (page, token) = url.split_once("?cxnToken=").unwrap();
    assert_eq!(page, format!("https://app.example.org/app:org.example.poll/{id}/settings"));
    assert_eq!(token.split(";;;").count(), 2, "{url}");
    // A page that the configuration does not have.
    let config = registrar.world.config().replace("settings = ", "other = ");
    registrar.world.set_config(&config);
    assert_eq!(registrar.send("getlink").error(vector), "the app has no such page");
}
