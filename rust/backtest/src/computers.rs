//! The features of a run's symbols.

use features::{Computer, Plan};

/// The features of all symbols, and the room for one row of them.
pub(crate) struct Computers {
    computer: Option<Computer>,
    ids: Vec<features::SymbolId>,
    /// The numbers of the last bar.
    pub(crate) row: Vec<f64>,
}

impl Computers {
    pub(crate) fn new(plan: Option<Plan>, names: &[String]) -> Self {
        let width = plan.as_ref().map_or(0, Plan::width);
        let mut computer = plan.map(Computer::new);
        let ids = names
            .iter()
            .filter_map(|name| computer.as_mut().map(|computer| computer.symbol(name)))
            .collect();
        Self {
            computer,
            ids,
            row: vec![f64::NAN; width],
        }
    }

    /// Takes in a bar. Whether every feature has a value now.
    #[inline]
    pub(crate) fn update(
        &mut self,
        symbol: usize,
        bar: &features::Bar,
    ) -> Result<bool, features::NotFinite> {
        let Some(computer) = &mut self.computer else {
            return Ok(true);
        };
        computer.update(self.ids[symbol], bar, &mut self.row)?;
        Ok(self.row.iter().all(|number| number.is_finite()))
    }
}
