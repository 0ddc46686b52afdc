#!/bin/bash
# Starts a master's etcd. The unit gives the settings in the environment (etc/etcd/etcd.env):
#
#   ETCD_DISCOVERY, ETCD_MASTERS, ETCD_ZK_ADDR   for etcd-discovery, which runs before
#   ETCD_TLS          true | false; with true every client and peer shows a certificate of ETCD_PKI_DIR/ca.crt
#   ETCD_PKI_DIR      ca.crt, server.crt, server.key, peer.crt, peer.key
#   ETCD_DATA_DIR     where the data is
#   ETCD_CLIENT_PORT, ETCD_PEER_PORT
#   ETCD_METRICS_URL  a plain listener for /metrics and /health, on the node itself
#
# Without data it starts as `initial-nodes` and `initial-state` beside the data directory say, which etcd-discovery writes
# (one line each, see dcos_etcd/files.py). From then on membership is in the data, and they are not looked at again.
# Arguments are given to etcd. etcd reads variables that begin with ETCD_ as its own flags, and these are not: none
# reaches it.
set -euo pipefail

fail() {
    echo "etcd.sh: $*" >&2
    exit 1
}

package=$(dirname "$(readlink -f "$0")")
detect_ip=${DETECT_IP:-/opt/mesosphere/bin/detect_ip}

for name in TLS PKI_DIR DATA_DIR CLIENT_PORT PEER_PORT METRICS_URL; do
    variable=ETCD_$name
    [ -n "${!variable:-}" ] || fail "$variable is not set; it belongs in etc/etcd/etcd.env"
done
tls=$ETCD_TLS pki=$ETCD_PKI_DIR data=$ETCD_DATA_DIR
client_port=$ETCD_CLIENT_PORT peer_port=$ETCD_PEER_PORT metrics=$ETCD_METRICS_URL
while read -r variable; do unset "$variable"; done < <(compgen -e ETCD_)

ip=$("$detect_ip") || fail "$detect_ip failed; run it by hand to see why"
[[ $ip =~ ^[0-9]+(\.[0-9]+){3}$ ]] || fail "$detect_ip printed '$ip', which is not an IPv4 address"

case $tls in
true) scheme=https ;;
false) scheme=http ;;
*) fail "ETCD_TLS is '$tls'; it is true or false" ;;
esac

arguments=(
    "--name=etcd-$ip"
    "--data-dir=$data"
    "--listen-peer-urls=$scheme://$ip:$peer_port"
    "--initial-advertise-peer-urls=$scheme://$ip:$peer_port"
    "--listen-client-urls=$scheme://$ip:$client_port,$scheme://127.0.0.1:$client_port"
    "--advertise-client-urls=$scheme://$ip:$client_port"
    "--listen-metrics-urls=$metrics"
    # Nothing else compacts a datastore that is not Kubernetes': without this, history fills the quota.
    --auto-compaction-mode=periodic --auto-compaction-retention=1h
    --logger=zap --log-outputs=stderr
)

if [ "$tls" = true ]; then
    for file in ca.crt server.crt server.key peer.crt peer.key; do
        [ -r "$pki/$file" ] || fail "$pki/$file cannot be read; run dcos_install.sh with --pki to place the node's keys"
    done
    arguments+=(
        "--cert-file=$pki/server.crt" "--key-file=$pki/server.key" "--trusted-ca-file=$pki/ca.crt" --client-cert-auth
        "--peer-cert-file=$pki/peer.crt" "--peer-key-file=$pki/peer.key" "--peer-trusted-ca-file=$pki/ca.crt"
        # Any client of the authority would do otherwise: only members have a certificate with this name.
        --peer-client-cert-auth --peer-cert-allowed-cn=dcos-calico-etcd-peer
    )
fi

if ! compgen -G "$data/member/wal/*.wal" >/dev/null; then
    for file in initial-nodes initial-state; do
        [ -r "${data%/*}/$file" ] || fail "${data%/*}/$file cannot be read; etcd-discovery join-cluster writes it"
    done
    state=$(<"${data%/*}/initial-state")
    [[ $state = new || $state = existing ]] || fail "${data%/*}/initial-state is '$state'; it is new or existing"
    mkdir -p "$data"
    chmod 700 "$data"
    arguments+=(
        "--initial-cluster=$(<"${data%/*}/initial-nodes")" "--initial-cluster-state=$state"
        --initial-cluster-token=dcos-calico
    )
fi

exec "$package/usr/bin/etcd" "${arguments[@]}" "$@"
