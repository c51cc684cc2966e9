//! What a peer publishes: tracks, of which each has a kind and a handle that ends it.
//!
//! A peer publishes at most one camera, one screen or film, and one sound, each for itself: two pictures at most.

use std::sync::Arc;

use parking_lot::Mutex;
use plenary_body::Picture;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::driver::Request;
use crate::error::{Error, PublishRefusal};

/// Content of a track. A peer publishes at most one picture of a camera, one of a screen or film beside it, and one
/// sound at a time. Where nobody mixes, the others get the screen in place of the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub enum TrackKind {
    /// A camera's picture and a voice.
    Speaker,
    /// A camera's picture, without sound.
    Camera,
    /// A voice, without a picture.
    Voice,
    /// A screen or a film, with its sound. [`Layout::Share`] shows its picture large. Two-channel sound is encoded in
    /// stereo at a bit rate for music, and quiet passages are always sent (no DTX).
    ///
    /// [`Layout::Share`]: crate::media::compose::Layout::Share
    Share,
    /// A screen's picture, without sound.
    Screen,
}

impl TrackKind {
    /// Whether a track of this kind has a picture.
    pub fn has_picture(self) -> bool {
        self != TrackKind::Voice
    }

    /// Whether a track of this kind has sound.
    pub fn has_sound(self) -> bool {
        matches!(self, TrackKind::Speaker | TrackKind::Voice | TrackKind::Share)
    }

    /// Whether a track of this kind is a screen or a film.
    pub fn shares(self) -> bool {
        matches!(self, TrackKind::Share | TrackKind::Screen)
    }

    /// Returns what a picture of this kind shows.
    pub(crate) fn picture(self) -> Picture {
        if self.shares() { Picture::Share } else { Picture::Camera }
    }
}

/// The tracks that a peer publishes, as its application's handles have them.
#[derive(Debug, Default)]
pub(crate) struct Published(Mutex<Claims>);

#[derive(Debug, Default)]
struct Claims {
    last_id: u64,
    /// Tracks with the camera's picture, with a screen's or film's, and with the sound.
    camera: Option<u64>,
    share: Option<u64>,
    sound: Option<u64>,
}

impl Claims {
    /// Returns the claim of a kind's picture, and the refusal if it is taken.
    fn picture(&mut self, kind: TrackKind) -> (&mut Option<u64>, PublishRefusal) {
        match kind.picture() {
            Picture::Camera => (&mut self.camera, PublishRefusal::SecondCamera),
            Picture::Share => (&mut self.share, PublishRefusal::SecondShare),
        }
    }
}

impl Published {
    /// Claims picture, sound or both for a new track, and returns its id.
    pub(crate) fn claim(&self, kind: TrackKind) -> Result<u64, Error> {
        let mut claims = self.0.lock();
        let (picture, taken) = claims.picture(kind);
        if kind.has_picture() && picture.is_some() {
            return Err(Error::Publish(taken));
        }
        if kind.has_sound() && claims.sound.is_some() {
            return Err(Error::Publish(PublishRefusal::SecondSound));
        }
        claims.last_id += 1;
        let id = Some(claims.last_id);
        if kind.has_picture() {
            *claims.picture(kind).0 = id;
        }
        if kind.has_sound() {
            claims.sound = id;
        }
        Ok(claims.last_id)
    }

    fn free(&self, id: u64) {
        let mut claims = self.0.lock();
        let Claims { camera, share, sound, .. } = &mut *claims;
        for claim in [camera, share, sound] {
            claim.take_if(|claimed| *claimed == id);
        }
    }
}

/// The end of a track that an application holds: it unpublishes when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) id: u64,
    pub(crate) kind: TrackKind,
    pub(crate) published: Arc<Published>,
    pub(crate) requests: mpsc::WeakSender<Request>,
    pub(crate) runtime: Handle,
    /// Whether dropping this leaves the track published.
    pub(crate) detached: bool,
}

impl Hold {
    /// Unpublishes, and waits until the track's threads have ended.
    pub(crate) async fn end(mut self) {
        self.published.free(self.id);
        self.detached = true;
        let (reply, ended) = oneshot::channel();
        let Some(requests) = self.requests.upgrade() else { return };
        if requests.send(Request::Unpublish(self.id, Some(reply))).await.is_ok() {
            drop(requests); // the room may be dropped meanwhile
            let _ = ended.await;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.detached {
            return;
        }
        self.published.free(self.id);
        let Some(requests) = self.requests.upgrade() else { return };
        let request = Request::Unpublish(self.id, None);
        if let Err(mpsc::error::TrySendError::Full(request)) = requests.try_send(request) {
            self.runtime.spawn(async move { requests.send(request).await });
        }
    }
}

/// A published source or file. Dropping the track unpublishes it.
#[derive(Debug)]
#[must_use = "dropping a track unpublishes it; `detach` keeps it published"]
pub struct Track(pub(crate) Hold);

impl Track {
    /// Returns what the track has.
    pub fn kind(&self) -> TrackKind {
        self.0.kind
    }

    /// Unpublishes, and waits until encoder and source have ended.
    pub async fn unpublish(self) {
        self.0.end().await;
    }

    /// Gives up the handle: the source is published until the room is closed.
    pub fn detach(mut self) {
        self.0.detached = true;
    }
}
