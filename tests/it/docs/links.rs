//! Links of the pages.

use super::{pages, read, root};

#[test]
fn links_of_the_pages_lead_to_files() {
    for page in pages() {
        let text = read(&page);
        let dir = root().join(&page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            assert!(file.is_empty() || link.starts_with("http") || dir.join(file).exists(), "{page}: {link}");
        }
    }
}
