//! charon's real output, of success and of every failure that could be provoked, through the public face of
//! `charon_log`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are not inside a test function, and their failure must end the test"
)]

#[path = "../../../tests/support/files.rs"]
mod files;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use charon_files::cluster::CharonVersion;
use charon_files::text::clean;
use charon_log::{
    ClusterSize, Diagnosis, End, Event, Phase, Transcript, Waiting, Whose, diagnose, explain,
};
use files::files_below;
use proptest::prelude::*;

const SIZE: ClusterSize = ClusterSize {
    operators: 4,
    threshold: 3,
    validators: 20,
};

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name)
}

/// A log as it was recorded, with the exit code on its last line; 124 says that the recorder stopped charon.
struct Recorded {
    output: Vec<u8>,
    end: End,
}

fn recorded(path: &Path) -> Recorded {
    let mut output = fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&output).into_owned();
    let last = text.trim_end().lines().last().unwrap_or_default();
    let exit_code = last
        .strip_prefix("exit ")
        .map(|code| code.parse::<i64>().unwrap());
    if exit_code.is_some() {
        let end = text.trim_end().rfind("exit ").unwrap();
        output.truncate(end);
    }
    Recorded {
        output,
        end: End {
            exit_code,
            oom_killed: false,
            stopped: exit_code == Some(124),
        },
    }
}

fn diagnosed(case: &str) -> Option<Diagnosis> {
    let recorded = recorded(&fixtures("failures").join(format!("{case}.log")));
    diagnose(&recorded.output, SIZE, None, recorded.end, Duration::ZERO)
}

fn certainly(case: &str) -> Diagnosis {
    diagnosed(case).unwrap_or_else(|| panic!("{case}: no diagnosis"))
}

/// What each recorded failure must be called, by its path without the release and the ending.
fn expected(release: &str, case: &str, end: End) -> &'static str {
    match (release, case) {
        (_, "bad-enr" | "bad-enr-prefix") => "enr-invalid",
        (_, "bad-relay-url") => "relay-url-invalid",
        (_, "contract-wallet-in-old-definition") => "contract-wallet-unsupported",
        (_, "contract-wallet-refuses" | "signature-of-another-key") => {
            "definition-signature-invalid"
        }
        (_, "corrupt-key") => "enr-key-unreadable",
        (_, "definition-file-missing") => "definition-unreadable",
        (_, "enr-not-in-definition") => "enr-key-not-in-definition",
        (_, "execution-client-needed") => "execution-client-needed",
        (_, "execution-client-of-another-network") => "contract-wallet-missing",
        (
            _,
            "execution-client-down"
            | "execution-client-no-host"
            | "execution-client-refuses"
            | "execution-client-syncing"
            | "execution-client-websocket-down",
        ) => "execution-client-unreachable",
        (_, "existing-cluster-lock" | "existing-deposit-data" | "existing-validator-keys") => {
            "data-directory-not-clean"
        }
        (_, "interrupted-waiting" | "peers-never-came") => "peers-missing",
        (_, "keymanager-unreachable") => "keymanager-unreachable",
        (_, "keymanager-without-token") => "keymanager-flags",
        (_, "malformed-definition") => "definition-malformed",
        // These look for the key first.
        ("v0.14.4" | "v1.10.3" | "v1.11.0-rc3", "missing-data-dir") => "enr-key-missing",
        (_, "missing-data-dir") => "data-directory-missing",
        (_, "missing-enr-key") => "enr-key-missing",
        (_, "other-charon-running") => "other-charon-running",
        (_, "permission-denied") => "permission-denied",
        (
            _,
            "p2p-address-without-host"
            | "p2p-address-without-port"
            | "p2p-external-ip-invalid"
            | "p2p-hostname-with-port",
        ) => "p2p-address-invalid",
        (_, "p2p-address-elsewhere") => "p2p-address-elsewhere",
        (
            _,
            "relay-killed/node0"
            | "relay-killed/node1"
            | "relay-killed/node2"
            | "relay-killed/node3"
            | "relay-killed-waiting",
        ) => "relay-lost",
        (_, "relay-multiaddr-without-peer") => "relay-url-invalid",
        (_, "relay-refused/node0") => "relay-refuses",
        // This one has a place, and the others have none.
        (_, "relay-refused/node2") => "peers-missing",
        (_, "relay-timeout" | "relay-unreachable") => "relay-unreachable",
        (_, "tampered-definition") => "definition-hash-mismatch",
        (_, "unknown-definition-version") => "definition-version-unknown",
        (_, "unknown-flag") => "flags-wrong",
        (_, "unknown-network" | "unknown-network-signed") => "network-unknown",

        ("def1.5-by-v1.10.3", _) => "definition-version-too-old",
        ("mix-1.3-1.10", _) => "charon-versions-differ",
        // Recorded for less time than makes a hang; see the test of its own.
        ("mix-0.13-0.14", _) | (_, "pedersen-peer-killed/node0") => "interrupted",

        // Some nodes noticed nothing and waited on, until the recorder stopped them.
        ("v0.16.0" | "v0.19.2", "definitions-differ/node0" | "definitions-differ/node2")
        | ("v1.11.0-rc3", "definitions-differ/node1" | "definitions-differ/node2") => {
            "peers-missing"
        }
        (
            _,
            "definitions-differ/node0"
            | "definitions-differ/node1"
            | "definitions-differ/node2"
            | "definitions-differ/node3",
        ) => "definitions-differ",

        (_, "disk-full/node3") => "disk-full",
        // v0.14 has no steps, so nothing tells that the files are there.
        ("v0.14.4", "disk-full/node0" | "disk-full/node1" | "disk-full/node2") => "interrupted",
        (_, "disk-full/node0" | "disk-full/node1" | "disk-full/node2") => "late-failure",

        (_, "peer-killed/node3") => "killed",
        (_, "peer-interrupted/node3") => "interrupted",
        (
            _,
            "peer-killed/node0"
            | "peer-killed/node1"
            | "peer-killed/node2"
            | "peer-interrupted/node0"
            | "peer-interrupted/node1"
            | "peer-interrupted/node2",
        ) => {
            if end.stopped {
                "interrupted"
            } else {
                "peer-lost"
            }
        }
        _ => "there is no expectation for this fixture",
    }
}

#[test]
fn every_recorded_failure_is_called_what_it_is() {
    let root = fixtures("failures");
    let mut wrong = BTreeMap::new();
    let mut seen = 0;
    for path in files_below(&root) {
        if path.extension().is_none_or(|ending| ending != "log") {
            continue;
        }
        seen += 1;
        let relative = path.strip_prefix(&root).unwrap().with_extension("");
        let name = relative.to_str().unwrap().to_owned();
        let (release, case) = name.split_once('/').unwrap();
        let recorded = recorded(&path);
        let found = diagnose(&recorded.output, SIZE, None, recorded.end, Duration::ZERO);
        // With v0.16.0 three nodes report success although the disk of the fourth was full.
        let survives =
            release == "v0.16.0" && case.starts_with("disk-full/") && !case.ends_with('3');
        let expected = if survives {
            "success"
        } else {
            expected(release, case, recorded.end)
        };
        let id = found.as_ref().map_or("success", |found| found.id);
        if id != expected {
            wrong.insert(name, (id, expected, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 150, "only {seen} fixtures found");
}

/// Rows as a window of this width shows them; what is copied from there may lack the blanks at their ends.
fn folded(log: &str, width: usize, blanks: bool) -> String {
    let mut rows = String::new();
    for line in log.lines() {
        // Colours take no room.
        let line: Vec<char> = clean(line).chars().collect();
        let mut chunks: Vec<String> = line.chunks(width).map(|it| it.iter().collect()).collect();
        if chunks.is_empty() {
            chunks.push(String::new());
        }
        for chunk in chunks {
            rows.push_str(if blanks {
                &chunk
            } else {
                chunk.trim_end_matches(' ')
            });
            rows.push('\n');
        }
    }
    rows
}

#[test]
fn a_window_that_breaks_lines_changes_no_cause() {
    let mut changed = Vec::new();
    let mut seen = 0;
    for root in ["failures", "ceremonies", "charon_logs"] {
        for path in files_below(&fixtures(root)) {
            if path.extension().is_none_or(|ending| ending != "log") {
                continue;
            }
            let log = String::from_utf8_lossy(&recorded(&path).output).into_owned();
            let said = |log: &str| {
                explain(log.as_bytes()).map(|told| {
                    let found = told.diagnosis;
                    found.map(|found| (found.id, found.whose, found.cause))
                })
            };
            let whole = said(&log);
            for width in [80, 90, 120] {
                for blanks in [true, false] {
                    seen += 1;
                    let rows = said(&folded(&log, width, blanks));
                    if rows != whole {
                        changed.push(format!(
                            "{} {width} {blanks}: {rows:?}, {whole:?}",
                            path.display()
                        ));
                    }
                }
            }
        }
    }
    assert!(
        changed.is_empty(),
        "{} of {seen}: {changed:#?}",
        changed.len()
    );
    assert!(seen > 900, "{seen}");
}

#[test]
fn every_diagnosis_names_a_cause_and_a_next_step_without_rubbish() {
    for path in files_below(&fixtures("failures")) {
        let recorded = recorded(&path);
        let Some(found) = diagnose(&recorded.output, SIZE, None, recorded.end, Duration::ZERO)
        else {
            continue;
        };
        let text = format!("{} {}", found.cause, found.next_step);
        assert!(!text.contains("  ") && !text.contains('\u{1b}'), "{text}");
        assert!(!found.cause.ends_with('.'), "{}", found.cause);
        assert!(found.next_step.ends_with('.'), "{}", found.next_step);
        assert!(found.cause.len() < 700, "{}", found.cause);
    }
}

/// Names of the operators that a diagnosis blames, counted from 1.
fn blamed(diagnosis: &Diagnosis) -> Vec<(Option<usize>, &str)> {
    match &diagnosis.whose {
        Whose::Operators(operators) => operators
            .iter()
            .map(|who| {
                let number = who.index.map(|index| index.position() + 1);
                (number, who.name.as_deref().unwrap_or_default())
            })
            .collect(),
        Whose::You
        | Whose::Coordinator
        | Whose::Everybody
        | Whose::Relay
        | Whose::Machine
        | Whose::Unknown => Vec::new(),
    }
}

#[test]
fn a_clash_of_releases_is_told_from_both_sides() {
    let odd_one = certainly("mix-1.3-1.10/node0");
    assert_eq!(
        odd_one.cause,
        "this node runs charon v1.3, but operator 2 of 4 (joyous-song) runs v1.10"
    );
    assert_eq!(odd_one.whose, Whose::Everybody);

    // This node had already agreed with another one, so the first is the odd one.
    let other = certainly("mix-1.3-1.10/node2");
    assert_eq!(
        other.cause,
        "this node runs charon v1.10, but operator 1 of 4 (anxious-food) runs v1.3"
    );
    assert_eq!(blamed(&other), [(Some(1), "anxious-food")]);

    // Where the right release is known there is no doubt.
    for (node, right) in [("node0", false), ("node1", true), ("node3", true)] {
        let path = fixtures("failures").join(format!("mix-1.3-1.10/{node}.log"));
        let recorded = recorded(&path);
        let found = diagnose(
            &recorded.output,
            SIZE,
            Some(&CharonVersion::release(1, 10, 3)),
            recorded.end,
            Duration::ZERO,
        )
        .unwrap();
        if right {
            assert_eq!(blamed(&found), [(Some(1), "anxious-food")]);
        } else {
            assert_eq!(found.whose, Whose::You);
        }
        assert!(found.next_step.contains("v1.10.3"), "{}", found.next_step);
    }
}

#[test]
fn the_operator_with_another_definition_is_found_by_majority() {
    let others = certainly("v1.10.3/definitions-differ/node1");
    assert_eq!(blamed(&others), [(Some(4), "bored-result")]);
    assert!(
        others.cause.contains("definition hash is 0x"),
        "{}",
        others.cause
    );
    let odd_one = certainly("v1.10.3/definitions-differ/node3");
    assert_eq!(odd_one.whose, Whose::You);
    let undecided = certainly("v1.3.3/definitions-differ/node3");
    assert_eq!(undecided.whose, Whose::Everybody);
}

/// A log alone does not say whose fault it is that it ends; v0.13 and v0.14 hang with each other and say nothing.
#[test]
fn nobody_is_blamed_for_a_log_that_ends() {
    for node in 0..4 {
        let path = fixtures("failures").join(format!("mix-0.13-0.14/node{node}.log"));
        let told = explain(&fs::read(path).unwrap()).unwrap();
        let found = told.diagnosis.unwrap();
        assert_eq!((found.id, &found.whose), ("interrupted", &Whose::Unknown));
        assert!(found.next_step.contains("v0.14"), "{}", found.next_step);
    }
    // The end itself is in this one, and who brought it about is not.
    let path = fixtures("failures").join("v1.11.0-rc3/pedersen-peer-killed/node0.log");
    let told = explain(&recorded(&path).output).unwrap();
    let found = told.diagnosis.unwrap();
    assert_eq!((found.id, &found.whose), ("interrupted", &Whose::Everybody));
    assert!(
        found.cause.contains("was stopped from outside"),
        "{}",
        found.cause
    );
    // Nor does it where such a release was stopped: its operator may have waited in vain for another release.
    let path = fixtures("failures").join("mix-0.13-0.14/node0.log");
    let stopped = End {
        stopped: true,
        ..End::default()
    };
    let output = recorded(&path).output;
    let found = diagnose(&output, SIZE, None, stopped, Duration::ZERO).unwrap();
    assert_eq!(found.whose, Whose::Everybody);
    // A release that refuses to run beside another one was stopped here.
    let output = String::from_utf8(output).unwrap();
    let newer = output.replace("v0.13.0", "v1.10.3");
    let found = diagnose(newer.as_bytes(), SIZE, None, stopped, Duration::ZERO).unwrap();
    assert_eq!(found.whose, Whose::You);
}

#[test]
fn a_node_at_work_is_no_interrupted_ceremony() {
    let starts = "13:05:07.304 INFO cmd        Parsed config                            {\"data-dir\": \"\"}\n\
                  13:05:07.304 INFO app-start  Charon starting                          {\"version\": \"v1.10.3\"}\n";
    let fails = "13:05:07.672 WARN app-start  Failure querying relay addresses (will try again): Get \"http://relay:3640\": \
                 dial tcp: lookup relay on 127.0.0.11:53: no such host\n";
    let found = |log: &str| explain(log.as_bytes()).unwrap().diagnosis.unwrap();
    assert_eq!(found(starts).id, "node-log");
    let found = found(&format!("{starts}{fails}"));
    assert_eq!(found.id, "relay-unreachable");
    assert!(found.cause.contains("no such host"), "{}", found.cause);
    let ceremony = "13:09:07.304 INFO dkg        Charon DKG starting                      {\"version\": \"v1.10.3\"}\n";
    let after = explain(format!("{starts}{ceremony}").as_bytes()).unwrap();
    let found = after.diagnosis.unwrap();
    assert_eq!(found.id, "interrupted");
}

#[test]
fn a_node_without_a_place_at_the_relay_is_gone() {
    for (case, name) in [
        ("v0.14.4/peer-killed/node1", "the node frantic-painter"),
        ("v1.11.0-rc3/peer-killed/node2", "another node"),
    ] {
        let found = certainly(case);
        let gone = format!("{name} is no longer at the relay");
        assert_eq!(found.id, "peer-lost");
        assert!(found.cause.contains(&gone), "{case}: {}", found.cause);
    }
}

#[test]
fn values_of_the_failure_are_repeated() {
    for (case, value) in [
        ("v1.10.3/existing-deposit-data", "deposit-data.json"),
        ("v0.16.0/existing-validator-keys", "validator_keys"),
        (
            "v1.10.3/permission-denied",
            ".charon/charon-enr-private-key.lock",
        ),
        (
            "v1.10.3/disk-full/node3",
            ".charon/validator_keys/keystore-6.json",
        ),
        (
            "v0.14.4/disk-full/node3",
            ".charon/validator_keys/keystore-4.txt",
        ),
        ("v1.10.3/unknown-definition-version", "v9.9.0"),
        ("v1.10.3/unknown-network", "0x12345678"),
        ("v1.10.3/tampered-definition", "config hash"),
        ("v1.10.3/relay-unreachable", "connection refused"),
        (
            "v1.10.3/peers-never-came",
            "operator 2 of 4 (zealous-oil), operator 3 of 4",
        ),
        ("v0.14.4/interrupted-waiting", "3 of 3 other nodes"),
        ("v1.3.3/other-charon-running", "charon run"),
    ] {
        let found = certainly(case);
        assert!(found.cause.contains(value), "{case}: {}", found.cause);
    }
}

#[test]
fn a_node_is_named_where_libp2p_lists_what_it_tried() {
    for (case, name) in [
        ("v1.3.3/peer-killed/node2", "operator 4 of 4 (proud-ring)"),
        (
            "v1.3.3/peer-interrupted/node0",
            "operator 2 of 4 (expensive-song)",
        ),
        ("v1.3.3/disk-full/node1", "operator 4 of 4 (proud-ring)"),
    ] {
        let path = fixtures("failures").join(format!("{case}.log"));
        let output = String::from_utf8(recorded(&path).output).unwrap();
        // As it is before charon has written that it has all files.
        let output = output.replace("\"step\": ", "\"at\": ");
        let end = End {
            exit_code: Some(1),
            ..End::default()
        };
        let found = diagnose(output.as_bytes(), SIZE, None, end, Duration::ZERO).unwrap();
        assert!(found.cause.contains(name), "{case}: {}", found.cause);
    }
}

#[test]
fn relays_that_change_all_the_time_are_not_taken_for_somebody_who_stops_charon() {
    let resolved = |minute: u32, relay: &str| {
        format!(
            "18:{minute:02}:00.000 INFO dkg        Resolved new relay                       {{\"peer\": \"{relay}\", \"url\": \"https://0.relay.example\", \"addrs\": \"[/ip4/192.0.2.{minute}/tcp/3610]\"}}\n"
        )
    };
    let output = [
        resolved(10, "able-cat"),
        "18:10:01.000 INFO dkg        All peers connected, starting DKG ceremony\n".to_owned(),
        resolved(12, "brave-dog"),
        resolved(14, "able-cat"),
        "18:14:03.000 ERRO cmd        Fatal error: sync step: p2p connection failed, please retry DKG: context canceled {\"step\": 2}\n".to_owned(),
    ]
    .concat();
    let end = End {
        exit_code: Some(1),
        ..End::default()
    };
    let found = diagnose(output.as_bytes(), SIZE, None, end, Duration::ZERO).unwrap();
    assert_eq!(found.id, "relay-changes");
    assert!(
        found
            .cause
            .contains("https://0.relay.example changed its addresses 2 times")
    );
}

/// A line as charon colours it on a terminal, or with `--log-color force`.
fn coloured(line: &str) -> String {
    let line = clean(line);
    let parts = line.get(..12).zip(line.get(13..17)).zip(line.get(18..28));
    let Some(((clock, level), topic)) = parts.filter(|_| line.as_bytes()[2] == b':') else {
        return line;
    };
    let rest = &line[28..];
    format!("{clock} \u{1b}[34m{level}\u{1b}[0m \u{1b}[32m{topic}\u{1b}[0m{rest}")
}

#[test]
fn a_failure_is_the_same_behind_every_collectors_prefix() {
    let root = fixtures("failures/v1.10.3");
    for path in files_below(&root) {
        let recorded = recorded(&path);
        let text = String::from_utf8(recorded.output).unwrap();
        let diagnosed = |text: &str| {
            let found = explain(text.as_bytes()).unwrap().diagnosis;
            found.map(|found| (found.id, found.cause, found.evidence))
        };
        let bare = diagnosed(&text);
        let each = |wrap: &dyn Fn(&str) -> String| text.lines().map(wrap).collect::<String>();
        for wrapped in [
            each(&|line| format!("{line}\r\n")),
            each(&|line| format!("\u{1b}[32mcharon-1  |\u{1b}[0m {line}\n")),
            each(&|line| format!("Nov 27 22:35:43 host charon[123]: {line}\n")),
            each(&|line| {
                let bytes = coloured(line).into_bytes();
                format!(
                    "{{\"MESSAGE\":{bytes:?},\"_PID\":\"1\",\"SYSLOG_IDENTIFIER\":\"charon\"}}\n"
                )
            }),
            each(&|line| {
                let line = coloured(line)
                    .replace('\u{1b}', "#033")
                    .replace('\t', "#011");
                format!("Nov 27 22:35:43 host charon[123] {line}\n")
            }),
            each(&|line| {
                let log = serde_json::Value::from(format!("{line}\n"));
                format!(
                    "{{\"log\":{log},\"stream\":\"stderr\",\"time\":\"2026-11-27T22:35:43.1Z\"}}\n"
                )
            }),
        ] {
            assert_eq!(diagnosed(&wrapped), bare, "{}", path.display());
        }
    }
}

/// What each collector wrote of one failure, and journald in each of its modes; see `README.md` of the failures.
#[test]
fn a_log_says_the_same_from_every_collector() {
    let said = |output: &[u8]| explain(output).map(|told| (told.diagnosis, told.left_out));
    let root = fixtures("collected");
    let plain = said(&fs::read(root.join("peer-lost.plain")).unwrap());
    let found = plain.clone().unwrap().0.unwrap();
    assert_eq!(found.id, "peer-lost");
    assert!(found.cause.contains("jolly-farmer"), "{}", found.cause);
    let mut seen = 0;
    for path in files_below(&root) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // It leaves out what has colours; see the test below.
        if !name.starts_with("peer-lost.") || name == "peer-lost.verbose" {
            continue;
        }
        assert_eq!(said(&fs::read(&path).unwrap()), plain, "{name}");
        seen += 1;
    }
    assert!(seen > 28, "only {seen}");
}

/// `journalctl --reverse`, Loki and Grafana give the newest line first.
#[test]
fn the_order_of_the_lines_does_not_matter() {
    for path in files_below(&fixtures("failures")) {
        let text = String::from_utf8(recorded(&path).output).unwrap();
        let head = "Nov 27 22:35:43 host charon[123]: ";
        let lines: Vec<String> = text
            .lines()
            .map(|line| format!("{head}{}\n", line.replace('\t', "        ")))
            .collect();
        let reversed: String = lines.iter().rev().map(String::as_str).collect();
        let said = |text: String| explain(text.as_bytes()).map(|told| told.diagnosis);
        assert_eq!(said(reversed), said(lines.concat()), "{}", path.display());
    }
}

/// `journalctl` leaves out lines with colours from `verbose`, and long ones from JSON, unless it is told `--all`.
#[test]
fn lines_that_were_left_out_are_said_and_nothing_follows_from_them() {
    let told = |name: &str| {
        let path = fixtures("collected").join(name);
        explain(&fs::read(path).unwrap()).unwrap()
    };
    for (name, left_out) in [("left-out.verbose", 2), ("left-out.json", 1)] {
        let told = told(name);
        assert_eq!(told.left_out, left_out, "{name}");
        let found = told.diagnosis.unwrap();
        assert_eq!(
            (found.id, &found.whose),
            ("log-incomplete", &Whose::Unknown)
        );
        assert!(found.next_step.contains("`--all`"), "{found:?}");
    }
    let whole = told("left-out.json-all");
    assert_eq!(whole.left_out, 0);
    assert_eq!(whole.diagnosis.unwrap().id, "enr-key-unreadable");
    let partly = told("peer-lost.verbose");
    assert_eq!(
        (partly.left_out, partly.diagnosis.unwrap().id),
        (6, "log-incomplete")
    );
    // What is there counts.
    let text = "host charon[1]: [98B blob data]\nhost charon[1]: Error: unknown flag: --x\n";
    let partly = explain(text.as_bytes()).unwrap();
    assert_eq!(
        (partly.left_out, partly.diagnosis.unwrap().id),
        (1, "flags-wrong")
    );
}

#[test]
fn a_log_that_is_mostly_not_understood_has_no_certain_end() {
    let start = "18:00:00.000 INFO dkg        All peers connected, starting DKG ceremony\n";
    let found = |more: &str| {
        let told = explain(format!("{start}{}", more.repeat(9)).as_bytes()).unwrap();
        told.diagnosis.unwrap()
    };
    assert_eq!(found("").id, "interrupted");
    assert_eq!(found("\tdkg/dkg.go:226 .Run\n").id, "interrupted");
    assert_eq!(found("18h00 dkg something\n").id, "log-incomplete");
    // Other services of a project have their names before their lines.
    let composed = format!("charon-1 | {start}");
    let others = "lighthouse-1 | Nov 27 22:35:43.001 INFO Synced\n".repeat(9);
    let told = explain(format!("{composed}{others}{composed}").as_bytes()).unwrap();
    assert_eq!(told.diagnosis.unwrap().id, "interrupted");
}

/// A log says less than a run of ours knows: not how charon ended, nor how many validators there are.
#[test]
fn a_log_alone_says_the_same_wherever_it_is_known() {
    let root = fixtures("failures");
    let mut told = 0;
    for path in files_below(&root) {
        if path.extension().is_none_or(|ending| ending != "log") {
            continue;
        }
        let recorded = recorded(&path);
        let known = diagnose(&recorded.output, SIZE, None, recorded.end, Duration::ZERO);
        let alone = explain(&recorded.output).unwrap();
        let id = |found: &Option<Diagnosis>| found.as_ref().map(|found| found.id);
        assert_eq!(
            alone.diagnosis.is_some(),
            known.is_some(),
            "{}",
            path.display()
        );
        // That it was killed, the engine says and not the log.
        if id(&known) != Some("killed") {
            assert_eq!(id(&alone.diagnosis), id(&known), "{}", path.display());
            told += 1;
        }
    }
    assert!(told > 150, "only {told}");
}

#[test]
fn a_log_of_several_runs_is_about_the_last_one() {
    let first = fs::read(fixtures("failures/v1.10.3/relay-killed/node0.log")).unwrap();
    let last = fs::read(fixtures("failures/v1.10.3/existing-cluster-lock.log")).unwrap();
    let found = explain(&[first.clone(), last.clone()].concat()).unwrap();
    assert_eq!(found.diagnosis.unwrap().id, "data-directory-not-clean");
    let found = explain(&[last, first].concat()).unwrap();
    assert_eq!(found.diagnosis.unwrap().id, "relay-lost");
    assert_eq!(found.progress.size().operators, 4);
}

#[test]
fn a_log_in_utf_16_is_read_and_what_is_no_log_is_not() {
    let text = fs::read_to_string(fixtures("failures/v1.10.3/corrupt-key.log")).unwrap();
    let units: Vec<u16> = text.encode_utf16().collect();
    let little = units.iter().flat_map(|unit| unit.to_le_bytes());
    let little: Vec<u8> = [0xff, 0xfe].into_iter().chain(little).collect();
    let big = units.iter().flat_map(|unit| unit.to_be_bytes());
    let big: Vec<u8> = [0xfe, 0xff].into_iter().chain(big).collect();
    for output in [little, big] {
        let found = explain(&output).unwrap();
        assert_eq!(found.diagnosis.unwrap().id, "enr-key-unreadable");
    }
    let none: [&[u8]; 4] = [b"", b"\xff", b"\xff\xfe\x00", b"hello\nwhen do we start?\n"];
    for output in none {
        assert!(explain(output).is_none());
    }
}

#[test]
fn files_written_before_a_late_failure_are_not_forgotten() {
    for release in ["v0.19.2", "v1.3.3", "v1.10.3", "v1.11.0-rc3"] {
        for node in ["node0", "node1", "node2"] {
            let found = certainly(&format!("{release}/disk-full/{node}"));
            assert!(found.outputs_may_be_complete, "{release} {node}");
        }
        let found = certainly(&format!("{release}/disk-full/node3"));
        assert!(!found.outputs_may_be_complete, "{release}");
    }
}

/// Feeds a log to a transcript at the times that its lines state; gives the time of the last line.
fn read_along(transcript: &mut Transcript, output: &[u8]) -> Duration {
    let mut first = None;
    let mut now = Duration::ZERO;
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        if let Some(seconds) = seconds_of_day(line) {
            let first = *first.get_or_insert(seconds);
            now = Duration::from_secs_f64(seconds - first).max(now);
        }
        transcript.push(line, now);
    }
    transcript.finish(now);
    now
}

fn seconds_of_day(line: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(line.get(..12)?).ok()?;
    let mut parts = text.split(':').map(|part| part.parse::<f64>().ok());
    Some((parts.next()?? * 60.0 + parts.next()??) * 60.0 + parts.next()??)
}

#[test]
fn the_silent_hang_of_mixed_releases_is_called_a_hang() {
    for node in 0..4 {
        let path = fixtures("failures").join(format!("mix-0.13-0.14/node{node}.log"));
        let output = fs::read(path).unwrap();
        let mut transcript = Transcript::new(SIZE, None);
        let last = read_along(&mut transcript, &output);
        assert_eq!(transcript.progress().phase(), Phase::Keygen);
        assert_eq!(transcript.progress().connected_peers(), (3, 3));
        assert_eq!(transcript.progress().waiting(last), None);

        let later = last + SIZE.silence_limit();
        let waiting = transcript.progress().waiting(later);
        assert!(matches!(waiting, Some(Waiting::Hung { .. })), "{waiting:?}");
        let stopped = End {
            exit_code: Some(1),
            oom_killed: false,
            stopped: true,
        };
        let found = transcript.diagnose(stopped, later).unwrap();
        assert_eq!(found.id, "hung-after-start");
        assert!(found.next_step.contains("v0.14"), "{}", found.next_step);
        assert_eq!(found.whose, Whose::Everybody);
    }
}

#[test]
fn a_node_that_waits_for_ever_in_the_last_step_is_called_hung_too() {
    let recorded = recorded(&fixtures("failures/v0.14.4/disk-full/node0.log"));
    let found = diagnose(
        &recorded.output,
        SIZE,
        None,
        recorded.end,
        SIZE.silence_limit(),
    );
    assert_eq!(found.unwrap().id, "hung-after-start");
}

#[test]
fn success_is_seen_in_every_format() {
    let logs = files_below(&fixtures("charon_logs"));
    assert!(logs.len() >= 10);
    for path in logs {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let recorded = recorded(&path);
        let mut transcript = Transcript::new(SIZE, None);
        let events = transcript.push(&recorded.output, Duration::ZERO);
        let progress = transcript.progress();
        assert_eq!(progress.phase(), Phase::Done, "{name}");
        assert_eq!(progress.connected_peers(), (3, 3), "{name}");
        assert!(progress.version().unwrap().starts_with("v"), "{name}");
        assert!(
            progress.definition_hash().unwrap().starts_with("0x"),
            "{name}"
        );
        assert!(progress.relay().is_some(), "{name}");
        assert_eq!(
            transcript.diagnose(recorded.end, Duration::ZERO),
            None,
            "{name}"
        );
        if name.contains("json") {
            assert!(events.contains(&Event::KeySharesSaved), "{name}");
            assert!(events.contains(&Event::LockSaved), "{name}");
            assert!(events.contains(&Event::DepositSaved), "{name}");
        }
        if name == "v1.11.0-rc3-pedersen.log" {
            assert_eq!(progress.keys_done(), 3);
            let nickname = progress.peers()[1].nickname.as_deref();
            assert_eq!(nickname, Some("nick 1"));
        }
    }
}

#[test]
fn every_real_ceremony_ends_well_with_all_operators_connected() {
    let root = fixtures("ceremonies");
    let mut seen = 0;
    for path in files_below(&root) {
        if path.file_name().is_none_or(|name| name != "dkg.log") {
            continue;
        }
        seen += 1;
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let operators = if name.contains("-n10-") { 10 } else { 4 };
        let old = name.starts_with("charon-v0.13") || name.starts_with("charon-v0.14");
        let size = ClusterSize { operators, ..SIZE };
        let mut transcript = Transcript::new(size, None);
        let now = read_along(&mut transcript, &fs::read(&path).unwrap());
        let progress = transcript.progress();
        assert_eq!(progress.phase(), Phase::Done, "{name}");
        let others = operators - 1;
        assert_eq!(progress.connected_peers(), (others, others), "{name}");
        assert_eq!(transcript.diagnose(End::default(), now), None, "{name}");
        // Up to v0.14 there is no roster, so this node itself is not among the peers.
        let listed = if old { others } else { operators };
        assert_eq!(progress.peers().len(), listed, "{name}");
        assert!(progress.local_peer().is_some(), "{name}");
        if !old {
            let number = name
                .split_once("node")
                .unwrap()
                .1
                .split('/')
                .next()
                .unwrap();
            let you = progress.peers().iter().find(|peer| peer.you).unwrap();
            let index = you.index.unwrap().position();
            assert_eq!(index, number.parse::<usize>().unwrap(), "{name}");
        }
    }
    assert!(seen >= 40, "only {seen} ceremonies found");
}

#[test]
fn what_the_engine_and_the_kernel_say_counts() {
    let end = |exit_code, oom_killed, stopped| End {
        exit_code,
        oom_killed,
        stopped,
    };
    let of = |output: &[u8], end| {
        diagnose(output, SIZE, None, end, Duration::ZERO).map(|found| (found.id, found.whose))
    };
    let machine = |id| Some((id, Whose::Machine));
    assert_eq!(
        of(b"", end(Some(137), true, false)),
        machine("out-of-memory")
    );
    assert_eq!(of(b"", end(Some(137), false, false)), machine("killed"));
    assert_eq!(
        of(b"", end(Some(126), false, false)),
        machine("container-not-started")
    );
    assert_eq!(
        of(
            b"exec /usr/local/bin/charon: exec format error\n",
            end(Some(1), false, false)
        ),
        machine("charon-crashed")
    );
    assert_eq!(
        of(
            b"panic: runtime error: index out of range\n",
            end(Some(2), false, false)
        ),
        machine("charon-crashed")
    );
    assert_eq!(
        of(
            b"18:00:00.000 INFO dkg        All peers connected, starting DKG ceremony\npanic: runtime error: index out of range [4] with length 4\n",
            end(Some(2), false, false)
        ),
        Some(("charon-crashed-at-start", Whose::Coordinator))
    );
    assert_eq!(
        of(b"", end(Some(130), false, false)),
        Some(("interrupted", Whose::You))
    );
    assert_eq!(
        of(b"", end(Some(3), false, false)),
        Some(("unknown", Whose::Unknown))
    );
    assert_eq!(
        of(b"", end(Some(0), false, false)),
        Some(("unknown", Whose::Unknown))
    );
}

/// v1.11 without an execution client tells a wrong signature from a contract wallet's no more than v1.10.3 does.
#[test]
fn a_signature_that_may_be_a_contract_wallets_is_not_called_wrong_alone() {
    let told = certainly("v1.11.0-rc3/signature-of-another-key");
    let without = certainly("v1.10.3/execution-client-needed");
    for diagnosis in [&told, &without] {
        assert!(diagnosis.cause.contains("contract wallet"), "{diagnosis:?}");
        assert!(diagnosis.cause.contains("wrong"), "{diagnosis:?}");
        let flag = "--execution-client-rpc-endpoint";
        assert!(diagnosis.next_step.contains(flag), "{diagnosis:?}");
    }
}

#[test]
fn causes_that_could_not_be_provoked_are_known_by_their_phrases() {
    for (chain, id) in [
        ("unsupported dkg algorithm", "dkg-algorithm-unsupported"),
        (
            "cluster definition signature verification failed. Run with --no-verify to bypass verification at own risk: invalid operator config signature",
            "definition-signature-invalid",
        ),
        (
            "verify cluster definition signatures (run with --no-verify to bypass at own risk): empty operator enr signature",
            "definition-signature-invalid",
        ),
        (
            "verify cluster definition signatures (run with --no-verify to bypass at own risk): execution engine endpoint is not set",
            "execution-client-needed",
        ),
        (
            "cluster definition hashes verification failed. Run with --no-verify to bypass verification at own risk: invalid definition hash",
            "definition-hash-mismatch",
        ),
        (
            "only v1.6.0 and v1.7.0 cluster definition version supported",
            "definition-version-too-old",
        ),
        (
            "only v1.6.0, v1.7.0 and v1.8.0 cluster definition versions supported",
            "definition-version-too-old",
        ),
        ("definition contains duplicate peer enrs", "duplicate-enr"),
        ("definition contains duplicate peer ids", "duplicate-enr"),
        (
            "unmarshal definition: sum of partial deposit amounts must be at least 32ETH, repetition is allowed",
            "deposit-amounts-invalid",
        ),
        (
            "unmarshal definition: num_validators not matching validators length",
            "definition-malformed",
        ),
        ("read definition: http error", "definition-unreadable"),
        ("threshold below minimum", "threshold-invalid"),
        (
            "data directory doesn't exist, cannot continue",
            "data-directory-missing",
        ),
        (
            "data directory does not exist, cannot continue",
            "data-directory-missing",
        ),
        (
            "write file check writes: open .charon/cluster-lock.json: read-only file system",
            "permission-denied",
        ),
        (
            "mkdir check writes: mkdir .charon/validator_keys: permission denied",
            "permission-denied",
        ),
        (
            "private key not matching definition file: unknown peer",
            "enr-key-not-in-definition",
        ),
        (
            "an existing private key lock file is present with a different cluster lock hash, for safety reasons, you must wait for 12m0s before starting charon with a modified cluster",
            "edit-grace-period",
        ),
        (
            "invalid lock hash partial signature from peer: signature not verified",
            "partial-signature-invalid",
        ),
        (
            "builder validator registrations pre-generation: invalid validator registration partial signature from peer",
            "partial-signature-invalid",
        ),
        (
            "invalid lock file: verify lock signature aggregate",
            "cluster-lock-invalid",
        ),
        (
            "invalid lock file signatures: verify node signature",
            "cluster-lock-invalid",
        ),
        ("post keys to keymanager failed", "keymanager-refused"),
        (
            "publish lock to API: Post \"https://api.obol.tech/lock\": dial tcp: lookup api.obol.tech: no such host",
            "lock-not-published",
        ),
        (
            "publish lock to API: http POST failed with status 500",
            "lock-not-published",
        ),
        (
            "--keymanager-auth-token provided but --keymanager-address absent. Please fix configuration flags",
            "keymanager-flags",
        ),
        ("timed out waiting for peer signatures", "peers-too-slow"),
        (
            "detected inconsistent peer sync state (node restarted mid-ceremony), ceremony aborted: all operators must stop charon and restart the ceremony together: peer reported step is behind the last known step",
            "node-restarted",
        ),
        (
            "sync shutdown: sync shutdown ready step: EOF",
            "late-failure",
        ),
        (
            "new libp2p node: failed to listen on any addresses: [listen tcp4 0.0.0.0:3610: bind: address already in use]",
            "address-in-use",
        ),
        (
            "private key not found. If this is your first time running this client, create one with `charon create enr`.",
            "enr-key-missing",
        ),
        (
            "load priv key: open .charon/charon-enr-private-key: no such file or directory",
            "enr-key-missing",
        ),
        (
            "resolve IP of p2p external host flag: lookup node.example: no such host",
            "p2p-address-invalid",
        ),
        ("could not resolve p2p external host", "p2p-address-invalid"),
        ("invalid IP address format for UDP", "p2p-address-invalid"),
        (
            "decode private key lock file: unexpected end of JSON input",
            "enr-key-lock-unreadable",
        ),
        (
            "load cluster lock: read cluster-lock.json: open .charon/cluster-lock.json: no such file or directory",
            "cluster-lock-unusable",
        ),
        (
            "invalid lock file signatures: Post \"http://127.0.0.1:8545\": dial tcp 127.0.0.1:8545: connect: connection refused",
            "execution-client-unreachable",
        ),
        (
            "verify cluster definition hashes (run with --no-verify to bypass at own risk): config hash: invalid ethereum hex address",
            "address-invalid",
        ),
        (
            "transport round 2: send sig request: context canceled",
            "peer-lost",
        ),
        (
            "sync server error: invalid sync message: parse peer version: invalid version string",
            "charon-versions-differ",
        ),
        (
            "transport round 1: too many round 1 casts messages",
            "peer-message-invalid",
        ),
        (
            "exec round 1: error constructing commitment",
            "peer-message-invalid",
        ),
        ("read config: yaml: line 1", "flags-wrong"),
        (
            "open file writer: open /var/log/charon.log: no such file or directory",
            "flags-wrong",
        ),
        (
            "write keystore: open .charon/validator_keys/keystore-0.json: no such file or directory",
            "data-directory-missing",
        ),
        (
            "write lock: open .charon/cluster-lock.json: no space left on device",
            "disk-full",
        ),
        (
            "read private key lock file: read .charon/charon-enr-private-key.lock: is a directory",
            "enr-key-lock-unreadable",
        ),
        (
            "read definition: read response body: unexpected EOF",
            "definition-unreadable",
        ),
        ("send message: write request: EOF", "peer-lost"),
        ("something that no release says yet", "unknown"),
    ] {
        for prefix in ["Fatal error", "Application failed to start"] {
            let line = format!(
                "17:17:52.829 ERRO cmd        {prefix}: {chain} {{\"peerIdx\": 2, \"pubkey\": \"0x\"}}\n\tmain.go:19 .main\n"
            );
            let end = End {
                exit_code: Some(1),
                ..End::default()
            };
            let found = diagnose(line.as_bytes(), SIZE, None, end, Duration::ZERO).unwrap();
            assert_eq!(found.id, id, "{chain}");
            assert_eq!(found.evidence.as_deref(), Some(chain));
            if id == "partial-signature-invalid" {
                assert_eq!(blamed(&found), [(Some(3), "")]);
            }
        }
    }
}

/// The page says of every text that charon can end with what this program makes of it.
#[test]
fn the_texts_of_the_documentation_have_the_causes_it_states() {
    let page = include_str!("../../../docs/explain.md");
    let mut checked = 0;
    let mut wrong = Vec::new();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, text, _, cause, _] = cells.as_slice() else {
            panic!("{row}")
        };
        let text = text.trim_matches('`');
        let line =
            format!("17:17:52.829 ERRO cmd        Fatal error: {text}\n\tmain.go:19 .main\n");
        let end = End {
            exit_code: Some(1),
            ..End::default()
        };
        let found = diagnose(line.as_bytes(), SIZE, None, end, Duration::ZERO).unwrap();
        if format!("`{}`", found.id) != *cause {
            wrong.push(format!("{text}: {}, not {cause}", found.id));
        }
        checked += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 200, "only {checked} texts");
}

#[test]
fn what_strangers_write_into_the_log_cannot_pose_as_something_else() {
    // A nickname with an escape sequence and a line break, as JSON carries it.
    let line = "17:17:52.829 INFO dkg        Connected to peer 1 of 3 {\"peer\": \"a\", \"nickname\": \"\\u001b[2J\\u001b[31mall\\ngood\\u202e\"}\n";
    let mut transcript = Transcript::new(SIZE, None);
    let events = transcript.push(line.as_bytes(), Duration::ZERO);
    assert_eq!(
        events,
        [Event::PeerConnected {
            peer: "a".to_owned(),
            count: 1,
            total: 3,
            nickname: Some("all good".to_owned())
        }]
    );
    // A peer name that no roster holds is not added to a roster.
    let roster = "17:17:52.829 INFO dkg        Peer summary {\"peer\": \"b\", \"index\": 0}\n";
    let mut transcript = Transcript::new(SIZE, None);
    transcript.push(roster.as_bytes(), Duration::ZERO);
    transcript.push(line.as_bytes(), Duration::ZERO);
    assert_eq!(transcript.progress().peers().len(), 1);
}

/// Pieces of charon's language, to get deeper than random bytes do.
fn phrases() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "17:17:52.829 ",
        "INFO ",
        "ERRO ",
        "WARN ",
        "dkg        ",
        "cmd        ",
        "\t",
        "\n",
        "\r",
        "Application failed to start: ",
        "Fatal error: ",
        "Error: ",
        "Peer summary ",
        "\u{1b}[",
        "\u{1b}]",
        "Connected to peer ",
        "1 of 3",
        " of ",
        "99999999999999999999",
        "{\"peer\": \"a\", ",
        "\"index\": 0}",
        "\"step\": 7}",
        "{\"level\":\"info\",\"msg\":",
        "ts=",
        "level=error ",
        "msg=\"",
        "\"",
        "\\",
        ": open ",
        "mismatching charon version; expect=",
        ", got=",
        "peer responded with error",
        "All peers connected, starting DKG ceremony",
        "Waiting to connect to all peers...",
        "Successfully completed DKG ceremony",
        "🎉",
        "context canceled",
        "invalid definition hash signature",
        "permission denied",
        "(will try again)",
        "00:00:00.000 ",
        "charon-1 | ",
        "{\"MESSAGE\":",
        "null}",
        "__CURSOR=",
        "MESSAGE\n\u{3}\0\0\0\0\0\0\0",
        "MESSAGE=",
        " [s=",
        "\n    ",
        "\0\0\0\u{5}\u{1a}\u{3}",
        "[9B blob data]",
        "#033[",
    ]);
    let piece = prop_oneof![
        8 => pieces.prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..16),
    ];
    prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_and_nothing_unclean_comes_out(
        output in prop_oneof![phrases(), prop::collection::vec(any::<u8>(), 0..2000)],
        cut in 1_usize..64,
        exit_code in prop::option::of(-1_i64..256),
        stopped: bool,
        later in 0_u64..100_000,
    ) {
        let mut transcript = Transcript::new(SIZE, Some(&CharonVersion::release(1, 10, 3)));
        for (at, chunk) in output.chunks(cut).enumerate() {
            transcript.push(chunk, Duration::from_millis(at as u64));
        }
        let now = Duration::from_secs(later);
        transcript.finish(now);
        transcript.progress().waiting(now);
        let end = End { exit_code, oom_killed: false, stopped };
        let whole = diagnose(&output, SIZE, Some(&CharonVersion::release(1, 10, 3)), end, now);
        let alone = explain(&output).and_then(|told| told.diagnosis);
        for found in transcript.diagnose(end, now).into_iter().chain(whole).chain(alone) {
            let shown = format!("{}{}{:?}", found.cause, found.next_step, found.evidence);
            prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\t'), "{:?}", shown);
        }
    }
}

#[test]
fn a_lock_that_was_not_published_is_told_and_ends_nothing() {
    let console = "20:41:59.323 WARN dkg        Couldn't publish lock file to Obol API: call POST endpoint: Post \
                   \"https://api.obol.tech/lock\": dial tcp: lookup api.obol.tech: no such host\n";
    let mut transcript = Transcript::new(SIZE, None);
    let events = transcript.push(console.as_bytes(), Duration::ZERO);
    let [Event::NotPublished { reason }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert!(reason.starts_with("call POST endpoint: "), "{reason}");
    assert!(reason.ends_with("no such host"), "{reason}");
}
