//! A fault of this machine: how it is made, and what a run must report.

use super::front::{Reply, http, page};
use super::scene::{Layout, NAMES, Run, Scene, Urls};
use crate::testkit::World;
use crate::testkit::namespace::NAME_SERVER;

/// A fault, and what a run reports about it.
pub struct Outage {
    /// How the sites are named.
    pub layout: Layout,
    /// How everything but the store breaks.
    pub breaks: fn(&mut Scene),
    /// More arguments of the run.
    pub arguments: &'static [&'static str],
    /// The exit codes that are right.
    pub exit: &'static [i32],
    /// The values of `outageCause` that are right.
    pub cause: &'static [&'static str],
    /// What the message must say, each in one of several ways. `{n}` is a number of sites.
    pub words: &'static [&'static [&'static str]],
    /// Whether the message may say that the network is down.
    pub is_network: bool,
}

pub const OUTAGE: Outage =
    Outage { layout: NAMES, breaks: |_| (), arguments: &[], exit: &[69], cause: &[], words: &[], is_network: false };
/// With sites behind https.
pub const HTTPS: Outage = Outage { layout: Layout { urls: Urls::Https, ..NAMES }, ..OUTAGE };
/// With sites that are named by their addresses.
pub const ADDRESSES: Outage = Outage { layout: Layout { urls: Urls::Addresses, ..NAMES }, ..OUTAGE };
/// Exit codes where the configuration may be the cause.
pub const OUTAGE_OR_CONFIG: &[i32] = &[69, 78];

/// Makes two tests of each fault, with 60 sites and with 5.
macro_rules! outages {
    ($($(#[$doc:meta])* $name:ident $(needs $tool:literal)?: $outage:expr;)*) => {
        $(crate::blame::outage::outages_of_sizes! { $(#[$doc])* $name $(needs $tool)?, sixty_sites 60, five_sites 5: $outage; })*
    };
}
pub(super) use outages;

/// Makes a test of each fault for each number of sites.
macro_rules! outages_of_sizes {
    ($($(#[$doc:meta])* $name:ident $(needs $tool:literal)?, $($test:ident $size:literal),+: $outage:expr;)*) => {
        $(
            $(#[$doc])*
            mod $name {
                use super::*;
                use crate::blame::outage;
                    use crate::testkit::namespace;

                const CHECKED: Outage = $outage;
                const TOOLS: &[&str] = &[$($tool)?];

                $(
                    #[test]
                    fn $test() {
                        let path = concat!(module_path!(), "::", stringify!($test));
                        namespace::run(path, TOOLS, || outage::check(&CHECKED, $size));
                    }
                )+
            }
        )*
    };
}
pub(super) use outages_of_sizes;

/// The network that has the addresses of all sites.
pub const SITES_NET: &str = "11.1.0.0/16";

/// What a run reports if names cannot be resolved.
pub const NAME_SERVERS: Outage = Outage {
    cause: &["name-servers"],
    words: &[&[NAME_SERVER], &["resolv.conf"], &["name server", "names"]],
    ..OUTAGE
};

pub fn close_all(scene: &mut Scene) {
    scene.front.ports().into_iter().for_each(|port| scene.front.close(port));
}

pub fn fake_time(scene: &mut Scene, offset: &str) {
    // Only the wall clock is wrong: the system compares other clocks with times that the program computes.
    scene.starter = ["/usr/bin/faketime", "--exclude-monotonic", "-f", offset].map(str::to_owned).to_vec();
}

pub fn redirect(status: &str, url: &str) -> Reply {
    Reply::Http(http(status, &format!("Location: https://login.portal.example/start?url={url}\n"), ""))
}

pub fn portal_page(url: &str) -> Reply {
    let body = format!("<h1>Welcome</h1><a href=\"/login?to={url}\">Continue to {url}</a>");
    Reply::Http(page("200 OK", "Hotel Seaview Wi-Fi", &body))
}

pub fn append_listener(world: &World, script: &str) {
    world.append_config(&format!("[[listeners]]\nevent = \"civi_cxn.poll\"\nprogram = [\"sh\", \"-c\", '{script}']\n"));
}

/// Runs over sites that were polled well before, while this machine has a fault, and again without it.
pub fn check(outage: &Outage, size: u32) {
    let mut scene = Scene::new(outage.layout, size);
    scene.poll_well();
    let before = scene.world.statuses();
    scene.front.take_contacted();
    (outage.breaks)(&mut scene);
    let run = scene.poll(outage.arguments);
    let contacted = scene.front.take_contacted();
    let about = format!("exit {}, {}\n{}", run.code, run.summary, run.stderr);
    println!("{about}");
    if run.code == 0 && outage.exit.contains(&0) {
        assert_eq!((&run.summary["ok"], &run.summary["outage"]), (&size.into(), &false.into()), "{about}");
        return;
    }
    assert_eq!(scene.world.statuses(), before, "{about}");
    assert!(outage.exit.contains(&run.code), "{about}");
    assert_eq!(run.summary["outage"], true, "{about}");
    let cause = run.summary["outageCause"].as_str().unwrap_or_default();
    assert!(outage.cause.contains(&cause), "{about}");
    assert!(contacted.iter().all(|address| address.to_string() != "10.0.0.1"), "{about}");
    check_message(outage, size, &run);

    scene.restore();
    let run = scene.poll(&[]);
    let about = format!("exit {}, {}\n{}", run.code, run.summary, run.stderr);
    assert_eq!((run.code, &*run.stderr), (0, ""), "{about}");
    assert_eq!((&run.summary["due"], &run.summary["ok"]), (&size.into(), &size.into()), "{about}");
    assert_eq!((&run.summary["outage"], run.summary["outageCause"].is_null()), (&false.into(), true), "{about}");
    scene.world.assert_sound();
}

/// A warning that a clock which is behind causes anyway.
const USUAL_WARNING: &str = "lies in the future, because the clock was wrong";

fn check_message(outage: &Outage, size: u32, run: &Run) {
    let text = &run.stderr;
    let lines = text.lines().filter(|line| !line.starts_with("hint: ") && !line.contains(USUAL_WARNING));
    let line = lines.clone().collect::<Vec<_>>().join(" | ");
    assert_eq!(lines.count(), 1, "one line has the cause: {text}");
    for ways in outage.words {
        let is_said = |word: &&str| match *word {
            "{n}" => has_number(&line, size),
            word => text.to_lowercase().contains(&word.to_lowercase()),
        };
        assert!(ways.iter().any(is_said), "one of {ways:?} is missing: {text}");
    }
    let says_down =
        ["network seems", "network is", "network may", "to be down", "offline"].iter().any(|way| line.contains(way));
    assert!(outage.is_network || !says_down, "it is not the network: {text}");
}

/// Whether a text has a number of sites that can be right: all, or as many as such a fault takes.
fn has_number(text: &str, size: u32) -> bool {
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    numbers.into_iter().any(|number: u32| (size.min(10)..=size).contains(&number))
}
