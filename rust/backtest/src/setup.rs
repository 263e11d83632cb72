//! Which sessions and symbols a run plays, and under what conditions.

use paper_exchange::core::ExchangeSettings;
use paper_exchange::recording::Recording;
use paper_exchange::replay::{PlayDay, SymbolId};

use crate::error::BacktestError;
use crate::settings::Settings;

/// The recorded sessions from `from` to `to`; never none.
pub(crate) fn days<E>(
    recording: &Recording,
    settings: &Settings,
) -> Result<Vec<PlayDay>, BacktestError<E>> {
    let recorded = recording.sessions();
    let (first, last) = (recorded[0], recorded[recorded.len() - 1]);
    let (from, to) = (settings.from.unwrap_or(first), settings.to.unwrap_or(last));
    let days: Vec<PlayDay> = recorded
        .iter()
        .filter(|date| (from..=to).contains(date))
        .filter_map(|date| PlayDay::recorded(*date))
        .collect();
    if days.is_empty() {
        return Err(BacktestError::NoSession {
            from,
            to,
            first,
            last,
        });
    }
    Ok(days)
}

pub(crate) fn chosen<E>(
    recording: &Recording,
    settings: &Settings,
) -> Result<Vec<SymbolId>, BacktestError<E>> {
    let live = |id: &SymbolId| recording.is_live(*id);
    if settings.symbols.is_empty() {
        return Ok(recording.ids().filter(live).collect());
    }
    let mut ids: Vec<SymbolId> = Vec::new();
    for symbol in &settings.symbols {
        let Some(id) = recording.id(symbol).filter(live) else {
            let known: Vec<&str> = recording
                .ids()
                .filter(live)
                .map(|id| recording.name(id))
                .collect();
            return Err(BacktestError::Symbol {
                symbol: symbol.clone(),
                known: known.join(", "),
            });
        };
        if ids.contains(&id) {
            return Err(BacktestError::Twice(symbol.clone()));
        }
        ids.push(id);
    }
    // In the recording's order, so that the order in which they are named changes nothing.
    ids.sort_unstable();
    Ok(ids)
}

pub(crate) fn numbers(recording: &Recording, ids: &[SymbolId]) -> Vec<Option<usize>> {
    let mut by_id = vec![None; recording.symbols().len()];
    for (number, id) in ids.iter().enumerate() {
        by_id[id.index()] = Some(number);
    }
    by_id
}

pub(crate) fn exchange_settings(settings: &Settings) -> ExchangeSettings {
    ExchangeSettings {
        seed: settings.seed,
        partial_fills: settings.partial_fills,
        slippage_bp: settings.slippage_bp,
        latency: settings.latency(),
        multiplier: settings.multiplier,
        opening_cash: settings.cash,
    }
}

/// What a run stands under, as the journal's first line.
pub(crate) fn headline(settings: &Settings, symbols: &[String]) -> String {
    let Settings {
        cash,
        seed,
        partial_fills,
        slippage_bp,
        multiplier,
        notional_per_signal,
        min_strength,
        ..
    } = settings;
    format!(
        "symbols {} cash {cash} seed {seed} partial_fills {partial_fills} slippage_bp {slippage_bp} \
         latency_ns {} multiplier {multiplier} notional_per_signal {notional_per_signal} \
         min_strength {min_strength}",
        symbols.join(","),
        settings.latency(),
    )
}
