//! An exchange on a Monday of 2013, with its prices in the test's hand.
#![allow(dead_code, unreachable_pub)]

use std::str::FromStr;

use common::calendar;
use paper_exchange::core::{
    Batch, Exchange, ExchangeSettings, NewOrder, Order, Receipt, Refusal, Side, Status, Update,
};
use paper_exchange::replay::{Price, Print, Quote, SymbolId, Tick, Trade};
use rust_decimal::Decimal;
use uuid::Uuid;

pub const SYMBOLS: [&str; 3] = ["BAC", "IBM", "SPY"];

pub fn dec(text: &str) -> Decimal {
    Decimal::from_str(text).expect("a decimal")
}

/// Market time of the first day, New York.
pub fn clock(hour: i64, minute: i64, second: i64) -> i64 {
    let date = chrono::NaiveDate::from_ymd_opt(2013, 10, 7).expect("a date");
    calendar::midnight(date) + ((hour * 60 + minute) * 60 + second) * 1_000_000_000
}

pub struct Pit {
    pub exchange: Exchange,
    pub account: usize,
    pub updates: Vec<Update>,
    pub batches: Vec<Batch>,
}

impl Pit {
    /// At `hour:minute`, without partial fills.
    pub fn at(hour: i64, minute: i64) -> Self {
        Self::with(
            ExchangeSettings {
                partial_fills: false,
                ..ExchangeSettings::default()
            },
            clock(hour, minute, 0),
        )
    }

    pub fn with(settings: ExchangeSettings, now: i64) -> Self {
        let mut exchange = Exchange::new(settings, &SYMBOLS, now);
        let account = exchange.open_account("PKTEST", "hash");
        Self {
            exchange,
            account,
            updates: Vec::new(),
            batches: Vec::new(),
        }
    }

    /// At 10:00 with IBM at 100.00/100.02, last 100.01.
    pub fn open() -> Self {
        let mut pit = Self::at(10, 0);
        pit.quote("IBM", "100.00", "100.02");
        pit.trade("IBM", "100.01");
        pit
    }

    pub fn drain(&mut self) {
        self.updates.extend(self.exchange.take_updates());
        self.batches.extend(self.exchange.take_batch());
    }

    pub fn quote(&mut self, symbol: &str, bid: &str, ask: &str) {
        let tick = Tick::Quote(Quote {
            at: self.exchange.now(),
            symbol: id(symbol),
            bid: price(bid),
            ask: price(ask),
            bid_size: 1000,
            ask_size: 1000,
            restated: false,
        });
        self.exchange.tick(&tick);
        self.drain();
    }

    pub fn trade(&mut self, symbol: &str, at: &str) {
        let tick = Tick::Trade(Trade {
            at: self.exchange.now(),
            symbol: id(symbol),
            price: price(at),
            size: 100,
            print: Print::Plain,
            id: 1,
        });
        self.exchange.tick(&tick);
        self.drain();
    }

    pub fn until(&mut self, hour: i64, minute: i64) {
        self.until_nanos(clock(hour, minute, 0));
    }

    pub fn until_nanos(&mut self, at: i64) {
        self.exchange.advance(at);
        self.drain();
    }

    pub fn submit(&mut self, request: &NewOrder) -> Result<Receipt, Refusal> {
        let answer = self.exchange.submit(self.account, request);
        self.drain();
        answer
    }

    /// An order that must be accepted; its id.
    pub fn accepted(&mut self, request: &NewOrder) -> Uuid {
        self.submit(request).expect("accepted").order.id
    }

    pub fn refused(&mut self, request: &NewOrder) -> Refusal {
        self.submit(request).expect_err("refused")
    }

    pub fn buy(&mut self, symbol: &str, qty: &str) -> Uuid {
        self.accepted(&NewOrder::market(symbol, Side::Buy, dec(qty)))
    }

    pub fn cancel(&mut self, id: Uuid) -> Result<(), Refusal> {
        let answer = self.exchange.cancel(self.account, id);
        self.drain();
        answer
    }

    pub fn order(&self, id: Uuid) -> &Order {
        self.exchange
            .account(self.account)
            .order(id)
            .expect("a known order")
    }

    pub fn status(&self, id: Uuid) -> Status {
        self.order(id).status
    }

    pub fn qty(&self, symbol: &str) -> Decimal {
        self.exchange.account(self.account).position_qty(symbol)
    }

    pub fn cash(&self) -> Decimal {
        self.exchange.account(self.account).cash
    }

    pub fn reserved(&self) -> Decimal {
        self.exchange
            .account(self.account)
            .reserved(self.exchange.market(), None)
    }

    /// The events told of an order, in their order.
    pub fn events(&self, id: Uuid) -> Vec<&'static str> {
        let mine = self.updates.iter().filter(|update| update.order.id == id);
        mine.map(|update| update.event.word()).collect()
    }
}

pub fn id(symbol: &str) -> SymbolId {
    let index = SYMBOLS.iter().position(|known| *known == symbol);
    SymbolId(index.expect("a known symbol") as u16)
}

pub fn price(text: &str) -> Price {
    let micros = dec(text) * Decimal::from(1_000_000);
    Price::from_micros(i64::try_from(micros).expect("a price"))
}
