//! The engine of this machine, for the tests that want a real one.

use charon_dkg::docker::Engine;
use charon_dkg::docker::endpoint::{Endpoint, EngineEnvironment, EngineOptions, find_engine};

/// Where the engine is that the program itself would take.
pub(crate) fn found() -> Endpoint {
    let environment = EngineEnvironment::of_this_process();
    find_engine(&EngineOptions::default(), &environment).unwrap()
}

/// That engine.
pub(crate) async fn engine() -> Engine {
    let found = found();
    match Engine::connect(&found).await {
        Ok(engine) => engine,
        Err(error) => panic!(
            "{error}\nThese tests need a running engine ({} from {}): start dockerd, or set DOCKER_HOST.",
            found.address, found.source
        ),
    }
}
