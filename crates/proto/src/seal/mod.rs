//! Keys, signatures, invites and sealed envelopes: pure, so that the page seals as the library does.
//!
//! Three layers, outermost first. An envelope ([`Sealer`], [`Opener`]) hides a message from whoever carries it: a rendezvous, a
//! relaying member. Inside it a [`Signed`] statement says who wrote the message, for whom and until when.
//! Statements that others forward (rosters, reports, ballots) stand in messages as [`Signed`] too. The key of
//! the envelopes comes from the [`Invite`]. Bodies verify all signatures before the brain sees a message: what
//! it gets is [`Verified`].

mod envelope;
mod invite;
mod keys;
mod signed;
mod verifier;

pub use envelope::{ENVELOPE_LEN_MAX, Opened, Opener, RoomKey, Sealer};
pub use invite::{INVITE_HINTS_MAX, Invite, InviteError, InviteFlags, RoomSecret};
pub use keys::{Keypair, Signature, SignatureError, verify};
pub use signed::{Countersigned, SealError, Signed, Statement, Verified};
pub use verifier::Verifier;
