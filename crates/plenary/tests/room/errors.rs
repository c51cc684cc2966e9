//! Errors, each with its type.

use std::time::Duration;

use plenary::{
    Consent, Error, InviteError, Options, Password, Reason, RendezvousRefusal, Room, SignalError, TrackKind,
};

use crate::support::*;

fn speaker() -> Options {
    quick(Options::speaker("Ben"))
}

async fn refused(host: &Room, options: Options) -> Error {
    match within("joining", Room::join(host.invite().unwrap(), options)).await {
        Ok(_) => panic!("it was let in"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_with_a_password_lets_in_who_has_it() {
    let with = |password: Option<&str>| speaker().password(password.map(Password::from));
    let ada = host(with(Some("swordfish"))).await;
    let error = refused(&ada, with(None)).await;
    assert!(matches!(error, Error::Invite(InviteError::PasswordNeeded)), "{error}");
    let error = refused(&ada, with(Some("tuna"))).await;
    assert!(matches!(error, Error::Invite(InviteError::WrongPassword)), "{error}");
    let ben = join(&ada, with(Some("swordfish"))).await;
    ada.publish(source(0)).await.unwrap().detach();
    frame(&mut ben.frames(), "a frame", |_| true).await;
    tokio::join!(ada.close(), ben.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_come_in_is_told_why() {
    let expired = small().invite_life(Duration::ZERO);
    let ada = Room::host(speaker(), expired).await.unwrap();
    let error = refused(&ada, speaker()).await;
    assert!(matches!(error, Error::Refused(Reason::InviteExpired)), "{error}");
    ada.close().await;

    let closed = small().stage_open(false);
    let ada = Room::host(speaker(), closed).await.unwrap();
    let speaks_only = speaker().views(false).mix(Consent::Never);
    let error = refused(&ada, speaks_only).await;
    assert!(matches!(error, Error::Refused(Reason::StageClosed)), "{error}");
    // a peer that also wants to watch or mix is admitted, and waits for the floor
    let ben = join(&ada, speaker()).await;
    let on_stage = |peer| ada.snapshot().stage.iter().any(|member| member.peer == peer && member.speaks);
    assert!(!on_stage(ben.me()));
    ben.close().await;
    join(&ada, quick(Options::viewer("Zoë"))).await.close().await;
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_that_leads_nowhere_says_where_it_ends() {
    let (ada, other) = (host(speaker()).await, host(speaker()).await);
    let leading_to = |rendezvous: Option<&str>| {
        let mut invite = ada.invite().unwrap();
        invite.place = rendezvous.map(str::to_owned);
        let options = speaker().patience(Duration::from_millis(300));
        async move { within("joining", Room::join(&invite, options)).await.err().unwrap() }
    };
    let error = leading_to(other.invite().unwrap().place.as_deref()).await;
    assert!(matches!(error, Error::Signal(SignalError::Refused(RendezvousRefusal::UnknownRoom))), "{error}");
    // the discard port (RFC 863), on which nothing listens
    let error = leading_to(Some("http://127.0.0.1:9")).await;
    assert!(matches!(error, Error::Signal(SignalError::Unreachable { .. })), "{error}");
    let error = leading_to(None).await;
    assert!(matches!(error, Error::NoRendezvous), "{error}");

    let rendezvous = ada.invite().unwrap().place.unwrap();
    let port = rendezvous.rsplit(':').next().unwrap();
    let listen = Some(([127, 0, 0, 1], port.parse().unwrap()).into());
    let error = Room::host(speaker(), small().listen(listen)).await.err().unwrap();
    assert!(matches!(error, Error::Rendezvous(_)), "{error}");
    tokio::join!(ada.close(), other.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_peer_cannot_do_is_refused_and_may_be_tried_again() {
    let ada = host(speaker()).await;
    let zoe = join(&ada, quick(Options::viewer("Zoë")).codecs(None)).await;
    assert!(matches!(zoe.pictures(), Err(Error::NoCodecs)));
    assert!(matches!(zoe.sound(), Err(Error::NoCodecs)));
    assert!(matches!(zoe.publish(source(0)).await, Err(Error::NoCodecs)));
    assert!(matches!(zoe.publish_encoded().await, Err(Error::Publish(_))));
    assert!(matches!(zoe.record("/nowhere/at.mp4"), Err(Error::Record(_))));
    #[cfg(feature = "files")]
    assert!(matches!(ada.publish_file("/nowhere/at.mp4").await, Err(Error::Source(_))));
    let track = ada.publish(source(0)).await.unwrap();
    assert!(matches!(ada.publish(source(0)).await, Err(Error::Publish(_))));
    drop(track);
    ada.publish(source(0)).await.unwrap().detach();
    assert!(matches!(ada.publish_encoded_as(TrackKind::Voice).await, Err(Error::Publish(_))));
    tokio::join!(ada.close(), zoe.close());
}
