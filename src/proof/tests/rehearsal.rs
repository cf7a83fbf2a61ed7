//! What a rehearsal's definition is worth: it is proved as any other.

use charon_files::cluster::{Definition, DefinitionVersion, Network};
use charon_files::rehearsal::*;
use charon_proof::verify::{self, Expectations, Material, NamedFile, Options, Scope, Verdict};

const TERMS: RehearsalTerms<'static> = RehearsalTerms {
    name: "four by two",
    operators: 4,
    threshold: None,
    validators: 2,
    version: DefinitionVersion::V1_10,
    timestamp: "2026-01-02T03:04:05Z",
};

#[test]
fn definitions_verify_in_every_version_and_are_marked() {
    let versions = DefinitionVersion::ALL
        .into_iter()
        .filter(|version| *version >= DefinitionVersion::V1_5);
    for version in versions {
        let terms = RehearsalTerms { version, ..TERMS };
        let made = rehearsal_definition(&terms, &[7; 32]).unwrap();
        assert!(is_rehearsal(&made.definition));
        assert_eq!(made.definition.threshold, 3);
        let text = made.definition.to_json();
        let read = Definition::parse(text.as_bytes()).unwrap();
        assert_eq!(read.value, made.definition);
        let material = Material {
            definition: Some(NamedFile::new("cluster-definition.json", text.into_bytes())),
            ..Material::default()
        };
        let outcome = verify::verify(
            &material,
            &Expectations::default(),
            &Options::new(Scope::DefinitionOnly),
        );
        let report = outcome.report;
        assert_eq!(report.verdict, Verdict::Pass, "{version}: {report:#?}");
        for (operator, key) in made.definition.operators.iter().zip(&made.enr_keys) {
            assert_eq!(operator.enr, key.enr().text());
        }
    }
}

#[test]
fn everything_comes_from_the_seed() {
    let make = |seed| {
        rehearsal_definition(&TERMS, &[seed; 32])
            .unwrap()
            .definition
    };
    assert_eq!(make(1), make(1));
    let (one, two) = (make(1), make(2));
    assert_ne!(one.uuid, two.uuid);
    assert_ne!(one.operators[0].enr, two.operators[0].enr);
    assert_ne!(one.operators[0].enr, one.operators[1].enr);
}

#[test]
fn impossible_terms_are_refused() {
    let refused = |terms: RehearsalTerms<'_>| {
        rehearsal_definition(&terms, &[1; 32])
            .map(|made| made.definition)
            .unwrap_err()
    };
    assert_eq!(
        refused(RehearsalTerms {
            operators: 2,
            ..TERMS
        }),
        RehearsalError::Operators(2)
    );
    assert_eq!(
        refused(RehearsalTerms {
            validators: 0,
            ..TERMS
        }),
        RehearsalError::Validators(0)
    );
    assert_eq!(
        refused(RehearsalTerms {
            threshold: Some(5),
            ..TERMS
        }),
        RehearsalError::Threshold {
            threshold: 5,
            operators: 4
        }
    );
    assert_eq!(
        refused(RehearsalTerms {
            version: DefinitionVersion::V1_4,
            ..TERMS
        }),
        RehearsalError::Version(DefinitionVersion::V1_4)
    );
    let long = "x".repeat(300);
    assert!(matches!(
        refused(RehearsalTerms {
            name: &long,
            ..TERMS
        }),
        RehearsalError::Hash(_)
    ));
}

#[test]
fn a_name_alone_does_not_make_a_rehearsal() {
    let mut definition = rehearsal_definition(&TERMS, &[1; 32]).unwrap().definition;
    definition.fork_version = [0; 4];
    assert!(!is_rehearsal(&definition));
    definition.fork_version = Network::by_name("hoodi").unwrap().fork_version;
    assert!(is_rehearsal(&definition));
    definition.name = "Rehearsal x".to_owned();
    assert!(!is_rehearsal(&definition));
}
