//! What every service shares: the bus's messages and sockets, health over HTTP, the run of a
//! service, the calendar of the NYSE.

pub mod bus;
pub mod calendar;
pub mod engine;
pub mod files;
pub mod http;
pub mod messages;
pub mod service;
pub mod telemetry;
