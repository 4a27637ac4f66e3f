//! Moving from cxnapp: its database tables.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr, stdout, tools};

/// Returns what `mysql -B` prints of cxnapp's two tables.
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
fn tables_are_imported_together_separately_or_joined() {
    let world = World::new();
    let (cxn, status) = tables(&world);
    assert_quiet(&world.run_with_input(&["import"], &(cxn.clone() + &status)));
    let both = world.export();
    let line: Value = serde_json::from_str(&both[0]).unwrap();
    assert_eq!(line["perm"], json!({"desc": "tab\tand\\", "api": []}));
    assert_eq!(line["pollStatus"]["other"]["pollLevel"], 1);

    for separate in [true, false] {
        let other = World::new();
        if separate {
            assert_quiet(&other.run_with_input(&["import"], &cxn));
            assert_quiet(&other.run_with_input(&["import", "--format", "tsv"], &status));
        } else {
            // A left join prints one row per status.
            let rows: Vec<_> = cxn.lines().skip(1).collect();
            let joined = format!(
                "id\tcxnId\tsecret\tappId\tappUrl\tsiteUrl\tperm\tjobName\tpollLevel\tpollCount\tlastRun\n\
                 {0}\tdefault\t0\t3\t1767220000\n{0}\tother\t1\t0\t1767220001\n{1}\tNULL\tNULL\tNULL\tNULL\n",
                rows[0], rows[1]
            );
            assert_quiet(&other.run_with_input(&["import"], &joined));
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

    let again: Value =
        serde_json::from_slice(&world.run_with_input(&["import", "--json"], &(cxn + &status)).stdout).unwrap();
    assert_eq!((&again["updated"], &again["unchanged"]), (&json!(0), &json!(5)), "{again}");
    let unknown = World::new().run_with_input(&["import", "--format", "tsv"], &status);
    assert_eq!(code(&unknown), 65);
    assert!(stderr(&unknown).contains("line 2: there is no connection cxn:"), "{unknown:?}");
}

/// A MariaDB server of the test, on a socket.
struct Database {
    server: Child,
    socket: String,
}

impl Database {
    /// Starts the server with its data in a directory.
    fn start(dir: &Path) -> Self {
        let program = ["/usr/sbin/mariadbd", "/usr/bin/mariadbd"].into_iter().find(|path| Path::new(path).exists());
        let (data, socket) = (dir.join("mysql"), dir.join("mysql.sock").display().to_string());
        let user = stdout(&Command::new("id").arg("-un").output().unwrap());
        let common = [format!("--datadir={}", data.display()), format!("--user={}", user.trim())];
        let made = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(&common)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let mut server = Command::new(program.unwrap());
        server.args(["--no-defaults", "--skip-networking", &format!("--socket={socket}")]).args(&common);
        let server = server.arg(format!("--pid-file={}.pid", data.display())).stderr(Stdio::null()).spawn().unwrap();
        let database = Self { server, socket };
        let began = Instant::now();
        while !database.sql("SELECT 1").status.success() {
            assert!(began.elapsed() < Duration::from_secs(60), "MariaDB did not start");
            thread::sleep(Duration::from_millis(100));
        }
        database
    }

    /// Runs statements as root.
    fn sql(&self, text: &str) -> Output {
        let client = Command::new("mariadb")
            .args([
                "--no-defaults",
                "--default-character-set=utf8mb4",
                "-B",
                "-uroot",
                &format!("--socket={}", self.socket),
                "-e",
                text,
            ])
            .output();
        client.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The commands of `docs/moving-from-cxnapp.md`, on cxnapp's own tables.
#[test]
fn move_from_a_real_database() {
    if !tools::require("mariadbd") || !tools::require("mariadb") {
        return;
    }
    let world = World::new();
    let database = Database::start(world.dir.path());
    // Doctrine creates these tables from cxnapp's entities.
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

    let select = |text: &str| stdout(&database.sql(text));
    let all = select("SELECT * FROM cxnapp.Cxn; SELECT * FROM cxnapp.PollStatus");
    assert_quiet(&world.run_with_input(&["import"], &all));
    let line: Value = serde_json::from_str(&world.export()[1]).unwrap();
    assert_eq!(line["perm"]["grant"], "*", "{line}");
    assert!(line["perm"]["desc"].as_str().unwrap().starts_with("Zürich\n"), "{line}");
    assert_eq!((&line["batchCode"], &line["pollStatus"]["default"]["pollLevel"]), (&json!(1), &json!(1)), "{line}");

    // The cron line adds what is new, removes what is gone, and keeps the poll statuses.
    world.poll(MIDNIGHT, &[]);
    let polled = world.export();
    insert(4..6);
    assert!(database.sql("DELETE FROM cxnapp.Cxn WHERE batchCode = 0").status.success());
    assert_quiet(&world.run_with_input(&["import", "--prune", "--yes"], &select("SELECT * FROM cxnapp.Cxn")));
    let after = world.export();
    assert_eq!(after.len(), 5);
    let stays = polled.iter().filter(|line| !line.contains("\"batchCode\":0"));
    assert_eq!(after.iter().filter(|line| polled.contains(line)).collect::<Vec<_>>(), stays.collect::<Vec<_>>());
    world.assert_sound();
}
