//! What the router of a home network says about the port of this machine's rendezvous, as its user reads it.

use std::net::SocketAddr;

use plenary::{Advertise, Outer, PortMapping};

/// Says what the router says, and each change, until the mapping ends.
pub(crate) async fn tell(PortMapping { mut outer, inside, .. }: PortMapping, is_secure: bool) {
    let url_of = |at: SocketAddr| Advertise::from(at).url(is_secure, at.port());
    let port = inside.port();
    let otherwise = format!(
        "guests outside this network need port {port}, TCP and UDP, forwarded to this machine and --advertise, or a \
         --rendezvous elsewhere"
    );
    loop {
        let said = *outer.borrow_and_update();
        match said {
            Some(Outer::Mapped(at)) => {
                let (url, inside) = (url_of(at), url_of(inside));
                // a router seldom leads a connection from inside back in
                say!(
                    "the router lets others in at {url}, and in this network {inside} leads here: the invite may \
                      begin with either"
                );
            }
            Some(Outer::Useless(ip)) => {
                say!(
                    "the router is behind another NAT, its outer address is {ip}: it maps no port of use; {otherwise}"
                );
            }
            Some(Outer::NoRouter) => say!("no router has answered: {otherwise}"),
            Some(_) => {
                say!("the router maps no port, it may not or is behind another NAT itself: {otherwise}")
            }
            None => {}
        }
        if outer.changed().await.is_err() {
            return;
        }
    }
}
