//! Whole ceremonies on a real engine, with the simulator in charon's place: every `run` is this program as its user starts it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "support/output.rs"]
mod output;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use output::text;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_charon-dkg");
const OPERATORS: usize = 4;

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect(
        "these tests need docker's command line: install docker.io, or run ./install.sh --with-docker",
    );
    assert!(
        output.status.success(),
        "docker {args:?} failed; these tests need a running engine: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A rehearsal that passed and was kept, and a relay for more ceremonies with its keys.
struct Cluster {
    kept: PathBuf,
    work: tempfile::TempDir,
    network: String,
}

impl Cluster {
    fn rehearsed() -> (Self, Value) {
        docker(&["version"]);
        let output = Command::new(PROGRAM)
            .args([
                "rehearse",
                "--engine",
                "simulated",
                "--operators",
                "4",
                "--validators",
                "2",
            ])
            .args(["--without-gate", "--keep"])
            .args(["--format", "json", "--progress", "plain"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let work = tempfile::tempdir().unwrap();
        fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Tests of one process run side by side.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let network = format!("cdkg-test-{}-{number}", std::process::id());
        docker(&["network", "create", &network]);
        docker(&[
            "run",
            "-d",
            "--name",
            &network,
            "--network",
            &network,
            "charon-dkg-simulator:v1.10.3",
            "relay",
            "--http-address=0.0.0.0:3640",
        ]);
        let kept = PathBuf::from(document["directory"].as_str().unwrap());
        (
            Self {
                kept,
                work,
                network,
            },
            document,
        )
    }

    /// A clean directory with an operator's key and definition, owned as the operator's own.
    fn fresh(&self, operator: usize, name: &str) -> PathBuf {
        let from = self.kept.join(format!("operator-{operator}/.charon"));
        let project = self.work.path().join(name);
        let data = project.join(".charon");
        fs::create_dir_all(&data).unwrap();
        let owner = fs::metadata(&from).unwrap();
        for file in ["charon-enr-private-key", "cluster-definition.json"] {
            fs::copy(from.join(file), data.join(file)).unwrap();
            give(&data.join(file), &owner);
        }
        give(&data, &owner);
        give(&project, &owner);
        project
    }

    fn run(&self, project: &Path) -> Command {
        self.ceremonial(&["run"], project)
    }

    /// A command that wants to know what is run.
    fn ceremonial(&self, verb: &[&str], project: &Path) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(verb)
            .args([
                "--no-backup",
                "--progress",
                "plain",
                "--format",
                "json",
                "--image",
                "charon-dkg-simulator",
            ])
            .arg(format!("--relay=http://{}:3640", self.network))
            .arg(format!("--network={}", self.network))
            .arg("--dir")
            .arg(project)
            .env("XDG_STATE_HOME", self.work.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for args in [
            &["rm", "-f", &self.network][..],
            &["network", "rm", &self.network],
        ] {
            Command::new("docker").args(args).output().ok();
        }
        fs::remove_dir_all(&self.kept).ok();
    }
}

fn give(path: &Path, owner: &fs::Metadata) {
    std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// Everything in a directory: path, mode, owner and content.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (u32, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let bytes = if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        if meta.is_dir() {
            found.extend(tree(&path));
        }
        found.insert(path, (meta.mode(), meta.uid(), bytes));
    }
    found
}

/// Reads a child's standard error up to a line with this text; gives what was read.
fn until(child: &mut Child, wanted: &str) -> String {
    let mut seen = String::new();
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap());
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap() == 0 {
            panic!("it ended before {wanted:?}:\n{seen}");
        }
        seen.push_str(&line);
        if line.contains(wanted) {
            return seen;
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn lock_hash(project: &Path) -> String {
    let output = Command::new(PROGRAM)
        .args(["verify", "--format", "json", "--dir"])
        .arg(project)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "pass");
    report["lock_hash"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs a docker engine"]
fn four_operators_end_with_the_same_proved_files_whatever_happens_on_the_way() {
    let (cluster, document) = Cluster::rehearsed();

    // The rehearsal: several owners where root rehearses, one lock for all, nobody else can read.
    let operators = document["operators"].as_array().unwrap();
    assert_eq!(operators.len(), OPERATORS);
    for (position, line) in operators.iter().enumerate() {
        let data = cluster
            .kept
            .join(format!("operator-{}/.charon", position + 1));
        let owner = u32::try_from(line["owner"].as_u64().unwrap()).unwrap();
        for (path, (mode, uid, _)) in tree(&data) {
            assert_eq!(uid, owner, "{}", path.display());
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
        assert_eq!(line["lock_hash"], operators[0]["lock_hash"]);
    }

    // A directory that had its ceremony is refused and stays as it is.
    let finished = cluster.kept.join("operator-1");
    let before = tree(&finished.join(".charon"));
    let refused = cluster.run(&finished).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(
        text(&refused).contains("cluster-lock.json"),
        "{}",
        text(&refused)
    );
    assert_eq!(tree(&finished.join(".charon")), before);

    // Ready lines that are kept hold `run` to the group: one of four is not enough without being asked.
    let ready = cluster.fresh(1, "ready");
    let mut say_ready = cluster.ceremonial(&["ready"], &ready);
    let said = say_ready.output().unwrap();
    assert!(said.status.success(), "{}", text(&said));
    let document: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert!(document["text"].as_str().unwrap().starts_with("dkgready1"));
    assert_eq!(
        document["statement"]["relays"],
        format!("http://{}:3640", cluster.network)
    );
    let before = tree(&ready.join(".charon"));
    let unchanged = || {
        assert_eq!(tree(&ready.join(".charon")), before);
        assert!(!ready.join(".charon-dkg/attempts").exists());
    };
    for more in [
        &[][..],
        &["--require-ready"],
        &["--at", "2199-01-01T00:00Z"],
    ] {
        let refused = cluster
            .run(&ready)
            .args(more)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
        assert!(
            text(&refused).contains("1 of 4 operators are ready"),
            "{}",
            text(&refused)
        );
        unchanged();
    }
    // Whoever goes on all the same waits for the time, and Ctrl-C then leaves nothing behind.
    let mut waits = cluster.run(&ready);
    let mut waits = waits
        .args(["--yes", "--at", "2199-01-01T00:00Z"])
        .spawn()
        .unwrap();
    until(&mut waits, "starting at 2199-01-01T00:00:00Z");
    signal(&waits, Signal::INT);
    let stopped = waits.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", text(&stopped));
    unchanged();

    // While one `run` waits, a second with the same key is turned away, from wherever.
    let projects: Vec<PathBuf> = (1..=OPERATORS)
        .map(|operator| cluster.fresh(operator, &format!("{operator}")))
        .collect();
    let copy = cluster.fresh(1, "copy");
    let before = tree(&copy.join(".charon"));
    let mut first = cluster.run(&projects[0]).spawn().unwrap();
    until(&mut first, "waiting for 3 operators");
    let second = cluster.run(&copy).output().unwrap();
    assert_eq!(second.status.code(), Some(5), "{}", text(&second));
    assert!(
        text(&second).contains(&format!("process {}", first.id())),
        "{}",
        text(&second)
    );
    assert_eq!(tree(&copy.join(".charon")), before);

    // Killed, it leaves charon running and a data directory without anything new.
    let untouched = tree(&copy.join(".charon")).len();
    signal(&first, Signal::KILL);
    first.wait().unwrap();
    assert_eq!(tree(&projects[0].join(".charon")).len(), untouched);

    // Stopped in order, it leaves neither.
    let mut stopped = cluster.run(&projects[1]).spawn().unwrap();
    until(&mut stopped, "waiting for");
    signal(&stopped, Signal::INT);
    let stopped = stopped.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", text(&stopped));
    assert_eq!(tree(&projects[1].join(".charon")).len(), untouched);

    // The same commands again: the first goes on with its container, and all end well.
    let children: Vec<Child> = projects
        .iter()
        .map(|project| cluster.run(project).spawn().unwrap())
        .collect();
    let mut first_says = String::new();
    for (position, mut child) in children.into_iter().enumerate() {
        let mut says = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut says)
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "operator {}: {says}", position + 1);
        if position == 0 {
            first_says = says;
        }
    }
    assert!(
        first_says.contains("going on with container"),
        "{first_says}"
    );
    let hashes: Vec<String> = projects.iter().map(|project| lock_hash(project)).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    let left = docker(&[
        "ps",
        "-a",
        "--filter",
        "label=charon-dkg.enr-id",
        "--format",
        "{{.Label \"charon-dkg.attempt\"}}",
    ]);
    let here = cluster.work.path().display().to_string();
    assert!(!left.contains(&here), "containers are left behind:\n{left}");

    // charon tells its flags, and the simulator refuses this one then.
    let refused = cluster
        .run(&copy)
        .args([
            "--",
            "--execution-client-rpc-endpoint=https://rpc.example/v3/k3y-of-mine",
        ])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(6), "{}", text(&refused));
    let log = fs::read_to_string(copy.join(".charon-dkg/attempts/1/charon.log")).unwrap();
    assert!(
        log.contains(r#""execution-client-rpc-endpoint": "xxxxx""#),
        "{log}"
    );
    assert!(!log.contains("k3y"), "{log}");
    assert!(!text(&refused).contains("k3y"), "{}", text(&refused));
}

/// An operator who types what the last command said comes next, and adds only what nobody else can know: where the relay of
/// these tests is, the passphrase, and what the others pasted.
struct Typist<'a> {
    cluster: &'a Cluster,
    project: PathBuf,
    passphrase: PathBuf,
    typed: Vec<String>,
}

impl Typist<'_> {
    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(words)
            .current_dir(&self.project)
            .env("XDG_STATE_HOME", self.cluster.work.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The words of a command as it is advised, with what only the operator knows.
    fn words(&mut self, command: &str) -> Vec<String> {
        self.typed.push(command.to_owned());
        let far = self.typed.join("\n");
        assert!(self.typed.len() < 60, "there is no end:\n{far}");
        let mut words = shlex::split(command).unwrap();
        assert_eq!(words.remove(0), "charon-dkg", "{far}");
        let verb = words[0].clone();
        let is_new = |flag: &str| !words.iter().any(|word| word == flag);
        if ["plan", "run"].contains(&verb.as_str()) && is_new("--relay") {
            let relay = format!("http://{}:3640", self.cluster.network);
            let network = self.cluster.network.clone();
            let image = "charon-dkg-simulator".to_owned();
            for (flag, value) in [
                ("--relay", relay),
                ("--network", network),
                ("--image", image),
            ] {
                words.extend([flag.to_owned(), value]);
            }
        }
        if verb == "backup" {
            let file = self.passphrase.display().to_string();
            words.extend(["--passphrase-file".to_owned(), file]);
        }
        if words.get(1).is_some_and(|word| word == "restore") {
            words.push("--yes".to_owned());
        }
        words
    }

    /// Types it; what the others pasted is there to be read.
    fn types(&mut self, command: &str, pasted: &str) -> Output {
        let words = self.words(command);
        let mut child = self.command(&words).stdin(Stdio::piped()).spawn().unwrap();
        // It need not be read.
        drop(child.stdin.take().unwrap().write_all(pasted.as_bytes()));
        child.wait_with_output().unwrap()
    }

    /// Types what comes next until that is this verb; gives the whole command.
    fn until(&mut self, wanted: &str, pasted: &str) -> String {
        let mut command = "charon-dkg status".to_owned();
        loop {
            let output = self.types(&command, pasted);
            command = next(&output);
            if command.split(' ').nth(1) == Some(wanted) {
                return command;
            }
        }
    }
}

/// What a command says comes next: in its last line, or after a failure in a hint or in a finding; otherwise `status` knows.
fn next(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stdout.lines().last().unwrap_or_default();
    if let Some(command) = last.strip_prefix("next: ") {
        return command.to_owned();
    }
    let said = stderr.lines().filter(|line| {
        let advises = ["hint: ", "next:", "next,"].iter();
        advises
            .clone()
            .any(|word| line.trim_start().starts_with(word))
    });
    let marked = said.flat_map(|line| line.split('`').skip(1).step_by(2));
    let commands: Vec<&str> = marked.filter(|it| it.starts_with("charon-dkg ")).collect();
    match commands.first() {
        Some(command) => (*command).to_owned(),
        None if output.status.success() => "charon-dkg status".to_owned(),
        None => panic!("no way on: {}", text(output)),
    }
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn typing_what_comes_next_leads_from_the_key_to_the_started_cluster() {
    let (cluster, _) = Cluster::rehearsed();
    let project = cluster.fresh(1, "typed");
    let definition = fs::read(project.join(".charon/cluster-definition.json")).unwrap();
    fs::remove_file(project.join(".charon/cluster-definition.json")).unwrap();
    let passphrase = cluster.work.path().join("passphrase");
    fs::write(&passphrase, "correct horse battery staple").unwrap();
    let name = format!("{}-typed", cluster.network);
    let compose = "services:\n  charon:\n    image: charon-dkg-simulator:v1.10.3\n    command: ['relay', '--http-address=0.0.0.0:3640']\n    \
                   volumes: ['./.charon:/opt/charon/.charon']\n";
    fs::write(project.join("docker-compose.yml"), compose).unwrap();
    fs::write(
        project.join(".env"),
        format!("COMPOSE_PROJECT_NAME={name}\n"),
    )
    .unwrap();
    let mut ann = Typist {
        cluster: &cluster,
        project: project.clone(),
        passphrase,
        typed: Vec::new(),
    };
    let gate = ann.types("charon-dkg gate install --rehearsal --one-shot", "");
    assert!(gate.status.success(), "{}", text(&gate));

    // With the key alone there is nothing to do but to send its ENR; then the coordinator's file comes.
    let show = ann.until("enr", "");
    let shown = ann.types(&show, "");
    assert!(shown.status.success(), "{}", text(&shown));
    fs::write(project.join("cluster-definition.json"), &definition).unwrap();
    let run = ann.until("run", "");
    assert!(
        ann.typed.iter().any(|typed| typed.contains(" backup")),
        "{:?}",
        ann.typed
    );
    assert!(
        run.contains("--relay") && run.contains("--network"),
        "{run}"
    );

    // Killed, it is followed by what `status` says.
    let words = ann.words(&run);
    let mut killed = ann.command(&words).spawn().unwrap();
    until(&mut killed, "waiting for 3 operators");
    signal(&killed, Signal::KILL);
    killed.wait().unwrap();
    let run = ann.until("run", "");
    assert!(
        run.contains("--relay") && run.contains("--network"),
        "{run}"
    );
    let others: Vec<Child> = (2..=OPERATORS)
        .map(|operator| {
            let project = cluster.fresh(operator, &format!("other-{operator}"));
            cluster.run(&project).spawn().unwrap()
        })
        .collect();
    let done = ann.types(&run, "");
    assert!(done.status.success(), "{}", text(&done));
    let mut chat = String::new();
    for other in others {
        let output = other.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        chat.push_str(document["receipt"].as_str().unwrap());
        chat.push('\n');
    }

    // The receipts of the others, and whatever happens to the files meanwhile.
    let up = ann.until("up", &chat);
    assert!(
        ann.typed
            .iter()
            .any(|typed| typed == "charon-dkg confirm -"),
        "{:?}",
        ann.typed
    );
    let backup = ann.types("charon-dkg backup", "");
    assert!(backup.status.success(), "{}", text(&backup));
    let data = project.join(".charon");
    for path in tree(&data).into_keys().chain([data.clone()]) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    assert_eq!(ann.until("up", &chat), up);
    fs::remove_file(data.join("charon-enr-private-key")).unwrap();
    assert_eq!(ann.until("up", &chat), up);

    let started = ann.types(&up, "");
    let running = docker(&[
        "ps",
        "--format",
        "{{.Names}}",
        "--filter",
        &format!("label=com.docker.compose.project={name}"),
    ]);
    let down = Command::new("docker")
        .args(["compose", "down", "--timeout", "1"])
        .current_dir(&project)
        .output()
        .unwrap();
    assert!(started.status.success(), "{}", text(&started));
    assert!(running.contains("charon"), "{running}");
    assert!(down.status.success(), "{}", text(&down));
}

/// What is found before the start cannot come in by the back door while `run` waits; and the terms are shown all the way.
#[test]
#[ignore = "needs a docker engine"]
fn a_directory_that_was_opened_meanwhile_does_not_pass() {
    let (cluster, _) = Cluster::rehearsed();
    let project = cluster.fresh(1, "opened");
    let data = project.join(".charon");
    let document = |output: &Output| -> Value { serde_json::from_slice(&output.stdout).unwrap() };
    let planned = cluster.ceremonial(&["plan"], &project).output().unwrap();
    assert!(planned.status.success(), "{}", text(&planned));
    let terms = document(&planned)["payouts"].clone();
    // The rehearsal's validators have addresses of their own.
    for key in ["withdrawal_addresses", "fee_recipient_addresses"] {
        for index in [0, 1] {
            assert_eq!(terms[key][index]["last_validator"], index + 1, "{terms}");
        }
    }

    let mut opened = cluster.run(&project).spawn().unwrap();
    until(&mut opened, "waiting for 3 operators");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let others: Vec<Child> = (2..=OPERATORS)
        .map(|operator| {
            let project = cluster.fresh(operator, &format!("other-{operator}"));
            cluster.run(&project).spawn().unwrap()
        })
        .collect();
    let ended = opened.wait_with_output().unwrap();
    let said = text(&ended);
    assert_eq!(ended.status.code(), Some(4), "{said}");
    assert!(said.contains("data-directory-mode"), "{said}");
    assert!(said.contains(" repair`, then"), "{said}");
    for other in others {
        let output = other.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(
            document(&output)["report"]["payouts"]["withdrawal_addresses"],
            terms["withdrawal_addresses"]
        );
    }
    // The command that it names leads out.
    let repaired = Command::new(PROGRAM)
        .args(["repair", "--yes", "--dir"])
        .arg(&project)
        .output()
        .unwrap();
    assert!(repaired.status.success(), "{}", text(&repaired));
    lock_hash(&project);
}

#[test]
#[ignore = "needs a docker engine"]
fn a_rehearsal_is_calm_and_clears_what_a_killed_one_left() {
    docker(&["version"]);
    let work = tempfile::tempdir().unwrap();
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let rehearse = |words: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command
            .args(["rehearse", "--engine=simulated", "--without-gate"])
            .args(words)
            .env("TMPDIR", work.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let left = || -> Vec<PathBuf> {
        let entries = fs::read_dir(work.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let mut killed = rehearse(&[]).spawn().unwrap();
    until(&mut killed, "ready lines are in the chat");
    signal(&killed, Signal::KILL);
    killed.wait().unwrap();
    let places = left();
    assert_eq!(places.len(), 1, "{places:?}");
    let name = fs::read_to_string(places[0].join("rehearsal")).unwrap();

    let played = rehearse(&["--yes"]).output().unwrap();
    let said = String::from_utf8(played.stderr.clone()).unwrap();
    // The gate was left out on purpose, which is no failure.
    assert!(played.status.success(), "{}", text(&played));
    assert!(
        said.contains(&format!("removed {}", places[0].display())),
        "{said}"
    );
    assert_eq!(left(), Vec::<PathBuf>::new());
    let containers = docker(&[
        "ps",
        "--all",
        "--quiet",
        "--filter",
        &format!("name={name}"),
    ]);
    assert_eq!(containers, "");
    let networks = docker(&[
        "network",
        "ls",
        "--quiet",
        "--filter",
        &format!("name={name}"),
    ]);
    assert_eq!(networks, "");

    assert!(said.lines().count() < 30, "{said}");
    assert!(
        !said.lines().any(|line| line.starts_with("error:")),
        "{said}"
    );
    let shown = String::from_utf8(played.stdout).unwrap();
    let table = shown.lines().skip_while(|line| !line.starts_with("op "));
    let table: Vec<&str> = table.take(1 + OPERATORS).collect();
    assert_eq!(table.len(), 1 + OPERATORS, "{shown}");
    for line in table {
        assert!(line.len() <= 80, "{line}");
    }
    let verdict = shown.lines().last().unwrap();
    assert!(verdict.starts_with("PASS "), "{shown}");
}

#[test]
#[ignore = "needs a docker engine"]
fn an_edit_only_reads_what_the_cluster_runs_with_and_outlives_its_command() {
    let (cluster, _) = Cluster::rehearsed();
    let projects: Vec<PathBuf> = (1..=OPERATORS)
        .map(|operator| cluster.kept.join(format!("operator-{operator}")))
        .collect();
    let words = ["edit", "recreate-private-keys"];
    let before: Vec<_> = projects
        .iter()
        .map(|project| tree(&project.join(".charon")))
        .collect();
    let mut first = cluster.ceremonial(&words, &projects[0]).spawn().unwrap();
    until(&mut first, "waiting for 3 operators");
    signal(&first, Signal::KILL);
    first.wait().unwrap();

    let attempt = projects[0].join(".charon-dkg/attempts/2");
    let label = format!("label=charon-dkg.attempt={}", attempt.display());
    let id = docker(&["ps", "--quiet", "--filter", &label]);
    let seen: Value = serde_json::from_str(&docker(&["inspect", &id])).unwrap();
    let mounts = seen[0]["Mounts"].as_array().unwrap();
    let writable: Vec<&str> = mounts
        .iter()
        .filter(|mount| mount["RW"] == true)
        .map(|mount| mount["Source"].as_str().unwrap())
        .collect();
    assert_eq!(writable, [attempt.join("stage").to_str().unwrap()]);
    assert_eq!(mounts.len(), 2, "{mounts:?}");
    assert_eq!(seen[0]["HostConfig"]["ReadonlyRootfs"], true);

    let children: Vec<Child> = projects
        .iter()
        .map(|project| cluster.ceremonial(&words, project).spawn().unwrap())
        .collect();
    let mut locks = Vec::new();
    for (position, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        if position == 0 {
            assert!(text(&output).contains("going on with container"));
        }
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        locks.push(document["lock_hash"].as_str().unwrap().to_owned());
    }
    locks.dedup();
    assert_eq!(locks.len(), 1);
    for (project, before) in projects.iter().zip(before) {
        assert_eq!(tree(&project.join(".charon")), before);
        assert!(
            project
                .join(".charon-dkg/edit/new/cluster-lock.json")
                .exists()
        );
    }
}

#[test]
#[ignore = "needs a docker engine"]
fn every_edit_is_played_from_running_nodes_to_switched_ones() {
    docker(&["version"]);
    let mut rehearse = Command::new(PROGRAM);
    rehearse.args(["rehearse", "--engine", "simulated", "--format", "json"]);
    let edits = [
        "add-validators",
        "add-operators",
        "remove-operators",
        "replace-operator",
        "recreate-private-keys",
    ];
    for edit in edits {
        rehearse.args(["--edit", edit]);
    }
    let output = rehearse.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let trials = document["scenarios"].as_array().unwrap();
    assert_eq!(trials.len(), edits.len());
    for trial in trials {
        assert_eq!(trial["held"], true, "{trial}");
        let least = if trial["scenario"] == "add-validators" {
            3
        } else {
            9
        };
        assert!(trial["steps"].as_array().unwrap().len() >= least, "{trial}");
    }
}
