//! What is proved here, and what the others say they have.

mod ask_contracts;
pub mod beacon;
pub mod board;
pub mod board_page;
pub mod chain;
pub mod checked;
pub mod confirm;
pub mod contracts;
pub mod deposits;
pub mod execution;
mod find_rpc;
pub mod named;
pub mod pasted;
pub mod profiles;
pub mod prove;
pub mod receipt;
pub mod receipts;
pub mod rpc_url;
pub mod verify;
