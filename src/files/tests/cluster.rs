//! charon's public files: real ceremonies, versions no ceremony here has, random values, and input that nobody wrote.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "cluster/ceremonies.rs"]
mod ceremonies;
#[path = "cluster/malformed.rs"]
mod malformed;
#[path = "cluster/naive_hash.rs"]
mod naive_hash;
#[path = "cluster/random.rs"]
mod random;
#[path = "cluster/versions.rs"]
mod versions;
