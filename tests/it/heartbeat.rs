//! The heartbeat after a successful run.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::testkit::{APP, MIDNIGHT, StoreLocks, World, assert_quiet, code, stderr, stdout, tools};

/// Starts a server that answers with a status; returns its address and the first line of every request.
fn heartbeat_server(status: &'static str) -> (SocketAddr, Receiver<String>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            sender.send(line.trim().to_owned()).unwrap();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nOK");
        }
    });
    (address, receiver)
}

#[test]
fn heartbeat_is_sent_after_a_successful_run_only() {
    let world = World::with(["ok", "status-500"]);
    let (address, requests) = heartbeat_server("200 OK");
    let url = format!("http://{address}/ping/key?x=1");
    let poll = |now: i64, more: &[&str]| {
        world.run(&[&["poll", APP, "--heartbeat", &url, "--now", &now.to_string()], more].concat())
    };
    assert_quiet(&poll(MIDNIGHT, &[]));
    assert_eq!(requests.recv().unwrap(), "GET /ping/key?x=1 HTTP/1.1");
    assert_quiet(&poll(MIDNIGHT, &[]));
    assert!(requests.recv().unwrap().starts_with("GET "), "also when nothing was due");
    assert_eq!(code(&poll(MIDNIGHT + 3600, &["--strict"])), 3);
    assert!(requests.try_recv().is_err(), "not after a failure with --strict");
    let cxns = world.database().open_tree("cxn").unwrap();
    cxns.insert(cxns.first().unwrap().unwrap().0, &[9]).unwrap();
    drop(cxns);
    assert_eq!(code(&poll(MIDNIGHT + 7200, &[])), 74);
    assert!(requests.try_recv().is_err(), "not if a record was skipped");

    assert_eq!(code(&world.run(&["store", "check", "--repair"])), 0);

    assert_eq!(code(&world.run(&["poll", APP, "--heartbeat", "nonsense"])), 2);
    let (failing, _requests) = heartbeat_server("500 No");
    let output = world.run(&["poll", APP, "--heartbeat", &format!("http://{failing}/ping/key")]);
    assert_eq!(
        (code(&output), stderr(&output)),
        (0, "warning: the heartbeat failed: http: status 500 Internal Server Error\n".to_owned())
    );
}

#[test]
fn url_comes_from_the_option_the_environment_or_the_configuration() {
    let world = World::with(["ok"]);
    let (address, requests) = heartbeat_server("200 OK");
    let url = |name: &str| format!("http://{address}/{name}");
    let config = world.config();
    world.set_config(&format!("heartbeat = \"{}\"\n{config}", url("file")));
    let poll = |variable: &str, more: &[&str]| {
        let output =
            world.command(&[&["poll", APP], more].concat()).env("CXNPOLL_HEARTBEAT", variable).output().unwrap();
        assert_quiet(&output);
        requests.try_recv().ok()
    };
    let called = |name: &str| Some(format!("GET /{name} HTTP/1.1"));
    assert_eq!(poll("", &[]), called("file"));
    assert_eq!(poll(&url("variable"), &[]), called("variable"));
    assert_eq!(poll(&url("variable"), &["--heartbeat", &url("option")]), called("option"));
    let by_hand = ["--cxn", &world.site(0, "ok").cxn_id];
    assert_eq!(poll(&url("variable"), &by_hand), None, "a poll by hand does not show that cron works");
    assert_eq!(poll("", &[&by_hand[..], &["--heartbeat", &url("option")]].concat()), called("option"));
    world.append_config(&format!("[jobs.\"{APP}\".default]\nheartbeat = \"{}\"\n", url("job")));
    assert_eq!(poll("", &[]), called("job"));
    assert_eq!(poll("", &["--name", "other"]), called("file"));
    assert_eq!(poll(&url("variable"), &[]), called("variable"));
}

/// The script of the page: it adds the report of a failure at once.
#[test]
fn script_reports_the_exit_code_of_a_run_that_failed() {
    if !tools::require("curl") {
        return;
    }
    let world = World::with(["ok", "status-500"]);
    let (address, requests) = heartbeat_server("200 OK");
    let programs = Path::new(env!("CARGO_BIN_EXE_cxnpoll")).parent().unwrap().display();
    let run = |more: &[&str]| {
        let mut command = world.command_of(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring/heartbeat.sh"));
        command.args(["poll", APP]).args(more).env("CXNPOLL_HEARTBEAT", format!("http://{address}/key"));
        let output = command.env("PATH", format!("{programs}:/usr/bin:/bin")).output().unwrap();
        (code(&output), stderr(&output), requests.try_recv().ok())
    };
    assert_eq!(run(&[]), (0, String::new(), Some("GET /key HTTP/1.1".to_owned())));
    let (code, messages, request) = run(&["--now", "4000000000", "--strict"]);
    assert_eq!((code, messages.as_str(), request.as_deref()), (3, "", Some("POST /key/3 HTTP/1.1")));
    let (code, messages, request) = run(&["--batch", "2/2"]);
    assert_eq!((code, request.as_deref()), (2, Some("POST /key/2 HTTP/1.1")));
    assert!(messages.starts_with("error: ") && !messages.contains("key"), "{messages}");
    let _locks = StoreLocks::acquire(&world);
    let (code, _, request) = run(&["--now", "4000090000", "--store-wait", "0s"]);
    assert_eq!((code, request), (75, None), "a run that is declined has not failed");
}

#[test]
fn url_is_not_shown() {
    let world = World::with(["ok"]);
    let config = world.config();
    let assert_hidden = |arguments: &[&str], variable: &str, exit: i32, expected: &str| {
        let output = world.command(arguments).env("CXNPOLL_HEARTBEAT", variable).output().unwrap();
        let text = stdout(&output) + &stderr(&output);
        assert_eq!(code(&output), exit, "{text}");
        assert!(text.contains(expected) && !text.contains("T0KEN"), "{text}");
    };
    let poll = ["poll", APP, "-vv"];
    assert_hidden(&["poll", APP, "--heartbeat", "T0KEN"], "", 2, "error: --heartbeat is not an http or https URL");
    assert_hidden(&poll, "T0KEN", 78, "error: CXNPOLL_HEARTBEAT is not an http or https URL");
    assert_hidden(&["config", "show"], "https://a.example.org/T0KEN", 0, "a.example.org/…");
    let (address, _requests) = heartbeat_server("301 Moved\r\nLocation: https://a.example.org/T0KEN");
    assert_hidden(&poll, &format!("http://{address}/T0KEN"), 0, "the heartbeat failed: redirect: status 301");
    world.set_config(&format!("heartbeat = \"ftp://T0KEN\"\n{config}"));
    assert_hidden(&poll, "", 78, "error: heartbeat in the configuration is not an http or https URL");
    assert_hidden(&["config", "check"], "", 78, "error: heartbeat in the configuration is not");
    assert_hidden(&["config", "show", "--json"], "http://a.example.org/T0KEN", 0, "\"CXNPOLL_HEARTBEAT\"");
    world.set_config(&format!("heartbeat = \"https://T0KEN\n{config}"));
    assert_hidden(&poll, "", 78, "1 | heartbeat = …");
}
