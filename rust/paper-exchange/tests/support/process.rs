//! The exchange as a process, and HTTP as plain as it gets.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

pub const LIMIT: Duration = Duration::from_secs(30);

pub struct Running {
    process: Child,
    pub port: u16,
}

impl Running {
    pub fn start(arguments: &[&str]) -> Self {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../console/sample");
        let mut process = Command::new(env!("CARGO_BIN_EXE_paper-exchange"))
            .args(["--data", data, "--port", "0", "--control"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("its output");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("says where it is");
        let port = line
            .split("http://127.0.0.1:")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("no port in {line:?}"));
        Self { process, port }
    }

    /// Sends `text` as it is and reads the answer to its end.
    pub fn raw(&self, text: &[u8]) -> (u16, String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connects");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        // A refusal may come, and the connection end, before all was sent.
        let _ = stream.write_all(text);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    pub fn ask_as(&self, key: &str, method: &str, path: &str, body: &str) -> (u16, String, Value) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAPCA-API-KEY-ID: {key}\r\n\
             APCA-API-SECRET-KEY: s\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (status, head, body) = self.raw(request.as_bytes());
        (
            status,
            head,
            serde_json::from_str(&body).unwrap_or(Value::Null),
        )
    }

    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, _, body) = self.ask_as("PKHTTP", method, path, body);
        (status, body)
    }

    pub fn buy(&self, qty: u32, client_order_id: &str) -> (u16, Value) {
        let body = json!({
            "symbol": "IBM", "qty": qty, "side": "buy", "type": "market", "time_in_force": "day",
            "client_order_id": client_order_id,
        });
        self.ask("POST", "/v2/orders", &body.to_string())
    }

    /// SIGTERM; its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .arg(id)
                .status()
                .expect("signals")
                .success()
        );
        self.process.wait().expect("ends").code()
    }

    pub fn kill(mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
