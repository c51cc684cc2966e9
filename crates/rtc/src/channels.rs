//! The data channels of a link: an SCTP association over DTLS (RFC 8831), with one negotiated stream for each channel.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use plenary_proto::message::SctpInit;
use rtc::sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ReliabilityType, ServerConfig, StreamEvent, TransportConfig,
};
use rtc::shared::TransportProtocol;
use rtc::shared::error::{Error, Result};

use crate::screen::{Chunks, Hostile, Verdict};
use crate::seam::Channel;
use crate::secure::{other_end, this_end};
use crate::snap;

/// Maximum length of a message in bytes: the default of an SDP without `a=max-message-size` (RFC 8841, 6.1).
const MESSAGE_BYTES_MAX: u32 = 65_536;
/// SCTP can't carry an empty message, so one byte stands for it (RFC 8831, 6.6).
const EMPTY: &[u8] = &[0];

/// Length of the inbox, in bytes, beyond which messages stay with the association, so that its receive window makes the
/// other end wait. Below it messages are taken at once, since an association drops its unread messages when it ends.
const INBOX_BYTES: usize = MESSAGE_BYTES_MAX as usize;

/// The data channels of a link.
pub(crate) struct Channels {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    /// This end's packet with its INIT, until the other end is known.
    init: Option<Bytes>,
    /// Both ends have begun without a handshake.
    is_begun: bool,
    /// DTLS is complete, so that packets pass.
    is_secured: bool,
    screen: Chunks,
    /// Ports and verification tag of the packets that leave.
    #[cfg(feature = "raw")]
    header: Option<[u8; 8]>,
    is_open: bool,
    /// Messages that the link hasn't read.
    inbox: VecDeque<(Channel, Bytes)>,
    /// Length of the inbox in bytes. Each message counts one byte more than it has.
    inbox_bytes: usize,
    /// Channels with more messages in the association, in the order of [`Channel::ALL`].
    readable: [bool; Channel::ALL.len()],
    /// The association may have packets to send.
    is_dirty: bool,
}

/// An event on the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelsEvent {
    /// All channels are open at this end.
    Opened,
    /// The association has ended.
    Closed,
}

impl Channels {
    pub(crate) fn new() -> Channels {
        Channels {
            endpoint: new_endpoint(),
            association: None,
            init: None,
            is_begun: false,
            is_secured: false,
            screen: Chunks::default(),
            #[cfg(feature = "raw")]
            header: None,
            is_open: false,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            readable: Default::default(),
            is_dirty: false,
        }
    }

    /// Returns this end's beginning, for its description.
    pub(crate) fn init(&mut self, now: Instant) -> Result<SctpInit> {
        self.connect(now)?;
        let transmit = self.association.as_mut().and_then(|(_, association)| association.poll_transmit(now));
        let packet = transmit.and_then(|transmit| match transmit.message {
            Payload::RawEncode(packets) => packets.into_iter().next(),
            _ => None,
        });
        let init = packet.as_ref().and_then(|packet| snap::init_of(packet));
        self.init = packet;
        init.ok_or_else(|| Error::Other("the association begins with something else".to_owned()))
    }

    /// The other end is known. If it has told its beginning, both associations have begun; else they begin by a
    /// handshake.
    pub(crate) fn start(&mut self, now: Instant, other: Option<&SctpInit>) -> Result<()> {
        let own = self.init.take();
        let Some((own, other)) = own.as_ref().zip(other) else {
            (self.endpoint, self.association) = (new_endpoint(), None);
            return Ok(());
        };
        self.screen.leaves(own);
        for answer in snap::answers(own, other).into_iter().flatten() {
            let taken = self.receive(now, answer.into());
            taken.map_err(|Hostile(what)| Error::Other(what.to_owned()))?;
        }
        // the COOKIE ECHO between them
        while self
            .association
            .as_mut()
            .is_some_and(|(_, association)| association.poll_transmit(now).is_some())
        {}
        self.is_begun = true;
        #[cfg(feature = "raw")]
        {
            let ports = own.first_chunk::<4>().copied().unwrap_or_default();
            self.header = [ports, other.tag.to_be_bytes()].concat().try_into().ok();
        }
        Ok(())
    }

    /// DTLS is complete. Without a beginning that both ends have told, the DTLS client begins the association, and the
    /// server waits for it.
    pub(crate) fn secured(&mut self, now: Instant, is_client: bool) -> Result<()> {
        self.is_secured = true;
        if is_client && !self.is_begun { self.connect(now) } else { Ok(()) }
    }

    fn connect(&mut self, now: Instant) -> Result<()> {
        let connected = self.endpoint.connect(now, ClientConfig::new(transport_config()), other_end());
        self.association = Some(connected.map_err(|error| Error::Other(error.to_string()))?);
        self.is_dirty = true;
        Ok(())
    }

    /// Whether both associations have begun by the descriptions: DTLS alone is awaited.
    pub(crate) fn has_begun(&self) -> bool {
        self.is_begun
    }

    /// Takes a packet of the other end.
    ///
    /// # Errors
    /// No honest end sends it.
    pub(crate) fn receive(&mut self, now: Instant, packet: Bytes) -> std::result::Result<(), Hostile> {
        if self.screen.arrived(&packet)? == Verdict::Drop {
            return Ok(());
        }
        match (self.endpoint.handle(now, other_end(), None, packet), &mut self.association) {
            (Some((handle, DatagramEvent::NewAssociation(association))), none @ None) => {
                *none = Some((handle, association));
            }
            (Some((handle, DatagramEvent::AssociationEvent(event))), Some((own, association)))
                if handle == *own =>
            {
                association.handle_event(event);
            }
            _ => {}
        }
        self.is_dirty = true;
        Ok(())
    }

    /// The next event since the last packet or timeout.
    pub(crate) fn poll_event(&mut self) -> Option<ChannelsEvent> {
        if !self.is_secured {
            return None;
        }
        loop {
            let (_, association) = self.association.as_mut()?;
            let Some(event) = association.poll() else {
                while association.poll_endpoint_event().is_some() {}
                return None;
            };
            match event {
                Event::Connected if !self.is_open => {
                    self.is_open = true;
                    open_streams(association);
                    self.fill_inbox();
                    return Some(ChannelsEvent::Opened);
                }
                Event::Stream(StreamEvent::Readable { id }) => {
                    self.readable.get_mut(usize::from(id)).into_iter().for_each(|readable| *readable = true);
                    self.fill_inbox();
                }
                Event::HandshakeFailed { .. } | Event::AssociationLost { .. } => {
                    return Some(ChannelsEvent::Closed);
                }
                _ => {}
            }
        }
    }

    /// Takes messages from the association, as far as the inbox has room.
    fn fill_inbox(&mut self) {
        let Some((_, association)) = self.association.as_mut().filter(|_| self.is_open) else { return };
        for ((id, channel), readable) in (0..).zip(Channel::ALL).zip(&mut self.readable) {
            while *readable && self.inbox_bytes < INBOX_BYTES {
                let chunks = association.stream(id).and_then(|mut stream| stream.read_sctp());
                let Ok(Some(chunks)) = chunks else {
                    *readable = false;
                    break;
                };
                self.screen.read();
                // the window has room again, which the other end is told
                self.is_dirty = true;
                let message = match chunks.ppi {
                    PayloadProtocolIdentifier::BinaryEmpty | PayloadProtocolIdentifier::StringEmpty => {
                        Bytes::new()
                    }
                    PayloadProtocolIdentifier::Binary | PayloadProtocolIdentifier::String => {
                        let Ok(message) = chunks.to_payload(MESSAGE_BYTES_MAX as usize) else { continue };
                        message.freeze()
                    }
                    // the channels are negotiated, so no message opens one (RFC 8832)
                    _ => continue,
                };
                self.inbox_bytes += message.len() + 1;
                self.inbox.push_back((channel, message));
            }
        }
    }

    /// The next message that has arrived.
    pub(crate) fn read(&mut self) -> Option<(Channel, Bytes)> {
        if self.inbox.is_empty() {
            self.fill_inbox();
        }
        let (channel, message) = self.inbox.pop_front()?;
        self.inbox_bytes -= message.len() + 1;
        Some((channel, message))
    }

    pub(crate) fn send(&mut self, now: Instant, channel: Channel, message: &Bytes) -> Result<()> {
        let (_, association) =
            self.association.as_mut().filter(|_| self.is_open).ok_or(Error::ErrDataChannelClosed)?;
        let mut stream = association.stream(channel as u16)?;
        if message.is_empty() {
            let empty = Bytes::from_static(EMPTY);
            stream.write_chunk_with_ppi(now, &empty, PayloadProtocolIdentifier::BinaryEmpty)?;
        } else {
            stream.write_chunk_with_ppi(now, message, PayloadProtocolIdentifier::Binary)?;
        }
        self.is_dirty = true;
        Ok(())
    }

    /// Bytes of messages that the other end has not acknowledged yet.
    pub(crate) fn outstanding_bytes(&mut self, channel: Channel) -> usize {
        let association = self.association.as_mut();
        let stream = association.and_then(|(_, association)| association.stream(channel as u16).ok());
        stream.and_then(|stream| stream.buffered_amount().ok()).unwrap_or(0)
    }

    /// Hands the packets that are due to `send`. Acknowledgements of all packets since the last call share one.
    pub(crate) fn flush(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        if !self.is_secured || !std::mem::take(&mut self.is_dirty) {
            return;
        }
        let Some((_, association)) = &mut self.association else { return };
        while let Some(transmit) = association.poll_transmit(now) {
            if let Payload::RawEncode(packets) = transmit.message {
                for packet in &packets {
                    self.screen.leaves(packet);
                    #[cfg(feature = "raw")]
                    {
                        self.header = packet.first_chunk().copied();
                    }
                    send(packet);
                }
            }
        }
    }

    /// Returns a packet with the chunks that an attacker makes from the next TSN.
    #[cfg(feature = "raw")]
    pub(crate) fn raw_packet(&mut self, make: impl FnOnce(u32) -> Vec<u8>) -> Option<Vec<u8>> {
        let next = self.screen.sent()?.wrapping_add(1);
        Some(snap::assemble(self.header?, &make(next)))
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now)
            && let Some((_, association)) = &mut self.association
        {
            association.handle_timeout(now);
            self.is_dirty = true;
        }
    }

    /// The link goes by another path: what isn't acknowledged is sent again at once. The timer may have backed off to
    /// seconds on a dead path, and messages wait for it.
    pub(crate) fn path_changed(&mut self) {
        let Some((_, association)) = &mut self.association else { return };
        let before = association.stats().get_num_t3timeouts();
        // the first timer to expire may be that of an acknowledgement
        for _ in 0..2 {
            let due =
                association.poll_timeout().filter(|_| association.stats().get_num_t3timeouts() == before);
            due.into_iter().for_each(|due| association.handle_timeout(due));
        }
        self.is_dirty = true;
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let association = self.association.as_ref().filter(|_| self.is_secured);
        association.and_then(|(_, association)| association.poll_timeout())
    }

    /// Ends the association at once; [`Channels::flush`] sends the ABORT.
    pub(crate) fn abort(&mut self) {
        if let Some((_, association)) = &mut self.association {
            let _ = association.abort();
            self.is_dirty = true;
        }
    }
}

fn new_endpoint() -> Endpoint {
    let server = ServerConfig::new(transport_config());
    let (udp, config) = (TransportProtocol::UDP, EndpointConfig::default());
    Endpoint::new(this_end(), udp, config.into(), Some(server.into()))
}

fn open_streams(association: &mut Association) {
    for (id, channel) in (0..).zip(Channel::ALL) {
        // a message that arrived first has opened the stream
        let _ = association.open_stream(id, PayloadProtocolIdentifier::Binary);
        if channel == Channel::Heartbeat
            && let Ok(mut stream) = association.stream(id)
        {
            let _ = stream.set_reliability_params(true, ReliabilityType::Rexmit, 0);
        }
    }
}

fn transport_config() -> TransportConfig {
    TransportConfig::default().with_max_message_size(MESSAGE_BYTES_MAX)
}
