//! The accounts' log: one line a batch, on the disk before anybody is told.
//!
//! A line is a JSON [`Batch`], preceded by a checksum. A last line that is cut off was never told to
//! anybody and is dropped; a broken line before the last means that the file was damaged, and is an error.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::core::Batch;

/// Folder of the exchange inside the state directory.
pub const FOLDER: &str = "exchange";
const LOG: &str = "accounts.log";
const LOCK: &str = "lock";
/// A log that has grown beyond this is rewritten as one snapshot at the next start.
const COMPACT_ABOVE: u64 = 16 << 20;
const CHECKSUM: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("state of the exchange in {folder}: {error}; make the folder writable or choose another state directory", folder = folder.display())]
    Io { folder: PathBuf, error: io::Error },
    #[error("state of the exchange in {folder} is in use by another exchange; stop that one or choose another state directory", folder = folder.display())]
    InUse { folder: PathBuf },
    #[error("{path}:{line} is damaged: {problem}; restore the file, or start anew with `trading-console exchange reset`", path = path.display())]
    Damaged {
        path: PathBuf,
        line: usize,
        problem: String,
    },
}

/// The open log of one state directory. Nobody else can open it meanwhile.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    file: File,
    _lock: File,
}

impl Log {
    /// Opens the log in `state_dir`, and gives what it remembers, oldest first.
    ///
    /// # Errors
    /// The folder can't be used, another exchange uses it, or the log is damaged.
    pub fn open(state_dir: &Path) -> Result<(Self, Vec<Batch>), StorageError> {
        let folder = state_dir.join(FOLDER);
        let io = |error| StorageError::Io {
            folder: folder.clone(),
            error,
        };
        fs::create_dir_all(&folder).map_err(io)?;
        let lock = lock(&folder)?;
        let path = folder.join(LOG);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(io)?;
        let (batches, whole) = read(&path, &file)?;
        file.set_len(whole).map_err(io)?;
        file.sync_all().map_err(io)?;
        File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io)?;
        file.flush().map_err(io)?;
        Ok((
            Self {
                folder,
                file,
                _lock: lock,
            },
            batches,
        ))
    }

    /// Appends the batches and waits until they are on the disk.
    ///
    /// # Errors
    /// The disk refused them: nothing of them may be told.
    pub fn append<'a>(
        &mut self,
        batches: impl IntoIterator<Item = &'a Batch>,
    ) -> Result<(), StorageError> {
        let mut lines = Vec::new();
        for batch in batches {
            write_line(&mut lines, batch);
        }
        self.file
            .write_all(&lines)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| self.io(error))
    }

    /// Whether it is worth replacing by a snapshot.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|metadata| metadata.len() > COMPACT_ABOVE)
    }

    /// Puts one batch in the place of all.
    ///
    /// # Errors
    /// The disk refused it; the old log is still there.
    pub fn compact(&mut self, snapshot: &Batch) -> Result<(), StorageError> {
        let path = self.folder.join(LOG);
        let draft = self.folder.join("accounts.log.new");
        let mut lines = Vec::new();
        write_line(&mut lines, snapshot);
        let replace = || -> io::Result<File> {
            let mut file = File::create(&draft)?;
            file.write_all(&lines)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(&self.folder)?.sync_all()?;
            OpenOptions::new().append(true).open(&path)
        };
        self.file = replace().map_err(|error| self.io(error))?;
        Ok(())
    }

    fn io(&self, error: io::Error) -> StorageError {
        StorageError::Io {
            folder: self.folder.clone(),
            error,
        }
    }
}

/// Deletes all accounts of a state directory.
///
/// # Errors
/// An exchange is using it, or the files can't be deleted.
pub fn reset(state_dir: &Path) -> Result<(), StorageError> {
    let folder = state_dir.join(FOLDER);
    if !folder.exists() {
        return Ok(());
    }
    let _lock = lock(&folder)?;
    fs::remove_dir_all(&folder).map_err(|error| StorageError::Io { folder, error })
}

fn lock(folder: &Path) -> Result<File, StorageError> {
    let io = |error| StorageError::Io {
        folder: folder.to_owned(),
        error,
    };
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join(LOCK))
        .map_err(io)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

fn write_line(lines: &mut Vec<u8>, batch: &Batch) {
    // A batch is made of maps with string keys, strings and numbers: it always serialises.
    let json = serde_json::to_vec(batch).unwrap_or_default();
    lines.extend_from_slice(checksum(&json).as_bytes());
    lines.push(b' ');
    lines.extend_from_slice(&json);
    lines.push(b'\n');
}

fn checksum(json: &[u8]) -> String {
    Sha256::digest(json)
        .iter()
        .take(CHECKSUM / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The batches, and how many bytes of the file they take.
fn read(path: &Path, file: &File) -> Result<(Vec<Batch>, u64), StorageError> {
    let io = |error| StorageError::Io {
        folder: path.to_owned(),
        error,
    };
    let mut reader = BufReader::new(file);
    let (mut batches, mut whole) = (Vec::new(), 0u64);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(io)? as u64;
        if length == 0 || line.last() != Some(&b'\n') {
            break;
        }
        match parse(&line) {
            Ok(batch) => batches.push(batch),
            Err(problem) => {
                // A write that the machine's end cut off can leave its last block unwritten.
                if reader.fill_buf().map_err(io)?.is_empty() {
                    break;
                }
                return Err(StorageError::Damaged {
                    path: path.to_owned(),
                    line: number,
                    problem,
                });
            }
        }
        whole += length;
    }
    Ok((batches, whole))
}

fn parse(line: &[u8]) -> Result<Batch, String> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (sum, json) = line
        .split_at_checked(CHECKSUM)
        .ok_or("the line is too short")?;
    let json = json
        .strip_prefix(b" ")
        .ok_or("no space follows the checksum")?;
    if checksum(json).as_bytes() != sum {
        return Err("its checksum is wrong".to_owned());
    }
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(at: i64) -> Batch {
        Batch {
            at,
            ids: 3,
            facts: Vec::new(),
        }
    }

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("paper-exchange-{name}-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        folder
    }

    #[test]
    fn what_was_appended_comes_back() {
        let folder = folder("log");
        let (mut log, batches) = Log::open(&folder).expect("opens");
        assert_eq!(batches, []);
        log.append(&[batch(1), batch(2)]).expect("appends");
        drop(log);
        let (_, batches) = Log::open(&folder).expect("opens again");
        assert_eq!(batches, [batch(1), batch(2)]);
        fs::remove_dir_all(folder).expect("goes");
    }

    #[test]
    fn a_cut_off_last_line_is_dropped_and_a_broken_one_before_is_an_error() {
        let folder = folder("torn");
        let (mut log, _) = Log::open(&folder).expect("opens");
        log.append(&[batch(1), batch(2)]).expect("appends");
        drop(log);
        let path = folder.join(FOLDER).join(LOG);
        let text = fs::read(&path).expect("reads");
        fs::write(&path, &text[..text.len() - 5]).expect("writes");
        let (mut log, batches) = Log::open(&folder).expect("opens");
        assert_eq!(batches, [batch(1)]);
        log.append(&[batch(3)]).expect("appends after the cut");
        drop(log);
        assert_eq!(Log::open(&folder).expect("opens").1, [batch(1), batch(3)]);

        let mut text = fs::read(&path).expect("reads");
        text[CHECKSUM + 5] ^= 1;
        fs::write(&path, &text).expect("writes");
        assert!(matches!(
            Log::open(&folder),
            Err(StorageError::Damaged { line: 1, .. })
        ));
        fs::remove_dir_all(folder).expect("goes");
    }

    #[test]
    fn two_exchanges_dont_share_a_log_and_a_reset_waits_for_its_end() {
        let folder = folder("lock");
        let (log, _) = Log::open(&folder).expect("opens");
        assert!(matches!(
            Log::open(&folder),
            Err(StorageError::InUse { .. })
        ));
        assert!(matches!(reset(&folder), Err(StorageError::InUse { .. })));
        drop(log);
        reset(&folder).expect("deletes");
        assert!(!folder.join(FOLDER).exists());
        fs::remove_dir_all(folder).expect("goes");
    }

    #[test]
    fn a_snapshot_takes_the_place_of_the_log() {
        let folder = folder("compact");
        let (mut log, _) = Log::open(&folder).expect("opens");
        log.append(&[batch(1), batch(2)]).expect("appends");
        log.compact(&batch(2)).expect("compacts");
        log.append(&[batch(4)]).expect("appends");
        drop(log);
        assert_eq!(Log::open(&folder).expect("opens").1, [batch(2), batch(4)]);
        fs::remove_dir_all(folder).expect("goes");
    }
}
