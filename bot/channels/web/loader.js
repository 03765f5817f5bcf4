// Turns links <a href="https://.../chat" data-civic-chat> into launchers; a tap opens the chat in a frame of its own origin.
// Nothing is fetched before the tap. Without this script, or without the chat, they stay links.
(() => {
  const script = document.currentScript;
  const { lang, exit, colours } = script.dataset;
  const { origin } = new URL(script.src);
  const page = document.documentElement;
  const [ground, ink] = (colours || "#1f5f5b #fff").split(" ");
  for (const link of document.querySelectorAll("a[data-civic-chat]")) {
    const name = link.textContent.trim();
    const host = document.createElement("div");
    const button = document.createElement("button");
    let frame, open, ready, last;
    button.textContent = name;
    button.style.cssText = `font:600 17px/1.2 system-ui,sans-serif;min-height:48px;padding:8px 20px;border:1px solid ${ink};border-radius:24px;background:${ground};color:${ink};cursor:pointer`;
    host.style.cssText = link.dataset.civicChat === "inline" ? "display:inline-block" : "position:fixed;right:16px;bottom:16px;z-index:2147483646";
    host.attachShadow({ mode: "open" }).append(button);
    const show = (on) => {
      open = on;
      frame.style.visibility = on ? "visible" : "hidden";
      host.style.visibility = on ? "hidden" : "visible";
      (on ? frame : button).focus();
    };
    // On a phone the keyboard covers the page's lower part: the frame stays above it.
    const fit = () => {
      const view = visualViewport;
      const small = innerWidth < 481;
      frame.style.height = small && view.scale < 1.1 ? `${view.height}px` : small ? "100%" : "640px";
      frame.style.top = small ? `${view.offsetTop}px` : "auto";
      frame.style.bottom = small ? "auto" : "16px";
      frame.style.right = small ? 0 : "16px";
      frame.style.borderRadius = small ? 0 : "12px";
    };
    button.onclick = () => {
      if (ready) return show(true);
      // A second tap while it loads: as the link would have done.
      if (frame) return location.assign(link.href);
      button.textContent = `${name} ...`;
      frame = document.createElement("iframe");
      frame.title = name;
      frame.referrerPolicy = "no-referrer";
      frame.allow = "clipboard-write";
      frame.sandbox = "allow-scripts allow-same-origin allow-forms allow-modals allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation";
      frame.style.cssText = "position:fixed;visibility:hidden;z-index:2147483647;width:416px;max-width:100%;max-height:100%;border:0;background:#fff;box-shadow:0 0 0 1px #555";
      fit();
      for (const change of ["resize", "scroll"]) visualViewport.addEventListener(change, fit);
      frame.onload = () => setTimeout(() => ready || location.assign(link.href), 2000);
      frame.src = `${origin}/chat?l=${lang || page.lang.slice(0, 2)}`;
      document.body.append(frame);
    };
    addEventListener("message", (event) => {
      if (!frame || event.source !== frame.contentWindow || event.origin !== origin) return;
      if (event.data === "ready" && !ready) {
        ready = true;
        button.textContent = name;
        show(true);
      }
      if (event.data === "close") show(false);
      if (event.data === "exit") {
        page.style.setProperty("display", "none", "important");
        location.replace(exit || "https://weather.com/");
      }
    });
    // The keys of the chat work beside it too.
    addEventListener("keydown", ({ key }) => {
      last = key;
      if (open && key === "Escape") show(false);
    });
    addEventListener("keyup", ({ key }) => {
      if (open && key === "Shift" && last === key) frame.contentWindow.postMessage("shift", origin);
    });
    link.replaceWith(host);
  }
})();
