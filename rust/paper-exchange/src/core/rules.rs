//! What makes an order acceptable, before it is one.

use common::calendar;
use rust_decimal::Decimal;

use super::matching::decimals;
use super::{
    Exchange, MINUTE, Nanos, NewOrder, OrderClass, OrderType, Quoted, Refusal, Side, TimeInForce,
};

const CLIENT_ORDER_ID: usize = 128;
const QUANTITY_DECIMALS: u32 = 9;
const CENT: Decimal = Decimal::from_parts(1, 0, 0, false, 2);

/// The parts of a request that must be there, found to be there.
pub(super) struct Checked {
    pub side: Side,
    pub take_profit: Option<Decimal>,
    pub stop_loss: Option<(Decimal, Option<Decimal>)>,
    pub limit: Option<Decimal>,
}

/// Everything that can be said about a request without looking at the account.
pub(super) fn check(
    request: &NewOrder,
    quoted: Option<&Quoted>,
    exchange: &Exchange,
) -> Result<Checked, Refusal> {
    if request.symbol.is_empty() {
        return Err(Refusal::malformed("symbol is required"));
    }
    let side = request
        .side
        .ok_or_else(|| Refusal::malformed("side is required"))?;
    check_size(request)?;
    if request
        .client_order_id
        .as_ref()
        .is_some_and(|id| id.chars().count() > CLIENT_ORDER_ID)
    {
        return Err(Refusal::malformed(
            "client_order_id must be no more than 128 characters",
        ));
    }
    let quoted =
        quoted.ok_or_else(|| Refusal::rule(format!("asset \"{}\" not found", request.symbol)))?;
    if !quoted.tradable {
        return Err(Refusal::rule(format!(
            "asset {} is not tradable",
            quoted.symbol
        )));
    }
    let legs = check_class(request)?;
    check_prices(request, &legs)?;
    check_time_in_force(request, exchange)?;
    check_fraction(request)?;
    if let Some(last) = quoted.last {
        check_stop_side(request.kind, side, request.stop, last)?;
        check_legs(request, side, &legs, last)?;
    }
    Ok(Checked { side, ..legs })
}

fn check_size(request: &NewOrder) -> Result<(), Refusal> {
    match (request.qty, request.notional) {
        (None, None) => Err(Refusal::malformed("qty or notional is required")),
        (Some(_), Some(_)) => Err(Refusal::malformed(
            "only one of qty or notional is accepted",
        )),
        (Some(qty), None) if qty <= Decimal::ZERO => Err(Refusal::malformed("qty must be > 0")),
        (Some(qty), None) if qty.normalize().scale() > QUANTITY_DECIMALS => {
            Err(Refusal::malformed("qty must have at most 9 decimals"))
        }
        (Some(qty), None) if qty > Decimal::from(1_000_000_000) => {
            Err(Refusal::malformed("qty must be <= 1000000000"))
        }
        (None, Some(notional)) if notional < Decimal::ONE => {
            Err(Refusal::malformed("notional amount must be >= 1.00"))
        }
        (None, Some(notional)) if notional.normalize().scale() > 2 => Err(Refusal::malformed(
            "notional amount must be limited to 2 decimal places",
        )),
        (None, Some(notional)) if notional > Decimal::from(1_000_000_000) => {
            Err(Refusal::malformed("notional amount must be <= 1000000000"))
        }
        _ => Ok(()),
    }
}

/// Legs and the limit price of the order itself: an oco's own limit may stand in its take_profit.
fn check_class(request: &NewOrder) -> Result<Checked, Refusal> {
    let name = request.class.word();
    let take_profit = request.take_profit.as_ref().and_then(|leg| leg.limit);
    let stop_loss = request.stop_loss.as_ref().map(|leg| (leg.stop, leg.limit));
    if request.stop_loss.is_some() && stop_loss.is_none_or(|(stop, _)| stop.is_none()) {
        return Err(Refusal::malformed(format!(
            "{name} orders require stop_loss.stop_price"
        )));
    }
    let stop_loss = stop_loss.and_then(|(stop, limit)| stop.map(|stop| (stop, limit)));
    if request.take_profit.is_some() && take_profit.is_none() {
        return Err(Refusal::malformed(format!(
            "{name} orders require take_profit.limit_price"
        )));
    }
    let mut limit = request.limit;
    match request.class {
        OrderClass::Simple if take_profit.is_some() || stop_loss.is_some() => {
            return Err(Refusal::malformed(
                "simple orders must not have take_profit or stop_loss",
            ));
        }
        OrderClass::Bracket if take_profit.is_none() => {
            return Err(Refusal::malformed(
                "bracket orders require take_profit.limit_price",
            ));
        }
        OrderClass::Bracket if stop_loss.is_none() => {
            return Err(Refusal::malformed(
                "bracket orders require stop_loss.stop_price",
            ));
        }
        OrderClass::Oto if take_profit.is_some() == stop_loss.is_some() => {
            return Err(Refusal::malformed(
                "oto orders require either take_profit or stop_loss",
            ));
        }
        OrderClass::Oco => {
            if request.kind != OrderType::Limit {
                return Err(Refusal::rule("oco orders must be limit orders"));
            }
            if stop_loss.is_none() {
                return Err(Refusal::malformed(
                    "oco orders require stop_loss.stop_price",
                ));
            }
            limit = take_profit.or(limit);
        }
        _ => {}
    }
    if request.class != OrderClass::Simple {
        if !matches!(request.tif, TimeInForce::Day | TimeInForce::Gtc) {
            return Err(Refusal::rule(format!(
                "{name} orders must be DAY or GTC orders"
            )));
        }
        if request.extended_hours {
            return Err(Refusal::rule(format!(
                "{name} orders must not be extended hours orders"
            )));
        }
        if request.kind == OrderType::TrailingStop {
            return Err(Refusal::rule(format!(
                "{name} orders must not be trailing stop orders"
            )));
        }
    }
    Ok(Checked {
        side: Side::Buy,
        take_profit,
        stop_loss,
        limit,
    })
}

fn check_prices(request: &NewOrder, legs: &Checked) -> Result<(), Refusal> {
    let kind = request.kind;
    let wants_limit = matches!(kind, OrderType::Limit | OrderType::StopLimit);
    let wants_stop = matches!(kind, OrderType::Stop | OrderType::StopLimit);
    let words = kind.word().replace('_', " ");
    if wants_limit && legs.limit.is_none() {
        return Err(Refusal::malformed(format!(
            "{words} orders require limit_price"
        )));
    }
    if !wants_limit && request.limit.is_some() {
        return Err(Refusal::malformed(format!(
            "{words} orders must not have limit_price"
        )));
    }
    if wants_stop && request.stop.is_none() {
        return Err(Refusal::malformed(format!(
            "{words} orders require stop_price"
        )));
    }
    if !wants_stop && request.stop.is_some() {
        return Err(Refusal::malformed(format!(
            "{words} orders must not have stop_price"
        )));
    }
    match (
        kind,
        request.trail_price.is_some(),
        request.trail_percent.is_some(),
    ) {
        (OrderType::TrailingStop, true, false) | (OrderType::TrailingStop, false, true) => {}
        (OrderType::TrailingStop, ..) => {
            return Err(Refusal::malformed(
                "trailing stop orders must specify one of trail_price or trail_percent",
            ));
        }
        (_, false, false) => {}
        _ => {
            return Err(Refusal::malformed(format!(
                "{words} orders must not have trail_price or trail_percent"
            )));
        }
    }
    check_price("limit_price", legs.limit)?;
    check_price("stop_price", request.stop)?;
    check_price("trail_price", request.trail_price)?;
    check_price("take_profit.limit_price", legs.take_profit)?;
    if let Some((stop, limit)) = legs.stop_loss {
        check_price("stop_loss.stop_price", Some(stop))?;
        check_price("stop_loss.limit_price", limit)?;
    }
    match request.trail_percent {
        Some(percent) if percent <= Decimal::ZERO || percent >= Decimal::ONE_HUNDRED => {
            Err(Refusal::malformed("trail_percent must be > 0 and < 100"))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_price(name: &str, price: Option<Decimal>) -> Result<(), Refusal> {
    let Some(price) = price else { return Ok(()) };
    if price <= Decimal::ZERO {
        return Err(Refusal::malformed(format!("{name} must be > 0")));
    }
    if price > Decimal::from(10_000_000) {
        return Err(Refusal::malformed(format!("{name} must be <= 10000000")));
    }
    if price.normalize().scale() > decimals(price) {
        return Err(Refusal::rule(format!(
            "invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria"
        )));
    }
    Ok(())
}

fn check_time_in_force(request: &NewOrder, exchange: &Exchange) -> Result<(), Refusal> {
    let day_or_gtc = matches!(request.tif, TimeInForce::Day | TimeInForce::Gtc);
    if request.extended_hours && (request.kind != OrderType::Limit || !day_or_gtc) {
        return Err(Refusal::rule(
            "extended hours order must be DAY or GTC limit orders",
        ));
    }
    match request.kind {
        OrderType::Stop | OrderType::StopLimit | OrderType::TrailingStop if !day_or_gtc => {
            let words = request.kind.word().replace('_', " ");
            return Err(Refusal::rule(format!(
                "{words} orders must be DAY or GTC orders"
            )));
        }
        _ => {}
    }
    // Auction orders are taken until shortly before the auction and again from 19:00 for the next one.
    let session = &exchange.session;
    let evening = session.date == calendar::date_at(exchange.now)
        && exchange.now >= session.post_close - calendar::HOUR;
    let late = match request.tif {
        TimeInForce::Opg => exchange.now >= session.open - 2 * MINUTE && !evening,
        TimeInForce::Cls => exchange.now >= session.close - 10 * MINUTE && !evening,
        _ => false,
    };
    if late {
        let word = request.tif.word();
        return Err(Refusal::rule(format!(
            "{word} orders are not accepted at this time, submit after 7:00pm ET"
        )));
    }
    Ok(())
}

fn check_fraction(request: &NewOrder) -> Result<(), Refusal> {
    let fractional =
        request.notional.is_some() || request.qty.is_some_and(|qty| !qty.fract().is_zero());
    if !fractional {
        return Ok(());
    }
    if request.tif != TimeInForce::Day {
        return Err(Refusal::rule("fractional orders must be DAY orders"));
    }
    if request.class != OrderClass::Simple {
        return Err(Refusal::rule("fractional orders must be simple orders"));
    }
    if request.kind == OrderType::TrailingStop {
        return Err(Refusal::rule(
            "fractional orders must be market, limit, stop or stop limit orders",
        ));
    }
    Ok(())
}

/// A stop on the wrong side of the market would go off at once.
pub(super) fn check_stop_side(
    kind: OrderType,
    side: Side,
    stop: Option<Decimal>,
    last: Decimal,
) -> Result<(), Refusal> {
    let Some(stop) = stop.filter(|_| matches!(kind, OrderType::Stop | OrderType::StopLimit)) else {
        return Ok(());
    };
    match side {
        Side::Buy if stop <= last => Err(Refusal::rule(format!(
            "stop price must be greater than the current price of {last}"
        ))),
        Side::Sell if stop >= last => Err(Refusal::rule(format!(
            "stop price must be less than the current price of {last}"
        ))),
        _ => Ok(()),
    }
}

fn check_legs(
    request: &NewOrder,
    side: Side,
    legs: &Checked,
    last: Decimal,
) -> Result<(), Refusal> {
    // An oco's legs are its own side; the legs of an entry are the opposite of it.
    let exit = if request.class == OrderClass::Oco {
        side
    } else {
        side.opposite()
    };
    let base = match request.class {
        OrderClass::Simple => return Ok(()),
        OrderClass::Oco => last,
        OrderClass::Bracket | OrderClass::Oto => legs.limit.or(request.stop).unwrap_or(last),
    };
    let base_check = |name: &str, price: Decimal, above: bool| {
        let allowed = if above {
            price >= base + CENT
        } else {
            price <= base - CENT
        };
        if allowed {
            return Ok(());
        }
        let sign = if above {
            ">= base_price + 0.01"
        } else {
            "<= base_price - 0.01"
        };
        Err(Refusal::rule(format!("{name} must be {sign}"))
            .with("base_price", base.normalize().to_string()))
    };
    let sells = exit == Side::Sell;
    let profit = if request.class == OrderClass::Oco {
        legs.limit
    } else {
        legs.take_profit
    };
    if let (Some(profit), Some((stop, _))) = (profit, legs.stop_loss)
        && ((sells && profit <= stop) || (!sells && profit >= stop))
    {
        let sign = if sells { '>' } else { '<' };
        return Err(Refusal::rule(format!(
            "take_profit.limit_price must be {sign} stop_loss.stop_price"
        )));
    }
    if let Some(profit) = legs
        .take_profit
        .filter(|_| request.class != OrderClass::Oco)
    {
        base_check("take_profit.limit_price", profit, sells)?;
    }
    if let Some((stop, _)) = legs.stop_loss {
        base_check("stop_loss.stop_price", stop, !sells)?;
    }
    Ok(())
}

/// When an order that is given now ends by itself.
pub(super) fn expiry(exchange: &Exchange, tif: TimeInForce, extended_hours: bool) -> Nanos {
    let session = &exchange.session;
    let session = if exchange.now >= session.close && !extended_hours {
        exchange.days.after(session.date).unwrap_or(*session)
    } else {
        *session
    };
    match tif {
        TimeInForce::Gtc => {
            let last = session.date + chrono::Days::new(90);
            calendar::session(last)
                .or_else(|| calendar::session_after(last))
                .map_or(session.close + 90 * super::DAY, |session| session.close)
        }
        _ if extended_hours => session.post_close,
        _ => session.close,
    }
}
