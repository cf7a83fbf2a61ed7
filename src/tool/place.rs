//! What must be so before a command looks any closer: the data directory is a directory, if it is
//! there, and this user can read it and our own directory beside it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::datadir::{self, DataDirFacts, Layout};
use crate::machine::files::{self, EntryKind, Owner, Status};
use crate::machine::guard::{self, Guard};
use crate::machine::os;
#[cfg(target_os = "linux")]
use crate::machine::projects;
use crate::machine::read::ReadError;
use crate::machine::users;
use crate::promote::archive::{self, ArchiveScope};
use crate::promote::held;
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, ENR_KEY_FILE};

/// Looks at the data directory.
///
/// # Errors
/// [`Kind::Refused`] with one clear reason, where everything else would be said of files that
/// nobody could look at.
pub(crate) fn look(layout: &Layout) -> Result<DataDirFacts, Failure> {
    let facts = datadir::observe(layout).map_err(failures::file)?;
    match facts.kind {
        None | Some(EntryKind::Directory) => {}
        Some(
            kind @ (EntryKind::Regular | EntryKind::Symlink | EntryKind::Fifo | EntryKind::Other),
        ) => {
            return Err(Failure::new(
                Kind::Refused,
                format!(
                    "{} is {kind}, expected a directory",
                    layout.data_dir().display()
                ),
            )
            .hint("name the project directory with --dir, or the data directory with --data-dir"));
        }
    }
    if let Some((inside, reason)) = facts.unreadable.first() {
        // The data directory itself has an empty name here, which `join` would turn into a slash.
        let path: PathBuf = layout
            .data_dir()
            .components()
            .chain(inside.components())
            .collect();
        let entry = facts.entries.iter().find(|entry| entry.path == *inside);
        let owner = entry.map_or(facts.owner, |entry| entry.owner);
        let path = path.display().to_string();
        return Err(unreadable(&path, reason, owner.uid, &facts));
    }
    if let Err(error) = std::fs::read_dir(layout.state_dir())
        && error.kind() == std::io::ErrorKind::PermissionDenied
    {
        let path = layout.state_dir().display().to_string();
        let owner = Status::of_path(layout.state_dir()).ok().flatten();
        let owner = owner.map_or(facts.owner, |status| status.owner);
        return Err(unreadable(&path, &error.to_string(), owner.uid, &facts));
    }
    if let Some(key) = facts.entry(ENR_KEY_FILE)
        && key.kind == EntryKind::Regular
        && let Err(error) = std::fs::File::open(layout.enr_key_path())
        && error.kind() == std::io::ErrorKind::PermissionDenied
    {
        let path = layout.enr_key_path().display().to_string();
        return Err(unreadable(&path, &error.to_string(), key.owner.uid, &facts));
    }
    Ok(facts)
}

/// Takes the guard of the directory, after creating our own directory if necessary.
///
/// # Errors
/// Where another command has it, or it cannot be made.
pub(crate) fn claim(layout: &Layout) -> Result<Guard, Failure> {
    datadir::create_state_dir(layout).map_err(failures::state_dir)?;
    guard::claim_directory(layout).map_err(failures::guard)
}

fn unreadable(path: &str, reason: &str, owner: u32, facts: &DataDirFacts) -> Failure {
    let failure = Failure::new(Kind::Refused, format!("{path} cannot be read: {reason}"));
    let hints = not_for_this_user(owner, facts);
    hints.into_iter().fold(failure, Failure::hint)
}

/// What to do where this user may not read what belongs to this owner: whom to be, and the command.
pub(crate) fn not_for_this_user(owner: u32, facts: &DataDirFacts) -> Vec<String> {
    let hints = [
        owner_to_be(owner, facts),
        way_out(owner, facts).map(WayOut::hint),
    ];
    hints.into_iter().flatten().collect()
}

/// What to do where a file of this data directory was not read.
pub(crate) fn unread(error: &ReadError, facts: &DataDirFacts) -> Vec<String> {
    let advice = match error {
        ReadError::TooLong { .. } => "charon writes no such file of that length: find out what did",
        ReadError::Missing { .. } | ReadError::NotRegular { .. } | ReadError::Changed { .. } => {
            "something else is using this directory: let it finish, and run the command again"
        }
        ReadError::Outside { .. } => "move what charon did not write out of the directory",
        ReadError::File(error) if error.cause.kind() == ErrorKind::PermissionDenied => {
            let owner = Status::of_path(&error.path).ok().flatten();
            let owner = owner.map_or(facts.owner, |status| status.owner);
            return not_for_this_user(owner.uid, facts);
        }
        ReadError::File(_) => "check the disk before you trust it with keys",
    };
    vec![advice.to_owned()]
}

/// What leads out where this user cannot look, or where something belongs to another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WayOut {
    /// The owner closed it to themselves.
    Repair,
    /// It shall belong to this user, and only root can give it away.
    GiveTo(Owner),
    /// It is another user's.
    LookAsRoot,
}

impl WayOut {
    /// What is typed after this program's name, and whether by root.
    pub(crate) fn verb(self) -> (bool, String) {
        match self {
            Self::Repair => (false, "repair".to_owned()),
            Self::GiveTo(Owner { uid, gid }) => (true, format!("repair --owner {uid}:{gid}")),
            Self::LookAsRoot => (true, "status".to_owned()),
        }
    }

    /// The command, as hints have it.
    pub(crate) fn hint(self) -> String {
        match self.verb() {
            (false, verb) => format!("`charon-dkg {verb}`"),
            (true, verb) => format!("`sudo charon-dkg {verb}`"),
        }
    }
}

/// The way out for this user where something that belongs to this owner is in the way, if one is needed.
pub(crate) fn way_out(owner: u32, facts: &DataDirFacts) -> Option<WayOut> {
    let me = files::own_identity();
    if me.uid == 0 {
        None
    } else if owner == me.uid {
        Some(WayOut::Repair)
    } else if facts.owner.uid == me.uid || users::is_subordinate(owner, me.uid) {
        Some(WayOut::GiveTo(me))
    } else {
        Some(WayOut::LookAsRoot)
    }
}

/// Whether the data directory is empty and belongs to another user, as docker makes it where a directory to mount is missing, and
/// this user may take it away.
pub(crate) fn is_removable(layout: &Layout, facts: &DataDirFacts) -> bool {
    let parent = layout.data_dir().parent();
    let foreign = facts.exists() && facts.owner.uid != files::own_identity().uid;
    foreign
        && facts.entries.is_empty()
        && facts.unreadable.is_empty()
        && parent.is_some_and(|parent| os::check_writable(parent).is_ok())
}

/// Whom to run this as, where something that belongs to this owner is in the way, and it is another user's.
pub(crate) fn owner_to_be(owner: u32, facts: &DataDirFacts) -> Option<String> {
    let me = files::own_identity().uid;
    let you = || format!("you are {}", users::describe_user(me));
    match (owner, me) {
        (_, 0) => None,
        (owner, me) if owner == me => None,
        (owner, me) if users::is_subordinate(owner, me) => Some(format!(
            "{}; it belongs to uid {owner}, one of your subordinate user ids: a container of your rootless engine made it",
            you()
        )),
        (owner, me) if facts.owner.uid == me => Some(format!(
            "{}; it belongs to {}: a container made it",
            you(),
            users::describe_user(owner)
        )),
        (0, _) => Some(format!("{}; run this as root", you())),
        (_, _) => Some(format!(
            "{}; run this as the owner, {}, or as root",
            you(),
            users::describe_user(owner)
        )),
    }
}

/// What is here that was made for an ENR key, and so shows that there was one.
///
/// # Errors
/// When the data directory cannot be listed.
pub(crate) fn made_for_a_key(layout: &Layout) -> Result<Option<String>, Failure> {
    let scope = ArchiveScope::OutputsAndDefinition;
    let names = archive::outputs(layout, scope).map_err(failures::file)?;
    if let Some(name) = names.into_iter().next() {
        return Ok(Some(name));
    }
    if let Some(stage) = held::place(layout) {
        return Ok(Some(stage.display().to_string()));
    }
    Ok(match datadir::stored_definition(layout) {
        Ok(Some((stored, _))) => Some(format!("the cluster definition from {}", stored.source)),
        Ok(None) | Err(_) => None,
    })
}

/// Most nodes that are named: charon's `create cluster` makes one for each operator.
const MAX_NODES: usize = 256;

/// The data directories of all nodes that charon's `create cluster` made here (`.charon/cluster/node0` and so on, as in Obol's
/// repository for a cluster on one machine); none if this is a data directory itself.
pub(crate) fn created_nodes(data_dir: &Path) -> Vec<PathBuf> {
    let is_node = |dir: &Path| {
        [ENR_KEY_FILE, CLUSTER_LOCK_FILE]
            .iter()
            .any(|name| dir.join(name).is_file())
    };
    if is_node(data_dir) {
        return Vec::new();
    }
    let nodes = |dir: &Path| -> Vec<PathBuf> {
        let numbered = (0..MAX_NODES).map(|number| dir.join(format!("node{number}")));
        numbered.take_while(|dir| is_node(dir)).collect()
    };
    let below = nodes(&data_dir.join("cluster"));
    if below.is_empty() {
        nodes(data_dir)
    } else {
        below
    }
}

/// The nearest project above with a node's key in it: the user may be in the wrong directory.
pub(crate) fn project_above(layout: &Layout) -> Option<&Path> {
    let above = layout.project_dir().ancestors().skip(1);
    let mut keys = above.map(|dir| (dir, dir.join(".charon").join(ENR_KEY_FILE)));
    keys.find(|(_, key)| key.exists()).map(|(dir, _)| dir)
}

/// The projects with a node's key that somebody in the wrong directory may mean: the nearest one above, then those that this
/// user's commands met.
#[cfg(target_os = "linux")]
pub(crate) fn projects_elsewhere(layout: &Layout) -> Vec<PathBuf> {
    let here = layout.project_dir();
    let mut found: Vec<PathBuf> = project_above(layout)
        .map(Path::to_owned)
        .into_iter()
        .collect();
    for project in projects::remembered() {
        let has_key = project.join(".charon").join(ENR_KEY_FILE).exists();
        if has_key && project != here && !found.contains(&project) {
            found.push(project);
        }
    }
    found
}
