//! What a node's certificate says about it.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use swarm_protocols::{InvalidName, InvalidRole, NodeId, Role};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{ASN1Time, FromDer},
};

use super::OutsideValidity;

/// The serial number of a certificate, unique for its authority: big-endian, without leading zeroes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

/// The longest serial number of a certificate (RFC 5280, section 4.1.2.2).
const SERIAL_OCTETS_MAX: usize = 20;

impl Serial {
    pub(super) fn new(octets: &[u8]) -> Self {
        let zeroes = octets.iter().take_while(|octet| **octet == 0).count();
        Self(octets[zeroes..].to_vec())
    }

    /// The octets of it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Serial {
    type Err = InvalidSerial;

    /// Reads what `Display` writes: an even number of hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, InvalidSerial> {
        let octets: Option<Vec<u8>> = text
            .as_bytes()
            .chunks(2)
            .map(|pair| {
                let digits = std::str::from_utf8(pair).ok().filter(|digits| digits.len() == 2)?;
                // `from_str_radix` would take a sign as well.
                let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                plain.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
            })
            .collect();
        let valid = octets.filter(|octets| (1..=SERIAL_OCTETS_MAX).contains(&octets.len()));
        valid
            .map(|octets| Self::new(&octets))
            .ok_or_else(|| InvalidSerial(text.chars().take(2 * SERIAL_OCTETS_MAX + 1).collect()))
    }
}

/// Why a text is no serial number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no serial number: pairs of hexadecimal digits are expected")]
pub struct InvalidSerial(pub String);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

/// Who is at the other end of a connection, as its certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The id of the node.
    pub id: NodeId,
    /// What it may be in the swarm.
    pub role: Role,
    /// The serial number of its certificate, by which one certificate is revoked.
    pub serial: Serial,
    /// The first second in which the certificate holds.
    pub valid_from: SystemTime,
    /// The last second in which the certificate holds.
    pub valid_until: SystemTime,
    /// The name of the authority, as DER: a serial number is unique only together with it.
    pub(super) issuer: Box<[u8]>,
}

/// Why a certificate is not that of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// The peer showed none.
    #[error("no certificate was shown")]
    NotShown,
    /// It is no X.509 certificate that can be read.
    #[error("the certificate cannot be read: {0}")]
    Malformed(String),
    /// It names no node.
    #[error("the certificate has no dNSName, which is to be the node id")]
    NoDnsName,
    /// It names more than one node.
    #[error("the certificate has {0} dNSNames, the node id is to be the only one")]
    SeveralDnsNames(usize),
    /// The name in it is no node id.
    #[error("the dNSName of the certificate is no node id: {0}")]
    NodeId(#[from] InvalidName),
    /// It names no role.
    #[error("the subject of the certificate has no organizational unit, which is to be the role")]
    NoRole,
    /// It names more than one role.
    #[error("the subject of the certificate has {0} organizational units, the role is to be the only one")]
    SeveralRoles(usize),
    /// The organizational unit is no role.
    #[error("the organizational unit of the certificate is no role: {0}")]
    Role(#[from] InvalidRole),
    /// It does not say that it is for servers and for clients.
    #[error("the extended key usage of the certificate does not name both server and client authentication")]
    Purpose,
}

impl PeerIdentity {
    /// Reads a node's certificate. It says nothing about who signed that, and until when it holds.
    ///
    /// # Errors
    /// When it does not name exactly one node, one role and both purposes.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, InvalidCertificate> {
        let certificate = parse(certificate)?;
        let validity = certificate.validity();
        let (id, role) = (node_id(&certificate)?, role(&certificate)?);
        // webpki takes one that says nothing for one that is for everything.
        let usage = certificate.extended_key_usage().map_err(malformed)?.map(|extension| extension.value);
        if !usage.is_some_and(|usage| usage.server_auth && usage.client_auth) {
            return Err(InvalidCertificate::Purpose);
        }
        Ok(Self {
            id,
            role,
            serial: Serial::new(certificate.raw_serial()),
            valid_from: system_time(validity.not_before)?,
            valid_until: system_time(validity.not_after)?,
            issuer: certificate.issuer().as_raw().into(),
        })
    }

    /// Reads the certificate that the peer of a connection has shown.
    ///
    /// # Errors
    /// None is to be expected on a connection that was made by the configurations of an
    /// [`Identity`](super::Identity): they refuse such certificates in the handshake.
    pub fn of(connection: &quinn::Connection) -> Result<Self, InvalidCertificate> {
        Ok(PeerChain::of(connection)?.peer)
    }

    /// Checks that the certificate holds now: to be called on every connection before anything is dispatched.
    ///
    /// # Errors
    /// When it has expired, or is not valid yet.
    pub fn check(&self, now: SystemTime) -> Result<(), OutsideValidity> {
        if now < self.valid_from {
            return Err(OutsideValidity::NotYet { from: self.valid_from });
        }
        // The last second belongs to it, as in RFC 5280, section 4.1.2.5.
        if now >= self.valid_until + Duration::from_secs(1) {
            return Err(OutsideValidity::Expired { until: self.valid_until });
        }
        Ok(())
    }
}

/// The certificates that a peer has shown: kept with its session, so that they can be judged again when this
/// node's view of its authorities changes.
#[derive(Debug, Clone)]
pub(crate) struct PeerChain {
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// What the first of them says.
    pub(crate) peer: PeerIdentity,
}

impl PeerChain {
    /// Reads what the peer of a connection has shown.
    pub(crate) fn of(connection: &quinn::Connection) -> Result<Self, InvalidCertificate> {
        let shown = connection
            .peer_identity()
            .and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok())
            .ok_or(InvalidCertificate::NotShown)?;
        let peer = PeerIdentity::from_certificate(shown.first().ok_or(InvalidCertificate::NotShown)?)?;
        Ok(Self { chain: *shown, peer })
    }
}

/// Whether a certificate may sign others. Trust anchors are taken as they come, so this is the only check.
pub(super) fn is_authority(certificate: &CertificateDer<'_>) -> Result<bool, InvalidCertificate> {
    Ok(parse(certificate)?.is_ca())
}

/// The subject's public key, as DER.
pub(super) fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, InvalidCertificate> {
    Ok(parse(certificate)?.public_key().raw.to_vec())
}

/// When a certificate expires.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Result<SystemTime, InvalidCertificate> {
    system_time(parse(certificate)?.validity().not_after)
}

/// The SHA-256 digest of a certificate, by which people and tokens recognize it.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex(&Sha256::digest(certificate))
}

/// Two lower-case hexadecimal digits an octet.
pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The name of the cluster in the certificate of an authority.
pub(super) fn cluster_name(certificate: &CertificateDer<'_>) -> Result<String, InvalidCertificate> {
    let parsed = parse(certificate)?;
    let name = parsed.subject().iter_organization().next().and_then(|name| name.as_str().ok());
    Ok(name.unwrap_or_default().to_owned())
}

pub(super) fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, InvalidCertificate> {
    let (rest, parsed) = X509Certificate::from_der(certificate).map_err(malformed)?;
    if rest.is_empty() { Ok(parsed) } else { Err(malformed("octets follow it")) }
}

fn node_id(certificate: &X509Certificate<'_>) -> Result<NodeId, InvalidCertificate> {
    let extension = certificate.subject_alternative_name().map_err(malformed)?;
    only_node_id(extension.map_or(&[][..], |extension| extension.value.general_names.as_slice()))
}

/// The one dNSName among names of all kinds.
pub(super) fn only_node_id(names: &[GeneralName<'_>]) -> Result<NodeId, InvalidCertificate> {
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(malformed("one of its names is not of its kind"));
    }
    let dns_names: Vec<&str> = names
        .iter()
        .filter_map(|name| if let GeneralName::DNSName(text) = name { Some(*text) } else { None })
        .collect();
    match dns_names.as_slice() {
        [] => Err(InvalidCertificate::NoDnsName),
        [name] => Ok(name.parse()?),
        names => Err(InvalidCertificate::SeveralDnsNames(names.len())),
    }
}

fn role(certificate: &X509Certificate<'_>) -> Result<Role, InvalidCertificate> {
    let units: Vec<_> = certificate.subject().iter_organizational_unit().collect();
    match units.as_slice() {
        [] => Err(InvalidCertificate::NoRole),
        [unit] => Ok(unit.as_str().map_err(malformed)?.parse()?),
        units => Err(InvalidCertificate::SeveralRoles(units.len())),
    }
}

pub(super) fn system_time(time: ASN1Time) -> Result<SystemTime, InvalidCertificate> {
    let since_epoch = u64::try_from(time.timestamp()).map_err(|_| malformed("it holds before 1970"))?;
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(since_epoch))
        .ok_or_else(|| malformed("it holds longer than this machine counts"))
}

pub(super) fn malformed(cause: impl fmt::Display) -> InvalidCertificate {
    InvalidCertificate::Malformed(cause.to_string().chars().take(200).collect())
}
