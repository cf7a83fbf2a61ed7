//! The program as operators and their scripts meet it: exit code and both streams of every verb, on
//! a machine without an engine. What needs an engine is in `engine.rs` and its neighbours.
//!
//! After a change of wording: `INSTA_UPDATE=always cargo test --test cli`, and read the difference.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[macro_use]
#[path = "cli/support.rs"]
mod support;

#[path = "cli/archive.rs"]
mod archive;
#[path = "cli/backup.rs"]
mod backup;
#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/board.rs"]
mod board;
#[path = "cli/boundaries.rs"]
mod boundaries;
#[path = "cli/charon_binary.rs"]
mod charon_binary;
#[path = "cli/define.rs"]
mod define;
#[path = "cli/definition_url.rs"]
mod definition_url;
#[path = "cli/deposits.rs"]
mod deposits;
#[path = "cli/edit.rs"]
mod edit;
#[path = "cli/edit_ceremony.rs"]
mod edit_ceremony;
#[path = "cli/enr.rs"]
mod enr;
#[path = "cli/explain.rs"]
mod explain;
#[path = "cli/gnosis.rs"]
mod gnosis;
#[expect(
    dead_code,
    reason = "the parts that break off and listen on a Unix socket serve other tests"
)]
#[path = "support/http_server.rs"]
mod http_server;
#[path = "cli/pins.rs"]
mod pins;
#[path = "cli/plan.rs"]
mod plan;
#[path = "cli/ready.rs"]
mod ready;
#[path = "support/receipts.rs"]
mod receipts;
#[path = "cli/refusals.rs"]
mod refusals;
#[path = "support/refusing_port.rs"]
mod refusing_port;
#[path = "cli/repair.rs"]
mod repair;
#[path = "support/schema.rs"]
mod schema;
#[path = "cli/status.rs"]
mod status;
#[path = "cli/usage.rs"]
mod usage;
#[path = "cli/verify.rs"]
mod verify;
#[path = "cli/wrong_files.rs"]
mod wrong_files;
