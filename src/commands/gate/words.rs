//! How advice names the directories that were asked about.

use std::path::Path;

use crate::host::datadir::Layout;

/// The flags that lead a command typed here to the same directories.
pub(in crate::commands) struct Flags(String);

impl Flags {
    pub(in crate::commands) fn of(layout: &Layout) -> Self {
        let mut flags = String::new();
        let here = std::env::current_dir();
        if !here.is_ok_and(|here| here == layout.project_dir()) {
            flags.push_str(&format!(" --dir {}", quoted(layout.project_dir())));
        }
        if layout.data_dir() != layout.project_dir().join(".charon") {
            flags.push_str(&format!(" --data-dir {}", quoted(layout.data_dir())));
        }
        Self(flags)
    }

    pub(in crate::commands) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A path as a shell reads it back.
pub(in crate::commands) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_paths_back() {
        assert_eq!(quoted(Path::new("/srv/my-cluster")), "/srv/my-cluster");
        assert_eq!(quoted(Path::new("/o'p/$x y")), r"'/o'\''p/$x y'");
    }
}
