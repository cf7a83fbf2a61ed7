//! What `charon version` said inside images, remembered in this user's cache.
//!
//! An image's id follows from its content, so the same id always gives the same answer, and a
//! container need not be started for it again. Whatever is odd about the cache counts as nothing
//! remembered, and an answer that would speak against a ceremony is always the image's own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::ceremony::plan::says_version;
use charon_files::cluster::CharonVersion;

/// `charon version` prints one line.
const MAX_BYTES: u64 = 4 << 10;

/// The user's cache of this program.
#[derive(Debug, Clone)]
pub struct KnownImages {
    dir: Option<PathBuf>,
}

impl KnownImages {
    /// The cache of the user who runs this process: `charon-dkg` in `XDG_CACHE_HOME` or `~/.cache`.
    /// Where that is somebody else's, as with sudo, nothing is remembered.
    pub fn of_this_process() -> Self {
        let from_environment = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute() && is_mine(path));
        let from_home = || {
            let home = std::env::home_dir().filter(|home| is_mine(home));
            home.map(|home| home.join(".cache"))
        };
        let cache = from_environment.or_else(from_home);
        Self {
            dir: cache.map(|cache| cache.join("charon-dkg")),
        }
    }

    /// The output of `charon version` in the image of this id, if it is known to be this release.
    pub fn version_output(&self, id: &str, charon: &CharonVersion) -> Option<String> {
        let path = self.dir.as_ref()?.join(file_name(id)?);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty()).ok()?;
        let file = File::from(file);
        let meta = file.metadata().ok()?;
        let is_safe = meta.uid() == my_uid() && meta.mode() & 0o022 == 0;
        if !meta.is_file() || !is_safe || meta.len() > MAX_BYTES {
            return None;
        }
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        Some(text).filter(|text| says_version(text, charon))
    }

    /// Remembers the output of `charon version` in the image of this id if it is this release;
    /// otherwise, and where that cannot be done, the image is asked again next time.
    pub fn remember(&self, id: &str, charon: &CharonVersion, output: &str) {
        if let (Some(dir), Some(name)) = (&self.dir, file_name(id))
            && says_version(output, charon)
        {
            write(dir, &name, output).ok();
        }
    }
}

fn my_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn is_mine(directory: &Path) -> bool {
    std::fs::metadata(directory).is_ok_and(|meta| meta.is_dir() && meta.uid() == my_uid())
}

/// Whole or not at all: two commands may write the same at the same time.
fn write(dir: &Path, name: &str, output: &str) -> std::io::Result<()> {
    let mut make = std::fs::DirBuilder::new();
    make.recursive(true).mode(0o700).create(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(output.as_bytes())?;
    file.persist(dir.join(name))?;
    Ok(())
}

/// The file of an image; `None` if the id is not of the form `sha256:…`.
fn file_name(id: &str) -> Option<String> {
    let digits = id.strip_prefix("sha256:")?;
    let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| format!("charon-version-{digits}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const PINNED: CharonVersion = CharonVersion::release(1, 10, 3);

    fn id(digit: &str) -> String {
        format!("sha256:{}", digit.repeat(64))
    }

    #[test]
    fn what_an_image_said_is_remembered_for_this_image_alone() {
        let home = tempfile::tempdir().unwrap();
        let known = KnownImages {
            dir: Some(home.path().join("cache/charon-dkg")),
        };
        assert_eq!(known.version_output(&id("a"), &PINNED), None);
        known.remember(&id("a"), &PINNED, "v1.10.3\n");
        known.remember("charon:v1.10.3", &PINNED, "v1.10.3\n");
        assert_eq!(
            known.version_output(&id("a"), &PINNED).as_deref(),
            Some("v1.10.3\n")
        );
        assert_eq!(known.version_output(&id("b"), &PINNED), None);
        assert_eq!(known.version_output("charon:v1.10.3", &PINNED), None);
        assert_eq!(
            known.version_output("sha256:../../etc/passwd", &PINNED),
            None
        );
    }

    #[test]
    fn another_release_is_neither_remembered_nor_believed() {
        let home = tempfile::tempdir().unwrap();
        let known = KnownImages {
            dir: Some(home.path().join("charon-dkg")),
        };
        let file = home
            .path()
            .join("charon-dkg")
            .join(file_name(&id("a")).unwrap());
        for wrong in ["v1.9.0\n", "v1.10.2\n", "no version\n"] {
            known.remember(&id("a"), &PINNED, wrong);
            assert!(!file.exists());
        }
        known.remember(&id("a"), &PINNED, "v1.10.3\n");
        fs::write(&file, "v1.9.0\n").unwrap();
        assert_eq!(known.version_output(&id("a"), &PINNED), None);
        // The image's own answer takes its place.
        known.remember(&id("a"), &PINNED, "v1.10.3\n");
        assert!(known.version_output(&id("a"), &PINNED).is_some());
    }

    #[test]
    fn what_others_could_have_written_is_not_believed() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("charon-dkg");
        let known = KnownImages {
            dir: Some(dir.clone()),
        };
        known.remember(&id("a"), &PINNED, "v1.10.3\n");
        let file = dir.join(file_name(&id("a")).unwrap());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(known.version_output(&id("a"), &PINNED), None);
        let link = dir.join(file_name(&id("b")).unwrap());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&file, link).unwrap();
        assert_eq!(known.version_output(&id("b"), &PINNED), None);
        assert!(known.version_output(&id("a"), &PINNED).is_some());
    }

    #[test]
    fn without_a_home_nothing_is_remembered() {
        let known = KnownImages { dir: None };
        known.remember(&id("a"), &PINNED, "v1.10.3\n");
        assert_eq!(known.version_output(&id("a"), &PINNED), None);
    }
}
