//! Filters: which connections a command selects.

use crate::testkit::{APP, code, samples, stderr};

#[test]
fn each_filter_selects_its_connections() {
    let world = samples::every_state();
    for (filter, expected) in [
        (&[][..], &[0, 1, 2, 3, 4, 5][..]),
        (&["--state", "healthy"], &[0, 1]),
        (&["--state", "given-up"], &[2]),
        (&["--state", "retrying"], &[3]),
        (&["--state", "deferred"], &[4]),
        (&["--state", "new"], &[5]),
        (&["--state", "new,given-up"], &[2, 5]),
        (&["--failure", "http"], &[2, 3, 4]),
        (&["--failure", "http", "--state", "retrying,given-up"], &[2, 3]),
        (&["--failure", "tls"], &[]),
        (&["--app", "org.example.other"], &[5]),
        (&["--app", APP, "--url", "*/OK"], &[0, 1]),
        (&["--url", "*status-5*"], &[2]),
        (&["--url", "https://new.example.org/civicrm?q=*"], &[5]),
        (&["--host", "127.0.0.1"], &[0, 1, 2, 3, 4]),
        (&["--host", "*.EXAMPLE.org"], &[5]),
        (&["--host", "example.org"], &[]),
        (&["--older-than", "5 sec"], &[0, 1, 2, 3, 4]),
        (&["--older-than", "1 hour"], &[]),
        (&["--name", "default", "--state", "new"], &[]),
        (&["--failing-since", "10s"], &[2, 3]),
        (&["--failing-since", "11s"], &[2]),
        (&["--failing-since", "2026-01-01T00:00:00Z"], &[2]),
        (&["--failing-since", "2d"], &[]),
        (&["--failing-since", "10s", "--state", "retrying"], &[3]),
        (&["--failing-since", "10s", "--name", "default", "--app", "org.example.other"], &[]),
    ] {
        assert_eq!(samples::selected(&world, filter), expected.iter().copied().collect(), "{filter:?}");
    }
    let [healthy, given_up] = [world.site(0, "ok").cxn_id, world.site(2, "ok").cxn_id];
    assert_eq!(samples::selected(&world, &[&healthy, &given_up, "--state", "healthy"]), [0].into());
    assert_eq!(samples::selected(&world, &[&healthy, &given_up, "--failing-since", "10s"]), [2].into());
    let table = world.text(&["get", "--state", "given-up", "--now", samples::NOW]);
    assert!(table.lines().count() == 2 && table.contains("  given-up  "), "{table}");
}

#[test]
fn mistyped_filter_is_refused_with_a_suggestion() {
    let world = samples::every_state();
    for (filter, expected) in [
        (&["--state", "given-op"][..], "did you mean given-up?"),
        (&["--failure", "timeuot"], "did you mean timeout?"),
        (&["--older-than", "old"], "expected a time such as '90 day'"),
        (&["--older-than", "1 day; 2 day"], "expected a time such as '90 day'"),
        (&["--older-than", "0d"], "expected a time such as '90 day'"),
        (&["--failing-since", "0d"], "expected more than 0 seconds"),
        (&["--failing-since=-7d"], "expected a duration such as"),
    ] {
        let output = world.run(&[&["get"], filter].concat());
        assert_eq!(code(&output), 2, "{output:?}");
        assert!(stderr(&output).contains(expected), "{output:?}");
    }
    assert_eq!(code(&world.run(&["get", "--app", "org.example.unknown"])), 66);
    assert_eq!(code(&world.run(&["disable", "cxn:unknown"])), 66);
    assert_eq!(code(&world.run(&["get", "--name", "defualt"])), 66);
}
