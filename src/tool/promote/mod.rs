//! From the stage into the data directory, and out of it again, under a journal.

pub mod archive;
#[cfg(target_os = "linux")]
pub mod archive_command;
pub mod held;
pub mod journal;
pub mod promotion;
pub mod recover;
pub mod switch;
