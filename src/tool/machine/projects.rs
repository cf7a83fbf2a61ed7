//! Which projects of this machine have a node's key, as this user's commands met them: somebody in the wrong directory is
//! told where the right one is. It is a convenience, so whatever fails here is passed over.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::machine::files;
use crate::machine::read::{self, Limit};

/// Below the directory that programs keep their state in (XDG base directory specification).
const LIST: &str = "charon-dkg/projects";
/// How many are remembered.
const MOST: usize = 32;
/// So many paths of the greatest length.
const SIZE: Limit = Limit {
    bytes: 32 * 4097,
    what: "the list of projects",
};

/// Remembers a project directory, the one that was used last first.
pub(crate) fn remember(project: &Path) {
    if let Some(list) = list() {
        write(&list, project);
    }
}

/// The project directories that were remembered, the last used first.
pub(crate) fn remembered() -> Vec<PathBuf> {
    list().map_or_else(Vec::new, |list| read(&list))
}

/// This user's own list: with sudo the home directory can be another user's, in which root makes nothing.
fn list() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let absolute = |path: &PathBuf| path.is_absolute();
    let mine = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|meta| meta.uid() == files::own_identity().uid)
    };
    let named = variable("XDG_STATE_HOME").filter(absolute).filter(mine);
    let usual = || {
        let home = variable("HOME").filter(absolute).filter(mine);
        home.map(|home| home.join(".local/state"))
    };
    Some(named.or_else(usual)?.join(LIST))
}

fn read(list: &Path) -> Vec<PathBuf> {
    let bytes = read::read_file(list, SIZE).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines().map(PathBuf::from).collect()
}

/// One path per line. A path that contains a line end or is not UTF-8 is left out.
fn write(list: &Path, project: &Path) -> Option<()> {
    let line = project.to_str().filter(|path| !path.contains('\n'))?;
    let known = read(list);
    if known.first().is_some_and(|first| first == project) {
        return Some(());
    }
    let others = known.iter().filter(|path| *path != project);
    let lines = others.filter_map(|path| path.to_str()).take(MOST - 1);
    let text: String = std::iter::once(line)
        .chain(lines)
        .map(|line| format!("{line}\n"))
        .collect();
    let dir = list.parent()?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir).ok()?;
    let mut file = tempfile::NamedTempFile::new_in(dir).ok()?;
    file.write_all(text.as_bytes()).ok()?;
    file.persist(list).ok()?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_used_comes_first_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("state/charon-dkg/projects");
        assert_eq!(read(&list), Vec::<PathBuf>::new());
        for project in ["/a", "/b", "/a", "/two\nlines"] {
            write(&list, Path::new(project));
        }
        assert_eq!(read(&list), [PathBuf::from("/a"), PathBuf::from("/b")]);
        for number in 0..MOST {
            write(&list, Path::new(&format!("/{number}")));
        }
        assert_eq!(read(&list).len(), MOST);
        assert_eq!(read(&list)[0], PathBuf::from("/31"));
    }
}
