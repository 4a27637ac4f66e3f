//! Keys of apps, requests for their certificates, and what `config check` finds about registrations.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::testkit::tools::require;
use crate::testkit::{World, code, stderr, stdout};

const POLL: &str = "org.example.poll";

/// The recorded registrations of cxnapp, with its keys.
fn vectors() -> Value {
    let text = include_bytes!("../../fixtures/registration-vectors.json");
    let mut reader = serde_json::Deserializer::from_slice(text);
    reader.disable_recursion_limit();
    serde::Deserialize::deserialize(&mut reader).unwrap()
}

fn openssl(arguments: &[&str], file: &Path) -> String {
    let output = Command::new("openssl").args(arguments).arg("-in").arg(file).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    stdout(&output) + &stderr(&output)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// A configuration with the recorded app, its key, certificate and metadata, and a store.
fn world_with_app(more: &str) -> World {
    let world = World::with(["ok"]);
    let vectors = vectors();
    let app = &vectors["apps"][format!("app:{POLL}")];
    fs::write(world.path("poll.crt"), app["appCert"].as_str().unwrap()).unwrap();
    write_private(&world.path("keys.json"), vectors["keys_json"].as_str().unwrap());
    fs::write(world.path("metadata.json"), vectors["metadata"]["metadata_json"].as_str().unwrap()).unwrap();
    set_app(&world, more);
    world
}

fn set_app(world: &World, more: &str) {
    let table = format!(
        "[apps.\"{POLL}\"]\napp-url = \"https://app.example.org/cxn/{POLL}/cxn\"\napp-cert = \"poll.crt\"\n\
         metadata = \"metadata.json\"\n"
    );
    world.config();
    world.set_config(&(table + more));
}

/// The problems and warnings of `config check`.
fn check(world: &World) -> (Vec<String>, Vec<String>) {
    let output = world.run(&["config", "check", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let texts = |key: &str| serde_json::from_value::<Vec<String>>(json[key].clone()).unwrap();
    assert_eq!(code(&output) == 78, !texts("problems").is_empty(), "{output:?}");
    (texts("problems"), texts("warnings"))
}

#[test]
fn new_key_has_a_request_that_openssl_accepts_and_replaces_no_file() {
    if !require("openssl") {
        return;
    }
    let world = World::new();
    world.config();
    world.set_config("");
    let create =
        ["config", "app-keys", "create", POLL, "--organization", "Exämple, Inc.", "--self-signed", "--json", "-v"];
    let output = world.command(&create).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let dir = world.path(POLL);
    let [keys, request, certificate] = ["keys.json", "app.csr", "app.crt"].map(|name| dir.join(name));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["app"], format!("app:{POLL}"));
    for (key, path) in [("key", &keys), ("request", &request), ("certificate", &certificate)] {
        assert_eq!(json[key], path.to_str().unwrap(), "{json}");
    }
    assert_eq!([mode(&dir), mode(&keys), mode(&request), mode(&certificate)], [0o700, 0o600, 0o644, 0o644]);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 3);
    // The key is found before the configuration names it.
    fs::remove_file(&request).unwrap();
    assert_eq!(code(&world.run(&["config", "app-keys", "request", POLL, "--organization", "Exämple, Inc."])), 0);

    let text = openssl(&["req", "-verify", "-noout", "-text", "-nameopt", "utf8,sep_comma_plus_space"], &request);
    for expected in [
        "verify OK",
        "Subject: O=Exämple, Inc., CN=app:org.example.poll",
        "Public-Key: (2048 bit)",
        "Key Encipherment",
        "Signature Algorithm: sha256WithRSAEncryption",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(text.matches("CN=").count(), 1, "{text}");

    // The file is as cxnapp writes it, and openssl reads what is in it.
    let text = fs::read_to_string(&keys).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written["partialkey"], json!(false));
    let (private, public) = (written["privatekey"].as_str().unwrap(), written["publickey"].as_str().unwrap());
    assert!(private.starts_with("-----BEGIN RSA PRIVATE KEY-----\r\n") && private.ends_with("KEY-----"));
    write_private(&world.path("app.key"), private);
    let of_key = openssl(&["rsa", "-check", "-pubout"], &world.path("app.key"));
    let of_key = &of_key[of_key.find("-----BEGIN").unwrap()..][..public.replace('\r', "").len()];
    assert_eq!(of_key, public.replace('\r', ""));
    let of_certificate = openssl(&["x509", "-noout", "-pubkey"], &certificate);
    assert_eq!(of_certificate.trim_end(), of_key);
    let of_request = openssl(&["req", "-noout", "-pubkey"], &request);
    assert_eq!(of_request.trim_end(), of_key);

    let steps = stderr(&output);
    assert!(steps.contains("app.csr to civicrm.org") && steps.contains("private-key = \""), "{steps}");
    assert!(!steps.contains("PRIVATE KEY"), "{steps}");
    let message = world.refused(2, &create);
    assert!(message.contains("keys.json exists; nothing was written"), "{message}");
    assert_eq!(fs::read_to_string(&keys).unwrap(), text);

    world.set_config(&format!(
        "[apps.\"{POLL}\"]\nprivate-key = \"{0}/keys.json\"\napp-cert = \"{0}/app.crt\"\n",
        dir.display()
    ));
    let message = world.refused(2, &["config", "app-keys", "request", POLL]);
    assert!(message.contains("app.csr exists"), "{message}");
    let line = world.json(&["config", "app-keys", "request", POLL, "--force", "--json"]);
    assert_eq!(line["request"], request.to_str().unwrap());
    let text = openssl(&["req", "-verify", "-noout", "-subject"], &request);
    assert!(text.contains("verify OK") && text.contains("org.example.poll"), "{text}");
}

#[test]
fn key_made_by_openssl_is_read_in_every_form() {
    if !require("openssl") {
        return;
    }
    let world = world_with_app("private-key = \"app.key\"\n");
    let key = vectors()["apps"][format!("app:{POLL}")]["keys"]["privatekey"].as_str().unwrap().to_owned();
    write_private(&world.path("recorded.key"), &key);
    for form in [&["rsa", "-traditional"][..], &["pkcs8", "-topk8", "-nocrypt"]] {
        let pem = openssl(form, &world.path("recorded.key"));
        let pem = &pem[pem.find("-----BEGIN").unwrap()..];
        let pem = &pem[..pem.rfind("KEY-----").unwrap() + 8];
        for text in [pem.to_owned(), pem.replace('\n', "\r\n") + "\r\n"] {
            write_private(&world.path("app.key"), &text);
            let (problems, warnings) = check(&world);
            assert_eq!((problems.len(), warnings.len()), (0, 0), "{form:?}: {problems:?} {warnings:?}");
        }
    }
    let encrypted = openssl(&["pkcs8", "-topk8", "-passout", "pass:x"], &world.path("recorded.key"));
    write_private(&world.path("app.key"), &encrypted);
    let (problems, _) = check(&world);
    assert!(problems[0].contains("without a passphrase"), "{problems:?}");
}

#[test]
fn key_that_others_can_read_is_refused_and_never_shown() {
    let world = world_with_app("private-key = \"keys.json\"\nlink-secret-file = \"links.key\"\n");
    write_private(&world.path("links.key"), "not a s3cret\n");
    assert_eq!(check(&world), (vec![], vec![]));
    for (file, other) in [("keys.json", "links.key"), ("links.key", "keys.json")] {
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(world.path(file), Permissions::from_mode(mode)).unwrap();
            let (problems, warnings) = check(&world);
            assert_eq!((problems.len(), warnings.len()), (1, 0), "{problems:?} {warnings:?}");
            assert!(
                problems[0].contains(file) && problems[0].contains("other users can read or write"),
                "{problems:?}"
            );
            assert!(!problems[0].contains(other), "{problems:?}");
            let doctor: Value = serde_json::from_slice(&world.run(&["doctor", "--json"]).stdout).unwrap();
            let mut findings = doctor["findings"].as_array().unwrap().iter();
            let finding = findings.find(|finding| finding["check"] == "registration").unwrap();
            assert!(finding["remedy"].as_str().unwrap().contains("chmod 600 "), "{finding}");
            if file == "keys.json" {
                let message = world.refused(78, &["config", "app-keys", "request", POLL]);
                assert!(message.contains("hint: protect it: chmod 600 "), "{message}");
            }
        }
        fs::set_permissions(world.path(file), Permissions::from_mode(0o600)).unwrap();
    }
    // What is in the files is in no output.
    let keys = fs::read_to_string(world.path("keys.json")).unwrap();
    for broken in [keys.replace("PRIVATE", "SECRET"), keys.replace("\"privatekey\"", "\"key\""), keys[..900].to_owned()]
    {
        write_private(&world.path("keys.json"), &broken);
        for command in
            [&["config", "check"][..], &["config", "show"], &["doctor"], &["config", "app-keys", "request", POLL]]
        {
            let output = world.run(&[command, &["-vv"]].concat());
            let text = stdout(&output) + &stderr(&output);
            assert!(!text.contains("MIIEog") && !text.contains("s3cret"), "{command:?}: {text}");
        }
        let (problems, _) = check(&world);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}

#[test]
fn check_finds_what_keeps_sites_from_registering() {
    let world = world_with_app("");
    let with = |more: &str| {
        set_app(&world, more);
        check(&world)
    };
    let one = |found: (Vec<String>, Vec<String>), is_fault: bool, expected: &str| {
        let (problems, warnings) = found;
        let (found, others) = if is_fault { (problems, warnings) } else { (warnings, problems) };
        assert_eq!((found.len(), others.len()), (1, 0), "{expected}: {found:?} {others:?}");
        assert!(found[0].contains(expected), "{found:?}");
    };
    // Nothing is new where no registration is configured.
    assert_eq!(with(""), (vec![], vec![]));
    one(with("[registration]\n"), false, "has no private key");
    one(with("private-key = \"gone.json\"\n"), true, "there is no file ");
    let key = "private-key = \"keys.json\"\n";
    one(with(&format!("{key}[apps.\"{POLL}\".links]\na = \"https://a.example\"\n")), true, "no link-secret-file");
    let vectors = vectors();
    let other = vectors["apps"].as_object().unwrap().iter().find(|(app, _)| !app.ends_with(POLL)).unwrap().1;
    write_private(&world.path("other.key"), other["keys"]["privatekey"].as_str().unwrap());
    one(with("private-key = \"other.key\"\n"), true, "belongs to another key");
    fs::write(world.path("metadata.json"), "{\"title\": \"Poll\", \"perm\": {\"api\": []}}").unwrap();
    one(with(key), false, "which lacks perm.grant");
    fs::write(world.path("metadata.json"), "{\"title\": \"Poll\", \"perm\": {\"api\": [], \"grant\": \"*\"}}").unwrap();
    assert_eq!(with(key), (vec![], vec![]));
    // cxnapp makes its keys readable by all users. That is a fault only where they are used here.
    let of_cxnapp = world.path("apps").join(POLL);
    fs::create_dir_all(&of_cxnapp).unwrap();
    fs::write(of_cxnapp.join("metadata.json"), vectors["metadata"]["metadata_json"].as_str().unwrap()).unwrap();
    fs::write(of_cxnapp.join("keys.json"), vectors["keys_json"].as_str().unwrap()).unwrap();
    fs::set_permissions(of_cxnapp.join("keys.json"), Permissions::from_mode(0o644)).unwrap();
    let set = |more: &str| {
        set_app(&world, more);
        world.set_config(&format!("apps-dir = \"apps\"\n{}", world.config()));
        check(&world)
    };
    assert_eq!(set(""), (vec![], vec![]));
    one(set("[registration]\n"), true, "other users can read or write ");
    set_app(&world, key);
    fs::remove_dir_all(world.store()).unwrap();
    one(check(&world), true, "there is no store");
    assert!(!world.store().exists());
}

#[test]
fn mistake_in_registration_names_its_line() {
    let world = World::new();
    for (text, line, expected) in [
        ("[registration]\nallow = [\"https://a.example\"]\n", "line 2", "expected a host such as"),
        ("[registration]\nrequests-per-minute = -1\n", "line 2", "expected u32"),
        ("[apps.\"a.b\".links]\n\"a-b\" = \"https://a.example\"\n", "line 2", "expected the name of a page"),
        ("[apps.\"a.b\".links]\na = \"a.example\"\n", "line 2", "expected an http or https URL"),
    ] {
        world.config();
        world.set_config(text);
        let message = world.refused(78, &["config", "check"]);
        assert!(message.contains(line) && message.contains(expected), "{message}");
    }
}

#[test]
fn show_has_the_files_and_limits_of_registrations() {
    let world = world_with_app(&format!(
        "private-key = \"keys.json\"\n[apps.\"{POLL}\".links]\na = \"https://a.example\"\n[registration]\nhold = true\n\
         allow = [\"A.example\", \"10.0.0.0/8\"]\n"
    ));
    let shown = world.json(&["config", "show", "--json"]);
    let value = |key: &str| shown.as_array().unwrap().iter().find(|one| one["key"] == key).unwrap();
    assert_eq!(value("registration.allow")["value"], json!(["a.example", "10.0.0.0/8"]));
    assert_eq!(value("registration.hold")["value"], json!(true));
    assert_eq!(value("registration.requests-per-minute")["from"], "default");
    let key = value(&format!("apps.{POLL}.private-key"))["value"].as_str().unwrap();
    assert!(Path::new(key).ends_with("keys.json"), "{key}");
    assert_eq!(value(&format!("apps.{POLL}.links"))["value"], json!({"a": "https://a.example"}));
    assert_eq!(value(&format!("apps.{POLL}.title"))["value"], "Example poll");
}
