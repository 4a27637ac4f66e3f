//! Which addresses and ports a run refuses to connect to.

use civisite::Site;
use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, code, json_lines, stderr};

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

    let output = world.run(&["call", &sites[0].cxn_id, "System.get"]);
    assert_eq!(code(&output), 3, "{output:?}");
    let explanation = world.text(&["explain", &sites[0].cxn_id, "--now", &now]);
    for text in [stderr(&output), explanation] {
        assert!(text.contains("--allow-net or `allow-net`"), "{text}");
    }
}

/// Commands that give an interface public addresses.
///
/// The second is a secondary one of the same network, to which Linux connects from the first.
const PUBLIC_ADDRESSES: &str = "ip address add 11.0.0.2/24 dev lo; ip address add 11.0.0.3/24 dev lo; \
                                ip route add unreachable 12.0.0.0/8";

#[test]
fn own_public_addresses_are_refused_unless_allowed() {
    let world = World::new();
    let hosts = ["11.0.0.2", "11.0.0.3", "[::ffff:11.0.0.3]", "12.0.0.1"];
    let site = |(number, host)| Site { site_url: format!("http://{host}:8080/"), ..world.site(number, "ok") };
    let sites: Vec<_> = (0..).zip(hosts).map(site).collect();
    world.import(&sites);
    let failures = |now: i64, more: &[&str]| {
        let poll = ["poll", APP, "--json", "--now", &now.to_string()];
        let output = world.run_in_namespace(PUBLIC_ADDRESSES, &[&poll, more].concat())?;
        assert_eq!(code(&output), 0, "{output:?}");
        Some(serde_json::from_slice::<Value>(&output.stdout).unwrap()["failures"].clone())
    };
    let Some(refused) = failures(MIDNIGHT, &[]) else { return };
    assert_eq!(refused, json!({"blocked": 3, "connect": 1}));
    let message = world.explain(&sites[1], MIDNIGHT)["lastOutcome"]["message"].clone();
    assert_eq!(message, "11.0.0.3 is an address of this machine; --allow-net would allow it");
    let allowed = failures(MIDNIGHT + 86_400, &["--allow-net", "11.0.0.0/24"]);
    assert_eq!(allowed, Some(json!({"connect": 4})));
}
