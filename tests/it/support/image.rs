//! What is on a disk and what is only in memory, and what is left of both when the power goes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// One change of the disk, or what someone was told of it.
#[derive(Debug, Clone)]
pub enum Change {
    /// A directory was made.
    Made(String),
    /// A new file was written.
    Written(String, Bytes),
    /// A file got a second name.
    Linked(String, String),
    /// A file got another name.
    Renamed(String, String),
    /// A name was taken away.
    Removed(String),
    /// A file's content is on disk.
    FileSynced(String),
    /// A directory's names are on disk.
    DirectorySynced(String),
    /// The sync of a file failed: what was not on disk never will be.
    FileLost(String),
    /// The sync of a directory failed: what was not on disk never will be.
    DirectoryLost(String),
    /// The committer was told that its log entry is there.
    Told(String, Bytes),
}

/// How a disk forgets what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgets {
    /// Nothing of it got to the disk.
    All,
    /// Names did, contents did not: the files are empty.
    Contents,
    /// Names did, contents in part.
    Ends,
    /// Each name and each content for itself did, in part or not: a disk writes in any order.
    Some,
}

impl Forgets {
    /// All ways.
    pub const WAYS: [Self; 4] = [Self::All, Self::Contents, Self::Ends, Self::Some];
}

#[derive(Debug, Clone)]
enum Named {
    File(usize),
    Directory,
}

impl Named {
    fn same(one: Option<&Self>, other: Option<&Self>) -> bool {
        match (one, other) {
            (Some(Self::File(one)), Some(Self::File(other))) => one == other,
            (Some(Self::Directory), Some(Self::Directory)) | (None, None) => true,
            _ => false,
        }
    }
}

#[derive(Debug, Clone)]
struct Content {
    bytes: Bytes,
    synced: bool,
    lost: bool,
}

/// Names and contents, as programs see them and as they are on disk.
#[derive(Debug, Clone, Default)]
pub struct Image {
    contents: Vec<Content>,
    now: BTreeMap<String, Named>,
    on_disk: BTreeMap<String, Named>,
    /// Names whose last change no sync brings to the disk any more.
    lost: BTreeSet<String>,
}

/// The directory that `at` is in.
pub fn parent(at: &str) -> &str {
    at.rsplit_once('/').map_or("", |(above, _)| above)
}

impl Image {
    /// A disk that holds the directory `root` and these files for good.
    pub fn holding(root: &str, files: &BTreeMap<String, Bytes>) -> Self {
        let mut image = Self::default();
        image.now.insert(root.to_owned(), Named::Directory);
        for (at, bytes) in files {
            let mut directory = parent(at);
            while !directory.is_empty() {
                image.now.insert(directory.to_owned(), Named::Directory);
                directory = parent(directory);
            }
            image.now.insert(at.clone(), Named::File(image.contents.len()));
            image.contents.push(Content {
                bytes: bytes.clone(),
                synced: true,
                lost: false,
            });
        }
        image.on_disk.clone_from(&image.now);
        image
    }

    fn put(&mut self, at: &str, named: Option<Named>) {
        self.lost.remove(at);
        match named {
            Some(named) => self.now.insert(at.to_owned(), named),
            None => self.now.remove(at),
        };
    }

    /// Whether programs see something there.
    pub fn has(&self, at: &str) -> bool {
        self.now.contains_key(at)
    }

    /// Takes in one change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Made(at) => self.put(at, Some(Named::Directory)),
            Change::Written(at, bytes) => {
                self.put(at, Some(Named::File(self.contents.len())));
                self.contents.push(Content {
                    bytes: bytes.clone(),
                    synced: false,
                    lost: false,
                });
            }
            Change::Linked(from, to) => self.put(to, self.now.get(from).cloned()),
            Change::Renamed(from, to) => {
                self.put(to, self.now.get(from).cloned());
                self.put(from, None);
            }
            Change::Removed(at) => self.put(at, None),
            Change::FileSynced(at) => {
                let content = self.content(at);
                content.synced = !content.lost;
            }
            Change::FileLost(at) => {
                let content = self.content(at);
                content.lost = !content.synced;
            }
            Change::DirectorySynced(at) => {
                for name in self.changed_names(at) {
                    if !self.lost.contains(&name) {
                        match self.now.get(&name).cloned() {
                            Some(named) => self.on_disk.insert(name, named),
                            None => self.on_disk.remove(&name),
                        };
                    }
                }
            }
            Change::DirectoryLost(at) => self.lost.extend(self.changed_names(at)),
            Change::Told(..) => {}
        }
    }

    fn content(&mut self, at: &str) -> &mut Content {
        match self.now[at] {
            Named::File(content) => &mut self.contents[content],
            Named::Directory => panic!("{at} is a directory"),
        }
    }

    /// The names in a directory that are not on disk as they are now.
    fn changed_names(&self, directory: &str) -> Vec<String> {
        let names = self.now.keys().chain(self.on_disk.keys());
        names
            .filter(|name| parent(name) == directory && !name.is_empty())
            .filter(|name| !Named::same(self.now.get(*name), self.on_disk.get(*name)))
            .cloned()
            .collect()
    }

    /// The files that are left when the power goes now.
    pub fn left(&self, forgets: Forgets, dice: &mut ChaCha8Rng) -> BTreeMap<String, Bytes> {
        let on_disk = self.on_disk.iter();
        let mut names: BTreeMap<&str, &Named> = on_disk.map(|(name, named)| (name.as_str(), named)).collect();
        for name in self.now.keys().chain(self.on_disk.keys()) {
            let (now, on_disk) = (self.now.get(name), self.on_disk.get(name));
            if Named::same(now, on_disk) {
                continue;
            }
            let arrived = !self.lost.contains(name)
                && match forgets {
                    Forgets::All => false,
                    Forgets::Contents | Forgets::Ends => true,
                    Forgets::Some => dice.random(),
                };
            match now {
                Some(named) if arrived => names.insert(name.as_str(), named),
                None if arrived => names.remove(name.as_str()),
                _ => None,
            };
        }
        let reached = |name: &str| {
            let mut above = parent(name);
            while !above.is_empty() && names.contains_key(above) {
                above = parent(above);
            }
            above.is_empty()
        };
        let mut files = BTreeMap::new();
        for (name, named) in &names {
            if let Named::File(content) = named
                && reached(name)
            {
                files.insert((*name).to_owned(), self.contents[*content].left(forgets, dice));
            }
        }
        files
    }

    /// The files as programs see them.
    pub fn seen(&self) -> BTreeMap<&String, &Bytes> {
        let file = |(name, named)| match named {
            &Named::File(content) => Some((name, &self.contents[content].bytes)),
            Named::Directory => None,
        };
        self.now.iter().filter_map(file).collect()
    }
}

impl Content {
    fn left(&self, forgets: Forgets, dice: &mut ChaCha8Rng) -> Bytes {
        if self.synced {
            return self.bytes.clone();
        }
        let torn = |dice: &mut ChaCha8Rng| self.bytes.slice(..dice.random_range(0..=self.bytes.len() * 3 / 4));
        match forgets {
            Forgets::All | Forgets::Contents => Bytes::new(),
            Forgets::Ends => torn(dice),
            Forgets::Some if !self.lost && dice.random() => self.bytes.clone(),
            Forgets::Some if dice.random() => torn(dice),
            Forgets::Some => Bytes::new(),
        }
    }
}
