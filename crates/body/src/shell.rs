//! What a shell around body and correspondence does, said once for natives, pages and simulated peers.

use plenary_proto::link_layout::Channel;
use plenary_proto::message::{Fingerprints, Message};
use plenary_proto::packet::LinkId;
use plenary_proto::rendezvous::{Address as SignalAddress, Outage};
use plenary_proto::{PeerId, Via};

use crate::body::{Body, In};
use crate::correspondence::{Correspondence, Gate, Step, Told};
use crate::outs::{Envelope, Out, Outs};

/// Whether an author may say a message that came by that transport.
pub type MaySay<'a> = &'a dyn Fn(&PeerId, &Via, &Message) -> bool;

/// A peer's IO around its body and its correspondence. The provided methods carry bytes from links and rendezvous to
/// the body, and back.
pub trait Shell {
    /// Calls the body with the time of the peer's clock, and carries out what it asks for. Nothing follows for a peer
    /// that is gone.
    fn with_body<T: Default>(&mut self, act: impl FnOnce(&mut Body, u64, &mut Outs) -> T) -> T;

    /// Calls the correspondence with the time of the peer's clock in microseconds, and whether the brain listens to
    /// such a message ([`RoomState::may_say`](plenary_proto::RoomState::may_say)).
    fn correspond<T: Default>(&mut self, act: impl FnOnce(&mut Correspondence, u64, MaySay<'_>) -> T) -> T;

    /// Returns the peer at the other end of a link, while the body has that link.
    fn peer_of(&self, link: LinkId) -> Option<PeerId>;

    /// Sends an output on its links.
    fn send(&mut self, out: Out);

    /// Hands an envelope to the rendezvous.
    fn post(&mut self, to: SignalAddress, envelope: Vec<u8>);

    /// Tells the application.
    fn tell(&mut self, told: Told);

    /// Hands an input to the body.
    fn input(&mut self, input: In) {
        self.with_body(|body, now_us, outs| body.handle(now_us, input, outs));
    }

    /// Carries out what the correspondence asks for.
    fn take_steps(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Input(input) => self.input(input),
                Step::Out(out) => self.send(out),
                Step::Post(to, envelope) => self.post(to, envelope),
                Step::Tell(told) => self.tell(told),
            }
        }
    }

    /// A link is connected, with these certificates.
    fn connected(&mut self, link: LinkId, fingerprints: Fingerprints) {
        if let Some(peer) = self.peer_of(link) {
            let step =
                self.correspond(|correspondence, _, _| correspondence.connected(link, &peer, fingerprints));
            self.take_steps(step);
        }
    }

    /// A link has ended.
    fn disconnected(&mut self, link: LinkId) {
        self.correspond(|correspondence, _, _| correspondence.ended(link));
        self.input(In::LinkDown(link));
    }

    /// Bytes have come on a channel of a link.
    fn received(&mut self, link: LinkId, channel: Channel, bytes: &[u8]) {
        let Some(peer) = self.peer_of(link) else { return };
        match self.correspond(|correspondence, _, _| correspondence.judge(link, &peer, channel, bytes)) {
            Gate::Shut(steps) => self.take_steps(steps),
            Gate::Open => {
                let heard =
                    self.with_body(|body, now_us, outs| body.received(now_us, link, channel, bytes, outs));
                if let Some(heard) = heard {
                    let steps = self.correspond(|correspondence, now_us, may_say| {
                        correspondence.read(&heard, now_us, may_say)
                    });
                    self.take_steps(steps);
                }
            }
        }
    }

    /// The rendezvous has delivered an envelope in the name of `from`.
    fn delivered(&mut self, from: PeerId, envelope: &[u8]) {
        let steps = self.correspond(|correspondence, now_us, may_say| {
            correspondence.open(from, envelope, now_us, may_say)
        });
        self.take_steps(steps);
    }

    /// The rendezvous takes one envelope for the host ahead of its welcome.
    fn signal_opens(&mut self) {
        self.input(In::SignalOpens);
    }

    /// The connection with the rendezvous was established, or lost with that cause.
    fn signal_changed(&mut self, now: Result<(), Outage>) {
        let steps = self.correspond(|correspondence, _, _| correspondence.signal_changed(now));
        self.take_steps(steps);
    }

    /// The rendezvous is out of reach for good.
    fn signal_ended(&mut self) {
        let steps = self.correspond(|correspondence, _, _| correspondence.signal_ended());
        self.take_steps(steps);
    }

    /// The rendezvous tells its wall clock.
    fn told_time(&mut self, unix_s: u64) {
        let steps = self.correspond(|correspondence, now_us, _| correspondence.told_time(unix_s, now_us));
        self.take_steps(steps);
    }

    /// The rendezvous could not deliver an envelope.
    fn undelivered(&mut self, to: SignalAddress) {
        self.input(In::Undeliverable(match to {
            SignalAddress::Peer(peer) => Some(peer),
            SignalAddress::Host => None,
        }));
    }

    /// The body has a message for an envelope.
    fn post_sealed(&mut self, envelope: Envelope) {
        let step = self.correspond(|correspondence, now_us, _| correspondence.seal(envelope, now_us));
        self.take_steps(step.into_iter().collect());
    }
}
