//! Two-word names of nodes, in the form of charon's peer names (`p2p/name.go`), with words of our own.

use sha2::{Digest, Sha256};

use charon_files::keys::k1::EnrPublicKey;

const FIRST: [&str; 64] = [
    "amber", "ample", "ashen", "azure", "balmy", "blunt", "bold", "brisk", "bronze", "calm",
    "civil", "clear", "copper", "coral", "crisp", "dapper", "deep", "dusky", "eager", "early",
    "fair", "fleet", "fond", "frank", "fresh", "gentle", "giddy", "glad", "golden", "grand",
    "hardy", "hazel", "humble", "ivory", "jolly", "keen", "kind", "lively", "lucid", "mellow",
    "merry", "mild", "modest", "neat", "nimble", "noble", "olive", "patient", "plain", "prompt",
    "quick", "quiet", "rapid", "rosy", "sable", "silver", "smooth", "solid", "steady", "sunny",
    "swift", "tidy", "vivid", "warm",
];

const SECOND: [&str; 64] = [
    "anchor", "apple", "arch", "aspen", "badger", "basin", "beacon", "birch", "bridge", "brook",
    "cabin", "canyon", "cedar", "cliff", "cloud", "clover", "comet", "cove", "crane", "delta",
    "dune", "elm", "ember", "falcon", "fern", "field", "fjord", "forest", "fountain", "garden",
    "glade", "harbor", "heron", "hill", "inlet", "island", "lagoon", "lantern", "larch", "ledge",
    "maple", "marsh", "meadow", "mesa", "oak", "orchard", "otter", "pebble", "pine", "plateau",
    "pond", "prairie", "quarry", "reef", "ridge", "river", "rowan", "shore", "spruce", "stone",
    "summit", "thicket", "valley", "willow",
];

/// The name of a node, always the same for a key.
pub(crate) fn peer_name(key: &EnrPublicKey) -> String {
    let digest = Sha256::digest(key.as_bytes());
    let pick = |words: &[&'static str; 64], byte: u8| words[usize::from(byte % 64)];
    format!("{}-{}", pick(&FIRST, digest[0]), pick(&SECOND, digest[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_word_is_there_twice() {
        assert_eq!(FIRST.iter().collect::<BTreeSet<_>>().len(), 64);
        assert_eq!(SECOND.iter().collect::<BTreeSet<_>>().len(), 64);
    }
}
