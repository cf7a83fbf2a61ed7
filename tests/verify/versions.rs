//! Every format version, made from one real ceremony by an insider who signs everything again.

use charon_files::cluster::DefinitionVersion;
use charon_files::finding::Weight;
use charon_proof::verify::{Expectations, Options, Outcome, Scope, Verdict, verify};

use crate::forge::Cluster;
use crate::support::{ceremony, proved, serious, whole_with_proved};

#[test]
fn every_version_passes_signed_and_unsigned() {
    let source = ceremony("charon-v1.10.3-def-v1.10.0-n4-v2");
    let proved = proved(&source);
    let mut cluster = Cluster::of(&source);
    for version in DefinitionVersion::ALL {
        cluster.convert(version);
        let outcome = whole_with_proved(&cluster.material(2), &proved);
        assert_passes(version, &outcome);
        assert_eq!(outcome.report.definition_version, Some(version.text()));
        assert_eq!(outcome.verified.unwrap().definition().version, version);

        for scope in [
            Scope::LockOnly,
            Scope::DefinitionOnly,
            Scope::DepositsAgainstLock,
        ] {
            let outcome = verify(
                &cluster.material(0),
                &Expectations::default(),
                &Options::new(scope),
            );
            assert_passes(version, &outcome);
            assert!(
                outcome.verified.is_none(),
                "only a whole directory is a proof"
            );
        }

        if version.has_eip712_signatures() {
            cluster.sign_definition();
            cluster.seal();
            let outcome = whole_with_proved(&cluster.material(1), &proved);
            assert_passes(version, &outcome);
            assert!(outcome.report.findings.is_empty(), "{version}");
            for operator in &mut cluster.lock.definition.operators {
                operator.address.clear();
                operator.config_signature.clear();
                operator.enr_signature.clear();
            }
            cluster.lock.definition.creator = Default::default();
        }
    }
}

fn assert_passes(version: DefinitionVersion, outcome: &Outcome) {
    assert_eq!(
        serious(outcome),
        Vec::<&str>::new(),
        "{version}: {:#?}",
        outcome.report.findings
    );
    assert_eq!(outcome.report.verdict, Verdict::Pass, "{version}");
    assert!(
        outcome
            .report
            .findings
            .iter()
            .all(|finding| finding.weight == Weight::Note),
        "{version}"
    );
}
