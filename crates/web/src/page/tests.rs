//! What a page does with what others send, without a network.

use plenary_proto::seal::RoomSecret;

use super::*;

const NOW_US: u64 = 1_700_000_000_000_000;

/// A page that waits for the host's answer.
fn page() -> Page {
    let root = Keypair::from_seed(&[1; 32]);
    let rendezvous = Some("http://127.0.0.1:9".to_owned());
    let invite = Invite::create(&root, (0, RoomSecret([8; 16])), None, true, rendezvous, &[], u64::MAX);
    let opening = Opening {
        invite: invite.to_string(),
        password: None,
        name: "Zoe".to_owned(),
        speaks: false,
        views: true,
        children_max: 0,
        identity: [3; 32],
        entropy: [4; 32],
    };
    let mut page = Page::default();
    page.handle(NOW_US, Call::Open(Box::new(opening)));
    page
}

/// A notice by any guest.
fn notice(page: &mut Page) {
    let letter = Letter::OtherVersion { from: PeerId([7; 32]), version: 77, is_notice: true };
    page.0.as_mut().unwrap().take_letter(NOW_US, letter);
}

/// Returns whether the page is refused within that time.
fn is_refused(page: &mut Page, within_us: u64) -> bool {
    let refuses = |ask: &Ask| matches!(ask, Ask::Event(json) if json.contains("version 77"));
    (0..=within_us).step_by(25_000).any(|us| page.handle(NOW_US + us, Call::Tick).iter().any(refuses))
}

#[test]
fn a_notice_of_another_version_refuses_a_page_only_once_the_host_has_answered_nothing() {
    let mut silent = page();
    notice(&mut silent);
    assert!(!is_refused(&mut silent, ANSWER_MAX_US - 1));
    assert!(is_refused(&mut silent, ANSWER_MAX_US));

    for answer in [Event::InLobby, Event::Admitted] {
        let mut answered = page();
        notice(&mut answered);
        answered.0.as_mut().unwrap().event(&BodyEvent::Brain(answer));
        notice(&mut answered);
        assert!(!is_refused(&mut answered, 2 * ANSWER_MAX_US));
    }
}
