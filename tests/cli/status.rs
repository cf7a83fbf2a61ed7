//! `status`: every state of a directory, and the one safe next command. It never writes.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use charon_dkg::ceremony::attempt::State;
use charon_dkg::cli::Invocation;
use charon_dkg::machine::datadir;
use charon_files::cluster::Definition;

use crate::support::{CEREMONY, DEFINITION, KEY, NOBODY, Outcome, TestEnv, Tree, fixture};

/// Asks twice, for people and for a program, and holds it to changing nothing.
#[track_caller]
fn status(env: &TestEnv, stage: &str) -> Outcome {
    let before = env.tree();
    let document = env.run(&["status", "--format", "json"]).exits(0).json();
    assert_eq!(document["schema"], "charon-dkg.status/1");
    assert_eq!(document["stage"], stage, "{document}");
    let outcome = env.run(&["status"]).exits(0);
    assert_eq!(env.tree(), before);
    assert_eq!(outcome.stderr, "");
    works_when_pasted(document["next"].as_str().unwrap());
    outcome
}

/// A shell takes it for commands, and ours for one that there is.
#[track_caller]
fn works_when_pasted(next: &str) {
    assert!(!next.contains(['|', '<', '>', ';', '…']), "{next}");
    for command in next.split(" && ") {
        let words = shlex::split(command).unwrap();
        let ours = words.iter().position(|word| word == "charon-dkg");
        let Some(ours) = ours else {
            assert!(["mv", "rmdir"].contains(&words[0].as_str()), "{next}");
            continue;
        };
        assert!(ours == 0 || (ours == 1 && words[0] == "sudo"), "{next}");
        let argv = words[ours..].iter().map(OsString::from).collect();
        let parsed = Invocation::from_args(argv, None);
        assert!(parsed.is_ok(), "{next}: {:?}", parsed.err());
    }
}

fn next(outcome: &Outcome) -> &str {
    let line = outcome.stdout.lines().last().unwrap();
    line.strip_prefix("next: ").unwrap()
}

fn failed(reason: &str) -> State {
    State::Failed {
        reason: reason.to_owned(),
    }
}

#[test]
fn a_fresh_directory_needs_a_key() {
    let env = TestEnv::new();
    snapshot!("status_no_key", status(&env, "no-key"));
    fs::create_dir(env.data("")).unwrap();
    status(&env, "no-key");
}

/// The command that a failure ends with.
fn hinted(outcome: &Outcome) -> String {
    let hints = outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with("hint: "));
    let marked = hints.flat_map(|line| line.split('`').skip(1).step_by(2));
    let commands = marked.filter(|command| command.contains("charon-dkg "));
    commands
        .last()
        .unwrap_or_else(|| panic!("{outcome}"))
        .to_owned()
}

/// Types what `status` says, and what a refusal says then, until there is a key; `sudo` makes root of whoever types it.
#[track_caller]
fn leads_out(env: &TestEnv) {
    let mut user = NOBODY;
    for _ in 0..8 {
        let outcome = env.run_as(user, &["status"]);
        let typed = match outcome.code {
            Some(0) => next(&outcome).to_owned(),
            _ => hinted(&outcome),
        };
        if outcome.stdout.contains("there is an ENR key") {
            return;
        }
        let mut commands: Vec<String> = typed.split(" && ").map(str::to_owned).collect();
        while let Some(command) = (!commands.is_empty()).then(|| commands.remove(0)) {
            let command = command.replace("[ROOT]", &env.path("").display().to_string());
            let mut words = shlex::split(&command).unwrap();
            if words[0] == "sudo" {
                words.remove(0);
                user = 0;
            }
            if words[0] == "rmdir" {
                let mut rmdir = std::process::Command::new("rmdir");
                std::os::unix::process::CommandExt::uid(&mut rmdir, user);
                assert!(rmdir.arg(&words[1]).status().unwrap().success(), "{typed}");
                continue;
            }
            assert_eq!(words[0], "charon-dkg", "{typed}");
            let words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            let done = env.run_as(user, &words);
            if done.code != Some(0) {
                assert!(commands.is_empty(), "{typed}: {done}");
                let again = hinted(&done);
                assert_ne!(again, command, "{done}");
                commands.push(again);
            }
        }
    }
    panic!("no way out: {}", env.run_as(user, &["status"]));
}

#[test]
#[ignore = "needs root"]
fn what_status_says_leads_out_of_every_state_without_a_key() {
    for (owner, mode) in [(0, 0o755), (0, 0o700), (NOBODY, 0o755), (NOBODY, 0)] {
        let env = TestEnv::new();
        chown(env.project(), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::create_dir(env.data("")).unwrap();
        chown(env.data(""), Some(owner), Some(owner)).unwrap();
        fs::set_permissions(env.data(""), fs::Permissions::from_mode(mode)).unwrap();
        leads_out(&env);
    }
    // A container of root's made the key in a directory of this user's, who cannot read it.
    let env = TestEnv::with_key();
    for path in [env.project(), env.data("")] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for words in [&["status"][..], &["enr", "show"], &["plan"]] {
        let refused = env.run_as(NOBODY, words).exits(3);
        assert_eq!(
            hinted(&refused),
            "sudo charon-dkg repair --owner 65534:65534",
            "{refused}"
        );
    }
    leads_out(&env);
    // Without one, and with what an earlier release left beside an empty one of root's.
    let env = TestEnv::new();
    chown(env.project(), Some(NOBODY), Some(NOBODY)).unwrap();
    leads_out(&env);
    let env = TestEnv::new();
    chown(env.project(), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::create_dir(env.data("")).unwrap();
    fs::set_permissions(env.data(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(env.state("")).unwrap();
    chown(env.state(""), Some(NOBODY), Some(NOBODY)).unwrap();
    leads_out(&env);
}

/// Whatever is typed first where this user cannot look, or where a file is another user's.
#[test]
#[ignore = "needs root"]
fn every_verb_that_cannot_look_names_a_command_that_leads_out() {
    let verbs: [&[&str]; 10] = [
        &["status"],
        &["enr"],
        &["enr", "show"],
        &["plan"],
        &["ready"],
        &["verify"],
        &["receipt"],
        &["confirm"],
        &["backup", "--passphrase-file=passphrase"],
        &["repair"],
    ];
    let give = "sudo charon-dkg repair --owner 65534:65534";
    // What of a finished directory of this user's is whose, with which mode, and what is said.
    for (name, owner, mode, expected) in [
        ("", 0, 0o700, "sudo charon-dkg status"),
        ("", 12_345, 0o700, "sudo charon-dkg status"),
        ("", NOBODY, 0, "charon-dkg repair"),
        ("validator_keys", 0, 0o700, give),
        ("validator_keys", NOBODY, 0, "charon-dkg repair"),
        (KEY, 0, 0o600, give),
        ("validator_keys/keystore-0.txt", 0, 0o600, give),
    ] {
        let env = TestEnv::finished(CEREMONY, 0);
        env.give_to(NOBODY);
        chown(env.project(), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::write(env.project().join("passphrase"), "correct horse battery").unwrap();
        fs::set_permissions(
            env.project().join("passphrase"),
            fs::Permissions::from_mode(0o644),
        )
        .unwrap();
        chown(env.data(name), Some(owner), Some(owner)).unwrap();
        fs::set_permissions(env.data(name), fs::Permissions::from_mode(mode)).unwrap();
        let before = Tree::of(&env.data(""));
        for verb in verbs {
            let outcome = env.run_as(NOBODY, verb);
            // Those that do not look at a keystore have nothing to say of it.
            if name.ends_with(".txt") && outcome.code == Some(0) {
                continue;
            }
            assert!(matches!(outcome.code, Some(3 | 4)), "{name}: {outcome}");
            let repairs = *verb == ["repair"] && expected != "sudo charon-dkg status";
            let told = if repairs {
                "charon-dkg repair --yes"
            } else if name.ends_with(".txt") && ["plan", "ready"].contains(&verb[0]) {
                "sudo charon-dkg repair"
            } else {
                expected
            };
            assert!(outcome.stderr.contains(told), "{name}: {verb:?}: {outcome}");
            assert!(!outcome.stderr.contains("move out"), "{name}: {outcome}");
        }
        assert_eq!(Tree::of(&env.data("")), before, "{name}");
    }
}

/// Root finds no program that one user installed, and no plugin of that user's docker.
#[test]
#[ignore = "needs root"]
fn what_root_is_to_type_names_a_program_that_root_finds() {
    let env = TestEnv::with_key();
    chown(env.project(), Some(NOBODY), Some(NOBODY)).unwrap();
    env.run_as(NOBODY, &["status"]).exits(3);
    let program = env.path("charon-dkg");
    for (spelling, words) in [
        (None, &["status"][..]),
        (Some("docker charon-dkg"), &["charondkg", "status"]),
    ] {
        let mut typed = env.command(&program);
        typed.args(words);
        if let Some(spelling) = spelling {
            typed.env("CHARON_DKG_SPELLING", spelling);
        }
        std::os::unix::process::CommandExt::uid(&mut typed, NOBODY);
        let said = typed.output().unwrap();
        let said = String::from_utf8(said.stderr).unwrap();
        let named = program.canonicalize().unwrap();
        let hint = said
            .split("`sudo ")
            .nth(1)
            .unwrap_or_else(|| panic!("{said}"));
        let hint = hint.split('`').next().unwrap();
        let sudo = shlex::split(hint).unwrap();
        assert_eq!(sudo[0], named.display().to_string(), "{said}");
        let mut by_root = env.command(std::path::Path::new(&sudo[0]));
        by_root.args(&sudo[1..]);
        env.outcome(by_root).exits(0);
    }
}

#[test]
#[ignore = "needs root"]
fn an_empty_directory_of_root_is_told_of_and_nothing_is_made_beside_it() {
    let env = TestEnv::new();
    chown(env.project(), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::create_dir(env.data("")).unwrap();
    fs::set_permissions(env.data(""), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = env.run_as(NOBODY, &["enr"]).exits(3);
    assert!(refused.stderr.contains("hint: rmdir "), "{refused}");
    assert!(!env.state("").exists());
}

#[test]
fn a_key_that_was_there_is_to_be_restored() {
    let env = TestEnv::ready();
    fs::remove_file(env.data(KEY)).unwrap();
    snapshot!("status_key_missing", status(&env, "key-missing"));
    let env = TestEnv::finished(CEREMONY, 0);
    fs::remove_file(env.data(KEY)).unwrap();
    status(&env, "key-missing");
}

#[test]
fn an_unusable_key_is_said_before_all_else() {
    let env = TestEnv::ready();
    env.put(KEY, b"not a key");
    snapshot!("status_key_unusable", status(&env, "key-unusable"));
}

#[test]
fn a_key_alone_waits_for_the_definition() {
    let env = TestEnv::with_key();
    snapshot!("status_no_definition", status(&env, "no-definition"));
}

#[test]
fn key_and_definition_are_ready() {
    let env = TestEnv::ready();
    snapshot!("status_ready", status(&env, "ready"));
    snapshot!(
        "status_ready_json",
        env.run(&["status", "--format=json"]).exits(0)
    );
}

#[test]
fn a_definition_kept_from_a_url_is_one() {
    let env = TestEnv::ready();
    let layout = env.layout();
    let bytes = fs::read(env.data(DEFINITION)).unwrap();
    datadir::create_state_dir(&layout).unwrap();
    datadir::store_definition(&layout, &bytes, "https://api.example/definition").unwrap();
    fs::remove_file(env.data(DEFINITION)).unwrap();
    status(&env, "ready");
}

#[test]
fn outputs_are_to_be_verified() {
    let env = TestEnv::finished(CEREMONY, 1);
    snapshot!("status_outputs", status(&env, "outputs"));
}

#[test]
fn proved_outputs_wait_for_the_receipts_of_all_and_then_for_the_gate() {
    let receipts: Vec<String> = (0..4)
        .map(|node| {
            let env = TestEnv::finished(CEREMONY, node);
            env.run(&["receipt"]).exits(0).stdout.trim().to_owned()
        })
        .collect();
    let env = TestEnv::finished(CEREMONY, 1);
    env.run(&["receipt"]).exits(0);
    let outcome = status(&env, "unconfirmed");
    for words in ["1 of 4 operators", "operator 4", "next: charon-dkg confirm"] {
        assert!(outcome.stdout.contains(words), "{outcome}");
    }
    let words: Vec<&str> = receipts.iter().map(String::as_str).collect();
    env.run(&[&["confirm"], words.as_slice()].concat()).exits(0);
    let outcome = status(&env, "confirmed");
    for words in ["no gate is installed here", "next: charon-dkg gate install"] {
        assert!(outcome.stdout.contains(words), "{outcome}");
    }
    // A gate that `.env` does not name is passed over by Compose, and is none.
    let gate = include_str!("../../compose-templates/provider.yml");
    fs::write(env.path("project/compose-charon-dkg.yml"), gate).unwrap();
    let outcome = status(&env, "confirmed");
    assert!(outcome.stdout.contains("no gate is installed"), "{outcome}");
    let names = "COMPOSE_FILE=docker-compose.yml:compose-charon-dkg.yml\n";
    fs::write(env.path("project/.env"), names).unwrap();
    let outcome = status(&env, "confirmed");
    assert!(outcome.stdout.contains("next: charon-dkg up"), "{outcome}");
    // Where no files are named, Compose reads it as the override file.
    fs::remove_file(env.path("project/.env")).unwrap();
    fs::write(env.path("project/compose.override.yml"), gate).unwrap();
    let outcome = status(&env, "confirmed");
    assert!(outcome.stdout.contains("next: charon-dkg up"), "{outcome}");
    // A charon that cannot read the lock would restart for ever.
    fs::write(env.path("project/.env"), "CHARON_VERSION=v0.16.0\n").unwrap();
    let outcome = status(&env, "confirmed");
    for words in [
        "not set up for this cluster",
        "change line 1 of .env",
        "next: charon-dkg gate status",
    ] {
        assert!(outcome.stdout.contains(words), "{outcome}");
    }
    // What the gate was told of, it says too; where the ceremony met is a note, since the group may have agreed on more.
    env.attempt_with(
        |record| {
            record.flags = ["--relay", "https://met.example"]
                .map(str::to_owned)
                .to_vec()
        },
        &[
            State::Running,
            State::CharonDone { exit: 0 },
            State::Promoted,
        ],
    );
    let told = "relays: \"${CHARON_P2P_RELAYS:-https://met.example,https://b.example}\"";
    let knows = gate.replace("require:", &format!("{told}\n        require:"));
    fs::write(env.path("project/compose.override.yml"), &knows).unwrap();
    let check = |dotenv: &str| {
        fs::write(env.path("project/.env"), dotenv).unwrap();
        let checked = env.run(&["gate", "check", "--format", "json"]).exits(0);
        let findings = checked.json()["findings"].as_array().unwrap().clone();
        (findings, checked.stderr, status(&env, "confirmed").stdout)
    };
    assert_eq!(check("").0, [""; 0]);
    let (findings, warned, stated) = check("\nCHARON_P2P_RELAYS=https://other.example\n");
    assert_eq!(findings[0]["check"], "project-relays");
    let note = "none of which the ceremony used, expected one that all operators' nodes share, such as https://met.example";
    for text in [warned, stated] {
        assert!(text.contains(note), "{text}");
        assert!(text.contains("change line 2 of .env"), "{text}");
    }
    fs::write(env.path("project/.env"), names).unwrap();
    // It goes by what the gate was told.
    fs::remove_dir_all(env.state("receipts")).unwrap();
    env.run(&["receipt"]).exits(0);
    status(&env, "unconfirmed");
    let lenient = gate.replace("\"confirmed\"", "\"verified\"");
    fs::write(env.path("project/compose-charon-dkg.yml"), lenient).unwrap();
    status(&env, "confirmed");
    // What is damaged is to be verified before anything else.
    fs::remove_file(env.data("validator_keys/keystore-0.txt")).unwrap();
    let outcome = status(&env, "outputs");
    assert!(
        outcome.stdout.contains("next: charon-dkg verify"),
        "{outcome}"
    );
}

#[test]
fn failed_attempts_are_listed_and_stop_nothing() {
    let env = TestEnv::ready();
    env.attempt(&[
        State::Running,
        failed("the relay\u{1b}[2J did not answer\nFAIL"),
    ]);
    env.attempt(&[State::Running, failed("the command was interrupted")]);
    fs::write(env.state("attempts/2/charon.log"), "").unwrap();
    let outcome = status(&env, "ready");
    snapshot!("status_failed_attempts", outcome);
}

#[test]
fn a_ceremony_under_way_is_to_be_followed() {
    let env = TestEnv::ready();
    env.attempt(&[failed("no")]);
    env.attempt(&[State::Running]);
    snapshot!("status_under_way", status(&env, "under-way"));
    let env = TestEnv::ready();
    env.attempt(&[State::Running, State::CharonDone { exit: 0 }]);
    status(&env, "under-way");
}

#[test]
fn moves_cut_short_come_first() {
    let env = TestEnv::finished(CEREMONY, 0);
    datadir::create_state_dir(&env.layout()).unwrap();
    fs::write(env.state("journal.json"), "{}").unwrap();
    snapshot!("status_interrupted", status(&env, "interrupted"));
}

#[test]
fn records_that_are_none_of_ours_are_an_error() {
    let env = TestEnv::ready();
    env.attempt(&[State::Running]);
    fs::write(env.state("attempts/1/attempt.json"), "{}").unwrap();
    snapshot!("status_bad_record", env.run(&["status"]).exits(3));
}

#[test]
#[ignore = "needs root"]
fn another_user_is_told_whom_to_be() {
    let env = TestEnv::ready();
    env.give_to(12_345);
    snapshot!(
        "status_of_another_user",
        env.run_as(NOBODY, &["status"]).exits(3)
    );
    datadir::create_state_dir(&env.layout()).unwrap();
    fs::set_permissions(
        env.data(""),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let outcome = env.run_as(NOBODY, &["status"]).exits(3);
    assert!(
        outcome.stderr.contains(".charon-dkg cannot be read"),
        "{outcome}"
    );
}

#[test]
fn a_project_directory_that_is_not_there_is_a_wrong_command_line() {
    let env = TestEnv::new();
    snapshot!(
        "status_no_project",
        env.run(&["status", "--dir", "elsewhere"]).exits(2)
    );
}

#[test]
fn a_definition_that_lies_beside_is_found() {
    let env = TestEnv::ready();
    let bytes = fs::read(env.data(DEFINITION)).unwrap();
    fs::remove_file(env.data(DEFINITION)).unwrap();
    // What is none, and one that this node is not in, are not.
    fs::write(env.project().join("a.json"), "{}").unwrap();
    let other = fs::read(fixture(CEREMONY, 0).join(DEFINITION)).unwrap();
    fs::write(env.project().join("b.json"), other).unwrap();
    let outcome = status(&env, "no-definition");
    assert_eq!(next(&outcome), "charon-dkg enr show", "{outcome}");
    fs::write(env.project().join("our cluster.json"), &bytes).unwrap();
    let outcome = status(&env, "no-definition");
    assert_eq!(
        next(&outcome),
        "charon-dkg plan --definition 'our cluster.json'",
        "{outcome}"
    );
    // From elsewhere the path says where it is.
    let dir = env.project().display().to_string();
    let outcome = env
        .run(&[
            "status",
            "--dir",
            &dir,
            "--data-dir",
            &format!("{dir}/.charon"),
        ])
        .exits(0);
    works_when_pasted(next(&outcome));
}

#[test]
fn what_run_was_told_is_told_again() {
    let env = TestEnv::ready();
    let relay = "https://relay.example/a?b=1&c=2";
    let flags = ["--relay", relay, "--network", "my-net"];
    env.attempt_with(
        |record| record.flags = flags.map(str::to_owned).to_vec(),
        &[State::Running, failed("the relay did not answer")],
    );
    let outcome = status(&env, "ready");
    assert_eq!(
        next(&outcome),
        "charon-dkg plan --relay 'https://relay.example/a?b=1&c=2' --network my-net",
        "{outcome}"
    );
}

#[test]
fn somebody_in_the_wrong_directory_is_led_to_the_right_one() {
    let env = TestEnv::with_key();
    let below = env.project().join("compose files");
    fs::create_dir(&below).unwrap();
    let outcome = env
        .run(&["status", "--dir", below.to_str().unwrap()])
        .exits(0);
    let next = next(&outcome);
    assert!(next.starts_with("charon-dkg status --dir "), "{outcome}");
    assert!(next.ends_with("/project"), "{outcome}");
    works_when_pasted(next);
    assert!(
        outcome.stdout.contains("only for another node"),
        "{outcome}"
    );
}

#[test]
fn a_project_that_was_used_before_is_named_elsewhere() {
    let env = TestEnv::new();
    let elsewhere = env.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let ask = || {
        let words = ["status", "--dir", elsewhere.to_str().unwrap()];
        env.run(&words).exits(0)
    };
    assert!(next(&ask()).starts_with("charon-dkg enr"));
    fs::create_dir(env.path("home")).unwrap();
    env.run(&["enr"]).exits(0);
    let outcome = ask();
    assert_eq!(
        next(&outcome),
        "charon-dkg status --dir [ROOT]/project",
        "{outcome}"
    );
    assert!(
        outcome.stdout.contains("only for another node"),
        "{outcome}"
    );
    // What is no longer there is not named.
    fs::remove_dir_all(env.data("")).unwrap();
    assert!(next(&ask()).starts_with("charon-dkg enr"));
}

#[test]
fn the_nodes_of_a_cluster_made_on_one_machine_are_named() {
    let env = TestEnv::new();
    for node in 0..3 {
        let dir = env.data(&format!("cluster/node{node}"));
        fs::create_dir_all(&dir).unwrap();
        fs::copy(
            fixture(CEREMONY, node).join("cluster-lock.json"),
            dir.join("cluster-lock.json"),
        )
        .unwrap();
    }
    let outcome = status(&env, "created-cluster");
    assert!(outcome.stdout.contains("3 nodes"), "{outcome}");
    assert!(
        next(&outcome).ends_with("project/.charon/cluster/node0"),
        "{outcome}"
    );
    let outcome = env.run(&["verify"]).exits(4);
    assert!(
        outcome.stderr.contains("charon create cluster"),
        "{outcome}"
    );
    for node in 0..3 {
        let hint = format!(".charon/cluster/node{node}`");
        assert!(outcome.stderr.contains(&hint), "{outcome}");
    }
    assert!(!outcome.stderr.contains("note ["), "{outcome}");
}

#[test]
fn a_repeated_ceremony_asks_for_new_receipts_and_not_for_the_old_files() {
    let env = TestEnv::finished(CEREMONY, 1);
    env.run(&["receipt"]).exits(0);
    // Archived, and run again: other keys, made by an attempt that began after the kept receipts.
    let again = format!("{CEREMONY}-signed");
    let replace = |env: &TestEnv| {
        fs::remove_dir_all(env.data("")).unwrap();
        env.put_outputs(&again, 1);
        env.run(&["receipt"]).exits(0);
    };
    let definition = fs::read(fixture(&again, 1).join(DEFINITION)).unwrap();
    let definition = Definition::parse(&definition).unwrap().value;
    let hash = definition.definition_hash().unwrap().to_string();
    replace(&env);
    // Nobody knows where that came from.
    let outcome = status(&env, "unconfirmed");
    assert!(outcome.stdout.contains("not the one of"), "{outcome}");
    assert!(!outcome.stdout.contains("restore"), "{outcome}");
    let done = [
        State::Running,
        State::CharonDone { exit: 0 },
        State::Promoted,
    ];
    let begun = |env: &TestEnv, started: &str| {
        env.attempt_with(
            |record| {
                record.definition_hash.clone_from(&hash);
                started.clone_into(&mut record.started);
            },
            &done,
        );
    };
    // An attempt before those receipts did not make it.
    begun(&env, "2020-01-01T00:00:00Z");
    let outcome = status(&env, "unconfirmed");
    assert!(outcome.stdout.contains("not the one of"), "{outcome}");
    begun(&env, "2100-01-01T00:00:00Z");
    let outcome = status(&env, "unconfirmed");
    assert!(outcome.stdout.contains("1 of 4 operators"), "{outcome}");
    assert_eq!(next(&outcome), "charon-dkg confirm -");
}
