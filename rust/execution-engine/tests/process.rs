//! The service alone, as a process.

#[path = "../../common/tests/process/mod.rs"]
mod process;

use std::time::Duration;

use process::{Running, refused};

const PROGRAM: &str = env!("CARGO_BIN_EXE_execution-engine");
const ALONE: [&str; 4] = ["--signal-port", "0", "--health-port", "0"];

#[test]
fn it_serves_health_and_ends_soon_after_a_signal() {
    let service = Running::start(PROGRAM, &ALONE, &[]);
    let health = "execution_engine_health";
    assert_eq!(service.get(health, "/live"), (200, "alive".to_owned()));
    let (status, body) = service.get(health, "/health");
    assert!(
        body.contains(r#""component":"execution-engine""#),
        "{status} {body}"
    );
    assert_eq!(service.get(health, "/ready").0, 503);
    let (status, metrics) = service.get(health, "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("execution_engine_up 1"), "{metrics}");
    let (code, took, log) = service.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_taken_port_is_one_line_with_port_and_setting() {
    let first = Running::start(PROGRAM, &ALONE, &[]);
    let taken = first.ports["signal"].to_string();
    let (code, line) = refused(
        PROGRAM,
        &["--signal-port", &taken, "--health-port", "0"],
        &[],
    );
    assert_eq!(code, Some(78), "{line}");
    assert!(
        line.contains(&format!("ports.signal: 127.0.0.1:{taken} is taken")),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn a_port_for_all_the_world_needs_keys() {
    let (code, line) = refused(PROGRAM, &[&ALONE[..], &["--bind", "0.0.0.0"]].concat(), &[]);
    assert_eq!(code, Some(78), "{line}");
    assert!(line.contains("bus.security.enabled"), "{line}");
    let (code, line) = refused(
        PROGRAM,
        &[&ALONE[..], &["--keys-dir", "/nowhere"]].concat(),
        &[],
    );
    assert_eq!(code, Some(78), "{line}");
    assert!(line.contains("/nowhere/"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}
