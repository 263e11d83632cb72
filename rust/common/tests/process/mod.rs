//! A service's binary as a process: for the tests of each, which take this file in by its path.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub const LIMIT: Duration = Duration::from_secs(30);

/// A running service and the ports that its log told.
pub struct Running {
    process: Child,
    lines: Receiver<String>,
    log: String,
    pub ports: BTreeMap<String, u16>,
}

fn command(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_remove("ALPACA_API_KEY")
        .env_remove("ALPACA_SECRET_KEY")
        .env_remove("RUST_LOG")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Running {
    /// Start it and wait until it says that it has started.
    pub fn start(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut process = command(program, arguments, environment)
            .spawn()
            .expect("it starts");
        let err = BufReader::new(process.stderr.take().expect("its log"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in err.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut running = Self {
            process,
            lines,
            log: String::new(),
            ports: BTreeMap::new(),
        };
        let started = running.wait_for("started");
        let ports = started["ports"].as_str().expect("its ports");
        running.ports = serde_json::from_str(ports).expect("ports in JSON");
        running
    }

    /// The next line of the log whose message is this.
    pub fn wait_for(&mut self, message: &str) -> serde_json::Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no {message:?} in the log:\n{}", self.log));
            self.log.push_str(&line);
            self.log.push('\n');
            let line: serde_json::Value = serde_json::from_str(&line).expect("a log in JSON");
            if line["message"] == message {
                return line;
            }
        }
    }

    /// GET from one of its ports: status and body.
    pub fn get(&self, port: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[port])).expect("connects");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("reads");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// SIGTERM: its exit code, how long it took, and all that it logged.
    pub fn terminate(mut self) -> (Option<i32>, Duration, String) {
        let began = Instant::now();
        let id = self.process.id().to_string();
        let sent = Command::new("kill").arg(id).status().expect("signals");
        assert!(sent.success());
        let code = self.process.wait().expect("ends").code();
        let took = began.elapsed();
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        (code, took, std::mem::take(&mut self.log))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Run one that ends by itself: its exit code and its stderr.
pub fn refused(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command(program, arguments, environment)
        .output()
        .expect("it runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// What every service on the bus does as a process: `port` is the name of its own, such as `signal`.
pub struct Service {
    pub program: &'static str,
    pub component: &'static str,
    pub port: &'static str,
}

impl Service {
    fn flags(&self, port: &str) -> [String; 4] {
        let flag = format!("--{}-port", self.port);
        [flag, port.into(), "--health-port".into(), "0".into()]
    }

    fn refused(&self, port: &str, more: &[&str]) -> String {
        let flags = self.flags(port);
        let arguments: Vec<&str> = flags.iter().map(String::as_str).collect();
        let (code, line) = refused(self.program, &[&arguments[..], more].concat(), &[]);
        assert_eq!(code, Some(78), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    }

    fn start(&self) -> Running {
        let flags = self.flags("0");
        Running::start(self.program, &flags.each_ref().map(String::as_str), &[])
    }

    pub fn serves_health_and_ends_soon_after_a_signal(&self) {
        let service = self.start();
        let name = self.component.replace('-', "_");
        let health = format!("{name}_health");
        assert_eq!(service.get(&health, "/live"), (200, "alive".to_owned()));
        let (status, body) = service.get(&health, "/health");
        let component = format!(r#""component":"{}""#, self.component);
        assert!(body.contains(&component), "{status} {body}");
        assert_eq!(service.get(&health, "/ready").0, 503);
        let (status, metrics) = service.get(&health, "/metrics");
        assert_eq!(status, 200);
        assert!(metrics.contains(&format!("{name}_up 1")), "{metrics}");
        let (code, took, log) = service.terminate();
        assert_eq!(code, Some(0), "{log}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    pub fn names_a_taken_port_and_its_setting(&self) {
        let first = self.start();
        let taken = first.ports[self.port].to_string();
        let line = self.refused(&taken, &[]);
        let words = format!("ports.{}: 127.0.0.1:{taken} is taken", self.port);
        assert!(line.contains(&words), "{line}");
    }

    pub fn wants_keys_before_it_listens_to_all_the_world(&self) {
        let line = self.refused("0", &["--bind", "0.0.0.0"]);
        assert!(line.contains("bus.security.enabled"), "{line}");
        let line = self.refused("0", &["--keys-dir", "/nowhere"]);
        assert!(line.contains("/nowhere/"), "{line}");
    }
}
