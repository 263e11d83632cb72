use std::path::PathBuf;

use common::service::{Context, Failure, Ports};
use serde::Deserialize;

/// What the service is told at its start.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub commands_url: String,
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
}

pub async fn run(_settings: Settings, context: Context) -> Result<(), Failure> {
    context.started(Ports::new());
    context.stopped().await;
    Ok(())
}
