//! Rooms of a rendezvous and their members. Sans-IO: the caller passes the time, and no method waits.
//!
//! A room opens when its host enters and names its doors: public keys derived from the secrets of its invites. Any
//! peer that holds the key of a door may join. The room stays open for a while after its last member has left, so that
//! a host that lost its connection finds it unchanged.
//!
//! At a limit only a room without members makes way for a new one. Where an address or a network has reached its own
//! limit, it is their oldest such room; where the whole table is full, the oldest of the network with most of them.

mod vacant;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use plenary_proto::{PeerId, RoomId};
use tracing::info;

use crate::limits::Limits;
use crate::mailbox::{Mail, MailSlot, NotTaken};
use crate::owner::network;
use plenary_proto::rendezvous::{Address, Doors, Refusal};
use vacant::{Opener, Since, Vacant};

/// Maximum number of members that receive an envelope for an absent host. A guess: the first members are on
/// stage.
const STAND_INS: usize = 3;

/// All rooms of a rendezvous.
#[derive(Debug)]
pub(crate) struct Rooms {
    limits: Arc<Limits>,
    rooms: HashMap<RoomId, Room>,
    /// Rooms without members.
    vacant: Vacant,
    /// Number of rooms that each address, and each network, has opened.
    opened_by: HashMap<IpAddr, usize>,
    opened_in: HashMap<IpAddr, usize>,
    /// Counter of entries; it distinguishes a member from the earlier stay that it replaced.
    entries: u64,
}

#[derive(Debug, Default)]
struct Room {
    members: HashMap<PeerId, Member>,
    /// Members that proved possession of the root key, the latest last.
    hosts: Vec<PeerId>,
    /// Whether a peer other than a host has ever come in.
    was_joined: bool,
    vacant_since: Option<Since>,
    /// Doors by which peers may enter.
    doors: Doors,
    opener: Opener,
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
    /// Whether the room was opened by a peer of another process.
    pub(crate) is_of_others: bool,
    entry: u64,
}

/// The stay has ended: the peer left, entered again, or all rooms were closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StayOver;

/// What came of a batch of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tunneled {
    /// Whether the batch waits for its recipient.
    pub(crate) is_queued: bool,
    /// Number of bytes that were dropped: the batch's, or others' in its place.
    pub(crate) dropped_len: usize,
}

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
        Rooms {
            limits,
            rooms: HashMap::new(),
            vacant: Vacant::default(),
            opened_by: HashMap::new(),
            opened_in: HashMap::new(),
            entries: 0,
        }
    }

    /// Returns whether a peer may enter by that door, before its proofs are checked: no signature is verified for a
    /// stranger.
    pub(crate) fn has_door(&self, room: &RoomId, door: &PeerId) -> bool {
        self.rooms.get(room).is_some_and(|room| room.doors.contains(door))
    }

    /// Lets a peer into a room; a host also opens it, and replaces its doors. An earlier stay of the same peer ends,
    /// and with it its mailbox; but not that of a host by a connection that doesn't prove the root key: a second
    /// process with the keys of the room learns so that there is a first one.
    ///
    /// # Errors
    /// [`Refusal::UnknownRoom`], [`Refusal::RoomFull`], [`Refusal::TooManyRooms`] or [`Refusal::HostPresent`].
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
        if !host && room.hosts.contains(&peer) {
            return Err(Refusal::HostPresent);
        }
        let full = room.members.len() >= self.limits.members_max;
        if full && !host && !room.members.contains_key(&peer) {
            return Err(Refusal::RoomFull);
        }
        if let Some(since) = room.vacant_since.take() {
            self.vacant.remove(room_id, room.opener, since);
        }
        room.was_joined |= !host;
        room.hosts.retain(|other| *other != peer);
        if host {
            room.hosts.push(peer);
        }
        self.entries += 1;
        room.members.insert(peer, Member { slot, entry: self.entries });
        Ok(Ticket { room: room_id, peer, is_of_others: room.opener.is_some(), entry: self.entries })
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
            let grace =
                if room.was_joined { self.limits.room_grace } else { self.limits.unjoined_room_grace };
            let since = Since { left: now, closes: now + grace };
            room.vacant_since = Some(since);
            self.vacant.insert(ticket.room, room.opener, since);
        }
        self.close_expired(now);
    }

    /// Makes a member that has proved the root key the room's host, and replaces the doors of the room. Peers in the
    /// room stay.
    ///
    /// # Errors
    /// [`StayOver`] when the member's stay has ended.
    pub(crate) fn claim(&mut self, host: &Ticket, doors: Doors) -> Result<(), StayOver> {
        let room = self.rooms.get_mut(&host.room).ok_or(StayOver)?;
        let is_there = room.members.get(&host.peer).is_some_and(|member| member.entry == host.entry);
        if is_there && !room.hosts.contains(&host.peer) {
            room.hosts.push(host.peer);
        }
        self.set_doors(host, doors)
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
            Address::Host => match room.hosts.iter().rev().find(|host| **host != from.peer) {
                Some(host) => room.members.get(host).into_iter().collect(),
                None => room.longest_there(from),
            },
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

    /// Queues a batch of datagrams for `to`, a member that takes such.
    ///
    /// # Errors
    /// [`StayOver`] when the sender's stay has ended.
    pub(crate) fn tunnel(&self, from: &Ticket, to: PeerId, batch: Bytes) -> Result<Tunneled, StayOver> {
        let room = self.rooms.get(&from.room).ok_or(StayOver)?;
        room.members.get(&from.peer).filter(|member| member.entry == from.entry).ok_or(StayOver)?;
        let len = batch.len();
        let put = room.members.get(&to).ok_or(NotTaken).and_then(|to| to.slot.put_tunnel(from.peer, batch));
        Ok(match put {
            Ok(dropped_len) => Tunneled { is_queued: true, dropped_len },
            Err(NotTaken) => Tunneled { is_queued: false, dropped_len: len },
        })
    }

    /// Returns the number of rooms, and of their members.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.rooms.len(), self.rooms.values().map(|room| room.members.len()).sum())
    }

    /// Ends every stay and closes every room.
    pub(crate) fn clear(&mut self) {
        self.rooms.clear();
        self.vacant = Vacant::default();
        self.opened_by.clear();
        self.opened_in.clear();
    }

    fn open(&mut self, id: RoomId, opener: Opener) -> Result<(), Refusal> {
        let count = |of: &HashMap<IpAddr, usize>, ip: Option<IpAddr>| {
            ip.and_then(|ip| of.get(&ip)).copied().unwrap_or(0)
        };
        let Limits { rooms_max, rooms_per_address_max, rooms_per_network_max, .. } = *self.limits;
        let way = if count(&self.opened_by, opener) >= rooms_per_address_max {
            Some(self.vacant.oldest_of(opener))
        } else if count(&self.opened_in, opener.map(network)) >= rooms_per_network_max {
            Some(self.vacant.oldest_in(opener.map(network)))
        } else if self.rooms.len() >= rooms_max {
            Some(self.vacant.oldest_of_fullest())
        } else {
            None
        };
        if let Some(closes) = way {
            let closes = closes.ok_or(Refusal::TooManyRooms)?;
            self.close(&closes);
            info!(room = %closes, "a room without members was closed to make way for another");
        }
        self.rooms.insert(id, Room { opener, ..Room::default() });
        if let Some(opener) = opener {
            *self.opened_by.entry(opener).or_default() += 1;
            *self.opened_in.entry(network(opener)).or_default() += 1;
        }
        info!(room = %id, rooms = self.rooms.len(), "a room was opened");
        Ok(())
    }

    fn close(&mut self, id: &RoomId) {
        let Some(room) = self.rooms.remove(id) else { return };
        if let Some(since) = room.vacant_since {
            self.vacant.remove(*id, room.opener, since);
        }
        if let Some(opener) = room.opener {
            count_down(&mut self.opened_by, opener);
            count_down(&mut self.opened_in, network(opener));
        }
    }

    fn close_expired(&mut self, now: Instant) {
        while let Some(id) = self.vacant.expired(now) {
            self.close(&id);
            info!(room = %id, rooms = self.rooms.len(), "a room was closed");
        }
    }
}

fn count_down(counts: &mut HashMap<IpAddr, usize>, of: IpAddr) {
    if let Some(count) = counts.get_mut(&of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&of);
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
    const UNJOINED_GRACE: Duration = Duration::from_secs(60);
    const DOOR: PeerId = PeerId([77; 32]);

    struct World {
        rooms: Rooms,
        limits: Arc<Limits>,
        now: Instant,
    }

    impl World {
        fn new(rooms_max: usize, members_max: usize) -> World {
            World::of(Limits { rooms_max, members_max, ..Limits::default() })
        }

        fn of(limits: Limits) -> World {
            let limits = Limits { room_grace: GRACE, unjoined_room_grace: UNJOINED_GRACE, ..limits };
            let limits = Arc::new(limits);
            World { rooms: Rooms::new(limits.clone()), limits, now: Instant::now() }
        }

        fn enter(&mut self, room: u16, peer: u8, host: bool) -> Result<(Ticket, Mailbox), Refusal> {
            let doors = Doors::truncated([DOOR]);
            self.enter_by(room, peer, Way { door: Some(DOOR), host: host.then_some(doors), address: None })
        }

        fn enter_by(&mut self, room: u16, peer: u8, way: Way) -> Result<(Ticket, Mailbox), Refusal> {
            let (slot, mailbox) = mailbox(&self.limits, &Arc::new(Semaphore::new(1 << 20)));
            let ticket = self.rooms.enter(id(room), PeerId([peer; 32]), way, slot, self.now)?;
            Ok((ticket, mailbox))
        }

        /// Opens a room from an address.
        fn open(&mut self, room: u16, address: &str) -> Result<(Ticket, Mailbox), Refusal> {
            let address = Some(crate::owner::owner(address.parse().unwrap()));
            let host = Some(Doors::truncated([DOOR]));
            self.enter_by(room, 1, Way { door: Some(DOOR), host, address })
        }

        /// Opens a room, and leaves it a second later.
        fn open_and_leave(&mut self, room: u16, address: &str) -> Result<(), Refusal> {
            let opened = self.open(room, address);
            self.now += Duration::from_secs(1);
            opened.map(|(ticket, _)| self.leave(&ticket))
        }

        fn is_open(&self, room: u16) -> bool {
            self.rooms.rooms.contains_key(&id(room))
        }

        /// Checks that all counts agree with the rooms.
        fn assert_consistent(&self) {
            let Rooms { rooms, vacant, opened_by, opened_in, .. } = &self.rooms;
            let opened = rooms.values().filter(|room| room.opener.is_some()).count();
            assert_eq!(opened_by.values().sum::<usize>(), opened);
            assert_eq!(opened_in.values().sum::<usize>(), opened);
            let is_vacant = rooms.values().any(|room| room.members.is_empty());
            assert_eq!(vacant.is_empty(), !is_vacant);
        }

        fn leave(&mut self, ticket: &Ticket) {
            self.rooms.leave(ticket, self.now);
        }
    }

    fn id(room: u16) -> RoomId {
        let mut id = [7; 16];
        id[..2].copy_from_slice(&room.to_be_bytes());
        RoomId(id)
    }

    fn envelope(from: u8) -> Mail {
        Mail::Envelope { from: PeerId([from; 32]), bytes: "hello".into() }
    }

    #[test]
    fn a_room_outlives_its_last_member_by_the_grace_time() {
        let mut world = World::new(10, 10);
        assert_eq!(world.enter(1, 2, false).err(), Some(Refusal::UnknownRoom));
        let (host, _) = world.enter(1, 1, true).unwrap();
        let (guest, _) = world.enter(1, 2, false).unwrap();
        world.leave(&guest);
        world.leave(&host);
        world.now += GRACE - Duration::from_secs(1);
        let (guest, _) = world.enter(1, 2, false).unwrap();
        world.now += GRACE * 2;
        world.leave(&guest);
        world.now += GRACE;
        assert_eq!(world.enter(1, 2, false).err(), Some(Refusal::UnknownRoom));
        assert!(world.rooms.rooms.is_empty());
        world.assert_consistent();
    }

    #[test]
    fn a_room_that_nobody_has_joined_closes_soon_after_its_host_has_left() {
        let mut world = World::new(10, 10);
        let (host, _) = world.enter(1, 1, true).unwrap();
        world.now += GRACE * 2; // a host may wait for its guests
        world.leave(&host);
        world.now += UNJOINED_GRACE - Duration::from_secs(1);
        let (host, _) = world.enter(1, 1, true).unwrap();
        world.leave(&host);
        world.now += UNJOINED_GRACE;
        assert_eq!(world.enter(1, 2, false).err(), Some(Refusal::UnknownRoom));
        world.assert_consistent();
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
        let (first, mut firsts_box) = world.enter(1, 1, true).unwrap();
        let (second, mut seconds_box) = world.enter(1, 2, true).unwrap();
        to_host(&world);
        assert_eq!((firsts_box.try_next(), seconds_box.try_next()), (None, Some(envelope(9))));
        world.leave(&second);
        to_host(&world);
        assert_eq!(firsts_box.try_next(), Some(envelope(9)));
        // another connection of that peer is no reason to end the host's
        assert_eq!(world.enter(1, 1, false).err(), Some(Refusal::HostPresent));
        // returned as a plain member, it is the host no longer, but is one of the stand-ins for the host
        world.leave(&first);
        let (_first, mut firsts_box) = world.enter(1, 1, false).unwrap();
        let (_third, mut thirds_box) = world.enter(1, 3, false).unwrap();
        to_host(&world);
        assert_eq!((firsts_box.try_next(), thirds_box.try_next()), (Some(envelope(9)), Some(envelope(9))));
        assert_eq!(guests_box.try_next(), None);
    }

    #[test]
    fn what_is_for_a_host_that_is_gone_goes_to_those_who_came_first() {
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
    fn rooms_without_end_push_out_rooms_of_their_own_address_first() {
        let limits = Limits { rooms_per_address_max: 3, ..Limits::default() };
        let mut world = World::of(limits);
        world.open_and_leave(1, "192.0.2.1").unwrap();
        for room in 10..40 {
            world.open_and_leave(room, "192.0.2.2").unwrap();
        }
        assert_eq!(world.rooms.rooms.len(), 4, "three rooms of one address");
        assert!(world.is_open(1), "the oldest empty room of all");
        let _members: Vec<_> = (100..103).map(|room| world.open(room, "192.0.2.3").unwrap()).collect();
        assert_eq!(world.open(103, "192.0.2.3").err(), Some(Refusal::TooManyRooms), "its rooms aren't empty");
        world.assert_consistent();
    }

    #[test]
    fn whoever_has_all_addresses_of_a_network_keeps_nobody_out() {
        let limits = Limits {
            rooms_max: 300,
            rooms_per_network_max: 150,
            rooms_per_address_max: 4,
            ..Limits::default()
        };
        let mut world = World::of(limits);
        let _attackers_joined = world.open(1, "2001:db8:7::1").unwrap();
        world.enter(1, 2, false).unwrap();
        world.open_and_leave(2, "198.51.100.1").unwrap();
        world.enter(2, 2, false).map(|(guest, _)| world.leave(&guest)).unwrap();
        // four rooms from each of 200 addresses, more than there are places
        for number in 0..800 {
            let opened = world.open(1000 + number, &format!("2001:db8:7:{:x}::1", number / 4));
            world.now += Duration::from_millis(10);
            opened.map(|(ticket, _)| world.leave(&ticket)).unwrap();
        }
        assert_eq!(world.rooms.opened_in[&"2001:db8:7::".parse::<IpAddr>().unwrap()], 150);
        assert!(world.is_open(1) && world.is_open(2), "one has members, and one is of another network");
        world.open(3, "198.51.100.2").unwrap();
        world.open(4, "2001:db8:8::1").unwrap();
        world.assert_consistent();
    }

    #[test]
    fn when_all_places_are_taken_the_network_with_most_empty_rooms_makes_way() {
        let mut world = World::of(Limits { rooms_max: 6, ..Limits::default() });
        // the oldest empty room of all is an honest one, and so is one with members
        world.open_and_leave(1, "198.51.100.1").unwrap();
        let (_host, _mailbox) = world.open(2, "203.0.113.1").unwrap();
        for (room, address) in [(10, "10.0.0.1"), (11, "10.0.0.2"), (12, "10.1.0.1"), (13, "10.1.0.2")] {
            world.open_and_leave(room, address).unwrap();
        }
        // two networks hold two empty rooms each: the older room goes first, then the other network's
        world.open(3, "203.0.113.2").unwrap();
        assert!(!world.is_open(10) && world.is_open(12));
        world.open(4, "203.0.113.3").unwrap();
        assert!(!world.is_open(12));
        // all have one: the oldest room goes
        world.open(5, "203.0.113.4").unwrap();
        assert!(!world.is_open(1) && world.is_open(2));
        for room in 6..8 {
            world.open(room, "203.0.113.5").unwrap();
        }
        assert_eq!(world.open(8, "203.0.113.6").err(), Some(Refusal::TooManyRooms), "all have members");
        world.assert_consistent();
    }

    #[test]
    fn a_network_that_keeps_a_member_in_each_room_leaves_half_of_all_places() {
        let limits = Limits { rooms_max: 20, rooms_per_network_max: 10, ..Limits::default() };
        let mut world = World::of(limits);
        let mut members = Vec::new();
        for room in 0..20 {
            members.extend(world.open(room, &format!("2001:db8:7:{room:x}::1")));
        }
        assert_eq!(members.len(), 10);
        world.open(100, "2001:db8:8::1").unwrap();
        world.leave(&members[0].0);
        world.open(30, "2001:db8:7::1").unwrap();
        assert!(!world.is_open(0), "the empty room of the network");
        world.assert_consistent();
    }
}
