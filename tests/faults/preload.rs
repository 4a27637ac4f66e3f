//! A library that makes operations on one file fail with EIO, for `LD_PRELOAD`.
//!
//! The test that uses it compiles it with `rustc --crate-type cdylib`. It belongs to no crate, because replacing
//! functions of the C library takes unsafe code.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `FAULT_FILE` | the end of the path of the file |
//! | `FAULT_AT` | `read 3`, `sync 3`, `rename 3`: only the third; `from 3`: it and all later reads; `offset 70`: reads of that byte |
//! | `FAULT_LOG` | a file that gets a line for each operation on the file: `read 0`, `sync`, `rename` |

use std::env;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

const EIO: c_int = 5;
const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
}

struct Settings {
    file: String,
    kind: String,
    number: u64,
    log: Option<String>,
}

static SETTINGS: LazyLock<Option<Settings>> = LazyLock::new(|| {
    let at = env::var("FAULT_AT").unwrap_or_default();
    let (kind, number) = at.split_once(' ').unwrap_or(("none", "0"));
    Some(Settings {
        file: env::var("FAULT_FILE").ok()?,
        kind: kind.to_owned(),
        number: number.parse().ok()?,
        log: env::var("FAULT_LOG").ok(),
    })
});
static READS: AtomicU64 = AtomicU64::new(0);
static SYNCS: AtomicU64 = AtomicU64::new(0);
static RENAMES: AtomicU64 = AtomicU64::new(0);

/// Whether an operation on a file has to fail. Sets `errno` then.
fn fails(path: &str, operation: &str, counter: &AtomicU64, from: u64, len: u64) -> bool {
    let Some(settings) = SETTINGS.as_ref().filter(|settings| path.ends_with(&settings.file)) else { return false };
    let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
    let fails = match settings.kind.as_str() {
        "offset" => operation == "read" && (from..from + len).contains(&settings.number),
        "from" => operation == "read" && count >= settings.number,
        kind => kind == operation && count == settings.number,
    };
    if let Some(log) = &settings.log {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let _ = file.and_then(|mut file| file.write_all(format!("{operation} {from} {fails}\n").as_bytes()));
    }
    if fails {
        unsafe { *__errno_location() = EIO };
    }
    fails
}

/// The path of an open file.
fn path_of(fd: c_int) -> String {
    let path = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    path.to_string_lossy().into_owned()
}

/// The function of the C library that has this name.
macro_rules! original {
    ($name:literal, $type:ty) => {
        std::mem::transmute::<*mut c_void, $type>(dlsym(RTLD_NEXT, $name.as_ptr()))
    };
}

type Read = unsafe extern "C" fn(c_int, *mut c_void, usize) -> isize;
type ReadAt = unsafe extern "C" fn(c_int, *mut c_void, usize, i64) -> isize;
type Sync = unsafe extern "C" fn(c_int) -> c_int;
type Rename = unsafe extern "C" fn(*const c_char, *const c_char) -> c_int;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, len: usize) -> isize {
    if fails(&path_of(fd), "read", &READS, 0, len as u64) {
        return -1;
    }
    unsafe { original!(c"read", Read)(fd, buffer, len) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pread64(fd: c_int, buffer: *mut c_void, len: usize, offset: i64) -> isize {
    if fails(&path_of(fd), "read", &READS, offset.cast_unsigned(), len as u64) {
        return -1;
    }
    unsafe { original!(c"pread64", ReadAt)(fd, buffer, len, offset) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    if fails(&path_of(fd), "sync", &SYNCS, 0, 0) {
        return -1;
    }
    unsafe { original!(c"fsync", Sync)(fd) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let path = unsafe { CStr::from_ptr(to) }.to_string_lossy();
    if fails(&path, "rename", &RENAMES, 0, 0) {
        return -1;
    }
    unsafe { original!(c"rename", Rename)(from, to) }
}
