//! Files that are there whole or not at all, and secrets that only their owner may read.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::FolderError;
use crate::identity::{Identity, IdentityPaths, PrivateKeyPem, SigningRequest};

/// What to do about a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    /// Leave it alone and fail.
    Refuse,
    /// Put the new one in its place.
    Replace,
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Its owner alone.
    Private,
    /// Everyone whom the folder lets in.
    Public,
}

/// A file that is written and safe on disk, under another name in the folder where it belongs. Dropped before
/// [`place`](Self::place), it is removed.
pub(super) struct Staged {
    temporary: PathBuf,
    path: PathBuf,
}

impl Staged {
    pub(super) fn write(path: &Path, text: &str, access: Access) -> Result<Self, FolderError> {
        let staged = Self { temporary: sibling(path)?, path: path.to_owned() };
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(
                &mut options,
                if access == Access::Private { 0o600 } else { 0o644 },
            );
            #[cfg(not(unix))]
            let _: Access = access;
            let mut file = options.open(&staged.temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| FolderError::io("cannot write", path, error))?;
        Ok(staged)
    }

    /// Gives the file its name.
    pub(super) fn place(self, on_existing: OnExisting) -> Result<(), FolderError> {
        let placed = match on_existing {
            OnExisting::Replace => fs::rename(&self.temporary, &self.path),
            // Unlike a look before a rename, a link never takes the place of a file that came in between.
            OnExisting::Refuse => fs::hard_link(&self.temporary, &self.path),
        };
        placed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => FolderError::AlreadyThere(self.path.clone()),
            _ => FolderError::io("cannot write", &self.path, error),
        })?;
        sync_folder(&self.path)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _gone = fs::remove_file(&self.temporary);
    }
}

/// Writes one file whole.
pub(super) fn write(
    path: &Path,
    text: &str,
    access: Access,
    on_existing: OnExisting,
) -> Result<(), FolderError> {
    Staged::write(path, text, access)?.place(on_existing)
}

/// Writes a file that is no secret, whole or not at all.
///
/// # Errors
/// When it cannot be written, or is there and must not be replaced.
pub fn create_file(path: &Path, text: &str, on_existing: OnExisting) -> Result<(), FolderError> {
    write(path, text, Access::Public, on_existing)
}

/// Makes a folder that only its owner may enter; one that is there is left as it is.
///
/// # Errors
/// When it cannot be made.
pub fn private_folder(path: &Path) -> Result<(), FolderError> {
    match create_private(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.map_err(|error| FolderError::io("cannot make the folder", path, error)),
    }
}

pub(super) fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    #[cfg(not(unix))]
    let _: &mut DirBuilder = &mut builder;
    builder.create(path)
}

/// Refuses what others than its owner may read or write.
pub(super) fn check_private(path: &Path) -> Result<(), FolderError> {
    let metadata = fs::metadata(path).map_err(|error| FolderError::io("cannot look at", path, error))?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            return Err(FolderError::Exposed { path: path.to_owned(), mode });
        }
    }
    #[cfg(not(unix))]
    let _: fs::Metadata = metadata;
    Ok(())
}

/// A name in the same folder that nobody else has.
pub(super) fn sibling(path: &Path) -> Result<PathBuf, FolderError> {
    let name = path.file_name().ok_or_else(|| {
        FolderError::io("cannot write", path, io::Error::new(io::ErrorKind::InvalidInput, "it has no name"))
    })?;
    Ok(path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), Uuid::now_v7())))
}

/// A name in a folder survives a power cut only once the folder itself is on disk.
pub(super) fn sync_folder(of: &Path) -> Result<(), FolderError> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A folder cannot be opened everywhere; where it can, it can be synced.
    let Ok(opened) = File::open(folder) else { return Ok(()) };
    opened.sync_all().map_err(|error| FolderError::io("cannot write", folder, error))
}

/// Writes an identity into a folder, made for its owner alone where there is none, with the file names of
/// [`IdentityPaths::in_directory`] and the authority's revocation list beside it. Everything is on disk before
/// the first file gets its name; key and certificate are the last two.
///
/// # Errors
/// When something cannot be written, or there is an identity in the folder that must not be replaced.
pub fn write_identity(
    folder: &Path,
    identity: &Identity,
    revoked: &str,
    on_existing: OnExisting,
) -> Result<(), FolderError> {
    private_folder(folder)?;
    let paths = IdentityPaths::in_directory(folder);
    if on_existing == OnExisting::Refuse {
        let there = [&paths.key, &paths.certificate].into_iter().find(|path| path.exists());
        there.map_or(Ok(()), |path| Err(FolderError::AlreadyThere(path.clone())))?;
    }
    let pem = identity.to_pem();
    let stage = |path: &Path, text: &str| Staged::write(path, text, Access::Public);
    let authority = stage(&paths.authority, &pem.authority)?;
    let list = paths.revoked.as_deref().map(|path| stage(path, revoked)).transpose()?;
    let certificate = stage(&paths.certificate, &pem.certificate)?;
    let key = Staged::write(&paths.key, pem.key.as_str(), Access::Private)?;
    authority.place(OnExisting::Replace)?;
    list.map_or(Ok(()), |list| list.place(OnExisting::Replace))?;
    key.place(on_existing)?;
    certificate.place(on_existing)
}

/// Writes a new key and the request for its certificate into a folder, made for its owner alone where there is
/// none: `node.key.pem`, which stays there, and `request.pem`, which is for the authority.
///
/// # Errors
/// When something cannot be written, or there is a key in the folder that must not be replaced.
pub fn write_request(
    folder: &Path,
    key: &PrivateKeyPem,
    request: &SigningRequest,
    on_existing: OnExisting,
) -> Result<PathBuf, FolderError> {
    private_folder(folder)?;
    let path = folder.join("request.pem");
    let key = Staged::write(&IdentityPaths::in_directory(folder).key, key.as_str(), Access::Private)?;
    let request = Staged::write(&path, request.to_pem(), Access::Public)?;
    key.place(on_existing)?;
    request.place(OnExisting::Replace)?;
    Ok(path)
}
