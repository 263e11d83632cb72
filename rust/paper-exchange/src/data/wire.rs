//! Bars, quotes and trades as Alpaca writes them, in JSON and in msgpack.

use common::calendar::{self, MINUTE, SECOND};

use crate::recording::BarRow;
use crate::replay::{Price, Print, Quote, Trade};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    MsgPack,
}

/// Where a symbol is listed decides the tape that its quotes and trades are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tape(&'static str);

impl Tape {
    pub fn of_listing(exchange: &str) -> Tape {
        Tape(match exchange {
            "NYSE" => "A",
            "NASDAQ" => "C",
            _ => "B",
        })
    }
}

/// Code of the exchange that quotes and trades are said to come from (IEX).
const VENUE: &str = "V";

/// One object being written; it was said how many fields it has.
pub(super) trait Writer {
    fn begin(out: &mut Vec<u8>, fields: u32);
    fn name(out: &mut Vec<u8>, name: &str, first: bool);
    fn text(out: &mut Vec<u8>, text: &str);
    fn price(out: &mut Vec<u8>, price: Price);
    fn whole(out: &mut Vec<u8>, number: u64);
    fn instant(out: &mut Vec<u8>, at: i64);
    fn texts(out: &mut Vec<u8>, texts: &[&str]);
    fn end(out: &mut Vec<u8>);
}

pub(super) struct Json;
pub(super) struct MsgPack;

impl Writer for Json {
    fn begin(out: &mut Vec<u8>, _fields: u32) {
        out.push(b'{');
    }

    fn name(out: &mut Vec<u8>, name: &str, first: bool) {
        if !first {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
    }

    fn text(out: &mut Vec<u8>, text: &str) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }

    fn price(out: &mut Vec<u8>, price: Price) {
        let micros = price.micros().unsigned_abs();
        if price.micros() < 0 {
            out.push(b'-');
        }
        digits(out, micros / 1_000_000);
        let mut fraction = micros % 1_000_000;
        if fraction > 0 {
            out.push(b'.');
            let mut place = 100_000;
            while fraction > 0 {
                out.push(b'0' + (fraction / place) as u8);
                fraction %= place;
                place /= 10;
            }
        }
    }

    fn whole(out: &mut Vec<u8>, number: u64) {
        digits(out, number);
    }

    fn instant(out: &mut Vec<u8>, at: i64) {
        out.push(b'"');
        rfc3339(out, at);
        out.push(b'"');
    }

    fn texts(out: &mut Vec<u8>, texts: &[&str]) {
        out.push(b'[');
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            Self::text(out, text);
        }
        out.push(b']');
    }

    fn end(out: &mut Vec<u8>) {
        out.push(b'}');
    }
}

impl Writer for MsgPack {
    fn begin(out: &mut Vec<u8>, fields: u32) {
        map(out, fields);
    }

    fn name(out: &mut Vec<u8>, name: &str, _first: bool) {
        Self::text(out, name);
    }

    fn text(out: &mut Vec<u8>, text: &str) {
        // Writing to a Vec can't fail.
        let _ = rmp::encode::write_str(out, text);
    }

    fn price(out: &mut Vec<u8>, price: Price) {
        let _ = rmp::encode::write_f64(out, price.to_f64());
    }

    fn whole(out: &mut Vec<u8>, number: u64) {
        let _ = rmp::encode::write_uint(out, number);
    }

    /// The Timestamp extension (type −1) in its 64-bit form: 30 bits of nanoseconds, 34 bits of seconds.
    fn instant(out: &mut Vec<u8>, at: i64) {
        let seconds = at.div_euclid(SECOND) as u64 & 0x3_ffff_ffff;
        let nanos = at.rem_euclid(SECOND) as u64;
        let _ = rmp::encode::write_ext_meta(out, 8, -1);
        out.extend_from_slice(&(nanos << 34 | seconds).to_be_bytes());
    }

    fn texts(out: &mut Vec<u8>, texts: &[&str]) {
        array(out, texts.len() as u32);
        for text in texts {
            Self::text(out, text);
        }
    }

    fn end(_out: &mut Vec<u8>) {}
}

fn map(out: &mut Vec<u8>, fields: u32) {
    let _ = rmp::encode::write_map_len(out, fields);
}

/// The head of a msgpack array of `length`.
pub(super) fn array(out: &mut Vec<u8>, length: u32) {
    let _ = rmp::encode::write_array_len(out, length);
}

fn digits(out: &mut Vec<u8>, mut number: u64) {
    let mut buffer = [0_u8; 20];
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[at..]);
}

fn padded(out: &mut Vec<u8>, number: u32, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (number / 10_u32.pow(place) % 10) as u8);
    }
}

/// `2013-10-07T13:30:00.25Z`: fractions as far as they go, as Go's RFC3339Nano writes them.
pub(super) fn rfc3339(out: &mut Vec<u8>, at: i64) {
    let (days, rest) = (at.div_euclid(calendar::DAY), at.rem_euclid(calendar::DAY));
    let date = civil(days);
    padded(out, date.0, 4);
    out.push(b'-');
    padded(out, date.1, 2);
    out.push(b'-');
    padded(out, date.2, 2);
    out.push(b'T');
    padded(out, (rest / calendar::HOUR) as u32, 2);
    out.push(b':');
    padded(out, (rest / MINUTE % 60) as u32, 2);
    out.push(b':');
    padded(out, (rest / SECOND % 60) as u32, 2);
    let mut fraction = (rest % SECOND) as u32;
    if fraction > 0 {
        out.push(b'.');
        let mut place = 100_000_000;
        while fraction > 0 {
            out.push(b'0' + (fraction / place) as u8);
            fraction %= place;
            place /= 10;
        }
    }
    out.push(b'Z');
}

/// Year, month and day of a count of days since 1970 (Hinnant, chrono-compatible low-level date algorithms).
fn civil(days: i64) -> (u32, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as u32, month as u32, day as u32)
}

/// `T` and `S` of a message of the stream; REST leaves them out.
pub(super) type Head<'a> = Option<(&'a str, &'a str)>;

fn begin<W: Writer>(out: &mut Vec<u8>, head: Head<'_>, fields: u32) {
    W::begin(out, fields + if head.is_some() { 2 } else { 0 });
    if let Some((kind, symbol)) = head {
        W::name(out, "T", true);
        W::text(out, kind);
        W::name(out, "S", false);
        W::text(out, symbol);
    }
}

pub(super) fn bar<W: Writer>(out: &mut Vec<u8>, head: Head<'_>, bar: &BarRow) {
    begin::<W>(out, head, 8);
    W::name(out, "o", head.is_none());
    W::price(out, bar.open);
    W::name(out, "h", false);
    W::price(out, bar.high);
    W::name(out, "l", false);
    W::price(out, bar.low);
    W::name(out, "c", false);
    W::price(out, bar.close);
    W::name(out, "v", false);
    W::whole(out, bar.volume);
    W::name(out, "n", false);
    W::whole(out, u64::from(bar.trade_count));
    W::name(out, "vw", false);
    W::price(out, bar.vwap);
    W::name(out, "t", false);
    W::instant(out, bar.start);
    W::end(out);
}

pub(super) fn quote<W: Writer>(out: &mut Vec<u8>, head: Head<'_>, quote: &Quote, tape: Tape) {
    begin::<W>(out, head, 9);
    W::name(out, "bx", head.is_none());
    W::text(out, VENUE);
    W::name(out, "bp", false);
    W::price(out, quote.bid);
    W::name(out, "bs", false);
    W::whole(out, u64::from(quote.bid_size));
    W::name(out, "ax", false);
    W::text(out, VENUE);
    W::name(out, "ap", false);
    W::price(out, quote.ask);
    W::name(out, "as", false);
    W::whole(out, u64::from(quote.ask_size));
    W::name(out, "c", false);
    W::texts(out, &["R"]);
    W::name(out, "z", false);
    W::text(out, tape.0);
    W::name(out, "t", false);
    W::instant(out, quote.at);
    W::end(out);
}

pub(super) fn trade<W: Writer>(out: &mut Vec<u8>, head: Head<'_>, trade: &Trade, tape: Tape) {
    begin::<W>(out, head, 7);
    W::name(out, "i", head.is_none());
    W::whole(out, trade.id);
    W::name(out, "x", false);
    W::text(out, VENUE);
    W::name(out, "p", false);
    W::price(out, trade.price);
    W::name(out, "s", false);
    W::whole(out, u64::from(trade.size));
    W::name(out, "c", false);
    // A regular sale is "@" on the tape of Nasdaq and a blank on the others.
    let regular = if tape.0 == "C" { "@" } else { " " };
    match trade.print {
        Print::Opening => W::texts(out, &[regular, "O"]),
        Print::Closing => W::texts(out, &[regular, "6"]),
        Print::Plain if calendar::is_open(trade.at) => W::texts(out, &[regular]),
        Print::Plain => W::texts(out, &[regular, "T"]),
    }
    W::name(out, "z", false);
    W::text(out, tape.0);
    W::name(out, "t", false);
    W::instant(out, trade.at);
    W::end(out);
}
