//! Flags of the commands that serve a rendezvous, and of those that reach one by https.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use plenary::{Advertise, Certificate, PageOrigin, Router, ServeTurn};

use crate::Failure;
use crate::args::ports;

/// Where the certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsWord {
    /// Signed by its own key
    #[value(name = "self")]
    SelfSigned,
}

/// How others reach a rendezvous.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address that others reach, for example example.org or [2001:db8::1]:7420, instead of the one listened on; behind
    /// a proxy with https its address there: https://example.org/path
    #[arg(long, value_name = "HOST[:PORT]|URL")]
    pub(crate) advertise: Option<Advertise>,
    /// Origin of a page elsewhere that may connect, and show the page of this server in a frame, for example
    /// https://example.org; * lets all pages in [default: the page of this server alone]
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) embed: Vec<PageOrigin>,
    /// Serve https with a certificate that is made and kept: browsers warn of it once, native peers need --tls-trust
    #[arg(long, value_name = "self", value_enum, conflicts_with_all = ["tls_cert", "tls_key"])]
    pub(crate) tls: Option<TlsWord>,
    /// Serve https with this certificate, and the rest of its chain below it: PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate: PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Serve TURN, for members that no others reach, over UDP, TCP and, with a certificate, TLS: at the port of
    /// --listen, or at this address
    #[arg(long, value_name = "IP:PORT", num_args = 0..=1)]
    pub(crate) serve_turn: Option<Option<SocketAddr>>,
    /// UDP ports of the TURN server's relays, one each [default: any]
    #[arg(long, value_name = "A-B", value_parser = ports, requires = "serve_turn")]
    pub(crate) turn_ports: Option<RangeInclusive<u16>>,
    /// Directory of what is kept between starts: the certificate of --tls self [default: plenary in the user's data
    /// directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl ServeArgs {
    /// Returns the page to serve; `None` in a build without it.
    pub(crate) fn page(&self, auto_speak: bool) -> Option<Router> {
        let embed: Vec<_> = self.embed.iter().map(PageOrigin::to_string).collect();
        plenary_page::routes(auto_speak, &embed)
    }

    /// Returns the TURN server to serve, if there is to be one.
    pub(crate) fn turn(&self) -> Option<ServeTurn> {
        let listen = self.serve_turn?;
        Some(ServeTurn::default().listen(listen).ports(self.turn_ports.clone()))
    }

    /// Returns the certificate to serve with; `None` for plain HTTP.
    fn read_certificate(&self, listen: SocketAddr) -> Result<Option<Certificate>, Failure> {
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            return Ok(Some(Certificate::load(certificate, key)?));
        }
        let Some(TlsWord::SelfSigned) = self.tls else { return Ok(None) };
        let data = match &self.data {
            Some(data) => data.clone(),
            None => dirs::data_local_dir()
                .context("this system names no directory for a certificate: choose one by --data")?
                .join("plenary"),
        };
        Ok(Some(Certificate::self_signed(data, listen, self.advertise.as_ref())?))
    }

    /// Returns the certificate to serve with, `None` for plain HTTP, and says how others trust one that is signed by
    /// itself.
    pub(crate) fn certificate(&self, listen: SocketAddr) -> Result<Option<Certificate>, Failure> {
        let found = self.read_certificate(listen)?;
        let Some(certificate) = found.as_ref().filter(|_| self.tls.is_some()) else { return Ok(found) };
        let file = certificate.file().display();
        say!("the certificate is in {file}: native peers join with --tls-trust and a copy of it");
        say!("browsers warn of it, and show its SHA-256 fingerprint: {}", certificate.fingerprint());
        Ok(found)
    }

    /// Reads the certificate again, for connections from now on. A file with an error changes nothing.
    pub(crate) fn renew(&self, listen: SocketAddr, serves: Option<&Certificate>) {
        let Some(serves) = serves else { return };
        match self.read_certificate(listen) {
            Ok(Some(newer)) => {
                serves.replace(&newer);
                say!("the certificate in {} serves from now on", newer.file().display());
            }
            Ok(None) => {}
            Err(why) => say!("the certificate stays as it is: {why}"),
        }
    }
}

/// Reads the certificates that the user trusts.
pub(crate) fn roots(files: &[PathBuf]) -> Result<Vec<Bytes>, Failure> {
    let read: Result<Vec<_>, _> = files.iter().map(Certificate::load_roots).collect();
    Ok(read?.concat())
}
