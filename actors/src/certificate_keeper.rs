//! [`CertificateKeeper`]: keeps the certificate and the revocation list of a node fresh.

use crate::{
    AskError, Mailbox, Node,
    certificate_authority::AUTHORITY_NAME,
    identity::{
        FolderError, Identity, IdentityPaths, IdentityPem, OnExisting, OutsideValidity, PeerIdentity,
        RevocationList, SigningRequest, create_file, rfc3339,
    },
};
use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};
use swarm_protocols::{
    ContentHash, NodeId,
    certificates::{
        CertificateAuthority, RenewCertificate, Renewal, RenewalRefusal, Renewed,
        RevocationList as ListWanted, Step, Term,
    },
};
use tokio::time::{Instant, sleep};

/// The pause between two looks at the revocation list, which are also looks at the clock.
const PAUSE: Duration = Duration::from_secs(30);

/// The same of a coordinator, which looks into a folder of its own.
const PAUSE_AT_HOME: Duration = Duration::from_secs(5);

/// How long the authority has to answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Who renews the certificate of a node.
#[derive(Debug, Clone)]
pub enum AuthoritySource {
    /// An authority in this process.
    Own(Mailbox<CertificateAuthority>),
    /// The first of these coordinators that has one and can be reached.
    Coordinators(Vec<NodeId>),
    /// Nobody, for this reason: it is renewed by hand.
    Nobody(String),
}

/// Keeps the certificate and the revocation list of a node fresh, on disk and in use: asks an authority for a renewed
/// certificate 30 days before the end (or in the last third of a validity shorter than 90 days), and for the
/// revocation list every 30 seconds.
///
/// Let it [`run`](Self::run) beside the node; or [`rest`](Self::rest) and [`act`](Self::act) in a loop of your own
/// where identities also come from elsewhere.
///
/// A renewed certificate is for the same key. So one file changes, which is replaced whole, and whatever happens
/// in between, the folder holds a pair that can be used. Who wants a new key renews by hand or enrols anew.
pub struct CertificateKeeper {
    node: Node,
    source: AuthoritySource,
    paths: IdentityPaths,
    identity: Identity,
    rule: Renewal,
    /// A renewed identity that the node does not show yet, mostly as it does not hold by the clock of this machine.
    /// Asked again, an authority whose clock is ahead would give one that begins later still.
    early: Option<Identity>,
    /// The revocation list that was got the last time, and is kept.
    known: Option<ContentHash>,
    /// What the node shows or believes and could not write so far: it is tried again at every look.
    unwritten: Unwritten,
    /// When to look at it again.
    look: Instant,
}

/// What a restart would do without.
#[derive(Debug, Clone, Copy, Default)]
struct Unwritten {
    certificate: bool,
    list: bool,
}

/// Why a renewal did not succeed.
struct Failure {
    reason: String,
    /// From when on the authority wants to be asked again.
    not_before: Option<SystemTime>,
}

impl Failure {
    fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), not_before: None }
    }
}

impl CertificateKeeper {
    /// For a node that shows this identity, which is in these files.
    pub fn new(node: Node, source: AuthoritySource, paths: IdentityPaths, identity: Identity) -> Self {
        let rule = Renewal::of(term(identity.as_peer()));
        let (early, known, unwritten, look) = (None, None, Unwritten::default(), Instant::now());
        Self { node, source, paths, identity, rule, early, known, unwritten, look }
    }

    /// The node was given another identity.
    pub fn replaced(&mut self, paths: IdentityPaths, identity: Identity) {
        *self = Self::new(self.node.clone(), self.source.clone(), paths, identity);
    }

    /// Does what is to be done, whenever it is, without an end.
    pub async fn run(mut self) -> std::convert::Infallible {
        loop {
            self.rest().await;
            self.act().await;
        }
    }

    /// Waits until there is something to do. Dropping the future loses nothing.
    pub async fn rest(&self) {
        let until_look = self.look.saturating_duration_since(Instant::now());
        let rest = match self.rule.step(SystemTime::now()) {
            Step::Renew => Duration::ZERO,
            Step::Wait(until) => until.duration_since(SystemTime::now()).unwrap_or_default(),
        };
        sleep(rest.min(until_look)).await;
    }

    /// Does what is to be done. The renewed identity, if there is one; the node shows it already.
    pub async fn act(&mut self) -> Option<Identity> {
        let mut renewed = None;
        if self.rule.step(SystemTime::now()) == Step::Renew {
            let until = rfc3339(self.identity.valid_until());
            match self.renew().await {
                Ok(()) => {
                    renewed = Some(self.identity.clone());
                    let until = rfc3339(self.identity.valid_until());
                    tracing::info!("the certificate was renewed, it holds until {until}");
                }
                Err(Failure { reason, not_before }) => {
                    self.rule.failed(SystemTime::now(), not_before);
                    tracing::warn!(reason, "the certificate, which holds until {until}, was not renewed");
                }
            }
        }
        if Instant::now() >= self.look {
            if self.unwritten.certificate && renewed.is_none() {
                self.write_certificate().await;
            }
            if let Err(reason) = self.look_at_list().await {
                tracing::debug!(reason, "the revocation list was not looked at");
            }
            self.look = Instant::now()
                + match self.source {
                    AuthoritySource::Own(_) => PAUSE_AT_HOME,
                    AuthoritySource::Coordinators(_) | AuthoritySource::Nobody(_) => PAUSE,
                };
        }
        renewed
    }

    /// An authority that can be asked now. The error says for each why it cannot.
    async fn authority(&self) -> Result<Mailbox<CertificateAuthority>, String> {
        let coordinators = match &self.source {
            AuthoritySource::Own(own) => return Ok(own.clone()),
            AuthoritySource::Nobody(reason) => return Err(reason.clone()),
            AuthoritySource::Coordinators(coordinators) => coordinators,
        };
        let mut reasons = Vec::new();
        for coordinator in coordinators {
            match self.node.resolve(&format!("{coordinator}/{AUTHORITY_NAME}")).await {
                Ok(authority) => return Ok(authority),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(reasons.join("; "))
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        let identity = match self.early.take() {
            Some(early) => early,
            None => self.ask(SystemTime::now()).await?,
        };
        if let Err(OutsideValidity::NotYet { from }) = identity.as_peer().check(SystemTime::now()) {
            self.early = Some(identity);
            let reason =
                format!("the clock here is behind: the renewed one is used from {} on", rfc3339(from));
            return Err(Failure { reason, not_before: Some(from) });
        }
        // There may be a newer list by now.
        let identity = identity.with_revocation_list(self.identity.revocation_list());
        if let Err(error) = self.node.set_identity(identity.clone()).await {
            self.early = Some(identity);
            return Err(Failure::new(error));
        }
        self.rule = Renewal::of(term(identity.as_peer()));
        self.identity = identity;
        // The node itself is better off with it than without, also where it cannot be written.
        self.write_certificate().await;
        Ok(())
    }

    /// Puts the certificate that the node shows into its file.
    async fn write_certificate(&mut self) {
        let (paths, shown) = (self.paths.clone(), self.identity.to_pem().clone());
        let is_again = std::mem::replace(&mut self.unwritten.certificate, false);
        match blocking(move || keep_certificate(&paths, &shown)).await {
            Ok(Kept::Written) if is_again => tracing::info!("the renewed certificate is written now"),
            Ok(Kept::Written) => {}
            Ok(Kept::OtherKey) => {
                let key = self.paths.key.display();
                tracing::error!(%key, "the renewed certificate is not written: there is another key by now, see SIGHUP");
            }
            Err(reason) => {
                self.unwritten.certificate = true;
                if !is_again {
                    tracing::error!(reason, "the renewed certificate is not written yet, it is tried again");
                }
            }
        }
    }

    /// Asks an authority for a renewed certificate.
    async fn ask(&self, now: SystemTime) -> Result<Identity, Failure> {
        let IdentityPem { certificate, key, .. } = self.identity.to_pem();
        let request = SigningRequest::with_key(self.identity.id(), key).map_err(Failure::new)?;
        let asked =
            RenewCertificate { certificate: certificate.clone(), request: request.to_pem().to_owned() };
        let authority = self.authority().await.map_err(Failure::new)?;
        let renewed = authority.ask(asked).timeout(ANSWER_MAX).await.map_err(|error| {
            let not_before = match &error {
                AskError::Handler(refusal) => not_before(refusal, now),
                AskError::Delivery(_) => None,
            };
            Failure { reason: error.to_string(), not_before }
        })?;
        examined(&self.identity, &renewed, now).map_err(Failure::new)
    }

    /// Takes the authority's list over if it is newer.
    async fn look_at_list(&mut self) -> Result<(), String> {
        let authority = self.authority().await?;
        let wanted = ListWanted { known: self.known };
        let list = authority.ask(wanted).timeout(ANSWER_MAX).await.map_err(|error| error.to_string())?;
        let Some(text) = list else { return Ok(()) };
        let hash = ContentHash::of(text.as_bytes());
        let trusted = self.identity.to_pem().authority.clone();
        let list = RevocationList::from_pem(&text, &trusted).map_err(|error| error.to_string())?;
        let newest = self.identity.revocation_list().clone().newest(&list);
        let is_newer = newest != *self.identity.revocation_list();
        if is_newer {
            // A disk that hangs delays no revocation.
            self.node.set_revocation_list(list.clone()).await.map_err(|error| error.to_string())?;
            self.identity = self.identity.clone().with_revocation_list(&list);
        }
        if (is_newer || self.unwritten.list)
            && let Some(path) = self.paths.revoked.clone()
        {
            let is_again = std::mem::replace(&mut self.unwritten.list, false);
            match blocking(move || keep_list(&path, &text, &trusted)).await {
                Ok(()) if is_again => tracing::info!("the revocation list is written now"),
                Ok(()) => {}
                Err(reason) => {
                    self.unwritten.list = true;
                    if !is_again {
                        tracing::error!(reason, "the revocation list is not written yet, it is tried again");
                    }
                }
            }
        }
        if is_newer {
            let revoked = self.identity.revocation_list().len();
            tracing::info!(revoked, "there is a newer revocation list");
        }
        // One that is not written is asked for again.
        self.known = (!self.unwritten.list).then_some(hash);
        Ok(())
    }
}

/// From when on an authority wants to be asked again. These are times of a peer: some lie beyond what can be counted.
fn not_before(refusal: &RenewalRefusal, now: SystemTime) -> Option<SystemTime> {
    match refusal {
        RenewalRefusal::NotDue { from } => SystemTime::UNIX_EPOCH.checked_add(*from),
        RenewalRefusal::Busy { retry_after } => now.checked_add(*retry_after),
        _ => None,
    }
}

fn term(own: &PeerIdentity) -> Term {
    // The last octets of a serial number are random, of the first some bits are not.
    let octets = own.serial.as_bytes().iter().rev().take(4);
    let jitter = octets.fold(0, |jitter, octet| jitter << 8 | u32::from(*octet));
    Term { valid_from: own.valid_from, valid_until: own.valid_until, jitter }
}

/// The identity with a renewed certificate, if that is what was asked for; it may not hold yet. What the node trusts
/// stays as it is: no coordinator may add an authority.
fn examined(held: &Identity, renewed: &Renewed, now: SystemTime) -> Result<Identity, String> {
    let pem = IdentityPem { certificate: renewed.certificate.clone(), ..held.to_pem().clone() };
    let list = RevocationList::from_pem(&renewed.revoked, &pem.authority);
    let identity = Identity::from_pem(pem).map_err(|error| format!("the answer cannot be used: {error}"))?;
    let list = list.map_err(|error| format!("the answer cannot be used: {error}"))?;
    let (id, role) = (identity.id(), identity.role());
    if (id, role) != (held.id(), held.role()) {
        return Err(format!("the answer is the certificate of the {role} {id}"));
    }
    if identity.valid_until() <= held.valid_until() {
        return Err("the answer holds no longer than the certificate that is there".to_owned());
    }
    if let Err(error @ OutsideValidity::Expired { .. }) = identity.as_peer().check(now) {
        return Err(format!("the answer cannot be used: {error}"));
    }
    let identity = identity.with_revocation_list(held.revocation_list()).with_revocation_list(&list);
    identity.revocation_list().check(identity.as_peer()).map_err(|error| error.to_string())?;
    Ok(identity)
}

/// What became of a renewed certificate.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Written,
    /// Somebody has put another identity there, which a restart or SIGHUP takes up.
    OtherKey,
}

/// Puts a renewed certificate in the place of the former one, unless the folder holds another key than the one that
/// it is for.
fn keep_certificate(paths: &IdentityPaths, renewed: &IdentityPem) -> Result<Kept, String> {
    let on_disk = IdentityPem::read(paths).map_err(|error| error.to_string())?;
    if on_disk.key.as_str() != renewed.key.as_str() {
        return Ok(Kept::OtherKey);
    }
    let written = create_file(&paths.certificate, &renewed.certificate, OnExisting::Replace);
    written.map(|()| Kept::Written).map_err(|error| error.to_string())
}

/// Adds a list to a file of lists.
fn keep_list(path: &Path, list: &str, trusted: &str) -> Result<(), String> {
    let held = match fs::read_to_string(path) {
        Ok(held) => held,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let newest = RevocationList::newest_pem(&held, list, trusted).map_err(|error| error.to_string())?;
    create_file(path, &newest, OnExisting::Replace).map_err(|error: FolderError| error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        NodeConfig,
        identity::{Authority, Validity, write_identity},
        temp_folder::TempFolder,
        testing::Probe,
    };
    use swarm_protocols::Role;

    const DAY: Duration = Duration::from_secs(86_400);

    fn lasting(days: u32) -> Validity {
        Validity::starting(SystemTime::now(), DAY * days).unwrap()
    }

    /// What an authority answers for the key of `held`.
    fn answer(authority: &Authority, held: &Identity, role: Role, days: u32, number: u64) -> Renewed {
        let request = SigningRequest::with_key(held.id(), &held.to_pem().key).unwrap();
        let certificate = authority.sign_request(&request, role, lasting(days)).unwrap().pem;
        let revoked = authority.revocation_list(number, [], SystemTime::now()).unwrap();
        Renewed { certificate, revoked }
    }

    #[test]
    fn an_authority_cannot_name_a_time_that_ends_the_node() {
        let now = SystemTime::now();
        assert_eq!(
            not_before(&RenewalRefusal::NotDue { from: DAY }, now),
            Some(SystemTime::UNIX_EPOCH + DAY)
        );
        for refusal in [
            RenewalRefusal::NotDue { from: Duration::MAX },
            RenewalRefusal::Busy { retry_after: Duration::MAX },
        ] {
            assert_eq!(not_before(&refusal, now), None);
        }
    }

    #[test]
    fn an_answer_is_taken_when_it_is_what_was_asked_for() {
        let authority = Authority::new("orchard", lasting(100)).unwrap();
        let stranger = Authority::new("orchard", lasting(100)).unwrap();
        let held = authority.issue(&"a".parse().unwrap(), Role::Agent, lasting(1)).unwrap();
        let other = authority.issue(&"a".parse().unwrap(), Role::Agent, lasting(1)).unwrap();
        let now = SystemTime::now();
        let good = answer(&authority, &held, Role::Agent, 9, 1);
        let identity = examined(&held, &good, now).unwrap();
        assert!(identity.valid_until() > held.valid_until());

        let foreign = answer(&stranger, &held, Role::Agent, 9, 1);
        let own_certificate = || good.certificate.clone();
        for (answer, part) in [
            (answer(&authority, &held, Role::Coordinator, 9, 1), "certificate of the coordinator a"),
            (Renewed { certificate: held.to_pem().certificate.clone(), ..good.clone() }, "no longer than"),
            (answer(&authority, &other, Role::Agent, 9, 1), "does not belong to the certificate"),
            (foreign.clone(), "did not issue it"),
            (Renewed { certificate: own_certificate(), ..foreign }, "did not issue it"),
            (Renewed { certificate: own_certificate(), revoked: "garbage".into() }, "revocation list"),
            (Renewed { certificate: "garbage".into(), ..good.clone() }, "node certificate"),
        ] {
            let refused = examined(&held, &answer, now).unwrap_err();
            assert!(refused.contains(part), "{refused}");
        }
        // The clock here may be behind that of the authority: it is good, and used when it holds.
        let behind = now - Duration::from_secs(600);
        assert!(identity.as_peer().check(behind).is_err());
        assert_eq!(examined(&held, &good, behind).unwrap().as_peer(), identity.as_peer());

        let serial = identity.as_peer().serial.clone();
        let revoked = authority.revocation_list(2, [(serial, now)], now).unwrap();
        assert!(examined(&held, &Renewed { revoked, ..good }, now).unwrap_err().contains("revoked"));
    }

    #[test]
    fn a_renewed_certificate_is_not_written_over_an_identity_that_came_meanwhile() {
        let place = TempFolder::new();
        let folder = place.join("identity");
        let authority = Authority::new("orchard", lasting(100)).unwrap();
        let list = authority.revocation_list(1, [], SystemTime::now()).unwrap();
        let issue = || authority.issue(&"a".parse().unwrap(), Role::Agent, lasting(1)).unwrap();
        let write = |identity| write_identity(&folder, identity, &list, OnExisting::Replace).unwrap();
        let paths = IdentityPaths::in_directory(&folder);
        let (held, other) = (issue(), issue());
        let certificate = answer(&authority, &held, Role::Agent, 9, 1).certificate;
        let renewed = IdentityPem { certificate, ..held.to_pem().clone() };
        let on_disk = || Identity::load(&paths).unwrap();

        write(&held);
        assert_eq!(keep_certificate(&paths, &renewed), Ok(Kept::Written));
        assert_eq!(on_disk().to_pem().certificate, renewed.certificate);
        write(&other);
        assert_eq!(keep_certificate(&paths, &renewed), Ok(Kept::OtherKey));
        assert_eq!(on_disk().as_peer(), other.as_peer());
    }

    #[actix::test]
    async fn a8_what_could_not_be_written_is_tried_again_until_it_is() {
        let place = TempFolder::new();
        let folder = place.join("identity");
        let (authority, now) = (Authority::new("orchard", lasting(100)).unwrap(), SystemTime::now());
        let ends_soon = Validity::new(now - DAY, now + DAY / 24).unwrap();
        let held = authority.issue(&"a".parse().unwrap(), Role::Agent, ends_soon).unwrap();
        let renewed = answer(&authority, &held, Role::Agent, 9, 1);
        let newer = authority.revocation_list(2, [], now).unwrap();

        let node = Node::start(NodeConfig::new(held.clone(), "127.0.0.1:0".parse().unwrap())).await.unwrap();
        let (mailbox, mut probe) = Probe::<CertificateAuthority>::new();
        let paths = IdentityPaths::in_directory(&folder);
        let source = AuthoritySource::Own(mailbox);
        let mut keeper = CertificateKeeper::new(node.clone(), source, paths.clone(), held.clone());
        // The folder is not there, as on a disk that is not mounted or is full.
        let asked = async {
            probe.expect::<RenewCertificate>().await.reply(Ok(renewed.clone()));
            probe.expect::<ListWanted>().await.reply(Ok(Some(newer.clone())));
        };
        let (shown, ()) = tokio::join!(keeper.act(), asked);
        assert_eq!(shown.unwrap().to_pem().certificate, renewed.certificate);

        let first = authority.revocation_list(1, [], now).unwrap();
        write_identity(&folder, &held, &first, OnExisting::Replace).unwrap();
        keeper.look = Instant::now();
        let asked = async {
            let wanted = probe.expect::<ListWanted>().await;
            assert_eq!(wanted.request().known, None, "it is given the list again");
            wanted.reply(Ok(Some(newer.clone())));
        };
        let (again, ()) = tokio::join!(keeper.act(), asked);
        assert!(again.is_none(), "no other certificate is asked for");
        assert_eq!(IdentityPem::read(&paths).unwrap().certificate, renewed.certificate);
        assert_eq!(fs::read_to_string(paths.revoked.unwrap()).unwrap(), newer);
        node.stop(Duration::ZERO).await;
    }

    #[actix::test]
    async fn a8_a_disk_that_hangs_delays_no_revocation_and_an_identity_that_is_not_taken_is_kept() {
        let folder = TempFolder::new();
        let paths = IdentityPaths::in_directory(&folder);
        let (authority, now) = (Authority::new("orchard", lasting(200)).unwrap(), SystemTime::now());
        let held = authority.issue(&"a".parse().unwrap(), Role::Agent, lasting(100)).unwrap();
        let other = authority.issue(&"b".parse().unwrap(), Role::Agent, lasting(1)).unwrap();
        let newer = authority.revocation_list(2, [(other.as_peer().serial.clone(), now)], now).unwrap();
        let node = Node::start(NodeConfig::new(held.clone(), "127.0.0.1:0".parse().unwrap())).await.unwrap();
        let (mailbox, mut probe) = Probe::<CertificateAuthority>::new();
        let source = AuthoritySource::Own(mailbox);
        let mut keeper = CertificateKeeper::new(node.clone(), source, paths.clone(), held.clone());

        // Who reads the file waits until it is written.
        let list = paths.revoked.unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&list).status().unwrap().success());
        let being_read = blocking(move || Ok(fs::File::options().write(true).open(&list).unwrap()));
        let asked = async { probe.expect::<ListWanted>().await.reply(Ok(Some(newer.clone()))) };
        let written = tokio::select! {
            _ = async { tokio::join!(keeper.act(), asked) } => panic!("the disk does not hang"),
            written = being_read => written.unwrap(),
        };
        assert_eq!(keeper.identity.revocation_list().len(), 1);
        drop(written);

        node.stop(Duration::ZERO).await;
        keeper.early = Some(examined(&held, &answer(&authority, &held, Role::Agent, 101, 3), now).unwrap());
        assert!(keeper.renew().await.is_err());
        assert!(keeper.early.is_some());
    }

    #[test]
    fn renewals_of_two_nodes_are_not_at_the_same_time() {
        let authority = Authority::new("orchard", lasting(100)).unwrap();
        let jitter = || {
            let node = authority.issue(&"a".parse().unwrap(), Role::Agent, lasting(1)).unwrap();
            term(node.as_peer()).jitter
        };
        assert_ne!(jitter(), jitter());
    }
}
