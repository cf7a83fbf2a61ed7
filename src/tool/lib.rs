//! `docker charon-dkg`: one operator's side of a charon DKG ceremony, from preflight to proof.
//!
//! The tool: what touches the machine, and the commands. What needs no machine is in crates of its own below `src`:
//!
//! | crate | what |
//! |---|---|
//! | `charon_files` (`src/files`) | charon's files and keys as types; their hashes and signatures |
//! | `charon_proof` (`src/proof`) | verification, receipts and ready lines: bytes in, findings and, only if all is proved, a `Verified` out |
//! | `charon_log` (`src/log`) | charon's output as events, progress and diagnosis |
//! | `charon-dkg-simulator` (`src/simulator`) | a program that stands in for charon in rehearsals; it is no DKG |
//!
//! The rooms of the tool:
//!
//! | room | what |
//! |---|---|
//! | [`commands`] | from the command line to the verb, and from its end to the exit code |
//! | [`ceremony`] | the ENR key, the definition, facts, the plan, the attempt, charon's container until its end |
//! | [`promote`] | from the stage into the data directory, and out of it again, under a journal |
//! | [`proof`] | what is proved here, receipts, and what the others say they have |
//! | [`edit`] | what an edit of charon made: held, and changed for the old cluster once that cannot sign any more |
//! | [`gate`] | what a compose project starts only once every operator has confirmed |
//! | [`custody`] | backups, restores, repairs |
//! | [`rehearse`] | a whole ceremony on this machine with throw-away keys |
//! | [`docker`] | the engine |
//! | [`machine`] | files, guards, processes, signals, the terminal, the network |
//! | [`status`] | the state of a directory and the one safe next command |
//! | [`cli`], [`completion`], [`metadata`] | the command line as typed, how it may go on, and what docker asks about the plugin |
//! | [`context`], [`report`], [`failures`], [`place`], [`error`] | what every verb has at hand; findings and failures for people and for programs |
//!
//! Rooms decide in files that touch nothing: values in, values out.
//!
//! | pure | `cli.rs` `completion.rs` `metadata.rs` `error.rs` `report.rs` |
//! |---|---|
//! | pure | `ceremony/appointment.rs` `ceremony/plan.rs` `ceremony/pins.rs` `ceremony/define.rs` `ceremony/edit.rs` `ceremony/settings.rs` |
//! | pure | `gate/mod.rs` `gate/coverage.rs` `gate/decision.rs` `gate/dotenv.rs` `gate/file.rs` `gate/project.rs` `gate/provider.rs` `gate/status.rs` `gate/yaml.rs` |
//! | pure | `proof/board_page.rs` `proof/markup.rs` |
//! | pure | `custody/contents.rs` `custody/record.rs` `custody/repair.rs` |
//!
//! Two ways through the house. `run` takes a definition: `ceremony::definition_source` reads or fetches it,
//! `ceremony::facts` looks at the machine, `ceremony::plan` turns both into a plan or every problem that would stop it,
//! `ceremony::perform` starts the container by `docker` and follows its log by `ceremony::follow`; `proof::checked` reads
//! the stage and `charon_proof` proves it; `promote::journal` moves it into the data directory. `docker compose up` asks
//! the gate: `gate::answer_compose` speaks Compose's protocol, `gate::decide` has the directory proved and the receipts
//! weighed, `gate::decision` says open or closed, and why.

#![cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "half of it serves the verbs that need Linux")
)]

pub mod ceremony;
pub mod cli;
pub mod commands;
pub(crate) mod completion;
pub(crate) mod context;
pub mod custody;
#[cfg(target_os = "linux")]
pub mod docker;
pub(crate) mod edit;
pub mod error;
pub(crate) mod failures;
pub mod gate;
pub mod machine;
pub mod metadata;
pub(crate) mod place;
pub(crate) mod promote;
pub(crate) mod proof;
#[cfg(target_os = "linux")]
pub(crate) mod rehearse;
pub(crate) mod report;
#[cfg(target_os = "linux")]
pub(crate) mod status;
