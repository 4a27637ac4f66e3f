//! Which sites a run charges, where some are unreachable.

use std::collections::BTreeSet;

use super::scene::{Death, Scene};

/// Makes tests of each scenario, for each number of sites and each way to be unreachable.
macro_rules! scenarios {
    ($($(#[$doc:meta])* $name:ident: $check:expr;)*) => {
        $(
            $(#[$doc])*
            mod $name {
                use super::*;

                crate::blame::charged::scenarios_of_sizes! {
                    $check;
                    sixty_sites_refuse 60 Refused;
                    sixty_sites_without_a_route 60 NoRoute;
                    sixty_sites_without_a_name 60 NoName;
                    five_sites_refuse 5 Refused;
                    five_sites_without_a_route 5 NoRoute;
                    five_sites_without_a_name 5 NoName;
                }
            }
        )*
    };
}
pub(super) use scenarios;

/// Makes tests of a scenario.
macro_rules! scenarios_of_sizes {
    ($check:expr; $($test:ident $size:literal $death:ident;)+) => {
        $(
            #[test]
            fn $test() {
                let check: fn(u32, Death) = $check;
                let path = concat!(module_path!(), "::", stringify!($test));
                crate::testkit::namespace::run(path, &[], || check($size, Death::$death));
            }
        )+
    };
}
pub(super) use scenarios_of_sizes;

/// Whether a site is one of 18 of 60, or of 2 of 5. They are anywhere among the others.
pub fn is_in_a_third(number: u32, _size: u32) -> bool {
    matches!(number % 10, 1 | 4 | 8)
}

/// Whether a site is one of 55 of 60, or of 3 of 5.
pub fn is_in_most(number: u32, size: u32) -> bool {
    number % (size / 5).max(2) != 1
}

/// Polls four times while the mortal sites are unreachable.
pub fn fail_for_a_day(scene: &mut Scene, death: Death) {
    scene.kill(death);
    for hours in [0, 6, 12, 18] {
        let run = scene.poll_after(hours, &[]);
        assert_eq!((run.code, &run.summary["failed"]), (0, &scene.mortals().len().into()), "{}", run.summary);
    }
}

/// Runs while some sites are unreachable; returns the sites that it charged.
///
/// All others must be polled well, except for those on the host of a charged site, which may be skipped.
pub fn check(scene: &Scene, more: &[&str]) -> BTreeSet<u32> {
    let before = scene.world.statuses();
    let run = scene.poll(more);
    let about = format!("exit {}, {}\n{}", run.code, run.summary, run.stderr);
    println!("{about}");
    assert_eq!((run.code, &*run.stderr), (0, ""), "{about}");
    assert_eq!((&run.summary["outage"], run.summary["outageCause"].is_null()), (&false.into(), true), "{about}");
    let after = scene.world.statuses();
    let mut charged = BTreeSet::new();
    for (number, [level, count, last_run]) in after {
        let [old_level, old_count, old_run] = before[&number];
        let is_mortal = scene.is_mortal(number);
        if last_run == old_run {
            assert!(is_mortal && [level, count] == [old_level, old_count], "site {number} was not polled: {about}");
        } else if [level, count] != [0, 0] {
            assert!((level, count) > (old_level, old_count), "site {number}: {about}");
            charged.insert(number);
        }
    }
    assert_eq!(run.summary["failed"], charged.len(), "{about}");
    scene.world.assert_sound();
    charged
}
