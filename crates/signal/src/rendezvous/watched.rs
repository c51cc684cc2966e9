//! `/healthz` and `/metrics` of a rendezvous.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::routing::get;
use futures::future::BoxFuture;

use super::Lobby;
use crate::figures::{FIGURES_TYPE, Figures};
use crate::gate::Gate;

/// Adds the figures of the program around a rendezvous to its own.
#[derive(Clone)]
pub struct MoreFigures(Arc<dyn Fn(Figures) -> BoxFuture<'static, Figures> + Send + Sync>);

impl MoreFigures {
    /// Takes the function that adds the figures, at each request.
    pub fn new<F>(add: impl Fn(Figures) -> F + Send + Sync + 'static) -> MoreFigures
    where
        F: Future<Output = Figures> + Send + 'static,
    {
        MoreFigures(Arc::new(move |figures| Box::pin(add(figures))))
    }

    /// Returns no further figures.
    pub fn none() -> MoreFigures {
        MoreFigures::new(async |figures| figures)
    }

    /// Adds the figures.
    pub async fn add_to(&self, figures: Figures) -> Figures {
        (self.0)(figures).await
    }
}

impl fmt::Debug for MoreFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MoreFigures")
    }
}

/// Returns the figures of a rendezvous, to be served elsewhere.
pub(super) fn figures(lobby: Lobby) -> MoreFigures {
    MoreFigures::new(move |figures| std::future::ready(of_lobby(&lobby, figures)))
}

/// Returns the routes.
pub(super) fn routes(lobby: Lobby, more: MoreFigures) -> Router {
    let figures = async move || {
        let text = more.add_to(of_lobby(&lobby, Figures::default())).await.into_text();
        ([(header::CONTENT_TYPE, FIGURES_TYPE)], text).into_response()
    };
    Router::new().route("/healthz", get("ok\n")).route("/metrics", get(figures))
}

fn of_lobby(lobby: &Lobby, mut figures: Figures) -> Figures {
    let (rooms, peers) = lobby.switchboard.rooms_and_peers();
    figures.gauge("plenary_rendezvous_rooms", "Open rooms", rooms as f64);
    figures.gauge("plenary_rendezvous_peers", "Peers in these rooms", peers as f64);
    let connections = Gate::open(&lobby.gate);
    figures.gauge("plenary_rendezvous_connections", "Open TCP connections", connections as f64);
    let queued = lobby.switchboard.queued_bytes();
    figures.gauge(
        "plenary_rendezvous_queued_bytes",
        "Bytes of envelopes that wait for a peer",
        queued as f64,
    );
    if let Some(turn) = &lobby.turn {
        figures.gauge("plenary_turn_relays", "Relays of clients of the TURN server", turn.count() as f64);
    }
    lobby.switchboard.counts().write(&mut figures);
    figures
}
