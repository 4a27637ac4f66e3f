//! `results`.

use serde_json::{Value, json};

use crate::listeners::{configure, latest};
use crate::testkit::{MIDNIGHT, World, code, short_id};

#[test]
fn results_are_listed_shown_and_removed() {
    let world = World::with(["ok", "api-error"]);
    configure(
        &world,
        "[results]\nfailures = 1\nall = 2\n[[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{ api = \"System.get\" }]\n",
    );
    for day in 0..4 {
        world.poll(MIDNIGHT + day * 86_400, &["--retry", "1 day (x*)"]);
    }
    let site = world.site(0, "ok");
    let ok = &site.cxn_id;
    let lines = |arguments: &[&str]| world.text(arguments).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&["results"]).len(), 3);
    assert_eq!(lines(&["results", ok]).len(), 3);
    assert_eq!(lines(&["results", "--json"]).len(), 3);
    let at = (MIDNIGHT + 2 * 86_400).to_string();
    let shown: Value = serde_json::from_str(&lines(&["results", short_id(&site), "--at", &at])[0]).unwrap();
    assert_eq!(shown["value"]["System.get"]["values"][0]["uf"], "Drupal8");
    let failed = world.site(1, "api-error").cxn_id;
    let shown: Value = world.json(&["results", &failed, "--latest"]);
    assert_eq!((&shown["class"], &shown["at"]), (&json!("api"), &json!(MIDNIGHT + 3 * 86_400)));
    assert!(lines(&["results", "--app", "org.example.other", "--json"]).is_empty());

    assert_eq!(code(&world.run(&["results", "--remove"])), 2);
    assert_eq!(code(&world.run(&["results", "--remove", "--all"])), 2);
    assert_eq!(code(&world.run(&["results", "--remove", ok])), 0);
    assert_eq!(latest(&world).len(), 1);
    assert_eq!(code(&world.run(&["results", ok])), 66);
    assert_eq!(code(&world.run(&["results", "--remove", "--all", "--yes"])), 0);
    assert!(latest(&world).is_empty());
    world.assert_sound();
}
