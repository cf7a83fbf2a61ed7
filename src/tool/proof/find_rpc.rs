//! The nodes that the command line names, by their URL or by a file with it.

use std::path::Path;

use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::machine::read::{self, Limit};
use crate::proof::rpc_url::{MAX_URL_BYTES, RpcUrl, UrlFault};
use charon_files::text::written;

/// A node as the command line may name it.
pub(super) struct NamedNode<'a> {
    /// The URL itself.
    pub(super) url: Option<&'a str>,
    /// A file with it.
    pub(super) file: Option<&'a Path>,
    /// The flag that takes the file.
    pub(super) file_flag: &'static str,
    /// What it is called: `the beacon node`.
    pub(super) name: &'static str,
    /// What the file holds: `the URL of a beacon node`.
    pub(super) content: &'static str,
    /// What such a URL looks like.
    pub(super) example: &'static str,
    /// What somebody on the way could say.
    pub(super) forgery: &'static str,
}

impl Context {
    /// Reads the URL of a node, before anything else is done; `None` if no node is named.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it is not a URL.
    pub(super) fn find_rpc(&self, node: &NamedNode<'_>) -> Result<Option<RpcUrl>, Failure> {
        let name = node.name;
        let parsed = match (node.url, node.file) {
            (Some(url), _) => RpcUrl::parse(url),
            (None, Some(path)) => {
                let limit = Limit {
                    // And a line end.
                    bytes: MAX_URL_BYTES,
                    what: node.content,
                };
                let bytes = read::read_secret_file(path, limit)
                    .map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
                written(&bytes)
                    .ok_or(UrlFault::NoUrl)
                    .and_then(|text| RpcUrl::parse(&text))
            }
            (None, None) => return Ok(None),
        };
        let rpc = parsed.map_err(|fault| {
            let seen = match fault {
                UrlFault::NoUrl => format!("what was given is not {name}'s URL"),
                UrlFault::NotHttp => format!("{name}'s URL is neither http nor https"),
            };
            Failure::new(Kind::Usage, seen).hint(format!(
                "give a URL such as {}, or a file with one in it",
                node.example
            ))
        })?;
        if rpc.is_unprotected() {
            self.warn(&format!(
                "{name} is asked over plain http: anyone on the network path can claim that {}",
                node.forgery
            ));
        }
        if node.url.is_some() && rpc.may_hold_key() {
            self.warn(&format!(
                "every user of this machine can read the URL of {name}, which may hold a key, in the command line: \
                 put it into a file and name that with {}",
                node.file_flag
            ));
        }
        Ok(Some(rpc))
    }
}
