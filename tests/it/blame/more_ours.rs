//! More faults of this machine: other numbers of sites, other networks, other answers.

use std::fs;

use super::front::{Reply, http, page};
use super::name_server::Answer;
use super::outage::{
    HTTPS, OUTAGE, OUTAGE_OR_CONFIG, Outage, SITES_NET, close_all, fake_time, outages, outages_of_sizes,
};
use super::scene::{Layout, NAMES, Urls, ipv4, ipv6, number};

const NETWORK: Outage = Outage { cause: &["network"], words: &[&["network"]], is_network: true, ..OUTAGE };
const REFUSED: Outage = Outage { breaks: close_all, ..NETWORK };
const UNKNOWN_NAMES: Outage = Outage {
    breaks: |scene| scene.names.answer(|_| Answer::Unknown),
    cause: &["name-servers"],
    words: &[&["resolv.conf"]],
    ..OUTAGE
};
const FORBIDDEN: Outage = Outage {
    breaks: |scene| scene.front.reply(|_| Reply::Http(page("403 Forbidden", "Forbidden", "Go away."))),
    exit: OUTAGE_OR_CONFIG,
    cause: &["refused", "same-answer"],
    words: &[&["403"], &["{n}"]],
    ..OUTAGE
};
/// A status that all sites answer, with a page.
const SAME_ANSWER: Outage = Outage { exit: OUTAGE_OR_CONFIG, cause: &["refused", "same-answer"], ..OUTAGE };

outages_of_sizes! {
    every_connection_is_refused, three_sites 3, twelve_sites 12, two_hundred_sites 200: REFUSED;
    every_connection_is_refused_to_one_thread, sixty_sites 60, five_sites 5:
        Outage { arguments: &["--threads", "1"], ..REFUSED };
    every_connection_is_refused_to_many_threads, sixty_sites 60:
        Outage { arguments: &["--threads", "500"], ..REFUSED };
    no_name_is_known, three_sites 3, twelve_sites 12, two_hundred_sites 200: UNKNOWN_NAMES;
    no_name_is_known_to_one_thread, sixty_sites 60: Outage { arguments: &["--threads", "1"], ..UNKNOWN_NAMES };
    all_sites_answer_403, three_sites 3, nine_sites 9, eleven_sites 11, two_hundred_sites 200: FORBIDDEN;
    all_sites_answer_403_to_one_thread, sixty_sites 60, five_sites 5:
        Outage { arguments: &["--threads", "1"], ..FORBIDDEN };
    all_slow_sites_answer_403, sixty_sites 60:
        Outage { breaks: |scene| scene.front.reply(|request| {
            std::thread::sleep(std::time::Duration::from_millis(u64::from(request.site) * 7 % 200));
            Reply::Http(page("403 Forbidden", "Forbidden", "Go away."))
        }), ..FORBIDDEN };
}

outages! {
    /// ENETUNREACH: the cable is unplugged.
    network_is_unreachable: Outage {
        breaks: |scene| scene.network.route("throw", SITES_NET),
        cause: &["network", "no-route"],
        words: &[&["network", "route"]],
        ..NETWORK
    };
    /// EHOSTUNREACH for IPv6 addresses.
    no_route_to_ipv6_sites: Outage {
        layout: Layout { address: ipv6, ..NAMES },
        breaks: |scene| scene.network.route("unreachable", "2a00:1::/40"),
        cause: &["network", "no-route"],
        words: &[&["network", "route"]],
        ..NETWORK
    };
    ipv6_connections_are_refused: Outage { layout: Layout { address: ipv6, ..NAMES }, ..REFUSED };
    http_and_https_connections_are_refused: Outage { layout: Layout { urls: Urls::Mixed, ..NAMES }, ..REFUSED };
    /// A firewall closes or resets every connection once it sees a request.
    connections_are_closed: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("close")),
        ..NETWORK
    };
    connections_stay_silent: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("hang")),
        arguments: &["--timeout", "2"],
        ..NETWORK
    };
    /// A filter of names answers so.
    all_names_are_the_unspecified_address: Outage {
        breaks: |scene| scene.names.answer(|_| Answer::Address([0, 0, 0, 0].into())),
        cause: &["same-address"],
        words: &[&["0.0.0.0"]],
        ..OUTAGE
    };
    /// A hijacker's page.
    all_names_are_one_public_address_with_a_page: Outage {
        breaks: |scene| {
            scene.names.answer(|_| Answer::Address([11, 9, 9, 9].into()));
            scene.front.reply(|_| Reply::Http(page("200 OK", "Domain for sale", "Buy it.")));
        },
        cause: &["same-address", "captive-portal"],
        words: &[&["11.9.9.9", "Domain for sale"]],
        ..OUTAGE
    };
    all_names_are_one_public_address_that_refuses: Outage {
        breaks: |scene| {
            scene.names.answer(|_| Answer::Address([11, 9, 9, 9].into()));
            close_all(scene);
        },
        cause: &["same-address", "network"],
        words: &[&["11.9.9.9", "network"]],
        ..NETWORK
    };
    /// A login page that is reached through a redirect that is followed.
    portal_redirects_with_307: Outage {
        breaks: |scene| {
            scene.names.answer(|name| {
                Answer::Address(number(name).map_or([11, 9, 9, 9].into(), ipv4))
            });
            scene.front.reply(|request| if request.url.contains("portal") {
                Reply::Http(page("200 OK", "Hotel Seaview Wi-Fi", &request.url))
            } else {
                let location = format!("Location: http://login.portal.example/start?url={}\n", request.url);
                Reply::Http(http("307 Temporary Redirect", &location, ""))
            });
        },
        cause: &["captive-portal"],
        words: &[&["login.portal.example", "Hotel Seaview Wi-Fi"]],
        ..OUTAGE
    };
    proxy_requires_authentication: Outage {
        breaks: |scene| scene.front.reply(|_| {
            Reply::Http(page("407 Proxy Authentication Required", "Login", "Please log in."))
        }),
        cause: &["captive-portal", "refused", "same-answer"],
        words: &[&["407"]],
        ..SAME_ANSWER
    };
    all_sites_answer_with_nothing: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("empty")),
        words: &[&["empty"]],
        ..SAME_ANSWER
    };
    all_sites_answer_502: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("status-502")),
        words: &[&["502"]],
        ..SAME_ANSWER
    };
    /// All secrets are wrong.
    all_replies_are_forged: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("bad-hmac")),
        exit: OUTAGE_OR_CONFIG,
        cause: &["distrusted", "same-answer"],
        words: &[&["secret", "HMAC"]],
        ..OUTAGE
    };
    /// Another program answers on all ports.
    no_site_speaks_http: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("not-http")),
        ..SAME_ANSWER
    };
    ca_bundle_does_not_exist: Outage {
        breaks: |scene| scene.authorities = "missing.pem",
        exit: OUTAGE_OR_CONFIG,
        cause: &["ca-certificates"],
        words: &[&["CA certificates"], &["missing.pem"]],
        ..HTTPS
    };
    /// The certificates of the sites have an authority that it lacks.
    ca_bundle_is_another: Outage {
        breaks: |scene| {
            scene.authorities = "other.pem";
            fs::write(scene.world.path("other.pem"), crate::tls::front::authority("other").pem()).unwrap();
        },
        exit: OUTAGE_OR_CONFIG,
        cause: &["ca-certificates", "same-answer"],
        words: &[&["certificate"]],
        ..HTTPS
    };
    /// Certificates are not yet valid.
    clock_is_400_days_behind needs "faketime": Outage {
        breaks: |scene| fake_time(scene, "-400d"),
        cause: &["clock"],
        words: &[&["clock"]],
        ..HTTPS
    };
    /// Over http, replies show by how much.
    clock_is_400_days_ahead_of_http_sites needs "faketime": Outage {
        breaks: |scene| fake_time(scene, "+400d"),
        cause: &["clock"],
        words: &[&["clock"], &["400 days"], &["ahead"]],
        ..OUTAGE
    };
    /// Sites behind http report it by their `Date`, those behind https by their certificates.
    clock_is_400_days_ahead_of_mixed_sites needs "faketime": Outage {
        layout: Layout { urls: Urls::Mixed, ..NAMES },
        breaks: |scene| fake_time(scene, "+400d"),
        cause: &["clock"],
        words: &[&["clock"]],
        ..OUTAGE
    };
}
