use super::*;
use crate::model::Lateness;
use crate::report::{Gone, Host, HostReport, IncidentReport, RunHealth, Strip};

/// 2026-11-01T00:00:00Z.
const FROM: UnixTime = 1_793_491_200;
const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;
const TO: UnixTime = FROM + 30 * DAY_S;
/// A text that would end every context of HTML, with characters that reverse and hide text.
const HOSTILE: &str = "'\"></title></style><script>alert(1)</script>&lt;\u{202e}\u{0}{{7*7}}";

fn incident(day: i64, hours: i64) -> Incident {
    let from = FROM + day * DAY_S;
    Incident { from, to: Some(from + hours * HOUR_S), class: Some(FailureClass::Timeout) }
}

fn site_report(site_url: &str) -> SiteReport {
    let mut strip = Strip::default();
    strip.add(true, (FROM + 15 * DAY_S, TO), (FROM, TO));
    strip.add(false, (FROM + 20 * DAY_S, FROM + 21 * DAY_S), (FROM, TO));
    SiteReport {
        cxn_id: "cxn:1".parse().unwrap(),
        app_id: "app:org.example.myapp".parse().unwrap(),
        job: "default".parse().unwrap(),
        site_url: site_url.into(),
        times: Times { up_s: 14 * 86_400, down_s: 86_400, unknown_s: 15 * 86_400 },
        incidents: vec![incident(20, 5), incident(21, 19)],
        strip,
    }
}

fn incident_report(site: &SiteReport, incident: Incident) -> IncidentReport {
    let SiteReport { cxn_id, app_id, job, site_url, .. } = site.clone();
    IncidentReport { cxn_id, app_id, job, site_url, incident }
}

/// The job of a site that was down on the 21st of 30 days, and unknown before the 16th.
fn job_report(site: &SiteReport) -> JobReport {
    let slice = |day| {
        let from = FROM + day * DAY_S;
        let times = match day {
            0..15 => Times { unknown_s: 86_400, ..Times::default() },
            20 => Times { down_s: 86_400, ..Times::default() },
            _ => Times { up_s: 86_400, ..Times::default() },
        };
        Slice { from, to: from + DAY_S, times, incidents: u64::from(day == 20) }
    };
    JobReport {
        app_id: site.app_id.clone(),
        job: site.job.clone(),
        sites: 1,
        down: 0,
        times: site.times,
        incidents: 2,
        classes: BTreeMap::from([(FailureClass::Timeout, 1)]),
        slices: (0..30).map(slice).collect(),
        runs: RunHealth {
            total: 8640,
            late: 40,
            own_outages: 1,
            outages: vec![(FROM + 3 * DAY_S, Some(Fault::Clock))],
            failed: 2,
            elapsed_ms: Some((12_000, 20_000, 250_000)),
            lateness_s: Some(Lateness { p50: 1, p95: 9, max: 400 }),
        },
    }
}

/// A report about one site.
fn one_site(site: &SiteReport) -> Report {
    let incidents: Vec<_> = site.incidents.iter().rev().map(|incident| incident_report(site, *incident)).collect();
    Report {
        began: Some(FROM + 15 * DAY_S),
        jobs: vec![job_report(site)],
        worst_sites: vec![site.clone()],
        worst_hosts: vec![HostReport {
            host: Host::Address("203.0.113.7".parse().unwrap()),
            sites: 1,
            incidents: 2,
            down_s: 86_400,
        }],
        hosts: 1,
        longest: incidents.clone(),
        latest: incidents,
        gone: Some(Gone { sites: 3, incidents: 4 }),
        ..Report::empty(FROM, TO)
    }
}

fn render(report: &Report) -> String {
    let mut page = Vec::new();
    write(report, TO, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

/// The text of the cells of a table's rows, by its class.
fn rows(page: &str, table: &str) -> Vec<Vec<String>> {
    let (_, rest) = page.split_once(&format!("<table class=\"{table}\">")).unwrap();
    let (body, _) = rest.split_once("</tbody>").unwrap();
    let (_, body) = body.split_once("<tbody>").unwrap();
    let text = |cell: &str| {
        let parts = cell.split('<').filter_map(|part| part.split_once('>'));
        parts.map(|(_, text)| text).collect::<String>().trim().to_owned()
    };
    let cells = |row: &str| row.replace("</td>", "</th>").split("</th>").map(text).collect::<Vec<_>>();
    let mut rows: Vec<_> = body.split("</tr>").map(cells).collect();
    rows.pop();
    for row in &mut rows {
        row.truncate(row.len() - 1);
    }
    rows
}

#[test]
fn a_report_of_nothing_says_so() {
    let page = render(&Report::empty(FROM, TO));
    for text in ["There are no sites.", "No site was down.", "There was no run.", "Nothing is known of this time."] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("<table"));
}

#[test]
fn tables_have_the_figures() {
    let page = render(&one_site(&site_report("https://user:pass@www.example.org/civicrm?key=s3cret#x")));
    let site = "https://www.example.org/civicrm?…";
    assert_eq!(rows(&page, "jobs"), [["org.example.myapp", "default", "1", "93.33 %", "2", "1 d", "15 d"]]);
    let day = |day: u32| format!("2026-11-{day:02} 00:00");
    assert_eq!(
        rows(&page, "latest"),
        [
            [site, &day(22), "2026-11-22 19:00", "19 h", "timeout"],
            [site, &day(21), "2026-11-21 05:00", "5 h", "timeout"],
        ]
    );
    assert_eq!(rows(&page, "worst"), [[site, "", "93.33 %", "2", "1 d", "15 d"]]);
    assert_eq!(rows(&page, "worst-hosts"), [["203.0.113.7", "1", "2", "1 d"]]);
    assert_eq!(
        rows(&page, "causes"),
        [
            ["unknown", "It is not known how the first poll failed", "1", "50 %"],
            ["timeout", "A time limit passed", "1", "50 %"],
        ]
    );
    assert_eq!(
        rows(&page, "runs-of-jobs"),
        [["org.example.myapp", "default", "8,640", "8,600", "40", "1", "2", "12 s", "4 min 10 s"]]
    );
    assert_eq!(
        rows(&page, "own-outages"),
        [[&day(4), "org.example.myapp", "default", "the clock of this machine was wrong"]]
    );
    let days = rows(&page, "slices");
    assert_eq!(
        (days.len(), &days[20][..]),
        (30, &[day(21), "0.00 %".into(), "1".into(), "1 d".into(), "0 s".into()][..])
    );
    assert!(!page.contains("s3cret") && !page.contains("user:"), "{page}");
}

#[test]
fn hostile_text_stays_text() {
    let mut report = one_site(&site_report(HOSTILE));
    report.worst_hosts[0].host = Host::Name(HOSTILE.into());
    report
        .jobs
        .push(job_report(&SiteReport { job: HOSTILE.replace('\0', "").parse().unwrap(), ..site_report(HOSTILE) }));
    let page = render(&report);
    assert!(!page.contains("<script") && !page.contains('\u{202e}') && !page.contains('\0'), "{page}");
    let shown = "&#39;&#34;&#62;&#60;/title&#62;";
    assert_eq!(page.matches(shown).count(), 9, "{page}");
    assert_eq!(page.matches("</title>").count(), 2, "that of the page and that of the chart");
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = render(&one_site(&site_report("https://www.example.org/")));
    for part in ["<script", "<link", "<img", "src=", "@import", "url(", "style=", " on"] {
        let in_tags = page.split('<').filter_map(|tag| tag.split('>').next());
        assert!(!in_tags.into_iter().any(|tag| format!("<{tag}").contains(part)), "{part}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_jobs_of_sites_are_named_if_there_are_several() {
    let site = site_report("https://www.example.org/");
    let mut report = one_site(&site);
    report.jobs.push(job_report(&SiteReport { job: "nightly".parse().unwrap(), ..site }));
    let page = render(&report);
    assert_eq!(rows(&page, "worst")[0][0], "https://www.example.org/ org.example.myapp default");
    assert_eq!(rows(&page, "slices")[20][2], "2", "incidents of both jobs");
}

#[test]
fn lists_say_what_they_leave_out_and_the_page_is_small() {
    let site = site_report(&format!("https://www.example.org/{}", "\"".repeat(5000)));
    let mut report = one_site(&site);
    report.jobs = vec![job_report(&site); 1000];
    for job in &mut report.jobs {
        job.sites = 100;
        job.incidents = 3000;
        job.runs.outages = vec![(FROM, None); 20];
        job.slices = (0..400).map(|hour| Slice { from: hour, to: hour + 1, times: job.times, incidents: 1 }).collect();
    }
    report.worst_sites = vec![site.clone(); MOST];
    report.worst_sites.iter_mut().for_each(|site| {
        let spans = (0..100).map(|at| FROM + at * (TO - FROM) / 100);
        spans.for_each(|at| site.strip.add(false, (at, at + HOUR_S), (FROM, TO)));
    });
    report.longest = vec![incident_report(&site, incident(1, 400)); MOST];
    report.latest = report.longest.clone();
    report.worst_hosts = vec![report.worst_hosts[0].clone(); MOST];
    report.hosts = 2000;
    let page = render(&report);
    for text in [
        "900 other jobs are not listed",
        "99,950 other sites were down for a smaller part of the time, or not at all",
        "2,999,950 other incidents did not last longer",
        "2,999,950 other incidents began before",
        "The sites of 1,950 other hosts were down for less time",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.len() < 1 << 20, "{}", page.len());
    let counts =
        ["jobs", "worst", "longest", "latest", "worst-hosts", "own-outages"].map(|table| rows(&page, table).len());
    assert_eq!(counts, [100, 50, 50, 50, 50, 20]);
}

#[test]
fn an_incident_that_lasts_is_not_over() {
    let mut site = site_report("https://www.example.org/");
    site.incidents[1].to = None;
    let page = render(&one_site(&site));
    let [_, _, to, duration, _] = &rows(&page, "latest")[0][..] else { panic!("{page}") };
    assert_eq!([to, duration], ["not over", "9 d"]);
    assert!(page.contains("down 2 times, for the longest time from 2026-11-22 00:00, which is not over"), "{page}");
}

#[test]
fn the_chart_and_the_bars_are_drawn_to_scale() {
    let page = render(&one_site(&site_report("https://www.example.org/")));
    assert!(page.contains("The lowest is 0.00 %, from 2026-11-21 00:00."));
    assert!(page.contains("<span>100 %</span><span>50 %</span><span>0 %</span>"));
    assert!(page.contains("d=\"M20 0h0.8v100.0h-0.8z\""), "{page}");
    assert_eq!(page.matches("96h1v4h-1z").count(), 15, "days of which nothing is known");
    // The second half is known, and a 30th of the whole is down.
    assert!(page.contains("<path class=\"unknown\" d=\"M0 9h96v2h-96z\"/>"));
    assert!(page.contains("<path class=\"down\" d=\"M128 0h7v20h-7z\"/>"), "{page}");
}

#[test]
fn the_scale_of_the_chart_fits() {
    let chart = |down_s| {
        let times = Times { up_s: 1_000_000 - down_s, down_s, unknown_s: 0 };
        Chart::of(&[Slice { from: FROM, to: FROM + HOUR_S, times, incidents: 0 }]).unwrap()
    };
    assert_eq!(chart(0).text, "No site was down.");
    assert_eq!((chart(0).down, chart(40).scale), (String::new(), ["99.995 %".into(), "99.99 %".into()]));
    assert_eq!(chart(3000).scale, ["99.75 %", "99.5 %"]);
    assert_eq!(chart(3000).down, "M0 0h0.8v60.0h-0.8z");
    assert_eq!(chart(1).down, "M0 0h0.8v1.0h-0.8z", "visible");
    assert_eq!((chart(1).unit, chart(1).starts), ("an hour".to_owned(), vec!["00:00".to_owned()]));
}
