//! `https://`: a rendezvous behind a TLS terminator.

use std::net::SocketAddr;
use std::sync::Arc;

use plenary_signal::{Address, Limits, Outage, Signal, SignalError, SignalEvent, WebsocketSignal};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{ANY_PORT, config, doors, envelope, key, next, rendezvous, room, up, within};

/// Starts a TLS terminator that forwards to `to`; returns its address.
async fn terminate_tls(to: SocketAddr, certified: &CertifiedKey<rcgen::KeyPair>) -> SocketAddr {
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut outside) = acceptor.accept(tcp).await else { continue };
            tokio::spawn(async move {
                let mut inside = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_rendezvous_behind_tls_is_reached_by_those_who_trust_it() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let certified = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let address = terminate_tls(rendezvous.local_addr(), &certified).await;

    let mut trusting = config(&rendezvous, 2);
    trusting.url = format!("https://{address}");
    let mut doubting = trusting.clone();
    trusting.roots_der = vec![certified.cert.der().to_vec().into()];
    let guest = up(trusting.clone()).await;
    guest.send(Address::Host, "hello".into()).unwrap();
    assert_eq!(next(&host).await, envelope(2, "hello"));
    within(guest.close()).await;

    doubting.patience = std::time::Duration::ZERO;
    let mut broken = doubting.clone();
    doubting.patience = std::time::Duration::from_millis(500);
    let doubting = WebsocketSignal::connect(doubting).unwrap();
    let (SignalEvent::Down { why, .. } | SignalEvent::Ended(SignalError::Unreachable { last: why, .. })) =
        next(&doubting).await
    else {
        panic!("it was trusted")
    };
    assert!(matches!(&why, Outage::Connect(error) if error.contains("certificate")), "{why:?}");

    broken.roots_der = vec!["no certificate".into()];
    assert!(matches!(WebsocketSignal::connect(broken), Err(SignalError::BadUrl { .. })));
}
