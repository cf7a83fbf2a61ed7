//! charon's files and keys as types: the cluster definition, the cluster lock, deposit data, ENRs and EIP-2335
//! keystores; their hashes and signatures. Pure: bytes in, values out.

pub mod cluster;
pub mod enr_texts;
pub mod finding;
pub mod keys;
pub mod rehearsal;
pub mod text;
pub mod wrong_file;
