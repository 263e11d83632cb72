//! What the losses are measured from, in a small file, so that a restart forgets no peak.

use std::fs;
use std::path::{Path, PathBuf};

use crate::watch::Remembered;

const NAME: &str = "risk-manager.json";

/// The file, and what was last written to it. Without a folder nothing is kept.
#[derive(Debug)]
pub(crate) struct Memory {
    path: Option<PathBuf>,
    kept: Option<Remembered>,
    failed: bool,
}

impl Memory {
    pub(crate) fn in_folder(state_dir: Option<&Path>) -> Self {
        Self {
            path: state_dir.map(|folder| folder.join(NAME)),
            kept: None,
            failed: false,
        }
    }

    /// What an earlier run left. A file that can't be read is said, and losses count anew.
    pub(crate) fn read(&self) -> Option<Remembered> {
        let path = self.path.as_ref()?;
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "the peak can't be read; losses count from now");
                return None;
            }
        };
        serde_json::from_slice(&text)
            .inspect_err(|error| {
                tracing::error!(%error, path = %path.display(), "the peak can't be read; losses count from now");
            })
            .ok()
    }

    /// Write down what is new.
    pub(crate) fn keep(&mut self, known: Option<&Remembered>) {
        let (Some(path), Some(known)) = (&self.path, known) else {
            return;
        };
        if self.kept.as_ref() == Some(known) {
            return;
        }
        let written = serde_json::to_vec_pretty(known)
            .map_err(std::io::Error::from)
            .and_then(|text| common::files::replace(path, &text));
        match written {
            Ok(()) => {
                self.kept = Some(known.clone());
                self.failed = false;
            }
            Err(error) if !self.failed => {
                tracing::error!(%error, path = %path.display(), "the peak can't be written down");
                self.failed = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::messages::TradingState;

    #[test]
    fn what_is_kept_is_read_by_the_next_run() {
        let folder = std::env::temp_dir().join(format!("risk-memory-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let mut memory = Memory::in_folder(Some(&folder));
        assert_eq!(memory.read(), None);
        memory.keep(None);
        assert_eq!(memory.read(), None);
        let known = Remembered {
            peak: "120000.55".parse().unwrap(),
            demand: TradingState::Halted,
            reason: "a loss".to_owned(),
            ..Remembered::default()
        };
        memory.keep(Some(&known));
        assert_eq!(Memory::in_folder(Some(&folder)).read(), Some(known));
        fs::write(folder.join(NAME), "{torn").unwrap();
        assert_eq!(memory.read(), None);
        assert_eq!(Memory::in_folder(None).read(), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
