//! How it stands with the other operators' receipts.

use crate::commands::confirm::{NotConfirmed, is_confirmed};
use crate::error::Failure;
use crate::gate::decision::Confirmation;
use crate::host::datadir::Layout;
use crate::verify::{Material, Verified};

/// Looks at the kept receipts of a directory that was just proved.
///
/// # Errors
/// Where the receipts cannot be read, which closes the gate too.
pub(super) fn standing(
    layout: &Layout,
    material: &Material,
    verified: &Verified,
) -> Result<Confirmation, Failure> {
    match is_confirmed(layout, material, verified) {
        Ok(_) => Ok(Confirmation::Complete),
        Err(NotConfirmed::Receipts(confirmation)) => Ok(Confirmation::Incomplete {
            reason: confirmation.summary(),
            findings: confirmation.findings(),
            next: None,
        }),
        Err(NotConfirmed::CouldNotTell(failure)) => Err(failure),
    }
}
