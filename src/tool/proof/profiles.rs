//! The profile that was named on the command line, read once before anything else is done.

use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::machine::read::{self, Limit};
use charon_files::text::written;
use charon_proof::profile::{MAX_PROFILE_BYTES, Profile};
use charon_proof::verify::Expectations;

const PROFILE_FILE: Limit = Limit {
    bytes: MAX_PROFILE_BYTES as u64,
    what: "a profile",
};

impl Context {
    /// Reads the profile.
    ///
    /// # Errors
    /// [`Kind::Usage`] with line and reason if it is not a profile.
    pub(crate) fn find_profile(&self) -> Result<(), Failure> {
        let args = &self.profile.args;
        let profile = match (&args.profile, &args.profile_file) {
            (Some(name), _) => Profile::built_in(name)
                .ok_or_else(|| Failure::new(Kind::Usage, format!("there is no profile {name}")))?,
            (None, Some(path)) => {
                let usage = |error: String| {
                    Failure::new(Kind::Usage, error).hint(
                        "the format is that of the profiles of this program, see docs/deposits.md",
                    )
                };
                let bytes = read::read_file(path, PROFILE_FILE)
                    .map_err(|error| usage(error.to_string()))?;
                let text = written(&bytes)
                    .ok_or_else(|| usage(format!("{} is not UTF-8 text", path.display())))?;
                Profile::parse(&text)
                    .map_err(|error| usage(format!("{}, {error}", path.display())))?
            }
            (None, None) => return Ok(()),
        };
        self.profile.profile.get_or_init(|| profile);
        Ok(())
    }

    /// The profile, if one was named.
    pub(crate) fn profile(&self) -> Option<&Profile> {
        self.profile.profile.get()
    }

    /// What is known from the command line alone.
    pub(crate) fn expectations(&self) -> Expectations {
        Expectations {
            profile: self.profile().cloned(),
            ..Expectations::default()
        }
    }
}
