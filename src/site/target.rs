//! What is called: a site's URL, directly or through its viaPort.

use ureq::http::{HeaderValue, Uri};
use url::{Host, Url};

use crate::model::{Failure, FailureClass, ViaPort};

/// A URL to call, and the `Host` header that goes with it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where the site says that it is: what a redirect is relative to.
    site: Url,
    /// What is connected to.
    uri: Uri,
    host_header: Option<HeaderValue>,
}

impl Target {
    /// Reads a site's URL by the rules of the URL standard, so that `http://127.1/` is the address 127.0.0.1. User
    /// info and fragment are dropped. With a viaPort its host and port take the place of the site's; scheme, path and
    /// query stay, and the site is named in the `Host` header, without a port, as the PHP library does it.
    ///
    /// # Errors
    /// Class `blocked` where the URL can't be read, or is not of `http` or `https`.
    pub fn new(site_url: &str, via_port: Option<&ViaPort>) -> Result<Self, Failure> {
        let site = Url::parse(site_url).map_err(|error| blocked(format!("the site's URL can't be read: {error}")))?;
        Self::from_url(site, via_port)
    }

    fn from_url(mut site: Url, via_port: Option<&ViaPort>) -> Result<Self, Failure> {
        if !matches!(site.scheme(), "http" | "https") {
            return Err(blocked(format!("only http and https are called, not {}", site.scheme())));
        }
        let unusable = || blocked("the site's URL can't be called");
        site.set_username("").map_err(|()| unusable())?;
        site.set_password(None).map_err(|()| unusable())?;
        site.set_fragment(None);

        let Some(via) = via_port else {
            let uri = site.as_str().parse().map_err(|_| unusable())?;
            return Ok(Self { site, uri, host_header: None });
        };
        let mut url = site.clone();
        match via.host() {
            Host::Domain(name) => {
                url.set_host(Some(name)).map_err(|error| blocked(format!("viaPort can't be used: {error}")))?;
            }
            Host::Ipv4(address) => url.set_ip_host((*address).into()).map_err(|()| unusable())?,
            Host::Ipv6(address) => url.set_ip_host((*address).into()).map_err(|()| unusable())?,
        }
        url.set_port(Some(via.port())).map_err(|()| unusable())?;
        let uri = url.as_str().parse().map_err(|_| unusable())?;
        let host = site.host_str().and_then(|host| HeaderValue::from_str(host).ok()).ok_or_else(unusable)?;
        Ok(Self { site, uri, host_header: Some(host) })
    }

    /// The target of a redirect. It is called by its own URL, whatever way led to the site, and judged anew by the
    /// egress policy when it is connected to.
    ///
    /// # Errors
    /// Class `redirect` where the location can't be read; class `blocked` where it is not of `http` or `https`.
    pub(super) fn redirected(&self, location: &str) -> Result<Self, Failure> {
        let url = self.site.join(location).map_err(|error| {
            Failure::new(FailureClass::Redirect, format!("redirected to what can't be read: {error}"))
        })?;
        Self::from_url(url, None)
    }

    /// The URL that is called.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The `Host` header, where it is not the one that the URL tells.
    #[must_use]
    pub fn host_header(&self) -> Option<&HeaderValue> {
        self.host_header.as_ref()
    }

    /// The target for people: no query, which may hold a key, unless it is that of the target that led to it, since many
    /// sites tell with it that the API is meant (`?q=civicrm/cxn/api`).
    pub(super) fn place(&self, from: &Self) -> String {
        if self.site.query().is_none() || self.site.query() == from.site.query() {
            return self.site.as_str().to_owned();
        }
        let mut url = self.site.clone();
        url.set_query(None);
        format!("{url}?…")
    }
}

/// The host of a URL, an IPv6 address without its brackets; empty where there is none.
pub(super) fn bare_host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn blocked(message: impl AsRef<str>) -> Failure {
    Failure::new(FailureClass::Blocked, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn via(text: &str) -> Option<ViaPort> {
        text.parse().ok()
    }

    /// The URL that the library hands to its HTTP layer, but for IPv6, where it cuts the address at its first colon.
    #[test]
    fn rewrites_as_the_library_does() {
        let vectors: Value = serde_json::from_str(include_str!("../../fixtures/vectors.json")).unwrap();
        for case in vectors["via_port"]["rewrite"].as_array().unwrap() {
            let text = |key: &str| case[key].as_str().unwrap();
            let Some(via) = via(text("viaPort")) else {
                assert_eq!(text("viaPort"), "[::1]:8080");
                continue;
            };
            let url = match text("viaPort") {
                "2001:db8:85a3::8a2e:370:7334:456" => "http://[2001:db8:85a3::8a2e:370:7334]:456/x",
                "::1:8080" => "http://[::1]:8080/x",
                _ => text("url"),
            };
            let target = Target::new(text("siteUrl"), Some(&via)).unwrap();
            assert_eq!(target.uri(), &url.parse::<Uri>().unwrap());
            assert_eq!(target.host_header().unwrap(), text("host_header"));
        }
    }

    #[test]
    fn a_direct_target_is_its_own_url() {
        for (url, uri) in [
            ("HTTP://User:pw@Www.Example.ORG:80/a?b#c", "http://www.example.org/a?b"),
            ("http://127.1/", "http://127.0.0.1/"),
            ("http://0x7f000001:8080", "http://127.0.0.1:8080/"),
            ("https://[0:0::1]:1/", "https://[::1]:1/"),
            ("https://example.org./x", "https://example.org./x"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ] {
            let target = Target::new(url, None).unwrap();
            assert_eq!(target.uri().to_string(), uri);
            assert_eq!(target.host_header(), None);
        }
    }

    #[test]
    fn what_can_not_be_called_says_why() {
        for (url, message) in [
            ("", "the site's URL can't be read: relative URL without a base"),
            ("/civicrm", "the site's URL can't be read: relative URL without a base"),
            ("http://", "the site's URL can't be read: empty host"),
            ("http://a b/", "the site's URL can't be read: invalid international domain name"),
            ("http://1.2.3.4.5/", "the site's URL can't be read: invalid IPv4 address"),
            ("http://h:99999/", "the site's URL can't be read: invalid port number"),
            ("ftp://example.org/", "only http and https are called, not ftp"),
            ("javascript:alert(1)", "only http and https are called, not javascript"),
            ("file:///etc/passwd", "only http and https are called, not file"),
        ] {
            assert_eq!(Target::new(url, None).unwrap_err(), blocked(message), "{url:?}");
        }
    }

    #[test]
    fn redirects_are_relative_to_the_site_and_leave_the_via_port() {
        let target = Target::new("http://h.example.org:81/a/b?q", via("10.0.0.1:6000").as_ref()).unwrap();
        for (location, uri) in [
            ("c", "http://h.example.org:81/a/c"),
            ("/c?d", "http://h.example.org:81/c?d"),
            ("//other.example/", "http://other.example/"),
            ("https://u:p@other.example/?k=1", "https://other.example/?k=1"),
        ] {
            let next = target.redirected(location).unwrap();
            assert_eq!((next.uri().to_string().as_str(), next.host_header()), (uri, None));
        }
        for (location, place) in [
            ("https://u:p@o.example/x?k=1#f", "https://o.example/x?…"),
            ("https://o.example/x#f", "https://o.example/x"),
            ("https://h.example.org/a/b?q", "https://h.example.org/a/b?q"),
        ] {
            assert_eq!(target.redirected(location).unwrap().place(&target), place);
        }
        assert_eq!(target.redirected("data:,x").unwrap_err().class, FailureClass::Blocked);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(url in "(https?://)?\\PC{0,40}|.*", via_port in "[a-z0-9.:-]{1,20}:[0-9]{1,5}") {
            let _ = Target::new(&url, via(&via_port).as_ref());
            if let Ok(target) = Target::new(&url, None) {
                let _ = target.redirected(&url);
                prop_assert!(target.uri().authority().is_some_and(|authority| !authority.as_str().contains('@')));
                // Both parsers see the same host.
                prop_assert_eq!(target.uri().host(), target.site.host_str());
            }
        }
    }
}
