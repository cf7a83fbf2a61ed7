//! The data directory itself: what is in it, whose it is, and who may read it.

use charon_files::cluster::access;
use charon_files::cluster::names::{
    CLUSTER_LOCK_FILE, DEFINITION_FILE, ENR_KEY_FILE, Name, classify,
};
use charon_files::cluster::{Definition, NodeIndex};
use charon_files::keys::k1::{EnrKey, EnrPublicKey};

use super::ledger::Ledger;
use super::{Check, Context, Material, Modes, Node, Scope};

/// Reports files that are missing, and files that change the meaning of the others.
pub(super) fn check_presence(material: &Material, scope: Scope, ledger: &mut Ledger) {
    let needs_lock = scope.has_lock() && material.cluster_lock.is_none();
    let archive = material
        .other_names
        .iter()
        .find(|name| classify(name) == Name::Bundle);
    ledger.ran(&[Check::DataDirectory]);
    if needs_lock {
        match archive {
            Some(archive) => ledger.could_not_tell(
                Check::DataDirectory,
                archive,
                "an archive in place of the files",
                "cluster-lock.json and all other files",
                format!("unpack it in this directory: `tar -xzf {archive}`; it holds everything, the ENR key included"),
            ),
            None => ledger.fail(
                Check::DataDirectory,
                CLUSTER_LOCK_FILE,
                "missing",
                "the result of the ceremony",
            ),
        }
    }
    if scope == Scope::DefinitionOnly && material.definition.is_none() {
        ledger.fail(
            Check::DataDirectory,
            DEFINITION_FILE,
            "missing",
            "a definition to verify",
        );
    }
    if !scope.has_node() {
        return;
    }
    for name in &material.other_names {
        match classify(name) {
            Name::Heartbeat => {}
            Name::ClusterManifest => ledger.could_not_tell(
                Check::DataDirectory,
                name,
                "a cluster manifest",
                "a cluster that is described by its lock alone",
                "validators that were added to the manifest are not in the lock, and this program cannot verify them",
            ),
            // docker makes a directory of this name where a file to mount is missing.
            Name::Definition => ledger.fail(
                Check::DataDirectory,
                name,
                "something that is no file",
                "the cluster definition, or nothing of that name",
            ),
            // charon refuses to begin where any such name is (dkg/disk.go), and somebody may send it to the deposit contract.
            Name::DepositData | Name::OddDepositData => ledger.fail_with(
                Check::DepositFileSet,
                name,
                "a name or kind that charon does not give to deposit data",
                "one file for each amount, and no other",
                "move it away: it was not verified, and someone may deposit with it",
            ),
            Name::Bundle if needs_lock && archive == Some(name) => {}
            Name::EnrKey
            | Name::ClusterLock
            | Name::ValidatorKeys
            | Name::Keystore | Name::KeystorePassword
            | Name::Bundle
            | Name::Other => ledger.note(
                Check::DataDirectory,
                name,
                "a file that was not verified",
                "only files that charon writes",
                "",
            ),
        }
    }
}

/// Reads the ENR key and finds its operator.
pub(super) fn check_enr_key(
    context: &Context<'_>,
    enrs: &[Option<EnrPublicKey>],
    ledger: &mut Ledger,
) -> Option<NodeIndex> {
    ledger.ran(&[Check::EnrKey, Check::EnrKeyOperator]);
    let subject = ENR_KEY_FILE;
    let Some(file) = &context.material.enr_key else {
        ledger.fail(
            Check::EnrKey,
            subject,
            "missing",
            "the node's key; without it the keystores are useless to charon",
        );
        return None;
    };
    let key = match EnrKey::parse(&file.bytes) {
        Ok(key) => key,
        Err(error) => {
            ledger.fail(
                Check::EnrKey,
                &file.path,
                error,
                "64 hexadecimal digits, a secp256k1 secret",
            );
            return None;
        }
    };
    let public_key = key.public_key();
    let position = enrs.iter().position(|enr| *enr == Some(public_key));
    if position.is_none() {
        ledger.fail(
            Check::EnrKeyOperator,
            &file.path,
            format!("the key of {public_key}, which is no operator of this cluster"),
            "the key of one of the operators' ENRs",
        );
    }
    position.map(NodeIndex::new)
}

/// The node as reports name it.
pub(super) fn describe_node(node: NodeIndex, definition: &Definition) -> Option<Node> {
    let operator = definition.operator(node)?;
    let enr = charon_files::cluster::Enr::parse(&operator.enr).ok()?;
    Some(Node {
        index: node.position(),
        operator: node.position() + 1,
        address: operator.address.clone(),
        enr_id: enr.public_key().id().to_string(),
        enr: operator.enr.clone(),
    })
}

/// Checks kinds, owners and modes of everything in the directory.
pub(super) fn check_ownership(context: &Context<'_>, ledger: &mut Ledger) {
    let material = context.material;
    ledger.ran(&[Check::FileKind]);
    if material.expected_owner.is_some() {
        ledger.ran(&[Check::FileOwner]);
    } else {
        ledger.not_applicable(&[Check::FileOwner]);
    }
    match context.options.modes {
        Modes::AsCharonLeavesThem => ledger.not_applicable(&[Check::FileMode]),
        Modes::Private => ledger.ran(&[Check::FileMode]),
    }
    for entry in &material.ownership {
        let path = &entry.path;
        if !entry.kind.is_file_or_directory() {
            ledger.fail(
                Check::FileKind,
                path,
                "a link, device, FIFO or socket",
                "a regular file",
            );
            continue;
        }
        if let Some((uid, gid)) = material.expected_owner
            && access::is_misowned(entry, uid, gid)
        {
            ledger.fail(
                Check::FileOwner,
                path,
                format!("owned by {}:{}", entry.uid, entry.gid),
                format!("owned by {uid}:{gid}"),
            );
        }
    }
    match context.options.modes {
        Modes::AsCharonLeavesThem => {}
        Modes::Private => check_modes(material, ledger),
    }
}

fn check_modes(material: &Material, ledger: &mut Ledger) {
    if material.untold_modes > 0 {
        ledger.could_not_tell(
            Check::FileMode,
            ".",
            format!(
                "this system does not tell who may use {} of its entries",
                material.untold_modes
            ),
            "files that nobody else may use",
            Check::FileMode.advice(),
        );
    }
    let mut harmless = Vec::new();
    // Owners are a check of their own.
    for (entry, fault) in access::faults(&material.ownership, None) {
        match fault.describe(entry) {
            Some((seen, expected)) => ledger.fail(Check::FileMode, &entry.path, seen, expected),
            None => harmless.push(entry),
        }
    }
    if let Some(first) = harmless.first() {
        let more = match harmless.len() {
            1 => String::new(),
            2 => ", and one more file that others may read".to_owned(),
            count => format!(", and {} more files that others may read", count - 1),
        };
        ledger.note(
            Check::FileMode,
            &first.path,
            format!("mode {:04o}{more}", first.mode),
            "mode 0600; no secret is open, since nobody else can read a keystore and its password",
            Check::FileMode.advice(),
        );
    }
}
