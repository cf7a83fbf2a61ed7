//! What is proved once, so that the gate's next answer is quick.

use crate::context::Context;
use crate::failures;
use crate::machine::datadir::{self, Layout};
use crate::machine::guard;
use crate::proof::prove;

/// Remembers which keystores are proved, so that the gate need not stretch their passwords at every start. The gate does
/// well without.
pub(crate) fn remember(context: &Context, layout: &Layout) {
    let Ok(proof) = prove::prove(context, layout) else {
        return;
    };
    let Ok(()) = datadir::create_state_dir(layout) else {
        return;
    };
    let remembered = guard::claim_directory(layout)
        .map_err(failures::guard)
        .and_then(|_guard| proof.remember(layout));
    if let Err(failure) = remembered {
        context.warn(&format!("what is proved is not remembered: {failure}"));
    }
}
