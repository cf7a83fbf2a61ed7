//! The engine module on a real engine, found as docker finds it.
//!
//! All of this runs on an engine of any mode: set `DOCKER_HOST` to the socket of a rootless
//! engine, one with `userns-remap`, or Podman's. Without an engine the tests fail and say so. The
//! engine must manage its networks itself (not `--iptables=false`), and give containers names in
//! them (Podman: not without its DNS plugin).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails, also in its helpers"
)]

#[path = "support/engine.rs"]
mod engine;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use charon_dkg::ceremony::plan::{ContainerPlan, Mount};
use charon_dkg::docker::endpoint::{Address, EngineEnvironment, EngineOptions, find_engine};
use charon_dkg::docker::probe::{self, Questions, ask_inside};
use charon_dkg::docker::self_image::{
    PROGRAM, SelfImage, SelfImageSpec, Use, load_in_passing, load_self_image, remove_earlier,
};
use charon_dkg::docker::{
    ContainerState, Engine, EngineError, EngineFacts, LogLine, MAX_LINE_BYTES, Mode, OutputStream,
    Overlap, Reason, ShortRun, UserMapping, user_for,
};
use charon_dkg::machine::relays::Outcome;
use engine::engine;
use futures_util::StreamExt;

/// Longer than anything here takes on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(1200);

/// The image of these tests is this very test program, told to be [`container_child`].
const CHILD: [&str; 5] = [
    PROGRAM,
    "--ignored",
    "--exact",
    "--nocapture",
    "container_child",
];

/// What is done inside a container: the first word after `child` says what.
#[test]
#[ignore = "the other tests run this inside containers"]
fn container_child() {
    let mut urls = std::env::args().skip_while(|word| word != probe::VERB);
    if urls.next().is_some() {
        let urls: Vec<String> = urls.collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let served = runtime.block_on(probe::serve(&urls));
        println!("\n{}", served.lines);
        std::process::exit(served.exit_code.into());
    }
    let mut words = std::env::args().skip_while(|word| word != "child").skip(1);
    let what = words
        .next()
        .expect("container_child is run by the other tests");
    let word = words.next();
    // The test harness has begun a line already.
    println!();
    match what.as_str() {
        "speak" => {
            println!("to stdout");
            eprintln!("to stderr");
            std::process::exit(7);
        }
        "lines" => {
            let count: usize = word.unwrap().parse().unwrap();
            for number in 0..count {
                println!("line {number}");
            }
            println!("{}", "x".repeat(300_000));
            print!("no line end");
        }
        "sleep" => {
            println!("sleeping");
            loop {
                std::thread::park();
            }
        }
        "obey" => {
            let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM])
                .expect("a handler");
            println!("ready");
            assert_eq!(signals.forever().next(), Some(signal_hook::consts::SIGTERM));
            println!("obeyed");
        }
        "write" => std::fs::write(word.unwrap(), "written").unwrap(),
        "confess" => {
            println!("{}", std::fs::read_to_string("/proc/self/status").unwrap());
            println!(
                "root: {:?}",
                std::fs::write("/file", "").map_err(|e| e.kind())
            );
        }
        "relay" => {
            let listener = std::net::TcpListener::bind("0.0.0.0:3640").unwrap();
            println!("listening");
            loop {
                let (mut connection, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                assert!(connection.read(&mut request).unwrap() > 0);
                let body = r#"["/ip4/10.0.0.1/tcp/3641/p2p/16Uiu2HAm"]"#;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                connection.write_all((head + body).as_bytes()).unwrap();
            }
        }
        "eat" => {
            let go = PathBuf::from(word.unwrap());
            println!("hungry");
            while !go.exists() {
                std::thread::yield_now();
            }
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                eaten.push(vec![1; 1 << 20]);
                std::hint::black_box(&eaten);
            }
        }
        other => panic!("{other}"),
    }
    std::process::exit(0);
}

/// The same engine without the module under test, for what that never does.
fn raw_docker() -> bollard::Docker {
    let found = engine::found();
    let Address::Socket(path) = found.address else {
        panic!("{}", found.address);
    };
    let path = path.to_str().unwrap();
    bollard::Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION).unwrap()
}

async fn image(engine: &Engine) -> SelfImage {
    let spec = SelfImageSpec {
        entrypoint: CHILD.map(str::to_owned).to_vec(),
        ..SelfImageSpec::default()
    };
    // One at a time, or several tests would load the same image at once.
    static LOADING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one_at_a_time = LOADING.lock().await;
    load_self_image(engine, &spec).await.unwrap()
}

async fn plan(engine: &Engine, args: &[&str]) -> ContainerPlan {
    let image = image(engine).await;
    ContainerPlan {
        name: format!("charon-dkg-test-{}", uuid::Uuid::new_v4().simple()),
        image: image
            .facts
            .run_image(&image.reference)
            .reference()
            .to_owned(),
        user: None,
        userns_mode: None,
        network: None,
        entrypoint: None,
        args: std::iter::once("child")
            .chain(args.iter().copied())
            .map(str::to_owned)
            .collect(),
        env: Vec::new(),
        mounts: Vec::new(),
        labels: BTreeMap::from([("charon-dkg.test".to_owned(), "yes".to_owned())]),
    }
}

/// Removes the test's container, and a network or volume of the same name, also when the test
/// fails half-way.
struct Cleanup(String);

impl Cleanup {
    fn after(plan: &ContainerPlan) -> Self {
        Self(plan.name.clone())
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let name = self.0.clone();
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let engine = engine().await;
                if engine.find_container(&name).await.unwrap().is_some() {
                    engine.kill_container(&name).await.unwrap();
                    engine.wait_exit(&name).await.ok();
                    engine.remove_container(&name).await.unwrap();
                }
                // Most tests have neither.
                let docker = raw_docker();
                docker.remove_network(&name).await.ok();
                let options = None::<bollard::query_parameters::RemoveVolumeOptions>;
                docker.remove_volume(&name, options).await.ok();
            });
        });
        if removed.join().is_err() && !std::thread::panicking() {
            panic!("container {} was left behind", self.0);
        }
    }
}

async fn lines_of(engine: &Engine, id: &str) -> Vec<LogLine> {
    engine.follow_logs(id).map(Result::unwrap).collect().await
}

/// Follows a container until it has written this line.
async fn wait_for_line(engine: &Engine, id: &str, text: &str) {
    let mut lines = engine.follow_logs(id);
    while let Some(line) = lines.next().await {
        if line.unwrap().text == text {
            return;
        }
    }
    panic!("the container ended without having written {text:?}");
}

/// A directory of an owner that this engine can act as, with nobody else allowed in; and the
/// owner's uid and gid.
fn owned_dir(facts: &EngineFacts) -> (tempfile::TempDir, PathBuf, u32, u32) {
    let outer = tempfile::tempdir().unwrap();
    std::fs::set_permissions(outer.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let dir = outer.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    let own = std::fs::metadata(&dir).unwrap();
    let (uid, gid) = match facts.mode {
        Mode::Rootless { uid } | Mode::PodmanRootless { uid } => (uid, uid),
        Mode::Rootful | Mode::UsernsRemap | Mode::PodmanRootful | Mode::DockerDesktop => {
            if own.uid() == 0 {
                (12_345, 23_456)
            } else {
                (own.uid(), own.gid())
            }
        }
    };
    std::os::unix::fs::chown(&dir, Some(uid), Some(gid)).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    (outer, dir, uid, gid)
}

fn mount(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
    }
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn an_engine_tells_what_it_is() {
    let facts = engine().await.facts().await.unwrap();
    println!("{facts:#?}");
    assert!(!facts.version.is_empty() && !facts.api_version.is_empty());
    assert!(facts.os_arch.starts_with("linux/"));
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_container_is_followed_from_creation_to_removal() {
    let engine = engine().await;
    let plan = plan(&engine, &["speak"]).await;
    let _cleanup = Cleanup::after(&plan);
    let id = engine.create_container(&plan).await.unwrap();
    let facts = engine.inspect_container(&id).await.unwrap();
    assert_eq!(facts.state, ContainerState::Created);
    assert_eq!(facts.name, plan.name);
    assert_eq!(facts.labels.get("charon-dkg.test").unwrap(), "yes");
    let error = engine.wait_exit(&id).await.unwrap_err();
    assert!(matches!(error, EngineError::NeverStarted { .. }), "{error}");

    engine.start_container(&id).await.unwrap();
    let lines = lines_of(&engine, &id).await;
    let exit = engine.wait_exit(&id).await.unwrap();
    assert_eq!((exit.code, exit.oom_killed), (7, false));
    assert!(!exit.started_at.is_empty() && !exit.finished_at.is_empty());
    let has = |stream, text: &str| {
        lines
            .iter()
            .any(|line| line.stream == stream && line.text == text)
    };
    assert!(has(OutputStream::Stdout, "to stdout"), "{lines:?}");
    assert!(has(OutputStream::Stderr, "to stderr"), "{lines:?}");
    // Asked again, after the end: the same output, the same exit.
    assert_eq!(lines_of(&engine, &id).await.len(), lines.len());
    assert_eq!(engine.wait_exit(&id).await.unwrap(), exit);

    engine.remove_container(&id).await.unwrap();
    engine.remove_container(&id).await.unwrap();
    assert!(engine.find_container(&plan.name).await.unwrap().is_none());
    let error = engine.wait_exit(&id).await.unwrap_err();
    assert!(
        matches!(error, EngineError::NoSuchContainer { .. }),
        "{error}"
    );
}

/// What `docker context inspect` says of the engine that docker would talk to; `None` where it refuses.
fn docker_says(options: &EngineOptions, environment: &EngineEnvironment) -> Option<String> {
    let mut docker = Command::new("docker");
    for (name, value) in [
        ("DOCKER_HOST", &environment.docker_host),
        ("DOCKER_CONTEXT", &environment.docker_context),
    ] {
        docker
            .env_remove(name)
            .envs(value.iter().map(|it| (name, it)));
    }
    for (flag, value) in [("--host", &options.host), ("--context", &options.context)] {
        docker.args(value.iter().flat_map(|it| [flag, it.as_str()]));
    }
    let config = environment.docker_config.as_deref().unwrap();
    docker
        .env("DOCKER_CONFIG", config)
        .args(["context", "inspect"]);
    let output = docker
        .args(["--format", "{{.Endpoints.docker.Host}}"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| said.trim().to_owned())
}

#[test]
#[ignore = "needs a docker engine"]
fn the_engine_is_the_one_that_docker_itself_would_talk_to() {
    let dir = tempfile::tempdir().unwrap();
    for (name, host) in [
        ("near", "unix:///near.sock"),
        ("far", "tcp://192.0.2.1:2375"),
    ] {
        let made = Command::new("docker")
            .env("DOCKER_CONFIG", dir.path())
            .args(["context", "create", name, "--docker"])
            .arg(format!("host={host}"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    let some = |text: &str| Some(text.to_owned());
    let mut compared = 0;
    for current in [None, some("far"), some("gone")] {
        let config = match &current {
            Some(name) => format!("{{\"currentContext\": \"{name}\"}}"),
            None => "{}".to_owned(),
        };
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        for docker_host in [
            None,
            some("unix:///host.sock"),
            some("host:1"),
            some("x://y"),
        ] {
            for docker_context in [None, some("near"), some("gone"), some("default")] {
                let environment = EngineEnvironment {
                    docker_host: docker_host.clone(),
                    docker_context: docker_context.clone(),
                    docker_config: Some(dir.path().to_owned()),
                    ..EngineEnvironment::default()
                };
                for (host, context) in [
                    (None, None),
                    (some("unix:///option.sock"), None),
                    (None, some("near")),
                    (None, some("default")),
                    (some("unix:///option.sock"), some("near")),
                ] {
                    let options = EngineOptions { host, context };
                    let found = find_engine(&options, &environment);
                    let found = found.ok().map(|found| found.address.to_string());
                    let said = docker_says(&options, &environment);
                    assert_eq!(found, said, "{options:?} {environment:?} {current:?}");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 240);
}

/// A short run, and its container is gone.
async fn run_short(
    engine: &Engine,
    plan: &ContainerPlan,
    deadline: Duration,
) -> Result<ShortRun, EngineError> {
    let run = engine.run_short(plan, deadline).await?;
    engine.settle().await?;
    Ok(run)
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_container_has_no_rights_beyond_its_user() {
    let engine = engine().await;
    let mut plan = plan(&engine, &["confess"]).await;
    plan.user = Some("12345:12345".to_owned());
    let run = run_short(&engine, &plan, PATIENCE).await.unwrap();
    let text = run.text();
    assert_eq!(run.exit.code, 0, "{text}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(
            text.contains(&format!("{set}:\t0000000000000000")),
            "{text}"
        );
    }
    assert!(text.contains("NoNewPrivs:\t1"), "{text}");
    assert!(text.contains("Uid:\t12345\t12345\t12345\t12345"), "{text}");
    assert!(text.contains("root: Err(ReadOnlyFilesystem)"), "{text}");
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_container_writes_as_the_owner_of_the_directory() {
    let engine = engine().await;
    let facts = engine.facts().await.unwrap();
    let (_outer, dir, uid, gid) = owned_dir(&facts);
    let mapping = user_for(facts.mode, uid, gid).unwrap();
    let mut plan = plan(&engine, &["write", "/data/file"]).await;
    plan.user = Some(mapping.user);
    plan.userns_mode = mapping.userns_mode;
    plan.mounts = vec![mount(&dir, "/data", false)];
    let run = run_short(&engine, &plan, PATIENCE).await.unwrap();
    assert_eq!(run.exit.code, 0, "{}", run.text());
    let file = std::fs::metadata(dir.join("file")).unwrap();
    assert_eq!((file.uid(), file.gid()), (uid, gid), "{:?}", facts.mode);
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_read_only_mount_cannot_be_written() {
    let engine = engine().await;
    let facts = engine.facts().await.unwrap();
    let (_outer, dir, uid, gid) = owned_dir(&facts);
    let mapping = user_for(facts.mode, uid, gid).unwrap();
    let mut plan = plan(&engine, &["write", "/data/file"]).await;
    plan.user = Some(mapping.user);
    plan.userns_mode = mapping.userns_mode;
    plan.mounts = vec![mount(&dir, "/data", true)];
    let run = run_short(&engine, &plan, PATIENCE).await.unwrap();
    assert_ne!(run.exit.code, 0);
    assert!(!dir.join("file").exists());
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_missing_path_is_refused_and_not_made() {
    let engine = engine().await;
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let mut plan = plan(&engine, &["speak"]).await;
    plan.mounts = vec![mount(&missing, "/data", false)];
    // Podman looks only when it starts the container.
    let error = match run_short(&engine, &plan, PATIENCE).await {
        Err(error) => error,
        Ok(run) => panic!("{run:?}"),
    };
    assert!(
        error.to_string().contains(missing.to_str().unwrap()),
        "{error}"
    );
    assert!(!missing.exists());
    assert!(engine.find_container(&plan.name).await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_name_is_given_once() {
    let engine = engine().await;
    let plan = plan(&engine, &["sleep"]).await;
    let _cleanup = Cleanup::after(&plan);
    let id = engine.create_container(&plan).await.unwrap();
    engine.start_container(&id).await.unwrap();
    let error = engine.create_container(&plan).await.unwrap_err();
    let EngineError::NameTaken { holder, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(
        (holder.id.as_str(), holder.state),
        (id.as_str(), ContainerState::Running)
    );
    assert_eq!(holder.labels.get("charon-dkg.test").unwrap(), "yes");
    let found = engine.find_container(&plan.name).await.unwrap().unwrap();
    assert_eq!(found.id, id);
    // An id is no name.
    assert!(engine.find_container(&id).await.unwrap().is_none());
    engine.kill_container(&id).await.unwrap();
    assert_eq!(engine.wait_exit(&id).await.unwrap().code, 137);
    engine.kill_container(&id).await.unwrap();
    engine.remove_container(&id).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_running_container_is_not_removed() {
    let engine = engine().await;
    let plan = plan(&engine, &["sleep"]).await;
    let _cleanup = Cleanup::after(&plan);
    let id = engine.create_container(&plan).await.unwrap();
    engine.start_container(&id).await.unwrap();
    assert!(engine.remove_container(&id).await.is_err());
    engine.kill_container(&id).await.unwrap();
    engine.wait_exit(&id).await.unwrap();
    engine.remove_container(&id).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn all_output_arrives_however_much_and_however_often_it_is_read() {
    let engine = engine().await;
    let plan = plan(&engine, &["lines", "5000"]).await;
    let _cleanup = Cleanup::after(&plan);
    let id = engine.create_container(&plan).await.unwrap();
    engine.start_container(&id).await.unwrap();
    for _ in 0..2 {
        let lines = lines_of(&engine, &id).await;
        let numbers = lines
            .iter()
            .filter_map(|line| line.text.strip_prefix("line "))
            .map(|number| number.parse::<usize>().unwrap());
        assert!(numbers.eq(0..5000));
        let long: String = lines
            .iter()
            .filter(|line| line.text.starts_with("xx"))
            .map(|line| line.text.as_str())
            .collect();
        assert!(long == "x".repeat(300_000), "{} bytes", long.len());
        assert!(lines.iter().all(|line| line.text.len() <= MAX_LINE_BYTES));
        let last = lines.last().unwrap();
        assert_eq!(last.text, "no line end");
        assert_eq!(engine.wait_exit(&id).await.unwrap().code, 0);
    }
    engine.remove_container(&id).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_container_that_obeys_ends_in_order() {
    let engine = engine().await;
    let plan = plan(&engine, &["obey"]).await;
    let _cleanup = Cleanup::after(&plan);
    let id = engine.create_container(&plan).await.unwrap();
    engine.start_container(&id).await.unwrap();
    wait_for_line(&engine, &id, "ready").await;
    engine.stop_container(&id, PATIENCE).await.unwrap();
    assert_eq!(engine.wait_exit(&id).await.unwrap().code, 0);
    let last = lines_of(&engine, &id).await.pop().unwrap();
    assert_eq!(last.text, "obeyed");
    engine
        .stop_container(&id, Duration::from_secs(1))
        .await
        .unwrap();
    engine.remove_container(&id).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_container_that_does_not_obey_is_killed() {
    let engine = engine().await;
    let plan = plan(&engine, &["sleep"]).await;
    let _cleanup = Cleanup::after(&plan);
    let id = engine.create_container(&plan).await.unwrap();
    engine.start_container(&id).await.unwrap();
    wait_for_line(&engine, &id, "sleeping").await;
    engine
        .stop_container(&id, Duration::from_secs(1))
        .await
        .unwrap();
    let exit = engine.wait_exit(&id).await.unwrap();
    assert_eq!((exit.code, exit.oom_killed), (137, false));
    engine.remove_container(&id).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_short_run_leaves_nothing_behind() {
    let engine = engine().await;
    let mut plan = plan(&engine, &["sleep"]).await;
    let error = run_short(&engine, &plan, Duration::from_secs(1))
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::TooSlow { .. }), "{error}");
    assert!(engine.find_container(&plan.name).await.unwrap().is_none());

    plan.entrypoint = Some(vec!["/no/such/program".to_owned()]);
    let error = run_short(&engine, &plan, PATIENCE).await.unwrap_err();
    assert!(matches!(error, EngineError::Failed { .. }), "{error}");
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    assert!(engine.find_container(&plan.name).await.unwrap().is_none());

    let plan = self::plan(&engine, &["speak"]).await;
    run_short(&engine, &plan, PATIENCE).await.unwrap();
    engine.settle().await.unwrap();
    assert!(engine.find_container(&plan.name).await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn what_does_not_exist_is_named() {
    let engine = engine().await;
    let plan = plan(&engine, &["speak"]).await;

    let mut no_image = plan.clone();
    no_image.image = "charon-dkg-no-such-image:v0".to_owned();
    let error = engine.create_container(&no_image).await.unwrap_err();
    assert!(matches!(error, EngineError::NoSuchImage { .. }), "{error}");
    let seen = engine.inspect_image(&no_image.image).await.unwrap();
    assert!(seen.is_none());

    let mut no_network = plan.clone();
    no_network.network = Some("charon-dkg-no-such-network".to_owned());
    let error = run_short(&engine, &no_network, PATIENCE).await.unwrap_err();
    assert!(
        error.to_string().contains("charon-dkg-no-such-network"),
        "{error}"
    );
    assert!(engine.find_container(&plan.name).await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn containers_at_work_on_a_directory_are_found() {
    let engine = engine().await;
    let facts = engine.facts().await.unwrap();
    let (outer, dir, uid, gid) = owned_dir(&facts);
    let mapping = user_for(facts.mode, uid, gid).unwrap();
    let mut plan = plan(&engine, &["sleep"]).await;
    plan.user = Some(mapping.user);
    plan.userns_mode = mapping.userns_mode;
    plan.mounts = vec![mount(&dir, "/data", false)];
    plan.labels
        .insert("charon-dkg.test-run".to_owned(), plan.name.clone());
    let label = ("charon-dkg.test-run".to_owned(), plan.name.clone());

    let _cleanup = Cleanup::after(&plan);
    let id = engine.create_container(&plan).await.unwrap();
    let labelled = engine.find_labelled(&label.0, &label.1).await.unwrap();
    assert_eq!(labelled.len(), 1);
    let created_only = engine
        .containers_touching(std::slice::from_ref(&dir), std::slice::from_ref(&label))
        .await
        .unwrap();
    assert!(created_only.is_empty(), "it does not run");

    engine.start_container(&id).await.unwrap();
    let link = outer.path().join("link");
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    let inside = dir.join("validator_keys");
    let beside = outer.path().join("data2");
    for (path, expected) in [
        (&dir, Some(Overlap::Same)),
        (&link, Some(Overlap::Same)),
        (&outer.path().to_owned(), Some(Overlap::Inside)),
        (&inside, Some(Overlap::Above)),
        (&beside, None),
    ] {
        let found = engine
            .containers_touching(std::slice::from_ref(path), &[])
            .await
            .unwrap();
        let seen = found.iter().find(|t| t.container.id == id).map(|touching| {
            let Some(Reason::Mount { overlap, mount, .. }) = touching.reasons.first() else {
                panic!("{touching:?}");
            };
            assert_eq!((mount.target.as_str(), mount.read_only), ("/data", false));
            *overlap
        });
        assert_eq!(seen, expected, "{}", path.display());
    }
    let found = engine
        .containers_touching(&[], std::slice::from_ref(&label))
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].container.state, ContainerState::Running);
    engine.kill_container(&id).await.unwrap();
    engine.wait_exit(&id).await.unwrap();
    engine.remove_container(&id).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_volume_that_is_a_directory_in_disguise_is_seen_through() {
    let engine = engine().await;
    let facts = engine.facts().await.unwrap();
    let (outer, dir, uid, gid) = owned_dir(&facts);
    let mapping = user_for(facts.mode, uid, gid).unwrap();
    let mut plan = plan(&engine, &["sleep"]).await;
    plan.user = Some(mapping.user);
    plan.userns_mode = mapping.userns_mode;
    plan.mounts = vec![mount(outer.path(), "/elsewhere", false)];
    let volume = plan.name.clone();
    // Our own plans never have volumes; somebody else's compose file may.
    let docker = raw_docker();
    let options = [
        ("type", "none"),
        ("o", "bind"),
        ("device", dir.to_str().unwrap()),
    ];
    let request = bollard::models::VolumeCreateRequest {
        name: Some(volume.clone()),
        driver_opts: Some(
            options
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        ),
        ..Default::default()
    };
    docker.create_volume(request).await.unwrap();
    let body = bollard::models::ContainerCreateBody {
        image: Some(plan.image.clone()),
        cmd: Some(plan.args.clone()),
        host_config: Some(bollard::models::HostConfig {
            binds: Some(vec![format!("{volume}:/data")]),
            ..Default::default()
        }),
        ..Default::default()
    };
    let options = bollard::query_parameters::CreateContainerOptionsBuilder::default()
        .name(&plan.name)
        .build();
    let _cleanup = Cleanup::after(&plan);
    let id = docker
        .create_container(Some(options), body)
        .await
        .unwrap()
        .id;
    engine.start_container(&id).await.unwrap();
    let found = engine
        .containers_touching(std::slice::from_ref(&dir), &[])
        .await
        .unwrap();
    let touching = found.iter().find(|touching| touching.container.id == id);
    let Some(Reason::Mount { overlap, mount, .. }) = touching.unwrap().reasons.first() else {
        panic!("{touching:?}");
    };
    assert_eq!(*overlap, Overlap::Same);
    assert_eq!(mount.volume.as_ref(), Some(&volume));
    engine.kill_container(&id).await.unwrap();
    engine.wait_exit(&id).await.unwrap();
    engine.remove_container(&id).await.unwrap();
}

#[tokio::test]
#[ignore = "needs an engine that enforces memory limits, which rootless ones often cannot"]
async fn a_container_killed_for_want_of_memory_says_so() {
    let engine = engine().await;
    let facts = engine.facts().await.unwrap();
    let (_outer, dir, uid, gid) = owned_dir(&facts);
    let mapping = user_for(facts.mode, uid, gid).unwrap();
    let mut plan = plan(&engine, &["eat", "/data/go"]).await;
    plan.user = Some(mapping.user);
    plan.userns_mode = mapping.userns_mode;
    plan.mounts = vec![mount(&dir, "/data", true)];
    let _cleanup = Cleanup::after(&plan);
    let id = engine.create_container(&plan).await.unwrap();
    engine.start_container(&id).await.unwrap();
    wait_for_line(&engine, &id, "hungry").await;
    let limit = bollard::models::ContainerUpdateBody {
        memory: Some(64 << 20),
        memory_swap: Some(64 << 20),
        ..Default::default()
    };
    raw_docker().update_container(&id, limit).await.unwrap();
    std::fs::write(dir.join("go"), "").unwrap();
    let exit = engine.wait_exit(&id).await.unwrap();
    assert_eq!((exit.code, exit.oom_killed), (137, true));
    engine.remove_container(&id).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn relays_are_asked_from_inside_a_network() {
    let engine = engine().await;
    let facts = engine.facts().await.unwrap();
    let mapping = match facts.mode {
        Mode::Rootless { uid } | Mode::PodmanRootless { uid } => user_for(facts.mode, uid, uid),
        Mode::Rootful | Mode::UsernsRemap | Mode::PodmanRootful | Mode::DockerDesktop => {
            user_for(facts.mode, 12_345, 12_345)
        }
    };
    let mapping = mapping.unwrap();
    let image = image(&engine).await.reference;
    let questions = Questions {
        urls: vec![
            "http://127.0.0.1:1".to_owned(),
            "http://relay.invalid:3640".to_owned(),
            "/ip4/127.0.0.1/tcp/1".to_owned(),
        ],
        enr_key: None,
    };
    let answers = ask_inside(&engine, &image, Some("none"), &mapping, &questions)
        .await
        .unwrap();
    engine.settle().await.unwrap();
    assert_eq!(answers.enr_key, None);
    let answers = answers.relays;
    assert!(answers.iter().map(|answer| &answer.url).eq(&questions.urls));
    assert_eq!(answers[0].outcome, Outcome::Refused);
    assert!(
        matches!(answers[1].outcome, Outcome::Unresolved { .. }),
        "{answers:?}"
    );
    assert!(
        matches!(answers[2].outcome, Outcome::NotAsked { .. }),
        "{answers:?}"
    );
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn a_relay_with_a_name_in_its_network_only_is_found_there() {
    let engine = engine().await;
    let mut plan = plan(&engine, &["relay"]).await;
    plan.network = Some(plan.name.clone());
    let mapping = UserMapping {
        user: "0:0".to_owned(),
        userns_mode: None,
    };
    let docker = raw_docker();
    let request = bollard::models::NetworkCreateRequest {
        name: plan.name.clone(),
        ..Default::default()
    };
    let _cleanup = Cleanup::after(&plan);
    docker.create_network(request).await.unwrap();
    let id = engine.create_container(&plan).await.unwrap();
    engine.start_container(&id).await.unwrap();
    wait_for_line(&engine, &id, "listening").await;
    let questions = Questions {
        urls: vec![format!("http://{}:3640", plan.name)],
        enr_key: None,
    };
    for network in [Some(plan.name.as_str()), None] {
        let answers = ask_inside(&engine, &plan.image, network, &mapping, &questions)
            .await
            .unwrap()
            .relays;
        engine.settle().await.unwrap();
        let outcome = &answers[0].outcome;
        match network {
            Some(_) => assert_eq!(*outcome, Outcome::Addresses { count: 1 }),
            None => assert!(matches!(outcome, Outcome::Unresolved { .. }), "{outcome:?}"),
        }
    }
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn an_image_of_this_program_is_made_once() {
    let engine = engine().await;
    let first = image(&engine).await;
    let second = image(&engine).await;
    assert!(second.reused);
    assert_eq!(second.facts.id, first.facts.id);

    let tag = format!("charon-dkg-test:{}", uuid::Uuid::new_v4().simple());
    let spec = SelfImageSpec {
        program: None,
        reference: Some(tag.clone()),
        entrypoint: CHILD.map(str::to_owned).to_vec(),
        cmd: vec!["child".to_owned(), "speak".to_owned()],
        labels: BTreeMap::from([("a".to_owned(), "\"quoted\" $text".to_owned())]),
    };
    let variant = load_self_image(&engine, &spec).await.unwrap();
    assert!(!variant.reused);
    assert_eq!(variant.facts.labels.get("a").unwrap(), "\"quoted\" $text");
    let content = variant.facts.run_image(&tag);
    assert!(content.reference().contains("sha256:"), "{content:?}");
    // The tag alone is enough to run it, with the arguments it brings along.
    let mut plan = plan(&engine, &[]).await;
    plan.image = tag.clone();
    plan.args = Vec::new();
    let run = run_short(&engine, &plan, PATIENCE).await.unwrap();
    assert_eq!(run.exit.code, 7, "{}", run.text());
    engine.remove_image(&tag).await.unwrap();
    assert!(engine.inspect_image(&tag).await.unwrap().is_none());
}

/// Whoever updates every month is not left with an image of each.
#[tokio::test]
#[ignore = "needs a docker engine"]
async fn images_of_earlier_builds_go_once_nothing_needs_them() {
    let engine = engine().await;
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    let (ours, other) = (dir.path().join("ours"), dir.path().join("other"));
    let (ours, other) = (Use::GateOf(&ours), Use::GateOf(&other));
    let make = async |purpose, build: &str| {
        // No program, which nobody runs.
        std::fs::write(&program, format!("{build} {}", uuid::Uuid::new_v4())).unwrap();
        let spec = SelfImageSpec {
            program: Some(program.clone()),
            ..SelfImageSpec::of(purpose)
        };
        load_self_image(&engine, &spec).await.unwrap().reference
    };
    let there = async |name: &str| engine.inspect_image(name).await.unwrap().is_some();
    let first = make(ours, "first").await;
    let used = make(ours, "used").await;
    let third = make(ours, "third").await;
    let others = make(other, "first").await;
    let mut plan = plan(&engine, &[]).await;
    plan.image = used.clone();
    let container = engine.create_container(&plan).await.unwrap();

    // What is young may be about to run.
    let hour = Duration::from_secs(3600);
    assert_eq!(
        remove_earlier(&engine, ours, &third, hour).await.unwrap(),
        0
    );
    let now = Duration::ZERO;
    assert_eq!(remove_earlier(&engine, ours, &third, now).await.unwrap(), 1);
    assert!(!there(&first).await && there(&used).await);
    assert!(there(&third).await && there(&others).await);
    // A container that was never started needs its image, too.
    engine.discard_container(&container).await.unwrap();
    assert_eq!(remove_earlier(&engine, ours, &third, now).await.unwrap(), 1);
    assert!(!there(&used).await && there(&third).await);
    // One that took the name of another leaves that without any.
    let spec = |name: &str| {
        std::fs::write(&program, uuid::Uuid::new_v4().to_string()).unwrap();
        SelfImageSpec {
            program: Some(program.clone()),
            reference: Some(name.to_owned()),
            ..SelfImageSpec::of(ours)
        }
    };
    load_self_image(&engine, &spec(&third)).await.unwrap();
    assert_eq!(remove_earlier(&engine, ours, &third, now).await.unwrap(), 1);
    let (_, removed) = load_in_passing(&engine, ours, &spec("charon-dkg-self:test"))
        .await
        .unwrap();
    assert_eq!(removed, 0, "one that is young was removed");
    assert_eq!(remove_earlier(&engine, ours, "", now).await.unwrap(), 2);
    assert_eq!(remove_earlier(&engine, other, "", now).await.unwrap(), 1);
}
