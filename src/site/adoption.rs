//! When the target of permanent redirects takes the place of a siteUrl.

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use url::{Host, Url};

use crate::model::{Failure, SiteUrl};

/// Where the redirects of a call led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    /// The last target, without user info and fragment.
    pub(super) target: Url,
    /// Whether all of them are permanent: 301 or 308.
    pub(super) is_permanent: bool,
}

/// Why a site is not followed to another siteUrl. URLs have neither credentials nor a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFollowed {
    /// The site replies at its siteUrl.
    NoRedirect,
    /// A redirect is not permanent.
    Temporary(String),
    /// A redirect leads from https to http.
    NotHttps(String),
    /// A redirect leads to another domain, or to another port.
    OtherDomain(String),
    /// A redirect leads to a URL that is too long for a siteUrl.
    TooLong,
    /// Redirects lead to more redirects.
    TooManyRedirects,
    /// A poll failed.
    Failed {
        /// The URL that was polled.
        url: String,
        /// How it failed.
        failure: Failure,
    },
}

/// To which targets a site may be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Targets {
    /// All that a user may confirm: those that do not lead from https to http.
    Any,
    /// Of those, only those in the registrable domain of the site, or on its host.
    ///
    /// The port stays, or becomes the default one. Runs follow sites to no others: another domain may belong to others, even
    /// if its server passes requests on to the site, so that a poll succeeds.
    SameDomain,
}

impl Redirection {
    /// A short hash of the siteUrl and the target, by which a redirect is recognised.
    #[must_use]
    pub fn fingerprint(&self, from: &SiteUrl) -> u64 {
        let hash: [u8; 32] = Sha256::digest(format!("{} {}", from.with_credentials(), self.target)).into();
        hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }

    /// The siteUrl that takes the place of `from`. It keeps user name and password only on the same host.
    ///
    /// # Errors
    /// [`NotFollowed::Temporary`], [`NotFollowed::NotHttps`], [`NotFollowed::OtherDomain`].
    pub fn adopted(&self, from: &SiteUrl, targets: Targets) -> Result<SiteUrl, NotFollowed> {
        let shown = || SiteUrl::from(self.target.as_str()).without_query();
        if !self.is_permanent {
            return Err(NotFollowed::Temporary(shown()));
        }
        // What was called is a URL.
        let from = Url::parse(from.with_credentials()).map_err(|_| NotFollowed::OtherDomain(shown()))?;
        if from.scheme() == "https" && self.target.scheme() != "https" {
            return Err(NotFollowed::NotHttps(shown()));
        }
        if targets == Targets::SameDomain && !has_same_domain(&from, &self.target) {
            return Err(NotFollowed::OtherDomain(shown()));
        }
        let mut adopted = self.target.clone();
        if from.host() == self.target.host() {
            // Both succeed for every URL with a host.
            let _ = adopted.set_username(from.username()).and_then(|()| adopted.set_password(from.password()));
        }
        Ok(String::from(adopted).into())
    }
}

/// Whether two URLs are on the same host, or in the same registrable domain.
///
/// The public suffix list decides which domains can be registered. The port must stay, or be the default one.
fn has_same_domain(from: &Url, to: &Url) -> bool {
    let is_expected_port = to.port().is_none() || to.port() == from.port();
    let domain = |url: &Url| match url.host()? {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            Some(psl::domain_str(name).unwrap_or(name).to_owned())
        }
        Host::Ipv4(address) => Some(IpAddr::from(address).to_string()),
        Host::Ipv6(address) => Some(IpAddr::from(address).to_string()),
    };
    is_expected_port && domain(from) == domain(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adopted(from: &str, target: &str, targets: Targets) -> Result<String, NotFollowed> {
        let redirection = Redirection { target: Url::parse(target).unwrap(), is_permanent: true };
        redirection.adopted(&from.into(), targets).map(|url| url.with_credentials().to_owned())
    }

    #[test]
    fn runs_stay_within_the_registrable_domain() {
        for (from, target) in [
            ("http://site.example/a", "https://site.example/a"),
            ("http://site.example/a", "https://www.site.example/de/a?q=b"),
            ("https://www.site.example/a", "https://crm.site.example/a"),
            ("http://a.site.co.uk/", "https://b.site.co.uk/"),
            ("http://site.example./", "https://site.example/"),
            ("http://site.example:8080/", "http://www.site.example:8080/"),
            ("http://site.example:8080/", "https://site.example/"),
            ("http://www.bücher.example/", "https://xn--bcher-kva.example/"),
            ("http://203.0.113.7/a", "https://203.0.113.7/a"),
            ("http://[2001:db8::1]/a", "http://[2001:db8::1]/b"),
            ("http://localhost/a", "http://localhost/b"),
        ] {
            assert_eq!(adopted(from, target, Targets::SameDomain).as_deref(), Ok(target), "{from}");
        }
    }

    #[test]
    fn runs_follow_to_no_other_domain() {
        for (from, target) in [
            ("http://site.example/", "https://other.example/"),
            ("http://site.example/", "https://site.example.attacker.example/"),
            ("http://site.example/", "https://attackersite.example/"),
            // A letter of another alphabet.
            ("http://paypal.com/", "https://xn--pypal-4ve.com/"),
            // Suffixes below which anyone may have a name.
            ("http://site.github.io/", "https://other.github.io/"),
            ("http://site.github.io/", "https://github.io/"),
            ("http://site.co.uk/", "https://other.co.uk/"),
            ("http://site.blogspot.com/", "https://other.blogspot.com/"),
            ("http://a.xn--55qx5d.cn/", "https://b.xn--55qx5d.cn/"),
            ("http://site.s3.amazonaws.com/", "https://other.s3.amazonaws.com/"),
            ("http://203.0.113.7/", "https://203.0.113.8/"),
            ("http://203.0.113.7/", "https://site.example/"),
            ("http://site.example/", "http://169.254.169.254/latest/meta-data/"),
            ("http://site.example/", "http://localhost/"),
            ("http://site.example/", "http://[::1]/"),
            ("http://site.example/", "https://www.site.example:8443/"),
            ("http://203.0.113.7/", "http://203.0.113.7:8080/"),
        ] {
            let refused = SiteUrl::from(target).without_query();
            assert_eq!(adopted(from, target, Targets::SameDomain), Err(NotFollowed::OtherDomain(refused)), "{from}");
            assert_eq!(adopted(from, target, Targets::Any).as_deref(), Ok(target), "{from}");
        }
    }

    #[test]
    fn https_is_kept_and_only_permanent_redirects_count() {
        for targets in [Targets::Any, Targets::SameDomain] {
            let refused = adopted("https://site.example/", "http://site.example/?key", targets);
            assert_eq!(refused, Err(NotFollowed::NotHttps("http://site.example/?…".into())));
        }
        let target = Url::parse("https://site.example/?key").unwrap();
        let temporary = Redirection { target, is_permanent: false };
        let refused = temporary.adopted(&"http://site.example/".into(), Targets::Any);
        assert_eq!(refused, Err(NotFollowed::Temporary("https://site.example/?…".into())));
    }

    #[test]
    fn credentials_stay_on_their_host() {
        for (from, target, expected) in [
            ("http://jo:p%40@site.example/", "https://site.example/a", "https://jo:p%40@site.example/a"),
            ("http://jo@site.example/", "https://site.example/a", "https://jo@site.example/a"),
            ("http://jo:pw@site.example/", "https://www.site.example/a", "https://www.site.example/a"),
        ] {
            assert_eq!(adopted(from, target, Targets::SameDomain).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_redirect_is_recognised_by_both_ends() {
        let to = |target: &str| Redirection { target: Url::parse(target).unwrap(), is_permanent: true };
        let (from, other): (SiteUrl, SiteUrl) = ("http://site.example/".into(), "http://site.example/b".into());
        let seen = to("https://site.example/").fingerprint(&from);
        assert_eq!(seen, to("https://site.example/").fingerprint(&from));
        assert_ne!(seen, to("https://site.example/").fingerprint(&other));
        assert_ne!(seen, to("https://site.example/a").fingerprint(&from));
    }
}
