//! Python's `Decimal` and ours. pyo3's own conversion asks first whether the value is an integer,
//! and the exception that answers for a `Decimal` costs more than all the rest.

use std::str::FromStr;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rust_decimal::Decimal;

/// A `Decimal` or an `int`, exactly as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Exact(pub(crate) Decimal);

impl<'py> FromPyObject<'_, 'py> for Exact {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let text = value.str()?;
        let text = text.to_cow()?;
        Decimal::from_str(&text)
            .or_else(|_| Decimal::from_scientific(&text))
            .map(Self)
            .map_err(|error| PyValueError::new_err(format!("{text}: {error}")))
    }
}
