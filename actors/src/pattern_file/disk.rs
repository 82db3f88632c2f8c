//! Files that are there whole or not at all, and that nobody writes once they are.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// Whether a file stays as it is: nobody has the right to write it, and only this user or root could take it back.
pub(super) fn is_settled(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let is_ours = [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid());
        metadata.len() > 0 && metadata.mode() & 0o222 == 0 && is_ours
    }
    // Elsewhere owners and rights are other things.
    #[cfg(not(unix))]
    {
        let _: &Metadata = metadata;
        false
    }
}

/// A file under another name until it is placed. Dropped before, it is removed.
struct Staged(PathBuf);

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _gone = fs::remove_file(&self.0);
    }
}

/// Puts a file with these bytes, which nobody may write, in the place of what is there.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no name"))?;
    let staged = Staged(path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), Uuid::now_v7())));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // Who made it may go on writing.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o444);
    let mut file = options.open(&staged.0)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&staged.0, path)?;
    sync_folder(path)
}

/// A name in a folder survives a power cut only once the folder itself is on disk.
fn sync_folder(of: &Path) -> io::Result<()> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A folder cannot be opened everywhere; where it can, it can be synced.
    let Ok(opened) = File::open(folder) else { return Ok(()) };
    opened.sync_all()
}
