//! A fault of this machine that lasts: after a day the failures are charged to the sites.

use super::front::{Reply, page};
use super::outage::{SITES_NET, close_all};
use super::scene::{NAMES, Scene};
use crate::testkit::namespace;

/// Runs 1, 12, 24 and 26 hours after the sites were polled well. The last one charges all, or none.
fn check(size: u32, breaks: fn(&mut Scene), is_charged: bool) {
    let mut scene = Scene::new(NAMES, size);
    scene.poll_well();
    let before = scene.world.statuses();
    breaks(&mut scene);
    for hours in [1, 12, 24] {
        let run = scene.poll_after(hours, &[]);
        let about = format!("after {hours} hours: exit {}, {}\n{}", run.code, run.summary, run.stderr);
        assert!([69, 78].contains(&run.code), "{about}");
        assert_eq!((&run.summary["outage"], run.stderr.is_empty()), (&true.into(), false), "{about}");
        assert_eq!(scene.world.statuses(), before, "{about}");
    }
    let run = scene.poll_after(26, &[]);
    let about = format!("exit {}, {}\n{}", run.code, run.summary, run.stderr);
    if !is_charged {
        assert_eq!((scene.world.statuses(), run.summary["failed"].as_u64()), (before, Some(0)), "{about}");
        return;
    }
    assert_eq!((run.code, &run.summary["outage"], &*run.stderr), (0, &false.into(), ""), "{about}");
    assert_eq!(run.summary["failed"], size, "{about}");
    for (number, [level, count, last_run]) in scene.world.statuses() {
        let [old_level, old_count, old_run] = before[&number];
        assert!((level, count) > (old_level, old_count) && last_run > old_run, "site {number}: {about}");
    }
    scene.world.assert_sound();
}

/// Makes a test of each fault.
macro_rules! faults {
    ($($name:ident: $size:literal, $breaks:expr, $is_charged:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                namespace::run(test, &[], || check($size, $breaks, $is_charged));
            }
        )*
    };
}

faults! {
    sixty_sites_refuse_connections: 60, close_all, true;
    five_sites_refuse_connections: 5, close_all, true;
    sixty_sites_answer_403: 60, forbid, true;
    five_sites_answer_403: 5, forbid, true;
    firewall_forbids_to_connect_to_sixty_sites: 60, |scene| scene.network.route("prohibit", SITES_NET), false;
    firewall_forbids_to_connect_to_five_sites: 5, |scene| scene.network.route("prohibit", SITES_NET), false;
}

fn forbid(scene: &mut Scene) {
    scene.front.reply(|_| Reply::Http(page("403 Forbidden", "Forbidden", "Go away.")));
}
