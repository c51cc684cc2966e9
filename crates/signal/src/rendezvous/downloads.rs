//! Limits on what visitors download of a page: concurrent requests and bytes per address, and bytes per second of all
//! strangers.
//!
//! At a limit a request or a body waits, since a browser shows a slow page, but doesn't repeat a refused request.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Error, Extension};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::Lobby;
use super::outflow::{Kind, Outflow, TURN_LEN_MAX};
use crate::gate::Pass;
use crate::limits::{Bucket, Limits};

/// Bytes accounted for the head of a response, in addition to its body. Heads of the page's files have some 700 bytes.
const HEAD_LEN: usize = 1024;
/// Bytes accounted for a response that only refuses or redirects.
const REFUSAL_LEN: usize = 256;
/// Part of [`Limits::http_max`] for which a request waits for others of its address: 30 s by default. A guess.
const WAIT_PART: u32 = 4;
/// Value of `Retry-After` for a request that has waited in vain, in seconds. A guess.
const RETRY_AFTER_S: u64 = 10;

/// What an address downloads.
#[derive(Debug)]
pub(crate) struct Downloads {
    /// One permit for each request at a time.
    requests: Arc<Semaphore>,
    bytes: Mutex<Bucket>,
}

impl Downloads {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Downloads {
        let bytes = Mutex::new(Bucket::new(limits.page_bytes_per_address, now));
        Downloads { requests: Arc::new(Semaphore::new(limits.page_requests_per_address_max)), bytes }
    }

    /// Whether the token bucket is full, so that a new entry would behave alike.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).is_full(now)
    }

    /// Takes bytes of the address' own limit; returns the time until they may be sent.
    fn take(&self, len: usize) -> Duration {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).take(len, Instant::now())
    }
}

/// Sends what a page's routes answer within the limits.
pub(super) async fn pace(
    State(lobby): State<Lobby>,
    pass: Option<Extension<Arc<Pass>>>,
    address: Option<Extension<ConnectInfo<SocketAddr>>>,
    request: Request,
    next: Next,
) -> Response {
    // below another web server, which has limits of its own, there is neither
    let (Some(Extension(pass)), Some(Extension(ConnectInfo(address)))) = (pass, address) else {
        return next.run(request).await;
    };
    let downloads = pass.downloads(Instant::now());
    let wait_max = lobby.switchboard.limits().http_max / WAIT_PART;
    let Ok(Ok(permit)) = timeout(wait_max, downloads.requests.clone().acquire_owned()).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_S)]).into_response();
    };
    let pace = Pace { outflow: lobby.outflow, downloads, ip: address.ip(), _permit: Some(permit) };
    let pace = Arc::new(pace);
    pace.turn(HEAD_LEN).await;
    next.run(request).await.map(|inner| Body::new(Paced { inner, rest: Bytes::new(), turn: None, pace }))
}

/// Paces refusals and redirects outside of the page, which a stranger gets for requests of a few bytes.
pub(super) async fn pace_refusals(
    State(lobby): State<Lobby>,
    pass: Option<Extension<Arc<Pass>>>,
    address: Option<Extension<ConnectInfo<SocketAddr>>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let is_served = response.status().is_informational() || response.status().is_success();
    if let (false, Some(Extension(pass)), Some(Extension(ConnectInfo(address)))) = (is_served, pass, address)
    {
        let downloads = pass.downloads(Instant::now());
        Pace { outflow: lobby.outflow, downloads, ip: address.ip(), _permit: None }.turn(REFUSAL_LEN).await;
    }
    response
}

/// The limits of one answer.
struct Pace {
    outflow: Arc<Outflow>,
    downloads: Arc<Downloads>,
    ip: IpAddr,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Pace {
    async fn turn(&self, len: usize) {
        sleep(self.downloads.take(len)).await;
        if let Some(come) = self.outflow.turn(self.ip, Kind::Page, len) {
            come.await;
        }
    }
}

/// The body of an answer, in parts that wait for their turns.
struct Paced {
    inner: Body,
    /// What has come of `inner`, and waits.
    rest: Bytes,
    turn: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pace: Arc<Pace>,
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            let len = self.rest.len().min(TURN_LEN_MAX);
            if let Some(turn) = &mut self.turn {
                ready!(turn.as_mut().poll(context));
                self.turn = None;
                return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(len)))));
            }
            if len > 0 {
                let pace = self.pace.clone();
                self.turn = Some(Box::pin(async move { pace.turn(len).await }));
                continue;
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return Poll::Ready(other),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
