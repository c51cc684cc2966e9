//! Records of DTLS 1.2 (RFC 6347): handshakes in plain text, which anybody could write, and what they may make the
//! stack do.

use super::{Verdict, u16_at, u24_at};

/// Bytes of a record's header (RFC 6347, 4.1).
const RECORD_HEADER: usize = 13;
/// Bytes of a fragment's header (RFC 6347, 4.2.2).
const FRAGMENT_HEADER: usize = 12;
/// Content types (RFC 5246, 6.2.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// Messages of a client's last flight in plain text (RFC 5246, 7.4): Certificate, CertificateVerify, ClientKeyExchange.
const LAST_FLIGHT: [u8; 3] = [11, 15, 16];

/// Maximum length of a handshake message. Certificates of peers have some 400 bytes, those of browsers as many.
const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Highest number of a handshake message. A handshake with a cookie and certificates of both ends ends at 7.
const MESSAGE_NUMBER_MAX: u16 = 15;
/// Maximum number of plain records and fragments in the life of a link. Each end sends some 6 in a flight, twice (4.3),
/// and repeats the flight at most four times in the 8 s that a set-up may take. The stack keeps them all, and its time
/// grows with the square of their number.
const PLAIN_MAX: u16 = 256;
/// Maximum number of sealed records before the handshake is complete, when the stack keeps them all, and of sealed
/// handshake messages after it. One is needed, sent and repeated as above.
const SEALED_MAX: u16 = 64;
/// Maximum length of a sealed handshake record: a Finished has 48 to 61 bytes behind its header.
const SEALED_HANDSHAKE_BYTES_MAX: usize = 96;

/// Reads the records of a link.
pub(crate) struct Records {
    is_client: bool,
    is_complete: bool,
    plain_left: u16,
    sealed_left: u16,
    /// At a server, the fragments of the client's last flight that have passed: number of the message, offset, length.
    /// The client repeats them if the server's answer to them is lost.
    last_flight: Vec<(u16, usize, usize)>,
}

/// What a record asks for.
enum Content {
    /// Goes on to the stack at no cost that grows.
    Free,
    /// Counts against the limit of plain records.
    Plain,
    /// Counts against the limit of sealed records.
    Sealed,
}

impl Records {
    pub(crate) fn new(is_client: bool) -> Records {
        Records {
            is_client,
            is_complete: false,
            plain_left: PLAIN_MAX,
            sealed_left: SEALED_MAX,
            last_flight: Vec::new(),
        }
    }

    /// The handshake is complete. A client then takes no more of it, and a server the client's last flight only, which
    /// the client repeats if the answer is lost (RFC 6347, 4.2.4).
    pub(crate) fn complete(&mut self) {
        self.is_complete = true;
        self.sealed_left = if self.is_client { 0 } else { SEALED_MAX };
    }

    /// Reads a datagram, which passes if all its records pass.
    pub(crate) fn datagram(&mut self, datagram: &[u8]) -> Verdict {
        match self.read(datagram) {
            Some(()) => Verdict::Pass,
            None => Verdict::Drop,
        }
    }

    fn read(&mut self, mut rest: &[u8]) -> Option<()> {
        while !rest.is_empty() {
            let (header, behind) = rest.split_at_checked(RECORD_HEADER)?;
            let [kind, 0xfe, 0xfd | 0xff, ..] = *header else { return None };
            let (body, behind) = behind.split_at_checked(usize::from(u16_at(header, 11)?))?;
            let epoch = u16_at(header, 3)?;
            let content = match (epoch, kind) {
                (0, HANDSHAKE) => {
                    self.fragments(body)?;
                    Content::Free // its fragments are counted
                }
                (0, CHANGE_CIPHER_SPEC) if !(self.is_complete && self.is_client) => Content::Plain,
                (0, ALERT) => Content::Plain,
                (1, HANDSHAKE) if body.len() <= SEALED_HANDSHAKE_BYTES_MAX => Content::Sealed,
                (1, APPLICATION_DATA | ALERT) if self.is_complete => Content::Free,
                (1, APPLICATION_DATA | ALERT) => Content::Sealed,
                _ => return None,
            };
            match content {
                Content::Free => {}
                Content::Plain => self.plain_left = self.plain_left.checked_sub(1)?,
                Content::Sealed => self.sealed_left = self.sealed_left.checked_sub(1)?,
            }
            rest = behind;
        }
        Some(())
    }

    /// Reads the fragments of handshake messages in a plain record.
    fn fragments(&mut self, mut rest: &[u8]) -> Option<()> {
        while !rest.is_empty() {
            let (header, behind) = rest.split_at_checked(FRAGMENT_HEADER)?;
            let (kind, number) = (header[0], u16_at(header, 4)?);
            let (message, offset, length) = (u24_at(header, 1)?, u24_at(header, 6)?, u24_at(header, 9)?);
            let (_, behind) = behind.split_at_checked(length)?;
            let is_whole = length == message;
            let fits =
                message <= MESSAGE_BYTES_MAX && offset + length <= message && number <= MESSAGE_NUMBER_MAX;
            // the stack takes the message's length for the fragment's, and loses further fragments of the record
            let is_last = is_whole || behind.is_empty();
            let is_empty = length == 0 && !is_whole;
            if !fits || !is_last || is_empty {
                return None;
            }
            let fragment = (number, offset, length);
            let is_known = self.last_flight.contains(&fragment);
            if self.is_complete && !is_known {
                return None;
            }
            self.plain_left = self.plain_left.checked_sub(1)?;
            if !self.is_client && !is_known && LAST_FLIGHT.contains(&kind) {
                self.last_flight.push(fragment);
            }
            rest = behind;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of an epoch.
    fn record(epoch: u16, kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap();
        let header = [&[kind, 0xfe, 0xfd][..], &epoch.to_be_bytes(), &[0; 6], &length.to_be_bytes()];
        [&header.concat(), body].concat()
    }

    fn fragment(kind: u8, number: u16, message: u32, offset: u32, bytes: usize) -> Vec<u8> {
        let u24 = |value: u32| value.to_be_bytes()[1..].to_vec();
        let length = u32::try_from(bytes).unwrap();
        [&[kind][..], &u24(message), &number.to_be_bytes(), &u24(offset), &u24(length), &vec![0; bytes]]
            .concat()
    }

    fn handshake(kind: u8, number: u16, message: u32, offset: u32, bytes: usize) -> Vec<u8> {
        record(0, HANDSHAKE, &fragment(kind, number, message, offset, bytes))
    }

    fn passes(records: &mut Records, datagram: &[u8]) -> bool {
        records.datagram(datagram) == Verdict::Pass
    }

    #[test]
    fn fragments_that_fit_pass_and_all_others_are_dropped() {
        let mut server = Records::new(false);
        let two = [fragment(11, 1, 400, 0, 400), fragment(16, 2, 66, 0, 66)].concat();
        for genuine in [
            handshake(1, 0, 120, 0, 120),
            handshake(11, 1, 900, 0, 500),
            handshake(11, 1, 900, 500, 400),
            handshake(14, 3, 0, 0, 0),
            record(0, HANDSHAKE, &two),
        ] {
            assert!(passes(&mut server, &genuine), "{genuine:02x?}");
        }
        let behind = [fragment(11, 1, 400, 0, 200), fragment(16, 2, 66, 0, 66)].concat();
        let mut cut = handshake(1, 0, 120, 0, 120);
        cut.pop();
        for forged in [
            handshake(1, 0, 120, 100, 21),
            handshake(1, 0, 1 << 20, 0, 1_000),
            handshake(1, 0, 120, 0, 0),
            handshake(1, 999, 120, 0, 120),
            record(0, HANDSHAKE, &behind),
            record(0, HANDSHAKE, &[1, 0, 0]),
            record(0, APPLICATION_DATA, b"x"),
            record(2, APPLICATION_DATA, b"x"),
            record(0, 24, b"x"),
            record(1, HANDSHAKE, &[0; 400]),
            record(1, CHANGE_CIPHER_SPEC, &[1]),
            cut,
            vec![HANDSHAKE, 0xfe],
        ] {
            assert!(!passes(&mut server, &forged), "{forged:02x?}");
        }
    }

    #[test]
    fn a_chain_of_one_byte_fragments_is_cut_after_a_bounded_number() {
        let mut client = Records::new(true);
        let passed = (1..26_000).filter(|at| passes(&mut client, &handshake(11, 7, 26_000, *at, 1))).count();
        assert_eq!(passed, 0, "longer than a message may be");
        let passed = (1..9_000).filter(|at| passes(&mut client, &handshake(11, 7, 9_000, *at, 1))).count();
        assert_eq!(passed, usize::from(PLAIN_MAX));
        assert!(!passes(&mut client, &handshake(11, 7, 9_000, 0, 2)));
    }

    #[test]
    fn after_the_handshake_only_a_server_takes_the_last_flight_again() {
        let flight = [
            handshake(11, 2, 400, 0, 400),
            handshake(16, 3, 66, 0, 66),
            handshake(15, 4, 76, 0, 76),
            record(0, CHANGE_CIPHER_SPEC, &[1]),
            record(1, HANDSHAKE, &[0; 48]),
        ];
        let mut server = Records::new(false);
        assert!(passes(&mut server, &handshake(1, 0, 120, 0, 120)));
        assert!(flight.iter().all(|record| passes(&mut server, record)));
        server.complete();
        assert!(passes(&mut server, &flight.concat()), "the answer was lost");
        let others =
            [handshake(1, 0, 120, 0, 120), handshake(11, 5, 400, 0, 400), handshake(16, 3, 66, 1, 65)];
        assert!(!others.iter().any(|record| passes(&mut server, record)));
        let repeats = (0..1_000).filter(|_| passes(&mut server, &flight.concat())).count();
        assert!(repeats <= usize::from(SEALED_MAX), "{repeats}");

        let mut client = Records::new(true);
        client.complete();
        assert!(!flight.iter().any(|record| passes(&mut client, record)));
        for end in [&mut server, &mut client] {
            let data = record(1, APPLICATION_DATA, &[0; 1_200]);
            assert!((0..100_000).all(|_| passes(end, &data)));
        }
    }

    #[test]
    fn what_is_sealed_before_the_handshake_is_complete_is_bounded() {
        let mut server = Records::new(false);
        let early = record(1, APPLICATION_DATA, &[0; 1_200]);
        assert_eq!((0..10_000).filter(|_| passes(&mut server, &early)).count(), usize::from(SEALED_MAX));
    }
}
