// The website chat: one document, no storage, no third party. Words come from the catalogues (bot/channels/web/build.py).
const { words, headers, phone } = JSON.parse(document.getElementById("words").textContent);
const root = document.documentElement;
const log = document.getElementById("log");
const form = document.getElementById("form");
const box = document.getElementById("text");
const counter = document.getElementById("count");
const status = document.getElementById("status");
const menu = document.getElementById("menu");
const examples = document.getElementById("examples");
const exit = document.getElementById("exit");
const framed = parent !== window;

const RETRIES = [1000, 2000]; // milliseconds; the same id, so that nothing runs twice
const SLOW = 800; // milliseconds until "Writing" is shown
const PATIENCE = 20000; // milliseconds for one try: ten seconds of the server's, and a slow network
const LONGEST = 1000; // characters
const NEAR = 800; // characters from which the count is shown
const KINDS = ["answer", "offer", "clarify", "question", "emergency", "crisis", "service", "notice"];

const CODES = Object.keys(words);
let language = root.lang;
let picked = false; // chosen on this page, and not told yet
let session, page, count, round = 0, stop; // of the conversation
let chain = Promise.resolve(); // one message at a time, in order

const word = (key, values = {}, code = language) =>
  Object.entries(values).reduce((text, [name, value]) => text.replaceAll(`{${name}}`, value), words[code][key]);

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// The same words twice are two pieces of news: a reader is told again. What stands elsewhere for the eye is told to the ear only.
function tell(text, heard = false) {
  status.classList.toggle("sr", heard);
  status.textContent = text && text === status.textContent ? `${text}\u00a0` : text;
}

const clear = () => {
  session = null;
  count = 0;
  round += 1;
  stop?.abort();
  page = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  log.replaceChildren();
  box.value = "";
  counter.textContent = "";
  box.removeAttribute("aria-invalid");
  examples.hidden = false;
  tell("");
};

// --- words -------------------------------------------------------------------------------------

// Text with its phone numbers as links to call; nothing else becomes a link.
function linked(text) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(new RegExp(phone, "g"))) {
    parts.push(text.slice(at, match.index), call(match[0], match[0]));
    at = match.index + match[0].length;
  }
  return [...parts, text.slice(at)];
}

const call = (number, text) => make("a", { href: `tel:${number.replaceAll("-", "")}`, textContent: text });
const numbers = (text) => [...new Set(text.match(new RegExp(phone, "g")))];

function speak(code) {
  language = root.lang = code;
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = word(node.dataset.t);
  for (const node of document.querySelectorAll("[data-n]")) node.replaceChildren(...linked(word(node.dataset.n)));
  for (const node of document.querySelectorAll("[data-l]")) node.setAttribute("aria-label", word(node.dataset.l));
  for (const node of document.querySelectorAll("[data-h]")) node.textContent = headers[code];
  for (const node of document.querySelectorAll(".languages a")) node.setAttribute("aria-current", String(node.lang === code));
  for (const id of ["tab", "basic"]) {
    const link = document.getElementById(id);
    link.search = `?l=${code}`;
  }
}

// --- what is shown -----------------------------------------------------------------------------

function entry(kind, code, who, text) {
  const node = make("div", { className: `entry ${kind}`, lang: code });
  node.append(make("span", { className: "sr", textContent: `${word(who, {}, code)}: ` }));
  for (const paragraph of text.split("\n\n")) node.append(make("p", {}, ...(kind === "own" ? [paragraph] : linked(paragraph))));
  log.append(node);
  return node;
}

const list = (value) => (Array.isArray(value) ? value : []);

function safe(link) {
  try {
    const url = new URL(link.url);
    return url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

function sources(links, code) {
  const items = make("ul");
  for (const link of links) {
    const anchor = make("a", { href: safe(link), target: "_blank", rel: "noopener noreferrer", referrerPolicy: "no-referrer", textContent: link.title });
    anchor.append(make("span", { textContent: ` ${word("page_new_tab", {}, code)}` }));
    items.append(make("li", {}, anchor));
  }
  return make("details", { className: "more" }, make("summary", { textContent: `${word("page_sources", {}, code)} (${links.length})` }), items);
}

function phones(found, code) {
  const items = make("ul");
  for (const number of found) {
    const copied = make("button", { type: "button", textContent: word("page_copy", {}, code) });
    copied.append(make("span", { className: "sr", textContent: ` ${number}` }));
    copied.addEventListener("click", () => copy(number));
    items.append(make("li", { className: "phone" }, call(number, word("page_call", { phone: number }, code)), copied));
  }
  return items;
}

async function copy(number) {
  let done = true;
  try {
    await navigator.clipboard.writeText(number);
  } catch {
    // Without https or a permission: the way of old, by a selection.
    const held = document.activeElement;
    const area = make("textarea", { className: "sr", value: number });
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    held?.focus();
  }
  tell(word(done ? "page_copied" : "page_copy_failed", { phone: number }));
}

function shown(reply) {
  const code = CODES.includes(reply.language) ? reply.language : language;
  const kind = KINDS.includes(reply.kind) ? reply.kind : "answer";
  const text = String(reply.text ?? "");
  const node = entry(kind, code, "page_we", text);
  const found = numbers(text);
  if (found.length && (kind === "emergency" || kind === "crisis")) node.append(phones(found, code));
  else if (found.length) {
    node.append(make("details", { className: "more" }, make("summary", { textContent: `${word("page_numbers", {}, code)} (${found.length})` }), phones(found, code)));
  }
  const links = list(reply.links).filter(safe);
  if (links.length) node.append(sources(links, code));
  const buttons = list(reply.buttons);
  if (buttons.length) {
    const row = make("div", { className: "choices" });
    for (const item of buttons) {
      const button = make("button", { type: "button", textContent: String(item.title) });
      button.addEventListener("click", () => send(button.textContent, String(item.id), true));
      row.append(button);
    }
    node.append(row);
  }
  return node;
}

// --- sending -----------------------------------------------------------------------------------

const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

async function post(message) {
  stop = new AbortController();
  const late = setTimeout(() => stop.abort(), PATIENCE);
  try {
    const answer = await fetch("/chat/v1/messages", {
      method: "POST", credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer", redirect: "error", signal: stop.signal,
      headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ...message, session }),
    });
    const body = await answer.json().catch(() => ({}));
    // An answer that is none comes from something between us: a captive portal, a proxy.
    const fine = answer.ok && Array.isArray(body.messages);
    return { fine, code: answer.ok && !fine ? 500 : answer.status, body };
  } finally {
    clearTimeout(late);
  }
}

function offer(message, node) {
  node.classList.add("failed");
  const again = make("button", { type: "button", textContent: word("page_retry") });
  again.addEventListener("click", () => {
    again.remove();
    box.focus({ preventScroll: true });
    queue(message, node);
  });
  node.append(again);
}

function queue(message, node) {
  chain = chain.then(() => deliver(message, node)).catch(() => {
    tell(word("page_failed"));
    offer(message, node);
  });
}

// One message, until it is answered or has failed.
async function deliver(message, node) {
  const mine = round;
  const slow = setTimeout(() => { if (mine === round) tell(`${word("page_typing")} ...`); }, SLOW);
  let answer = null;
  // What did not come through, or what the server could not do, may go well in a moment; what it refused it would refuse again.
  for (let attempt = 0; (answer?.code ?? 500) >= 500 && mine === round && attempt <= RETRIES.length; attempt += 1) {
    if (attempt) await wait(RETRIES[attempt - 1]);
    try {
      if (mine === round) answer = await post(message);
    } catch {
      answer = null;
    }
  }
  clearTimeout(slow);
  if (mine !== round) return;
  const body = answer?.body;
  if (body?.session) {
    if (session && body.session !== session) entry("notice", language, "page_we", word("page_expired"));
    session = body.session;
  }
  const nodes = list(body?.messages).map(shown);
  if (answer?.fine) {
    tell("");
    node.classList.remove("failed");
    for (const old of log.querySelectorAll(".choices")) if (!nodes.some((fresh) => fresh.contains(old))) old.remove();
    if (CODES.includes(body.lang) && body.lang !== language) speak(body.lang);
  } else {
    tell(word(!answer ? "page_offline" : answer.code === 429 ? "page_busy" : "page_failed"));
    offer(message, node);
    if (!nodes.length) node.scrollIntoView({ block: "end" });
  }
  // The start of what is new, not its end; without a slide, which nobody in danger waits for.
  nodes[0]?.scrollIntoView({ block: "start" });
}

function send(text, button = null, pressed = false) {
  examples.hidden = true;
  menu.open = false;
  tell("");
  const node = entry("own", language, "page_you", text);
  node.scrollIntoView({ block: "end" });
  if (pressed) {
    // The button goes away with its row: the next Tab goes on from what was said.
    node.tabIndex = -1;
    node.focus({ preventScroll: true });
  }
  count += 1;
  const message = { v: 1, id: `${page}-${count}`, lang: picked ? language : null, hint: language, text: button ? "" : text, button };
  picked = false;
  queue(message, node);
}

// --- the text box ------------------------------------------------------------------------------

let counting;
function measure() {
  const length = box.value.length;
  counter.textContent = length < NEAR ? "" : word("page_count", { n: length });
  if (length > LONGEST) box.setAttribute("aria-invalid", "true");
  else box.removeAttribute("aria-invalid");
  clearTimeout(counting);
  // Told when the writer rests, not at every letter.
  if (length >= NEAR) counting = setTimeout(() => tell(counter.textContent + (length > LONGEST ? `. ${word("page_limit")}` : ""), true), 1000);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = box.value.trim();
  if (text.length > LONGEST) tell(word("page_limit"));
  if (!text || text.length > LONGEST) { box.focus(); return; }
  box.value = "";
  measure();
  send(text);
});
box.addEventListener("input", measure);
box.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
});

// --- around it ---------------------------------------------------------------------------------

for (const button of examples.querySelectorAll("button")) button.addEventListener("click", () => send(button.textContent, null, true));

for (const node of document.querySelectorAll(".languages a")) {
  node.addEventListener("click", (event) => {
    event.preventDefault();
    picked = true;
    speak(node.lang);
    tell(word("page_switched"));
  });
}

// Forget the conversation on the server, also one whose first answer has not come yet.
function end() {
  if (count) navigator.sendBeacon("/chat/v1/end", JSON.stringify({ session, id: `${page}-1` }));
}

document.getElementById("restart").addEventListener("click", () => {
  end();
  clear();
  menu.open = false;
  tell(word("page_restarted"));
  box.focus();
});
document.getElementById("print").addEventListener("click", () => { menu.open = false; window.print(); });
addEventListener("beforeprint", () => { for (const node of log.querySelectorAll("details")) node.open = true; });
document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });

// --- leaving -----------------------------------------------------------------------------------

function leave(event) {
  event?.preventDefault();
  root.classList.add("gone");
  end();
  clear();
  if (!framed) { location.replace(exit.href); return; }
  parent.postMessage("exit", "*");
  // A site that frames the chat without our script.
  setTimeout(() => { try { top.location.replace(exit.href); } catch { location.replace(exit.href); } }, 500);
}
exit.addEventListener("click", leave);

// Shift, pressed three times by itself, each within five seconds of the one before.
let alone = false, shifts = 0, forgetting;
function shifted() {
  shifts += 1;
  clearTimeout(forgetting);
  if (shifts === 3) { leave(); return; }
  tell(word("page_shift", { n: 3 - shifts }));
  forgetting = setTimeout(() => { shifts = 0; tell(""); }, 5000);
}
addEventListener("keydown", (event) => {
  if (!event.repeat) alone = event.key === "Shift";
  if (!alone && shifts) { shifts = 0; clearTimeout(forgetting); tell(""); }
  if (event.key !== "Escape") return;
  if (menu.open) {
    menu.open = false;
    menu.firstElementChild.focus();
  } else if (framed) parent.postMessage("close", "*");
});
addEventListener("keyup", (event) => { if (event.key === "Shift" && alone) shifted(); });

if (framed) {
  for (const id of ["close", "tab"]) document.getElementById(id).hidden = false;
  document.getElementById("close").addEventListener("click", () => parent.postMessage("close", "*"));
  addEventListener("message", (event) => { if (event.source === parent && event.data === "shift") shifted(); });
}

// Whatever way the page is left, nothing of the talk stays for Back to show.
addEventListener("pagehide", () => { end(); clear(); });
addEventListener("pageshow", () => root.classList.remove("gone"));

clear();
root.dataset.ready = "true";
if (framed) parent.postMessage("ready", "*");
