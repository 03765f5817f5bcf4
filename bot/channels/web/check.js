// Browsers that cannot run the chat go to the page without scripts. Written so that the oldest ones can read it.
(function () {
  var page = document.documentElement;
  function basic() {
    if (!page.getAttribute("data-ready")) location.replace("/chat/basic?l=" + page.lang);
  }
  var able = "noModule" in document.createElement("script") && window.fetch && window.AbortController &&
    "".replaceAll && page.replaceChildren && navigator.sendBeacon && window.crypto && crypto.getRandomValues;
  if (!able) basic();
  // A script that this browser cannot read, or that stopped before it was ready.
  window.addEventListener("error", basic);
})();
