# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# What the words of ./dev share: messages, packages, building. Sourced by ./dev, which sets ROOT.

PORT=${CHARTWAY_PORT:-8480}
STATE=${CHARTWAY_STATE:-$ROOT/var}
case $STATE in
    /*) ;;
    *) STATE=$PWD/$STATE ;;
esac
JOBS=$(nproc)

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
die() {
    printf 'dev: %s\n' "$*" >&2
    exit 1
}

# What the build needs, what running needs, what only the tests need. mariadb-server-core rather than mariadb-server:
# the programs without the system service.
PACKAGES_BUILD=(gcc make libc6-dev autoconf automake pkg-config check libsubunit-dev libfcgi-dev libmariadb-dev
    libcurl4-openssl-dev libjansson-dev libjwt-dev libssl-dev libzstd-dev libutf8proc-dev zlib1g-dev zstd)
PACKAGES_RUN=(mariadb-server-core mariadb-client nginx-light spawn-fcgi curl jq ca-certificates openssl)
PACKAGES_CHECK=(clang libclang-rt-14-dev llvm clang-format shellcheck codespell binutils apache2-bin nodejs npm chromium)
PACKAGES_BENCH=(wrk)
PACKAGES_LONG=(valgrind)

have_package() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

# Installs those of its arguments that are missing. Asks for root only then.
need_packages() {
    local missing=() package as_root=() policy=/usr/sbin/policy-rc.d made=
    command -v dpkg-query >/dev/null ||
        die "this is not Debian or Ubuntu; install by hand what stands for: $*"
    for package in "$@"; do
        case $package in
            nodejs) ! command -v node >/dev/null || continue ;; # any node from 18 on will do
            npm) ! command -v npm >/dev/null || continue ;;
        esac
        have_package "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    step "installing ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "as root, run: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    # Debian starts a service when its package arrives; ours run privately, so nothing is to start.
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod 755 "$policy"
        made=yes
    fi
    local rc=0
    apt_install "${missing[@]}" || rc=$?
    [ -z "$made" ] || "${as_root[@]}" rm -f "$policy"
    [ "$rc" -eq 0 ] || die "apt-get could not install: ${missing[*]}"
}

# Uses as_root of its caller.
apt_install() {
    local quiet=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    "${as_root[@]}" "${quiet[@]}" update </dev/null || return 1
    "${as_root[@]}" "${quiet[@]}" install -y --no-install-recommends "$@" </dev/null >/dev/null
}

# configure_in DIR [CONFIGURE-OPTION]...: out of tree; configures again only when the options or configure changed.
configure_in() {
    local dir=$1
    shift
    if [ ! -x "$ROOT/configure" ] || [ -n "$(find "$ROOT/configure.ac" "$ROOT/Makefile.am" "$ROOT/m4" -newer "$ROOT/configure" -print -quit)" ]; then
        local said
        said=$(cd "$ROOT" && autoreconf -fi 2>&1) || die "autoreconf failed: $said"
    fi
    mkdir -p "$dir"
    if [ ! -f "$dir/Makefile" ] || [ "$ROOT/configure" -nt "$dir/Makefile" ] || [ "$(cat "$dir/.options" 2>/dev/null)" != "$*" ]; then
        (cd "$dir" && "$ROOT/configure" -q "$@") || die "configure failed in $dir"
        printf '%s' "$*" >"$dir/.options"
    fi
}

# A compiler cache is used where there is one; nothing asks for it.
cached() {
    if command -v ccache >/dev/null; then
        printf 'ccache %s' "$1"
    else
        printf '%s' "$1"
    fi
}
