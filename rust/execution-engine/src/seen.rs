//! The signals that are known, so that none is acted on twice: those heard, in memory, and those
//! acted on, in a small file that outlives the process.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Signals that are known at one time; the oldest are forgotten.
const KNOWN: usize = 65_536;
/// Signals that the file keeps at least; it is written anew when it holds twice as many.
const KEPT: usize = 4096;
const NAME: &str = "signals-acted-on";

/// Identities of signals, the newest ones.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Whether it is new; it is known from now on.
    pub(crate) fn is_new(&mut self, identity: &str) -> bool {
        if !self.known.insert(identity.to_owned()) {
            return false;
        }
        self.order.push_back(identity.to_owned());
        if self.order.len() > KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Nothing was done for it: when it comes again, it is new.
    pub(crate) fn forget(&mut self, identity: &str) {
        if self.known.remove(identity)
            && let Some(at) = self.order.iter().rposition(|known| known == identity)
        {
            self.order.remove(at);
        }
    }
}

/// The file of the signals acted on: one identity a line, on disk before anything is sent for it.
#[derive(Debug)]
pub(crate) struct Acted {
    path: Option<PathBuf>,
    lines: VecDeque<String>,
    file: Option<fs::File>,
}

impl Acted {
    /// Read what earlier runs acted on; without a folder only this run is remembered.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub(crate) fn in_folder(state_dir: Option<&Path>) -> io::Result<(Self, Seen)> {
        let mut acted = Self {
            path: state_dir.map(|folder| folder.join(NAME)),
            lines: VecDeque::new(),
            file: None,
        };
        let mut seen = Seen::default();
        if let Some(path) = &acted.path {
            let text = match fs::read(path) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(error),
            };
            // What follows the last line break was torn by a crash before its signal was acted on.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            for line in whole.lines().filter(|line| !line.is_empty()) {
                if seen.is_new(line) {
                    acted.lines.push_back(line.to_owned());
                }
            }
            if !text.is_empty() {
                acted.rewrite()?;
            }
        }
        Ok((acted, seen))
    }

    /// Put it on disk.
    ///
    /// # Errors
    /// It couldn't be written: then nothing must be sent for it.
    pub(crate) fn remember(&mut self, identity: &str) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        // One line each, whatever a strategy calls its signals.
        let line: String = identity
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        if self.file.is_none() {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            self.file = Some(common::files::options().append(true).open(path)?);
        }
        if let Some(file) = &mut self.file {
            let written = file
                .write_all(format!("{line}\n").as_bytes())
                .and_then(|()| file.sync_data());
            if let Err(error) = written {
                // Half a line may be there: the next one begins with a file written anew.
                self.file = None;
                self.rewrite()?;
                return Err(error);
            }
        }
        self.lines.push_back(line);
        if self.lines.len() >= 2 * KEPT {
            self.rewrite()?;
        }
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        while self.lines.len() > KEPT {
            self.lines.pop_front();
        }
        let mut text = self.lines.make_contiguous().join("\n");
        text.push('\n');
        common::files::replace(path, text.as_bytes())?;
        self.file = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("acted-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_signal_is_new_once_and_again_when_nothing_was_done() {
        let mut seen = Seen::default();
        assert!(seen.is_new("a"));
        assert!(!seen.is_new("a"));
        seen.forget("a");
        seen.forget("never heard of");
        assert!(seen.is_new("a"));
        for count in 0..KNOWN {
            seen.is_new(&count.to_string());
        }
        assert_eq!((seen.known.len(), seen.order.len()), (KNOWN, KNOWN));
        assert!(seen.is_new("a"));
    }

    #[test]
    fn what_was_acted_on_is_known_to_the_next_run() {
        let folder = Folder::new("known");
        let (mut acted, _) = Acted::in_folder(Some(&folder.0)).unwrap();
        acted.remember("signal:m:1").unwrap();
        acted.remember("signal:m:2\nforged").unwrap();
        drop(acted);
        let path = folder.0.join(NAME);
        let mut text = fs::read(&path).unwrap();
        text.extend(b"signal:m:torn");
        fs::write(&path, text).unwrap();

        let (mut acted, mut seen) = Acted::in_folder(Some(&folder.0)).unwrap();
        assert!(!seen.is_new("signal:m:1"));
        assert!(seen.is_new("signal:m:torn"));
        assert!(seen.is_new("forged"));
        acted.remember("signal:m:3").unwrap();
        let (_, mut seen) = Acted::in_folder(Some(&folder.0)).unwrap();
        assert!(!seen.is_new("signal:m:1"));
        assert!(!seen.is_new("signal:m:3"));
        assert!(seen.is_new("signal:m:torn"));
    }

    #[test]
    fn the_file_is_bounded_and_keeps_the_newest() {
        let folder = Folder::new("bounded");
        let (mut acted, _) = Acted::in_folder(Some(&folder.0)).unwrap();
        for count in 0..2 * KEPT - 1 {
            acted.lines.push_back(format!("old {count}"));
        }
        acted.remember("newest").unwrap();
        let text = fs::read_to_string(folder.0.join(NAME)).unwrap();
        assert_eq!(text.lines().count(), KEPT);
        assert_eq!(text.lines().last(), Some("newest"));
        acted.remember("newer still").unwrap();
        let (_, mut seen) = Acted::in_folder(Some(&folder.0)).unwrap();
        assert!(!seen.is_new("newest"));
        assert!(!seen.is_new("newer still"));
        assert!(seen.is_new("old 0"));
    }

    #[test]
    fn without_a_folder_only_this_run_remembers() {
        let (mut acted, _) = Acted::in_folder(None).unwrap();
        acted.remember("a").unwrap();
    }

    #[test]
    fn a_file_that_cant_be_written_is_an_error() {
        let folder = Folder::new("blocked");
        let (mut acted, _) = Acted::in_folder(Some(&folder.0)).unwrap();
        fs::create_dir_all(folder.0.join(NAME)).unwrap();
        assert!(acted.remember("a").is_err());
        assert!(Acted::in_folder(Some(&folder.0)).is_err());
    }
}
