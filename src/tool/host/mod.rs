//! The engine, the file system, guards, signals and the terminal: every effect on the machine.
//!
//! | module | what |
//! |---|---|
//! | [`engine`] | which engine docker itself would talk to |
//! | [`docker`] | the only door to the engine: images, containers, their output |
//! | [`known_images`] | what `charon version` said inside images |
//! | [`self_image`] | an image made from this very program |
//! | [`probe`] | asking relays from inside a docker network |
//! | [`fetch`] | fetching a cluster definition |
//! | [`execution`] | asking an execution client about contract wallets |
//! | [`signals`] | requests to stop |
//! | [`datadir`] | where things lie, what is in a data directory, the ENR key file, the kept definition |
//! | [`read`] | reading what strangers wrote, within bounds |
//! | [`files`] | the file operations that the others are made of |
//! | [`compose`] | running Compose, and the two files of a project that the gate changes |
//! | [`guard`] | exclusive holds by the kernel: one ENR key per machine, one ceremony per directory |
//! | [`attempt`] | one container run: its stage, its log, its record |
//! | [`journal`] | promote, and what a crash left of a promotion or an archive |
//! | [`archive`] | moving the outputs of an old ceremony aside |
//! | [`backup`] | the files of a backup, its record, its stage |
//! | [`sealed`] | encryption in the age format |
//! | [`restore`] | a backup into the data directory |
//! | [`repair`] | owners and modes of a damaged directory |
//! | [`receipts`] | receipts that are kept, and which keystores were proved before |
//! | [`processes`] | charon processes and charon's own sign of life |
//! | [`terminal`] | streams, progress, questions |
//! | [`users`] | names of user ids |

pub mod archive;
pub mod attempt;
pub mod backup;
mod causes;
pub mod compose;
pub mod datadir;
pub mod docker;
pub mod engine;
pub mod execution;
pub mod fetch;
pub mod files;
pub mod guard;
pub mod journal;
pub mod known_images;
pub mod probe;
pub mod processes;
pub mod read;
pub mod receipts;
pub mod repair;
pub mod restore;
pub mod sealed;
pub mod self_image;
pub mod signals;
pub mod terminal;
pub mod users;

#[cfg(test)]
mod testing;

#[cfg(test)]
#[expect(
    dead_code,
    reason = "the part that listens on a Unix socket serves other tests"
)]
#[path = "../../../tests/support/http_server.rs"]
mod http_server;
