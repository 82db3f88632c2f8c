//! The register of an authority: everything that it has issued, revoked and promised.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use swarm_protocols::{NodeId, Role, certificates::renewal_due};

use crate::identity::{
    CLOCK_SKEW, PeerIdentity, Serial,
    validity::{parse_rfc3339, rfc3339},
};

/// The first line of the file.
const HEADER: &str = "actix-swarm register 1";

/// What an authority knows about its certificates and tokens.
///
/// As a file it is text, one record a line, words between single spaces, times in UTC. Records are added and
/// never changed or removed:
/// ```text
/// actix-swarm register 1
/// issued SERIAL NAME ROLE VALID-FROM VALID-UNTIL
/// revoked SERIAL AT
/// token SHA256-OF-THE-TOKEN NAME ROLE EXPIRES
/// spent SHA256-OF-THE-TOKEN SERIAL SHA256-OF-THE-KEY
/// withdrawn SHA256-OF-THE-TOKEN AT
/// ```
/// The digest of the key may be missing.
#[derive(Debug, Clone, Default)]
pub struct Register {
    text: String,
    certificates: Vec<Certificate>,
    by_serial: BTreeMap<Serial, usize>,
    tokens: Vec<Token>,
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its serial number.
    pub serial: Serial,
    /// The node that it is for.
    pub id: NodeId,
    /// The role in it.
    pub role: Role,
    /// Its first second.
    pub valid_from: SystemTime,
    /// Its last second.
    pub valid_until: SystemTime,
    /// When it was revoked.
    pub revoked_at: Option<SystemTime>,
}

/// Whether a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Valid,
    /// It does, and it is time to renew it.
    Expiring,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Standing {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Certificate {
    /// From when on it should be renewed: 30 days before its end, or in the last third of a shorter life.
    pub fn renewal_due(&self) -> SystemTime {
        renewal_due(self.valid_from, self.valid_until)
    }

    /// Whether it holds at a time.
    pub fn standing(&self, now: SystemTime) -> Standing {
        if self.revoked_at.is_some() {
            Standing::Revoked
        } else if now >= self.valid_until + Duration::from_secs(1) {
            Standing::Expired
        } else if now >= self.renewal_due() {
            Standing::Expiring
        } else {
            Standing::Valid
        }
    }

    pub(super) fn holds(&self, now: SystemTime) -> bool {
        matches!(self.standing(now), Standing::Valid | Standing::Expiring)
    }
}

/// A join token that was made, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub(super) digest: String,
    /// The node that it is for.
    pub id: NodeId,
    /// The role that it gives.
    pub role: Role,
    /// When it is good no longer.
    pub expires: SystemTime,
    /// What became of it.
    pub state: TokenState,
    /// The certificate that was issued for it, and the digest of its key.
    pub(super) certified: Option<(Serial, String)>,
}

/// What became of a join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// It may be used until it expires.
    Open,
    /// A certificate was issued for it.
    Spent,
    /// It was taken back, because its node was revoked.
    Withdrawn,
}

/// A line of a register that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct InvalidRegister {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: &'static str,
}

impl Register {
    pub(super) fn new() -> Self {
        Self { text: format!("{HEADER}\n"), ..Self::default() }
    }

    /// The file of it.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn parse(text: &str) -> Result<Self, InvalidRegister> {
        let mut register = Self { text: text.to_owned(), ..Self::default() };
        if !text.ends_with('\n') {
            let line = text.lines().count().max(1);
            return Err(InvalidRegister { line, fault: "the end of the line is missing" });
        }
        for (index, line) in text.lines().enumerate() {
            let taken = match index {
                0 if line == HEADER => Ok(()),
                0 => Err("this is no register, or one of a newer version"),
                _ => register.take(line),
            };
            taken.map_err(|fault| InvalidRegister { line: index + 1, fault })?;
        }
        Ok(register)
    }

    /// Every certificate, in the order of issue.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Every join token, in the order in which they were made.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Whether the node of a certificate has one that holds longer.
    pub fn is_renewed(&self, certificate: &Certificate) -> bool {
        let newer = |one: &Certificate| {
            one.id == certificate.id && one.revoked_at.is_none() && one.valid_until > certificate.valid_until
        };
        self.certificates.iter().any(newer)
    }

    pub(super) fn revoked(&self) -> impl Iterator<Item = (Serial, SystemTime)> {
        self.certificates.iter().filter_map(|one| Some((one.serial.clone(), one.revoked_at?)))
    }

    pub(super) fn by_serial(&self, serial: &Serial) -> Option<&Certificate> {
        self.by_serial.get(serial).map(|index| &self.certificates[*index])
    }

    /// How many certificates of a node were issued since then.
    pub(super) fn issued_since(&self, id: &NodeId, since: SystemTime) -> usize {
        let of_node = self.certificates.iter().rev().filter(|one| one.id == *id);
        of_node.filter(|one| one.valid_from + CLOCK_SKEW >= since).count()
    }

    pub(super) fn knows(&self, id: &NodeId) -> bool {
        self.certificates.iter().any(|one| one.id == *id) || self.tokens.iter().any(|one| one.id == *id)
    }

    /// The certificate of a node that holds the longest.
    pub(super) fn holding(&self, id: &NodeId, now: SystemTime) -> Option<&Certificate> {
        let of_node = self.certificates.iter().filter(|one| one.id == *id && one.holds(now));
        of_node.max_by_key(|one| one.valid_until)
    }

    pub(super) fn issued(&mut self, peer: &PeerIdentity) {
        let PeerIdentity { id, role, serial, valid_from, valid_until, .. } = peer;
        self.add(format_args!(
            "issued {serial} {id} {role} {} {}",
            rfc3339(*valid_from),
            rfc3339(*valid_until)
        ));
    }

    pub(super) fn revoke(&mut self, serial: &Serial, at: SystemTime) {
        self.add(format_args!("revoked {serial} {}", rfc3339(at)));
    }

    pub(super) fn promise(&mut self, digest: &str, id: &NodeId, role: Role, expires: SystemTime) {
        self.add(format_args!("token {digest} {id} {role} {}", rfc3339(expires)));
    }

    pub(super) fn spend(&mut self, digest: &str, serial: &Serial, key_digest: &str) {
        self.add(format_args!("spent {digest} {serial} {key_digest}"));
    }

    pub(super) fn withdraw(&mut self, digest: &str, at: SystemTime) {
        self.add(format_args!("withdrawn {digest} {}", rfc3339(at)));
    }

    fn add(&mut self, record: std::fmt::Arguments<'_>) {
        let begin = self.text.len();
        writeln!(self.text, "{record}").expect("a text grows without end");
        let line = self.text[begin..].trim_end().to_owned();
        self.take(&line).expect("what is written here can be read here");
    }

    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["issued", serial, id, role, from, until] => {
                let serial: Serial = serial.parse().map_err(|_| SERIAL)?;
                if self.by_serial.contains_key(&serial) {
                    return Err("this serial number was issued before");
                }
                self.certificates.push(Certificate {
                    serial: serial.clone(),
                    id: id.parse().map_err(|_| NAME)?,
                    role: role.parse().map_err(|_| ROLE)?,
                    valid_from: parse_rfc3339(from).ok_or(TIME)?,
                    valid_until: parse_rfc3339(until).ok_or(TIME)?,
                    revoked_at: None,
                });
                self.by_serial.insert(serial, self.certificates.len() - 1);
            }
            ["revoked", serial, at] => {
                let at = parse_rfc3339(at).ok_or(TIME)?;
                let serial: Serial = serial.parse().map_err(|_| SERIAL)?;
                let index = self.by_serial.get(&serial).ok_or("this serial number was never issued")?;
                self.certificates[*index].revoked_at.get_or_insert(at);
            }
            ["token", digest, id, role, expires] => {
                if !is_digest(digest) || self.tokens.iter().any(|one| one.digest == *digest) {
                    return Err("this is no digest of a new token");
                }
                self.tokens.push(Token {
                    digest: (*digest).to_owned(),
                    id: id.parse().map_err(|_| NAME)?,
                    role: role.parse().map_err(|_| ROLE)?,
                    expires: parse_rfc3339(expires).ok_or(TIME)?,
                    state: TokenState::Open,
                    certified: None,
                });
            }
            ["spent", digest, serial, key_digest @ ..] if key_digest.len() <= 1 => {
                let serial: Serial = serial.parse().map_err(|_| SERIAL)?;
                let key_digest = key_digest.first().copied();
                if key_digest.is_some_and(|key_digest| !is_digest(key_digest)) {
                    return Err("this is no digest of a key");
                }
                self.settle(digest, TokenState::Spent)?.certified =
                    key_digest.map(|key_digest| (serial, key_digest.to_owned()));
            }
            ["withdrawn", digest, at] => {
                let _: SystemTime = parse_rfc3339(at).ok_or(TIME)?;
                let _: &mut Token = self.settle(digest, TokenState::Withdrawn)?;
            }
            _ => return Err("this is no record"),
        }
        Ok(())
    }

    fn settle(&mut self, digest: &str, state: TokenState) -> Result<&mut Token, &'static str> {
        let token = self.tokens.iter_mut().find(|one| one.digest == digest);
        let token =
            token.filter(|token| token.state == TokenState::Open).ok_or("there is no such open token")?;
        token.state = state;
        Ok(token)
    }
}

/// Whether a word is a SHA-256 digest in hexadecimal digits.
fn is_digest(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|digit| digit.is_ascii_hexdigit())
}

const SERIAL: &str = "a serial number cannot be read";
const NAME: &str = "a name cannot be read";
const ROLE: &str = "a role cannot be read";
const TIME: &str = "a time cannot be read";
