//! The guide: what the words mean, how to write an actor, how to deploy it, and what is defended.
//!
//! 1. [`concepts`]: protocol, mailbox, node, session, delivery errors.
//! 2. [`writing_an_actor`]: from a request to an actor on another machine.
//! 3. [`own_task_kind`]: work that a coordinator spreads over agents of one's own.
//! 4. [`embedding`]: a node in a program of actix or of tokio alone, kept connected, certified and drained.
//! 5. [`testing`](crate::testing): mocks, bad networks, virtual time.
//! 6. [`deploying`]: an authority, certificates, nodes as processes, what to watch.
//! 7. [`versions`]: how a request changes while nodes of two builds are running.
//! 8. [`time_series`]: the commands and kernels for time series, measured.
//! 9. [`messages`]: what an ask costs beside raw QUIC, and where.
//! 10. [`security`]: what is defended and what is not.

// The pages link one another by file name, for those who read them in the repository. Of two definitions of a link the
// first holds: the one here, for those who read them as documentation.

/// [versions]: crate::guide::versions
/// [own task kind]: crate::guide::own_task_kind
#[doc = include_str!("guide/concepts.md")]
pub mod concepts {}

#[doc = include_str!("guide/writing_an_actor.md")]
pub mod writing_an_actor {}

/// [concepts]: crate::guide::concepts
#[doc = include_str!("guide/own_task_kind.md")]
pub mod own_task_kind {}

#[doc = include_str!("guide/embedding.md")]
pub mod embedding {}

/// [embedding]: crate::guide::embedding
/// [security model]: crate::guide::security
#[doc = include_str!("guide/deploying.md")]
pub mod deploying {}

#[doc = include_str!("guide/versions.md")]
pub mod versions {}

#[doc = include_str!("guide/time_series.md")]
pub mod time_series {}

#[doc = include_str!("guide/messages.md")]
pub mod messages {}

#[doc = include_str!("../SECURITY.md")]
pub mod security {}
