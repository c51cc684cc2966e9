//! Rooms of a rendezvous and their members. Sans-IO: the caller passes the time, and no method waits.
//!
//! A room opens when its host enters and names its doors: public keys derived from the secrets of its invites. Any
//! peer that holds the key of a door may join. The room stays open for a while after its last member has left, so that
//! a host that lost its connection finds it unchanged.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use plenary_proto::{PeerId, RoomId};
use tracing::info;

use crate::limits::Limits;
use crate::mailbox::{Mail, MailSlot};
use plenary_proto::rendezvous::{Address, Doors, Refusal};

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
    /// Number of rooms that each address has opened.
    opened_by: HashMap<IpAddr, usize>,
    /// Counter of entries; it distinguishes a member from the earlier stay that it replaced.
    entries: u64,
}

#[derive(Debug, Default)]
struct Room {
    members: HashMap<PeerId, Member>,
    /// Members that proved possession of the root key, the latest last.
    hosts: Vec<PeerId>,
    empty_since: Option<Instant>,
    /// Doors by which peers may enter.
    doors: Doors,
    /// Address that opened the room; `None` for this process.
    opener: Option<IpAddr>,
}

/// How a peer comes in.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// The door by which the peer entered; `None` for a peer of this process, which is trusted.
    pub(crate) door: Option<PeerId>,
    /// All doors of the room, if the peer is its host.
    pub(crate) host: Option<Doors>,
    /// Address of the peer; `None` within this process.
    pub(crate) address: Option<IpAddr>,
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
        Rooms { limits, rooms: HashMap::new(), empty: BTreeSet::new(), opened_by: HashMap::new(), entries: 0 }
    }

    /// Returns whether a peer may enter by that door, before its proofs are checked: no signature is verified for a
    /// stranger.
    pub(crate) fn has_door(&self, room: &RoomId, door: &PeerId) -> bool {
        self.rooms.get(room).is_some_and(|room| room.doors.contains(door))
    }

    /// Lets a peer into a room; a host also opens it, and replaces its doors. An earlier stay of the same peer ends,
    /// and with it its mailbox.
    ///
    /// # Errors
    /// [`Refusal::UnknownRoom`], [`Refusal::RoomFull`] or [`Refusal::TooManyRooms`].
    pub(crate) fn enter(
        &mut self,
        room_id: RoomId,
        peer: PeerId,
        way: Way,
        slot: MailSlot,
        now: Instant,
    ) -> Result<Ticket, Refusal> {
        self.close_expired(now);
        let host = way.host.is_some();
        if !self.rooms.contains_key(&room_id) {
            if !host {
                return Err(Refusal::UnknownRoom);
            }
            self.open(room_id, way.address)?;
        }
        let room = self.rooms.get_mut(&room_id).ok_or(Refusal::UnknownRoom)?;
        match way.host {
            Some(doors) => room.doors = doors,
            None if way.door.is_some_and(|door| !room.doors.contains(&door)) => {
                return Err(Refusal::UnknownRoom);
            }
            None => {}
        }
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

    /// Replaces the doors of a room, by its host. Peers in the room stay.
    ///
    /// # Errors
    /// [`StayOver`] when the host's stay has ended, or the peer isn't the room's host.
    pub(crate) fn set_doors(&mut self, host: &Ticket, doors: Doors) -> Result<(), StayOver> {
        let room = self.rooms.get_mut(&host.room).ok_or(StayOver)?;
        let is_there = room.members.get(&host.peer).is_some_and(|member| member.entry == host.entry);
        if !is_there || !room.hosts.contains(&host.peer) {
            return Err(StayOver);
        }
        room.doors = doors;
        Ok(())
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
        self.opened_by.clear();
    }

    fn open(&mut self, id: RoomId, opener: Option<IpAddr>) -> Result<(), Refusal> {
        let of_opener = opener.and_then(|opener| self.opened_by.get(&opener)).copied().unwrap_or(0);
        if self.rooms.len() >= self.limits.rooms_max || of_opener >= self.limits.rooms_per_address_max {
            let is_its =
                |(_, id): &&(Instant, RoomId)| self.rooms.get(id).is_some_and(|room| room.opener == opener);
            let longest_empty = *self.empty.iter().find(is_its).ok_or(Refusal::TooManyRooms)?;
            self.empty.remove(&longest_empty);
            self.close(&longest_empty.1);
            info!(room = %longest_empty.1, "an empty room was closed to make way for another of its address");
        }
        self.rooms.insert(id, Room { opener, ..Room::default() });
        if let Some(opener) = opener {
            *self.opened_by.entry(opener).or_default() += 1;
        }
        info!(room = %id, rooms = self.rooms.len(), "a room was opened");
        Ok(())
    }

    fn close(&mut self, id: &RoomId) {
        let Some(opener) = self.rooms.remove(id).and_then(|room| room.opener) else { return };
        if let Some(count) = self.opened_by.get_mut(&opener) {
            *count -= 1;
            if *count == 0 {
                self.opened_by.remove(&opener);
            }
        }
    }

    fn close_expired(&mut self, now: Instant) {
        while let Some(&(since, id)) = self.empty.first() {
            if now.saturating_duration_since(since) < self.limits.room_grace {
                return;
            }
            self.empty.pop_first();
            self.close(&id);
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
    const DOOR: PeerId = PeerId([77; 32]);

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
            let doors = Doors::truncated([DOOR]);
            self.enter_by(room, peer, Way { door: Some(DOOR), host: host.then_some(doors), address: None })
        }

        fn enter_by(&mut self, room: u8, peer: u8, way: Way) -> Result<(Ticket, Mailbox), Refusal> {
            let (slot, mailbox) = mailbox(&self.limits, &Arc::new(Semaphore::new(1 << 20)));
            let ticket = self.rooms.enter(id(room), PeerId([peer; 32]), way, slot, self.now)?;
            Ok((ticket, mailbox))
        }

        /// Opens a room from an address.
        fn open(&mut self, room: u8, address: u8) -> Result<(Ticket, Mailbox), Refusal> {
            let address = Some(IpAddr::from([192, 0, 2, address]));
            let host = Some(Doors::truncated([DOOR]));
            self.enter_by(room, 1, Way { door: Some(DOOR), host, address })
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

    #[test]
    fn a_stranger_that_knows_the_room_s_id_and_no_door_of_it_stays_outside() {
        let mut world = World::new(10, 10);
        let (host, _hosts_box) = world.enter(1, 1, true).unwrap();
        let by = |door: u8| Way { door: Some(PeerId([door; 32])), host: None, address: None };
        assert_eq!(world.enter_by(1, 2, by(9)).err(), Some(Refusal::UnknownRoom));
        assert!(world.rooms.has_door(&id(1), &DOOR) && !world.rooms.has_door(&id(1), &PeerId([9; 32])));
        // the host adds a door for another generation of its invite, and later closes the first one
        world.rooms.set_doors(&host, Doors::truncated([DOOR, PeerId([9; 32])])).unwrap();
        let (guest, _guests_box) = world.enter_by(1, 2, by(9)).unwrap();
        assert_eq!(world.rooms.set_doors(&guest, Doors::default()), Err(StayOver), "a guest opens no doors");
        world.rooms.set_doors(&host, Doors::truncated([PeerId([9; 32])])).unwrap();
        assert_eq!(world.enter(1, 3, false).err(), Some(Refusal::UnknownRoom));
        assert_eq!(world.rooms.carry(&guest, Address::Host, "hello".into()), Ok(()), "who is in stays in");
    }

    #[test]
    fn whoever_opens_rooms_without_end_pushes_out_its_own_and_nobody_else_s() {
        let limits =
            Limits { rooms_max: 7, rooms_per_address_max: 3, room_grace: GRACE, ..Limits::default() };
        let limits = Arc::new(limits);
        let mut world = World { rooms: Rooms::new(limits.clone()), limits, now: Instant::now() };
        let leave_after_opening = |world: &mut World, room, address| {
            let opened = world.open(room, address);
            world.now += Duration::from_secs(1);
            opened.map(|(ticket, _)| world.leave(&ticket))
        };
        leave_after_opening(&mut world, 1, 1).unwrap();
        for room in 10..100 {
            leave_after_opening(&mut world, room, 2).unwrap();
        }
        assert_eq!(world.rooms.rooms.len(), 4, "three rooms of one address");
        let _members: Vec<_> = (100..103).map(|room| world.open(room, 3)).collect();
        assert_eq!(world.open(103, 3).err(), Some(Refusal::TooManyRooms), "its rooms aren't empty");
        assert_eq!(world.open(104, 4).err(), Some(Refusal::TooManyRooms), "others' empty rooms stay");
        assert!(world.rooms.rooms.contains_key(&id(1)), "the oldest empty room of all");
        world.now += GRACE * 2;
        assert!(world.open(104, 4).is_ok());
        assert_eq!(world.rooms.opened_by.values().sum::<usize>(), world.rooms.rooms.len());
    }
}
