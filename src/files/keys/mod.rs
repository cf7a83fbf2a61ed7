//! BLS, secp256k1 and EIP-2335 keystores, behind a few functions each.
//!
//! Nothing here reads files, clocks or random numbers: a caller who needs a fresh key, salt or
//! identifier passes the bytes.

pub mod bls;
pub mod k1;
pub mod keystore;
mod pbkdf2_wide;
