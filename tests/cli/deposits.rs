//! `deposits`, `--profile` and `--beacon-rpc` as they are typed.

use std::fs;
use std::path::Path;

use charon_files::cluster::names::FileDigest;
use charon_files::cluster::{ClusterLock, Network};
use charon_files::keys::k1::EnrKey;
use serde_json::{Value, json};

use crate::http_server::{Answer, Server, answer as raw, json as answer, unfinished};
use crate::receipts::receipts;
use crate::schema;
use crate::support::{BINARY, CEREMONY, DEFINITION, KEY, LOCK, TestEnv, Tree, fixture};

/// Something in a URL that nobody may see.
const SECRET: &str = "s3cr3t-api-key-0123456789";

fn lock() -> ClusterLock {
    let bytes = fs::read(fixture(CEREMONY, 0).join(LOCK)).unwrap();
    ClusterLock::parse(&bytes).unwrap().value
}

/// A funder's directory: the lock, the deposit data and a chat with these operators' receipts.
fn funder(operators: usize) -> TestEnv {
    let env = TestEnv::new();
    let source = fixture(CEREMONY, 0);
    let mut files = Vec::new();
    for name in [LOCK, "deposit-data.json", "deposit-data-1eth.json"] {
        let bytes = fs::read(source.join(name)).unwrap();
        fs::write(env.project().join(name), &bytes).unwrap();
        if name != LOCK {
            files.push(FileDigest::of(name, &bytes));
        }
    }
    let keys: Vec<EnrKey> = (0..4)
        .map(|node| EnrKey::parse(&fs::read(fixture(CEREMONY, node).join(KEY)).unwrap()).unwrap())
        .collect();
    let lines: Vec<String> = receipts(&lock(), &keys, &files)
        .iter()
        .take(operators)
        .map(|receipt| format!("Ann: here it is\n{receipt}"))
        .collect();
    fs::write(env.project().join("chat.txt"), lines.join("\n")).unwrap();
    env
}

const DEPOSITS: [&str; 9] = [
    "deposits",
    "--lock",
    LOCK,
    "--deposit",
    "deposit-data.json",
    "--deposit",
    "deposit-data-1eth.json",
    "--receipts",
    "chat.txt",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&DEPOSITS[..], more].concat()
}

pub(crate) fn fits(document: &Value, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let problems = schema::problems(&schema, &schema, document, "document");
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_funder_gets_one_verdict() {
    let env = funder(4);
    let safe = env.run(&with(&["--network", "hoodi"])).exits(0);
    snapshot!("deposits_safe", safe);
    let document = env.run(&with(&["--format", "json"])).exits(0).json();
    fits(&document, "deposits.schema.json");
    assert_eq!(document["verdict"], "safe-to-deposit");
    assert_eq!(document["total_gwei"], 64_000_000_000_u64);

    let env = funder(3);
    let outcome = env.run(&with(&["--network", "mainnet"])).exits(4);
    assert_eq!(outcome.failed(), ["deposits-network"]);
    assert!(outcome.stderr.contains("[receipt-missing]"), "{outcome}");
    assert!(outcome.stdout.is_empty(), "{outcome}");
    let document = env.run(&with(&["--format", "json"])).exits(4).json();
    fits(&document, "deposits.schema.json");
    assert_eq!(document["verdict"], "could-not-tell");
    assert_eq!(document["clusters"][0]["confirmed"], 3);
}

#[test]
fn what_a_funder_types_wrong_is_said() {
    let env = funder(4);
    let outcome = env.run(&with(&["--profile", "lido"])).exits(4);
    assert_eq!(
        outcome.failed(),
        ["profile-withdrawal-address", "profile-fee-recipient"]
    );
    env.run(&with(&["--profile", "lodo"])).exits(2);
    let outcome = env.run(&with(&["--network", "hoody"])).exits(2);
    assert!(
        outcome.stderr.contains("expected one of mainnet"),
        "{outcome}"
    );
    env.run(&["deposits", "--lock", LOCK, "--receipts", "chat.txt"])
        .exits(2);
    env.run(&[
        "deposits",
        "--lock",
        LOCK,
        "--deposit",
        LOCK,
        "--receipts",
        "chat.txt",
    ])
    .exits(4);
    fs::write(
        env.project().join("mine.toml"),
        "name = \"mine\"\ncredentials = \"0x03\"\ndeposits = [32]\n[network.hoodi]\n",
    )
    .unwrap();
    let outcome = env.run(&with(&["--profile-file", "mine.toml"])).exits(2);
    assert!(outcome.stderr.contains("mine.toml, line "), "{outcome}");
    env.run(&with(&["--profile-file", "none.toml"])).exits(2);
}

#[test]
fn another_protocol_comes_from_a_file() {
    let env = funder(4);
    let addresses = &lock().definition;
    let pair = addresses
        .addresses_of(charon_files::cluster::ValidatorIndex::new(0))
        .unwrap();
    let spelled = |text: &str| {
        charon_files::cluster::Address::parse(text)
            .unwrap()
            .to_string()
    };
    let text = format!(
        "name = \"mine\"\ncredentials = \"0x01\"\ndeposits = [32]\n\n[network.hoodi]\nwithdrawal-address = \"{}\"\nfee-recipient-address = \"{}\"\nupload = \"here\"\n",
        spelled(&pair.withdrawal_address),
        spelled(&pair.fee_recipient_address),
    );
    fs::write(env.project().join("mine.toml"), text).unwrap();
    let safe = env.run(&with(&["--profile-file", "mine.toml"])).exits(0);
    assert!(safe.stdout.contains("profile mine"), "{safe}");
    assert!(safe.stdout.contains("here\n"), "{safe}");
    env.run(&["verify", "--lock", LOCK, "--profile-file", "mine.toml"])
        .exits(0);
}

/// A beacon node of a network that knows these validators and pending deposits.
pub(crate) fn beacon(
    network: &str,
    validators: Value,
    pending: Option<Value>,
    syncing: bool,
) -> Server {
    let network = Network::by_name(network).unwrap();
    let genesis = json!({"data": {
        "genesis_time": network.genesis_time.unwrap().to_string(),
        "genesis_validators_root": format!("0x{}", "11".repeat(32)),
        "genesis_fork_version": format!("0x{}", hex::encode(network.fork_version)),
    }});
    let syncing = json!({"data": {
        "head_slot": "9", "sync_distance": if syncing { "3" } else { "0" },
        "is_syncing": syncing, "is_optimistic": false, "el_offline": false,
    }});
    let validators = json!({"execution_optimistic": false, "finalized": false, "data": validators});
    let pending = pending.map(|it| json!({"execution_optimistic": false, "data": it}));
    Server::on_loopback(move |request| {
        let target = request
            .target
            .trim_start_matches(&format!("/v2/{SECRET}"))
            .to_owned();
        let body = match target.as_str() {
            "/eth/v1/beacon/genesis" => &genesis,
            "/eth/v1/node/syncing" => &syncing,
            "/eth/v1/beacon/states/head/validators" if request.method == "POST" => &validators,
            "/eth/v1/beacon/states/head/pending_deposits" => match &pending {
                Some(pending) => pending,
                None => return answer(404, "{}"),
            },
            other => return answer(404, &format!("{{\"message\": \"no {other} {SECRET}\"}}")),
        };
        answer(200, &body.to_string())
    })
}

fn on_chain(credentials: &str, status: &str) -> Value {
    let pubkey = format!("0x{}", hex::encode(lock().validators[0].public_key));
    json!([{
        "index": "77", "balance": "32000000000", "status": status,
        "validator": {"pubkey": pubkey, "withdrawal_credentials": credentials, "slashed": false},
    }])
}

fn own_credentials() -> String {
    let credentials = lock().validators[0].deposits[0].withdrawal_credentials;
    format!("0x{}", hex::encode(credentials))
}

pub(crate) fn url(server: &Server) -> String {
    format!("http://127.0.0.1:{}/v2/{SECRET}", server.port)
}

#[test]
fn the_chain_is_asked_who_deposited_first() {
    let env = funder(4);
    let foreign = format!("0x{}", "01".repeat(32));
    for (server, code, failed, said) in [
        (
            beacon("hoodi", json!([]), Some(json!([])), false),
            0,
            vec![],
            "2 unknown",
        ),
        (
            beacon(
                "hoodi",
                on_chain(&foreign, "active_ongoing"),
                Some(json!([])),
                false,
            ),
            4,
            vec!["chain-credentials"],
            "SOMEONE ELSE DEPOSITED FIRST",
        ),
        (
            beacon(
                "hoodi",
                on_chain(&own_credentials(), "pending_queued"),
                Some(json!([])),
                false,
            ),
            4,
            vec!["chain-paid"],
            "someone has already paid",
        ),
        (
            beacon("mainnet", json!([]), Some(json!([])), false),
            4,
            vec!["chain-beacon"],
            "genesis fork version",
        ),
        (
            beacon("hoodi", json!([]), None, false),
            4,
            vec![],
            "pending_deposits with status 404",
        ),
        (
            beacon("hoodi", json!([]), Some(json!([])), true),
            4,
            vec![],
            "still syncing, 3 slots",
        ),
        (
            beacon("hoodi", json!({}), Some(json!([])), false),
            4,
            vec![],
            "cannot be understood",
        ),
        (
            beacon("hoodi", json!([]), Some(json!([{"pubkey": "0x12"}])), false),
            4,
            vec![],
            "cannot be understood",
        ),
    ] {
        let outcome = env.run(&with(&["--beacon-rpc", &url(&server)])).exits(code);
        assert_eq!(outcome.failed(), failed, "{outcome}");
        let all = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(all.contains(said), "{said}: {outcome}");
        assert!(!all.contains(SECRET), "{outcome}");
        assert_eq!(
            code == 0,
            outcome.stdout.starts_with("SAFE TO DEPOSIT\n"),
            "{outcome}"
        );
    }
    // Nobody there, by a file.
    fs::write(env.path("rpc"), "http://127.0.0.1:1/").unwrap();
    let rpc = env.path("rpc").display().to_string();
    let outcome = env.run(&with(&["--beacon-rpc-file", &rpc])).exits(4);
    assert!(
        outcome.stderr.contains("TELL [chain-beacon]") || outcome.stderr.contains("[chain-beacon]"),
        "{outcome}"
    );
    env.run(&with(&["--beacon-rpc", "ftp://x"])).exits(2);
    // A node on this machine is asked past a proxy, by a file as Windows writes it.
    let server = beacon("hoodi", json!([]), Some(json!([])), false);
    fs::write(env.path("rpc"), format!("\u{feff}{}\r\n", url(&server))).unwrap();
    let mut command = env.command(Path::new(BINARY));
    command
        .args(with(&["--beacon-rpc-file", &rpc]))
        .env("http_proxy", "http://127.0.0.1:1");
    let outcome = env.outcome(command).exits(0);
    assert!(outcome.stdout.contains("2 unknown"), "{outcome}");
    env.run(&with(&["--beacon-rpc", "x"])).exits(2);
}

/// The steps of `action.yml` as a runner gives them to a shell; the program is built already.
#[test]
fn the_action_fails_unless_it_is_safe() {
    let env = funder(4);
    let action = Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml");
    let action = fs::read_to_string(action).unwrap();
    let (_, check) = action.split_once("id: check\n").unwrap();
    let (settings, script) = check.split_once("      run: |\n").unwrap();
    let script: String = script
        .lines()
        .map(|line| line.strip_prefix("        ").unwrap_or(line).to_owned() + "\n")
        .collect();
    fs::write(env.path("check.sh"), script).unwrap();
    let temp = env.path("runner");
    fs::create_dir(&temp).unwrap();
    let run = |inputs: &[(&str, &str)]| {
        for name in ["output", "summary"] {
            fs::write(env.path(name), "").unwrap();
        }
        let mut command = std::process::Command::new("bash");
        command.args(["--noprofile", "--norc", "-e", "-o", "pipefail"]);
        command.arg(env.path("check.sh")).current_dir(env.project());
        for line in settings.lines() {
            let Some((name, value)) = line.trim().split_once(": ${{ ") else {
                continue;
            };
            let value = value.replace(" }}", "");
            let value = match value.strip_prefix("inputs.") {
                Some(input) => inputs
                    .iter()
                    .find(|(name, _)| *name == input)
                    .map_or(String::new(), |(_, value)| (*value).to_owned()),
                None => value.replace("runner.temp", &temp.display().to_string()),
            };
            command.env(name, value);
        }
        command.env("PROGRAM", crate::support::BINARY);
        command.env("GITHUB_OUTPUT", env.path("output"));
        command.env("GITHUB_STEP_SUMMARY", env.path("summary"));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let summary = fs::read_to_string(env.path("summary")).unwrap();
        (output.status.code(), said, summary)
    };
    let all = "deposit-data.json\ndeposit-data-1eth.json";
    let safe = [("lock", LOCK), ("deposit", all), ("receipts", "chat.txt")];
    let (code, _, summary) = run(&[&safe[..], &[("network", "hoodi")]].concat());
    assert_eq!(code, Some(0), "{summary}");
    assert!(summary.starts_with("## Safe to deposit\n"), "{summary}");
    let output = fs::read_to_string(env.path("output")).unwrap();
    let report = output.trim_end().strip_prefix("report=").unwrap();
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["verdict"], "safe-to-deposit");

    let beacon = format!("http://127.0.0.1:1/{SECRET}");
    for (inputs, expected) in [
        (&[("network", "mainnet")][..], "deposits-network"),
        (&[("profile", "lido")], "profile-withdrawal-address"),
        (&[("beacon-rpc", &beacon)], "chain-beacon"),
    ] {
        let (code, said, summary) = run(&[&safe[..], inputs].concat());
        assert_eq!(code, Some(4), "{said}");
        assert!(summary.starts_with("## Not safe to deposit\n"), "{summary}");
        assert!(said.contains(expected), "{said}");
        assert!(
            !said.contains(SECRET) && !summary.contains(SECRET),
            "{said}"
        );
        assert_eq!(fs::read_dir(&temp).unwrap().count(), 1, "only the report");
    }
    // A name of a file is no script.
    let odd = [
        ("lock", LOCK),
        ("deposit", "$(touch${IFS}ran);`touch${IFS}ran`"),
        ("receipts", "chat.txt"),
    ];
    assert_eq!(run(&odd).0, Some(4));
    assert!(!env.project().join("ran").exists());
    // What a file says is text in the summary, and no markup.
    fs::write(env.project().join("chat.txt"), "# <b>Safe to deposit</b>\n").unwrap();
    let (code, _, summary) = run(&safe);
    assert_eq!(code, Some(4));
    for line in summary.lines().skip(1) {
        assert!(line.starts_with("    "), "{summary}");
    }
}

/// Whoever is asked can neither keep the funder waiting, nor fill the machine, nor have a key shown or sent elsewhere.
#[test]
fn answers_are_bounded_and_keys_stay_hidden() {
    let env = funder(4);
    let other = Server::on_loopback(|_| answer(200, "{}"));
    let elsewhere = format!("http://127.0.0.1:{}/{SECRET}", other.port);
    let echo = format!("<html>{SECRET} is not known here</html>");
    let long = " ".repeat(17 << 20);
    let cut = unfinished(&[SECRET.as_bytes()]);
    let servers = [
        (
            Server::on_loopback(|_| Answer::ThenSilence(Vec::new())),
            ["did not answer in time"; 2],
        ),
        (
            Server::on_loopback(move |_| answer(200, &long)),
            [
                "is longer than any should be",
                "answer is longer than 65536 bytes",
            ],
        ),
        (
            Server::on_loopback(move |_| raw(302, &[("Location", &elsewhere)], b"")),
            ["with status 302"; 2],
        ),
        (
            Server::on_loopback(move |_| answer(200, &echo)),
            ["cannot be understood: <html>[…] is not known here</html>"; 2],
        ),
        (
            Server::on_loopback(move |_| Answer::Bytes(cut.clone())),
            ["cannot be reached", "cannot reach the execution client"],
        ),
    ];
    std::thread::scope(|scope| {
        for (server, said) in &servers {
            for (flag, said) in ["--beacon-rpc", "--execution-rpc"].into_iter().zip(said) {
                let env = &env;
                scope.spawn(move || {
                    let outcome = env.run(&with(&[flag, &url(server)])).exits(4);
                    assert!(outcome.stderr.contains("COULD NOT TELL ["), "{outcome}");
                    assert!(outcome.stderr.contains(said), "{said}: {outcome}");
                    assert!(!outcome.stderr.contains(SECRET), "{outcome}");
                });
            }
        }
    });
    assert!(other.requests().is_empty());
}

/// `eth_getLogs` with a deposit of somebody else, and one for the first validator of the cluster.
#[test]
fn the_execution_client_knows_the_newest_deposits() {
    let deposit = lock().validators[0].deposits[1].clone();
    let event = |pubkey: &[u8]| {
        let mut data = Vec::new();
        for offset in [160_u64, 256, 320, 384, 512] {
            data.extend([0; 24]);
            data.extend(offset.to_be_bytes());
        }
        for field in [
            pubkey,
            &deposit.withdrawal_credentials,
            &deposit.amount.0.to_le_bytes(),
            &deposit.signature,
            &7_u64.to_le_bytes(),
        ] {
            data.extend([0; 24]);
            data.extend(u64::try_from(field.len()).unwrap().to_be_bytes());
            data.extend(field);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        json!({"data": format!("0x{}", hex::encode(data))})
    };
    let events = json!([event(&[7; 48]), event(&deposit.pubkey)]);
    let env = funder(4);
    for (chain, contract, events, code, said) in [
        ("0x88bb0", "0x60", json!([]), 0, "2 unknown"),
        (
            "0x88bb0",
            "0x60",
            events.clone(),
            4,
            "someone has already paid",
        ),
        (
            "0x88bb0",
            "0x",
            json!([]),
            4,
            "knows no contract at 0x00000000219ab540356cBB839Cbe05303d7705Fa",
        ),
        (
            "0x1",
            "0x60",
            events,
            4,
            "the execution client is on chain 1, expected 560048",
        ),
        (
            "0x88bb0",
            "0x60",
            json!([{"data": "0x"}]),
            4,
            "cannot be understood",
        ),
    ] {
        // One request per connection, told apart by what was asked before.
        let asked = std::sync::Mutex::new(0);
        let server = Server::on_loopback(move |_| {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            let result = match *asked {
                1 => json!(chain),
                2 => json!(false),
                3 => json!(contract),
                4 => json!("0x64"),
                _ => events.clone(),
            };
            answer(
                200,
                &json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string(),
            )
        });
        let outcome = env
            .run(&with(&["--execution-rpc", &url(&server)]))
            .exits(code);
        let all = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(all.contains(said), "{said}: {outcome}");
        assert!(!all.contains(SECRET), "{outcome}");
    }
}

#[test]
fn a_directory_says_where_its_validators_stand() {
    let env = TestEnv::finished(CEREMONY, 0);
    let own = own_credentials();
    let ask = |server: &Server, code| {
        let url = url(server);
        let outcome = env.run(&["verify", "--beacon-rpc", &url]).exits(code);
        assert!(!outcome.stderr.contains(SECRET), "{outcome}");
        outcome
    };
    let server = beacon(
        "hoodi",
        on_chain(&own, "active_ongoing"),
        Some(json!([])),
        false,
    );
    let outcome = ask(&server, 0);
    assert!(
        outcome
            .stdout
            .contains("active (active_ongoing, number 77, 32 ETH)"),
        "{outcome}"
    );
    assert!(outcome.stdout.contains("unknown\n"), "{outcome}");
    assert!(
        outcome
            .stdout
            .contains("new ceremony     NO: these keys are in use"),
        "{outcome}"
    );
    let document = env
        .run(&["verify", "--format", "json", "--beacon-rpc", &url(&server)])
        .exits(0)
        .json();
    fits(&document, "verify.schema.json");
    assert_eq!(document["chain"]["new_ceremony"], "in-use");
    assert_eq!(document["chain"]["validators"][0]["standing"], "active");
    let server = beacon("hoodi", json!([]), Some(json!([])), false);
    let outcome = ask(&server, 0);
    assert!(
        outcome
            .stdout
            .contains("the chain knows none of these keys"),
        "{outcome}"
    );
    let foreign = format!("0x{}", "01".repeat(32));
    let server = beacon(
        "hoodi",
        on_chain(&foreign, "pending_queued"),
        Some(json!([])),
        false,
    );
    assert_eq!(ask(&server, 4).failed(), ["chain-credentials"]);
    let server = beacon("hoodi", json!([]), None, false);
    ask(&server, 4);
}

/// Keys with duties are not put aside by mistake, and no new ceremony takes their place.
#[test]
fn old_keys_in_use_stay_and_no_ceremony_follows_them() {
    let env = TestEnv::finished(CEREMONY, 0);
    let own = own_credentials();
    let knows = |status: &str, balance: &str| {
        let mut validators = on_chain(&own, status);
        validators[0]["balance"] = json!(balance);
        beacon("hoodi", validators, Some(json!([])), false)
    };
    let full = "32000000000";
    let before = Tree::of(&env.data(""));
    let archive = |server: &Server, code| {
        let url = url(server);
        let outcome = env
            .run(&["archive", "--yes", "--beacon-rpc", &url])
            .exits(code);
        assert!(!outcome.stderr.contains(SECRET), "{outcome}");
        outcome
    };
    for status in ["active_ongoing", "pending_queued", "active_exiting"] {
        let outcome = archive(&knows(status, full), 3);
        assert_eq!(outcome.failed(), ["chain-old-keys"], "{outcome}");
        assert_eq!(Tree::of(&env.data("")), before);
    }
    let outcome = archive(&beacon("hoodi", json!([]), Some(json!([])), true), 3);
    assert!(outcome.stderr.contains("still syncing"), "{outcome}");
    let outcome = archive(&beacon("mainnet", json!([]), Some(json!([])), false), 3);
    assert_eq!(outcome.failed(), ["chain-beacon"], "{outcome}");
    assert_eq!(Tree::of(&env.data("")), before);
    // Where they lie, `plan` names them beside what is in the way there.
    let plan = |server: &Server| {
        let url = url(server);
        env.run(&["plan", "--beacon-rpc", &url]).exits(3)
    };
    let outcome = plan(&knows("active_ongoing", full));
    assert!(outcome.failed().contains(&"chain-old-keys"), "{outcome}");
    assert!(outcome.stderr.contains("1 active, 1 unknown"), "{outcome}");
    // What has exited and was paid out is over.
    archive(&knows("withdrawal_done", "0"), 0);
    assert_eq!(Tree::of(&env.data("")).names(), [KEY, DEFINITION]);
    // And `plan` looks at what was put aside.
    let outcome = plan(&knows("active_ongoing", full));
    assert_eq!(outcome.failed(), ["chain-old-keys", "engine-unreachable"]);
    let outcome = plan(&beacon("hoodi", json!([]), None, false));
    assert_eq!(outcome.failed(), ["engine-unreachable"], "{outcome}");
    assert!(
        outcome.stderr.contains("COULD NOT TELL [chain-beacon]"),
        "{outcome}"
    );
    let outcome = plan(&beacon("hoodi", json!([]), Some(json!([])), false));
    assert_eq!(outcome.failed(), ["engine-unreachable"], "{outcome}");
    assert!(!outcome.stderr.contains("[chain-"), "{outcome}");
}

/// Nor are keys that were never promoted, and those whose lock cannot be read.
#[test]
fn a_lock_that_cannot_be_read_is_no_clean_one() {
    let env = TestEnv::finished(CEREMONY, 0);
    env.put(LOCK, b"{}");
    let server = beacon("hoodi", json!([]), Some(json!([])), false);
    let outcome = env
        .run(&["archive", "--yes", "--beacon-rpc", &url(&server)])
        .exits(3);
    assert!(outcome.stderr.contains("chain-old-keys"), "{outcome}");
    assert!(server.requests().is_empty());
}

/// `define`, `plan` and the settings of the project.
#[test]
fn a_protocol_is_named_from_the_beginning() {
    let env = TestEnv::with_key();
    let mut enrs: Vec<String> = (1..4_u8)
        .map(|seed| {
            let key = EnrKey::from_secret_bytes(&[seed; 32]).unwrap();
            key.enr().text().to_owned()
        })
        .collect();
    enrs.push(env.key().enr().text().to_owned());
    fs::write(env.project().join("enrs.txt"), enrs.join("\n")).unwrap();
    let define = |network: &str, more: &[&str]| {
        let network = format!("--network={network}");
        let mut args = vec!["define", "--num-validators=2", "--profile=lido", &network];
        args.extend_from_slice(more);
        args.push("enrs.txt");
        env.run(&args)
    };
    let holesky = "0xE73a3602b99f1f913e72F8bdcBC235e206794Ac8";
    let outcome = define("hoodi", &["--fee-recipient-addresses", holesky]).exits(3);
    assert_eq!(outcome.failed(), ["vault-network", "profile-fee-recipient"]);
    define("gnosis", &[]).exits(3);
    define("hoodi", &["--deposit-amounts=16,16"]).exits(3);
    define("hoodi", &[]).exits(0);
    let path = env
        .project()
        .join("cluster-definition.json")
        .display()
        .to_string();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("0x4473dCDDbf77679A643BdB654dbd86D67F8d32f2"),
        "{text}"
    );
    assert!(
        text.contains("0x9b108015fe433F173696Af3Aa0CF7CDb3E104258"),
        "{text}"
    );
    env.run(&["verify", "--definition", &path, "--profile", "lido"])
        .exits(0);
    let outcome = env.run(&["verify", "--definition", &path]).exits(0);
    assert!(outcome.stdout.contains("--profile lido"), "{outcome}");
    env.run(&["verify", "--definition", &path, "--profile", "lido-cm-v2"])
        .exits(4);

    let plan = |more: &[&str]| {
        let args = [&["plan", "--definition", &path][..], more].concat();
        env.run(&args)
    };
    let settings = "LIDO_EXECUTION_LAYER_REWARDS_ADDRESS=0xE73a3602b99f1f913e72F8bdcBC235e206794Ac8\nNETWORK=holesky\n";
    fs::write(env.project().join(".env"), settings).unwrap();
    let outcome = plan(&[]);
    for check in ["project-network", "project-rewards-address"] {
        assert!(outcome.failed().contains(&check), "{outcome}");
    }
    fs::write(env.project().join(".env"), "NETWORK=hoodi\n").unwrap();
    let outcome = plan(&["--profile", "lido-cm-v2"]);
    assert!(
        outcome.failed().contains(&"profile-credentials"),
        "{outcome}"
    );
    assert!(!outcome.failed().contains(&"project-network"), "{outcome}");
}
