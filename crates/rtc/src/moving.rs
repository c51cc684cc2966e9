//! A link that goes over to another path: its end's network has changed, or it tries the direct way again.

use std::net::SocketAddr;
use std::time::Instant;

use plenary_proto::link_layout::Role;
use plenary_proto::message::IceRestart;
use plenary_proto::restart::Told;

use crate::connection::{Connection, Sockets};
use crate::credentials::ice_credentials;
use crate::link::{Link, failed};
use crate::seam::{DownReason, Event};
use crate::sync::lock;

impl Link {
    /// Begins an ICE restart: on the addresses that this machine has now, and by asking the other end. One that is
    /// under way on these addresses goes on.
    pub(crate) fn restart(&mut self, connection: &mut Connection) -> Result<(), DownReason> {
        if !connection.is_restarting() || connection.is_unbound(&self.shared.ports.addresses()) {
            self.begin_restart(connection, true)?;
        }
        Ok(())
    }

    /// Takes the other end's part of an ICE restart.
    pub(crate) fn restart_told(
        &mut self,
        connection: &mut Connection,
        told: &IceRestart,
    ) -> Result<(), DownReason> {
        let what = connection.judge_restart(told);
        tracing::debug!(link = %self.id, ?what, candidates = ?told.candidates, "an ICE restart of the other end");
        match what {
            Told::Nothing => return Ok(()),
            Told::Begin => {
                self.begin_restart(connection, false)?;
                connection.start_restart(told).map_err(failed)?;
            }
            Told::Start => return connection.start_restart(told).map_err(failed),
            Told::Answer => {}
        }
        self.tell_restart(connection);
        Ok(())
    }

    /// Tells the other end this one's part of the restart under way.
    pub(crate) fn tell_restart(&mut self, connection: &Connection) {
        if let Some(restart) = connection.restart_told() {
            let restart = Box::new(restart);
            self.tell(Event::IceRestart { link: self.id, restart });
        }
    }

    fn begin_restart(&mut self, connection: &mut Connection, asks: bool) -> Result<(), DownReason> {
        let credentials = ice_credentials().map_err(|error| DownReason::Stack(error.to_string()))?;
        let addresses = self.shared.ports.addresses();
        let shared = lock(&self.shared.mux).clone().filter(|_| connection.is_shared());
        let sockets = match shared.and_then(|mux| mux.sockets(&addresses, &[])) {
            Some(shared) => Sockets::Shared(shared),
            None => {
                let port = self.port;
                Sockets::Own(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
            }
        };
        let (outer, stun) = (self.shared.outer(), lock(&self.shared.stun).clone());
        if !connection.begin_restart(sockets, credentials, (outer, &stun), asks).map_err(failed)? {
            return Err(DownReason::AddressGone);
        }
        Ok(())
    }

    /// Whether this end tries the direct way again from time to time, where its link takes a detour.
    pub(crate) fn retries_direct(&self, connection: &Connection) -> bool {
        self.role() == Role::Offer && connection.takes_detour()
    }
}

/// Returns the next time at which the direct way is tried again.
pub(crate) fn retry_at() -> tokio::time::Instant {
    (Instant::now() + crate::restart::RETRY_DIRECT_EACH).into()
}
