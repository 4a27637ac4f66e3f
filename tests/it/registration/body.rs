//! Bodies: how much is read, and within which limits.

use std::fs;
use std::time::{Duration, Instant};

use crate::testkit::registrar::{CgiReply, ENDPOINT, Registrar, body, vector};
use crate::testkit::{code, stderr};

/// The reply to a body with this `CONTENT_LENGTH`.
fn post(registrar: &Registrar, length: Option<&str>, body: &[u8]) -> CgiReply {
    let mut variables = vec![("REQUEST_METHOD", "POST"), ("PATH_INFO", ENDPOINT)];
    variables.extend(length.map(|length| ("CONTENT_LENGTH", length)));
    let output = registrar.run(&variables, body);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{length:?}");
    CgiReply::read(&output.stdout)
}

#[test]
fn a_body_without_a_length_is_read_to_its_end() {
    let registrar = Registrar::new();
    for length in [None, Some("")] {
        let reply = post(&registrar, length, &body(vector("register_new")));
        assert_eq!(reply.kind(vector("register_new"), 0).0, "success");
    }
}

#[test]
fn a_body_is_as_long_as_announced() {
    let registrar = Registrar::new();
    let message = body(vector("register_new"));
    let more = [&message[..], b"more"].concat();
    assert_eq!(post(&registrar, Some(&message.len().to_string()), &more).status, 200);
    for length in ["99999", "-1", "x", "1 "] {
        let reply = post(&registrar, Some(length), &message);
        assert_eq!((reply.status, reply.kind(vector("register_new"), 0).0), (400, "insecure"), "{length}");
    }
}

#[test]
fn a_body_above_1_mib_is_too_long() {
    let registrar = Registrar::new();
    let vector = vector("body_above_1_mib");
    let message = body(vector);
    assert_eq!(message.len(), (1 << 20) + 1);
    for length in [None, Some("1048577")] {
        let reply = post(&registrar, length, &message);
        assert_eq!((reply.status, reply.kind(vector, 0).0), (413, "insecure"));
    }
    // It is read, so that the web server passes the reply on.
    assert_eq!(post(&registrar, Some("9000000"), &vec![b'x'; 9_000_000]).status, 413);
    assert_eq!(post(&registrar, None, &vec![b'x'; 20 << 20]).status, 413);
}

#[test]
fn garbage_takes_little_memory_and_time() {
    let registrar = Registrar::new();
    for name in ["body_1_mib", "body_1_mib_after_hmac"] {
        fs::write(registrar.world.path("garbage"), body(vector(name))).unwrap();
        let script = format!("ulimit -d 32768; exec {} registration < garbage", env!("CARGO_BIN_EXE_cxnpoll"));
        let run = || {
            let mut shell = registrar.world.command_of("/bin/sh");
            shell.args(["-c", &script]).env("REQUEST_METHOD", "POST").env("PATH_INFO", ENDPOINT);
            let began = Instant::now();
            let output = shell.output().unwrap();
            assert_eq!((code(&output), CgiReply::read(&output.stdout).status), (0, 400), "{}", stderr(&output));
            began.elapsed()
        };
        // Other tests use the processors too.
        let fastest = (0..10).map(|_| run()).min().unwrap();
        assert!(fastest < Duration::from_millis(50), "{name}: {fastest:?}");
    }
}
