//! What a disk may hold after the power was cut.
//!
//! The bytes of a file are durable once an `fsync` or `fdatasync` of it began after they were written and has returned.
//! Until then each sector holds what it held at any time since the last sync. The order of writes means nothing, and
//! neither does `sync_file_range`. The length is that of any time too. Bytes within it that were not written are zeros.
//!
//! The names in a directory are durable once the directory was synced. A rename happens whole or not at all. Until then:
//!
//! - [`NameOrder::Scattered`]: any subset may be lost, including the oldest. POSIX promises no more.
//! - [`NameOrder::Ordered`]: the newest are lost first. ext4, XFS and btrfs keep them in a journal or a log. There the sync
//!   of a new file makes its name durable, with all names before it ([`FSYNC_KEEPS_NAME`]).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::trace::{Event, Op};
use crate::testkit::Random;

/// Whether the sync of a new file makes its name durable where names are kept in order.
const FSYNC_KEEPS_NAME: bool = true;
/// The unit that a disk writes whole, in bytes.
const SECTOR: u64 = 512;
/// The unit that the kernel mostly writes, in bytes.
const PAGE: u64 = 4096;
/// The time from which something is durable that never is. It is before [`NOW`].
const NEVER: usize = NOW - 1;
const NOW: usize = usize::MAX;

/// How names in a directory are lost that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameOrder {
    Ordered,
    Scattered,
}

/// The files and directories that operations created, with everything that was done to each.
pub struct Disk {
    nodes: Vec<Node>,
    /// The number of changes of names.
    names: usize,
}

#[derive(Default)]
struct Node {
    is_dir: bool,
    /// The changes of a file.
    writes: Vec<Change<Data>>,
    /// The changes of a directory.
    names: Vec<Change<Named>>,
}

struct Change<T> {
    began: usize,
    done: usize,
    /// The time from which it is durable.
    durable: usize,
    what: T,
}

enum Data {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

struct Named {
    /// Its position among all changes of names. The two ends of a rename have the same.
    number: usize,
    /// The node of each name from then on; `None` removes the name.
    set: Vec<(String, Option<usize>)>,
    /// The time from which it is durable because the named file was synced.
    durable_by_file: usize,
}

/// When the power is cut, and how to choose what is on the disk of the operations that are not durable.
pub struct Cut<'a> {
    pub time: usize,
    pub names: NameOrder,
    pub random: &'a mut Random,
}

impl Disk {
    /// Applies operations to an empty directory.
    pub fn follow(events: &[Event]) -> Self {
        let mut disk = Self { nodes: vec![Node { is_dir: true, ..Node::default() }], names: 0 };
        let mut live: BTreeMap<String, usize> = BTreeMap::from([(String::new(), 0)]);
        for event in events {
            match &event.op {
                Op::Create(path) if live.contains_key(path) => {}
                Op::Create(path) | Op::MakeDir(path) => {
                    let is_dir = matches!(event.op, Op::MakeDir(_));
                    disk.nodes.push(Node { is_dir, ..Node::default() });
                    live.insert(path.clone(), disk.nodes.len() - 1);
                    disk.name(event, &live, &[(path, Some(disk.nodes.len() - 1))]);
                }
                Op::Rename(from, to) => {
                    let moved = live.remove(from).expect("a renamed path exists");
                    live.insert(to.clone(), moved);
                    // The contents of a directory move with it.
                    let within = format!("{from}/");
                    let inner: Vec<_> = live.keys().filter(|path| path.starts_with(&within)).cloned().collect();
                    for path in inner {
                        let node = live.remove(&path).expect("the path exists");
                        live.insert(format!("{to}/{}", &path[within.len()..]), node);
                    }
                    disk.name(event, &live, &[(from, None), (to, Some(moved))]);
                }
                Op::Exchange(one, other) => {
                    let [of_one, of_other] = [one, other].map(|path| live[path]);
                    for (path, node) in std::mem::take(&mut live) {
                        let renamed = [(one, other), (other, one)].into_iter().find_map(|(from, to)| {
                            let rest = path.strip_prefix(from.as_str())?;
                            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
                        });
                        live.insert(renamed.unwrap_or(path), node);
                    }
                    disk.name(event, &live, &[(one, Some(of_other)), (other, Some(of_one))]);
                }
                Op::Remove(path) => {
                    live.remove(path).expect("a removed path exists");
                    disk.name(event, &live, &[(path, None)]);
                }
                Op::Write(path, at, data) => disk.write(event, live.get(path), Data::Write(*at, data.clone())),
                Op::Truncate(path, length) => disk.write(event, live.get(path), Data::Truncate(*length)),
                Op::Sync(path) => disk.sync(event, live.get(path)),
            }
        }
        disk
    }

    fn name(&mut self, event: &Event, live: &BTreeMap<String, usize>, set: &[(&String, Option<usize>)]) {
        let mut by_dir = BTreeMap::<&str, Vec<_>>::new();
        for (path, node) in set {
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
            by_dir.entry(dir).or_default().push((name.to_owned(), *node));
        }
        for (dir, set) in by_dir {
            let what = Named { number: self.names, set, durable_by_file: NEVER };
            let change = Change { began: event.began, done: event.done, durable: durable_from(event), what };
            self.nodes[live[dir]].names.push(change);
        }
        self.names += 1;
    }

    fn write(&mut self, event: &Event, node: Option<&usize>, what: Data) {
        // Data of a file without a name is lost anyway.
        let Some(&node) = node else { return };
        let change = Change { began: event.began, done: event.done, durable: durable_from(event), what };
        self.nodes[node].writes.push(change);
    }

    fn sync(&mut self, event: &Event, node: Option<&usize>) {
        let Some(&node) = node else { return };
        let Node { writes, names, is_dir } = &mut self.nodes[node];
        for change in writes.iter_mut().filter(|change| change.done < event.began) {
            change.durable = change.durable.min(event.done);
        }
        for change in names.iter_mut().filter(|change| change.done < event.began) {
            change.durable = change.durable.min(event.done);
        }
        if FSYNC_KEEPS_NAME && !*is_dir {
            let all = self.nodes.iter_mut().flat_map(|node| &mut node.names);
            for change in all.filter(|change| change.done < event.began) {
                if change.what.set.iter().any(|(_, named)| *named == Some(node)) {
                    change.what.durable_by_file = change.what.durable_by_file.min(event.done);
                }
            }
        }
    }

    /// Returns the times at which a cut makes the greatest difference: around names and syncs.
    pub fn turning_points(events: &[Event]) -> Vec<usize> {
        let turns = events.iter().filter(|event| !matches!(event.op, Op::Write(..)));
        turns.flat_map(|event| [event.began, event.began + 1, event.done + 1]).collect()
    }

    /// Writes the files where nothing is lost.
    pub fn rebuild_all(&self, target: &Path) {
        let kept = vec![true; self.names];
        self.rebuild_node(
            0,
            &mut Cut { time: NOW, names: NameOrder::Ordered, random: &mut Random::new(0) },
            &kept,
            target,
        );
    }

    /// Writes the files as they are after a cut.
    pub fn rebuild(&self, mut cut: Cut, target: &Path) {
        let kept = self.kept_names(&mut cut);
        self.rebuild_node(0, &mut cut, &kept, target);
    }

    /// Chooses the changes of names that are on the disk, by number.
    fn kept_names(&self, cut: &mut Cut) -> Vec<bool> {
        let started = || self.nodes.iter().flat_map(|node| &node.names).filter(|change| change.began < cut.time);
        let mut kept = vec![false; self.names];
        match cut.names {
            NameOrder::Ordered => {
                let durable = started().filter(|c| c.durable.min(c.what.durable_by_file) < cut.time);
                let least = durable.map(|change| change.what.number + 1).max().unwrap_or(0);
                let most = started().map(|change| change.what.number + 1).max().unwrap_or(0);
                let until = least + cut.random.below(most - least + 1);
                kept[..until].fill(true);
            }
            NameOrder::Scattered => {
                let percent = [0, 50, 50, 80, 100][cut.random.below(5)];
                let luck: Vec<_> = kept.iter().map(|_| cut.random.below(100) < percent).collect();
                for change in started() {
                    let number = change.what.number;
                    kept[number] |= change.durable < cut.time || luck[number];
                }
            }
        }
        kept
    }

    fn rebuild_node(&self, node: usize, cut: &mut Cut, kept: &[bool], target: &Path) {
        if !self.nodes[node].is_dir {
            let bytes = self.nodes[node].bytes(cut);
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            options.open(target).and_then(|mut file| file.write_all(&bytes)).expect("a file can be written");
            return;
        }
        if fs::metadata(target).is_err() {
            DirBuilder::new().mode(0o700).create(target).expect("a directory can be created");
        }
        let mut entries = BTreeMap::new();
        for change in self.nodes[node].names.iter().filter(|change| kept[change.what.number]) {
            for (name, leads_to) in &change.what.set {
                entries.insert(name, *leads_to);
            }
        }
        for (name, leads_to) in entries {
            if let Some(node) = leads_to {
                self.rebuild_node(node, cut, kept, &target.join(name));
            }
        }
    }
}

impl Node {
    /// Returns the bytes of a file after a cut.
    fn bytes(&self, cut: &mut Cut) -> Vec<u8> {
        let started: Vec<_> = self.writes.iter().filter(|change| change.began < cut.time).collect();
        let pending = started.iter().filter(|change| change.durable >= cut.time).count();
        // The number of writes that are not durable and that each unit received.
        let unit = [u64::MAX, u64::MAX, u64::MAX, PAGE, PAGE, SECTOR][cut.random.below(6)];
        let whole = [0, pending, cut.random.below(pending + 1)][cut.random.below(3)];
        let length_seen = [whole, cut.random.below(pending + 1), pending][cut.random.below(3)];
        let salt = cut.random.next();
        let seen = |number: u64| {
            if unit == u64::MAX { whole } else { Random::new(salt ^ number).below(pending + 1) }
        };
        let (mut bytes, mut length, mut turn) = (Vec::<u8>::new(), 0, 0);
        for change in started {
            let is_durable = change.durable < cut.time;
            let now = turn;
            turn += usize::from(!is_durable);
            let shown = |number: u64| is_durable || now < seen(number);
            let length_shown = is_durable || now < if unit == u64::MAX { whole } else { length_seen };
            match &change.what {
                Data::Write(at, data) => {
                    let end = at + data.len() as u64;
                    length = if length_shown { length.max(end) } else { length };
                    bytes.resize(bytes.len().max(index(end)), 0);
                    for part in units(*at..end, unit).filter(|part| shown(part.start / unit)) {
                        let data = &data[index(part.start - at)..index(part.end - at)];
                        bytes[index(part.start)..index(part.end)].copy_from_slice(data);
                    }
                }
                Data::Truncate(to) => {
                    length = if length_shown { *to } else { length };
                    bytes.resize(bytes.len().max(index(*to)), 0);
                    let end = bytes.len() as u64;
                    for part in units(*to..end, unit).filter(|part| shown(part.start / unit)) {
                        bytes[index(part.start)..index(part.end)].fill(0);
                    }
                }
            }
        }
        bytes.resize(index(length), 0);
        bytes
    }
}

/// Returns the time from which an operation is durable without a sync.
///
/// What was there at first is durable from the beginning.
fn durable_from(event: &Event) -> usize {
    if event.done == 0 { 0 } else { NEVER }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("files of tests are small")
}

/// Cuts a range at the borders of units.
fn units(range: Range<u64>, unit: u64) -> impl Iterator<Item = Range<u64>> {
    let mut from = range.start;
    std::iter::from_fn(move || {
        let start = from;
        from = range.end.min((start / unit).saturating_add(1).saturating_mul(unit));
        (start < range.end).then_some(start..from)
    })
}
