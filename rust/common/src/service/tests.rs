use std::sync::mpsc as blocking;
use std::time::Duration;

use super::*;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(30);

async fn echo(context: Context) -> Result<(), Failure> {
    let mut calls = context.calls().expect("the first caller gets them");
    context.started(Ports::from([("echo".to_owned(), 7)]));
    loop {
        tokio::select! {
            () = context.stopped() => return Ok(()),
            Some(call) = calls.recv() => {
                let answer = match call.command.get("say") {
                    Some(word) => Ok(json!({ "said": word })),
                    None => Err("say what?".to_owned()),
                };
                call.answer(answer);
            }
        }
    }
}

#[test]
fn a_service_starts_answers_and_stops() {
    let handle = Handle::start("echo", LIMIT, echo).unwrap();
    assert_eq!(handle.ports()["echo"], 7);
    assert!(handle.is_alive());
    let answer = handle.call(json!({"say": "yes"}), LIMIT).unwrap();
    assert_eq!(answer, json!({"said": "yes"}));
    let refused = handle.call(json!({}), LIMIT).unwrap_err();
    assert!(refused.message.contains("say what?"), "{refused}");
    handle.stop(LIMIT).unwrap();
    handle.stop(LIMIT).unwrap();
    assert!(!handle.is_alive());
    assert_eq!(handle.failure(), None);
    assert!(handle.call(json!({"say": 1}), LIMIT).is_err());
}

#[test]
fn a_failure_before_the_start_is_the_starts_failure() {
    let refused = Handle::start("refuser", LIMIT, |_| async {
        Err::<(), _>(Failure::config("ports.market: taken"))
    })
    .unwrap_err();
    assert_eq!(refused, Failure::config("ports.market: taken"));
}

#[test]
fn a_panic_is_a_failure_and_not_the_end_of_the_process() {
    let handle = Handle::start("fragile", LIMIT, |context| async move {
        context.started(Ports::new());
        if context.calls().is_some() {
            panic!("seven is missing");
        }
        Ok::<(), Failure>(())
    })
    .unwrap();
    assert!(handle.wait(LIMIT));
    let failure = handle.failure().unwrap();
    assert!(failure.message.contains("seven is missing"), "{failure}");
    assert_eq!(failure.exit_code, EXIT_FAILED);
}

#[test]
fn a_start_that_takes_too_long_is_refused() {
    let late = Handle::start("late", Duration::ZERO, |context| async move {
        context.stopped().await;
        Ok::<(), Failure>(())
    })
    .unwrap_err();
    assert!(late.message.contains("hadn't started"), "{late}");
}

#[test]
fn a_dropped_handle_ends_its_service() {
    let (ended, end) = blocking::channel();
    let handle = Handle::start("dropped", LIMIT, |context| async move {
        context.started(Ports::new());
        context.stopped().await;
        ended.send(()).map_err(|_| Failure::failed("nobody waits"))
    })
    .unwrap();
    drop(handle);
    end.recv_timeout(LIMIT).unwrap();
}

#[test]
fn settings_errors_name_the_field() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[serde(rename = "port")]
        _port: u16,
    }
    let error = settings_from_json::<Settings>("echo", r#"{"prt": 1}"#).unwrap_err();
    assert!(error.message.contains("prt"), "{error}");
    assert_eq!(error.exit_code, EXIT_CONFIG);
}
