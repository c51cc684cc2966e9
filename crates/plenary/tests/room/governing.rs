//! The host governs: lobby, lock, removal, ban, muting, the end; and its directory.

use std::time::{Duration, Instant};

use plenary::{
    Consent, End, Error, HostOptions, Invite, InviteError, MediaKind, Muted, Newcomer, Options, Password,
    PeerId, Reason, Room, RoomEvent, Shape,
};

use crate::support::*;

fn viewer(name: &str) -> Options {
    quick(Options::viewer(name))
}

/// A room with a speaker, which also mixes, as its host.
async fn ada(host: HostOptions) -> Room {
    let ada = Room::host(quick(Options::speaker("Ada")), host).await.unwrap();
    ada.publish(source(0)).await.unwrap().detach();
    ada
}

/// A room that Ada has opened and handed over to Ben, a speaker that doesn't mix.
async fn handed_over() -> (Room, Room) {
    handed_over_with(None).await
}

/// The same, with a password.
async fn handed_over_with(password: Option<&str>) -> (Room, Room) {
    let with = |options: Options| quick(options.password(password.map(Password::from)));
    let ada = Room::host(with(Options::speaker("Ada")), small()).await.unwrap();
    ada.publish(source(0)).await.unwrap().detach();
    let ben = join(&ada, with(Options::speaker("Ben").mix(Consent::Never))).await;
    until(&ben, "a place on stage", |room| room.speaks).await;
    within("another host", ada.as_host().unwrap().hand_over(ben.me())).await.unwrap();
    until(&ben, "the reign", |room| room.host == Some(ben.me())).await;
    (ada, ben)
}

async fn refusal(invite: &Invite, options: Options) -> Reason {
    match within("an answer", Room::join(invite, options)).await {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_banned_viewer_is_out_at_once_and_does_not_come_back() {
    let ada = ada(small()).await;
    let identity = plenary::Identity::generate();
    let invite = ada.invite().unwrap();
    let zoe = join(&ada, viewer("Zoë").identity(Some(identity.clone()))).await;
    let yan = join(&ada, viewer("Yan")).await;
    frame(&mut zoe.frames(), "a frame", |_| true).await;
    frame(&mut yan.frames(), "a frame", |_| true).await;

    let told = Instant::now();
    let newer = within("a new invite", ada.as_host().unwrap().ban(zoe.me())).await.unwrap();
    assert_eq!(within("the end", zoe.closed()).await, End::Removed);
    println!("out after {:?}", told.elapsed());
    assert_ne!(newer.to_string(), invite.to_string());
    assert_eq!(ada.invite().unwrap().to_string(), newer.to_string());

    // from the first moment, also while members that don't have the new key yet are heard under the old one
    for wait_s in [0, 4, 8] {
        tokio::time::sleep(Duration::from_secs(wait_s)).await;
        assert_eq!(refusal(&invite, viewer("Zoë again")).await, Reason::InviteReplaced);
    }
    assert_eq!(refusal(&newer, viewer("Zoë").identity(Some(identity))).await, Reason::Removed);
    let xia = within("joining", Room::join(&newer, viewer("Xia"))).await.unwrap();
    frame(&mut xia.frames(), "a frame", |_| true).await;
    frame(&mut yan.frames(), "a frame of one who stayed", |_| true).await;
    tokio::join!(zoe.close(), yan.close(), xia.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_host_of_a_room_with_a_password_bans_and_the_room_opens_again() {
    let with = |name| viewer(name).password(Some(Password::from("swordfish")));
    let (ada, ben) = handed_over_with(Some("swordfish")).await;
    let zoe = join(&ada, with("Zoë")).await;
    let yan = join(&ada, with("Yan")).await;

    let first = ben.invite().unwrap();
    let by_ben = within("a new invite", ben.as_host().unwrap().ban(zoe.me())).await.unwrap();
    assert_eq!(within("the end", zoe.closed()).await, End::Removed);

    within("the reign", ada.take_back()).await.unwrap();
    let by_ada = within("a new invite", ada.as_host().unwrap().ban(yan.me())).await.unwrap();
    assert_eq!(within("the end", yan.closed()).await, End::Removed);
    assert_eq!(refusal(&first, with("Zoë again")).await, Reason::InviteReplaced);
    assert_eq!(refusal(&by_ben, with("Yan again")).await, Reason::InviteReplaced);
    let without = within("an answer", Room::join(&by_ada, viewer("Xia"))).await;
    assert!(matches!(without, Err(Error::Invite(InviteError::PasswordNeeded))), "{without:?}");
    let xia = within("joining", Room::join(&by_ada, with("Xia"))).await.unwrap();

    let keys = ada.room_keys();
    tokio::join!(zoe.close(), yan.close(), xia.close(), ben.close());
    ada.close().await;
    let again = Room::host(quick(Options::speaker("Ada")), small().keys(keys.clone())).await;
    assert!(matches!(again, Err(Error::Invite(InviteError::PasswordNeeded))), "{again:?}");
    let again = Options::speaker("Ada").password(Some(Password::from("swordfish")));
    let again = Room::host(quick(again), small().keys(keys)).await.unwrap();
    assert_eq!(again.invite().unwrap().generation(), by_ada.generation());
    within("joining", Room::join(again.invite().unwrap(), with("Xia"))).await.unwrap().close().await;
    again.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_waits_in_the_lobby_and_a_locked_room_admits_nobody() {
    let ada = ada(small().lobby(true)).await;
    let mut events = ada.events();
    let invite = ada.invite().unwrap();
    let zoe = viewer("Zoë");
    let patience = zoe.patience;
    let mut waits = tokio::spawn(async move { Room::join(&invite, zoe).await });
    let knock = |event| match event {
        RoomEvent::Knock { peer, name, .. } => Some((peer, name)),
        _ => None,
    };
    let (zoe, name) = tokio::select! {
        knocked = event(&mut events, "a knock", knock) => knocked,
        joined = &mut waits => panic!("nobody was asked: {:?}", joined.unwrap().err()),
    };
    assert_eq!(name, "Zoë");
    assert_eq!(ada.as_host().unwrap().lobby(), [Newcomer { peer: zoe, name, mixes: false }]);
    // longer than a newcomer waits for a host that doesn't answer: this one has, and a person decides
    tokio::time::sleep(patience + Duration::from_millis(10_500)).await;
    ada.as_host().unwrap().admit(zoe).await.unwrap();
    let zoe = within("joining", waits).await.unwrap().unwrap();
    frame(&mut zoe.frames(), "a frame", |_| true).await;

    let invite = ada.invite().unwrap();
    let waits = tokio::spawn(async move { Room::join(&invite, viewer("Yan")).await });
    let (yan, _) = event(&mut events, "a knock", knock).await;
    ada.as_host().unwrap().deny(yan).await.unwrap();
    let denied = within("an answer", waits).await.unwrap();
    assert!(matches!(denied, Err(Error::Refused(Reason::NotLetIn))), "{denied:?}");

    ada.as_host().unwrap().lock(true).await.unwrap();
    assert_eq!(refusal(&ada.invite().unwrap(), viewer("Xia")).await, Reason::Locked);
    tokio::join!(zoe.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_lists_its_audience_asks_for_silence_and_ends_the_room_for_all() {
    let ada = ada(small()).await;
    let ben = join(&ada, quick(Options::speaker("Ben").mix(Consent::Never))).await;
    ben.publish(source(1)).await.unwrap().detach();
    let zoe = join(&ada, viewer("Zoë")).await;
    frame(&mut zoe.frames(), "a frame", |_| true).await;
    let host = ada.as_host().unwrap();
    within("the viewer's report of its parent", async {
        let placed =
            || host.directory().into_iter().any(|at| at.peer == zoe.me() && at.parent == Some(ada.me()));
        while !placed() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let listed = host.directory().into_iter().find(|listed| listed.peer == zoe.me()).unwrap();
    assert_eq!((&*listed.name, listed.depth), ("Zoë", 1));

    host.ask_to_mute(ben.me(), Muted { picture: false, sound: true }).await.unwrap();
    let is_muted = |peer| {
        move |room: &plenary::RoomSnapshot| {
            room.stage.iter().any(|member| member.peer == peer && member.muted.sound)
        }
    };
    until(&ada, "silence", is_muted(ben.me())).await;
    assert!(ben.is_muted(MediaKind::Sound) && !ben.is_muted(MediaKind::Video));

    within("the end", host.end()).await.unwrap();
    for room in [&ada, &ben, &zoe] {
        assert_eq!(within("the end", room.closed()).await, End::Ended);
    }
    tokio::join!(zoe.close(), ben.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_hands_the_room_over_and_its_heir_governs() {
    let (ada, ben) = handed_over().await;
    assert!(ada.as_host().is_err());
    let zoe = join(&ada, viewer("Zoë")).await;
    within("removal", ben.as_host().unwrap().remove(zoe.me())).await.unwrap();
    assert_eq!(within("the end", zoe.closed()).await, End::Removed);
    let newer = within("an invite", ben.as_host().unwrap().renew_invite()).await.unwrap();
    let yan = within("joining", Room::join(&newer, viewer("Yan"))).await.unwrap();
    tokio::join!(zoe.close(), yan.close(), ben.close(), ada.close());
}

/// Time in which a call that can't apply is refused: it sends nothing, and a busy machine needs some of it.
const REFUSED_MAX: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_s_call_that_cannot_apply_is_refused_at_once() {
    let ada = ada(small()).await;
    let zoe = join(&ada, viewer("Zoë")).await;
    let (host, me, nobody) = (ada.as_host().unwrap(), ada.me(), PeerId([9; 32]));
    let silent = Muted { picture: false, sound: true };
    let begun = Instant::now();
    let to_itself = [
        host.remove(me).await,
        host.ban(me).await.map(|_| ()),
        host.promote(me).await,
        host.demote(me).await,
        host.ask_to_mute(me, silent).await,
        host.admit(me).await,
        host.deny(me).await,
        host.hand_over(me).await,
    ];
    for (at, refused) in to_itself.into_iter().enumerate() {
        assert!(matches!(refused, Err(Error::Command(Reason::Itself))), "{at}: {refused:?}");
    }
    for peer in [zoe.me(), nobody] {
        for refused in [host.hand_over(peer).await, host.ask_to_mute(peer, silent).await] {
            assert!(matches!(refused, Err(Error::Command(Reason::OffStage))), "{refused:?}");
        }
    }
    let refused = host.set_mixers(9).await;
    assert!(matches!(refused, Err(Error::Command(Reason::TooManyMixers))), "{refused:?}");
    let refused = Room::host(quick(Options::viewer("Ada")), small().mixers(9)).await.map(|_| ());
    assert!(matches!(refused, Err(Error::Command(Reason::TooManyMixers))), "{refused:?}");
    assert!(begun.elapsed() < REFUSED_MAX, "{:?}", begun.elapsed());
    within("the next call", host.set_mixers(2)).await.unwrap();
    assert!(matches!(zoe.take_back().await, Err(Error::Command(Reason::NotHost))));
    tokio::join!(zoe.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_s_call_that_no_roster_answers_ends() {
    let ada = ada(small()).await;
    let ben = quick(Options::speaker("Ben").mix(Consent::Never));
    let network = ben.testing.shaper.clone();
    let ben = join(&ada, ben).await;
    until(&ada, "a second speaker", |room| room.stage.len() == 2).await;
    network.kill(); // it answers nothing, and the host doesn't know yet
    let begun = Instant::now();
    let handed = within("an answer", ada.as_host().unwrap().hand_over(ben.me())).await;
    assert!(matches!(handed, Err(Error::NotShown { seconds: 10 })), "{handed:?}");
    println!("an answer after {:?}", begun.elapsed());
    within("the next call", ada.as_host().unwrap().lock(true)).await.unwrap();
    tokio::join!(ben.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invites_that_are_replaced_at_the_same_time_follow_one_another() {
    let ada = ada(small()).await;
    let host = ada.as_host().unwrap();
    let (first, second) = tokio::join!(host.renew_invite(), host.renew_invite());
    assert_eq!((first.unwrap().generation(), second.unwrap().generation()), (1, 2));
    let zoe = within("joining", Room::join(ada.invite().unwrap(), viewer("Zoë"))).await.unwrap();
    tokio::join!(zoe.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_opened_the_room_takes_it_back_and_its_next_invite_counts() {
    let (ada, ben) = handed_over().await;
    let newer = within("an invite", ben.as_host().unwrap().renew_invite()).await.unwrap();
    let cai = quick(Options::speaker("Cai").mix(Consent::Never));
    let cai = within("joining", Room::join(&newer, cai)).await.unwrap();
    until(&ada, "the roster with the new invite and the speaker", |room| room.stage.len() == 3).await;
    let other = ben.take_back().await;
    assert!(matches!(other, Err(Error::Command(Reason::NotHost))), "{other:?}");

    within("the room", ada.take_back()).await.unwrap();
    until(&ben, "the former host", |room| room.host == Some(ada.me())).await;
    assert!(ben.as_host().is_err());
    let newer = within("an invite", ada.as_host().unwrap().renew_invite()).await.unwrap();
    assert_eq!(newer.generation(), 2);
    let zoe = within("joining", Room::join(&newer, viewer("Zoë"))).await.unwrap();
    within("removal", ada.as_host().unwrap().remove(zoe.me())).await.unwrap();
    assert_eq!(within("the end", zoe.closed()).await, End::Removed);
    tokio::join!(zoe.close(), cai.close(), ben.close(), ada.close());
}

/// Depth of the removed viewers, and number of removals.
const REMOVED_DEPTH: usize = 3;
const REMOVALS: usize = 20;

/// Losses of each link, both ways.
const LOSSY: Shape = Shape { loss_ppm: 50_000, delay_us: 10_000, rate_bps: 0 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute of real time, with losses: ./run nightly rooms"]
async fn of_20_viewers_removed_behind_lossy_links_19_are_out_within_a_second() {
    let lossy = |options: Options| {
        options.testing.shaper.set(LOSSY);
        options
    };
    let ada = Room::host(lossy(quick(Options::speaker("Ada"))), small().k1(1).k(1)).await.unwrap();
    ada.publish(source(0)).await.unwrap().detach();
    let mut chain = Vec::new();
    for name in ["Zoë", "Yan"] {
        let viewer = join(&ada, lossy(viewer(name))).await;
        until(&viewer, "a place", |room| room.depth == Some(chain.len() + 1)).await;
        chain.push(viewer);
    }
    let mut out_ms = Vec::new();
    for number in 0..REMOVALS {
        let last = join(&ada, lossy(viewer(&format!("viewer {number}")))).await;
        let mut frames = last.frames();
        until(&last, "a place", |room| room.depth == Some(REMOVED_DEPTH)).await;
        frame(&mut frames, "a frame", |_| true).await;
        let told = Instant::now();
        let (removed, end) = tokio::join!(ada.as_host().unwrap().remove(last.me()), async {
            let mut newest = Instant::now();
            while frames.next().await.is_some() {
                newest = Instant::now();
            }
            newest
        });
        removed.unwrap();
        out_ms.push(end.saturating_duration_since(told).as_millis());
        last.close().await;
    }
    out_ms.sort_unstable();
    println!("last frame after the host's call, ms: {out_ms:?}");
    assert!(out_ms[REMOVALS - 2] <= 1000, "{out_ms:?}");
    for room in chain {
        room.close().await;
    }
    ada.close().await;
}
