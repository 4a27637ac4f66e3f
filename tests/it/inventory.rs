//! `results --table`.

use serde_json::{Value, json};

use crate::listeners::configure;
use crate::testkit::{APP, MIDNIGHT, World, code, json_lines, stderr};

/// What the listener keeps of each site.
const KEPT: [&str; 5] = [
    r#"{"version":"5.50.3","php":{"version":"8.1.2","tz":"UTC"},"sites":-3}"#,
    r#"{"version":"5.9.1","name":"=cmd\u001b[2J"}"#,
    r#"{"version":"5.51.0"}"#,
    r#"{"version":"5.50.3"}"#,
    r"{}",
];

/// Sites of which a program kept something, with their ids. The first has failed since, and keeps another version.
fn world() -> (World, Vec<String>) {
    let world = World::with(["ok"; 5]);
    let ids: Vec<_> = (0..5).map(|number| world.site(number, "ok").cxn_id).collect();
    let cases: Vec<_> = ids.iter().zip(KEPT).map(|(id, kept)| format!("*'{id}'*) kept='{kept}';;")).collect();
    let listen = |cases: &str, end: &str| {
        let program =
            format!("read -r event; case $event in {cases} esac; printf '{{\"keep\":%s}}\\n{end}\\n' \"$kept\"");
        let listener = json!(["sh", "-c", program]);
        configure(&world, &format!("[[listeners]]\nevent = \"civi_cxn.poll\"\nprogram = {listener}\n"));
    };
    listen(&cases.concat(), r#"{"ok":true}"#);
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 5);
    listen(r#"*) kept='{"version":"9.9"}';;"#, r#"{"error":"no"}"#);
    world.run(&["poll", APP, "--cxn", &ids[0], "--now", &(MIDNIGHT + 86_400).to_string()]);
    assert_eq!(world.json(&["results", &ids[0], "--latest"])["value"]["version"], "9.9");
    (world, ids)
}

#[test]
fn a_table_has_fields_of_the_newest_success_of_each_site() {
    let (world, ids) = world();
    let text = world.text(&["results", "--table", "version,php,name", "--sort", "version"]);
    let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["SITE", "VERSION", "PHP", "NAME", "JOB", "AT", "CXN"]);
    let shown: Vec<_> = rows[1..].iter().map(|row| (row[1], *row.last().unwrap())).collect();
    let [first, second, third, fourth, fifth] = [0, 1, 2, 3, 4].map(|number| &*ids[number]);
    let mut equal = [("5.50.3", first), ("5.50.3", fourth)];
    equal.sort_by_key(|(_, id)| *id);
    assert_eq!(shown, [("5.9.1", second), equal[0], equal[1], ("5.51.0", third), ("default", fifth)]);
    let row = rows.iter().find(|row| row.ends_with(&[first])).unwrap();
    assert!(row[0].starts_with("http://") && row[2] == "8.1.2" && !text.contains('\u{1b}'), "{text:?}");
    let reversed = world.text(&["results", "--table", "version", "--sort", "version", "--reverse"]);
    assert!(reversed.lines().nth(1).unwrap().contains("5.51.0") && reversed.lines().last().unwrap().ends_with(fifth));

    let found = |arguments: &[&str]| {
        let lines = json_lines(&world.text(&[&["results", "--table", "version", "--json"], arguments].concat()));
        let mut found: Vec<_> = lines.iter().map(|line| line["cxnId"].as_str().unwrap().to_owned()).collect();
        found.sort_by_key(|id| ids.iter().position(|other| other == id));
        found
    };
    assert_eq!(found(&["--where", "version<=5.50"]), [first, second, fourth]);
    assert_eq!(found(&["--where", "version=5.50", "--where", "php.tz=UTC"]), [first]);
    assert_eq!(found(&["--where", "version="]), [fifth]);
    assert_eq!(found(&["--app", APP]).len(), 5);
    assert!(world.refused(66, &["results", "--table", "version", "--app", "org.example.other"]).contains("no results"));
    assert_eq!(found(&[third]), [third]);
    assert!(found(&["--where", "version=7"]).is_empty());
}

#[test]
fn a_table_is_also_csv_and_json_and_counts() {
    let (world, ids) = world();
    let csv = world.text(&["results", "--table", "version,name,sites", "--csv"]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(header, ["cxnId", "siteUrl", "appId", "jobName", "at", "version", "name", "sites"]);
    let rows: Vec<csv::StringRecord> = reader.into_records().map(Result::unwrap).collect();
    let row = |id: &str| rows.iter().find(|row| &row[0] == id).unwrap();
    assert_eq!((rows.len(), &row(&ids[0])[5], &row(&ids[0])[7]), (5, "5.50.3", "-3"));
    assert_eq!(&row(&ids[1])[6], "'=cmd\\u001b[2J");
    assert_eq!((&row(&ids[4])[4], &row(&ids[4])[5]), ("2026-01-01T00:00:00Z", ""));

    let lines = json_lines(&world.text(&["results", "--table", "version,name", "--json"]));
    let line = lines.iter().find(|line| line["cxnId"] == ids[0]).unwrap();
    let expected = json!({"cxnId": ids[0], "siteUrl": line["siteUrl"], "appId": format!("app:{APP}"),
        "jobName": "default", "at": MIDNIGHT, "fields": {"version": "5.50.3", "name": null}});
    assert_eq!((lines.len(), line), (5, &expected));

    let counts = world.text(&["results", "--table", "version", "--count"]);
    assert_eq!(counts.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(), ["5.50.3", "2"]);
    let counts = json_lines(&world.text(&["results", "--table", "version", "--count", "--json"]));
    assert_eq!(counts[0], json!({"fields": {"version": "5.50.3"}, "count": 2}));
    assert_eq!(counts.iter().map(|line| line["count"].as_u64().unwrap()).sum::<u64>(), 5);
    let csv = world.text(&["results", "--table", "version", "--count", "--csv", "--where", "version=7"]);
    assert_eq!(csv, "version,count\n");
}

#[test]
fn a_table_has_neither_unknown_fields_nor_connections_that_are_gone() {
    let (world, ids) = world();
    for arguments in [&["--table", "version,verison"][..], &["--table", "version", "--where", "verison=1"]] {
        let output = world.run(&[&["results", "--csv"], arguments].concat());
        assert_eq!((code(&output), output.stdout.len()), (66, 0), "{output:?}");
        let message = stderr(&output);
        assert!(message.contains("no kept result has the field verison\nhint: did you mean version?"), "{message}");
    }
    let output = world.run(&["results", "--table", "x"]);
    assert!(stderr(&output).contains("the fields that results have: name, sites, version, php.tz, php.version"));
    assert_eq!(code(&world.run(&["results", "--table", "version", "--name", "other"])), 66);
    for wrong in [&["--where", "version"][..], &["--csv", "--json"], &["--latest"], &["--count", "--sort", "version"]] {
        assert_eq!(code(&world.run(&[&["results", "--table", "version"], wrong].concat())), 2, "{wrong:?}");
    }
    for requires in [&["--where", "version=1"][..], &["--sort", "version"], &["--csv"], &["--count"]] {
        assert_eq!(code(&world.run(&[&["results"], requires].concat())), 2, "{requires:?}");
    }
    // A poll that ends after the removal leaves a result without a connection.
    let of_first = |key: &sled::IVec| key.starts_with(ids[0].as_bytes());
    let results = sled::open(world.store().join("results")).unwrap();
    let (key, value) = results.iter().map(Result::unwrap).find(|(key, _)| of_first(key)).unwrap();
    let at = key.iter().position(|byte| *byte == 0).unwrap();
    results.insert([b"cxn:gone", &key[at..]].concat(), value).unwrap();
    drop(results);
    let lines: Vec<Value> = json_lines(&world.text(&["results", "--table", "version", "--json"]));
    assert_eq!(lines.len(), 5);
}
