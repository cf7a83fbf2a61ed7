//! The whole story of four operators after one ceremony, with each Compose: nobody starts before everybody has everything.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    Age, Project, Said, USUAL, change_one_byte, check_schema, copy, give, ground,
    receipts_of_the_others,
};

const OPERATORS: usize = 4;

/// The files of one simulated ceremony, and what each operator's `run` printed as its receipt.
struct Ceremony {
    kept: PathBuf,
    receipts: Vec<String>,
}

impl Ceremony {
    fn held() -> Self {
        let project = Project::new(Age::Today, USUAL);
        let words = [
            "rehearse",
            "--engine",
            "simulated",
            "--without-gate",
            "--keep",
            "--format",
            "json",
            "--progress",
            "quiet",
        ];
        let said = project.ours(&words).good();
        let document: Value = serde_json::from_str(&said.out).unwrap();
        let mut ceremony = Self {
            kept: PathBuf::from(document["directory"].as_str().unwrap()),
            receipts: Vec::new(),
        };
        for number in 1..=OPERATORS {
            let dir = ceremony.kept.join(format!("operator-{number}"));
            let words = ["receipt", "--progress", "quiet", "--dir"];
            let said = project.ours(&[&words[..], &[dir.to_str().unwrap()]].concat());
            let receipt = said.good().out.trim().to_owned();
            ceremony.receipts.push(receipt);
        }
        ceremony
    }

    fn data_dir(&self, number: usize) -> PathBuf {
        self.kept.join(format!("operator-{number}/.charon"))
    }
}

impl Drop for Ceremony {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.kept).ok();
    }
}

/// The project of one operator.
struct Operator<'a> {
    ceremony: &'a Ceremony,
    number: usize,
    project: Project,
    age: Age,
}

impl<'a> Operator<'a> {
    fn new(ceremony: &'a Ceremony, age: Age, number: usize) -> Self {
        let project = Project::new(age, USUAL);
        let data_dir = project.data_dir();
        fs::create_dir(&data_dir).unwrap();
        fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o700)).unwrap();
        give(&data_dir);
        for name in ["charon-enr-private-key", "cluster-definition.json"] {
            let path = data_dir.join(name);
            fs::copy(ceremony.data_dir(number).join(name), &path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            give(&path);
        }
        Self {
            ceremony,
            number,
            project,
            age,
        }
    }

    /// What its `run` leaves.
    fn gets_its_files(&self) {
        let from = self.ceremony.data_dir(self.number);
        copy(&from, &self.project.data_dir());
        copy(
            &from.with_file_name(".charon-dkg"),
            &self.project.dir().join(".charon-dkg"),
        );
    }

    fn confirms(&self, receipts: &[String]) -> Said {
        let receipts: Vec<&str> = receipts.iter().map(String::as_str).collect();
        self.project.ours(&[&["confirm"], &*receipts].concat())
    }

    /// A plain `up` starts nothing that sees the keys, for this reason.
    fn is_refused(&self, reason: &str) {
        let who = format!("operator {} with {:?}", self.number, self.age);
        let said = self.project.compose(&["up", "-d"]);
        assert_ne!(said.code, 0, "{who}: {}\n{}", said.out, said.err);
        for service in ["charon", "vc"] {
            assert!(!self.project.runs(service), "{who}: {service} runs");
        }
        let words = match self.age {
            Age::Today => said.err,
            Age::Second | Age::First => {
                self.project
                    .compose(&["logs", "charon-dkg-gate"])
                    .good()
                    .out
            }
        };
        assert!(words.contains(reason), "{who}: no {reason:?} in {words}");
    }

    fn starts(&self) {
        let who = format!("operator {} with {:?}", self.number, self.age);
        self.project.compose(&["up", "-d"]).good();
        for service in ["charon", "vc", "el"] {
            assert!(self.project.runs(service), "{who}: {service} does not run");
        }
    }
}

/// Does something for all operators at the same time.
fn all(operators: &[Operator<'_>], act: impl Fn(&Operator<'_>) + Sync) {
    std::thread::scope(|scope| {
        let act = &act;
        let acts: Vec<_> = operators
            .iter()
            .map(|operator| scope.spawn(move || act(operator)))
            .collect();
        for one in acts {
            one.join().unwrap();
        }
    });
}

fn story(ceremony: &Ceremony, age: Age) {
    let (early, last) = ceremony.receipts.split_at(OPERATORS - 1);
    let operators: Vec<Operator<'_>> = (1..=OPERATORS)
        .map(|number| Operator::new(ceremony, age, number))
        .collect();
    all(&operators, |operator| {
        let words = ["gate", "install", "--rehearsal"];
        operator.project.ours(&words).good();
        // As operators do: it syncs for days. A refused `up` also leaves off whatever it is creating at that moment, and the
        // engine may still be at it when the next one comes.
        operator.project.compose(&["up", "-d", "el"]).good();
        operator.is_refused("no completed ceremony");
    });

    // Three have everything; nobody has heard of the fourth.
    all(&operators, |operator| {
        if operator.number < OPERATORS {
            operator.gets_its_files();
            let said = operator.confirms(early);
            assert_eq!(said.code, 4, "{}", said.err);
        } else {
            // Who has no files can confirm nothing.
            assert_ne!(operator.confirms(early).code, 0);
        }
        operator.is_refused("operator 4");
    });

    // The fourth has everything, but nobody has its receipt.
    let fourth = &operators[OPERATORS - 1];
    fourth.gets_its_files();
    all(&operators, |operator| {
        operator.is_refused("no receipt: operator")
    });

    // It arrives.
    all(&operators, |operator| {
        operator.confirms(&[early, last].concat()).good();
        operator.starts();
    });

    // One byte of one keystore is another one.
    let second = &operators[1];
    second.project.compose(&["stop", "-t", "0"]).good();
    let (path, whole) = change_one_byte(&second.project.data_dir());
    second.is_refused("keystore-0");
    fs::write(path, whole).unwrap();
    second.starts();
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn four_operators_start_when_all_four_have_everything_with_every_compose() {
    ground();
    let ceremony = Ceremony::held();
    std::thread::scope(|scope| {
        let ages = [Age::Today, Age::Second, Age::First];
        let stories = ages.map(|age| {
            let ceremony = &ceremony;
            scope.spawn(move || story(ceremony, age))
        });
        for one in stories {
            one.join().unwrap();
        }
    });
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn documents_for_programs_have_the_form_that_their_schemas_describe() {
    let project = Project::new(Age::Today, USUAL).with_outputs();
    let json = |words: &[&str]| -> Value {
        let said = project.ours(&[words, &["--format", "json"]].concat());
        serde_json::from_str(&said.out).unwrap()
    };
    check_schema("gate-status", &project.status());
    check_schema("gate-status", &json(&["gate", "install"]));
    let mut receipt = json(&["receipt"]);
    check_schema("receipt", &receipt);
    let unconfirmed = json(&["confirm"]);
    assert_eq!(unconfirmed["confirmed"], false);
    check_schema("confirm", &unconfirmed);
    let others = receipts_of_the_others();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let confirmed = json(&[&["confirm"], others.as_slice()].concat());
    assert_eq!(confirmed["confirmed"], true);
    check_schema("confirm", &confirmed);
    check_schema("gate-status", &project.status());
    // A schema is no empty promise.
    receipt["receipt"]["keystores"] = Value::from("two");
    let noticed = std::panic::catch_unwind(|| check_schema("receipt", &receipt));
    assert!(noticed.is_err());
}

/// A rehearsal that somebody plays to the end.
fn rehearsed(age: Age, words: &[&str]) -> (Project, Said, Value) {
    let project = Project::new(age, USUAL);
    let usual = [
        "rehearse",
        "--engine",
        "simulated",
        "--operators",
        "3",
        "--validators",
        "1",
        "--format",
        "json",
        "--progress",
        "quiet",
    ];
    let said = project.ours(&[&usual, words].concat());
    let document = serde_json::from_str(&said.out).unwrap();
    (project, said, document)
}

pub(crate) fn docker(words: &[&str]) -> String {
    let mut command = std::process::Command::new("docker");
    command.args(words).env("DOCKER_HOST", &ground().host);
    Said::of(&mut command).out
}

/// Removes the images of the gates of a project, whose directory goes.
pub(crate) fn remove_images_of(dir: &Path) {
    let filter = format!("label=charon-dkg.use=gate of {}", dir.display());
    for id in docker(&["image", "ls", "--quiet", "--filter", &filter]).split_whitespace() {
        docker(&["image", "rm", "--force", id]);
    }
}

/// Containers that mount something of this directory.
fn containers_at(dir: &Path) -> Vec<String> {
    let ids = docker(&["ps", "--all", "--quiet"]);
    let format = "{{.Name}}{{range .Mounts}} {{.Source}}{{end}}";
    let mut words = vec!["inspect", "--format", format];
    words.extend(ids.split_whitespace());
    let dir = dir.to_str().unwrap();
    let all = docker(&words);
    let here = all.lines().filter(|line| line.contains(dir));
    here.map(str::to_owned).collect()
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn a_rehearsal_plays_the_story_to_the_end_with_the_compose_that_is_there() {
    for (age, form) in [(Age::Today, "provider"), (Age::First, "one-shot")] {
        let (_project, said, document) = rehearsed(age, &[]);
        assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
        assert_eq!(document["passed"], true);
        assert_eq!(document["gate"]["form"], form);
        let answers = |operator: usize| -> Vec<&str> {
            let gate = document["operators"][operator]["gate"].as_array().unwrap();
            assert!(gate.iter().all(|answer| answer["held"] == true));
            gate.iter().map(|it| it["seen"].as_str().unwrap()).collect()
        };
        assert_eq!(
            answers(0),
            ["closed", "closed", "open", "closed", "open"],
            "{document:#}"
        );
        for operator in [1, 2] {
            assert_eq!(answers(operator), ["closed", "closed", "open"]);
            let reason = &document["operators"][operator]["gate"][1]["reason"];
            assert!(reason.as_str().unwrap().contains("operator 3"), "{reason}");
        }
        assert_eq!(document["operators"][2]["cut_off"], true);
        assert_eq!(document["directory"], Value::Null);
    }
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn a_rehearsal_without_compose_says_that_the_gate_was_not_shown() {
    let (_project, said, document) = rehearsed(Age::Today, &["--compose", "/no/such/compose"]);
    said.bad(3, &["the gate was not shown", "--without-gate"]);
    assert_eq!(document["passed"], true);
    let why = document["gate"]["not_shown"].as_str().unwrap();
    assert!(why.contains("/no/such/compose"), "{why}");
    let (_project, said, document) = rehearsed(Age::Today, &["--without-gate"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(document["operators"][0]["gate"], serde_json::json!([]));
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn scenarios_bring_about_what_they_say_and_see_what_must_happen() {
    let words = ["--pace", "2", "--scenario", "all"];
    let (_project, said, document) = rehearsed(Age::Today, &words);
    let scenarios = document["scenarios"].as_array().unwrap();
    let names: Vec<&str> = scenarios
        .iter()
        .map(|it| it["scenario"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "late-peer",
            "one-per-minute",
            "existing-keys",
            "existing-lock",
            "large",
            "mixed-versions",
            "missing-keystore",
            "killed",
            "full-disk",
            "wrong-owner",
        ]
    );
    let root = rustix::process::getuid().is_root();
    for scenario in scenarios {
        // Who is not root can give no file away, and that is said.
        let shown = root || scenario["scenario"] != "wrong-owner";
        let held = &scenario["held"];
        assert!(*held == shown || (!shown && held.is_null()), "{scenario:#}");
    }
    assert_eq!(said.code, if root { 0 } else { 3 }, "{}", said.err);
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn a_rehearsal_that_is_stopped_leaves_nothing_behind() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    let project = Project::new(Age::Today, USUAL);
    let base = tempfile::tempdir().unwrap();
    fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let words = [
        env!("CARGO_BIN_EXE_charon-dkg"),
        "rehearse",
        "--engine",
        "simulated",
        "--operators",
        "3",
        "--progress",
        "plain",
    ];
    let mut child = project
        .command(&words, Path::new("/"))
        .env("TMPDIR", base.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let connected = lines.find(|line| line.as_ref().unwrap().contains("connected:"));
    assert!(connected.is_some(), "it ended before the ceremony");
    assert!(!containers_at(base.path()).is_empty());
    // The relay's directory has the name of the network.
    let rehearsal = fs::read_dir(base.path()).unwrap().next().unwrap().unwrap();
    let mut entries = fs::read_dir(rehearsal.path()).unwrap();
    let network = entries.find_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_prefix("relay-").map(str::to_owned)
    });
    let networks = || docker(&["network", "ls", "--format", "{{.Name}}"]);
    let network = network.unwrap();
    assert!(networks().contains(&network));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    for line in lines {
        line.unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    assert_eq!(containers_at(base.path()), Vec::<String>::new());
    assert!(!networks().contains(&network));
}
