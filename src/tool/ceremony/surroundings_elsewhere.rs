//! What is around the data directory where this program uses no engine: relays as they answer this machine, and charon's own
//! sign of life. The functions are those of `surroundings.rs`.

use std::convert::Infallible;

use crate::ceremony::plan::{EngineFact, NetworkFact, Request};
use crate::ceremony::seen::{self, Inside, Seen, relay_fact, relay_urls};
use crate::context::Context;
use crate::error::Failure;
use crate::machine;
use crate::machine::datadir::{DataDirFacts, Layout};
use crate::machine::relays;
use charon_files::cluster::version::CharonVersion;

/// There is no engine.
pub(crate) type Engine = Infallible;

pub(crate) type Connection = Result<(Engine, Engine), EngineFact>;

pub(crate) async fn connect(
    _context: &Context,
    _request: &Request,
    _on_disk: &DataDirFacts,
) -> Connection {
    Err(EngineFact::NotLookedAt(std::env::consts::OS))
}

pub(crate) async fn settle(_context: &Context, engine: &Engine) {
    match *engine {}
}

pub(crate) async fn processor(_engine: Option<&Engine>) -> Result<String, Failure> {
    Ok(machine::processor().to_owned())
}

pub(crate) async fn look(
    _context: &Context,
    layout: &Layout,
    request: &Request,
    _on_disk: &DataDirFacts,
    release: Option<&CharonVersion>,
    _enr_id: Option<&str>,
    connection: &Connection,
) -> Result<Seen, Failure> {
    let fact = match connection {
        Ok((engine, _)) => match *engine {},
        Err(fact) => fact.clone(),
    };
    let answers = relays::ask_all(&relay_urls(request, release)).await;
    Ok(Seen {
        inside: Inside {
            relays: answers.into_iter().map(relay_fact).collect(),
            network: NetworkFact::NotLookedAt,
            ..Inside::nothing()
        },
        others: seen::sign_of_life(layout).into_iter().collect(),
        ..Seen::nothing_but(fact)
    })
}
