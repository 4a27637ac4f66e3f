//! The address that a redirect suggests for a site.

use percent_encoding::percent_decode_str;
use url::Url;

use super::redirect::Redirect;
use crate::model::{Failure, SiteUrl, is_callable};

/// The URL at which a site seems to be now; `None` if the failure of its last call shows none.
///
/// Only a permanent redirect to the same path and query of the same host shows one: in https, with or without `www.`, or
/// with or without a slash at the end. Other redirects lead to a login, to a front page or to the next owner of a domain.
#[must_use]
pub fn suggested_site_url<'a>(failure: &'a Failure, site_url: &SiteUrl) -> Option<&'a str> {
    let suggested = Redirect::permanent_target(failure)?;
    let (from, to) = (Address::of(site_url.with_credentials())?, Address::of(suggested)?);
    let is_secured = !from.is_https && to.is_https;
    let has_same_server = from.is_https == to.is_https && from.port == to.port;
    let is_credible = (is_secured || has_same_server)
        && from.host.strip_prefix("www.").unwrap_or(&from.host) == to.host.strip_prefix("www.").unwrap_or(&to.host)
        && from.path.strip_suffix(b"/").unwrap_or(&from.path) == to.path.strip_suffix(b"/").unwrap_or(&to.path)
        && from.query == to.query;
    (is_credible && from != to).then_some(suggested)
}

/// What a URL names, however it is spelt: without user info, fragment and percent-encoding.
#[derive(PartialEq, Eq)]
struct Address {
    is_https: bool,
    host: String,
    port: Option<u16>,
    path: Vec<u8>,
    query: Vec<u8>,
}

impl Address {
    /// `None` if this is not a URL of `http` or `https`.
    fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok().filter(is_callable)?;
        Some(Self {
            is_https: url.scheme() == "https",
            host: url.host_str()?.trim_end_matches('.').to_owned(),
            port: url.port_or_known_default(),
            path: percent_decode_str(url.path()).collect(),
            query: percent_decode_str(url.query().unwrap_or_default()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FailureClass;

    fn suggests(site: &str, target: &str) -> bool {
        let message = format!("redirected (301 Moved Permanently) to {target}");
        let failure = Failure::new(FailureClass::Redirect, message);
        let suggested = suggested_site_url(&failure, &site.into());
        assert!(suggested.is_none_or(|url| url == target));
        suggested.is_some()
    }

    #[test]
    fn the_same_place_in_https_or_with_www_is_suggested() {
        for (site, target) in [
            ("http://site.example/civicrm/cxn/api", "https://site.example/civicrm/cxn/api"),
            ("http://site.example/civicrm/cxn/api", "https://www.site.example/civicrm/cxn/api"),
            ("http://www.site.example/a", "https://site.example/a"),
            ("http://www.site.example/a", "http://site.example/a"),
            ("https://site.example/a", "https://www.site.example/a/"),
            ("http://site.example/a", "http://site.example/a/"),
            ("http://site.example/a/", "http://site.example/a"),
            ("http://site.example:8080/a", "https://site.example:8443/a"),
            ("http://site.example:8080/a", "http://www.site.example:8080/a"),
            ("http://site.example/?q=civicrm/cxn/api", "https://site.example/?q=civicrm/cxn/api"),
            ("http://site.example/?q=civicrm/cxn/api", "https://site.example/?q=civicrm%2Fcxn%2Fapi"),
            ("http://jo:pw@Site.Example./a#b", "https://site.example/a"),
            ("http://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ] {
            assert!(suggests(site, target), "{site} {target}");
        }
    }

    #[test]
    fn another_place_is_not_suggested() {
        for (site, target) in [
            ("http://site.example/civicrm/cxn/api", "https://site.example/"),
            ("http://site.example/civicrm/cxn/api", "https://site.example/de/civicrm/cxn/api"),
            ("http://site.example/civicrm/cxn/api", "https://site.example/wp-login.php"),
            ("http://site.example/civicrm/cxn/api", "https://site.example/civicrm/cxn/api?a"),
            ("http://site.example/a?b", "https://site.example/a"),
            ("http://site.example/a", "https://site.example/A"),
            ("http://site.example/a", "https://site.example//a"),
            ("http://site.example/a", "https://other.example/a"),
            ("http://site.example/a", "https://wwwsite.example/a"),
            ("http://site.example/a", "https://www2.site.example/a"),
            ("http://site.example/a", "https://sub.www.site.example/a"),
            ("https://site.example/a", "http://site.example/a"),
            ("https://site.example/a", "http://www.site.example/a"),
            ("https://site.example/a", "https://site.example:8443/a"),
            ("http://site.example/a", "http://site.example:8080/a"),
            ("http://site.example/a", "ftp://site.example/a"),
            ("http://site.example/a", "site.example/a"),
            ("no URL", "https://site.example/a"),
        ] {
            assert!(!suggests(site, target), "{site} {target}");
        }
    }

    #[test]
    fn the_url_that_was_called_is_not_suggested() {
        for (site, target) in [
            ("http://site.example/a", "http://site.example/a"),
            ("http://site.example/a", "http://site.example:80/a"),
            ("http://jo:pw@SITE.example/a#b", "http://site.example/a"),
            ("http://site.example./a", "http://site.example/a"),
            ("http://site.example", "http://site.example/"),
            ("http://site.example/%61b?%63", "http://site.example/ab?c"),
            ("http://site.example/a?", "http://site.example/a"),
            ("http://127.1/a", "http://127.0.0.1/a"),
        ] {
            assert!(!suggests(site, target), "{site} {target}");
        }
    }
}
