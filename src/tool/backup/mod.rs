//! A backup of one node: its form, and the record of those that were made.
//!
//! | module | what |
//! |---|---|
//! | [`archive`] | the files of a node as one tar archive, and back, within bounds |
//! | [`record`] | which backups were made of which ENR key, and what changed since |
//!
//! What encrypts the archive is `host::sealed`; `docs/backup.md` has the form and how to open one without this program.

pub mod archive;
pub mod record;
