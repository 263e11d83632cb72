//! Small files that outlive a service: replaced in one step, readable by their owner alone.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Put `text` in the place of what is there; a crash leaves the old or the new, whole. The folder
/// is made where it isn't there.
///
/// # Errors
/// The folder or the file can't be written.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension("tmp");
    let mut file = options().truncate(true).open(&draft)?;
    file.write_all(text)?;
    file.sync_data()?;
    drop(file);
    fs::rename(&draft, path)
}

/// How such a file is opened to be written or added to.
pub fn options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}
