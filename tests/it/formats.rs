//! The formats of imports and exports.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use civisite::Site;
use serde_json::{Value, json};

use crate::testkit::{World, assert_quiet, code, samples, stderr, stdout};

/// Imports into a new store; returns the lines of its export, sorted.
fn copied(world: &World, input: &str) -> Vec<String> {
    let copy = world.path("copy").display().to_string();
    let _ = fs::remove_dir_all(&copy);
    let output = world.run(&["--store", &copy, "import", input]);
    assert_quiet(&output);
    let output = world.run(&["--store", &copy, "export"]);
    let mut lines: Vec<_> = stdout(&output).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn every_format_round_trips() {
    let world = samples::every_field();
    let all = world.export();
    for (name, format) in
        [("a.jsonl", &[][..]), ("a.json", &[]), ("a.csv", &[]), ("a.tsv", &[]), ("a.txt", &["--format", "csv"])]
    {
        let path = world.path(name).display().to_string();
        assert_quiet(&world.run(&[&["export", &path], format].concat()));
        assert_eq!(copied(&world, &path), all, "{name}");
        // The content shows the format too.
        let plain = world.path("plain").display().to_string();
        fs::copy(&path, &plain).unwrap();
        assert_eq!(copied(&world, &plain), all, "{name}");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let empty = World::with(["ok"]);
    assert_quiet(&empty.run(&["remove", "--all", "--yes"]));
    for (format, text) in [("jsonl", ""), ("json", "{}\n"), ("csv", "cxnId,secret"), ("tsv", "cxnId\tsecret")] {
        let output = empty.run(&["export", "--format", format]);
        assert!(stdout(&output).starts_with(text), "{format}");
    }
}

#[test]
fn export_takes_batches_filters_and_redaction() {
    let world = samples::every_field();
    let export = |more: &[&str]| {
        let output = world.run(&[&["export"], more].concat());
        assert_eq!(code(&output), 0, "{output:?}");
        stdout(&output).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut parts: Vec<String> = (0..3).flat_map(|part| export(&["--batch", &format!("{part}/3")])).collect();
    parts.sort();
    assert_eq!(parts, world.export());
    assert_eq!(export(&["--state", "disabled"]).len(), 1);
    for format in ["jsonl", "json", "csv", "tsv"] {
        let text = export(&["--redact", "--format", format]).join("\n");
        assert!(text.contains("(redacted)"), "{text}");
        for number in 0..3 {
            assert!(!text.contains(&world.site(number, "ok").secret_base64[..8]), "{text}");
        }
        let refused = world.run_with_input(&["import"], &text);
        assert_eq!(code(&refused), 65, "{refused:?}");
    }
}

#[test]
fn redacted_export_holds_no_password_of_a_url() {
    let world = World::new();
    let urls =
        ["http://:hunter2@a.example.org/", "https://jo:hunter2@b.example.org/civicrm", "https://jo@c.example.org/"];
    let sites: Vec<_> =
        (0..).zip(urls).map(|(number, url)| Site { site_url: url.into(), ..world.site(number, "ok") }).collect();
    world.import(&sites);
    for format in ["jsonl", "json", "csv", "tsv"] {
        let text = world.text(&["export", "--redact", "--format", format]);
        assert!(!text.contains("hunter2") && !text.contains("jo@") && !text.contains("jo:"), "{text}");
        assert_eq!(text.matches("://redacted@").count(), 3, "{text}");
        assert!(world.text(&["export", "--format", format]).contains("jo:hunter2@b.example.org"));
    }
}

#[test]
fn json_file_of_cxnapp_is_imported() {
    let world = World::new();
    let [site, other] = [world.site(0, "ok"), world.site(1, "ok")];
    let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
    let mut bare: Value = serde_json::from_str(&other.jsonl()).unwrap();
    bare.as_object_mut().unwrap().remove("cxnId");
    let all = json!({ &site.cxn_id: line, &other.cxn_id: bare });
    assert_quiet(&world.run_with_input(&["import"], &serde_json::to_string_pretty(&all).unwrap()));
    assert_eq!(world.export().len(), 2);

    line["cxnId"] = json!(other.cxn_id);
    for (text, expected) in [
        (json!({ &site.cxn_id: line }).to_string(), "line 1: the cxnId differs from the key of the entry"),
        (json!({ &site.cxn_id: 3 }).to_string(), "line 1: expected a JSON object"),
        (format!("{{\"{}\": {{\"secret\": \"{}\", }}", site.cxn_id, site.secret_base64), "line 1: "),
        (all.to_string() + "x", "line 1: trailing characters"),
    ] {
        let before = world.export();
        let output = world.run_with_input(&["import"], &text);
        assert_eq!(code(&output), 65, "{output:?}");
        assert!(
            stderr(&output).contains(expected) && !stderr(&output).contains(&site.secret_base64[..8]),
            "{output:?}"
        );
        assert_eq!(world.export(), before);
    }
}

#[test]
fn bad_rows_are_reported_with_line_and_reason() {
    let world = World::new();
    let site = world.site(7, "ok");
    let good = format!("{},{},{},{},{}", site.cxn_id, site.secret_base64, site.app_id, site.app_url, site.site_url);
    let header = "cxnId,secret,appId,appUrl,siteUrl,batchCode,disabled,perm";
    for (row, expected) in [
        (format!("{good},x,0,"), "line 3: batchCode is not a number"),
        (format!("{good},1,maybe,"), "line 3: disabled is none of true, false, yes, no, 1, 0"),
        (format!("{good},1,0,{{"), "line 3: perm does not hold JSON"),
        (good.clone(), "line 3: 5 columns, where the header has 8"),
        (format!("{good},10001,0,"), "line 3: batchCode is above 10000"),
    ] {
        let first = world.site(8, "ok");
        let ok = format!(
            "{},{},{},{},{},,,",
            first.cxn_id, first.secret_base64, first.app_id, first.app_url, first.site_url
        );
        let output = world.run_with_input(&["import"], &format!("{header}\n{ok}\n{row}\n"));
        assert_eq!(code(&output), 65, "{output:?}");
        assert!(stderr(&output).contains(expected) && stderr(&output).contains("nothing was imported"), "{output:?}");
        assert!(!stderr(&output).contains(&site.secret_base64[..8]), "{output:?}");
        assert!(!world.store().exists(), "an aborted import creates no store");
        let skipped =
            World::new().run_with_input(&["import", "--on-error", "skip"], &format!("{header}\n{ok}\n{row}\n"));
        assert_eq!(code(&skipped), 65);
        assert!(stderr(&skipped).contains("the other lines were imported"), "{skipped:?}");
    }
    let quoted = |siteurl: &str, last: &str| {
        let row = format!("{},{},{},{},", site.cxn_id, site.secret_base64, site.app_id, site.app_url);
        world.run_with_input(
            &["import"],
            &format!("cxnId,secret,appId,appUrl,siteUrl,notes\n{row}{siteurl},x\n{row}{last}"),
        )
    };
    for (output, expected) in [
        (quoted("https://a.example/", "https://b.example/,\"oops"), "a quote is not closed"),
        (quoted("https://a.example/,\"oops", "https://b.example/,x\ny\n"), "a quote is not closed"),
        (quoted("\"https://a.example/", "https://b.example/,\"x\"\n"), "a quote is not closed"),
        (quoted("https://a.example/", "https://b.example/,\"two\nlines\"\n"), "notes spans several lines"),
    ] {
        assert_eq!(code(&output), 65, "{output:?}");
        assert!(stderr(&output).contains(expected), "{expected}: {output:?}");
    }
    let nameless = world.run_with_input(&["import", "--format", "tsv"], "1\tcxn:1\tsecret\n");
    assert!(stderr(&nameless).contains("does not name the columns"), "{nameless:?}");
}
