//! What outlives a service, in one small file: its starts, its last end, its last incident.
//! The console writes its own in the same form (`console/health/checks.py`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::now_text;
use crate::files;

const LONGEST: usize = 500;

/// A file that can't be read starts anew: health must not keep a service from working.
#[derive(Debug)]
pub struct HealthRecord {
    path: PathBuf,
    state: State,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    component: String,
    starts: u64,
    #[serde(default)]
    running: bool,
    #[serde(default)]
    started_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_exit: Option<Exit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_incident: Option<Incident>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Exit {
    at: String,
    clean: bool,
    reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Incident {
    at: String,
    text: String,
}

impl HealthRecord {
    /// Read the record, or begin one.
    pub fn open(path: &Path, component: &str) -> Self {
        let earlier = fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok());
        let state = State {
            component: component.to_owned(),
            ..earlier.unwrap_or_default()
        };
        Self {
            path: path.to_owned(),
            state,
        }
    }

    pub fn starts(&self) -> u64 {
        self.state.starts
    }

    /// Count this start; an earlier one that never said how it ended, ended by a crash.
    pub fn started(&mut self) {
        if self.state.running {
            self.state.last_exit = Some(Exit {
                at: self.state.started_at.clone(),
                clean: false,
                reason: "the process started then died without a word".to_owned(),
            });
        }
        self.state.running = true;
        self.state.starts += 1;
        self.state.started_at = now_text();
        self.write();
    }

    pub fn incident(&mut self, text: &str) {
        self.state.last_incident = Some(Incident {
            at: now_text(),
            text: text.chars().take(LONGEST).collect(),
        });
        self.write();
    }

    pub fn ended(&mut self, clean: bool, reason: &str) {
        self.state.running = false;
        self.state.last_exit = Some(Exit {
            at: now_text(),
            clean,
            reason: reason.chars().take(LONGEST).collect(),
        });
        self.write();
    }

    pub(super) fn metrics(&self) -> Vec<(String, String)> {
        let mut metrics = vec![("starts".to_owned(), self.state.starts.to_string())];
        if let Some(exit) = &self.state.last_exit {
            let how = if exit.clean { "clean" } else { "crash" };
            metrics.push(("last_exit".to_owned(), format!("{how}: {}", exit.reason)));
        }
        if let Some(incident) = &self.state.last_incident {
            let text = format!("{} {}", incident.at, incident.text);
            metrics.push(("last_incident".to_owned(), text));
        }
        metrics
    }

    fn write(&self) {
        if let Err(error) = self.try_write() {
            tracing::warn!(%error, path = %self.path.display(), "the health record isn't written");
        }
    }

    fn try_write(&self) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(&self.state)?;
        text.push('\n');
        files::replace(&self.path, text.as_bytes())
    }
}
