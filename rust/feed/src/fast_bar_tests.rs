use common::messages::{Message, parse};
use proptest::prelude::*;

use super::*;

const BAR: &str = r#"market {"type":"BarUpdate","symbol":"BRK.B","open":150.25,"high":151.0,"low":149.99,"close":150,"volume":1200,"timestamp":1381152600000000000,"trade_count":17,"vwap":150.123456,"timeframe":"1Min","source":"alpaca","seq":41,"ts":1700000000000000000}"#;

/// What is read fast is what the parser of all messages reads; answers whether it was read fast.
fn agrees(frame: &[u8]) -> bool {
    let Some(fast) = read(frame) else {
        return false;
    };
    let slow = parse(frame).unwrap_or_else(|error| {
        panic!("{}: {error}", String::from_utf8_lossy(frame));
    });
    let Message::BarUpdate(bar) = slow.message else {
        panic!("{:?} was read as a bar", slow.message)
    };
    let expected = FastBar {
        seq: slow.seq,
        symbol: &bar.symbol,
        bar: HistoryBar {
            timestamp: bar.timestamp,
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            volume: bar.volume,
        },
        timeframe: &bar.timeframe,
    };
    assert_eq!(fast, expected, "{}", String::from_utf8_lossy(frame));
    true
}

#[test]
fn bars_as_publishers_write_them_are_read_fast() {
    assert!(agrees(BAR.as_bytes()));
    let Ok(received) = parse(BAR.as_bytes()) else {
        panic!("the bar is sound")
    };
    let written = received
        .message
        .frame("market", 7, 1_700_000_000_000_000_000);
    assert!(agrees(&written.expect("it is carried")));
}

#[test]
fn other_shapes_are_left_to_the_parser_of_all_messages() {
    for (from, to) in [
        ("150.25", "1.5025e2"),
        ("150.25", "150.12345678901234"),
        ("150.25", "-0.0"),
        ("150.25", "0150.25"),
        ("150.25", "150."),
        ("150.25", "null"),
        ("150.25", "150.25 "),
        ("150,\"volume\"", "10000000000001,\"volume\""),
        ("1381152600000000000", "9223372036854775808"),
        ("1381152600000000000", "1381152600000000000.0"),
        ("BRK.B", "brk.b"),
        ("BRK.B", "BRK\\u002eB"),
        ("\"seq\":41", "\"seq\":41,\"seq\":42"),
        ("\"seq\":41", "\"unknown\":41"),
        ("\"seq\":41", "\"seq\":18446744073709551616"),
        ("alpaca", "é"),
        ("alpaca", "a\\\\b"),
        ("BarUpdate", "Heartbeat"),
        ("market ", "other "),
        ("000}", "000} "),
        ("000}", "000"),
    ] {
        let frame = BAR.replacen(from, to, 1);
        assert_ne!(frame, BAR, "{from}");
        assert_eq!(read(frame.as_bytes()), None, "{to}");
    }
}

/// Numbers as JSON may have them, and as it may not.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..2_000_000_u64, 0..=4_usize)
            .prop_map(|(value, decimals)| { format!("{:.decimals$}", value as f64 / 100.0) }),
        (0.0..1e14).prop_map(|value: f64| format!("{value:?}")),
        any::<f64>().prop_map(|value| format!("{value:?}")),
        any::<u64>().prop_map(|value| value.to_string()),
        "[0-9]{1,20}",
        "-?[0-9]{0,17}\\.?[0-9]{0,17}([eE][+-]?[0-9]{1,3})?",
        Just("null".to_owned()),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Z]{1,5}",
        "[A-Z0-9./-]{0,18}",
        Just("1Min".to_owned()),
        Just("1Day".to_owned()),
        "[ -~]{0,8}",
        "\\PC{0,4}",
    ]
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        number().prop_map(|value| format!(",\"seq\":{value}")),
        number().prop_map(|value| format!(",\"ts\":{value}")),
        number().prop_map(|value| format!(",\"trade_count\":{value}")),
        number().prop_map(|value| format!(",\"vwap\":{value}")),
        text().prop_map(|value| format!(",\"timeframe\":\"{value}\"")),
        text().prop_map(|value| format!(",\"source\":\"{value}\"")),
        text().prop_map(|value| format!(",\"{value}\":\"{value}\"")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_bar_of_any_numbers_is_read_as_the_parser_of_all_messages_reads_it(
        symbol in text(),
        numbers in prop::array::uniform6(number()),
        more in prop::collection::vec(field(), 0..5),
    ) {
        let [open, high, low, close, volume, timestamp] = numbers;
        agrees(format!(
            "market {{\"type\":\"BarUpdate\",\"symbol\":\"{symbol}\",\"open\":{open},\"high\":{high},\
             \"low\":{low},\"close\":{close},\"volume\":{volume},\"timestamp\":{timestamp}{}}}",
            more.concat(),
        ).as_bytes());
    }

    #[test]
    fn prices_in_cents_are_read_fast(cents in prop::array::uniform4(0..10_000_000_u64), seq: u32) {
        let [open, high, low, close] = cents.map(|cents| cents as f64 / 100.0);
        let frame = format!(
            "market {{\"type\":\"BarUpdate\",\"symbol\":\"SPY\",\"open\":{open:?},\"high\":{high},\
             \"low\":{low:.2},\"close\":{close:?},\"volume\":{}.0,\"timestamp\":{seq},\"seq\":{seq}}}",
            cents[0],
        );
        prop_assert!(agrees(frame.as_bytes()), "{}", frame);
    }

    #[test]
    fn a_frame_with_a_byte_changed_cut_or_put_in_is_read_as_well_or_as_badly(
        at in 0..BAR.len(), byte: u8, how in 0..3,
    ) {
        let mut frame = BAR.as_bytes().to_vec();
        match how {
            0 => frame[at] = byte,
            1 => frame.truncate(at),
            _ => frame.insert(at, byte),
        }
        agrees(&frame);
    }

    #[test]
    fn any_bytes_are_read_or_left(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        agrees(&bytes);
        agrees(&[HEAD, &bytes].concat());
    }
}
