//! `set`.

use serde_json::{Value, json};

use crate::testkit::{MIDNIGHT, World, assert_quiet, stderr};

#[test]
fn set_changes_what_it_shows() {
    let world = World::with(["ok"]);
    let site = world.site(0, "ok");
    let cxn = site.cxn_id.as_str();
    let before = world.export();
    let url = "https://jo:sesame@site.example/a?q=b";
    let from = site.site_url.as_str();
    let expected = json!({"cxnId": cxn, "changes": [
        {"key": "siteUrl", "from": from, "to": "https://site.example/a?q=b"},
        {"key": "viaPort", "from": null, "to": "127.0.0.1:80"},
    ]});
    let change = ["set", cxn, &format!("siteUrl={url}"), "viaPort=127.0.0.1:80", "--json"];
    assert_eq!(world.json(&[&change[..], &["--dry-run"]].concat()), expected);
    let shown = world.text(&["set", cxn, "viaPort=127.0.0.1:80", "--dry-run"]);
    assert_eq!(shown, format!("{cxn}  viaPort  none → 127.0.0.1:80\n"));
    assert_eq!(world.export(), before);
    assert_eq!(world.json(&change), expected);
    let line: Value = serde_json::from_str(&world.export()[0]).unwrap();
    assert_eq!((&line["siteUrl"], &line["viaPort"]), (&json!(url), &json!("127.0.0.1:80")));
    let last = world.explain(&site, MIDNIGHT)["adminActions"][1].clone();
    let detail = format!("siteUrl {from} → https://site.example/a?…; viaPort none → 127.0.0.1:80");
    assert_eq!((&last["action"], &last["detail"]), (&json!("set"), &json!(detail)));

    assert_eq!(world.json(&change)["changes"], json!([]));
    assert!(stderr(&world.run(&[&change[..4], &["-v"]].concat())).contains("nothing to change"));
    assert_eq!(world.explain(&site, MIDNIGHT)["adminActions"].as_array().unwrap().len(), 2);
    assert_quiet(&world.run(&["set", cxn, "viaPort="]));
    let line: Value = serde_json::from_str(&world.export()[0]).unwrap();
    assert_eq!((&line["siteUrl"], &line["viaPort"]), (&json!(url), &Value::Null));
    world.assert_sound();
}

#[test]
fn set_refuses_what_an_import_would() {
    let world = World::with(["ok"]);
    let cxn = world.site(0, "ok").cxn_id;
    let before = world.export();
    for (setting, expected) in [
        ("siteurl=https://site.example/", "hint: did you mean siteUrl?"),
        ("secret=sesame", "hint: import the connection to change it"),
        ("siteUrl=jo:sesame@site.example", "siteUrl is not a URL of http or https"),
        ("siteUrl=", "siteUrl is empty"),
        ("viaPort=sesame", "viaPort is not host:port"),
        ("sesame", "is not KEY=VALUE"),
    ] {
        let message = world.refused(2, &["set", &cxn, setting]);
        assert!(message.contains(expected) && !message.contains("sesame"), "{message}");
    }
    world.refused(66, &["set", "cxn:none", "viaPort="]);
    assert_eq!(world.export(), before);
}

#[test]
fn a_new_site_url_revives_a_given_up_site() {
    let world = World::with(["status-500", "status-500"]);
    world.poll(MIDNIGHT, &["--retry", "1 hour (x1)"]);
    let [first, second] = [0, 1].map(|number| world.site(number, "status-500"));
    assert_quiet(&world.run(&["set", &first.cxn_id, &format!("siteUrl={}", world.site(0, "ok").site_url)]));
    assert_quiet(&world.run(&["set", &second.cxn_id, "viaPort=127.0.0.1:9"]));
    assert_eq!(world.explain(&first, MIDNIGHT)["state"], "new");
    assert_eq!(world.explain(&second, MIDNIGHT)["state"], "given-up");
    world.assert_sound();
}
