//! What calls and events say is so at that moment.

use std::time::Duration;

use plenary::{Consent, Error, Options, PeerId, Reason, Room, RoomEvent};
use plenary_signal::{Rendezvous, RendezvousConfig};

use crate::support::*;

fn ben() -> Options {
    quick(Options::speaker("Ben")).mix(Consent::Never)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_the_invite_is_replaced_only_its_maker_has_one() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    assert_eq!(zoe.invite().unwrap().to_string(), ada.invite().unwrap().to_string());
    let mut events = [ada.events(), zoe.events()];
    let newer = within("an invite", ada.as_host().unwrap().renew_invite()).await.unwrap();
    for events in &mut events {
        event(events, "the word of it", |event| (event == RoomEvent::InviteReplaced).then_some(())).await;
    }
    assert_eq!(ada.invite().unwrap().to_string(), newer.to_string());
    assert!(zoe.invite().is_none());
    tokio::join!(zoe.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_publishes_from_the_floor_on_and_not_after_it_was_taken() {
    let ada = Room::host(quick(Options::speaker("Ada")), small().stage_open(false)).await.unwrap();
    let ben = join(&ada, ben()).await;
    let early = within("an answer", ben.publish(source(1))).await;
    assert!(matches!(early, Err(Error::Publish(_))), "{early:?}");
    within("the floor", ada.as_host().unwrap().promote(ben.me())).await.unwrap();
    let track = within("publishing", ben.publish(source(1))).await.unwrap();
    drop(track);
    within("the loss", ada.as_host().unwrap().demote(ben.me())).await.unwrap();
    until(&ben, "the loss", |ben| !ben.speaks).await;
    let late = within("an answer", ben.publish(source(1))).await;
    assert!(matches!(late, Err(Error::Publish(_))), "{late:?}");
    // on an open stage a peer that asks has the floor a moment later, and needn't wait for it by itself
    let cai = join(&ada, quick(Options::viewer("Cai"))).await;
    within("the stage", ada.as_host().unwrap().open_stage(true)).await.unwrap();
    cai.speak(true).await.unwrap();
    within("publishing", cai.publish(source(2))).await.unwrap().detach();
    tokio::join!(cai.close(), ben.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_s_call_about_a_stranger_or_after_the_end_is_an_error() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    until(&ada, "the count of viewers", |ada| ada.viewers == Some(1)).await;
    let (powers, nobody) = (ada.as_host().unwrap(), PeerId([9; 32]));
    for refused in
        [powers.demote(nobody).await, powers.remove(nobody).await, powers.ban(nobody).await.map(drop)]
    {
        assert!(matches!(refused, Err(Error::Command(Reason::Stranger))), "{refused:?}");
    }
    assert_eq!(ada.invite().unwrap().generation(), 0, "nobody was banned");
    powers.demote(zoe.me()).await.unwrap();
    within("removal", powers.remove(zoe.me())).await.unwrap();
    powers.remove(zoe.me()).await.unwrap();
    assert!(matches!(zoe.as_host(), Err(Error::Command(Reason::NotHost) | Error::Closed)));
    tokio::join!(zoe.close(), ada.close());
    assert!(matches!(ada.as_host(), Err(Error::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_speaker_that_publishes_nothing_is_shown_muted() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = join(&ada, ben()).await;
    let muted = |peer: PeerId, wanted: bool| {
        move |room: &plenary::RoomSnapshot| {
            let shown = room.stage.iter().find(|member| member.peer == peer).map(|member| member.muted);
            shown.is_some_and(|muted| [muted.picture, muted.sound] == [wanted; 2])
        }
    };
    until(&ada, "silence", muted(ben.me(), true)).await;
    until(&ben, "silence of the host", muted(ada.me(), true)).await;
    let _track = ben.publish(source(1)).await.unwrap();
    until(&ada, "the speaker", muted(ben.me(), false)).await;
    tokio::join!(ben.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_rendezvous_is_told_once() {
    let rendezvous = Rendezvous::bind(([127, 0, 0, 1], 0).into(), RendezvousConfig::default()).unwrap();
    let url = Some(format!("http://{}", rendezvous.local_addr()));
    let ada = Room::host(quick(Options::speaker("Ada")), small().rendezvous(url)).await.unwrap();
    let mut events = ada.events();
    rendezvous.close().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut told = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, events.next()).await {
        told += usize::from(matches!(event, RoomEvent::Rendezvous { up: false, .. }));
    }
    assert_eq!(told, 1);
    ada.close().await;
}
