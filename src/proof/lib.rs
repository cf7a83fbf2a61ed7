//! Proves what a charon DKG left, and tells others about it, signed. Pure: bytes in, values out.
//!
//! [`verify`](verify::verify) takes the bytes of a data directory and gives findings and, only if all is proved, a
//! [`verify::Verified`]; a [`receipt`] states it in one [`line`]; [`confirm`] weighs the receipts of all operators. Before a
//! ceremony a [`ready`] line states with what a node would start, and [`readiness`] weighs those of all. [`edit`] is what charon may make of a
//! cluster later, a [`stopped`] line says that a node runs no longer for the old one, and [`switch`] when the new one may start. [`profile`] has what protocols ask for, and
//! [`deposits`] says whether it is safe to pay.

pub mod board;
pub mod chain;
pub mod cluster;
pub mod confirm;
pub mod deposits;
pub mod edit;
pub mod line;
pub mod profile;
pub mod proofs;
pub mod readiness;
pub mod ready;
pub mod receipt;
mod said;
pub mod stopped;
pub mod switch;
pub mod verify;
