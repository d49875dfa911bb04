#!/usr/bin/env bash
# Installs the system packages that building ("build"), testing ("test") and measuring beside others ("bench") need, when
# any is missing.
# On Debian and its kin with apt-get, through sudo when not root; elsewhere what is missing is named, with the Debian
# package that has it, and nothing is touched.
set -euo pipefail

build=(gcc pkg-config libssl-dev)
test=(pidgin-sipe libpurple-dev libglib2.0-dev libxml2-dev gss-ntlmssp libkrb5-dev libclang-dev krb5-kdc krb5-admin-server krb5-user curl xmlsec1
  samba samba-ad-provision samba-dsdb-modules samba-vfs-modules winbind ldb-tools python3-samba python3-dnspython
  python3-markdown python3-setproctitle tshark iproute2 util-linux python3 mono-mcs mono-runtime)
bench=(kamailio kamailio-presence-modules kamailio-tls-modules)

# How to see, without a package manager's word, that what a package brings is there: a command, a module of pkg-config, a
# module of Python, or a file somewhere under the usual folders. "-": only together with another package of the list.
declare -A brings=(
  [gcc]=command:cc [pkg-config]=command:pkg-config [libssl-dev]=pkg-config:openssl
  [pidgin-sipe]=file:purple-2/libsipe.so [libpurple-dev]=pkg-config:purple [libglib2.0-dev]=pkg-config:glib-2.0
  [libxml2-dev]=pkg-config:libxml-2.0 [gss-ntlmssp]=file:gssntlmssp.so [libkrb5-dev]=pkg-config:krb5-gssapi [libclang-dev]="file:libclang*.so"
  [krb5-kdc]=command:krb5kdc [krb5-admin-server]=command:kadmin.local [krb5-user]=command:kinit [curl]=command:curl
  [xmlsec1]=command:xmlsec1 [samba]=command:samba [samba-ad-provision]=- [samba-dsdb-modules]=- [samba-vfs-modules]=-
  [winbind]=command:winbindd [ldb-tools]=command:ldbmodify [python3-samba]=python:samba [python3-dnspython]=python:dns
  [python3-markdown]=python:markdown [python3-setproctitle]=python:setproctitle [tshark]=command:tshark
  [iproute2]=command:ip [util-linux]=command:unshare [python3]=command:python3 [mono-mcs]=command:mcs
  [mono-runtime]=command:mono [kamailio]=command:kamailio [kamailio-presence-modules]=file:kamailio/modules/presence.so
  [kamailio-tls-modules]=file:kamailio/modules/tls.so
)

is_there() { # package
  local how=${brings[$1]:-} what
  what=${how#*:}
  case "$how" in
    command:*) PATH="$PATH:/usr/sbin:/sbin" command -v "$what" >/dev/null 2>&1 ;;
    pkg-config:*) pkg-config --exists "$what" >/dev/null 2>&1 ;;
    python:*) "$([ -x /usr/bin/python3 ] && echo /usr/bin/python3 || echo python3)" -c "import $what" >/dev/null 2>&1 ;;
    file:*) [ -n "$(find /usr/lib /usr/lib64 /usr/local/lib -path "*/$what" -print -quit 2>/dev/null)" ] ;;
    -) true ;;
    *) echo "packages.sh: it is not said how to see that $1 is there" >&2; exit 2 ;;
  esac
}

wanted=()
for set in "$@"; do
  case "$set" in
    build) wanted+=("${build[@]}") ;;
    test) wanted+=("${test[@]}") ;;
    bench) wanted+=("${bench[@]}") ;;
    *) echo "packages.sh: '$set' is neither build nor test nor bench" >&2; exit 2 ;;
  esac
done

missing=()
if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
  for package in "${wanted[@]}"; do
    is_there "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || exit 0
  echo "This system has no apt-get, and something is missing. By the name of Debian's package, and what it brings:" >&2
  for package in "${missing[@]}"; do
    echo "  $package (${brings[$package]/:/ })" >&2
  done
  echo "Install what corresponds to it, then try again." >&2
  exit 1
fi

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
