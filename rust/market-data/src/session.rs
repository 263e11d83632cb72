//! The conversation with the broker: connected, authenticated, subscribed, then entries that become
//! messages of the bus. Pure: entries in, actions out.

use common::messages::{BarUpdate, Message, QuoteUpdate, TradeUpdate};

use crate::wire::Entry;

/// How far the conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Greeting,
    Authenticating,
    Subscribing,
    Live,
}

/// What to do after an entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Authenticate,
    Subscribe,
    Publish(Message),
    /// Leave and come back later.
    Reconnect(String),
    /// Coming back would change nothing; a person has to.
    GiveUp(String),
    /// It can't be used; counted.
    Drop(&'static str),
}

#[derive(Debug)]
pub(crate) struct Session {
    stage: Stage,
    source: String,
}

impl Session {
    /// A new conversation on `feed`, which bars name as their source.
    pub(crate) fn new(feed: &str) -> Self {
        Self {
            stage: Stage::Greeting,
            source: feed.to_owned(),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Take one entry.
    pub(crate) fn on(&mut self, entry: Entry) -> Option<Action> {
        match entry.kind.as_str() {
            "q" => Some(published(quote(entry))),
            "t" => Some(published(trade(entry))),
            "b" => Some(published(bar(entry, &self.source))),
            "success" => self.on_success(entry.msg.as_deref().unwrap_or_default()),
            "subscription" => {
                self.stage = Stage::Live;
                None
            }
            "error" => Some(on_error(
                entry.code.unwrap_or_default(),
                entry.msg.as_deref().unwrap_or_default(),
            )),
            "" => Some(Action::Drop("an entry without a kind")),
            // Daily and updated bars, statuses and what may come: not subscribed, not used.
            _ => None,
        }
    }

    fn on_success(&mut self, what: &str) -> Option<Action> {
        match what {
            "connected" => {
                self.stage = Stage::Authenticating;
                Some(Action::Authenticate)
            }
            "authenticated" => {
                self.stage = Stage::Subscribing;
                Some(Action::Subscribe)
            }
            _ => None,
        }
    }
}

fn on_error(code: i64, text: &str) -> Action {
    let give_up =
        |remedy: &str| Action::GiveUp(format!("the broker says {code} {text:?}; {remedy}"));
    match code {
        402 => give_up("check ALPACA_API_KEY and ALPACA_SECRET_KEY, and that they are paper keys"),
        405 => give_up("fewer symbols in feed.symbols, or a data plan that allows more"),
        406 => {
            give_up("one data connection an account is allowed; stop the other program that has it")
        }
        408 | 409 => give_up("the account's data plan lacks this feed; set broker.feed = \"iex\""),
        403 => Action::Drop("authenticated twice"),
        _ => Action::Reconnect(format!("the broker says {code} {text:?}")),
    }
}

fn published(message: Option<Message>) -> Action {
    match message {
        Some(message) if message.check().is_ok() => Action::Publish(message),
        Some(_) => Action::Drop("a value that can't be"),
        None => Action::Drop("a field is missing"),
    }
}

fn quote(entry: Entry) -> Option<Message> {
    Some(Message::QuoteUpdate(QuoteUpdate {
        symbol: entry.symbol?,
        bid_price: entry.bid_price?,
        bid_size: entry.bid_size?,
        ask_price: entry.ask_price?,
        ask_size: entry.ask_size?,
        timestamp: entry.time?.0,
    }))
}

fn trade(entry: Entry) -> Option<Message> {
    Some(Message::TradeUpdate(TradeUpdate {
        symbol: entry.symbol?,
        price: entry.price?,
        size: entry.size?,
        timestamp: entry.time?.0,
    }))
}

fn bar(entry: Entry, source: &str) -> Option<Message> {
    Some(Message::BarUpdate(BarUpdate {
        symbol: entry.symbol?,
        open: entry.open?,
        high: entry.high?,
        low: entry.low?,
        close: entry.close?,
        volume: entry.volume?,
        timestamp: entry.time?.0,
        trade_count: entry.trade_count,
        vwap: entry.vwap,
        timeframe: "1Min".to_owned(),
        source: source.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::from_json;

    fn actions(session: &mut Session, frame: &str) -> Vec<Option<Action>> {
        from_json(frame.as_bytes())
            .unwrap()
            .into_iter()
            .map(|entry| session.on(entry))
            .collect()
    }

    #[test]
    fn the_conversation_goes_step_by_step() {
        let mut session = Session::new("iex");
        assert_eq!(session.stage(), Stage::Greeting);
        let greeted = actions(&mut session, r#"[{"T":"success","msg":"connected"}]"#);
        assert_eq!(greeted, [Some(Action::Authenticate)]);
        let known = actions(&mut session, r#"[{"T":"success","msg":"authenticated"}]"#);
        assert_eq!(known, [Some(Action::Subscribe)]);
        assert_eq!(session.stage(), Stage::Subscribing);
        let live = actions(
            &mut session,
            r#"[{"T":"subscription","bars":["IBM"],"quotes":[],"trades":[]}]"#,
        );
        assert_eq!(live, [None]);
        assert_eq!(session.stage(), Stage::Live);
    }

    #[test]
    fn entries_become_messages() {
        let mut session = Session::new("iex");
        let frame = r#"[
            {"T":"q","S":"IBM","bx":"V","bp":195.05,"bs":200,"ax":"V","ap":195.07,"as":100,"c":["R"],"z":"C","t":"2013-01-02T14:30:00Z"},
            {"T":"t","i":1,"S":"IBM","x":"V","p":195.06,"s":10,"c":["@"],"z":"C","t":"2013-01-02T14:30:00Z"},
            {"T":"b","S":"IBM","o":195,"h":196,"l":194,"c":195.5,"v":1200,"n":7,"vw":195.25,"t":"2013-01-02T14:30:00Z"}
        ]"#;
        let timestamp = 1_357_137_000_000_000_000;
        let symbol = "IBM".to_owned();
        let wanted = [
            Message::QuoteUpdate(QuoteUpdate {
                symbol: symbol.clone(),
                bid_price: 195.05,
                bid_size: 200.0,
                ask_price: 195.07,
                ask_size: 100.0,
                timestamp,
            }),
            Message::TradeUpdate(TradeUpdate {
                symbol: symbol.clone(),
                price: 195.06,
                size: 10.0,
                timestamp,
            }),
            Message::BarUpdate(BarUpdate {
                symbol,
                open: 195.0,
                high: 196.0,
                low: 194.0,
                close: 195.5,
                volume: 1200.0,
                timestamp,
                trade_count: Some(7),
                vwap: Some(195.25),
                timeframe: "1Min".to_owned(),
                source: "iex".to_owned(),
            }),
        ];
        let wanted = wanted.map(|message| Some(Action::Publish(message)));
        assert_eq!(actions(&mut session, frame), wanted);
    }

    #[test]
    fn what_cant_be_used_is_dropped() {
        let mut session = Session::new("iex");
        for frame in [
            r#"[{"T":"t","S":"IBM","s":10,"t":"2013-01-02T14:30:00Z"}]"#,
            r#"[{"T":"t","S":"IBM","p":-1,"s":10,"t":"2013-01-02T14:30:00Z"}]"#,
            r#"[{"T":"t","S":"<b>","p":1,"s":10,"t":"2013-01-02T14:30:00Z"}]"#,
            r#"[{"S":"IBM"}]"#,
        ] {
            assert!(
                matches!(actions(&mut session, frame)[..], [Some(Action::Drop(_))]),
                "{frame}"
            );
        }
        assert_eq!(
            actions(&mut session, r#"[{"T":"u"},{"T":"d"},{"T":"zz"}]"#),
            [None, None, None]
        );
    }

    #[test]
    fn errors_that_a_person_must_mend_end_it() {
        let mut session = Session::new("iex");
        let mut on = |code: i64| {
            let frame = format!(r#"[{{"T":"error","code":{code},"msg":"words"}}]"#);
            actions(&mut session, &frame).remove(0).unwrap()
        };
        for code in [402, 405, 406, 408, 409] {
            let Action::GiveUp(reason) = on(code) else {
                panic!("{code} is fatal")
            };
            assert!(
                reason.contains(&code.to_string()) && reason.contains("words"),
                "{reason}"
            );
        }
        for code in [400, 401, 404, 407, 500, 999] {
            assert!(matches!(on(code), Action::Reconnect(_)), "{code}");
        }
        assert!(matches!(on(403), Action::Drop(_)));
    }
}
