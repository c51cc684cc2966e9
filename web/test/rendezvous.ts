// A rendezvous of a later version: whatever it says, older pages can't read it.

import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { Duplex } from "node:stream";

/** What a server appends to a key to show that it speaks websocket (RFC 6455, 1.3). */
const MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/** A binary message of one byte, the version. */
const FRAME = Buffer.from([0x82, 1, 99]);

/** Listens where the older one was; returns what ends it. */
export async function newerRendezvous(port: number): Promise<() => void> {
  const sockets = new Set<Duplex>();
  const server = createServer((_, response) => response.writeHead(404).end());
  server.on("upgrade", ({ headers }, socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    const accepted = createHash("sha1").update(`${headers["sec-websocket-key"]}${MAGIC}`).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accepted}\r\n\r\n`,
    );
    socket.write(FRAME);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
}
