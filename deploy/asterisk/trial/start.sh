#!/bin/sh
# Fills /etc/asterisk and becomes Asterisk. Needs no root; writes to /etc/asterisk, /run/asterisk,
# /var/spool/asterisk and /var/log/asterisk only.
#
#   ARI_PASSWORD        password of the ARI user (required)
#   ARI_USER            its name (voicefork)
#   AGENTS              SIP addresses of agents' phones, separated by blanks; or a file of them, one a
#                       line: AGENTS_FILE (/etc/voicefork/agents)
#   EXTERNAL_ADDRESS    what SIP and SDP say, where a NAT stands before it
#   LOCAL_NETS          networks that EXTERNAL_ADDRESS is not said to (private ones)
#   RTP_PORTS           10000-20000
#   SLOTS               as many slots as the orchestrators have (their --slots: 4)
set -eu
etc=/etc/asterisk
from=/etc/voicefork
[ -d "$from/trial" ] || from=/opt/voicefork/asterisk
: "${ARI_PASSWORD:?the password of the ARI user}"

mkdir -p /var/spool/asterisk/lib/keys /var/spool/asterisk/cache
cp -L "$from"/*.conf "$from"/trial/*.conf /opt/asterisk/modules.conf "$etc/"
# Files Asterisk logs an error about where they are missing; empty means its defaults.
for name in acl ccss cdr cel chan_websocket features indications pjproject queuerules udptl websocket_client; do
  : >"$etc/$name.conf"
done

# A semicolon begins a comment unless it is escaped.
password=$(printf %s "$ARI_PASSWORD" | sed 's/;/\\;/g')
(umask 077 && printf '[%s](voicefork-user)\npassword=%s\n' "${ARI_USER:-voicefork}" "$password" >"$etc/account.conf")

ports=${RTP_PORTS:-10000-20000}
printf 'rtpstart=%s\nrtpend=%s\n' "${ports%-*}" "${ports#*-}" >"$etc/ports.conf"

printf 'VOICEFORK_SLOTS=%s\n' "${SLOTS:-4}" >"$etc/slots.conf"

: >"$etc/address.conf"
if [ -n "${EXTERNAL_ADDRESS:-}" ]; then
  printf 'external_media_address=%s\nexternal_signaling_address=%s\n' "$EXTERNAL_ADDRESS" "$EXTERNAL_ADDRESS" >"$etc/address.conf"
  for net in ${LOCAL_NETS:-10.0.0.0/8 172.16.0.0/12 192.168.0.0/16}; do
    printf 'local_net=%s\n' "$net" >>"$etc/address.conf"
  done
fi

: >"$etc/agents.conf"
# An empty section would be none: a queue always has this line.
printf 'timeout=15\n' >"$etc/members.conf"
agents=${AGENTS:-}
file=${AGENTS_FILE:-/etc/voicefork/agents}
[ ! -r "$file" ] || agents="$agents $(cat "$file")"
number=0
for contact in $agents; do
  number=$((number + 1))
  # sip:alice@192.0.2.7 is PJSIP/alice; what is no plain name is agent-1, agent-2, ...
  name=$(printf %s "$contact" | sed -n 's/^sips\{0,1\}:\([a-z][a-z0-9-]\{0,30\}\)@.*/\1/p')
  [ -n "$name" ] && ! grep -q "^\[$name\]" "$etc/agents.conf" "$etc/pjsip.conf" || name=agent-$number
  cat >>"$etc/agents.conf" <<CONF
[$name](voicefork-edge)
type=endpoint
transport=transport-udp
context=internal
aors=$name
[$name]
type=aor
contact=$contact
CONF
  printf 'member => PJSIP/%s,0,%s,PJSIP/%s\n' "$name" "$name" "$name" >>"$etc/members.conf"
done
exec /opt/asterisk/asterisk -C "$etc/asterisk.conf" -fn "$@"
