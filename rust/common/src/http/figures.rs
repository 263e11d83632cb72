//! Figures as `/metrics` shows them, in the text form that Prometheus scrapes.

use std::collections::BTreeMap;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    help: &'static str,
    value: Value,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Gauge(f64),
    Counter(u64),
}

impl Figure {
    pub(super) fn gauge(help: &'static str, value: f64) -> Self {
        Self {
            help,
            value: Value::Gauge(value),
        }
    }

    pub(super) fn counter(help: &'static str, value: u64) -> Self {
        Self {
            help,
            value: Value::Counter(value),
        }
    }

    pub(super) fn text(&self) -> String {
        match self.value {
            Value::Gauge(value) => value.to_string(),
            Value::Counter(value) => value.to_string(),
        }
    }
}

#[derive(Debug)]
struct Figures(BTreeMap<String, Figure>);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, figure) in &self.0 {
            let kind = match figure.value {
                Value::Gauge(_) => prometheus_client::metrics::MetricType::Gauge,
                Value::Counter(_) => prometheus_client::metrics::MetricType::Counter,
            };
            let metric = encoder.encode_descriptor(name, figure.help, None, kind)?;
            match figure.value {
                Value::Gauge(value) => ConstGauge::new(value).encode(metric)?,
                Value::Counter(value) => ConstCounter::new(value).encode(metric)?,
            }
        }
        Ok(())
    }
}

pub(super) fn render(
    prefix: &str,
    figures: BTreeMap<String, Figure>,
) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix(prefix);
    registry.register_collector(Box::new(Figures(figures)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}
