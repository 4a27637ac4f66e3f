//! The page about failures has an entry for each.

use super::read;

/// Returns the first cells of the table rows in a section, without backquotes.
fn entries(page: &str, heading: &str) -> Vec<String> {
    let section = page.split_once(heading).unwrap().1;
    let section = section.split("\n##").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    cells.flat_map(|cell| cell.split([' ', ',', '`'])).map(str::to_owned).collect()
}

/// Returns what stands between two texts in each line of a file that has both.
fn names(file: &str, before: &str, after: &str) -> Vec<String> {
    let text = read(file);
    let names = text.lines().filter_map(|line| line.split_once(before)?.1.strip_suffix(after));
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    names.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn every_exit_code_class_and_cause_has_an_entry() {
    let page = read("docs/troubleshooting.md");
    for (heading, names, at_least) in [
        ("\n## Exit codes\n", names("src/exit.rs", ": u8 = ", ";"), 12),
        ("\n## Failures of a site\n", names("src/model/outcome.rs", " => \"", "\","), 15),
        ("\n## Faults of this machine\n", names("src/model/cause.rs", " => \"", "\","), 16),
    ] {
        assert!(names.len() >= at_least, "{names:?}");
        let entries = entries(&page, heading);
        for name in names {
            assert!(entries.contains(&name), "{heading}lacks {name}");
        }
    }
}
