//! Proves what a charon DKG left, and tells others about it, signed. Pure: bytes in, values out.
//!
//! [`verify`](verify::verify) takes the bytes of a data directory and gives findings and, only if all is proved, a
//! [`verify::Verified`]; a [`receipt`] states it in one line; [`confirm`] weighs the receipts of all operators.

pub mod cluster;
pub mod confirm;
pub mod proofs;
pub mod receipt;
pub mod verify;
