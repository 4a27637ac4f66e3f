//! Lines that an import refuses.

use std::fs;

use civisite::Site;
use serde_json::{Value, json};

use super::{exported, exported_line, line, text};
use crate::testkit::{World, code, stderr};

#[test]
fn one_bad_line_aborts_the_import() {
    let world = World::new();
    let (good, site) = (world.site(0, "ok"), world.site(1, "ok"));
    let secret = &site.secret_base64;
    let bad = |patch: Value| line(&site, &patch).to_string();
    for (case, problem) in [
        ("{\"cxnId\"".to_owned(), "ends early"),
        ("[]".to_owned(), "expected a JSON object"),
        (json!({"cxnId": site.cxn_id, "secret": secret}).to_string(), "missing field `appId`"),
        (bad(json!({"viaport": "a.example:1"})), "unknown field `viaport`"),
        (bad(json!({"viaPort": "localhost:80"})), "viaPort"),
        (bad(json!({"cxnId": "two\nlines"})), "cxnId holds a control character"),
        (bad(json!({"appId": "org.example.myapp"})), "appId does not begin with 'app:'"),
        (bad(json!({"batchCode": 10_001})), "batchCode is above 10000"),
        (bad(json!({"batchCode": secret})), "invalid type"),
        (bad(json!({"disabled": secret})), "expected a boolean"),
        (bad(json!({"secret": secret[1..]})), "secret is not the base64 of 32 bytes"),
        (bad(json!({"siteUrl": ""})), "siteUrl"),
        (bad(json!({"pollStatus": {"default": {"pollLevel": 0}}})), "missing field `pollCount`"),
        (bad(json!({"pollStatus": {"default": secret}})), "invalid type"),
        (
            bad(json!({"pollStatus": {"default": {"pollLevel": 4_294_967_294u32, "pollCount": 0, "lastRun": 0}}})),
            "pollLevel is above",
        ),
        (format!("{} {secret}", bad(json!({}))), "trailing characters"),
    ] {
        let input = format!("{}\n\n{case}\n", good.jsonl());
        let output = world.run_with_pipe(&["import"], input.as_bytes());
        let message = stderr(&output);
        assert_eq!((code(&output), output.stdout.len()), (65, 0), "{case}: {message}");
        assert!(message.starts_with("error: 1 bad line") && message.contains("line 3: "), "{message}");
        assert!(message.contains(problem) && message.contains("nothing was imported"), "{case}: {message}");
        assert!(!message.contains(&secret[1..9]), "{message}");
        assert!(!world.store().exists(), "{case}");
    }
}

#[test]
fn duplicate_connection_is_an_error_and_changes_nothing() {
    let world = World::with(["ok"]);
    let before = exported(&world);
    let (old, new) = (world.site(0, "api-error"), world.site(1, "ok"));
    let twice = text(&[line(&old, &json!({})), line(&new, &json!({})), line(&new, &json!({"disabled": true}))]);
    let output = world.run_with_pipe(&["import", "--json"], twice.as_bytes());
    assert_eq!((code(&output), output.stdout.len()), (65, 0));
    assert!(stderr(&output).contains(&format!("line 3: {} occurs a second time", new.cxn_id)), "{output:?}");
    assert_eq!(exported(&world), before);

    let output = world.run_with_pipe(&["import", "--json", "--on-error", "skip"], twice.as_bytes());
    assert_eq!(code(&output), 65);
    assert_eq!(exported_line(&world, &new).get("disabled"), None, "the first of the two is taken");
}

#[test]
fn perm_above_the_limit_is_a_bad_record_in_every_format() {
    let world = World::new();
    let (good, site) = (world.site(0, "ok"), world.site(1, "ok"));
    let with_perm = |bytes: usize| {
        let perm = "x".repeat(bytes - 2);
        ["jsonl", "json", "csv", "tsv"].map(|format| match format {
            "jsonl" => text(&[line(&good, &json!({})), line(&site, &json!({"perm": perm}))]),
            "json" => json!({
                &good.cxn_id: line(&good, &json!({})),
                &site.cxn_id: line(&site, &json!({"perm": perm})),
            })
            .to_string(),
            _ => {
                let (separator, quote) = if format == "csv" { (",", "\"\"") } else { ("\t", "\"") };
                let row = |site: &Site, perm: &str| {
                    [
                        &site.cxn_id,
                        &site.secret_base64,
                        "app:org.example.myapp",
                        "https://a.example/",
                        &site.site_url,
                        perm,
                    ]
                    .join(separator)
                };
                let mut field = format!("{quote}{perm}{quote}");
                if format == "csv" {
                    field = format!("\"{field}\"");
                }
                let header = ["cxnId", "secret", "appId", "appUrl", "siteUrl", "perm"].join(separator);
                [&header, &row(&good, ""), &row(&site, &field), ""].join("\n")
            }
        })
    };
    for (number, (fits, too_large)) in with_perm(1 << 20).into_iter().zip(with_perm((1 << 20) + 1)).enumerate() {
        let run = |input: &str, more: &[&str]| {
            let store = world.path(&format!("store-{number}")).display().to_string();
            world.run_with_input(&[&["--store", &store, "import", "--json"], more].concat(), input)
        };
        let output = run(&too_large, &[]);
        assert_eq!((code(&output), output.stdout.len()), (65, 0), "{number}: {output:?}");
        assert!(stderr(&output).contains("perm is larger than 1048576 bytes"), "{number}: {}", stderr(&output));
        let output = run(&too_large, &["--on-error", "skip"]);
        assert_eq!(code(&output), 65);
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&summary["added"], &summary["skipped"]), (&json!(1), &json!(1)), "{number}: {summary}");
        let output = run(&fits, &[]);
        assert_eq!(code(&output), 0, "{number}: {output:?}");
    }
}

#[test]
fn skipped_lines_are_reported() {
    let world = World::new();
    let mut lines: Vec<String> = world.sites(["ok"; 15]).iter().map(Site::jsonl).collect();
    let wrong: Vec<String> = lines.drain(2..14).map(|line| line.replace("siteUrl", "siteURL")).collect();
    lines.splice(2..2, wrong);
    let output = world.run_with_pipe(&["import", "--json", "--on-error", "skip"], lines.join("\n").as_bytes());
    assert_eq!(code(&output), 65);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary, json!({"added": 3, "updated": 0, "unchanged": 0, "skipped": 12}));
    let message = stderr(&output);
    assert!(message.contains("error: 12 bad lines") && message.contains("the other lines were imported"), "{message}");
    assert!(message.contains("\nline 3: ") && message.contains("\nand 2 more"), "{message}");
    assert_eq!(exported(&world).len(), 3);
    world.assert_sound();
}

#[test]
fn cut_input_changes_nothing_in_any_format() {
    let world = World::with(["ok"; 12]);
    let before = world.export();
    for format in ["jsonl", "json", "csv", "tsv"] {
        let text = world.text(&["export", "--format", format]);
        // Within the last line of a record, and in JSON also behind it.
        let end = text.trim_end_matches(['\n', '}']).len();
        for cut in [end / 2 - 40, end - 30, end - 1, end] {
            let path = world.path("cut");
            fs::write(&path, &text.as_bytes()[..cut]).unwrap();
            let arguments = ["import", "--prune", "--yes", "--format", format];
            let message = world.refused(65, &[&arguments[..], &[path.to_str().unwrap()]].concat());
            let last = text[..cut].lines().count();
            assert!(message.contains(&format!("line {last}: ")), "{format} {cut}: {message}");
            let output =
                world.run_with_pipe(&[&arguments[..], &["--on-error", "skip"]].concat(), &text.as_bytes()[..cut]);
            assert_eq!(code(&output), 65, "{format} {cut}");
            assert!(stderr(&output).contains("nothing was pruned"), "{format} {cut}: {output:?}");
            assert_eq!(world.export(), before, "{format} {cut}");
        }
    }
}

#[test]
fn input_without_connections_is_an_error_and_creates_no_store() {
    let world = World::new();
    for (format, text) in [
        ("jsonl", ""),
        ("jsonl", "\r\n \n\r"),
        ("json", "{ }\n"),
        ("json", "\u{feff}"),
        ("csv", "\ncxnId,secret,appId,appUrl,siteUrl\n"),
        ("csv", "cxnId,secret,appId,appUrl,siteUrl\n,,,,\n"),
        ("tsv", "cxnId\tsecret\tappId\tappUrl\tsiteUrl\r\n"),
    ] {
        let path = world.path("input");
        fs::write(&path, text).unwrap();
        let message = world.refused(65, &["import", "--format", format, path.to_str().unwrap()]);
        assert!(message.contains("input has no connections"), "{text:?}: {message}");
        let output = world.run_with_pipe(&["import", "--format", format, "--on-error", "skip"], text.as_bytes());
        assert_eq!(code(&output), 65, "{text:?}");
        assert!(stderr(&output).contains("standard input has no connections"), "{text:?}: {output:?}");
    }
    let all_bad = world.run_with_pipe(&["import", "--on-error", "skip"], b"{\"cxnId\":1}\n");
    assert!(code(&all_bad) == 65 && stderr(&all_bad).contains("nothing was imported"), "{all_bad:?}");
    assert!(!world.store().exists());
}
