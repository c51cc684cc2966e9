//! The host and port, or the address at a proxy, by which others reach a rendezvous, as an invite names them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use plenary_signal::Authority;
use url::Host;

use crate::reachable::reachable;

/// Maximum length of a proxy's path, in bytes: with the host it has to fit into an invite's hint of 128.
const PATH_LEN_MAX: usize = 64;

/// Host, and optionally port, that an invite names in place of the listening address: `example.org`, `192.0.2.1:7420`
/// or `[2001:db8::1]:7420`. Or the address at a proxy in front of it that speaks https:
/// `https://example.org[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise {
    host: Host,
    /// `None`: the listening port, or the proxy's 443.
    port: Option<u16>,
    /// Path below which a proxy with https serves it, empty or beginning with a slash; `None` without such a proxy.
    proxied: Option<String>,
}

/// The text is no host with an optional port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an address for others looks like example.org, 192.0.2.1:7420, [2001:db8::1]:7420 or https://example.org/path"
)]
pub struct NoAddress;

impl Advertise {
    /// Returns the URL of a rendezvous that listens on this port.
    pub fn url(&self, is_secure: bool, listening_port: u16) -> String {
        if let Some(path) = &self.proxied {
            return match self.port {
                None | Some(443) => format!("https://{}{path}", self.host),
                Some(port) => format!("https://{}:{port}{path}", self.host),
            };
        }
        let port = self.port.unwrap_or(listening_port);
        match (is_secure, port) {
            (false, 80) => format!("http://{}", self.host),
            (true, 443) => format!("https://{}", self.host),
            (false, _) => format!("http://{}:{port}", self.host),
            (true, _) => format!("https://{}:{port}", self.host),
        }
    }

    /// Returns the host, and the port if there is one, in the form that [`plenary_signal::RendezvousConfig`] takes.
    pub fn authority(&self) -> Option<Authority> {
        let port = self.port.or(self.proxied.as_ref().map(|_| 443));
        Advertise { port, proxied: None, ..self.clone() }.to_string().parse().ok()
    }

    /// Returns the address at which other machines may reach a listener: its own or, if it takes connections at all
    /// addresses, one of this machine.
    pub fn of_listener(local: SocketAddr) -> Advertise {
        reachable(local).into()
    }

    /// Returns the address; `None` of a name, or of a proxy.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self.host {
            _ if self.proxied.is_some() => None,
            Host::Domain(_) => None,
            Host::Ipv4(ip) => Some(ip.into()),
            Host::Ipv6(ip) => Some(ip.into()),
        }
    }

    /// Returns the name for a certificate: an IPv6 address without brackets.
    pub(crate) fn name(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        }
    }
}

impl From<SocketAddr> for Advertise {
    fn from(address: SocketAddr) -> Advertise {
        let host = match address {
            SocketAddr::V4(v4) => Host::Ipv4(*v4.ip()),
            SocketAddr::V6(v6) => Host::Ipv6(*v6.ip()),
        };
        Advertise { host, port: Some(address.port()), proxied: None }
    }
}

impl FromStr for Advertise {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Advertise, NoAddress> {
        let (text, proxied) = match text.strip_prefix("https://") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (authority, Some(path_of(path).ok_or(NoAddress)?))
            }
            None => (text, None),
        };
        let (host, port) = host_and_port(text).ok_or(NoAddress)?;
        Ok(Advertise { host, port, proxied })
    }
}

/// Reads `HOST` or `HOST:PORT`, an IPv6 address in brackets. `None` for anything else, and for an address that no host
/// has.
pub(crate) fn host_and_port(text: &str) -> Option<(Host, Option<u16>)> {
    // an IPv6 address without brackets leaves open which colon begins the port
    let end = text.find(']').map(|end| end + 1).or(text.find(':')).unwrap_or(text.len());
    let (host, rest) = text.split_at(end);
    let port = match rest.strip_prefix(':') {
        Some(port) => {
            let digits = port.bytes().all(|digit| digit.is_ascii_digit());
            Some(port.parse().ok().filter(|port| digits && *port != 0)?)
        }
        None if rest.is_empty() => None,
        None => return None,
    };
    let host = Host::parse(host).ok()?;
    let is_nowhere = match &host {
        Host::Domain(name) => name.len() > 253,
        Host::Ipv4(ip) => ip.is_unspecified() || ip.is_multicast(),
        Host::Ipv6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    (!is_nowhere).then_some((host, port))
}

/// Returns a path of plain segments without the slash at its end; `None` for another one.
fn path_of(path: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let path = path.trim_end_matches('/');
    (path.len() <= PATH_LEN_MAX && path.chars().all(is_plain) && !path.contains("//"))
        .then(|| path.to_owned())
}

impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.proxied.is_some() { "https://" } else { "" })?;
        self.host.fmt(f)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.proxied.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_or_without_a_port_becomes_a_url() {
        for (text, plain, secure) in [
            ("example.org", "http://example.org:7420", "https://example.org:7420"),
            ("Example.ORG:443", "http://example.org:443", "https://example.org"),
            ("192.0.2.1:80", "http://192.0.2.1", "https://192.0.2.1:80"),
            ("[2001:db8::1]", "http://[2001:db8::1]:7420", "https://[2001:db8::1]:7420"),
            ("[2001:db8::1]:9", "http://[2001:db8::1]:9", "https://[2001:db8::1]:9"),
            ("bücher.example", "http://xn--bcher-kva.example:7420", "https://xn--bcher-kva.example:7420"),
            ("localhost", "http://localhost:7420", "https://localhost:7420"),
        ] {
            let advertise: Advertise = text.parse().unwrap();
            assert_eq!(advertise.url(false, 7420), plain);
            assert_eq!(advertise.url(true, 7420), secure);
            assert_eq!(advertise.authority().unwrap().as_str(), advertise.to_string());
            assert_eq!(advertise.to_string().parse(), Ok(advertise));
        }
    }

    #[test]
    fn a_proxy_with_https_becomes_its_url_and_the_authority_of_its_pages() {
        for (text, url, authority) in [
            ("https://Rooms.example", "https://rooms.example", "rooms.example:443"),
            ("https://rooms.example:443/", "https://rooms.example", "rooms.example:443"),
            ("https://rooms.example:8443/a/b/", "https://rooms.example:8443/a/b", "rooms.example:8443"),
            ("https://[2001:db8::1]/a", "https://[2001:db8::1]/a", "[2001:db8::1]:443"),
        ] {
            let advertise: Advertise = text.parse().unwrap();
            for is_secure in [false, true] {
                assert_eq!(advertise.url(is_secure, 7420), url, "the proxy's scheme and port count");
            }
            assert_eq!(advertise.authority().unwrap().as_str(), authority);
            assert_eq!(advertise.to_string().parse(), Ok(advertise));
        }
        for text in
            ["https://", "https://a?b", "https://a/b#c", "https://a//b", "https://a/b c", "https://0.0.0.0/"]
        {
            assert_eq!(text.parse::<Advertise>(), Err(NoAddress), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = format!("{}.org", "a".repeat(260));
        for text in [
            "",
            ":7420",
            "example.org:",
            "example.org:0",
            "example.org:70000",
            "example.org:+1",
            "example.org:1:2",
            "2001:db8::1",
            "[2001:db8::1",
            "[::1]7420",
            "http://example.org",
            "example.org/room",
            "a b",
            "a@b",
            "0.0.0.0",
            "[::]",
            "a#b",
            "a?b",
            "256.1.1.1",
            &long,
        ] {
            assert_eq!(text.parse::<Advertise>(), Err(NoAddress), "{text}");
        }
    }
}
