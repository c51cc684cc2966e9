//! The origin of a web page, as browsers name it in requests.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// Origin of web pages (RFC 6454): scheme, host and port, `https://example.org` or `https://example.org:8443`; also
/// that of an application's web view, `tauri://localhost`. In a list of origins that are let in, `*` stands for every
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOrigin(String);

/// The text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the origin of a page looks like https://example.org or http://example.org:8080; * stands for all")]
pub struct NoOrigin;

impl PageOrigin {
    /// Every origin.
    const ANY: &str = "*";

    /// Returns the origin of a page at this address, which may have a path.
    ///
    /// # Errors
    /// [`NoOrigin`] if the address has no host.
    pub fn of_url(url: &str) -> Result<PageOrigin, NoOrigin> {
        PageOrigin::of(&Url::parse(url).map_err(|_| NoOrigin)?)
    }

    fn of(url: &Url) -> Result<PageOrigin, NoOrigin> {
        // other schemes than those of the web have opaque origins by RFC 6454, and web views name them nevertheless
        let origin = url.origin();
        if origin.is_tuple() {
            return Ok(PageOrigin(origin.ascii_serialization()));
        }
        let host = url.host_str().ok_or(NoOrigin)?.to_ascii_lowercase();
        let is_plain = host.chars().all(|c| c.is_ascii_alphanumeric() || "-._[:]".contains(c));
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        if is_plain && !host.is_empty() {
            Ok(PageOrigin(format!("{}://{host}{port}", url.scheme())))
        } else {
            Err(NoOrigin)
        }
    }

    /// Returns the origin that a server has under the name by which a page has asked for it, `HOST[:PORT]`, if the
    /// page's own scheme is the server's.
    pub(crate) fn of_host(&self, host: &str) -> Option<PageOrigin> {
        let (scheme, _) = self.0.split_once("://")?;
        format!("{scheme}://{host}").parse().ok()
    }

    /// Returns the host.
    pub(crate) fn host(&self) -> Option<Host> {
        Url::parse(&self.0).ok()?.host().map(|host| host.to_owned())
    }

    /// Whether the host is an IP address or `localhost`, which no DNS record can redirect.
    pub(crate) fn is_of_address(&self) -> bool {
        match self.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            None => false,
        }
    }

    /// Whether an entry of a list of origins covers this origin.
    pub(crate) fn is_covered_by(&self, entry: &PageOrigin) -> bool {
        entry == self || entry.0 == PageOrigin::ANY
    }
}

impl FromStr for PageOrigin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<PageOrigin, NoOrigin> {
        if text == PageOrigin::ANY {
            return Ok(PageOrigin(text.to_owned()));
        }
        let url = Url::parse(text).map_err(|_| NoOrigin)?;
        let has_more = !matches!(url.path(), "" | "/")
            || url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some();
        if has_more { Err(NoOrigin) } else { PageOrigin::of(&url) }
    }
}

impl fmt::Display for PageOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (text, expected) in [
            ("https://example.org", "https://example.org"),
            ("https://Example.ORG:443/", "https://example.org"),
            ("http://example.org:80", "http://example.org"),
            ("http://example.org:8080", "http://example.org:8080"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://[2001:DB8::1]:9", "http://[2001:db8::1]:9"),
            ("tauri://localhost", "tauri://localhost"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("*", "*"),
        ] {
            assert_eq!(text.parse::<PageOrigin>().map(|origin| origin.to_string()), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "null",
            "example.org",
            "example.org:443",
            "https://",
            "https://example.org/room",
            "https://example.org/?a",
            "https://example.org#a",
            "https://a@example.org",
            "https://example.org https://example.net",
            "file:///home",
            "data:text/html,a",
            "blob:https://example.org/a",
            "about:blank",
            "app://a;b",
            "app://a'b",
            "app://*",
            "**",
        ] {
            assert_eq!(text.parse::<PageOrigin>(), Err(NoOrigin), "{text}");
        }
    }

    #[test]
    fn the_origin_of_a_page_is_that_of_its_address() {
        let of = |url| PageOrigin::of_url(url).map(|origin| origin.to_string());
        assert_eq!(of("https://example.org/room/?a#b"), Ok("https://example.org".to_owned()));
        assert_eq!(of("nonsense"), Err(NoOrigin));
    }
}
