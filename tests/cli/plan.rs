//! `plan::make`: from facts to a plan, or to everything that speaks against the ceremony.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use charon_dkg::ceremony::plan::{
    CeremonyKind, DataDirFact, DefinitionFact, EngineFact, EnrKeyFact, Entry, Facts, ImageFact,
    MountFact, NetworkFact, OtherUser, Plan, RelayAnswer, RelayFact, Request, StateDirProblem,
    make,
};
use charon_files::cluster::access::{EntryKind, FileMode};
use charon_files::cluster::definition::Definition;
use charon_files::cluster::index::NodeIndex;
use charon_files::cluster::network::Network;
use charon_files::cluster::token::Gwei;
use charon_files::cluster::version::CharonVersion;
use charon_files::finding::{Finding, Weight};
use charon_proof::readiness::Agreement;

use crate::support::{CEREMONY, DEFINITION, KEY, LOCK, fixture};

const OWNER: u32 = 1000;

fn entry(name: &str, kind: EntryKind) -> Entry {
    Entry {
        name: name.to_owned(),
        kind,
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

/// A ceremony that nothing speaks against.
fn good() -> (Request, Facts) {
    let bytes = fs::read(fixture(CEREMONY, 0).join(DEFINITION)).unwrap();
    let definition = Definition::parse(&bytes).unwrap().value;
    let definition_hash = definition.definition_hash().unwrap();
    let request = Request {
        kind: CeremonyKind::Dkg,
        data_dir: "/srv/x/.charon".into(),
        state_dir: "/srv/x/.charon-dkg".into(),
        relays: Vec::new(),
        network: None,
        repository: text("obolnetwork/charon"),
        charon_binary: None,
        charon_version: None,
        allow_prerelease: false,
        no_backup: false,
        charon_flags: Vec::new(),
        agreed: None,
        is_proposal: false,
    };
    let facts = Facts {
        my_uid: OWNER,
        data_dir: DataDirFact::Found {
            untold_modes: 0,
            uid: OWNER,
            gid: OWNER,
            modes: Vec::new(),
            entries: vec![
                entry(KEY, EntryKind::Regular),
                entry("charon-enr-private-key.lock", EntryKind::Regular),
                entry(DEFINITION, EntryKind::Regular),
            ],
            writable: true,
            read_only: false,
            same_file_system: true,
            free_bytes: 1 << 30,
        },
        state_dir_problem: None,
        old_keys: Vec::new(),
        enr_key: EnrKeyFact::Found {
            enr_id: text("0123456789abcdef"),
            mode: 0o600,
            uid: OWNER,
            backed_up: true,
        },
        definition: DefinitionFact::Found {
            source: text("https://api.example/definition"),
            kept_as: "/srv/x/.charon-dkg/definitions/ab.json".into(),
            definition: Box::new(definition),
            definition_hash,
            node: Some(NodeIndex::new(1)),
            findings: Vec::new(),
        },
        engine: EngineFact::Ready {
            mode: text("rootful"),
            address: text("unix:///run/docker.sock"),
            version: text("28.2.2"),
            user: Some(text("1000:1000")),
            userns_mode: None,
        },
        image: ImageFact::Present {
            run_as: text("obolnetwork/charon@sha256:0123"),
            version_output: Ok(text("v1.10.3 [git_commit_hash=…]")),
        },
        others: Vec::new(),
        relays: vec![relay("https://a.example", RelayAnswer::Answers)],
        network: NetworkFact::Usable,
        mounts: MountFact::Same,
        attempt_dir: "/srv/x/.charon-dkg/attempts/1".into(),
        role: None,
    };
    (request, facts)
}

fn relay(url: &str, answer: RelayAnswer) -> RelayFact {
    RelayFact {
        url: text(url),
        answer,
    }
}

fn unavailable() -> ImageFact {
    ImageFact::Unavailable {
        reason: text("no such host"),
        advice: text("check this machine's network"),
    }
}

fn plan(request: &Request, facts: &Facts) -> Plan {
    make(request, facts).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// The checks that stop it.
fn refused(request: &Request, facts: &Facts) -> BTreeSet<&'static str> {
    let findings = make(request, facts).unwrap_err();
    for finding in &findings {
        assert_ne!(finding.weight, Weight::Note, "{finding:?}");
        for (what, text) in [
            ("subject", &finding.subject),
            ("seen", &finding.seen),
            ("expected", &finding.expected),
            ("advice", &finding.advice),
        ] {
            assert!(!text.is_empty(), "no {what}: {finding:?}");
        }
    }
    findings.iter().map(|finding| finding.check).collect()
}

/// One thing that is wrong.
struct Fault {
    /// The check that tells it.
    check: &'static str,
    make: fn(&mut Request, &mut Facts),
    /// What it changes, and what cannot be looked at because of it. Two faults that share none of
    /// this are told together.
    touches: &'static [&'static str],
}

/// Everything that can be wrong, every check of the plan at least once.
fn faults() -> Vec<Fault> {
    fn fault(
        check: &'static str,
        touches: &'static [&'static str],
        make: fn(&mut Request, &mut Facts),
    ) -> Fault {
        Fault {
            check,
            make,
            touches,
        }
    }
    fn add(facts: &mut Facts, name: &str, new: EntryKind) {
        if let DataDirFact::Found { entries, .. } = &mut facts.data_dir {
            entries.retain(|entry| entry.name != name);
            entries.push(entry(name, new));
        }
    }
    fn other(facts: &mut Facts, is_ceremony: bool) {
        facts.others.push(OtherUser {
            who: text("container charon-1 (obolnetwork/charon:v1.10.3)"),
            how: text("mounts /srv/x/.charon"),
            advice: text("docker stop charon-1"),
            is_ceremony,
            is_node: false,
        });
    }
    const DIRECTORY: &[&str] = &[
        "directory",
        "state",
        "entries",
        "modes",
        "mount",
        "key",
        "definition",
        "disk",
    ];
    const DEFINITION_GONE: &[&str] = &["definition", "release", "image"];
    vec![
        fault("charon-flag-refused", &["flags"], |request, _| {
            request.charon_flags.push(text("--no-verify"));
        }),
        fault("charon-flag-invalid", &["flags"], |request, _| {
            request
                .charon_flags
                .push(text("--p2p-external-hostname=https://a.example"));
        }),
        fault("data-directory-missing", DIRECTORY, |_, facts| {
            facts.data_dir = DataDirFact::Missing;
            facts.enr_key = EnrKeyFact::Missing;
        }),
        fault("data-directory-unreadable", DIRECTORY, |_, facts| {
            facts.data_dir = DataDirFact::Unreadable(text("it is a FIFO, not a directory"));
            facts.enr_key = EnrKeyFact::Unusable(text("not a directory"));
        }),
        fault("not-the-owner", &["directory", "state"], |_, facts| {
            facts.my_uid = OWNER + 1
        }),
        fault("data-directory-not-writable", &["directory"], |_, facts| {
            if let DataDirFact::Found { writable, .. } = &mut facts.data_dir {
                *writable = false;
            }
        }),
        fault("other-file-system", &["mount"], |_, facts| {
            if let DataDirFact::Found {
                same_file_system, ..
            } = &mut facts.data_dir
            {
                *same_file_system = false;
            }
        }),
        fault("state-directory-unusable", &["state"], |_, facts| {
            facts.state_dir_problem = Some(StateDirProblem {
                seen: text("it is no directory"),
                advice: text("move it out of the way"),
            });
        }),
        fault("data-directory-not-clean", &["entries"], |_, facts| {
            add(facts, LOCK, EntryKind::Regular);
        }),
        fault("data-directory-not-clean", &["entries"], |_, facts| {
            add(facts, "dkg.tar.gz", EntryKind::Regular);
        }),
        fault(
            "data-directory-not-clean",
            &["entries", "definition"],
            |_, facts| {
                add(facts, DEFINITION, EntryKind::Directory);
            },
        ),
        fault("data-directory-mode", &["modes"], |_, facts| {
            if let DataDirFact::Found { modes, .. } = &mut facts.data_dir {
                modes.push(FileMode {
                    path: text("."),
                    uid: OWNER,
                    gid: OWNER,
                    mode: 0o777,
                    kind: EntryKind::Directory,
                    list: None,
                });
            }
        }),
        fault("data-directory-owner", &["modes"], |_, facts| {
            if let DataDirFact::Found { modes, .. } = &mut facts.data_dir {
                modes.push(FileMode {
                    path: text(DEFINITION),
                    uid: 0,
                    gid: 0,
                    mode: 0o644,
                    kind: EntryKind::Regular,
                    list: None,
                });
            }
        }),
        fault("data-directory-special-file", &["entries"], |_, facts| {
            add(facts, "validator_keys", EntryKind::Symlink);
        }),
        fault("enr-key-missing", &["key"], |_, facts| {
            facts.enr_key = EnrKeyFact::Missing
        }),
        fault("enr-key-unusable", &["key"], |_, facts| {
            facts.enr_key = EnrKeyFact::Unusable(text("not 64 hex digits"));
        }),
        fault("enr-key-mode", &["key"], |_, facts| {
            if let EnrKeyFact::Found { mode, .. } = &mut facts.enr_key {
                *mode = 0o640;
            }
        }),
        fault("enr-key-owner", &["key"], |_, facts| {
            if let EnrKeyFact::Found { uid, .. } = &mut facts.enr_key {
                *uid = 0;
            }
        }),
        fault("enr-key-not-backed-up", &["key"], |_, facts| {
            if let EnrKeyFact::Found { backed_up, .. } = &mut facts.enr_key {
                *backed_up = false;
            }
        }),
        fault("definition-missing", DEFINITION_GONE, |_, facts| {
            facts.definition = DefinitionFact::Missing(text("/srv/x/.charon"));
        }),
        fault("definition-unusable", DEFINITION_GONE, |_, facts| {
            facts.definition = DefinitionFact::Unusable {
                reason: text("not JSON"),
                advice: text("ask again"),
            };
        }),
        fault(
            "enr-key-not-in-definition",
            &["key", "definition"],
            |_, facts| {
                if let DefinitionFact::Found { node, .. } = &mut facts.definition {
                    *node = None;
                }
            },
        ),
        // What `verify` says of the definition stops the ceremony too, undecided or not.
        fault("operator-config-signature", &["definition"], |_, facts| {
            if let DefinitionFact::Found { findings, .. } = &mut facts.definition {
                findings.push(Finding {
                    check: "operator-config-signature",
                    weight: Weight::CouldNotTell,
                    subject: text("operator 1 of 4"),
                    seen: text("a contract's signature"),
                    expected: text("one that can be checked"),
                    advice: text("ask the contract"),
                });
            }
        }),
        fault(
            "network-unknown-to-charon",
            &["definition", "release", "image"],
            |_, facts| {
                if let DefinitionFact::Found { definition, .. } = &mut facts.definition {
                    definition.fork_version = Network::by_name("ropsten").unwrap().fork_version;
                }
            },
        ),
        fault("no-charon-release", &["release", "image"], |request, _| {
            request.charon_version = Some("v0.14.4".parse().unwrap());
        }),
        fault("disk-full", &["disk"], |_, facts| {
            if let DataDirFact::Found { free_bytes, .. } = &mut facts.data_dir {
                *free_bytes = 1 << 20;
            }
        }),
        fault("already-in-use", &["others"], |_, facts| {
            other(facts, false)
        }),
        fault("ceremony-under-way", &["others"], |_, facts| {
            other(facts, true)
        }),
        fault("engine-unreachable", &["engine"], |_, facts| {
            facts.engine = EngineFact::Unreachable {
                reason: text("nobody listens"),
                advice: text("start docker"),
            };
        }),
        fault("engine-remote", &["engine"], |_, facts| {
            facts.engine = EngineFact::Remote(text("tcp://192.0.2.1:2376"));
        }),
        fault("engine-cannot-be-owner", &["engine"], |_, facts| {
            facts.engine = EngineFact::WrongOwner {
                mode: text("rootless"),
                reason: text("it runs as uid 1001"),
            };
        }),
        fault("image-unavailable", &["image"], |_, facts| {
            facts.image = unavailable();
        }),
        fault("image-version-unknown", &["image"], |_, facts| {
            facts.image = ImageFact::Present {
                run_as: text("sha256:ab"),
                version_output: Err(text("exit code 1")),
            };
        }),
        fault("image-version-differs", &["image"], |_, facts| {
            facts.image = ImageFact::Present {
                run_as: text("sha256:ab"),
                version_output: Ok(text("v1.9.0")),
            };
        }),
        fault("network-unusable", &["network"], |request, facts| {
            request.network = Some(text("nowhere"));
            facts.network = NetworkFact::Unusable(text("no such network"));
        }),
        fault("engine-sees-other-files", &["inside"], |_, facts| {
            facts.mounts = MountFact::Elsewhere(text("the engine sees no file"));
        }),
        fault("mount-unreadable", &["inside"], |_, facts| {
            facts.mounts = MountFact::Unreadable {
                reason: text("Permission denied"),
                selinux: false,
            };
        }),
        fault("key-unreadable", &["inside", "image"], |request, facts| {
            request.charon_binary = Some("/opt/charon".into());
            facts.mounts = MountFact::Unreadable {
                reason: text("Permission denied"),
                selinux: false,
            };
        }),
        fault("mount-refused", &["inside"], |_, facts| {
            facts.mounts = MountFact::Refused(text("the path is not shared"));
        }),
        fault("relay-does-not-answer", &["relay"], |_, facts| {
            facts.relays = vec![relay("https://a.example", RelayAnswer::Silent(text("no")))];
        }),
        fault("relay-not-asked", &["relay"], |_, facts| {
            facts.relays = vec![relay(
                "https://a.example",
                RelayAnswer::NotAsked(text("no")),
            )];
        }),
    ]
}

#[test]
fn a_ceremony_on_gnosis_chain_is_planned_in_gno() {
    let (request, mut facts) = good();
    if let DefinitionFact::Found { definition, .. } = &mut facts.definition {
        definition.fork_version = Network::by_name("gnosis").unwrap().fork_version;
        definition.deposit_amounts = Some(vec![Gwei::from_eth(1), Gwei::FULL]);
    }
    let lines = plan(&request, &facts).payouts.lines();
    assert_eq!(lines.last().unwrap().1, "0.03125, 1 GNO for each validator");
}

#[test]
fn a_good_ceremony_is_planned_whole() {
    let (request, facts) = good();
    snapshot!(
        "plan_of_a_ceremony",
        serde_json::to_string_pretty(&plan(&request, &facts)).unwrap()
    );
}

#[test]
fn every_fault_is_told_and_nothing_else_is() {
    for fault in faults() {
        let (mut request, mut facts) = good();
        (fault.make)(&mut request, &mut facts);
        assert_eq!(refused(&request, &facts), BTreeSet::from([fault.check]));
    }
}

/// An operator must not learn of two faults in two ceremonies.
#[test]
fn two_faults_are_told_together() {
    let faults = faults();
    let mut pairs = 0;
    for (position, first) in faults.iter().enumerate() {
        for second in &faults[position + 1..] {
            if first
                .touches
                .iter()
                .any(|area| second.touches.contains(area))
            {
                continue;
            }
            for order in [[first, second], [second, first]] {
                let (mut request, mut facts) = good();
                for fault in order {
                    (fault.make)(&mut request, &mut facts);
                }
                let told = refused(&request, &facts);
                let both = BTreeSet::from([first.check, second.check]);
                assert!(told.is_superset(&both), "{told:?}, expected {both:?}");
            }
            pairs += 1;
        }
    }
    assert!(pairs > 300, "{pairs}");
}

/// All faults that there are, at once: none is lost among the others.
#[test]
fn all_faults_are_told_together() {
    let masked = [
        "data-directory-missing",
        "data-directory-unreadable",
        "not-the-owner",
    ];
    let (mut request, mut facts) = good();
    let mut expected = BTreeSet::new();
    let mut touched: BTreeSet<&str> = BTreeSet::new();
    for fault in faults() {
        if masked.contains(&fault.check) || fault.touches.iter().any(|area| touched.contains(area))
        {
            continue;
        }
        (fault.make)(&mut request, &mut facts);
        touched.extend(fault.touches);
        expected.insert(fault.check);
    }
    assert!(expected.len() >= 12, "{expected:?}");
    let told = refused(&request, &facts);
    assert!(
        told.is_superset(&expected),
        "{told:?}, expected {expected:?}"
    );
}

/// Only where SELinux enforces is the advice to label anything, and then with what the directories need.
#[test]
fn a_mount_that_cannot_be_read_where_selinux_enforces_needs_a_label() {
    for selinux in [false, true] {
        let (request, mut facts) = good();
        facts.mounts = MountFact::Unreadable {
            reason: text("Permission denied"),
            selinux,
        };
        let findings = make(&request, &facts).unwrap_err();
        let [finding] = findings.as_slice() else {
            panic!("{findings:#?}");
        };
        let command = "`mkdir -p -m 700 /srv/x/.charon-dkg && chcon -R -t container_file_t /srv/x/.charon /srv/x/.charon-dkg`";
        assert_eq!(finding.advice.contains(command), selinux, "{finding:?}");
    }
}

#[test]
fn a_slow_engine_is_not_called_one_that_sees_other_files() {
    for (mounts, elsewhere) in [
        (MountFact::TooSlow(text("did not end within 30 s")), false),
        (MountFact::Refused(text("not shared")), true),
    ] {
        let (request, mut facts) = good();
        facts.mounts = mounts;
        let findings = make(&request, &facts).unwrap_err();
        let [finding] = findings.as_slice() else {
            panic!("{findings:#?}");
        };
        assert_eq!(finding.advice.contains("snap"), elsewhere, "{finding:?}");
    }
}

/// A check that nobody can bring about is either dead or not tested.
#[test]
fn every_check_of_the_plan_has_a_fault_here() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tool/ceremony/plan.rs");
    let source = fs::read_to_string(source).unwrap();
    let source = source.split("#[cfg(test)]").next().unwrap();
    let is_id =
        |text: &str| text.contains('-') && text.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let mut ids: BTreeSet<&str> = source
        .split("fail(")
        .skip(1)
        .filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next())
        .filter(|text| is_id(text))
        .collect();
    ids.extend(["already-in-use", "ceremony-under-way"]);
    assert!(ids.len() > 25, "{ids:?}");
    let told: BTreeSet<&str> = faults().iter().map(|fault| fault.check).collect();
    let missing: Vec<&&str> = ids.difference(&told).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn no_refusal_is_without_a_reason() {
    for image in [ImageFact::Unknown, unavailable()] {
        for engine in [
            None,
            Some(EngineFact::Unreachable {
                reason: text("no"),
                advice: text("start docker"),
            }),
        ] {
            let (request, mut facts) = good();
            facts.image = image.clone();
            if let Some(engine) = engine {
                facts.engine = engine;
            }
            if let Err(findings) = make(&request, &facts) {
                assert!(!findings.is_empty(), "{facts:?}");
            }
        }
    }
}

#[test]
fn flags_that_break_the_promise_are_found_in_every_form() {
    for name in [
        "data-dir",
        "definition-file",
        "no-verify",
        "zipped",
        "log-output-path",
        "keymanager-address",
        "keymanager-auth-token",
        "p2p-relays",
    ] {
        for flags in [
            vec![format!("--{name}")],
            vec![format!("--{name}=x")],
            vec![format!("--{name}=")],
            vec![format!("--{name}"), text("x")],
            vec![text("--log-level=debug"), format!("--{name}=true")],
            // charon would take it for a value; nobody means that.
            vec![text("--log-level"), format!("--{name}")],
        ] {
            let (mut request, facts) = good();
            request.charon_flags.clone_from(&flags);
            let told = refused(&request, &facts);
            assert_eq!(told, BTreeSet::from(["charon-flag-refused"]), "{flags:?}");
        }
    }
}

/// charon v1.10.3 refused or accepted each of these.
#[test]
fn p2p_flags_that_charon_refuses_are_found_before_the_start() {
    let listen = "--p2p-tcp-address=0.0.0.0:3610";
    for (flags, network, is_refused) in [
        (vec!["--p2p-tcp-address=0.0.0.0"], None, true),
        (
            vec!["--p2p-tcp-address", "127.0.0.1:3610,1.2.3.4"],
            None,
            true,
        ),
        (vec!["--p2p-tcp-address=:3610"], None, true),
        (vec!["--p2p-tcp-address=0.0.0.0:99999"], None, true),
        (vec!["--p2p-tcp-address=2001:db8::1:3610"], None, true),
        (vec!["--p2p-tcp-address=203.0.113.9:3610"], None, true),
        (
            vec!["--p2p-tcp-address=203.0.113.9:3610"],
            Some("mine"),
            true,
        ),
        (
            vec!["--p2p-tcp-address=203.0.113.9:3610"],
            Some("host"),
            false,
        ),
        (
            vec!["--p2p-external-hostname=node.example:3610"],
            None,
            true,
        ),
        (
            vec!["--p2p-external-hostname", "http://node.example"],
            None,
            true,
        ),
        (vec![listen, "--p2p-external-ip=300.1.1.1"], None, true),
        (
            vec![listen, "--p2p-external-ip", "1.2.3.4:3610"],
            None,
            true,
        ),
        (vec!["--p2p-external-ip=300.1.1.1"], None, false),
        (vec![listen], None, false),
        (vec!["--p2p-tcp-address", "[::]:3610"], None, false),
        (vec!["--p2p-tcp-address=127.0.0.1:3610"], None, false),
        (vec!["--p2p-tcp-address=localhost:3610"], None, false),
        (vec!["--p2p-udp-address=0.0.0.0"], None, false),
        (vec![listen, "--p2p-external-ip=203.0.113.9"], None, false),
        (vec!["--p2p-external-hostname=node.example"], None, false),
        (vec!["--p2p-tcp-addresses=x"], None, false),
    ] {
        let (mut request, facts) = good();
        request.charon_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        request.network = network.map(str::to_owned);
        if is_refused {
            let told = refused(&request, &facts);
            assert_eq!(told, BTreeSet::from(["charon-flag-invalid"]), "{flags:?}");
        } else {
            plan(&request, &facts);
        }
    }
}

/// charon knows its flags by these names alone: no other case, no underscores, no abbreviation and
/// no single dash (spf13/pflag).
#[test]
fn other_flags_reach_charon_as_they_are_and_after_ours() {
    let (mut request, facts) = good();
    request.relays = vec![text("https://a.example"), text("https://b.example")];
    let flags = [
        "--log-level",
        "debug",
        "--timeout=5m",
        "--no-verification",
        "-h",
        "x",
    ];
    request.charon_flags = flags.map(str::to_owned).to_vec();
    let args = plan(&request, &facts).container.args;
    assert_eq!(args[0], "dkg");
    assert_eq!(args[args.len() - flags.len()..], flags);
    let relays = "--p2p-relays=https://a.example,https://b.example";
    assert_eq!(args[args.len() - flags.len() - 1], relays);
}

/// `CHARON_*` in the environment are flags too; the container gets nothing of the operator's.
#[test]
fn nothing_of_the_environment_reaches_charon() {
    let (request, facts) = good();
    assert_eq!(plan(&request, &facts).container.env, [""; 0]);
}

/// Key and definition are for reading, the stage alone for writing, and the data directory is not
/// there at all.
#[test]
fn only_the_stage_can_be_written() {
    let (request, facts) = good();
    let mounts = plan(&request, &facts).container.mounts;
    let writable: Vec<&Path> = mounts
        .iter()
        .filter(|mount| !mount.read_only)
        .map(|mount| mount.source.as_path())
        .collect();
    assert_eq!(writable, [Path::new("/srv/x/.charon-dkg/attempts/1/stage")]);
    assert!(mounts.iter().all(|mount| mount.source != request.data_dir));
}

/// Where no engine is looked at, everything else still is, and what was not is said, never passed over.
#[test]
fn a_proposal_without_an_engine_says_what_nobody_looked_at() {
    let (mut request, mut facts) = good();
    request.is_proposal = true;
    facts.engine = EngineFact::NotLookedAt("windows");
    facts.image = ImageFact::Unknown;
    facts.network = NetworkFact::NotLookedAt;
    facts.mounts = MountFact::NotLookedAt;
    let untold: Vec<_> = plan(&request, &facts)
        .notes
        .into_iter()
        .filter(|note| note.weight != Weight::Note)
        .map(|note| (note.check, note.weight))
        .collect();
    assert_eq!(
        untold,
        [
            ("engine-not-looked-at", Weight::CouldNotTell),
            ("image-not-looked-at", Weight::CouldNotTell),
            ("others-not-looked-at", Weight::CouldNotTell),
        ]
    );
    for relay in &mut facts.relays {
        relay.answer = RelayAnswer::Silent(text("it is down"));
    }
    if let DataDirFact::Found { untold_modes, .. } = &mut facts.data_dir {
        *untold_modes = 1;
    }
    assert_eq!(
        refused(&request, &facts),
        BTreeSet::from(["data-directory-mode", "relay-does-not-answer"])
    );
}

#[test]
fn root_may_act_for_the_owner() {
    let (request, mut facts) = good();
    facts.my_uid = 0;
    assert_eq!(
        plan(&request, &facts).container.user.as_deref(),
        Some("1000:1000")
    );
}

#[test]
fn one_relay_that_answers_is_enough() {
    let (request, mut facts) = good();
    facts.relays.push(relay(
        "https://b.example",
        RelayAnswer::Silent(text("it is down")),
    ));
    let plan = plan(&request, &facts);
    assert_eq!(plan.notes.len(), 1);
    assert_eq!(plan.notes[0].check, "relay-does-not-answer");
    assert_eq!(plan.notes[0].weight, Weight::Note);
}

#[test]
fn what_no_ceremony_touches_is_named_and_left_alone() {
    let (request, mut facts) = good();
    let DataDirFact::Found { entries, modes, .. } = &mut facts.data_dir else {
        panic!("no data directory");
    };
    for (path, kind) in [
        ("README.md", EntryKind::Regular),
        ("exit_messages", EntryKind::Directory),
        ("exit_messages/.gitignore", EntryKind::Regular),
        ("validator_keys", EntryKind::Directory),
        ("validator_keys/.gitignore", EntryKind::Regular),
    ] {
        modes.push(FileMode {
            path: text(path),
            uid: OWNER,
            gid: OWNER,
            mode: 0o700,
            kind,
            list: None,
        });
        if !path.contains('/') {
            entries.push(entry(
                path,
                if kind == EntryKind::Directory {
                    EntryKind::Directory
                } else {
                    EntryKind::Regular
                },
            ));
        }
    }
    let plan = plan(&request, &facts);
    let [note] = plan.notes.as_slice() else {
        panic!("{:?}", plan.notes);
    };
    assert_eq!(
        (note.check, note.weight),
        ("data-directory-bystanders", Weight::Note)
    );
    assert_eq!(note.seen, "README.md (a file), exit_messages (a directory)");
}

#[test]
fn what_is_not_here_yet_is_pulled_and_run_by_digest() {
    let (request, mut facts) = good();
    facts.image = ImageFact::Pullable(text("sha256:4567"));
    let plan = plan(&request, &facts);
    assert!(plan.pull);
    assert_eq!(plan.image_tag, "obolnetwork/charon:v1.10.3");
    assert_eq!(plan.container.image, "obolnetwork/charon@sha256:4567");
}

/// Builds from source say only their line.
/// Nobody has to wait for this program where a group agrees on a charon that is newer.
#[test]
fn a_later_line_of_charon_runs_when_it_is_asked_for_by_name() {
    let (mut request, mut facts) = good();
    request.charon_version = Some("v1.12.0".parse().unwrap());
    facts.image = ImageFact::Pullable(text("sha256:0123"));
    let plan = plan(&request, &facts);
    assert_eq!(plan.image_tag, "obolnetwork/charon:v1.12.0");
    let checks: Vec<&str> = plan.notes.iter().map(|note| note.check).collect();
    assert_eq!(checks, ["charon-release-unknown"]);
}

#[test]
fn what_all_operators_agreed_on_is_the_pin_of_this_ceremony() {
    let (mut request, mut facts) = good();
    let version: CharonVersion = "v1.12.0".parse().unwrap();
    let image = format!("obolnetwork/charon@sha256:{}", "ab".repeat(32));
    facts.image = ImageFact::Present {
        run_as: image.clone(),
        version_output: Ok(text("v1.12.0 [git_commit_hash=…]")),
    };
    let says = |plan: &Plan, check: &str| plan.notes.iter().any(|note| note.check == check);
    // One operator alone has to name what this program does not know.
    request.charon_version = Some(version.clone());
    let alone = plan(&request, &facts);
    assert_eq!(alone.charon_version, version);
    assert_eq!(alone.image_tag, "obolnetwork/charon:v1.12.0");
    assert!(says(&alone, "charon-release-unknown"));
    // All together can, without a word on the command line, and by digest.
    request.charon_version = None;
    request.agreed = Some(Agreement {
        charon_version: version.clone(),
        manifest: [0xab; 32],
    });
    let agreed = plan(&request, &facts);
    assert_eq!(agreed.charon_version, version);
    assert_eq!(
        (&agreed.image_tag, &agreed.container.image),
        (&image, &image)
    );
    assert!(says(&agreed, "charon-release-agreed"));
    // An image that says something else of itself is refused all the same.
    facts.image = ImageFact::Present {
        run_as: image,
        version_output: Ok(text("v1.10.3")),
    };
    assert_eq!(refused(&request, &facts), ["image-version-differs"].into());
}

#[test]
fn the_image_must_be_of_the_pinned_line() {
    for (output, agrees) in [
        (
            "v1.10.3 [git_commit_hash=1a2b3c4,git_commit_time=2025-01-01T00:00:00Z]",
            true,
        ),
        ("v1.10", true),
        ("v1.10.2", false),
        ("v1.11.0-rc3", false),
        ("v0.10.3", false),
        ("", false),
        ("charon", false),
    ] {
        let (request, mut facts) = good();
        facts.image = ImageFact::Present {
            run_as: text("sha256:ab"),
            version_output: Ok(text(output)),
        };
        assert_eq!(make(&request, &facts).is_ok(), agrees, "{output:?}");
    }
}
