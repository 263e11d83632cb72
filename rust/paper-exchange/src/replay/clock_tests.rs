use proptest::prelude::*;

use super::*;
use crate::replay::tests::{schedule, utc};

const START: &str = "2013-10-07T13:29:30Z";

fn clock(speed: f64, start: &str) -> Clock {
    let settings = ClockSettings {
        speed,
        paused: false,
        close_pause_s: 5.0,
    };
    Clock::new(schedule(), settings, utc(start), 0).unwrap()
}

fn seconds(seconds: f64) -> i64 {
    (seconds * SECOND as f64) as i64
}

#[test]
fn market_time_runs_at_the_speed() {
    let mut clock = clock(10.0, START);
    assert_eq!(clock.advance(seconds(3.0)), utc("2013-10-07T13:30:00Z"));
    clock.set_speed(seconds(3.0), 60.0).unwrap();
    assert_eq!(clock.advance(seconds(4.0)), utc("2013-10-07T13:31:00Z"));
    assert_eq!(clock.speed(), 60.0);
}

#[test]
fn a_pause_stops_it_and_what_passed_before_counts() {
    let mut clock = clock(10.0, START);
    clock.pause(seconds(1.0));
    assert_eq!(clock.advance(seconds(100.0)), utc("2013-10-07T13:29:40Z"));
    assert!(clock.is_paused());
    clock.resume(seconds(200.0));
    assert_eq!(clock.advance(seconds(201.0)), utc("2013-10-07T13:29:50Z"));
}

#[test]
fn the_close_can_be_seen_before_the_jump_to_the_next_open() {
    let mut clock = clock(60.0, "2013-10-07T19:59:00Z");
    assert_eq!(clock.advance(seconds(1.0)), utc("2013-10-07T20:00:00Z"));
    assert_eq!(clock.advance(seconds(5.5)), utc("2013-10-07T20:04:30Z"));
    assert_eq!(clock.advance(seconds(6.0)), utc("2013-10-08T13:29:30Z"));
    assert_eq!(clock.advance(seconds(6.5)), utc("2013-10-08T13:30:00Z"));
}

#[test]
fn it_passes_over_weekends_and_into_winter_time() {
    let mut clock = clock(1000.0, "2013-11-01T19:59:59Z");
    assert_eq!(clock.advance(seconds(5.001)), utc("2013-11-04T14:29:30Z"));
}

#[test]
fn a_step_moves_a_paused_clock_and_one_from_after_the_close_goes_to_the_next_open() {
    let mut clock = clock(10.0, "2013-10-07T19:59:30Z");
    clock.pause(0);
    assert_eq!(
        clock.step(seconds(9.0), 60.0),
        Ok(utc("2013-10-07T20:00:30Z"))
    );
    assert_eq!(
        clock.step(seconds(9.0), 60.0),
        Ok(utc("2013-10-08T13:29:30Z"))
    );
    assert_eq!(
        clock.step(seconds(9.0), 60.0),
        Ok(utc("2013-10-08T13:30:30Z"))
    );
    assert_eq!(clock.advance(seconds(99.0)), utc("2013-10-08T13:30:30Z"));
}

#[test]
fn it_can_be_set_forward_only() {
    let mut clock = clock(10.0, START);
    let target = utc("2013-10-09T15:00:00Z");
    assert_eq!(clock.seek(0, target), Ok(target));
    assert_eq!(clock.advance(seconds(1.0)), target + 10 * SECOND);
    let refused = clock.seek(seconds(1.0), target).unwrap_err().to_string();
    assert!(
        refused.contains("2013-10-09T15:00:00Z") && refused.contains("never runs backwards"),
        "{refused}"
    );
    // In the night it waits and jumps as after a close.
    clock
        .seek(seconds(1.0), utc("2013-10-10T01:00:00Z"))
        .unwrap();
    assert_eq!(clock.advance(seconds(6.0)), utc("2013-10-10T13:29:30Z"));
}

#[test]
fn speeds_and_steps_out_of_range_are_refused_with_the_rule() {
    let mut clock = clock(10.0, START);
    for speed in [0.0, 0.5, 1000.1, f64::NAN, f64::INFINITY, -1.0] {
        let refused = clock.set_speed(0, speed).unwrap_err().to_string();
        assert!(refused.contains("from 1 to 1000"), "{refused}");
    }
    for step in [0.0, -1.0, f64::NAN, 90_000.0] {
        assert!(
            clock
                .step(0, step)
                .unwrap_err()
                .to_string()
                .contains("86400")
        );
    }
    assert_eq!(clock.now(), utc(START));
}

#[derive(Clone, Debug)]
enum Act {
    Wait(u32),
    Pause,
    Resume,
    Speed(f64),
    Step(f64),
    Seek(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0_u32..20_000_000).prop_map(Act::Wait),
        1 => Just(Act::Pause),
        1 => Just(Act::Resume),
        1 => (1.0..1000.0).prop_map(Act::Speed),
        1 => (0.001..7200.0).prop_map(Act::Step),
        1 => (-3600_i64..200_000).prop_map(Act::Seek),
    ]
}

proptest! {
    #[test]
    fn market_time_never_runs_backwards(acts in proptest::collection::vec(act(), 1..60)) {
        let mut clock = clock(100.0, START);
        let (mut real, mut last) = (0, clock.now());
        for act in acts {
            match act {
                Act::Wait(micros) => real += i64::from(micros) * 1000,
                Act::Pause => clock.pause(real),
                Act::Resume => clock.resume(real),
                Act::Speed(speed) => clock.set_speed(real, speed).unwrap(),
                Act::Step(by) => { clock.step(real, by).unwrap(); }
                Act::Seek(by) => { let _ = clock.seek(real, last + by * SECOND); }
            }
            let now = clock.advance(real);
            prop_assert!(now >= last, "{:?}", act);
            last = now;
        }
    }

    #[test]
    fn how_often_it_is_looked_at_makes_no_difference(speed in 1.0_f64..1000.0, waits in proptest::collection::vec(1_i64..3_000_000_000, 1..40)) {
        let mut often = clock(speed, "2013-10-07T19:30:00Z");
        let mut once = clock(speed, "2013-10-07T19:30:00Z");
        let mut real = 0;
        for wait in waits {
            real += wait;
            often.advance(real);
        }
        prop_assert_eq!(often.now(), once.advance(real));
    }

    #[test]
    fn it_stands_in_played_sessions_or_within_the_pause_after_them(waits in proptest::collection::vec(1_i64..9_000_000_000, 1..60)) {
        let mut clock = clock(500.0, START);
        let mut real = 0;
        for wait in waits {
            real += wait;
            let now = clock.advance(real);
            let session = common::calendar::session(common::calendar::date_at(now)).unwrap();
            prop_assert!(session.open - LEAD <= now && now <= session.close + 5 * 500 * SECOND);
        }
    }
}
