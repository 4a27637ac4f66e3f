//! The forms that connections come and go in.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{APP, MIDNIGHT, World, assert_quiet, code, stderr};
use serde_json::{Value, json};

/// Sites that have seen something: texts that need escapes, a viaPort, one that is disabled, statuses of two jobs.
fn world() -> World {
    let world = World::with(["ok", "status-500", "ok"]);
    let change = |number: u32, key: &str, value: Value| {
        let mut line: Value = serde_json::from_str(&world.site(number, "ok").jsonl()).unwrap();
        line["siteUrl"] = json!(world.site(number, if number == 1 { "status-500" } else { "ok" }).site_url);
        line[key] = value;
        world.import_text(&line.to_string());
    };
    world.poll(MIDNIGHT, &[]);
    world.poll(MIDNIGHT, &["--name", "other"]);
    change(0, "perm", json!({"why": "a, \"b\"\tc\nd \\ é", "n": [1, null]}));
    change(1, "viaPort", json!("proxy.example.org:81"));
    change(2, "disabled", json!(true));
    world
}

fn file(world: &World, name: &str) -> String {
    world.folder.path().join(name).display().to_string()
}

/// Imports into a store of its own and exports it again.
fn copied(world: &World, input: &str) -> Vec<String> {
    let copy = file(world, "copy");
    let _ = fs::remove_dir_all(&copy);
    let output = world.run(&["--store", &copy, "import", input]);
    assert_quiet(&output);
    let output = world.run(&["--store", &copy, "export"]);
    let mut lines: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Runs a command with something on its standard input.
fn piped(world: &World, arguments: &[&str], input: &str) -> Output {
    let aside = world.folder.path().join("stdin");
    fs::write(&aside, input).unwrap();
    world.command(arguments).stdin(fs::File::open(aside).unwrap()).output().unwrap()
}

#[test]
fn every_form_brings_back_what_went_out() {
    let world = world();
    let all = world.export();
    for (name, form) in
        [("a.jsonl", &[][..]), ("a.json", &[]), ("a.csv", &[]), ("a.tsv", &[]), ("a.txt", &["--format", "csv"])]
    {
        let path = file(&world, name);
        assert_quiet(&world.run(&[&["export", &path], form].concat()));
        assert_eq!(copied(&world, &path), all, "{name}");
        // Its content tells the form as well.
        let plain = file(&world, "plain");
        fs::copy(&path, &plain).unwrap();
        assert_eq!(copied(&world, &plain), all, "{name}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    let empty = World::new();
    assert_eq!(code(&empty.run(&["import", "/dev/null"])), 0);
    for (form, text) in [("jsonl", ""), ("json", "{}\n"), ("csv", "cxnId,secret"), ("tsv", "cxnId\tsecret")] {
        let output = empty.run(&["export", "--format", form]);
        assert!(String::from_utf8(output.stdout).unwrap().starts_with(text), "{form}");
    }
}

#[test]
fn parts_conditions_and_redaction() {
    let world = world();
    let export = |more: &[&str]| {
        let output = world.run(&[&["export"], more].concat());
        assert_eq!(code(&output), 0, "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut parts: Vec<String> = (0..3).flat_map(|part| export(&["--batch", &format!("{part}/3")])).collect();
    parts.sort();
    assert_eq!(parts, world.export());
    assert_eq!(export(&["--state", "disabled"]).len(), 1);
    for form in ["jsonl", "json", "csv", "tsv"] {
        let text = export(&["--redact", "--format", form]).join("\n");
        assert!(text.contains("(redacted)"), "{text}");
        for number in 0..3 {
            assert!(!text.contains(&world.site(number, "ok").secret_base64[..8]), "{text}");
        }
        let refused = piped(&world, &["import"], &text);
        assert_eq!(code(&refused), 65, "{refused:?}");
    }
}

/// What `mysql -B` prints of cxnapp's two tables.
fn tables(world: &World) -> (String, String) {
    let row = |number: u32| {
        let site = world.site(number, "ok");
        let perm = r#"{"desc":"tab\\tand\\\\","api":[]}"#;
        format!(
            "{number}\t{}\t{}\tapp:{APP}\t{}\t{}\t{perm}\n",
            site.cxn_id, site.secret_base64, site.app_url, site.site_url
        )
    };
    let cxn = format!("id\tcxnId\tsecret\tappId\tappUrl\tsiteUrl\tperm\n{}{}", row(1), row(2));
    let status = format!(
        "cxnId\tjobName\tpollLevel\tpollCount\tlastRun\n{0}\tdefault\t0\t3\t1767220000\n{0}\tother\t1\t0\t1767220001\n{1}\tdefault\t0\t0\t0\n",
        world.site(1, "ok").cxn_id,
        world.site(2, "ok").cxn_id
    );
    (cxn, status)
}

#[test]
fn the_tables_of_cxnapp_one_after_the_other_alone_or_joined() {
    let world = World::new();
    let (cxn, status) = tables(&world);
    assert_quiet(&piped(&world, &["import"], &(cxn.clone() + &status)));
    let both = world.export();
    let line: Value = serde_json::from_str(&both[0]).unwrap();
    assert_eq!(line["perm"], json!({"desc": "tab\tand\\", "api": []}));
    assert_eq!(line["pollStatus"]["other"]["pollLevel"], 1);

    for separate in [true, false] {
        let other = World::new();
        if separate {
            assert_quiet(&piped(&other, &["import"], &cxn));
            assert_quiet(&piped(&other, &["import", "--format", "tsv"], &status));
        } else {
            // What a left join prints: one row for each status.
            let rows: Vec<_> = cxn.lines().skip(1).collect();
            let joined = format!(
                "id\tcxnId\tsecret\tappId\tappUrl\tsiteUrl\tperm\tjobName\tpollLevel\tpollCount\tlastRun\n\
                 {0}\tdefault\t0\t3\t1767220000\n{0}\tother\t1\t0\t1767220001\n{1}\tNULL\tNULL\tNULL\tNULL\n",
                rows[0], rows[1]
            );
            assert_quiet(&piped(&other, &["import"], &joined));
        }
        let strip = |lines: Vec<String>| {
            let one = |line: &String| {
                let mut line: Value = serde_json::from_str(line).unwrap();
                line.as_object_mut().unwrap().remove("batchCode");
                line.to_string()
            };
            lines.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(strip(other.export()), strip(both.clone()), "separate: {separate}");
    }

    let again: Value = serde_json::from_slice(&piped(&world, &["import", "--json"], &(cxn + &status)).stdout).unwrap();
    assert_eq!((&again["updated"], &again["unchanged"]), (&json!(0), &json!(5)), "{again}");
    let unknown = piped(&World::new(), &["import", "--format", "tsv"], &status);
    assert_eq!(code(&unknown), 65);
    assert!(stderr(&unknown).contains("line 2: there is no connection cxn:"), "{unknown:?}");
}

#[test]
fn the_file_of_cxnapp() {
    let world = World::new();
    let [site, other] = [world.site(0, "ok"), world.site(1, "ok")];
    let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
    let mut bare: Value = serde_json::from_str(&other.jsonl()).unwrap();
    bare.as_object_mut().unwrap().remove("cxnId");
    let all = json!({ &site.cxn_id: line, &other.cxn_id: bare });
    assert_quiet(&piped(&world, &["import"], &serde_json::to_string_pretty(&all).unwrap()));
    assert_eq!(world.export().len(), 2);

    line["cxnId"] = json!(other.cxn_id);
    for (text, told) in [
        (json!({ &site.cxn_id: line }).to_string(), "line 1: the cxnId within differs"),
        (json!({ &site.cxn_id: 3 }).to_string(), "line 1: expected a JSON object"),
        (format!("{{\"{}\": {{\"secret\": \"{}\", }}", site.cxn_id, site.secret_base64), "line 1: "),
        (all.to_string() + "x", "line 1: trailing characters"),
    ] {
        let before = world.export();
        let output = piped(&world, &["import"], &text);
        assert_eq!(code(&output), 65, "{output:?}");
        assert!(stderr(&output).contains(told) && !stderr(&output).contains(&site.secret_base64[..8]), "{output:?}");
        assert_eq!(world.export(), before);
    }
}

#[test]
fn bad_rows_have_a_number_and_a_reason() {
    let world = World::new();
    let site = world.site(7, "ok");
    let good = format!("{},{},{},{},{}", site.cxn_id, site.secret_base64, site.app_id, site.app_url, site.site_url);
    let header = "cxnId,secret,appId,appUrl,siteUrl,batchCode,disabled,perm";
    for (row, told) in [
        (format!("{good},x,0,"), "line 3: batchCode is not a number"),
        (format!("{good},1,maybe,"), "line 3: disabled is neither 0 nor 1"),
        (format!("{good},1,0,{{"), "line 3: perm does not hold JSON"),
        (good.clone(), "line 3: 5 columns, where the header has 8"),
        (format!("{good},10001,0,"), "line 3: batchCode is above 10000"),
    ] {
        let first = world.site(8, "ok");
        let ok = format!(
            "{},{},{},{},{},,,",
            first.cxn_id, first.secret_base64, first.app_id, first.app_url, first.site_url
        );
        let output = piped(&world, &["import"], &format!("{header}\n{ok}\n{row}\n"));
        assert_eq!(code(&output), 65, "{output:?}");
        assert!(stderr(&output).contains(told) && stderr(&output).contains("nothing was imported"), "{output:?}");
        assert!(!stderr(&output).contains(&site.secret_base64[..8]), "{output:?}");
        assert!(!world.store().exists(), "abort leaves no store behind");
        let skipped = piped(&World::new(), &["import", "--on-error", "skip"], &format!("{header}\n{ok}\n{row}\n"));
        assert_eq!(code(&skipped), 65);
        assert!(stderr(&skipped).contains("the other lines were imported"), "{skipped:?}");
    }
    let quoted = |siteurl: &str, last: &str| {
        let row = format!("{},{},{},{},", site.cxn_id, site.secret_base64, site.app_id, site.app_url);
        piped(&world, &["import"], &format!("cxnId,secret,appId,appUrl,siteUrl,notes\n{row}{siteurl},x\n{row}{last}"))
    };
    for (output, told) in [
        (quoted("https://a.example/", "https://b.example/,\"oops"), "a quote is not closed"),
        (quoted("https://a.example/,\"oops", "https://b.example/,x\ny\n"), "a quote is not closed"),
        (quoted("\"https://a.example/", "https://b.example/,\"x\"\n"), "a quote is not closed"),
        (quoted("https://a.example/", "https://b.example/,\"two\nlines\"\n"), "notes goes over several lines"),
    ] {
        assert_eq!(code(&output), 65, "{output:?}");
        assert!(stderr(&output).contains(told), "{told}: {output:?}");
    }
    let nameless = piped(&world, &["import", "--format", "tsv"], "1\tcxn:1\tsecret\n");
    assert!(stderr(&nameless).contains("does not name the columns"), "{nameless:?}");
}

#[test]
fn a_dry_run_tells_what_the_real_one_does() {
    let world = world();
    let before = world.export();
    let mut lines: Vec<Value> = before.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines[0]["siteUrl"] = json!("https://moved.example.org/");
    lines[1]["pollStatus"]["default"]["lastRun"] = json!(MIDNIGHT + 1);
    let added = world.site(50, "ok").jsonl();
    let input = format!("{}\n{}\n{}\n{added}\n", lines[0], lines[1], lines[2]);
    let import = |more: &[&str]| -> Value {
        serde_json::from_slice(&piped(&world, &[&["import", "--json"], more].concat(), &input).stdout).unwrap()
    };
    let told = import(&["--dry-run"]);
    assert_eq!(told, json!({"added": 1, "updated": 2, "unchanged": 1, "skipped": 0}));
    assert_eq!(world.export(), before);
    let words = piped(&world, &["import", "--dry-run"], &input);
    assert_eq!(String::from_utf8(words.stdout).unwrap(), "would be: 1 added, 2 updated, 1 unchanged\n");
    assert_eq!(import(&[]), told);
    assert_eq!(import(&["--dry-run"])["unchanged"], 4);
    let fresh = World::new();
    let told = |input: &str, more: &[&str]| {
        String::from_utf8(piped(&fresh, &[&["import", "--dry-run"], more].concat(), input).stdout).unwrap()
    };
    assert_eq!(told(&input, &[]), "would be: 4 added, 0 updated, 0 unchanged\n");
    assert_eq!(
        told(&format!("{added}\nx\n{added}\n"), &["--on-error", "skip"]),
        "would be: 1 added, 0 updated, 0 unchanged\n"
    );
    assert!(!fresh.store().exists());
}

#[test]
fn pruning_is_as_careful_as_removing() {
    let world = World::with(["ok"; 5]);
    let mut other: Value = serde_json::from_str(&world.site(9, "ok").jsonl()).unwrap();
    other["appId"] = json!("app:org.example.other");
    world.import_text(&other.to_string());
    let lines = |numbers: std::ops::Range<u32>| -> String {
        numbers.map(|number| world.site(number, "ok").jsonl() + "\n").collect()
    };
    let refused = |input: &str, more: &[&str], exit: i32, told: &str| {
        let before = world.export();
        let output = piped(&world, &[&["import", "--prune"], more].concat(), input);
        assert_eq!(code(&output), exit, "{output:?}");
        assert!(stderr(&output).contains(told), "{output:?}");
        assert_eq!(world.export(), before);
    };
    refused(&lines(0..3), &[], 2, "--prune would remove 2 connections");
    refused("", &["--yes"], 65, "the input tells of no connection");
    refused(&(lines(0..1) + "{}"), &["--yes", "--on-error", "skip"], 65, "nothing was pruned");
    // One may go without further ado, and other apps are none of its business.
    assert_quiet(&piped(&world, &["import", "--prune"], &lines(0..4)));
    assert_eq!(world.export().len(), 5);
    let told = piped(&world, &["import", "--prune", "--dry-run"], &lines(0..1));
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.ends_with("would be: 0 added, 0 updated, 1 unchanged, 3 removed\n"), "{told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("remove  cxn:")).count(), 3, "{told}");
    assert_quiet(&piped(&world, &["import", "--prune", "--yes"], &lines(0..1)));
    assert_eq!(world.export().len(), 2);
    world.assert_sound();
}

/// A MariaDB of the test's own, on a socket; `None`, with a word, where it is not installed.
struct Database(std::process::Child, String);

impl Database {
    fn start(folder: &Path) -> Option<Self> {
        let program = ["/usr/sbin/mariadbd", "/usr/bin/mariadbd"].into_iter().find(|path| Path::new(path).exists());
        let Some(program) = program else {
            eprintln!("skipped: MariaDB is not installed (Debian's package mariadb-server)");
            return None;
        };
        let (data, socket) = (folder.join("mysql"), folder.join("mysql.sock").display().to_string());
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let common = [format!("--datadir={}", data.display()), format!("--user={}", user.trim())];
        let made = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(&common)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let mut server = Command::new(program);
        server.args(["--no-defaults", "--skip-networking", &format!("--socket={socket}")]).args(&common);
        let server = server.arg(format!("--pid-file={}.pid", data.display())).stderr(Stdio::null()).spawn().unwrap();
        let database = Self(server, socket);
        let began = Instant::now();
        while !database.sql("SELECT 1").status.success() {
            assert!(began.elapsed() < Duration::from_secs(60), "MariaDB did not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(database)
    }

    fn sql(&self, text: &str) -> Output {
        let client = Command::new("mariadb")
            .args([
                "--no-defaults",
                "--default-character-set=utf8mb4",
                "-B",
                "-uroot",
                &format!("--socket={}", self.1),
                "-e",
                text,
            ])
            .output();
        client.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The commands of `docs/moving-from-cxnapp.md`, on cxnapp's own tables.
#[test]
fn moving_from_a_real_database_of_cxnapp() {
    let world = World::new();
    let Some(database) = Database::start(world.folder.path()) else { return };
    // As Doctrine makes them of cxnapp's entities.
    let made = database.sql(
        "CREATE DATABASE cxnapp CHARACTER SET utf8mb4; USE cxnapp;
         CREATE TABLE Cxn (id INT AUTO_INCREMENT NOT NULL, cxnId VARCHAR(64) NOT NULL, secret VARCHAR(64) NOT NULL,
           appId VARCHAR(128) NOT NULL, appUrl VARCHAR(255) NOT NULL, siteUrl VARCHAR(255) NOT NULL,
           perm LONGTEXT NOT NULL COMMENT '(DC2Type:json_array)', batchCode INT NOT NULL,
           UNIQUE INDEX cxnId_idx (cxnId), INDEX appId_idx (appId), PRIMARY KEY(id));
         CREATE TABLE PollStatus (cxnId VARCHAR(64) NOT NULL, jobName VARCHAR(64) NOT NULL,
           pollLevel INT UNSIGNED DEFAULT 0 NOT NULL, pollCount INT UNSIGNED DEFAULT 0 NOT NULL,
           lastRun INT UNSIGNED DEFAULT 0 NOT NULL, UNIQUE INDEX cxn_job (cxnId, jobName));",
    );
    assert!(made.status.success(), "{made:?}");
    let insert = |numbers: std::ops::Range<u32>| {
        let rows: Vec<String> = numbers
            .map(|number| {
                let site = world.site(number, "ok");
                let (id, secret) = (&site.cxn_id, &site.secret_base64);
                let perm = r#"{\"desc\":\"Zürich\\n\\tA \\\\ B\",\"grant\":\"*\"}"#;
                format!("('{id}','{secret}','app:{APP}','{}','{}','{perm}',{number})", site.app_url, site.site_url)
            })
            .collect();
        let into = "INSERT INTO cxnapp.Cxn (cxnId, secret, appId, appUrl, siteUrl, perm, batchCode) VALUES ";
        let done = database.sql(&format!("{into}{}", rows.join(",")));
        assert!(done.status.success(), "{done:?}");
    };
    insert(0..4);
    let statuses =
        (0..3).map(|number| format!("('{}','default',{number},2,1767220000)", world.site(number, "ok").cxn_id));
    let statuses = statuses.collect::<Vec<_>>().join(",");
    assert!(database.sql(&format!("INSERT INTO cxnapp.PollStatus VALUES {statuses}")).status.success());

    let select = |text: &str| String::from_utf8(database.sql(text).stdout).unwrap();
    let all = select("SELECT * FROM cxnapp.Cxn; SELECT * FROM cxnapp.PollStatus");
    assert_quiet(&piped(&world, &["import"], &all));
    let line: Value = serde_json::from_str(&world.export()[1]).unwrap();
    assert_eq!(line["perm"]["grant"], "*", "{line}");
    assert!(line["perm"]["desc"].as_str().unwrap().starts_with("Zürich\n"), "{line}");
    assert_eq!((&line["batchCode"], &line["pollStatus"]["default"]["pollLevel"]), (&json!(1), &json!(1)), "{line}");

    // The cron line goes on bringing in what is new, takes away what is gone, and leaves alone what we have learnt.
    world.poll(MIDNIGHT, &[]);
    let polled = world.export();
    insert(4..6);
    assert!(database.sql("DELETE FROM cxnapp.Cxn WHERE batchCode = 0").status.success());
    assert_quiet(&piped(&world, &["import", "--prune", "--yes"], &select("SELECT * FROM cxnapp.Cxn")));
    let after = world.export();
    assert_eq!(after.len(), 5);
    let stays = polled.iter().filter(|line| !line.contains("\"batchCode\":0"));
    assert_eq!(after.iter().filter(|line| polled.contains(line)).collect::<Vec<_>>(), stays.collect::<Vec<_>>());
    world.assert_sound();
}
