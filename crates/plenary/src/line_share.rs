//! The part of a host's uplink that its own rendezvous may fill: with its page, and with envelopes in rooms of others.

/// Divisor of the uplink: a quarter stays for strangers, the rest for media.
const PART: u64 = 4;
/// Bytes per second before the uplink is known: a quarter of 8 Mbit/s, by which a first visit of the page takes some
/// two seconds. A guess.
const UNMEASURED_BYTES_PER_S: u32 = 256 << 10;
/// Least number of bytes per second, by which the page comes in 12 s. A guess.
const BYTES_PER_S_MIN: u64 = 32 << 10;

/// Returns the number of bytes per second that the rendezvous of a host with this uplink may send.
pub(crate) fn outflow_bytes_per_s(uplink_bps: Option<u64>) -> u32 {
    let part = |bps: u64| u32::try_from((bps / 8 / PART).max(BYTES_PER_S_MIN)).unwrap_or(u32::MAX);
    uplink_bps.map_or(UNMEASURED_BYTES_PER_S, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_a_quarter_of_the_line_and_the_page_comes_in_any_case() {
        assert_eq!(outflow_bytes_per_s(Some(8_000_000)), 250_000);
        assert_eq!(outflow_bytes_per_s(Some(100_000)), 32 << 10);
        assert_eq!(outflow_bytes_per_s(Some(u64::MAX)), u32::MAX);
        assert_eq!(outflow_bytes_per_s(None), UNMEASURED_BYTES_PER_S);
    }
}
