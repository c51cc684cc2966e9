//! A room that a page opens: its keys, its invite, its configuration.

use bytes::Bytes;
use plenary_proto::HostConfig;
use plenary_proto::app::{Reason, Why};
use plenary_proto::bounded::{Text, plain};
use plenary_proto::message::{MixPolicy, Roster, TITLE_LEN_MAX};
use plenary_proto::rendezvous::{Doors, HostEntrance};
use plenary_proto::seal::{Invite, Keypair, RoomKey, RoomKeys, RoomSecret};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng as _;

use crate::wire::Hosting;

/// Lifetime of an invite, in seconds: a day, as natives give theirs.
const INVITE_LIFE_S: u64 = 24 * 3600;

/// What a page keeps of a room that it has opened.
pub(crate) struct Hosted {
    keys: RoomKeys,
    /// Keys as told last.
    told: Vec<u8>,
}

impl Hosted {
    /// Makes the room, with the page's own key as that of its host, its invite and the invite's key.
    ///
    /// # Errors
    /// If the keys are none, or the rendezvous or the page can't stand in an invite.
    pub(crate) fn new(
        hosting: &Hosting,
        me: Keypair,
        password: Option<&str>,
        now_us: u64,
        rng: &mut ChaCha20Rng,
    ) -> Result<(Hosted, Invite, RoomKey), Why> {
        let mut keys = match &hosting.keys[..] {
            [] => RoomKeys::new(Keypair::from_seed(&random(rng)), me, RoomSecret(random(rng))),
            bytes => RoomKeys::from_bytes(bytes).map_err(|_| Reason::BadKeys)?,
        };
        if !hosting.rendezvous.starts_with("http") {
            return Err(Reason::BadRendezvous.into());
        }
        let rendezvous = hosting.rendezvous.trim_end_matches('/');
        let (place, hint) = Invite::places(rendezvous, hosting.page.as_deref())?;
        let expires_unix_s = now_us / 1_000_000 + INVITE_LIFE_S;
        let places = (Some(place), hint);
        let (invite, key) = keys.open(password, hosting.stage_open, places, expires_unix_s)?;
        Ok((Hosted { keys, told: Vec::new() }, invite, key))
    }

    /// Returns the key pair of the host.
    pub(crate) fn host(&self) -> Keypair {
        self.keys.host.clone()
    }

    /// Returns what proves to the rendezvous that this page is the host. One that opens its room again asks its members
    /// first.
    pub(crate) fn entrance(&self, key: &RoomKey) -> HostEntrance {
        let (root, doors) = (self.keys.root.clone(), Doors::truncated([key.door().id()]));
        HostEntrance { root, doors, claims: self.keys.reign == 0 }
    }

    pub(crate) fn config(&self, hosting: &Hosting) -> HostConfig {
        let title: String = plain(&hosting.title).chars().take(TITLE_LEN_MAX / 4).collect();
        HostConfig {
            stage_open: hosting.stage_open,
            mixing: hosting.mix_by_named.map(mix_policy),
            lobby: hosting.lobby,
            title: Text::truncated(&title),
            invite_expires_us: Some(INVITE_LIFE_S * 1_000_000),
            ..HostConfig::new(&self.keys)
        }
    }

    /// Notes the room's newest invite, and its key.
    pub(crate) fn follow(&mut self, invite: &Invite, key: &RoomKey) {
        self.keys.follow(invite, key);
    }

    /// Returns the keys to keep, if they have changed. `roster`: the newest roster with its epoch.
    pub(crate) fn changed(&mut self, roster: Option<(u32, &Roster)>) -> Option<Bytes> {
        let keys = self.keys.clone();
        let keys = match roster {
            Some((epoch, roster)) => keys.after(epoch, &roster.rules.access),
            None => keys,
        };
        let bytes = keys.to_bytes();
        if *bytes == self.told {
            return None;
        }
        self.told = bytes.to_vec();
        Some(Bytes::from(self.told.clone()))
    }
}

/// Returns which of the peers that consent may mix.
pub(crate) fn mix_policy(by_named: bool) -> MixPolicy {
    if by_named { MixPolicy::Named } else { MixPolicy::Anyone }
}

pub(crate) fn random<const LEN: usize>(rng: &mut ChaCha20Rng) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    rng.fill_bytes(&mut bytes);
    bytes
}
