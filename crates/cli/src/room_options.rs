//! From flags to the library's options.

use std::path::Path;
use std::sync::Arc;

use plenary::media::codec::Codecs;
use plenary::media::source::{Source, TestSource, open_source};
use plenary::media::{BuiltinCodecs, Clock};
use plenary::{Consent, HostOptions, Options, RoomEvent};

use crate::args::{RelayWord, RoomArgs};
use crate::demo::report::mode_word;
use crate::{Failure, not_yet};

/// Size and rate of the test source where nothing else is asked for.
const TEST_PICTURE: (u16, u16, u8) = (1280, 720, 30);

impl RoomArgs {
    /// The options that these flags mean for a peer of that kind.
    pub(crate) fn options(&self, speaks: bool, views: bool, mix: Consent) -> Result<Options, Failure> {
        if let Some(flag) = self.not_yet() {
            return Err(not_yet(flag));
        }
        if self.mixers > 1 {
            return Err(not_yet(&format!("--mixers {}", self.mixers)));
        }
        let mut options = Options::viewer(self.name.as_deref().unwrap_or("somebody"));
        (options.speaks, options.views) = (speaks, views);
        options.mix = self.mix.map_or(mix, Consent::from);
        options.relays = self.relay == RelayWord::Auto;
        options.children_max = self.k.max(self.k1);
        options.uplink_bps_max = self.max_uplink;
        options.picture_max = self.speaker_size;
        options.password = self.password.clone();
        options.udp_ports = self.network.udp_ports.clone();
        options.seed = self.seed;
        options.clock = Clock::start();
        Ok(options)
    }

    /// What a host lays down.
    pub(crate) fn host_options(&self) -> HostOptions {
        HostOptions {
            listen: self.network.listen.or(HostOptions::default().listen),
            program: self.program(),
            k: self.k,
            k1: self.k1,
            mixers: self.mixers,
            ..HostOptions::default()
        }
    }

    /// What the `index`-th speaker plays: its turn among the files, or the test source.
    pub(crate) fn source(&self, index: usize) -> Result<Box<dyn Source>, Failure> {
        match self.source.get(index.checked_rem(self.source.len()).unwrap_or(0)) {
            Some(file) => open(file),
            None => {
                let (width, height, fps) = match self.speaker_size {
                    Some(size) => (size.width, size.height, size.fps),
                    None => TEST_PICTURE,
                };
                let source = TestSource::new(index as u8, width, height, fps);
                Ok(Box::new(source))
            }
        }
    }

    /// Every file can be played: otherwise the line that says why.
    pub(crate) fn check_sources(&self, speaks: bool) -> Result<(), Failure> {
        self.source.iter().try_for_each(|file| open(file).map(|_| ()))?;
        if !speaks && !self.source.is_empty() {
            eprintln!("--source is not played: this peer does not speak");
        }
        Ok(())
    }
}

fn open(file: &Path) -> Result<Box<dyn Source>, Failure> {
    let codecs: Arc<dyn Codecs> = Arc::new(BuiltinCodecs::default());
    Ok(open_source(file, &codecs)?)
}

/// Tells a person what happens, on stderr.
pub(crate) fn tell(event: &RoomEvent) {
    match event {
        RoomEvent::Rendezvous { up: false, why: Some(why) } => eprintln!("rendezvous: {why}"),
        RoomEvent::Waiting { tries } => eprintln!("waiting for the host (asked {} times)", tries + 1),
        RoomEvent::Mode(mode) => eprintln!("mode: {}", mode_word(*mode)),
        RoomEvent::Parent(Some(parent)) => eprintln!("fed by {parent:?}"),
        RoomEvent::Parent(None) => eprintln!("fed by nobody: looking for another"),
        RoomEvent::NoMixer => eprintln!("nobody here consents to mix: there is no program"),
        RoomEvent::Elected { term, mixers, standbys, signatures, roster, .. } => {
            eprintln!(
                "term {term}: mixers {mixers:?}, standbys {standbys:?} ({signatures} of {roster} signed)"
            );
        }
        RoomEvent::TakenOver { rank, peer, polite } => {
            let why = if *polite { "the mixer left" } else { "the mixer fell silent" };
            eprintln!("{peer:?} takes over as {rank}: {why}");
        }
        RoomEvent::PeerMisbehaved { peer, dropped: true, .. } => {
            eprintln!("{peer:?} broke the rules: dropped")
        }
        RoomEvent::LinkTrouble(why) => eprintln!("a link could not be made: {why}"),
        _ => {}
    }
}
