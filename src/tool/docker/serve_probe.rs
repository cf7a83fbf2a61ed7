//! `internal-probe`: asks relays and looks at the mounted ENR key, inside a container of our own.

use crate::cli::RawArgs;
use crate::context::Context;
use crate::docker::probe;
use crate::error::{Failure, Kind};

pub(crate) async fn serve(context: &Context, args: &RawArgs) -> Result<(), Failure> {
    let questions: Vec<String> = args
        .args
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let served = probe::serve(&questions).await;
    context.print(&served.lines)?;
    if served.exit_code == 0 {
        Ok(())
    } else {
        Err(Failure::new(Kind::Unexpected, "not every relay answers"))
    }
}
