//! Packets of SCTP (RFC 9260), which come from the other end of a link alone, but say what it wants.

use std::collections::VecDeque;

use super::{Verdict, u16_at, u32_at};
use crate::seam::Channel;

/// Bytes of a packet's header, of a chunk's, and of a DATA chunk's before its content.
const PACKET_HEADER: usize = 12;
const CHUNK_HEADER: usize = 4;
const DATA_HEADER: usize = 16;

/// Kinds of chunks (RFC 9260, 3.2; RFC 3758, 3.2).
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;
const FORWARD_TSN: u8 = 192;

/// Kinds of parameters (RFC 9260, 3.2.1 and 3.3.5; RFC 3758; RFC 4895; RFC 6525).
const HEARTBEAT_INFO: u16 = 1;
const OUTGOING_RESET: u16 = 13;
const RESET_RESPONSE: u16 = 16;
const REQUESTED_HMAC: u16 = 0x8004;
const FORWARD_TSN_SUPPORTED: u16 = 0xc000;

/// Flags of a DATA chunk: the last fragment of a message, the first, unordered.
const ENDS: u8 = 1;
const BEGINS: u8 = 2;
const UNORDERED: u8 = 4;

/// How far DATA and FORWARD-TSN may run ahead of what was acknowledged, in chunks. The stack counts this way one by
/// one, and keeps what arrives meanwhile. Its receive window of 1 MiB holds 900 full chunks; a burst of small messages
/// has more.
const AHEAD_MAX: u32 = 4_096;
/// Maximum number of fragments of a message. The longest, 64 KiB, has 57 of the 1,160 bytes that the stack sends; a
/// browser's are as long, but for one that fills a packet.
const FRAGMENTS_MAX: u16 = 128;
/// Maximum number of whole messages that wait to be read; the other end repeats further ones. The stack keeps the
/// packet of each, however short it is.
const UNREAD_MAX: usize = 1_024;
/// Maximum number of fragments that the life of a link leaves behind without their message. The stack keeps some for
/// good. Honest ends abandon whole unordered messages, which it forgets.
const STRAYS_MAX: u16 = 64;

/// The other end has sent what no honest end sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hostile(pub(crate) &'static str);

/// Reads the packets of an association.
#[derive(Default)]
pub(crate) struct Chunks {
    /// The state of what the other end sends; `None` before its INIT or INIT-ACK.
    inward: Option<Inward>,
    /// Last TSN that this end has sent; `None` before its INIT or INIT-ACK.
    sent: Option<u32>,
    /// DATA or a cookie has arrived: the other end repeats no INIT any more.
    is_established: bool,
    /// Whole messages that wait to be read.
    unread: usize,
}

struct Inward {
    /// Initial TSN and tag of the other end.
    initial: (u32, u32),
    /// Last TSN that this end has acknowledged.
    acked: u32,
    /// Last TSN up to which all have arrived.
    arrived: u32,
    /// What has arrived behind [`Inward::arrived`], by its distance.
    ahead: VecDeque<Option<Fragment>>,
    /// An incomplete message: its first fragment, and how many have arrived up to [`Inward::arrived`].
    open: Option<(Fragment, u16)>,
    strays: u16,
}

/// What counts of a DATA chunk.
#[derive(Clone, Copy)]
struct Fragment {
    flags: u8,
    stream: u16,
    number: u16,
}

impl Chunks {
    /// Reads a packet that has arrived.
    ///
    /// # Errors
    /// No honest end sends that.
    pub(crate) fn arrived(&mut self, packet: &[u8]) -> Result<Verdict, Hostile> {
        let mut verdict = Verdict::Pass;
        for chunk in chunks(packet) {
            let (kind, flags, body) = chunk?;
            let passes = match kind {
                INIT | INIT_ACK => self.init(body)?,
                DATA => self.data(flags, body)?,
                SACK => self.is_plausible(body)?,
                FORWARD_TSN => self.forward(body)?,
                ERROR | ABORT => causes_fit(body)?,
                HEARTBEAT => u16_at(body, 0) == Some(HEARTBEAT_INFO) && one_fits(body),
                COOKIE_ECHO | COOKIE_ACK => {
                    self.is_established = true;
                    kind == COOKIE_ECHO || body.is_empty()
                }
                SHUTDOWN => body.len() == 4,
                SHUTDOWN_ACK | SHUTDOWN_COMPLETE => body.is_empty(),
                // streams are never reset (RFC 6525), messages never interleaved (RFC 8260), and the stack sends no
                // heartbeats
                _ => false,
            };
            if !passes {
                verdict = Verdict::Drop;
            }
        }
        Ok(verdict)
    }

    /// Reads a packet that leaves: it says what this end has sent and acknowledged.
    pub(crate) fn leaves(&mut self, packet: &[u8]) {
        for (kind, _, body) in chunks(packet).map_while(Result::ok) {
            match kind {
                INIT | INIT_ACK => self.sent = u32_at(body, 12).map(|initial| initial.wrapping_sub(1)),
                DATA => {
                    let tsn = u32_at(body, 0);
                    self.sent =
                        tsn.filter(|tsn| self.sent.is_none_or(|sent| is_after(*tsn, sent))).or(self.sent);
                }
                SACK => {
                    if let (Some(inward), Some(acked)) = (&mut self.inward, u32_at(body, 0)) {
                        inward.acked = acked;
                    }
                }
                _ => {}
            }
        }
    }

    /// Returns the last TSN that this end has sent.
    #[cfg(feature = "raw")]
    pub(crate) fn sent(&self) -> Option<u32> {
        self.sent
    }

    /// A message was read.
    pub(crate) fn read(&mut self) {
        self.unread = self.unread.saturating_sub(1);
    }

    fn init(&mut self, body: &[u8]) -> Result<bool, Hostile> {
        let Some((fixed, parameters)) = body.split_at_checked(16) else { return Ok(false) };
        let (Some(tag), Some(initial)) = (u32_at(fixed, 0), u32_at(fixed, 12)) else { return Ok(false) };
        if !parameters_fit(parameters) {
            return Ok(false);
        }
        if let Some(inward) = &self.inward {
            // a retransmitted INIT has the same fields
            return Ok(inward.initial == (initial, tag) && !self.is_established);
        }
        let before = initial.wrapping_sub(1);
        let (ahead, open, strays) = (VecDeque::new(), None, 0);
        self.inward =
            Some(Inward { initial: (initial, tag), acked: before, arrived: before, ahead, open, strays });
        Ok(true)
    }

    fn data(&mut self, flags: u8, body: &[u8]) -> Result<bool, Hostile> {
        let header = body.get(..DATA_HEADER - CHUNK_HEADER).filter(|header| header.len() < body.len());
        let header = header.ok_or(Hostile("a DATA chunk has no content"))?;
        let (Some(tsn), Some(stream), Some(number)) =
            (u32_at(header, 0), u16_at(header, 4), u16_at(header, 6))
        else {
            return Ok(false);
        };
        if usize::from(stream) >= Channel::ALL.len() {
            return Err(Hostile("a DATA chunk is on a stream that is no channel"));
        }
        let Some(inward) = &mut self.inward else { return Ok(false) };
        self.is_established = true;
        if !is_after(tsn, inward.arrived) {
            return Ok(true); // repeated
        }
        if !is_within(tsn, inward.acked) || self.unread >= UNREAD_MAX {
            return Ok(false);
        }
        let at = tsn.wrapping_sub(inward.arrived) as usize - 1;
        if inward.ahead.len() <= at {
            inward.ahead.resize(at + 1, None);
        }
        if let Some(place) = inward.ahead.get_mut(at) {
            *place = Some(Fragment { flags, stream, number });
        }
        while let Some(Some(fragment)) = inward.ahead.front().copied() {
            inward.ahead.pop_front();
            inward.arrived = inward.arrived.wrapping_add(1);
            self.unread += usize::from(inward.next(fragment)?);
        }
        Ok(true)
    }

    fn forward(&mut self, body: &[u8]) -> Result<bool, Hostile> {
        let to = u32_at(body, 0).filter(|_| body.len().is_multiple_of(4));
        let to = to.ok_or(Hostile("a FORWARD-TSN is damaged"))?;
        let Some(inward) = &mut self.inward else { return Ok(false) };
        if !is_after(to, inward.arrived) {
            return Ok(true); // repeated
        }
        if !is_within(to, inward.acked) {
            return Err(Hostile("a FORWARD-TSN leaps ahead"));
        }
        // the stack forgets unordered messages, and ordered ones of streams that are named: no channel abandons those
        inward.stray(usize::from(body.len() > 4))?;
        let skipped = (to.wrapping_sub(inward.arrived) as usize).min(inward.ahead.len());
        let skipped: Vec<Fragment> = inward.ahead.drain(..skipped).flatten().collect();
        inward.arrived = to;
        let left = inward.open.take().map(|(fragment, _)| fragment);
        let is_left = |fragment: &Fragment| fragment.flags & UNORDERED == 0 && !fragment.is_whole();
        inward.stray(left.iter().chain(&skipped).filter(|fragment| is_left(fragment)).count())?;
        self.unread += skipped.iter().filter(|fragment| fragment.is_whole()).count();
        Ok(true)
    }

    /// Whether the gaps of a SACK lie within what this end has sent: the stack walks through them.
    fn is_plausible(&self, body: &[u8]) -> Result<bool, Hostile> {
        let counts = u16_at(body, 8).zip(u16_at(body, 10));
        let (gaps, repeats) = counts.ok_or(Hostile("a SACK is damaged"))?;
        if body.len() != 12 + 4 * (usize::from(gaps) + usize::from(repeats)) {
            return Err(Hostile("a SACK is damaged"));
        }
        let (Some(acked), Some(sent)) = (u32_at(body, 0), self.sent) else { return Ok(false) };
        let outstanding = sent.wrapping_sub(acked);
        let mut end_before = 0;
        let (blocks, _) = body.get(12..12 + 4 * usize::from(gaps)).unwrap_or_default().as_chunks::<4>();
        let fits = blocks.iter().all(|&[a, b, c, d]| {
            let (start, end) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let follows =
                end_before < start && start <= end && end < u16::MAX && u32::from(end) <= outstanding;
            end_before = end;
            follows
        });
        Ok(!is_after(acked, sent) && fits)
    }
}

impl Inward {
    /// Takes the next fragment in order; returns whether it completes a message. Fragments of a message have
    /// consecutive TSNs (RFC 9260, 6.9), so at most one is incomplete.
    fn next(&mut self, fragment: Fragment) -> Result<bool, Hostile> {
        let Fragment { flags, stream, number } = fragment;
        match self.open.take() {
            None if flags & BEGINS != 0 => {
                self.open = (flags & ENDS == 0).then_some((fragment, 1));
            }
            // its message was abandoned
            None => self.stray(1)?,
            Some((first, count)) => {
                let is_same = first.stream == stream
                    && (first.flags ^ flags) & UNORDERED == 0
                    && (flags & UNORDERED != 0 || first.number == number);
                if flags & BEGINS != 0 || !is_same {
                    return Err(Hostile("messages are mixed up"));
                }
                if count >= FRAGMENTS_MAX {
                    return Err(Hostile("a message has too many fragments"));
                }
                self.open = (flags & ENDS == 0).then_some((first, count + 1));
            }
        }
        Ok(flags & ENDS != 0)
    }

    fn stray(&mut self, count: usize) -> Result<(), Hostile> {
        self.strays = self.strays.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
        if self.strays > STRAYS_MAX { Err(Hostile("too many messages were abandoned")) } else { Ok(()) }
    }
}

impl Fragment {
    fn is_whole(&self) -> bool {
        self.flags & (BEGINS | ENDS) == BEGINS | ENDS
    }
}

/// Whether a TSN comes after another one (RFC 1982).
fn is_after(tsn: u32, other: u32) -> bool {
    let distance = tsn.wrapping_sub(other);
    (1..1 << 31).contains(&distance)
}

/// Whether a TSN is not too far ahead.
fn is_within(tsn: u32, acked: u32) -> bool {
    !is_after(tsn, acked.wrapping_add(AHEAD_MAX))
}

/// The chunks of a packet: kind, flags, content.
fn chunks(packet: &[u8]) -> impl Iterator<Item = Result<(u8, u8, &[u8]), Hostile>> {
    let mut rest = packet.get(PACKET_HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let whole = rest;
        rest = &[]; // nothing is read behind a damaged chunk
        let Some((&[kind, flags, high, low], _)) = whole.split_first_chunk() else {
            return Some(Err(Hostile("a chunk is cut off")));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(body) = whole.get(CHUNK_HEADER..length) else {
            return Some(Err(Hostile("a chunk is longer than its packet")));
        };
        rest = whole.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok((kind, flags, body)))
    })
}

// The stack takes a chunk to be as long as what it has read of it. After a chunk of odd length the stack would read
// on in the middle of that chunk, at bytes that an attacker has placed there. So chunks with parts, each with a type
// and its length, must be filled by them exactly.

/// Whether error causes (RFC 9260, 3.3.10) fill a chunk, without padding between them, as the stack reads them.
fn causes_fit(mut rest: &[u8]) -> Result<bool, Hostile> {
    while !rest.is_empty() {
        let Some(length) = u16_at(rest, 2) else { return Ok(false) };
        if length < 4 {
            return Ok(false);
        }
        rest = rest.get(usize::from(length)..).ok_or(Hostile("an error cause is longer than its chunk"))?;
    }
    Ok(true)
}

/// Whether one parameter fills a chunk.
fn one_fits(body: &[u8]) -> bool {
    u16_at(body, 2).is_some_and(|length| length >= 4 && usize::from(length) == body.len())
}

/// Whether parameters of an INIT (RFC 9260, 3.2.1) fill it, and the stack reads each to its end.
fn parameters_fit(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let (Some(kind), Some(length)) = (u16_at(rest, 0), u16_at(rest, 2).map(usize::from)) else {
            return false;
        };
        let is_read = match kind {
            FORWARD_TSN_SUPPORTED => length == 4,
            REQUESTED_HMAC => length > 4 && length % 2 == 0,
            OUTGOING_RESET | RESET_RESPONSE => false,
            _ => length >= 4,
        };
        // the stack overlooks one of four bytes at the end
        if !is_read || length > rest.len() || (length == 4 && rest.len() == 4) {
            return false;
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u32 = u32::MAX - 5; // the numbers wrap

    fn packet(chunks: &[Vec<u8>]) -> Vec<u8> {
        [&[0; PACKET_HEADER][..], &chunks.concat()].concat()
    }

    fn chunk(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(CHUNK_HEADER + body.len()).unwrap();
        let mut chunk = [&[kind, flags][..], &length.to_be_bytes(), body].concat();
        chunk.resize(chunk.len().next_multiple_of(4), 0);
        chunk
    }

    fn data(tsn: u32, stream: u16, number: u16, flags: u8) -> Vec<u8> {
        let body =
            [&tsn.to_be_bytes()[..], &stream.to_be_bytes(), &number.to_be_bytes(), &[0, 0, 0, 53], b"x"];
        chunk(DATA, flags, &body.concat())
    }

    fn init(kind: u8, initial: u32) -> Vec<u8> {
        chunk(kind, 0, &[&[0, 0, 0, 7][..], &[0, 1, 0, 0], &[0, 3, 0, 3], &initial.to_be_bytes()].concat())
    }

    fn sack(acked: u32, gaps: &[(u16, u16)]) -> Vec<u8> {
        let count = u16::try_from(gaps.len()).unwrap().to_be_bytes();
        let gaps = gaps.iter().flat_map(|(start, end)| [start.to_be_bytes(), end.to_be_bytes()]);
        let gaps: Vec<u8> = gaps.flatten().collect();
        chunk(SACK, 0, &[&acked.to_be_bytes()[..], &[0, 1, 0, 0], &count, &[0, 0], &gaps].concat())
    }

    fn forward(to: u32) -> Vec<u8> {
        chunk(FORWARD_TSN, 0, &to.to_be_bytes())
    }

    /// An open association: the other end's first TSN is [`FIRST`], this end has sent up to 1,000.
    fn open() -> Chunks {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.arrived(&packet(&[init(INIT, FIRST)])), Ok(Verdict::Pass));
        chunks.leaves(&packet(&[init(INIT_ACK, 1)]));
        chunks.leaves(&packet(&[data(1_000, 0, 0, 3)]));
        chunks
    }

    fn tsn(at: u32) -> u32 {
        FIRST.wrapping_add(at)
    }

    fn give(chunks: &mut Chunks, chunk: Vec<u8>) -> Result<Verdict, Hostile> {
        chunks.arrived(&packet(&[chunk]))
    }

    const WHOLE: u8 = BEGINS | ENDS;

    #[test]
    fn messages_pass_in_any_order_whole_and_in_fragments() {
        let mut chunks = open();
        for (at, flags) in
            [(0, WHOLE), (2, WHOLE), (1, WHOLE), (5, ENDS), (3, BEGINS), (4, 0), (4, 0), (6, WHOLE)]
        {
            assert_eq!(give(&mut chunks, data(tsn(at), 0, 3, flags)), Ok(Verdict::Pass), "{at}");
        }
        assert_eq!(chunks.unread, 5);
        assert_eq!(chunks.inward.unwrap().arrived, tsn(6));
    }

    #[test]
    fn a_leap_ahead_is_dropped_and_a_leap_of_forward_tsn_is_hostile() {
        let mut chunks = open();
        let acked = tsn(0).wrapping_sub(1);
        let last = acked.wrapping_add(AHEAD_MAX);
        assert_eq!(give(&mut chunks, data(last, 0, 1, WHOLE)), Ok(Verdict::Pass));
        assert_eq!(give(&mut chunks, data(last.wrapping_add(1), 0, 1, WHOLE)), Ok(Verdict::Drop));
        assert_eq!(give(&mut chunks, data(tsn(65_535), 0, 1, WHOLE)), Ok(Verdict::Drop));
        for leap in [AHEAD_MAX + 1, 1 << 16, (1 << 31) - 1] {
            assert!(give(&mut open(), forward(acked.wrapping_add(leap))).is_err(), "{leap}");
        }
        // each step is counted from what was acknowledged, however many there are in one packet
        let steps: Vec<Vec<u8>> = (1..=3).map(|at| forward(acked.wrapping_add(at * 2_000))).collect();
        assert!(open().arrived(&packet(&steps)).is_err());
        let mut acknowledged = open();
        for at in 1..=3 {
            assert_eq!(give(&mut acknowledged, forward(acked.wrapping_add(at * 2_000))), Ok(Verdict::Pass));
            acknowledged.leaves(&packet(&[sack(acked.wrapping_add(at * 2_000), &[])]));
        }
    }

    #[test]
    fn what_no_honest_end_sends_is_hostile() {
        for (at, hostile) in [
            data(tsn(0), 3, 0, WHOLE),
            data(tsn(0), 65_535, 0, WHOLE),
            chunk(DATA, WHOLE, &[0; 12]),
            chunk(ERROR, 0, &[0, 1, 0xff, 0xff]),
            chunk(SACK, 0, &[0; 8]),
            chunk(SACK, 0, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 9, 0, 0]),
            chunk(FORWARD_TSN, 0, &[0; 3]),
            vec![DATA, 0, 0, 3],
            vec![DATA, 0, 1, 0],
            vec![DATA],
        ]
        .into_iter()
        .enumerate()
        {
            assert!(give(&mut open(), hostile).is_err(), "{at}");
        }
    }

    #[test]
    fn what_is_odd_but_harmless_is_dropped() {
        for (at, odd) in [
            chunk(130, 0, &[0; 16]), // RE-CONFIG
            chunk(64, 0, &[0; 20]),  // I-DATA
            chunk(255, 0, &[]),
            chunk(HEARTBEAT, 0, &[0, 1, 0, 200, 1, 2, 3, 4]),
            chunk(HEARTBEAT, 0, &[0, 1, 0, 4, 6, 0, 0, 4]),
            chunk(ABORT, 0, &[0, 1, 0, 3]),
            chunk(ABORT, 0, &[0, 13, 0, 4, 6]),
            chunk(COOKIE_ACK, 0, &[6, 0, 0, 4]),
            chunk(SHUTDOWN, 0, &[]),
            chunk(INIT, 0, &[0; 8]),
            init(INIT, 7),
            sack(2_000, &[]),
            sack(990, &[(2, 1)]),
            sack(990, &[(1, 65_535)]),
            sack(990, &[(3, 4), (2, 6)]),
            sack(990, &[(9, 12)]),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(give(&mut open(), odd), Ok(Verdict::Drop), "{at}");
        }
        for (at, fine) in [
            init(INIT, FIRST),
            sack(990, &[(2, 3), (5, 10)]),
            chunk(ABORT, 0, &[]),
            chunk(ABORT, 0, &[0, 12, 0, 8, 1, 2, 3, 4]),
            chunk(HEARTBEAT, 0, &[0, 1, 0, 8, 1, 2, 3, 4]),
            chunk(COOKIE_ACK, 0, &[]),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(give(&mut open(), fine), Ok(Verdict::Pass), "{at}");
        }
    }

    #[test]
    fn an_init_is_read_to_its_end_or_dropped() {
        let init = |parameters: &[u8]| {
            let fixed = [&[0, 0, 0, 7][..], &[0, 1, 0, 0], &[0, 3, 0, 3], &FIRST.to_be_bytes()].concat();
            Chunks::default().arrived(&packet(&[chunk(INIT, 0, &[&fixed[..], parameters].concat())]))
        };
        let supported = [0xc0, 0, 0, 4, 0x80, 8, 0, 6, 130, 192];
        assert_eq!(init(&supported), Ok(Verdict::Pass));
        assert_eq!(init(&[0x80, 8, 0, 6, 130, 192, 0, 0, 0xc0, 0, 0, 4]), Ok(Verdict::Drop));
        assert_eq!(init(&[0xc0, 0, 0, 12, 6, 0, 0, 8, 0, 1, 0xff, 0xff]), Ok(Verdict::Drop));
        assert_eq!(init(&[0x80, 8, 0, 60, 1, 2]), Ok(Verdict::Drop));
        assert_eq!(init(&[0x80, 8, 0, 3, 1, 2]), Ok(Verdict::Drop));
        assert_eq!(init(&[0, 13, 0, 20, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]), Ok(Verdict::Drop));
    }

    #[test]
    fn fragments_that_never_become_a_message_are_bounded() {
        let mut endless = open();
        let passed = (0..10_000).take_while(|at| {
            give(&mut endless, data(tsn(*at), 1, 0, if *at == 0 { BEGINS } else { 0 })).is_ok()
        });
        assert_eq!(passed.count(), usize::from(FRAGMENTS_MAX));

        let mut without_a_beginning = open();
        let passed = (0..10_000)
            .take_while(|at| give(&mut without_a_beginning, data(tsn(*at), 1, 0, UNORDERED)).is_ok());
        assert_eq!(passed.count(), usize::from(STRAYS_MAX));

        assert!(give(&mut open(), data(tsn(0), 0, 0, BEGINS)).is_ok());
        for next in [data(tsn(1), 0, 1, BEGINS), data(tsn(1), 2, 0, 0), data(tsn(1), 0, 1, ENDS)] {
            let mut mixed = open();
            give(&mut mixed, data(tsn(0), 0, 0, BEGINS)).unwrap();
            assert!(give(&mut mixed, next).is_err());
        }

        let mut abandoned = open();
        let passed = (0..10_000_u16).take_while(|at| {
            let first = tsn(u32::from(*at) * 2);
            abandoned.leaves(&packet(&[sack(first, &[])]));
            give(&mut abandoned, data(first, 0, *at, BEGINS)).is_ok()
                && give(&mut abandoned, forward(first.wrapping_add(1))).is_ok()
        });
        assert_eq!(passed.count(), usize::from(STRAYS_MAX), "the stack keeps ordered ones");

        let mut honest = open();
        for at in 0..10_000 {
            let first = tsn(at * 3);
            honest.leaves(&packet(&[sack(first, &[])]));
            assert!(give(&mut honest, data(first, 1, 0, BEGINS | UNORDERED)).is_ok());
            assert!(give(&mut honest, forward(first.wrapping_add(2))).is_ok());
        }
    }

    #[test]
    fn messages_that_nobody_reads_are_bounded_and_go_on_when_they_are_read() {
        let mut chunks = open();
        let mut give = |at: u32| {
            chunks.leaves(&packet(&[sack(tsn(at), &[])]));
            let verdict = chunks.arrived(&packet(&[data(tsn(at), 0, 0, WHOLE)]));
            (verdict, &mut chunks).0
        };
        let passed = (0..).take_while(|at| give(*at) == Ok(Verdict::Pass)).count();
        assert_eq!(passed, UNREAD_MAX);
        chunks.read();
        let next = u32::try_from(passed).unwrap();
        assert_eq!(chunks.arrived(&packet(&[data(tsn(next), 0, 0, WHOLE)])), Ok(Verdict::Pass));
    }
}
