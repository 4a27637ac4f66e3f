//! What this machine could not do, which is no fault of a site.

use std::fs;
use std::process::Output;

use civisite::Site;
use serde_json::Value;

use crate::testkit::{APP, World, code, stderr, tools};

/// Imports a site with this URL; returns the arguments of a call to it.
fn call(world: &World, url: &str) -> [String; 3] {
    let site = Site { site_url: url.to_owned(), ..world.site(0, "ok") };
    world.import(std::slice::from_ref(&site));
    ["call".to_owned(), site.cxn_id, "System.get".to_owned()]
}

/// Asserts that a call failed with this class and a message that contains this text.
fn assert_failure(output: &Output, class: &str, expected: &str) {
    let message = stderr(output);
    assert_eq!(code(output), 3, "{message}");
    assert!(message.contains(&format!(" failed: {class}: ")) && message.contains(expected), "{expected}: {message}");
}

#[test]
fn address_that_this_machine_cannot_connect_to_is_its_own_fault() {
    let world = World::new();
    let setup =
        "ip route add prohibit 13.0.0.0/8; ip route add blackhole 14.0.0.0/8; ip route add unreachable 15.0.0.0/8";
    for (host, class, expected) in [
        ("12.0.0.1", "local", "this machine has no IPv4 route to 12.0.0.1"),
        ("[2a00::1]", "local", "this machine has no IPv6 route to 2a00::1"),
        ("13.0.0.1", "local", "a firewall or a permission of this machine forbids it to connect to 13.0.0.1"),
        ("14.0.0.1", "local", "this machine has no IPv4 route to 14.0.0.1"),
        ("15.0.0.1", "connect", "No route to host"),
    ] {
        let call = call(&world, &format!("http://{host}/"));
        let Some(output) = world.run_in_namespace(setup, &call.each_ref().map(String::as_str)) else { return };
        assert_failure(&output, class, expected);
    }
}

#[test]
fn machine_without_a_free_port_is_its_own_fault() {
    if !tools::require("python3") {
        return;
    }
    let world = World::new();
    let call = call(&world, "http://11.0.0.9/");
    // Another program has bound both of the ports.
    let setup = "ip address add 11.0.0.2/24 dev lo; echo 40000 40001 > /proc/sys/net/ipv4/ip_local_port_range
        python3 -c 'import os, socket, sys
ports = [socket.socket() for _ in range(2)]
[port.bind((\"0.0.0.0\", 40000 + number)) for number, port in enumerate(ports)]
[port.set_inheritable(True) for port in ports]
os.execv(sys.argv[1], sys.argv[1:])' \"$0\" \"$@\"; exit";
    let Some(output) = world.run_in_namespace(setup, &call.each_ref().map(String::as_str)) else { return };
    assert_failure(&output, "local", "no local port is free");
}

#[test]
fn name_servers_that_do_not_answer_are_named() {
    let world = World::new();
    fs::write(world.path("resolv.conf"), "nameserver 127.0.0.1\nnameserver 192.0.2.53\n").unwrap();
    let setup = "mount --bind resolv.conf /etc/resolv.conf";
    let expected = "names cannot be resolved: no answer from name servers 127.0.0.1, 192.0.2.53 (/etc/resolv.conf)";
    let call = call(&world, "http://site.example.org/");
    let Some(output) = world.run_in_namespace(setup, &call.each_ref().map(String::as_str)) else { return };
    assert_failure(&output, "local", expected);
    let output = world.run_in_namespace(setup, &["config", "check", "--json"]).unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), found["problems"].as_array().unwrap().len()), (78, 1), "{found}");
    assert_eq!(found["problems"][0], expected);
}

#[test]
fn missing_store_of_certificates_is_named() {
    let world = World::new();
    fs::write(world.path("empty.pem"), "").unwrap();
    fs::write(world.path("broken.pem"), "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n").unwrap();
    let [secure, plain] = ["https", "http"].map(|scheme| format!("{scheme}://{}/", world.server.addr()));
    for (file, reason) in [("empty.pem", ""), ("broken.pem", ""), ("gone.pem", " (No such file or directory)")] {
        let file = world.path(file);
        let run = |arguments: &[&str]| world.command(arguments).env("SSL_CERT_FILE", &file).output().unwrap();
        let expected = format!(
            "no CA certificates in {}{reason}: install ca-certificates, or correct SSL_CERT_FILE and SSL_CERT_DIR",
            file.display()
        );
        let call_secure = call(&world, &secure);
        assert_failure(&run(&call_secure.each_ref().map(String::as_str)), "local", &expected);
        let output = run(&["config", "check"]);
        assert_eq!((code(&output), stderr(&output).contains(&expected)), (78, true), "{output:?}");
        let output = run(&["poll", APP, "--cxn", &call_secure[1], "--strict"]);
        assert_eq!((code(&output), stderr(&output).contains("CA certificates")), (69, true), "{output:?}");
        let status = &world.json(&["explain", &call_secure[1], "--json"])["lastOutcome"];
        assert!(status.is_null(), "it is not counted: {status}");
        // A site without TLS needs none.
        let call_plain = call(&world, &plain);
        let output = run(&call_plain.each_ref().map(String::as_str));
        assert!(stderr(&output).contains("failed: http: "), "{output:?}");
    }
}
