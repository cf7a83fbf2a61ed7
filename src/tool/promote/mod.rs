//! From the stage into the data directory, and out of it again, under a journal.

pub(crate) mod archive;
#[cfg(target_os = "linux")]
pub(crate) mod archive_command;
pub(crate) mod held;
pub(crate) mod journal;
pub(crate) mod promotion;
pub(crate) mod recover;
pub(crate) mod switch;
