//! A proof of the whole data directory as it is now. Files that were proved before by the same checks are hashed
//! and not proved again; where any has changed, everything is checked anew, but the passwords of keystores that were proved
//! before are not stretched again.

use std::collections::HashSet;

use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::datadir::{self, Layout};
use crate::proof::{checked, receipts};
use charon_files::keys::k1::EnrKey;
use charon_proof::proofs::{self, ChecksId, DirectoryId};
use charon_proof::verify::{
    ContractQuestion, Expectations, Material, Modes, Options, Progress, Proved, Report, Scope,
    Verified, verify,
};

/// The checks of this program: made by its `build.rs` from the sources of the crates that verify.
const CHECKS: ChecksId<'static> = ChecksId(env!("CHARON_DKG_CHECKS"));

/// A data directory that passed, and what it was proved from.
pub(crate) struct Proof {
    pub(crate) verified: Verified,
    pub(crate) key: EnrKey,
    /// What was proved before; it need not be written again if it has everything.
    before: Option<Proved>,
}

/// Proves a whole data directory. Changes nothing. Contract wallets are asked if there is anybody who may.
///
/// # Errors
/// With everything that was found, unless everything passed.
pub(crate) fn look(
    context: Option<&Context>,
    layout: &Layout,
    material: &Material,
    progress: &dyn Progress,
) -> Result<Proof, Box<Report>> {
    let key = material
        .enr_key
        .as_ref()
        .and_then(|file| EnrKey::parse(&file.bytes).ok());
    let before = key.as_ref().and_then(|key| proved_before(layout, key));
    // Where contract wallets can be asked, what they say now counts more than what they said.
    let asks = context.is_some_and(|context| context.contracts.can_ask());
    let unchanged = before
        .as_ref()
        .filter(|_| !asks)
        .and_then(|before| before.recognise(material, Modes::Private));
    let key = match (unchanged, key) {
        (Some(verified), Some(key)) => {
            return Ok(Proof {
                verified,
                key,
                before,
            });
        }
        (_, key) => key,
    };
    if let Some(context) = context {
        checked::ask_first(context, material, Scope::WholeDataDirectory);
    }
    let check = |before: Option<&Proved>| {
        let keystores: HashSet<&[u8; 32]> = before
            .map(|before| before.keystores().iter().collect())
            .unwrap_or_default();
        let answers = |question: &ContractQuestion| {
            let said = context.and_then(|context| context.contracts.answer(question));
            let remembered =
                before.is_some_and(|before| before.contains_contract_signature(&question.id()));
            said.or(remembered.then_some(true))
        };
        let options = Options {
            modes: Modes::Private,
            contract_answers: &answers,
            progress,
            proved_keystores: &|digest| keystores.contains(digest),
            ..Options::new(Scope::WholeDataDirectory)
        };
        verify(material, &Expectations::default(), &options)
    };
    let mut outcome = check(before.as_ref());
    if let (Some(before), Some(proof)) = (&before, &outcome.verified)
        && !before.is_for(proof)
    {
        // Another ceremony of this key: its record is not relied on.
        outcome = check(None);
    }
    match (outcome.verified, key) {
        (Some(verified), Some(key)) => Ok(Proof {
            verified,
            key,
            before,
        }),
        (None, _) | (_, None) => Err(Box::new(outcome.report)),
    }
}

/// Proves the data directory, for as little as it takes.
///
/// # Errors
/// [`Kind::VerificationFailed`] with every finding unless everything passed.
pub(crate) fn prove(context: &Context, layout: &Layout) -> Result<Proof, Failure> {
    let material = checked::read_data_dir(layout)?;
    look(Some(context), layout, &material, &checked::shown(context)).map_err(|report| {
        let what = layout.data_dir().display().to_string();
        checked::not_proved(&report, &what)
    })
}

/// A record that is missing, damaged or of somebody else costs time and nothing more.
fn proved_before(layout: &Layout, key: &EnrKey) -> Option<Proved> {
    let record = receipts::read_proved(layout).ok()??;
    let directory = datadir::inode(layout).ok()?;
    proofs::open(&record, key, DirectoryId(directory), CHECKS).ok()
}

impl Proof {
    /// Whether the record has all of it.
    pub(crate) fn is_remembered(&self) -> bool {
        self.before.as_ref() == Some(&Proved::of(&self.verified))
    }

    /// Remembers what is proved, for the next time. Expects the caller to hold the directory's guard.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub(crate) fn remember(&self, layout: &Layout) -> Result<(), Failure> {
        remember(layout, &self.verified, &self.key, self.before.as_ref())
    }
}

/// The same for a proof that was made elsewhere, as of a stage that was promoted.
///
/// # Errors
/// If the record cannot be written.
pub(crate) fn remember(
    layout: &Layout,
    verified: &Verified,
    key: &EnrKey,
    before: Option<&Proved>,
) -> Result<(), Failure> {
    let now = Proved::of(verified);
    if before == Some(&now) {
        return Ok(());
    }
    let directory = DirectoryId(datadir::inode(layout).map_err(failures::file)?);
    datadir::create_state_dir(layout).map_err(failures::state_dir)?;
    let record = proofs::seal(&now, key, directory, CHECKS)
        .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
    receipts::write_proved(layout, &record).map_err(failures::file)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use charon_proof::verify::Phase;

    use super::*;
    use crate::machine::testing::{Project, put, tree};

    /// Counts what is computed: keystores that are opened, signatures and shares that are checked.
    #[derive(Default)]
    struct Steps(AtomicUsize);

    impl Progress for Steps {
        fn set_total(&self, _phase: Phase, _total: usize) {}
        fn advance(&self, _phase: Phase, steps: usize) {
            self.0.fetch_add(steps, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_was_proved_before_is_not_proved_again_until_it_changes() {
        let project = Project::new();
        fs::remove_file(project.layout.enr_key_path()).unwrap();
        let node = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n4-v2/node0/.charon");
        for (name, bytes) in tree(&node) {
            put(&project.data(&name), &bytes, 0o600);
        }
        let keystores = project.data("validator_keys");
        fs::set_permissions(keystores, fs::Permissions::from_mode(0o700)).unwrap();
        let prove = || {
            let material = checked::read_data_dir(&project.layout).unwrap();
            let steps = Steps::default();
            let proof = look(None, &project.layout, &material, &steps).unwrap();
            proof.remember(&project.layout).unwrap();
            steps.0.into_inner()
        };
        assert!(prove() > 0);
        assert_eq!(prove(), 0);
        // The same key, in other bytes.
        let keystore = project.data("validator_keys/keystore-0.json");
        let bytes = [fs::read(&keystore).unwrap(), b"\n".to_vec()].concat();
        put(&keystore, &bytes, 0o600);
        assert!(prove() > 0);
        assert_eq!(prove(), 0);
    }
}
