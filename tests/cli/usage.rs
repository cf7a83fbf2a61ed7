//! Help, wrong command lines, the three spellings, what docker asks a plugin, and both streams'
//! manners.

use std::path::Path;
use std::process::{Command, Stdio};

use charon_dkg::cli;
use charon_dkg::error::Kind;

use sha2::{Digest as _, Sha256};

use crate::schema;
use crate::support::{BINARY, CEREMONY, LOCK, Outcome, TestEnv, fixture};

fn verbs() -> Vec<String> {
    cli::command()
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .map(|verb| verb.get_name().to_owned())
        .collect()
}

/// As docker starts a plugin.
fn as_plugin(env: &TestEnv, spelling: Option<&str>, args: &[&str]) -> Outcome {
    let mut command = env.command(Path::new(BINARY));
    command.args(args);
    if let Some(spelling) = spelling {
        command.env("CHARON_DKG_SPELLING", spelling);
    }
    env.outcome(command)
}

#[test]
fn help_of_the_program() {
    let env = TestEnv::new();
    let help = env.run(&["--help"]).exits(0);
    assert_eq!(
        env.run(&["-h"]).exits(0).stdout,
        help.stdout,
        "there is one help"
    );
    for kind in Kind::ALL {
        let line = format!("  {:<4} {}\n", kind.exit_code(), kind.meaning());
        assert!(help.stdout.contains(&line), "{help}");
    }
    snapshot!("help", help);
}

#[test]
fn the_bare_command_and_the_word_help_show_the_help() {
    let env = TestEnv::new();
    let help = env.run(&["--help"]).exits(0);
    for args in [&[][..], &["help"]] {
        assert_eq!(env.run(args).exits(0).stdout, help.stdout, "{args:?}");
    }
    let version = env.run(&["--version"]).exits(0);
    assert_eq!(env.run(&["version"]).exits(0).stdout, version.stdout);
    let of_run = env.run(&["run", "--help"]).exits(0);
    assert_eq!(env.run(&["help", "run"]).exits(0).stdout, of_run.stdout);
}

#[test]
fn help_of_every_verb() {
    let env = TestEnv::new();
    for verb in verbs() {
        let help = env.run(&[&verb, "--help"]).exits(0);
        assert_eq!(help.stderr, "");
        // What every verb takes is shown once, in the help of the program.
        let own = help.stdout.split("Common options:").next().unwrap();
        snapshot!(format!("help_{verb}"), own);
    }
}

#[test]
fn every_verb_has_an_example_that_can_be_typed() {
    let env = TestEnv::new();
    for verb in verbs() {
        let help = env.run(&[&verb, "--help"]).exits(0).stdout;
        let examples = help
            .split("Example")
            .nth(1)
            .unwrap_or_else(|| panic!("{verb}"))
            .replace("\\\n", "");
        let mut typed = 0;
        for line in examples
            .lines()
            .filter_map(|line| line.strip_prefix("  docker charon-dkg "))
        {
            let words = shlex::split(line).unwrap();
            assert_eq!(words[0], verb);
            let argv = ["charon-dkg".to_owned()].into_iter().chain(words);
            let parsed = cli::Invocation::from_args(argv.map(Into::into).collect(), None);
            assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
            typed += 1;
        }
        assert!(typed > 0, "{verb}");
    }
}

/// A file of the checkout.
fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// What is in backticks in the first column of the page's tables, each with the second column.
fn rows(page: &str) -> Vec<(Vec<String>, String)> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .filter_map(|row| row.split_once(" | "))
        .map(|(first, second)| {
            let marked = first.split('`').skip(1).step_by(2);
            (marked.map(str::to_owned).collect(), second.to_owned())
        })
        .collect()
}

#[test]
fn the_tables_of_the_docs_are_what_the_program_has() {
    let readme = page("README.md");
    let commands = readme.split("## Commands").nth(1).unwrap();
    let mut named: Vec<String> = rows(commands)
        .into_iter()
        .filter_map(|(marked, _)| marked.first()?.split(' ').next().map(str::to_owned))
        .collect();
    let mut verbs = verbs();
    named.sort();
    verbs.sort();
    assert_eq!(named, verbs);

    let scripts = page("docs/scripts.md");
    assert!(scripts.contains("| 0 | done |"));
    for kind in Kind::ALL {
        let row = format!("| {} | {} |", kind.exit_code(), kind.meaning());
        assert!(scripts.contains(&row), "no {row} in docs/scripts.md");
    }
    let env = TestEnv::ready();
    let refused: Vec<String> = rows(scripts.split("## Options of charon").nth(1).unwrap())
        .into_iter()
        .flat_map(|(marked, _)| marked)
        .filter(|flag| flag.starts_with("--") && flag.len() > 2)
        .collect();
    assert!(refused.len() >= 8, "{refused:?}");
    for flag in refused {
        let outcome = env.run(&["plan", "--", &format!("{flag}=x")]).exits(3);
        let finding = format!("FAIL [charon-flag-refused] {flag}\n");
        assert!(outcome.stderr.contains(&finding), "{outcome}");
    }

    let rehearsal = page("docs/rehearsal.md");
    let help = env.run(&["rehearse", "--help"]).exits(0).stdout;
    let scenarios = help.split("--scenario").nth(1).unwrap();
    let scenarios: Vec<&str> = scenarios
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- ")?.split_once(':'))
        .map(|(name, _)| name)
        .filter(|name| *name != "all")
        .collect();
    let mut told: Vec<String> = rows(&rehearsal)
        .into_iter()
        .flat_map(|(it, _)| it)
        .collect();
    told.retain(|name| scenarios.contains(&name.as_str()));
    assert_eq!(told.len(), scenarios.len(), "{told:?} of {scenarios:?}");
}

/// `export $(x) && y` goes on where x failed; and tests bring nothing for Python into the machine.
#[test]
fn commands_of_the_docs_fail_where_a_part_fails() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap();
    let mut files: Vec<std::path::PathBuf> = docs.map(|it| it.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "md"));
    assert!(files.len() > 10);
    let beside = ["README.md", "CONTRIBUTING.md", "tests/all.sh", ".ci/run"];
    files.extend(beside.map(|name| root.join(name)));
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for hides in ["export $(", "export \"$(", "eval $(", "eval \"$("] {
            assert!(!text.contains(hides), "{}: {hides}", file.display());
        }
    }
    let all = page("tests/all.sh");
    assert!(all.contains("set -euo pipefail"));
    let packages = all.split("packages=(").nth(1).unwrap();
    let packages = packages.split("\n)").next().unwrap();
    assert!(packages.contains("docker.io"));
    for it in ["python", "pip", "compose"] {
        assert!(!packages.contains(it), "{packages}");
    }
    assert!(!page("tests/composes.sh").contains("apt-get install"));
}

/// Everything behind which the program writes the name of a finding.
const BEFORE_A_NAME: [&str; 11] = [
    "check:",
    "const CHECK: &str =",
    "fail(",
    "note(",
    "problem(",
    "about(",
    "said(",
    "could_not_tell(",
    "is_ceremony {",
    "you(",
    "coordinator(",
];

/// The names of findings in a source file, without its tests.
fn names_of_findings(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let is_name = |text: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !text.is_empty() && text.chars().all(plain)
    };
    let quotes: Vec<usize> = source.match_indices('"').map(|(at, _)| at).collect();
    let names = quotes.windows(2).filter_map(|pair| {
        let (before, name) = (source[..pair[0]].trim_end(), &source[pair[0] + 1..pair[1]]);
        let stands = BEFORE_A_NAME.iter().any(|it| before.ends_with(it))
            || (before.ends_with("=>")
                && ["receipt-", "ready-", "stopped-", "edit-"]
                    .iter()
                    .any(|it| name.starts_with(it)));
        (stands && is_name(name)).then(|| name.to_owned())
    });
    names.collect()
}

fn sources(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") && !path.ends_with("simulator") {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_finding_has_its_place_in_the_docs() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut names: Vec<String> = files
        .iter()
        .flat_map(|file| names_of_findings(&std::fs::read_to_string(file).unwrap()))
        .collect();
    let rows_of = |name: &str| rows(&page(name)).into_iter().flat_map(|(marked, _)| marked);
    let mut told: Vec<String> = rows_of("docs/findings.md").collect();
    told.sort();
    // These pages have the names of what they are about.
    let checks: Vec<String> = rows_of("docs/verify-checks.md")
        .chain(rows_of("docs/deposits.md"))
        .collect();
    names.retain(|name| told.contains(name) || !checks.contains(name));
    names.sort();
    names.dedup();
    assert!(names.len() > 100, "{names:?}");
    assert_eq!(told, names, "docs/findings.md has a row for each finding");

    // Whatever another test shows is one of them.
    for entry in
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots"))
            .unwrap()
    {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for weight in ["FAIL [", "COULD NOT TELL [", "note ["] {
            for (_, rest) in text.lines().filter_map(|line| line.split_once(weight)) {
                let name = rest.split(']').next().unwrap().to_owned();
                assert!(names.contains(&name) || checks.contains(&name), "{name}");
            }
        }
    }
}

#[test]
fn wrong_command_lines() {
    let env = TestEnv::new();
    let before = env.tree();
    for (name, args) in [
        ("usage_unknown_verb", &["frobnicate"][..]),
        ("usage_unknown_flag", &["run", "--no-verify"]),
        ("usage_lock_and_directory", &["verify", "x", "--lock", "y"]),
        ("usage_deposit_without_lock", &["verify", "--deposit", "y"]),
        ("usage_bad_format", &["status", "--format", "yaml"]),
    ] {
        let outcome = env.run(args).exits(2);
        assert_eq!(outcome.stdout, "", "{name}");
        snapshot!(name, outcome);
    }
    assert_eq!(env.tree(), before);
}

#[test]
fn a_wrong_command_line_is_a_document_for_programs_too() {
    let env = TestEnv::new();
    for args in [
        &["run", "--format", "json", "--frobnicate"][..],
        &["--format=json"],
        &["verify", "--deposit", "y", "--format=json"],
    ] {
        let document = env.run(args).exits(2).json();
        assert_eq!(document["schema"], "charon-dkg.failure/1");
        assert_eq!(document["kind"], "usage");
        assert_eq!(document["exit_code"], 2);
        assert_ne!(document["message"], "");
    }
}

/// Holds a document to what `docs/` says of it.
#[track_caller]
fn has_its_schema(name: &str, document: &serde_json::Value) {
    let schema = page(&format!("docs/{name}.schema.json"));
    let schema = serde_json::from_str(&schema).unwrap();
    let problems = schema::problems(&schema, &schema, document, name);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn an_open_gate_is_a_document_and_every_stable_document_has_a_schema() {
    let env = TestEnv::finished(CEREMONY, 0);
    let asked = ["gate", "check", "--require", "verified", "--format", "json"];
    has_its_schema("gate-check", &env.run(&asked).exits(0).json());
    let asked = ["gate", "check", "--format", "json"];
    has_its_schema("failure", &env.run(&asked).exits(3).json());

    let scripts = page("docs/scripts.md");
    let stable = scripts.split("These documents are stable").nth(1).unwrap();
    let stable = stable.split("The others have").next().unwrap();
    let mut count = 0;
    for row in stable
        .lines()
        .filter(|line| line.starts_with("| `charon-dkg."))
    {
        let name = row
            .trim_start_matches("| `charon-dkg.")
            .split('/')
            .next()
            .unwrap();
        assert!(row.contains(&format!("({name}.schema.json)")), "{row}");
        assert!(
            page(&format!("docs/{name}.schema.json")).contains(&format!("charon-dkg.{name}/1"))
        );
        count += 1;
    }
    assert!(count >= 8);
}

/// A script that asked for JSON gets one document, whatever happens.
#[test]
fn every_verb_answers_programs_with_one_document() {
    for verb in verbs().iter().filter(|verb| *verb != "rehearse") {
        for env in [
            TestEnv::new(),
            TestEnv::ready(),
            TestEnv::finished(CEREMONY, 0),
        ] {
            let outcome = env.run(&[verb, "--format", "json"]);
            let schema = outcome.json()["schema"].as_str().unwrap().to_owned();
            let expected = match (outcome.code, &**verb) {
                (Some(0), _) | (Some(4), "verify" | "confirm") if !schema.contains("failure") => {
                    format!("charon-dkg.{verb}/1")
                }
                _ => "charon-dkg.failure/1".to_owned(),
            };
            assert_eq!(schema, expected, "{outcome}");
            if schema == "charon-dkg.failure/1" {
                has_its_schema("failure", &outcome.json());
            }
        }
    }
}

#[test]
fn progress_for_programs_is_one_object_a_line() {
    let env = TestEnv::ready();
    for args in [
        &["plan", "--progress", "json"][..],
        &["run", "--progress", "json"],
        &["enr", "show", "--progress", "json", "--data-dir", "nowhere"],
    ] {
        let outcome = env.run(args).exits(3);
        assert_ne!(outcome.stderr, "");
        for line in outcome.stderr.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(
                event["event"].is_string() && event["text"].is_string(),
                "{line}"
            );
        }
    }
}

#[test]
fn version_in_every_spelling() {
    let env = TestEnv::new();
    let version = format!("charon-dkg {}\n", env!("CARGO_PKG_VERSION"));
    for args in [
        &["--version"][..],
        &["-V"],
        &["charondkg", "--version"],
        &["--context", "x", "charondkg", "-V"],
    ] {
        assert_eq!(env.run(args).exits(0).stdout, version);
    }
}

/// An image is made from them alone, and they run on whatever distribution.
#[cfg(target_os = "linux")]
#[test]
fn both_programs_need_no_library_of_the_machine() {
    let simulator = Path::new(BINARY).with_file_name("charon-dkg-simulator");
    for program in [Path::new(BINARY), &simulator] {
        let said = std::process::Command::new("ldd").arg(program).output();
        let said = said.unwrap();
        let text = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
        assert!(
            text.contains("statically linked") || text.contains("not a dynamic executable"),
            "{text}"
        );
    }
}

#[test]
fn usage_repeats_the_spelling_that_was_typed() {
    let env = TestEnv::new();
    let usage = |outcome: Outcome| {
        let line = outcome
            .stdout
            .lines()
            .find(|line| line.starts_with("Usage:"));
        line.unwrap().to_owned()
    };
    let forwarded = Some("docker charon-dkg");
    for (outcome, shown) in [
        (env.run(&["run", "--help"]), "Usage: charon-dkg run"),
        (
            as_plugin(&env, None, &["charondkg", "run", "--help"]),
            "Usage: docker charondkg run",
        ),
        (
            as_plugin(&env, forwarded, &["-D", "charondkg", "run", "--help"]),
            "Usage: docker charon-dkg run",
        ),
        // How docker hands on `docker help charondkg run`.
        (
            as_plugin(&env, None, &["help", "charondkg", "run"]),
            "Usage: docker charondkg run",
        ),
        // Inherited by a child that calls us by our own name.
        (
            as_plugin(&env, forwarded, &["run", "--help"]),
            "Usage: charon-dkg run",
        ),
    ] {
        assert!(usage(outcome.exits(0)).starts_with(shown));
    }
}

/// `docker --host X charondkg plan` asks the engine at X.
#[test]
fn dockers_own_flags_choose_the_engine() {
    let env = TestEnv::ready();
    for args in [
        &["--host", "tcp://192.0.2.1:1", "charondkg", "plan"][..],
        &["-H=tcp://192.0.2.1:1", "charondkg", "plan"],
        &["charondkg", "plan", "--host", "tcp://192.0.2.1:1"],
        &[
            "--host",
            "unix:///x",
            "charondkg",
            "plan",
            "--host",
            "tcp://192.0.2.1:1",
        ],
    ] {
        let outcome = env.run(args).exits(3);
        assert_eq!(outcome.failed(), ["engine-remote"], "{outcome}");
    }
}

#[test]
fn completion_answers_docker_without_a_word_on_stderr() {
    let env = TestEnv::new();
    let outcome = env.run(&["__complete", "charondkg", "ar"]).exits(0);
    assert_eq!(
        outcome.stdout,
        "archive\tMove the outputs of an old or failed ceremony aside; never the ENR key\n:4\n"
    );
    let outcome = env
        .run(&["__completeNoDesc", "charondkg", "verify", "--lock", ""])
        .exits(0);
    assert_eq!((&*outcome.stdout, &*outcome.stderr), (":0\n", ""));
}

/// docker itself asks, where one of this machine hands such questions on (v23 and later).
#[test]
fn completion_and_help_reach_us_by_way_of_docker() {
    let env = TestEnv::new();
    let plugins = env.path("home/.docker/cli-plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    std::os::unix::fs::symlink(BINARY, plugins.join("docker-charondkg")).unwrap();
    let docker = |args: &[&str]| {
        let mut command = env.command(Path::new("docker"));
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .args(args);
        env.outcome(command).exits(0)
    };
    let help = docker(&["help", "charondkg", "archive"]);
    assert!(
        help.stdout.contains("Usage: docker charondkg archive"),
        "{help}"
    );
    let version = docker(&["--version"]).stdout;
    let major = version
        .strip_prefix("Docker version ")
        .and_then(|rest| rest.split('.').next());
    if major.unwrap().parse::<u32>().unwrap() >= 23 {
        let words = docker(&["__complete", "charondkg", "sta"]);
        assert!(
            words.stdout.starts_with("status\tShow the state"),
            "{words}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let env = TestEnv::finished(CEREMONY, 0);
    let lock = fixture(CEREMONY, 0).join(LOCK).display().to_string();
    for args in [
        &["--help"][..],
        &["pins"],
        &["status", "--format", "json"],
        &["verify", "--format", "json"],
        &["verify", "--lock", &lock],
        &["__complete", "charondkg", ""],
        &["docker-cli-plugin-metadata"],
    ] {
        let mut child = env
            .command(Path::new(BINARY))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        let code = output.status.code();
        // docker, who asks for metadata, reads it to the end.
        assert!(
            code == Some(0) || args[0].contains("metadata"),
            "{args:?}: {code:?}"
        );
    }
}

#[test]
fn a_full_disk_under_the_result_is_one() {
    let env = TestEnv::new();
    for args in [
        &["pins"][..],
        &["status", "--format", "json"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
    ] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = env
            .command(Path::new(BINARY))
            .args(args)
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("cannot write the result"), "{stderr}");
    }
}

/// Nothing but the words and the streams of a terminal: no colour was asked away.
#[test]
fn streams_that_are_no_terminal_get_no_colours() {
    let env = TestEnv::ready();
    for args in [&["plan"][..], &["--help"], &["pins"], &["frobnicate"]] {
        let mut command: Command = env.command(Path::new(BINARY));
        command
            .args(args)
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color");
        let outcome = env.outcome(command);
        assert!(!outcome.to_string().contains('\u{1b}'), "{outcome}");
    }
}

#[test]
fn dockers_own_flags_choose_the_engine_of_a_plugin() {
    let env = TestEnv::ready();
    let config = tempfile::tempdir().unwrap();
    // The directory of the context "far" (docker/cli `cli/context/store/metadatastore.go`): SHA-256 of its name.
    let name = hex::encode(Sha256::digest("far"));
    let meta = config.path().join("contexts/meta").join(name);
    std::fs::create_dir_all(&meta).unwrap();
    std::fs::write(
        meta.join("meta.json"),
        r#"{"Name": "far", "Endpoints": {"docker": {"Host": "unix:///nowhere/far.sock"}}}"#,
    )
    .unwrap();
    std::fs::write(
        config.path().join("config.json"),
        r#"{"currentContext": "far"}"#,
    )
    .unwrap();
    let dir = config.path().to_str().unwrap();
    for flags in [
        &["--config", dir][..],
        &["--debug", "--config", "/nowhere", "--config", dir],
        &["--tlsverify", "--config", dir],
    ] {
        let args = [flags, &["charondkg", "plan"]].concat();
        let mut command = env.command(Path::new(BINARY));
        command.env_remove("DOCKER_HOST").args(args);
        let planned = env.outcome(command).exits(3);
        assert!(planned.stderr.contains("/nowhere/far.sock"), "{planned}");
        let advice = format!("docker --config {dir} charondkg");
        assert!(planned.stderr.contains(&advice), "{planned}");
    }
}
