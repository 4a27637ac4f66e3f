//! Which app and which of its resources a path names.

use crate::model::AppId;

/// What an app has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    /// Takes registrations.
    Endpoint,
    /// Its metadata, which sites read before they connect.
    Metadata,
}

/// A resource of an app.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) app_id: AppId,
    pub(super) resource: Resource,
}

impl Route {
    /// Reads `PATH_INFO`; `None` if it names nothing. The app may be unknown.
    ///
    /// It is never the name of a file. The paths are those of cxnapp, since sites keep them for years.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (name, resource) = path.strip_prefix('/')?.split_once('/')?;
        let resource = match resource {
            "cxn" | "cxn/" | "cxn/register" | "cxn/register/" => Resource::Endpoint,
            "cxn/metadata.json" => Resource::Metadata,
            _ => return None,
        };
        Some(Self { app_id: AppId::from_argument(name).ok()?, resource })
    }
}

impl Resource {
    /// The methods that it takes, as the header `Allow` has them.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::Endpoint => "POST",
            Self::Metadata => "GET, HEAD",
        }
    }

    /// Whether it takes a method.
    pub(super) fn takes(self, method: &str) -> bool {
        self.methods().split(", ").any(|taken| taken == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_cxnapp_are_those_of_resources() {
        for (path, resource) in [
            ("/app:org.example.poll/cxn", Resource::Endpoint),
            ("/org.example.poll/cxn", Resource::Endpoint),
            ("/org.example.poll/cxn/", Resource::Endpoint),
            ("/app:org.example.poll/cxn/register", Resource::Endpoint),
            ("/org.example.poll/cxn/register/", Resource::Endpoint),
            ("/app:org.example.poll/cxn/metadata.json", Resource::Metadata),
            ("/org.example.poll/cxn/metadata.json", Resource::Metadata),
        ] {
            let app_id = "app:org.example.poll".parse().unwrap();
            assert_eq!(Route::of(path), Some(Route { app_id, resource }), "{path}");
        }
    }

    #[test]
    fn other_paths_name_nothing() {
        for path in [
            "",
            "/",
            "cxn",
            "/cxn",
            "/cxn/metadata.json",
            "org.example.poll/cxn",
            "//cxn",
            "/org.example.poll",
            "/org.example.poll/",
            "/org.example.poll/cxn//",
            "/org.example.poll//cxn",
            "/org.example.poll/cxn/apps",
            "/org.example.poll/cxn/registers",
            "/org.example.poll/cxn/metadata.json/",
            "/org.example.poll/CXN",
            "/../cxn",
            "/.hidden/cxn",
            "/app:/cxn",
            "/app:app:org.example.poll/cxn",
            "/../../etc/passwd/cxn",
            "/a b/cxn",
            "/\u{fffd}/cxn",
            "/org.example.poll\0/cxn",
        ] {
            assert_eq!(Route::of(path), None, "{path:?}");
        }
    }

    #[test]
    fn each_resource_has_its_methods() {
        let taken =
            |resource: Resource| ["POST", "GET", "HEAD", "post", "PUT", "", "GET, HEAD"].map(|m| resource.takes(m));
        assert_eq!(taken(Resource::Endpoint), [true, false, false, false, false, false, false]);
        assert_eq!(taken(Resource::Metadata), [false, true, true, false, false, false, false]);
    }
}
