//! RTCP that a browser needs from the end that it sends media to: transport-wide congestion control feedback, from
//! which it learns the rate of the path (it begins at 300 kbit/s), and receiver reports. Plenary peers measure paths by
//! trains.

use std::time::Instant;

use bytes::Bytes;
use plenary_proto::message::BrowserMedia;
use rtc::interceptor::{
    AttributedPacket, Interceptor as _, Packet, RTPHeaderExtension, ReceiverReportBuilder,
    ReceiverReportInterceptor, StreamInfo, TaggedPacket, TwccReceiverBuilder, TwccReceiverInterceptor,
};
use rtc::rtp;
use rtc::sansio::Protocol as _;
use rtc::shared::TransportContext;

use plenary_proto::link_layout::is_video;
use plenary_proto::sdp::TWCC_URI;

/// RTCP about the media of one browser.
pub(crate) struct BrowserFeedback {
    transport_wide: TwccReceiverInterceptor,
    reports: ReceiverReportInterceptor,
}

impl BrowserFeedback {
    pub(crate) fn new(browser: &BrowserMedia) -> BrowserFeedback {
        let mut feedback = BrowserFeedback {
            transport_wide: TwccReceiverBuilder::new().build(),
            reports: ReceiverReportBuilder::new().build(),
        };
        for (slot, ssrc) in (0..).zip(browser.ssrcs) {
            let extension =
                RTPHeaderExtension { uri: TWCC_URI.to_owned(), id: browser.transport_wide_id.into() };
            let stream = StreamInfo {
                ssrc,
                clock_rate: if is_video(slot) { 90_000 } else { 48_000 },
                rtp_header_extensions: vec![extension],
                ..StreamInfo::default()
            };
            feedback.transport_wide.bind_remote_stream(&stream);
            feedback.reports.bind_remote_stream(&stream);
        }
        feedback
    }

    /// Records a packet that arrived.
    pub(crate) fn rtp(&mut self, now: Instant, header: &rtp::header::Header) {
        // what is reported stands in the header
        self.read(now, Packet::Rtp(rtp::Packet { header: header.clone(), payload: Bytes::new() }));
    }

    /// Records sender reports, of which receiver reports say the time.
    pub(crate) fn rtcp(&mut self, now: Instant, packets: &[Box<dyn rtc::rtcp::Packet>]) {
        self.read(now, Packet::Rtcp(packets.to_vec()));
    }

    fn read(&mut self, now: Instant, packet: Packet) {
        let tagged = |packet| TaggedPacket {
            now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(packet),
        };
        // neither fails; what they pass on is read already
        let _ = self.transport_wide.handle_read(tagged(packet.clone()));
        while self.transport_wide.poll_read().is_some() {}
        let _ = self.reports.handle_read(tagged(packet));
        while self.reports.poll_read().is_some() {}
    }

    /// Next time for [`BrowserFeedback::due`].
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        self.transport_wide.poll_timeout().into_iter().chain(self.reports.poll_timeout()).min()
    }

    /// The packets that are to be sent now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Box<dyn rtc::rtcp::Packet>> {
        let _ = self.transport_wide.handle_timeout(now);
        let _ = self.reports.handle_timeout(now);
        let mut due = Vec::new();
        let mut take = |sent: TaggedPacket| {
            if let Packet::Rtcp(packets) = sent.message.packet {
                due.extend(packets);
            }
        };
        while let Some(sent) = self.transport_wide.poll_write() {
            take(sent);
        }
        while let Some(sent) = self.reports.poll_write() {
            take(sent);
        }
        due
    }
}
