//! The commands that are recorded.

use std::fs;
use std::ops::Range;

use civisite::Site;
use serde_json::json;

use super::record::STORE;
use crate::testkit::{APP, MIDNIGHT, World};

/// One command.
pub struct Step {
    pub arguments: Vec<String>,
    /// The text of an import.
    pub input: Option<String>,
    /// After how many seconds the command is killed.
    pub killed: Option<f64>,
}

impl Step {
    fn of(arguments: &[&str]) -> Self {
        Self { arguments: arguments.iter().map(ToString::to_string).collect(), input: None, killed: None }
    }

    fn import(lines: impl IntoIterator<Item = String>) -> Self {
        Self { input: Some(lines.into_iter().collect::<Vec<_>>().join("\n")), ..Self::of(&["import", "import.jsonl"]) }
    }

    fn and(mut self, more: &[&str]) -> Self {
        self.arguments.extend(more.iter().map(ToString::to_string));
        self
    }

    fn poll(minutes: i64) -> Self {
        let now = (MIDNIGHT + minutes * 60).to_string();
        Self::of(&["poll", APP, "--per-host", "64", "--retry", "1min (x*)", "--now", &now])
    }

    fn killed(self, after: f64) -> Self {
        Self { killed: Some(after), ..self }
    }

    /// Whether the command changes what the store holds.
    pub fn writes(&self) -> bool {
        !matches!(self.arguments[0].as_str(), "status" | "export")
    }
}

/// Makes polls keep results, and lets new backups displace old ones soon.
fn keep_results(world: &World) {
    world.append_config(
        "[backups]\nkeep = 2\n[[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{ api = \"System.get\" }]\n",
    );
}

/// Returns every command that writes, with few connections. The first of them creates the store.
pub fn few(world: &World) -> Vec<Step> {
    keep_results(world);
    let behaviours = ["ok", "status-500", "every-2", "fail-first-1"];
    let site = |number: usize| world.site(u32::try_from(number).unwrap(), behaviours[number % behaviours.len()]);
    let line = |number: usize, more: &str| {
        let mut site = site(number);
        site.site_url.push_str(more);
        site.jsonl()
    };
    let id = |number: usize| site(number).cxn_id;
    vec![
        Step::import((0..12).map(|number| line(number, ""))),
        Step::import((6..20).map(|number| line(number, "?ms=1"))),
        Step::poll(0),
        Step::of(&["status"]),
        Step::of(&["disable", &id(0), &id(5), &id(8), "--all", "--yes"]),
        Step::poll(5),
        Step::import((0..20).map(|number| line(number, "?ms=2"))),
        Step::of(&["enable", &id(0), &id(5), "--all", "--yes"]),
        Step::of(&["store", "backup"]),
        Step::poll(10),
        Step::of(&["revive", &id(1)]),
        Step::import((0..16).map(|number| line(number, "?ms=3"))).and(&["--prune", "--yes"]),
        Step::of(&["remove", &id(3), &id(6), "--all", "--yes"]),
        Step::of(&["results", "--remove", &id(4)]),
        Step::of(&["store", "compact"]),
        Step::poll(15),
        Step::of(&["store", "restore", "--yes"]),
        Step::of(&["results", "--remove", "--all", "--yes"]),
        Step::poll(20),
        Step::of(&["export"]),
    ]
}

/// Returns enough commands to make the database reuse parts of its file, and commands that are killed.
pub fn many(world: &World) -> Vec<Step> {
    let line = |number: u32, filler: char| {
        let mut site = world.site(100 + number, if number.is_multiple_of(7) { "every-2" } else { "ok" });
        let length = 400 + 60 * usize::try_from(number % 20).unwrap();
        site.site_url = format!("{}?ms=1&filler={}", site.site_url, filler.to_string().repeat(length));
        site.jsonl()
    };
    let import = |range: Range<u32>, filler| Step::import(range.map(|number| line(number, filler)));
    let mut steps = few(world);
    steps.extend([
        import(0..800, 'a'),
        Step::poll(30),
        import(0..800, 'b'),
        import(400..800, 'c'),
        Step::of(&["store", "backup"]).killed(0.2),
        Step::poll(40),
        import(0..800, 'd').killed(0.15),
        Step::of(&["status"]),
        Step::of(&["store", "compact"]).killed(0.5),
        import(0..600, 'e'),
        Step::of(&["store", "backup"]),
        Step::poll(50).killed(0.7),
        Step::poll(60),
        Step::of(&["remove", "--url", "*filler=c*", "--all", "--yes"]).killed(0.4),
        Step::of(&["store", "restore", "--yes"]).killed(0.4),
        import(0..800, 'f'),
        Step::import((0..20).map(|number| world.site(number, "ok").jsonl())),
        Step::of(&["store", "compact"]),
        import(0..800, 'g'),
        Step::poll(70),
        Step::of(&["export"]),
    ]);
    steps
}

/// Returns large sessions: the database reuses parts of its file that it freed in the same session.
pub fn large_sessions(world: &World) -> Vec<Step> {
    let line = |number: u32, filler: char| {
        let mut site = world.site(number, "ok");
        site.site_url = format!("{}?filler={}", site.site_url, filler.to_string().repeat(1_800));
        site.jsonl()
    };
    let import = |filler| Step::import((0..4_000).map(move |number| line(number, filler)));
    ['a', 'b', 'c', 'd'].into_iter().map(import).collect()
}

/// Returns imports of connections with a long `perm` each.
///
/// One `perm` is too long for a leaf of the database. sled never syncs a value that it stores outside of its log.
pub fn large_perms(world: &World) -> Vec<Step> {
    let import = |letter: &str| {
        let site = |number| {
            let length = if number == 99 { 150_000 } else { 4_000 };
            let perm = Some(json!({"grant": format!("{number}{}", letter.repeat(length))}));
            Site { perm, ..world.site(number, "ok") }.jsonl()
        };
        Step::import((0..100).map(site))
    };
    vec![import("a"), Step::poll(0), import("b"), Step::poll(5), import("c"), import("d")]
}

/// Returns polls whose results are too long for a leaf of the database.
pub fn large_results(world: &World) -> Vec<Step> {
    // Half of the random digits remain once they are compressed.
    let script = "read -r event; printf '{\"keep\":\"%s\"}\\n{\"ok\":true}\\n' $(head -c 40000 /dev/urandom | od -An -v -tx1 | tr -d ' \\n')";
    fs::write(world.path("listener.sh"), script).unwrap();
    world.append_config("[[listeners]]\nevent = \"civi_cxn.poll\"\nprogram = [\"sh\", \"listener.sh\"]\n");
    let mut steps = vec![Step::import((0..12).map(|number| world.site(number, "ok").jsonl()))];
    steps.extend((0..6).map(|run| Step::poll(5 * run)));
    steps.push(Step::of(&["results", "--remove", "--all", "--yes"]));
    steps.push(Step::poll(60));
    steps
}

/// Damages a store, and returns its repair and commands that use it then.
pub fn repair(world: &World) -> Vec<Step> {
    world.import(&world.sites(["ok"; 12]));
    world.poll(MIDNIGHT, &["--retry", "1min (x*)"]);
    {
        let database = world.database();
        let [statuses, due] = ["status", "due"].map(|name| database.open_tree(name).unwrap());
        for entry in statuses.iter().keys().take(3) {
            statuses.insert(entry.unwrap(), &[99, 1, 2, 3]).unwrap();
        }
        due.pop_max().unwrap();
        database.flush().unwrap();
    }
    let store = world.dir.path().join(STORE);
    fs::create_dir_all(store.parent().unwrap()).unwrap();
    fs::rename(world.store(), store).unwrap();
    let check = || Step::of(&["store", "check", "--repair"]);
    vec![check(), Step::poll(1), Step::of(&["disable", &world.site(0, "ok").cxn_id]), check()]
}
