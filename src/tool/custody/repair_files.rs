//! Owners and modes of a damaged directory: looking, and changing what was looked at and nothing else.
//!
//! A directory that everybody could write in may be full of traps for the root who repairs it, and they may be set while it
//! is repaired. So every name is opened relative to the directory that it lies in, without following links and without
//! opening what it leads to (`O_PATH`), and looked at and changed by that one descriptor.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, StatxFlags, Uid};
use rustix::io::Errno;

use crate::custody::repair::{MAX_ENTRIES, Seen, Step, Tree, joined};
use crate::machine::files::{EntryKind, FileError, Folder, Owner};
use crate::machine::os;
use charon_files::cluster::names::MAX_DEPTH;

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// It is no longer what was looked at.
    #[error("{} changed since it was looked at", path.display())]
    Changed {
        /// Its path.
        path: PathBuf,
    },
    /// The operating system refused or failed.
    #[error(transparent)]
    File(#[from] FileError),
}

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
        // A descriptor that only names something cannot be given to fchmod(2); the kernel's own link to it can.
        let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::chmod(link, Mode::from_raw_mode(step.mode))
            .map_err(|errno| FileError::new("change the mode of", &self.path, errno))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Mount(u64, u64);

/// Looks at a directory and all that is in it; `None` if there is none. What cannot be listed yet is looked at again once its
/// mode is right.
///
/// # Errors
/// When the operating system refuses or fails, or part of the path is a symbolic link.
pub fn look(path: &Path) -> Result<Option<Tree>, FileError> {
    let root = match Named::open(path) {
        Ok(root) => root,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error),
    };
    let (seen, mount) = root.seen(Path::new(""))?;
    let is_directory = seen.kind == EntryKind::Directory;
    let mut entries = vec![seen];
    if is_directory {
        gather(&root, Path::new(""), mount, 0, &mut entries)?;
    }
    Ok(Some(Tree {
        path: path.to_owned(),
        others_reach_it: others_reach(path),
        entries,
    }))
}

fn gather(
    dir: &Named,
    prefix: &Path,
    mount: Mount,
    depth: usize,
    entries: &mut Vec<Seen>,
) -> Result<(), FileError> {
    let listed = Folder::open_in(&dir.file, &dir.path).and_then(|folder| folder.names());
    let names = match listed {
        Ok(names) => names,
        Err(error) if error.cause.kind() == std::io::ErrorKind::PermissionDenied => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names {
        if entries.len() >= MAX_ENTRIES {
            return Ok(());
        }
        let inner = match dir.inner(&name) {
            Ok(inner) => inner,
            Err(error) if error.is_missing() => continue,
            // It may be listed and not entered.
            Err(error) if error.cause.kind() == std::io::ErrorKind::PermissionDenied => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let path = prefix.join(&name);
        let (mut seen, its_mount) = inner.seen(&path)?;
        seen.same_mount = its_mount == mount;
        let enter = seen.kind == EntryKind::Directory && seen.same_mount;
        entries.push(seen);
        // A stage, or an archive, lies some levels below this program's own directory.
        if enter && depth + 1 < 2 * MAX_DEPTH {
            gather(&inner, &path, mount, depth + 1, entries)?;
        }
    }
    Ok(())
}

/// Whether users without any right here may pass the directories above.
fn others_reach(path: &Path) -> bool {
    path.ancestors()
        .skip(1)
        .all(|dir| rustix::fs::stat(dir).is_ok_and(|stat| stat.st_mode & 0o001 != 0))
}

/// Takes the steps in their order, each only if its entry is still what was looked at.
///
/// # Errors
/// The first that could not be taken; those before it were.
pub fn apply(tree: &Tree, steps: &[Step]) -> Result<(), RepairError> {
    apply_at(tree, steps, &|_| ())
}

fn apply_at(tree: &Tree, steps: &[Step], reached: &dyn Fn(&Path)) -> Result<(), RepairError> {
    for step in steps {
        reached(&step.seen.path);
        let named = Named::open(&joined(&tree.path, &step.seen.path))?;
        let (now, _) = named.seen(&step.seen.path)?;
        if (Seen {
            same_mount: step.seen.same_mount,
            ..now
        }) != step.seen
        {
            return Err(RepairError::Changed { path: named.path });
        }
        named.set(step)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};

    use super::*;
    use crate::custody::repair::plan;
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

        /// Repairs, while somebody does something just before a step.
        fn repair_while(&self, before: &str, act: impl Fn()) -> Result<(), RepairError> {
            let tree = look(&self.data("")).unwrap().unwrap();
            let steps = plan(&tree, OWNER).unwrap();
            assert!(steps.iter().any(|step| step.seen.path == Path::new(before)));
            apply_at(&tree, &steps, &|path| {
                if path == Path::new(before) {
                    act();
                }
            })
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn everything_gets_its_owner_and_mode() {
        let place = Place::new();
        place.repair_while("key", || ()).unwrap();
        for (name, mode) in [
            ("", 0o700),
            ("key", 0o600),
            ("validator_keys", 0o700),
            ("validator_keys/keystore-0.json", 0o600),
        ] {
            let meta = fs::metadata(place.data(name)).unwrap();
            assert_eq!((meta.mode() & 0o7777, meta.uid()), (mode, NOBODY), "{name}");
        }
        let tree = look(&place.data("")).unwrap().unwrap();
        assert_eq!(plan(&tree, OWNER), Ok(Vec::new()));
        assert_eq!(look(&place.data("nothing")).unwrap(), None);
    }

    #[test]
    #[ignore = "needs root"]
    fn what_is_swapped_between_look_and_change_is_not_changed() {
        let keystore = "validator_keys/keystore-0.json";
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
            let place = Place::new();
            let error = place.repair_while(before, || trap(&place)).unwrap_err();
            place.assert_untouched();
            assert!(
                before == keystore || before == "validator_keys",
                "{number}: {error}"
            );
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn a_link_on_the_way_is_no_way() {
        let place = Place::new();
        let linked = place.dir.path().join("linked");
        symlink(place.data(""), &linked).unwrap();
        let through = look(&linked.join("validator_keys"));
        assert!(through.is_err(), "{through:?}");
        assert_eq!(
            look(&linked).unwrap().unwrap().entries[0].kind,
            EntryKind::Symlink
        );
    }
}
