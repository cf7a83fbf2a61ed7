//! The container of our own image, when this process runs in it.

use std::path::Path;

/// Set in the image of a release, and nowhere else (`release.sh`).
const IN_IMAGE: &str = "CHARON_DKG_IN_IMAGE";

/// Whether what is written to this directory goes with the container: it is on no volume and no mount from outside.
pub fn goes_with_the_container(dir: &Path) -> bool {
    if std::env::var_os(IN_IMAGE).is_none() {
        return false;
    }
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let existing = dir.ancestors().find_map(|dir| dir.canonicalize().ok());
    existing.is_none_or(|dir| mount_of(&dir) == mount_of(Path::new("/")))
}

/// What tells a mount from others (statx(2)): its id, and before Linux 5.8 its device.
#[cfg(target_os = "linux")]
fn mount_of(path: &Path) -> Option<(u64, u32, u32)> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    let has_id = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    Some((
        if has_id { found.stx_mnt_id } else { 0 },
        found.stx_dev_major,
        found.stx_dev_minor,
    ))
}

#[cfg(not(target_os = "linux"))]
fn mount_of(_path: &Path) -> Option<(u64, u32, u32)> {
    None
}
