//! `install.sh` and the forwarder, in throw-away homes, prefixes, checkouts and root file systems.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml allows these in test functions; their helpers are no different"
)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{env, fs};

use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_charon-dkg");
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Fails, never skips: a check that was not made must not look like one that passed.
fn need(program: &str, package: &str) {
    let found = env::split_paths(SYSTEM_PATH).any(|dir| dir.join(program).exists());
    assert!(
        found,
        "this test needs {program}: apt-get install {package}"
    );
}

/// Every docker CLI of this machine, of whatever age, each once.
fn docker_clis() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = env::split_paths(&path)
        .chain(env::split_paths("/usr/local/bin:/usr/bin"))
        .filter_map(|dir| dir.join("docker").canonicalize().ok())
        .filter(|file| fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF")))
        .collect();
    found.sort();
    found.dedup();
    assert!(
        !found.is_empty(),
        "this test needs a docker CLI: apt-get install docker.io"
    );
    found
}

fn write_program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Everything below a directory: kind, mode and content.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    fn walk(dir: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let content = if meta.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_vec()
            } else if meta.is_file() {
                fs::read(&path).unwrap()
            } else {
                walk(&path, found);
                Vec::new()
            };
            found.insert(path, (meta.mode(), content));
        }
    }
    let mut found = BTreeMap::new();
    walk(root, &mut found);
    found
}

fn names(tree: &BTreeMap<PathBuf, (u32, Vec<u8>)>) -> Vec<String> {
    tree.keys().map(|path| path.display().to_string()).collect()
}

/// Both streams and the exit code, as a person would see them.
fn told(output: &Output) -> String {
    format!(
        "{}{}(exit code {:?})",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status.code()
    )
}

fn expect_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", told(output));
}

fn expect_says(output: &Output, words: &str) {
    assert!(
        told(output).contains(words),
        "no {words:?} in: {}",
        told(output)
    );
}

/// A user's home, and a docker of theirs, in a directory that is thrown away.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            dir: TempDir::with_prefix("charon dkg").unwrap(),
        };
        fs::create_dir(place.home()).unwrap();
        fs::create_dir(place.path("real")).unwrap();
        place
    }

    /// With this docker in a directory of its own.
    fn with_docker(docker: &Path) -> Self {
        let place = Self::new();
        symlink(docker, place.path("real/docker")).unwrap();
        place
    }

    /// With a docker that only says how it was called.
    fn with_recorder() -> Self {
        Self::with_docker(&source("tests/install/recorder.sh"))
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    fn bin(&self) -> PathBuf {
        self.home().join(".local/bin")
    }

    /// PATH with our directory in front of docker's.
    fn bin_first(&self) -> OsString {
        self.path_of(&[self.bin(), self.path("real")])
    }

    /// PATH with docker's directory in front of ours.
    fn docker_first(&self) -> OsString {
        self.path_of(&[self.path("real"), self.bin()])
    }

    fn path_of(&self, first: &[PathBuf]) -> OsString {
        let rest = env::split_paths(SYSTEM_PATH);
        env::join_paths(first.iter().cloned().chain(rest)).unwrap()
    }

    fn command(&self, path: &OsStr, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home())
            .current_dir(self.dir.path());
        command.stdin(Stdio::null());
        if let Some(engine) = env::var_os("DOCKER_HOST") {
            command.env("DOCKER_HOST", engine);
        }
        command
    }

    fn run(&self, path: &OsStr, argv: &[&str]) -> Output {
        self.command(path, argv[0])
            .args(&argv[1..])
            .output()
            .unwrap()
    }

    fn install_sh(&self, path: &OsStr, options: &[&str]) -> Output {
        self.command(path, source("install.sh"))
            .arg("--user")
            .args(options)
            .output()
            .unwrap()
    }

    fn install(&self, path: &OsStr) -> Output {
        let output = self.install_sh(path, &["--binary", &recorder()]);
        expect_code(&output, 0);
        output
    }

    fn uninstall(&self, path: &OsStr) -> Output {
        let output = self.install_sh(path, &["--uninstall"]);
        expect_code(&output, 0);
        output
    }
}

fn recorder() -> String {
    source("tests/install/recorder.sh")
        .to_str()
        .unwrap()
        .to_owned()
}

/// What a recorder says it was called with.
fn recorded(output: &Output) -> Vec<Vec<u8>> {
    let mut parts: Vec<_> = output
        .stdout
        .split(|byte| *byte == 0)
        .map(<[u8]>::to_vec)
        .collect();
    assert_eq!(parts.pop().as_deref(), Some(&b""[..]), "{}", told(output));
    parts
}

// ------------------------------------------------------------------------------------------------
// The forwarder alone
// ------------------------------------------------------------------------------------------------

fn forwarder() -> String {
    let output = Command::new(source("install.sh"))
        .args(["--print", "forwarder"])
        .output()
        .unwrap();
    expect_code(&output, 0);
    String::from_utf8(output.stdout).unwrap()
}

/// A forwarder in our directory and a recording docker behind it.
fn forwarding() -> Place {
    let place = Place::with_recorder();
    write_program(&place.bin().join("docker"), &forwarder());
    place
}

#[test]
fn the_word_is_found_behind_global_flags_and_nowhere_else() {
    let place = forwarding();
    let ours = "docker charon-dkg";
    let cases: &[(&[&str], &[&str], &str)] = &[
        (&["charon-dkg"], &["charondkg"], ours),
        (
            &["charon-dkg", "run", "--dir", "x"],
            &["charondkg", "run", "--dir", "x"],
            ours,
        ),
        (
            &["charon-dkg", "charon-dkg"],
            &["charondkg", "charon-dkg"],
            ours,
        ),
        (
            &["--context", "X", "charon-dkg"],
            &["--context", "X", "charondkg"],
            ours,
        ),
        (
            &["--context=X", "charon-dkg"],
            &["--context=X", "charondkg"],
            ours,
        ),
        (
            &["-c", "X", "charon-dkg", "y"],
            &["-c", "X", "charondkg", "y"],
            ours,
        ),
        (&["-cX", "charon-dkg"], &["-cX", "charondkg"], ours),
        (
            &["-Dc", "X", "charon-dkg"],
            &["-Dc", "X", "charondkg"],
            ours,
        ),
        (&["-DcX", "charon-dkg"], &["-DcX", "charondkg"], ours),
        (
            &["-H", "tcp://h", "charon-dkg"],
            &["-H", "tcp://h", "charondkg"],
            ours,
        ),
        (
            &["-H=tcp://h", "charon-dkg"],
            &["-H=tcp://h", "charondkg"],
            ours,
        ),
        (
            &["--host=tcp://h", "charon-dkg"],
            &["--host=tcp://h", "charondkg"],
            ours,
        ),
        (
            &["--config", "D", "charon-dkg"],
            &["--config", "D", "charondkg"],
            ours,
        ),
        (&["-D", "charon-dkg"], &["-D", "charondkg"], ours),
        (
            &["--debug=false", "charon-dkg"],
            &["--debug=false", "charondkg"],
            ours,
        ),
        (
            &["-l", "debug", "charon-dkg"],
            &["-l", "debug", "charondkg"],
            ours,
        ),
        (
            &["--log-level", "debug", "charon-dkg"],
            &["--log-level", "debug", "charondkg"],
            ours,
        ),
        (
            &[
                "--tls",
                "--tlsverify",
                "--tlscacert",
                "a",
                "--tlscert",
                "b",
                "--tlskey=c",
                "charon-dkg",
            ],
            &[
                "--tls",
                "--tlsverify",
                "--tlscacert",
                "a",
                "--tlscert",
                "b",
                "--tlskey=c",
                "charondkg",
            ],
            ours,
        ),
        (&["--", "charon-dkg"], &["--", "charondkg"], ours),
        // Completion in a shell asks docker.
        (
            &["__complete", "charon-dkg", "ru"],
            &["__complete", "charondkg", "ru"],
            ours,
        ),
        (
            &["__completeNoDesc", "--context", "X", "charon-dkg", ""],
            &["__completeNoDesc", "--context", "X", "charondkg", ""],
            ours,
        ),
        (
            &["__complete", "run", "charon-dkg"],
            &["__complete", "run", "charon-dkg"],
            "",
        ),
        // A context may have our name, and so may a container.
        (&["-c", "charon-dkg", "ps"], &["-c", "charon-dkg", "ps"], ""),
        (
            &["--context", "charon-dkg", "charon-dkg"],
            &["--context", "charon-dkg", "charondkg"],
            ours,
        ),
        (&["run", "charon-dkg"], &["run", "charon-dkg"], ""),
        (
            &["run", "--rm", "-it", "charon-dkg", "sh"],
            &["run", "--rm", "-it", "charon-dkg", "sh"],
            "",
        ),
        (
            &["compose", "-f", "charon-dkg"],
            &["compose", "-f", "charon-dkg"],
            "",
        ),
        (&["charondkg", "enr"], &["charondkg", "enr"], ""),
        (&["charon-dkg2"], &["charon-dkg2"], ""),
        (&["", "charon-dkg"], &["", "charon-dkg"], ""),
        (&["-", "charon-dkg"], &["-", "charon-dkg"], ""),
        (&["-c"], &["-c"], ""),
        (&[], &[], ""),
    ];
    for shell in ["dash", "bash"] {
        need(shell, shell);
        for (typed, reached, spelling) in cases {
            let mut command = place.command(&place.bin_first(), shell);
            if shell == "bash" {
                command.arg("--posix");
            }
            let output = command
                .arg(place.bin().join("docker"))
                .args(*typed)
                .output()
                .unwrap();
            let mut expected = vec![format!("spelling={spelling}").into_bytes()];
            expected.extend(reached.iter().map(|word| word.as_bytes().to_vec()));
            assert_eq!(recorded(&output), expected, "{shell}: {typed:?}");
        }
    }
}

#[test]
fn every_byte_of_every_argument_and_of_the_environment_gets_through() {
    let place = forwarding();
    let odd: Vec<OsString> = [
        &b""[..],
        b" ",
        b"a b",
        b"line\nbreak\n",
        b"\n",
        b"*",
        b"$HOME `id` $(id) \\ \" '",
        b"-n",
        b"--",
        b"\xff\xfe not UTF-8",
        b"tab\there",
        b"",
    ]
    .iter()
    .map(|bytes| OsString::from_vec(bytes.to_vec()))
    .collect();
    for first in ["charon-dkg", "ps"] {
        let output = place
            .command(&place.bin_first(), "docker")
            .arg(first)
            .args(&odd)
            .output()
            .unwrap();
        let seen = recorded(&output);
        let sent: Vec<_> = odd.iter().map(|word| word.as_bytes().to_vec()).collect();
        assert_eq!(seen[2..], sent[..], "{first}");
    }

    // Compose reads any variable, so none may change, however it is named.
    fs::remove_file(place.path("real/docker")).unwrap();
    write_program(&place.path("real/docker"), "#!/bin/sh\nexec env -0\n");
    let mine = [
        ("n", "1"),
        ("word", "w"),
        ("dir", "d"),
        ("file", "f"),
        ("at", ""),
    ];
    for (typed, spelling) in [("ps", None), ("charon-dkg", Some("docker charon-dkg"))] {
        let output = place
            .command(&place.bin_first(), "docker")
            .envs(mine)
            .arg(typed)
            .output()
            .unwrap();
        let mut seen: BTreeMap<String, String> = recorded(&output)
            .into_iter()
            .map(|pair| String::from_utf8(pair).unwrap())
            .map(|pair| {
                pair.split_once('=')
                    .map(|(a, b)| (a.to_owned(), b.to_owned()))
                    .unwrap()
            })
            .collect();
        for (name, value) in mine {
            assert_eq!(seen.remove(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(seen.remove("CHARON_DKG_SPELLING").as_deref(), spelling);
        // What is left is what every sh sets, and what the test gave.
        for known in ["PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_", "DOCKER_HOST"] {
            seen.remove(known);
        }
        assert!(seen.is_empty(), "{seen:?}");
    }
}

#[test]
fn the_next_docker_is_never_a_forwarder() {
    let place = forwarding();
    let at = |name: &str| place.path(name);
    let docker = |path: &OsStr| {
        let mut command = place.command(path, "sh");
        command.args(["-c", "docker charon-dkg"]);
        command.output().unwrap()
    };
    let works = |first: &[PathBuf], what: &str| {
        let output = docker(&place.path_of(first));
        assert_eq!(
            recorded(&output)[1..],
            [b"charondkg".to_vec()],
            "{what}: {}",
            told(&output)
        );
    };
    // Another forwarder, links to ours, a directory that is called docker, a file that is no program.
    write_program(&at("second/docker"), &forwarder());
    fs::create_dir_all(at("link")).unwrap();
    symlink(place.bin().join("docker"), at("link/docker")).unwrap();
    fs::create_dir_all(at("dir/docker")).unwrap();
    fs::create_dir_all(at("plain")).unwrap();
    fs::write(at("plain/docker"), "no program").unwrap();
    symlink(place.bin(), at("same")).unwrap();

    let (bin, real) = (place.bin(), at("real"));
    works(&[bin.clone(), real.clone()], "plain");
    works(&[bin.clone(), at("second"), real.clone()], "two forwarders");
    works(
        &[
            at("second"),
            bin.clone(),
            at("second"),
            bin.clone(),
            real.clone(),
        ],
        "both twice",
    );
    works(
        &[at("link"), bin.clone(), at("same"), real.clone()],
        "links",
    );
    works(
        &[
            bin.clone(),
            at("dir"),
            at("plain"),
            at("nowhere"),
            real.clone(),
        ],
        "no programs",
    );
    // Called by its whole path, with nothing of it on PATH.
    let path = place.path_of(&[real]);
    let output = place
        .command(&path, bin.join("docker"))
        .arg("charon-dkg")
        .output()
        .unwrap();
    assert_eq!(recorded(&output)[1..], [b"charondkg".to_vec()]);

    // Empty and relative entries mean the current directory.
    let empty = format!("{}::/usr/bin", bin.display());
    let output = place
        .command(OsStr::new(&empty), "sh")
        .current_dir(at("real"))
        .args(["-c", "docker ps"])
        .output()
        .unwrap();
    assert_eq!(recorded(&output)[1..], [b"ps".to_vec()]);
}

#[test]
fn without_another_docker_the_forwarder_says_so() {
    let place = forwarding();
    let path = env::join_paths([place.bin(), place.path("tools")]).unwrap();
    fs::create_dir(place.path("tools")).unwrap();
    symlink(place.bin().join("docker"), place.path("tools/docker")).unwrap();
    for typed in ["charon-dkg", "ps"] {
        let output = place
            .command(&path, place.bin().join("docker"))
            .arg(typed)
            .output()
            .unwrap();
        expect_code(&output, 127);
        expect_says(&output, "there is no other docker behind it on PATH");
    }
}

// ------------------------------------------------------------------------------------------------
// A user's install, with every docker CLI of this machine
// ------------------------------------------------------------------------------------------------

#[test]
#[ignore = "needs docker's CLI, zsh and fish"]
fn a_forwarder_is_placed_where_it_comes_first() {
    for docker in docker_clis() {
        let place = Place::with_docker(&docker);
        let path = place.bin_first();
        let output = place.install(&path);
        expect_says(
            &output,
            "docker charon-dkg  works, in every shell and script with this PATH",
        );
        expect_says(
            &output,
            "Where PATH differs (cron, some services), use docker charondkg",
        );
        for shell in ["sh", "bash", "zsh", "fish"] {
            need(shell, shell);
            for typed in ["", "--context default ", "-D -l error "] {
                let line = format!("docker {typed}charon-dkg 'a b' ''");
                let output = place.run(&path, &[shell, "-c", &line]);
                let seen = recorded(&output);
                assert_eq!(seen[0], b"spelling=docker charon-dkg", "{shell}: {line}");
                let tail = [b"charondkg".to_vec(), b"a b".to_vec(), Vec::new()];
                assert!(seen.ends_with(&tail), "{shell}: {line}: {seen:?}");
            }
            let output = place.run(&path, &[shell, "-c", "docker charondkg enr"]);
            assert_eq!(recorded(&output)[0], b"spelling=", "{shell}");
        }
    }
}

#[test]
#[ignore = "needs docker's CLI"]
fn docker_lists_the_plugin_as_valid() {
    for docker in docker_clis() {
        let place = Place::with_docker(&docker);
        let path = place.bin_first();
        let output = place.install_sh(&path, &["--binary", BINARY]);
        expect_code(&output, 0);
        // Without an engine docker ends with 1, but lists its plugins all the same.
        let output = place.run(
            &path,
            &["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"],
        );
        let plugins: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let ours = plugins
            .as_array()
            .unwrap()
            .iter()
            .find(|plugin| plugin["Name"] == "charondkg");
        let ours =
            ours.unwrap_or_else(|| panic!("{} does not list it: {plugins}", docker.display()));
        assert_eq!(ours["Version"], env!("CARGO_PKG_VERSION"));
        assert!(ours.get("Err").is_none(), "{ours}");
        let output = place.run(&path, &["docker", "info"]);
        assert!(!told(&output).contains("is not valid"), "{}", told(&output));
    }
}

#[test]
#[ignore = "needs docker's CLI, zsh and fish"]
fn the_shells_get_a_function_where_docker_comes_first() {
    for docker in docker_clis() {
        let place = Place::with_docker(&docker);
        let path = place.docker_first();
        let output = place.install(&path);
        expect_says(
            &output,
            "docker charon-dkg  works at the prompt of bash, zsh, fish",
        );
        expect_says(&output, "comes before");
        assert!(!place.bin().join("docker").exists());
        for (shell, flag) in [("bash", "-ic"), ("zsh", "-ic"), ("fish", "-c")] {
            let line = "docker --context default charon-dkg 'a b' ''";
            let output = place.run(&path, &["setsid", "-w", shell, flag, line]);
            let seen = recorded(&output);
            assert_eq!(seen[0], b"spelling=docker charon-dkg", "{shell}");
            assert!(
                seen.ends_with(&[b"a b".to_vec(), Vec::new()]),
                "{shell}: {seen:?}"
            );
            let output = place.run(&path, &["setsid", "-w", shell, flag, "docker --version"]);
            assert!(
                output.stdout.starts_with(b"Docker version"),
                "{shell}: {}",
                told(&output)
            );
        }
    }
}

#[test]
fn an_alias_of_the_users_does_not_break_their_shell() {
    runs_despite_an_alias("bash");
}

#[test]
#[ignore = "needs zsh"]
fn an_alias_of_the_users_does_not_break_their_zsh() {
    runs_despite_an_alias("zsh");
}

fn runs_despite_an_alias(shell: &str) {
    let place = Place::with_recorder();
    for settings in [".bashrc", ".zshrc"] {
        fs::write(place.home().join(settings), "alias docker='echo mine'\n").unwrap();
    }
    let path = place.docker_first();
    place.install(&path);
    let output = place.run(
        &path,
        &["setsid", "-w", shell, "-ic", "\\docker charon-dkg x"],
    );
    assert_eq!(
        recorded(&output)[1..],
        [b"charondkg".to_vec(), b"x".to_vec()]
    );
}

#[test]
#[ignore = "needs docker's CLI"]
fn a_docker_that_is_already_there_stays() {
    let place = Place::with_docker(&docker_clis()[0]);
    write_program(
        &place.bin().join("docker"),
        "#!/bin/sh\nexec /nowhere/docker \"$@\"\n",
    );
    let before = tree(&place.home());
    let path = place.bin_first();
    let output = place.install_sh(&path, &["--binary", &recorder()]);
    expect_code(&output, 0);
    expect_says(
        &output,
        "docker is there already and is not ours; it was left as it is",
    );
    let docker = place.bin().join("docker");
    assert_eq!(tree(&place.home())[&docker], before[&docker]);
    place.uninstall(&path);
    assert_eq!(tree(&place.home()), before);
}

#[test]
#[ignore = "needs docker's CLI"]
fn without_forwarder_docker_is_left_alone() {
    let place = Place::with_docker(&docker_clis()[0]);
    let path = place.bin_first();
    let output = place.install_sh(&path, &["--binary", &recorder(), "--no-forwarder"]);
    expect_code(&output, 0);
    expect_says(&output, "docker charondkg   works");
    expect_says(&output, "left out (--no-forwarder)");
    assert!(!place.bin().join("docker").exists());
    assert!(!place.home().join(".bashrc").exists());
}

#[test]
fn without_docker_the_program_alone_is_installed() {
    let place = Place::new();
    let tools = tools(&place, &[]);
    let path = env::join_paths([place.bin(), tools]).unwrap();
    let output = place.install_sh(&path, &["--binary", &recorder()]);
    expect_code(&output, 0);
    expect_says(&output, "charon-dkg         works");
    expect_says(&output, "there is no docker on PATH");
}

// ------------------------------------------------------------------------------------------------
// Taking back
// ------------------------------------------------------------------------------------------------

#[test]
#[ignore = "needs docker's CLI, zsh and fish"]
fn uninstall_leaves_every_byte_as_it_was() {
    let start_files: &[(&str, Option<&[u8]>)] = &[
        ("none", None),
        ("empty", Some(b"")),
        ("whole line", Some(b"PS1='$ '\n")),
        ("no line break at the end", Some(b"PS1='$ '")),
        ("not text", Some(b"\xff\x00\xfe\n\n\x80")),
        ("blank lines", Some(b"\n\n\n")),
    ];
    for (what, content) in start_files {
        for first in [true, false] {
            let place = Place::with_docker(&docker_clis()[0]);
            if let Some(content) = content {
                let rc = place.home().join(".bashrc");
                fs::write(&rc, content).unwrap();
                fs::set_permissions(&rc, fs::Permissions::from_mode(0o600)).unwrap();
                fs::create_dir(place.home().join("dotfiles")).unwrap();
                fs::write(place.home().join("dotfiles/zsh"), content).unwrap();
                symlink("dotfiles/zsh", place.home().join(".zshrc")).unwrap();
            }
            let before = tree(&place.home());
            let path = if first {
                place.bin_first()
            } else {
                place.docker_first()
            };
            place.install(&path);
            assert_ne!(tree(&place.home()), before);
            place.install(&path);
            place.uninstall(&path);
            assert_eq!(tree(&place.home()), before, "{what}, {first}");
        }
    }
}

#[test]
#[ignore = "needs docker's CLI"]
fn a_second_install_changes_nothing() {
    for first in [true, false] {
        let place = Place::with_docker(&docker_clis()[0]);
        fs::write(place.home().join(".bashrc"), "x=1").unwrap();
        let path = if first {
            place.bin_first()
        } else {
            place.docker_first()
        };
        place.install(&path);
        let once = tree(&place.home());
        place.install(&path);
        assert_eq!(tree(&place.home()), once);
    }
}

#[test]
#[ignore = "needs docker's CLI"]
fn an_upgrade_may_change_everything() {
    let place = Place::with_docker(&docker_clis()[0]);
    let before = tree(&place.home());
    place.install(&place.docker_first());
    assert!(place.home().join(".bashrc").exists());
    // Another binary, and now our directory comes first.
    let output = place.install_sh(&place.bin_first(), &["--binary", BINARY]);
    expect_code(&output, 0);
    assert!(place.bin().join("docker").exists());
    assert!(
        !place.home().join(".bashrc").exists(),
        "the function is not needed any more"
    );
    assert_eq!(
        fs::read(place.bin().join("charon-dkg")).unwrap(),
        fs::read(BINARY).unwrap()
    );
    // With the installer that was installed: the checkout may be gone by then.
    let kept = place.home().join(".local/share/charon-dkg/install.sh");
    let mut sh = place.command(&place.bin_first(), "sh");
    let output = sh
        .arg(kept)
        .args(["--uninstall", "--user"])
        .output()
        .unwrap();
    expect_code(&output, 0);
    assert_eq!(tree(&place.home()), before);
}

#[test]
#[ignore = "needs docker's CLI"]
fn what_was_added_since_is_kept() {
    let place = Place::with_docker(&docker_clis()[0]);
    let rc = place.home().join(".bashrc");
    fs::write(&rc, "before=1").unwrap();
    let path = place.docker_first();
    place.install(&path);
    let mut text = fs::read_to_string(&rc).unwrap();
    text.push_str("after=1\n");
    fs::write(&rc, text).unwrap();
    fs::write(place.home().join(".local/share/charon-dkg/mine"), "mine").unwrap();
    place.uninstall(&path);
    assert_eq!(fs::read_to_string(&rc).unwrap(), "before=1\nafter=1\n");
    assert!(place.home().join(".local/share/charon-dkg/mine").exists());
}

#[test]
#[ignore = "needs docker's CLI"]
fn changed_files_are_left_and_named() {
    let place = Place::with_docker(&docker_clis()[0]);
    let path = place.docker_first();
    place.install(&path);
    let binary = place.bin().join("charon-dkg");
    fs::write(&binary, "#!/bin/sh\n# mine now\n").unwrap();
    let rc = place.home().join(".bashrc");
    let edited = fs::read_to_string(&rc)
        .unwrap()
        .replace("then .", "then # .");
    fs::write(&rc, &edited).unwrap();
    let link = place.home().join(".docker/cli-plugins/docker-charondkg");
    fs::remove_file(&link).unwrap();
    symlink("/somewhere/else", &link).unwrap();

    // Nor are they overwritten by another install.
    let before = tree(&place.home());
    let output = place.install_sh(&path, &["--binary", &recorder()]);
    expect_code(&output, 3);
    expect_says(&output, "nothing was changed");
    expect_says(&output, "charon-dkg was changed since it was installed");
    expect_says(&output, ".bashrc was edited between the markers");
    expect_says(
        &output,
        "docker-charondkg is a link to /somewhere/else, which is not ours",
    );
    assert_eq!(tree(&place.home()), before);

    let output = place.uninstall(&path);
    expect_says(&output, &binary.display().to_string());
    expect_says(&output, &format!("{} (between the markers", rc.display()));
    expect_says(&output, &link.display().to_string());
    let after = tree(&place.home());
    for left in [&binary, &rc, &link] {
        assert_eq!(after[left], before[left]);
    }
    let files = after
        .iter()
        .filter(|(path, _)| !path.is_dir() || path.is_symlink())
        .count();
    assert_eq!(files, 3, "{:?}", names(&after));

    let output = place.install_sh(&path, &["--uninstall"]);
    expect_code(&output, 3);
    expect_says(&output, "nothing is installed there");
}

#[test]
#[ignore = "needs docker's CLI"]
fn foreign_files_are_never_overwritten() {
    for foreign in [
        ".local/bin/charon-dkg",
        ".docker/cli-plugins/docker-charondkg",
    ] {
        for kind in ["file", "link", "directory"] {
            let place = Place::with_docker(&docker_clis()[0]);
            let file = place.home().join(foreign);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            match kind {
                "file" => fs::write(&file, "foreign").unwrap(),
                "link" => symlink("/bin/true", &file).unwrap(),
                _ => fs::create_dir(&file).unwrap(),
            }
            let before = tree(&place.home());
            let output = place.install_sh(&place.bin_first(), &["--binary", &recorder()]);
            expect_code(&output, 3);
            expect_says(&output, &file.display().to_string());
            assert_eq!(tree(&place.home()), before, "{foreign} {kind}");
        }
    }
}

#[test]
#[ignore = "needs docker's CLI, zsh and fish"]
fn a_failure_on_the_way_leaves_nothing() {
    // A plain file where a directory has to be is found late, after other files were staged.
    let place = Place::with_docker(&docker_clis()[0]);
    fs::create_dir(place.home().join(".config")).unwrap();
    fs::write(place.home().join(".config/fish"), "no directory").unwrap();
    let before = tree(&place.home());
    let output = place.install_sh(&place.docker_first(), &["--binary", &recorder()]);
    expect_code(&output, 1);
    expect_says(&output, "nothing was installed");
    assert_eq!(tree(&place.home()), before);

    for (binary, code) in [("/bin/false", 1), ("/etc/passwd", 2), ("/nowhere", 2)] {
        let output = place.install_sh(&place.bin_first(), &["--binary", binary]);
        expect_code(&output, code);
        assert_eq!(tree(&place.home()), before, "{binary}");
    }
}

#[test]
#[ignore = "needs docker's CLI"]
fn killed_at_any_moment_it_can_be_repeated_and_taken_back() {
    // However far it came: each delay ends it somewhere else.
    for delay in (0..300).step_by(15) {
        let place = Place::with_docker(&docker_clis()[0]);
        fs::write(place.home().join(".bashrc"), "x=1").unwrap();
        let before = tree(&place.home());
        let path = place.docker_first();
        let mut child = place
            .command(&path, source("install.sh"))
            .args(["--user", "--binary", &recorder()])
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let group = format!("-{}", child.id());
        let _killed = Command::new("kill")
            .args(["-KILL", "--", &group])
            .output()
            .unwrap();
        child.wait().unwrap();

        place.install(&path);
        place.uninstall(&path);
        // Temporary files of a killed process stay, as do directories; nothing else does.
        let mut after = tree(&place.home());
        after.retain(|path, (_, _)| {
            let temporary = path
                .file_name()
                .is_some_and(|name| name.as_bytes().starts_with(b".charon-dkg."));
            !temporary && (before.contains_key(path) || !path.is_dir())
        });
        assert_eq!(after, before, "after {delay} ms");
    }
}

#[test]
#[ignore = "needs docker's CLI"]
fn two_at_a_time_do_not_mix() {
    let place = Place::with_docker(&docker_clis()[0]);
    fs::write(place.home().join(".bashrc"), "x=1").unwrap();
    let before = tree(&place.home());
    let path = place.docker_first();
    let children: Vec<_> = (0..6)
        .map(|_| {
            let mut command = place.command(&path, source("install.sh"));
            command.args(["--user", "--binary", &recorder()]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        expect_code(&child.wait_with_output().unwrap(), 0);
    }
    let text = fs::read_to_string(place.home().join(".bashrc")).unwrap();
    assert_eq!(text.matches("# >>> charon-dkg").count(), 1, "{text}");
    place.uninstall(&path);
    assert_eq!(tree(&place.home()), before);
}

#[test]
#[ignore = "needs docker's CLI"]
fn wrong_usage_is_told_and_changes_nothing() {
    let place = Place::with_docker(&docker_clis()[0]);
    let path = place.bin_first();
    for options in [
        &["--prefx", "/x"][..],
        &["--prefix"],
        &["--prefix", ""],
        &["--prefix", "/"],
        &["--prefix", "/a:b"],
        &["--prefix", "/a'b"],
        &["--prefix", "/a\nb"],
        &["--binary"],
        &["--print", "nothing"],
        &["extra"],
    ] {
        let output = place.install_sh(&path, options);
        expect_code(&output, 2);
    }
    assert!(tree(&place.home()).is_empty());
    let output = place.install_sh(&path, &["--help"]);
    expect_code(&output, 0);
    expect_says(&output, "--uninstall");
}

#[test]
#[ignore = "needs docker's CLI"]
fn nothing_outside_a_prefix_is_touched() {
    let place = Place::with_docker(&docker_clis()[0]);
    let prefix = place.path("some where");
    let options = [
        "--prefix",
        prefix.to_str().unwrap(),
        "--binary",
        &recorder(),
    ];
    let output = place
        .command(&place.docker_first(), source("install.sh"))
        .args(options)
        .output()
        .unwrap();
    expect_code(&output, 0);
    expect_says(&output, "does not look in");
    expect_says(&output, "docker charon-dkg");
    assert!(
        tree(&place.home()).is_empty(),
        "{:?}",
        names(&tree(&place.home()))
    );
    assert!(prefix.join("bin/charon-dkg").exists());
    let output = place
        .command(&place.docker_first(), source("install.sh"))
        .args(["--uninstall", "--prefix", prefix.to_str().unwrap()])
        .output()
        .unwrap();
    expect_code(&output, 0);
    assert!(!prefix.exists());
}

#[test]
#[ignore = "needs docker's CLI"]
fn the_command_that_takes_a_relative_prefix_back_works_elsewhere() {
    let place = Place::with_docker(&docker_clis()[0]);
    let path = place.docker_first();
    let output = place
        .command(&path, source("install.sh"))
        .args(["--prefix", "below", "--binary", &recorder()])
        .output()
        .unwrap();
    expect_code(&output, 0);
    let said = told(&output);
    let back = said.split("To take all of it back: ").nth(1).unwrap();
    let back = back.lines().next().unwrap();
    let mut command = place.command(&path, "sh");
    let output = command.args(["-c", back]).current_dir("/").output();
    expect_code(&output.unwrap(), 0);
    assert!(!place.path("below").exists());
}

#[test]
#[ignore = "needs docker's CLI"]
fn a_script_from_standard_input_is_refused() {
    let place = Place::with_docker(&docker_clis()[0]);
    let path = place.bin_first();
    let output = place
        .command(&path, "sh")
        .args(["-s", "--", "--user", "--binary", &recorder()])
        .stdin(fs::File::open(source("install.sh")).unwrap())
        .output()
        .unwrap();
    expect_code(&output, 2);
    expect_says(&output, "was not run from a file");
    assert!(tree(&place.home()).is_empty());
}

// ------------------------------------------------------------------------------------------------
// From a release
// ------------------------------------------------------------------------------------------------

/// A release whose program is the recorder, as `release.sh` lays one out, for this processor.
fn release(place: &Place) -> (PathBuf, PathBuf) {
    let arch = if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    };
    let dir = place.path("release");
    let name = format!("charon-dkg-9.9.9-linux-{arch}");
    let inner = place.path("making").join(&name);
    fs::create_dir_all(inner.join("manual")).unwrap();
    fs::create_dir_all(&dir).unwrap();
    fs::copy(recorder(), inner.join("charon-dkg")).unwrap();
    fs::copy(recorder(), inner.join("charon-dkg-simulator")).unwrap();
    fs::write(inner.join("manual/charon-dkg.1.gz"), "a page").unwrap();
    let archive = dir.join(format!("{name}.tar.gz"));
    let made = Command::new("tar")
        .args(["-czf", archive.to_str().unwrap(), "-C"])
        .arg(inner.parent().unwrap())
        .arg(&name)
        .status()
        .unwrap();
    assert!(made.success());
    let sums = Command::new("sh")
        .args(["-c", "sha256sum *.tar.gz >SHA256SUMS"])
        .current_dir(&dir)
        .status()
        .unwrap();
    assert!(sums.success());
    (dir, archive)
}

#[test]
fn a_release_is_installed_without_a_compiler_and_taken_back() {
    let place = Place::with_recorder();
    let (dir, archive) = release(&place);
    let path = place.bin_first();
    let before = tree(&place.home());
    for from in [&dir, &archive] {
        let output = place.install_sh(&path, &["--from", from.to_str().unwrap()]);
        expect_code(&output, 0);
        expect_says(&output, "charon-dkg 9.9.9 is installed");
        for file in [
            "bin/charon-dkg",
            "libexec/charon-dkg/charon-dkg-simulator",
            "share/man/man1/charon-dkg.1.gz",
        ] {
            assert!(place.home().join(".local").join(file).is_file(), "{file}");
        }
        place.uninstall(&path);
        assert_eq!(tree(&place.home()), before);
    }
}

#[test]
fn a_release_that_is_not_what_its_sums_say_is_refused() {
    let place = Place::with_recorder();
    let (dir, archive) = release(&place);
    let path = place.bin_first();
    let before = tree(&place.home());
    let refused = |code: i32, words: &str| {
        let output = place.install_sh(&path, &["--from", dir.to_str().unwrap()]);
        expect_code(&output, code);
        expect_says(&output, words);
        expect_says(&output, "nothing was installed");
        assert_eq!(tree(&place.home()), before);
    };
    let mut bytes = fs::read(&archive).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&archive, bytes).unwrap();
    refused(3, "is not what");
    fs::remove_file(&archive).unwrap();
    refused(1, "cannot get");
    fs::write(dir.join("SHA256SUMS"), "").unwrap();
    refused(3, "does not name one");
    fs::remove_file(dir.join("SHA256SUMS")).unwrap();
    refused(1, "cannot get");
}

// ------------------------------------------------------------------------------------------------
// Building, with stand-ins for what may be missing
// ------------------------------------------------------------------------------------------------

/// A directory with just the programs that every Debian has, and the named ones of the test's own.
fn tools(place: &Place, own: &[(&str, &str)]) -> PathBuf {
    let dir = place.path("tools");
    fs::create_dir_all(&dir).unwrap();
    let essential = "awk basename cat chmod cmp cp cut dirname env flock grep head id install ln mkdir \
         mktemp mv readlink rm rmdir sed seq setsid sh sha256sum sort stat sync tac tail timeout touch tr \
         uname bash";
    for name in essential.split_whitespace() {
        let found = env::split_paths(SYSTEM_PATH)
            .map(|from| from.join(name))
            .find(|file| file.exists());
        let found = found.unwrap_or_else(|| panic!("this machine has no {name}"));
        symlink(found, dir.join(name)).unwrap();
    }
    for (name, text) in own {
        write_program(&dir.join(name), text);
    }
    dir
}

const CC: (&str, &str) = ("cc", "#!/bin/sh\nexit 0\n");
const OLD_RUSTC: (&str, &str) = ("rustc", "#!/bin/sh\necho 'rustc 1.63.0 (stand-in)'\n");
const NEW_RUSTC: (&str, &str) = ("rustc", "#!/bin/sh\necho 'rustc 1.95.0 (stand-in)'\n");

/// A cargo that notes how it was called and "builds" the recorder.
fn cargo() -> String {
    format!(
        "#!/bin/sh\n\
         if [ \"$1\" = --version ]; then echo 'cargo 1.95.0'; exit; fi\n\
         printf '%s\\n' \"$RUSTUP_TOOLCHAIN\" \"$@\" >\"$HOME/../cargo-called\"\n\
         while [ \"$1\" != --target-dir ]; do shift; done\n\
         mkdir -p \"$2/release\" && cp '{}' \"$2/release/charon-dkg\"\n",
        recorder()
    )
}

/// `./install.sh --user OPTION...` in a checkout without a build, on a machine with these programs.
fn build_with(place: &Place, own: &[(&str, &str)], options: &[&str]) -> Output {
    let checkout = place.path("checkout");
    fs::create_dir_all(&checkout).unwrap();
    for file in ["install.sh", "Cargo.toml"] {
        fs::copy(source(file), checkout.join(file)).unwrap();
    }
    let tools = tools(place, own);
    let path = env::join_paths([place.bin(), tools]).unwrap();
    place
        .command(&path, checkout.join("install.sh"))
        .arg("--user")
        .args(options)
        .output()
        .unwrap()
}

#[test]
fn it_builds_locked_and_optimised() {
    let place = Place::new();
    let output = build_with(&place, &[CC, NEW_RUSTC, ("cargo", &cargo())], &[]);
    expect_code(&output, 0);
    let called = fs::read_to_string(place.path("cargo-called")).unwrap();
    for word in ["build", "--release", "--locked"] {
        assert!(called.lines().any(|line| line == word), "{called}");
    }
    assert!(place.bin().join("charon-dkg").exists());
}

#[test]
fn a_build_that_fails_places_nothing() {
    let place = Place::new();
    let broken = "#!/bin/sh\n[ \"$1\" = --version ] || { echo 'error: it broke' >&2; exit 101; }\n";
    let output = build_with(&place, &[CC, NEW_RUSTC, ("cargo", broken)], &[]);
    expect_code(&output, 1);
    expect_says(&output, "it broke");
    expect_says(&output, "the build failed; nothing was installed");
    assert!(tree(&place.home()).is_empty());
}

#[test]
fn what_building_lacks_is_said_with_the_one_command() {
    // Too old a compiler, and nothing here that could get a newer one but this script.
    let place = Place::new();
    let output = build_with(
        &place,
        &[CC, OLD_RUSTC, ("cargo", &cargo())],
        &["--no-forwarder"],
    );
    expect_code(&output, 3);
    expect_says(&output, "Rust 1.90 or newer");
    expect_says(&output, "https://rustup.rs");
    expect_says(&output, "./install.sh --user --no-forwarder");
    assert!(tree(&place.home()).is_empty());

    // A rustup that has no toolchain yet; and the one word that lets this script do the rest.
    let place = Place::new();
    let rustup = "#!/bin/sh\n[ \"$1\" = --version ] || exit 1\n";
    let own = [CC, OLD_RUSTC, ("rustup", rustup)];
    let output = build_with(&place, &own, &[]);
    expect_code(&output, 3);
    expect_says(&output, "rustup toolchain install 1.95.0 --profile minimal");
    expect_says(&output, "./install.sh --yes --user");

    // A distribution that has it.
    let place = Place::new();
    let apt_cache = apt_cache(&[
        ("rustc", "1.63.0+dfsg1-2"),
        ("rustc-web", "1:1.96.0+dfsg1-1~deb12u2"),
    ]);
    let quiet = "#!/bin/sh\nexit 0\n";
    let own = [
        OLD_RUSTC,
        ("apt-get", quiet),
        ("apt-cache", &apt_cache),
        ("sudo", quiet),
    ];
    let output = build_with(&place, &own, &[]);
    expect_code(&output, 3);
    expect_says(
        &output,
        "apt-get install -y gcc libc6-dev cargo-web rustc-web",
    );
    assert!(tree(&place.home()).is_empty());
}

#[test]
fn yes_gets_what_is_missing() {
    // rustup is told to, and what it installed is used.
    let place = Place::new();
    let rustup =
        "#!/bin/sh\n[ \"$1\" = --version ] && exit\necho \"$*\" >\"$HOME/../rustup-called\"\n";
    let rustc = "#!/bin/sh\n\
        if [ \"$RUSTUP_TOOLCHAIN\" = 1.95.0 ] && [ -e \"$HOME/../rustup-called\" ]; then v=1.95.0; else v=1.63.0; fi\n\
        echo \"rustc $v (stand-in)\"\n";
    let own = [
        CC,
        ("rustc", rustc),
        ("cargo", &cargo()),
        ("rustup", rustup),
    ];
    let output = build_with(&place, &own, &["--yes"]);
    expect_code(&output, 0);
    let called = fs::read_to_string(place.path("rustup-called")).unwrap();
    assert!(
        called.starts_with("toolchain install 1.95.0 --profile minimal"),
        "{called}"
    );
    assert!(
        fs::read_to_string(place.path("cargo-called"))
            .unwrap()
            .starts_with("1.95.0\n")
    );

    // Where the packages of Rust are too old, the package of rustup comes first.
    let place = Place::new();
    write_program(&place.path("rustup"), rustup);
    let own = [
        CC,
        ("rustc", rustc),
        ("cargo", &cargo()),
        (
            "apt-cache",
            &apt_cache(&[("rustup", "1.27.1-3"), ("rustc", "1.85.1")]),
        ),
        ("apt-get", &apt_get("rustup")),
        ("sudo", SUDO),
    ];
    let output = build_with(&place, &own, &["--yes"]);
    expect_code(&output, 0);
    let called = fs::read_to_string(place.path("rustup-called")).unwrap();
    assert!(called.starts_with("toolchain install 1.95.0"), "{called}");
}

const SUDO: &str = "#!/bin/sh\n[ \"$1\" != -- ] || shift\nexec \"$@\"\n";

/// An `apt-cache` that knows these packages.
fn apt_cache(packages: &[(&str, &str)]) -> String {
    let cases: String = packages
        .iter()
        .map(|(name, version)| format!("policy-{name}) v={version} ;;\n"))
        .collect();
    format!(
        "#!/bin/sh\ncase $1-$2 in\n{cases}*) exit 0 ;;\nesac\n\
         printf '%s:\\n  Installed: (none)\\n  Candidate: %s\\n' \"$2\" \"$v\"\n"
    )
}

/// An `apt-get` that notes how it was called, and whose package of this name is the program that lies beside the home.
fn apt_get(package: &str) -> String {
    format!(
        "#!/bin/sh\n\
         echo \"$*\" >>\"$HOME/../apt-get-called\"\n\
         case \"$* \" in *' install {package} '*) cp \"$HOME/../{package}\" \"${{0%/*}}/{package}\" ;; esac\n"
    )
}

/// A docker whose engine answers and which has no Compose.
const DOCKER: &str = "#!/bin/sh\n[ \"$1\" = version ] && echo 26.1.5\n";

#[test]
fn an_older_compose_is_enough() {
    let place = Place::new();
    let compose = "#!/bin/sh\necho 2.26.1\n";
    write_program(&place.path("docker-compose"), compose);
    let own = [
        CC,
        NEW_RUSTC,
        ("cargo", &cargo()),
        ("docker", DOCKER),
        ("apt-cache", &apt_cache(&[("docker-compose", "2.26.1-4")])),
        ("apt-get", &apt_get("docker-compose")),
        ("sudo", SUDO),
    ];
    let output = build_with(&place, &own, &["--with-docker"]);
    expect_code(&output, 0);
    expect_says(&output, "Docker Compose 2.26.1 answers");
    expect_says(&output, "gates will be one-shot services");
    assert!(place.bin().join("charon-dkg").exists());
    // Packages are installed from the sources that the machine has.
    let called = fs::read_to_string(place.path("apt-get-called")).unwrap();
    let called: Vec<_> = called.lines().collect();
    assert_eq!(called.len(), 2, "{called:?}");
    assert!(called[0].ends_with(" update"), "{called:?}");
    assert!(called[1].ends_with(" install docker-compose"), "{called:?}");
}

#[test]
fn what_docker_lacks_is_said_before_anything_is_built() {
    for (docker_at, packages, lacking) in [
        (
            "elsewhere/docker",
            &[("docker-compose", "2.40.3")][..],
            "no docker.io",
        ),
        ("docker", &[("docker.io", "26.1.5")], "no Compose is here"),
    ] {
        let place = Place::new();
        let own = [
            CC,
            NEW_RUSTC,
            ("cargo", &cargo()),
            (docker_at, DOCKER),
            ("apt-cache", &apt_cache(packages)),
            ("apt-get", &apt_get("nothing")),
            ("sudo", SUDO),
        ];
        let output = build_with(&place, &own, &["--with-docker"]);
        expect_code(&output, 1);
        expect_says(&output, lacking);
        expect_says(&output, "nothing was installed");
        assert!(!place.path("cargo-called").exists());
        let called = fs::read_to_string(place.path("apt-get-called")).unwrap();
        assert!(!called.contains("install"), "{called}");
        assert!(tree(&place.home()).is_empty());
    }
}

// ------------------------------------------------------------------------------------------------
// The whole machine, in a root file system that is thrown away
// ------------------------------------------------------------------------------------------------

#[test]
#[ignore = "needs root, sudo, zsh and fish"]
fn system_wide_with_sudo_and_every_shell() {
    for (program, package) in [
        ("sudo", "sudo"),
        ("zsh", "zsh"),
        ("fish", "fish"),
        ("unshare", "util-linux"),
    ] {
        need(program, package);
    }
    let output = Command::new(source("tests/install/throwaway-root.sh"))
        .args([BINARY, "system.sh"])
        .output()
        .unwrap();
    expect_code(&output, 0);
    expect_says(&output, "system: all passed");
}

// ------------------------------------------------------------------------------------------------
// What docker asks of every plugin, at every one of its own starts
// ------------------------------------------------------------------------------------------------

#[test]
#[ignore = "needs strace"]
fn metadata_comes_at_once_and_from_nowhere_else() {
    let output = Command::new(BINARY)
        .arg("docker-cli-plugin-metadata")
        .output()
        .unwrap();
    expect_code(&output, 0);
    assert_eq!(
        output.stdout,
        fs::read(source("plugin-metadata/docker-cli-plugin.json")).unwrap()
    );
    assert_eq!(output.stderr, b"");

    need("strace", "strace");
    let place = Place::new();
    let log = place.path("calls");
    let output = Command::new("strace")
        .args([
            "-f",
            "-o",
            log.to_str().unwrap(),
            BINARY,
            "docker-cli-plugin-metadata",
        ])
        .env("DOCKER_HOST", "tcp://127.0.0.1:1")
        .output()
        .unwrap();
    expect_code(&output, 0);
    let calls = fs::read_to_string(&log).unwrap();
    assert!(calls.contains("exit_group(0)"), "{calls}");
    // What the C library and the runtime need to start, and one write: more is not "at once".
    assert!(calls.lines().count() < 400, "{calls}");
    for call in ["socket(", "connect(", "clone(", "clone3(", "docker.sock"] {
        assert!(!calls.contains(call), "{call} in {calls}");
    }
}
