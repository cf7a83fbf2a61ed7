//! From the cluster's old shares to its new ones, after one of charon's edits (`charon alpha edit`).
//!
//! What the edit made is held in the state directory while the old cluster runs on ([`held`]). Receipts for the new lock are
//! collected as always, old nodes stop and say so in signed lines, and once nothing of the old cluster can sign any more,
//! [`crate::promote::switch`] changes old for new. [`closed`] keeps what must never start again from starting here.

pub(crate) mod closed;
#[cfg(target_os = "linux")]
pub(crate) mod command;
pub(crate) mod held;
pub(crate) mod stand;
pub(crate) mod take;
