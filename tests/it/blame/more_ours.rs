//! More faults of this machine: other numbers of sites, other networks, other answers.

use std::fs;

use super::front::{Reply, http, page};
use super::outage::{
    HTTPS, OUTAGE, OUTAGE_OR_CONFIG, Outage, SITES_NET, close_all, fake_time, outages_of_sizes, redirect,
};
use super::scene::{Layout, NAMES, Urls, ipv4, ipv6};
use crate::testkit::name_server::{Answer, number};

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
/// A portal that redirects only http.
const PORTAL_OF_HTTP: Outage = Outage {
    layout: Layout { urls: Urls::Mixed, ..NAMES },
    cause: &["captive-portal"],
    words: &[&["login.portal.example"]],
    ..OUTAGE
};

outages_of_sizes! {
    every_connection_is_refused, three_sites 3, twelve_sites 12, two_hundred_sites 200: REFUSED;
    every_connection_is_refused_to_one_thread, sixty_sites 60, five_sites 5:
        Outage { arguments: &["--threads", "1"], ..REFUSED };
    no_name_is_known, three_sites 3, twelve_sites 12: UNKNOWN_NAMES;
    all_sites_answer_403, three_sites 3, nine_sites 9, eleven_sites 11, two_hundred_sites 200: FORBIDDEN;
    all_sites_answer_403_to_one_thread, sixty_sites 60: Outage { arguments: &["--threads", "1"], ..FORBIDDEN };
    /// ENETUNREACH: the cable is unplugged.
    network_is_unreachable, sixty_sites 60, five_sites 5: Outage {
        breaks: |scene| scene.network.route("throw", SITES_NET),
        cause: &["network", "no-route"],
        words: &[&["network", "route"]],
        ..NETWORK
    };
    ipv6_connections_are_refused, sixty_sites 60: Outage { layout: Layout { address: ipv6, ..NAMES }, ..REFUSED };
    http_and_https_connections_are_refused, sixty_sites 60: Outage { layout: Layout { urls: Urls::Mixed, ..NAMES }, ..REFUSED };
    /// A firewall closes or resets every connection once it sees a request.
    connections_are_closed, sixty_sites 60, five_sites 5: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("close")),
        ..NETWORK
    };
    connections_stay_silent, five_sites 5: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("hang")),
        arguments: &["--timeout", "2"],
        ..NETWORK
    };
    /// A filter of names answers so.
    all_names_are_the_unspecified_address, five_sites 5: Outage {
        breaks: |scene| scene.names.answer(|_| Answer::Address([0, 0, 0, 0].into())),
        cause: &["same-address"],
        words: &[&["0.0.0.0"]],
        ..OUTAGE
    };
    /// A hijacker's page.
    all_names_are_one_public_address_with_a_page, sixty_sites 60, five_sites 5: Outage {
        breaks: |scene| {
            scene.names.answer(|_| Answer::Address([11, 9, 9, 9].into()));
            scene.front.reply(|_| Reply::Http(page("200 OK", "Domain for sale", "Buy it.")));
        },
        cause: &["same-address", "captive-portal"],
        words: &[&["11.9.9.9", "Domain for sale"]],
        ..OUTAGE
    };
    /// A login page that is reached through a redirect that is followed.
    portal_redirects_with_307, sixty_sites 60, five_sites 5: Outage {
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
    all_sites_answer_502, sixty_sites 60: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("status-502")),
        words: &[&["502"]],
        ..SAME_ANSWER
    };
    all_sites_answer_with_nothing, five_sites 5: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("empty")),
        words: &[&["empty"]],
        ..SAME_ANSWER
    };
    /// All secrets are wrong.
    all_replies_are_forged, sixty_sites 60: Outage {
        breaks: |scene| scene.front.reply(|_| Reply::SiteDoing("bad-hmac")),
        exit: OUTAGE_OR_CONFIG,
        cause: &["distrusted", "same-answer"],
        words: &[&["secret", "signature"]],
        ..OUTAGE
    };
    ca_bundle_does_not_exist, five_sites 5: Outage {
        breaks: |scene| scene.authorities = "missing.pem",
        exit: OUTAGE_OR_CONFIG,
        cause: &["ca-certificates"],
        words: &[&["CA certificates"], &["missing.pem"]],
        ..HTTPS
    };
    /// The certificates of the sites have an authority that it lacks.
    ca_bundle_is_another, sixty_sites 60, five_sites 5: Outage {
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
    clock_is_400_days_behind needs "faketime", sixty_sites 60: Outage {
        breaks: |scene| fake_time(scene, "-400d"),
        cause: &["clock"],
        words: &[&["clock"]],
        ..HTTPS
    };
    /// Over http, replies show by how much.
    clock_is_400_days_ahead_of_http_sites needs "faketime", sixty_sites 60: Outage {
        breaks: |scene| fake_time(scene, "+400d"),
        cause: &["clock"],
        words: &[&["clock"], &["400 days"], &["ahead"]],
        ..OUTAGE
    };
    /// Sites behind http show it by their `Date`, those behind https by their certificates.
    clock_is_400_days_ahead_of_mixed_sites needs "faketime", sixty_sites 60, five_sites 5: Outage {
        layout: Layout { urls: Urls::Mixed, ..NAMES },
        breaks: |scene| fake_time(scene, "+400d"),
        cause: &["clock"],
        words: &[&["clock"]],
        ..OUTAGE
    };
    /// It redirects http, and cannot forge certificates for https.
    portal_redirects_http_and_breaks_https, sixty_sites 60, five_sites 5: Outage {
        breaks: |scene| {
            scene.front.reply(|request| redirect("302 Found", &request.url));
            scene.authorities = "other.pem";
            fs::write(scene.world.path("other.pem"), crate::tls::front::authority("other").pem()).unwrap();
        },
        ..PORTAL_OF_HTTP
    };
    /// It redirects http, and blocks https.
    portal_redirects_http_and_refuses_https, sixty_sites 60, five_sites 5: Outage {
        breaks: |scene| {
            scene.front.reply(|request| redirect("302 Found", &request.url));
            scene.front.close(443);
        },
        ..PORTAL_OF_HTTP
    };
}
