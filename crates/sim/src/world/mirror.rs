//! What checkers and reports read of a body: the world notes it as it passes between brain and body.

use plenary_proto::{Output, Verdict};

use super::World;
use crate::peer::Served;
use crate::shell::Passed;

impl World {
    /// Notes what has passed between a brain and its body since the last call.
    pub(super) fn note_passed(&mut self, at: usize) {
        let passed = match self.peers[at].shell() {
            Some(shell) => std::mem::take(&mut shell.hand.get().passed),
            None => return,
        };
        for passed in passed {
            match passed {
                Passed::Verdict(peer, verdict) => self.note_verdict(at, &peer, verdict),
                Passed::Said(output) => {
                    self.note_said(at, &output);
                    self.note_done(at, output);
                }
                Passed::Meant(output) => self.note_said(at, &output),
                Passed::Done(output) => self.note_done(at, output),
            }
        }
    }

    /// Notes an output of a brain.
    pub(super) fn note_said(&mut self, at: usize, output: &Output) {
        if self.narrates {
            eprintln!("{} {:?} {output:?}", self.now, self.peers[at].id);
        }
        self.trace.note(self.now, at, output);
    }

    fn note_verdict(&mut self, at: usize, of: &plenary_proto::PeerId, verdict: Verdict) {
        let of = self.directory.find(of);
        let peer = &mut self.peers[at];
        if of.is_some() && peer.parent == of {
            peer.parent_verdict = verdict;
        }
    }

    /// Marks a peer as changed if an output changes its part in the room.
    pub(super) fn note_change(&mut self, at: usize, output: &Output) {
        if let Output::Serve { .. }
        | Output::ServeHeads(_)
        | Output::Unserve(_)
        | Output::Watch { .. }
        | Output::Mandate(..)
        | Output::Role(_)
        | Output::Event(_) = output
        {
            self.changed.insert(at);
        }
    }

    /// Notes an output that a body has carried out.
    fn note_done(&mut self, at: usize, output: Output) {
        self.note_change(at, &output);
        let now = self.now;
        match output {
            Output::Serve { peer, sound, .. } => {
                if let Some(child) = self.directory.find(&peer) {
                    let served =
                        Served { child, media: true, in_tree: sound, since: now, ..Served::default() };
                    self.peers[at].serve(served);
                }
            }
            Output::ServeHeads(peer) => {
                if let Some(child) = self.directory.find(&peer) {
                    self.peers[at].serve(Served { child, since: now, ..Served::default() });
                }
            }
            Output::Unserve(peer) => {
                if let Some(child) = self.directory.find(&peer) {
                    self.peers[at].served.retain(|served| served.child != child);
                }
            }
            Output::Watch { parent, backup } => {
                let [parent, backup] = [parent, backup].map(|peer| self.directory.find(&peer?));
                let peer = &mut self.peers[at];
                if peer.parent != parent {
                    peer.parent_verdict = Verdict::Ok;
                }
                (peer.parent, peer.backup) = (parent, backup);
            }
            Output::Mandate(in_force) => self.peers[at].in_force = in_force,
            Output::Role(role) => self.peers[at].role = Some(role),
            Output::SendOwn(to) => self.peers[at].sending_to = to.into_iter().map(|(peer, _)| peer).collect(),
            Output::Solos(solos) => self.peers[at].solos = solos,
            Output::Voices(routes) => self.peers[at].voices = routes,
            Output::Event(event) => self.follow_event(at, event),
            _ => {}
        }
    }
}
