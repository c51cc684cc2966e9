//! Conversion of command-line flags to the library's options.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use plenary::media::codec::Codecs;
use plenary::media::source::{Source, TestSource, open_source};
use plenary::media::{BuiltinCodecs, Clock};
use plenary::{Consent, HostOptions, Options, TurnServer};

use crate::args::{AutoOrNever, NetworkArgs, RoomArgs};
use crate::{Failure, json, secrets, serving, usage};

/// Size and frame rate of the test source by default.
const TEST_PICTURE: (u16, u16, u8) = (1280, 720, 30);

/// Returns the folder in which this user's programs keep what they can find out again (XDG Base Directory
/// Specification);
/// `None` where the environment names none.
fn cache_folder() -> Option<PathBuf> {
    let of = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")))?;
    Some(folder.join("plenary"))
}

impl NetworkArgs {
    /// Returns the TURN servers with the login there.
    fn turn(&self) -> Result<Vec<TurnServer>, Failure> {
        let Some(user) = self.turn_user.as_deref() else { return Ok(Vec::new()) };
        let secret = secrets::turn(self.turn_secret.as_deref())?;
        Ok(self.turn.iter().map(|server| server.clone().login(user, secret.clone())).collect())
    }
}

impl RoomArgs {
    /// Returns the options that these flags mean for a peer; `mix` is its consent to mix unless --mix is
    /// given.
    pub(crate) fn options(&self, speaks: bool, views: bool, mix: Consent) -> Result<Options, Failure> {
        let mut options = Options::viewer(self.name.as_deref().unwrap_or("somebody"));
        (options.speaks, options.views) = (speaks, views);
        options.mix = self.mix.map_or(mix, Consent::from);
        options.relays = self.relay == AutoOrNever::Auto;
        options.uplink_bps_max = self.max_uplink;
        options.picture_max = self.speaker_size;
        options.shares = self.share;
        options.solo_allowed = !self.no_solo;
        options.bind = self.network.bind.clone();
        options.udp_ports = self.network.udp_ports.clone();
        options.udp_port = self.network.udp_port;
        options.ice_lite = self.network.ice_lite;
        options.maps_ports = self.network.port_map == AutoOrNever::Auto;
        options.nat_1to1 = self.network.nat_1to1;
        options.carries = self.network.carry == AutoOrNever::Auto;
        options.stun = self.network.stun.clone();
        options.turn = self.network.turn()?;
        options.tls_roots = serving::roots(&self.network.tls_trust)?;
        options.cache = cache_folder();
        options.testing.seed = self.seed;
        options.clock = Clock::start();
        Ok(options)
    }

    /// Returns the options of a joining peer. Flags that only have an effect at a host or in a demo are
    /// reported on stderr.
    pub(crate) fn guest_options(&self, speaks: bool, views: bool, mix: Consent) -> Result<Options, Failure> {
        let mut options = self.options(speaks, views, mix)?;
        self.say_unused();
        let hosts = [
            (self.program.is_some(), "--program"),
            (self.bitrate.is_some(), "--bitrate"),
            (self.mixers.is_some(), "--mixers"),
            (self.layout.is_some(), "--layout"),
            (self.k1.is_some(), "--k1"),
            (self.network.listen.is_some(), "--listen"),
        ];
        for (_, flag) in hosts.iter().filter(|(used, _)| *used) {
            say!("{flag} has no effect here: only the host sets it");
        }
        options.children_max = self.k.unwrap_or(options.children_max);
        Ok(options)
    }

    /// Reports flags that only have an effect in a demo.
    pub(crate) fn say_unused(&self) {
        if self.out.is_some() {
            say!("--out has no effect here: only a demo writes files there");
        }
    }

    /// Returns the room's options, for its host.
    pub(crate) fn host_options(&self) -> HostOptions {
        let default = HostOptions::default();
        let (listen, k, k1) = (default.listen, default.k, default.k1);
        let layout = self.layout.clone().unwrap_or_else(|| default.layout.clone());
        default
            .listen(self.network.listen.or(listen))
            .program(self.program())
            .k(self.k.unwrap_or(k))
            .k1(self.k1.unwrap_or(k1))
            .mixers(self.mixers())
            .layout(layout)
    }

    /// Returns the source of the `index`-th speaker: one of the files, in turn, or the test source.
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

    /// Checks that a file to be written is not one of the sources.
    pub(crate) fn spares_sources(&self, file: &Path) -> Result<(), Failure> {
        match self.source.iter().find(|source| json::are_one(source, file)) {
            Some(_) => Err(usage(format!("{} is a source: it can't be written to", file.display()))),
            None => Ok(()),
        }
    }

    /// Checks that every source file can be played; the error says why not.
    pub(crate) fn check_sources(&self, speaks: bool) -> Result<(), Failure> {
        self.source.iter().try_for_each(|file| open(file).map(|_| ()))?;
        if !speaks && !self.source.is_empty() {
            say!("--source is not played before this peer speaks");
        }
        Ok(())
    }
}

fn open(file: &Path) -> Result<Box<dyn Source>, Failure> {
    let codecs: Arc<dyn Codecs> = Arc::new(BuiltinCodecs::default());
    Ok(open_source(file, &codecs)?)
}
