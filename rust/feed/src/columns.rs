//! Which numbers a feed shows for each symbol: features of bars and of quotes, by one list of names.

use std::sync::Arc;

use features::micro::{QUOTE_FEATURES, QuoteNumbers};
use features::{NameError, Plan};

/// Where a column comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Bars(usize),
    Quotes(usize),
}

/// The chosen columns, compiled once.
#[derive(Clone, Debug)]
pub struct Columns {
    names: Vec<String>,
    sources: Vec<Source>,
    plan: Option<Arc<Plan>>,
}

impl Columns {
    /// Compiles names of `features::STANDARD` (with any window) and of `QUOTE_FEATURES`.
    pub fn new(names: &[impl AsRef<str>]) -> Result<Self, NameError> {
        let mut of_bars = Vec::new();
        let mut sources = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            let name = name.as_ref();
            if names[..at].iter().any(|earlier| earlier.as_ref() == name) {
                return Err(NameError::Twice(name.to_owned()));
            }
            match QUOTE_FEATURES.iter().position(|known| *known == name) {
                Some(number) => sources.push(Source::Quotes(number)),
                None => {
                    sources.push(Source::Bars(of_bars.len()));
                    of_bars.push(name);
                }
            }
        }
        let plan = if of_bars.is_empty() {
            None
        } else {
            let plan = Plan::new(&of_bars).map_err(|error| match error {
                NameError::Unknown { name, .. } => NameError::unknown(&name, &QUOTE_FEATURES),
                other => other,
            })?;
            Some(Arc::new(plan))
        };
        let names = names.iter().map(|name| name.as_ref().to_owned()).collect();
        Ok(Self {
            names,
            sources,
            plan,
        })
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The features computed from bars, if any are.
    pub(crate) fn plan(&self) -> Option<&Arc<Plan>> {
        self.plan.as_ref()
    }

    /// One row, from the numbers of the bars' plan and of the last quote.
    pub(crate) fn row<'a>(
        &'a self,
        of_bars: &'a [f64],
        of_quotes: &'a QuoteNumbers,
    ) -> impl Iterator<Item = f64> + 'a {
        self.sources.iter().map(|source| match *source {
            Source::Bars(at) => of_bars[at],
            Source::Quotes(at) => of_quotes[at],
        })
    }
}
