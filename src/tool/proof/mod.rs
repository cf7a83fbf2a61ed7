//! What is proved here, and what the others say they have.

mod ask_contracts;
pub mod board;
pub mod board_page;
pub mod checked;
pub mod confirm;
pub mod contracts;
pub mod execution;
pub mod pasted;
pub mod prove;
pub mod receipt;
pub mod receipts;
pub mod verify;
