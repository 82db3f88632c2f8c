//! Join tokens and signing requests: who gets a certificate, and who does not.

use std::thread;

use super::*;
use crate::identity::{InvalidRequest, PeerIdentity, files::certificates};

/// A request whose key is thrown away.
fn request(id: &str) -> SigningRequest {
    SigningRequest::new(&node(id)).unwrap().1
}

#[test]
fn a_token_is_good_once_for_its_node_in_its_role() {
    let place = Place::new();
    let folder = place.authority();
    let made = folder.join_token(&node("a"), Role::Agent, now() + DAY).unwrap();
    let token: JoinToken = made.as_str().parse().unwrap();
    assert_eq!(
        (&token.id, token.role, token.authority.clone()),
        (&made.id, Role::Agent, made.authority.clone())
    );
    let enrol = |id: &str, token: &JoinToken, at| {
        folder.enrol(&request(id), token, lasting(DAY), at).map(|issued| issued.peer)
    };
    let refusal = |refused: Result<PeerIdentity, FolderError>| match refused {
        Err(FolderError::Token(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refusal(enrol("b", &token, now())), TokenRefusal::OtherName { .. }));
    assert!(matches!(refusal(enrol("a", &token, now() + 2 * DAY)), TokenRefusal::Expired(_)));
    let issued = enrol("a", &token, now()).unwrap();
    assert_eq!((issued.id.as_str(), issued.role), ("a", Role::Agent));
    assert_eq!(refusal(enrol("a", &token, now())), TokenRefusal::Spent);
    assert_eq!(folder.register().unwrap().tokens()[0].state, TokenState::Spent);
}

#[test]
fn a_machine_that_did_not_get_its_certificate_is_given_the_same_once_more() {
    let place = Place::new();
    let folder = place.authority();
    let token = folder.join_token(&node("a"), Role::Agent, now() + DAY).unwrap();
    let (key, asked) = SigningRequest::new(&node("a")).unwrap();
    let first = folder.enrol(&asked, &token, lasting(DAY), now()).unwrap();
    // Another text for the same key, another lifetime asked for, another process.
    let again = SigningRequest::with_key(&node("a"), &key).unwrap();
    let folder = AuthorityFolder::open(&place.path("ca")).unwrap();
    let second = folder.enrol(&again, &token, lasting(2 * DAY), now() + DAY / 2).unwrap();
    assert_eq!(second.peer, first.peer);
    assert_eq!(folder.register().unwrap().certificates().len(), 1);
    let authority = folder.authority().certificate_pem().to_owned();
    Identity::from_pem(IdentityPem { certificate: second.pem, key: key.clone(), authority }).unwrap();

    let refused = |request: &SigningRequest, at| match folder.enrol(request, &token, lasting(DAY), at) {
        Err(FolderError::Token(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&request("a"), now()), TokenRefusal::Spent, "another key");
    let renamed = SigningRequest::with_key(&node("b"), &key).unwrap();
    assert!(matches!(refused(&renamed, now()), TokenRefusal::OtherName { .. }));
    assert!(matches!(refused(&again, now() + 2 * DAY), TokenRefusal::Expired(_)));
    folder.revoke(&node("a"), now()).unwrap();
    assert_eq!(refused(&again, now()), TokenRefusal::Spent, "what was revoked is not given out again");
}

#[test]
fn a_register_from_before_keys_were_noted_is_read() {
    let place = Place::new();
    let folder = place.authority();
    let token = folder.join_token(&node("a"), Role::Agent, now() + DAY).unwrap();
    let (_, asked) = SigningRequest::new(&node("a")).unwrap();
    folder.enrol(&asked, &token, lasting(DAY), now()).unwrap();
    let file = place.path("ca").join(REGISTER);
    let text = fs::read_to_string(&file).unwrap();
    let (before, _) = text.trim_end().rsplit_once(' ').unwrap();
    fs::write(&file, format!("{before}\n")).unwrap();
    let refused = folder.enrol(&asked, &token, lasting(DAY), now());
    assert!(matches!(refused, Err(FolderError::Token(TokenRefusal::Spent))), "{refused:?}");
    fs::write(&file, format!("{before} abc\n")).unwrap();
    assert!(matches!(folder.register(), Err(FolderError::Register { .. })));
}

#[test]
fn a_token_that_was_changed_made_up_or_taken_back_is_refused() {
    let place = Place::new();
    let folder = place.authority();
    let token = folder.join_token(&node("a"), Role::Agent, now() + DAY).unwrap();
    let refused = |text: &str| {
        let token: JoinToken = text.parse().unwrap();
        match folder.enrol(&request(token.id.as_str()), &token, lasting(DAY), now()) {
            Err(FolderError::Token(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    let text = token.as_str();
    assert_eq!(refused(&text.replace(".agent.", ".coordinator.")), TokenRefusal::Unknown);
    assert_eq!(refused(&text.replace(".a.", ".b.")), TokenRefusal::Unknown);
    assert_eq!(refused(&format!("{text}0")), TokenRefusal::Unknown);
    let other = AuthorityFolder::init(&place.path("other"), "orchard", lasting(DAY)).unwrap();
    let foreign = other.join_token(&node("a"), Role::Agent, now() + DAY).unwrap();
    assert_eq!(refused(foreign.as_str()), TokenRefusal::OtherAuthority);
    for bad in ["", "swarm-join-1", &text[1..], &text.replace(".agent.", ".root."), &"x.".repeat(1000)] {
        assert_eq!(bad.parse::<JoinToken>().unwrap_err(), TokenRefusal::Malformed, "{bad:?}");
    }
    folder.revoke(&node("a"), now()).unwrap();
    assert_eq!(refused(text), TokenRefusal::Withdrawn);
}

#[test]
fn a_token_changes_no_role() {
    let place = Place::new();
    let folder = place.authority();
    let before = folder.join_token(&node("a"), Role::Coordinator, now() + DAY).unwrap();
    folder.issue(&node("a"), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap();
    let token = folder.join_token(&node("a"), Role::Coordinator, now() + DAY);
    assert!(matches!(token, Err(FolderError::NameInUse { role: Role::Agent, .. })), "{token:?}");
    let enrolled = folder.enrol(&request("a"), &before, lasting(DAY), now());
    assert!(matches!(enrolled, Err(FolderError::NameInUse { .. })), "{enrolled:?}");
    folder.join_token(&node("a"), Role::Agent, now() + DAY).unwrap();
}

#[test]
fn one_token_asked_for_by_many_at_once_lets_one_in() {
    let place = Place::new();
    let folder = place.authority();
    let token = folder.join_token(&node("a"), Role::Agent, now() + DAY).unwrap();
    let path = place.path("ca");
    let let_in = thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let folder = AuthorityFolder::open(&path).unwrap();
                    folder.enrol(&request("a"), &token, lasting(DAY), now()).is_ok()
                })
            })
            .collect();
        asking.into_iter().map(|one| one.join().unwrap()).filter(|let_in| *let_in).count()
    });
    assert_eq!(let_in, 1);
    assert_eq!(folder.register().unwrap().certificates().len(), 1);
}

#[test]
fn a_request_names_one_node_and_is_signed_with_its_key() {
    let (key, made) = SigningRequest::new(&node("a")).unwrap();
    assert_eq!(SigningRequest::from_pem(made.to_pem()).unwrap().id(), made.id());
    assert_eq!(SigningRequest::with_key(&node("b"), &key).unwrap().id().as_str(), "b");

    let refused = |text: &str| SigningRequest::from_pem(text).unwrap_err();
    assert!(matches!(refused(""), InvalidRequest::NothingInIt));
    assert!(matches!(refused(key.as_str()), InvalidRequest::NothingInIt));
    let ask = |names: &[&str], key: &rcgen::KeyPair| {
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        params.as_mut().unwrap().distinguished_name = rcgen::DistinguishedName::new();
        params.unwrap().serialize_request(key).unwrap()
    };
    let key = rcgen::KeyPair::generate().unwrap();
    for names in [&[][..], &["a", "b"], &["A"], &["a."], &["a.b"]] {
        let text = ask(names, &key).pem().unwrap();
        assert!(matches!(refused(&text), InvalidRequest::Content(_)), "{names:?}");
    }
    let other_kind = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert!(matches!(refused(&ask(&["a"], &other_kind).pem().unwrap()), InvalidRequest::UnsuitableKey));

    // The name is changed behind the back of the signature.
    let honest = ask(&["aaaa"], &key);
    let at = honest.der().windows(4).position(|octets| octets == b"aaaa").unwrap();
    let mut changed = honest.der().to_vec();
    changed[at..at + 4].copy_from_slice(b"bbbb");
    let pem = pem_of(&changed);
    assert!(matches!(refused(&pem), InvalidRequest::BadSignature));
    assert!(matches!(refused(&pem_of(&[honest.der(), &[0][..]].concat())), InvalidRequest::Content(_)));
}

#[test]
fn a_request_gets_nothing_of_what_it_asks_for_beside_its_name_and_key() {
    let place = Place::new();
    let folder = place.authority();
    let mut greedy = rcgen::CertificateParams::new(["a".to_owned(), "10.0.0.1".to_owned()]).unwrap();
    greedy.distinguished_name = rcgen::DistinguishedName::new();
    greedy.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "coordinator");
    greedy.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    // basicConstraints (RFC 5280, section 4.2.1.9): CA:TRUE.
    let may_sign = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 1, 1, 0xff]);
    greedy.custom_extensions = vec![may_sign];
    let key = rcgen::KeyPair::generate().unwrap();
    let asked = greedy.serialize_request(&key).unwrap();
    assert!(asked.der().windows(5).any(|octets| octets == [0x30, 3, 1, 1, 0xff]), "it does ask");

    let asked = SigningRequest::from_pem(&asked.pem().unwrap()).unwrap();
    let token = folder.join_token(&node("a"), Role::Agent, now() + DAY).unwrap();
    let issued = folder.enrol(&asked, &token, lasting(DAY), now()).unwrap();
    assert_eq!((issued.peer.id.as_str(), issued.peer.role), ("a", Role::Agent));
    let chain = certificates(&issued.pem).unwrap();
    let certificate = crate::identity::peer::parse(&chain[0]).unwrap();
    assert!(!certificate.is_ca());
    let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len();
    let signs = certificate.key_usage().unwrap().unwrap().value.key_cert_sign();
    assert_eq!((names, signs), (1, false));
}

fn pem_of(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |chunk: &[u8]| {
        let bits =
            chunk.iter().enumerate().fold(0_u32, |bits, (i, octet)| bits | u32::from(*octet) << (16 - 8 * i));
        (0..4)
            .map(|i| {
                if i <= chunk.len() {
                    char::from(ALPHABET[(bits >> (18 - 6 * i) & 63) as usize])
                } else {
                    '='
                }
            })
            .collect::<String>()
    };
    let body: String = der.chunks(3).map(encode).collect();
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
}
