//! Cases from daily operation: see `fixtures/cases/README.md`.
//!
//! Each file of that directory is one test, listed in the module of its area.

mod case;
mod check;
mod dir;
mod placeholders;
mod sites;
mod step;

/// Makes a test of each case; an underscore in its name stands for the hyphen in the name of its file.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// The cases of this area.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                super::run(stringify!($name));
            }
        )*
    };
}

mod environment;
mod listener;
mod options;
mod output;
mod prune;
mod read;
mod time;

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;

use crate::testkit::tools;
use case::Case;
use dir::CaseDir;
use placeholders::Placeholders;
use sites::Sites;

/// Runs a case to its end, or skips it where the machine lacks what it needs.
fn run(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/cases/{}.toml", name.replace('_', "-")));
    let text = fs::read_to_string(file).unwrap();
    let mut content: toml::Value = toml::from_str(&text).unwrap();
    let dir = CaseDir::new();
    let sites = Sites::of(&content, dir.path());
    Placeholders { sites: &sites, dir: dir.path() }.fill_all(&mut content);
    let case: Case = content.try_into().unwrap();
    if !is_possible(&case, &text) {
        return;
    }
    dir.set_up(&case, &sites);
    for (number, step) in (1..).zip(&case.step) {
        let output = step::run(&dir, step, step.user.or(case.user));
        check::step(step, &output, &format!("{}\nstep {number}: {output:?}", case.about));
    }
    check::after(&case, &dir, &sites);
}

#[test]
fn every_case_is_listed() {
    let areas =
        [environment::NAMES, listener::NAMES, options::NAMES, output::NAMES, prune::NAMES, read::NAMES, time::NAMES];
    let mut listed: Vec<_> = areas.concat().into_iter().map(|name| name.replace('_', "-") + ".toml").collect();
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cases")).unwrap();
    let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut cases: Vec<_> = names.filter(|name| name != "README.md").collect();
    listed.sort();
    cases.sort();
    assert_eq!(listed, cases);
}

/// Whether this machine has all that a case needs; reports what it lacks.
fn is_possible(case: &Case, text: &str) -> bool {
    let mut needed: Vec<_> =
        ["iconv", "python3", "setpriv", "unshare"].into_iter().filter(|t| text.contains(t)).collect();
    needed.extend(case.step.iter().find_map(|step| step.columns).map(|_| "script"));
    if !needed.into_iter().all(tools::require) {
        return false;
    }
    if case.user.is_some() && !geteuid().is_root() {
        tools::skip("only root can run the command as another user");
        return false;
    }
    let mounts = || Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|output| output.status.success());
    if !case.needs.is_empty() && !mounts() {
        tools::skip("the system does not allow a mount namespace");
        return false;
    }
    true
}
