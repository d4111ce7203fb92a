#!/bin/sh
# make install | rollback | uninstall | wheels: see docs/install.md. Variables come from the Makefile.
#
# $PREFIX/releases/ID  a virtual environment with its own share/edge-runtime (units, default configuration, drop-ins)
# $PREFIX/current      the release that runs; $PREFIX/previous: the one before it
# An installation never changes a release that a daemon runs from: it makes another one and turns the links.
set -eu
umask 022

root=$DESTDIR$PREFIX
source=$(cd "$(dirname "$0")/.." && pwd)
units=$DESTDIR/etc/systemd/system
marker=releases/.edge-runtime

say() { printf '%s\n' "$*"; }
fail() { say "edge-runtime: $*" >&2; exit 1; }

require_own_prefix() {
    case $PREFIX in
    /home* | /root* | /tmp* | /run/user*) fail "PREFIX=$PREFIX: the service cannot see this folder; choose one such as /opt/edge-runtime" ;;
    /*/*) ;;
    *) fail "PREFIX=$PREFIX: name a folder of its own, such as /opt/edge-runtime" ;;
    esac
    case $PREFIX in *[!A-Za-z0-9/._-]*) fail "PREFIX=$PREFIX: use letters, digits and / . _ - only" ;; esac
    if [ -e "$root" ] && [ ! -e "$root/$marker" ] && [ -n "$(ls -A "$root")" ]; then
        fail "$root holds something else; choose an empty folder as PREFIX"
    fi
}

# Into the folder $1, from a copy of the source: a build leaves files, and old ones would go into the next wheel.
build_wheels() {
    mkdir "$work/source"
    for item in pyproject.toml README.md LICENSE edge_runtime converters benchmarks; do
        cp -r "$source/$item" "$work/source/"
    done
    "$PYTHON" -m venv "$work/tools"
    folder=$1 && shift
    SOURCE_DATE_EPOCH=1700000000 "$work/tools/bin/python" -m pip --quiet --disable-pip-version-check wheel "$@" \
        --wheel-dir "$folder" --constraint "$source/constraints.txt" "$work/source${EXTRAS:+[$EXTRAS]}"
}

# The wheel of this project: from the wheel house, or built from this source.
find_wheel() {
    if [ -n "$WHEELS" ]; then
        set -- "$WHEELS"/edge_runtime-*.whl
        if [ $# != 1 ] || [ ! -e "$1" ]; then fail "WHEELS=$WHEELS must hold one edge_runtime-*.whl; make wheels fills it"; fi
        wheel=$1
    else
        build_wheels "$work" --no-deps
        wheel=$(ls "$work"/edge_runtime-*.whl)
    fi
}

install_packages() { # into the virtual environment $1
    set -- "$1/bin/python" -m pip --quiet --disable-pip-version-check install --no-compile
    [ -z "$WHEELS" ] || set -- "$@" --no-index --find-links "$WHEELS"
    # shellcheck disable=SC2086
    "$@" $PIP_FLAGS --constraint "$source/constraints.txt" "$wheel${EXTRAS:+[$EXTRAS]}"
    # Once more by name: a package installed by path remembers the path.
    "$@" --no-deps --force-reinstall --no-index --find-links "$(dirname "$wheel")" edge-runtime
}

share_files() { # into $1: units with the paths put in, default configuration, drop-ins
    mkdir -p "$1/drop-ins"
    for name in edge-runtime.service edge-runtime.sysusers edge-runtime.tmpfiles config.yaml drop-ins/gpu.conf \
        drop-ins/network.conf drop-ins/port-104.conf drop-ins/spool.conf drop-ins/video.conf; do
        sed "s,@PREFIX@,$PREFIX,g" "$source/systemd/$name" >"$1/$name"
    done
}

require_visible_python() {
    case $(readlink -f "$(command -v "$PYTHON")") in
    /home/* | /root/*) fail "PYTHON=$PYTHON lies in a home folder, which the service cannot see; use PYTHON=/usr/bin/python3" ;;
    esac
}

make_release() { # prints nothing; sets $release
    version=$(basename "$wheel" | cut -d- -f2)
    flags="$("$PYTHON" -VV) $VENV_FLAGS $PIP_FLAGS $EXTRAS $PREFIX"
    sum=$({ cat "$wheel" "$source/constraints.txt" "$source"/systemd/*.* "$source"/systemd/drop-ins/*; say "$flags"; } | sha256sum | cut -c1-12)
    release=$version-$sum
    new=$root/releases/$release
    [ ! -e "$new/.complete" ] || return 0
    rm -rf "$new"
    mkdir -p "$root/releases"
    : >"$root/$marker"
    say "installing $PREFIX/releases/$release"
    # shellcheck disable=SC2086
    "$PYTHON" -m venv $VENV_FLAGS "$new"
    install_packages "$new"
    share_files "$new/share/edge-runtime"
    "$new/bin/python" -c 'import edge_runtime'
    "$new/bin/python" -m pip --quiet --disable-pip-version-check uninstall --yes setuptools pip # the service installs nothing
    sed -i '/^command = /d' "$new/pyvenv.cfg"
    if [ -n "$DESTDIR" ]; then # the files say where they will be, not where they are
        grep -rlIF "$DESTDIR" "$new/bin" "$new/pyvenv.cfg" | xargs -r sed -i "s,$DESTDIR,,g"
    fi
    "$new/bin/python" -m compileall -q -s "$DESTDIR" "$new/lib" >/dev/null || true # a library's template may not compile
    : >"$new/.complete"
}

# Turn the links to a release, and put its units in place.
activate() {
    now=$(readlink "$root/current" || true)
    if [ "$now" != "releases/$1" ]; then
        [ -z "$now" ] || ln -sfn "$now" "$root/previous"
        ln -sfn "releases/$1" "$root/current"
    fi
    share=$root/current/share/edge-runtime
    install -D -m 0644 "$share/edge-runtime.service" "$units/edge-runtime.service"
    install -D -m 0644 "$share/edge-runtime.sysusers" "$DESTDIR/etc/sysusers.d/edge-runtime.conf"
    install -D -m 0644 "$share/edge-runtime.tmpfiles" "$DESTDIR/etc/tmpfiles.d/edge-runtime.conf"
    mkdir -p "$DESTDIR$BINDIR"
    for command in edge-runtime edge-convert edge-bench; do
        ln -sfn "$PREFIX/current/bin/$command" "$DESTDIR$BINDIR/$command"
    done
    if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
        systemd-sysusers edge-runtime.conf
        systemd-tmpfiles --create edge-runtime.conf
        systemctl daemon-reload
    fi
}

do_install() {
    require_own_prefix
    [ -n "$DESTDIR" ] || require_visible_python
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    find_wheel
    make_release
    config=$DESTDIR/etc/edge-runtime/config.yaml
    default=$root/releases/$release/share/edge-runtime/config.yaml
    if [ ! -e "$config" ]; then
        install -D -m 0640 "$default" "$config"
    elif ! cmp -s "$config" "$default"; then
        say "kept your /etc/edge-runtime/config.yaml; the default of this release is $PREFIX/current/share/edge-runtime/config.yaml"
    fi
    mkdir -p "$DESTDIR/var/lib/edge-runtime/engines"
    activate "$release"
    for old in "$root"/releases/*/; do # keep the release that runs and the one before
        old=releases/$(basename "$old")
        [ "$old" = "$(readlink "$root/current")" ] || [ "$old" = "$(readlink "$root/previous" || true)" ] || rm -rf "${root:?}/$old"
    done
    say "installed $release; next: edge-runtime check /etc/edge-runtime/config.yaml && systemctl restart edge-runtime"
}

do_rollback() {
    previous=$(readlink "$root/previous" || true)
    if [ -z "$previous" ] || [ ! -e "$root/$previous/.complete" ]; then fail "there is no release before this one under $PREFIX"; fi
    activate "$(basename "$previous")"
    say "back to $(basename "$previous"); next: systemctl restart edge-runtime"
}

do_uninstall() {
    if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
        systemctl disable --now edge-runtime.service || true
    fi
    rm -f "$units/edge-runtime.service" "$DESTDIR/etc/sysusers.d/edge-runtime.conf" "$DESTDIR/etc/tmpfiles.d/edge-runtime.conf"
    for command in edge-runtime edge-convert edge-bench; do
        [ "$(readlink "$DESTDIR$BINDIR/$command")" != "$PREFIX/current/bin/$command" ] || rm "$DESTDIR$BINDIR/$command"
    done
    if [ -e "$root/$marker" ]; then
        rm -rf "$root/releases" "$root/current" "$root/previous"
        rmdir "$root" || say "left what else is in $PREFIX"
    fi
    if [ "$PURGE" = 1 ]; then
        rm -rf "$DESTDIR/etc/edge-runtime" "$units/edge-runtime.service.d" "$DESTDIR/var/lib/edge-runtime" "$DESTDIR/var/cache/edge-runtime"
        say "removed, with configuration, spool, results and engines"
    else
        say "removed; left /etc/edge-runtime, /var/lib/edge-runtime and drop-ins (PURGE=1 removes them)"
    fi
    [ -n "$DESTDIR" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
}

do_wheels() {
    [ -n "$WHEELS" ] || fail "name the folder: make wheels WHEELS=DIR"
    rm -f "$WHEELS"/edge_runtime-*.whl
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # shellcheck disable=SC2086
    build_wheels "$WHEELS" $PIP_FLAGS
    say "wheels for this Python and this kind of processor are in $WHEELS"
}

[ -z "$WHEELS" ] || { mkdir -p "$WHEELS" && WHEELS=$(cd "$WHEELS" && pwd); }

case ${1-} in
install | rollback | uninstall | wheels) "do_$1" ;;
*) fail "usage: make install | rollback | uninstall | wheels" ;;
esac
