//! Samples: one message of each variant, signed by keys that the tests know.
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod brain;
pub(crate) mod viewer;

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::*;
use plenary_proto::seal::{Countersigned, Keypair, Signed};
use plenary_proto::{Rank, RoomId, StreamId, StreamKind, StreamSpec};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const NEVER: u64 = u64::MAX;
pub(crate) const RANK: Rank = Rank { term: 3, failover_count: 1 };

pub(crate) fn key(seed: u8) -> Keypair {
    Keypair::from_seed(&[seed; 32])
}

pub(crate) fn room() -> RoomId {
    RoomId::of_root(&key(1).id())
}

fn whereabouts() -> Whereabouts {
    Whereabouts { late_us: Some(20_000), round_trips: list(vec![RoundTrip::new(&key(3).id(), 40_000)]) }
}

pub(crate) fn list<T: std::fmt::Debug, const MAX: usize>(items: Vec<T>) -> List<T, MAX> {
    items.try_into().unwrap()
}

pub(crate) fn roster() -> SignedRoster {
    let entry = |seed: u8, speaks| Entry {
        peer: key(seed).id(),
        name: Text::truncated("Ada"),
        speaks,
        views: false,
        mixes: !speaks,
        away: false,
        index: seed,
        votes: Vote::Named,
        muted: Muted { picture: seed == 2, sound: false },
        shares: if seed == 2 { Sharing::Alone } else { Sharing::No },
        no_solo: seed == 3,
        session: seed,
        records: seed == 2,
    };
    let roster = Roster {
        host: key(2).id(),
        entries: list(vec![entry(2, true), entry(3, false)]),
        acting: Some(key(3).id()),
        audience: true,
        heirs: list(vec![key(3).id()]),
        recorders: 2,
        rules: Rules {
            program: ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 },
            k: 4,
            k1: 10,
            mixers: 0,
            stage_open: true,
            mixing: MixPolicy::Anyone,
            expires_unix_s: Some(NOW),
            layout: List::new(),
            title: Text::default(),
            access: Access { agents: list(vec![key(4).id()]), ..Access::default() },
        },
    };
    Signed::new(&key(1), &room(), 7, 7, NEVER, roster).into()
}

/// Returns the roster of the first heir, chosen by both peers of the preceding roster.
pub(crate) fn roster_of_heir() -> SignedRoster {
    let before = roster().signed.clone();
    let heir = Heir { number: 1, host: key(3).id() };
    let sign =
        |by: u8| (key(by).id(), Countersigned::<Heir, ROSTER_MAX>::countersign(&key(by), &room(), 7, &heir));
    let chosen = Countersigned { epoch: 7, body: heir, signatures: list(vec![sign(2), sign(3)]) };
    let epoch = first_epoch(1);
    let body = Roster { host: key(3).id(), ..before.body.clone() };
    let signed = Signed::new(&key(3), &room(), epoch, epoch.into(), NEVER, body);
    let reigns = Reigns(list(vec![Reign::Chosen { under: before, chosen }]));
    SignedRoster::new(ProvenRoster { signed, reigns })
}

pub(crate) fn refusal() -> SignedRefusal {
    let signed = Signed::addressed(&key(1), &room(), Some(key(5).id()), 7, 12, NEVER, Refusal::Expired);
    SignedRefusal { signed, reigns: Reigns::default() }
}

pub(crate) fn outcome() -> Outcome {
    Outcome {
        term: 3,
        reason: ElectionReason::Opening,
        mixers: list(vec![key(3).id()]),
        uplinks_bps: list(vec![20_000_000]),
        standbys: list(vec![key(4).id()]),
        challenger: None,
        doubts: list(vec![Doubt { peer: key(2).id(), until_unix_s: 1_800_000_600 }]),
        evidence: [5; 32],
    }
}

pub(crate) fn need() -> Need {
    let under = Rank { term: 2, failover_count: 1 };
    Need { term: 3, under, reason: ElectionReason::MixerGone, opener: key(2).id() }
}

pub(crate) fn opening() -> Opening {
    let signature = Opening::countersign(&key(2), &room(), 7, &need());
    Opening { epoch: 7, body: need(), signatures: list(vec![(key(2).id(), signature)]) }
}

pub(crate) fn decided() -> Decided {
    let signature = Decided::countersign(&key(2), &room(), 7, &outcome());
    Decided { epoch: 7, body: outcome(), signatures: list(vec![(key(2).id(), signature)]) }
}

/// Returns the appointment of a host, signed by `by`, as the reign of that number after the roster of an epoch.
pub(crate) fn named(by: &Keypair, epoch: u32, number: u32, host: u8) -> Signed<Successor> {
    Signed::new(by, &room(), epoch, 16, NEVER, Successor { number, host: key(host).id() })
}

/// Returns the signature of a mixer that wishes to be succeeded at that rank.
pub(crate) fn wish(mixer: u8, rank: Rank, successor: u8) -> plenary_proto::seal::Signature {
    Resignation { rank, successor: key(successor).id() }.sign(&key(mixer), &room())
}

/// Returns the host's word on the sampled outcome.
pub(crate) fn confirmed() -> Signed<Confirmed> {
    Signed::new(&key(1), &room(), 7, 15, NEVER, Confirmed::of(&outcome()))
}

pub(crate) fn failover() -> Signed<Failover> {
    Signed::new(
        &key(4),
        &room(),
        7,
        9,
        NEVER,
        Failover { rank: RANK, after: Rank { failover_count: 0, ..RANK }, over: key(3).id(), wish: None },
    )
}

pub(crate) fn report() -> Signed<Report> {
    let report = Report {
        term: 3,
        candidate: key(3).id(),
        bandwidth_bps: 99_700_000,
        rtt_us: 30_400,
        paused_ppm: 7_300,
        media: Some(MediaSeen { bitrate_bps: 1_482_000, arrived_percent: Some(97) }),
        line: LineId::of(&room(), [192, 0, 2, 1].into()),
    };
    Signed::new(&key(2), &room(), 7, 10, NEVER, report)
}

pub(crate) fn claim() -> Signed<Claim> {
    let claim = Claim {
        term: 3,
        encode_us: 4_100,
        decode_us: 1_500,
        codec_source: CodecSource::Frames,
        codec_age_s: 7,
        uplink_bps_max: Some(20_000_000),
        rate_percent: 85,
        round_trips: list(vec![RoundTrip::new(&key(2).id(), 30_000), RoundTrip::new(&key(3).id(), 412_345)]),
    };
    Signed::new(&key(3), &room(), 7, 11, NEVER, claim)
}

pub(crate) fn description() -> Description {
    Description {
        ufrag: Text::truncated("Zq8xPw1n"),
        pwd: Text::truncated("0123456789abcdefghijklmn"),
        fingerprint: [6; 32],
        setup: Setup::ActPass,
        payload_types: None,
        browser: None,
        candidates: list(vec![Candidate::Host("127.0.0.1:40000".parse().unwrap())]),
        sctp: Some(SctpInit { tag: 0xdead_beef, tsn: 0xfeed_beef }),
        hello: None,
    }
}

pub(crate) fn offer(kind: LinkKind) -> Message {
    Message::Link(LinkMessage::Offer(Offer { kind, description: description(), ticket: None }))
}

pub(crate) fn path() -> Path {
    list(vec![key(3).id().short(), key(8).id().short()])
}

pub(crate) fn places() -> List<Place, PLACES_MAX> {
    list(vec![Place { peer: key(8).id(), path: path() }])
}

/// Returns one message of each variant, in the order of the enum.
/// Returns the ticket of a peer, signed by another.
pub(crate) fn ticket(peer: u8, by: u8) -> Signed<Ticket> {
    Signed::new(&key(by), &room(), 7, 15, NOW + 600, Ticket { peer: key(peer).id() })
}

pub(crate) fn samples() -> Vec<Message> {
    let resume = Resume { stream: StreamId([9; 8]), video_packet: 1234, sound_packet: 567 };
    let spec =
        StreamSpec { maker: key(3).id(), kind: StreamKind::Program, rank: RANK, rung: 0, start: [1; 8] };
    vec![
        Message::Member(MemberMessage::Join(Join {
            name: Text::truncated("Zoë"),
            speaks: true,
            views: true,
            mixes: false,
            muted: Muted::default(),
            ticket: Some(ticket(3, 2)),
            shares: Sharing::No,
            no_solo: true,
            records: true,
            place: Some(3),
        })),
        Message::Member(MemberMessage::Admit(Box::new(Admit {
            roster: roster(),
            under: Some(roster()),
            decided: Some(decided()),
            confirmed: Some(confirmed()),
            failovers: list(vec![failover()]),
            ticket: Some(ticket(3, 2)),
            key: Some(GenerationKey { generation: 1, key: [5; 32] }),
        }))),
        Message::Member(MemberMessage::Refuse(Box::new(refusal()))),
        Message::Member(MemberMessage::InLobby),
        Message::Member(MemberMessage::Roster(roster())),
        Message::Member(MemberMessage::Digest(Digest {
            epoch: 3,
            rank: Rank { term: 2, failover_count: 1 },
            evidence: [7; 32],
            asks: true,
        })),
        Message::Member(MemberMessage::Ticket(ticket(3, 2))),
        Message::Member(MemberMessage::Key(GenerationKey { generation: 1, key: [5; 32] })),
        Message::Member(MemberMessage::Position {
            name: Text::truncated("Zoë"),
            parent: Some(key(2).id()),
            depth: 3,
            fed_nothing: Some(key(3).id()),
            ticket: Some(Box::new(ticket(3, 2))),
        }),
        Message::Member(MemberMessage::Leave),
        Message::Host(HostMessage::Floor(true)),
        Message::Host(HostMessage::MuteWanted(Muted { picture: false, sound: true })),
        Message::Host(HostMessage::Audience { viewers: 300, recorders: 2 }),
        Message::Host(HostMessage::HandOver(named(&key(1), 7, 1, 3))),
        Message::Host(HostMessage::ReignWanted { epoch: 7, number: 1 }),
        Message::Host(HostMessage::ReignVote {
            epoch: 7,
            number: 1,
            signature: Some(opening().signatures[0].1),
        }),
        Message::Link(LinkMessage::LinkProof(LinkProof::sign(
            &key(2),
            &room(),
            &key(3).id(),
            &Fingerprints { own: [6; 32], other: [7; 32] },
        ))),
        Message::Link(LinkMessage::LinkWanted { kind: LinkKind::Peer, ticket: Some(Box::new(ticket(5, 2))) }),
        Message::Link(LinkMessage::Offer(Offer {
            kind: LinkKind::Trunk(1),
            description: description(),
            ticket: Some(Box::new(ticket(2, 2))),
        })),
        Message::Link(LinkMessage::Answer(Answer {
            kind: LinkKind::Trunk(1),
            offered_ufrag: Text::truncated("Zq8xPw1n"),
            offered_fingerprint: [6; 32],
            description: Description { setup: Setup::Active, ..description() },
        })),
        Message::Link(LinkMessage::Bye(LinkKind::Trunk(2))),
        Message::Link(LinkMessage::Paths(Paths {
            kind: LinkKind::Peer,
            ufrag: Text::truncated("abcd"),
            candidates: List::truncated([Candidate::Reflexive("203.0.113.5:40000".parse().unwrap())]),
        })),
        Message::Link(LinkMessage::IceRestart(Box::new(IceRestart {
            kind: LinkKind::Peer,
            link_ufrag: Text::truncated("abcd"),
            answers: Some(Text::truncated("efgh")),
            ufrag: Text::truncated("ijkl"),
            pwd: Text::truncated("a password of 22 chars"),
            candidates: List::truncated([Candidate::Host("203.0.113.5:40000".parse().unwrap())]),
        }))),
        Message::Route(RouteMessage::Relay(Relay {
            from: key(2).id(),
            to: key(8).id(),
            route: list(vec![key(3).id().short()]),
            passed: 0,
            sealed: list(vec![1, 2, 3]),
        })),
        Message::Media(MediaMessage::Stream(StreamUse { slot: 2, spec })),
        Message::Media(MediaMessage::Recalled(StreamId([9; 8]))),
        Message::Media(MediaMessage::Home {
            rank: RANK,
            video: VideoRequest { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 },
            resume: Some(resume),
            beside: Some(PictureWanted {
                video: VideoRequest { width: 1280, height: 720, fps: 15, bitrate_bps: 900_000 },
                resume: None,
            }),
        }),
        Message::Media(MediaMessage::Started(spec)),
        Message::Media(MediaMessage::SoloWanted { speaker: Some(key(2).id()) }),
        Message::Media(MediaMessage::Solo { speaker: key(2).id(), comes: true }),
        Message::Media(MediaMessage::VoicesWanted(true)),
        Message::Media(MediaMessage::Voices(true)),
        Message::Media(MediaMessage::VoiceClocks(list(vec![VoiceClock {
            speaker: key(2).id().short(),
            offset_us: -1_500,
        }]))),
        Message::Failover(FailoverMessage::HearWanted { mixer: key(3).id() }),
        Message::Failover(FailoverMessage::Heard { mixer: key(3).id(), silent_us: Some(20_000) }),
        Message::Failover(FailoverMessage::Failover(failover())),
        Message::Failover(FailoverMessage::Alive(Signed::new(
            &key(3),
            &room(),
            7,
            12,
            NEVER,
            Alive { rank: RANK, denied: Rank { failover_count: 9, ..RANK }, successor: key(4).id() },
        ))),
        Message::Failover(FailoverMessage::FailoverWanted { rank: RANK, wish: wish(3, RANK, 4) }),
        Message::Probe(ProbeMessage::ProbeWanted { train: 1, bytes: 200_000, rate_bps: 0 }),
        Message::Probe(ProbeMessage::ProbeBusy { train: 1 }),
        Message::Probe(ProbeMessage::UplinkWanted),
        Message::Probe(ProbeMessage::Uplink { bps: 20_000_000 }),
        Message::Probe(ProbeMessage::RatesWanted),
        Message::Probe(ProbeMessage::Rates(list(vec![PeerRates {
            peer: key(2).id().short(),
            received_bps: 1_500_000,
            sent_bps: 4_500_000,
            children: 3,
        }]))),
        Message::Election(ElectionMessage::Claim(claim())),
        Message::Election(ElectionMessage::Report(report())),
        Message::Election(ElectionMessage::PreVoteWanted { epoch: 7, need: need() }),
        Message::Election(ElectionMessage::PreVote {
            epoch: 7,
            term: 3,
            signature: opening().signatures[0].1,
        }),
        Message::Election(ElectionMessage::Opening(Box::new(opening()))),
        Message::Election(ElectionMessage::Ballot(Box::new(Signed::new(
            &key(2),
            &room(),
            7,
            13,
            NEVER,
            Ballot {
                reports: list(vec![report()]),
                claims: list(vec![claim()]),
                sitting: list(vec![key(4).id()]),
                outcome: outcome(),
            },
        )))),
        Message::Election(ElectionMessage::Vote {
            term: 3,
            ballot: [4; 32],
            signature: Decided::countersign(&key(2), &room(), 7, &outcome()),
        }),
        Message::Election(ElectionMessage::Lacking {
            term: 3,
            reports: list(vec![report()]),
            claims: list(vec![]),
        }),
        Message::Election(ElectionMessage::Decided(Box::new(decided()))),
        Message::Election(ElectionMessage::Confirmed(confirmed())),
        Message::Election(ElectionMessage::Trouble { count: 3 }),
        Message::Election(ElectionMessage::Suffering(Sufferers { suffering: 40, viewers: 200 })),
        Message::Tree(TreeMessage::Attach(Attach {
            purpose: Purpose::Backup,
            path: path(),
            viewers_below: 2,
            room: 3,
            sending_us: 20_000,
            fed: true,
            round_trips: list(vec![RoundTrip::new(&key(2).id(), 30_000)]),
            reach: Reach::OnlyHere,
            ticket: Some(ticket(3, 2)),
        })),
        Message::Tree(TreeMessage::Accept {
            purpose: Purpose::Parent,
            path: path(),
            whereabouts: whereabouts(),
        }),
        Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places: places() }),
        Message::Tree(TreeMessage::Refused { purpose: Purpose::Backup, reason: Refused::SameBranch }),
        Message::Tree(TreeMessage::Feed { from: Some(resume) }),
        Message::Tree(TreeMessage::Feeding { path: path(), whereabouts: whereabouts() }),
        Message::Tree(TreeMessage::StopFeed),
        Message::Tree(TreeMessage::Detach),
        Message::Tree(TreeMessage::Dismiss),
        Message::Tree(TreeMessage::Shed { places: places() }),
        Message::Tree(TreeMessage::Aggregate(Aggregate {
            viewers: 5,
            free: [1, 4, 0, 0, 0, 0, 0, 0],
            promises: [4; 8],
            room: 4,
            sending_us: 9_000,
            deepest: 2,
            strongest: Some((key(2).id(), 4)),
            recorders: 2,
        })),
        Message::Tree(TreeMessage::PathIs(path())),
        Message::Tree(TreeMessage::Whereabouts(whereabouts())),
        Message::Tree(TreeMessage::Move { how: Move::Deepest, places: places() }),
        Message::Tree(TreeMessage::Newcomer { peer: key(5).id(), children: 3 }),
        Message::Data(DataMessage::Data(Signed::new(
            &key(2),
            &room(),
            7,
            14,
            NEVER,
            Data { run: NOW, number: 1, delivery: Delivery::Reliable, bytes: list(b"hello".to_vec()) },
        ))),
        Message::Data(DataMessage::DataHeld(list(vec![DataHeld { source: key(2).id(), run: NOW, next: 2 }]))),
        Message::Data(DataMessage::DataStands(list(vec![DataHeld {
            source: key(2).id(),
            run: NOW,
            next: 2,
        }]))),
        Message::Tunnel(TunnelMessage::Wanted { with: key(3).id(), kind: LinkKind::Peer }),
        Message::Tunnel(TunnelMessage::Unwanted { with: key(3).id(), kind: LinkKind::Trunk(1) }),
        Message::Tunnel(TunnelMessage::Opened { with: key(3).id(), kind: LinkKind::Peer, channel: 300 }),
        Message::Tunnel(TunnelMessage::Closed { with: key(3).id(), kind: LinkKind::Peer }),
    ]
}
