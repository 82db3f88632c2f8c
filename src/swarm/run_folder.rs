//! The private folder in which `swarm up --keep` leaves an operator's identity for other commands.
//!
//! It is `$XDG_RUNTIME_DIR/actix-swarm/IP-PORT`, or `actix-swarm-UID/IP-PORT` in the folder for
//! temporary files, after the address of the coordinator. Folders are used only if they belong to
//! this user and nobody else can enter them, and links are never followed. The `up` that made one
//! holds a lock in it; without a holder it is a left-over, which the next `up --keep` removes. The
//! coordinator removes that of its own `up`, when that was killed.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use swarm_actors::identity::{Identity, IdentityPaths};
use uuid::Uuid;

/// The file that a living `up` has locked.
const LOCK: &str = "lock";

/// How often a folder is made anew that another `up` took for a left-over before it was locked.
const ATTEMPTS_MAX: u32 = 3;

/// The most folders that are looked at for left-overs.
const LEFT_OVERS_MAX: usize = 1_000;

/// How long the lock of a process that has just been killed may take to vanish.
const UNLOCK_MAX: Duration = Duration::from_secs(1);

/// Why a run folder was not written, or is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunFolderError {
    #[error("{} is not used: it {fault}", path.display())]
    NotPrivate { path: PathBuf, fault: &'static str },
    #[error("cannot {action} {}: {cause}", path.display())]
    Io { action: &'static str, path: PathBuf, cause: io::Error },
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunFolderError {
    move |cause| RunFolderError::Io { action, path: path.to_owned(), cause }
}

/// A run folder of this process. Dropping it removes it.
pub(crate) struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Leaves `identity` for the commands that connect to `address`, and removes the folders that
    /// others have left behind.
    pub(crate) fn write(
        address: SocketAddr,
        identity: &Identity,
        revoked: &str,
    ) -> Result<Self, RunFolderError> {
        Self::write_in(&base(), address, identity, revoked)
    }

    fn write_in(
        base: &Path,
        address: SocketAddr,
        identity: &Identity,
        revoked: &str,
    ) -> Result<Self, RunFolderError> {
        let mut attempt = 1;
        loop {
            match Self::try_write(base, address, identity, revoked) {
                Err(RunFolderError::Io { cause, .. })
                    if cause.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS_MAX =>
                {
                    attempt += 1;
                }
                written => return written,
            }
        }
    }

    fn try_write(
        base: &Path,
        address: SocketAddr,
        identity: &Identity,
        revoked: &str,
    ) -> Result<Self, RunFolderError> {
        match private_folder(base) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io_error("make the folder", base)(cause));
            }
            Ok(()) | Err(_) => check_private(base)?,
        }
        remove_left_overs(base)?;
        // Under another name until everything is there, so that no command finds half of it.
        let new = base.join(format!(".{}", Uuid::now_v7()));
        private_folder(&new).map_err(io_error("make the folder", &new))?;
        let lock = fill(&new, identity, revoked)?;
        let path = base.join(name(address));
        // Whoever had the address before has it no more.
        remove(&path)?;
        fs::rename(&new, &path).map_err(io_error("make the folder", &path))?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder that an `up` of this user has left for those who connect to `address`.
    pub(crate) fn find(address: SocketAddr) -> Result<Option<PathBuf>, RunFolderError> {
        Self::find_in(&base(), address)
    }

    fn find_in(base: &Path, address: SocketAddr) -> Result<Option<PathBuf>, RunFolderError> {
        let path = base.join(name(address));
        for folder in [base, &path] {
            match check_private(folder) {
                Err(RunFolderError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                checked => checked?,
            }
        }
        Ok(Some(path))
    }

    /// Removes the folder for `address`, if the `up` that wrote it is gone. This may block for
    /// a second.
    pub(crate) fn remove_abandoned(address: SocketAddr) {
        let deadline = Instant::now() + UNLOCK_MAX;
        // Where it cannot be looked for there is nothing to be removed either.
        while let Ok(Some(path)) = Self::find(address) {
            if is_left_over(&path) {
                if let Err(error) = remove(&path) {
                    tracing::warn!("{error}");
                }
                remove_if_empty(&base());
                return;
            }
            if Instant::now() > deadline {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!("{error}");
        }
        if let Some(base) = self.path.parent() {
            remove_if_empty(base);
        }
    }
}

fn name(address: SocketAddr) -> String {
    format!("{}-{}", address.ip(), address.port())
}

/// Where run folders are.
fn base() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute()) {
        Some(runtime) => runtime.join("actix-swarm"),
        None => std::env::temp_dir().join(format!("actix-swarm-{}", own_user())),
    }
}

/// Writes the files of an identity, and locks the folder first.
fn fill(folder: &Path, identity: &Identity, revoked: &str) -> Result<File, RunFolderError> {
    let path = folder.join(LOCK);
    let lock = private_file(&path).map_err(io_error("write", &path))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::Error(cause) => io_error("lock", &path)(cause),
        TryLockError::WouldBlock => io_error("lock", &path)(io::ErrorKind::WouldBlock.into()),
    })?;
    let IdentityPaths { certificate, key, authority, revoked: list } = IdentityPaths::in_directory(folder);
    let list = list.expect("an identity folder has one");
    let pem = identity.to_pem();
    for (path, text) in [
        (certificate, &*pem.certificate),
        (key, pem.key.as_str()),
        (authority, &*pem.authority),
        (list, revoked),
    ] {
        let written = private_file(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(io_error("write", &path))?;
    }
    Ok(lock)
}

fn remove_left_overs(base: &Path) -> Result<(), RunFolderError> {
    let entries = fs::read_dir(base).map_err(io_error("read", base))?;
    for entry in entries.take(LEFT_OVERS_MAX).filter_map(Result::ok) {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_left_over(&path) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Whether nobody holds the lock of a folder.
fn is_left_over(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn remove(folder: &Path) -> Result<(), RunFolderError> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(io_error("remove", folder)(cause)),
        _ => Ok(()),
    }
}

fn remove_if_empty(base: &Path) {
    // It stays where another swarm has its folder in it.
    let _not_empty = fs::remove_dir(base);
}

fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), RunFolderError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::symlink_metadata(path).map_err(io_error("look at", path))?;
    let fault = if !metadata.is_dir() {
        "is no folder"
    } else if metadata.uid() != own_user() {
        "belongs to another user"
    } else if metadata.mode() & 0o077 != 0 {
        "can be entered by others"
    } else {
        return Ok(());
    };
    Err(RunFolderError::NotPrivate { path: path.to_owned(), fault })
}

#[cfg(not(unix))]
fn own_user() -> &'static str {
    "user"
}

#[cfg(not(unix))]
fn check_private(path: &Path) -> Result<(), RunFolderError> {
    let fault = "cannot be made private on this system";
    Err(RunFolderError::NotPrivate { path: path.to_owned(), fault })
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::temp_folder::TempFolder;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::SystemTime;
    use swarm_actors::identity::{Authority, Validity};
    use swarm_protocols::Role;

    struct Place(TempFolder);

    impl Place {
        fn new() -> Self {
            Self(TempFolder::new())
        }

        fn base(&self) -> PathBuf {
            self.0.join("base")
        }
    }

    fn write(place: &Place, port: u16) -> Result<RunFolder, RunFolderError> {
        let hour = Validity::starting(SystemTime::now(), Duration::from_secs(3_600)).unwrap();
        let authority = Authority::new("test", hour).unwrap();
        let identity = authority.issue(&"operator".parse().unwrap(), Role::Operator, hour).unwrap();
        let revoked = authority.revocation_list(1, [], SystemTime::now()).unwrap();
        RunFolder::write_in(&place.base(), address(port), &identity, &revoked)
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::new([127, 0, 0, 1].into(), port)
    }

    #[test]
    fn an_identity_is_found_as_long_as_its_folder_is_held() {
        let place = Place::new();
        let folder = write(&place, 1).unwrap();
        let found = RunFolder::find_in(&place.base(), address(1)).unwrap().unwrap();
        assert_eq!(Identity::load_directory(&found).unwrap().role(), Role::Operator);
        for entry in [found.clone(), found.join("node.key.pem")] {
            assert_eq!(fs::metadata(&entry).unwrap().permissions().mode() & 0o077, 0, "{}", entry.display());
        }
        assert_eq!(RunFolder::find_in(&place.base(), address(2)).unwrap(), None);
        drop(folder);
        assert_eq!(RunFolder::find_in(&place.base(), address(1)).unwrap(), None);
        assert!(!place.base().exists(), "nothing is left");
    }

    #[test]
    fn left_overs_of_the_dead_are_removed_and_the_living_stay() {
        let place = Place::new();
        let living = write(&place, 1).unwrap();
        let dead = place.base().join(name(address(2)));
        private_folder(&dead).unwrap();
        private_file(&dead.join(LOCK)).unwrap();
        private_folder(&place.base().join("unlocked")).unwrap();
        let second = write(&place, 3).unwrap();
        let mut left: Vec<_> = fs::read_dir(place.base()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["127.0.0.1-1", "127.0.0.1-3"]);
        drop((living, second));
    }

    #[test]
    fn a_link_or_a_folder_that_others_can_enter_is_refused() {
        let place = Place::new();
        let elsewhere = place.0.join("elsewhere");
        private_folder(&elsewhere).unwrap();
        symlink(&elsewhere, place.base()).unwrap();
        let refused = |expected: &str| {
            let written = write(&place, 1).err().unwrap();
            assert!(written.to_string().contains(expected), "{written}");
            let found = RunFolder::find_in(&place.base(), address(1)).unwrap_err();
            assert!(found.to_string().contains(expected), "{found}");
        };
        refused("is no folder");
        fs::remove_file(place.base()).unwrap();
        private_folder(&place.base()).unwrap();
        fs::set_permissions(place.base(), fs::Permissions::from_mode(0o750)).unwrap();
        refused("can be entered by others");
    }
}
