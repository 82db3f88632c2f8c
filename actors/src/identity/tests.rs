//! Identities and authorities by themselves; their connections are in the submodules.

use std::{fs, io, time::Duration, time::SystemTime};

use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType};

use super::{authority::node_params, *};
use crate::temp_folder::TempFolder;

mod handshake;
mod key_exchange;
mod revocation;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn node(id: &str) -> NodeId {
    id.parse().unwrap()
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn today() -> Validity {
    Validity::starting(now(), DAY).unwrap()
}

/// An authority that was there before every certificate of these tests and outlives all of them.
fn authority() -> Authority {
    Authority::new("test swarm", Validity::new(now() - 100 * DAY, now() + 100 * DAY).unwrap()).unwrap()
}

pub(crate) fn agent_params(validity: Validity) -> CertificateParams {
    node_params(&node("agent-1"), Role::Agent, validity).unwrap()
}

pub(crate) fn for_purposes(usages: &[rcgen::ExtendedKeyUsagePurpose]) -> CertificateParams {
    let mut params = agent_params(today());
    params.extended_key_usages = usages.to_vec();
    params
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// A second type for the organizational unit: rcgen keeps one attribute of each type.
fn second_unit() -> DnType {
    DnType::CustomDnType(vec![2, 5, 4, 11])
}

/// An identity that may be inconsistent, as a peer that is not ours may show it.
pub(crate) fn unchecked(pem: IdentityPem) -> Identity {
    let chain = files::certificates(&pem.certificate).unwrap();
    let certified = Arc::new(certified_key(chain, &pem.key).unwrap());
    let own = authority().issue(&node("nobody"), Role::Agent, today()).unwrap().own;
    let revocations = Arc::default();
    Identity {
        roots: Arc::new(roots(&pem.authority).unwrap()),
        known: Arc::default(),
        pem,
        certified,
        own,
        revocations,
    }
}

/// A certificate that names the authority as its issuer and is signed by someone else.
pub(crate) fn forged(authority: &Authority, params: &CertificateParams) -> IdentityPem {
    let issuer = Issuer::from_ca_cert_pem(authority.certificate_pem(), KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    IdentityPem {
        certificate: params.signed_by(&key, &issuer).unwrap().pem(),
        key: PrivateKeyPem::new(key.serialize_pem()),
        authority: authority.certificate_pem().to_owned(),
    }
}

fn fault(pem: IdentityPem) -> (IdentityPart, IdentityFault) {
    let error = Identity::from_pem(pem).unwrap_err();
    (error.part, error.fault)
}

#[test]
fn an_identity_survives_its_pem_texts() {
    let today = today();
    let issued = authority().issue(&node("agent-1"), Role::Agent, today).unwrap();
    let read = Identity::from_pem(issued.to_pem().clone()).unwrap();
    assert_eq!(read.as_peer(), issued.as_peer());
    assert_eq!((read.id().as_str(), read.role()), ("agent-1", Role::Agent));
    assert_eq!(read.valid_until(), today.valid_until());
    assert_eq!(read.as_peer().valid_from, today.valid_from());
    assert_eq!(read.as_peer().serial.as_bytes().len(), 16);
}

#[test]
fn an_authority_survives_its_pem_texts_and_goes_on_issuing() {
    let first = authority();
    let read = Authority::from_pem(first.certificate_pem(), &first.key_pem()).unwrap();
    assert_eq!(read.valid_until(), first.valid_until());
    let issued = read.issue(&node("agent-1"), Role::Operator, today()).unwrap();
    let by_both = IdentityPem { authority: first.certificate_pem().to_owned(), ..issued.to_pem().clone() };
    assert_eq!(Identity::from_pem(by_both).unwrap().role(), Role::Operator);
}

#[test]
fn serial_numbers_differ() {
    let authority = authority();
    let serial = || authority.issue(&node("a"), Role::Agent, today()).unwrap().own.serial;
    assert_ne!(serial(), serial());
}

#[test]
fn private_keys_stay_out_of_debug_output() {
    let authority = authority();
    let identity = authority.issue(&node("agent-1"), Role::Agent, today()).unwrap();
    let shown = format!("{authority:?} {:?} {identity:?} {:?}", authority.key_pem(), identity.to_pem());
    for key in [authority.key_pem(), identity.to_pem().key.clone()] {
        let secret = key.as_str().lines().nth(1).unwrap().to_owned();
        assert!(secret.len() > 20 && !shown.contains(&secret));
    }
    assert!(!shown.contains("PRIVATE KEY"));
}

#[test]
fn an_expired_identity_loads_and_says_so() {
    let past = Validity::new(now() - 2 * DAY, now() - DAY).unwrap();
    let identity = authority().issue(&node("agent-1"), Role::Agent, past).unwrap();
    assert_eq!(identity.valid_until(), past.valid_until());
    let own = identity.as_peer();
    assert_eq!(own.check(now()), Err(OutsideValidity::Expired { until: past.valid_until() }));
    assert_eq!(own.check(now() - 3 * DAY), Err(OutsideValidity::NotYet { from: past.valid_from() }));
    assert_eq!(own.check(past.valid_until() + Duration::from_millis(999)), Ok(()));
    assert!(own.check(past.valid_until() + Duration::from_secs(1)).is_err());
    assert_eq!(own.check(past.valid_from()), Ok(()));
}

#[test]
fn a_key_of_another_node_is_refused() {
    let authority = authority();
    let one = authority.issue(&node("one"), Role::Agent, today()).unwrap().to_pem().clone();
    let two = authority.issue(&node("two"), Role::Agent, today()).unwrap().to_pem().clone();
    let mixed = IdentityPem { key: two.key, ..one };
    assert!(matches!(fault(mixed), (IdentityPart::Key, IdentityFault::WrongKey)));
    let error = Authority::from_pem(authority.certificate_pem(), &self::authority().key_pem()).unwrap_err();
    assert!(matches!((error.part, error.fault), (IdentityPart::Key, IdentityFault::WrongKey)));
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let authority = authority();
    let stranger = self::authority().issue(&node("one"), Role::Agent, today()).unwrap().to_pem().clone();
    let mixed = IdentityPem { authority: authority.certificate_pem().to_owned(), ..stranger };
    for pem in [mixed, forged(&authority, &agent_params(today()))] {
        assert!(matches!(fault(pem), (IdentityPart::Certificate, IdentityFault::NotIssuedByAuthority)));
    }
}

#[test]
fn a11_a_certificate_that_is_not_for_both_purposes_is_refused_at_home() {
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let authority = authority();
    for usages in [&[ServerAuth][..], &[ClientAuth], &[]] {
        let fault = fault(authority.sign(&for_purposes(usages)).unwrap());
        let (part, IdentityFault::Certificate(InvalidCertificate::Purpose)) = fault else {
            panic!("{usages:?}: {fault:?}")
        };
        assert_eq!(part, IdentityPart::Certificate);
    }
}

#[test]
fn a_certificate_of_a_node_is_no_authority() {
    let authority = authority();
    let pem = authority.issue(&node("one"), Role::Agent, today()).unwrap().to_pem().clone();
    let self_made = IdentityPem { authority: pem.certificate.clone(), ..pem };
    assert!(matches!(fault(self_made), (IdentityPart::Authority, IdentityFault::NotAnAuthority)));
}

/// Certificates of the right authority that are nevertheless not those of a node.
pub(crate) fn not_nodes() -> Vec<(CertificateParams, InvalidCertificate)> {
    let named = |names: &[&str]| {
        let mut params = agent_params(today());
        params.subject_alt_names = names.iter().map(|name| dns(name)).collect();
        params
    };
    let units = |units: &[&str]| {
        let mut params = agent_params(today());
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, unit) in [DnType::OrganizationalUnitName, second_unit()].into_iter().zip(units) {
            params.distinguished_name.push(kind, *unit);
        }
        params
    };
    let no_id = |name: &str| name.parse::<NodeId>().unwrap_err().into();
    let no_role = |unit: &str| unit.parse::<Role>().unwrap_err().into();
    vec![
        (named(&[]), InvalidCertificate::NoDnsName),
        (named(&["agent-1", "agent-2"]), InvalidCertificate::SeveralDnsNames(2)),
        (named(&["Agent-1"]), no_id("Agent-1")),
        (named(&["agent-1.example"]), no_id("agent-1.example")),
        (named(&["*"]), no_id("*")),
        (units(&[]), InvalidCertificate::NoRole),
        (units(&["root"]), no_role("root")),
        (units(&["Agent"]), no_role("Agent")),
        (units(&["agent", "operator"]), InvalidCertificate::SeveralRoles(2)),
    ]
}

#[test]
fn a_certificate_names_one_node_and_one_role() {
    let authority = authority();
    for (params, expected) in not_nodes() {
        let pem = authority.sign(&params).unwrap();
        let certificate = files::certificates(&pem.certificate).unwrap().swap_remove(0);
        assert_eq!(PeerIdentity::from_certificate(&certificate), Err(expected.clone()));
        match fault(pem) {
            (IdentityPart::Certificate, IdentityFault::Certificate(found)) => assert_eq!(found, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn octets_that_are_no_certificate_are_refused() {
    let pem = authority().issue(&node("one"), Role::Agent, today()).unwrap().to_pem().clone();
    let good = files::certificates(&pem.certificate).unwrap().swap_remove(0);
    let longer = [good.as_ref(), &[0]].concat();
    for octets in [&[][..], &good[..good.len() - 1], &longer] {
        let read = PeerIdentity::from_certificate(&CertificateDer::from(octets));
        assert!(matches!(read, Err(InvalidCertificate::Malformed(_))), "{read:?}");
    }
}

#[test]
fn names_of_other_kinds_are_ignored() {
    let mut params = agent_params(today());
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    params.subject_alt_names.push(SanType::URI("spiffe://swarm/agent-2".try_into().unwrap()));
    let identity = Identity::from_pem(authority().sign(&params).unwrap()).unwrap();
    assert_eq!(identity.id().as_str(), "agent-1");
}

#[test]
fn a_role_may_be_a_printable_string() {
    let mut params = agent_params(today());
    let role = rcgen::DnValue::PrintableString("operator".try_into().unwrap());
    params.distinguished_name.push(DnType::OrganizationalUnitName, role);
    assert_eq!(Identity::from_pem(authority().sign(&params).unwrap()).unwrap().role(), Role::Operator);
}

#[test]
fn a_load_names_the_file_at_fault() {
    let directory = TempFolder::new();
    let paths = IdentityPaths::in_directory(&directory);
    let authority = authority();
    let pem = authority.issue(&node("agent-1"), Role::Agent, today()).unwrap().to_pem().clone();
    fs::write(paths.revoked.as_ref().unwrap(), authority.revocation_list(1, [], now()).unwrap()).unwrap();
    let write = |certificate: &str, key: &str, authority: &str| {
        fs::write(&paths.certificate, certificate).unwrap();
        fs::write(&paths.key, key).unwrap();
        fs::write(&paths.authority, authority).unwrap();
    };
    let load = || Identity::load_directory(&*directory);

    write(&pem.certificate, pem.key.as_str(), &pem.authority);
    assert_eq!(load().unwrap().id().as_str(), "agent-1");

    fs::remove_file(&paths.key).unwrap();
    let error = load().unwrap_err();
    assert_eq!(error.file.as_ref(), Some(&paths.key));
    assert!(
        matches!(&error.fault, IdentityFault::Unreadable(cause) if cause.kind() == io::ErrorKind::NotFound)
    );

    write(&pem.certificate, &pem.certificate, &pem.authority);
    let error = load().unwrap_err();
    assert_eq!(error.file.as_ref(), Some(&paths.key));
    assert!(matches!(error.fault, IdentityFault::NothingInIt));

    write("hello", pem.key.as_str(), &pem.authority);
    let error = load().unwrap_err();
    assert_eq!(error.file.as_ref(), Some(&paths.certificate));
    assert!(matches!(error.fault, IdentityFault::NothingInIt));

    write(&pem.certificate, pem.key.as_str(), "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n");
    let error = load().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("authority certificate {}: it is not PEM", paths.authority.display()))
    );
}

#[test]
fn no_certificate_outlives_its_authority() {
    let authority = authority();
    let longer = Validity::starting(now(), 101 * DAY).unwrap();
    let error = authority.issue(&node("one"), Role::Agent, longer).unwrap_err();
    assert!(
        matches!(error, AuthorityError::OutlivesAuthority { asked, .. } if asked == longer.valid_until())
    );
}

#[test]
fn a_cluster_has_a_printable_name() {
    for bad in ["", " ", "a\nb", &"x".repeat(65)] {
        assert!(matches!(Authority::new(bad, today()), Err(AuthorityError::ClusterName(_))), "{bad:?}");
    }
    Authority::new(&"ä".repeat(64), today()).unwrap();
}

#[test]
fn a_validity_is_a_span_that_a_certificate_can_hold() {
    let epoch = SystemTime::UNIX_EPOCH;
    assert_eq!(Validity::new(epoch + DAY, epoch + DAY), Err(InvalidValidity::Empty));
    assert_eq!(Validity::new(epoch - DAY, epoch + DAY), Err(InvalidValidity::OutOfRange));
    assert_eq!(Validity::new(epoch, epoch + 366 * 8030 * DAY), Err(InvalidValidity::OutOfRange));
    assert_eq!(Validity::starting(epoch + DAY, Duration::MAX), Err(InvalidValidity::OutOfRange));
    let whole = Validity::starting(epoch + DAY + Duration::from_millis(1), DAY).unwrap();
    assert_eq!((whole.valid_from(), whole.valid_until()), (epoch + DAY - CLOCK_SKEW, epoch + 2 * DAY));
}
