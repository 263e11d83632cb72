//! Opening and closing auctions: the first and the last print of each regular session.

use axum::extract::{Query, State};
use chrono::NaiveDate;
use common::calendar;

use super::super::history::History;
use super::super::wire::{Json, Tape, Writer};
use super::page::Row;
use super::query::{Fields, Refused};
use super::{Answer, One, Shared, history_page};
use crate::replay::{Print, SymbolId, Trade};

/// The auctions of one day, as far as they have taken place.
struct DayAuctions {
    date: NaiveDate,
    opening: Trade,
    closing: Option<Trade>,
}

impl Row for DayAuctions {
    fn at(&self) -> i64 {
        self.opening.at
    }

    fn write(&self, out: &mut Vec<u8>, _tape: Tape) {
        out.extend_from_slice(format!("{{\"d\":\"{}\",\"o\":[", self.date).as_bytes());
        write_auction(out, "O", &self.opening);
        out.extend_from_slice(b"],\"c\":[");
        if let Some(closing) = &self.closing {
            write_auction(out, "6", closing);
        }
        out.extend_from_slice(b"]}");
    }
}

fn write_auction(out: &mut Vec<u8>, condition: &str, trade: &Trade) {
    Json::begin(out, 5);
    Json::name(out, "c", true);
    Json::text(out, condition);
    Json::name(out, "p", false);
    Json::price(out, trade.price);
    Json::name(out, "s", false);
    Json::whole(out, u64::from(trade.size));
    Json::name(out, "t", false);
    Json::instant(out, trade.at);
    Json::name(out, "x", false);
    Json::text(out, "P");
    Json::end(out);
}

fn of(
    history: &History,
    symbol: SymbolId,
    start: i64,
    end: i64,
) -> std::vec::IntoIter<DayAuctions> {
    let mut days: Vec<DayAuctions> = Vec::new();
    for trade in history.trades(symbol, start, end) {
        match trade.print {
            Print::Opening => {
                days.push(DayAuctions {
                    date: calendar::date_at(trade.at),
                    opening: trade,
                    closing: None,
                });
            }
            Print::Closing => {
                if let Some(day) = days
                    .last_mut()
                    .filter(|day| day.date == calendar::date_at(trade.at))
                {
                    day.closing = Some(trade);
                }
            }
            Print::Plain => {}
        }
    }
    days.into_iter()
}

pub(super) async fn auctions(
    State(market): Shared,
    one: One,
    Query(fields): Query<Fields>,
) -> Answer {
    if let Some(feed) = fields.get("feed").filter(|feed| *feed != "sip") {
        return Err(Refused::invalid(format!(
            "invalid feed: {feed} (auctions are of sip)"
        )));
    }
    history_page(&market, &one, &fields, "auctions", of)
}
