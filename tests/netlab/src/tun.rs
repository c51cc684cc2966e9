//! The network device of a host. The host sees `eth0`; the lab holds its other end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use rustix::ioctl;

use crate::line::Packet;

pub(crate) const MTU: usize = 1500;
/// Room for a burst from a host while the lab serves others.
pub(crate) const QUEUE_PACKETS: u32 = 2000;
/// Called as on an ordinary machine, for some programs shun devices that look like a VPN.
pub(crate) const DEVICE: &str = "eth0";

/// The outer end of a host's network device: reading gives what the host sends.
pub(crate) struct Tun {
    device: File,
    /// `/proc/net/dev` as seen in the host's namespace.
    counters: File,
}

impl Tun {
    /// Makes the device in the namespace of the calling thread.
    pub(crate) fn open() -> Result<Self> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .context("cannot open /dev/net/tun")?;
        // SAFETY: all zeroes is a valid `ifreq`, a plain C structure.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(DEVICE.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        const TUNSETIFF: ioctl::Opcode = ioctl::opcode::write::<libc::c_int>(b'T', 202);
        // SAFETY: TUNSETIFF reads an `ifreq` with a name and flags, both set above.
        unsafe { ioctl::ioctl(&device, ioctl::Setter::<TUNSETIFF, _>::new(request)) }
            .context("cannot make a tun device")?;
        let counters = File::open("/proc/thread-self/net/dev")?;
        Ok(Tun { device, counters })
    }

    /// The next packet, if there is one now.
    pub(crate) fn read(&self) -> Option<Packet> {
        let mut buffer = [0; MTU];
        let length = (&self.device).read(&mut buffer).ok()?;
        Some(buffer[..length].into())
    }

    pub(crate) fn write(&self, packet: &[u8]) -> io::Result<()> {
        (&self.device).write(packet).map(|_| ())
    }

    /// Packets that the host's kernel dropped because the lab did not read them in time.
    pub(crate) fn overrun(&self) -> u64 {
        const DROPPED_WHILE_SENDING: usize = 11;
        let mut text = String::new();
        let mut counters = &self.counters;
        let is_read = counters.rewind().and_then(|()| counters.read_to_string(&mut text)).is_ok();
        let device = text.lines().find_map(|line| line.trim().strip_prefix(DEVICE)?.strip_prefix(':'));
        match device {
            Some(fields) if is_read => fields
                .split_whitespace()
                .nth(DROPPED_WHILE_SENDING)
                .and_then(|field| field.parse().ok())
                .unwrap_or(0),
            _ => 0,
        }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
