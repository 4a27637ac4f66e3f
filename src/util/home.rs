//! The user's home directory, and paths that begin with it: cron and systemd pass `~` on as it is.

use std::env;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

/// Why a path that begins with `~` cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTilde {
    /// There is no home directory.
    #[error("~ stands for a home directory, and the user has none")]
    NoHome,
    /// It names the home directory of another user.
    #[error("the home directory of a named user is not looked up: write the whole path")]
    NamedUser,
}

/// The user's home directory; `None` if it is not known, or relative.
#[must_use]
pub fn home() -> Option<PathBuf> {
    env::home_dir().filter(|home| home.is_absolute())
}

/// Replaces `~` at the beginning of a path by the home directory. A file of that name is `./~`.
///
/// # Errors
/// [`InvalidTilde`]: there is no home directory, or it would be that of a named user.
pub fn expand(path: &Path) -> Result<PathBuf, InvalidTilde> {
    expand_in(path, home)
}

fn expand_in(path: &Path, home: impl FnOnce() -> Option<PathBuf>) -> Result<PathBuf, InvalidTilde> {
    let mut rest = path.components();
    let Some(Component::Normal(first)) = rest.next() else { return Ok(path.to_owned()) };
    let is_last = rest.as_path().as_os_str().is_empty();
    match first.as_encoded_bytes() {
        b"~" => home().map(|home| if is_last { home } else { home.join(rest) }).ok_or(InvalidTilde::NoHome),
        // A bare name such as `~old.csv` is that of a file.
        [b'~', ..] if !is_last => Err(InvalidTilde::NamedUser),
        _ => Ok(path.to_owned()),
    }
}

/// Reads a path of the configuration file, and expands it.
///
/// # Errors
/// Those of the value, and [`InvalidTilde`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Option::<PathBuf>::deserialize(deserializer)?.map(|path| expand(&path).map_err(de::Error::custom)).transpose()
}

/// The directory that `variable` names, or else one in the home directory; `None` if there is neither.
#[must_use]
pub fn user_dir(variable: &str, in_home: &str) -> Option<PathBuf> {
    user_dir_in(env::var_os(variable), in_home, home)
}

fn user_dir_in(value: Option<OsString>, in_home: &str, home: impl FnOnce() -> Option<PathBuf>) -> Option<PathBuf> {
    // The specification has relative paths ignored.
    value.map(PathBuf::from).filter(|path| path.is_absolute()).or_else(|| Some(home()?.join(in_home)))
}

/// Makes temporary files of this process go to `TMPDIR`, in which `~` is expanded.
///
/// They go to `/tmp` if it is empty.
pub fn expand_temp_dir() {
    let dir = env::temp_dir();
    if let Ok(expanded) = if dir.as_os_str().is_empty() { Ok("/tmp".into()) } else { expand(&dir) }
        && expanded != dir
    {
        // It fails if it was done before.
        let _ = tempfile::env::override_temp_dir(&expanded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_directory_at_the_beginning_only() {
        let expanded = |path: &str| expand_in(Path::new(path), || Some("/home/me".into()));
        for (path, expected) in [
            ("~", "/home/me"),
            ("~/", "/home/me"),
            ("~/store/a", "/home/me/store/a"),
            ("./~/store", "./~/store"),
            ("a/~", "a/~"),
            ("/~", "/~"),
            ("~old.csv", "~old.csv"),
            ("store", "store"),
            ("-", "-"),
            ("", ""),
        ] {
            assert_eq!(expanded(path), Ok(expected.into()), "{path}");
        }
        assert_eq!(expanded("~root/store"), Err(InvalidTilde::NamedUser));
        assert_eq!(expand_in(Path::new("~/store"), || None), Err(InvalidTilde::NoHome));
        assert_eq!(expand_in(Path::new("/store"), || None), Ok("/store".into()));
    }

    #[test]
    fn a_variable_names_a_directory_of_the_user_if_it_is_absolute() {
        let found = |value: Option<&str>, home: Option<&str>| {
            user_dir_in(value.map(OsString::from), ".config", || home.map(PathBuf::from))
        };
        assert_eq!(found(Some("/etc/me"), None), Some("/etc/me".into()));
        for ignored in [None, Some(""), Some("~/.config"), Some("relative")] {
            assert_eq!(found(ignored, Some("/home/me")), Some("/home/me/.config".into()));
            assert_eq!(found(ignored, None), None);
        }
    }
}
