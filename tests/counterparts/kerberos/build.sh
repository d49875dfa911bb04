#!/bin/sh
# Builds the MIT Kerberos counterpart: build.sh OUTPUT
# Leaves with 77 when a Debian package it needs is not installed.
set -eu

[ $# -eq 1 ] || { echo "usage: build.sh OUTPUT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)

command -v cc >/dev/null || { echo "build.sh: cc is missing; install gcc" >&2; exit 77; }
[ -e /usr/include/gssapi/gssapi_ext.h ] || { echo "build.sh: install libkrb5-dev" >&2; exit 77; }

cc -std=gnu11 -O1 -g -Wall -Wextra -Werror -o "$1" "$here"/gss_krb5_peer.c -lgssapi_krb5
