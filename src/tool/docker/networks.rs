//! Networks of a rehearsal.

use bollard::models::NetworkCreateRequest;

use crate::docker::{Engine, EngineError};

impl Engine {
    /// Creates a bridge network in which containers find each other by name.
    ///
    /// # Errors
    /// When the engine refuses or does not answer.
    pub async fn create_network(&self, name: &str) -> Result<(), EngineError> {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            ..NetworkCreateRequest::default()
        };
        self.call("create a network", self.docker.create_network(request))
            .await
            .map(|_| ())
    }

    /// The names of all networks that begin so.
    ///
    /// # Errors
    /// When the engine refuses or does not answer.
    pub async fn networks_beginning(&self, beginning: &str) -> Result<Vec<String>, EngineError> {
        let networks = self
            .call("list networks", self.docker.list_networks(None))
            .await?;
        let names = networks.into_iter().filter_map(|network| network.name);
        Ok(names.filter(|name| name.starts_with(beginning)).collect())
    }

    /// Removes a network; one that is gone already is no error.
    ///
    /// # Errors
    /// When the engine refuses or does not answer.
    pub async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        match self
            .call("remove a network", self.docker.remove_network(name))
            .await
        {
            Err(EngineError::Failed { status: 404, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
