use super::*;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HERE: Listen<'_> = Listen {
    setting: "ports.market_data_health",
    host: "127.0.0.1",
    port: 0,
};

async fn get(port: u16, path: &str) -> (u16, String, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(std::time::Duration::from_secs(30), exchange)
        .await
        .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

async fn get_json(port: u16, path: &str) -> (u16, Value) {
    let (status, _, body) = get(port, path).await;
    (status, serde_json::from_str(&body).unwrap())
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "health-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn health_says_how_it_is() {
    let health = HealthCheck::new("market-data");
    health.set(Status::Healthy, "4 symbols");
    health.counter("bars", "bars published", 12);
    health.text("stream", "connected");
    let server = start_health_server(health, HERE).await.unwrap();
    let (status, body) = get_json(server.port(), "/health").await;
    assert_eq!(status, 200);
    assert_eq!(body["status"], "healthy");
    assert_eq!(body["component"], "market-data");
    assert_eq!(body["message"], "4 symbols");
    assert_eq!(body["metrics"]["bars"], "12");
    assert_eq!(body["metrics"]["stream"], "connected");
    let uptime = body["metrics"]["uptime_seconds"].as_str().unwrap();
    assert!(uptime.parse::<f64>().unwrap() >= 0.0);
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn health_that_isnt_well_is_503_and_says_since_when() {
    let health = HealthCheck::new("market-data");
    let server = start_health_server(health.clone(), HERE).await.unwrap();
    for (status, word) in [
        (Status::Degraded, "degraded"),
        (Status::Unhealthy, "unhealthy"),
    ] {
        health.set(status, "no message from the broker");
        let (code, body) = get_json(server.port(), "/health").await;
        assert_eq!((code, body["status"].as_str()), (503, Some(word)));
        let message = body["message"].as_str().unwrap();
        assert!(
            message.starts_with("no message from the broker (for "),
            "{message}"
        );
    }
    health.set(Status::Healthy, "back");
    assert_eq!(get_json(server.port(), "/health").await.0, 200);
}

#[tokio::test]
async fn ready_is_503_until_it_is() {
    let health = HealthCheck::new("risk-manager");
    let server = start_health_server(health.clone(), HERE).await.unwrap();
    let (status, body) = get_json(server.port(), "/ready").await;
    assert_eq!((status, &body["ready"]), (503, &json!(false)));
    assert_eq!(body["component"], "risk-manager");
    assert_eq!(body["reason"], "starting");
    health.set_ready();
    let (status, body) = get_json(server.port(), "/ready").await;
    assert_eq!((status, &body["ready"]), (200, &json!(true)));
    health.set_not_ready("the engine is gone");
    let (status, body) = get_json(server.port(), "/ready").await;
    assert_eq!(
        (status, body["reason"].as_str()),
        (503, Some("the engine is gone"))
    );
}

#[tokio::test]
async fn live_answers_while_nothing_else_is_well() {
    let health = HealthCheck::new("market-data");
    health.set(Status::Unhealthy, "all is lost");
    let server = start_health_server(health, HERE).await.unwrap();
    let (status, head, body) = get(server.port(), "/live").await;
    assert_eq!((status, body.as_str()), (200, "alive"));
    assert!(head.contains("cache-control: no-store"), "{head}");
    assert_eq!(get(server.port(), "/elsewhere").await.0, 404);
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let health = HealthCheck::new("market-data");
    health.counter("bars", "bars published", 12);
    health.gauge("lag_seconds", "age of the newest message", 0.25);
    let server = start_health_server(health, HERE).await.unwrap();
    let (status, head, body) = get(server.port(), "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("application/openmetrics-text"), "{head}");
    for line in [
        "# TYPE market_data_bars counter",
        "market_data_bars_total 12",
        "market_data_lag_seconds 0.25",
        "market_data_up 1.0",
        "market_data_ready 0.0",
        "# EOF",
    ] {
        assert!(body.lines().any(|seen| seen == line), "{line} in\n{body}");
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_setting() {
    let first = start_health_server(HealthCheck::new("a"), HERE)
        .await
        .unwrap();
    let listen = Listen {
        port: first.port(),
        ..HERE
    };
    let refused = start_health_server(HealthCheck::new("b"), listen)
        .await
        .unwrap_err();
    assert_eq!(refused.exit_code, 78);
    let named = format!(
        "ports.market_data_health: 127.0.0.1:{} is taken",
        first.port()
    );
    assert!(refused.message.starts_with(&named), "{refused}");
}

#[tokio::test]
async fn a_dropped_server_gives_its_port_back() {
    let server = start_health_server(HealthCheck::new("a"), HERE)
        .await
        .unwrap();
    let port = server.port();
    drop(server);
    let again = async {
        while start_health_server(HealthCheck::new("a"), Listen { port, ..HERE })
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), again)
        .await
        .unwrap();
}

#[test]
fn the_record_survives_restarts() {
    let folder = Folder::new();
    let first = HealthCheck::recorded("market-data", Some(&folder.0));
    first.set(Status::Degraded, "not connected yet");
    first.set(Status::Healthy, "connected");
    first.set(Status::Degraded, "the broker is gone");
    first.set(Status::Degraded, "the broker is still gone");
    first.stopped("asked to");

    let second = HealthCheck::recorded("market-data", Some(&folder.0));
    let (_, body) = second.report();
    assert_eq!(body["metrics"]["starts"], "2");
    assert_eq!(body["metrics"]["last_exit"], "clean: asked to");
    let incident = body["metrics"]["last_incident"].as_str().unwrap();
    assert!(incident.ends_with("the broker is gone"), "{incident}");
    drop(second);

    let third = HealthCheck::recorded("market-data", Some(&folder.0));
    let (_, body) = third.report();
    assert_eq!(body["metrics"]["starts"], "3");
    assert!(
        body["metrics"]["last_exit"]
            .as_str()
            .unwrap()
            .starts_with("crash")
    );
}

#[test]
fn a_broken_record_starts_anew() {
    let folder = Folder::new();
    let path = folder.0.join("health/market-data.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "{half").unwrap();
    let health = HealthCheck::recorded("market-data", Some(&folder.0));
    assert_eq!(health.report().1["metrics"]["starts"], "1");
}

#[test]
fn a_start_is_no_incident_unless_it_fails() {
    let folder = Folder::new();
    let health = HealthCheck::recorded("risk-manager", Some(&folder.0));
    health.set(Status::Degraded, "the engine isn't connected");
    assert_eq!(health.report().1["metrics"].get("last_incident"), None);
    health.failed("ports.risk: taken");
    let (_, body) = health.report();
    let incident = body["metrics"]["last_incident"].as_str().unwrap();
    assert!(incident.ends_with("ports.risk: taken"), "{incident}");
}
