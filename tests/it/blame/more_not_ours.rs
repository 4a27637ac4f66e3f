//! More failures of sites: other numbers, other threads, other ways to fail.

use std::net::{IpAddr, Ipv4Addr};

use super::charged::{check, is_in_a_third, scenarios_of_sizes};
use super::front::{Reply, Request, page};
use super::scene::{Death, Layout, NAMES, Scene, Urls, ipv4, ipv6};

/// Kills sites that were polled well; exactly those must be charged.
fn check_dead(layout: Layout, size: u32, death: Death, more: &[&str]) {
    let mut scene = Scene::new(layout, size);
    scene.poll_well();
    scene.kill(death);
    scene.front.reply(|_| Reply::SlowSite(30));
    assert_eq!(check(&scene, more), scene.mortals());
}

/// Changes what replies to sites that were polled well; exactly those of `is_charged` must be charged.
fn check_replies(layout: Layout, size: u32, replies: fn(&Request) -> Reply, is_charged: fn(u32) -> bool) {
    let scene = Scene::new(layout, size);
    scene.poll_well();
    scene.front.reply(replies);
    assert_eq!(check(&scene, &[]), (0..size).filter(|number| is_charged(*number)).collect());
}

fn forbidden() -> Reply {
    Reply::Http(page("403 Forbidden", "Forbidden", "Go away."))
}

/// Returns a title in which not only a number differs from others.
fn title(site: u32) -> String {
    site.to_string().bytes().map(|digit| char::from(digit - b'0' + b'A')).collect()
}

/// Exactly the dead sites are charged, however many sites and threads there are.
mod a_third_is_dead {
    use super::*;

    const LAYOUT: Layout = Layout { is_mortal: is_in_a_third, ..NAMES };

    scenarios_of_sizes! {
        |size, death| check_dead(LAYOUT, size, death, &[]);
        three_sites_refuse 3 Refused;
        twelve_sites_refuse 12 Refused;
        twelve_sites_without_a_route 12 NoRoute;
        two_hundred_sites_refuse 200 Refused;
    }

    mod without_packets {
        use super::*;

        scenarios_of_sizes! {
            |size, death| check_dead(LAYOUT, size, death, &["--timeout", "1"]);
            sixty_sites 60 NoPacket;
            five_sites 5 NoPacket;
        }
    }

    mod one_thread {
        use super::*;

        scenarios_of_sizes! {
            |size, death| check_dead(LAYOUT, size, death, &["--threads", "1"]);
            sixty_sites 60 Refused;
        }
    }

    mod ipv6_sites {
        use super::*;

        scenarios_of_sizes! {
            |size, death| check_dead(Layout { address: ipv6, ..LAYOUT }, size, death, &[]);
            sixty_sites 60 Refused;
            sixty_sites_without_a_route 60 NoRoute;
        }
    }

    mod sites_named_by_address {
        use super::*;

        scenarios_of_sizes! {
            |size, death| check_dead(Layout { urls: Urls::Addresses, ..LAYOUT }, size, death, &[]);
            sixty_sites 60 Refused;
            sixty_sites_without_a_route 60 NoRoute;
        }
    }
}

/// Sites that answer slowly are waited for.
mod a_third_is_dead_and_the_others_are_slow {
    use super::*;

    scenarios_of_sizes! {
        |size, death| {
            let mut scene = Scene::new(Layout { is_mortal: is_in_a_third, ..NAMES }, size);
            scene.poll_well();
            scene.kill(death);
            scene.front.reply(|_| Reply::SlowSite(1500));
            assert_eq!(check(&scene, &[]), scene.mortals());
        };
        sixty_sites_refuse 60 Refused;
        five_sites_without_a_route 5 NoRoute;
        three_sites_without_a_name 3 NoName;
    }
}

/// The dead sites are polled before all others.
mod a_third_is_dead_and_comes_first {
    use super::*;

    fn is_first_third(number: u32, size: u32) -> bool {
        number * 10 < size * 3
    }

    const LAYOUT: Layout = Layout { is_mortal: is_first_third, is_in_order: true, ..NAMES };

    scenarios_of_sizes! {
        |size, death| check_dead(LAYOUT, size, death, &[]);
        sixty_sites_refuse 60 Refused;
        sixty_sites_without_a_route 60 NoRoute;
        five_sites_refuse 5 Refused;
    }

    mod few_threads {
        use super::*;

        scenarios_of_sizes! {
            |size, death| check_dead(LAYOUT, size, death, &["--threads", "4"]);
            sixty_sites_refuse 60 Refused;
        }
    }
}

/// The last poll under way is answered.
mod all_but_one_are_dead {
    use super::*;

    scenarios_of_sizes! {
        |size, death| check_dead(Layout { is_mortal: |number, _| number != 3, ..NAMES }, size, death, &[]);
        five_sites_refuse 5 Refused;
        five_sites_without_a_route 5 NoRoute;
        five_sites_without_a_name 5 NoName;
    }
}

/// Two sites are too few to show a fault of this machine.
mod both_sites_are_dead {
    use super::*;

    scenarios_of_sizes! {
        |size, death| check_dead(Layout { is_mortal: |_, _| true, ..NAMES }, size, death, &[]);
        two_sites_refuse 2 Refused;
        two_sites_without_a_name 2 NoName;
        one_site_refuses 1 Refused;
    }
}

/// The proxy is one host.
mod all_sites_are_behind_one_proxy {
    use super::*;

    scenarios_of_sizes! {
        |size, death| {
            let via_port = Some("11.7.7.7:8080");
            let mut scene =
                Scene::new(Layout { is_mortal: |_, _| true, address: |_| [11, 7, 7, 7].into(), via_port, ..NAMES }, size);
            scene.poll_well();
            scene.kill(death);
            let charged = check(&scene, &[]);
            assert!(!charged.is_empty(), "{charged:?}");
        };
        sixty_sites_refuse 60 Refused;
        five_sites_without_a_route 5 NoRoute;
    }
}

/// Sites that were never polled well show nothing about this machine.
mod new_sites_fail {
    use super::*;

    scenarios_of_sizes! {
        |size, _| {
            let scene = Scene::new(NAMES, size);
            scene.front.reply(|_| forbidden());
            let run = scene.poll(&[]);
            assert_eq!((run.code, &*run.stderr, &run.summary["failed"]), (0, "", &size.into()), "{}", run.summary);
        };
        sixty_sites 60 Refused;
        five_sites 5 Refused;
    }
}

mod most_sites_answer_403 {
    use super::*;

    scenarios_of_sizes! {
        |size, _| check_replies(
            NAMES,
            size,
            |request| if request.site % 5 >= 3 { Reply::Site } else { forbidden() },
            |number| number % 5 < 3,
        );
        sixty_sites 60 Refused;
        five_sites 5 Refused;
    }
}

/// No failure of one kind is that of nearly all.
mod each_site_fails_in_its_own_way {
    use super::*;

    scenarios_of_sizes! {
        |size, _| check_replies(
            NAMES,
            size,
            |request| match request.site % 5 {
                0 => forbidden(),
                1 => Reply::SiteDoing("status-500"),
                2 => Reply::SiteDoing("api-error"),
                3 => Reply::SiteDoing("status-404"),
                _ => Reply::Http(page("200 OK", &title(request.site), "Closed.")),
            },
            |_| true,
        );
        sixty_sites 60 Refused;
        five_sites 5 Refused;
    }
}

/// A page with a title of its own is the fault of each site.
mod each_site_has_a_page_of_its_own {
    use super::*;

    scenarios_of_sizes! {
        |size, _| check_replies(
            NAMES,
            size,
            |request| Reply::Http(page("200 OK", &title(request.site), "Moved.")),
            |_| true,
        );
        sixty_sites 60 Refused;
        five_sites 5 Refused;
    }
}

/// The provider answers for all of its sites, which are all that there are.
mod all_sites_are_on_one_host_that_answers_503 {
    use super::*;

    scenarios_of_sizes! {
        |size, _| check_replies(
            Layout { address: |_| ipv4(1), ..NAMES },
            size,
            |_| Reply::SiteDoing("status-503"),
            |_| true,
        );
        sixty_sites 60 Refused;
        five_sites 5 Refused;
    }
}

/// Two networks are too few.
mod all_sites_are_on_two_networks_that_answer_503 {
    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0B01_0000 + ((number % 2) << 8) + number / 2 + 1).into()
    }

    scenarios_of_sizes! {
        |size, _| check_replies(Layout { address, ..NAMES }, size, |_| Reply::SiteDoing("status-503"), |_| true);
        sixty_sites 60 Refused;
        five_sites 5 Refused;
    }
}
