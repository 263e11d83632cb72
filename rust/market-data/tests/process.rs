//! The service alone, as a process; its broker is one that listens and says nothing.

#[path = "../../common/tests/process/mod.rs"]
mod process;

use std::net::TcpListener;
use std::time::Duration;

use process::{Running, refused};

const PROGRAM: &str = env!("CARGO_BIN_EXE_market-data");
const KEYS: [(&str, &str); 2] = [
    ("ALPACA_API_KEY", "PKALONE"),
    ("ALPACA_SECRET_KEY", "hush-hush-hush"),
];

struct Silent {
    _listener: TcpListener,
    url: String,
}

impl Silent {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        Self {
            _listener: listener,
            url: format!("ws://127.0.0.1:{port}/v2/iex"),
        }
    }

    fn arguments<'a>(&'a self, market: &'a str) -> Vec<&'a str> {
        let ports = ["--market-port", market, "--health-port", "0"];
        [
            &["--stream-url", &self.url, "--symbols", "IBM,SPY"],
            &ports[..],
        ]
        .concat()
    }
}

#[test]
fn it_serves_health_and_ends_soon_after_a_signal() {
    let broker = Silent::new();
    let service = Running::start(PROGRAM, &broker.arguments("0"), &KEYS);
    let health = "market_data_health";
    assert_eq!(service.get(health, "/live"), (200, "alive".to_owned()));
    assert_eq!(service.get(health, "/ready").0, 503);
    let (_, body) = service.get(health, "/health");
    assert!(body.contains(r#""component":"market-data""#), "{body}");
    assert!(!body.contains("hush"), "{body}");
    let (status, metrics) = service.get(health, "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("market_data_up 1"), "{metrics}");
    let (code, took, log) = service.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(!log.contains("hush") && !log.contains("PKALONE"), "{log}");
}

#[test]
fn a_taken_port_is_one_line_with_port_and_setting() {
    let broker = Silent::new();
    let first = Running::start(PROGRAM, &broker.arguments("0"), &KEYS);
    let taken = first.ports["market"].to_string();
    let (code, line) = refused(PROGRAM, &broker.arguments(&taken), &KEYS);
    assert_eq!(code, Some(78), "{line}");
    assert!(
        line.contains(&format!("ports.market: 127.0.0.1:{taken} is taken")),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn the_keys_come_from_the_environment_alone() {
    let broker = Silent::new();
    let (code, line) = refused(PROGRAM, &broker.arguments("0"), &[]);
    assert_eq!(code, Some(78), "{line}");
    assert!(
        line.contains("ALPACA_API_KEY") && line.contains("ALPACA_SECRET_KEY"),
        "{line}"
    );
    let flags = [&broker.arguments("0")[..], &["--secret-key", "hush"]].concat();
    assert_eq!(refused(PROGRAM, &flags, &KEYS).0, Some(2));
}
