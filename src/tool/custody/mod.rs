//! Backups, restores and repairs.

pub mod backup;
pub mod contents;
pub mod record;
pub mod repair;
#[cfg(target_os = "linux")]
pub mod repair_command;
#[cfg(target_os = "linux")]
pub mod repair_files;
pub mod restore;
pub mod restore_command;
pub mod sealed;
pub mod sources;
