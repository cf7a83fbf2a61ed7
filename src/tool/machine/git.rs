//! Keeps git from files in a checkout that belong in no commit: a line for each in the checkout's own `info/exclude`
//! (gitignore(5)). `git add .` and `git clean` leave such files alone, and no commit shows the line.

use std::io::{Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

use crate::machine::files::{self, EntryKind, FileError, Folder, Status};
use crate::machine::read::{self, Limit};

const EXCLUDE_FILE: &str = "exclude";

/// A file that leads to a directory of git.
const POINTER: Limit = Limit {
    bytes: 8 << 10,
    what: "a pointer of git",
};

/// Writes the line, unless it is there or the file is in no checkout. The path must be real and absolute.
///
/// # Errors
/// If the line cannot be written.
pub(crate) fn exclude(file: &Path) -> Result<(), FileError> {
    let Some((root, git_dir)) = checkout_of(file) else {
        return Ok(());
    };
    let Some(line) = file.strip_prefix(&root).ok().and_then(line_for) else {
        return Ok(());
    };
    let git = Folder::open(&git_dir)?;
    let owner = git.own_status()?.owner;
    let info = git.folder_or_new("info", owner)?;
    let mut exclude = info.append_as_it_is(EXCLUDE_FILE)?;
    let failed = |cause| FileError::new("write", info.path().join(EXCLUDE_FILE), cause);
    let mut text = String::new();
    // Whatever is not text in it is no line of ours.
    exclude.read_to_string(&mut text).ok();
    if text.lines().any(|known| known == line) {
        return Ok(());
    }
    let status = Status::of_file(&exclude).map_err(failed)?;
    if status.len == 0 {
        files::settle(&exclude, owner, 0o644).map_err(failed)?;
    }
    let gap = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    exclude
        .write_all(format!("{gap}{line}\n").as_bytes())
        .map_err(failed)
}

/// The checkout that contains a file, and the directory of git that has its excludes.
fn checkout_of(file: &Path) -> Option<(PathBuf, PathBuf)> {
    file.ancestors().skip(1).find_map(|root| {
        let git = root.join(".git");
        let kind = Status::of_path(&git).ok()??.kind;
        let git_dir = match kind {
            EntryKind::Directory => git,
            // A worktree or a submodule.
            EntryKind::Regular => {
                let git_dir = root.join(pointed(&git)?.strip_prefix("gitdir: ")?);
                match pointed(&git_dir.join("commondir")) {
                    Some(common) => git_dir.join(common),
                    None => git_dir,
                }
            }
            EntryKind::Symlink | EntryKind::Fifo | EntryKind::Other => return None,
        };
        Some((root.to_owned(), git_dir.canonicalize().ok()?))
    })
}

fn pointed(file: &Path) -> Option<String> {
    let bytes = read::read_file(file, POINTER).ok()?;
    Some(String::from_utf8(bytes).ok()?.trim_end().to_owned())
}

/// A pattern that fits this one path below the checkout.
fn line_for(relative: &Path) -> Option<String> {
    let mut line = String::new();
    for component in relative.components() {
        let Component::Normal(name) = component else {
            return None;
        };
        line.push('/');
        for c in name.to_str()?.chars() {
            if matches!(c, '\\' | '*' | '?' | '[' | ' ') {
                line.push('\\');
            }
            line.push(c);
        }
    }
    (!line.contains(['\n', '\r'])).then_some(line)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    fn git(dir: &Path, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=x", "-c", "user.email=x@y", "-C"])
            .arg(dir)
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn git_neither_adds_nor_removes_what_is_excluded() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let checkout = root.join("checkout");
        fs::create_dir(&checkout).unwrap();
        git(&checkout, &["init", "-q"]);
        fs::write(checkout.join(".git/info/exclude"), "without an end").unwrap();
        git(&checkout, &["commit", "-q", "--allow-empty", "-m", "x"]);
        git(&checkout, &["worktree", "add", "-q", "../worktree"]);
        for checkout in [&checkout, &root.join("worktree")] {
            let dir = checkout.join("a [b] \\c");
            fs::create_dir(&dir).unwrap();
            let kept = dir.join("backup * 1 .age");
            for file in [&kept, &dir.join("other")] {
                fs::write(file, "x").unwrap();
            }
            exclude(&kept).unwrap();
            exclude(&kept).unwrap();
            git(checkout, &["clean", "-q", "-f", "-d"]);
            assert!(kept.is_file());
            assert!(!dir.join("other").exists());
            assert_eq!(git(checkout, &["status", "--porcelain"]), "");
        }
        let text = fs::read_to_string(checkout.join(".git/info/exclude")).unwrap();
        let line = "/a\\ \\[b]\\ \\\\c/backup\\ \\*\\ 1\\ .age";
        assert_eq!(text, format!("without an end\n{line}\n"));
    }

    #[test]
    fn nothing_is_written_outside_a_checkout() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        exclude(&root.join("backup")).unwrap();
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    }
}
