//! What is proved once, so that the gate's next answer is quick.

use crate::context::Context;
use crate::error::Failure;
use crate::failures;
use crate::machine::datadir::{self, Layout};
use crate::machine::guard;
use crate::proof::prove::{self, Proof};

/// Remembers what is proved, so that the gate need not prove it at every start. The gate does well without.
pub(crate) fn remember(context: &Context, layout: &Layout) {
    let Ok(proof) = prove::prove(context, layout) else {
        return;
    };
    let Ok(()) = datadir::create_state_dir(layout) else {
        return;
    };
    if let Err(failure) = keep(layout, &proof) {
        context.warn(&format!("what is proved is not remembered: {failure}"));
    }
}

/// The same where a proof is at hand.
///
/// # Errors
/// If another command works on this directory, or the record cannot be written.
pub(crate) fn keep(layout: &Layout, proof: &Proof) -> Result<(), Failure> {
    if proof.is_remembered() {
        return Ok(());
    }
    let _guard = guard::claim_directory(layout).map_err(failures::guard)?;
    proof.remember(layout)
}
