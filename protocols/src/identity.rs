//! Who a node is: its id, its role, and the address of a mailbox on it.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest id or mailbox name, in bytes: that of a DNS label (RFC 1035, section 2.3.4).
pub const NAME_BYTES_MAX: usize = 63;

/// Why a text is no id of a node or name of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no valid name: {NAME_BYTES_MAX} or fewer lower-case letters, digits and inner hyphens are expected"
)]
pub struct InvalidName {
    /// The text as given.
    pub text: String,
}

/// Whether `text` can name a node, a mailbox, a protocol or a request: [`NAME_BYTES_MAX`] or fewer
/// lower-case letters, digits and inner hyphens.
pub const fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'a'..=b'z' | b'0'..=b'9' => {}
            b'-' if at > 0 && at + 1 < bytes.len() => {}
            _ => return false,
        }
        at += 1;
    }
    !bytes.is_empty() && bytes.len() <= NAME_BYTES_MAX
}

fn check_label(text: &str) -> Result<(), InvalidName> {
    if is_name(text) { Ok(()) } else { Err(InvalidName { text: text.chars().take(80).collect() }) }
}

macro_rules! label {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check_label(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                check_label(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

label! {
    /// The id of a node: one lower-case DNS label, the only dNSName in its certificate.
    NodeId
}
label! {
    /// The name under which a node exposes a mailbox.
    MailboxName
}

/// Who asks: the id and the role in the caller's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The node.
    pub node: NodeId,
    /// What it may be in the swarm.
    pub role: Role,
}

/// What a node may be in a swarm; its certificate says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Accepts tasks and gives parts of them to agents.
    Coordinator,
    /// Does the work.
    Agent,
    /// A person or a tool that submits tasks and looks on.
    Operator,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Coordinator, Role::Agent, Role::Operator];

    /// The word for it in certificates and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Coordinator => "coordinator",
            Role::Agent => "agent",
            Role::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: coordinator, agent or operator is expected")]
pub struct InvalidRole(pub String);

impl FromStr for Role {
    type Err = InvalidRole;
    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| InvalidRole(text.chars().take(80).collect()))
    }
}

/// Where a mailbox is: `node/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxAddress {
    /// The node that exposes it.
    pub node: NodeId,
    /// Its name there.
    pub name: MailboxName,
}

impl fmt::Display for MailboxAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.name)
    }
}

/// Why a text is no address of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// There is no slash in it.
    #[error("{0:?} is no mailbox address: node/name is expected")]
    NoSlash(String),
    /// One side of the slash is no name.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

impl FromStr for MailboxAddress {
    type Err = InvalidAddress;
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (node, name) =
            text.split_once('/').ok_or_else(|| InvalidAddress::NoSlash(text.chars().take(160).collect()))?;
        Ok(Self { node: node.parse()?, name: name.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "agent-1", "0", &"x".repeat(63)] {
            assert_eq!(good.parse::<NodeId>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "Agent", "a.b", "a/b", "ä", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn an_address_is_a_node_and_a_name() {
        let address: MailboxAddress = "agent-1/matcher".parse().unwrap();
        assert_eq!(address.to_string(), "agent-1/matcher");
        assert_eq!("matcher".parse::<MailboxAddress>(), Err(InvalidAddress::NoSlash("matcher".into())));
        assert!(matches!("agent-1/".parse::<MailboxAddress>(), Err(InvalidAddress::Name(_))));
        assert!(matches!("a/b/c".parse::<MailboxAddress>(), Err(InvalidAddress::Name(_))));
    }

    #[test]
    fn a_role_is_one_of_three_words() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(InvalidRole("root".into())));
    }
}
