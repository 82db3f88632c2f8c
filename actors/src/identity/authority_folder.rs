//! An authority on disk: its key, its register, its revocation list.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use swarm_protocols::{NodeId, Role};

use super::{
    Authority, AuthorityError, Identity, IdentityError, IdentityPart, PrivateKeyPem, RevocationList, Serial,
    Validity, validity::rfc3339,
};
use disk::{Access, check_private, create_private, sibling, sync_folder, write};

mod disk;
mod enrolment;
mod register;
#[cfg(test)]
mod tests;
mod token;

pub use disk::{OnExisting, create_file, private_folder, write_identity, write_request};
pub use enrolment::RENEWALS_MAX;
pub use register::{Certificate, InvalidRegister, Register, Standing, Token, TokenState};
pub use token::{JoinToken, TokenRefusal};

const CERTIFICATE: &str = "authority.pem";
const KEY: &str = "authority.key.pem";
const REGISTER: &str = "register.txt";
const REVOKED: &str = "revoked.pem";
const LOCK: &str = "lock";

/// An authority that lives in a folder: `authority.pem`, `authority.key.pem`, `register.txt` (see [`Register`])
/// and `revoked.pem`, the signed list of what it has revoked.
///
/// Whoever reads the key is the authority, so the folder and the key are refused where others than their owner
/// can get at them. Every change is made under a lock, on the register as it is on disk at that moment, and is
/// on disk before its result is handed out: several processes may work on one folder, and none of them issues a
/// certificate that is not in the register. All of it is blocking IO; an actor leaves it to
/// [workers](crate::Workers).
#[derive(Debug)]
pub struct AuthorityFolder {
    path: PathBuf,
    authority: Authority,
}

/// Why something could not be done with an authority's folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or folder could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no authority in the folder.
    #[error("{} holds no authority{}: `swarm ca init` makes one", path.display(), if *.identity { ", but the identity of a node" } else { "" })]
    NoAuthority {
        /// The folder.
        path: PathBuf,
        /// Whether it is an identity instead.
        identity: bool,
    },
    /// Others than its owner can get at what is secret.
    #[error("{} is open to others (mode {mode:03o}): what is in it must be its owner's alone, see chmod go=", path.display())]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is something that must not be replaced.
    #[error("{} is there already and stays as it is", .0.display())]
    AlreadyThere(PathBuf),
    /// The register is damaged.
    #[error("the register {}: {source}", path.display())]
    Register {
        /// The file.
        path: PathBuf,
        /// Where and how.
        source: InvalidRegister,
    },
    /// The certificate, the key or the revocation list of the authority cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A certificate could not be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The node has a certificate that holds.
    #[error("{id} has a certificate as {role} until {}: renew it, or revoke it first", rfc3339(*.until))]
    NameInUse {
        /// The node.
        id: NodeId,
        /// Its role in that certificate.
        role: Role,
        /// Until when that holds.
        until: SystemTime,
    },
    /// The authority never had to do with the node.
    #[error("nothing was ever issued for {0}")]
    UnknownName(NodeId),
    /// The node's last certificate was revoked.
    #[error("the certificate of {0} was revoked: a new one has to be issued")]
    WasRevoked(NodeId),
    /// The join token does not let the node in.
    #[error(transparent)]
    Token(#[from] TokenRefusal),
    /// Who asks for a renewal does not hold a good certificate of this authority.
    #[error("the certificate {0} gives no right to this renewal")]
    NotTheHolder(Serial),
    /// It is too early for a renewal.
    #[error("the certificate is renewed from {} on", rfc3339(*.0))]
    NotDue(SystemTime),
    /// The node has been given as many certificates as it may in an hour.
    #[error("{0} was given {RENEWALS_MAX} certificates within an hour")]
    TooOften(NodeId),
    /// A renewed certificate would hold no longer, because its authority does not.
    #[error("the authority expires at {}, no certificate can hold longer", rfc3339(*.0))]
    AuthorityEnds(SystemTime),
}

impl FolderError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

impl AuthorityFolder {
    /// Makes an authority with a new key, in a folder that does not exist yet or is empty. It appears whole or
    /// not at all, and never takes the place of another one.
    ///
    /// # Errors
    /// When there is something already, or it cannot be written.
    pub fn init(path: &Path, cluster_name: &str, validity: Validity) -> Result<Self, FolderError> {
        let authority = Authority::new(cluster_name, validity)?;
        let staged = StagedFolder(sibling(path)?);
        create_private(&staged.0).map_err(|error| FolderError::io("cannot make the folder", path, error))?;
        let at = |name: &str| staged.0.join(name);
        let now = SystemTime::now();
        let revoked = authority.revocation_list(list_number(None, now), [], now)?;
        write(&at(KEY), authority.key_pem().as_str(), Access::Private, OnExisting::Refuse)?;
        write(&at(CERTIFICATE), authority.certificate_pem(), Access::Public, OnExisting::Refuse)?;
        write(&at(REGISTER), Register::new().as_str(), Access::Private, OnExisting::Refuse)?;
        write(&at(REVOKED), &revoked, Access::Public, OnExisting::Refuse)?;
        write(&at(LOCK), "", Access::Private, OnExisting::Refuse)?;
        // A folder takes the place of an empty one, and of nothing else.
        fs::rename(&staged.0, path).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory => FolderError::AlreadyThere(path.to_owned()),
            _ => FolderError::io("cannot make the folder", path, error),
        })?;
        sync_folder(path)?;
        Ok(Self { path: path.to_owned(), authority })
    }

    /// Opens an authority.
    ///
    /// # Errors
    /// When the folder or the key is open to others, or one of its files cannot be used.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let folder = |name: &str| path.join(name);
        let key = folder(KEY);
        let is_folder = match path.metadata() {
            Ok(found) => found.is_dir(),
            // What is not there holds no authority either.
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(FolderError::io("cannot look at", path, error)),
        };
        if !is_folder {
            return Err(FolderError::io("cannot open", path, io::ErrorKind::NotADirectory.into()));
        }
        if [KEY, REGISTER].iter().all(|name| matches!(folder(name).try_exists(), Ok(false))) {
            return Err(FolderError::NoAuthority {
                path: path.to_owned(),
                identity: folder("node.pem").exists(),
            });
        }
        check_private(path)?;
        check_private(&key)?;
        let certificate = read(&folder(CERTIFICATE))?;
        let authority =
            Authority::from_pem(&certificate, &PrivateKeyPem::new(read(&key)?)).map_err(|mut error| {
                error.file = Some(if error.part == IdentityPart::Key { key } else { folder(CERTIFICATE) });
                error
            })?;
        let folder = Self { path: path.to_owned(), authority };
        folder.register()?;
        Ok(folder)
    }

    /// The authority itself. What it issues directly is not in the register and cannot be revoked.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What was issued, revoked and promised until now.
    ///
    /// # Errors
    /// When the register cannot be read.
    pub fn register(&self) -> Result<Register, FolderError> {
        let path = self.path.join(REGISTER);
        Register::parse(&read(&path)?).map_err(|source| FolderError::Register { path, source })
    }

    /// The signed revocation list as PEM; signed anew where it lags behind the register.
    ///
    /// # Errors
    /// When it is damaged or cannot be written.
    pub fn revocation_list(&self) -> Result<String, FolderError> {
        // Nothing is locked where nothing is to be written: the folder may lie on a medium that can only be read.
        match self.held_list(&self.register()?)? {
            HeldList::Current(text) => Ok(text),
            HeldList::Lags(_) => self.change(|register| self.current_list(register)),
        }
    }

    /// Issues a certificate for a new key.
    ///
    /// # Errors
    /// When the node has a certificate that holds and `on_existing` does not permit a second one, or the
    /// certificate would outlive the authority.
    pub fn issue(
        &self,
        id: &NodeId,
        role: Role,
        validity: Validity,
        on_existing: OnExisting,
    ) -> Result<Identity, FolderError> {
        self.change(|register| {
            if on_existing == OnExisting::Refuse {
                unused(register, id, None)?;
            }
            let identity = self.authority.issue(id, role, validity)?;
            register.issued(identity.as_peer());
            self.with_list(identity, register)
        })
    }

    /// Issues a renewed certificate for a node, in the same role and for a new key. The former certificate holds
    /// until it expires, so that sessions go on; where its key is lost or stolen, [`revoke`](Self::revoke) and issue
    /// instead.
    ///
    /// # Errors
    /// When the node has no certificate, or its last one was revoked.
    pub fn renew(&self, id: &NodeId, validity: Validity) -> Result<Identity, FolderError> {
        self.change(|register| {
            let last = register.certificates().iter().rfind(|one| one.id == *id);
            let last = last.ok_or_else(|| FolderError::UnknownName(id.clone()))?;
            if last.revoked_at.is_some() {
                return Err(FolderError::WasRevoked(id.clone()));
            }
            let identity = self.authority.issue(id, last.role, validity)?;
            register.issued(identity.as_peer());
            self.with_list(identity, register)
        })
    }

    /// Revokes every certificate of a node that has not expired, takes its open join tokens back, and signs the
    /// revocation list anew. Says which serial numbers were revoked by this call.
    ///
    /// # Errors
    /// When nothing was ever issued for the node.
    pub fn revoke(&self, id: &NodeId, now: SystemTime) -> Result<Vec<Serial>, FolderError> {
        let revoked = self.change(|register| {
            if !register.knows(id) {
                return Err(FolderError::UnknownName(id.clone()));
            }
            let holding = register.certificates().iter().filter(|one| one.id == *id && one.holds(now));
            let serials: Vec<Serial> = holding.map(|one| one.serial.clone()).collect();
            serials.iter().for_each(|serial| register.revoke(serial, now));
            let open = register.tokens().iter().filter(|one| one.id == *id && one.state == TokenState::Open);
            let open: Vec<String> = open.map(|one| one.digest.clone()).collect();
            open.iter().for_each(|digest| register.withdraw(digest, now));
            Ok(serials)
        });
        // The register first: a list that lags behind it is signed anew by whoever needs it next.
        let revoked = revoked?;
        self.revocation_list()?;
        Ok(revoked)
    }

    /// Does something with the register that nobody else changes meanwhile, and saves what was added.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Register) -> Result<T, FolderError>,
    ) -> Result<T, FolderError> {
        let path = self.path.join(LOCK);
        let at_lock = |error| FolderError::io("cannot lock", &path, error);
        let lock = File::options().write(true).create(true).truncate(false).open(&path).map_err(at_lock)?;
        lock.lock().map_err(at_lock)?;
        let mut register = self.register()?;
        let before = register.as_str().len();
        let outcome = change(&mut register)?;
        if register.as_str().len() > before {
            self.save(&register)?;
        }
        Ok(outcome)
    }

    fn save(&self, register: &Register) -> Result<(), FolderError> {
        write(&self.path.join(REGISTER), register.as_str(), Access::Private, OnExisting::Replace)
    }

    fn with_list(&self, identity: Identity, register: &Register) -> Result<Identity, FolderError> {
        let list = RevocationList::from_pem(&self.current_list(register)?, self.authority.certificate_pem())?;
        Ok(identity.with_revocation_list(&list))
    }

    fn current_list(&self, register: &Register) -> Result<String, FolderError> {
        let former = match self.held_list(register)? {
            HeldList::Current(text) => return Ok(text),
            HeldList::Lags(former) => former,
        };
        let now = SystemTime::now();
        let text = self.authority.revocation_list(list_number(former, now), register.revoked(), now)?;
        write(&self.path.join(REVOKED), &text, Access::Public, OnExisting::Replace)?;
        Ok(text)
    }

    fn held_list(&self, register: &Register) -> Result<HeldList, FolderError> {
        let path = self.path.join(REVOKED);
        if !path.exists() {
            return Ok(HeldList::Lags(None));
        }
        let text = read(&path)?;
        let list = RevocationList::from_pem(&text, self.authority.certificate_pem());
        let list = list.map_err(|error| IdentityError { file: Some(path), ..error })?;
        let is_current = list.len() == register.revoked().count();
        Ok(if is_current { HeldList::Current(text) } else { HeldList::Lags(list.number()) })
    }
}

/// The revocation list in its file.
enum HeldList {
    /// It says all that the register does.
    Current(String),
    /// It has this number, if there is one.
    Lags(Option<u64>),
}

/// The number of a list that is signed `now`: more than the former one has, and by the clock, so that nodes also
/// take what an authority signs that was restored from a copy of its folder.
fn list_number(former: Option<u64>, now: SystemTime) -> u64 {
    let clock = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    former.map_or(clock, |former| clock.max(former.saturating_add(1)))
}

/// Refuses a node that has a certificate which holds, unless it is in this role.
fn unused(register: &Register, id: &NodeId, role: Option<Role>) -> Result<(), FolderError> {
    match register.holding(id, SystemTime::now()) {
        Some(one) if role != Some(one.role) => {
            Err(FolderError::NameInUse { id: id.clone(), role: one.role, until: one.valid_until })
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, FolderError> {
    fs::read_to_string(path).map_err(|error| FolderError::io("cannot read", path, error))
}

/// A folder that is removed again unless it got its name.
struct StagedFolder(PathBuf);

impl Drop for StagedFolder {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _gone = fs::remove_dir_all(&self.0);
    }
}
