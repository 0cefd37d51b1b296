/** The rules of connections, streams and frames: RFC 9113 sections 3 to 7. */
import * as F from "../../utils/frames.ts"
import * as Hpack from "../../utils/hpack.ts"
import {
  anError,
  begun,
  type Case,
  connectionError,
  continuation,
  fields,
  halfClosed,
  malformed,
  open,
  uint32,
  wait
} from "./case.ts"

export const cases: ReadonlyArray<Case> = [
  // ---- starting
  {
    section: "3.4",
    title: "the preface with SETTINGS",
    frames: [F.preface, F.settings(), F.get(1)],
    bare: true,
    demands: [200]
  },
  {
    section: "3.4",
    title: "the preface without SETTINGS",
    frames: [F.preface, F.ping()],
    bare: true,
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "3.4",
    title: "garbage behind the preface",
    frames: [F.preface, Buffer.from("GET / HTTP/1.1\r\nhost: a\r\n\r\n")],
    bare: true,
    demands: [...connectionError("PROTOCOL_ERROR"), ...connectionError("FRAME_SIZE_ERROR")]
  },

  // ---- frames
  {
    section: "4.1",
    title: "a frame of an unknown type",
    frames: [F.frame(0x16, 0, 0, "12345678")],
    demands: ["ignored"]
  },
  {
    section: "4.1",
    title: "flags that are not defined",
    frames: [F.frame("PING", 0x16, 0, "12345678")],
    demands: ["ignored"]
  },
  {
    section: "4.1",
    title: "the reserved bit",
    frames: [F.frame("PING", 0, 0x80000000, "12345678")],
    demands: ["ignored"]
  },
  {
    section: "4.2",
    title: "DATA of 16384 bytes",
    frames: [wait(), F.data(1, Buffer.alloc(16_384), F.END_STREAM)],
    demands: [200]
  },
  {
    section: "4.2",
    title: "DATA of more",
    frames: [wait(), F.data(1, Buffer.alloc(16_385), F.END_STREAM)],
    demands: anError("FRAME_SIZE_ERROR")
  },
  {
    section: "4.2",
    title: "HEADERS of more",
    frames: [F.get(1, "/", [["x", "y".repeat(16_400)]])],
    demands: connectionError("FRAME_SIZE_ERROR")
  },
  {
    section: "4.3",
    title: "a block that cannot be decoded",
    frames: [F.headers(1, Buffer.alloc(9, 0xff))],
    demands: connectionError("COMPRESSION_ERROR")
  },
  {
    section: "4.3",
    title: "a block that ends inside of a field",
    frames: [F.headers(1, Buffer.from([0x40, 0x01]))],
    demands: connectionError("COMPRESSION_ERROR")
  },
  {
    section: "4.3",
    title: "PRIORITY inside of a block",
    frames: [begun, F.priority(1, 0), continuation(F.END_HEADERS)],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "4.3",
    title: "HEADERS of another stream inside of a block",
    frames: [begun, F.get(3)],
    demands: connectionError("PROTOCOL_ERROR")
  },

  // ---- streams
  ...([
    ["DATA", F.data(1, "x", F.END_STREAM)],
    ["RST_STREAM", F.reset(1, "CANCEL")],
    ["WINDOW_UPDATE", F.windowUpdate(1, 100)],
    ["CONTINUATION", continuation(F.END_HEADERS)]
  ] as const).map(([name, frame]): Case => ({
    section: "5.1",
    title: `${name} on an idle stream`,
    frames: [frame],
    demands: connectionError("PROTOCOL_ERROR")
  })),
  {
    section: "5.1",
    title: "DATA on a stream that the client has ended",
    frames: [halfClosed, F.data(1, "x", F.END_STREAM)],
    demands: anError("STREAM_CLOSED")
  },
  {
    section: "5.1",
    title: "HEADERS on a stream that the client has ended",
    frames: [halfClosed, F.get(1)],
    demands: anError("STREAM_CLOSED")
  },
  {
    section: "5.1",
    title: "CONTINUATION on a stream that the client has ended",
    frames: [halfClosed, continuation(F.END_HEADERS)],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "5.1",
    title: "DATA after a reset",
    frames: [[open, F.reset(1, "CANCEL")], [F.data(1, "x", F.END_STREAM)]],
    demands: anError("STREAM_CLOSED"),
    instead: ["ignored"]
  },
  {
    section: "5.1",
    title: "HEADERS after a reset",
    frames: [[open, F.reset(1, "CANCEL")], [F.get(1)]],
    demands: anError("STREAM_CLOSED"),
    instead: ["ignored"]
  },
  {
    section: "5.1",
    title: "CONTINUATION after a reset",
    frames: [[open, F.reset(1, "CANCEL")], [continuation(F.END_HEADERS)]],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "5.1",
    title: "DATA on a closed stream",
    frames: [[F.get(1)], [F.data(1, "x", F.END_STREAM)]],
    demands: connectionError("STREAM_CLOSED"),
    instead: [200]
  },
  {
    section: "5.1",
    title: "HEADERS on a closed stream",
    frames: [[F.get(1)], [F.get(1)]],
    demands: connectionError("STREAM_CLOSED"),
    instead: [200]
  },
  {
    section: "5.1",
    title: "CONTINUATION on a closed stream",
    frames: [[F.get(1)], [continuation(F.END_HEADERS)]],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "5.1",
    title: "WINDOW_UPDATE, PRIORITY and RST_STREAM on a closed stream",
    frames: [[F.get(1)], [F.windowUpdate(1, 10), F.priority(1, 0), F.reset(1, "CANCEL")]],
    demands: [200]
  },
  {
    section: "5.1.1",
    title: "a stream with an even number",
    frames: [F.get(2)],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "5.1.1",
    title: "a stream with a lower number than one before",
    frames: [[F.get(5)], [F.get(1)]],
    demands: connectionError("PROTOCOL_ERROR"),
    instead: ["ignored"]
  },
  { section: "5.1.1", title: "HEADERS on stream 0", frames: [F.get(0)], demands: connectionError("PROTOCOL_ERROR") },
  {
    section: "5.1.2",
    title: "more streams than the limit",
    frames: Array.from({ length: 101 }, (_, n) => F.get(2 * n + 1, "/never")),
    demands: [...anError("PROTOCOL_ERROR"), "stream REFUSED_STREAM"]
  },
  {
    section: "5.4.1",
    title: "a PING of the wrong length",
    frames: [F.frame("PING", 0, 0, "123456")],
    demands: connectionError("FRAME_SIZE_ERROR")
  },
  {
    section: "5.5",
    title: "a frame of an unknown type inside of a block",
    frames: [begun, F.frame(0x16, 0, 0, "x"), continuation(F.END_HEADERS)],
    demands: connectionError("PROTOCOL_ERROR")
  },

  // ---- each type of frame
  { section: "6.1", title: "DATA on stream 0", frames: [F.data(0, "x")], demands: connectionError("PROTOCOL_ERROR") },
  {
    section: "6.1",
    title: "padded DATA",
    frames: [wait(1), F.frame("DATA", F.PADDED | F.END_STREAM, 1, "\x02x\0\0")],
    demands: [200]
  },
  {
    section: "6.1",
    title: "DATA with more padding than there is",
    frames: [wait(), F.frame("DATA", F.PADDED | F.END_STREAM, 1, Buffer.from([6, 1, 2]))],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.2",
    title: "HEADERS with padding and a priority",
    frames: [
      F.frame(
        "HEADERS",
        F.END_HEADERS | F.END_STREAM | F.PADDED | F.PRIORITY,
        1,
        Buffer.concat([
          Buffer.from([2]),
          uint32(0),
          Buffer.from([15]),
          Hpack.encode(fields("GET", "/")),
          Buffer.alloc(2)
        ])
      )
    ],
    demands: [200]
  },
  {
    section: "6.2",
    title: "HEADERS with more padding than there is",
    frames: [
      F.frame(
        "HEADERS",
        F.END_HEADERS | F.END_STREAM | F.PADDED,
        1,
        Buffer.concat([Buffer.from([200]), Hpack.encode(fields("GET", "/"))])
      )
    ],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.3",
    title: "PRIORITY on stream 0",
    frames: [F.priority(0, 1)],
    demands: connectionError("PROTOCOL_ERROR"),
    instead: ["ignored"]
  },
  {
    section: "6.3",
    title: "PRIORITY of the wrong length",
    frames: [F.frame("PRIORITY", 0, 1, "1234")],
    demands: anError("FRAME_SIZE_ERROR")
  },
  {
    section: "6.4",
    title: "RST_STREAM on stream 0",
    frames: [F.reset(0, "CANCEL")],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.4",
    title: "RST_STREAM of the wrong length",
    frames: [halfClosed, F.frame("RST_STREAM", 0, 1, "123")],
    demands: connectionError("FRAME_SIZE_ERROR")
  },
  {
    section: "6.5",
    title: "an acknowledgement with settings in it",
    frames: [F.frame("SETTINGS", F.ACK, 0, "123456")],
    demands: connectionError("FRAME_SIZE_ERROR")
  },
  {
    section: "6.5",
    title: "SETTINGS on a stream",
    frames: [F.frame("SETTINGS", 0, 1)],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.5",
    title: "SETTINGS of the wrong length",
    frames: [F.frame("SETTINGS", 0, 0, "123")],
    demands: connectionError("FRAME_SIZE_ERROR")
  },
  {
    section: "6.5.2",
    title: "ENABLE_PUSH of 2",
    frames: [F.settings({ ENABLE_PUSH: 2 })],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.5.2",
    title: "INITIAL_WINDOW_SIZE above 2^31-1",
    frames: [F.settings({ INITIAL_WINDOW_SIZE: 0x80000000 })],
    demands: connectionError("FLOW_CONTROL_ERROR")
  },
  {
    section: "6.5.2",
    title: "MAX_FRAME_SIZE below 16384",
    frames: [F.settings({ MAX_FRAME_SIZE: 16_383 })],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.5.2",
    title: "MAX_FRAME_SIZE above 2^24-1",
    frames: [F.settings({ MAX_FRAME_SIZE: 16_777_216 })],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.5.2",
    title: "an unknown setting",
    frames: [F.frame("SETTINGS", 0, 0, Buffer.from([0, 0xff, 0, 0, 0, 1]))],
    demands: ["ignored"]
  },
  {
    section: "6.7",
    title: "PING on a stream",
    frames: [F.frame("PING", 0, 1, "12345678")],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.7",
    title: "an acknowledgement of a PING that was never sent",
    frames: [F.ping("12345678", F.ACK)],
    demands: ["ignored"],
    instead: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.8",
    title: "GOAWAY on a stream",
    frames: [F.frame("GOAWAY", 0, 1, Buffer.alloc(8))],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.9",
    title: "a window opened by 0",
    frames: [F.windowUpdate(0, 0)],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.9",
    title: "a stream's window opened by 0",
    frames: [halfClosed, F.windowUpdate(1, 0)],
    demands: malformed
  },
  {
    section: "6.9",
    title: "WINDOW_UPDATE of the wrong length",
    frames: [F.frame("WINDOW_UPDATE", 0, 0, "123")],
    demands: connectionError("FRAME_SIZE_ERROR")
  },
  {
    section: "6.9.1",
    title: "a window above 2^31-1",
    frames: [F.windowUpdate(0, 0x7fffffff), F.windowUpdate(0, 0x7fffffff)],
    demands: connectionError("FLOW_CONTROL_ERROR")
  },
  {
    section: "6.9.1",
    title: "a stream's window above 2^31-1",
    frames: [halfClosed, F.windowUpdate(1, 0x7fffffff), F.windowUpdate(1, 0x7fffffff)],
    demands: anError("FLOW_CONTROL_ERROR")
  },
  {
    section: "6.9.2",
    title: "INITIAL_WINDOW_SIZE that takes a stream's window above 2^31-1",
    frames: [halfClosed, F.windowUpdate(1, 0x7fffffff - 65_535), F.settings({ INITIAL_WINDOW_SIZE: 65_536 })],
    demands: connectionError("FLOW_CONTROL_ERROR"),
    instead: ["stream FLOW_CONTROL_ERROR"]
  },
  {
    section: "6.10",
    title: "a block in three frames",
    frames: [begun, continuation(0), continuation(F.END_HEADERS)],
    demands: [200]
  },
  {
    section: "6.10",
    title: "CONTINUATION behind a block that has ended",
    frames: [open, continuation(F.END_HEADERS)],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.10",
    title: "CONTINUATION on stream 0",
    frames: [begun, continuation(F.END_HEADERS, 0)],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.10",
    title: "CONTINUATION of another stream",
    frames: [begun, continuation(F.END_HEADERS, 3)],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.10",
    title: "DATA between CONTINUATIONs",
    frames: [begun, continuation(0), F.data(1, "x")],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "6.10",
    title: "CONTINUATION behind DATA",
    frames: [open, F.data(1, "x"), continuation(F.END_HEADERS)],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "7",
    title: "RST_STREAM with an unknown code",
    frames: [halfClosed, F.frame("RST_STREAM", 0, 1, uint32(0xff))],
    demands: ["ignored"]
  },
  {
    section: "7",
    title: "GOAWAY with an unknown code",
    frames: [F.frame("GOAWAY", 0, 0, Buffer.concat([uint32(0), uint32(0xff)]))],
    demands: ["ignored", ...connectionError("NO_ERROR")]
  }
]
