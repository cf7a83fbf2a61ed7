//! Input that nobody sane wrote: a clear error, the right exit code, little memory, and nothing changed.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{BINARY, CEREMONY, DEFINITION, KEY, LOCK, Outcome, TestEnv, fixture};

/// More than any refusal may need: a cluster lock may have 64 MiB, and a million JSON values.
const MEBIBYTES: u64 = 400;

/// Runs with a limit on the memory that can be written to, which the kernel enforces.
#[track_caller]
fn bounded(env: &TestEnv, args: &[&str]) -> Outcome {
    bounded_by(MEBIBYTES, env, args)
}

#[track_caller]
fn bounded_by(mebibytes: u64, env: &TestEnv, args: &[&str]) -> Outcome {
    let mut command = env.command(Path::new("/usr/bin/prlimit"));
    command
        .arg(format!("--data={}", mebibytes << 20))
        .arg("--")
        .arg(BINARY)
        .args(args);
    let outcome = env.outcome(command);
    assert!(outcome.code.is_some(), "killed: {outcome}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome}");
    // Where it took long, lines of progress come before.
    let told = ["FAIL ", "COULD NOT TELL ", "error: "];
    assert!(
        outcome
            .stderr
            .lines()
            .any(|line| told.into_iter().any(|word| line.starts_with(word))),
        "{outcome}"
    );
    outcome
}

fn definition() -> String {
    fs::read_to_string(fixture(CEREMONY, 0).join(DEFINITION)).unwrap()
}

fn lock() -> String {
    fs::read_to_string(fixture(CEREMONY, 0).join(LOCK)).unwrap()
}

/// The text with the array of this name filled with copies of one element.
fn filled(text: &str, array: &str, element: &str, count: usize) -> String {
    let begin = text.find(&format!("\"{array}\": [")).unwrap() + array.len() + 5;
    let mut depth = 1;
    let end = text[begin..]
        .find(|c| {
            depth += match c {
                '[' => 1,
                ']' => -1,
                _ => 0,
            };
            depth == 0
        })
        .unwrap();
    let elements = vec![element; count].join(",");
    format!("{}{elements}{}", &text[..begin], &text[begin + end..])
}

/// Files of the wrong content, by what is wrong with them.
fn malformed(good: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let deep = |open: &str, close: &str| bytes(&(open.repeat(100_000) + &close.repeat(100_000)));
    let mut not_utf8 = bytes(good);
    let at = good.find("fixture").unwrap();
    not_utf8[at] = 0xff;
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        ("empty", Vec::new()),
        ("truncated", bytes(&good[..good.len() - 3])),
        ("cut in half", bytes(&good[..good.len() / 2])),
        ("twice", bytes(&good.repeat(2))),
        ("byte order mark", bytes(&format!("\u{feff}{good}"))),
        ("not UTF-8", not_utf8),
        ("UTF-16", utf16),
        ("NUL bytes", vec![0; 4096]),
        ("no JSON", bytes("version: v1.10.0\n")),
        ("an array", bytes("[]")),
        ("null", bytes("null")),
        ("a number beyond all numbers", bytes("1e999999")),
        ("an empty object", bytes("{}")),
        (
            "the wrong types",
            bytes(&good.replace(r#""name": "#, r#""name": 3, "x": "#)),
        ),
        (
            "a lone surrogate",
            bytes(&good.replacen("fixture", "\\ud800", 1)),
        ),
        ("deep arrays", deep("[", "]")),
        (
            "deep objects",
            bytes(&(r#"{"a":"#.repeat(100_000) + "1" + &"}".repeat(100_000))),
        ),
        ("16 MiB of spaces", vec![b' '; 16 << 20]),
        ("16 MiB of zeros", vec![b'0'; 16 << 20]),
        (
            "16 MiB of one text",
            bytes(&format!("\"{}\"", "x".repeat((16 << 20) - 2))),
        ),
        (
            "a million operators",
            bytes(&filled(good, "operators", "{}", 1_000_000)),
        ),
        (
            "a million numbers",
            bytes(&filled(good, "operators", "0", 1_000_000)),
        ),
        (
            "more validators than there can be",
            bytes(&good.replace(
                r#""num_validators": 2"#,
                r#""num_validators": 18446744073709551615"#,
            )),
        ),
    ]
}

#[test]
fn definitions_that_are_none_are_refused() {
    for (case, bytes) in malformed(&definition()) {
        let env = TestEnv::with_key();
        env.put(DEFINITION, &bytes);
        let path = env.data(DEFINITION).display().to_string();
        let before = env.tree();
        let outcome = bounded(&env, &["verify", "--definition", &path]);
        assert_eq!(outcome.code, Some(4), "{case}: {outcome}");
        let outcome = bounded(&env, &["plan", "--no-backup"]);
        assert_eq!(outcome.code, Some(3), "{case}: {outcome}");
        assert_eq!(
            outcome.failed(),
            ["definition-unusable", "engine-unreachable"],
            "{case}"
        );
        // An error is to be read: it does not quote what it found at length.
        let longest = outcome.stderr.lines().map(str::len).max();
        assert!(longest < Some(500), "{case}: {outcome}");
        assert_eq!(env.tree(), before, "{case}");
    }
}

/// Editors of some systems put it there, and nobody sees it.
#[test]
fn a_byte_order_mark_is_called_by_its_name() {
    let env = TestEnv::with_key();
    env.put(DEFINITION, format!("\u{feff}{}", definition()).as_bytes());
    let path = env.data(DEFINITION).display().to_string();
    for args in [&["verify", "--definition", &path][..], &["plan"]] {
        let outcome = bounded(&env, args);
        assert!(
            outcome
                .stderr
                .contains("begins with a byte order mark; save it as UTF-8 without one"),
            "{outcome}"
        );
    }
}

/// A gigabyte of spaces is refused by its length alone.
#[test]
fn a_gigabyte_of_spaces_takes_no_memory() {
    let env = TestEnv::new();
    let path = env.project().join("lock.json");
    let mut file = fs::File::create(&path).unwrap();
    let block = vec![b' '; 1 << 20];
    for _ in 0..1024 {
        file.write_all(&block).unwrap();
    }
    drop(file);
    for args in [
        &["verify", "--lock", "lock.json"][..],
        &["verify", "--definition", "lock.json"],
        &["verify", "--lock", "lock.json", "--deposit", "lock.json"],
    ] {
        let outcome = bounded_by(64, &env, args);
        assert_eq!(outcome.code, Some(4), "{outcome}");
        assert!(
            outcome.stderr.contains("1073741824 bytes long"),
            "{outcome}"
        );
    }
}

#[test]
fn line_ends_of_another_system_change_nothing() {
    let env = TestEnv::ready();
    let text = fs::read_to_string(env.data(DEFINITION)).unwrap();
    env.put(DEFINITION, text.replace('\n', "\r\n").as_bytes());
    let path = env.data(DEFINITION).display().to_string();
    env.run(&["verify", "--definition", &path]).exits(0);
}

#[test]
fn locks_that_are_none_do_not_pass() {
    let good = lock();
    let mut cases = malformed(&good);
    let many =
        |array: &str, element: &str, count| filled(&good, array, element, count).into_bytes();
    cases.extend([
        ("64 MiB of spaces", vec![b' '; 64 << 20]),
        (
            "a million validators",
            many("distributed_validators", "{}", 1_000_000),
        ),
        (
            "ten million shares",
            many("public_shares", "\"0x00\"", 5_000_000),
        ),
    ]);
    let env = TestEnv::new();
    let path = env.project().join("lock.json");
    for (case, bytes) in cases {
        fs::write(&path, &bytes).unwrap();
        let outcome = bounded(&env, &["verify", "--lock", "lock.json"]);
        assert_eq!(outcome.code, Some(4), "{case}: {outcome}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{case}");
    }
}

#[test]
fn deposits_that_are_none_do_not_pass() {
    let env = TestEnv::new();
    fs::write(env.project().join(LOCK), lock()).unwrap();
    let good = fs::read_to_string(fixture(CEREMONY, 0).join("deposit-data.json")).unwrap();
    let half = good[..good.len() / 2].to_owned();
    let many = format!("[{}]", vec!["{}"; 1_000_000].join(","));
    for text in [
        "",
        "{}",
        "[]",
        "null",
        "[[[[",
        &half,
        &many,
        &"[".repeat(100_000),
    ] {
        fs::write(env.project().join("deposit-data.json"), text).unwrap();
        let args = ["verify", "--lock", LOCK, "--deposit", "deposit-data.json"];
        let outcome = bounded(&env, &args);
        assert_eq!(outcome.code, Some(4), "{outcome}");
    }
}

/// Things that have a name like a file.
fn not_files(dir: &Path) -> Vec<PathBuf> {
    let path = |name: &str| dir.join(name);
    rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), 0o600.into()).unwrap();
    fs::create_dir(path("directory")).unwrap();
    symlink("/dev/zero", path("device")).unwrap();
    symlink("loop", path("loop")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    fs::File::create(path("huge"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    [
        "fifo",
        "directory",
        "device",
        "loop",
        "dangling",
        "huge",
        "socket",
    ]
    .map(path)
    .to_vec()
}

/// A FIFO that nobody writes to must not be waited for, and a device never ends.
#[test]
fn what_is_no_file_is_refused_before_it_is_read() {
    let env = TestEnv::with_key();
    let elsewhere = env.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let good = fixture(CEREMONY, 0).join(LOCK).display().to_string();
    for path in not_files(&elsewhere) {
        let name = path.display().to_string();
        let before = env.tree();
        for (code, args) in [
            (4, &["verify", "--definition", &name][..]),
            (4, &["verify", "--lock", &name]),
            (4, &["verify", "--lock", &good, "--deposit", &name]),
            (3, &["plan", "--definition", &name]),
        ] {
            let outcome = bounded(&env, args);
            assert_eq!(outcome.code, Some(code), "{outcome}");
            let shown = name.replace(&env.path("").display().to_string(), "[ROOT]/");
            assert!(outcome.stderr.contains(&shown), "{outcome}");
        }
        assert_eq!(env.tree(), before);
    }
}

/// The same things in the data directory, in the place of each file that is read there.
#[test]
fn what_is_no_file_in_the_data_directory_is_refused() {
    for name in [
        KEY,
        DEFINITION,
        LOCK,
        "deposit-data.json",
        "validator_keys/keystore-0.json",
    ] {
        for (position, what) in [
            "fifo",
            "directory",
            "device",
            "loop",
            "dangling",
            "huge",
            "socket",
        ]
        .into_iter()
        .enumerate()
        {
            let env = TestEnv::finished(CEREMONY, 0);
            let elsewhere = env.path("elsewhere");
            fs::create_dir(&elsewhere).unwrap();
            let things = not_files(&elsewhere);
            fs::remove_file(env.data(name)).unwrap();
            fs::rename(&things[position], env.data(name)).unwrap();
            let before = env.tree();
            let outcome = bounded(&env, &["verify"]);
            assert_eq!(outcome.code, Some(4), "{name} is {what}: {outcome}");
            let outcome = bounded(&env, &["plan", "--no-backup"]);
            assert_eq!(outcome.code, Some(3), "{name} is {what}: {outcome}");
            env.run(&["status"]).exits(0);
            if name == KEY {
                let outcome = bounded(&env, &["enr"]);
                assert_eq!(outcome.code, Some(3), "{name} is {what}: {outcome}");
            }
            assert_eq!(env.tree(), before, "{name} is {what}");
        }
    }
}

/// Whoever sends a keystore does not decide how long this machine works.
#[test]
fn keystores_of_boundless_cost_are_not_opened() {
    let salt = "5a".repeat(32);
    let pbkdf2 = |c: u64, len: u64| {
        let params = json!({"dklen": len, "c": c, "prf": "hmac-sha256", "salt": salt});
        json!({"function": "pbkdf2", "params": params, "message": ""})
    };
    let scrypt = |n: u64, r: u64, p: u64| {
        let params = json!({"dklen": 32, "n": n, "r": r, "p": p, "salt": salt});
        json!({"function": "scrypt", "params": params, "message": ""})
    };
    for (check, kdf) in [
        ("keystore-cost", pbkdf2(1 << 31, 32)),
        ("keystore-cost", pbkdf2((1 << 31) - 1, 32)),
        ("file-format", pbkdf2(262_144, 2_000_000_000)),
        ("keystore-cost", scrypt(1 << 30, 8, 1)),
        // Blocks so large that it does not matter how few there are.
        ("keystore-cost", scrypt(2, 1 << 20, 4)),
        ("keystore-cost", scrypt(1 << 18, 8, 1_000_000)),
    ] {
        let env = TestEnv::finished(CEREMONY, 0);
        let name = "validator_keys/keystore-0.json";
        let mut keystore: Value =
            serde_json::from_slice(&fs::read(env.data(name)).unwrap()).unwrap();
        keystore["crypto"]["kdf"] = kdf;
        env.put(name, keystore.to_string().as_bytes());
        let outcome = bounded_by(64, &env, &["verify"]);
        assert_eq!(outcome.code, Some(4), "{outcome}");
        assert!(outcome.stderr.contains("keystore-0.json"), "{outcome}");
        assert!(outcome.stderr.contains(&format!("[{check}]")), "{outcome}");
    }
}

#[test]
fn a_crowd_of_files_is_listed_and_refused() {
    let env = TestEnv::finished(CEREMONY, 0);
    for number in 0..20_000 {
        fs::write(env.data(&format!("validator_keys/x-{number}")), "").unwrap();
    }
    let deep = env.data(&"d/".repeat(500));
    fs::create_dir_all(deep).unwrap();
    let outcome = bounded(&env, &["verify"]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr.len());
    let outcome = bounded(&env, &["plan"]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr.len());
}

/// Each may be there by itself, but together they are more than is read, or held in memory.
#[test]
fn files_that_are_too_long_together_are_not_read() {
    let env = TestEnv::finished(CEREMONY, 0);
    let used: u64 = fs::read_dir(env.data(""))
        .unwrap()
        .chain(fs::read_dir(env.data("validator_keys")).unwrap())
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum();
    // Sparse: they take no room on the disk.
    let put = |name: &str, len: u64| {
        let path = env.data(name);
        fs::File::create(&path).unwrap().set_len(len).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for amount in 2..9 {
        put(&format!("deposit-data-{amount}eth.json"), 64 << 20);
    }
    put("deposit-data-9eth.json", (64 << 20) - used + 1);
    let outcome = bounded_by(64, &env, &["verify"]);
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(
        outcome.stderr.contains("longer than 512 MiB together"),
        "{outcome}"
    );
    // One byte less, and they are read, one at a time, and refused for what is in them.
    put("deposit-data-9eth.json", (64 << 20) - used);
    let outcome = bounded_by(600, &env, &["verify"]);
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(
        outcome.stderr.contains("deposit-data-9eth.json"),
        "{outcome}"
    );
    assert!(!outcome.stderr.contains("together"), "{outcome}");
    // What is too long by itself is told so.
    put("deposit-data-9eth.json", 1 << 40);
    let outcome = bounded_by(600, &env, &["verify"]);
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(
        outcome.stderr.contains("1099511627776 bytes long"),
        "{outcome}"
    );
    assert!(
        outcome.stderr.contains("charon writes no such file"),
        "{outcome}"
    );
}

/// Names are bytes on Linux, and may hold anything but a slash.
#[test]
fn names_that_are_no_text_are_shown_and_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let env = TestEnv::finished(CEREMONY, 0);
    for name in [
        &b"\xff\xfe"[..],
        b"evil\x1b[2J\nFAIL [forged]",
        "\u{202e}gnp".as_bytes(),
    ] {
        fs::write(env.data("").join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
    }
    for (code, args) in [
        (0, &["verify"][..]),
        (3, &["plan"]),
        (3, &["archive"]),
        (0, &["archive", "--yes"]),
    ] {
        let outcome = env.run(args).exits(code);
        let text = outcome.to_string();
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{outcome}");
        assert!(
            !text.lines().any(|line| line.starts_with("FAIL [forged]")),
            "{outcome}"
        );
    }
}

/// What our own directory holds may have been changed by anybody who may write there.
#[test]
fn damaged_notes_of_our_own_are_no_reason_to_go_on() {
    for (name, bytes) in [
        ("definition.json", &b"{"[..]),
        (
            "definition.json",
            b"{\"source\":\"x\",\"sha256\":\"../../etc/passwd\"}",
        ),
        ("attempts/1/attempt.json", b"{}"),
        ("attempts/1/attempt.json", b"\xff"),
        ("journal.json", b"{"),
    ] {
        let env = TestEnv::ready();
        charon_dkg::machine::datadir::create_state_dir(&env.layout()).unwrap();
        fs::remove_file(env.data(DEFINITION)).unwrap();
        let path = env.state(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let before = fs::read(env.data(KEY)).unwrap();
        let outcome = bounded(&env, &["run"]);
        assert!(matches!(outcome.code, Some(1 | 3)), "{name}: {outcome}");
        assert_eq!(fs::read(env.data(KEY)).unwrap(), before);
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}");
    }
}
