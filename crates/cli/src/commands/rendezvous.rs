//! `plenary rendezvous`: runs the signalling server alone.

use plenary::Advertise;
use plenary_signal::{Rendezvous, RendezvousConfig};
use tracing::Level;

use super::{Signals, log_to_stderr, runtime};
use crate::args::RendezvousArgs;
use crate::{Failure, not_yet};

pub(crate) fn run(args: RendezvousArgs) -> Result<(), Failure> {
    if args.store.is_some() {
        return Err(not_yet("--store"));
    }
    log_to_stderr(args.log, Level::INFO);
    let tls = args.serve.certificate(args.listen)?.map(|certificate| certificate.server_tls());
    runtime()?.block_on(async {
        let config = RendezvousConfig {
            page: args.serve.page(false),
            embed: args.serve.embed.clone(),
            advertised: args.serve.advertise.as_ref().and_then(Advertise::authority),
            tls,
            ..RendezvousConfig::default()
        };
        let rendezvous = Rendezvous::bind(args.listen, config)?;
        let local = rendezvous.local_addr();
        let advertise = args.serve.advertise.unwrap_or_else(|| local.into());
        say!("listening on {}", advertise.url(rendezvous.is_secure(), local.port()));
        Signals::listen()?.come().await;
        rendezvous.close().await;
        Ok(())
    })
}
