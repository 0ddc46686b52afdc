#!/usr/bin/env bash
# Prints the node's own IPv4 address: the first one on the interface of the default route, or, without such a route, the
# first one that is not loopback or link-local. Reads /proc/net alone, so that it works where there is no `ip` command.
set -o nounset -o errexit

# The kernel writes routes as little-endian hexadecimal on the machines this bundle is for (x86-64, arm64).
decimal() {
    printf '%d.%d.%d.%d\n' "0x${1:6:2}" "0x${1:4:2}" "0x${1:2:2}" "0x${1:0:2}"
}

# The interface of the default route with the lowest metric; empty where there is none.
default_interface() {
    local interface destination gateway flags refcnt use metric mask rest best='' best_metric=''
    while read -r interface destination gateway flags refcnt use metric mask rest; do
        : "$gateway" "$refcnt" "$use" "$rest"
        # 0x1: the route is up; 0x200: it rejects
        if [[ $destination != 00000000 || $mask != 00000000 ]] || (((0x$flags & 0x201) != 1)); then continue; fi
        if [[ -z $best_metric ]] || ((metric < best_metric)); then
            best=$interface best_metric=$metric
        fi
    done < <(tail -n +2 /proc/net/route)
    printf '%s\n' "$best"
}

number() {
    local a b c d
    IFS=. read -r a b c d <<<"$1"
    printf '%d\n' "$(((a << 24) | (b << 16) | (c << 8) | d))"
}

# Every local address of the node, in the trie's order.
local_addresses() {
    local line address=''
    while read -r line; do
        case $line in
            '|-- '*) address=${line#|-- } ;;
            '/32 host LOCAL') printf '%s\n' "$address" ;;
        esac
    done </proc/net/fib_trie | sort -u -V
}

# Whether the address lies in a network that is directly on the interface.
is_on() {
    local wanted=$1 address interface destination gateway flags refcnt use metric mask rest
    address=$(number "$2")
    while read -r interface destination gateway flags refcnt use metric mask rest; do
        : "$flags" "$refcnt" "$use" "$metric" "$rest"
        [[ $interface == "$wanted" && $gateway == 00000000 && $mask != 00000000 ]] || continue
        if (((address & $(number "$(decimal "$mask")")) == $(number "$(decimal "$destination")"))); then
            return 0
        fi
    done < <(tail -n +2 /proc/net/route)
    return 1
}

main() {
    local interface address fallback=''
    interface=$(default_interface)
    for address in $(local_addresses); do
        case $address in 127.* | 169.254.*) continue ;; esac
        [[ -n $fallback ]] || fallback=$address
        if [[ -n $interface ]] && is_on "$interface" "$address"; then
            printf '%s\n' "$address"
            return 0
        fi
    done
    # With a default route whose interface has no network of its own (a point-to-point link), any address is the best guess.
    if [[ -n $fallback ]]; then
        printf '%s\n' "$fallback"
        return 0
    fi
    printf 'ip-detect: this node has no IPv4 address\n' >&2
    return 1
}

main
