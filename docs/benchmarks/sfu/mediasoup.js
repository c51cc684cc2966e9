// A mediasoup worker as a server of `plenary bench relay --server` (sfu.md describes the lines on standard input and output).
//     node mediasoup.js [ADDRESS]
// A subscriber is offered H.264 with NACK and no retransmission stream, the same codec as at the other servers.
const readline = require('readline');
const mediasoup = require('mediasoup');

const PAYLOAD_TYPE = 102;
const FORMAT = { 'packetization-mode': 1, 'profile-level-id': '42e01f', 'level-asymmetry-allowed': 1 };
const FEEDBACK = [{ type: 'nack', parameter: '' }, { type: 'nack', parameter: 'pli' }];
const CODEC = { kind: 'video', mimeType: 'video/H264', clockRate: 90000, preferredPayloadType: PAYLOAD_TYPE, parameters: FORMAT, rtcpFeedback: FEEDBACK };

const address = process.argv[2] || '127.0.0.1';
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

/** The value behind a prefix of a line of SDP. */
function value(sdp, prefix) {
  const line = sdp.split(/\r?\n/).find((line) => line.startsWith(prefix));
  if (line === undefined) throw new Error(`no ${prefix} in the description`);
  return line.slice(prefix.length);
}

/** The other end's DTLS parameters. It begins the handshake unless it wants to wait for it. */
function dtls(sdp) {
  const role = value(sdp, 'a=setup:') === 'passive' ? 'server' : 'client';
  return { role, fingerprints: [{ algorithm: 'sha-256', value: value(sdp, 'a=fingerprint:sha-256 ') }] };
}

function describe(transport, mid, setup, direction, ssrc) {
  const { iceParameters: ice, iceCandidates, dtlsParameters } = transport;
  const fingerprint = dtlsParameters.fingerprints.find(({ algorithm }) => algorithm === 'sha-256').value;
  const format = Object.entries(FORMAT).map(([name, value]) => `${name}=${value}`).join(';');
  const lines = ['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=ice-lite', `a=group:BUNDLE ${mid}`, 'a=msid-semantic: WMS *',
    `m=video 9 UDP/TLS/RTP/SAVPF ${PAYLOAD_TYPE}`, 'c=IN IP4 127.0.0.1', `a=mid:${mid}`,
    `a=ice-ufrag:${ice.usernameFragment}`, `a=ice-pwd:${ice.password}`, `a=fingerprint:sha-256 ${fingerprint}`, `a=setup:${setup}`,
    `a=${direction}`, 'a=rtcp-mux', 'a=rtcp-rsize', `a=rtpmap:${PAYLOAD_TYPE} H264/90000`, `a=fmtp:${PAYLOAD_TYPE} ${format}`,
    `a=rtcp-fb:${PAYLOAD_TYPE} nack`, `a=rtcp-fb:${PAYLOAD_TYPE} nack pli`];
  if (ssrc) lines.push('a=msid:room video', `a=ssrc:${ssrc} cname:room`, `a=ssrc:${ssrc} msid:room video`);
  for (const { foundation, protocol, priority, ip, port } of iceCandidates) lines.push(`a=candidate:${foundation} 1 ${protocol} ${priority} ${ip} ${port} typ host`);
  return lines.concat('a=end-of-candidates', '').join('\r\n');
}

async function main() {
  const worker = await mediasoup.createWorker({ logLevel: 'error' });
  worker.on('died', () => process.exit(1));
  const router = await worker.createRouter({ mediaCodecs: [CODEC] });
  const transport = () => router.createWebRtcTransport({ listenIps: [address], enableUdp: true, enableTcp: false });
  const kept = [];
  let producer, offered;
  const answers = {
    async publish(offer) {
      const from = await transport();
      kept.push(from);
      await from.connect({ dtlsParameters: dtls(offer) });
      const encodings = [{ ssrc: Number(value(offer, 'a=ssrc:').split(' ')[0]) }];
      const codecs = [{ mimeType: CODEC.mimeType, clockRate: CODEC.clockRate, payloadType: PAYLOAD_TYPE, parameters: FORMAT, rtcpFeedback: FEEDBACK }];
      producer = await from.produce({ kind: 'video', rtpParameters: { codecs, encodings, rtcp: { cname: 'source' } } });
      return { description: describe(from, value(offer, 'a=mid:'), 'passive', 'recvonly') };
    },
    async subscribe() {
      offered = await transport();
      kept.push(offered);
      const consumer = await offered.consume({ producerId: producer.id, rtpCapabilities: { codecs: [CODEC], headerExtensions: [] } });
      return { description: describe(offered, '0', 'actpass', 'sendonly', consumer.rtpParameters.encodings[0].ssrc) };
    },
    async accept(answer) {
      await offered.connect({ dtlsParameters: dtls(answer) });
      return 'accepted';
    },
  };
  say({ process: worker.pid });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    const [name, sdp] = typeof request === 'string' ? [request] : Object.entries(request)[0];
    try {
      say(await answers[name](sdp));
    } catch (error) {
      say({ failed: String(error) });
    }
  }
  worker.close();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
