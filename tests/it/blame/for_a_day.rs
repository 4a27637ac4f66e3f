//! A fault of this machine that lasts: after a day the failures are charged to the sites.

use super::namespace;
use super::scene::{NAMES, Scene};

/// Runs 1, 12, 24 and 26 hours after the sites were polled well; every connection is refused.
fn check(size: u32) {
    let mut scene = Scene::new(NAMES, size);
    scene.poll_well();
    let before = scene.statuses();
    scene.front.ports().into_iter().for_each(|port| scene.front.close(port));
    for hours in [1, 12, 24] {
        let run = scene.poll_after(hours, &[]);
        let about = format!("after {hours} hours: exit {}, {}\n{}", run.code, run.summary, run.stderr);
        assert_eq!((run.code, &run.summary["outage"]), (69, &true.into()), "{about}");
        assert_eq!((scene.statuses(), run.stderr.lines().next().is_some()), (before.clone(), true), "{about}");
    }
    let run = scene.poll_after(26, &[]);
    let about = format!("exit {}, {}\n{}", run.code, run.summary, run.stderr);
    assert_eq!((run.code, &run.summary["outage"], &*run.stderr), (0, &false.into(), ""), "{about}");
    assert_eq!(run.summary["failed"], size, "{about}");
    for (number, [level, count, last_run]) in scene.statuses() {
        let [old_level, old_count, old_run] = before[&number];
        assert!((level, count) > (old_level, old_count) && last_run > old_run, "site {number}: {about}");
    }
    scene.world.assert_sound();
}

#[test]
fn sixty_sites_are_charged_after_a_day_offline() {
    let test = concat!(module_path!(), "::sixty_sites_are_charged_after_a_day_offline");
    namespace::run(test, &[], || check(60));
}

#[test]
fn five_sites_are_charged_after_a_day_offline() {
    let test = concat!(module_path!(), "::five_sites_are_charged_after_a_day_offline");
    namespace::run(test, &[], || check(5));
}
