//! charon as a process of this machine instead of a container, where there is no engine to give.
//!
//! A keeper, which is this program again, starts charon and waits for it, so that both go on when the command that began the
//! ceremony is killed. Both run as the owner of the data directory. charon writes into a file of the attempt, and the kernel's
//! lock (flock(2)) of that open file is held until the last of both has ended: whether charon runs is never a guess. charon's end
//! is a second file, which the keeper writes.
//!
//! ```text
//! attempts/<n>/output      what charon wrote, locked while it runs; its standard output and error
//!              exit.json   how it ended
//! ```

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

use crate::ceremony::attempt::Attempt;
use crate::ceremony::plan::{ImageFact, Plan};
use crate::cli::RawArgs;
use crate::docker::Exit;
use crate::docker::probe::{self, Answers, ProbeError, Questions};
use crate::docker::{Lines, LogLine, OutputStream};
use crate::error::{Failure, Kind};
use crate::machine::datadir::Layout;
use crate::machine::files::{FileError, Folder, Owner};
use crate::machine::{os, read};
use charon_files::cluster::names::{DEFINITION_FILE, ENR_KEY_FILE};
use charon_proof::receipt::CharonImage;

/// The hidden verb that starts charon and waits for it.
pub const VERB: &str = "internal-keeper";

const OUTPUT_FILE: &str = "output";
const EXIT_FILE: &str = "exit.json";

/// How often a file is looked at that another process writes.
const STEP: Duration = Duration::from_millis(100);
/// `charon version` answers at once; a cold disk may need a while to read the program.
const VERSION_DEADLINE: Duration = Duration::from_secs(60);
/// A probe asks each relay for some seconds, all at once. A busy machine takes minutes.
const PROBE_DEADLINE: Duration = Duration::from_secs(180);

/// How charon ended, as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    /// Its exit code; 128 and the number of the signal that ended it.
    code: i64,
    /// Why it was not started, if so.
    error: String,
}

/// charon's process of one attempt, whether it runs or has ended.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    dir: PathBuf,
}

impl Process {
    pub(crate) fn of(attempt: &Attempt) -> Self {
        Self {
            dir: attempt.dir().to_owned(),
        }
    }

    /// What charon wrote.
    pub(crate) fn output(&self) -> PathBuf {
        self.dir.join(OUTPUT_FILE)
    }

    /// Starts charon by a keeper of its own. The key is not copied into the stage: a link there leads to it.
    ///
    /// # Errors
    /// If nothing was started.
    pub(crate) fn start(layout: &Layout, plan: &Plan, attempt: &Attempt) -> io::Result<Self> {
        let process = Self::of(attempt);
        let owner = layout.owner().map_err(cause)?;
        let stage = attempt.stage();
        // An edit reads the key in its place.
        if std::fs::exists(stage.join(ENR_KEY_FILE))? {
            std::fs::remove_file(stage.join(DEFINITION_FILE))?;
            std::fs::remove_file(stage.join(ENR_KEY_FILE))?;
            std::os::unix::fs::symlink(layout.enr_key_path(), stage.join(ENR_KEY_FILE))?;
        }
        let output = Folder::open(&process.dir)
            .and_then(|folder| folder.append_to(OUTPUT_FILE, owner))
            .map_err(cause)?;
        output.try_lock().map_err(io::Error::from)?;
        let container = &plan.container;
        as_user(owner, Path::new(OWN_PROGRAM))
            .arg0("charon-dkg")
            .arg(VERB)
            .args([&process.dir, &stage])
            .arg(&container.image)
            .args(container.entrypoint.iter().flatten())
            .args(&container.args)
            .stdin(Stdio::from(output))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(process)
    }

    /// Whether charon was begun to be started.
    pub(crate) fn was_started(&self) -> bool {
        self.output().is_file()
    }

    /// Whether charon or its keeper runs.
    ///
    /// # Errors
    /// If that cannot be told.
    pub(crate) fn runs(&self) -> io::Result<bool> {
        runs(&File::open(self.output())?)
    }

    /// All of charon's output, from its first line until it ends.
    pub(crate) fn follow(&self) -> BoxStream<'static, io::Result<LogLine>> {
        let opened = File::open(self.output());
        let following = opened.map(|file| Following {
            file,
            lines: Lines::default(),
            ready: VecDeque::new(),
            has_ended: false,
            is_over: false,
        });
        match following {
            Ok(following) => stream::unfold(following, Following::next).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    /// How charon ended, once it does not run any more; `None` if its keeper was ended before it knew.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn end(&self) -> io::Result<Option<Exit>> {
        while self.runs()? {
            tokio::time::sleep(STEP).await;
        }
        match read::read_in(&self.dir, Path::new(EXIT_FILE), read::RECORD) {
            Ok(bytes) => {
                let Ended { code, error } = serde_json::from_slice(&bytes)?;
                Ok(Some(Exit {
                    code,
                    oom_killed: false,
                    error,
                    started_at: String::new(),
                    finished_at: String::new(),
                }))
            }
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Asks charon to end, and ends it if it has not by then.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub(crate) async fn stop(&self, grace: Duration) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        let deadline = tokio::time::Instant::now() + grace;
        while tokio::time::Instant::now() < deadline {
            if !self.runs()? {
                return Ok(());
            }
            tokio::time::sleep(STEP).await;
        }
        self.kill()
    }

    /// Ends charon at once.
    ///
    /// # Errors
    /// If it cannot be done.
    pub(crate) fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// charon is who has the output as its standard output. Its keeper, which has it as its standard input, may be gone.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let output = std::fs::metadata(self.output())?;
        let writes = |pid: i32| {
            std::fs::metadata(format!("/proc/{pid}/fd/1"))
                .is_ok_and(|seen| (seen.dev(), seen.ino()) == (output.dev(), output.ino()))
        };
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let Some(id) = Pid::from_raw(pid).filter(|_| writes(pid)) else {
                continue;
            };
            match rustix::process::pidfd_open(id, PidfdFlags::empty()) {
                // Held by now; the number may have been another's a moment ago.
                Ok(held) if writes(pid) => rustix::process::pidfd_send_signal(held, signal)?,
                Ok(_) | Err(rustix::io::Errno::SRCH) => {}
                // Before Linux 5.3.
                Err(_) => rustix::process::kill_process(id, signal)?,
            }
        }
        Ok(())
    }

    /// Removes the output, which is kept in the attempt's log, and the note of its end.
    ///
    /// # Errors
    /// If that cannot be done.
    pub(crate) fn remove(&self) -> Result<(), FileError> {
        let folder = Folder::open(&self.dir)?;
        for name in [OUTPUT_FILE, EXIT_FILE] {
            match folder.remove_file(name) {
                Err(error) if !error.is_missing() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

fn cause(error: FileError) -> io::Error {
    io::Error::other(error)
}

fn runs(output: &File) -> io::Result<bool> {
    match output.try_lock_shared() {
        Ok(()) => {
            output.unlock()?;
            Ok(false)
        }
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

struct Following {
    file: File,
    lines: Lines,
    ready: VecDeque<LogLine>,
    /// Nobody writes any more; what is there may not have been read yet.
    has_ended: bool,
    is_over: bool,
}

impl Following {
    async fn next(mut self) -> Option<(io::Result<LogLine>, Self)> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some((Ok(line), self));
            }
            if self.is_over {
                return None;
            }
            if let Err(error) = self.read_on().await {
                self.is_over = true;
                return Some((Err(error), self));
            }
        }
    }

    async fn read_on(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        let count = self.file.read(&mut buffer)?;
        if count > 0 {
            let new = buffer.get(..count).unwrap_or_default();
            self.ready
                .extend(self.lines.push(OutputStream::Stdout, new));
        } else if self.has_ended {
            self.is_over = true;
            self.ready.extend(self.lines.finish());
        } else if runs(&self.file)? {
            tokio::time::sleep(STEP).await;
        } else {
            self.has_ended = true;
        }
        Ok(())
    }
}

/// This program, even where the user that is to run it may not enter its directory.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// A command that runs as this user, with nothing of this process's environment.
fn as_user(user: Owner, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir("/");
    if os::acting_as_root() {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// Runs such a command to its end, and gives its exit code and what it wrote.
async fn answer(mut command: Command, deadline: Duration) -> io::Result<(i64, String, String)> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let child = command.kill_on_drop(true).spawn()?;
    let output = tokio::time::timeout(deadline, child.wait_with_output())
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((
        code_of(output.status),
        text(output.stdout),
        text(output.stderr),
    ))
}

fn code_of(status: std::process::ExitStatus) -> i64 {
    let signal = || 128 + status.signal().unwrap_or_default();
    i64::from(status.code().unwrap_or_else(signal))
}

/// Looks at the program: its digest, and what it says as its version when the owner of the data directory runs it.
pub(crate) async fn look(program: &Path, owner: Owner) -> ImageFact {
    let unavailable = |error: io::Error| {
        ImageFact::Unavailable {
        reason: error.to_string(),
        advice: "download charon's program for this release and processor, and name it with --charon-binary".to_owned(),
    }
    };
    let digest = match digest_of(program) {
        Ok((_, digest)) => digest,
        Err(error) => return unavailable(error),
    };
    let mut command = as_user(owner, program);
    command.arg("version");
    let version_output = match answer(command, VERSION_DEADLINE).await {
        Ok((0, out, err)) => Ok(out + &err),
        Ok((code, out, err)) => Err(format!(
            "`charon version` ended with exit code {code}: {out}{err}"
        )),
        Err(error) => Err(format!("uid {} cannot run it: {error}", owner.uid)),
    };
    ImageFact::Present {
        run_as: CharonImage::binary_reference(&digest),
        version_output,
    }
}

fn digest_of(program: &Path) -> io::Result<(File, [u8; 32])> {
    let file = File::open(program)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let (digest, _) = read::digest(&file)?;
    Ok((file, digest))
}

/// Asks relays, and looks at the ENR key, as the owner of the data directory.
///
/// # Errors
/// If no such process can be run.
pub(crate) async fn ask(questions: &Questions, owner: Owner) -> Result<Answers, ProbeError> {
    let mut command = as_user(owner, Path::new(OWN_PROGRAM));
    command
        .arg0("charon-dkg")
        .arg(probe::VERB)
        .args(questions.enr_key.iter().map(|key| {
            let mut argument = OsString::from(probe::KEY_ARGUMENT);
            argument.push(key);
            argument
        }))
        .args(&questions.urls);
    let (code, out, err) = answer(command, PROBE_DEADLINE)
        .await
        .map_err(ProbeError::Process)?;
    probe::answers(questions, out.lines(), code, &(out.clone() + &err))
}

/// The keeper: runs charon to its end and writes down how it ended. Its standard input is charon's output. Its arguments are the
/// attempt's directory, the stage, what the program is to be, the program, and charon's arguments.
pub(crate) fn keep(args: &RawArgs) -> Result<(), Failure> {
    let [dir, stage, image, program, rest @ ..] = args.args.as_slice() else {
        return Err(Failure::new(
            Kind::Usage,
            "internal-keeper needs four arguments",
        ));
    };
    let unexpected =
        |error: &dyn std::fmt::Display| Failure::new(Kind::Unexpected, error.to_string());
    // Out of the terminal's reach. It fails for the leader of a group, which no terminal interrupts either.
    rustix::process::setsid().ok();
    let ended = match run(stage, image, program, rest) {
        Ok(code) => Ended {
            code,
            error: String::new(),
        },
        Err(error) => Ended {
            code: 127,
            error: error.to_string(),
        },
    };
    let text = serde_json::to_vec(&ended).map_err(|error| unexpected(&error))?;
    Folder::open(Path::new(dir))
        .and_then(|folder| folder.write(EXIT_FILE, &text, os::own_identity()))
        .map_err(|error| unexpected(&error))
}

fn run(
    stage: &OsString,
    image: &OsString,
    program: &OsString,
    args: &[OsString],
) -> io::Result<i64> {
    let (file, digest) = digest_of(Path::new(program))?;
    let seen = CharonImage::binary_reference(&digest);
    if *image != *seen {
        return Err(io::Error::other(format!(
            "{} is {seen} by now, expected {}",
            program.display(),
            image.display()
        )));
    }
    let output = || io::stdin().as_fd().try_clone_to_owned().map(Stdio::from);
    // As in a container: whatever charon starts gains no privileges by a program's set-user-ID bit. What this thread starts inherits it.
    rustix::thread::set_no_new_privs(true)?;
    // The very file that was looked at, whatever has its name by now.
    let status = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .arg0("charon")
        .args(args)
        .env_clear()
        .current_dir(stage)
        .stdin(Stdio::null())
        .stdout(output()?)
        .stderr(output()?)
        .status()?;
    Ok(code_of(status))
}
