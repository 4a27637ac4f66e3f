//! Sites behind https: which certificates are accepted.

pub(crate) mod front;

use std::fs;
use std::io::{Read, Write};

use civisite::Site;
use serde_json::{Value, json};

use front::{Issuer, authority, front, https, serve};

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr};

/// Adds top-level lines and lines of the app to the configuration.
fn configure(world: &World, top_level: &str, of_app: &str) {
    world.set_config(&format!("{top_level}\n{}{of_app}\n", world.config()));
}

/// Returns sites with every fault that a certificate can have, and the message for each.
fn faulty(world: &World, authority: &Issuer) -> [(Site, &'static str); 4] {
    [
        (front(world, "127.0.0.1", Some(authority), true), "the site's certificate expired on "),
        (
            front(world, "other.example.org", Some(authority), false),
            "the site's certificate is not for 127.0.0.1, but for other.example.org",
        ),
        (front(world, "127.0.0.1", None, false), "no trusted authority signed the site's certificate"),
        (
            front(world, "127.0.0.1", Some(&self::authority("stranger")), false),
            "no trusted authority signed the site's certificate",
        ),
    ]
    .map({
        let mut number = 100;
        move |(front, expected)| {
            number += 1;
            (https(world, number, "ok", front), expected)
        }
    })
}

#[test]
fn certificate_must_be_valid() {
    let world = World::new();
    let authority = authority("ours");
    fs::write(world.path("ca.pem"), format!("Ours\n{}", authority.pem())).unwrap();
    configure(&world, "ca-file = \"ca.pem\"", "");
    let good = front(&world, "127.0.0.1", Some(&authority), false);
    let plain = serve(|mut stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    // It reads the request first, because unread data would make it reset the connection.
    let closing = serve(|mut stream| drop(stream.read(&mut [0; 4096])));

    let mut cases = vec![
        (https(&world, 0, "ok", good), "ok", ""),
        (https(&world, 1, "short", good), "disconnected", "closed while reading the reply"),
        (https(&world, 2, "close", good), "disconnected", "closed while waiting for the reply"),
        (https(&world, 3, "hang", good), "timeout", "timed out while waiting for the reply"),
        (https(&world, 4, "drip", good), "timeout", "timed out while waiting for the reply"),
        (https(&world, 5, "ok", plain), "tls", "the port does not speak TLS"),
        (https(&world, 6, "ok", closing), "tls", "closed while making the TLS connection"),
    ];
    cases.extend(faulty(&world, &authority).map(|(site, expected)| (site, "tls", expected)));
    world.import(&cases.iter().map(|(site, ..)| site.clone()).collect::<Vec<_>>());
    let summary = world.poll(MIDNIGHT, &["--timeout", "2"]);
    assert_eq!(summary["failures"], json!({"tls": 6, "disconnected": 2, "timeout": 2}), "{summary}");
    for (site, class, expected) in cases {
        let last = &world.explain(&site, MIDNIGHT)["lastOutcome"];
        assert_eq!(last["class"], class, "{last}");
        assert!(last["message"].as_str().unwrap_or_default().contains(expected), "{expected}: {last}");
        let text = world.text(&["explain", &site.cxn_id]);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn app_can_skip_verification_with_a_warning() {
    let world = World::new();
    let sites = faulty(&world, &authority("ours")).map(|(site, _)| site);
    world.import(&sites);
    assert_eq!(world.poll(MIDNIGHT, &[])["failures"], json!({"tls": 4}));

    configure(&world, "", "tls = \"skip-verify\"");
    let output = world.run(&["poll", APP, "--json", "--now", &(MIDNIGHT + 3600).to_string()]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["ok"], &summary["failed"]), (&json!(4), &json!(0)), "{summary}");
    let warning =
        "warning: app:org.example.myapp has tls = \"skip-verify\": certificates of its sites are not verified\n";
    assert_eq!(stderr(&output), warning);
    assert_eq!(stderr(&world.run(&["call", &sites[0].cxn_id, "System.get"])), warning);
    let checked = world.run(&["config", "check"]);
    assert_eq!((code(&checked), stderr(&checked)), (0, warning.to_owned()));
    // --quiet suppresses the warning, and an idle run prints none.
    assert_quiet(&world.run(&["poll", APP, "-q", "--now", &(MIDNIGHT + 7200).to_string()]));
    assert_quiet(&world.run(&["poll", APP, "--now", &(MIDNIGHT + 7200).to_string()]));
}

#[test]
fn authorities_of_the_file_add_to_those_of_the_platform() {
    let world = World::new();
    let [platform, ours] = ["platform", "ours"].map(authority);
    let [of_platform, of_file] = [world.path("platform.pem"), world.path("ca.pem")];
    fs::write(&of_platform, platform.pem()).unwrap();
    fs::write(&of_file, ours.pem()).unwrap();
    let sites = [
        https(&world, 0, "ok", front(&world, "127.0.0.1", Some(&platform), false)),
        https(&world, 1, "ok", front(&world, "127.0.0.1", Some(&ours), false)),
    ];
    world.import(&sites);
    let poll = |now: i64, platform: bool| {
        let mut command = world.command(&["poll", APP, "--json", "--now", &now.to_string()]);
        if platform {
            command.env("SSL_CERT_FILE", &of_platform);
        }
        let summary: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        summary["ok"].as_u64().unwrap()
    };
    assert_eq!(poll(MIDNIGHT, false), 0);
    assert_eq!(poll(MIDNIGHT + 3600, true), 1);
    configure(&world, "ca-file = \"ca.pem\"", "");
    assert_eq!(poll(MIDNIGHT + 7200, true), 2);
}

#[test]
fn file_without_authorities_is_refused() {
    let world = World::with(["ok"]);
    configure(&world, "ca-file = \"ca.pem\"", "");
    let file = world.path("ca.pem");
    for (text, expected) in [
        (None, "cannot be read: No such file"),
        (Some("no certificate"), "holds no certificate"),
        (Some("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), "holds no certificate"),
    ] {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        for command in [&["poll", APP][..], &["config", "check"]] {
            let output = world.run(command);
            assert_eq!(code(&output), 78, "{output:?}");
            assert!(stderr(&output).contains(&format!("ca-file: {}: {expected}", file.display())), "{output:?}");
        }
    }
    assert_eq!(world.server.total(), 0);
}

#[test]
fn certificate_behind_a_via_port_is_that_of_the_site() {
    let world = World::new();
    let authority = authority("ours");
    fs::write(world.path("ca.pem"), authority.pem()).unwrap();
    configure(&world, "ca-file = \"ca.pem\"", "");
    let lines = ["127.0.0.1", "site.example.org"]
        .into_iter()
        .enumerate()
        .map(|(number, name)| {
            let front = front(&world, name, Some(&authority), false);
            let site = world.site(u32::try_from(number).unwrap(), "ok");
            let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
            let path = site.site_url.splitn(4, '/').last().unwrap();
            line["siteUrl"] = json!(format!("https://site.example.org/{path}"));
            line["viaPort"] = json!(front.to_string());
            line.to_string()
        })
        .collect::<Vec<_>>();
    world.import_text(&lines.join("\n"));
    let summary = world.poll(MIDNIGHT, &[]);
    assert_eq!((&summary["ok"], &summary["failures"]), (&json!(1), &json!({"tls": 1})), "{summary}");
    assert_eq!((world.server.polls(0), world.server.polls(1)), (1, 0));
}
