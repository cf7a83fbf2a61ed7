//! A small HTTP server that plays an engine, a registry or a relay, well or badly.
//!
//! It speaks just enough HTTP/1.1 for that: one request per connection, and the answer is raw
//! bytes, so that a test can break off wherever it likes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request, as far as the tests look at it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `GET`.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// The headers as they came.
    pub(crate) headers: String,
}

/// What the server does with a connection after a request has come.
pub(crate) enum Answer {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes and then nothing, for as long as the server exists.
    ThenSilence(Vec<u8>),
}

/// A whole answer with a body.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut bytes = head(status, headers);
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    Answer::Bytes(bytes)
}

/// A whole answer with a JSON body.
pub(crate) fn json(status: u16, body: &str) -> Answer {
    answer(
        status,
        &[("Content-Type", "application/json")],
        body.as_bytes(),
    )
}

/// The beginning of an answer whose body comes in chunks and never ends properly.
pub(crate) fn unfinished(chunks: &[&[u8]]) -> Vec<u8> {
    let mut bytes = head(200, &[]);
    bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
    for chunk in chunks {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.into_bytes()
}

/// A running server; it goes when this is dropped, and with it all silent connections.
pub(crate) struct Server {
    /// The port on 127.0.0.1, or 0 for a server on a Unix socket.
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    /// Silent connections hang on the other end of this.
    _silence: Sender<()>,
}

impl Server {
    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// A server on a free port of 127.0.0.1.
    pub(crate) fn on_loopback(
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        Self::run(port, handler, move || Ok(listener.accept()?.0))
    }

    /// A server on a Unix socket.
    pub(crate) fn on_socket(
        path: &Path,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        Self::run(0, handler, move || Ok(listener.accept()?.0))
    }

    fn run<S: Read + Write + Send + 'static>(
        port: u16,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        accept: impl Fn() -> std::io::Result<S> + Send + 'static,
    ) -> Self {
        let (silence, hang) = channel();
        let hang = Arc::new(Mutex::new(hang));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let handler = Arc::new(handler);
        thread::spawn(move || {
            while let Ok(mut connection) = accept() {
                let (handler, seen) = (Arc::clone(&handler), Arc::clone(&seen));
                let hang = Arc::clone(&hang);
                thread::spawn(move || serve(&mut connection, &*handler, &seen, &hang));
            }
        });
        Self {
            port,
            requests,
            _silence: silence,
        }
    }
}

fn serve(
    connection: &mut (impl Read + Write),
    handler: &impl Fn(&Request) -> Answer,
    seen: &Mutex<Vec<Request>>,
    hang: &Mutex<Receiver<()>>,
) {
    // A client may connect only to see whether somebody listens.
    let Some(request) = read_request(connection) else {
        return;
    };
    seen.lock().unwrap().push(request.clone());
    // The client may be gone by now; then there is nobody to answer.
    let sent = match handler(&request) {
        Answer::Bytes(bytes) => connection.write_all(&bytes),
        Answer::ThenSilence(bytes) => {
            let sent = connection
                .write_all(&bytes)
                .and_then(|()| connection.flush());
            let dropped = hang.lock().unwrap().recv();
            assert!(dropped.is_err(), "nobody sends anything");
            sent
        }
    };
    drop(sent);
}

fn read_request(connection: &mut impl Read) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let count = connection
            .read(&mut chunk)
            .ok()
            .filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        // A TLS handshake: docker tries that first.
        if bytes.first() == Some(&0x16) {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut words = text.lines().next()?.split(' ');
    let request = Request {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        headers: text.lines().skip(1).collect::<Vec<_>>().join("\n"),
    };
    // The body is read so that closing does not reset the connection under the answer.
    let body_len: usize = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut rest = (end + 4 + body_len).saturating_sub(bytes.len());
    while rest > 0 {
        let count = connection
            .read(&mut chunk)
            .ok()
            .filter(|count| *count > 0)?;
        rest = rest.saturating_sub(count);
    }
    Some(request)
}
