//! The connections of a report, in little memory.

use crate::model::{Cxn, CxnId, SiteUrl, host};

/// The ids and URLs of connections, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Names {
    text: String,
    /// Where the id, the URL and the other host of each connection end.
    ends: Vec<[u32; 3]>,
}

impl Names {
    /// Adds a connection, and returns its number.
    pub(super) fn add(&mut self, cxn: &Cxn) -> u32 {
        let number = self.ends.len();
        let other_host = cxn.via_port.as_ref().map_or_else(String::new, |_| cxn.host());
        let ends = [cxn.cxn_id.as_str(), &cxn.site_url.to_string(), &other_host].map(|text| {
            self.text.push_str(text);
            u32::try_from(self.text.len()).unwrap_or(u32::MAX)
        });
        self.ends.push(ends);
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// The id of a connection.
    pub(super) fn cxn_id(&self, number: u32) -> CxnId {
        // A `CxnId` was added.
        self.texts(number)[0].parse().expect("the id of a connection")
    }

    /// The URL of a connection, without user name and password.
    pub(super) fn site_url(&self, number: u32) -> SiteUrl {
        self.texts(number)[1].into()
    }

    /// The host that is connected to.
    pub(super) fn host(&self, number: u32) -> String {
        match self.texts(number) {
            [_, site_url, ""] => host(site_url, None),
            [_, _, other] => other.to_owned(),
        }
    }

    fn texts(&self, number: u32) -> [&str; 3] {
        let number = number as usize;
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before][2]);
        let [id, url, host] = self.ends[number];
        [(begin, id), (id, url), (url, host)].map(|(begin, end)| &self.text[begin as usize..end as usize])
    }
}
