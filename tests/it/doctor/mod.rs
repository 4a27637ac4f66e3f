//! `doctor` finds each fault that is planted, and nothing in a healthy installation.

mod faults;
mod healthy;
mod scene;
mod schedules;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::time::Instant;

use crate::testkit::{World, code, namespace, stderr, stdout};
use scene::{Scene, checks};

#[test]
fn each_planted_fault_is_the_only_finding() {
    namespace::run(concat!(module_path!(), "::each_planted_fault_is_the_only_finding"), &["mount"], || {
        plant_each(faults::FAULTS);
    });
}

#[test]
fn each_planted_fault_of_a_schedule_is_the_only_finding() {
    namespace::run(
        concat!(module_path!(), "::each_planted_fault_of_a_schedule_is_the_only_finding"),
        &["mount"],
        || {
            plant_each(schedules::FAULTS);
        },
    );
}

fn plant_each(faults: &[faults::Fault]) {
    let mut scene = Scene::set_up();
    assert_eq!(scene.findings(), Vec::<String>::new(), "the installation is healthy");
    let (began, mut missed) = (Instant::now(), Vec::new());
    for (number, fault) in faults.iter().enumerate() {
        scene.restore();
        (fault.plant)(&mut scene);
        let output = scene.doctor(&["--json"]);
        scene.undo();
        let text = stdout(&output);
        if code(&output) != 78 || checks(&output) != [fault.check] || !text.contains(fault.message) {
            missed.push(format!("{number}, {} {}: {output:?}", fault.check, fault.message));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    println!("{} faults in {:?}", faults.len(), began.elapsed());
}

#[test]
fn a_healthy_installation_prints_nothing_without_a_terminal() {
    namespace::run(concat!(module_path!(), "::a_healthy_installation_prints_nothing_without_a_terminal"), &[], || {
        let scene = Scene::set_up();
        let output = scene.doctor(&[]);
        assert_eq!((code(&output), stdout(&output), stderr(&output)), (0, String::new(), String::new()));
        let text = stdout(&scene.doctor(&["-v"]));
        assert!(text.contains("ok       store\n") && text.ends_with("Nothing is wrong.\n"), "{text}");
        scene.schedule_by_timer();
        assert_eq!(stdout(&scene.doctor(&[])), "", "a timer is as good as a crontab");
        let json: serde_json::Value = serde_json::from_slice(&scene.doctor(&["--json"]).stdout).unwrap();
        assert_eq!((&json["ok"], json["findings"].as_array().map(Vec::len)), (&true.into(), Some(0)));
        assert!(json["checked"].as_array().unwrap().iter().any(|check| check == "last-runs"), "{json}");
        assert!(json["skipped"].as_array().unwrap().iter().all(|skipped| skipped["reason"].is_string()), "{json}");
        assert_eq!(scene.polls(), 1, "a doctor polls no site");

        let app = crate::testkit::APP;
        scene.set_crontab(&format!("*/5 * * * * cxnpoll poll {app} --retry='1 day (x3)' --threads=2 --per-host=3\n"));
        let table = format!("[jobs.\"{app}\".default]\nretry = \"2 day (x3)\"\nthreads = 4\nper-host = 3\n");
        scene.world.append_config(&table);
        let text = stdout(&scene.doctor(&["-v"]));
        let note = format!("has another --retry and --threads than [jobs.\"{app}\".default]");
        assert!(text.contains(&note) && text.contains("has --retry '1 day (x3)', and the last run had"), "{text}");
        scene.set_crontab(&format!("*/5 * * * * cxnpoll poll {app}\n"));
        let text = stdout(&scene.doctor(&["-v"]));
        assert!(
            text.contains("gets --retry '2 day (x3)', and the last run had") && !text.contains("another"),
            "{text}"
        );
    });
}

#[test]
fn healthy_installations_of_any_shape_have_no_findings() {
    namespace::run(concat!(module_path!(), "::healthy_installations_of_any_shape_have_no_findings"), &[], || {
        let mut scene = Scene::set_up();
        for (shape, set_up) in healthy::SHAPES {
            scene.restore();
            set_up(&mut scene);
            let output = scene.doctor(&["--json"]);
            assert_eq!((code(&output), checks(&output)), (0, Vec::new()), "{shape}: {output:?}");
        }
    });
}

#[test]
fn what_a_user_may_not_read_is_found_with_its_commands() {
    let world = World::with(["ok"]);
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    for (name, mode, expected) in
        [("cxnpoll.toml", 0o600, "cxnpoll.toml"), ("app.crt", 0o640, "app.crt"), ("", 0o700, "")]
    {
        let path = world.path(name);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = world.command(&["doctor", "--json"]);
        let Ok(output) = command.uid(12_345).gid(12_345).current_dir("/").output() else {
            return crate::testkit::tools::skip("only root can run a command as another user");
        };
        fs::set_permissions(&path, before).unwrap();
        let text = stdout(&output);
        let path = world.path(expected).display().to_string();
        let remedy = format!("(mode {mode:o}), as root: chgrp 12345 {}; chmod g+r", path.trim_end_matches('/'));
        assert!(text.contains(&remedy), "{remedy}: {output:?}");
    }
}

#[test]
fn root_is_sent_to_the_owner_of_the_store() {
    let world = World::with(["ok"]);
    let files = [world.store(), world.store().join("CURRENT")];
    if files.iter().any(|file| chown(file, Some(12_345), None).is_err()) {
        return crate::testkit::tools::skip("only root can give files to another user");
    }
    let output = world.run(&["doctor"]);
    assert_eq!(code(&output), 78);
    let text = stdout(&output);
    assert!(text.contains("belongs to #12345, not to root"), "{text}");
    assert!(text.contains("sudo -u '#12345' cxnpoll doctor"), "{text}");
}
