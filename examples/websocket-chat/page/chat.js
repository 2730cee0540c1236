// What the page shows comes as notifications, in the order in which it happened. Requests only tell whether something
// could be done. Whatever people wrote becomes text in the page, never HTML.
import { avatar } from "./avatar.js";

const $ = (id) => document.getElementById(id);
const log = $("log"), text = $("text");

const rooms = new Map(); // by name: { people, first, last, seen, link }
let me = { user: "", name: "" };
let current = ""; // the room that is shown
let wanted = ""; // the room that was asked for last
let newest = 0; // the id of the latest message that is shown
let missed = 0; // messages that came while they could not be seen: below the visible part, or in a hidden window
let ready = false; // the server knows me
let reason = ""; // that the server gave for being away

// The key makes me the same person when the connection was lost, or the page is reloaded. A copy of this tab has it too;
// it takes over from this one.
const key = (sessionStorage.chatKey ||= crypto.getRandomValues(new Uint32Array(4)).join("-"));

gotalk.handleNotification("welcome", (v) => {
  me = { user: v.user, name: v.name };
  sessionStorage.chatName = v.name;
  for (const name of rooms.keys()) if (!v.rooms.some((r) => r.name == name)) dropRoom(name);
  v.rooms.forEach(updateRoom);
  ready = true;
  reason = "";
  setStatus("Connected", true);
  showProblem();
  showMe();
});
gotalk.handleNotification("entered", (v) => {
  const missing = v.messages[0]?.id > newest + 1 && rooms.get(v.room).first < newest; // more than the server remembers
  if (v.room != current || missing) {
    log.replaceChildren();
    newest = 0;
  }
  current = wanted = v.room;
  showAddress();
  $("room").textContent = current;
  showPeople(v.people);
  showTyping(null);
  addMessages(v.messages.filter((m) => m.id > newest), true);
  for (const [name, room] of rooms) showRoom(name, room);
});
gotalk.handleNotification("message", (m) => {
  showTyping({ user: m.user, on: false });
  addMessages([m]);
});
gotalk.handleNotification("room", updateRoom);
gotalk.handleNotification("gone", dropRoom);
gotalk.handleNotification("people", showPeople);
gotalk.handleNotification("typing", showTyping);
gotalk.handleNotification("restart", () => {
  ready = false; // what is asked for now would wait for the next connection, and come before hello there
  setStatus((reason = "The server is restarting…"));
});
gotalk.handleNotification("replaced", () => {
  sock.end();
  setStatus("The chat goes on in another tab. Reload to have it here.");
});
gotalk.handleNotification("sorry", (v) => setStatus((reason = v)));

const sock = gotalk.connection();
sock.on("open", () => {
  sock.request("hello", { key, name: sessionStorage.chatName ?? "", room: roomInAddress() }).catch(showProblem);
});
sock.on("close", () => {
  ready = false;
  showTyping(null);
  if (sock.keepalive.enabled) setStatus(reason || "No connection. Trying again…");
});

function setStatus(message, connected = false) {
  $("status").textContent = message;
  $("status").title = message;
  $("status").classList.toggle("connected", connected);
}

function showProblem(err) {
  $("problem").textContent = err ? err.message : "";
}

const roomInAddress = () => {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
};

function showAddress() {
  if (roomInAddress() != current) history.replaceState(null, "", "#" + encodeURIComponent(current));
}

// On a new connection hello has to be the first request.
async function request(op, value) {
  if (!ready) throw new Error("There is no connection at the moment.");
  return sock.request(op, value);
}

// Requests that are under way at the same time may overtake each other. These must not.
let turn = Promise.resolve();
function inTurn(action) {
  const result = turn.then(action);
  turn = result.catch(() => {});
  return result;
}

function enter(name) {
  wanted = name;
  return inTurn(() => request("enter", name));
}

// The links to the rooms change the address, and so may people.
addEventListener("hashchange", () => {
  const name = roomInAddress();
  if (!name || name == wanted || !ready) return; // when there is a connection again, hello names the room
  enter(name).then(() => showProblem(), (err) => {
    wanted = current;
    if (ready) showAddress();
    showProblem(err);
  });
});

function updateRoom(r) {
  const room = rooms.get(r.name) ?? { seen: r.last, link: addRoomLink(r.name) };
  rooms.set(r.name, Object.assign(room, r));
  showRoom(r.name, room);
}

function addRoomLink(name) {
  const link = document.createElement("a");
  link.href = "#" + encodeURIComponent(name);
  for (const part of ["name", "people", "unread"]) link.appendChild(document.createElement("span")).className = part;
  link.firstChild.textContent = name;
  $("rooms").appendChild(document.createElement("li")).append(link);
  return link;
}

function showRoom(name, { people, first, last, seen, link }) {
  const [, peopleSpan, unreadSpan] = link.children;
  // After a restart of the server the ids begin anew, above all earlier ones.
  const unread = name == current ? 0 : last - Math.max(first, seen);
  const wasCurrent = link.ariaCurrent;
  link.ariaCurrent = name == current ? "page" : null;
  peopleSpan.textContent = people || "";
  unreadSpan.textContent = unread || "";
  link.title = link.ariaLabel = name + `, ${people} here` + (unread ? `, ${unread} unread` : "");
  if (name == current && !wasCurrent) link.scrollIntoView({ block: "nearest", inline: "nearest" });
  showTitle();
}

function dropRoom(name) {
  if (name == current) return; // I am on my way back into it
  rooms.get(name)?.link.parentNode.remove();
  rooms.delete(name);
}

function showTitle() {
  let unread = missed;
  for (const [name, r] of rooms) if (name != current) unread += r.last - Math.max(r.first, r.seen);
  document.title = (unread ? `(${unread}) ` : "") + (current ? `#${current} · ` : "") + "gotalk chat";
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
let before = null; // the message above the next one

const atBottom = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;

// Messages of the past are not read out by screen readers, and do not count as missed.
function addMessages(list, past = false) {
  const follow = atBottom() || list.some((m) => m.user == me.user && !past) || !newest;
  log.ariaBusy = past ? "true" : null;
  for (const m of list) {
    if (m.id <= newest) continue;
    if (!newest) before = null;
    addMessage(m);
    newest = m.id;
  }
  log.ariaBusy = null;
  while (log.childElementCount > 500) log.firstChild.remove();
  const room = rooms.get(current);
  if (room) {
    room.last = Math.max(room.last, newest);
    room.seen = room.last;
  }
  if (follow) log.scrollTop = log.scrollHeight;
  if (!follow || (document.hidden && !past)) missed += list.length;
  showMissed();
}

function addMessage(m) {
  const time = new Date(m.time);
  const day = time.toDateString();
  if (!before || new Date(before.time).toDateString() != day) {
    const divider = log.appendChild(document.createElement("p"));
    divider.className = "divider";
    divider.textContent = day == new Date().toDateString() ? "Today" : calendar.format(time);
    before = null;
  }
  const item = log.appendChild(document.createElement("article"));
  item.className = "message";
  item.classList.toggle("own", m.user == me.user);
  item.classList.toggle("follows", !!before && before.user == m.user && before.name == m.name && m.time - before.time < 300000);

  const head = document.createElement("p");
  const name = head.appendChild(document.createElement("b"));
  name.textContent = m.name;
  name.dir = "auto";
  const when = head.appendChild(document.createElement("time"));
  when.dateTime = time.toISOString();
  when.textContent = clock.format(time);

  const body = document.createElement("div");
  body.className = "text";
  body.dir = "auto";
  body.textContent = m.text;
  body.title = time.toLocaleString();
  item.append(avatar(m.name), head, body);
  before = m;
}

function showMissed() {
  if (atBottom() && !document.hidden) missed = 0;
  $("jump").hidden = !missed || atBottom();
  $("jump").textContent = missed == 1 ? "↓ 1 new message" : `↓ ${missed} new messages`;
  showTitle();
}

let stick = true; // to the bottom, when the visible part changes its size
log.addEventListener("scroll", () => {
  stick = atBottom();
  showMissed();
});
new ResizeObserver(() => {
  if (stick) log.scrollTop = log.scrollHeight;
}).observe(log);
document.addEventListener("visibilitychange", showMissed);
$("jump").onclick = () => {
  log.scrollTop = log.scrollHeight;
  text.focus();
};

function showMe() {
  $("my-avatar").replaceChildren(avatar(me.name));
  $("my-name").textContent = me.name;
}

function showPeople(people) {
  $("count").textContent = people.length;
  $("people").replaceChildren(...people.map(({ user, name }) => {
    const item = document.createElement("li");
    item.className = user == me.user ? "self" : "";
    item.title = name;
    item.append(avatar(name), document.createElement("span"));
    item.lastChild.textContent = name;
    return item;
  }));
  for (const user of typists.keys()) if (!people.some((p) => p.user == user)) showTyping({ user, on: false });
}

const typists = new Map(); // by user: { name, timer }

// Shows that somebody is typing, or is not; null means nobody is.
function showTyping(v) {
  for (const [user, { timer }] of typists) {
    if (v && user != v.user) continue;
    clearTimeout(timer);
    typists.delete(user);
  }
  if (v?.on) typists.set(v.user, { name: v.name, timer: setTimeout(showTyping, 6000, { user: v.user, on: false }) });
  const names = [...typists.values()].map((t) => t.name);
  $("typing").textContent =
    names.length > 2 ? `${names.length} people are typing…`
    : names.length ? `${names.join(" and ")} ${names.length > 1 ? "are" : "is"} typing…` : "";
}

let typedAt = 0; // when the others were told that I am typing

function tellTyping(on) {
  if (!ready || (on ? Date.now() - typedAt < 3000 : !typedAt)) return;
  typedAt = on ? Date.now() : 0;
  inTurn(() => request("typing", on)).catch(() => {}); // before the message, or else they would see it behind that
}

text.addEventListener("input", () => {
  showProblem();
  tellTyping(text.value.trim() != "");
});
text.addEventListener("keydown", (ev) => {
  // While an input method is at work, Enter belongs to it.
  if (ev.key != "Enter" || ev.shiftKey || ev.isComposing) return;
  ev.preventDefault();
  $("composer").requestSubmit();
});
$("composer").addEventListener("submit", (ev) => {
  ev.preventDefault();
  const message = text.value;
  if (!message.trim()) return;
  if (!ready) return showProblem(new Error("There is no connection at the moment. Your message is kept here."));
  text.value = "";
  text.focus();
  typedAt = 0; // the message itself tells that I am done
  say(message);
});

const unsaid = []; // messages on their way, in order; each is an object, for there may be two of the same text

function say(message) {
  const mine = { message };
  unsaid.push(mine);
  inTurn(async () => {
    if (!unsaid.includes(mine)) return; // it came back together with one before it
    try {
      await request("say", message);
      unsaid.shift();
      showProblem();
    } catch (err) {
      text.value = [...unsaid.splice(0).map((m) => m.message), text.value].filter(Boolean).join("\n");
      showProblem(ready ? err : new Error("The connection was lost. Please look whether your message arrived."));
    }
  });
}

// A dialog that asks for one value and closes when submit(value) has succeeded. Then the focus goes to an element.
function ask(dialog, button, value, submit, next = button) {
  const form = dialog.querySelector("form"), problem = dialog.querySelector("[role=alert]");
  button.onclick = () => {
    form.elements.value.value = value();
    problem.textContent = "";
    dialog.showModal();
    form.elements.value.select();
  };
  dialog.querySelector("[value=cancel]").onclick = () => dialog.close();
  form.onsubmit = (ev) => {
    ev.preventDefault();
    submit(form.elements.value.value).then(() => {
      dialog.close();
      next.focus();
    }, (err) => {
      problem.textContent = err.message;
    });
  };
}

ask($("rename"), $("me"), () => me.name, async (name) => {
  me.name = sessionStorage.chatName = await request("rename", name);
  showMe();
});
ask($("new-room"), $("create"), () => "", enter, text);

if (matchMedia("(pointer: fine)").matches) text.focus(); // on a phone this would bring up the keyboard
