#!/usr/bin/env bash
# Installs the system packages that building ("build"), testing ("test") and measuring beside others ("bench") need, when
# any is missing.
# On Debian and its kin with apt-get, through sudo when not root; elsewhere the missing ones are printed and nothing is touched.
set -euo pipefail

build=(gcc pkg-config libssl-dev)
test=(pidgin-sipe libpurple-dev libglib2.0-dev libxml2-dev gss-ntlmssp libkrb5-dev libclang-dev krb5-kdc krb5-admin-server krb5-user curl xmlsec1
  samba samba-ad-provision samba-dsdb-modules samba-vfs-modules winbind ldb-tools python3-samba python3-dnspython
  python3-markdown python3-setproctitle tshark iproute2 util-linux python3 mono-mcs mono-runtime)
bench=(kamailio kamailio-presence-modules kamailio-tls-modules)

wanted=()
for set in "$@"; do
  case "$set" in
    build) wanted+=("${build[@]}") ;;
    test) wanted+=("${test[@]}") ;;
    bench) wanted+=("${bench[@]}") ;;
    *) echo "packages.sh: '$set' is neither build nor test nor bench" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
  if command -v cc >/dev/null 2>&1 && pkg-config --exists openssl 2>/dev/null; then exit 0; fi
  echo "This system has no apt-get. Install what corresponds to: ${wanted[*]}" >&2
  exit 0
fi

missing=()
for package in "${wanted[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

run=()
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null 2>&1; then
    run=(sudo)
  else
    echo "Missing packages: ${missing[*]}" >&2
    echo "Install them as root, then try again: apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi

echo "Installing: ${missing[*]}"
log=$(mktemp)
if ! { "${run[@]}" apt-get update -q && "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "apt-get failed; the whole of it is in $log" >&2
  exit 1
fi
rm -f "$log"
