//! The page of a room: the files of `web/dist`, embedded, as routes for the web server of a rendezvous.
//!
//! Files are compressed in advance. An `ETag` spares a visitor that comes again the bytes; the content security policy
//! allows the page's own scripts, its WebAssembly, and requests and websockets to any rendezvous, since invites may
//! name another one. Only pages of listed origins may show it in a frame. Pages of any origin may load these files,
//! since no file depends on its visitor.

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use axum::routing::get;
use bytes::Bytes;

/// Name of each file, and its content: as it is, compressed by brotli, and by gzip.
const FILES: &[(&str, [&[u8]; 3])] = include!(concat!(env!("OUT_DIR"), "/files.rs"));
/// Sources that the page may use. Lit puts its styles into the document by script where constructed style sheets are
/// missing, hence `'unsafe-inline'` for styles alone. `frame-ancestors` is appended.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; \
    connect-src 'self' ws: wss: http: https:; base-uri 'none'; form-action 'none'";

/// Header by which a page that opens this one in a new window gets no reference to that window.
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The file that a browser gets first.
const INDEX: &str = "index.html";
/// Line of the index by which the host allows `?auto=speak`, and where it goes.
const AUTO_SPEAK: (&str, &str) = ("<meta name=\"plenary-auto-speak\" content=\"yes\" />", "</head>");

/// One file as it is served.
#[derive(Clone)]
struct Asset {
    kind: &'static str,
    tag: HeaderValue,
    policy: HeaderValue,
    plain: Bytes,
    /// By encoding, the smallest first. Browsers accept brotli over https and from localhost only. Empty for a file
    /// that was made at run time.
    compressed: Vec<(&'static str, Bytes)>,
}

/// Returns the routes of the page; `None` in a build without it. `auto_speak`: a link with `?auto=speak` opens camera
/// and microphone without a click, for tests. `embed`: origins of pages that may show this one in a frame, as a content
/// security policy writes them.
pub fn routes(auto_speak: bool, embed: &[String]) -> Option<Router> {
    let has_page = FILES.iter().any(|(name, ..)| *name == INDEX);
    let policy = policy(embed);
    has_page
        .then(|| FILES.iter().fold(Router::new(), |router, file| route(router, file, auto_speak, &policy)))
}

/// Returns the content security policy. Without valid origins no page may show this one in a frame.
fn policy(embed: &[String]) -> HeaderValue {
    let by = |ancestors: &str| HeaderValue::from_str(&format!("{POLICY}; frame-ancestors {ancestors}")).ok();
    let is_one = |origin: &String| {
        !origin.is_empty() && !origin.contains(|c: char| c.is_whitespace() || ";,'\"".contains(c))
    };
    let listed = Some(embed.join(" ")).filter(|_| !embed.is_empty() && embed.iter().all(is_one));
    listed.and_then(|listed| by(&listed)).or_else(|| by("'none'")).unwrap_or(HeaderValue::from_static(POLICY))
}

fn route(
    router: Router,
    &(name, [plain, brotli, gzip]): &(&'static str, [&'static [u8]; 3]),
    auto_speak: bool,
    policy: &HeaderValue,
) -> Router {
    let encoded =
        [("br", brotli), ("gzip", gzip)].map(|(encoding, bytes)| (encoding, Bytes::from_static(bytes)));
    let (plain, compressed) = match str::from_utf8(plain) {
        Ok(index) if auto_speak && name == INDEX => (Bytes::from(with_auto_speak(index)), Vec::new()),
        _ => (Bytes::from_static(plain), encoded.to_vec()),
    };
    let hash = blake3::hash(&plain).to_hex();
    let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", &hash[..32])) else { return router };
    let asset = Asset { kind: kind_of(name), tag, policy: policy.clone(), plain, compressed };
    let path = if name == INDEX { "/".to_owned() } else { format!("/{name}") };
    router.route(&path, get(async move |headers: HeaderMap| asset.respond(&headers)))
}

fn with_auto_speak(index: &str) -> String {
    let (line, before) = AUTO_SPEAK;
    index.replacen(before, &format!("{line}{before}"), 1)
}

impl Asset {
    fn respond(&self, request: &HeaderMap) -> Response<Body> {
        let accepted = request.get(ACCEPT_ENCODING);
        let is_accepted =
            |(encoding, _): &&(&str, Bytes)| accepted.is_some_and(|given| takes(given, encoding));
        let compressed = self.compressed.iter().find(is_accepted);
        let is_known = request.get(IF_NONE_MATCH).is_some_and(|tags| names(tags, &self.tag));
        let (status, body) = match is_known {
            true => (StatusCode::NOT_MODIFIED, Bytes::new()),
            false => (StatusCode::OK, compressed.map_or(&self.plain, |(_, bytes)| bytes).clone()),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(ETAG, self.tag.clone());
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        let fixed = [
            (CONTENT_TYPE, self.kind),
            (CACHE_CONTROL, "no-cache"),
            (VARY, "accept-encoding"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (OPENER_POLICY, "same-origin"),
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some((encoding, _)) = compressed.filter(|_| !is_known) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }
}

/// Returns whether a request accepts an encoding. A weight of 0 refuses it (RFC 9110, 12.5.3).
fn takes(accepted: &HeaderValue, encoding: &str) -> bool {
    accepted.to_str().unwrap_or_default().split(',').any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        name.trim().eq_ignore_ascii_case(encoding) && weight.parse::<f32>().is_ok_and(|weight| weight > 0.0)
    })
}

/// Returns whether a list of tags has this one, weak or not (RFC 9110, 13.1.2).
fn names(tags: &HeaderValue, tag: &HeaderValue) -> bool {
    let (tags, tag) = (tags.to_str().unwrap_or_default(), tag.to_str().unwrap_or_default());
    tags.split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn kind_of(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: (&str, &[u8]) = ("page.js", b"let plain;");

    fn asset() -> Asset {
        let compressed = ["br", "gzip"].map(|encoding| (encoding, Bytes::from(encoding)));
        let tag = HeaderValue::from_static("\"tag\"");
        Asset {
            kind: kind_of(FILE.0),
            tag,
            policy: policy(&[]),
            plain: FILE.1.into(),
            compressed: compressed.into(),
        }
    }

    fn ask(headers: &[(axum::http::HeaderName, &'static str)]) -> Response<Body> {
        let given = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        asset().respond(&given.collect())
    }

    #[test]
    fn a_file_goes_out_compressed_if_accepted_and_always_with_its_policy() {
        for (accepted, encoding) in [
            ("gzip, br", Some("br")),
            ("br;q=0, GZIP", Some("gzip")),
            ("gzip, deflate", Some("gzip")),
            ("BR;q=0.5", Some("br")),
            ("deflate, gzip;q=0", None),
            ("", None),
        ] {
            let response = ask(&[(ACCEPT_ENCODING, accepted)]);
            assert_eq!(response.status(), StatusCode::OK);
            let sent = response.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(sent, encoding, "{accepted}");
            assert_eq!(response.headers()[CONTENT_TYPE], "text/javascript; charset=utf-8");
            assert!(
                response.headers()[CONTENT_SECURITY_POLICY]
                    .to_str()
                    .unwrap()
                    .starts_with("default-src 'none'")
            );
        }
    }

    #[test]
    fn a_host_may_serve_an_index_by_which_a_link_opens_the_camera() {
        let index = "<html><head><title>plenary</title></head><body></body></html>";
        let allowed = with_auto_speak(index);
        assert!(allowed.contains(r#"<meta name="plenary-auto-speak" content="yes" /></head>"#), "{allowed}");
        let made = Asset { compressed: Vec::new(), plain: Bytes::from(allowed), ..asset() };
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("br"))]);
        assert!(!made.respond(&headers).headers().contains_key(CONTENT_ENCODING));
    }

    #[test]
    fn a_page_is_shown_in_a_frame_by_listed_origins_alone() {
        let ancestors = |embed: &[&str]| {
            let embed: Vec<_> = embed.iter().map(|origin| (*origin).to_owned()).collect();
            let policy = policy(&embed).to_str().unwrap().to_owned();
            assert!(policy.starts_with(POLICY), "{policy}");
            policy.rsplit_once("; frame-ancestors ").unwrap().1.to_owned()
        };
        assert_eq!(ancestors(&[]), "'none'");
        assert_eq!(
            ancestors(&["https://a.example", "tauri://localhost"]),
            "https://a.example tauri://localhost"
        );
        assert_eq!(ancestors(&["*"]), "*");
        for wrong in ["https://a.example; script-src *", "https://a.example 'self'", "a\nb", ""] {
            assert_eq!(ancestors(&["https://a.example", wrong]), "'none'", "{wrong}");
        }
        for headers in [&[][..], &[(IF_NONE_MATCH, "\"tag\"")]] {
            let response = ask(headers);
            assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], policy(&[]));
            assert_eq!(response.headers()[OPENER_POLICY], "same-origin");
        }
    }

    #[test]
    fn a_page_of_another_origin_may_load_the_files_without_credentials() {
        for headers in [&[][..], &[(IF_NONE_MATCH, "\"tag\"")]] {
            let response = ask(headers);
            assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
            assert!(!response.headers().contains_key("access-control-allow-credentials"));
        }
    }

    #[test]
    fn a_visitor_that_has_the_file_gets_no_bytes() {
        for tags in ["\"tag\"", "W/\"tag\"", "\"other\", \"tag\"", "*"] {
            assert_eq!(ask(&[(IF_NONE_MATCH, tags)]).status(), StatusCode::NOT_MODIFIED, "{tags}");
        }
        assert_eq!(ask(&[(IF_NONE_MATCH, "\"other\"")]).status(), StatusCode::OK);
    }
}
