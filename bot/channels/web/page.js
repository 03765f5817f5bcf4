// The website chat: one document, no storage, no third party. Words come from the catalogues (bot/channels/web/build.py).
const words = JSON.parse(document.getElementById("words").textContent);
const log = document.getElementById("log");
const form = document.getElementById("form");
const box = document.getElementById("text");
const status = document.getElementById("status");
const tried = [1000, 2000]; // two automatic retries with the same id, then a button

let language = document.documentElement.lang;
let picked = false;
let session = null;
let count = 0;
let chain = Promise.resolve(); // one message at a time, in order
const prefix = Array.from(crypto.getRandomValues(new Uint8Array(6)), (b) => b.toString(36)).join("");

const word = (key, values = {}) =>
  Object.entries(values).reduce((text, [k, v]) => text.replaceAll(`{${k}}`, v), words[language][key]);

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function speak(code) {
  language = code;
  document.documentElement.lang = code;
  document.title = word("page_title");
  for (const node of document.querySelectorAll("[data-t]")) node.replaceChildren(...(node.className === "danger" ? linked : Array.of)(word(node.dataset.t)));
  for (const node of document.querySelectorAll("[data-l]")) node.setAttribute("aria-label", word(node.dataset.l));
  for (const node of document.querySelectorAll(".languages a")) node.setAttribute("aria-current", String(node.lang === code));
}

// Text with its phone numbers as links to call; nothing else becomes a link.
const PHONE = /(?<![\d-])(1-\d{3}-\d{3}-\d{4}|\d{3}-\d{3}-\d{4}|911|988|211)(?![\d-])/g;
function linked(text) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(PHONE)) {
    parts.push(text.slice(at, match.index), make("a", { href: `tel:${match[0].replaceAll("-", "")}`, textContent: match[0] }));
    at = match.index + match[0].length;
  }
  parts.push(text.slice(at));
  return parts;
}

function own(text) {
  const entry = make("div", { className: "entry own" }, make("span", { className: "sr", textContent: `${word("page_you")}: ` }), make("p", {}, text));
  entry.lang = language;
  log.append(entry);
  return entry;
}

function shown(reply) {
  const entry = make("div", { className: `entry ${reply.kind}` }, make("span", { className: "sr", textContent: `${word("page_we")}: ` }));
  entry.lang = reply.language;
  for (const paragraph of reply.text.split("\n\n")) entry.append(make("p", {}, ...linked(paragraph)));
  const links = (reply.links || []).filter((link) => link.url.startsWith("https://"));
  if (links.length) {
    const list = make("ul");
    for (const link of links) {
      const anchor = make("a", { href: link.url, target: "_blank", rel: "noopener noreferrer", referrerPolicy: "no-referrer", textContent: link.title });
      anchor.append(make("span", { textContent: ` ${words[reply.language].page_new_tab}` }));
      list.append(make("li", {}, anchor));
    }
    entry.append(make("details", {}, make("summary", { textContent: words[reply.language].page_sources }), list));
  }
  if ((reply.buttons || []).length) {
    const row = make("div", { className: "choices" });
    for (const item of reply.buttons) {
      const button = make("button", { type: "button", textContent: item.title });
      button.addEventListener("click", () => send(item.title, item.id));
      row.append(button);
    }
    entry.append(row);
  }
  log.append(entry);
  return entry;
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function post(message) {
  const answer = await fetch("/chat/v1/messages", {
    method: "POST", credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer",
    headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ...message, session }),
  });
  const body = await answer.json();
  if (!Array.isArray(body.messages)) throw new Error("no answer");
  return body;
}

async function deliver(message, entry) {
  const slow = setTimeout(() => { status.textContent = `${word("page_typing")} ...`; }, 800);
  for (let attempt = 0; ; attempt++) {
    try {
      const body = await post(message);
      clearTimeout(slow);
      status.textContent = "";
      entry.classList.remove("failed");
      entry.querySelector("button")?.remove();
      if (body.session) session = body.session;
      for (const old of log.querySelectorAll(".choices")) old.remove();
      const nodes = body.messages.map(shown);
      if (body.lang && words[body.lang] && body.lang !== language) speak(body.lang);
      nodes[0]?.scrollIntoView({ block: "start" });
      return;
    } catch {
      if (attempt < tried.length) { await wait(tried[attempt]); continue; }
      clearTimeout(slow);
      status.textContent = word("page_offline");
      entry.classList.add("failed");
      entry.querySelector("button")?.remove();
      const again = make("button", { type: "button", textContent: word("page_retry") });
      again.addEventListener("click", () => { chain = chain.then(() => deliver(message, entry)); });
      entry.append(again);
      return;
    }
  }
}

function send(text, button = null) {
  const entry = own(text);
  entry.scrollIntoView({ block: "end" });
  const message = { v: 1, id: `${prefix}-${++count}`, lang: picked ? language : null, hint: language, text: button ? "" : text, button };
  picked = false;
  chain = chain.then(() => deliver(message, entry));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = box.value.trim();
  if (!text) return;
  box.value = "";
  send(text);
});
box.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
});
for (const node of document.querySelectorAll(".languages a")) {
  node.addEventListener("click", (event) => { event.preventDefault(); picked = true; speak(node.lang); box.focus(); });
}

function end() {
  if (session) navigator.sendBeacon("/chat/v1/end", JSON.stringify({ session }));
  session = null;
}
document.getElementById("restart").addEventListener("click", () => { end(); log.replaceChildren(); status.textContent = ""; box.focus(); });
document.getElementById("print").addEventListener("click", () => { status.textContent = word("page_print_note"); window.print(); });

speak(language);
const exit = document.getElementById("exit");
function leave(event) {
  event?.preventDefault();
  document.body.append(make("div", { id: "blank" }));
  end();
  if (window.parent !== window) window.parent.postMessage("exit", "*");
  else location.replace(exit.href);
}
exit.addEventListener("click", leave);
let shifts = [];
addEventListener("keyup", (event) => {
  if (event.key !== "Shift") { shifts = []; return; }
  shifts = [...shifts, Date.now()].filter((moment) => Date.now() - moment < 5000);
  if (shifts.length === 3) leave();
});
addEventListener("pagehide", end);
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); document.getElementById("blank")?.remove(); });
