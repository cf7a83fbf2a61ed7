//! `docker charon-dkg`: one operator's side of a charon DKG ceremony, from preflight to proof.
//!
//! The tool: what touches the machine, and the commands. What needs no machine is in crates of its own below `src`:
//!
//! | crate | what |
//! |---|---|
//! | `charon_files` (`src/files`) | charon's files and keys as types; their hashes and signatures |
//! | `charon_proof` (`src/proof`) | verification, receipts and confirmation: bytes in, findings and, only if all is proved, a `Verified` out |
//! | `charon_log` (`src/log`) | charon's output as events, progress and diagnosis |
//! | `charon-dkg-simulator` (`src/simulator`) | a program that stands in for charon in rehearsals; it is no DKG |
//!
//! Here, arrows of dependency point one way: `plan`, `gate` and the like are pure, `host` is used by `commands` only.
//!
//! | module | what | effects |
//! |---|---|---|
//! | [`cli`] | the command line as typed | none |
//! | [`completion`] | how a command line may go on, for the shell | none |
//! | [`pins`] | which charon release runs which definition version, and why | none |
//! | [`define`](mod@define) | a new definition from ENRs, addresses and amounts, or every problem in them | none |
//! | [`backup`] | a node's files as one archive, and the record of the backups that were made | none |
//! | [`repair`](mod@repair) | owners and modes as seen, to what must change | none |
//! | [`plan`] | facts and a request, to a plan or every problem that would stop it | none |
//! | [`report`] | findings for people and for programs | none |
//! | [`gate`] | what a compose project starts only once every operator has confirmed | none |
//! | [`provider`] | what Compose asks a provider, and how it is answered | none |
//! | [`host`] | the engine, the file system, guards, signals, the terminal | yes |
//! | [`commands`] | the verbs | yes |
//! | [`metadata`] | what docker and Compose ask about the plugin itself | none |
//! | [`error`] | what went wrong, the exit code, and the next command to type | none |

pub mod backup;
pub mod cli;
pub mod commands;
pub mod completion;
pub mod define;
pub mod error;
pub mod gate;
pub mod host;
pub mod metadata;
pub mod pins;
pub mod plan;
pub mod provider;
pub mod repair;
pub mod report;
