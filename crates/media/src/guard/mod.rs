//! Codecs that can't take their caller with them: a codec that fails, panics or hangs is replaced.
//!
//! Hardware encoders lose their sessions, drivers hang, and an application's own codec has bugs. [`GuardedCodecs`]
//! wraps any [`Codecs`]; what it makes behaves as the wrapped codec does until that dies. Then it climbs a ladder, and
//! reports each step as a [`CodecFailure`]:
//!
//! 1. a new instance of the same codec;
//! 2. the built-in codec, and once more a new instance of it;
//! 3. it gives up. A decoder then goes on with new instances of the last codec, since what killed it may be the stream
//!    of one speaker; an encoder fails from then on, and its owner withdraws.
//!
//! An instance that has worked for [`RECOVERED`] gets step 1 again when it dies. An application's codec runs on a
//! thread of its own, which is left behind when the codec hangs; the built-in ones run on the caller's thread. A
//! picture or sound that killed an encoder is encoded again by the next one, so that only time is lost.

mod hosted;
mod parts;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::codec::{CodecError, Codecs, SoundDecoder, SoundEncoder, VideoDecoder, VideoEncoder, VideoFormat};
use hosted::Hosted;
use parts::{Sounds, SoundsBack, Views, ViewsBack};

/// Time after which a codec that hasn't answered counts as hung: as long as a frozen picture that viewers count
/// (webrtc-stats, freezeCount). Only time in which the caller itself was scheduled counts.
pub const CALL_MAX: Duration = Duration::from_millis(300);
/// Maximum time for a codec to be made, which opens a session of the hardware. A guess: with two hung codecs the
/// picture is back within a second.
pub const MAKE_MAX: Duration = Duration::from_millis(500);
/// Time of work after which an instance that dies counts as sound: it gets a new instance once more. A guess.
pub const RECOVERED: Duration = Duration::from_secs(60);
/// Maximum number of hung instances of an application's codecs per guard; each leaves a thread behind. Past it the
/// application's codecs aren't used any more. A guess.
pub const HUNG_MAX: u32 = 8;
/// Time without a single picture after which an encoder that leaves all pictures out counts as dead: as long as viewers
/// wait before they complain. Rate controls leave out a few in a row.
const PICTURELESS_MAX: Duration = Duration::from_secs(1);
/// Number of keyframes or packets of sound in a row that a decoder must refuse to count as dead: after a loss it
/// refuses all other pictures. A guess.
const REFUSED_MAX: u32 = 4;

/// Part of the codecs that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub enum CodecPart {
    /// Encoder of a program's pictures.
    ProgramEncoder,
    /// Encoder of a peer's own pictures.
    VideoEncoder,
    /// Decoder of pictures.
    VideoDecoder,
    /// Encoder of sound.
    SoundEncoder,
    /// Decoder of sound.
    SoundDecoder,
}

/// Number of [`CodecPart`]s.
const PARTS: usize = 5;

/// What followed the failure of a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub enum CodecRemedy {
    /// A new instance of the same codec goes on.
    Restarted,
    /// The built-in codec goes on.
    ReplacedByBuiltin,
    /// Nothing is left to try.
    GaveUp,
}

impl CodecPart {
    fn name(self) -> &'static str {
        match self {
            CodecPart::ProgramEncoder => "program encoder",
            CodecPart::VideoEncoder => "video encoder",
            CodecPart::VideoDecoder => "video decoder",
            CodecPart::SoundEncoder => "sound encoder",
            CodecPart::SoundDecoder => "sound decoder",
        }
    }
}

impl fmt::Display for CodecPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for CodecRemedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CodecRemedy::Restarted => "a new instance goes on",
            CodecRemedy::ReplacedByBuiltin => "the built-in codec goes on",
            CodecRemedy::GaveUp => "nothing is left to try",
        })
    }
}

/// A codec that failed, and what followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecFailure {
    /// The part that failed.
    pub part: CodecPart,
    /// What happened, in one line.
    pub text: String,
    /// What followed.
    pub remedy: CodecRemedy,
}

/// How an instance of a codec died.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Death {
    Failed(String),
    Panicked(String),
    Hung(Duration),
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Death::Failed(text) => f.write_str(text),
            Death::Panicked(text) => write!(f, "it panicked: {text}"),
            Death::Hung(after) => write!(f, "it did not answer within {} ms", after.as_millis()),
        }
    }
}

type Report = Arc<dyn Fn(CodecFailure) + Send + Sync>;

/// Codecs that survive the death of the wrapped ones: a new instance once, then the built-in codec, if allowed. Clones
/// share what they have learnt.
#[derive(Clone)]
pub struct GuardedCodecs {
    shared: Arc<Shared>,
    report: Report,
}

struct Shared {
    own: Arc<dyn Codecs>,
    /// The built-in codecs, unless they are the wrapped ones.
    spare: Option<Arc<dyn Codecs>>,
    /// Whether the wrapped codecs are the built-in ones, which need no thread of their own.
    is_builtin: bool,
    /// Rung at which the next instance of each part begins.
    rungs: [AtomicU8; PARTS],
    hung: AtomicU32,
    /// Whether an encoder of programs has worked.
    has_worked: AtomicBool,
    /// CPU time of the codecs' own threads, in nanoseconds.
    cpu_ns: [Arc<AtomicU64>; PARTS],
}

/// Rungs of the ladder: the wrapped codec, a new instance of it, the built-in codec, a new instance of that.
const SPARE_RUNG: u8 = 2;
/// Above all rungs: an encoder that has given up isn't made again.
const NONE_LEFT: u8 = 4;

impl GuardedCodecs {
    /// Wraps codecs. `falls_back`: whether the built-in codecs stand in for those that die. `report` is called on the
    /// thread that uses the codec; it must not block.
    pub fn new(
        codecs: Arc<dyn Codecs>,
        falls_back: bool,
        report: impl Fn(CodecFailure) + Send + Sync + 'static,
    ) -> GuardedCodecs {
        let is_builtin = is_builtin(&*codecs);
        let shared = Shared {
            own: codecs,
            spare: builtin().filter(|_| falls_back && !is_builtin),
            is_builtin,
            rungs: Default::default(),
            hung: AtomicU32::new(0),
            has_worked: AtomicBool::new(false),
            cpu_ns: Default::default(),
        };
        GuardedCodecs { shared: Arc::new(shared), report: Arc::new(report) }
    }

    /// Returns the same codecs with reports to another receiver.
    pub fn reporting(&self, report: impl Fn(CodecFailure) + Send + Sync + 'static) -> GuardedCodecs {
        GuardedCodecs { shared: Arc::clone(&self.shared), report: Arc::new(report) }
    }

    /// Returns the CPU time spent on the codecs' own threads for that part, in nanoseconds.
    pub(crate) fn cpu_ns(&self, part: CodecPart) -> u64 {
        self.shared.cpu_ns[part as usize].load(Ordering::Relaxed)
    }

    fn guard<C: ?Sized + 'static>(
        &self,
        part: CodecPart,
        make: impl Fn(&dyn Codecs) -> Result<Box<C>, CodecError> + Send + Sync + 'static,
    ) -> Guarded<C> {
        let rung = self.shared.rungs[part as usize].load(Ordering::Relaxed);
        let codecs = self.clone();
        let end = (rung >= NONE_LEFT).then(|| "nothing is left to try".to_owned());
        Guarded { codecs, part, make: Arc::new(make), rung, begun: Instant::now(), running: None, end }
    }
}

/// Returns whether these are the built-in codecs.
pub fn is_builtin(codecs: &dyn Codecs) -> bool {
    #[cfg(feature = "codecs")]
    return (codecs as &dyn Any).is::<crate::BuiltinCodecs>();
    #[cfg(not(feature = "codecs"))]
    return (codecs as &dyn Any).is::<()>(); // there are none
}

fn builtin() -> Option<Arc<dyn Codecs>> {
    #[cfg(feature = "codecs")]
    {
        use std::sync::OnceLock;
        static BUILTIN: OnceLock<Arc<dyn Codecs>> = OnceLock::new();
        Some(BUILTIN.get_or_init(|| Arc::new(crate::BuiltinCodecs::default())).clone())
    }
    #[cfg(not(feature = "codecs"))]
    None
}

impl Codecs for GuardedCodecs {
    fn name(&self) -> Option<String> {
        self.shared.own.name()
    }

    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        let format = *format;
        let guarded = self.guard(CodecPart::VideoEncoder, move |codecs| codecs.video_encoder(&format));
        Ok(Box::new(Views::new(guarded)?))
    }

    fn program_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        let format = *format;
        let guarded = self.guard(CodecPart::ProgramEncoder, move |codecs| codecs.program_encoder(&format));
        Ok(Box::new(Views::new(guarded)?))
    }

    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        let guarded = self.guard(CodecPart::VideoDecoder, |codecs| codecs.video_decoder());
        Ok(Box::new(ViewsBack::new(guarded)?))
    }

    /// Not guarded: a file that ends a decoder's session ends that source alone.
    fn reordering_video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        self.shared.own.reordering_video_decoder()
    }

    fn sound_encoder(&self, channels: u8, bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        let make = move |codecs: &dyn Codecs| codecs.sound_encoder(channels, bitrate_bps);
        Ok(Box::new(Sounds::new(self.guard(CodecPart::SoundEncoder, make))?))
    }

    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        let make = move |codecs: &dyn Codecs| codecs.sound_decoder(channels);
        Ok(Box::new(SoundsBack::new(self.guard(CodecPart::SoundDecoder, make))?))
    }
}

type Make<C> = Arc<dyn Fn(&dyn Codecs) -> Result<Box<C>, CodecError> + Send + Sync>;

/// One encoder or decoder with its ladder.
struct Guarded<C: ?Sized + 'static> {
    codecs: GuardedCodecs,
    part: CodecPart,
    make: Make<C>,
    rung: u8,
    /// When the present instance was made.
    begun: Instant,
    running: Option<Running<C>>,
    /// What the codec died of, once nothing is left to try.
    end: Option<String>,
}

/// A living instance.
enum Running<C: ?Sized + 'static> {
    /// Called on the caller's thread.
    Here(Box<C>),
    /// On a thread of its own.
    Hosted(Hosted<C>),
}

impl<C: ?Sized + 'static> Guarded<C> {
    /// Returns the living instance, a new one if needed.
    fn running(&mut self) -> Result<&mut Running<C>, CodecError> {
        while self.running.is_none() {
            if let Some(end) = self.end.as_ref().filter(|_| !self.is_decoder()) {
                return Err(self.error(end.clone()));
            }
            match self.instance() {
                Ok(running) => (self.running, self.begun) = (Some(running), Instant::now()),
                // a format that the codec refuses says nothing about others
                Err(death) => self.died(&death, matches!(death, Death::Failed(_)))?,
            }
        }
        let gone = || CodecError::Failed { codec: "codec", code: "no instance".to_owned() };
        self.running.as_mut().ok_or_else(gone)
    }

    fn works(&self) {
        let is_program = self.part == CodecPart::ProgramEncoder;
        self.codecs.shared.has_worked.fetch_or(is_program, Ordering::Relaxed);
    }

    fn is_decoder(&self) -> bool {
        matches!(self.part, CodecPart::VideoDecoder | CodecPart::SoundDecoder)
    }

    /// Makes an instance of the present rung.
    fn instance(&self) -> Result<Running<C>, Death> {
        let shared = &self.codecs.shared;
        let spare = shared.spare.as_ref().filter(|_| self.rung >= SPARE_RUNG);
        let is_here = spare.is_some() || shared.is_builtin;
        if is_here {
            let codecs = spare.unwrap_or(&shared.own);
            let made = calm(|| (self.make)(&**codecs))?;
            return made.map(Running::Here).map_err(|error| Death::Failed(error.to_string()));
        }
        if shared.hung.load(Ordering::Relaxed) >= HUNG_MAX {
            return Err(Death::Failed(format!("{HUNG_MAX} instances hang already")));
        }
        let (make, own) = (Arc::clone(&self.make), Arc::clone(&shared.own));
        let spent = Arc::clone(&shared.cpu_ns[self.part as usize]);
        let hosted = Hosted::start(&self.part.to_string(), move || make(&*own), spent, MAKE_MAX);
        hosted.map(Running::Hosted).inspect_err(|death| self.count(death))
    }

    fn count(&self, death: &Death) {
        let hung = u32::from(matches!(death, Death::Hung(_)));
        self.codecs.shared.hung.fetch_add(hung, Ordering::Relaxed);
    }

    /// Climbs the ladder after a death, and reports it. `alone`: what a stream or a format can cause doesn't count
    /// against later instances.
    ///
    /// # Errors
    /// [`CodecError::Failed`] when nothing is left to try.
    fn died(&mut self, death: &Death, alone: bool) -> Result<(), CodecError> {
        if self.running.take().is_some() {
            self.count(death);
            if self.begun.elapsed() >= RECOVERED {
                self.rung &= SPARE_RUNG;
                self.end = None;
            }
        }
        let shared = &self.codecs.shared;
        let last = if shared.spare.is_some() { SPARE_RUNG + 1 } else { 1 };
        if self.rung >= last {
            let text = death.to_string();
            // a mixer that wants less work goes on with the encoder that it has
            let is_program = self.part == CodecPart::ProgramEncoder;
            let refused = alone && is_program && shared.has_worked.load(Ordering::Relaxed);
            if refused || self.end.replace(text.clone()).is_some() {
                return Err(self.error(text));
            }
            self.report(text.clone(), CodecRemedy::GaveUp);
            if !self.is_decoder() {
                shared.rungs[self.part as usize].store(NONE_LEFT, Ordering::Relaxed);
            }
            return Err(self.error(text));
        }
        self.rung += 1;
        if self.rung == SPARE_RUNG && !alone {
            // later instances don't begin with a codec that has died twice
            shared.rungs[self.part as usize].fetch_max(SPARE_RUNG, Ordering::Relaxed);
        }
        let replaced = self.rung == SPARE_RUNG;
        let remedy = if replaced { CodecRemedy::ReplacedByBuiltin } else { CodecRemedy::Restarted };
        self.report(death.to_string(), remedy);
        Ok(())
    }

    fn report(&self, text: String, remedy: CodecRemedy) {
        tracing::warn!("a {} failed, {remedy}: {text}", self.part);
        (self.codecs.report)(CodecFailure { part: self.part, text, remedy });
    }

    fn error(&self, code: String) -> CodecError {
        let codec = self.part.name();
        CodecError::Failed { codec, code }
    }
}

/// Calls into a codec; a panic becomes a [`Death`].
fn calm<T>(call: impl FnOnce() -> T) -> Result<T, Death> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| Death::Panicked(words_of(&*panic)))
}

/// Returns the words of a panic.
pub(crate) fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}

#[cfg(test)]
mod tests;
