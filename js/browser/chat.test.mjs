// The chat, as people see it.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { lastingAddress, launch, open, Program, screenshot } from "./support.mjs";

let browser, program, chat;
let contexts = [];

before(async () => {
  program = new Program("./examples/websocket-chat");
  browser = await launch();
});
after(async () => {
  await browser?.close();
  program?.remove();
});
afterEach(async () => {
  const problems = contexts.flatMap((c) => c.pages()).flatMap((p) => p.problems);
  for (const c of contexts.splice(0)) await c.close();
  await chat?.stop();
  chat = undefined;
  assert.deepEqual(problems, []);
});

/** Somebody with a browser of one's own who opens the chat. */
async function visit(path = "/", options = {}) {
  chat ??= await program.start("-addr", await lastingAddress());
  const context = await browser.newContext({ viewport: { width: 1200, height: 760 }, ...options });
  contexts.push(context);
  const page = await open(context, chat.url + path);
  await page.waitForSelector("#status.connected");
  await page.waitForSelector("#people .self");
  return page;
}

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

const see = (page, selector, text) => page.locator(selector, { hasText: text }).waitFor();
const lastText = (page) => page.locator(".text").last().textContent();
const nameOf = (page) => page.textContent("#my-name");
const address = (page) => page.evaluate(() => location.hash);
// Of a dialog, that what it asked for was done: until then nothing behind it can be typed into.
const gone = (page, selector) => page.locator(selector).waitFor({ state: "hidden" });
const room = (page, name) => page.locator("nav a", { has: page.getByText(name, { exact: true }) });
const inView = (page) => page.evaluate(() => {
  const log = document.getElementById("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight;
});

test("two people talk", async () => {
  const ann = await visit(), bob = await visit();
  assert.equal(await address(ann), "#animals", "the first room");
  assert.deepEqual(await ann.locator("nav .name").allTextContents(), ["animals", "jokes", "golang"]);
  assert.notEqual(await nameOf(ann), await nameOf(bob));
  await see(ann, "#people li", await nameOf(bob));
  assert.equal(await ann.textContent("#count"), "2");

  await bob.locator("#text").pressSequentially("Hello");
  await see(ann, "#typing", (await nameOf(bob)) + " is typing");
  await screenshot(ann, "typing");
  await bob.press("#text", "Enter");
  await see(ann, ".message:not(.own) .text", "Hello");
  await see(bob, ".message.own .text", "Hello");
  assert.equal(await ann.textContent("#typing"), "");
  assert.equal(await ann.textContent(".message b"), await nameOf(bob));
  assert.match(await ann.textContent(".message time"), /\d:\d\d/);
  assert.equal(await bob.inputValue("#text"), "");

  // Shift with Enter begins a line.
  await ann.press("#text", "a");
  await ann.press("#text", "Shift+Enter");
  await ann.press("#text", "b");
  await ann.press("#text", "Enter");
  await see(bob, ".text", "a\nb");

  // Messages in a hurry come in the order in which they were written.
  for (const text of ["one", "two", "three"]) await say(ann, text);
  await see(bob, ".text", "three");
  assert.deepEqual((await bob.locator(".text").allTextContents()).slice(-3), ["one", "two", "three"]);
  assert.equal(await bob.textContent("#typing"), "", "nor does what was typed come behind its message");

  const left = await nameOf(bob);
  await bob.close();
  await ann.locator("#people li", { hasText: left }).waitFor({ state: "detached" });
});

test("what people write is text, whatever it looks like", async () => {
  const ann = await visit(), bob = await visit();
  const nasty = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>&lt;b&gt; javascript:alert(1)`;
  await say(ann, nasty);
  await see(bob, ".text", nasty);
  await ann.click("#me");
  await ann.fill("#rename input", "<i>Eve</i>");
  await ann.press("#rename input", "Enter");
  await see(bob, "#people span", "<i>Eve</i>");
  await gone(ann, "#rename");
  await ann.click("#create");
  await ann.fill("#new-room input", "<u>room</u>");
  await ann.press("#new-room input", "Enter");
  for (const page of [ann, bob]) await see(page, "nav .name", "<u>room</u>");
  for (const page of [ann, bob]) {
    assert.equal(await page.locator("main img, main script, main b b, i, u").count(), 0);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
  }
});

test("names can be changed, and are kept over a reload", async () => {
  const ann = await visit(), bob = await visit();
  const face = () => bob.locator("#people li:not(.self) svg").first().innerHTML();
  const before = await face();
  await ann.click("#me");
  await ann.fill("#rename input", await nameOf(bob));
  await ann.click("#rename .primary");
  await see(ann, "#rename [role=alert]", "already");
  await screenshot(ann, "rename");
  await ann.fill("#rename input", "Ann 😀");
  await ann.press("#rename input", "Enter");
  await see(bob, "#people li", "Ann 😀");
  assert.notEqual(await face(), before, "the avatar is that of the name");
  await gone(ann, "#rename");
  await say(ann, "It is me");
  await see(bob, ".message b", "Ann 😀");
  await ann.reload();
  await see(ann, ".message.own .text", "It is me");
  assert.equal(await nameOf(ann), "Ann 😀");
  await say(ann, "Here I am again");
  await see(bob, ".text", "Here I am again"); // behind what Bob's page was told of her leaving and coming
  assert.equal(await bob.locator("#people li").count(), 2);
});

test("rooms, and what was missed in them", async () => {
  const ann = await visit("/#jokes"), bob = await visit("/#animals");
  assert.equal(await ann.textContent("#room"), "jokes");
  await bob.click("#create");
  await bob.fill("#new-room input", "Tea & Cake");
  await bob.click("#new-room .primary");
  await see(ann, "nav .name", "tea & cake");
  await see(bob, "#room", "tea & cake");
  assert.equal(await address(bob), "#tea%20%26%20cake");
  await gone(bob, "#new-room");

  await say(bob, "first");
  await say(bob, "second");
  await see(ann, "nav .unread", "2");
  assert.match(await ann.title(), /^\(2\) #jokes/);
  assert.equal(await room(ann, "tea & cake").getAttribute("aria-label"), "tea & cake, 1 here, 2 unread");
  await screenshot(ann, "unread");
  await room(ann, "tea & cake").click();
  await see(ann, ".text", "second");
  assert.deepEqual(await ann.locator(".text").allTextContents(), ["first", "second"]);
  assert.equal(await room(ann, "tea & cake").locator(".unread").textContent(), "");
  assert.doesNotMatch(await ann.title(), /\(/);
  assert.equal(await ann.locator("nav [aria-current]").count(), 1);

  await ann.goBack();
  await see(ann, "#room", "jokes");
  await ann.goForward();
  await see(ann, ".text", "first");

  // A link to a room that is not there makes it, for those who got it.
  const cleo = await visit("/#new%20one");
  assert.equal(await cleo.textContent("#room"), "new one");
  await see(ann, "nav .name", "new one");
});

test("scrolls along only for those who are at the bottom", async () => {
  const ann = await visit(), bob = await visit();
  await say(ann, "line\n".repeat(80) + "end");
  await see(bob, ".text", "end");
  assert.ok((await inView(bob)) < 2);
  await bob.evaluate(() => document.getElementById("log").scrollTo(0, 0));
  await say(ann, "news");
  await see(bob, "#jump", "1 new message");
  assert.ok((await inView(bob)) > 100, "it has stayed where it was read");
  await screenshot(bob, "jump");
  await bob.click("#jump");
  assert.ok((await inView(bob)) < 2);
  await bob.locator("#jump").waitFor({ state: "hidden" });
  await say(ann, "more");
  await see(bob, ".text", "more");
  assert.ok((await inView(bob)) < 2);
});

test("a restart of the server is announced, and survived", async () => {
  const ann = await visit("/#mine"), bob = await visit("/#mine");
  await say(ann, "before");
  await see(bob, ".text", "before");
  await ann.fill("#text", "half a thought");
  assert.equal(await chat.stop("SIGINT"), 0);
  for (const page of [ann, bob]) await see(page, "#status", "The server is restarting…");
  await screenshot(ann, "restarting");
  await ann.press("#text", "Enter");
  await see(ann, "#problem", "Your message is kept here");
  assert.equal(await ann.inputValue("#text"), "half a thought");

  // Somebody is faster than Bob, whose network is slower to come back.
  await bob.evaluate(() => (window.realWebSocket = WebSocket, window.WebSocket = class { constructor() { throw new Error("no network"); } }));
  chat = await program.start("-addr", "127.0.0.1:" + chat.port);
  await ann.waitForSelector("#status.connected");
  assert.equal(await ann.textContent("#problem"), "");
  await ann.press("#text", "Enter");
  await see(ann, ".text", "half a thought");
  await say(ann, "after");
  await bob.evaluate(() => (window.WebSocket = realWebSocket));
  await bob.waitForSelector("#status.connected");
  await see(bob, ".text", "after");
  assert.deepEqual(await bob.locator(".text").allTextContents(), ["before", "half a thought", "after"]);
  assert.equal(await bob.textContent("#room"), "mine");
  await see(ann, "#people li", await nameOf(bob));
  await say(bob, "hello again");
  await see(ann, ".text", "hello again");
});

test("a lost connection is noticed, and what was missed comes back", async () => {
  const ann = await visit(), bob = await visit();
  await say(ann, "before");
  await see(bob, ".text", "before");
  await chat.stop("SIGKILL");
  await see(bob, "#status", "No connection. Trying again…");
  await screenshot(bob, "disconnected");
  chat = await program.start("-addr", "127.0.0.1:" + chat.port);
  for (const page of [ann, bob]) await page.waitForSelector("#status.connected");
  await say(ann, "after");
  await see(bob, ".text", "after");
  assert.equal(await bob.locator("#people li").count(), 2);
});

test("the same person in two tabs is in the later one", async () => {
  const ann = await visit();
  const again = await open(ann.context(), "about:blank");
  const copied = await ann.evaluate(() => ({ ...sessionStorage }));
  await again.addInitScript((s) => Object.assign(sessionStorage, s), copied); // as browsers do for a copy of a tab
  await again.goto(chat.url);
  await again.waitForSelector("#status.connected");
  await see(ann, "#status", "another tab");
  assert.equal(await nameOf(again), await nameOf(ann));
  await see(again, "#count", "1");
});

test("what is too much is refused, and nothing that was written is lost", async () => {
  const ann = await visit();
  const said = [];
  let refused;
  do {
    said.push("message " + said.length);
    await say(ann, said.at(-1));
    // It is either in the log or in the field again.
    refused = await ann.waitForFunction((text) => {
      if ([...document.querySelectorAll(".text")].some((e) => e.textContent == text)) return "said";
      return document.getElementById("text").value == text && "refused";
    }, said.at(-1)).then((v) => v.jsonValue());
  } while (refused != "refused");
  await see(ann, "#problem", "wait a moment");

  // Those that were sent in a hurry keep their order there.
  await ann.evaluate(() => {
    for (const text of ["b", "c", "d", "e"]) {
      document.getElementById("text").value = text;
      document.getElementById("composer").requestSubmit();
    }
  });
  await ann.waitForFunction((before) => {
    const said = [...document.querySelectorAll(".text")].map((e) => e.textContent).slice(before);
    return [...said, document.getElementById("text").value].filter(Boolean).join("\n") == "b\nc\nd\ne";
  }, said.length - 1);
});

test("works by keyboard", async () => {
  const ann = await visit();
  const focused = () => ann.evaluate(() => {
    const e = document.activeElement, outline = getComputedStyle(e).outlineStyle;
    return (e.id || e.textContent.trim().split(" ")[0] || e.ariaLabel) + (outline == "none" ? " without outline" : "");
  });
  assert.equal(await focused(), "text", "one can write at once");
  await ann.focus("#me");
  const order = [await focused()];
  while (order.length < 8) {
    await ann.keyboard.press("Tab");
    order.push(await focused());
  }
  assert.deepEqual(order, ["me", "animals1", "jokes", "golang", "create", "log", "text", "Send"]);

  await ann.locator("nav a").nth(2).focus();
  await ann.keyboard.press("Enter");
  await see(ann, "#room", "golang");
  assert.equal(await focused(), "golang1", "the focus stays");
  await ann.locator("#create").focus();
  await ann.keyboard.press("Enter");
  await ann.keyboard.press("Escape");
  assert.equal(await focused(), "create", "the focus returns");
  await ann.keyboard.press("Enter");
  await ann.keyboard.type("typed");
  await ann.keyboard.press("Enter");
  await see(ann, "#room", "typed");
  await ann.waitForFunction(() => document.activeElement.id == "text");
});

test("is fit for phones, and for the dark", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const phone = await visit("/#jokes", { colorScheme, viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 });
    const desk = await visit("/#jokes", { colorScheme });
    await say(phone, `Why do programmers prefer ${colorScheme} mode?`);
    await see(desk, ".text", `prefer ${colorScheme}`);
    await say(desk, `${colorScheme} attracts bugs. And_a_word_that_is_far_too_long_for_any_line_of_a_phone_of_the_size_that_people_carry`);
    await see(phone, ".text", `${colorScheme} attracts bugs`);
    await desk.fill("#text", "…");
    await see(phone, "#typing", "is typing");
    await screenshot(phone, "phone-" + colorScheme);
    await screenshot(desk, "desktop-" + colorScheme);
    const [wide, tall] = await phone.evaluate(() => {
      const d = document.documentElement;
      return [d.scrollWidth - d.clientWidth, d.scrollHeight - d.clientHeight];
    });
    assert.deepEqual([wide, tall], [0, 0], "the page itself does not scroll");
    const send = await phone.locator("#composer button").boundingBox();
    assert.ok(send.x + send.width <= 360 && send.y + send.height <= 640, JSON.stringify(send));
    assert.ok(send.width >= 40 && send.height >= 40, "large enough for a finger");
    const [ink, paper] = await phone.evaluate(() => {
      const s = getComputedStyle(document.body);
      return [s.color, s.backgroundColor].map((c) => c.match(/\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0));
    });
    assert.equal(colorScheme == "dark", ink > paper);
  }
});

test("the minimal example answers", async () => {
  const minimal = new Program("./examples/websocket-minimal");
  try {
    const { url } = await minimal.start("-addr", "127.0.0.1:0");
    const context = await browser.newContext();
    contexts.push(context);
    const page = await open(context, url);
    await page.click("button");
    await see(page, "pre", "hello");
    await screenshot(page, "minimal");
  } finally {
    minimal.remove();
  }
});
