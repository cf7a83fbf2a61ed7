//! Contract wallets (EIP-1271): a local server plays the execution client, well and badly, and the program itself asks.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use charon_files::cluster::eip712::enr_digest;
use charon_proof::verify::{Material, Verdict, contract_questions};
use serde_json::{Value, json};

use crate::forge::{Cluster, wallet};
use crate::refusing_port::refusing_port;
use crate::support::{ceremony, serious, whole};

/// Chain id of hoodi, the network of the fixture.
const CHAIN: u64 = 560_048;

/// Something in the URL that nobody may see.
const SECRET: &str = "s3cr3t-api-key-0123456789";

const YES: &str = "0x1626ba7e00000000000000000000000000000000000000000000000000000000";
const NO: &str = "0xffffffff00000000000000000000000000000000000000000000000000000000";

/// How the execution client answers.
#[derive(Clone)]
enum Play {
    /// The JSON-RPC results of `eth_chainId` and `eth_call`.
    Results(Value, Value),
    /// The right chain, and this JSON-RPC error of `eth_call`.
    Error(i64, &'static str),
    /// These bytes for every request.
    Raw(Vec<u8>),
    /// Nothing, for as long as anybody waits.
    Silence,
}

struct Node {
    url: String,
    calls: Arc<Mutex<Vec<Value>>>,
}

impl Node {
    fn start(play: Play) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls: Arc<Mutex<Vec<Value>>> = Arc::default();
        let seen = Arc::clone(&calls);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (play, seen) = (play.clone(), Arc::clone(&seen));
                std::thread::spawn(move || serve(connection.unwrap(), &play, &seen));
            }
        });
        Self {
            url: format!("http://127.0.0.1:{port}/v2/{SECRET}"),
            calls,
        }
    }
}

fn serve(mut connection: TcpStream, play: &Play, seen: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request: Value = serde_json::from_slice(&body).unwrap();
    seen.lock().unwrap().push(request.clone());
    let is_call = request["method"] == "eth_call";
    let answer = match play {
        Play::Results(chain, call) => {
            let result = if is_call { call } else { chain };
            ok(&json!({"jsonrpc": "2.0", "id": 1, "result": result}))
        }
        Play::Error(code, message) if is_call => {
            let error = json!({"code": code, "message": message});
            ok(&json!({"jsonrpc": "2.0", "id": 1, "error": error}))
        }
        Play::Error(..) => ok(&json!({"jsonrpc": "2.0", "id": 1, "result": chain()})),
        Play::Raw(bytes) => bytes.clone(),
        Play::Silence => {
            // Until the other side gives up.
            reader.read_to_end(&mut body).ok();
            return;
        }
    };
    // Whoever had enough may be gone.
    connection.write_all(&answer).ok();
}

fn ok(body: &Value) -> Vec<u8> {
    http("200 OK", "", &body.to_string())
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn chain() -> Value {
    json!(format!("0x{CHAIN:x}"))
}

/// A cluster in which operator 2 signed the ENR with another key than the address says.
fn cluster() -> &'static Cluster {
    static CLUSTER: std::sync::OnceLock<Cluster> = std::sync::OnceLock::new();
    CLUSTER.get_or_init(|| {
        let mut cluster = Cluster::of(&ceremony("charon-v1.10.3-def-v1.10.0-n4-v2"));
        cluster.sign_definition();
        let operator = &mut cluster.lock.definition.operators[1];
        operator.enr_signature = wallet(3)
            .sign_digest(&enr_digest(&operator.enr, CHAIN))
            .to_vec();
        cluster.seal();
        cluster
    })
}

/// Its files, as node 0 has them after a promotion.
struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        let data_dir = project.path(".charon");
        let mut dir = fs::DirBuilder::new();
        dir.mode(0o700).recursive(true);
        dir.create(data_dir.join("validator_keys")).unwrap();
        let Material {
            definition,
            cluster_lock,
            deposit_data,
            enr_key,
            keystores,
            ..
        } = cluster().material(0);
        let files = definition.into_iter().chain(cluster_lock);
        for file in files.chain(deposit_data).chain(enr_key).chain(keystores) {
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create_new(true).mode(0o600);
            let mut to = options.open(data_dir.join(&file.path)).unwrap();
            to.write_all(&file.bytes).unwrap();
        }
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str]) -> (i32, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_charon-dkg"))
            .args(args)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .output()
            .unwrap();
        let text = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert!(!text.contains(&SECRET[..6]), "{text}");
        assert!(!text.contains("panicked"), "{text}");
        (status.code().unwrap(), text)
    }
}

const LOCK: [&str; 3] = ["verify", "--lock", ".charon/cluster-lock.json"];

#[test]
fn the_right_answer_is_a_pass_in_every_form() {
    let project = Project::new();
    let node = Node::start(Play::Results(chain(), json!(YES)));
    for args in [
        &["verify"][..],
        &LOCK,
        &["verify", "--definition", ".charon/cluster-definition.json"],
        &["gate", "check", "--require", "verified"],
        &["receipt"],
    ] {
        let (code, text) = project.run(&[args, &["--execution-rpc", &node.url]].concat());
        assert_eq!(code, 0, "{args:?}: {text}");
    }
    // What was asked is what EIP-1271 says: the digest and the signature, of the contract at the operator's address.
    let question = &contract_questions(&cluster().lock.definition)[0];
    let calls = node.calls.lock().unwrap();
    assert_eq!(calls[0]["method"], "eth_chainId");
    assert_eq!(calls[1]["method"], "eth_call");
    assert_eq!(calls[1]["params"][1], "latest");
    let call = &calls[1]["params"][0];
    assert_eq!(call["to"], question.address.to_string());
    let data = call["data"].as_str().unwrap();
    assert!(data.starts_with(&format!("0x1626ba7e{}", hex::encode(question.digest))));
    assert!(data.contains(&hex::encode(&question.signature)));
    assert_eq!(data.len(), 2 + 2 * (4 + 3 * 32 + 96));
}

#[test]
fn the_url_may_come_from_a_file() {
    let project = Project::new();
    let node = Node::start(Play::Results(chain(), json!(YES)));
    fs::write(project.path("rpc"), format!("{}\n", node.url)).unwrap();
    let with = |file: &str| project.run(&[&LOCK[..], &["--execution-rpc-file", file]].concat());
    let warning = "put it into a file and name that with --execution-rpc-file";
    let (code, text) = with("rpc");
    assert_eq!(code, 0);
    assert!(!text.contains(warning), "{text}");
    let (code, text) = project.run(&[&LOCK[..], &["--execution-rpc", &node.url]].concat());
    assert_eq!(code, 0);
    assert!(text.contains(warning), "{text}");
    for (name, content) in [
        ("missing", None),
        ("empty", Some(String::new())),
        ("no-url", Some(SECRET.to_owned())),
        ("websocket", Some(format!("ws://127.0.0.1/{SECRET}"))),
        (
            "long",
            Some(format!("http://127.0.0.1/{}", "x".repeat(10_000))),
        ),
    ] {
        if let Some(content) = content {
            fs::write(project.path(name), content).unwrap();
        }
        let (code, text) = with(name);
        assert_eq!(code, 2, "{name}: {text}");
    }
    let both = ["--execution-rpc", &node.url, "--execution-rpc-file", "rpc"];
    assert_eq!(project.run(&[&LOCK[..], &both].concat()).0, 2);
}

#[test]
fn only_the_magic_value_counts() {
    let project = Project::new();
    for (play, weight, says) in [
        (Play::Results(chain(), json!(NO)), "FAIL", "operator 2 of 4"),
        // The right digits at the other end of the word.
        (
            Play::Results(chain(), json!(format!("0x{}1626ba7e", "0".repeat(56)))),
            "FAIL",
            "operator 2 of 4",
        ),
        (Play::Results(chain(), json!("0x1626ba7e")), "FAIL", ""),
        (Play::Error(3, "execution reverted: GS026"), "FAIL", ""),
        (Play::Error(-32000, "execution reverted"), "FAIL", ""),
        (
            Play::Results(chain(), json!("0x")),
            "COULD NOT TELL",
            "knows no contract at",
        ),
        (
            Play::Results(json!("0x1"), json!(YES)),
            "COULD NOT TELL",
            "is on chain 1, expected 560048",
        ),
        (
            Play::Results(json!("mainnet"), json!(YES)),
            "COULD NOT TELL",
            "cannot be understood",
        ),
        (
            Play::Results(chain(), json!(true)),
            "COULD NOT TELL",
            "cannot be understood",
        ),
        (
            Play::Results(chain(), json!("0x1626ba7")),
            "COULD NOT TELL",
            "cannot be understood",
        ),
        (
            Play::Error(-32005, "limit exceeded for key s3cr3t-api-key-0123456789"),
            "COULD NOT TELL",
            "refuses: limit exceeded for key […]",
        ),
        // An excerpt of these would end in the middle of the key.
        (
            Play::Raw(http("200 OK", "", &format!("{}{SECRET}", "-".repeat(290)))),
            "COULD NOT TELL",
            "cannot be understood",
        ),
        (
            Play::Raw(ok(&json!({
                "jsonrpc": "2.0",
                "id": 1,
                "error": {"code": -32005, "message": format!("{}{SECRET}", "-".repeat(290))},
            }))),
            "COULD NOT TELL",
            "refuses: ---",
        ),
        (
            Play::Raw(http("200 OK", "", "<html>hello</html>")),
            "COULD NOT TELL",
            "cannot be understood",
        ),
        (Play::Raw(http("200 OK", "", "{}")), "COULD NOT TELL", ""),
        (Play::Raw(http("200 OK", "", "")), "COULD NOT TELL", ""),
        (
            Play::Raw(http("401 Unauthorized", "", SECRET)),
            "COULD NOT TELL",
            "status 401",
        ),
        // Somebody else's answer is no answer, whatever it says.
        (
            Play::Raw(http(
                "307 Temporary Redirect",
                "Location: http://127.0.0.1:1/\r\n",
                &json!({"jsonrpc": "2.0", "id": 1, "result": YES}).to_string(),
            )),
            "COULD NOT TELL",
            "status 307",
        ),
        (
            Play::Raw(http("500 Internal Server Error", "", YES)),
            "COULD NOT TELL",
            "status 500",
        ),
        (
            Play::Raw(http("200 OK", "", &" ".repeat(10 << 20))),
            "COULD NOT TELL",
            "longer than",
        ),
        (
            Play::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec()),
            "COULD NOT TELL",
            "",
        ),
        (Play::Raw(Vec::new()), "COULD NOT TELL", "cannot reach"),
    ] {
        let node = Node::start(play);
        let (code, text) = project.run(&[&LOCK[..], &["--execution-rpc", &node.url]].concat());
        assert_eq!(code, 4, "{text}");
        assert!(
            text.contains(&format!("{weight} [operator-enr-signature]")),
            "{text}"
        );
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn nobody_there_and_nobody_asked_is_no_answer() {
    let project = Project::new();
    let (code, text) = project.run(&LOCK);
    assert_eq!(code, 4);
    assert!(
        text.contains("COULD NOT TELL [operator-enr-signature]"),
        "{text}"
    );
    assert!(text.contains("--execution-rpc-file"), "{text}");
    let (_kept, port) = refusing_port();
    let url = format!("http://127.0.0.1:{port}/{SECRET}");
    let (code, text) = project.run(&[&LOCK[..], &["--execution-rpc", &url]].concat());
    assert_eq!(code, 4);
    assert!(text.contains("cannot reach the execution client"), "{text}");
}

#[test]
fn a_client_that_never_answers_is_given_up() {
    let project = Project::new();
    let node = Node::start(Play::Silence);
    let (code, text) = project.run(&[&LOCK[..], &["--execution-rpc", &node.url]].concat());
    assert_eq!(code, 4);
    assert!(text.contains("did not answer in time"), "{text}");
}

#[test]
fn a_lock_without_contract_wallets_asks_nobody() {
    let project = Project::new();
    let node = Node::start(Play::Results(chain(), json!(YES)));
    let plain = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n4-v2-signed/node0/.charon/cluster-lock.json");
    let plain = plain.display().to_string();
    let args = ["verify", "--lock", &plain, "--execution-rpc", &node.url];
    assert_eq!(project.run(&args).0, 0);
    assert!(node.calls.lock().unwrap().is_empty());
}

#[test]
fn a_yes_is_remembered_by_whoever_proved_the_directory_and_by_nobody_else() {
    let project = Project::new();
    let gate = ["gate", "check", "--require", "verified"];
    assert_eq!(project.run(&gate).0, 4);
    let node = Node::start(Play::Results(chain(), json!(YES)));
    // `verify` changes nothing, and a closed gate remembers nothing.
    assert_eq!(project.run(&["verify", "--execution-rpc", &node.url]).0, 0);
    assert_eq!(project.run(&gate).0, 4);
    assert_eq!(project.run(&["receipt", "--execution-rpc", &node.url]).0, 0);
    let (code, text) = project.run(&gate);
    assert_eq!(code, 0, "{text}");
    // The record cannot be carried to another signature.
    let mut other = cluster().lock.clone();
    other.definition.operators[2].enr_signature[3] ^= 1;
    other.definition = other.definition.with_hashes().unwrap();
    fs::write(project.path(".charon/cluster-lock.json"), other.to_json()).unwrap();
    assert_eq!(project.run(&gate).0, 4);
    // A no that is heard later counts more than a yes that is remembered.
    fs::write(
        project.path(".charon/cluster-lock.json"),
        cluster().lock.to_json(),
    )
    .unwrap();
    let no = Node::start(Play::Results(chain(), json!(NO)));
    let (code, text) = project.run(&[&gate[..], &["--execution-rpc", &no.url]].concat());
    assert_eq!(code, 4, "{text}");
}

#[test]
fn without_an_answer_the_library_names_the_operator() {
    let outcome = whole(&cluster().material(0));
    assert_eq!(outcome.report.verdict, Verdict::CouldNotTell);
    assert_eq!(serious(&outcome), ["operator-enr-signature"]);
    assert_eq!(
        outcome.contract_questions,
        contract_questions(&cluster().lock.definition)
    );
    assert_eq!(outcome.contract_questions[0].chain_id, CHAIN);
}
