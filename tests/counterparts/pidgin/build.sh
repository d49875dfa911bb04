#!/bin/sh
# Builds the pidgin-sipe counterpart: build.sh OUTPUT
# Leaves with 77 when a Debian package it needs is not installed.
set -eu

[ $# -eq 1 ] || { echo "usage: build.sh OUTPUT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)

for need in pkg-config cc; do
    command -v "$need" >/dev/null || { echo "build.sh: $need is missing; install pkg-config and gcc" >&2; exit 77; }
done
pkg-config --exists purple libxml-2.0 glib-2.0 || {
    echo "build.sh: install libpurple-dev libglib2.0-dev libxml2-dev (and pidgin-sipe to run it)" >&2
    exit 77
}

# -rdynamic: the program's xmlSAXUserParseMemory must be visible to the plugin (sax1.c says why).
# The headers of glib and libpurple are not ours to warn about, hence -isystem.
includes=$(pkg-config --cflags purple libxml-2.0 glib-2.0 | sed 's/-I/-isystem /g')
# shellcheck disable=SC2086,SC2046
cc -std=gnu11 -O1 -g -Wall -Wextra -Werror $includes -rdynamic \
    -o "$1" "$here"/sipe_signin.c "$here"/headless.c "$here"/commands.c "$here"/json_line.c "$here"/sax1.c \
    $(pkg-config --libs purple glib-2.0) -ldl
