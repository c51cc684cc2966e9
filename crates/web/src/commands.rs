//! Commands of the application: as JSON, and as lines that a person types into the chat.

use plenary_body::In;
use plenary_proto::app::line::Line;
use plenary_proto::app::{Command, Event, Listing, Reason};
use plenary_proto::seal::RoomSecret;

use crate::hosting::random;
use crate::page::Joined;

impl Joined {
    pub(crate) fn command_json(&mut self, now_us: u64, json: &str) {
        // serde_json reads floats and escapes as well, and is 8 KB more of the page
        match serde_json_core::from_str(json).map(|(command, _)| command) {
            Ok(command) => self.command(now_us, command),
            Err(_) => self.emit(Event::Trouble(Reason::WrongArgument.into())),
        }
    }

    pub(crate) fn line(&mut self, now_us: u64, line: &str) {
        match self.body.read_line(now_us, self.me, line) {
            None => {}
            Some(Ok(Line::Give { command, .. })) => self.command(now_us, command),
            Some(Ok(Line::Who)) => self.lists(Listing::People),
            Some(Ok(Line::Hands)) => self.lists(Listing::Hands),
            Some(Ok(_)) => self.lists(Listing::Commands),
            Some(Err(why)) => self.emit(Event::Trouble(why.reason().into())),
        }
    }

    fn lists(&mut self, list: Listing) {
        self.emit(Event::Lists { list });
    }

    fn command(&mut self, now_us: u64, command: Command) {
        let obeyed = match command {
            Command::RenewInvite => self.renew(now_us),
            Command::Ban(peer) => {
                let removes = Command::Remove(peer);
                let removed = self.step(now_us, |body, outs| body.obey(now_us, removes, outs));
                removed.and_then(|()| self.renew(now_us))
            }
            command => self.step(now_us, |body, outs| body.obey(now_us, command, outs)),
        };
        if let Err(why) = obeyed {
            self.emit(Event::Trouble(why.into()));
        }
    }

    /// Replaces the invite.
    fn renew(&mut self, now_us: u64) -> Result<(), Reason> {
        self.step(now_us, |body, _| body.brain().check(body.time(now_us), &Command::RenewInvite))?;
        let newest = self.body.roster().map_or(0, |roster| roster.rules.access.generation);
        let (before, key) = &self.invite;
        self.invite = before.replaced(newest, RoomSecret(random(&mut self.rng)), key);
        let (invite, key) = &self.invite;
        if let Some(hosted) = &mut self.hosted {
            hosted.follow(invite, key);
        }
        let (invite, key) = (invite.to_string(), key.for_member());
        self.input(now_us, In::Renew(key));
        self.emit(Event::Invite { invite });
        Ok(())
    }
}
