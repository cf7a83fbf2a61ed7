//! What is proved here, and what the others say they have.

mod ask_contracts;
pub(crate) mod beacon;
pub(crate) mod board;
pub(crate) mod board_page;
pub(crate) mod chain;
pub(crate) mod checked;
pub(crate) mod confirm;
pub(crate) mod contracts;
pub(crate) mod deposits;
pub(crate) mod execution;
mod find_rpc;
pub(crate) mod markup;
pub(crate) mod named;
pub(crate) mod old_keys;
pub(crate) mod pasted;
pub(crate) mod profiles;
pub(crate) mod prove;
pub(crate) mod receipt;
pub(crate) mod receipts;
pub(crate) mod rpc_url;
pub(crate) mod two_kinds;
pub(crate) mod verify;
