//! Backups, restores and repairs.

pub mod backup;
pub mod contents;
pub mod record;
pub mod repair;
pub mod repair_command;
pub mod repair_files;
pub mod restore;
pub mod restore_command;
pub mod sealed;
pub mod sources;
