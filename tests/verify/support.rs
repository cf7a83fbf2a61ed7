//! Reads the ceremonies under `tests/fixtures` and verifies them.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use charon_files::finding::Weight;
use charon_proof::verify::{Expectations, Material, NamedFile, Options, Outcome, Scope, verify};

use crate::files::files_below;

/// One ceremony, with the directory of each of its nodes.
#[derive(Debug, Clone)]
pub(crate) struct Ceremony {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) nodes: usize,
}

/// All ceremonies of the fixtures, by name.
pub(crate) fn ceremonies() -> impl Iterator<Item = Ceremony> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ceremonies");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| Ceremony {
        name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        nodes: std::fs::read_dir(&path).unwrap().count(),
        path,
    })
}

pub(crate) fn ceremony(name: &str) -> Ceremony {
    ceremonies()
        .find(|ceremony| ceremony.name == name)
        .unwrap_or_else(|| panic!("no ceremony {name}"))
}

impl Ceremony {
    pub(crate) fn material(&self, node: usize) -> Material {
        data_directory(&self.path.join(format!("node{node}/.charon")))
    }
}

/// Everything below a directory, each file in its place.
pub(crate) fn data_directory(root: &Path) -> Material {
    let mut material = Material::default();
    for path in files_below(root) {
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let file = NamedFile::new(name.clone(), std::fs::read(&path).unwrap());
        if name.starts_with("validator_keys/") {
            material.keystores.push(file);
        } else if name.starts_with("deposit-data") {
            material.deposit_data.push(file);
        } else if name == "cluster-lock.json" {
            material.cluster_lock = Some(file);
        } else if name == "cluster-definition.json" {
            material.definition = Some(file);
        } else if name == "charon-enr-private-key" {
            material.enr_key = Some(file);
        } else {
            material.other_names.push(name);
        }
    }
    material
}

/// Verifies a whole data directory from the beginning.
pub(crate) fn whole(material: &Material) -> Outcome {
    verify(
        material,
        &Expectations::default(),
        &Options::new(Scope::WholeDataDirectory),
    )
}

/// The same with these keystores proved before.
pub(crate) fn whole_with_proved(material: &Material, proved: &HashSet<[u8; 32]>) -> Outcome {
    let is_proved = |digest: &[u8; 32]| proved.contains(digest);
    let mut options = Options::new(Scope::WholeDataDirectory);
    options.proved_keystores = &is_proved;
    verify(material, &Expectations::default(), &options)
}

/// The digests of all keystores of a ceremony, proved the slow way once per process.
pub(crate) fn proved(ceremony: &Ceremony) -> HashSet<[u8; 32]> {
    static KNOWN: Mutex<BTreeMap<String, HashSet<[u8; 32]>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    known
        .entry(ceremony.name.clone())
        .or_insert_with(|| {
            (0..ceremony.nodes)
                .flat_map(|node| {
                    let verified = whole(&ceremony.material(node)).verified.unwrap();
                    verified.keystore_digests().to_vec()
                })
                .collect()
        })
        .clone()
}

/// The checks that failed or could not tell, without repetitions, in the order of the report.
pub(crate) fn serious(outcome: &Outcome) -> Vec<&'static str> {
    let mut checks: Vec<&'static str> = Vec::new();
    for finding in &outcome.report.findings {
        if finding.weight != Weight::Note && !checks.contains(&finding.check) {
            checks.push(finding.check);
        }
    }
    checks
}
