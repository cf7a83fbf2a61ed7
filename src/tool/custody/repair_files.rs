//! Owners and modes of a damaged directory: looking, and changing what was looked at and nothing else.
//!
//! A directory that everybody could write in may be full of traps for the root who repairs it, and they may be set while it
//! is repaired. So every name is opened relative to its directory, without following links and without
//! opening what it leads to (`O_PATH`), and looked at and, if what was agreed to is what is there, changed by that one
//! descriptor.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, StatxFlags, Uid};
use rustix::io::Errno;

use crate::custody::repair::{MAX_ENTRIES, Seen, Step, Tree};
use crate::machine::files::{EntryKind, FileError, Folder, Owner};
use crate::machine::os;
use charon_files::cluster::names::MAX_DEPTH;

/// Something opened without opening it: a descriptor that only names it.
struct Named {
    file: File,
    path: PathBuf,
}

impl Named {
    /// Opens a path, no part of which may be a symbolic link.
    fn open(path: &Path) -> Result<Self, FileError> {
        let mut named = Self::at(&rustix::fs::CWD, OsStr::new("/"), PathBuf::from("/"))?;
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => named = named.inner(name)?,
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(FileError::new("open", path, Errno::INVAL));
                }
            }
        }
        Ok(named)
    }

    fn at(dir: &impl std::os::fd::AsFd, name: &OsStr, path: PathBuf) -> Result<Self, FileError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Self {
                file: File::from(fd),
                path,
            }),
            Err(errno) => Err(FileError::new("open", path, errno)),
        }
    }

    fn inner(&self, name: &OsStr) -> Result<Self, FileError> {
        Self::at(&self.file, name, self.path.join(name))
    }

    /// What it is, by its descriptor.
    fn seen(&self, path: &Path) -> Result<(Seen, Mount), FileError> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let stat = rustix::fs::statx(&self.file, "", AtFlags::EMPTY_PATH, wanted)
            .map_err(|errno| FileError::new("look at", &self.path, errno))?;
        let mode = u32::from(stat.stx_mode);
        let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        let seen = Seen {
            path: path.to_owned(),
            kind: os::kind_of_mode(mode),
            owner: Owner {
                uid: stat.stx_uid,
                gid: stat.stx_gid,
            },
            mode: mode & 0o7777,
            list: os::access_list(mode, |name, into| {
                rustix::fs::getxattr(self.link(), name, into)
            }),
            names: stat.stx_nlink.into(),
            same_mount: true,
            identity: (device, stat.stx_ino),
        };
        // Kernels before 5.8 leave the mount's id at 0, and then only the device counts.
        Ok((seen, Mount(device, stat.stx_mnt_id)))
    }

    fn set(&self, step: &Step) -> Result<(), FileError> {
        if step.changes_owner() {
            let owner = (Uid::from_raw(step.owner.uid), Gid::from_raw(step.owner.gid));
            rustix::fs::chownat(
                &self.file,
                "",
                Some(owner.0),
                Some(owner.1),
                AtFlags::EMPTY_PATH,
            )
            .map_err(|errno| FileError::new("change the owner of", &self.path, errno))?;
        }
        rustix::fs::chmod(self.link(), Mode::from_raw_mode(step.mode))
            .map_err(|errno| FileError::new("change the mode of", &self.path, errno))
    }

    /// The kernel's own link to it: a descriptor that only names something cannot be given to fchmod(2) and fgetxattr(2).
    fn link(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Mount(u64, u64);

/// Looks at a directory and all that is in it; `None` if it does not exist. `step` says what is to be changed of an entry as it
/// was seen, before what is in it is looked at. What cannot be listed yet is looked at again once its mode is right.
///
/// # Errors
/// When the operating system refuses or fails, or part of the path is a symbolic link.
pub fn walk(
    path: &Path,
    step: &mut dyn FnMut(&Seen) -> Option<Step>,
) -> Result<Option<Tree>, FileError> {
    let root = match Named::open(path) {
        Ok(root) => root,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error),
    };
    let (_, mount) = root.seen(Path::new(""))?;
    let mut walk = Walk {
        mount,
        step,
        entries: Vec::new(),
    };
    walk.visit(&root, Path::new(""), 0)?;
    Ok(Some(Tree {
        path: path.to_owned(),
        others_reach_it: others_reach(path),
        entries: walk.entries,
    }))
}

struct Walk<'a> {
    mount: Mount,
    step: &'a mut dyn FnMut(&Seen) -> Option<Step>,
    entries: Vec<Seen>,
}

impl Walk<'_> {
    fn visit(&mut self, named: &Named, path: &Path, depth: usize) -> Result<(), FileError> {
        let (mut seen, mount) = named.seen(path)?;
        seen.same_mount = mount == self.mount;
        // A stage, or an archive, is some levels below this program's own directory.
        let enter = seen.kind == EntryKind::Directory && seen.same_mount && depth < 2 * MAX_DEPTH;
        if let Some(step) = (self.step)(&seen) {
            named.set(&step)?;
        }
        self.entries.push(seen);
        // It may be listed and not entered.
        let denied = |error: &FileError| error.cause.kind() == std::io::ErrorKind::PermissionDenied;
        if !enter {
            return Ok(());
        }
        let listed = Folder::open_in(&named.file, &named.path).and_then(|folder| folder.names());
        let names = match listed {
            Ok(names) => names,
            Err(error) if denied(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        for name in names {
            if self.entries.len() >= MAX_ENTRIES {
                return Ok(());
            }
            match named.inner(&name) {
                Ok(inner) => self.visit(&inner, &path.join(&name), depth + 1)?,
                Err(error) if error.is_missing() => {}
                Err(error) if denied(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether users without any right here may pass the directories above.
fn others_reach(path: &Path) -> bool {
    path.ancestors()
        .skip(1)
        .all(|dir| rustix::fs::stat(dir).is_ok_and(|stat| stat.st_mode & 0o001 != 0))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};

    use super::*;
    use crate::custody::repair::{joined, plan};
    use crate::machine::testing::{NOBODY, need_root};

    const OWNER: Owner = Owner {
        uid: NOBODY,
        gid: NOBODY,
    };

    /// A directory of another user that everybody could write in, and something of root's beside it.
    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            need_root();
            let dir = tempfile::tempdir().unwrap();
            let place = Self { dir };
            fs::create_dir_all(place.data("validator_keys")).unwrap();
            fs::create_dir(place.dir.path().join("root")).unwrap();
            for (path, mode) in [
                (place.data("key"), 0o777),
                (place.data("validator_keys/keystore-0.json"), 0o777),
                (place.secret(), 0o644),
            ] {
                fs::write(&path, "x").unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
            for path in ["", "key", "validator_keys"] {
                chown(place.data(path), Some(NOBODY), Some(NOBODY)).unwrap();
            }
            place
        }

        fn data(&self, name: &str) -> PathBuf {
            joined(&self.dir.path().join("data"), Path::new(name))
        }

        /// What must stay root's.
        fn secret(&self) -> PathBuf {
            self.dir.path().join("root/keystore-0.json")
        }

        fn assert_untouched(&self) {
            let seen = |path: &Path| {
                let meta = fs::metadata(path).unwrap();
                (meta.uid(), meta.mode() & 0o7777)
            };
            assert_eq!(seen(&self.secret()), (0, 0o644));
            assert_eq!(seen(self.secret().parent().unwrap()).0, 0);
        }

        fn look(&self) -> Tree {
            walk(&self.data(""), &mut |_| None).unwrap().unwrap()
        }

        /// Repairs, while somebody does something: before the second look, or when that has come to an entry.
        fn repair_while(&self, before: Option<&str>, act: &dyn Fn()) {
            let steps = plan(&self.look(), OWNER).unwrap();
            if before.is_none() {
                act();
            }
            walk(&self.data(""), &mut |seen| {
                if before.is_some_and(|name| seen.path == Path::new(name)) {
                    act();
                }
                steps.iter().find(|step| step.seen == *seen).cloned()
            })
            .ok();
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn everything_gets_its_owner_and_mode() {
        let place = Place::new();
        place.repair_while(None, &|| ());
        for (name, mode) in [
            ("", 0o700),
            ("key", 0o600),
            ("validator_keys", 0o700),
            ("validator_keys/keystore-0.json", 0o600),
        ] {
            let meta = fs::metadata(place.data(name)).unwrap();
            assert_eq!((meta.mode() & 0o7777, meta.uid()), (mode, NOBODY), "{name}");
        }
        assert_eq!(plan(&place.look(), OWNER), Ok(Vec::new()));
        let nothing = walk(&place.data("nothing"), &mut |_| None);
        assert_eq!(nothing.unwrap(), None);
    }

    #[test]
    #[ignore = "needs root"]
    fn what_is_swapped_between_look_and_change_is_not_changed() {
        type Trap = fn(&Place);
        let traps: [(&str, Trap); 5] = [
            ("validator_keys/keystore-0.json", |place| {
                let path = place.data("validator_keys/keystore-0.json");
                fs::remove_file(&path).unwrap();
                symlink(place.secret(), path).unwrap();
            }),
            ("validator_keys/keystore-0.json", |place| {
                let path = place.data("validator_keys/keystore-0.json");
                fs::remove_file(&path).unwrap();
                fs::hard_link(place.secret(), path).unwrap();
            }),
            ("validator_keys/keystore-0.json", |place| {
                let path = place.data("validator_keys");
                fs::rename(&path, place.data("away")).unwrap();
                symlink(place.secret().parent().unwrap(), path).unwrap();
            }),
            ("validator_keys/keystore-0.json", |place| {
                let path = place.data("");
                fs::rename(&path, place.dir.path().join("away")).unwrap();
                symlink(place.dir.path().join("root"), path).unwrap();
            }),
            ("validator_keys", |place| {
                let path = place.data("validator_keys");
                fs::rename(&path, place.data("away")).unwrap();
                symlink(place.secret().parent().unwrap(), path).unwrap();
            }),
        ];
        for (number, (before, trap)) in traps.into_iter().enumerate() {
            for moment in [None, Some(before)] {
                let place = Place::new();
                let sprung = std::cell::Cell::new(false);
                place.repair_while(moment, &|| {
                    trap(&place);
                    sprung.set(true);
                });
                assert!(sprung.get(), "{number} {moment:?}");
                place.assert_untouched();
                // The next look sees what is there now.
                assert!(plan(&place.look(), OWNER).is_err(), "{number} {moment:?}");
            }
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn a_link_on_the_way_is_no_way() {
        let place = Place::new();
        let linked = place.dir.path().join("linked");
        symlink(place.data(""), &linked).unwrap();
        let look = |path: &Path| walk(path, &mut |_| None);
        let through = look(&linked.join("validator_keys"));
        assert!(through.is_err(), "{through:?}");
        assert_eq!(
            look(&linked).unwrap().unwrap().entries[0].kind,
            EntryKind::Symlink
        );
    }
}
