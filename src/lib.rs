//! `docker charon-dkg`: one operator's side of a charon DKG ceremony, from preflight to proof.
//!
//! The map, in the order in which a ceremony passes through it. Arrows of dependency point one way:
//! `{cluster, keys} <- verify <- {plan, report} <- commands`, and `host` is used by `commands` only.
//!
//! | module | what | effects |
//! |---|---|---|
//! | [`cli`] | the command line as typed | none |
//! | [`completion`] | how a command line may go on, for the shell | none |
//! | [`cluster`] | charon's public files as types: definition, cluster lock, deposit data, ENR; their hashes and signatures | none |
//! | [`keys`] | BLS, secp256k1 and EIP-2335 keystores, behind a few functions each | none |
//! | [`verify`](mod@verify) | takes the bytes of a data directory, gives findings and, only if all is proved, a [`verify::Verified`] | none |
//! | [`pins`] | which charon release runs which definition version, and why | none |
//! | [`define`](mod@define) | a new definition from ENRs, addresses and amounts, or all that speaks against it | none |
//! | [`charon_log`] | charon's output as events, progress and diagnosis | none |
//! | [`receipt`] | what a node states, signed, in one line that survives a chat | none |
//! | [`confirm`](mod@confirm) | receipts against a cluster lock: who has everything, who is missing or differs | none |
//! | [`proofs`] | which keystores a node proved before, so that it need not stretch their passwords again | none |
//! | [`backup`] | a node's files as one archive, and the record of the backups that were made | none |
//! | [`repair`](mod@repair) | owners and modes as seen, to what must change | none |
//! | [`plan`] | facts and a request, to a plan or all that speaks against it | none |
//! | [`report`] | findings for people and for programs | none |
//! | [`gate`] | what a compose project starts only once everybody has everything | none |
//! | [`provider`] | what Compose asks a provider, and how it is answered | none |
//! | [`simulator`] | a stand-in for charon where there is no registry; it deals genuine files but is no DKG | yes |
//! | [`host`] | the engine, the file system, guards, signals, the terminal | yes |
//! | [`commands`] | one file per verb; wiring only | yes |
//! | [`url_keys`] | what of a URL may be a key, and texts without it | none |
//! | [`metadata`] | what docker and Compose ask about the plugin itself | none |
//! | [`error`] | what went wrong, the exit code, and the next command to type | none |

pub mod backup;
pub mod charon_log;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod completion;
pub mod confirm;
pub mod define;
pub mod error;
pub mod finding;
pub mod gate;
pub mod host;
pub mod keys;
pub mod metadata;
pub mod pins;
pub mod plan;
pub mod proofs;
pub mod provider;
pub mod receipt;
pub mod repair;
pub mod report;
pub mod simulator;
pub mod url_keys;
pub mod verify;
