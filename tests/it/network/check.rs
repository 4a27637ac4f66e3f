//! Polls the site of a case, and compares what the program reports with what is expected.

use std::process::Output;

use serde_json::{Value, json};
use url::Url;

use super::case::Case;
use super::site::Site;
use crate::testkit::library::is_printable;
use crate::testkit::{APP, World, code};

/// The limit for a call.
const TIMEOUT: &str = "6";
/// The maximum length of a failure's message.
const MAX_MESSAGE_CHARS: usize = 200;
/// How much the time that a date means may differ, because the clock goes on while the case runs.
const DATE_TOLERANCE_S: i64 = 10;
/// What comes before the address that `explain` suggests.
const SUGGESTION: &str = "The site seems to have moved to ";

/// Runs a case; returns all that is wrong.
pub fn run(case: &Case) -> Vec<String> {
    let world = World::new();
    let cxn = world.server.site(1);
    let site = Site::start(case, cxn.clone());
    let mut line: Value = serde_json::from_str(&cxn.jsonl()).unwrap();
    let url = site.names().fill("{url}");
    if Url::parse(&url).unwrap().host_str().unwrap().ends_with(".example") {
        line["viaPort"] = json!(site.names().fill("127.0.0.1:{port}"));
    }
    line["siteUrl"] = json!(url);
    world.import_text(&line.to_string());

    let config = world.config() + if case.tls { "tls = \"skip-verify\"\n" } else { "" };
    if case.request_bytes > 0 {
        let filler = "x".repeat(case.request_bytes);
        let call = format!("{{ api = \"System.get\", params = {{ filler = \"{filler}\" }} }}");
        world.set_config(&format!("{config}[[listeners]]\nevent = \"civi_cxn.poll\"\ncalls = [{call}]\n"));
    } else {
        world.set_config(&config);
    }
    let poll = ["poll", APP, "--cxn", &cxn.cxn_id, "--retry", &case.retry, "--timeout", TIMEOUT, "-v"];
    let polled = world.run(&poll);
    world.set_config(&config);

    let explain = ["explain", &cxn.cxn_id, "--retry", &case.retry];
    let explained = world.json(&[&explain[..], &["--json"]].concat());
    let mut outputs = vec![polled, world.run(&explain)];
    if case.replies.iter().any(|reply| reply.contains("{secret15}")) {
        outputs
            .extend([&["get", &cxn.cxn_id, "--json"][..], &["export", "--redact"], &["status"]].map(|c| world.run(c)));
    }
    let check = Check { case, site: &site, explained, outputs };
    let problems = check.problems();
    let outcome = (!problems.is_empty()).then(|| format!("lastOutcome: {}", check.explained["lastOutcome"]));
    problems.into_iter().chain(outcome).collect()
}

/// A case that was run.
struct Check<'a> {
    case: &'a Case,
    site: &'a Site,
    /// What `explain --json` prints.
    explained: Value,
    /// The outputs of `poll`, of `explain`, and of other commands where the site knows the secret.
    outputs: Vec<Output>,
}

impl Check<'_> {
    fn class(&self) -> &str {
        self.explained["lastOutcome"]["class"].as_str().unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.explained["lastOutcome"]["message"].as_str().unwrap_or_default()
    }

    fn problems(&self) -> Vec<String> {
        [self.of_outcome(), self.of_message(), self.of_state(), self.of_requests(), self.of_outputs()].concat()
    }

    fn of_outcome(&self) -> Vec<String> {
        let expected = &self.case.expect.outcome;
        let mut problems = Vec::new();
        if !expected.iter().any(|class| class == self.class()) {
            problems.push(format!("class: expected {}, found {}", expected.join(" or "), self.class()));
        }
        let exit = if self.class() == "ok" { 0 } else { 3 };
        if code(&self.outputs[0]) != exit {
            problems.push(format!("`poll` must exit with {exit}: {:?}", self.outputs[0]));
        }
        problems
    }

    fn of_message(&self) -> Vec<String> {
        let (expect, message) = (&self.case.expect, self.message());
        let fill = |text: &String| self.site.names().fill(text);
        let mut problems = Vec::new();
        let in_lower_case = message.to_lowercase();
        for texts in &expect.message_contains {
            let texts: Vec<_> = texts.iter().map(fill).collect();
            if !texts.iter().any(|text| in_lower_case.contains(&text.to_lowercase())) {
                problems.push(format!("the message lacks {}", texts.join(", or ")));
            }
        }
        for text in expect.message_lacks.iter().map(fill).filter(|text| message.contains(text)) {
            problems.push(format!("the message contains {text:?}"));
        }
        if message.chars().count() > MAX_MESSAGE_CHARS {
            problems.push("the message is too long".to_owned());
        }
        if !is_printable(message) {
            problems.push("the message has an invisible character".to_owned());
        }
        problems
    }

    fn of_state(&self) -> Vec<String> {
        let (expect, explained) = (&self.case.expect, &self.explained);
        let mut problems = Vec::new();
        let is_counted = (&explained["pollLevel"], &explained["pollCount"]) != (&json!(0), &json!(0));
        let counted = expect.counted.or(expect.deferral_s.map(|_| false));
        if counted.is_some_and(|expected| is_counted != expected) {
            problems.push(format!("counted: {is_counted}"));
        }
        if let Some(deferral_s) = expect.deferral_s {
            // The site's own next time is after one second, which is later than at once.
            let expected = deferral_s.max(1);
            let tolerance = if self.case.replies[0].contains("{date ") { DATE_TOLERANCE_S } else { 0 };
            let time = |key: &str| explained[key].as_i64().unwrap_or_default();
            let found = time("nextDue") - time("lastRun");
            if (found - expected).abs() > tolerance {
                problems.push(format!("deferral: expected {expected} s, found {found} s"));
            }
        }
        let text = String::from_utf8_lossy(&self.outputs[1].stdout);
        let suggested = text.split_once(SUGGESTION).and_then(|(_, url)| Some(url.split_once(". If so: ")?.0));
        let suggested = suggested.unwrap_or_default();
        let expected = expect.suggests.as_ref().map(|url| self.site.names().fill(url));
        if expected.as_ref().is_some_and(|expected| expected != suggested) {
            problems.push(format!("suggestion: expected {expected:?}, found {suggested:?}"));
        }
        problems
    }

    fn of_requests(&self) -> Vec<String> {
        let (expect, seen) = (&self.case.expect, self.site.seen());
        let mut problems = seen.problems;
        if let Some(expected) = expect.requests.filter(|expected| *expected != seen.connections) {
            problems.push(format!("connections: expected {expected}, found {}", seen.connections));
        }
        let paths = expect.paths.iter().flatten().map(|path| self.site.names().fill(path)).collect::<Vec<_>>();
        if expect.paths.is_some() && paths != seen.paths {
            problems.push(format!("paths: expected {paths:?}, found {:?}", seen.paths));
        }
        problems
    }

    fn of_outputs(&self) -> Vec<String> {
        let secret = self.site.names().fill("{secret15}");
        let mut texts: Vec<_> = self.outputs.iter().map(|output| format!("{output:?}")).collect();
        texts.push(self.explained.to_string());
        let mut problems = Vec::new();
        for text in texts {
            if text.contains(&secret) {
                problems.push(format!("an output holds the secret: {text}"));
            }
            if text.contains("panicked") {
                problems.push(format!("a command panicked: {text}"));
            }
        }
        for output in self.outputs[1..].iter().filter(|output| code(output) != 0) {
            problems.push(format!("a command failed: {output:?}"));
        }
        problems
    }
}
