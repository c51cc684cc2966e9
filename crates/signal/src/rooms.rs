//! Rooms of a rendezvous and their members. Sans-IO: the caller passes the time, and no method waits.
//!
//! A room opens when its host enters. Any peer that knows its id may join. It stays open for a while after
//! its last member has left, so that a host that lost its connection finds the room unchanged.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use plenary_proto::{PeerId, RoomId};
use tracing::info;

use crate::limits::Limits;
use crate::mailbox::{Mail, MailSlot};
use crate::wire::{Address, Refusal};

/// Maximum number of members that receive an envelope for an absent host. A guess: the first members are on
/// stage.
const STAND_INS: usize = 3;

/// All rooms of a rendezvous.
#[derive(Debug)]
pub(crate) struct Rooms {
    limits: Arc<Limits>,
    rooms: HashMap<RoomId, Room>,
    /// Rooms without members, ordered by the time at which the last member left.
    empty: BTreeSet<(Instant, RoomId)>,
    /// Counter of entries; it distinguishes a member from the earlier stay that it replaced.
    entries: u64,
}

#[derive(Debug, Default)]
struct Room {
    members: HashMap<PeerId, Member>,
    /// Members that proved possession of the root key, the latest last.
    hosts: Vec<PeerId>,
    empty_since: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    slot: MailSlot,
    entry: u64,
}

/// One stay of a peer in a room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) room: RoomId,
    pub(crate) peer: PeerId,
    entry: u64,
}

/// The stay has ended: the peer left, entered again, or all rooms were closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StayOver;

impl Room {
    /// Returns the members that have been in the room for longest, without the asker. They receive envelopes
    /// for an absent host: the stage may have made another peer host, and they know which. Several are
    /// returned, so that a silent one does not block the request.
    fn longest_there(&self, asker: &Ticket) -> Vec<&Member> {
        let mut members: Vec<_> =
            self.members.iter().filter(|(peer, _)| **peer != asker.peer).map(|(_, member)| member).collect();
        members.sort_by_key(|member| member.entry);
        members.truncate(STAND_INS);
        members
    }
}

impl Rooms {
    pub(crate) fn new(limits: Arc<Limits>) -> Rooms {
        Rooms { limits, rooms: HashMap::new(), empty: BTreeSet::new(), entries: 0 }
    }

    /// Lets a peer into a room; a `host` also opens it. An earlier stay of the same peer ends, and with it
    /// its mailbox.
    ///
    /// # Errors
    /// [`Refusal::UnknownRoom`], [`Refusal::RoomFull`] or [`Refusal::TooManyRooms`].
    pub(crate) fn enter(
        &mut self,
        room_id: RoomId,
        peer: PeerId,
        host: bool,
        slot: MailSlot,
        now: Instant,
    ) -> Result<Ticket, Refusal> {
        self.close_expired(now);
        if !self.rooms.contains_key(&room_id) {
            if !host {
                return Err(Refusal::UnknownRoom);
            }
            self.open(room_id)?;
        }
        let room = self.rooms.get_mut(&room_id).ok_or(Refusal::UnknownRoom)?;
        let full = room.members.len() >= self.limits.members_max;
        if full && !host && !room.members.contains_key(&peer) {
            return Err(Refusal::RoomFull);
        }
        if let Some(since) = room.empty_since.take() {
            self.empty.remove(&(since, room_id));
        }
        room.hosts.retain(|other| *other != peer);
        if host {
            room.hosts.push(peer);
        }
        self.entries += 1;
        room.members.insert(peer, Member { slot, entry: self.entries });
        Ok(Ticket { room: room_id, peer, entry: self.entries })
    }

    /// Ends a stay. Has no effect on a stay that was replaced.
    pub(crate) fn leave(&mut self, ticket: &Ticket, now: Instant) {
        let Some(room) = self.rooms.get_mut(&ticket.room) else { return };
        if room.members.get(&ticket.peer).is_none_or(|member| member.entry != ticket.entry) {
            return;
        }
        room.members.remove(&ticket.peer);
        room.hosts.retain(|other| *other != ticket.peer);
        if room.members.is_empty() {
            room.empty_since = Some(now);
            self.empty.insert((now, ticket.room));
        }
        self.close_expired(now);
    }

    /// Puts an envelope into the mailbox of `to`. If that fails, the sender gets an `Undeliverable`; if the
    /// sender's own mailbox is full too, the failure is not reported.
    ///
    /// # Errors
    /// [`StayOver`] when the sender's stay has ended; the envelope is not delivered then.
    pub(crate) fn carry(&self, from: &Ticket, to: Address, bytes: Bytes) -> Result<(), StayOver> {
        let room = self.rooms.get(&from.room).ok_or(StayOver)?;
        let sender = room.members.get(&from.peer).filter(|member| member.entry == from.entry);
        let sender = sender.ok_or(StayOver)?;
        let recipients: Vec<_> = match to {
            Address::Host if room.hosts.is_empty() => room.longest_there(from),
            Address::Host => room.hosts.last().and_then(|host| room.members.get(host)).into_iter().collect(),
            Address::Peer(ref peer) => room.members.get(peer).into_iter().collect(),
        };
        let put = |recipient: &&Member| {
            let mail = Mail::Envelope { from: from.peer, bytes: bytes.clone() };
            recipient.slot.put(mail).is_ok()
        };
        if recipients.iter().filter(|recipient| put(recipient)).count() == 0 {
            let _ = sender.slot.put(Mail::Undeliverable { to });
        }
        Ok(())
    }

    /// Ends every stay and closes every room.
    pub(crate) fn clear(&mut self) {
        self.rooms.clear();
        self.empty.clear();
    }

    fn open(&mut self, id: RoomId) -> Result<(), Refusal> {
        if self.rooms.len() >= self.limits.rooms_max {
            let (_, longest_empty) = self.empty.pop_first().ok_or(Refusal::TooManyRooms)?;
            self.rooms.remove(&longest_empty);
            info!(room = %longest_empty, "an empty room was closed to make way");
        }
        self.rooms.insert(id, Room::default());
        info!(room = %id, rooms = self.rooms.len(), "a room was opened");
        Ok(())
    }

    fn close_expired(&mut self, now: Instant) {
        while let Some(&(since, id)) = self.empty.first() {
            if now.saturating_duration_since(since) < self.limits.room_grace {
                return;
            }
            self.empty.pop_first();
            self.rooms.remove(&id);
            info!(room = %id, rooms = self.rooms.len(), "a room was closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::mailbox::{Mailbox, mailbox};

    const GRACE: Duration = Duration::from_secs(600);

    struct World {
        rooms: Rooms,
        limits: Arc<Limits>,
        now: Instant,
    }

    impl World {
        fn new(rooms_max: usize, members_max: usize) -> World {
            let limits = Arc::new(Limits { rooms_max, members_max, room_grace: GRACE, ..Limits::default() });
            World { rooms: Rooms::new(limits.clone()), limits, now: Instant::now() }
        }

        fn enter(&mut self, room: u8, peer: u8, host: bool) -> Result<(Ticket, Mailbox), Refusal> {
            let (slot, mailbox) = mailbox(&self.limits, &Arc::new(Semaphore::new(1 << 20)));
            let ticket = self.rooms.enter(id(room), PeerId([peer; 32]), host, slot, self.now)?;
            Ok((ticket, mailbox))
        }

        fn leave(&mut self, ticket: &Ticket) {
            self.rooms.leave(ticket, self.now);
        }
    }

    fn id(room: u8) -> RoomId {
        RoomId([room; 16])
    }

    fn envelope(from: u8) -> Mail {
        Mail::Envelope { from: PeerId([from; 32]), bytes: "hello".into() }
    }

    #[test]
    fn a_room_outlives_its_last_member_by_the_grace_time() {
        let mut world = World::new(10, 10);
        assert_eq!(world.enter(1, 2, false).err(), Some(Refusal::UnknownRoom));
        let (host, _) = world.enter(1, 1, true).unwrap();
        world.leave(&host);
        world.now += GRACE - Duration::from_secs(1);
        let (guest, _) = world.enter(1, 2, false).unwrap();
        world.now += GRACE * 2;
        world.leave(&guest);
        world.now += GRACE;
        assert_eq!(world.enter(1, 2, false).err(), Some(Refusal::UnknownRoom));
        assert!(world.rooms.rooms.is_empty() && world.rooms.empty.is_empty());
    }

    #[test]
    fn at_the_bound_the_room_that_was_empty_longest_makes_way() {
        let mut world = World::new(2, 10);
        for room in [1, 2] {
            let (host, _) = world.enter(room, 1, true).unwrap();
            world.leave(&host);
            world.now += Duration::from_secs(1);
        }
        let _third = world.enter(3, 1, true).unwrap();
        assert_eq!(world.enter(1, 2, false).err(), Some(Refusal::UnknownRoom));
        let _second = world.enter(2, 2, false).unwrap();
        assert_eq!(world.enter(4, 1, true).err(), Some(Refusal::TooManyRooms));
        assert_eq!(world.rooms.rooms.len(), 2);
    }

    #[test]
    fn a_full_room_lets_its_host_and_who_is_in_already_come_in() {
        let mut world = World::new(10, 2);
        let _host = world.enter(1, 1, true).unwrap();
        let _guest = world.enter(1, 2, false).unwrap();
        assert_eq!(world.enter(1, 3, false).err(), Some(Refusal::RoomFull));
        assert!(world.enter(1, 2, false).is_ok());
        assert!(world.enter(1, 4, true).is_ok());
    }

    #[test]
    fn the_host_is_whoever_proved_it_last_and_is_still_there() {
        let mut world = World::new(10, 10);
        let (opener, _) = world.enter(1, 8, true).unwrap();
        world.leave(&opener);
        let (guest, mut guests_box) = world.enter(1, 9, false).unwrap();
        let to_host = |world: &World| world.rooms.carry(&guest, Address::Host, "hello".into()).unwrap();
        to_host(&world);
        assert_eq!(guests_box.try_next(), Some(Mail::Undeliverable { to: Address::Host }));
        let (_first, mut firsts_box) = world.enter(1, 1, true).unwrap();
        let (second, mut seconds_box) = world.enter(1, 2, true).unwrap();
        to_host(&world);
        assert_eq!((firsts_box.try_next(), seconds_box.try_next()), (None, Some(envelope(9))));
        world.leave(&second);
        to_host(&world);
        assert_eq!(firsts_box.try_next(), Some(envelope(9)));
        // returned as a plain member, it is the host no longer, but is one of the stand-ins for the host
        let (_first, mut firsts_box) = world.enter(1, 1, false).unwrap();
        let (_third, mut thirds_box) = world.enter(1, 3, false).unwrap();
        to_host(&world);
        assert_eq!((firsts_box.try_next(), thirds_box.try_next()), (Some(envelope(9)), Some(envelope(9))));
        assert_eq!(guests_box.try_next(), None);
    }

    #[test]
    fn what_is_for_a_host_that_is_gone_goes_to_those_who_have_been_there_for_longest() {
        let mut world = World::new(10, 10);
        let (host, _) = world.enter(1, 1, true).unwrap();
        let mut members: Vec<_> = (2..7).map(|peer| world.enter(1, peer, false).unwrap()).collect();
        world.leave(&host);
        let (asker, _) = members.remove(0);
        world.rooms.carry(&asker, Address::Host, "hello".into()).unwrap();
        let got: Vec<_> = members.iter_mut().map(|(_, mailbox)| mailbox.try_next()).collect();
        assert_eq!(got, [Some(envelope(2)), Some(envelope(2)), Some(envelope(2)), None]);
    }

    #[tokio::test]
    async fn who_comes_again_replaces_its_earlier_stay() {
        let mut world = World::new(10, 10);
        let (host, mut hosts_box) = world.enter(1, 1, true).unwrap();
        let (older, mut older_box) = world.enter(1, 2, false).unwrap();
        let (newer, mut newer_box) = world.enter(1, 2, false).unwrap();
        assert_eq!(older_box.next().await, None);
        world.leave(&older);
        assert_eq!(world.rooms.carry(&older, Address::Host, "ghost".into()), Err(StayOver));
        assert_eq!(world.rooms.carry(&newer, Address::Host, "hello".into()), Ok(()));
        assert_eq!(hosts_box.try_next(), Some(envelope(2)));
        world.rooms.carry(&host, Address::Peer(PeerId([2; 32])), "hello".into()).unwrap();
        assert_eq!(newer_box.try_next(), Some(envelope(1)));
    }

    #[test]
    fn mail_stays_in_its_room() {
        let mut world = World::new(10, 10);
        let (one, mut ones_box) = world.enter(1, 1, true).unwrap();
        let (_two, mut twos_box) = world.enter(2, 2, true).unwrap();
        let to = Address::Peer(PeerId([2; 32]));
        world.rooms.carry(&one, to, "hello".into()).unwrap();
        assert_eq!(ones_box.try_next(), Some(Mail::Undeliverable { to }));
        assert_eq!(twos_box.try_next(), None);
    }
}
