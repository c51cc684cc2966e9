//! `plenary rendezvous`: runs the signalling server alone.

use std::net::SocketAddr;

use plenary::{Advertise, Certificate, MoreFigures, PortMap};
use plenary_signal::{Limits, Rendezvous, RendezvousConfig};
use tokio::task::JoinSet;
use tracing::Level;

use super::port_map;
use super::runtime;
use super::service;
use super::signals::Signals;
use super::watched::Watched;
use crate::Failure;
use crate::args::{AutoOrNever, RendezvousArgs};
use crate::logging::log_to_stderr;

pub(crate) fn run(args: RendezvousArgs) -> Result<(), Failure> {
    let listen = match args.bind {
        Some(ip) => SocketAddr::new(ip, args.listen.port()),
        None => args.listen,
    };
    log_to_stderr(args.log, Level::INFO, &args.format)?;
    let certificate = args.serve.certificate(listen)?;
    let tls = certificate.as_ref().map(Certificate::server_tls);
    runtime()?.block_on(async {
        let (signals, mut renewals) = Signals::listen()?;
        let turn = args.serve.turn();
        let turn = turn.map(|turn| turn.config(listen, args.nat_1to1, args.serve.advertise.as_ref(), None));
        let config = RendezvousConfig {
            page: args.serve.page(false),
            figures: Some(MoreFigures::none()),
            embed: args.serve.embed.clone(),
            advertised: args.serve.advertise.as_ref().and_then(Advertise::authority),
            limits: Limits { carries: args.carry == AutoOrNever::Auto, ..Limits::default() },
            turn,
            tls,
        };
        let rendezvous = Rendezvous::bind(listen, config)?;
        for address in rendezvous.turn_addrs() {
            say!("serving TURN at {address}");
        }
        let local = rendezvous.local_addr();
        let advertise = args.serve.advertise.clone().unwrap_or_else(|| Advertise::of_listener(local));
        say!("listening on {}", advertise.url(rendezvous.is_secure(), local.port()));
        let mut beside = JoinSet::new(); // its tasks end when it is dropped
        let is_at_home = args.port_map == AutoOrNever::Auto && args.serve.advertise.is_none();
        let port_map = is_at_home.then(|| PortMap::of_rendezvous(local)).flatten();
        if let Some(map) = &port_map {
            beside.spawn(port_map::tell(map.watch(), rendezvous.is_secure()));
        }
        if let Some(address) = args.metrics {
            beside.spawn(Watched::default().serve_at(address, Some(rendezvous.figures())).await?);
        }
        service::watch(&mut beside, async || true);
        service::ready();
        let renewing = async {
            while renewals.next().await.is_some() {
                args.serve.renew(listen, certificate.as_ref());
            }
        };
        tokio::select! {
            () = signals.come() => {}
            () = renewing => {}
        }
        service::stopping();
        if let Some(map) = port_map {
            map.close().await;
        }
        rendezvous.close().await;
        Ok(())
    })
}
