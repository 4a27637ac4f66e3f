//! Where a call goes: a site's URL, directly or through its viaPort.

use base64::prelude::{BASE64_STANDARD, Engine};
use percent_encoding::percent_decode_str;
use ureq::http::{HeaderValue, Uri};
use url::{Host, Url};

use crate::model::{Failure, FailureClass, ViaPort, is_callable};

/// A URL to call, and the headers that follow from the site's URL.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The site's own URL, which redirects are relative to.
    site: Url,
    /// The URL that is connected to.
    uri: Uri,
    host_header: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
}

impl Endpoint {
    /// Parses a site's URL by the rules of the URL standard: `http://127.1/` is the address 127.0.0.1.
    ///
    /// The fragment is dropped, and user info becomes [`Endpoint::authorization`]. The host and port of a viaPort replace
    /// those of the URL; scheme, path and query stay. The `Host` header then names the site without a port, as the PHP
    /// library does.
    ///
    /// # Errors
    /// Class `blocked` where the URL is invalid, or is not of `http` or `https`.
    pub fn new(site_url: &str, via_port: Option<&ViaPort>) -> Result<Self, Failure> {
        let site = Url::parse(site_url).map_err(|error| blocked(format!("the site's URL is invalid: {error}")))?;
        Self::from_url(site, via_port)
    }

    fn from_url(mut site: Url, via_port: Option<&ViaPort>) -> Result<Self, Failure> {
        if !is_callable(&site) {
            return Err(blocked(format!("only http and https are supported, not {}", site.scheme())));
        }
        let unusable = || blocked("the site's URL cannot be called");
        let authorization = basic_authorization(&site);
        site.set_username("").map_err(|()| unusable())?;
        site.set_password(None).map_err(|()| unusable())?;
        site.set_fragment(None);

        let Some(via) = via_port else {
            let uri = site.as_str().parse().map_err(|_| unusable())?;
            return Ok(Self { site, uri, host_header: None, authorization });
        };
        let mut url = site.clone();
        match via.host() {
            Host::Domain(name) => {
                url.set_host(Some(name)).map_err(|error| blocked(format!("viaPort cannot be used: {error}")))?;
            }
            Host::Ipv4(address) => url.set_ip_host((*address).into()).map_err(|()| unusable())?,
            Host::Ipv6(address) => url.set_ip_host((*address).into()).map_err(|()| unusable())?,
        }
        url.set_port(Some(via.port())).map_err(|()| unusable())?;
        let uri = url.as_str().parse().map_err(|_| unusable())?;
        let host = site.host_str().and_then(|host| HeaderValue::from_str(host).ok()).ok_or_else(unusable)?;
        Ok(Self { site, uri, host_header: Some(host), authorization })
    }

    /// The target of a redirect, which is called directly, without a viaPort.
    ///
    /// Like any endpoint it is checked by the egress policy when it is connected to. The same origin gets the same
    /// credentials, and another gets none, also if the location has some.
    ///
    /// # Errors
    /// Class `redirect` where the location is invalid; class `blocked` where it is not of `http` or `https`.
    pub(super) fn redirected(&self, location: &str) -> Result<Self, Failure> {
        let url = self
            .site
            .join(location)
            .map_err(|error| Failure::new(FailureClass::Redirect, format!("redirected to an invalid URL: {error}")))?;
        let authorization = self.authorization.clone().filter(|_| url.origin() == self.site.origin());
        Ok(Self { authorization, ..Self::from_url(url, None)? })
    }

    /// The URL that is connected to.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The `Host` header; `None` if it follows from [`Endpoint::uri`].
    #[must_use]
    pub fn host_header(&self) -> Option<&HeaderValue> {
        self.host_header.as_ref()
    }

    /// The `Authorization` header; `None` if the site's URL has no user info.
    ///
    /// A viaPort gets it too: it passes the request on to the site, whose header it is.
    #[must_use]
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// The site's own URL, without user info and fragment.
    pub(super) fn site_url(&self) -> &Url {
        &self.site
    }
}

/// The header of Basic authentication (RFC 7617) for the user info of a URL; `None` if it has none.
///
/// The charset is UTF-8.
fn basic_authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
    let credentials = [decoded(url.username()), decoded(url.password().unwrap_or_default())].join(&b':');
    let mut header = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(credentials))).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The host of a URL, an IPv6 address without its brackets; empty where the URL has no host.
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

    /// The vectors hold the URLs of the PHP library. It cuts IPv6 addresses at their first colon; here they stay whole.
    #[test]
    fn a_via_port_replaces_host_and_port_as_in_the_php_library() {
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
            let endpoint = Endpoint::new(text("siteUrl"), Some(&via)).unwrap();
            assert_eq!(endpoint.uri(), &url.parse::<Uri>().unwrap());
            assert_eq!(endpoint.host_header().unwrap(), text("host_header"));
        }
    }

    #[test]
    fn a_direct_endpoint_is_its_normalized_url() {
        for (url, uri) in [
            ("HTTP://User:pw@Www.Example.ORG:80/a?b#c", "http://www.example.org/a?b"),
            ("http://127.1/", "http://127.0.0.1/"),
            ("http://0x7f000001:8080", "http://127.0.0.1:8080/"),
            ("https://[0:0::1]:1/", "https://[::1]:1/"),
            ("https://example.org./x", "https://example.org./x"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ] {
            let endpoint = Endpoint::new(url, None).unwrap();
            assert_eq!(endpoint.uri().to_string(), uri);
            assert_eq!(endpoint.host_header(), None);
        }
    }

    #[test]
    fn the_reason_why_a_url_is_refused_is_reported() {
        for (url, message) in [
            ("", "the site's URL is invalid: relative URL without a base"),
            ("/civicrm", "the site's URL is invalid: relative URL without a base"),
            ("http://", "the site's URL is invalid: empty host"),
            ("http://a b/", "the site's URL is invalid: invalid international domain name"),
            ("http://1.2.3.4.5/", "the site's URL is invalid: invalid IPv4 address"),
            ("http://h:99999/", "the site's URL is invalid: invalid port number"),
            ("ftp://example.org/", "only http and https are supported, not ftp"),
            ("javascript:alert(1)", "only http and https are supported, not javascript"),
            ("file:///etc/passwd", "only http and https are supported, not file"),
        ] {
            assert_eq!(Endpoint::new(url, None).unwrap_err(), blocked(message), "{url:?}");
        }
    }

    #[test]
    fn a_redirect_is_relative_to_the_site_and_drops_the_via_port() {
        let endpoint = Endpoint::new("http://h.example.org:81/a/b?q", via("10.0.0.1:6000").as_ref()).unwrap();
        for (location, uri) in [
            ("c", "http://h.example.org:81/a/c"),
            ("/c?d", "http://h.example.org:81/c?d"),
            ("//other.example/", "http://other.example/"),
            ("https://u:p@other.example/?k=1", "https://other.example/?k=1"),
        ] {
            let next = endpoint.redirected(location).unwrap();
            assert_eq!((next.uri().to_string().as_str(), next.host_header()), (uri, None));
        }
        assert_eq!(endpoint.redirected("data:,x").unwrap_err().class, FailureClass::Blocked);
    }

    #[test]
    fn user_info_is_sent_to_the_site_only() {
        let sent = |endpoint: &Endpoint| {
            let header = endpoint.authorization()?.to_str().unwrap().strip_prefix("Basic ").unwrap();
            Some(String::from_utf8(BASE64_STANDARD.decode(header).unwrap()).unwrap())
        };
        for (user_info, expected) in [
            ("", None),
            ("@", None),
            ("jo:sesame@", Some("jo:sesame")),
            ("jo@", Some("jo:")),
            (":sesame@", Some(":sesame")),
            ("j%C3%B6:a%3Ab%40c+d@", Some("jö:a:b@c+d")),
            ("jö:ß@", Some("jö:ß")),
        ] {
            let endpoint = Endpoint::new(&format!("http://{user_info}site.example/a"), None).unwrap();
            assert_eq!(sent(&endpoint).as_deref(), expected, "{user_info}");
            assert!(!format!("{endpoint:?}").contains("Basic"), "{endpoint:?}");
        }
        let endpoint = Endpoint::new("http://jo:sesame@site.example/a", via("10.0.0.1:6000").as_ref()).unwrap();
        assert_eq!(sent(&endpoint).as_deref(), Some("jo:sesame"));
        for (location, is_same) in [
            ("/b", true),
            ("http://site.example:80/b", true),
            ("http://other:x@site.example/b", true),
            ("https://site.example/b", false),
            ("http://site.example:81/b", false),
            ("http://www.site.example/b", false),
            ("http://other:x@other.example/b", false),
        ] {
            let next = endpoint.redirected(location).unwrap();
            assert_eq!(sent(&next).as_deref(), is_same.then_some("jo:sesame"), "{location}");
            assert_eq!(sent(&next.redirected("http://site.example/").unwrap()).is_some(), is_same, "{location}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(
            url in "(https?://)?\\PC{0,40}|.*", via_port in "[a-z0-9.:-]{1,20}:[0-9]{1,5}"
        ) {
            let _ = Endpoint::new(&url, via(&via_port).as_ref());
            if let Ok(endpoint) = Endpoint::new(&url, None) {
                let _ = endpoint.redirected(&url);
                prop_assert!(endpoint.uri().authority().is_some_and(|authority| !authority.as_str().contains('@')));
                // Both parsers must agree on the host.
                prop_assert_eq!(endpoint.uri().host(), endpoint.site.host_str());
            }
        }
    }
}
