//! A relay that forges what it forwards, for tests of pages: `forger INVITE KIND`, where the kind is that of a forgery
//! (`plenary_testkit::hostile`). It prints `placed` once it is fed by a mixer, forges from the first line of standard
//! input on, and leaves at its end.

use std::env::args;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use plenary::{Invite, Options, Room};
use plenary_testkit::hostile::forgeries;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [_, invite, kind] =
        <[String; 3]>::try_from(args().collect::<Vec<_>>()).ok().context("forger INVITE KIND")?;
    let begins = Arc::new(AtomicBool::default());
    let forge = forgeries(&begins).into_iter().find(|(name, _)| *name == kind);
    let mut options = Options::viewer("Mallory").bind(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    options.testing.forge = Some(forge.context("no such forgery")?.1);
    let room = Room::join(&invite.parse::<Invite>()?, options).await?;
    room.watch().wait_for(|relay| relay.depth == Some(1)).await?;
    println!("placed {}", room.me());
    let mut lines = BufReader::new(stdin()).lines();
    while lines.next_line().await?.is_some() {
        begins.store(true, Ordering::Relaxed);
    }
    room.close().await;
    Ok(())
}
