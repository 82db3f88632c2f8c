//! Which revocation lists are believed.

use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, KeyIdMethod,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::*;

/// A list of one serial number, as an issuer that is not ours may write it.
fn params() -> CertificateRevocationListParams {
    CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2026, 1, 2),
        crl_number: SerialNumber::from(7),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(5),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

fn signed(params: &CertificateRevocationListParams, authority: &Authority, key: &KeyPair) -> String {
    let issuer = Issuer::from_ca_cert_pem(authority.certificate_pem(), key).unwrap();
    params.signed_by(&issuer).unwrap().pem().unwrap()
}

fn read(text: &str, authority: &Authority) -> Result<RevocationList, IdentityFault> {
    RevocationList::from_pem(text, authority.certificate_pem()).map_err(|error| {
        assert_eq!(error.part, IdentityPart::RevocationList);
        error.fault
    })
}

#[test]
fn a_list_is_believed_when_its_authority_signed_all_of_it() {
    let authority = authority();
    let key = KeyPair::from_pem(authority.key_pem().as_str()).unwrap();
    // Long past its `nextUpdate`, and yet the last word.
    assert_eq!(read(&signed(&params(), &authority, &key), &authority).unwrap().len(), 1);

    let forger = KeyPair::generate().unwrap();
    let forged = read(&signed(&params(), &authority, &forger), &authority);
    assert!(matches!(forged, Err(IdentityFault::NotIssuedByAuthority)), "{forged:?}");
    let foreign = read(&signed(&params(), &authority, &key), &super::authority());
    assert!(matches!(foreign, Err(IdentityFault::NotIssuedByAuthority)), "{foreign:?}");

    let some_only = CertificateRevocationListParams {
        issuing_distribution_point: Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint { uris: vec!["http://localhost/".to_owned()] },
            scope: Some(rcgen::CrlScope::CaCertsOnly),
        }),
        ..params()
    };
    let partial = read(&signed(&some_only, &authority, &key), &authority);
    assert!(matches!(&partial, Err(IdentityFault::Certificate(_))), "{partial:?}");
    let endless = CertificateRevocationListParams { crl_number: vec![0x7f; 12].into(), ..params() };
    let unnumbered = read(&signed(&endless, &authority, &key), &authority);
    assert!(matches!(&unnumbered, Err(IdentityFault::Certificate(_))), "{unnumbered:?}");
    for text in ["", "hello", authority.certificate_pem()] {
        assert!(matches!(read(text, &authority), Err(IdentityFault::NothingInIt)), "{text}");
    }
}

#[test]
fn the_newer_list_of_each_authority_holds() {
    let (one, other) = (authority(), authority());
    let revoked = |authority: &Authority| authority.issue(&node("a"), Role::Agent, today()).unwrap().own;
    let (of_one, of_other) = (revoked(&one), revoked(&other));
    let list = |authority: &Authority, number, peers: &[&PeerIdentity]| {
        let serials = peers.iter().map(|peer| (peer.serial.clone(), now()));
        let text = authority.revocation_list(number, serials, now()).unwrap();
        read(&text, authority).unwrap()
    };
    let held = |list: &RevocationList| (list.check(&of_one).is_ok(), list.check(&of_other).is_ok());
    let (before, after) = (list(&one, 1, &[]), list(&one, 2, &[&of_one]));
    for newest in [before.clone().newest(&after), after.clone().newest(&before)] {
        assert_eq!(held(&newest), (false, true));
    }
    let both = after.newest(&list(&other, 1, &[&of_other]));
    assert_eq!((held(&both), both.len()), ((false, false), 2));
    assert_eq!(held(&both.newest(&RevocationList::default())), (false, false));

    // One text may hold the lists of several authorities.
    let texts = [(&one, &of_one), (&other, &of_other)].map(|(authority, peer)| {
        authority.revocation_list(1, [(peer.serial.clone(), now())], now()).unwrap()
    });
    let authorities = [one.certificate_pem(), other.certificate_pem()].concat();
    let read = RevocationList::from_pem(&texts.concat(), &authorities).unwrap();
    assert_eq!(held(&read), (false, false));
}

#[test]
fn a_serial_number_means_something_only_together_with_its_authority() {
    let (authority, namesake) = (authority(), authority());
    let peer = authority.issue(&node("a"), Role::Agent, today()).unwrap().own;
    let of = |authority: &Authority| {
        let text = authority.revocation_list(1, [(peer.serial.clone(), now())], now()).unwrap();
        read(&text, authority).unwrap()
    };
    assert_eq!(of(&authority).check(&peer), Err(Revoked(peer.serial.clone())));
    let list = of(&namesake);
    assert_eq!((list.len(), list.check(&peer)), (1, Ok(())));
}

#[test]
fn what_is_kept_of_two_texts_is_the_newer_list_of_each_authority() {
    let (a, b) = (authority(), authority());
    let both = format!("{}{}", a.certificate_pem(), b.certificate_pem());
    let list = |authority: &Authority, number| authority.revocation_list(number, [], now()).unwrap();
    let (a1, a2, b4, b5) = (list(&a, 1), list(&a, 2), list(&b, 4), list(&b, 5));
    let held = format!("{a1}{b5}");
    for (other, kept) in [(&a2, [&a2, &b5]), (&b4, [&a1, &b5])] {
        let text = RevocationList::newest_pem(&held, other, &both).unwrap();
        RevocationList::from_pem(&text, &both).unwrap();
        assert!(kept.iter().all(|one| text.contains(one.trim())), "{text}");
        assert_eq!(text.matches("BEGIN").count(), 2, "nothing is kept twice");
    }
    assert_eq!(RevocationList::newest_pem("", "", &both).unwrap(), "");
    let stranger = authority();
    assert!(RevocationList::newest_pem(&held, &list(&stranger, 9), &both).is_err());
}
