//! charon's public files as types: cluster definition, cluster lock, deposit data, ENR; their hashes and signatures.
//!
//! The types mirror charon's JSON and nothing more. What a file *means* is judged elsewhere; here a file is
//! read strictly ([`json`]), hashed exactly as charon does ([`hash`]) and written byte for byte as charon would.

pub mod access;
pub mod address;
pub mod cluster_lock;
pub mod definition;
pub mod deposit_data;
pub mod eip1271;
pub mod eip712;
pub mod enr;
pub mod hash;
pub mod hex;
pub mod index;
pub mod json;
pub mod names;
pub mod network;
pub mod payouts;
mod ssz;
pub mod token;
pub mod version;

pub use address::Address;
pub use cluster_lock::{BuilderRegistration, ClusterLock, DistributedValidator};
pub use definition::{AddressPair, Creator, Definition, Operator, ValidatorAddresses};
pub use deposit_data::{DepositData, DepositFile, DepositFileEntry};
pub use enr::Enr;
pub use hash::{ConfigHash, DefinitionHash, LockHash};
pub use index::{NodeIndex, ShareIndex, ValidatorIndex};
pub use json::{ParseError, Parsed, Remark, RemarkKind};
pub use network::Network;
pub use payouts::Payouts;
pub use token::{Gwei, StakingToken};
pub use version::{CharonVersion, DefinitionVersion};
