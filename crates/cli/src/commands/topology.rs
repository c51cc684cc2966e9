//! The live drawing of a room at its host, for operators: `/room?token=…` beside the page that visitors get.
//!
//! The address holds a secret, since names and places are nobody else's business; it is printed once, on stderr.

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::get;
use data_encoding::BASE64URL_NOPAD;
use plenary::{PeerId, Room};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use super::people::{quoted, tidy};
use crate::drawing::{TreePeer, escaped, tree};

/// Bytes of the secret in the address.
const TOKEN_LEN: usize = 16;
/// Drawings that wait at a time; further requests are refused. A guess: some operators, each with a request a second.
const WAITING_MAX: usize = 16;
/// Peers that are drawn at most; of larger rooms those next to the mixers. A guess: what a browser draws each second.
const DRAWN_MAX: usize = 400;
/// What the document may do: nothing but to fetch its own script, style and drawings.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Body of the document, and its script, which asks for a new drawing once a second.
const PAGE: &str = include_str!("topology.html");
const SCRIPT: &str = include_str!("topology.js");

/// The drawing's routes, and what answers them.
pub(crate) struct Topology {
    token: String,
    wanted: mpsc::Sender<oneshot::Sender<String>>,
    answers: mpsc::Receiver<oneshot::Sender<String>>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    token: String,
}

#[derive(Clone)]
struct Routes {
    token: String,
    wanted: mpsc::Sender<oneshot::Sender<String>>,
}

impl Topology {
    pub(crate) fn new() -> anyhow::Result<Topology> {
        let mut secret = [0; TOKEN_LEN];
        getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        let (wanted, answers) = mpsc::channel(WAITING_MAX);
        Ok(Topology { token: BASE64URL_NOPAD.encode(&secret), wanted, answers })
    }

    /// Adds the routes to those of the page.
    pub(crate) fn add_to(&self, page: Option<Router>) -> Router {
        let routes = Routes { token: self.token.clone(), wanted: self.wanted.clone() };
        let own = Router::new()
            .route("/room", get(show))
            .route(
                "/room/live.js",
                get(async || respond(StatusCode::OK, "text/javascript", SCRIPT.to_owned())),
            )
            .route("/room/drawing", get(draw))
            .with_state(routes);
        page.unwrap_or_default().merge(own)
    }

    /// Returns the address of the drawing, at that origin.
    pub(crate) fn address(&self, origin: &str) -> String {
        format!("{origin}/room?token={}", self.token)
    }

    /// Answers requests for drawings, as long as the task runs.
    pub(crate) async fn serve(mut self, room: Room) {
        while let Some(reply) = self.answers.recv().await {
            // an error means that the request was given up
            let _ = reply.send(drawing(&room));
        }
    }
}

async fn show(State(routes): State<Routes>, Query(asked): Query<Asked>) -> Response<Body> {
    match routes.admits(&asked.token) {
        true => respond(StatusCode::OK, "text/html; charset=utf-8", PAGE.to_owned()),
        false => refused(),
    }
}

async fn draw(State(routes): State<Routes>, Query(asked): Query<Asked>) -> Response<Body> {
    if !routes.admits(&asked.token) {
        return refused();
    }
    let (reply, drawn) = oneshot::channel();
    let drawn = async {
        routes.wanted.try_send(reply).ok()?;
        drawn.await.ok()
    };
    match drawn.await {
        Some(drawn) => respond(StatusCode::OK, "text/html; charset=utf-8", drawn),
        None => respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "try again\n".to_owned()),
    }
}

impl Routes {
    /// Compares in a time that doesn't depend on where the token differs.
    fn admits(&self, token: &str) -> bool {
        let [given, own] = [token, &self.token].map(|token| token.as_bytes());
        given.len() == own.len() && given.iter().zip(own).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

fn refused() -> Response<Body> {
    let why = "The host prints the address of this drawing, with its token, when it opens the room.\n";
    respond(StatusCode::FORBIDDEN, "text/plain", why.to_owned())
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let fixed = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns a line on the room and the drawing of its tree, as HTML.
fn drawing(room: &Room) -> String {
    let snapshot = room.snapshot();
    let listed = room.as_host().map(|host| host.directory()).unwrap_or_default();
    let role = |peer| match snapshot.mixers.contains(&peer) {
        true => "mixes",
        false if snapshot.standbys.contains(&peer) => "stands by",
        false => "on stage",
    };
    let node = |peer: &PeerId, parent: Option<PeerId>, name: &str, does: String| {
        let id = peer.to_string();
        let tidy = tidy(name);
        let label = if tidy.is_empty() { id.clone() } else { tidy };
        let about = format!("{}, {}…: {does}", quoted(name), &id[..8]);
        TreePeer { parent: parent.map(|parent| parent.to_string()), label, about, id }
    };
    let on_stage = snapshot
        .stage
        .iter()
        .map(|member| node(&member.peer, None, &member.name, role(member.peer).to_owned()));
    let is_on_stage = |peer| snapshot.stage.iter().any(|member| member.peer == peer);
    let mut viewers: Vec<_> = listed.iter().filter(|listed| !is_on_stage(listed.peer)).collect();
    viewers.sort_by_key(|listed| listed.depth);
    let left_out = viewers.len().saturating_sub(DRAWN_MAX);
    let fed = viewers.into_iter().take(DRAWN_MAX).map(|listed| {
        let does = format!("depth {}, here for {} s", listed.depth, listed.here.as_secs());
        node(&listed.peer, listed.parent, &listed.name, does)
    });
    let nodes: Vec<_> = on_stage.chain(fed).collect();
    let title = if snapshot.title.is_empty() { "The room" } else { &snapshot.title };
    let viewers = snapshot.viewers.map_or("? viewers".to_owned(), |viewers| format!("{viewers} viewers"));
    let beyond = if left_out > 0 { format!(", {left_out} of them not drawn") } else { String::new() };
    format!(
        "<p>{}: {} on stage, {viewers}{beyond}; {} mixing, mode {:?}, election {}</p>\n{}",
        escaped(title),
        snapshot.stage.len(),
        snapshot.mixers.len(),
        snapshot.mode,
        snapshot.rank.term,
        tree(&nodes)
    )
}
