//! The certificate authority of a cluster.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use swarm_protocols::{NodeId, Role};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{
    Identity, IdentityError, IdentityFault, IdentityPart, IdentityPem, InvalidCertificate, InvalidValidity,
    KeyExchange, PeerIdentity, PrivateKeyPem, Serial, SigningRequest, Validity, files, peer, tls,
    validity::rfc3339,
};

/// The longest name of a cluster, in characters: that of an X.520 organization name.
const CLUSTER_NAME_CHARS_MAX: usize = 64;

/// The attribute `serialNumber` of a subject (X.520, section 6.2.9).
const SERIAL_NUMBER_ATTRIBUTE: [u64; 4] = [2, 5, 4, 5];

/// The certificate authority of one cluster: who holds it decides who belongs to the swarm.
pub struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: Zeroizing<KeyPair>,
    valid_until: SystemTime,
}

/// A certificate that was issued for a key that the authority never saw.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// The certificate.
    pub pem: String,
    /// What it says.
    pub peer: PeerIdentity,
}

/// Why an authority could not be made, or did not issue a certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The name of the cluster cannot stand in a certificate.
    #[error("{0:?} is no name of a cluster: 1 to {CLUSTER_NAME_CHARS_MAX} printable characters are expected")]
    ClusterName(String),
    /// A certificate would be trusted for longer than the authority is.
    #[error("a certificate until {} would outlive its authority, which expires at {}", rfc3339(*.asked), rfc3339(*.authority))]
    OutlivesAuthority {
        /// Until when the certificate was to hold.
        asked: SystemTime,
        /// Until when the authority's own does.
        authority: SystemTime,
    },
    /// The system gave no random octets.
    #[error("the system gave no random numbers")]
    NoRandomness,
    /// A key, a certificate or a list of revoked ones could not be made.
    #[error("cannot make a certificate: {0}")]
    Generation(#[from] rcgen::Error),
    /// The times cannot be those of a certificate.
    #[error(transparent)]
    Validity(#[from] InvalidValidity),
    /// The authority's own texts cannot be used, or what it issued is not usable with its certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl Authority {
    /// Makes an authority for a cluster, with a new key.
    ///
    /// # Errors
    /// When the name cannot stand in a certificate, or the system gives no random numbers.
    pub fn new(cluster_name: &str, validity: Validity) -> Result<Self, AuthorityError> {
        let printable = !cluster_name.trim().is_empty() && !cluster_name.chars().any(char::is_control);
        if !printable || cluster_name.chars().count() > CLUSTER_NAME_CHARS_MAX {
            return Err(AuthorityError::ClusterName(cluster_name.chars().take(80).collect()));
        }
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, cluster_name);
        let distinction: String = random::<8>()?.iter().map(|octet| format!("{octet:02x}")).collect();
        let distinction = DnValue::PrintableString(distinction.try_into()?);
        subject.push(DnType::CustomDnType(SERIAL_NUMBER_ATTRIBUTE.to_vec()), distinction);

        let mut params = params(subject, validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key()?;
        let certificate = params.self_signed(&*key)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            certificate: certificate.into(),
            key,
            valid_until: validity.valid_until(),
        })
    }

    /// Reads an authority from the PEM texts of its certificate and its private key.
    ///
    /// # Errors
    /// Names the text at fault and what is wrong with it.
    pub fn from_pem(certificate_pem: &str, key_pem: &PrivateKeyPem) -> Result<Self, IdentityError> {
        let at_authority = |fault| IdentityError::new(IdentityPart::Authority, fault);
        let at_key = |fault| IdentityError::new(IdentityPart::Key, fault);

        let certificate = files::certificates(certificate_pem).map_err(at_authority)?.swap_remove(0);
        if !peer::is_authority(&certificate).map_err(|error| at_authority(error.into()))? {
            return Err(at_authority(IdentityFault::NotAnAuthority));
        }
        let key_der = PrivateKeyDer::from_pem_slice(key_pem.as_str().as_bytes())
            .map(Zeroizing::new)
            .map_err(|error| at_key(error.into()))?;
        let key = KeyPair::try_from(&*key_der).map(Zeroizing::new).map_err(|error| {
            at_key(IdentityFault::Unacceptable(rustls::Error::General(error.to_string())))
        })?;
        let own_key = peer::public_key(&certificate).map_err(|error| at_authority(error.into()))?;
        if own_key != rcgen::PublicKeyData::subject_public_key_info(&*key) {
            return Err(at_key(IdentityFault::WrongKey));
        }
        let valid_until = peer::expiry(&certificate).map_err(|error| at_authority(error.into()))?;
        Ok(Self { certificate, certificate_pem: certificate_pem.to_owned(), key, valid_until })
    }

    /// The certificate, for everyone.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key, for a file that only its owner may read.
    pub fn key_pem(&self) -> PrivateKeyPem {
        PrivateKeyPem::new(self.key.serialize_pem())
    }

    /// The name of the cluster.
    ///
    /// # Errors
    /// None is to be expected: the certificate was read before.
    pub fn cluster_name(&self) -> Result<String, InvalidCertificate> {
        peer::cluster_name(&self.certificate)
    }

    /// The SHA-256 digest of the certificate in hexadecimal digits, for people and tokens to compare.
    pub fn fingerprint(&self) -> String {
        peer::fingerprint(&self.certificate)
    }

    /// When the authority's certificate expires; no certificate that it issues holds longer.
    pub fn valid_until(&self) -> SystemTime {
        self.valid_until
    }

    /// Issues a certificate, with a new key, for a node.
    ///
    /// # Errors
    /// When the certificate would outlive the authority, or cannot be made.
    pub fn issue(&self, id: &NodeId, role: Role, validity: Validity) -> Result<Identity, AuthorityError> {
        self.outlives(validity)?;
        Ok(Identity::from_pem(self.sign(&node_params(id, role, validity)?)?)?)
    }

    /// Issues a certificate for the key of a signing request: of the request itself only the node id and the
    /// key are taken, the role is the authority's to give.
    ///
    /// # Errors
    /// When the certificate would outlive the authority, or cannot be made.
    pub fn sign_request(
        &self,
        request: &SigningRequest,
        role: Role,
        validity: Validity,
    ) -> Result<IssuedCertificate, AuthorityError> {
        self.outlives(validity)?;
        self.certify(request, &node_params(request.id(), role, validity)?)
    }

    /// Issues once more what was issued for the same key before, with the same serial number: only the signature
    /// is another one.
    pub(super) fn sign_again(
        &self,
        request: &SigningRequest,
        role: Role,
        validity: Validity,
        serial: &Serial,
    ) -> Result<IssuedCertificate, AuthorityError> {
        let mut params = node_params(request.id(), role, validity)?;
        params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
        self.certify(request, &params)
    }

    fn certify(
        &self,
        request: &SigningRequest,
        params: &CertificateParams,
    ) -> Result<IssuedCertificate, AuthorityError> {
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &*self.key)?;
        let certificate = params.signed_by(request.public_key(), &issuer)?;
        let peer = PeerIdentity::from_certificate(certificate.der()).map_err(|error| {
            AuthorityError::Identity(IdentityError::new(IdentityPart::Certificate, error.into()))
        })?;
        Ok(IssuedCertificate { pem: certificate.pem(), peer })
    }

    /// Signs the list of everything that was revoked until now, with its time. Of two lists the one with the
    /// higher `number` holds.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn revocation_list(
        &self,
        number: u64,
        revoked: impl IntoIterator<Item = (Serial, SystemTime)>,
        now: SystemTime,
    ) -> Result<String, AuthorityError> {
        let revoked_certs = revoked
            .into_iter()
            .map(|(serial, at)| RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial.as_bytes()),
                revocation_time: OffsetDateTime::from(at),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &*self.key)?;
        let list = CertificateRevocationListParams {
            this_update: OffsetDateTime::from(now),
            // It holds until a newer one takes its place; the field is mandatory.
            next_update: OffsetDateTime::from(self.valid_until.max(now + Duration::from_secs(1))),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&issuer)?.pem()?)
    }

    fn outlives(&self, validity: Validity) -> Result<(), AuthorityError> {
        // TLS takes the authority for granted and never looks at its dates, so they are kept here.
        if validity.valid_until() > self.valid_until {
            return Err(AuthorityError::OutlivesAuthority {
                asked: validity.valid_until(),
                authority: self.valid_until,
            });
        }
        Ok(())
    }

    /// Makes a key and signs a certificate for it, whatever it says.
    pub(crate) fn sign(&self, params: &CertificateParams) -> Result<IdentityPem, AuthorityError> {
        let key = new_key()?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &*self.key)?;
        Ok(IdentityPem {
            certificate: params.signed_by(&*key, &issuer)?.pem(),
            key: PrivateKeyPem::new(key.serialize_pem()),
            authority: self.certificate_pem.clone(),
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("valid_until", &self.valid_until).finish_non_exhaustive()
    }
}

/// What the certificate of a node says; see the [module documentation](super).
pub(super) fn node_params(
    id: &NodeId,
    role: Role,
    validity: Validity,
) -> Result<CertificateParams, AuthorityError> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationalUnitName, role.as_str());
    let mut params = params(subject, validity)?;
    params.subject_alt_names = vec![SanType::DnsName(id.as_str().try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(subject: DistinguishedName, validity: Validity) -> Result<CertificateParams, AuthorityError> {
    let (from, until) = validity.since_epoch();
    let epoch = date_time_ymd(1970, 1, 1);
    let mut serial = random::<16>()?;
    // Positive and always of the same length: the top bit is the sign, the one below it is never a leading zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.not_before = epoch + from;
    params.not_after = epoch + until;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = subject;
    Ok(params)
}

pub(super) fn new_key() -> Result<Zeroizing<KeyPair>, AuthorityError> {
    Ok(Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], AuthorityError> {
    let mut octets = [0; N];
    let source = tls::provider(KeyExchange::default()).secure_random;
    source.fill(&mut octets).map_err(|_| AuthorityError::NoRandomness)?;
    Ok(octets)
}
