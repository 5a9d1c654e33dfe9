#!/usr/bin/env bash
# Builds the page into web/dist unless nothing changed since. With --test: its unit tests and the check of its size, too.
set -euo pipefail
cd "$(dirname "$0")/../web"

# All that the page is made from, as one hash.
sources() { find . \( -name node_modules -o -name dist \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum; }

stamp=node_modules/.page-sha256
wanted=$(sources)
if [ ! -d dist ] || [ "$(cat $stamp 2>/dev/null)" != "$wanted" ]; then
    npm run --silent build
    printf '%s\n' "$wanted" >$stamp
fi

if [ "${1:-}" = --test ]; then
    npm test
    npm run --if-present size
fi
