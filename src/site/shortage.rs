//! What this machine can be short of.

use std::io;

use rustix::io::Errno;

use crate::model::{Failure, Fault};

/// The failure of an error that means that this machine lacks something; `None` for any other error.
pub(super) fn shortage(error: &io::Error) -> Option<Failure> {
    let (fault, message) = match Errno::from_io_error(error)? {
        Errno::MFILE => (Fault::OpenFiles, "too many open files: raise the limit (ulimit -n), or use fewer --threads"),
        Errno::NFILE => (Fault::OpenFiles, "too many open files on this machine: raise its limit (sysctl fs.file-max)"),
        Errno::NOMEM | Errno::NOBUFS => (Fault::Memory, "this machine has not enough memory for another connection"),
        _ => return None,
    };
    Some(Failure::local(fault, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cause;

    #[test]
    fn only_a_shortage_of_this_machine_is_one() {
        for (errno, fault) in [
            (Errno::MFILE, Fault::OpenFiles),
            (Errno::NFILE, Fault::OpenFiles),
            (Errno::NOMEM, Fault::Memory),
            (Errno::NOBUFS, Fault::Memory),
        ] {
            assert_eq!(shortage(&errno.into()).map(|failure| failure.cause), Some(Cause::Local(fault)));
        }
        for other in [Errno::CONNREFUSED.into(), io::ErrorKind::TimedOut.into(), io::Error::other("x")] {
            assert_eq!(shortage(&other), None);
        }
    }
}
