//! A site that connects with the unmodified PHP library, through Apache and nginx.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::scene::{APP, site, world};
use super::server::{Kind, WebServer};
use super::{ENDPOINT, World};
use crate::testkit::tools;

/// A process of PHP that is a site.
struct Site {
    php: Child,
    replies: BufReader<ChildStdout>,
}

impl Site {
    /// Starts a site. Without a connection, the library makes one.
    fn start(library: &OsStr, server: &WebServer, site_url: &str, cxn: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/php/site.php");
        let metadata = format!("http://{}{ENDPOINT}/metadata.json", server.addr);
        let mut php = Command::new("php");
        php.args(["-d", "display_errors=stderr", script]).arg(library).args([&metadata, site_url, cxn]);
        let mut php = php.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let replies = BufReader::new(php.stdout.take().unwrap());
        Self { php, replies }
    }

    fn ask(&mut self, request: &str) -> Value {
        writeln!(self.php.stdin.as_mut().unwrap(), "{request}").unwrap();
        let mut reply = String::new();
        self.replies.read_line(&mut reply).unwrap();
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply}"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.php.stdin.take());
        let _ = self.php.wait();
    }
}

/// `CXNPOLL_CXN_RPC` names the file that loads the library.
#[test]
#[ignore = "needs the PHP library; tests/registration.sh runs it"]
fn the_php_library_connects_is_polled_and_leaves() {
    let Some(library) = env::var_os("CXNPOLL_CXN_RPC") else {
        return tools::skip("CXNPOLL_CXN_RPC does not name the PHP library");
    };
    for kind in [Kind::Apache, Kind::Nginx] {
        if !tools::require("php") || !kind.is_there() {
            continue;
        }
        let world = world();
        let server = kind.start(world.dir.path(), 4);
        // The library uses the URL in the metadata.
        let url = format!("http://{}{ENDPOINT}", server.addr);
        world.set_config(&world.config().replace("https://app.example.org/cxn/org.example.poll/cxn", &url));
        check(&world, &server, &library);
        println!("{kind:?}: the PHP library connected, was polled, asked for a link, and left");
    }
}

fn check(world: &World, server: &WebServer, library: &OsStr) {
    let simulated = site(world, 1);
    let mut own = Site::start(library, server, &simulated.site_url, "");
    let reply = own.ask("register");
    assert_eq!(reply["is_error"], 0, "{reply}\n{}", server.log());
    assert_eq!(world.export().len(), 1);
    assert_eq!(own.ask("register"), reply);
    assert_eq!(own.ask("unregister"), reply);
    assert_eq!(world.export().len(), 0);

    // With the secret of a simulated site, which is polled.
    let mut site = Site::start(library, server, &simulated.site_url, &simulated.registered().to_string());
    let done = json!({"is_error": 0, "values": {"cxn_id": simulated.cxn_id}});
    assert_eq!(site.ask("register"), done);
    world.json(&["poll", APP, "--json"]);
    assert_eq!((world.server.polls(1), world.server.rejected()), (1, 0));
    let link = site.ask("getlink settings");
    assert!(link["values"]["url"].as_str().is_some_and(|url| url.contains("/settings?cxnToken=")), "{link}");
    let refused = site.ask("getlink nosuch");
    assert!(refused["is_error"] == 1 && refused["error_message"].is_string(), "{refused}");
    assert_eq!(site.ask("unregister"), done);
    assert_eq!(world.export().len(), 0);
}
