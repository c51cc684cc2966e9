//! The ICE agent of one end, as the transport and ICE restarts configure it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plenary_proto::link_layout::{Role, priority};
use plenary_proto::message::Candidate;
use rtc::ice::candidate::candidate_host::CandidateHostConfig;
use rtc::ice::candidate::candidate_relay::CandidateRelayConfig;
use rtc::ice::candidate::candidate_server_reflexive::CandidateServerReflexiveConfig;
use rtc::ice::candidate::{Candidate as IceCandidate, CandidateConfig, CandidateType};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::ice::{Agent, AgentConfig};
use rtc::sansio::Protocol as _;
use rtc::shared::TaggedBytesMut;
use rtc::shared::error::{Error, Result};

use crate::credentials::Credentials;
use crate::tunnels::{self, is_tunnel};

/// Interval between connectivity checks. The first check is sent after one interval (200 ms by default), so a
/// link on loopback is up a little later than that.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum number of unanswered checks of a pair of addresses: as many as fit into `SILENCE_MAX`. By default an
/// end stops after 7 checks; then the NAT in front of it closes the mapping, although the answer may still be
/// on its way.
const CHECKS_MAX: u16 = (SILENCE_MAX.as_millis() / CHECK_INTERVAL.as_millis()) as u16;
/// Silence after which the other end is given up. After half of this time the ICE agent is disconnected, from
/// which it can recover; after the full time it has failed.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Time from the first check until a pair with a relay may be selected: no other one replaces it later. A guess: a STUN
/// server's answer, the message that tells the other end, and a check take three round trips, which are 0.3 s each on
/// slow paths. The stack's 2 s was most of a relayed link's set-up.
const RELAY_WAIT: Duration = Duration::from_secs(1);
/// Interval between checks of an established link (RFC 7675 requires less than 5 s). The checks also measure
/// the round trip.
const CONSENT_INTERVAL: Duration = Duration::from_secs(1);

/// Returns the ICE agent of an end with these addresses.
pub(crate) fn new_agent(
    now: Instant,
    (role, is_lite): (Role, bool),
    credentials: &Credentials,
    (ufrag, pwd): (&str, &str),
    addresses: impl Iterator<Item = SocketAddr>,
) -> Result<Agent> {
    let config = AgentConfig {
        local_ufrag: ufrag.to_owned(),
        local_pwd: pwd.to_owned(),
        // by default a socket more, which fails without a multicast route
        multicast_dns_mode: MulticastDnsMode::Disabled,
        disconnected_timeout: Some(SILENCE_MAX / 2),
        failed_timeout: Some(SILENCE_MAX / 2),
        keepalive_interval: Some(CONSENT_INTERVAL),
        check_interval: CHECK_INTERVAL,
        max_binding_requests: Some(CHECKS_MAX),
        // By default a pair behind a NAT waits 0.5 s for a better one, 1 s if its address was not told, and 2 s if
        // it goes over a relay. There is no better one than the first that answers, except in place of a relay.
        relay_acceptance_min_wait: Some(RELAY_WAIT),
        srflx_acceptance_min_wait: Some(Duration::ZERO),
        prflx_acceptance_min_wait: Some(Duration::ZERO),
        is_controlling: role == Role::Offer,
        lite: is_lite,
        candidate_types: if is_lite { vec![CandidateType::Host] } else { Vec::new() },
        ..AgentConfig::default()
    };
    let mut agent = Agent::new(now, Arc::new(config), credentials.provider.clone())?;
    for (index, address) in (0..).zip(addresses) {
        agent.add_local_candidate(ice_candidate(&Candidate::Host(address), index)?)?;
    }
    Ok(agent)
}

/// Adds the pair of candidates that stands for all tunnels of the link.
pub(crate) fn add_tunnel(agent: &mut Agent) -> Result<()> {
    agent.add_local_candidate(ice_candidate(&Candidate::Relayed(tunnels::OWN), 0)?)?;
    agent.add_remote_candidate(ice_candidate(&Candidate::Relayed(tunnels::OTHER), 0)?)?;
    Ok(())
}

/// Takes the agent's checks and answers. A tunnel leads to its other end alone: the agent pairs each address with each.
pub(crate) fn checks_of(agent: &mut Agent) -> impl Iterator<Item = TaggedBytesMut> {
    let leads_there = |check: &TaggedBytesMut| {
        is_tunnel(check.transport.local_addr) == is_tunnel(check.transport.peer_addr)
    };
    std::iter::from_fn(|| agent.poll_write()).filter(leads_there)
}

/// The candidate as the ICE agent has it; `index` is its place in its description.
pub(crate) fn ice_candidate(candidate: &Candidate, index: u32) -> Result<IceCandidate> {
    let no_address = || Error::Other("a name is no address to check".to_owned());
    let address = candidate.address().ok_or_else(no_address)?;
    let base_config = CandidateConfig {
        network: "udp".to_owned(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        priority: priority(candidate, index),
        ..CandidateConfig::default()
    };
    match candidate {
        Candidate::Host(_) | Candidate::Named(..) => {
            CandidateHostConfig { base_config, ..Default::default() }.new_candidate_host()
        }
        Candidate::Reflexive(_) => CandidateServerReflexiveConfig { base_config, ..Default::default() }
            .new_candidate_server_reflexive(),
        Candidate::Relayed(_) => {
            CandidateRelayConfig { base_config, ..Default::default() }.new_candidate_relay()
        }
    }
}
