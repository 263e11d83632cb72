//! The limits of loss: what they ask for, and how a person's word counts.
//!
//! A loss since the last close asks for REDUCING, a drawdown from the peak for HALTED. When a person
//! resumes all the same, the losses so far are accepted: both are measured anew from there. Peak,
//! base and what is asked for outlive the process ([`Remembered`]).

use common::messages::TradingState;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::money::dollars;

/// What a restart must not forget. Amounts in dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub peak: Decimal,
    /// What the daily loss is measured from: the last close's equity, or where a person resumed.
    pub base: Decimal,
    pub last_equity: Decimal,
    pub demand: TradingState,
    pub reason: String,
    /// The engine was seen to have heard the demand: a looser state after that is a person's word.
    pub heard: bool,
}

#[derive(Debug)]
pub struct LossWatch {
    max_daily_loss_pct: Decimal,
    max_drawdown_pct: Decimal,
    equity: Option<Decimal>,
    known: Remembered,
}

impl LossWatch {
    /// Go on from what an earlier run knew, if it is known.
    pub fn new(
        max_daily_loss_pct: Decimal,
        max_drawdown_pct: Decimal,
        earlier: Option<Remembered>,
    ) -> Self {
        Self {
            max_daily_loss_pct,
            max_drawdown_pct,
            equity: None,
            known: earlier.unwrap_or_default(),
        }
    }

    /// New figures of the account; answers whether more is asked for than before.
    pub fn on_account(&mut self, equity: Decimal, last_equity: Decimal) -> bool {
        if last_equity != self.known.last_equity {
            // A new day, or the first word: losses count from its last close.
            self.known.last_equity = last_equity;
            self.known.base = last_equity;
            if self.known.demand == TradingState::Reducing {
                self.release();
            }
        }
        self.known.peak = self.known.peak.max(equity);
        self.equity = Some(equity);
        self.judge(equity)
    }

    /// What the engine says of its trading state. Looser than what is asked for is a person's word
    /// if the engine had heard of it, else the engine hasn't heard yet.
    pub fn on_trading_state(&mut self, state: TradingState) {
        if state >= self.known.demand {
            self.known.heard = true;
        } else if let (Some(equity), true) = (self.equity, self.known.heard) {
            self.known.base = equity;
            self.known.peak = equity;
            self.release();
        }
    }

    pub fn demand(&self) -> TradingState {
        self.known.demand
    }

    pub fn reason(&self) -> &str {
        &self.known.reason
    }

    pub fn equity(&self) -> Option<Decimal> {
        self.equity
    }

    pub fn peak(&self) -> Decimal {
        self.known.peak
    }

    /// What the next run is to know; None before the account was told.
    pub fn remembered(&self) -> Option<&Remembered> {
        self.equity.map(|_| &self.known)
    }

    /// Percent below the peak, 0 or more.
    pub fn drawdown_pct(&self) -> Decimal {
        self.equity
            .map_or(Decimal::ZERO, |equity| loss_pct(self.known.peak, equity))
    }

    fn judge(&mut self, equity: Decimal) -> bool {
        let (drawdown, lost) = (self.drawdown_pct(), loss_pct(self.known.base, equity));
        let (demand, reason) = if drawdown >= self.max_drawdown_pct {
            let (limit, drawdown) = (self.max_drawdown_pct, drawdown.round_dp(2));
            let peak = dollars(self.known.peak);
            let reason =
                format!("equity is {drawdown} % below its peak of {peak}; the limit is {limit} %");
            (TradingState::Halted, reason)
        } else if lost >= self.max_daily_loss_pct {
            let (limit, lost) = (self.max_daily_loss_pct, lost.round_dp(2));
            let base = dollars(self.known.base);
            let reason = format!("{lost} % of {base} are lost today; the limit is {limit} %");
            (TradingState::Reducing, reason)
        } else {
            return false;
        };
        // Latched: only a person's word or, for the day's loss, the next day loosens it.
        if demand <= self.known.demand {
            return false;
        }
        self.known.demand = demand;
        self.known.reason = reason;
        self.known.heard = false;
        true
    }

    fn release(&mut self) {
        self.known.demand = TradingState::Active;
        self.known.reason.clear();
        self.known.heard = false;
    }
}

fn loss_pct(from: Decimal, to: Decimal) -> Decimal {
    if from <= Decimal::ZERO {
        return Decimal::ZERO;
    }
    ((from - to) * Decimal::ONE_HUNDRED / from).max(Decimal::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TradingState::{Active, Halted, Reducing};

    fn after(earlier: Option<Remembered>) -> LossWatch {
        LossWatch::new(Decimal::from(5), Decimal::from(10), earlier)
    }

    fn watch() -> LossWatch {
        after(None)
    }

    fn on(watch: &mut LossWatch, equity: i64) -> bool {
        watch.on_account(equity.into(), 100_000.into())
    }

    #[test]
    fn a_daily_loss_asks_for_reducing_and_a_drawdown_for_halted() {
        let mut watch = watch();
        assert!(!on(&mut watch, 100_000));
        assert!(!on(&mut watch, 95_001));
        assert!(on(&mut watch, 95_000));
        assert_eq!(watch.demand(), Reducing);
        assert!(
            watch.reason().contains("5.00 %") || watch.reason().contains("5 %"),
            "{}",
            watch.reason()
        );
        assert!(!on(&mut watch, 94_000));
        assert!(on(&mut watch, 90_000));
        assert_eq!(watch.demand(), Halted);
        assert_eq!(watch.drawdown_pct(), Decimal::TEN);
    }

    #[test]
    fn what_is_asked_for_stays_when_the_equity_recovers() {
        let mut watch = watch();
        on(&mut watch, 100_000);
        on(&mut watch, 94_000);
        on(&mut watch, 99_000);
        assert_eq!(watch.demand(), Reducing);
        assert!(!on(&mut watch, 94_500));
    }

    #[test]
    fn a_drawdown_counts_from_the_peak() {
        let mut watch = watch();
        on(&mut watch, 120_000);
        assert!(!on(&mut watch, 108_001));
        assert!(on(&mut watch, 108_000));
        assert_eq!(watch.demand(), Halted);
    }

    #[test]
    fn a_person_who_resumes_accepts_the_losses_so_far() {
        let mut watch = watch();
        on(&mut watch, 100_000);
        on(&mut watch, 89_000);
        assert_eq!(watch.demand(), Halted);
        watch.on_trading_state(Halted);
        assert_eq!(watch.demand(), Halted);
        watch.on_trading_state(Active);
        assert_eq!((watch.demand(), watch.reason()), (Active, ""));
        assert!(!on(&mut watch, 88_000));
        assert!(on(&mut watch, 84_000));
        assert_eq!(watch.demand(), Reducing);
    }

    #[test]
    fn the_next_day_begins_anew_for_the_days_loss_alone() {
        let mut watch = watch();
        on(&mut watch, 100_000);
        on(&mut watch, 95_000);
        assert!(!watch.on_account(95_000.into(), 95_000.into()));
        assert_eq!(watch.demand(), Active);
        watch.on_account(90_000.into(), 95_000.into());
        assert_eq!(watch.demand(), Halted);
        watch.on_account(90_000.into(), 90_000.into());
        assert_eq!(watch.demand(), Halted);
    }

    #[test]
    fn an_account_of_nothing_asks_for_nothing() {
        let mut watch = watch();
        assert!(!watch.on_account(Decimal::ZERO, Decimal::ZERO));
        assert_eq!(
            (watch.demand(), watch.drawdown_pct()),
            (Active, Decimal::ZERO)
        );
    }

    #[test]
    fn the_peak_and_what_was_asked_for_outlive_a_restart() {
        let mut watch = watch();
        on(&mut watch, 120_000);
        on(&mut watch, 109_000);
        assert_eq!(watch.demand(), Active);
        let mut again = after(watch.remembered().cloned());
        assert_eq!(again.remembered(), None);
        assert!(on(&mut again, 108_000));
        assert_eq!((again.demand(), again.peak()), (Halted, 120_000.into()));

        let mut third = after(again.remembered().cloned());
        assert!(!on(&mut third, 119_000));
        assert_eq!(third.demand(), Halted);
        assert_eq!(third.reason(), again.reason());
    }

    #[test]
    fn an_engine_that_hasnt_heard_of_a_halt_isnt_a_person_who_resumes() {
        let mut watch = watch();
        on(&mut watch, 100_000);
        on(&mut watch, 89_000);
        watch.on_trading_state(Active);
        watch.on_trading_state(Reducing);
        assert_eq!(watch.demand(), Halted);
        let mut again = after(watch.remembered().cloned());
        on(&mut again, 89_000);
        again.on_trading_state(Active);
        assert_eq!((again.demand(), again.peak()), (Halted, 100_000.into()));
        again.on_trading_state(Halted);
        let mut third = after(again.remembered().cloned());
        on(&mut third, 89_000);
        third.on_trading_state(Active);
        assert_eq!((third.demand(), third.peak()), (Active, 89_000.into()));
    }
}
