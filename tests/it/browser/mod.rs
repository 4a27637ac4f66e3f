//! The HTML report in a real browser: content, layout, size and accessibility.

mod chromium;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::testkit::tools;
use chromium::Page;

/// Where `.ci/run` installs axe-core.
const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/browser/node_modules/axe-core/axe.min.js");

/// What is wrong with the accessibility of a page: the rules, and the elements that break them.
const VIOLATIONS: &str =
    "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}).then(({violations}) =>
    violations.map(({id, nodes}) => `${id}: ${nodes[0].html}`))";

/// What a page shows.
const CONTENT: &str = r"(() => {
    const text = (selector, root = document) => [...root.querySelectorAll(selector)].map(node => node.innerText.trim());
    return {
        overflow: document.documentElement.scrollWidth - innerWidth,
        background: getComputedStyle(document.documentElement).backgroundColor,
        headings: text('h1, h2:not(.hidden)'),
        summary: Object.fromEntries([...document.querySelectorAll('.summary div')].map(({children: [name, value]}) =>
            [name.innerText, value.firstChild.data.trim()])),
        worst: text('.worst tbody th'),
        bars: [...document.querySelectorAll('.worst svg')].filter(({clientWidth, clientHeight}) => clientWidth > 100 && clientHeight > 10).length,
        chart: [...document.querySelectorAll('.chart svg')].map(({clientWidth}) => clientWidth)[0],
        scripts: document.scripts.length,
        scrolls: [...document.querySelectorAll('.worst, .latest')].every(({parentNode: {scrollWidth, clientWidth}}) => scrollWidth <= clientWidth),
    };
})()";

/// A report of simulated sites, and the same as JSON.
struct Report {
    html: PathBuf,
    json: Value,
}

/// Simulates sites for some days below a directory; returns the report about them.
fn report(dir: &Path, sites: u32, days: u32) -> Report {
    let (store, html) = (dir.join(format!("store-{sites}")), dir.join(format!("{sites}.html")));
    let year = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/year");
    assert!(year.exists(), "`cargo build --example year` makes {}", year.display());
    let made = Command::new(year).arg(&store).args([sites, days].map(|number| number.to_string())).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let report = |format: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cxnpoll"));
        command.args(["report", "--now", "2026-01-01T00:00:00Z", "--since", &format!("{days}d"), "--format", format]);
        command.arg("--store").arg(&store).env("CXNPOLL_CONFIG", "/dev/null");
        command
    };
    let written = report("html").arg("--output").arg(&html).output().unwrap();
    assert!(written.status.success() && written.stdout.is_empty() && written.stderr.is_empty(), "{written:?}");
    let printed = report("json").output().unwrap();
    Report {
        html,
        json: serde_json::from_slice(&printed.stdout).unwrap_or_else(|error| panic!("{error}: {printed:?}")),
    }
}

fn sum(values: &Value, key: &str) -> u64 {
    values.as_array().unwrap().iter().map(|value| value[key].as_u64().unwrap()).sum()
}

fn with_commas(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

/// Checks a page in a window of this width.
fn check(page: &mut Page, report: &Report, width: u32, scheme: &str) {
    page.open(&report.html, width, scheme);
    let content = page.evaluate(CONTENT);
    let about = format!("{width} {scheme} {}: {content:#}", report.html.display());
    assert_eq!((&content["overflow"], &content["scripts"]), (&json!(0), &json!(0)), "{about}");
    let background = if scheme == "dark" { "rgb(17, 21, 28)" } else { "rgb(255, 255, 255)" };
    assert_eq!(content["background"], background, "{about}");
    let headings = [
        "Availability of sites",
        "Availability over time",
        "Apps and jobs",
        "Sites with the lowest availability",
        "Incidents",
        "Hosts with the most time down",
        "Causes of incidents",
        "Runs",
        "How to read this report",
    ];
    assert_eq!(content["headings"], json!(headings), "{about}");
    let (sites, jobs) = (report.json["sites"].as_array().unwrap(), &report.json["jobs"]);
    assert_eq!(content["summary"]["Sites"], with_commas(sites.len() as u64), "{about}");
    assert_eq!(content["summary"]["Incidents"], with_commas(sum(jobs, "incidents")), "{about}");
    let (up, down) = (sum(jobs, "upS"), sum(jobs, "downS"));
    let percent = up * 10_000 / (up + down);
    assert_eq!(content["summary"]["Availability"], format!("{}.{:02} %", percent / 100, percent % 100), "{about}");
    let were_down = sites.iter().filter(|site| site["downS"] != 0).count();
    assert!(were_down > 0, "{about}");
    let worst: Vec<_> = content["worst"].as_array().unwrap().iter().collect();
    assert_eq!((worst.len(), &content["bars"]), (were_down.min(50), &json!(were_down.min(50))), "{about}");
    let lowest = sites.iter().filter_map(|site| site["availability"].as_f64()).reduce(f64::min);
    let are_lowest = sites.iter().filter(|site| site["availability"].as_f64() == lowest);
    assert!(are_lowest.map(|site| &site["siteUrl"]).collect::<Vec<_>>().contains(&worst[0]), "{about}");
    assert!(content["chart"].as_u64().unwrap() > u64::from(width) / 2, "{about}");
    assert_eq!(content["scrolls"], true, "{about}");
}

#[test]
fn the_report_is_right_and_accessible() {
    if !tools::require_file(AXE) {
        return;
    }
    let Some(mut page) = Page::start() else { return };
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let axe = fs::read_to_string(AXE).unwrap();
    for (report, sheets) in [(report(dir.path(), 40, 10), 3..=6), (report(dir.path(), 1500, 60), 4..=8)] {
        assert!(fs::metadata(&report.html).unwrap().len() < 1 << 20);
        for (width, scheme) in [(360, "light"), (1280, "dark"), (1280, "light"), (360, "dark")] {
            check(&mut page, &report, width, scheme);
            page.evaluate(&axe);
            assert_eq!(page.evaluate(VIOLATIONS), json!([]), "{width} {scheme}");
        }
        let printed = page.print();
        assert!(sheets.contains(&printed), "{printed} pages");
    }
    let others: BTreeSet<_> = page.requests.iter().filter(|url| !url.starts_with("file:///dev/shm/")).collect();
    assert!(page.requests.len() >= 8 && others.is_empty(), "{others:?}");
}
