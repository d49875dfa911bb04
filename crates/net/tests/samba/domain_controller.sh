# A Samba domain controller for tests: domain_controller.sh FOLDER, inside namespaces of its own (network, mounts, pids).
# Says "ready" once it serves; then obeys lines on standard input: "stop", "start", each answered by "done". When
# standard input ends, all ends: this is process 1, and the folder goes with it.
set -euo pipefail
folder=$1
here=$2
conf=$folder/dc/etc/smb.conf
sam=$folder/dc/private/sam.ldb
password=Adm1n-Pass!

exec 3>&1 1>>"$folder/log" 2>&1

ip link set lo up
mkdir -p /run/samba
mount -t tmpfs none /run/samba
printf '127.0.0.1 localhost\n127.0.0.1 dc1.contoso.test dc1\n' > "$folder/hosts"
printf 'nameserver 127.0.0.1\nsearch contoso.test\n' > "$folder/resolv.conf"
mount --bind "$folder/hosts" /etc/hosts
mount --bind "$folder/resolv.conf" /etc/resolv.conf

samba-tool domain provision --realm=CONTOSO.TEST --domain=CONTOSO --server-role=dc --dns-backend=SAMBA_INTERNAL \
  --adminpass="$password" --host-name=dc1 --host-ip=127.0.0.1 --targetdir="$folder/dc" \
  --option='interfaces=lo' --option='bind interfaces only=yes' --option='dns forwarder=127.0.0.1' \
  --option="tls keyfile=$folder/dc1.key" --option="tls certfile=$folder/dc1.pem" --option="tls cafile=$folder/ca.pem"

# The tools end with 0 even when they stop half way; they say how many records they did.
load() { # tool, records, file, options
  local tool=$1 records=$2 file=$3
  shift 3
  "$tool" --configfile="$conf" -H "$sam" "$@" "$here/$file" > "$folder/loaded"
  cat "$folder/loaded"
  grep -q "$records records" "$folder/loaded"
}
load ldbadd 5 attributes.ldif --option='dsdb:schema update allowed=yes'
load ldbadd 1 classes.ldif --option='dsdb:schema update allowed=yes'
load ldbmodify 1 user_class.ldif --option='dsdb:schema update allowed=yes'
load ldbadd 7 pools.ldif
load ldbadd 15 people.ldif

for principal in sip/pool1.contoso.test http/pool1.contoso.test sip/old.contoso.test; do
  samba-tool domain exportkeytab "$folder/service.keytab" --principal="$principal" -s "$conf"
done
cat > "$folder/krb5.conf" <<KRB5
[libdefaults]
  default_realm = CONTOSO.TEST
  dns_lookup_realm = false
  dns_lookup_kdc = false
  rdns = false
[realms]
  CONTOSO.TEST = {
    kdc = 127.0.0.1:88
  }
[domain_realm]
  .contoso.test = CONTOSO.TEST
KRB5

serving() {
  for _ in $(seq 300); do
    if (exec 4<>/dev/tcp/127.0.0.1/636) && (exec 4<>/dev/tcp/127.0.0.1/88) && wbinfo --ping-dc; then return 0; fi
    kill -0 "$samba" || break
    sleep 0.1
  done
  echo "the domain controller does not serve"
  return 1
}
start() {
  samba -s "$conf" -F --no-process-group --debug-stdout &
  samba=$!
  serving
}
stop() {
  kill "$samba"
  wait "$samba" || true
  # Its children notice by themselves.
  while (exec 4<>/dev/tcp/127.0.0.1/636) || (exec 4<>/dev/tcp/127.0.0.1/389); do sleep 0.1; done
}

start
echo ready >&3
while read -r command; do
  "$command"
  echo done >&3
done
rm -rf "$folder"
