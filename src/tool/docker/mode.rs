//! How an engine maps users, and so as whom a container must run to write as a directory's owner.

/// How an engine maps the users of its containers to those of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Docker run by root: a container's ids are the machine's.
    Rootful,
    /// Docker run by an ordinary user: id 0 in a container is that user, all others are
    /// subordinate ids that own nothing else on the machine.
    Rootless {
        /// The user who runs the engine.
        uid: u32,
    },
    /// Docker run by root with `userns-remap`: every id in a container is shifted.
    UsernsRemap,
    /// Docker Desktop: the engine is in a virtual machine, which shows each file as owned by
    /// the process that asks.
    DockerDesktop,
    /// Podman's API socket, run by root: a container's ids are the machine's.
    PodmanRootful,
    /// Podman's API socket, run by an ordinary user.
    PodmanRootless {
        /// The user who runs the engine.
        uid: u32,
    },
}

/// As whom a container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserMapping {
    /// `uid:gid` as the container sees them.
    pub user: String,
    /// `HostConfig.UsernsMode`; `None` leaves the engine's default.
    pub userns_mode: Option<String>,
}

/// Why no container of this engine can write as the owner of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserMappingError {
    /// An engine without root's rights can be no other user than the one who runs it.
    #[error(
        "the directory belongs to uid {owner_uid}, but the engine is run by uid {engine_uid} and cannot act as anyone else"
    )]
    NotTheEnginesUser {
        /// The owner of the directory.
        owner_uid: u32,
        /// The user who runs the engine.
        engine_uid: u32,
    },
}

/// As whom a container must run so that what it writes belongs to this owner.
///
/// # Errors
/// When the engine is run by an ordinary user and the directory belongs to another one.
pub fn user_for(
    mode: Mode,
    owner_uid: u32,
    owner_gid: u32,
) -> Result<UserMapping, UserMappingError> {
    let mapping = |user: String, userns_mode: Option<&str>| UserMapping {
        user,
        userns_mode: userns_mode.map(str::to_owned),
    };
    let as_owner = format!("{owner_uid}:{owner_gid}");
    let check_owner = |engine_uid| {
        if owner_uid == engine_uid {
            return Ok(());
        }
        Err(UserMappingError::NotTheEnginesUser {
            owner_uid,
            engine_uid,
        })
    };
    match mode {
        Mode::Rootful | Mode::DockerDesktop | Mode::PodmanRootful => Ok(mapping(as_owner, None)),
        Mode::UsernsRemap => Ok(mapping(as_owner, Some("host"))),
        Mode::Rootless { uid } => {
            check_owner(uid)?;
            Ok(mapping("0:0".to_owned(), None))
        }
        Mode::PodmanRootless { uid } => {
            check_owner(uid)?;
            Ok(mapping(as_owner, Some("keep-id")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(mode: Mode, uid: u32, gid: u32) -> (String, Option<String>) {
        let mapping = user_for(mode, uid, gid).unwrap();
        (mapping.user, mapping.userns_mode)
    }

    #[test]
    fn an_engine_of_root_runs_the_container_as_the_owner() {
        for mode in [Mode::Rootful, Mode::PodmanRootful, Mode::DockerDesktop] {
            assert_eq!(mapped(mode, 1000, 1001), ("1000:1001".to_owned(), None));
            assert_eq!(mapped(mode, 0, 0), ("0:0".to_owned(), None));
        }
    }

    #[test]
    fn a_remapping_engine_needs_the_namespace_of_the_machine() {
        assert_eq!(
            mapped(Mode::UsernsRemap, 1000, 1001),
            ("1000:1001".to_owned(), Some("host".to_owned()))
        );
    }

    #[test]
    fn root_inside_a_rootless_engine_is_its_user_and_nobody_else() {
        let mode = Mode::Rootless { uid: 1000 };
        assert_eq!(mapped(mode, 1000, 1000), ("0:0".to_owned(), None));
        for owner_uid in [0, 1001, 100_999] {
            assert_eq!(
                user_for(mode, owner_uid, 1000),
                Err(UserMappingError::NotTheEnginesUser {
                    owner_uid,
                    engine_uid: 1000
                })
            );
        }
    }

    #[test]
    fn podman_keeps_the_id_of_its_user_and_of_nobody_else() {
        let mode = Mode::PodmanRootless { uid: 1000 };
        assert_eq!(
            mapped(mode, 1000, 1000),
            ("1000:1000".to_owned(), Some("keep-id".to_owned()))
        );
        assert!(user_for(mode, 0, 0).is_err());
    }
}
