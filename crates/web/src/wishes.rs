//! Wishes of the user, as commands to the brain.

use plenary_body::{In, Solo, layout};
use plenary_media::compose::Layout;
use plenary_proto::bounded::List;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{Delivery, MIXERS_MAX, Muted};
use plenary_proto::seal::RoomSecret;
use plenary_proto::{Command, DataRefusal, PeerId};

use crate::hosting::{mix_policy, random};
use crate::page::Joined;
use crate::report::PageEvent;
use crate::wire::{PageLayout, Wish};

impl Joined {
    pub(crate) fn wish(&mut self, now_us: u64, wish: Wish) {
        if matches!(wish, Wish::Remove(_) | Wish::RemoveUnnamed | Wish::Renew | Wish::End)
            && let Err(why) = self.body.brain().check_settled()
        {
            return self.emit(&PageEvent::Trouble(why.into()));
        }
        let command = match wish {
            Wish::Leave => Command::Leave,
            Wish::Speak(speaks) => Command::Speak(speaks),
            Wish::MutePicture(muted) => {
                return self.step(now_us, |body, _| body.mute(MediaKind::Video, muted));
            }
            Wish::MuteSound(muted) => {
                return self.step(now_us, |body, _| body.mute(MediaKind::Sound, muted));
            }
            Wish::Tell(text) => return self.say(now_us, text),
            Wish::Pin(speaker) => {
                let speaker = speaker.map(PeerId);
                let solo = speaker.map(|speaker| Solo { speaker, instead: true });
                self.step(now_us, |body, outs| body.set_solo(solo, outs));
                Command::Solo(speaker)
            }
            Wish::TakeBack => Command::HandOver(self.me),
            Wish::Admit(peer) => Command::Admit(PeerId(peer)),
            Wish::Deny(peer) => Command::Deny(PeerId(peer)),
            Wish::Lobby(on) => Command::Lobby(on),
            Wish::Lock(on) => Command::Lock(on),
            Wish::OpenStage(on) => Command::OpenStage(on),
            Wish::Promote(peer) => Command::Promote(PeerId(peer)),
            Wish::Demote(peer) => Command::Demote(PeerId(peer)),
            Wish::Remove(peer) => Command::Remove(PeerId(peer)),
            Wish::AskToMute { peer, picture, sound } => {
                Command::AskToMute(PeerId(peer), Muted { picture, sound })
            }
            Wish::Layout(layout) => {
                let layout = match layout {
                    PageLayout::Grid => Layout::Grid,
                    PageLayout::Active => Layout::Active,
                    PageLayout::Share => Layout::Share,
                };
                // these three always fit
                let Ok(layout) = layout::to_roster(&layout) else { return };
                Command::SetLayout(layout)
            }
            Wish::Mixers(mixers) => Command::SetMixers(mixers.min(MIXERS_MAX as u8)),
            Wish::HandOver(peer) => Command::HandOver(PeerId(peer)),
            Wish::Renew => return self.renew(now_us),
            Wish::End => Command::End,
            Wish::ChildrenMax(children_max) => Command::SetChildrenMax(children_max),
            Wish::AskRates => Command::AskRates,
            Wish::MixByNamed(by_named) => Command::SetMixing(mix_policy(by_named)),
            Wish::RemoveUnnamed => Command::RemoveUnnamed,
        };
        // the brain refuses what this peer may not do
        self.input(now_us, In::Command(command));
    }

    /// Tells the room a text.
    fn say(&mut self, now_us: u64, text: String) {
        let told = List::try_from(text.into_bytes()).map_err(|_| DataRefusal::TooLong).and_then(|bytes| {
            self.step(now_us, |body, outs| body.publish_data(Delivery::Reliable, bytes, now_us, outs))
        });
        if let Err(refusal) = told {
            self.emit(&PageEvent::Trouble(refusal.reason().into()));
        }
    }

    /// Replaces the invite.
    fn renew(&mut self, now_us: u64) {
        let newest = self.body.roster().map_or(0, |roster| roster.access.generation);
        if !self.is_host() {
            return;
        }
        let (before, key) = &self.invite;
        self.invite = before.replaced(newest, RoomSecret(random(&mut self.rng)), key);
        let (invite, key) = &self.invite;
        if let Some(hosted) = &mut self.hosted {
            hosted.follow(invite, key);
        }
        let (invite, key) = (invite.to_string(), key.for_member());
        self.input(now_us, In::Command(Command::Renew(key)));
        self.emit(&PageEvent::Invite { invite });
    }
}
