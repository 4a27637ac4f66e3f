//! Failures of sites: they are charged as ever, however many they are.

use super::charged::{check, fail_for_a_day, is_in_a_third, is_in_most, scenarios, scenarios_of_sizes};
use super::front::{Reply, page};
use super::scene::{Death, Layout, NAMES, Scene, ipv4};
use crate::testkit::namespace;

scenarios! {
    /// 18 of 60 (2 of 5) are unreachable, on distinct networks; the others answer.
    a_third_of_the_sites_is_dead: |size, death| {
        let mut scene = Scene::new(Layout { is_mortal: is_in_a_third, ..NAMES }, size);
        scene.poll_well();
        scene.kill(death);
        scene.front.reply(|_| Reply::SlowSite(30));
        let charged = check(&scene, &[]);
        assert_eq!(charged, scene.mortals());
    };
    /// 55 of 60 (3 of 5) were unreachable in all earlier runs and still are; the others answer.
    all_but_five_have_been_dead_for_days: |size, death| {
        let mut scene = Scene::new(Layout { is_mortal: is_in_most, ..NAMES }, size);
        fail_for_a_day(&mut scene, death);
        scene.front.reply(|_| Reply::SlowSite(30));
        let charged = check(&scene, &[]);
        assert_eq!(charged, scene.mortals());
    };
    /// All were unreachable in all earlier runs and still are.
    all_sites_have_been_dead_for_days: |size, death| {
        let mut scene = Scene::new(Layout { is_mortal: |_, _| true, ..NAMES }, size);
        fail_for_a_day(&mut scene, death);
        scene.front.reply(|_| Reply::SlowSite(30));
        let charged = check(&scene, &[]);
        assert_eq!(charged, scene.mortals());
    };
    /// 18 names (2) are one address, which is unreachable.
    provider_of_a_third_of_the_sites_is_down: |size, death| {
        let address = |number| ipv4(if is_in_a_third(number, 60) { 1 } else { number });
        let mut scene = Scene::new(Layout { is_mortal: is_in_a_third, address, ..NAMES }, size);
        scene.poll_well();
        scene.kill(death);
        scene.front.reply(|_| Reply::SlowSite(30));
        let charged = check(&scene, &[]);
        assert!(!charged.is_empty() && charged.is_subset(&scene.mortals()), "{charged:?}");
    };
}

/// All names are one address, which answered before and is unreachable now.
mod only_host_is_down {
    use super::*;

    scenarios_of_sizes! {
        |size, death| {
            let mut scene = Scene::new(Layout { is_mortal: |_, _| true, address: |_| ipv4(1), ..NAMES }, size);
            scene.poll_well();
            scene.kill(death);
            let charged = check(&scene, &[]);
            assert!(!charged.is_empty(), "{charged:?}");
        };
        sixty_sites_refuse 60 Refused;
        sixty_sites_without_a_route 60 NoRoute;
        five_sites_refuse 5 Refused;
        five_sites_without_a_route 5 NoRoute;
    }
}

/// Every answer comes within milliseconds.
fn check_half(size: u32) {
    let scene = Scene::new(NAMES, size);
    scene.poll_well();
    scene.front.reply(|request| {
        let is_refused = request.site % 2 == 1;
        if is_refused { Reply::Http(page("403 Forbidden", "Forbidden", "Go away.")) } else { Reply::Site }
    });
    assert_eq!(check(&scene, &[]), (0..size).filter(|number| number % 2 == 1).collect());
}

#[test]
fn half_of_sixty_sites_answer_403() {
    namespace::run(concat!(module_path!(), "::half_of_sixty_sites_answer_403"), &[], || check_half(60));
}

#[test]
fn half_of_five_sites_answer_403() {
    namespace::run(concat!(module_path!(), "::half_of_five_sites_answer_403"), &[], || check_half(5));
}
