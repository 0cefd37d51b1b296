/** The rules of requests, RFC 9113 section 8, and of HPACK, RFC 7541. */
import * as F from "../../utils/frames.ts"
import * as Hpack from "../../utils/hpack.ts"
import {
  block,
  type Case,
  connectionError,
  fields,
  huffman,
  malformed,
  open,
  push,
  wait,
  without,
  withoutAuthority
} from "./case.ts"

export const cases: ReadonlyArray<Case> = [
  {
    section: "8.1",
    title: "a second block that does not end the stream",
    frames: [open, F.headers(1, [["x", "y"]], F.END_HEADERS)],
    demands: malformed
  },
  {
    section: "8.2.1",
    title: "a field name in upper case",
    frames: [F.get(1, "/", [["X-A", "b"]])],
    demands: malformed
  },
  {
    section: "8.2.1",
    title: "a field name with a space",
    frames: [F.get(1, "/", [["x a", "b"]])],
    demands: malformed,
    instead: [200]
  },
  {
    section: "8.2.1",
    title: "an empty field name",
    frames: [F.get(1, "/", [["", "b"]])],
    demands: malformed,
    instead: [200]
  },
  {
    section: "8.2.1",
    title: "a field value with NUL",
    frames: [F.get(1, "/", [["x", "a\0b"]])],
    demands: malformed,
    instead: [200]
  },
  {
    section: "8.2.1",
    title: "a field value with a line end",
    frames: [F.get(1, "/", [["x", "a\r\nb: c"]])],
    demands: malformed,
    instead: [200]
  },
  {
    section: "8.2.1",
    title: "a field value with a space in front",
    frames: [F.get(1, "/", [["x", " a"]])],
    demands: malformed,
    instead: [200]
  },
  ...["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"].map((name): Case => ({
    section: "8.2.2",
    title: `a field of the connection, ${name}`,
    frames: [F.get(1, "/", [[name, "x"]])],
    demands: malformed
  })),
  { section: "8.2.2", title: "te other than trailers", frames: [F.get(1, "/", [["te", "gzip"]])], demands: malformed },
  { section: "8.2.2", title: "te of trailers", frames: [F.get(1, "/", [["te", "trailers"]])], demands: [200] },
  {
    section: "8.3",
    title: "an unknown pseudo header field",
    frames: [F.headers(1, [[":x", "y"], ...fields("GET", "/")])],
    demands: malformed
  },
  {
    section: "8.3",
    title: "a pseudo header field of an answer",
    frames: [F.headers(1, [...fields("GET", "/"), [":status", "200"]])],
    demands: malformed
  },
  {
    section: "8.3",
    title: "pseudo header fields in trailers",
    frames: [wait(), F.data(1, "x"), F.headers(1, [[":method", "GET"]])],
    demands: malformed
  },
  {
    section: "8.3",
    title: "a pseudo header field behind others",
    frames: [F.headers(1, [["x", "y"], ...fields("GET", "/")])],
    demands: malformed
  },
  ...[":method", ":scheme", ":path"].flatMap((name): Array<Case> => [
    { section: "8.3.1", title: `no ${name}`, frames: [F.headers(1, without(name))], demands: malformed },
    {
      section: "8.3.1",
      title: `two ${name}`,
      frames: [F.headers(1, [fields("GET", "/").find((pair) => pair[0] === name)!, ...fields("GET", "/")])],
      demands: malformed
    }
  ]),
  { section: "8.3.1", title: "an empty :path", frames: [F.get(1, "")], demands: malformed },
  {
    section: "8.3.1",
    title: "a :path in absolute form",
    frames: [F.get(1, "http://a/")],
    demands: [...malformed, 400]
  },
  { section: "8.3.1", title: "a :path of * without OPTIONS", frames: [F.get(1, "*")], demands: [...malformed, 400] },
  {
    section: "8.3.1",
    title: "a :path of * with OPTIONS",
    frames: [F.headers(1, fields("OPTIONS", "*"))],
    demands: [200]
  },
  { section: "8.3.1", title: "a method with a space", frames: [F.headers(1, fields("G T", "/"))], demands: malformed },
  {
    section: "8.3.1",
    title: "neither :authority nor host",
    frames: [F.headers(1, withoutAuthority)],
    demands: [...malformed, 400]
  },
  {
    section: "8.3.1",
    title: "host in place of :authority",
    frames: [F.headers(1, [...withoutAuthority, ["host", "a"]])],
    demands: [200]
  },
  {
    section: "8.3.1",
    title: "two host",
    frames: [F.headers(1, [...withoutAuthority, ["host", "a"], ["host", "a"]])],
    demands: [...malformed, 400]
  },
  {
    section: "8.3.1",
    title: "a host that contradicts :authority",
    frames: [F.get(1, "/", [["host", "b"]])],
    demands: [...malformed, 400, 200]
  },
  {
    section: "8.3.1",
    title: "an :authority with user information",
    frames: [F.headers(1, [...withoutAuthority, [":authority", "user@a"]])],
    demands: [...malformed, 400]
  },
  {
    section: "8.1.1",
    title: "a body shorter than its length",
    frames: [wait(5), F.data(1, "x", F.END_STREAM)],
    demands: malformed
  },
  {
    section: "8.1.1",
    title: "a body longer than its length",
    frames: [wait(1), F.data(1, "x"), F.data(1, "xx", F.END_STREAM)],
    demands: malformed
  },
  {
    section: "8.1.1",
    title: "a length without a body",
    frames: [F.get(1, "/", [["content-length", "5"]])],
    demands: malformed
  },
  {
    section: "8.1.1",
    title: "a length that is no number",
    frames: [F.post(1, "/body", [["content-length", "+1"]]), F.data(1, "x", F.END_STREAM)],
    demands: malformed
  },
  {
    section: "8.1.1",
    title: "two lengths",
    frames: [F.post(1, "/body", [["content-length", "1"], ["content-length", "1"]]), F.data(1, "x", F.END_STREAM)],
    demands: malformed
  },
  { section: "8.4", title: "a push by the client", frames: [push], demands: connectionError("PROTOCOL_ERROR") },
  {
    section: "8.4",
    title: "a push by the client on an open stream",
    frames: [open, push],
    demands: connectionError("PROTOCOL_ERROR")
  },
  {
    section: "8.5",
    title: "CONNECT",
    frames: [F.headers(1, [[":method", "CONNECT"], [":authority", "a:1"]])],
    demands: [501]
  },
  {
    section: "8.5",
    title: "CONNECT with a path",
    frames: [F.headers(1, [[":method", "CONNECT"], [":authority", "a:1"], [":path", "/"]])],
    demands: malformed
  },

  // ---- HPACK
  ...([
    ["2.3.3", "an index beyond the tables", block(0xc6)],
    ["2.3.3", "a literal whose name is beyond the tables", block(0x7f, 0x10, 1, 0x61)],
    ["4.2", "a size of the table behind a field", block(0x20)],
    ["5.2", "Huffman with more than 7 bits of padding", huffman(0x49, 0x50, 0x9f, 0xff)],
    ["5.2", "Huffman padded with zeros", huffman(0x49, 0x50, 0x90)],
    ["5.2", "Huffman with its end in it", huffman(0xff, 0xff, 0xff, 0xfc)],
    ["6.1", "index 0", block(0x80)],
    [
      "6.3",
      "a table larger than allowed",
      F.headers(1, Buffer.concat([Hpack.integer(4097, 5, 0x20), Hpack.encode(fields("GET", "/"))]))
    ]
  ] as const).map(([section, title, frame]): Case => ({
    section: `HPACK ${section}`,
    title,
    frames: [frame],
    demands: connectionError("COMPRESSION_ERROR")
  }))
]
