//! An authority's folder: what is issued is in the register, and what is damaged or open is refused.

use std::time::Duration;

use super::*;
use crate::{
    identity::{IdentityFault, IdentityPaths, IdentityPem, SigningRequest},
    temp_folder::TempFolder,
};

mod enrolment;
mod renewal;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where one test has its authority.
struct Place(TempFolder);

impl Place {
    fn new() -> Self {
        Self(TempFolder::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn authority(&self) -> AuthorityFolder {
        AuthorityFolder::init(&self.path("ca"), "orchard", lasting(100 * DAY)).unwrap()
    }
}

fn lasting(lifetime: Duration) -> Validity {
    Validity::starting(SystemTime::now(), lifetime).unwrap()
}

fn node(id: &str) -> NodeId {
    id.parse().unwrap()
}

fn now() -> SystemTime {
    SystemTime::now()
}

#[test]
fn what_is_issued_is_in_the_register_and_survives_it() {
    let place = Place::new();
    let folder = place.authority();
    let identity = folder.issue(&node("agent-1"), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap();
    let register = AuthorityFolder::open(&place.path("ca")).unwrap().register().unwrap();
    let [certificate] = register.certificates() else { panic!("{register:?}") };
    let own = identity.as_peer();
    assert_eq!(
        (
            &certificate.serial,
            &certificate.id,
            certificate.role,
            certificate.valid_from,
            certificate.valid_until
        ),
        (&own.serial, &own.id, own.role, own.valid_from, own.valid_until)
    );
    assert_eq!(Register::parse(register.as_str()).unwrap().certificates(), register.certificates());
    assert_eq!(folder.authority().cluster_name().unwrap(), "orchard");
}

#[test]
fn a_name_has_one_certificate_unless_it_is_wanted_otherwise() {
    let place = Place::new();
    let folder = place.authority();
    let issue = |role, on| folder.issue(&node("a"), role, lasting(DAY), on);
    issue(Role::Agent, OnExisting::Refuse).unwrap();
    let again = issue(Role::Operator, OnExisting::Refuse);
    assert!(matches!(again, Err(FolderError::NameInUse { role: Role::Agent, .. })), "{again:?}");
    issue(Role::Operator, OnExisting::Replace).unwrap();
    assert_eq!(folder.register().unwrap().certificates().len(), 2);
}

#[test]
fn a_certificate_is_due_for_renewal_before_it_expires() {
    let place = Place::new();
    let folder = place.authority();
    for (id, lifetime, due) in [("long", 90 * DAY, 60 * DAY), ("short", 3 * DAY, 2 * DAY)] {
        folder.issue(&node(id), Role::Agent, lasting(lifetime), OnExisting::Refuse).unwrap();
        let register = folder.register().unwrap();
        let one = register.certificates().last().unwrap();
        let at = |after: Duration| one.standing(now() + after);
        assert_eq!((at(due - DAY / 2), at(due + DAY / 2)), (Standing::Valid, Standing::Expiring), "{id}");
        assert_eq!(at(lifetime + DAY), Standing::Expired);
    }
}

#[test]
fn renewing_keeps_the_role_and_the_former_certificate() {
    let place = Place::new();
    let folder = place.authority();
    let first = folder.issue(&node("a"), Role::Coordinator, lasting(DAY), OnExisting::Refuse).unwrap();
    let second = folder.renew(&node("a"), lasting(2 * DAY)).unwrap();
    assert_eq!((second.id(), second.role()), (first.id(), Role::Coordinator));
    assert_ne!(second.to_pem().key.as_str(), first.to_pem().key.as_str());
    let register = folder.register().unwrap();
    assert!(register.certificates().iter().all(|one| one.holds(now())));
    assert_eq!(register.certificates().len(), 2);

    let unknown = folder.renew(&node("b"), lasting(DAY));
    assert!(matches!(unknown, Err(FolderError::UnknownName(_))), "{unknown:?}");
    folder.revoke(&node("a"), now()).unwrap();
    let revoked = folder.renew(&node("a"), lasting(DAY));
    assert!(matches!(revoked, Err(FolderError::WasRevoked(_))), "{revoked:?}");
}

#[test]
fn revoking_covers_every_certificate_of_a_name_and_can_be_repeated() {
    let place = Place::new();
    let folder = place.authority();
    let first = folder.issue(&node("a"), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap();
    let second = folder.renew(&node("a"), lasting(DAY)).unwrap();
    let other = folder.issue(&node("b"), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap();
    let revoked = folder.revoke(&node("a"), now()).unwrap();
    assert_eq!(revoked, [first.as_peer().serial.clone(), second.as_peer().serial.clone()]);
    assert_eq!(folder.revoke(&node("a"), now()).unwrap(), []);
    assert!(matches!(folder.revoke(&node("c"), now()), Err(FolderError::UnknownName(_))));

    let list = folder.revocation_list().unwrap();
    let list = RevocationList::from_pem(&list, folder.authority().certificate_pem()).unwrap();
    assert_eq!(list.len(), 2);
    for (identity, holds) in [(&first, false), (&second, false), (&other, true)] {
        assert_eq!(list.check(identity.as_peer()).is_ok(), holds);
    }
    // Whoever is issued a certificate from now on knows.
    let next = folder.issue(&node("a"), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap();
    assert_eq!(next.revocation_list(), &list);
    assert_eq!(list.check(next.as_peer()), Ok(()));
}

#[test]
fn nodes_take_the_list_of_an_authority_that_was_restored_from_a_copy() {
    let place = Place::new();
    let folder = place.authority();
    let [a, b] = ["a", "b"]
        .map(|name| folder.issue(&node(name), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap());
    let kept = [REGISTER, REVOKED].map(|name| (name, fs::read(folder.path.join(name)).unwrap()));
    let read = |text: &str| RevocationList::from_pem(text, folder.authority().certificate_pem()).unwrap();
    folder.revoke(&node("a"), now()).unwrap();
    let lost = read(&folder.revocation_list().unwrap());
    assert!(lost.check(a.as_peer()).is_err());
    // The clock that numbers lists counts milliseconds.
    while list_number(None, now()) <= lost.number().unwrap() {}
    kept.iter().for_each(|(name, text)| fs::write(folder.path.join(name), text).unwrap());
    folder.revoke(&node("b"), now()).unwrap();
    let restored = read(&folder.revocation_list().unwrap());
    assert!(lost.newest(&restored).check(b.as_peer()).is_err());
}

#[test]
fn a_list_is_numbered_above_the_former_one_when_the_clock_went_back() {
    let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
    assert_eq!(list_number(None, at(1000)), 1000);
    assert_eq!(list_number(Some(7), at(1000)), 1000);
    assert_eq!(list_number(Some(2000), at(1000)), 2001);
}

#[test]
fn a10_an_authority_is_looked_at_where_nothing_can_be_written() {
    let place = Place::new();
    let folder = place.authority();
    folder.issue(&node("a"), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap();
    folder.revoke(&node("a"), now()).unwrap();
    let list = folder.revocation_list().unwrap();
    // The lock cannot be opened for writing any more, as on a medium that is only read.
    let lock = place.path("ca").join(LOCK);
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let opened = AuthorityFolder::open(&place.path("ca")).unwrap();
    assert_eq!(opened.revocation_list().unwrap(), list);
    assert!(opened.issue(&node("b"), Role::Agent, lasting(DAY), OnExisting::Refuse).is_err());
}

#[test]
fn a_list_that_lags_behind_the_register_is_signed_anew() {
    let place = Place::new();
    let folder = place.authority();
    folder.issue(&node("a"), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap();
    let before = folder.revocation_list().unwrap();
    folder.revoke(&node("a"), now()).unwrap();
    let path = place.path("ca").join(REVOKED);
    fs::write(&path, before).unwrap();
    let read = || {
        let list = folder.revocation_list().unwrap();
        RevocationList::from_pem(&list, folder.authority().certificate_pem()).unwrap()
    };
    assert_eq!(read().len(), 1);
    fs::remove_file(&path).unwrap();
    assert_eq!(read().len(), 1);
}

#[test]
fn an_authority_never_takes_the_place_of_another() {
    let place = Place::new();
    let first = place.authority();
    let again = AuthorityFolder::init(&place.path("ca"), "orchard", lasting(DAY));
    assert!(matches!(again, Err(FolderError::AlreadyThere(_))), "{again:?}");
    let file = place.path("file");
    fs::write(&file, "").unwrap();
    assert!(AuthorityFolder::init(&file, "orchard", lasting(DAY)).is_err());
    let reopened = AuthorityFolder::open(&place.path("ca")).unwrap();
    assert_eq!(reopened.authority().fingerprint(), first.authority().fingerprint());
    let names: Vec<_> = fs::read_dir(&*place.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "something was left behind: {names:?}");
}

#[test]
fn an_identity_is_written_whole_and_replaced_on_demand_only() {
    let place = Place::new();
    let folder = place.authority();
    let list = folder.revocation_list().unwrap();
    let out = place.path("agent");
    let first = folder.issue(&node("a"), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap();
    write_identity(&out, &first, &list, OnExisting::Refuse).unwrap();
    let second = folder.renew(&node("a"), lasting(DAY)).unwrap();
    let refused = write_identity(&out, &second, &list, OnExisting::Refuse);
    assert!(matches!(refused, Err(FolderError::AlreadyThere(_))), "{refused:?}");
    assert_eq!(Identity::load_directory(&out).unwrap().as_peer(), first.as_peer());
    write_identity(&out, &second, &list, OnExisting::Replace).unwrap();
    assert_eq!(Identity::load_directory(&out).unwrap().as_peer(), second.as_peer());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 4, "temporary files are left");
}

#[test]
fn damaged_registers_are_refused_with_their_line() {
    let issued = "issued 0a a agent 2026-01-01T00:00:00Z 2027-01-01T00:00:00Z";
    let digest = "0".repeat(64);
    let token = format!("token {digest} a agent 2026-01-01T00:00:00Z");
    for (lines, line) in [
        (vec![], 1),
        (vec!["something else"], 1),
        (vec!["actix-swarm register 2"], 1),
        (vec!["actix-swarm register 1", "issued 0a a agent 2026-01-01T00:00:00Z"], 2),
        (vec!["actix-swarm register 1", issued, issued], 3),
        (vec!["actix-swarm register 1", "revoked 0a 2026-01-01T00:00:00Z"], 2),
        (vec!["actix-swarm register 1", issued, "revoked 0a yesterday"], 3),
        (vec!["actix-swarm register 1", issued, "revoked +a 2026-01-01T00:00:00Z"], 3),
        (vec!["actix-swarm register 1", issued, ""], 3),
        (vec!["actix-swarm register 1", "token 00 a agent 2026-01-01T00:00:00Z"], 2),
        (vec!["actix-swarm register 1", &token, &token], 3),
    ] {
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        assert_eq!(Register::parse(&text).unwrap_err().line, line, "{text}");
    }
    let spent = format!("actix-swarm register 1\n{token}\nspent {digest} 0a\n");
    assert_eq!(Register::parse(&spent).unwrap().tokens()[0].state, TokenState::Spent);
    assert_eq!(Register::parse(&format!("{spent}spent {digest} 0b\n")).unwrap_err().line, 4);
    assert_eq!(Register::parse(spent.trim_end()).unwrap_err().line, 3, "the last line is cut");
}

#[test]
fn what_was_tampered_with_is_refused() {
    let place = Place::new();
    let folder = place.authority();
    folder.issue(&node("a"), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap();
    let path = place.path("ca");
    let open = || AuthorityFolder::open(&path);

    let other = AuthorityFolder::init(&place.path("other"), "orchard", lasting(DAY)).unwrap();
    fs::write(path.join(REVOKED), other.revocation_list().unwrap()).unwrap();
    match open().unwrap().revocation_list() {
        Err(FolderError::Identity(error)) => {
            assert_eq!(error.part, IdentityPart::RevocationList);
            assert!(matches!(error.fault, IdentityFault::NotIssuedByAuthority), "{error}");
        }
        other => panic!("{other:?}"),
    }
    fs::write(path.join(CERTIFICATE), other.authority().certificate_pem()).unwrap();
    let error = open().unwrap_err();
    assert!(matches!(&error, FolderError::Identity(error) if error.part == IdentityPart::Key), "{error}");
    assert!(error.to_string().contains("authority.key.pem"), "{error}");
}

#[cfg(unix)]
#[test]
fn what_is_open_to_others_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    drop(place.authority());
    let path = place.path("ca");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let key = path.join(KEY);
    assert_eq!((mode(&path), mode(&key), mode(&path.join(REGISTER))), (0o700, 0o600, 0o600));
    for (file, usual, open) in [(&path, 0o700, 0o750), (&path, 0o700, 0o701), (&key, 0o600, 0o604)] {
        fs::set_permissions(file, fs::Permissions::from_mode(open)).unwrap();
        let refused = AuthorityFolder::open(&path);
        assert!(matches!(&refused, Err(FolderError::Exposed { mode, .. }) if *mode == open), "{refused:?}");
        fs::set_permissions(file, fs::Permissions::from_mode(usual)).unwrap();
    }
    AuthorityFolder::open(&path).unwrap();
}

#[test]
fn an_identity_folder_carries_the_revocation_list() {
    let place = Place::new();
    let folder = place.authority();
    let revoked = folder.issue(&node("a"), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap();
    folder.revoke(&node("a"), now()).unwrap();
    let identity = folder.issue(&node("b"), Role::Agent, lasting(DAY), OnExisting::Refuse).unwrap();
    let out = place.path("b");
    write_identity(&out, &identity, &folder.revocation_list().unwrap(), OnExisting::Refuse).unwrap();
    let paths = IdentityPaths::in_directory(&out);
    assert!(Identity::load(&paths).unwrap().revocation_list().check(revoked.as_peer()).is_err());

    let list = paths.revoked.clone().unwrap();
    let text = fs::read_to_string(&list).unwrap();
    for bad in ["", "hello", &text.replace("-----END", "----END"), &text.replacen('A', "B", 1)] {
        fs::write(&list, bad).unwrap();
        let error = Identity::load(&paths).unwrap_err();
        assert_eq!((error.part, error.file.as_deref()), (IdentityPart::RevocationList, Some(list.as_path())));
    }
    fs::remove_file(&list).unwrap();
    let error = Identity::load(&paths).unwrap_err();
    assert!(matches!(error.fault, IdentityFault::NoList) && error.file == paths.revoked, "{error}");
    assert!(Identity::load(&IdentityPaths { revoked: None, ..paths }).unwrap().revocation_list().is_empty());
}

#[test]
fn a_folder_without_an_authority_is_said_to_hold_none_whatever_its_mode() {
    let place = Place::new();
    let open = |name: &str| AuthorityFolder::open(&place.path(name)).err().unwrap().to_string();
    fs::create_dir(place.path("empty")).unwrap();
    assert!(
        open("empty").ends_with("empty holds no authority: `swarm ca init` makes one"),
        "{}",
        open("empty")
    );
    fs::create_dir(place.path("hub")).unwrap();
    fs::write(place.path("hub").join("node.pem"), "").unwrap();
    assert!(open("hub").contains("holds no authority, but the identity of a node"), "{}", open("hub"));
    assert!(
        open("absent").ends_with("absent holds no authority: `swarm ca init` makes one"),
        "{}",
        open("absent")
    );
    fs::write(place.path("file"), "").unwrap();
    assert!(open("file").ends_with("file: not a directory"), "{}", open("file"));
}
