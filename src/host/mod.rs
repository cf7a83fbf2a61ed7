//! The engine, the file system, guards, signals, the terminal: all effects outside the commands.

pub mod docker;
pub mod engine;
pub mod fetch;
pub mod probe;
pub mod self_image;
pub mod signals;
