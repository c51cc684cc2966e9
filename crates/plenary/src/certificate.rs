//! The certificate by which a rendezvous serves https: from files, or signed by itself and kept on disk.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use plenary_signal::{ServerTls, certificates_from_pem};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::advertise::Advertise;
use crate::error::Error;
use crate::reachable::reachable;
use crate::{random_u64, secret_file};

/// Files of a certificate that is signed by itself, in its folder.
const CERTIFICATE_FILE: &str = "rendezvous-certificate.pem";
const KEY_FILE: &str = "rendezvous-key.pem";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Lifetime: Apple's systems refuse more than 825 days.
const LIFE: Duration = Duration::from_secs(800 * DAY.as_secs());
/// A certificate that ends sooner is replaced. A guess.
const REST_MIN: Duration = Duration::from_secs(30 * DAY.as_secs());
/// Maximum number of names in a certificate; of more, the latest stay. A guess.
const NAMES_MAX: usize = 16;
/// Maximum length of a file with certificates or a key, in bytes: a bundle of all public authorities has 0.25 MiB.
const FILE_LEN_MAX: u64 = 1 << 20;
/// Begin of the line above a kept certificate; the end of its life, in seconds since 1970, and its names follow.
const HEAD: &str = "plenary rendezvous";

/// Certificate of a rendezvous with its private key, for [`HostOptions::certificate`](crate::HostOptions::certificate).
#[derive(Clone, Debug)]
pub struct Certificate {
    tls: ServerTls,
    file: PathBuf,
    fingerprint: String,
}

impl Certificate {
    /// Reads a certificate, with the rest of its chain below it, and its private key from PEM files.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Certificate`], which name the file.
    pub fn load(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Certificate, Error> {
        use plenary_signal::TlsError::{Certificate as OfCertificate, Key, OtherKey};
        let (file, key_file) = (certificate.as_ref(), key.as_ref());
        let (chain, key) = (read(file)?, read(key_file)?);
        let tls = ServerTls::from_pem(&chain, &key).map_err(|error| {
            let file = match &error {
                OfCertificate(_) => file,
                Key(_) | OtherKey => key_file,
                _ => file,
            };
            Error::Certificate { file: file.to_owned(), error }
        })?;
        Ok(Certificate::of(tls, file, &chain))
    }

    fn of(tls: ServerTls, file: &Path, chain: &[u8]) -> Certificate {
        let own = certificates_from_pem(chain).ok().and_then(|chain| chain.into_iter().next());
        let hash = Sha256::digest(own.as_deref().unwrap_or_default());
        let pairs: Vec<_> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
        Certificate { tls, file: file.to_owned(), fingerprint: pairs.join(":") }
    }

    /// Returns a certificate that is signed by itself: the one kept in `folder`, or a new one that is kept there, its
    /// private key for this user alone (mode 0600).
    ///
    /// It is for localhost, the address `listen`, or this machine's own if that is unspecified, and the host of
    /// `advertise`. A kept certificate is replaced when it lacks one of these or is about to expire; the new one has
    /// the same key, and the earlier names too.
    ///
    /// # Errors
    /// [`Error::Io`], also if others may read the private key.
    pub fn self_signed(
        folder: impl AsRef<Path>,
        listen: SocketAddr,
        advertise: Option<&Advertise>,
    ) -> Result<Certificate, Error> {
        let folder = folder.as_ref();
        let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        names.push(reachable(listen).ip().to_canonical().to_string());
        names.extend(advertise.map(Advertise::name));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        fs::create_dir_all(folder)
            .map_err(|error| Error::Io { what: format!("cannot make {}", folder.display()), error })?;
        self_signed(folder, names, now)
    }

    /// File of the certificate. Peers that do not know its authority have to trust it
    /// ([`Options::tls_roots`](crate::Options::tls_roots)).
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// SHA-256 hash of the certificate, as browsers show it: a user compares them before accepting a self-signed one.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Lets the servers that were opened with this certificate serve with a newer one from the next connection on: a
    /// certificate that was renewed while they run.
    pub fn replace(&self, newer: &Certificate) {
        self.tls.replace(&newer.tls);
    }

    /// Returns it in the form that [`plenary_signal::RendezvousConfig`] takes.
    pub fn server_tls(&self) -> ServerTls {
        self.tls.clone()
    }

    /// Reads the certificates of a PEM file, in DER, for [`Options::tls_roots`](crate::Options::tls_roots).
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Certificate`].
    pub fn load_roots(file: impl AsRef<Path>) -> Result<Vec<Bytes>, Error> {
        let file = file.as_ref();
        let found = certificates_from_pem(&read(file)?)
            .map_err(|error| Error::Certificate { file: file.to_owned(), error })?;
        Ok(found.iter().map(|certificate| Bytes::copy_from_slice(certificate)).collect())
    }
}

fn self_signed(folder: &Path, names: Vec<String>, now: Duration) -> Result<Certificate, Error> {
    let (file, key_file) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
    let kept_key = secret_file::read(&key_file)?;
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let (until, kept_names) = head(&kept).unwrap_or_default();
    if let Some(key) = &kept_key
        && until >= now + REST_MIN
        && names.iter().all(|name| kept_names.contains(name))
        && let Ok(tls) = ServerTls::from_pem(kept.as_bytes(), key.as_bytes())
    {
        return Ok(Certificate::of(tls, &file, kept.as_bytes()));
    }
    let kept_key = kept_key.and_then(|pem| KeyPair::from_pem(&pem).ok().map(|key| (key, pem)));
    let unmade = |error: rcgen::Error| Error::Io {
        what: format!("cannot make {}", file.display()),
        error: std::io::Error::other(error.to_string()),
    };
    let (key, key_pem) = match kept_key {
        Some(kept) => kept,
        None => {
            let key = KeyPair::generate().map_err(unmade)?;
            let pem = Zeroizing::new(key.serialize_pem());
            secret_file::replace(&key_file, &pem)?;
            (key, pem)
        }
    };
    let mut all: Vec<String> = Vec::new();
    for name in names.into_iter().chain(kept_names) {
        if all.len() < NAMES_MAX && !all.contains(&name) {
            all.push(name);
        }
    }
    let until = now + LIFE;
    let certificate = certificate(&key, &all, now, until).map_err(unmade)?;
    let text = format!("{HEAD} {} {}\n{certificate}", until.as_secs(), all.join(" "));
    secret_file::replace_public(&file, &text)?;
    tracing::info!(file = %file.display(), names = all.join(" "), "a certificate was made");
    let tls = ServerTls::from_pem(text.as_bytes(), key_pem.as_bytes());
    let tls = tls.map_err(|error| Error::Certificate { file: file.clone(), error })?;
    Ok(Certificate::of(tls, &file, text.as_bytes()))
}

/// Makes a certificate, in PEM.
fn certificate(
    key: &KeyPair,
    names: &[String],
    now: Duration,
    until: Duration,
) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, HEAD);
    // by default a hash of the key: Firefox refuses two certificates of one issuer with the same serial number
    params.serial_number = Some((random_u64() >> 1).into());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let epoch = date_time_ymd(1970, 1, 1);
    // clocks differ
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + until;
    Ok(params.self_signed(key)?.pem())
}

/// Reads the line above a kept certificate: the end of its life since 1970, and its names.
fn head(text: &str) -> Option<(Duration, Vec<String>)> {
    let mut words = text.lines().next()?.strip_prefix(HEAD)?.split_whitespace();
    let until = Duration::from_secs(words.next()?.parse().ok()?);
    Some((until, words.take(NAMES_MAX).map(str::to_owned).collect()))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| file.take(FILE_LEN_MAX).read_to_end(&mut bytes));
    read.map_err(|error| Error::Io { what: format!("cannot read {}", path.display()), error })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn made(folder: &Path, names: &[&str], now: Duration) -> Vec<u8> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        fs::read(self_signed(folder, names, now).unwrap().file()).unwrap()
    }

    #[test]
    fn a_kept_certificate_is_used_until_it_lacks_a_name_or_is_about_to_expire() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let first = made(folder, &["localhost", "192.0.2.1"], NOW);
        assert_eq!(made(folder, &["192.0.2.1"], NOW), first);
        let key = fs::read(folder.join(KEY_FILE)).unwrap();
        let more = made(folder, &["localhost", "example.org", "::1"], NOW);
        assert_ne!(more, first);
        // the earlier names are in it too
        assert_eq!(made(folder, &["192.0.2.1", "example.org"], NOW + LIFE - REST_MIN), more);
        assert_ne!(made(folder, &["example.org"], NOW + LIFE - REST_MIN + DAY), more);
        assert_eq!(fs::read(folder.join(KEY_FILE)).unwrap(), key);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(KEY_FILE), mode(CERTIFICATE_FILE) & 0o400), (0o600, 0o400));
            fs::set_permissions(folder.join(KEY_FILE), fs::Permissions::from_mode(0o644)).unwrap();
            let open = self_signed(folder, vec!["localhost".to_owned()], NOW);
            assert!(matches!(open, Err(Error::Io { .. })));
        }
    }

    #[test]
    fn what_is_damaged_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let first = made(folder, &["localhost"], NOW);
        for (file, text) in [
            (CERTIFICATE_FILE, "no certificate"),
            (CERTIFICATE_FILE, ""),
            (KEY_FILE, "no key"),
            (KEY_FILE, ""),
        ] {
            fs::write(folder.join(file), text).unwrap();
            let second = made(folder, &["localhost"], NOW);
            assert_ne!(second, first);
            assert_eq!(made(folder, &["localhost"], NOW), second);
        }
    }

    #[test]
    fn the_oldest_names_go_first() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..2 * NAMES_MAX {
            made(folder.path(), &["localhost", &format!("192.0.2.{number}")], NOW);
        }
        let text = String::from_utf8(made(folder.path(), &["localhost"], NOW)).unwrap();
        let (_, names) = head(&text).unwrap();
        assert_eq!(names.len(), NAMES_MAX);
        assert!(names.contains(&"192.0.2.31".to_owned()) && !names.contains(&"192.0.2.2".to_owned()));
    }
}
