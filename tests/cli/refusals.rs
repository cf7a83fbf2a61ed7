//! What `plan` and `run` refuse, all of it at once, and that a refusal leaves the directory as it
//! was.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use charon_files::cluster::definition::Definition;
use charon_files::cluster::version::DefinitionVersion;

use crate::support::{BINARY, CEREMONY, DEFINITION, KEY, LOCK, NOBODY, Outcome, TestEnv, fixture};

/// Plans and runs. Both must refuse for the same reasons and leave no trace at all.
#[track_caller]
fn refused(env: &TestEnv, args: &[&str]) -> Outcome {
    let before = env.tree();
    let planned = env.run(&[&["plan"], args].concat()).exits(3);
    assert_eq!(env.tree(), before);
    assert_eq!(planned.stdout, "");

    let run = env.run(&[&["run"], args].concat()).exits(3);
    assert_eq!(env.tree(), before);
    assert_eq!(run.stderr, planned.stderr);
    assert_eq!(run.stdout, "");
    planned
}

/// The engine is missing on this machine, so a refusal for one other reason names two.
#[track_caller]
fn refused_only_for(env: &TestEnv, check: &str, args: &[&str]) -> Outcome {
    let outcome = refused(env, args);
    assert_eq!(outcome.failed(), [check, "engine-unreachable"], "{outcome}");
    outcome
}

#[test]
fn an_engine_that_is_not_there() {
    let env = TestEnv::ready();
    let outcome = refused(&env, &[]);
    assert_eq!(outcome.failed(), ["engine-unreachable"], "{outcome}");
    snapshot!("refused_no_engine", outcome);
}

#[test]
fn a_wrong_directory_gets_nothing_put_into_it() {
    let env = TestEnv::new();
    snapshot!("refused_wrong_directory", refused(&env, &[]));
    assert_eq!(env.tree().names(), [""; 0]);
}

#[test]
fn no_key() {
    let env = TestEnv::ready();
    fs::remove_file(env.data(KEY)).unwrap();
    snapshot!(
        "refused_no_key",
        refused_only_for(&env, "enr-key-missing", &[])
    );
}

#[test]
fn a_key_that_is_none() {
    let env = TestEnv::ready();
    env.put(KEY, b"no key");
    refused_only_for(&env, "enr-key-unusable", &[]);
}

#[test]
fn a_key_that_others_may_read() {
    let env = TestEnv::ready();
    fs::set_permissions(env.data(KEY), fs::Permissions::from_mode(0o644)).unwrap();
    snapshot!(
        "refused_key_mode",
        refused_only_for(&env, "enr-key-mode", &[])
    );
}

#[test]
#[ignore = "needs root"]
fn a_key_of_another_owner() {
    let env = TestEnv::ready();
    std::os::unix::fs::chown(env.data(KEY), Some(NOBODY), Some(NOBODY)).unwrap();
    refused_only_for(&env, "enr-key-owner", &[]);
}

#[test]
fn no_definition() {
    let env = TestEnv::with_key();
    snapshot!(
        "refused_no_definition",
        refused_only_for(&env, "definition-missing", &[])
    );
    refused_only_for(
        &env,
        "definition-unusable",
        &["--definition", "nowhere.json"],
    );
}

#[test]
fn outputs_of_an_earlier_ceremony() {
    let env = TestEnv::ready();
    env.put("validator_keys/keystore-0.json", b"{}");
    snapshot!(
        "refused_earlier_keys",
        refused_only_for(&env, "data-directory-not-clean", &[])
    );
    for name in [
        LOCK,
        "deposit-data.json",
        "deposit-data-32eth.json",
        "cluster-manifest.pb",
        "dkg.tar.gz",
        "old/charon-enr-private-key",
        "keystore-0.json",
    ] {
        let env = TestEnv::ready();
        env.put(name, b"{}");
        let outcome = refused_only_for(&env, "data-directory-not-clean", &[]);
        let top = name.split('/').next().unwrap();
        assert!(outcome.stderr.contains(top), "{outcome}");
    }
}

/// As eth-docker ships its `.eth`.
#[test]
fn what_is_nobodys_key_stays_beside_a_ceremony() {
    let env = TestEnv::ready();
    for name in [
        "README.md",
        ".gitignore",
        "validator_keys/.gitignore",
        "exit_messages/.gitignore",
        "ethdo/create-withdrawal-change.sh",
        "charon-enr-public-key",
    ] {
        env.put(name, b"*");
    }
    let outcome = refused(&env, &[]);
    assert_eq!(outcome.failed(), ["engine-unreachable"], "{outcome}");
}

#[test]
fn a_foreign_key() {
    let env = TestEnv::with_key();
    env.put(
        DEFINITION,
        &fs::read(fixture(CEREMONY, 0).join(DEFINITION)).unwrap(),
    );
    snapshot!(
        "refused_foreign_key",
        refused_only_for(&env, "enr-key-not-in-definition", &[])
    );
}

#[test]
fn a_definition_changed_by_one_byte() {
    let env = TestEnv::ready();
    let text = fs::read_to_string(env.data(DEFINITION)).unwrap();
    let changed = text.replacen("\"threshold\": 3", "\"threshold\": 4", 1);
    assert_ne!(changed, text);
    env.put(DEFINITION, changed.as_bytes());
    let outcome = refused(&env, &[]);
    assert_eq!(
        outcome.failed(),
        ["config-hash", "definition-hash", "engine-unreachable"]
    );
}

#[test]
fn a_definition_of_an_unknown_version() {
    let env = TestEnv::ready();
    let text = fs::read_to_string(env.data(DEFINITION)).unwrap();
    for version in ["v1.12.0", "v2.0.0", "1.10.0", ""] {
        env.put(DEFINITION, text.replace("v1.10.0", version).as_bytes());
        let outcome = refused_only_for(&env, "definition-unusable", &[]);
        assert!(
            outcome.stderr.contains(&format!("{version:?}")),
            "{outcome}"
        );
    }
}

#[test]
fn two_operators_with_one_enr() {
    let mut env = TestEnv::ready();
    env.edit_definition(|definition| {
        let enr = definition.operators[0].enr.clone();
        definition.operators[2].enr = enr;
    });
    refused_only_for(&env, "operator-enr-duplicate", &[]);
}

#[test]
fn thresholds_that_cannot_be() {
    for threshold in [0, 1, 5] {
        let mut env = TestEnv::ready();
        env.edit_definition(|definition| definition.threshold = threshold);
        let outcome = refused(&env, &[]);
        assert!(
            outcome.failed().contains(&"threshold-range"),
            "{threshold}: {outcome}"
        );
    }
}

#[test]
fn a_definition_that_no_stable_release_runs() {
    let from = fixture("charon-v1.11.0-rc3-def-v1.11.0-n4-v2", 0);
    let env = TestEnv::new();
    for name in [KEY, DEFINITION] {
        env.put(name, &fs::read(from.join(name)).unwrap());
    }
    let outcome = env.run(&["plan"]).exits(3);
    assert_eq!(
        outcome.failed(),
        ["no-charon-release", "engine-unreachable"]
    );
    snapshot!("refused_no_stable_release", outcome);
    let outcome = env.run(&["plan", "--allow-prerelease"]).exits(3);
    assert_eq!(outcome.failed(), ["engine-unreachable"]);
}

#[test]
fn releases_that_must_not_run_it() {
    let env = TestEnv::ready();
    for version in ["v0.16.0", "v1.11.0-rc3", "v1.10"] {
        refused_only_for(&env, "no-charon-release", &["--charon-version", version]);
    }
    let mut env = TestEnv::ready();
    env.edit_definition(|definition| {
        definition.version = DefinitionVersion::V1_5;
        definition.target_gas_limit = 0;
        definition.deposit_amounts = None;
    });
    let outcome = refused_only_for(&env, "no-charon-release", &["--charon-version", "v0.14.2"]);
    snapshot!("refused_denied_release", outcome);
    for wrong in ["latest", "1", "v1.10.3@sha256:00", ""] {
        env.run(&["plan", "--charon-version", wrong]).exits(2);
    }
}

#[test]
fn charon_flags_that_break_the_promise() {
    let env = TestEnv::ready();
    let flags = [
        "--",
        "--data-dir=x",
        "--definition-file",
        "other.json",
        "--no-verify",
        "--zipped",
        "--keymanager-address=http://x",
        "--keymanager-auth-token=y",
        "--p2p-relays=http://z",
    ];
    let outcome = refused(&env, &flags);
    let count = outcome
        .failed()
        .iter()
        .filter(|&&check| check == "charon-flag-refused")
        .count();
    assert_eq!(count, 7, "{outcome}");
    snapshot!("refused_charon_flags", outcome);
    let outcome = refused(&env, &["--", "--log-level=debug", "--shutdown-delay", "2s"]);
    assert_eq!(outcome.failed(), ["engine-unreachable"]);
}

#[test]
fn two_definitions() {
    let env = TestEnv::ready();
    let other = env.project().join("other.json");
    let from = fixture(CEREMONY, 0).join(DEFINITION);
    fs::copy(from, &other).unwrap();
    let outcome = refused(&env, &["--definition", "other.json"]);
    assert!(
        outcome.failed().contains(&"definition-in-data-directory"),
        "{outcome}"
    );
    // The same one, wherever it lies, is fine.
    fs::copy(env.data(DEFINITION), &other).unwrap();
    let outcome = refused(&env, &["--definition", "other.json"]);
    assert_eq!(outcome.failed(), ["engine-unreachable"]);
    // What docker made where a definition was mounted needs no coordinator.
    fs::write(env.data(DEFINITION), "").unwrap();
    let outcome = refused(&env, &["--definition", "other.json"]);
    assert!(
        outcome
            .stderr
            .contains("an empty file, as docker leaves it"),
        "{outcome}"
    );
    assert!(!outcome.stderr.contains("ask the coordinator"), "{outcome}");
    env.run(&["archive", "--with-definition", "--yes"]).exits(0);
    assert!(!env.data(DEFINITION).exists());
}

#[test]
fn urls_that_cannot_be_trusted_or_reached() {
    let env = TestEnv::with_key();
    let outcome = refused_only_for(&env, "definition-unusable", &["--definition", "http://x/d"]);
    snapshot!("refused_plain_http", outcome);
    let nobody = ["--definition", "https://127.0.0.1:1/definition"];
    let outcome = env.run(&[&["plan"][..], &nobody].concat()).exits(3);
    assert_eq!(
        outcome.failed(),
        ["definition-unusable", "engine-unreachable"]
    );
}

#[test]
fn engines_that_are_elsewhere() {
    let env = TestEnv::ready();
    for (host, check) in [
        ("tcp://192.0.2.1:2376", "engine-remote"),
        ("ssh://operator@192.0.2.1", "engine-remote"),
        ("unix:///dev/null", "engine-unreachable"),
        // docker takes a bare name for a machine's.
        ("nonsense", "engine-remote"),
        ("gopher://x", "engine-unreachable"),
    ] {
        let outcome = env.run(&["plan", "--host", host]).exits(3);
        assert_eq!(outcome.failed(), [check], "{host}: {outcome}");
    }
    let outcome = env.run(&["plan", "--context", "nowhere"]).exits(3);
    assert_eq!(outcome.failed(), ["engine-unreachable"], "{outcome}");
    snapshot!(
        "refused_remote_engine",
        env.run(&["plan", "--host", "ssh://operator@192.0.2.1"])
    );
}

#[test]
fn images_are_repositories() {
    let env = TestEnv::ready();
    snapshot!(
        "usage_image_with_tag",
        env.run(&["run", "--image", "mirror.example:5000/charon:v1.10.3"])
            .exits(2)
    );
    env.run(&["plan", "--image", "x/charon@sha256:00"]).exits(2);
    refused(&env, &["--image", "mirror.example:5000/charon"]);
}

#[test]
fn links_and_pipes_in_the_data_directory() {
    let env = TestEnv::ready();
    fs::rename(env.data(DEFINITION), env.project().join("d.json")).unwrap();
    symlink("../d.json", env.data(DEFINITION)).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, env.data("pipe"), 0o600.into()).unwrap();
    symlink("/", env.data("everything")).unwrap();
    let outcome = refused(&env, &[]);
    assert!(outcome.failed().contains(&"data-directory-special-file"));
    for name in ["cluster-definition.json", "everything", "pipe"] {
        assert!(outcome.stderr.contains(&format!("{name} (a ")), "{outcome}");
    }
}

/// What `verify` would refuse after the ceremony is refused before it.
#[test]
fn a_directory_that_everybody_may_write_in() {
    let env = TestEnv::ready();
    fs::set_permissions(env.data(""), fs::Permissions::from_mode(0o777)).unwrap();
    let outcome = refused_only_for(&env, "data-directory-mode", &[]);
    assert!(outcome.stderr.contains("charon-dkg repair"), "{outcome}");
    env.run(&["repair", "--yes"]).exits(0);
    assert_eq!(refused(&env, &[]).failed(), ["engine-unreachable"]);
}

#[test]
fn charons_sign_of_life() {
    let env = TestEnv::ready();
    let beat = format!(
        r#"{{"command":"charon dkg","timestamp":"{}"}}"#,
        jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60)
    );
    env.put("charon-enr-private-key.lock", beat.as_bytes());
    refused_only_for(&env, "already-in-use", &[]);
    env.put(
        "charon-enr-private-key.lock",
        br#"{"command":"charon dkg","timestamp":"2020-01-01T00:00:00Z"}"#,
    );
    assert_eq!(refused(&env, &[]).failed(), ["engine-unreachable"]);
}

/// An operator must not learn of five faults in five ceremonies.
#[test]
fn everything_at_once() {
    let env = TestEnv::ready();
    fs::set_permissions(env.data(KEY), fs::Permissions::from_mode(0o640)).unwrap();
    env.put(LOCK, b"{}");
    env.put("validator_keys/keystore-0.json", b"{}");
    let text = fs::read_to_string(env.data(DEFINITION)).unwrap();
    env.put(
        DEFINITION,
        text.replacen("\"threshold\": 3", "\"threshold\": 9", 1)
            .as_bytes(),
    );
    let outcome = refused(&env, &["--charon-version", "v1.2.0", "--", "--zipped"]);
    for check in [
        "charon-flag-refused",
        "data-directory-not-clean",
        "enr-key-mode",
        "config-hash",
        "definition-hash",
        "threshold-range",
        "no-charon-release",
        "engine-unreachable",
    ] {
        assert!(outcome.failed().contains(&check), "{check}: {outcome}");
    }
    let outcome = env
        .run(&["plan", "--format", "json", "--", "--zipped"])
        .exits(3);
    let document = outcome.json();
    assert_eq!(document["schema"], "charon-dkg.failure/1");
    assert_eq!(document["kind"], "refused");
    assert_eq!(document["exit_code"], 3);
    let checks: Vec<&str> = document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["weight"] == "fail")
        .map(|finding| finding["check"].as_str().unwrap())
        .collect();
    assert_eq!(checks, outcome.failed());
}

#[test]
#[ignore = "needs root"]
fn a_directory_of_another_user() {
    let env = TestEnv::ready();
    snapshot!(
        "refused_of_another_user",
        env.run_as(NOBODY, &["run"]).exits(3)
    );
    env.run_as(NOBODY, &["plan"]).exits(3);
    assert!(!env.state("").exists());
    // The same refusal where the directory may be listed.
    let env = TestEnv::ready();
    env.give_to(12_345);
    fs::set_permissions(env.data(""), fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = env.run_as(NOBODY, &["plan"]).exits(3);
    assert!(
        outcome.stderr.contains("run this as the owner, uid 12345"),
        "{outcome}"
    );
    // And where even the key may be read.
    fs::set_permissions(env.data(KEY), fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = env.run_as(NOBODY, &["plan"]).exits(3);
    assert!(outcome.failed().contains(&"not-the-owner"), "{outcome}");
}

#[test]
fn a_key_or_directory_at_work_is_busy() {
    let env = TestEnv::ready();
    let id = env.key().id().to_string();
    let elsewhere = TestEnv::with_key();
    let guard = charon_dkg::machine::guard::claim_enr_key(&id, &elsewhere.layout()).unwrap();
    let before = env.tree();
    let outcome = env.run(&["run", "--format", "json"]).exits(5);
    assert_eq!(outcome.json()["kind"], "busy");
    assert!(
        outcome.stderr.contains("for /"),
        "where it is at work: {outcome}"
    );
    assert_eq!(env.tree(), before, "nothing was begun");
    drop(guard);

    let layout = env.layout();
    charon_dkg::machine::datadir::create_state_dir(&layout).unwrap();
    let guard = charon_dkg::machine::guard::claim_directory(&layout).unwrap();
    env.run(&["run"]).exits(5);
    // Planning looks only, and so may anybody at any time.
    env.run(&["plan"]).exits(3);
    drop(guard);
    env.run(&["run"]).exits(3);
}

/// The advice is repeated as it was typed.
#[test]
fn advice_uses_the_spelling_of_the_operator() {
    let env = TestEnv::new();
    for (spelling, shown) in [
        (None, "`docker charondkg enr`"),
        (Some("docker charon-dkg"), "`docker charon-dkg enr`"),
        (Some("rm -rf"), "`docker charondkg enr`"),
    ] {
        let mut command = env.command(std::path::Path::new(BINARY));
        command.args(["charondkg", "enr", "show"]);
        if let Some(spelling) = spelling {
            command.env("CHARON_DKG_SPELLING", spelling);
        }
        let outcome = env.outcome(command).exits(3);
        assert!(outcome.stderr.contains(shown), "{outcome}");
    }
}

/// What a definition of ours looks like to charon is held to charon's own files elsewhere.
#[test]
fn definitions_made_here_are_sound() {
    let env = TestEnv::ready();
    let bytes = fs::read(env.data(DEFINITION)).unwrap();
    assert!(Definition::parse(&bytes).unwrap().remarks.is_empty());
    let path = env.data(DEFINITION).display().to_string();
    env.run(&["verify", "--definition", &path]).exits(0);
}

/// The socket is there and its group may use it, which is what a first user of docker meets.
#[test]
#[ignore = "needs root"]
fn whoever_may_not_open_the_engine_socket_is_told_what_to_type() {
    let env = TestEnv::ready();
    env.give_to(NOBODY);
    let socket = env.path("docker.sock");
    let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    // The group `daemon`, which every Debian has and nobody is in.
    std::os::unix::fs::chown(&socket, Some(0), Some(1)).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o660)).unwrap();
    let host = format!("unix://{}", socket.display());
    for verb in ["rehearse", "plan", "run", "ready"] {
        let outcome = env.run_as(NOBODY, &[verb, "--host", &host]);
        assert!(matches!(outcome.code, Some(1 | 3)), "{outcome}");
        for words in ["`sudo usermod -aG daemon nobody`", "log out and in again"] {
            assert!(outcome.stderr.contains(words), "{outcome}");
        }
        assert!(!outcome.stderr.contains("install.sh"), "{outcome}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_charon_cannot_be_given_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let env = TestEnv::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let project = env.project().join(name);
    std::fs::create_dir(&project).unwrap();
    let mut command = env.command(std::path::Path::new(crate::support::BINARY));
    command.args(["plan", "--dir"]).arg(&project);
    let refused = env.outcome(command).exits(3);
    assert!(refused.stderr.contains("is not UTF-8"), "{refused}");
}
