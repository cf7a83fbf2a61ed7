//! Which gate a project has, without asking Compose, which takes longer than most commands may.

use crate::gate::compose::{self, ProjectFile};
use crate::gate::decision::Require;
use crate::gate::project::Project;
use crate::gate::status::Installed;
use crate::gate::{GATE_FILE, OVERRIDE_FILE, dotenv};
use crate::machine::datadir::Layout;

/// The gate in the compose project, if Compose reads its file there.
pub(crate) fn installed(layout: &Layout) -> Option<Installed> {
    let dir = layout.project_dir();
    let dotenv = ProjectFile::read(dir, ".env").ok()?;
    let separator = dotenv::separator(dotenv.bytes(), compose::separator_variable().as_deref());
    let name = match dotenv::files(dotenv.bytes(), &separator).ok()? {
        Some(files) if files.iter().any(|file| file == GATE_FILE) => GATE_FILE,
        Some(_) => return None,
        None => OVERRIDE_FILE,
    };
    let file = ProjectFile::read(dir, name).ok()?;
    Installed::of(&Project::parse(file.bytes()?).ok()?)
}

/// Whether nothing may start here before all operators have confirmed.
pub(crate) fn wants_confirmation(layout: &Layout) -> bool {
    installed(layout).is_some_and(|gate| gate.require == Require::Confirmed)
}
