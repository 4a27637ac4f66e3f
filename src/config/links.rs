//! The pages of an app that sites link to, as the configuration file names them.

use std::borrow::Borrow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::model::{AppId, CxnId};
use crate::protocol::is_page;
use crate::site::Endpoint;

/// What ids have in percent form in a path. The `:` of `cxn:` stays.
const SPECIAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// The name of a page: letters, digits and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct PageName(String);

/// The URL of a page, of http or https, with or without placeholders.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct PageUrl(String);

/// Why the table `links` of an app cannot be used.
///
/// serde needs the text, which becomes part of a TOML error with its line.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLink {
    /// A name has other characters than letters, digits and `_`.
    #[error("expected the name of a page, of letters, digits and _")]
    Name,
    /// A URL is not of http or https.
    #[error("expected an http or https URL")]
    Url,
}

impl TryFrom<String> for PageName {
    type Error = InvalidLink;

    fn try_from(name: String) -> Result<Self, InvalidLink> {
        if is_page(&name) { Ok(Self(name)) } else { Err(InvalidLink::Name) }
    }
}

impl TryFrom<String> for PageUrl {
    type Error = InvalidLink;

    fn try_from(url: String) -> Result<Self, InvalidLink> {
        Endpoint::new(&url, None).map(|_| Self(url.trim().to_owned())).map_err(|_| InvalidLink::Url)
    }
}

impl Borrow<str> for PageName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PageUrl {
    /// The URL of the page for a connection, with a token that opens it.
    ///
    /// `{appId}`, `{cxnId}` and `{page}` are replaced. A URL without `{cxnId}` gets `/appId/cxnId/page` at the end of its path.
    #[must_use]
    pub fn link(&self, app_id: &AppId, page: &str, cxn_id: &CxnId, token: &str) -> String {
        let Self(base) = self;
        let (base, fragment) = base.split_at(base.find('#').unwrap_or(base.len()));
        let (path, query) = base.split_at(base.find('?').unwrap_or(base.len()));
        let tail = if base.contains("{cxnId}") { "" } else { "/{appId}/{cxnId}/{page}" };
        let path = if tail.is_empty() { path } else { path.trim_end_matches('/') };
        let separator = match query {
            "" => "?",
            "?" => "",
            _ => "&",
        };
        let replace = |text: &str| {
            // What is put in has no braces.
            let text = text.replace("{appId}", &segment(app_id.as_str())).replace("{page}", &segment(page));
            text.replace("{cxnId}", &segment(cxn_id.as_str()))
        };
        let url = [path, tail, query].map(replace).concat();
        format!("{url}{separator}cxnToken={token}{}", replace(fragment))
    }
}

/// A text as a segment of a path.
fn segment(text: &str) -> String {
    utf8_percent_encode(text, SPECIAL).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;
    use crate::protocol::{json, token};

    fn config(links: &str) -> Result<Config, toml::de::Error> {
        Config::parse(&format!("[apps.\"org.example.poll\".links]\n{links}"), Path::new(""))
    }

    #[test]
    fn links_are_those_of_cxnapp() {
        let vectors: serde_json::Value =
            json::read_kept(include_bytes!("../../fixtures/registration-vectors.json")).unwrap();
        let links = &vectors["links"];
        let text = "settings = \"https://app.example.org\"\n[apps.\"org.civicrm.cron\".links]\n\
            settings = \"https://app.example.org/{appId}/{cxnId}/{page}\"\n[apps.\"org.civicrm.profile\".links]\n\
            settings = \"https://app.example.org/{appId}/{cxnId}/settings?appId={appId}\"";
        let config = config(text).unwrap();
        let apps = ["app:org.example.poll", "app:org.civicrm.cron", "app:org.civicrm.profile"];
        let urls = links["made"].as_array().unwrap().iter().filter(|link| link["values"].is_object());
        let mut compared = 0;
        for (link, app) in urls.zip(apps) {
            let cxn_id = link["values"]["cxn_id"].as_str().unwrap().parse().unwrap();
            let token = token(links["secret"].as_str().unwrap(), &cxn_id, link["at"].as_i64().unwrap());
            let url = config.link_url(&app.parse().unwrap(), "settings", &cxn_id, &token);
            assert_eq!(url.as_deref(), link["values"]["url"].as_str());
            compared += 1;
        }
        assert_eq!(compared, 3);
        let cxn_id = "cxn:1".parse().unwrap();
        assert_eq!(config.link_url(&apps[0].parse().unwrap(), "nosuch", &cxn_id, "t"), None);
        assert_eq!(config.link_url(&"app:org.example.other".parse().unwrap(), "settings", &cxn_id, "t"), None);
    }

    #[test]
    fn a_link_has_its_token_in_the_query() {
        let app_id = "app:org.example.poll".parse().unwrap();
        let id = "app:org.example.poll/cxn:1%2F%3F%25%C3%A4/a";
        for (base, expected) in [
            ("https://h.example", format!("https://h.example/{id}?cxnToken=t")),
            ("https://h.example/", format!("https://h.example/{id}?cxnToken=t")),
            ("https://h.example/x/?y=1#z", format!("https://h.example/x/{id}?y=1&cxnToken=t#z")),
            ("https://h.example/x?", format!("https://h.example/x/{id}?cxnToken=t")),
            ("https://h.example/{page}?c={cxnId}", "https://h.example/a?c=cxn:1%2F%3F%25%C3%A4&cxnToken=t".into()),
            ("https://h.example/{cxnId}/", "https://h.example/cxn:1%2F%3F%25%C3%A4/?cxnToken=t".into()),
        ] {
            let config = config(&format!("a = \"{base}\"")).unwrap();
            let url = config.link_url(&app_id, "a", &"cxn:1/?%ä".parse().unwrap(), "t");
            assert_eq!(url, Some(expected));
        }
    }

    #[test]
    fn a_mistake_in_the_table_is_reported_with_its_line() {
        for (text, expected) in [
            ("a = \"https://a.example\"\nb-c = \"https://a.example\"", "expected the name of a page"),
            ("a = \"https://a.example\"\nb = \"ftp://a.example\"", "expected an http or https URL"),
            ("a = \"https://a.example\"\nb = \"/x\"", "expected an http or https URL"),
        ] {
            let error = config(text).unwrap_err().to_string();
            assert!(error.contains("line 3") && error.contains(expected), "{error}");
        }
    }
}
