//! `plenary rendezvous`: runs the signalling server alone.

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
    runtime()?.block_on(async {
        let config = RendezvousConfig { page: plenary_page::routes(), ..RendezvousConfig::default() };
        let rendezvous = Rendezvous::bind(args.listen, config)?;
        eprintln!("listening on http://{}", rendezvous.local_addr());
        Signals::listen()?.come().await;
        rendezvous.close().await;
        Ok(())
    })
}
