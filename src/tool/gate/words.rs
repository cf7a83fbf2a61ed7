//! How advice names the directories that were asked about.

use crate::gate::decision::Words;
use crate::machine::datadir::Layout;
use crate::report::quoted;

/// The directories as people know them, and the flags that lead a command typed here to them.
pub(crate) struct Flags {
    flags: String,
    data_dir: String,
}

impl Flags {
    /// In a container nobody types anything, and its directories are not the machine's.
    pub(crate) fn of_container(layout: &Layout) -> Self {
        let name = layout.data_dir().file_name().unwrap_or_default();
        Self {
            flags: String::new(),
            data_dir: name.to_string_lossy().into_owned(),
        }
    }

    pub(crate) fn of(layout: &Layout) -> Self {
        let mut flags = String::new();
        let here = std::env::current_dir();
        if !here.is_ok_and(|here| here == layout.project_dir()) {
            flags.push_str(&format!(" --dir {}", quoted(layout.project_dir())));
        }
        if layout.data_dir() != layout.project_dir().join(".charon") {
            flags.push_str(&format!(" --data-dir {}", quoted(layout.data_dir())));
        }
        Self {
            flags,
            data_dir: layout.data_dir().display().to_string(),
        }
    }

    pub(crate) fn words<'a>(&'a self, spelling: &'a str) -> Words<'a> {
        Words {
            spelling,
            flags: &self.flags,
            data_dir: &self.data_dir,
        }
    }
}
