//! What the web server passes in the environment.

use std::ffi::OsString;

/// A request, as far as CGI/1.1 has it in variables. What is not UTF-8 is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `REQUEST_METHOD`.
    pub method: String,
    /// `PATH_INFO`, percent-decoded.
    pub path: String,
    /// `CONTENT_LENGTH`; `None` if it is missing or empty.
    pub content_length: Option<String>,
    /// `REMOTE_ADDR`: the address of the client, or of a proxy; empty or other text if there is none.
    pub remote: String,
}

impl Request {
    /// Reads the variables; `None` if no web server has set them.
    ///
    /// `QUERY_STRING`, `CONTENT_TYPE` and all headers are not used.
    pub fn from_variables(read: impl Fn(&'static str) -> Option<OsString>) -> Option<Self> {
        let variable = |name| read(name).map(|value| value.to_string_lossy().into_owned());
        Some(Self {
            method: variable("REQUEST_METHOD")?,
            path: variable("PATH_INFO").unwrap_or_default(),
            content_length: variable("CONTENT_LENGTH").filter(|length| !length.is_empty()),
            remote: variable("REMOTE_ADDR").unwrap_or_default(),
        })
    }

    /// Whether the reply has no body.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn the_variables_of_cgi_are_read() {
        let variables = |name: &str| match name {
            "REQUEST_METHOD" => Some("HEAD".into()),
            "PATH_INFO" => Some(OsString::from_vec(b"/\xff/cxn".to_vec())),
            "CONTENT_LENGTH" => Some("".into()),
            _ => None,
        };
        let request = Request::from_variables(variables).unwrap();
        assert_eq!((request.path.as_str(), request.remote.as_str()), ("/\u{fffd}/cxn", ""));
        assert!(request.is_head() && request.content_length.is_none());
        assert_eq!(Request::from_variables(|_| None), None);
    }
}
