#!/usr/bin/env bash
# The page's tests need Chromium. Debian's is installed where that is allowed; elsewhere this says what to install.
set -u
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "== Chromium for the page's tests (once, about a minute)"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; } >/dev/null 2>&1
fi
command -v chromium >/dev/null 2>&1 || echo "No browser found: install Chromium (Debian: apt-get install chromium), or the page's tests fail."
exit 0
