#!/bin/sh
# Empties an edge before it is ended: drain.sh [MI FIFO [SECONDS]]
#
# New calls get 503 (emergency calls come in), OPTIONS too, so that carriers and load balancers go
# elsewhere. Returns 0 when the last call is over and ten seconds have passed, in which OpenSIPS 3.6.8
# would abort for a fork that has just ended; 1 when calls are left after SECONDS; 2 when nobody
# answers. For a preStop hook, or `ExecStop=` before the kill.
set -eu
mi=${1:-/run/opensips/mi}
limit=${2:-3600}
quiet=${DRAIN_QUIET_SECONDS:-10}
reply=drain-$$
folder=$(dirname "$mi")
trap 'rm -f "$folder/$reply"' EXIT

# ask METHOD PARAMS: the reply of OpenSIPS on stdout; fails when there is none.
ask() {
	rm -f "$folder/$reply"
	mkfifo -m 600 "$folder/$reply"
	# The reader first: OpenSIPS does not wait for it.
	timeout 5 cat "$folder/$reply" &
	# A FIFO that nobody reads would hold us for ever.
	timeout 5 sh -c 'printf ":%s:{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}" "$1" "$2" "$3" >"$4"' \
		- "$reply" "$1" "$2" "$mi"
	wait $!
}

calls() {
	ask get_statistics '{"statistics":["active_dialogs","early_dialogs"]}' |
		grep -o '_dialogs":[[:space:]]*[0-9]*' |
		awk -F: '{ n += $2 } END { if (NR != 2) exit 1; print n }'
}

gone() {
	echo "drain.sh: no OpenSIPS answers at $mi" >&2
	exit 2
}

[ -p "$mi" ] || gone
ask shv_set '{"name":"draining","type":"int","value":"1"}' | grep -q '"result"' || gone
end=$(($(date +%s) + limit))
while :; do
	left=$(calls) || gone
	[ "$left" -gt 0 ] || break
	if [ "$(date +%s)" -ge "$end" ]; then
		echo "drain.sh: $left calls are left after $limit s" >&2
		exit 1
	fi
	sleep 1
done
sleep "$quiet"
