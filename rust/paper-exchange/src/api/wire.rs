//! What the API shows, in Alpaca's JSON: money and quantities are strings, times RFC 3339.

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use common::calendar;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::core::{
    Account, Asset, DayBase, Exchange, Fill, Market, Nanos, Order, Position, Receipt, Status,
    Update,
};

/// UTC, as many decimals as it needs.
#[must_use]
pub fn utc(at: Nanos) -> String {
    DateTime::<Utc>::from_timestamp_nanos(at).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// With New York's offset, as the clock shows it.
#[must_use]
pub fn eastern(at: Nanos) -> String {
    let utc = DateTime::<Utc>::from_timestamp_nanos(at);
    FixedOffset::east_opt(calendar::utc_offset(at)).map_or_else(
        || utc.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        |offset| {
            utc.with_timezone(&offset)
                .to_rfc3339_opts(SecondsFormat::AutoSi, false)
        },
    )
}

/// Without superfluous zeros.
#[must_use]
pub fn number(value: Decimal) -> String {
    value.normalize().to_string()
}

/// A sum of money to the cent.
#[must_use]
pub fn money(value: Decimal) -> String {
    number(value.round_dp(2))
}

fn optional(value: Option<Decimal>) -> Value {
    value.map_or(Value::Null, |value| Value::String(number(value)))
}

fn moment(at: Option<Nanos>) -> Value {
    at.map_or(Value::Null, |at| Value::String(utc(at)))
}

/// An order; with its legs where `nested` asks for them.
#[must_use]
pub fn order(order: &Order, account: &Account, market: &Market, nested: bool) -> Value {
    let legs: Vec<Value> = order
        .legs
        .iter()
        .filter(|_| nested)
        .filter_map(|id| account.order(*id))
        .map(|leg| plain_order(leg, market, Value::Null))
        .collect();
    plain_order(
        order,
        market,
        if legs.is_empty() {
            Value::Null
        } else {
            Value::Array(legs)
        },
    )
}

/// A new order with its legs.
#[must_use]
pub fn receipt(receipt: &Receipt, market: &Market) -> Value {
    let legs: Vec<Value> = receipt
        .legs
        .iter()
        .map(|leg| plain_order(leg, market, Value::Null))
        .collect();
    plain_order(
        &receipt.order,
        market,
        if legs.is_empty() {
            Value::Null
        } else {
            Value::Array(legs)
        },
    )
}

fn plain_order(order: &Order, market: &Market, legs: Value) -> Value {
    let intent = match (order.side.word(), order.closes) {
        ("buy", false) => "buy_to_open",
        ("buy", true) => "buy_to_close",
        (_, false) => "sell_to_open",
        (_, true) => "sell_to_close",
    };
    let asset = market.find(&order.symbol).map(|quoted| quoted.asset.id);
    let mut body = json!({
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": utc(order.created_at),
        "updated_at": utc(order.updated_at),
        "submitted_at": utc(order.submitted_at),
        "filled_at": moment(order.filled_at),
        "expired_at": moment(order.expired_at),
        "canceled_at": moment(order.canceled_at),
        "failed_at": moment(order.failed_at),
        "replaced_at": moment(order.replaced_at),
        "expires_at": utc(order.expires_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset,
        "symbol": &*order.symbol,
        "asset_class": "us_equity",
        "notional": optional(order.notional),
        "qty": optional(order.qty),
        "filled_qty": number(order.filled_qty),
        "filled_avg_price": optional(order.filled_avg_price()),
        "order_class": order.class.word(),
        "order_type": order.kind.word(),
        "type": order.kind.word(),
        "side": order.side.word(),
        "time_in_force": order.tif.word(),
        "limit_price": optional(order.limit),
        "stop_price": optional(order.stop),
        "status": order.status.word(),
        "extended_hours": order.extended_hours,
        "legs": legs,
        "trail_percent": optional(order.trail_percent),
        "trail_price": optional(order.trail_price),
        "hwm": optional(order.hwm),
        "subtag": null,
        "source": null,
        "position_intent": intent,
    });
    if let (Some(group), Some(role), Some(fields)) = (order.group, order.role, body.as_object_mut())
    {
        fields.insert("group_id".to_owned(), json!(group));
        fields.insert("group_role".to_owned(), json!(role.word()));
    }
    body
}

#[must_use]
pub fn asset(asset: &Asset, tradable: bool) -> Value {
    json!({
        "id": asset.id,
        "class": "us_equity",
        "exchange": asset.exchange,
        "symbol": asset.symbol,
        "name": asset.name,
        "status": if tradable { "active" } else { "inactive" },
        "tradable": tradable,
        "marginable": true,
        "maintenance_margin_requirement": 30,
        "margin_requirement_long": "30",
        "margin_requirement_short": "30",
        "shortable": true,
        "easy_to_borrow": true,
        "borrow_status": "easy_to_borrow",
        "fractionable": true,
        "attributes": [],
    })
}

#[must_use]
pub fn position(
    symbol: &str,
    position: &Position,
    account: &Account,
    exchange: &Exchange,
) -> Value {
    let (market, began) = (exchange.market(), exchange.day_began());
    let average = position.avg_entry();
    let quoted = market.find(symbol);
    let price = market.mark(symbol).unwrap_or(average);
    let last_day = quoted
        .and_then(|quoted| quoted.close_until(began))
        .unwrap_or(price);
    let value = (price * position.qty).round_dp(2);
    let profit = value - position.cost;
    let day_cost = account.day_cost(position, began);
    let day_profit = value - day_cost;
    let ratio = |part: Decimal, whole: Decimal| {
        if whole.is_zero() {
            Decimal::ZERO
        } else {
            (part / whole.abs()).round_dp(12)
        }
    };
    let long = !position.qty.is_sign_negative();
    let closing = if long {
        crate::core::Side::Sell
    } else {
        crate::core::Side::Buy
    };
    let free = (position.qty.abs() - account.held(symbol, closing, None)).max(Decimal::ZERO);
    json!({
        "asset_id": quoted.map(|quoted| quoted.asset.id),
        "symbol": symbol,
        "exchange": quoted.map_or("NYSE", |quoted| quoted.asset.exchange),
        "asset_class": "us_equity",
        "asset_marginable": true,
        "avg_entry_price": number(average),
        "qty": number(position.qty),
        "qty_available": number(if long { free } else { -free }),
        "side": if long { "long" } else { "short" },
        "market_value": number(value),
        "cost_basis": number(position.cost),
        "unrealized_pl": number(profit),
        "unrealized_plpc": number(ratio(profit, position.cost)),
        "unrealized_intraday_pl": number(day_profit),
        "unrealized_intraday_plpc": number(ratio(day_profit, day_cost)),
        "current_price": number(price),
        "lastday_price": number(last_day),
        "change_today": number(ratio(price - last_day, last_day)),
    })
}

#[must_use]
pub fn account(account: &Account, market: &Market, base: &DayBase) -> Value {
    let balances = account.balances(market);
    let configuration = &account.configuration;
    json!({
        "id": account.id,
        "account_number": account.number,
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "buying_power": money(balances.buying_power),
        "regt_buying_power": money(balances.regt_buying_power),
        "daytrading_buying_power": "0",
        "effective_buying_power": money(balances.buying_power),
        "non_marginable_buying_power": money(balances.cash_buying_power),
        "options_buying_power": money(balances.cash_buying_power),
        "options_approved_level": 0,
        "options_trading_level": 0,
        "cash": money(balances.cash),
        "accrued_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "pending_reg_taf_fees": "0",
        "portfolio_value": money(balances.equity),
        "equity": money(balances.equity),
        "last_equity": money(base.equity),
        "long_market_value": money(balances.long_value),
        "short_market_value": money(balances.short_value),
        "position_market_value": money(balances.long_value - balances.short_value),
        "initial_margin": money(balances.initial_margin),
        "maintenance_margin": money(balances.maintenance_margin),
        "last_maintenance_margin": money(base.maintenance_margin),
        "sma": "0",
        "intraday_adjustments": "0",
        "multiplier": configuration.max_margin_multiplier,
        "trading_blocked": false,
        "transfers_blocked": false,
        "account_blocked": false,
        "trade_suspended_by_user": configuration.suspend_trade,
        "shorting_enabled": !configuration.no_shorting,
        "created_at": utc(account.created_at),
        "balance_asof": calendar::date_at(base.at).to_string(),
        "admin_configurations": {},
        "user_configurations": null,
    })
}

/// The id of an activity: its time, then its execution.
#[must_use]
pub fn activity_id(fill: &Fill) -> String {
    let time = DateTime::<Utc>::from_timestamp_nanos(fill.at);
    format!("{}::{}", time.format("%Y%m%d%H%M%S%3f"), fill.execution_id)
}

#[must_use]
pub fn activity(fill: &Fill, account: &Account) -> Value {
    json!({
        "id": activity_id(fill),
        "account_id": account.id,
        "activity_type": "FILL",
        "transaction_time": utc(fill.at),
        "type": if fill.order_status == Status::Filled { "fill" } else { "partial_fill" },
        "price": number(fill.price),
        "qty": number(fill.qty),
        "side": fill.side.word(),
        "symbol": &*fill.symbol,
        "leaves_qty": number(fill.leaves_qty),
        "order_id": fill.order_id,
        "cum_qty": number(fill.cum_qty),
        "order_status": fill.order_status.word(),
    })
}

/// A message of the `trade_updates` stream.
#[must_use]
pub fn update(update: &Update, exchange: &Exchange) -> Value {
    let account = exchange.account(update.account);
    let mut data = json!({
        "event": update.event.word(),
        "execution_id": update.execution_id,
        "timestamp": utc(update.at),
        "order": order(&update.order, account, exchange.market(), true),
    });
    if let (Some(fill), Some(fields)) = (&update.fill, data.as_object_mut()) {
        fields.insert("price".to_owned(), json!(number(fill.price)));
        fields.insert("qty".to_owned(), json!(number(fill.qty)));
        fields.insert("position_qty".to_owned(), json!(number(fill.position_qty)));
    }
    json!({ "stream": "trade_updates", "data": data })
}
