//! A cluster on Gnosis Chain, where 32 in charon's files is 1 GNO: every amount that people read is the one that is paid.

use std::fs;

use charon_files::cluster::names::FileDigest;
use charon_files::cluster::{ClusterLock, Definition};
use charon_files::keys::k1::EnrKey;
use serde_json::{Value, json};

use crate::deposits::{beacon, fits, url};
use crate::receipts::receipts;
use crate::support::{DEFINITION, KEY, LOCK, Outcome, TestEnv, fixture};

const GNOSIS: &str = "charon-v1.10.3-def-v1.10.0-n10-v3-gnosis-deposits-8-24";
const FILES: [&str; 2] = ["deposit-data-8eth.json", "deposit-data-24eth.json"];

/// A funder's directory: lock, definition, deposit data, and a chat with the receipts of all ten.
fn funder() -> (TestEnv, ClusterLock) {
    let env = TestEnv::new();
    let source = fixture(GNOSIS, 0);
    let copy = |name: &str| {
        let bytes = fs::read(source.join(name)).unwrap();
        fs::write(env.project().join(name), &bytes).unwrap();
        bytes
    };
    copy(DEFINITION);
    let lock = ClusterLock::parse(&copy(LOCK)).unwrap().value;
    let files = FILES.map(|name| FileDigest::of(name, &copy(name)));
    let keys: Vec<EnrKey> = (0..10)
        .map(|node| EnrKey::parse(&fs::read(fixture(GNOSIS, node).join(KEY)).unwrap()).unwrap())
        .collect();
    let lines: Vec<String> = receipts(&lock, &keys, &files)
        .iter()
        .map(ToString::to_string)
        .collect();
    fs::write(env.project().join("chat.txt"), lines.join("\n")).unwrap();
    (env, lock)
}

fn of_deposits<'a>(files: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["deposits", "--lock", LOCK, "--receipts", "chat.txt"];
    for file in files {
        args.extend(["--deposit", file]);
    }
    [&args[..], more].concat()
}

/// Nothing is told in ETH, whatever else is said.
fn without_eth(said: Outcome) -> Outcome {
    assert!(!said.to_string().contains("ETH"), "{said}");
    said
}

fn line<'a>(said: &'a Outcome, beginning: &str) -> &'a str {
    let found = said
        .stdout
        .lines()
        .find(|line| line.trim_start().starts_with(beginning));
    found.unwrap_or_default().trim()
}

#[test]
fn a_funder_pays_gno() {
    let (env, _) = funder();
    let safe = env.run(&of_deposits(&FILES, &["--network", "gnosis"]));
    snapshot!("deposits_gnosis", without_eth(safe.exits(0)));
    let document = env
        .run(&of_deposits(&FILES, &["--format", "json"]))
        .exits(0)
        .json();
    fits(&document, "deposits.schema.json");
    let cluster = &document["clusters"][0];
    assert_eq!(
        cluster["token"],
        json!({"symbol": "GNO", "gwei": 32_000_000_000_u64})
    );
    assert_eq!(cluster["per_validator_gwei"], 32_000_000_000_u64);
    assert_eq!(document["total_gwei"], 96_000_000_000_u64);

    let part = env.run(&of_deposits(&FILES[..1], &[])).exits(4);
    for text in [
        "files for deposits of 0.25 GNO, which are 0.25 GNO for each validator",
        "expected: 1 GNO\n",
    ] {
        assert!(part.stderr.contains(text), "{text}: {part}");
    }
    without_eth(part);
}

/// Balances of the chain are in the same Gwei as the files.
#[test]
fn the_chain_of_gnosis_counts_as_the_files_do() {
    let (env, lock) = funder();
    let credentials = |index: usize| {
        let credentials = lock.validators[index].deposits[0].withdrawal_credentials;
        format!("0x{}", hex::encode(credentials))
    };
    let pubkey = |index: usize| format!("0x{}", hex::encode(lock.validators[index].public_key));
    let validators = json!([{
        "index": "77", "balance": "32000000000", "status": "active_ongoing",
        "validator": {"pubkey": pubkey(0), "withdrawal_credentials": credentials(0), "slashed": false},
    }]);
    let deposit = &lock.validators[1].deposits[0];
    let pending = json!([{
        "pubkey": pubkey(1), "withdrawal_credentials": credentials(1), "amount": "8000000000",
        "signature": format!("0x{}", hex::encode(deposit.signature)), "slot": "9",
    }]);
    let server = beacon("gnosis", validators, Some(pending), false);
    let said = env
        .run(&of_deposits(&FILES, &["--beacon-rpc", &url(&server)]))
        .exits(4);
    assert_eq!(said.failed(), ["chain-paid", "chain-paid"]);
    for text in [
        "validator 77 (active_ongoing) exists already, with 1 GNO and the expected",
        "1 GNO there or on their way, and 1 GNO to be paid",
        "0.25 GNO are on their way to it",
        "0.25 GNO there or on their way, and 1 GNO to be paid",
        "expected: at most 1 GNO in all",
    ] {
        assert!(said.stderr.contains(text), "{text}: {said}");
    }
    without_eth(said);

    let said = env
        .run(&["verify", "--lock", LOCK, "--beacon-rpc", &url(&server)])
        .exits(0);
    assert!(
        said.stdout
            .contains("active (active_ongoing, number 77, 1 GNO)"),
        "{said}"
    );
    assert!(
        said.stdout.contains("pending (0.25 GNO on their way)"),
        "{said}"
    );
    without_eth(said);
}

#[test]
fn the_board_shows_gno() {
    let (env, _) = funder();
    let deposits = FILES.map(|name| format!("--deposit={name}"));
    let [small, large] = &deposits;
    let args = [
        "board",
        "--definition",
        DEFINITION,
        "--lock",
        LOCK,
        small,
        large,
        "chat.txt",
    ];
    let said = without_eth(env.run(&args).exits(0));
    assert_eq!(line(&said, "amounts"), "amounts     0.25, 0.75 GNO each");
    assert_eq!(
        line(&said, "deposits"),
        "deposits    3 of 0.25 GNO, 3 of 0.75 GNO; 3 GNO in all files together"
    );
    env.run(&[&args[..], &["--html", "board.html"]].concat())
        .exits(0);
    let page = fs::read_to_string(env.project().join("board.html")).unwrap();
    for cell in [">0.25, 0.75 GNO<", ">0.75 GNO<", ">2.25 GNO<", ">3 GNO<"] {
        assert!(page.contains(cell), "{cell}: {page}");
    }
    assert!(!page.contains("ETH"), "{page}");
    let document: Value = env
        .run(&[&args[..], &["--format", "json"]].concat())
        .exits(0)
        .json();
    fits(&document, "board.schema.json");
    // What was there before keeps its meaning.
    let (terms, found) = (&document["terms"], &document["deposits"]);
    assert_eq!(terms["deposit_amounts"], json!(["8", "24"]));
    assert_eq!(
        terms["deposit_amounts_gwei"],
        json!([8_000_000_000_u64, 24_000_000_000_u64])
    );
    assert_eq!(terms["token"]["symbol"], "GNO");
    assert_eq!(found["total"], "96");
    assert_eq!(found["total_gwei"], 96_000_000_000_u64);
    assert_eq!(found["amounts"][1]["amount_gwei"], 24_000_000_000_u64);
    assert_eq!(found["amounts"][1]["total_gwei"], 72_000_000_000_u64);
}

#[test]
fn terms_are_shown_in_gno() {
    let (env, _) = funder();
    let amounts = "deposit amounts  0.25, 0.75 GNO for each validator";
    for given in [["--lock", LOCK], ["--definition", DEFINITION]] {
        let said = env.run(&["verify", given[0], given[1]]).exits(0);
        assert_eq!(line(&said, "deposit amounts"), amounts);
        without_eth(said);
    }
    let document = env
        .run(&["verify", "--lock", LOCK, "--format", "json"])
        .exits(0)
        .json();
    fits(&document, "verify.schema.json");
    assert_eq!(
        document["payouts"]["token"],
        json!({"symbol": "GNO", "gwei": 32_000_000_000_u64})
    );
    assert_eq!(
        document["payouts"]["deposit_amounts_gwei"],
        json!([8_000_000_000_u64, 24_000_000_000_u64])
    );

    // A file with another amount is told so in what it would cost.
    let path = env.project().join(FILES[0]);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("8000000000", "16000000000", 1)).unwrap();
    let said = env
        .run(&["verify", "--lock", LOCK, "--deposit", FILES[0]])
        .exits(4);
    let seen = "deposits of 0.5 GNO and of 0.25 GNO";
    assert!(said.stderr.contains(seen), "{said}");
    without_eth(said);
}

#[test]
fn amounts_are_chosen_as_with_charon_and_shown_in_gno() {
    let (env, lock) = funder();
    let enrs: Vec<&str> = lock
        .definition
        .operators
        .iter()
        .map(|operator| operator.enr.as_str())
        .collect();
    fs::write(env.project().join("enrs.txt"), enrs.join("\n")).unwrap();
    let address = "0x1111111111111111111111111111111111111111";
    let define = |amounts: &str| {
        let amounts = format!("--deposit-amounts={amounts}");
        env.run(&[
            "define",
            "--network=gnosis",
            "--num-validators=3",
            &amounts,
            "--withdrawal-addresses",
            address,
            "--fee-recipient-addresses",
            address,
            "--output=mine.json",
            "enrs.txt",
        ])
    };
    let few = without_eth(define("1").exits(3));
    assert!(few.stderr.contains("seen:     0.03125 GNO in all"), "{few}");
    assert!(
        few.stderr.contains("expected: at least 1 GNO in all"),
        "{few}"
    );
    let made = without_eth(define("8,24").exits(0));
    assert_eq!(
        line(&made, "deposit amounts"),
        "deposit amounts  0.25, 0.75 GNO for each validator"
    );
    let bytes = fs::read(env.project().join("mine.json")).unwrap();
    let definition = Definition::parse(&bytes).unwrap().value;
    assert_eq!(definition.deposit_amounts, lock.definition.deposit_amounts);
}
