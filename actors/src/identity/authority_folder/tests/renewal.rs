//! Who gets a renewed certificate, when, and for how long.

use super::*;
use crate::identity::{InvalidRenewal, RENEWALS_MAX, RenewalRequest};

const HOUR: Duration = Duration::from_secs(3_600);

/// Holds since a day and for an hour more, so that it is due.
fn due() -> Validity {
    Validity::new(now() - DAY, now() + HOUR).unwrap()
}

fn issue(folder: &AuthorityFolder, id: &str, validity: Validity) -> Identity {
    folder.issue(&node(id), Role::Agent, validity, OnExisting::Replace).unwrap()
}

/// What a node asks with that holds `identity`.
fn asking(identity: &Identity) -> RenewalRequest {
    let request = SigningRequest::with_key(identity.id(), &identity.to_pem().key).unwrap();
    RenewalRequest::from_pem(&identity.to_pem().certificate, request.to_pem()).unwrap()
}

#[test]
fn a_node_renews_what_it_holds_for_its_key_in_its_role_for_as_long_again() {
    let place = Place::new();
    let folder = place.authority();
    let held = issue(&folder, "a", due());
    let issued = folder.renew_for_holder(&asking(&held), now()).unwrap();
    assert_eq!((issued.peer.id.as_str(), issued.peer.role), ("a", Role::Agent));
    let lifetime = issued.peer.valid_until.duration_since(issued.peer.valid_from).unwrap();
    assert_eq!(lifetime.as_secs(), (DAY + HOUR).as_secs());
    assert!(issued.peer.valid_until > held.valid_until());
    let renewed = IdentityPem { certificate: issued.pem, ..held.to_pem().clone() };
    assert_eq!(Identity::from_pem(renewed).unwrap().as_peer(), &issued.peer, "for the same key");
    let register = folder.register().unwrap();
    assert!(register.by_serial(&issued.peer.serial).is_some());
}

#[test]
fn a_certificate_is_not_renewed_before_its_time() {
    let place = Place::new();
    let folder = place.authority();
    let held = issue(&folder, "a", lasting(DAY));
    let time = folder.register().unwrap().certificates()[0].renewal_due();
    for (at, early) in [(now(), true), (time - Duration::from_secs(1), true), (time, false)] {
        let renewed = folder.renew_for_holder(&asking(&held), at);
        assert_eq!(matches!(renewed, Err(FolderError::NotDue(from)) if from == time), early, "{renewed:?}");
        assert_eq!(renewed.is_ok(), !early);
    }
}

#[test]
fn nobody_renews_what_the_authority_does_not_know_as_theirs() {
    let place = Place::new();
    let folder = place.authority();
    let unlisted = folder.authority().issue(&node("a"), Role::Agent, due()).unwrap();
    let other = AuthorityFolder::init(&place.path("other"), "orchard", lasting(100 * DAY)).unwrap();
    let foreign = issue(&other, "a", due());
    let expired = issue(&folder, "a", Validity::new(now() - 2 * DAY, now() - DAY).unwrap());
    for (case, held) in [("unlisted", unlisted), ("foreign", foreign), ("expired", expired)] {
        let refused = folder.renew_for_holder(&asking(&held), now());
        assert!(matches!(refused, Err(FolderError::NotTheHolder(_))), "{case}: {refused:?}");
    }
    assert_eq!(folder.register().unwrap().certificates().len(), 1);
}

#[test]
fn a_revoked_certificate_renews_nothing_although_its_node_has_another() {
    let place = Place::new();
    let folder = place.authority();
    let stolen = issue(&folder, "a", due());
    folder.revoke(&node("a"), now()).unwrap();
    let good = issue(&folder, "a", due());
    let refused = folder.renew_for_holder(&asking(&stolen), now());
    assert!(matches!(refused, Err(FolderError::WasRevoked(_))), "{refused:?}");
    folder.renew_for_holder(&asking(&good), now()).unwrap();
}

#[test]
fn who_asks_on_and_on_does_not_fill_the_register() {
    let place = Place::new();
    let folder = place.authority();
    let held = issue(&folder, "a", due());
    for _ in 0..RENEWALS_MAX {
        folder.renew_for_holder(&asking(&held), now()).unwrap();
    }
    let refused = folder.renew_for_holder(&asking(&held), now());
    assert!(matches!(refused, Err(FolderError::TooOften(_))), "{refused:?}");
    let other = issue(&folder, "b", due());
    folder.renew_for_holder(&asking(&other), now()).unwrap();
    assert_eq!(folder.register().unwrap().certificates().len(), RENEWALS_MAX + 3);
}

#[test]
fn a_certificate_does_not_outlive_its_authority_and_is_not_renewed_in_vain() {
    let place = Place::new();
    let folder = AuthorityFolder::init(&place.path("ca"), "orchard", lasting(2 * HOUR)).unwrap();
    let ends = folder.authority().valid_until();
    let held = issue(&folder, "a", due());
    let issued = folder.renew_for_holder(&asking(&held), now()).unwrap();
    assert_eq!(issued.peer.valid_until, ends);
    let last = issue(&folder, "b", Validity::new(now() - DAY, ends).unwrap());
    let refused = folder.renew_for_holder(&asking(&last), now());
    assert!(matches!(refused, Err(FolderError::AuthorityEnds(at)) if at == ends), "{refused:?}");
}

#[test]
fn a_renewal_is_signed_with_the_key_of_the_certificate_for_the_same_node() {
    let place = Place::new();
    let folder = place.authority();
    let held = issue(&folder, "a", due()).to_pem().clone();
    let ask = |certificate: &str, request: &SigningRequest| {
        RenewalRequest::from_pem(certificate, request.to_pem()).unwrap_err()
    };
    let own = SigningRequest::with_key(&node("a"), &held.key).unwrap();
    let (_, with_new_key) = SigningRequest::new(&node("a")).unwrap();
    assert!(matches!(ask(&held.certificate, &with_new_key), InvalidRenewal::OtherKey));
    let for_another = SigningRequest::with_key(&node("b"), &held.key).unwrap();
    assert!(matches!(ask(&held.certificate, &for_another), InvalidRenewal::OtherNode { .. }));
    let two = held.certificate.repeat(2);
    for bad in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &held.authority, &two] {
        assert!(matches!(ask(bad, &own), InvalidRenewal::Certificate(_)), "{bad}");
    }
    assert!(matches!(ask(&held.certificate.repeat(20), &own), InvalidRenewal::TooLong));
    let no_request = RenewalRequest::from_pem(&held.certificate, "");
    assert!(matches!(no_request, Err(InvalidRenewal::Request(_))), "{no_request:?}");
}
