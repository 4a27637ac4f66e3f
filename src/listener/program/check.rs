//! What would keep a program from starting, found without starting it.

use std::borrow::Cow;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::spawn::Program;
use crate::util::file_error::{FileError, FileOp};

/// Programs whose first argument is the file of a script. They may have a version: `python3.12`.
///
/// Node is not among them, because it adds extensions to the name of the file.
const INTERPRETERS: [&str; 9] = ["sh", "bash", "dash", "ksh", "zsh", "python", "php", "perl", "ruby"];
/// Where a bare name is looked up without PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// How much of a program is read to find its interpreter, in bytes.
const START_BYTES: u64 = 4096;

impl Program {
    /// Lists what is wrong with the working directory and the files of the command.
    pub(crate) fn problems(&self) -> Vec<FileError> {
        if let Err(source) = check_directory(&self.directory) {
            return vec![FileError { op: FileOp::Enter, path: self.directory.clone(), source }];
        }
        let Some((program, arguments)) = self.command.split_first() else { return Vec::new() };
        let program = self.find(program).and_then(|path| self.check_interpreter(path)).err();
        program.into_iter().chain(self.check_script(arguments).err()).collect()
    }

    /// Finds a program as the system does at its start.
    fn find(&self, name: &str) -> Result<PathBuf, FileError> {
        let failed = |path, source| FileError { op: FileOp::Execute, path, source };
        if name.contains('/') {
            let path: PathBuf = self.directory.join(name).components().collect();
            return check_program(&path).map_err(|source| failed(path.clone(), source)).map(|()| path);
        }
        let mut problem = failed(name.into(), io::Error::new(io::ErrorKind::NotFound, "no directory of PATH has it"));
        for path in self.in_path(name) {
            match check_program(&path) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // A later directory may have a better file.
                Err(error) => problem = failed(path, error),
            }
        }
        Err(problem)
    }

    /// The files that a bare name may be, in the order of PATH.
    fn in_path(&self, name: &str) -> Vec<PathBuf> {
        let own = self.env.get("PATH").map(|path| Cow::Borrowed(OsStr::new(path)));
        let path = own.or_else(|| env::var_os("PATH").map(Cow::Owned)).unwrap_or(OsStr::new(DEFAULT_PATH).into());
        env::split_paths(&path).map(|dir| self.directory.join(dir).join(name)).collect()
    }

    /// Checks that a file is no text, or names its interpreter: `#!/bin/sh`, or `#!/usr/bin/env php`.
    fn check_interpreter(&self, program: PathBuf) -> Result<(), FileError> {
        // A program that cannot be read can be executed, unless it is a script.
        let Ok(start) = read_start(&program) else { return Ok(()) };
        if start.contains(&0) {
            return Ok(());
        }
        let found = match interpreter(&start) {
            None => Err(io::Error::other("its first line names no interpreter, as #!/bin/sh does")),
            Some(name) => self.find(&name).map(drop).map_err(|FileError { source, .. }| {
                io::Error::new(source.kind(), format!("its first line names the interpreter {name:?}: {source}"))
            }),
        };
        found.map_err(|source| FileError { op: FileOp::Execute, path: program, source })
    }

    /// Checks the script that an interpreter is to read, where the arguments show which file that is.
    fn check_script(&self, arguments: &[String]) -> Result<(), FileError> {
        let name = self.command.first().and_then(|program| Path::new(program).file_name()).and_then(OsStr::to_str);
        let name = name.unwrap_or_default().trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        // `-u` is Python's option that makes it flush its output.
        let script = arguments.iter().find(|argument| *argument != "-u");
        let Some(script) = script.filter(|script| INTERPRETERS.contains(&name) && !script.starts_with('-')) else {
            return Ok(());
        };
        let path = self.directory.join(script);
        let Err(source) = File::open(&path) else { return Ok(()) };
        // A shell looks up a bare name in PATH, too.
        if !script.contains('/') && self.in_path(script).into_iter().any(|path| File::open(path).is_ok()) {
            return Ok(());
        }
        Err(FileError { op: FileOp::Read, path, source })
    }
}

/// Checks that a directory can be the working directory.
fn check_directory(path: &Path) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    Ok(access(path, Access::EXEC_OK)?)
}

/// Checks that a file can be executed.
fn check_program(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    Ok(access(path, Access::EXEC_OK)?)
}

/// Reads the first bytes of a file.
fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(START_BYTES).read_to_end(&mut start)?;
    Ok(start)
}

/// The interpreter that the first line of a script names; `None` if it names none.
fn interpreter(script: &[u8]) -> Option<String> {
    let line = script.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    // A carriage return belongs to the name, and makes it one that does not exist.
    let line = String::from_utf8_lossy(line);
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let first = words.next()?;
    // `env` looks up its argument in PATH.
    let looked_up =
        words.next().filter(|word| first.ends_with("/env") && !word.starts_with('-') && !word.contains('='));
    Some(looked_up.unwrap_or(first).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    /// A directory with files, each with its text and its mode.
    fn files(files: &[(&str, &str, u32)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text, mode) in files {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, Permissions::from_mode(*mode)).unwrap();
        }
        dir
    }

    fn problems(dir: &Path, command: &[&str], path: Option<&str>) -> Vec<(FileOp, PathBuf, io::ErrorKind)> {
        let command = command.iter().map(|&part| part.to_owned()).collect();
        let env = path.map(|path| ("PATH".to_owned(), path.to_owned())).into_iter().collect();
        let program = Program { command, directory: dir.to_owned(), env, ..Program::default() };
        program.problems().into_iter().map(|error| (error.op, error.path, error.source.kind())).collect()
    }

    #[test]
    fn what_the_system_can_start_has_no_problem() {
        let dir = files(&[
            ("run", "#!/bin/sh\n", 0o755),
            ("spaces", "#! /bin/sh -e\n", 0o755),
            ("env", "#!/usr/bin/env sh\n", 0o755),
            ("binary", "\u{7f}ELF\0", 0o755),
            ("script", "", 0o644),
            ("node", "#!/bin/sh\n", 0o755),
        ]);
        fs::create_dir(dir.path().join("sub")).unwrap();
        for command in [
            &["./run"][..],
            &["./spaces"],
            &["./env"],
            &["./binary"],
            &["sub/../run"],
            &["/bin/sh", "-c", "gone"],
            &["sh", "-c", "gone"],
            &["sh", "script"],
            &["sh", "./script", "gone"],
            &["sh", "-u", "script"],
            &["sh", "true"],
            &["cat", "gone"],
            &["./node", "name-without-js"],
            &["sh"],
        ] {
            assert_eq!(problems(dir.path(), command, None), [], "{command:?}");
        }
        assert_eq!(problems(dir.path(), &["run"], Some("sub::/bin")), []);
        assert_eq!(problems(dir.path(), &["run"], Some("sub:.")), []);
    }

    #[test]
    fn each_file_that_cannot_be_used_is_named() {
        use io::ErrorKind as K;
        let dir = files(&[
            ("plain", "#!/bin/sh\n", 0o644),
            ("windows", "#!/bin/sh\r\n", 0o755),
            ("nowhere", "#!/no/such/shell -e\n", 0o755),
            ("env", "#!/usr/bin/env no-such-shell\n", 0o755),
            ("loop", "#! ./plain\n", 0o755),
            ("empty", "", 0o755),
            ("mark", "\u{feff}#!/bin/sh\n", 0o755),
        ]);
        fs::create_dir(dir.path().join("sub")).unwrap();
        let path = |name: &str| dir.path().join(name);
        for (command, expected) in [
            (&["./gone"][..], (FileOp::Execute, path("gone"), K::NotFound)),
            (&["gone"], (FileOp::Execute, "gone".into(), K::NotFound)),
            (&["./plain"], (FileOp::Execute, path("plain"), K::PermissionDenied)),
            (&["./sub"], (FileOp::Execute, path("sub"), K::IsADirectory)),
            (&["./plain/x"], (FileOp::Execute, path("plain/x"), K::NotADirectory)),
            (&["./windows"], (FileOp::Execute, path("windows"), K::NotFound)),
            (&["./nowhere"], (FileOp::Execute, path("nowhere"), K::NotFound)),
            (&["./env"], (FileOp::Execute, path("env"), K::NotFound)),
            (&["./loop"], (FileOp::Execute, path("loop"), K::PermissionDenied)),
            (&["./empty"], (FileOp::Execute, path("empty"), K::Other)),
            (&["./mark"], (FileOp::Execute, path("mark"), K::Other)),
            (&["sh", "gone.sh"], (FileOp::Read, path("gone.sh"), K::NotFound)),
            (&["/bin/sh", "sub/gone"], (FileOp::Read, path("sub/gone"), K::NotFound)),
            (&["sh", "-u", "gone.sh"], (FileOp::Read, path("gone.sh"), K::NotFound)),
        ] {
            let expected = (expected.0, dir.path().join(expected.1), expected.2);
            let found: Vec<_> = problems(dir.path(), command, None);
            let found: Vec<_> = found.into_iter().map(|(op, path, kind)| (op, dir.path().join(path), kind)).collect();
            assert_eq!(found, [expected], "{command:?}");
        }
        assert_eq!(
            problems(dir.path(), &["plain"], Some(".")),
            [(FileOp::Execute, path("./plain"), K::PermissionDenied)]
        );
        assert_eq!(problems(&path("no"), &["sh", "x"], None), [(FileOp::Enter, path("no"), K::NotFound)]);
        assert_eq!(problems(&path("plain"), &["sh"], None), [(FileOp::Enter, path("plain"), K::NotADirectory)]);
        assert_eq!(problems(dir.path(), &["python3.12", "gone.py"], Some("/nowhere")).len(), 2);
    }
}
