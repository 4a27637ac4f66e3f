//! How many connections a run makes, and what it does where servers close them.

use std::fs;

use civisite::{Behaviour, Site};
use serde_json::json;

use crate::listeners::configure;
use crate::testkit::{MIDNIGHT, World};

/// A listener with five calls.
const FIVE_CALLS: &str = "[[listeners]]\nevent = \"civi_cxn.poll\"\ncalls = [\n  { api = \"System.get\" }, \
    { api = \"Setting.get\" }, { api = \"Contact.get\" }, { api = \"Event.get\" }, { api = \"System.get\" },\n]\n";

/// Imports sites with this behaviour that keep connections open, each on an address of its own.
fn on_own_hosts(count: u32, behaviour: Behaviour, keep: &str) -> World {
    let world = World::on_all_addresses();
    import(&world, (0..count).map(|number| world.site_on_own_host(number, behaviour)), keep);
    world
}

/// Imports sites, with `keep` or `keep=<ms>` in their URLs.
fn import(world: &World, sites: impl IntoIterator<Item = Site>, keep: &str) {
    let keeping = |site: Site| Site { site_url: format!("{}?{keep}", site.site_url), ..site };
    world.import(&sites.into_iter().map(keeping).collect::<Vec<_>>());
}

#[test]
fn calls_of_a_poll_use_one_connection() {
    let world = on_own_hosts(50, Behaviour::Ok, "keep");
    configure(&world, FIVE_CALLS);
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 50);
    assert_eq!((world.server.connections(), world.server.total()), (50, 250));
}

#[test]
fn sites_of_one_host_use_the_same_connections() {
    for (listeners, calls) in [("", 50), (FIVE_CALLS, 250)] {
        let world = World::new();
        import(&world, world.sites(["ok"; 50]), "keep");
        configure(&world, listeners);
        assert_eq!(world.poll(MIDNIGHT, &["--per-host", "4"])["ok"], 50);
        assert_eq!(world.server.total(), calls);
        let (all, at_once) = (world.server.connections(), world.server.max_connections());
        // The server may see the end of a connection only after the next one has begun.
        assert!(all <= 16 && at_once < 8, "{all} connections, {at_once} at once");
    }
}

#[test]
fn a_server_that_closes_idle_connections_causes_no_failure() {
    let world = on_own_hosts(20, Behaviour::Ok, "keep=100");
    let call = "echo '{\"call\":\"System.get\"}'; read -r reply";
    fs::write(world.path("pause.sh"), format!("read -r event\n{call}\nsleep 0.3\n{call}\necho '{{\"ok\":true}}'"))
        .unwrap();
    configure(&world, "[[listeners]]\nevent = \"civi_cxn.poll\"\nprogram = [\"sh\", \"pause.sh\"]\n");
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 20);
    assert_eq!((world.server.connections(), world.server.total()), (40, 40));
}

#[test]
fn a_message_that_is_not_answered_is_not_sent_again() {
    let world = on_own_hosts(30, Behaviour::CloseAfter(2), "keep");
    configure(&world, FIVE_CALLS);
    assert_eq!(world.poll(MIDNIGHT, &[])["failures"], json!({"disconnected": 30}));
    assert_eq!(world.server.connections(), 30);
    assert!((0..30).all(|number| world.server.polls(number) == 3));
}
