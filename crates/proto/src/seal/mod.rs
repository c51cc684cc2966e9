//! Keys, signatures, invites and sealed envelopes: pure code, shared by the page and the library.
//!
//! Three layers, outermost first:
//!
//! - An envelope ([`Sealer`], [`Opener`]) hides a message from the peers that carry it: a rendezvous, or a
//!   relaying member. Its key comes from the [`Invite`].
//! - Inside the envelope, a [`Signed`] statement names the message's author, recipient and expiry.
//! - Statements that others forward (rosters, reports, ballots) are embedded in messages as [`Signed`] too.
//!
//! Bodies verify all signatures before the brain processes a message: the brain takes only [`Verified`] ones.

mod envelope;
mod invite;
mod keys;
mod room_keys;
mod signed;
mod verifier;

pub(crate) use envelope::key_hash;
pub use envelope::{ENVELOPE_LEN_MAX, NONCE_LEN, Opened, Opener, RoomKey, Sealer, counter_at};
pub(crate) use invite::HINT_LEN_MAX;
pub use invite::{DoorSeed, INVITE_HINTS_MAX, Invite, InviteError, InviteFlags, RoomSecret};
pub use keys::{Keypair, Signature, SignatureError, verify};
pub use room_keys::{Earlier, NoRoomKeys, RoomKeys};
pub use signed::{Countersigned, SealError, Signed, Statement, Verified};
pub use verifier::Verifier;
