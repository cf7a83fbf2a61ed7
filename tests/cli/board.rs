//! `board`: where a ceremony stands, as text, as a document for programs, and as a page in a real browser.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use charon_files::cluster::LockHash;
use charon_files::cluster::definition::Definition;
use charon_files::keys::k1::EnrKey;
use charon_proof::ready::List;
use charon_proof::receipt::Receipt;
use serde_json::{Value, json};

use crate::ready::line;
use crate::schema;
use crate::support::{CEREMONY, DEFINITION, KEY, LOCK, TestEnv, fixture};

fn definition() -> String {
    fixture(CEREMONY, 0).join(DEFINITION).display().to_string()
}

/// The receipt that an operator of the ceremony prints, made from their directory.
fn receipt(node: usize) -> String {
    let env = TestEnv::finished(CEREMONY, node);
    env.run(&["receipt"]).exits(0).stdout.trim().to_owned()
}

/// A chat with these lines in it.
fn with_chat(lines: &[String]) -> TestEnv {
    let env = TestEnv::new();
    fs::write(env.project().join("chat.txt"), lines.join("\nbob: ")).unwrap();
    env
}

#[test]
fn before_the_ceremony_everybody_is_told_what_to_do() {
    let env = with_chat(&[
        line(0, |_| {}),
        line(1, |it| it.relays = List::of(["http://other"])),
        line(2, |_| {}),
    ]);
    let said = env.run(&["board", "--definition", &definition(), "chat.txt"]);
    snapshot!("board_not_ready", said.exits(0));
}

/// Whatever of what was given does not count is named, and a key more than anything else.
#[test]
fn what_does_not_count_is_named_and_a_key_is_called_one() {
    let clipped = line(1, |_| {})[..200].to_owned();
    let key = "5a".repeat(32);
    let env = with_chat(&[line(0, |_| {}), clipped, format!("Cy: here is mine: {key}")]);
    fs::write(env.project().join("key.txt"), format!("mine: {key}\n")).unwrap();
    let definition = definition();
    let of_chat = ["board", "--definition", &definition, "chat.txt"];
    let said = env.run(&of_chat).exits(0);
    for finding in ["[ready-text]", "[pasted-secret] chat.txt, line "] {
        assert!(said.stdout.contains(finding), "{finding}: {said}");
    }
    assert!(!said.to_string().contains(&key), "{said}");
    let of_key = ["board", "--definition", &definition, "key.txt"];
    let said = env.run(&of_key).exits(0);
    for finding in ["[pasted-secret] key.txt, line 1", "[receipt-text] key.txt"] {
        assert!(said.stdout.contains(finding), "{finding}: {said}");
    }
    assert!(!said.to_string().contains(&key), "{said}");
}

#[test]
fn the_board_follows_the_ceremony_to_its_end() {
    let ready: Vec<String> = (0..4).map(|node| line(node, |_| {})).collect();
    let verdict = |env: &TestEnv, more: &[&str]| {
        let args = [
            "board",
            "--definition",
            &definition(),
            "--format",
            "json",
            "chat.txt",
        ];
        let document = env.run(&[&args[..], more].concat()).exits(0).json();
        let schema: Value =
            serde_json::from_str(include_str!("../../docs/board.schema.json")).unwrap();
        let problems = schema::problems(&schema, &schema, &document, "board");
        assert!(problems.is_empty(), "{problems:#?}");
        document
    };
    let env = with_chat(&ready);
    assert_eq!(verdict(&env, &[])["verdict"], "ready");

    let receipts: Vec<String> = (0..4).map(receipt).collect();
    let lock = fixture(CEREMONY, 0).join(LOCK).display().to_string();
    let with_lock = ["--lock", lock.as_str()];
    let three = with_chat(&[&ready[..], &receipts[..3]].concat());
    let unchecked = verdict(&three, &[]);
    assert_eq!(unchecked["verdict"], "receipts-missing");
    assert_eq!(unchecked["operators"][0]["receipt"]["text"], "not checked");
    let checked = verdict(&three, &with_lock);
    assert_eq!(checked["verdict"], "receipts-missing");
    assert_eq!(checked["operators"][2]["receipt"]["mark"], "good");
    let say = checked["operators"][3]["say"].as_str().unwrap();
    assert!(say.contains("`docker charon-dkg receipt`"), "{say}");

    let all = with_chat(&receipts);
    // A lock has its definition in it.
    let alone = all.run(&["board", "--lock", &lock, "--format=json", "chat.txt"]);
    let (mut alone, mut with_both) = (alone.exits(0).json(), verdict(&all, &with_lock));
    // When each was drawn.
    for board in [&mut alone, &mut with_both] {
        board["drawn"].take();
    }
    assert_eq!(alone, with_both);
    let deposit = |name: &str| format!("--deposit={}", fixture(CEREMONY, 0).join(name).display());
    let deposits = ["deposit-data.json", "deposit-data-1eth.json"].map(deposit);
    let deposits = [deposits[0].as_str(), deposits[1].as_str()];
    let confirmed = verdict(&all, &[&with_lock[..], &deposits].concat());
    assert_eq!(confirmed["verdict"], "confirmed");
    assert_eq!(confirmed["deposits"]["total"], "66");
    assert_eq!(confirmed["deposits"]["amounts"][1]["total"], "64");

    // An operator who says something else stops everybody.
    let key = EnrKey::parse(&fs::read(fixture(CEREMONY, 3).join(KEY)).unwrap()).unwrap();
    let mut lie = Receipt::parse(&receipts[3]).unwrap().statement().clone();
    lie.lock_hash = LockHash::new([7; 32]);
    lie.time += 1;
    let lie = Receipt::sign(lie, &key).unwrap().to_string();
    let differing = with_chat(&[receipts, vec![lie]].concat());
    assert_eq!(verdict(&differing, &with_lock)["verdict"], "stop");
    assert_eq!(verdict(&differing, &[])["verdict"], "stop");
}

#[test]
fn a_page_replaces_only_a_page_and_holds_nothing_that_a_browser_would_run() {
    let env = TestEnv::new();
    let bytes = fs::read(definition()).unwrap();
    let mut evil = Definition::parse(&bytes).unwrap().value;
    evil.name = "</title><script>alert(1)</script>\"'&".to_owned();
    let evil = evil.with_hashes().unwrap();
    fs::write(env.project().join("evil.json"), evil.to_json()).unwrap();
    let page = env.project().join("board.html");
    let draw = ["board", "--definition", "evil.json", "--html", "board.html"];
    env.run(&draw).exits(0);
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("&lt;script&gt;alert(1)"), "{html}");
    for word in [
        "<script", "http:", "https:", "url(", "@import", " src=", " on",
    ] {
        let harmless = html.replace("http-equiv", "");
        let count = harmless.matches(word).count();
        let is_text = word == " on";
        assert!(count == 0 || is_text, "{word} {count}");
    }
    env.run(&draw).exits(0);
    fs::write(&page, "precious").unwrap();
    let said = env.run(&draw).exits(3);
    assert!(said.stderr.contains("exists and is no board"), "{said}");
    assert_eq!(fs::read(&page).unwrap(), b"precious");
}

#[test]
fn a_lock_of_another_definition_draws_no_board() {
    let env = with_chat(&[line(0, |_| {})]);
    let other = fixture("charon-v1.10.3-def-v1.10.0-n4-v2-signed", 0).join(LOCK);
    let other = other.display().to_string();
    let said = env.run(&["board", "--definition", &definition(), "--lock", &other]);
    assert!(said.exits(4).stderr.contains("is the lock of definition"));
}

/// A browser that is spoken to over its standard streams.
struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    next: u64,
    /// Everything that it told without being asked.
    events: Vec<Value>,
}

impl Browser {
    fn start(profile: &Path) -> Self {
        // Its pipe is at descriptors 3 and 4; as root it has no sandbox.
        let script = "exec chromium --headless=new --no-sandbox --disable-gpu --no-first-run \
             --disable-background-networking --disable-component-update --user-data-dir=\"$1\" \
             --remote-debugging-pipe about:blank 3<&0 4>&1 1>/dev/null 2>/dev/null";
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(profile)
            .env("HOME", profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut browser = Self {
            child,
            to,
            from: BufReader::new(from),
            session: None,
            next: 0,
            events: Vec::new(),
        };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    fn read(&mut self) -> Value {
        let mut message = Vec::new();
        let count = self.from.read_until(0, &mut message).unwrap();
        assert!(
            count > 0,
            "chromium ended; these tests need the package chromium"
        );
        message.pop();
        serde_json::from_slice(&message).unwrap()
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut request = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = session.as_str().into();
        }
        write!(self.to, "{request}\0").unwrap();
        loop {
            let message = self.read();
            if message["id"] == self.next {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn open(&mut self, page: &Path, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 700 });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", scheme);
        self.events.clear();
        self.ask(
            "Page.navigate",
            json!({ "url": format!("file://{}", page.display()) }),
        );
        while !self
            .events
            .iter()
            .any(|it| it["method"] == "Page.loadEventFired")
        {
            let message = self.read();
            self.events.push(message);
        }
    }

    fn number(&mut self, expression: &str) -> f64 {
        let ask = json!({ "expression": expression, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", ask);
        answer["result"]["value"]
            .as_f64()
            .unwrap_or_else(|| panic!("{answer}"))
    }

    /// What it looks like, where somebody wants to see it.
    fn photograph(&mut self, name: &str) {
        use base64::Engine as _;
        if let Some(dir) = std::env::var_os("CHARON_DKG_PHOTOGRAPHS") {
            let shot = json!({ "format": "png", "captureBeyondViewport": true });
            let shot = self.ask("Page.captureScreenshot", shot);
            let png =
                base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap());
            fs::write(Path::new(&dir).join(format!("{name}.png")), png.unwrap()).unwrap();
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
#[ignore = "starts a browser: needs the package chromium; tests/all.sh installs it"]
fn the_page_is_whole_in_a_browser_on_a_phone_and_on_paper() {
    let env = with_chat(&[
        line(0, |_| {}),
        line(1, |it| it.relays = List::of(["http://other"])),
        line(2, |it| it.charon_version = "v1.9.0".parse().unwrap()),
    ]);
    let draw = [
        "board",
        "--definition",
        &definition(),
        "--html",
        "board.html",
        "chat.txt",
    ];
    env.run(&draw).exits(0);
    let page = env.project().join("board.html");
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Browser::start(profile.path());
    for (width, height, scheme) in [
        (360, 740, "light"),
        (360, 740, "dark"),
        (1280, 800, "light"),
        (1280, 800, "dark"),
    ] {
        browser.open(&page, width, height, scheme);
        let scroll = browser.number("document.documentElement.scrollWidth");
        assert!(scroll <= f64::from(width), "{scroll} of {width}");
        // The verdict is seen without scrolling.
        let bottom =
            browser.number("document.getElementById('verdict').getBoundingClientRect().bottom");
        assert!(bottom > 0.0 && bottom < f64::from(height), "{bottom}");
        let rows = browser.number("document.querySelectorAll('.operators tbody tr').length");
        assert!((rows - 4.0).abs() < f64::EPSILON, "{rows}");
        browser.photograph(&format!("board-{width}-{scheme}"));
        let requests: Vec<&str> = browser
            .events
            .iter()
            .filter(|it| it["method"] == "Network.requestWillBeSent")
            .filter_map(|it| it["params"]["request"]["url"].as_str())
            .filter(|url| !url.starts_with("data:"))
            .collect();
        assert_eq!(requests, [format!("file://{}", page.display())]);
        let complaints: Vec<&Value> = browser
            .events
            .iter()
            .filter(|it| {
                [
                    "Log.entryAdded",
                    "Runtime.consoleAPICalled",
                    "Runtime.exceptionThrown",
                ]
                .iter()
                .any(|method| it["method"] == *method)
            })
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
    let paper = json!({ "preferCSSPageSize": true, "printBackground": true });
    let pdf = browser.ask("Page.printToPDF", paper);
    use base64::Engine as _;
    let pdf = base64::engine::general_purpose::STANDARD.decode(pdf["data"].as_str().unwrap());
    let pdf = String::from_utf8_lossy(&pdf.unwrap()).into_owned();
    assert_eq!(pdf.matches("/Type /Page\n").count(), 1, "one sheet");
}
