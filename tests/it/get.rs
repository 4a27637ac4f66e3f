//! `get`.

use civisite::Site;
use serde_json::json;

use crate::testkit::{APP, World, assert_no_secret, short_id};

#[test]
fn get_lists_connections_without_secrets() {
    let world = World::new();
    let plain = Site { batch_code: Some(17), perm: Some(json!({"a": 1})), ..world.site(0, "ok") };
    let other = world.site(1, "ok");
    let mut line = serde_json::to_value(&other).unwrap();
    line["viaPort"] = json!("proxy.example.org:8080");
    line["disabled"] = json!(true);
    world.import_text(&format!("{}\n{line}", plain.jsonl()));

    let table = world.text(&["get"]);
    let header = table.lines().next().unwrap();
    assert!(header.starts_with("CXN ") && header.contains("BATCH CODE"), "{table}");
    let row = |site: &Site| table.lines().find(|row| row.starts_with(&site.cxn_id)).unwrap().to_owned();
    assert_eq!(
        row(&plain).split_whitespace().collect::<Vec<_>>(),
        [&plain.cxn_id, APP, &plain.site_url, "17"],
        "no job has run"
    );
    assert!(row(&other).contains(" via proxy.example.org:8080 ") && row(&other).ends_with("disabled"), "{table}");
    assert_eq!(table.lines().count(), 3);

    let listed = world.text(&["get", "--json"]);
    assert_eq!(listed.lines().count(), 2);
    let expected = json!({
        "cxnId": plain.cxn_id, "appId": plain.app_id, "appUrl": plain.app_url, "siteUrl": plain.site_url,
        "perm": {"a": 1}, "viaPort": null, "batchCode": 17, "disabled": false, "states": {},
    });
    for name in [plain.cxn_id.as_str(), short_id(&plain)] {
        assert_eq!(world.json(&["get", name, "--json"]), expected);
        assert_eq!(world.json(&["cxn:get", name, "--json"]), expected);
        assert_eq!(world.text(&["get", name]).lines().count(), 2);
    }
    for site in [&plain, &other] {
        assert_no_secret(site, &table);
        assert_no_secret(site, &listed);
    }
}
