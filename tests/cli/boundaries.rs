//! Rules that no compiler holds: the pure modules touch nothing, one place prints, and no advice
//! names a command that does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use charon_dkg::cli;

/// The crates that have no effects, values in, values out, and the modules of the tool that its map says have none.
fn pure_modules() -> Vec<PathBuf> {
    let map = fs::read_to_string(source().join("lib.rs")).unwrap();
    let rows = map
        .lines()
        .filter_map(|line| line.strip_prefix("//! | pure | "));
    let named: Vec<&str> = rows
        .flat_map(|row| row.split('`').skip(1).step_by(2))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    let mut pure: Vec<PathBuf> = named.iter().map(|name| source().join(name)).collect();
    for library in ["files", "proof", "log"].map(|name| crates().join(name)) {
        pure.extend(
            fs::read_dir(library)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| {
                    path.file_name().is_some_and(|name| name != "tests")
                        && (path.is_dir() || path.extension().is_some_and(|end| end == "rs"))
                }),
        );
    }
    pure
}

/// What touches the world: files, processes, the environment, the network, clocks, randomness and
/// the standard streams; and the modules that do.
const EFFECTS: [&str; 23] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::net",
    "std::os::unix",
    "std::thread",
    "std::io",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "ZonedDateTime::now",
    "getrandom",
    "tokio",
    "bollard",
    "reqwest",
    "rustix",
    "tempfile",
    "indicatif",
    "print!",
    "println!",
    "dbg!",
    "crate::machine",
    "crate::docker",
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn source() -> PathBuf {
    crates().join("tool")
}

/// Every Rust file there with its text, comments and tests cut off.
fn code(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        if path.ends_with("tests") {
            continue;
        }
        if path.is_dir() {
            pending.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("testing.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines: Vec<&str> = program
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            found.push((path, lines.join("\n")));
        }
    }
    assert!(!found.is_empty(), "{}", root.display());
    found
}

#[test]
fn pure_modules_touch_nothing() {
    let mut breaches: Vec<String> = Vec::new();
    for module in pure_modules() {
        for (path, text) in code(&module) {
            for effect in EFFECTS {
                // The sources say `std::{fs, io}` too.
                let grouped = effect.strip_prefix("std::").is_some_and(|name| {
                    text.split("use std::{").skip(1).any(|rest| {
                        let group = rest.split("};").next().unwrap_or_default();
                        group
                            .split([',', '{', '}'])
                            .any(|item| item.trim().starts_with(name))
                    })
                });
                if text.contains(effect) || grouped {
                    breaches.push(format!("{}: {effect}", path.display()));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

/// The rule is a rule only if the test can see it broken.
#[test]
fn modules_with_effects_would_be_noticed() {
    let text: String = code(&source().join("machine"))
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    for effect in ["std::fs", "std::env", "Timestamp::now", "rustix"] {
        assert!(text.contains(effect), "{effect}");
    }
}

/// A file's place in its crate, as `use` spells it: `ceremony`, `plan`.
type ModulePath = Vec<String>;

/// Which files of the crate each of its files imports from; what a folder's own file re-exports counts as that file.
fn imports(root: &Path) -> BTreeMap<ModulePath, BTreeSet<ModulePath>> {
    let files: BTreeMap<ModulePath, (PathBuf, String)> = code(root)
        .into_iter()
        .map(|(path, text)| {
            let place = path.strip_prefix(root).unwrap().with_extension("");
            let mut place: ModulePath = place
                .iter()
                .map(|name| name.to_str().unwrap().to_owned())
                .collect();
            if matches!(place.last().map(String::as_str), Some("mod" | "lib")) {
                place.pop();
            }
            (place, (path, text))
        })
        .collect();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut imports = BTreeMap::new();
    for (place, (_, text)) in &files {
        let mut found: BTreeSet<ModulePath> = BTreeSet::new();
        for (start, _) in text
            .match_indices("crate::")
            .chain(text.match_indices("super::"))
        {
            if text[..start].ends_with(|c| word(c) || c == ':') {
                continue;
            }
            // Up to the end of the statement, or of the path if it stands in an expression.
            let path = text[start..]
                .split([';', '(', ' ', '<', '>', ')'])
                .next()
                .unwrap();
            let path = if text[..start].ends_with("use ") || text[..start].ends_with("use pub ") {
                text[start..].split(';').next().unwrap()
            } else {
                path
            };
            for path in spelled_out(path) {
                let mut base: ModulePath = Vec::new();
                for (position, name) in path.iter().enumerate() {
                    match name.as_str() {
                        "crate" => base.clear(),
                        "super" if position == 0 => {
                            base = place[..place.len().saturating_sub(1)].to_vec();
                        }
                        "super" => drop(base.pop()),
                        "self" => {}
                        name => base.push(name.to_owned()),
                    }
                }
                while !base.is_empty() && !files.contains_key(&base) {
                    base.pop();
                }
                if base != *place && files.contains_key(&base) && !base.is_empty() {
                    found.insert(base);
                }
            }
        }
        imports.insert(place.clone(), found);
    }
    imports
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn spelled_out(tree: &str) -> Vec<ModulePath> {
    let names = |path: &str| -> ModulePath {
        path.split("::")
            .map(|name| name.split(" as ").next().unwrap().trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect()
    };
    let Some((head, rest)) = tree.split_once('{') else {
        return vec![names(tree)];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let head = names(head);
    parts
        .iter()
        .filter(|part| !part.trim().is_empty())
        .flat_map(|part| spelled_out(part.trim()))
        .map(|tail| head.iter().cloned().chain(tail).collect())
        .collect()
}

/// The files that are reached from themselves.
fn circles(imports: &BTreeMap<ModulePath, BTreeSet<ModulePath>>) -> BTreeSet<String> {
    let reached = |from: &ModulePath| {
        let mut reached: BTreeSet<&ModulePath> = BTreeSet::new();
        let mut pending: Vec<&ModulePath> = imports[from].iter().collect();
        while let Some(next) = pending.pop() {
            if reached.insert(next) {
                pending.extend(&imports[next]);
            }
        }
        reached
    };
    imports
        .keys()
        .filter(|place| reached(place).contains(place))
        .map(|place| place.join("::"))
        .collect()
}

/// A definition, a lock and their hashes need each other: the lock holds the definition, and the hash is of both.
const MAY_BE_A_CIRCLE: [&str; 4] = [
    "cluster::cluster_lock",
    "cluster::definition",
    "cluster::deposit_data",
    "cluster::hash",
];

#[test]
fn no_file_imports_itself_over_others() {
    let mut found: BTreeSet<String> = BTreeSet::new();
    for root in ["tool", "files", "proof", "log", "simulator"] {
        found.extend(circles(&imports(&crates().join(root))));
    }
    for name in MAY_BE_A_CIRCLE {
        assert!(found.remove(name), "{name} is in no circle any more");
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// What makes the decisions knows nothing of the machine, and the machine nothing of them.
#[test]
fn the_machine_decides_nothing() {
    for room in ["machine", "docker", "promote"] {
        for (path, text) in code(&source().join(room)) {
            for call in ["charon_proof::verify::verify(", "ceremony::plan::make("] {
                assert!(!text.contains(call), "{}: {call}", path.display());
            }
        }
    }
}

#[test]
fn one_place_prints() {
    for (path, text) in code(&crates()) {
        let relative = path.strip_prefix(crates()).unwrap();
        // The answers to docker and to Compose and the simulated charon have streams of their own; a terminal is
        // asked through them how wide it is.
        let may = [
            "tool/machine/terminal.rs",
            "tool/machine/unix.rs",
            "tool/machine/windows.rs",
            "tool/main.rs",
            "tool/gate/answer_compose.rs",
            "simulator",
        ]
        .iter()
        .any(|place| relative.starts_with(place));
        for stream in ["io::stdout()", "io::stderr()", "println!", "eprintln!"] {
            assert!(
                may || !text.contains(stream),
                "{}: {stream}",
                path.display()
            );
        }
    }
}

/// Text in backticks that begins with our name is something to type, and must be typeable.
#[test]
fn advice_names_only_commands_that_exist() {
    let mut root = cli::command();
    root.build();
    let mut wrong = Vec::new();
    for (path, text) in code(&crates()) {
        for (position, _) in text.match_indices("`charon-dkg ") {
            let typed = text[position + 1..].split('`').next().unwrap();
            // A format string's placeholder stands for something that its author looked after.
            let words = typed
                .split_whitespace()
                .skip(1)
                .filter(|word| !word.contains('{'));
            let mut at = &root;
            for word in words {
                if let Some(flag) = word.strip_prefix("--") {
                    let known = at.get_arguments().any(|arg| arg.get_long() == Some(flag));
                    if !known {
                        wrong.push(format!("{}: {typed}", path.display()));
                    }
                } else if let Some(verb) = at.find_subcommand(word) {
                    at = verb;
                } else if word.chars().all(char::is_lowercase) {
                    wrong.push(format!("{}: {typed}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// "`run`" alone is nothing to type; with our name before it, it is shown as it is typed here.
#[test]
fn advice_names_commands_with_the_name_of_the_program() {
    let root = cli::command();
    let verbs: Vec<&str> = root.get_subcommands().map(|verb| verb.get_name()).collect();
    let mut bare = Vec::new();
    for (path, text) in code(&crates()) {
        for line in text.lines() {
            for quoted in line.split('`').skip(1).step_by(2) {
                if verbs.contains(&quoted.split(' ').next().unwrap_or_default()) {
                    bare.push(format!("{}: {quoted}", path.display()));
                }
            }
        }
    }
    assert!(bare.is_empty(), "{bare:#?}");
}

/// Each snapshot belongs to a test; one that is left over proves nothing.
#[test]
fn every_snapshot_is_named_by_a_test() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let tests: String = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for entry in fs::read_dir(dir.join("snapshots")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.strip_suffix(".snap").expect("no unreviewed snapshot");
        let is_help = name.strip_prefix("help_").is_some_and(|verb| {
            cli::command()
                .find_subcommand(verb)
                .is_some_and(|verb| !verb.is_hide_set())
        });
        assert!(is_help || tests.contains(&format!("\"{name}\"")), "{name}");
    }
}
