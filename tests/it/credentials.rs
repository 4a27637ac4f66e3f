//! User names and passwords in URLs.

use std::fs;

use civisite::Site;

use crate::testkit::{APP, MIDNIGHT, World, code, stderr, stdout};

/// Makes a site whose URLs have a user name and a password.
fn protected(site: Site) -> Site {
    let [site_url, app_url] = [&site.site_url, &site.app_url].map(|url| url.replace("//", "//jo:sesame@"));
    Site { site_url, app_url, ..site }
}

#[test]
fn no_command_but_an_export_shows_credentials() {
    let world = World::new();
    world.append_config(&format!(
        "[[listeners]]\nevent = \"app:{APP}:job=default:poll\"\nprogram = [\"sh\", \"listener.sh\"]\n"
    ));
    let script = r#"
read -r event
echo "{\"keep\":$event}"
echo "$event" | grep -o '"siteUrl":"[^"]*"' >&2
echo '{"ok":true}'
"#;
    fs::write(world.path("listener.sh"), script).unwrap();
    world.import(&[protected(world.site(0, "ok")), protected(world.site(1, "status-500"))]);
    let (id, now) = (world.site(0, "ok").cxn_id, MIDNIGHT.to_string());
    for arguments in [
        &["poll", APP, "--dry-run"][..],
        &["poll", APP, "--dry-run", "--json"],
        &["poll", APP, "--now", &now, "-vv", "--log-file", "log"],
        &["poll", APP, "--name", "other", "--now", &now, "-vv", "--log-file", "log", "--log-format", "json"],
        &["get"],
        &["get", "--json"],
        &["explain", &id],
        &["explain", &id, "--json"],
        &["plan", "--retry", "1 hour (x2)", "--now", &now],
        &["plan", "--retry", "1 hour (x2)", "--now", &now, "--json"],
        &["event", APP, "--cxn", &id],
        &["call", &id, "System.get", "-vv"],
        &["results", "--app", APP],
        &["results", &id, "--latest", "--json"],
        &["disable", "--all", "--dry-run"],
        &["remove", "--all", "--dry-run", "--json"],
        &["store", "check", "--json"],
        &["export", "--redact"],
    ] {
        let output = world.run(arguments);
        let text = stdout(&output) + &stderr(&output);
        assert!(code(&output) != 2 && !text.contains("sesame"), "{arguments:?}: {text}");
    }
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(log.contains("\"siteUrl\":\"http://127.0.0.1:") && !log.contains("sesame"), "{log}");
    assert!(world.text(&["results", &id, "--latest"]).contains("siteUrl"));
    assert!(world.export().iter().all(|line| line.contains("//jo:sesame@")));
}
