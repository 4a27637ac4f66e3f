//! Faults of this machine, its network or its configuration: no site is charged.

use std::fs;
use std::net::TcpListener;

use super::front::{Reply, insecure, page};
use super::outage::{
    ADDRESSES, HTTPS, NAME_SERVERS, OUTAGE, OUTAGE_OR_CONFIG, Outage, SITES_NET, append_listener, close_all, fake_time,
    outages, portal_page, redirect,
};
use crate::testkit::name_server::Answer;
use crate::testkit::namespace::set_port_range;

outages! {
    /// Nothing listens.
    every_connection_is_refused: Outage {
        breaks: close_all,
        cause: &["network"],
        words: &[&["network"], &["{n}"]],
        is_network: true,
        ..OUTAGE
    };
    /// EHOSTUNREACH at once.
    no_route_to_any_host: Outage {
        breaks: |scene| scene.network.route("unreachable", SITES_NET),
        cause: &["network", "no-route"],
        words: &[&["network", "route"], &["{n}"]],
        is_network: true,
        ..OUTAGE
    };
    /// Connecting times out everywhere.
    no_packet_comes_back: Outage {
        breaks: |scene| scene.network.route("dev lo", SITES_NET),
        arguments: &["--timeout", "2"],
        cause: &["network"],
        words: &[&["network"], &["{n}"]],
        is_network: true,
        ..OUTAGE
    };
    /// EACCES at once.
    firewall_forbids_to_connect: Outage {
        breaks: |scene| scene.network.route("prohibit", SITES_NET),
        cause: &["firewall"],
        words: &[&["this machine", "permission"], &["firewall"]],
        ..OUTAGE
    };
    /// Nothing is on port 53 of the name server.
    no_name_server_listens: Outage {
        breaks: |scene| scene.names.stop(),
        ..NAME_SERVERS
    };
    /// SERVFAIL to every question.
    name_server_fails: Outage {
        breaks: |scene| scene.names.answer(|_| Answer::Failure),
        ..NAME_SERVERS
    };
    /// NXDOMAIN to every question.
    name_server_knows_no_name: Outage {
        breaks: |scene| scene.names.answer(|_| Answer::Unknown),
        ..NAME_SERVERS
    };
    /// No answer.
    name_server_is_silent: Outage {
        breaks: |scene| scene.names.answer(|_| Answer::Silence),
        arguments: &["--timeout", "4"],
        ..NAME_SERVERS
    };
    /// A server listens there, but no connection to it is made.
    all_names_are_one_private_address: Outage {
        breaks: |scene| scene.names.answer(|_| Answer::Address([10, 0, 0, 1].into())),
        cause: &["same-address"],
        words: &[&["10.0.0.1"], &["same address", "one address", "same private address"]],
        ..OUTAGE
    };
    /// The target is one host, with each site's own URL in the query.
    portal_redirects_to_its_page: Outage {
        breaks: |scene| scene.front.reply(|request| redirect("302 Found", &request.url)),
        cause: &["captive-portal"],
        words: &[&["login.portal.example"], &["captive portal", "proxy"]],
        ..OUTAGE
    };
    /// An HTML page with status 511.
    portal_requires_authentication: Outage {
        breaks: |scene| scene.front.reply(|_| {
            Reply::Http(page("511 Network Authentication Required", "Login", "Please log in."))
        }),
        cause: &["captive-portal"],
        words: &[&["511"], &["network authentication", "captive portal", "login"]],
        is_network: true,
        ..OUTAGE
    };
    /// Status 200, and bodies that differ.
    portal_answers_with_its_page: Outage {
        breaks: |scene| scene.front.reply(|request| portal_page(&request.url)),
        cause: &["captive-portal"],
        words: &[&["Hotel Seaview Wi-Fi"]],
        ..OUTAGE
    };
    /// `SSL_CERT_FILE` is an empty file.
    ca_bundle_is_empty: Outage {
        breaks: |scene| {
            scene.authorities = "empty.pem";
            fs::write(scene.world.path("empty.pem"), "").unwrap();
        },
        exit: OUTAGE_OR_CONFIG,
        cause: &["ca-certificates"],
        words: &[&["CA certificates"], &["empty.pem"], &["ca-certificates", "install"]],
        ..HTTPS
    };
    /// The certificates of the sites are valid for another 110 days.
    clock_is_400_days_ahead needs "faketime": Outage {
        breaks: |scene| fake_time(scene, "+400d"),
        cause: &["clock"],
        words: &[&["clock"], &["certificate", "days ahead"]],
        ..HTTPS
    };
    /// Sites reject messages that have expired, with the right `Date`.
    clock_is_3_hours_behind needs "faketime": Outage {
        breaks: |scene| fake_time(scene, "-3h"),
        cause: &["clock"],
        words: &[&["clock"], &["3 hours", "3 h", "180 min"], &["behind", "slow"]],
        ..OUTAGE
    };
    /// Replies have expired when they arrive, with the right `Date`.
    clock_is_3_hours_ahead needs "faketime": Outage {
        breaks: |scene| fake_time(scene, "+3h"),
        cause: &["clock"],
        words: &[&["clock"], &["3 hours", "3 h", "180 min"], &["ahead", "fast"]],
        ..OUTAGE
    };
    /// Another program has bound all ports.
    no_local_port_is_left: Outage {
        breaks: |scene| {
            set_port_range("40000\t40004");
            scene.held_ports = (40000..=40004).map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap()).collect();
        },
        cause: &["no-local-port"],
        words: &[&["local port"], &["ip_local_port_range", "ss ", "TIME_WAIT"]],
        ..ADDRESSES
    };
    /// The run may also take fewer workers and poll all.
    too_many_open_files: Outage {
        breaks: |scene| {
            scene.front.reply(|_| Reply::SlowSite(150));
            let limited = r#"ulimit -n 100; for fd in {10..86}; do eval "exec $fd</dev/null"; done; exec "$@""#;
            scene.starter = ["bash", "-c", limited, "bash"].map(str::to_owned).to_vec();
        },
        exit: &[69, 0],
        cause: &["open-files"],
        words: &[&["open files"]],
        ..ADDRESSES
    };
    /// With a short page.
    all_sites_answer_403: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::Http(page("403 Forbidden", "Forbidden", "Go away."))),
        exit: OUTAGE_OR_CONFIG,
        cause: &["refused", "same-answer"],
        words: &[&["403"], &["{n}"], &["blocked", "block"]],
        ..OUTAGE
    };
    /// Status 400 with an unencrypted message.
    all_sites_distrust_our_messages: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::Http(insecure("Invalid appCert"))),
        exit: OUTAGE_OR_CONFIG,
        cause: &["distrusted"],
        words: &[&["400"], &["Invalid appCert"], &["{n}"], &["certificate"], &["secret"]],
        ..OUTAGE
    };
    /// A program that returns an error.
    listener_fails_at_every_site: Outage {
        breaks: |scene| {
            let script = r#"read -r event; echo "{\"error\":\"KeyError: version\"}""#;
            append_listener(&scene.world, script);
        },
        exit: OUTAGE_OR_CONFIG,
        cause: &["listener"],
        words: &[&["KeyError: version"], &["listener", "job"]],
        ..OUTAGE
    };
    /// `is_error`, with a text.
    api_refuses_us_at_every_site: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("api-error")),
        exit: OUTAGE_OR_CONFIG,
        cause: &["api"],
        words: &[&["API permission check failed"], &["{n}"]],
        ..OUTAGE
    };
}
