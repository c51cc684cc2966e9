//! Rooms behind https, as whole processes: certificates that are made, given, trusted, doubted and wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::running::{Ended, Running, run};
use data_encoding::{BASE64, HEXUPPER};
use sha2::{Digest as _, Sha256};

/// Files that `--tls self` keeps.
const CERTIFICATE: &str = "rendezvous-certificate.pem";
const KEY: &str = "rendezvous-key.pem";

fn in_folder(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// Opens a room whose host serves https by a certificate kept in that folder; returns its invite.
fn host(data: &str, more: &[&str]) -> (Running, String) {
    let args = ["host", "--listen", "127.0.0.1:0", "--mix", "never", "--tls", "self", "--data", data];
    let host = Running::start(&[&args[..], more].concat());
    let invite = host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
    (host, invite)
}

/// Starts a process and waits until it is in the room.
fn comes_in(args: &[&str]) -> Running {
    let peer = Running::start(args);
    peer.stderr.wait("its coming in", |line| line.starts_with("in the room").then_some(()));
    peer
}

/// Checks for one line, which contains all these words.
fn fails(args: &[&str], words: &[&str]) {
    let Ended { code, stdout, stderr } = run(args);
    assert_eq!((code, &*stdout), (Some(1), ""), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    assert!(words.iter().all(|word| stderr.contains(word)), "{args:?}: not {words:?} in {stderr}");
}

#[test]
fn a_room_behind_a_self_signed_certificate_admits_peers_that_trust_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = in_folder(folder.path(), "kept");
    let (first, invite) = host(&data, &["--advertise", "localhost"]);
    assert!(invite.starts_with("https://localhost:"), "{invite}");
    let certificate = in_folder(Path::new(&data), CERTIFICATE);
    let key = fs::metadata(Path::new(&data).join(KEY)).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&certificate).unwrap();
    assert!(!kept.contains("PRIVATE"));

    let (_viewer, _mixer) = (
        comes_in(&["join", &invite, "--tls-trust", &certificate]),
        comes_in(&["mixer", &invite, "--tls-trust", &certificate]),
    );
    fails(
        &["join", &invite],
        &["https://localhost:", "could not be reached", "certificate is not trusted", "--tls-trust FILE"],
    );
    fails(&["join", &invite, "--tls-trust", "nowhere.pem"], &["cannot read nowhere.pem"]);
    fails(&["join", &invite, "--tls-trust", "Cargo.toml"], &["Cargo.toml: it holds no certificate in PEM"]);

    let shown =
        first.stderr.wait("the fingerprint", |line| Some(line.split_once("fingerprint: ")?.1.to_owned()));
    let base64: String = kept
        .lines()
        .skip_while(|line| !line.starts_with("---"))
        .filter(|line| !line.starts_with("---"))
        .collect();
    let hash = Sha256::digest(BASE64.decode(base64.as_bytes()).unwrap());
    assert_eq!(shown.replace(':', ""), HEXUPPER.encode(&hash));

    first.kill();
    let (_second, invite) = host(&data, &[]);
    assert!(invite.starts_with("https://127.0.0.1:"), "{invite}");
    assert_eq!(fs::read_to_string(&certificate).unwrap(), kept, "a browser's exception stays valid");
    comes_in(&["join", &invite, "--tls-trust", &certificate]);
}

#[test]
fn a_rendezvous_with_a_given_certificate_serves_a_host_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let certified = [in_folder(folder.path(), "one"), in_folder(folder.path(), "other")];
    // certificates as a user may have them
    let [one, other] = certified.each_ref().map(|data| {
        drop(host(data, &["--advertise", "localhost"]));
        (in_folder(Path::new(data), CERTIFICATE), in_folder(Path::new(data), KEY))
    });
    let listen = ["rendezvous", "--listen", "127.0.0.1:0"];
    let with = |certificate: &str, key: &str| {
        [&listen[..], &["--tls-cert", certificate, "--tls-key", key]]
            .concat()
            .iter()
            .map(|arg| (*arg).to_owned())
            .collect::<Vec<_>>()
    };
    for (args, words) in [
        (with(&one.0, &other.1), ["rendezvous-key.pem", "the private key belongs to another certificate"]),
        (with(&one.0, &one.0), ["rendezvous-certificate.pem", "holds no private key in PEM"]),
        (with(&one.1, &one.1), ["rendezvous-key.pem", "holds no certificate in PEM"]),
        (with("nowhere.pem", &one.1), ["cannot read nowhere.pem", "No such file"]),
    ] {
        fails(&args.iter().map(String::as_str).collect::<Vec<_>>(), &words);
    }
    let args = with(&one.0, &one.1);
    let rendezvous = Running::start(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let url = rendezvous.stderr.wait("address", |line| Some(line.strip_prefix("listening on ")?.to_owned()));
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let open = ["host", "--mix", "never", "--rendezvous", &url];
    fails(&open, &["certificate is not trusted"]);
    let host = Running::start(&[&open[..], &["--tls-trust", &one.0]].concat());
    let invite = host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
    comes_in(&["join", &invite, "--tls-trust", &other.0, "--tls-trust", &one.0]);
}
