//! The move of cxnapp's registration, as docs/registration.md describes it.

use civisite::Site;

use super::scene::{ask_directly, site, success, world};
use crate::testkit::{World, code};

/// What cxnapp has at the switch. The rules of the last import are those of the page.
fn table(sites: &[&Site]) -> String {
    sites.iter().map(|site| site.jsonl() + "\n").collect()
}

fn import(world: &World, table: &str) {
    let output = world.run_with_input(&["import", "--prune", "--yes", "--prune-at-most", "100%"], table);
    assert_eq!(code(&output), 0, "{output:?}");
}

/// Returns the address of each stored site by its number.
fn stored(world: &World) -> Vec<(u32, String)> {
    let lines = world.export();
    let values = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut sites: Vec<_> = values
        .map(|value| {
            let text = |key: &str| value[key].as_str().unwrap().to_owned();
            (text("cxnId")[26..].parse().unwrap(), text("siteUrl"))
        })
        .collect();
    sites.sort();
    sites
}

/// After the switch one site has another address, one leaves, and one is new.
fn change(world: &World, [moved, left, new]: [&Site; 3]) {
    for (site, action) in [(moved, "register"), (left, "unregister"), (new, "register")] {
        assert_eq!(ask_directly(world, site, action), success(site));
    }
}

#[test]
fn nothing_is_lost_if_the_last_import_is_before_the_switch() {
    let world = world();
    let [a, b, c, d, late] = [1, 2, 3, 4, 5].map(|number| site(&world, number));
    import(&world, &table(&[&a, &b, &c]));
    // Accepted by cxnapp after the last regular import, and before its 503.
    import(&world, &table(&[&a, &b, &c, &late]));
    let moved = Site { site_url: a.site_url.clone() + "?moved", ..a.clone() };
    change(&world, [&moved, &b, &d]);
    let expected = [(1, &moved), (3, &c), (4, &d), (5, &late)].map(|(number, site)| (number, site.site_url.clone()));
    assert_eq!(stored(&world), expected);
    world.assert_sound();
}

/// Why the page forbids an import after the switch: the old values win.
#[test]
fn an_import_after_the_switch_brings_the_old_table_back() {
    let world = world();
    let [a, b, c, d] = [1, 2, 3, 4].map(|number| site(&world, number));
    let old = table(&[&a, &b, &c]);
    import(&world, &old);
    let moved = Site { site_url: a.site_url.clone() + "?moved", ..a.clone() };
    change(&world, [&moved, &b, &d]);
    import(&world, &old);
    let expected = [(1, &a), (2, &b), (3, &c)].map(|(number, site)| (number, site.site_url.clone()));
    assert_eq!(stored(&world), expected);
}

/// A site that connected at cxnapp registers once more, changes nothing that is kept, and can leave.
#[test]
fn a_site_of_cxnapp_goes_on_with_the_secret_it_has() {
    let world = world();
    let site = Site { batch_code: Some(17), ..site(&world, 1) };
    import(&world, &table(&[&site]));
    assert_eq!(ask_directly(&world, &site, "register"), success(&site));
    assert!(world.export()[0].contains("\"batchCode\":17"), "{:?}", world.export());
    assert_eq!(ask_directly(&world, &site, "unregister"), success(&site));
    assert_eq!(stored(&world), []);
}
