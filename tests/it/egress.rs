//! Which ports a run refuses to connect to.

use civisite::Site;
use serde_json::json;

use crate::testkit::{APP, MIDNIGHT, World, json_lines};

/// The ports that browsers refuse (<https://fetch.spec.whatwg.org/#port-blocking>), and port 0.
const REFUSED_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
    5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

#[test]
fn ports_of_other_services_are_refused() {
    let world = World::new();
    let sites: Vec<_> = (0..)
        .zip(REFUSED_PORTS)
        .map(|(number, port)| Site { site_url: format!("http://127.0.0.1:{port}/"), ..world.site(number, "ok") })
        .collect();
    world.import(&sites);
    let now = MIDNIGHT.to_string();
    let summary = world.json(&["poll", APP, "--json", "--per-host", "64", "--now", &now]);
    assert_eq!(summary["failures"], json!({"blocked": REFUSED_PORTS.len()}), "{summary}");
    let failed = json_lines(&world.text(&["get", "--failure", "blocked", "--json"]));
    assert_eq!(failed.len(), REFUSED_PORTS.len());
}
