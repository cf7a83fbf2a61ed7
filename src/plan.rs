//! Facts and a request, to a plan or all that speaks against it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

/// One bind mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Absolute path on the engine's machine; must exist.
    pub source: PathBuf,
    /// Absolute path inside the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// A container as it will be created; the engine module adds the hardening that never varies
/// (all capabilities dropped, no new privileges, read-only root, no restart policy).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerPlan {
    /// Engine-wide unique name.
    pub name: String,
    /// What to run: `repository@sha256:…`, or an image id where the image exists only locally.
    pub image: String,
    /// `uid:gid` inside the container; `None` leaves the image's own user.
    pub user: Option<String>,
    /// `HostConfig.UsernsMode`: `host`, `keep-id`, or `None` for the engine's default.
    pub userns_mode: Option<String>,
    /// Docker network; `None` is the engine's default bridge.
    pub network: Option<String>,
    /// Replaces the image's entrypoint where given.
    pub entrypoint: Option<Vec<String>>,
    /// Arguments after the entrypoint.
    pub args: Vec<String>,
    /// Environment entries `NAME=value`; never a secret.
    pub env: Vec<String>,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// Labels by which a later command recognises the container.
    pub labels: BTreeMap<String, String>,
}
