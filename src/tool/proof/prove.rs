//! A proof of the whole data directory as it lies there now. Everything is checked anew, but the passwords of keystores
//! that were proved before are not stretched again.

use crate::context::Context;
use crate::error::Failure;
use crate::failures;
use crate::machine::datadir::{self, Layout};
use crate::proof::{checked, receipts};
use charon_files::keys::k1::EnrKey;
use charon_proof::proofs::{DirectoryId, ProvedKeystores};
use charon_proof::verify::{
    ContractQuestion, Expectations, Material, Modes, Options, Progress, Report, Scope, Verified,
    verify,
};

/// A data directory that passed, and what it was proved from.
pub(crate) struct Proof {
    pub(crate) verified: Verified,
    pub(crate) key: EnrKey,
    /// What was proved before; it need not be written again if it has everything.
    before: Option<ProvedKeystores>,
}

/// What became of looking at a data directory, whether it passed or not.
pub(crate) struct Looked {
    pub(crate) report: Report,
    pub(crate) verified: Option<Verified>,
    key: Option<EnrKey>,
    before: Option<ProvedKeystores>,
}

/// Verifies a whole data directory. Changes nothing. Contract wallets are asked if there is anybody who may.
pub(crate) fn look(
    context: Option<&Context>,
    layout: &Layout,
    material: &Material,
    progress: &dyn Progress,
) -> Looked {
    if let Some(context) = context {
        checked::ask_first(context, material, Scope::WholeDataDirectory);
    }
    let key = material
        .enr_key
        .as_ref()
        .and_then(|file| EnrKey::parse(&file.bytes).ok());
    let before = key.as_ref().and_then(|key| proved_before(layout, key));
    let check = |before: Option<&ProvedKeystores>| {
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
            proved_keystores: &|digest| before.is_some_and(|before| before.contains(digest)),
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
    Looked {
        report: outcome.report,
        verified: outcome.verified,
        key,
        before,
    }
}

/// Proves the data directory, for as little as it takes.
///
/// # Errors
/// [`Kind::VerificationFailed`] with every finding unless everything passed.
pub(crate) fn prove(context: &Context, layout: &Layout) -> Result<Proof, Failure> {
    let material = checked::read_data_dir(layout)?;
    let looked = look(Some(context), layout, &material, &checked::shown(context));
    match (looked.verified, looked.key) {
        (Some(verified), Some(key)) => Ok(Proof {
            verified,
            key,
            before: looked.before,
        }),
        (None, _) | (_, None) => {
            let what = layout.data_dir().display().to_string();
            Err(checked::not_proved(&looked.report, &what))
        }
    }
}

/// A record that is missing, damaged or of somebody else costs time and nothing more.
fn proved_before(layout: &Layout, key: &EnrKey) -> Option<ProvedKeystores> {
    let record = receipts::read_proved(layout).ok()??;
    let directory = datadir::inode(layout).ok()?;
    ProvedKeystores::open(&record, key, DirectoryId(directory)).ok()
}

impl Proof {
    /// Remembers which keystores are proved, for the next time. Expects the caller to hold the directory's guard.
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
    before: Option<&ProvedKeystores>,
) -> Result<(), Failure> {
    let now = ProvedKeystores::of(verified);
    if before == Some(&now) {
        return Ok(());
    }
    let directory = DirectoryId(datadir::inode(layout).map_err(failures::file)?);
    datadir::create_state_dir(layout).map_err(failures::state_dir)?;
    receipts::write_proved(layout, &now.seal(key, directory)).map_err(failures::file)
}
