//! Links to pages of an app that a site shows: their tokens.

use hmac::Mac;

use super::message::{TTL_S, mac};
use crate::model::{CxnId, UnixTime};
use crate::util::text::parse_digits;

/// Separates the signature of a token from its time.
const SEPARATOR: &str = ";;;";

/// Whether a text can be the name of a page: letters, digits and `_`, at least one.
#[must_use]
pub fn is_page(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The token that opens the pages of a connection for two hours from `now`.
///
/// `link_secret` is the text that the app and its pages share.
#[must_use]
pub fn token(link_secret: &str, cxn_id: &CxnId, now: UnixTime) -> String {
    let expires = now.saturating_add(TTL_S);
    let signature = hex::encode(signature(link_secret, expires, cxn_id).finalize().into_bytes());
    format!("{signature}{SEPARATOR}{expires}")
}

/// Whether a token opens the pages of a connection at the time `now`.
///
/// It has exactly two parts, and its time has only digits. The signature is compared in constant time.
#[must_use]
pub fn check_token(link_secret: &str, cxn_id: &CxnId, token: &str, now: UnixTime) -> bool {
    let Some((signed, expires)) = token.split_once(SEPARATOR) else { return false };
    let Some(expires) = parse_digits::<UnixTime>(expires) else { return false };
    let is_lower = !signed.bytes().any(|byte| byte.is_ascii_uppercase());
    let signed = hex::decode(signed).unwrap_or_default();
    is_lower && now < expires && signature(link_secret, expires, cxn_id).verify_slice(&signed).is_ok()
}

fn signature(link_secret: &str, expires: UnixTime, cxn_id: &CxnId) -> impl Mac {
    mac(link_secret.as_bytes(), format!("{expires}{SEPARATOR}{}", cxn_id.as_str()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::registration::tests::file;

    #[test]
    fn tokens_are_those_of_cxnapp() {
        let links = &file()["links"];
        let mut made = 0;
        for link in links["made"].as_array().unwrap() {
            let Some(url) = link["values"]["url"].as_str() else { continue };
            let cxn_id = link["values"]["cxn_id"].as_str().unwrap().parse().unwrap();
            let token = token(links["secret"].as_str().unwrap(), &cxn_id, link["at"].as_i64().unwrap());
            assert_eq!(url.rsplit_once("cxnToken=").unwrap().1, token);
            made += 1;
        }
        assert!(made >= 2, "{made}");
    }

    #[test]
    fn only_good_tokens_open_pages() {
        let links = &file()["links"];
        for check in links["check"].as_array().unwrap() {
            let (name, token) = (check["name"].as_str().unwrap(), check["token"].as_str().unwrap());
            let cxn_id = check["cxnId"].as_str().unwrap().parse().unwrap();
            let secret = links["secret"].as_str().unwrap();
            let opens = |now| check_token(secret, &cxn_id, token, now);
            assert_eq!(opens(999), ["good", "good_but_past"].contains(&name), "{name}");
            // A token is good until the second before it expires.
            assert_eq!(opens(1000), name == "good", "{name}");
            assert_eq!(opens(4_102_444_799), name == "good", "{name}");
            assert!(!opens(4_102_444_800), "{name}");
        }
    }

    #[test]
    fn names_of_pages_have_letters_digits_and_underscores() {
        assert!(["settings", "Docs_2"].into_iter().all(is_page));
        assert!(!["", "../x", "a-b", "ä", "a b"].into_iter().any(is_page));
    }
}
