//! Which pages may connect: those that this server serves, and those of origins that its operator lists.
//!
//! A browser names the origin of the page in a websocket's handshake, and in each request that opens a connection or
//! comes from another origin (RFC 6455, 10.2; Fetch, 3.2). Native peers name none. Without the check any page on the
//! web could make its visitors relays of a room, or reach a rendezvous in their local network.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use plenary_proto::bounded::plain;
use plenary_proto::rendezvous::{FromRendezvous, Refusal};
use tracing::warn;

use super::Lobby;
use super::seldom::Seldom;
use crate::page_origin::PageOrigin;

/// Characters of an origin in the log.
const LOGGED_LEN_MAX: usize = 100;

/// Pages that are let in.
#[derive(Debug)]
pub(super) struct Callers {
    /// Origins of pages elsewhere.
    listed: Vec<PageOrigin>,
    /// The name by which others reach this server, with its port.
    advertised: Option<Authority>,
    /// Whether a certificate proves the server's name to browsers, so that no false record of a name leads a page here.
    is_secure: bool,
    refused: Mutex<Seldom>,
}

impl Callers {
    /// `listening_port` is that of an advertised name without a port.
    pub(super) fn new(
        listed: Vec<PageOrigin>,
        advertised: Option<Authority>,
        is_secure: bool,
        listening_port: u16,
    ) -> Callers {
        let whole = |name: Authority| match name.port() {
            Some(_) => Some(name),
            None => format!("{name}:{listening_port}").parse().ok(),
        };
        let advertised = advertised.and_then(whole);
        Callers { listed, advertised, is_secure, refused: Mutex::default() }
    }

    /// Returns whether a page may connect by this request, or whether it comes from no page.
    fn admit(&self, request: &Request) -> bool {
        let headers = request.headers();
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (origin, further) = (origins.next(), origins.next());
        let Some(origin) = origin else { return true };
        let origin = origin.to_str().ok().and_then(|origin| origin.parse::<PageOrigin>().ok());
        let Some(origin) = origin.filter(|_| further.is_none()) else { return false };
        if self.listed.iter().any(|entry| origin.is_covered_by(entry)) {
            return true;
        }
        let advertised = self.advertised.as_ref().and_then(|name| origin.of_host(name.as_str()));
        if advertised.as_ref() == Some(&origin) {
            return true;
        }
        let mut hosts = headers.get_all(header::HOST).iter().filter_map(|host| host.to_str().ok());
        let asked = match (request.uri().authority(), hosts.next(), hosts.next()) {
            (Some(authority), ..) => Some(authority.as_str()),
            (None, Some(host), None) => Some(host),
            _ => None,
        };
        let is_own = asked.and_then(|host| origin.of_host(host)).as_ref() == Some(&origin);
        is_own && (self.is_secure || self.has_name_of(&origin))
    }

    /// Whether the host of an origin is this server's, as far as the server knows: a page that has a name of its own
    /// lead here (DNS rebinding) counts as one from elsewhere.
    fn has_name_of(&self, origin: &PageOrigin) -> bool {
        let is_at =
            |name: &Authority| origin.of_host(name.host()).is_some_and(|own| own.host() == origin.host());
        origin.is_of_address() || self.advertised.as_ref().is_none_or(is_at)
    }
}

/// Answers requests of pages that may not connect with 403, and with the refusal as a frame. Any page may read the
/// answer: a page that may not connect asks once why its websocket has failed.
pub(super) async fn check(State(lobby): State<Lobby>, request: Request, next: Next) -> Response {
    if lobby.callers.admit(&request) {
        return next.run(request).await;
    }
    let mut refused = lobby.callers.refused.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(count) = refused.due(Instant::now()) {
        let shown = |name| {
            let value = request.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
            plain(&String::from_utf8_lossy(value)).chars().take(LOGGED_LEN_MAX).collect::<String>()
        };
        let (origin, host) = (shown(header::ORIGIN), shown(header::HOST));
        warn!(%origin, %host, count, "a page from elsewhere was refused: --embed with its origin lets it in");
    }
    drop(refused);
    let fixed = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (StatusCode::FORBIDDEN, fixed, FromRendezvous::Refused(Refusal::OtherOrigin).to_bytes()).into_response()
}
