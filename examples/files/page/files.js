// The page: what it shows, and what people do with it.
import { sock, Transfer } from "./transfer.js";

const $ = (id) => document.getElementById(id);
const transfers = new Map(); // Transfer -> its element
const shown = new Set(); // transfers that are to be shown anew

function formatSize(n) {
  if (n < 1024) return n + " B";
  let i = -1;
  do n /= 1024, i++;
  while (n >= 999.95 && i < 3);
  return n.toFixed(1) + " " + "KMGT"[i] + "iB";
}

function formatTime(seconds) {
  if (seconds < 60) return Math.ceil(seconds) + " s";
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? minutes + " min" : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const clone = (id) => $(id).content.firstElementChild.cloneNode(true);

// The connection.

const secure = !!globalThis.crypto?.subtle;

sock.on("open", () => {
  $("connection").textContent = "Connected";
  $("connection").className = "connected";
  list();
});
sock.on("close", () => {
  $("connection").textContent = "No connection. Trying again…";
  $("connection").className = "";
  transfers.forEach((_, t) => show(t));
});
if (!secure) showProblem(new Error("Browsers check files only on pages that come over https, or from localhost. Open this one so."));

function showProblem(err) {
  $("problem").textContent = err ? err.message : "";
}

// The files of the server. It tells when there is another one.

gotalk.handleNotification("changed", list);

let asked = 0;

async function list() {
  const mine = ++asked;
  try {
    const files = await sock.request("list");
    if (mine != asked) return; // a newer answer comes, or came: answers may overtake each other
    showFiles(files);
    if (secure) showProblem();
  } catch (err) {
    if (err.code != "unavailable") showProblem(err); // else it is asked again when there is a connection
  }
}

function showFiles(files) {
  const rows = new Map([...$("files").children].map((row) => [row.dataset.name, row]));
  $("files").append(...files.map((f) => {
    const row = rows.get(f.name) ?? clone("file"); // a row that stays keeps the focus
    rows.delete(f.name);
    row.dataset.name = f.name;
    row.querySelector(".name").textContent = f.name;
    row.querySelector(".note").textContent = formatSize(f.size) + ", " +
      new Date(f.modified).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const button = row.querySelector("button");
    button.setAttribute("aria-label", "Download " + f.name);
    button.disabled = !secure;
    button.onclick = () => begin(new Transfer(f.name, f.size, null, changed));
    return row;
  }));
  for (const row of rows.values()) row.remove();
  $("none").hidden = files.length > 0;
}

// What is transferred.

function begin(t) {
  for (const old of transfers.keys()) {
    if (old.name != t.name || !old.file != !t.file) continue;
    if (old.active) return transfers.get(old).querySelector(".cancel").focus();
    dismiss(old); // the new one takes its place
  }
  const row = clone("transfer");
  const on = (name, action) => (row.querySelector(name).onclick = action);
  row.querySelector(".name").textContent = (t.file ? "↑\u00a0" : "↓\u00a0") + t.name;
  row.querySelector("progress").setAttribute("aria-label", (t.file ? "Upload of " : "Download of ") + t.name);
  on(".cancel", () => {
    t.cancel();
    row.querySelector(".resume").focus();
  });
  on(".resume", () => {
    t.overwrite ||= t.error?.code == "already_exists";
    t.start();
    row.querySelector(".cancel").focus();
  });
  on(".dismiss", () => dismiss(t));
  transfers.set(t, row);
  $("transfers").hidden = false;
  $("transfers").querySelector("ul").prepend(row);
  t.start();
}

function dismiss(t) {
  const row = transfers.get(t);
  const next = row.nextElementSibling ?? row.previousElementSibling;
  URL.revokeObjectURL(row.querySelector(".save").href);
  if (row.contains(document.activeElement)) (next?.querySelector("button:not([hidden])") ?? $("choose")).focus();
  row.remove();
  transfers.delete(t);
  $("transfers").hidden = !transfers.size;
}

// Told of each step, shows them once a frame at the most.
function changed(t) {
  if (!t.active) return show(t);
  if (!shown.size) requestAnimationFrame(() => {
    for (const t of shown) show(t);
    shown.clear();
  });
  shown.add(t);
}

function show(t) {
  const row = transfers.get(t);
  if (!row) return;
  const bar = row.querySelector("progress");
  const part = (name) => row.querySelector(name);
  bar.max = t.size || 1;
  if (t.state == "waiting" && !t.done) bar.removeAttribute("value");
  else bar.value = t.state == "done" ? bar.max : t.done;
  row.dataset.state = t.state;
  part(".note").textContent = describe(t);
  part(".cancel").hidden = !t.active;
  part(".resume").hidden = t.active || t.state == "done";
  part(".resume").textContent = t.error?.code == "already_exists" ? "Replace" : t.error ? "Try again" : "Resume";
  part(".dismiss").hidden = t.active;
  part(".save").hidden = !t.blob;
  if (t.blob && !part(".save").href) {
    part(".save").href = URL.createObjectURL(t.blob);
    part(".save").download = t.name;
    part(".save").click();
  }
  if (t.state == "done" || t.state == "failed") $("news").textContent = `${t.name}: ${describe(t)}`;
}

function describe(t) {
  const size = `${formatSize(t.done)} of ${formatSize(t.size)}`;
  switch (t.state) {
    case "waiting":
      return sock.keepalive.isConnected ? "Waiting for its turn…" : `Waiting for the connection… ${t.done ? size : ""}`;
    case "running": {
      const left = t.rate > 0 ? `, ${formatSize(t.rate)}/s, ${formatTime((t.size - t.done) / t.rate)} left` : "";
      return size + left;
    }
    case "done":
      return `${t.file ? "Uploaded" : "Downloaded"}, ${formatSize(t.size)}, checked`;
    case "failed":
      return t.error instanceof DOMException ? "The file cannot be read: it was changed or removed, or is a folder." : sentence(t.error.message);
    default:
      return `Stopped at ${size}`;
  }
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

// What people choose and drop.

function upload(files) {
  if (!secure) return;
  for (const file of files) begin(new Transfer(file.name, file.size, file, changed));
}

$("choose").disabled = !secure;
$("choose").onchange = (ev) => {
  upload([...ev.target.files]);
  ev.target.value = ""; // the same file may be chosen again
};
const carriesFiles = (ev) => ev.dataTransfer?.types.includes("Files");
for (const type of ["dragenter", "dragover"]) {
  addEventListener(type, (ev) => {
    if (!carriesFiles(ev)) return;
    ev.preventDefault();
    document.body.classList.add("dropping");
  });
}
addEventListener("dragleave", (ev) => ev.relatedTarget || document.body.classList.remove("dropping"));
addEventListener("drop", (ev) => {
  document.body.classList.remove("dropping");
  if (!carriesFiles(ev)) return;
  ev.preventDefault();
  upload([...ev.dataTransfer.files]);
});
addEventListener("beforeunload", (ev) => {
  if ([...transfers.keys()].some((t) => t.active)) ev.preventDefault();
});
