//! Commands of the application: checked, carried out here or by the brain, and read from lines that a person types.

use plenary_proto::app::line::{self, Among, Line, LineError, Lookup};
use plenary_proto::app::{Command, Reason};
use plenary_proto::identity::MediaKind;
use plenary_proto::{Input, PeerId};

use crate::people::People;
use crate::{Body, Outs};

impl Body {
    /// Carries out a command of the application. [`Command::RenewInvite`] and [`Command::Ban`] are checked only: what
    /// drives this body makes the invite.
    ///
    /// # Errors
    /// The reason against it ([`RoomState::check`](plenary_proto::RoomState::check)); nothing was done.
    pub fn obey(&mut self, now_us: u64, command: Command, outs: &mut Outs) -> Result<(), Reason> {
        self.brain().check(self.time(now_us), &command)?;
        match command {
            Command::MutePicture(muted) => self.mute(MediaKind::Video, muted),
            Command::MuteSound(muted) => self.mute(MediaKind::Sound, muted),
            Command::Solo(solo) => {
                self.set_solo(solo, outs);
                self.input(now_us, Input::Command(command), outs);
            }
            command => self.input(now_us, Input::Command(command), outs),
        }
        Ok(())
    }

    /// Reads a line that a person has typed; `None` if it is empty.
    ///
    /// # Errors
    /// The line is no command, or its argument doesn't fit.
    pub fn read_line(&self, now_us: u64, me: PeerId, line: &str) -> Option<Result<Line, LineError>> {
        line::parse(line, &Known { body: self, now_us, me })
    }
}

/// The peers that a line may mean.
struct Known<'a> {
    body: &'a Body,
    now_us: u64,
    me: PeerId,
}

impl Lookup for Known<'_> {
    fn me(&self) -> PeerId {
        self.me
    }

    fn find(&self, among: Among, typed: &str) -> Result<PeerId, LineError> {
        People::among(self.body, self.now_us, among).find(typed)
    }
}
