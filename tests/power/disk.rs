//! What a disk may hold after the power was cut.
//!
//! A file's bytes last once an `fsync` or `fdatasync` of it began after they were written and has returned. Until then
//! each sector holds what it held at any moment since: the order of writes means nothing, `sync_file_range` neither.
//! The length is that of any moment too, and what lies within but was not written is zeros.
//!
//! A folder's names last likewise once the folder was synced; a rename happens whole or not at all. Until then it depends:
//!
//! - [`Names::Scattered`]: any subset may be lost, also of what happened first. POSIX promises no more.
//! - [`Names::Ordered`]: they are lost from the end on. So ext4, XFS and btrfs keep them, in a journal or a log; and to
//!   sync a new file there makes its name last, with all names before it ([`FSYNC_KEEPS_NAME`]).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::random::Random;
use super::trace::{Event, Op};

/// Whether syncing a new file makes its name last where names are kept in order.
const FSYNC_KEEPS_NAME: bool = true;
/// What a disk writes whole.
const SECTOR: u64 = 512;
/// What the kernel writes out together, mostly.
const PAGE: u64 = 4096;
/// Before [`NOW`], so that what never lasts does not last now either.
const NEVER: usize = NOW - 1;
const NOW: usize = usize::MAX;

/// How names of a folder that was not synced are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Names {
    Ordered,
    Scattered,
}

/// The files and folders that a list of operations made, with all that was done to each.
pub struct Disk {
    nodes: Vec<Node>,
    /// How many changes of names there were.
    names: usize,
}

#[derive(Default)]
struct Node {
    folder: bool,
    /// Of a file.
    writes: Vec<Change<Data>>,
    /// Of a folder.
    names: Vec<Change<Named>>,
}

struct Change<T> {
    began: usize,
    done: usize,
    /// The moment from which it lasts.
    lasts: usize,
    what: T,
}

enum Data {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

struct Named {
    /// Its place among all changes of names.
    number: usize,
    /// What names lead to from then on.
    set: Vec<(String, Option<usize>)>,
    /// The moment from which it lasts because the file that was named was synced.
    lasts_by_file: usize,
}

/// Which of the operations that do not last yet are on the disk nevertheless.
pub struct Cut<'a> {
    pub moment: usize,
    pub names: Names,
    pub random: &'a mut Random,
}

impl Disk {
    /// Follows the operations from an empty folder on.
    pub fn follow(events: &[Event]) -> Self {
        let mut disk = Self { nodes: vec![Node { folder: true, ..Node::default() }], names: 0 };
        let mut live: BTreeMap<String, usize> = BTreeMap::from([(String::new(), 0)]);
        for event in events {
            match &event.op {
                Op::Create(path) if live.contains_key(path) => {}
                Op::Create(path) | Op::MakeFolder(path) => {
                    let folder = matches!(event.op, Op::MakeFolder(_));
                    disk.nodes.push(Node { folder, ..Node::default() });
                    live.insert(path.clone(), disk.nodes.len() - 1);
                    disk.name(event, &live, &[(path, Some(disk.nodes.len() - 1))]);
                }
                Op::Rename(from, to) => {
                    let moved = live.remove(from).expect("what is renamed is there");
                    live.insert(to.clone(), moved);
                    // What lies in a folder goes with it.
                    let within = format!("{from}/");
                    let inner: Vec<_> = live.keys().filter(|path| path.starts_with(&within)).cloned().collect();
                    for path in inner {
                        let node = live.remove(&path).expect("it was there");
                        live.insert(format!("{to}/{}", &path[within.len()..]), node);
                    }
                    disk.name(event, &live, &[(from, None), (to, Some(moved))]);
                }
                Op::Remove(path) => {
                    live.remove(path).expect("what is removed is there");
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
        let split =
            |path: &str| path.rsplit_once('/').map_or((String::new(), path.to_owned()), |(f, n)| (f.into(), n.into()));
        let (folder, _) = split(set[0].0);
        assert!(set.iter().all(|(path, _)| split(path).0 == folder), "a rename stays in its folder");
        let set = set.iter().map(|(path, node)| (split(path).1, *node)).collect();
        let what = Named { number: self.names, set, lasts_by_file: NEVER };
        self.names += 1;
        let change = Change { began: event.began, done: event.done, lasts: NEVER, what };
        self.nodes[live[&folder]].names.push(change);
    }

    fn write(&mut self, event: &Event, node: Option<&usize>, what: Data) {
        // What is written to a file without a name is lost anyway.
        let Some(&node) = node else { return };
        self.nodes[node].writes.push(Change { began: event.began, done: event.done, lasts: NEVER, what });
    }

    fn sync(&mut self, event: &Event, node: Option<&usize>) {
        let Some(&node) = node else { return };
        let Node { writes, names, folder } = &mut self.nodes[node];
        for change in writes.iter_mut().filter(|change| change.done < event.began) {
            change.lasts = change.lasts.min(event.done);
        }
        for change in names.iter_mut().filter(|change| change.done < event.began) {
            change.lasts = change.lasts.min(event.done);
        }
        if FSYNC_KEEPS_NAME && !*folder {
            let all = self.nodes.iter_mut().flat_map(|node| &mut node.names);
            for change in all.filter(|change| change.done < event.began) {
                if change.what.set.iter().any(|(_, named)| *named == Some(node)) {
                    change.what.lasts_by_file = change.what.lasts_by_file.min(event.done);
                }
            }
        }
    }

    /// Moments at which the meaning of a cut changes most: around names and syncs.
    pub fn turning_points(events: &[Event]) -> Vec<usize> {
        let turns = events.iter().filter(|event| !matches!(event.op, Op::Write(..)));
        turns.flat_map(|event| [event.began, event.began + 1, event.done + 1]).collect()
    }

    /// Writes down what the operations made where nothing is lost.
    pub fn rebuild_all(&self, target: &Path) {
        let kept = vec![true; self.names];
        self.rebuild_node(
            0,
            &mut Cut { moment: NOW, names: Names::Ordered, random: &mut Random::new(0) },
            &kept,
            target,
        );
    }

    /// Writes down what the disk holds after a cut.
    pub fn rebuild(&self, mut cut: Cut, target: &Path) {
        let kept = self.kept_names(&mut cut);
        self.rebuild_node(0, &mut cut, &kept, target);
    }

    /// Which changes of names are on the disk, by number.
    fn kept_names(&self, cut: &mut Cut) -> Vec<bool> {
        let begun = || self.nodes.iter().flat_map(|node| &node.names).filter(|change| change.began < cut.moment);
        let mut kept = vec![false; self.names];
        match cut.names {
            Names::Ordered => {
                let lasting = begun().filter(|c| c.lasts.min(c.what.lasts_by_file) < cut.moment);
                let least = lasting.map(|change| change.what.number + 1).max().unwrap_or(0);
                let most = begun().map(|change| change.what.number + 1).max().unwrap_or(0);
                let until = least + cut.random.below(most - least + 1);
                kept[..until].fill(true);
            }
            Names::Scattered => {
                let percent = [0, 50, 50, 80, 100][cut.random.below(5)];
                for change in begun() {
                    kept[change.what.number] = change.lasts < cut.moment || cut.random.below(100) < percent;
                }
            }
        }
        kept
    }

    fn rebuild_node(&self, node: usize, cut: &mut Cut, kept: &[bool], target: &Path) {
        if !self.nodes[node].folder {
            let bytes = self.nodes[node].bytes(cut);
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            options.open(target).and_then(|mut file| file.write_all(&bytes)).expect("a file can be written");
            return;
        }
        if fs::metadata(target).is_err() {
            DirBuilder::new().mode(0o700).create(target).expect("a folder can be made");
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
    /// What a file holds after a cut.
    fn bytes(&self, cut: &mut Cut) -> Vec<u8> {
        let begun: Vec<_> = self.writes.iter().filter(|change| change.began < cut.moment).collect();
        let open = begun.iter().filter(|change| change.lasts >= cut.moment).count();
        // Of each unit: how many of the writes that do not last it has seen.
        let unit = [u64::MAX, u64::MAX, u64::MAX, PAGE, PAGE, SECTOR][cut.random.below(6)];
        let whole = [0, open, cut.random.below(open + 1)][cut.random.below(3)];
        let length_seen = [whole, cut.random.below(open + 1), open][cut.random.below(3)];
        let salt = cut.random.next();
        let seen = |number: u64| {
            if unit == u64::MAX { whole } else { Random::new(salt ^ number).below(open + 1) }
        };
        let (mut bytes, mut length, mut turn) = (Vec::<u8>::new(), 0, 0);
        for change in begun {
            let lasts = change.lasts < cut.moment;
            let now = turn;
            turn += usize::from(!lasts);
            let shown = |number: u64| lasts || now < seen(number);
            let length_shown = lasts || now < if unit == u64::MAX { whole } else { length_seen };
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
