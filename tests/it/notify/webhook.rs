//! Messages that are posted to a URL.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::{COMMAND, HOUR, MINUTE, configure, messages};
use crate::testkit::{APP, MIDNIGHT, World, code, stderr, tools, until};

/// A request: its header, and its body.
type Received = (String, String);

/// A server for webhooks that answers with a status, which may change. It closes the connection if that is empty.
struct Receiver {
    url: String,
    status: Arc<Mutex<&'static str>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    fn start() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/T0KEN", server.local_addr().unwrap());
        let (status, received) = (Arc::new(Mutex::new("204 No Content")), Arc::<Mutex<Vec<Received>>>::default());
        let (answer, requests) = (Arc::clone(&status), Arc::clone(&received));
        thread::spawn(move || {
            for mut stream in server.incoming().flatten() {
                let mut reader = BufReader::new(&stream);
                let mut header = String::new();
                while !header.ends_with("\r\n\r\n") {
                    assert!(reader.read_line(&mut header).unwrap() > 0, "{header}");
                }
                let length = value(&header, "content-length").parse().unwrap();
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                requests.lock().unwrap().push((header, String::from_utf8(body).unwrap()));
                let status = *answer.lock().unwrap();
                if !status.is_empty() {
                    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                }
            }
        });
        Self { url, status, received }
    }

    fn set_status(&self, status: &'static str) {
        *self.status.lock().unwrap() = status;
    }

    fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

/// Returns the value of a header.
fn value(header: &str, name: &str) -> String {
    let of_name = |line: &str| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    };
    header.lines().find_map(of_name).unwrap_or_default()
}

/// Returns a program of the page, which verifies messages, in a language.
fn receiver_of_the_page(language: &str) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/notifications.md")).unwrap();
    let (_, block) = page.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// Sends test messages to a receiver of the page, with its key and with another one.
fn assert_verifies(language: &str, start: impl FnOnce(&World, u16) -> Command) {
    let world = World::with(["ok"]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fs::write(world.path("receiver"), receiver_of_the_page(language)).unwrap();
    fs::write(world.path("webhook.key"), "0123456789abcdef\n").unwrap();
    let set_key = |key: &str| {
        fs::write(world.path("key"), key).unwrap();
        fs::set_permissions(world.path("key"), fs::Permissions::from_mode(0o640)).unwrap();
    };
    set_key("0123456789abcdef");
    let mut receiver = start(&world, port).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the receiver listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let channel = format!("webhook = \"http://127.0.0.1:{port}/\"\nwebhook-secret-file = \"key\"\n");
    configure(&world, "1h", &channel);
    let test = || code(&world.run(&["notify", "test"]));
    let with_key = test();
    set_key("whsec_MDEyMzQ1Njc4OWFiY2RlZg==");
    let encoded = test();
    set_key("another");
    let with_another = test();
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    assert_eq!((with_key, encoded, with_another), (0, 0, 74), "{language}");
}

#[test]
fn receivers_of_the_page_verify_messages() {
    if tools::require("python3") {
        assert_verifies("python", |world, port| {
            let mut command = Command::new("python3");
            command.args(["receiver", &port.to_string()]).current_dir(world.dir.path());
            command
        });
    }
    if tools::require("php") {
        assert_verifies("php", |world, port| {
            let mut command = Command::new("php");
            command.args(["-S", &format!("127.0.0.1:{port}"), "receiver"]).current_dir(world.dir.path());
            command
        });
    }
}

#[test]
fn a_webhook_that_fails_for_an_hour_loses_nothing_and_the_command_gets_nothing_twice() {
    let (world, receiver) = (World::on_all_addresses(), Receiver::start());
    let sites: Vec<_> = (0..6)
        .map(|number| world.site_on_own_host(number, format!("fail-first-{}", 1 + 2 * number).parse().unwrap()))
        .collect();
    world.import(&sites);
    configure(&world, "5m", &format!("{COMMAND}webhook = \"{}\"\n", receiver.url));
    let run = |tick: i64| {
        let now = (MIDNIGHT + tick * 5 * MINUTE).to_string();
        let output = world.run(&["poll", APP, "--retry", "5 min (x*)", "--now", &now]);
        assert_eq!(code(&output), 0);
        stderr(&output)
    };
    receiver.set_status("404 Not Found");
    let warnings: Vec<_> = (0..12).map(run).collect();
    assert!(warnings.iter().all(|text| text.contains("webhook was not delivered: http: status 404")), "{warnings:?}");
    let pending = receiver.take();
    assert!(pending.len() == 12 && pending.iter().all(|(_, body)| *body == pending[0].1), "{pending:?}");
    let header = &pending[0].0;
    assert!(
        header.starts_with("POST /T0KEN HTTP/1.1\r\n") && value(header, "webhook-signature").is_empty(),
        "{header}"
    );
    assert_eq!((value(header, "content-type"), value(header, "webhook-id").len()), ("application/json".to_owned(), 32));
    receiver.set_status("200 OK");
    assert!((12..15).all(|tick| run(tick).is_empty()));
    let parse = |(_, body): &Received| serde_json::from_str::<Value>(body).unwrap();
    let by_webhook: Vec<_> = receiver.take().iter().map(parse).collect();
    let by_command = messages(&world);
    assert_eq!((by_webhook.len(), by_command.len()), (2, 7), "{by_webhook:?} {by_command:?}");
    let news = |messages: &[Value]| {
        let changes = messages.iter().flat_map(|message| message["changes"].as_array().unwrap());
        let of_change = |change: &Value| {
            let sites = change["sites"].as_array().unwrap();
            sites.iter().map(|site| format!("{} {} {}", change["kind"], site["cxnId"], site["at"])).collect::<Vec<_>>()
        };
        let mut news: Vec<_> = changes.flat_map(of_change).collect();
        news.sort();
        news
    };
    assert_eq!(news(&by_webhook), news(&by_command));
    assert_eq!(news(&by_command).len(), 12);
}

#[test]
fn a_passing_failure_is_tried_again_in_the_same_run_and_no_url_is_shown() {
    for (status, expected) in [("503 Service Unavailable", "http: status 503"), ("", "disconnected: ")] {
        let (world, receiver) = (World::with(["status-500"]), Receiver::start());
        configure(&world, "1h", &format!("webhook = \"{}\"\n", receiver.url));
        receiver.set_status(status);
        let output = world.run(&["poll", APP, "-vv", "--now", &(MIDNIGHT + HOUR).to_string()]);
        let text = stderr(&output);
        assert!(text.contains(&format!("the notification by webhook was not delivered: {expected}")), "{text}");
        let received = receiver.take();
        assert_eq!((received.len(), code(&output), text.contains("T0KEN")), (3, 0, false), "{text}");
        let ids: BTreeSet<_> = received.iter().map(|(header, _)| value(header, "webhook-id")).collect();
        assert_eq!(ids.len(), 1, "the receiver recognises it");
    }
}
