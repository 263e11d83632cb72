use std::path::PathBuf;

use common::service::{Context, Failure, Ports};
use serde::Deserialize;

/// What the service is told at its start; the keys never leave it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub stream_url: String,
    pub key_id: String,
    pub secret_key: String,
    pub symbols: Vec<String>,
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
}

pub async fn run(_settings: Settings, context: Context) -> Result<(), Failure> {
    context.started(Ports::new());
    context.stopped().await;
    Ok(())
}
