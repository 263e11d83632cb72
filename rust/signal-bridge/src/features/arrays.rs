//! NumPy's arrays: which are taken as they are, and what is said of the others.

use numpy::npyffi::NPY_ARRAY_WRITEABLE;
use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use super::refused;

/// A column of a series: a contiguous float64 array, or an error that says how to get one.
pub(crate) fn series<'py>(
    column: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<PyReadonlyArray1<'py, f64>> {
    let array = column.cast::<PyArray1<f64>>().map_err(|_| {
        PyTypeError::new_err(format!(
            "{name}: a one-dimensional float64 array is wanted; np.ascontiguousarray({name}, dtype=np.float64) makes one"
        ))
    })?;
    let array = array.try_readonly().map_err(refused)?;
    if array.as_slice().is_err() {
        return Err(PyValueError::new_err(format!(
            "{name} isn't contiguous; np.ascontiguousarray({name}) makes one that is"
        )));
    }
    Ok(array)
}

/// A table of many series: contiguous, two-dimensional float64, of one shape with the others.
pub(super) fn grid<'py>(
    table: &Bound<'py, PyAny>,
    name: &str,
    shape: Option<[usize; 2]>,
) -> PyResult<PyReadonlyArray2<'py, f64>> {
    let array = table.cast::<PyArray2<f64>>().map_err(|_| {
        PyTypeError::new_err(format!(
            "{name}: a two-dimensional float64 array is wanted; np.ascontiguousarray({name}, dtype=np.float64) makes one"
        ))
    })?;
    if let Some(shape) = shape
        && array.shape() != shape
    {
        return Err(PyValueError::new_err(format!(
            "{name} has the shape {:?}, close has {shape:?}; all need the same",
            array.shape()
        )));
    }
    let array = array.try_readonly().map_err(refused)?;
    if array.as_slice().is_err() {
        return Err(PyValueError::new_err(format!(
            "{name} isn't contiguous; np.ascontiguousarray({name}) makes one that is"
        )));
    }
    Ok(array)
}

pub(super) fn writable(array: &Bound<'_, PyArray1<f64>>) -> bool {
    // SAFETY: the pointer is that of a live array, borrowed here.
    unsafe { (*array.as_array_ptr()).fields.flags & NPY_ARRAY_WRITEABLE != 0 }
}

#[cold]
pub(super) fn unfit(out: &Bound<'_, PyArray1<f64>>, width: usize) -> PyErr {
    let fault = if out.len() != width {
        format!(
            "out holds {} numbers, {width} features are computed",
            out.len()
        )
    } else if !writable(out) {
        "out is read-only".to_owned()
    } else {
        "out isn't contiguous".to_owned()
    };
    PyValueError::new_err(format!("{fault}; np.empty({width}) makes one that fits"))
}
