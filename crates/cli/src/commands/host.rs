//! `plenary host`: opens a room and prints its invite.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use plenary::{Consent, Invite, MixPolicy, PeerId, Room, RoomKeys, SignedName, SignedNameError};
use plenary_proto::DIRECTORY_MAX;
use tokio::task::JoinSet;
use tracing::Level;

use super::floor::Floor;
use super::govern::{Files, govern};
use super::port_map;
use super::runtime;
use super::signals::Signals;
use super::stay::{stay, unless_over};
use super::topology::Topology;
use super::watched::Watched;
use crate::args::{HostArgs, LogArgs, LogFormat, Stage};
use crate::logging::log_to_stderr;
use crate::tell::Teller;
use crate::{Failure, bounded_file, secrets, usage};

pub(crate) fn run(args: HostArgs) -> Result<(), Failure> {
    log_to_stderr(args.room.log, Level::WARN, &args.stay.format)?;
    let mut options = args.room.options(args.speak, args.view, Consent::Auto)?;
    if args.room.name.is_none() {
        options.name = "host".to_owned();
    }
    let teller = Teller::new();
    options.on_event = Some(teller.on_event());
    args.room.say_unused();
    args.stay.check(&args.room)?;
    args.room.check_sources(args.speak)?;
    let _held = args.room_keys.as_ref().map(RoomKeys::lock).transpose()?;
    let keys = args.room_keys.as_ref().map(RoomKeys::load).transpose()?.flatten();
    args.stay.identify(&mut options, &args.room)?;
    options.password = secrets::password(args.room.password.as_deref(), false)?;
    let host = args.room.host_options();
    if args.rendezvous.is_some() && args.serve.turn().is_some() {
        return Err(usage(
            "--serve-turn is for the host's own server: with --rendezvous, that one serves TURN",
        ));
    }
    let own = args.room.network.bind.first().copied().unwrap_or(Ipv6Addr::UNSPECIFIED.into());
    let listen = host.listen.unwrap_or(SocketAddr::new(own, 0));
    // there is nowhere to show it where another rendezvous serves the page
    let topology = args.rendezvous.is_none().then(Topology::new).transpose()?;
    let page = args.serve.page(args.page_auto_speak);
    let page = match &topology {
        Some(topology) => Some(topology.add_to(page)),
        None => page,
    };
    let watched = Watched::default();
    let listed = args.members.clone().or_else(|| args.only_members.clone());
    let certificate = args.serve.certificate(listen)?;
    let host = host
        .listen(Some(listen))
        .rendezvous(args.rendezvous.clone())
        .advertise(args.serve.advertise.clone())
        .certificate(certificate.clone())
        .page(page)
        .figures(Some(watched.figures()))
        .page_at(args.page_at.clone())
        .turn(args.serve.turn())
        .embed(args.serve.embed.clone())
        .invite_life(args.invite_life)
        .title(args.title.clone().unwrap_or_default())
        .keys(keys)
        .stage_open(args.stage == Stage::Open)
        .mixing(args.mixing.map(MixPolicy::from).or(args.only_members.as_ref().map(|_| MixPolicy::Named)))
        .lobby(args.lobby || args.only_members.is_some())
        .members(listed.as_deref().map(members).transpose()?.unwrap_or_default());
    runtime()?.block_on(async {
        let (signals, mut renewals) = Signals::listen()?;
        let Some(room) = signals.unless_ended(Room::host(options, host)).await else { return Ok(()) };
        let room = room?;
        watched.knows(&room);
        let mut beside = JoinSet::new(); // its tasks end when it is dropped
        if let Some(address) = args.stay.metrics {
            beside.spawn(watched.serve_at(address, None).await?);
        }
        let files = Files { invite: args.invite_file.clone(), keys: args.room_keys.clone() };
        files.save_keys(&room)?;
        if args.speak {
            let source = args.room.source(0)?;
            let published = room.publish(source).await.map(|track| track.detach());
            unless_over(&room, published.map_err(Failure::from)).await?;
        }
        let invite = room.invite().context("the room has no invite")?;
        publish_invite(&invite, files.invite.as_deref())?;
        say!("the room's key: {}", invite.root());
        let floor = Floor { sources: args.room.clone(), asks: args.speak, publishes: args.speak };
        if let Some(topology) = topology {
            let origin = invite.rendezvous().unwrap_or_default();
            publish_tree(&topology.address(&origin), args.tree_file.as_deref(), &args.stay.format)?;
            beside.spawn(topology.serve(room.clone()));
        }
        if let Some(mapping) = room.port_map() {
            beside.spawn(port_map::tell(mapping, certificate.is_some()));
        }
        beside.spawn(govern(room.clone(), files));
        beside.spawn(floor.follow(room.clone()));
        let renewed = room.clone();
        beside.spawn(async move {
            while renewals.next().await.is_some() {
                args.serve.renew(listen, certificate.as_ref());
                renew_members(&renewed, listed.as_deref()).await;
            }
        });
        stay(room, &args.room, &args.stay, &teller, &signals).await
    })
}

/// Reads the list of members again. A list with an error changes nothing.
async fn renew_members(room: &Room, file: Option<&Path>) {
    let Some(file) = file else { return };
    let renewed = async {
        let members = members(file)?;
        let many = members.len();
        room.as_host()?.set_members(members).await?;
        Ok::<_, Failure>(many)
    };
    match renewed.await {
        Ok(many) => say!("{} is read again: {many} members", file.display()),
        Err(why) => say!("the members stay as they are: {why}"),
    }
}

/// Maximum length of a list of members, in bytes: more than a thousand signed names. A guess.
const LIST_LEN_MAX: u64 = 1 << 20;

/// Reads the public keys of members: 64 hex digits a line, a signed name or any words behind them, and comments behind
/// `#`.
fn members(file: &Path) -> Result<Vec<PeerId>, Failure> {
    let text = match bounded_file::text(file, LIST_LEN_MAX) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let file = file.display();
            return Err(usage(format!("{file}: a list of members has at most {LIST_LEN_MAX} bytes")));
        }
        text => text.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let lines =
        text.lines().enumerate().map(|(at, line)| (at + 1, line.split('#').next().unwrap_or("").trim()));
    let ids = lines.filter(|(_, line)| !line.is_empty()).map(|(at, line)| {
        let word = line.split_whitespace().next().unwrap_or("");
        if line.parse::<SignedName>() == Err(SignedNameError::Forged) {
            return Err(usage(format!("{}, line {at}: {}", file.display(), SignedNameError::Forged)));
        }
        word.parse().map_err(|_| usage(format!("{}, line {at}: a member is 64 hex digits", file.display())))
    });
    let ids: Vec<_> = ids.collect::<Result<_, Failure>>()?;
    if ids.is_empty() {
        say!("{} has no key", file.display());
    }
    if ids.len() > DIRECTORY_MAX {
        let (file, many) = (file.display(), ids.len());
        say!("{file} has {many} keys: only the first {DIRECTORY_MAX} come in without waiting");
    }
    Ok(ids)
}

/// Says the address of the room's tree, which holds a secret: to a file for this user alone, or else to a terminal or
/// another program that reads standard error; not to what keeps a log.
fn publish_tree(address: &str, file: Option<&Path>, format: &LogArgs) -> Result<(), Failure> {
    let is_kept = format.log_format == LogFormat::Json
        || std::env::var_os("JOURNAL_STREAM").is_some()
        || fs::metadata("/dev/stderr").is_ok_and(|stderr| stderr.is_file());
    match file {
        Some(file) => {
            plenary::save_secret(address, file)?;
            say!("the address of the room's tree is in {}", file.display());
        }
        None if is_kept && !io::stderr().is_terminal() => {
            say!("the room's tree, live: --tree-file FILE writes its address, which no log should hold");
        }
        None => say!("the room's tree, live: {address}"),
    }
    Ok(())
}

/// Prints the invite, or writes it to a file that only this user may read.
pub(crate) fn publish_invite(invite: &Invite, file: Option<&Path>) -> Result<(), Failure> {
    if let Some(file) = file {
        plenary::save_invite(invite, file)?;
        say!("the invite is in {}", file.display());
        return Ok(());
    }
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{invite}").and_then(|()| stdout.flush());
    Ok(written.context("cannot write the invite to standard output")?)
}
