//! What can be asked for, by name: `rsi_14`, `bb_upper`, `macd_5_35_5`.

use std::str::FromStr;

use thiserror::Error;

/// The longest window. Enough for a year of minutes; state grows with it.
pub const MAX_WINDOW: usize = 100_000;

/// The full set, in the order in which it comes out.
pub const STANDARD: [&str; 31] = [
    "sma_20",
    "ema_12",
    "ema_26",
    "rsi_14",
    "macd",
    "macd_signal",
    "macd_hist",
    "bb_upper",
    "bb_middle",
    "bb_lower",
    "atr_14",
    "adx_14",
    "plus_di_14",
    "minus_di_14",
    "stoch_k",
    "stoch_d",
    "obv",
    "mfi_14",
    "cci_20",
    "roc_10",
    "willr_14",
    "vwap_20",
    "stddev_20",
    "donchian_upper",
    "donchian_middle",
    "donchian_lower",
    "keltner_upper",
    "keltner_middle",
    "keltner_lower",
    "log_return",
    "realized_vol_20",
];

/// How far Bollinger's and Keltner's bands are from their middle, in deviations and true ranges.
pub(crate) const BAND_FACTOR: f64 = 2.0;

/// A name that can't be computed: what it is, which rule it breaks, what to write instead.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    #[error(
        "feature {name:?} isn't known; {near}one of {known}, or the same with other windows (sma_50)"
    )]
    Unknown {
        name: String,
        /// A question, if some known name is near.
        near: String,
        known: String,
    },
    #[error("feature {name:?}: {rule}; write it like {example:?}")]
    Window {
        name: String,
        rule: String,
        example: &'static str,
    },
    #[error("feature {0:?} is asked for twice; name it once")]
    Twice(String),
    #[error("no feature is asked for; name at least one")]
    None,
}

impl NameError {
    /// For a name that is neither a feature's nor one of `others`, which may be named here too.
    pub fn unknown(name: &str, others: &[&str]) -> Self {
        let near = nearest(name, others);
        Self::Unknown {
            name: name.to_owned(),
            near: near.map_or_else(String::new, |near| format!("did you mean {near:?}? ")),
            known: [&STANDARD, others].concat().join(" "),
        }
    }
}

/// The name that was probably meant: a family's, with the windows that were given if they fit.
fn nearest(name: &str, others: &[&str]) -> Option<String> {
    let name = name.to_ascii_lowercase().replace(['-', ' ', '.'], "_");
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    let windows: Vec<&str> = name[stem.len()..]
        .split('_')
        .filter(|window| !window.is_empty())
        .collect();
    let families = FAMILIES.iter().map(|family| family.0);
    let (distance, known) = families
        .chain(others.iter().copied())
        .map(|known| (distance(stem, known), known))
        .min()?;
    if distance > (stem.chars().count() / 3).max(1) {
        return None;
    }
    if others.contains(&known) {
        return Some(known.to_owned());
    }
    let with_windows = [&[known], &windows[..]].concat().join("_");
    Some(match with_windows.parse::<Feature>() {
        Ok(_) => with_windows,
        Err(_) => example(known).to_owned(),
    })
}

/// How many letters must be changed, put in or left out to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Three lines that share their state, or the bands around a middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    Upper,
    Middle,
    Lower,
}

/// One number, with its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    Sma(usize),
    Ema(usize),
    Rsi(usize),
    Macd(usize, usize, usize),
    MacdSignal(usize, usize, usize),
    MacdHist(usize, usize, usize),
    Bollinger(Line, usize),
    Atr(usize),
    Adx(usize),
    PlusDi(usize),
    MinusDi(usize),
    StochK(usize, usize, usize),
    StochD(usize, usize, usize),
    Obv,
    Mfi(usize),
    Cci(usize),
    Roc(usize),
    Willr(usize),
    Vwap(usize),
    Stddev(usize),
    Donchian(Line, usize),
    /// Windows of the average and of the true range.
    Keltner(Line, usize, usize),
    LogReturn,
    RealizedVol(usize),
}

impl Feature {
    /// Index of the first bar that has a value.
    pub fn first_valid(self) -> usize {
        match self {
            Self::Obv => 0,
            Self::LogReturn => 1,
            Self::Sma(w)
            | Self::Ema(w)
            | Self::Bollinger(_, w)
            | Self::Cci(w)
            | Self::Willr(w)
            | Self::Vwap(w)
            | Self::Stddev(w)
            | Self::Donchian(_, w) => w - 1,
            Self::Rsi(w) | Self::Atr(w) | Self::PlusDi(w) | Self::MinusDi(w) | Self::Mfi(w) => w,
            Self::Roc(w) | Self::RealizedVol(w) => w,
            Self::Adx(w) => 2 * w - 1,
            Self::Macd(_, slow, signal)
            | Self::MacdSignal(_, slow, signal)
            | Self::MacdHist(_, slow, signal) => slow + signal - 2,
            Self::StochK(w, k, d) | Self::StochD(w, k, d) => w + k + d - 3,
            Self::Keltner(Line::Middle, w, _) => w - 1,
            Self::Keltner(_, w, range) => range.max(w - 1),
        }
    }
}

/// Families as `(stem, number of windows, shortest, default windows if they may be left out)`.
type Family = (
    &'static str,
    usize,
    usize,
    Option<&'static [usize]>,
    fn(&[usize]) -> Feature,
);

const FAMILIES: [Family; 30] = [
    ("sma", 1, 1, None, |w| Feature::Sma(w[0])),
    ("ema", 1, 1, None, |w| Feature::Ema(w[0])),
    ("rsi", 1, 2, None, |w| Feature::Rsi(w[0])),
    ("macd", 3, 1, Some(&[12, 26, 9]), |w| {
        Feature::Macd(w[0], w[1], w[2])
    }),
    ("macd_signal", 3, 1, Some(&[12, 26, 9]), |w| {
        Feature::MacdSignal(w[0], w[1], w[2])
    }),
    ("macd_hist", 3, 1, Some(&[12, 26, 9]), |w| {
        Feature::MacdHist(w[0], w[1], w[2])
    }),
    ("bb_upper", 1, 2, Some(&[20]), |w| {
        Feature::Bollinger(Line::Upper, w[0])
    }),
    ("bb_middle", 1, 2, Some(&[20]), |w| {
        Feature::Bollinger(Line::Middle, w[0])
    }),
    ("bb_lower", 1, 2, Some(&[20]), |w| {
        Feature::Bollinger(Line::Lower, w[0])
    }),
    ("atr", 1, 2, None, |w| Feature::Atr(w[0])),
    ("adx", 1, 2, None, |w| Feature::Adx(w[0])),
    ("plus_di", 1, 2, None, |w| Feature::PlusDi(w[0])),
    ("minus_di", 1, 2, None, |w| Feature::MinusDi(w[0])),
    ("stoch_k", 3, 1, Some(&[14, 3, 3]), |w| {
        Feature::StochK(w[0], w[1], w[2])
    }),
    ("stoch_d", 3, 1, Some(&[14, 3, 3]), |w| {
        Feature::StochD(w[0], w[1], w[2])
    }),
    ("obv", 0, 1, Some(&[]), |_| Feature::Obv),
    ("mfi", 1, 2, None, |w| Feature::Mfi(w[0])),
    ("cci", 1, 2, None, |w| Feature::Cci(w[0])),
    ("roc", 1, 1, None, |w| Feature::Roc(w[0])),
    ("willr", 1, 2, None, |w| Feature::Willr(w[0])),
    ("vwap", 1, 1, None, |w| Feature::Vwap(w[0])),
    ("stddev", 1, 2, None, |w| Feature::Stddev(w[0])),
    ("donchian_upper", 1, 1, Some(&[20]), |w| {
        Feature::Donchian(Line::Upper, w[0])
    }),
    ("donchian_middle", 1, 1, Some(&[20]), |w| {
        Feature::Donchian(Line::Middle, w[0])
    }),
    ("donchian_lower", 1, 1, Some(&[20]), |w| {
        Feature::Donchian(Line::Lower, w[0])
    }),
    ("keltner_upper", 2, 1, Some(&[20, 10]), |w| {
        Feature::Keltner(Line::Upper, w[0], w[1])
    }),
    ("keltner_middle", 2, 1, Some(&[20, 10]), |w| {
        Feature::Keltner(Line::Middle, w[0], w[1])
    }),
    ("keltner_lower", 2, 1, Some(&[20, 10]), |w| {
        Feature::Keltner(Line::Lower, w[0], w[1])
    }),
    ("log_return", 0, 1, Some(&[]), |_| Feature::LogReturn),
    ("realized_vol", 1, 2, None, |w| Feature::RealizedVol(w[0])),
];

impl FromStr for Feature {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let unknown = || NameError::unknown(name, &[]);
        // `macd_5_35_5` is stem `macd` and windows 5, 35, 5: the trailing parts made of digits.
        let mut stem = name;
        let mut windows = Vec::new();
        while let Some((rest, last)) = stem.rsplit_once('_') {
            if last.is_empty() || !last.bytes().all(|byte| byte.is_ascii_digit()) {
                break;
            }
            windows.insert(0, last);
            stem = rest;
        }
        let position = FAMILIES
            .iter()
            .position(|family| family.0 == stem)
            .ok_or_else(unknown)?;
        let (_, count, shortest, default, make) = FAMILIES[position];
        let refuse = |rule: String| NameError::Window {
            name: name.to_owned(),
            rule,
            example: example(stem),
        };
        if windows.is_empty()
            && let Some(default) = default
        {
            return Ok(make(default));
        }
        if windows.len() != count {
            return Err(refuse(format!(
                "{} windows are given, {stem} takes {count}",
                windows.len()
            )));
        }
        let mut lengths = Vec::with_capacity(count);
        for window in windows {
            match window.parse::<usize>() {
                Ok(bars) if (shortest..=MAX_WINDOW).contains(&bars) => lengths.push(bars),
                _ => {
                    return Err(refuse(format!(
                        "a window of {window} bars is not within {shortest} to {MAX_WINDOW}"
                    )));
                }
            }
        }
        if stem.starts_with("macd") && lengths[0] >= lengths[1] {
            return Err(refuse(format!(
                "the fast window {} must be shorter than the slow one {}",
                lengths[0], lengths[1]
            )));
        }
        Ok(make(&lengths))
    }
}

/// How a name of this family is written in the full set.
fn example(stem: &str) -> &'static str {
    let alike = |name: &&&str| {
        name.strip_prefix(stem).is_some_and(|rest| {
            rest.is_empty()
                || rest
                    .strip_prefix('_')
                    .is_some_and(|rest| rest.parse::<usize>().is_ok())
        })
    };
    STANDARD.iter().find(alike).copied().unwrap_or(STANDARD[0])
}

/// Reads a list of names; the order is kept.
pub(crate) fn parse(names: &[impl AsRef<str>]) -> Result<Vec<Feature>, NameError> {
    if names.is_empty() {
        return Err(NameError::None);
    }
    let mut features = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let name = name.as_ref();
        if names[..at].iter().any(|earlier| earlier.as_ref() == name) {
            return Err(NameError::Twice(name.to_owned()));
        }
        features.push(name.parse()?);
    }
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant_is_asked() {
        for (name, meant) in [
            ("smaa_20", "sma_20"),
            ("rsi14", "rsi_14"),
            ("RSI_7", "rsi_7"),
            ("macd_hists", "macd_hist"),
            ("bb_uper", "bb_upper"),
            ("rsl", "rsi_14"),
            ("realised_vol_50", "realized_vol_50"),
            ("plus-di-14", "plus_di_14"),
            ("macdd_5_35_5", "macd_5_35_5"),
            ("spred", "spread"),
        ] {
            assert_eq!(nearest(name, &["spread"]).as_deref(), Some(meant), "{name}");
        }
        for name in ["", "supertrend_10", "ichimoku", "é"] {
            assert_eq!(nearest(name, &["spread"]), None, "{name}");
        }
    }

    #[test]
    fn a_near_name_comes_with_the_error() {
        let error = "smaa_20".parse::<Feature>().expect_err("it isn't known");
        let says = error.to_string();
        assert!(
            says.starts_with(
                r#"feature "smaa_20" isn't known; did you mean "sma_20"? one of sma_20 "#
            ),
            "{says}"
        );
    }
}
