//! Links of the pages, and the length of the README.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{pages, read, root};

/// Where the badge of the workflow is on the usual hosting, relative to a page at the top.
const WORKFLOWS: &str = "../../actions/workflows/";

/// Returns the lines of a page that are not within fences.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// Returns the names of a page's headings, as the usual hosting makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(text).filter(|line| line.starts_with('#')) {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = (1..).map(|number| format!("{anchor}-{number}"));
        let name = [anchor.clone()].into_iter().chain(again).find(|name| !anchors.contains(name));
        anchors.extend(name);
    }
    anchors
}

/// Returns the targets of a page's links. Each link that names its target elsewhere on the page must find it.
fn targets(page: &str, text: &str) -> Vec<String> {
    let text = prose(text).collect::<Vec<_>>().join("\n");
    let mut targets: Vec<String> =
        text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect();
    let definitions: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).collect();
    for name in text.split("][").skip(1).filter_map(|rest| rest.split(']').next()) {
        assert!(definitions.iter().any(|(defined, _)| *defined == name), "{page}: there is no [{name}]");
    }
    targets.extend(definitions.iter().map(|(_, target)| (*target).to_owned()));
    targets
}

/// Returns a path without `..`.
fn simplified(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => assert!(path.pop(), "{} leads out of the repository", path.display()),
            part => path.push(part),
        }
        path
    })
}

/// Returns whether a link leads to a file, and to a heading if it names one.
fn is_right(page: &str, link: &str) -> bool {
    if link.starts_with("https://") {
        return true;
    }
    if let Some(workflow) = link.strip_prefix(WORKFLOWS) {
        return root().join(".github/workflows").join(workflow.trim_end_matches("/badge.svg")).exists();
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = match file {
        "" => PathBuf::from(page),
        file => simplified(&Path::new(page).parent().unwrap().join(file)),
    };
    let exists = root().join(&target).exists();
    exists && anchor.is_none_or(|anchor| anchors(&read(target.to_str().unwrap())).contains(anchor))
}

#[test]
fn links_of_the_pages_lead_to_files_and_headings() {
    let mut links = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        for link in targets(&page, &read(&page)) {
            links += 1;
            if !is_right(&page, &link) {
                wrong.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(links > 80 && wrong.is_empty(), "{links} links, of which these lead nowhere: {wrong:#?}");
}

#[test]
fn every_page_of_docs_is_in_its_index() {
    let index = targets("docs/README.md", &read("docs/README.md"));
    for page in pages().iter().filter_map(|page| page.strip_prefix("docs/")).filter(|page| !page.ends_with("README.md"))
    {
        assert!(index.iter().any(|link| link == page), "docs/README.md lacks {page}");
    }
}

#[test]
fn readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 200, "{lines} lines");
}

#[test]
fn anchors_are_those_of_the_usual_hosting() {
    let page = "# What sled 0.34.7 does wrong\n## `store backup --json`\n```sh\n# no\n```\n## A, b_c!\n## A, b_c!\n";
    let expected = ["what-sled-0347-does-wrong", "store-backup---json", "a-b_c", "a-b_c-1"];
    assert_eq!(anchors(page), expected.map(str::to_owned).into());
}
