use rust_decimal::Decimal;

/// Why a check refused: which one, its limit, the value that broke it, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub check: &'static str,
    pub limit: String,
    pub value: String,
    pub message: String,
    pub remedy: String,
}

/// What the gate says of an order: the risk line before Enter. Amounts in dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub refusals: Vec<Refusal>,
    pub warnings: Vec<Refusal>,
    pub checks_run: u32,
    /// The price that the checks reckoned with: the limit, or the touch that a market order meets.
    pub price: Option<Decimal>,
    pub qty: Decimal,
    pub notional: Option<Decimal>,
    pub equity_pct: Option<Decimal>,
    pub buying_power_after: Option<Decimal>,
    /// Half the spread on every share, for an order that takes.
    pub spread_cost: Option<Decimal>,
    pub loss_at_stop: Option<Decimal>,
    /// The largest quantity of whole shares that every limit allows.
    pub max_qty: Option<Decimal>,
}

impl Verdict {
    pub fn allowed(&self) -> bool {
        self.refusals.is_empty()
    }
}
