//! Connections that come back: with another secret, address or app.

use civisite::Site;
use serde_json::json;

use super::{exported_line, give_up, import, line};
use crate::testkit::{MIDNIGHT, World};

#[test]
fn given_up_site_is_new_after_it_reconnects() {
    let other = World::new().site(99, "ok").secret_base64;
    for (patch, state) in [
        (json!({"secret": other}), "new"),
        (json!({"siteUrl": "http://127.0.0.1:9/moved"}), "new"),
        (json!({}), "given-up"),
        (json!({"perm": {"a": 1}}), "given-up"),
        (json!({"appUrl": "https://other.example.org/"}), "given-up"),
        (json!({"viaPort": "127.0.0.1:9"}), "given-up"),
    ] {
        let world = World::with(["status-500"]);
        let site = world.site(0, "status-500");
        give_up(&world, &site);
        import(&world, &[], &[line(&site, &patch)]);
        let explained = world.explain(&site, MIDNIGHT + 60);
        assert_eq!(explained["state"], state, "{patch}");
        assert_eq!(explained["attempts"].as_array().unwrap().len(), 1, "its history stays: {patch}");
        assert_eq!(world.poll(MIDNIGHT + 60, &["--retry", "1 min (x1)"])["due"], u64::from(state == "new"), "{patch}");
        world.assert_sound();
    }
}

#[test]
fn retrying_site_keeps_its_state_when_it_reconnects() {
    let world = World::with(["status-500"]);
    world.poll(MIDNIGHT, &[]);
    let site = world.site(0, "ok");
    assert_eq!(import(&world, &[], &[line(&site, &json!({}))]), [0, 1, 0]);
    let explained = world.explain(&site, MIDNIGHT);
    assert_eq!((&explained["state"], &explained["pollCount"]), (&json!("retrying"), &json!(1)));
}

#[test]
fn change_of_app_starts_a_new_connection() {
    let world = World::new();
    let site = Site { batch_code: Some(4711), ..world.site(0, "status-500") };
    world.import(std::slice::from_ref(&site));
    world.poll(MIDNIGHT, &["--name", "nightly"]);
    give_up(&world, &site);

    let there = Site { app_id: "app:org.example.other".into(), batch_code: Some(1), ..site.clone() };
    assert_eq!(import(&world, &[], &[line(&there, &json!({}))]), [0, 1, 0]);
    let exported = exported_line(&world, &site);
    assert_eq!((&exported["appId"], &exported["batchCode"]), (&json!("app:org.example.other"), &json!(4711)));
    assert_eq!(exported.get("pollStatus"), None);
    assert_eq!(world.explain(&site, MIDNIGHT)["state"], "new");
    assert_eq!(world.poll(MIDNIGHT + 86_400, &["--name", "nightly"])["due"], 0);

    // The way back does not restore the old status.
    assert_eq!(import(&world, &[], &[line(&site, &json!({}))]), [0, 1, 0]);
    let back = world.explain(&site, MIDNIGHT);
    assert_eq!((&back["state"], &back["attempts"]), (&json!("new"), &json!([])));
    assert_eq!(exported_line(&world, &site)["batchCode"], 4711);
    assert_eq!(world.poll(MIDNIGHT + 86_400, &["--name", "nightly"])["due"], 1);
    world.assert_sound();
}
