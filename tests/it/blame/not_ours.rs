//! Failures of sites: they are charged as ever, however many they are.

use std::collections::BTreeSet;

use super::front::{Reply, page};
use super::namespace;
use super::scene::{Death, Layout, NAMES, Scene, ipv4};

/// Makes tests of a scenario: for both deaths, with 60 sites and with 5.
macro_rules! scenarios {
    ($($(#[$doc:meta])* $name:ident: $check:expr;)*) => {
        $(
            $(#[$doc])*
            mod $name {
                use super::*;

                #[test]
                fn sixty_sites() {
                    namespace::run(concat!(module_path!(), "::sixty_sites"), &[], || $check(60, Death::Refused));
                }

                #[test]
                fn sixty_sites_without_a_route() {
                    let test = concat!(module_path!(), "::sixty_sites_without_a_route");
                    namespace::run(test, &[], || $check(60, Death::NoRoute));
                }

                #[test]
                fn five_sites() {
                    namespace::run(concat!(module_path!(), "::five_sites"), &[], || $check(5, Death::Refused));
                }

                #[test]
                fn five_sites_without_a_route() {
                    let test = concat!(module_path!(), "::five_sites_without_a_route");
                    namespace::run(test, &[], || $check(5, Death::NoRoute));
                }
            }
        )*
    };
}

scenarios! {
    /// 18 of 60 (2 of 5) are unreachable, on distinct networks; the others answer.
    a_third_of_the_sites_is_dead: |size, death| {
        let mut scene = Scene::new(Layout { is_mortal: is_in_a_third, ..NAMES }, size);
        scene.poll_well();
        scene.kill(death);
        scene.front.reply(|_| Reply::SlowSite(30));
        let charged = check(&scene);
        assert_eq!(charged, scene.mortals());
    };
    /// 55 of 60 (3 of 5) were unreachable in all earlier runs and still are; the others answer.
    all_but_five_have_been_dead_for_days: |size, death| {
        let mut scene = Scene::new(Layout { is_mortal: is_in_most, ..NAMES }, size);
        fail_for_a_day(&mut scene, death);
        scene.front.reply(|_| Reply::SlowSite(30));
        let charged = check(&scene);
        assert_eq!(charged, scene.mortals());
    };
    /// All were unreachable in all earlier runs and still are.
    all_sites_have_been_dead_for_days: |size, death| {
        let mut scene = Scene::new(Layout { is_mortal: |_, _| true, ..NAMES }, size);
        fail_for_a_day(&mut scene, death);
        scene.front.reply(|_| Reply::SlowSite(30));
        let charged = check(&scene);
        assert_eq!(charged, scene.mortals());
    };
    /// 18 names (2) are one address, which is unreachable.
    provider_of_a_third_of_the_sites_is_down: |size, death| {
        let address = |number| ipv4(if is_in_a_third(number, 60) { 1 } else { number });
        let mut scene = Scene::new(Layout { is_mortal: is_in_a_third, address, ..NAMES }, size);
        scene.poll_well();
        scene.kill(death);
        scene.front.reply(|_| Reply::SlowSite(30));
        let charged = check(&scene);
        assert!(!charged.is_empty() && charged.is_subset(&scene.mortals()), "{charged:?}");
    };
    /// All names are one address, which answered before and is unreachable now.
    only_host_is_down: |size, death| {
        let mut scene = Scene::new(Layout { is_mortal: |_, _| true, address: |_| ipv4(1), ..NAMES }, size);
        scene.poll_well();
        scene.kill(death);
        scene.front.reply(|_| Reply::SlowSite(30));
        let charged = check(&scene);
        assert!(!charged.is_empty(), "{charged:?}");
    };
}

/// Every answer comes within milliseconds.
fn check_half(size: u32) {
    let scene = Scene::new(NAMES, size);
    scene.poll_well();
    scene.front.reply(|request| {
        let is_refused = request.site % 2 == 1;
        if is_refused { Reply::Http(page("403 Forbidden", "Forbidden", "Go away.")) } else { Reply::Site }
    });
    assert_eq!(check(&scene), (0..size).filter(|number| number % 2 == 1).collect());
}

#[test]
fn half_of_sixty_sites_answer_403() {
    namespace::run(concat!(module_path!(), "::half_of_sixty_sites_answer_403"), &[], || check_half(60));
}

#[test]
fn half_of_five_sites_answer_403() {
    namespace::run(concat!(module_path!(), "::half_of_five_sites_answer_403"), &[], || check_half(5));
}

/// Whether a site is one of 18 of 60, or of 2 of 5. They are anywhere among the others.
fn is_in_a_third(number: u32, _size: u32) -> bool {
    matches!(number % 10, 1 | 4 | 8)
}

/// Whether a site is one of 55 of 60, or of 3 of 5.
fn is_in_most(number: u32, size: u32) -> bool {
    number % (size / 5).max(2) != 1
}

/// Polls four times while the mortal sites are unreachable.
fn fail_for_a_day(scene: &mut Scene, death: Death) {
    scene.kill(death);
    for hours in [0, 6, 12, 18] {
        let run = scene.poll_after(hours, &[]);
        assert_eq!((run.code, &run.summary["failed"]), (0, &scene.mortals().len().into()), "{}", run.summary);
    }
}

/// Runs while some sites are unreachable; returns the sites that it charged.
///
/// All others must be polled well, except for those on the host of a charged site, which may be skipped.
fn check(scene: &Scene) -> BTreeSet<u32> {
    let before = scene.statuses();
    let run = scene.poll(&[]);
    let about = format!("exit {}, {}\n{}", run.code, run.summary, run.stderr);
    println!("{about}");
    assert_eq!((run.code, &*run.stderr), (0, ""), "{about}");
    assert_eq!((&run.summary["outage"], run.summary["outageCause"].is_null()), (&false.into(), true), "{about}");
    let after = scene.statuses();
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
