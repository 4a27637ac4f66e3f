//! User names, passwords and queries in URLs.

use std::fs;

use civisite::Site;

use crate::follow::redirector;
use crate::testkit::{APP, MIDNIGHT, World, code, stderr, stdout};

/// Makes a site whose URLs have a user name and a password, and a key in the query.
fn protected(site: Site) -> Site {
    let [site_url, app_url] = [&site.site_url, &site.app_url].map(|url| url.replacen("//", "//jo:sesame@", 1));
    Site { site_url: site_url + "?key=xyzzy", app_url, ..site }
}

#[test]
fn only_an_export_shows_credentials_and_what_is_passed_on_has_no_query() {
    let world = World::new();
    world.append_config(&format!(
        "[notify]\ncommand = [\"sh\", \"-c\", \"cat >> messages\"]\n[[listeners]]\nevent = \
         \"app:{APP}:job=default:poll\"\nprogram = [\"sh\", \"listener.sh\"]\n"
    ));
    let script = r#"
read -r event
echo "{\"keep\":$event}"
echo "$event" | grep -o '"siteUrl":"[^"?]*' >&2
echo '{"ok":true}'
"#;
    fs::write(world.path("listener.sh"), script).unwrap();
    let [ok, failing, mut moved] =
        [(0, "ok"), (1, "status-500"), (2, "ok")].map(|(number, behaviour)| world.site(number, behaviour));
    moved.site_url = format!("{}301/{}", redirector(), moved.site_url);
    let [id, moved_id] = [&ok, &moved].map(|site| site.cxn_id.clone());
    world.import(&[protected(ok), protected(failing), protected(moved)]);
    let now = MIDNIGHT.to_string();
    let new_url = "siteUrl=https://jo:sesame@new.example/?key=xyzzy";
    for arguments in [
        &["poll", APP, "--dry-run"][..],
        &["poll", APP, "--now", &now, "-vv", "--log-file", "log"],
        &["poll", APP, "--name", "other", "--now", &now, "-vv", "--log-file", "log", "--log-format", "json"],
        &["get"],
        &["get", "--columns", "site,host,message"],
        &["status"],
        &["explain", &id],
        &["explain", &moved_id, "--name", "other"],
        &["explain", &moved_id, "--name", "other", "--json"],
        &["plan", "--retry", "1 hour (x2)", "--now", &now],
        &["call", &id, "System.get", "-vv"],
        &["results", "--app", APP],
        &["results", "--table", "cxn.appId"],
        &["report", "--now", &now],
        &["set", &id, new_url, "--dry-run"],
        &["set", &id, "siteUrl=sesame?xyzzy", "--dry-run"],
        &["follow", &moved_id, "--name", "other", "--dry-run"],
        &["follow", &id, "--dry-run"],
        &["disable", "--all", "--dry-run"],
        &["remove", "--all", "--dry-run"],
        &["doctor"],
        &["store", "check", "--json"],
        &["export", "--redact"],
    ] {
        let output = world.run(arguments);
        let text = stdout(&output) + &stderr(&output);
        assert!(!text.contains("sesame"), "{arguments:?}: {text}");
        assert!(code(&output) != 2 || arguments[0] == "set", "{arguments:?}: {text}");
    }
    world.text(&["set", &id, "siteUrl=http://jo:sesame@127.0.0.1:1/?key=xyzzy", "--yes"]);
    let passed_on = [&["report", "--now", &now, "--format", "html"][..], &["export", "--history"]];
    let passed_on = passed_on.map(|arguments| stdout(&world.run(arguments)));
    let files = ["log", "messages"].map(|file| {
        let text = fs::read_to_string(world.path(file)).unwrap();
        // The message of a redirect to the same query has it.
        text.lines().filter(|line| !line.contains("redirected (301")).collect::<Vec<_>>().join("\n")
    });
    for text in passed_on.into_iter().chain(files) {
        assert!(text.contains("http://127.0.0.1:") && text.contains("?…"), "{text}");
        assert!(!text.contains("sesame") && !text.contains("xyzzy"), "{text}");
    }
    for arguments in [
        &["poll", APP, "--name", "third", "--dry-run", "--json"][..],
        &["get", "--json"],
        &["plan", "--retry", "1 hour (x2)", "--now", &now, "--json"],
        &["event", APP, "--cxn", &id],
        &["results", &id, "--latest", "--json"],
        &["results", "--table", "cxn.appId", "--json"],
        &["results", "--table", "cxn.appId", "--csv"],
        &["report", "--now", &now, "--format", "json"],
        &["report", "--now", &now, "--format", "csv"],
        &["set", &id, new_url, "--dry-run", "--json"],
        &["follow", &moved_id, "--name", "other", "--dry-run", "--json"],
        &["remove", "--all", "--dry-run", "--json"],
    ] {
        let text = stdout(&world.run(arguments));
        assert!(text.contains("?key=xyzzy") && !text.contains("sesame"), "{arguments:?}: {text}");
    }
    assert!(world.export().iter().all(|line| line.contains("//jo:sesame@") && line.contains("?key=xyzzy")));
}
