//! `https://`: a rendezvous with a certificate, and one behind a TLS terminator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use plenary_signal::{
    Address, Limits, Outage, Rendezvous, RendezvousConfig, ServerTls, Signal, SignalError, SignalEvent,
    TlsError, WebsocketConfig, WebsocketSignal, certificates_from_pem,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, IsCa, Issuer, KeyPair, generate_simple_self_signed,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{ANY_PORT, config, doors, envelope, key, next, rendezvous, room, up, within};

/// A certificate for loopback.
fn certified() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap()
}

/// Opens a rendezvous with that certificate.
fn secure(limits: Limits, certified: &CertifiedKey<rcgen::KeyPair>) -> Rendezvous {
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let tls = Some(ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap());
    Rendezvous::bind(ANY_PORT, RendezvousConfig { limits, tls, ..RendezvousConfig::default() }).unwrap()
}

/// Configuration of a peer that trusts the certificate.
fn trusting(
    rendezvous: &Rendezvous,
    number: u16,
    certified: &CertifiedKey<rcgen::KeyPair>,
) -> WebsocketConfig {
    let roots = certificates_from_pem(certified.cert.pem().as_bytes()).unwrap();
    WebsocketConfig {
        url: format!("https://{}", rendezvous.local_addr()),
        roots_der: roots.iter().map(|root| root.to_vec().into()).collect(),
        ..config(rendezvous, number)
    }
}

#[tokio::test]
async fn a_rendezvous_with_a_certificate_is_reached_by_those_who_trust_it() {
    let certified = certified();
    let rendezvous = secure(Limits::default(), &certified);
    assert!(rendezvous.is_secure());
    let host = up(trusting(&rendezvous, 1, &certified)).await;
    let guest = up(trusting(&rendezvous, 2, &certified)).await;
    guest.send(Address::Host, "hello".into()).unwrap();
    assert_eq!(next(&host).await, envelope(2, "hello"));

    let doubting = WebsocketConfig { roots_der: Vec::new(), ..trusting(&rendezvous, 3, &certified) };
    let url = doubting.url.clone();
    let told = next(&WebsocketSignal::connect(doubting).unwrap()).await;
    let SignalEvent::Ended(SignalError::Unreachable { url: named, tries: 1, last }) = told else {
        panic!("{told:?}")
    };
    assert_eq!(named, url);
    assert!(matches!(last, Outage::Untrusted(_)), "{last}");

    // trusted itself, whatever it is called, and though it is that of an authority, as `openssl req -x509` makes it
    let mut params = CertificateParams::new(["elsewhere.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let signing_key = KeyPair::generate().unwrap();
    let elsewhere = CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key };
    let pinned = secure(Limits::default(), &elsewhere);
    drop(up(trusting(&pinned, 1, &elsewhere)).await);

    // certified by a trusted authority, for another name
    let authority = Issuer::from_params(&params, &elsewhere.signing_key);
    let signing_key = KeyPair::generate().unwrap();
    let named = CertificateParams::new(["elsewhere.example".to_owned()]).unwrap();
    let cert = named.signed_by(&signing_key, &authority).unwrap();
    let misnamed = secure(Limits::default(), &CertifiedKey { cert, signing_key });
    let told = next(&WebsocketSignal::connect(trusting(&misnamed, 3, &elsewhere)).unwrap()).await;
    let SignalEvent::Ended(SignalError::Unreachable { last: Outage::Untrusted(why), .. }) = told else {
        panic!("{told:?}")
    };
    assert!(why.contains("127.0.0.1"), "{why}");
}

#[tokio::test]
async fn a_plain_request_at_an_https_port_is_redirected() {
    let rendezvous = secure(Limits::default(), &certified());
    let address = rendezvous.local_addr();
    for (request, status, location) in [
        (
            format!("GET /a?b=c HTTP/1.1\r\nHost: {address}"),
            "307",
            format!("location: https://{address}/a?b=c"),
        ),
        (format!("GET /signal HTTP/1.1\r\nHost: {address}"), "307", format!("https://{address}/signal")),
        ("GET / HTTP/1.0".to_owned(), "400", "https".to_owned()),
    ] {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(format!("{request}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(tcp.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.split_whitespace().nth(1) == Some(status) && answer.contains(&location), "{answer}");
    }
}

#[tokio::test]
async fn handshakes_that_stall_end_and_keep_nobody_out() {
    let certified = certified();
    // the last of the connections is a guest's
    let limits =
        Limits { connections_max: 4, hello_timeout: Duration::from_millis(1_500), ..Limits::default() };
    let rendezvous = secure(limits, &certified);
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let mut stalled = Vec::new();
    for beginning in [&b""[..], &[22], &[22, 3, 1, 2, 0, 1, 0, 1]] {
        let mut tcp = TcpStream::connect(rendezvous.local_addr()).await.unwrap();
        tcp.write_all(beginning).await.unwrap();
        stalled.push(tcp);
    }
    let guest = up(trusting(&rendezvous, 2, &certified)).await;
    guest.send(Address::Host, "hello".into()).unwrap();
    assert_eq!(next(&host).await, envelope(2, "hello"));
    for mut tcp in stalled {
        let mut rest = Vec::new();
        // an end in order or a reset, and no answer but an alert
        let _ = within(tcp.read_to_end(&mut rest)).await;
        assert!(rest.len() < 16, "{rest:?}");
    }
    // their places are free again
    let others = [3, 4, 5].map(|number| trusting(&rendezvous, number, &certified));
    for config in others {
        std::mem::drop(up(config).await);
    }
}

#[test]
fn a_certificate_and_a_key_that_do_not_fit_are_named() {
    let (one, other) = (certified(), certified());
    let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    let read = |certificate: &str, key: &str| ServerTls::from_pem(certificate.as_bytes(), key.as_bytes());
    assert!(read(&certificate, &key).is_ok());
    assert!(read(&format!("{certificate}{certificate}"), &key).is_ok());
    let other_key = other.signing_key.serialize_pem();
    assert!(matches!(read(&certificate, &other_key), Err(TlsError::OtherKey)));
    for broken in ["", "no PEM", &key, &certificate[..certificate.len() / 2], &certificate.replace('M', "N")]
    {
        assert!(matches!(read(broken, &key), Err(TlsError::Certificate(_))), "{broken}");
    }
    for broken in ["", "no PEM", &certificate, &key[..key.len() / 2]] {
        assert!(matches!(read(&certificate, broken), Err(TlsError::Key(_))), "{broken}");
    }
}

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
    let certified = certified();
    let address = terminate_tls(rendezvous.local_addr(), &certified).await;

    let mut trusting = config(&rendezvous, 2);
    trusting.url = format!("https://{address}");
    let mut doubting = trusting.clone();
    trusting.roots_der = vec![certified.cert.der().to_vec().into()];
    let guest = up(trusting.clone()).await;
    guest.send(Address::Host, "hello".into()).unwrap();
    assert_eq!(next(&host).await, envelope(2, "hello"));
    within(guest.close()).await;

    let told = next(&WebsocketSignal::connect(doubting.clone()).unwrap()).await;
    assert!(
        matches!(
            &told,
            SignalEvent::Ended(SignalError::Unreachable { last: Outage::Untrusted(_), tries: 1, .. })
        ),
        "{told:?}"
    );

    doubting.roots_der = vec!["no certificate".into()];
    assert!(matches!(WebsocketSignal::connect(doubting), Err(SignalError::BadUrl { .. })));
}
