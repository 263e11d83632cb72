use super::*;
use crate::messages::{MARKET, Message, TradeUpdate, parse};
use omq_tokio::Message as Parcel;

const LIMIT: Duration = Duration::from_secs(30);
const HERE: Listen<'_> = Listen {
    setting: "ports.market",
    host: "127.0.0.1",
    port: 0,
};

fn trade(price: f64) -> Message {
    Message::TradeUpdate(TradeUpdate {
        symbol: "IBM".to_owned(),
        price,
        size: 100.0,
        timestamp: 1,
    })
}

async fn publisher(port: u16) -> Publisher {
    let listen = Listen { port, ..HERE };
    Publisher::bind(listen, MARKET, "test", &BusConfig::default())
        .await
        .expect("a port")
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("in time")
}

#[tokio::test]
async fn what_is_published_is_heard_with_its_number() {
    let mut publisher = publisher(0).await;
    let url = format!("tcp://127.0.0.1:{}", publisher.port());
    let mut subscriber = Subscriber::connect(&url, &[MARKET], &BusConfig::default())
        .await
        .unwrap();
    assert!(publisher.wait_for_readers(1, LIMIT).await);
    publisher.beat().await;
    publisher.publish(&trade(5.0)).await.unwrap();
    let beat = within(subscriber.recv()).await.unwrap();
    assert_eq!(parse(beat.bytes()).unwrap().seq, 1);
    let frame = within(subscriber.recv()).await.unwrap();
    let received = parse(frame.bytes()).unwrap();
    assert_eq!((received.topic, received.seq), (MARKET, 2));
    assert_eq!(received.message, trade(5.0));
    assert!(received.ts > 1_600_000_000_000_000_000);
    assert_eq!(subscriber.stats().received, 2);
}

#[tokio::test]
async fn a_message_that_cant_be_read_uses_no_number() {
    let mut publisher = publisher(0).await;
    assert!(publisher.publish(&trade(f64::NAN)).await.is_err());
    assert_eq!(publisher.sent(), 0);
}

#[tokio::test]
async fn a_topic_matches_whole_words() {
    let mut publisher = publisher(0).await;
    let url = format!("tcp://127.0.0.1:{}", publisher.port());
    let mut half = Subscriber::connect(&url, &["mark"], &BusConfig::default())
        .await
        .unwrap();
    let mut whole = Subscriber::connect(&url, &["market"], &BusConfig::default())
        .await
        .unwrap();
    assert!(publisher.wait_for_readers(2, LIMIT).await);
    publisher.beat().await;
    within(whole.recv()).await.unwrap();
    assert!(half.try_recv().is_none());
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_setting() {
    let first = publisher(0).await;
    let listen = Listen {
        port: first.port(),
        ..HERE
    };
    let refused = Publisher::bind(listen, MARKET, "test", &BusConfig::default())
        .await
        .unwrap_err();
    assert_eq!(refused.exit_code, 78);
    assert!(refused.message.contains("ports.market"), "{refused}");
    assert!(
        refused.message.contains(&first.port().to_string()),
        "{refused}"
    );
}

#[tokio::test]
async fn a_subscriber_finds_a_publisher_that_was_started_again() {
    let mut first = publisher(0).await;
    let port = first.port();
    let url = format!("tcp://127.0.0.1:{port}");
    let mut subscriber = Subscriber::connect(&url, &[MARKET], &BusConfig::default())
        .await
        .unwrap();
    assert!(first.wait_for_readers(1, LIMIT).await);
    first.beat().await;
    within(subscriber.recv()).await.unwrap();
    let mut changes = subscriber.peer_changes();
    drop(first);
    within(changes.wait_for(|peers| *peers == 0)).await.unwrap();
    let mut second = within(async {
        loop {
            let listen = Listen { port, ..HERE };
            match Publisher::bind(listen, MARKET, "test", &BusConfig::default()).await {
                Ok(publisher) => return publisher,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert!(second.wait_for_readers(1, LIMIT).await);
    second.beat().await;
    let frame = within(subscriber.recv()).await.unwrap();
    assert_eq!(parse(frame.bytes()).unwrap().seq, 1);
    assert_eq!(subscriber.stats().reconnects, 1);
}

#[test]
fn gaps_and_restarts_are_counted() {
    let mut gaps = Gaps::default();
    for (seq, missed) in [(5, 0), (6, 0), (9, 2), (10, 0), (1, 0), (0, 0), (3, 1)] {
        assert_eq!(gaps.observe(seq), missed, "seq {seq}");
    }
    assert_eq!((gaps.missed, gaps.restarts), (3, 1));
}

/// A ROUTER that answers each request by what `answer` makes of it.
async fn router(answer: impl Fn(&str) -> Vec<String> + Send + 'static) -> (String, Socket) {
    let socket = socket(SocketType::Router, Options::new()).unwrap();
    let port = HERE.bind(&socket, &Security::Open).await.unwrap();
    let serving = socket.clone_shared();
    tokio::spawn(async move {
        while let Ok(request) = serving.recv().await {
            let identity = request.part_bytes(0).unwrap();
            let text = String::from_utf8(request.part_slice(1).unwrap().to_vec()).unwrap();
            for reply in answer(&text) {
                let parts = [identity.clone(), reply.into_bytes().into()];
                serving.send(Parcel::multipart(parts)).await.unwrap();
            }
        }
    });
    (format!("tcp://127.0.0.1:{port}"), socket)
}

#[tokio::test]
async fn an_answer_finds_its_request() {
    let (url, _router) = router(|request| {
        let id = request
            .trim_start_matches(r#"{"id":""#)
            .trim_end_matches(r#""}"#);
        vec![
            "no JSON".to_owned(),
            r#"{"id":"another"}"#.to_owned(),
            format!(r#"{{"id":"{id}","outcome":"accepted"}}"#),
        ]
    })
    .await;
    let requester = Requester::connect(&url, &BusConfig::default())
        .await
        .unwrap();
    assert!(requester.wait_connected(LIMIT).await);
    let (first, second) = tokio::join!(
        requester.request("a", br#"{"id":"a"}"#.to_vec(), LIMIT),
        requester.request("b", br#"{"id":"b"}"#.to_vec(), LIMIT),
    );
    assert_eq!(first.unwrap(), br#"{"id":"a","outcome":"accepted"}"#);
    assert_eq!(second.unwrap(), br#"{"id":"b","outcome":"accepted"}"#);
}

#[tokio::test]
async fn without_an_answer_it_is_in_doubt_and_without_a_peer_unsent() {
    let (url, _router) = router(|_| Vec::new()).await;
    let requester = Requester::connect(&url, &BusConfig::default())
        .await
        .unwrap();
    assert!(requester.wait_connected(LIMIT).await);
    let doubt = requester
        .request("a", b"{}".to_vec(), Duration::from_millis(20))
        .await;
    assert_eq!(doubt, Err(RequestError::InDoubt));

    let alone = Requester::connect("tcp://127.0.0.1:9", &BusConfig::default())
        .await
        .unwrap();
    let unsent = alone.request("a", b"{}".to_vec(), LIMIT).await;
    assert_eq!(unsent, Err(RequestError::NotSent));
}

#[tokio::test]
async fn curve_lets_in_who_is_listed() {
    let server = CurveKeypair::generate();
    let listed = CurveKeypair::generate();
    let serving = BusConfig {
        security: Security::Server {
            secret_key: server.secret.to_z85(),
            allowed: vec![listed.public.to_z85()],
        },
        ..BusConfig::default()
    };
    let mut publisher = Publisher::bind(HERE, MARKET, "test", &serving)
        .await
        .unwrap();
    let url = format!("tcp://127.0.0.1:{}", publisher.port());
    let client = |keys: &CurveKeypair| BusConfig {
        security: Security::Client {
            secret_key: keys.secret.to_z85(),
            server_key: server.public.to_z85(),
        },
        ..BusConfig::default()
    };
    let stranger = CurveKeypair::generate();
    let mut refused = Subscriber::connect(&url, &[MARKET], &client(&stranger))
        .await
        .unwrap();
    let mut taken = Subscriber::connect(&url, &[MARKET], &client(&listed))
        .await
        .unwrap();
    assert!(publisher.wait_for_readers(1, LIMIT).await);
    publisher.beat().await;
    within(taken.recv()).await.unwrap();
    assert!(refused.try_recv().is_none());
    assert_eq!(refused.stats().peers, 0);
}

#[test]
fn a_key_that_isnt_one_is_refused_without_showing_it() {
    let config = BusConfig {
        security: Security::Client {
            secret_key: "s3cret".to_owned(),
            server_key: String::new(),
        },
        ..BusConfig::default()
    };
    let refused = options(&config).unwrap_err().message;
    assert!(refused.contains("40 characters"), "{refused}");
    assert!(!refused.contains("s3cret"), "{refused}");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn a_high_water_mark_out_of_range_is_refused() {
    for mark in [0, MAX_HIGH_WATER_MARK + 1] {
        let config = BusConfig {
            high_water_mark: mark,
            ..BusConfig::default()
        };
        assert!(
            options(&config)
                .unwrap_err()
                .message
                .contains("high_water_mark")
        );
    }
}
