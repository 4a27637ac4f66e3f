//! `retry`.

use serde_json::{Value, json};

use crate::testkit::World;

#[test]
fn retry_shows_the_timeline_of_an_expression() {
    let world = World::new();
    let text = world.text(&["retry", "20MIN(x6);1 hour (x24)"]);
    assert!(text.starts_with("20 min (x6); 1 hour (x24)\n"), "{text}");
    let row = |n: usize| text.lines().nth(n).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!([row(3), row(4)], ["0 20 min 6 0 s 1 h 40 min", "1 1 hour 24 2 h 40 min 1 d 1 h"]);
    let drawn = text.lines().nth(6).unwrap();
    assert!(drawn.starts_with("0 ") && drawn.ends_with("1×") && drawn.matches('0').count() == 6, "{text}");
    assert_eq!(row(7), "0 2 h 40 min 1 d 1 h", "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("given up 1 d 1 h after its first failure"), "{text}");

    let endless = world.text(&["retry", "1 sec (x4000000000); 1 year (x*)"]);
    assert!(endless.lines().any(|line| line.starts_with("0 ") && line.ends_with('…')), "{endless}");

    let timeline = world.json(&["retry", "20 min (x6); 1 day (x*)", "--json"]);
    let levels = json!([
        {"level": 0, "period": "20 min", "times": 6, "first": 0, "last": 6000},
        {"level": 1, "period": "1 day", "times": null, "first": 92_400, "last": null},
    ]);
    assert_eq!((&timeline["levels"], &timeline["givesUpAfter"]), (&levels, &Value::Null));
    assert!(!world.store().exists());
}
