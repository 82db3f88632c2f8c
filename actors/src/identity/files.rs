//! An identity as PEM texts and files.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};
use zeroize::Zeroizing;

use super::InvalidCertificate;

/// A private key as a PEM text: not shown by `Debug`, and wiped from memory when it is dropped.
#[derive(Clone)]
pub struct PrivateKeyPem(Zeroizing<String>);

impl PrivateKeyPem {
    /// Takes the text, without a look at it.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for a file that only its owner may read.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyPem(redacted)")
    }
}

/// The PEM texts of an identity.
#[derive(Debug, Clone)]
pub struct IdentityPem {
    /// The certificate of the node, followed by those of intermediate authorities if there are any.
    pub certificate: String,
    /// The private key of the node.
    pub key: PrivateKeyPem,
    /// The certificate of the cluster's authority; two of them while one authority takes over from another.
    pub authority: String,
}

/// Where the files of an identity are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityPaths {
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// The file of the private key.
    pub key: PathBuf,
    /// The file of the authority's certificate.
    pub authority: PathBuf,
    /// The file of the authority's revocation list; with `None` nobody is refused for being on one.
    pub revoked: Option<PathBuf>,
}

impl IdentityPaths {
    /// `node.pem`, `node.key.pem`, `authority.pem` and `revoked.pem` in a directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            certificate: directory.join("node.pem"),
            key: directory.join("node.key.pem"),
            authority: directory.join("authority.pem"),
            revoked: Some(directory.join("revoked.pem")),
        }
    }

    fn of(&self, part: IdentityPart) -> &Path {
        match part {
            IdentityPart::Certificate => &self.certificate,
            IdentityPart::Key => &self.key,
            IdentityPart::Authority => &self.authority,
            IdentityPart::RevocationList => self.revoked.as_deref().unwrap_or(Path::new("")),
        }
    }

    /// Reads the revocation list, without a look at what is in it; `None` where no file is named.
    pub(super) fn read_revoked(&self) -> Result<Option<String>, IdentityError> {
        let Some(file) = &self.revoked else { return Ok(None) };
        fs::read_to_string(file).map(Some).map_err(|error| {
            let fault = match error.kind() {
                io::ErrorKind::NotFound => IdentityFault::NoList,
                _ => IdentityFault::Unreadable(error),
            };
            IdentityError::new(IdentityPart::RevocationList, fault).in_files(self)
        })
    }
}

impl IdentityPem {
    /// Reads the three files, without a look at what is in them.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn read(paths: &IdentityPaths) -> Result<Self, IdentityError> {
        let read = |part| {
            fs::read_to_string(paths.of(part))
                .map_err(|error| IdentityError::new(part, IdentityFault::Unreadable(error)).in_files(paths))
        };
        warn_of_readers(&paths.key);
        Ok(Self {
            certificate: read(IdentityPart::Certificate)?,
            key: PrivateKeyPem::new(read(IdentityPart::Key)?),
            authority: read(IdentityPart::Authority)?,
        })
    }
}

/// Says so where others may read a private key. It is no error: what puts secrets into containers often
/// leaves no choice.
#[cfg(unix)]
fn warn_of_readers(key: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(key).map_or(0, |file| file.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        let mode = format!("{mode:03o}");
        tracing::warn!(target: "audit", key = %key.display(), mode, "others than its owner may use this private key");
    }
}

#[cfg(not(unix))]
fn warn_of_readers(_: &Path) {}

/// One of the texts of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityPart {
    /// The certificate of the node.
    Certificate,
    /// Its private key.
    Key,
    /// The certificate of the authority.
    Authority,
    /// The list of the certificates that the authority has revoked.
    RevocationList,
}

impl fmt::Display for IdentityPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IdentityPart::Certificate => "node certificate",
            IdentityPart::Key => "private key",
            IdentityPart::Authority => "authority certificate",
            IdentityPart::RevocationList => "revocation list",
        })
    }
}

/// Why an identity cannot be used.
#[derive(Debug)]
pub struct IdentityError {
    /// Which text is at fault.
    pub part: IdentityPart,
    /// The file of it, when it was read from one.
    pub file: Option<PathBuf>,
    /// What is wrong with it.
    pub fault: IdentityFault,
}

impl IdentityError {
    pub(super) fn new(part: IdentityPart, fault: IdentityFault) -> Self {
        Self { part, file: None, fault }
    }

    pub(super) fn in_files(mut self, paths: &IdentityPaths) -> Self {
        self.file = Some(paths.of(self.part).to_owned());
        self
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{} {}: {}", self.part, file.display(), self.fault),
            None => write!(f, "{}: {}", self.part, self.fault),
        }
    }
}

impl std::error::Error for IdentityError {}

/// What is wrong with a text of an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFault {
    /// The file is missing, or may not be read, or is no text.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// There is no revocation list.
    #[error("there is no such file, so revoked nodes would get in: copy it from the folder of the authority")]
    NoList,
    /// A section of it is damaged.
    #[error("it is not PEM: {0}")]
    NotPem(pem::Error),
    /// There is no section of the kind that is to be in it.
    #[error("there is none in it")]
    NothingInIt,
    /// The private key is not that of the certificate.
    #[error("it does not belong to the certificate")]
    WrongKey,
    /// The certificate does not name one node and one role.
    #[error(transparent)]
    Certificate(#[from] InvalidCertificate),
    /// Another authority issued the certificate.
    #[error("the authority of the cluster did not issue it")]
    NotIssuedByAuthority,
    /// The certificate given as that of an authority may not sign others.
    #[error("it may not sign other certificates")]
    NotAnAuthority,
    /// TLS cannot use it, or peers would refuse it.
    #[error("it is not usable: {0}")]
    Unacceptable(rustls::Error),
}

impl From<pem::Error> for IdentityFault {
    fn from(error: pem::Error) -> Self {
        match error {
            pem::Error::NoItemsFound => Self::NothingInIt,
            error => Self::NotPem(error),
        }
    }
}

/// Every certificate in a text, of which there is at least one.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, IdentityFault> {
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() { Err(IdentityFault::NothingInIt) } else { Ok(certificates) }
}
