#!/bin/sh
# Runs a command in private namespaces where names come from one DNS server and trust from one CA:
#
#   in_namespace.sh NAMESERVER CA_PEM -- COMMAND [ARGUMENT…]
#
# NAMESERVER is an IP address; the C library always asks port 53. CA_PEM may be /dev/null: then nothing is trusted.
# Inside, /etc/resolv.conf, /etc/nsswitch.conf, /etc/hosts and /etc/ssl/certs are replaced, HOME is new and empty, and
# proxies are unset. With MACHINE in the environment that is the machine's name inside. Network and processes are those
# outside. The command takes this script's process id, so it can be signalled and waited for directly; all files made
# here vanish with it. Leaves with 77 where this cannot be done.
set -eu

refuse() { echo "in_namespace.sh: $2" >&2; exit "$1"; }

# Empty directory to hang the namespace's own file system on. It stays behind, empty.
place=/run/signpost-counterpart

inside() {
    nameserver=$1 ca=$2
    shift 2
    mount -t tmpfs -o mode=0755 tmpfs "$place" || refuse 77 "cannot mount a tmpfs on $place"
    mkdir "$place/certs" "$place/home"
    cat "$ca" >"$place/certs/lab-ca.pem"
    # A dead server is given up on after 2 x 2 s a name, so that a sign-in against it ends in bounded time.
    printf 'nameserver %s\noptions timeout:2 attempts:2\n' "$nameserver" >"$place/resolv.conf"
    printf 'passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n' >"$place/nsswitch.conf"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$place/hosts"
    for file in resolv.conf nsswitch.conf hosts; do
        mount --bind "$place/$file" "$(readlink -f "/etc/$file")" || refuse 77 "cannot replace /etc/$file"
    done
    mount --bind "$place/certs" /etc/ssl/certs || refuse 77 "cannot replace /etc/ssl/certs"
    # A name service cache would answer from outside.
    [ ! -d /run/nscd ] || mount -t tmpfs tmpfs /run/nscd
    [ -z "${MACHINE-}" ] || echo "$MACHINE" >/proc/sys/kernel/hostname || refuse 77 "cannot name the machine $MACHINE"
    unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME
    HOME=$place/home exec "$@"
}

if [ "${1-}" = --inside ]; then
    shift
    inside "$@"
fi

[ $# -ge 4 ] && [ "$3" = -- ] || refuse 2 "usage: in_namespace.sh NAMESERVER CA_PEM -- COMMAND [ARGUMENT…]"
[ "$(id -u)" = 0 ] || refuse 77 "private namespaces need root; run it through sudo"
[ -r "$2" ] || refuse 2 "the CA file $2 cannot be read"
unshare --mount --uts true 2>/dev/null || refuse 77 "this system does not allow private namespaces (a container without CAP_SYS_ADMIN?)"
nameserver=$1 ca=$2
shift 3
mkdir -p "$place" /etc/ssl/certs
exec unshare --mount --uts --propagation private -- "$0" --inside "$nameserver" "$ca" "$@"
