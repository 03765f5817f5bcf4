// Turns a plain link <a href="https://.../chat" data-civic-chat> into a launcher; the chat opens in a frame of its own origin.
const script = document.currentScript;
const origin = new URL(script.src).origin;
for (const link of document.querySelectorAll("a[data-civic-chat]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const frame = document.createElement("iframe");
    frame.src = `${origin}/chat?l=${encodeURIComponent(script.dataset.lang || document.documentElement.lang.slice(0, 2))}`;
    frame.title = link.textContent;
    frame.referrerPolicy = "no-referrer";
    frame.style.cssText = "position:fixed;inset:auto 0 0 auto;width:min(100vw,26rem);height:min(100vh,40rem);border:1px solid #555;z-index:2147483647;background:#fff";
    document.body.append(frame);
    link.hidden = true;
    const close = () => { frame.remove(); link.hidden = false; link.focus(); };
    addEventListener("keydown", (key) => { if (key.key === "Escape") close(); });
    addEventListener("message", (message) => {
      if (message.source !== frame.contentWindow || message.origin !== origin) return;
      if (message.data === "close") close();
      if (message.data === "exit") location.replace(script.dataset.exit || "https://weather.com/");
    });
    frame.focus();
  });
}
