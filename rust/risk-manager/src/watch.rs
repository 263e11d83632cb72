//! The limits of loss: what they ask for, and how a person's word counts.
//!
//! A loss since the last close asks for REDUCING, a drawdown from the peak for HALTED. When a person
//! resumes all the same, the losses so far are accepted: both are measured anew from there.

use common::messages::TradingState;
use rust_decimal::Decimal;

#[derive(Debug)]
pub(crate) struct LossWatch {
    max_daily_loss_pct: Decimal,
    max_drawdown_pct: Decimal,
    equity: Option<Decimal>,
    last_equity: Decimal,
    /// What the daily loss is measured from: the last close's equity, or where a person resumed.
    base: Decimal,
    peak: Decimal,
    demand: TradingState,
    reason: String,
}

impl LossWatch {
    pub(crate) fn new(max_daily_loss_pct: Decimal, max_drawdown_pct: Decimal) -> Self {
        Self {
            max_daily_loss_pct,
            max_drawdown_pct,
            equity: None,
            last_equity: Decimal::ZERO,
            base: Decimal::ZERO,
            peak: Decimal::ZERO,
            demand: TradingState::Active,
            reason: String::new(),
        }
    }

    /// New figures of the account; answers whether more is asked for than before.
    pub(crate) fn on_account(&mut self, equity: Decimal, last_equity: Decimal) -> bool {
        if self.equity.is_none() || last_equity != self.last_equity {
            // A new day, or the first word: losses count from its last close.
            self.last_equity = last_equity;
            self.base = last_equity;
            if self.demand == TradingState::Reducing {
                self.release();
            }
        }
        self.peak = self.peak.max(equity);
        self.equity = Some(equity);
        self.judge(equity)
    }

    /// What the engine says of its trading state; ACTIVE while more is asked for is a person's word.
    pub(crate) fn on_trading_state(&mut self, state: TradingState) {
        if let (Some(equity), true) = (self.equity, state < self.demand) {
            self.base = equity;
            self.peak = equity;
            self.release();
        }
    }

    pub(crate) fn demand(&self) -> TradingState {
        self.demand
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn equity(&self) -> Option<Decimal> {
        self.equity
    }

    pub(crate) fn peak(&self) -> Decimal {
        self.peak
    }

    /// Percent below the peak, 0 or more.
    pub(crate) fn drawdown_pct(&self) -> Decimal {
        self.equity
            .map_or(Decimal::ZERO, |equity| loss_pct(self.peak, equity))
    }

    fn judge(&mut self, equity: Decimal) -> bool {
        let (drawdown, lost) = (self.drawdown_pct(), loss_pct(self.base, equity));
        let (demand, reason) = if drawdown >= self.max_drawdown_pct {
            let (limit, drawdown) = (self.max_drawdown_pct, drawdown.round_dp(2));
            let reason = format!(
                "equity is {drawdown} % below its peak of ${}; the limit is {limit} %",
                self.peak
            );
            (TradingState::Halted, reason)
        } else if lost >= self.max_daily_loss_pct {
            let (limit, lost) = (self.max_daily_loss_pct, lost.round_dp(2));
            let reason = format!(
                "{lost} % of ${} are lost today; the limit is {limit} %",
                self.base
            );
            (TradingState::Reducing, reason)
        } else {
            return false;
        };
        // Latched: only a person's word or, for the day's loss, the next day loosens it.
        if demand <= self.demand {
            return false;
        }
        self.demand = demand;
        self.reason = reason;
        true
    }

    fn release(&mut self) {
        self.demand = TradingState::Active;
        self.reason.clear();
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

    fn watch() -> LossWatch {
        LossWatch::new(Decimal::from(5), Decimal::from(10))
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
}
