#!/bin/sh
# Runs HAProxy with the configuration that is mounted, and takes over each new one without dropping a request.
#
#   $CONFIG/..data -> ..v-1f3a    what is mounted: a change renames ..data, so its target names a version
#   $WORK/1, $WORK/2 ...          copies, each whole, and checked before it is used; the last two are kept
#   $WORK/admin.sock              where a new process fetches the sockets of the one before
#
# A new version is a new process: it takes the listening sockets over, and then tells the one before to finish what it
# has begun and end. A version that HAProxy refuses is said so in the log, and the one before stays in force.
#
# HAProxy's own master process is not used: a signal that comes while it starts, or reloads, is lost.
set -u
CONFIG=${CONFIG:-/etc/podium-ingress}
export WORK="${WORK:-/run/podium-ingress}"
MOST_ENDING=8
LONGEST_STOP=${LONGEST_STOP:-10}
umask 077

say() { echo "ingress-proxy: $*" >&2; }

version() { readlink "$CONFIG/..data"; }

alive() { kill -0 "$1" 2>/dev/null; }

# A sleep that a signal ends at once.
rest() { sleep 0.3 & wait $!; }

# Copy version $1 to $WORK/$number and check it. Fails when it is refused, or was replaced meanwhile.
take() {
  number=$((number + 1))
  copy=$WORK/$number
  mkdir -p "$copy" && cp -L "$CONFIG/$1"/* "$copy/" 2>/dev/null
  if [ "$(version)" = "$1" ]; then
    haproxy -c -f "$copy/haproxy.cfg" >/dev/null && return 0
    say "version $1 is refused"
    refused=$1
  fi
  rm -rf "$copy"
  return 1
}

# Run what was taken, in the place of the process before. What it says of itself (each proxy of a configuration that
# ends, among others) is shown only when it does not start.
run() {
  if [ -n "$proxy" ]; then
    haproxy -db -f "$copy/haproxy.cfg" -x "$WORK/admin.sock" -sf "$proxy" 2>"$copy/said" &
  else
    haproxy -db -f "$copy/haproxy.cfg" 2>"$copy/said" &
  fi
  [ -z "$proxy" ] || ending="$ending $proxy"
  proxy=$!
  rm -rf "${WORK:?}/$((number - 2))"
}

# Forget those that have ended; when too many are still ending (clients that stay connected), end the oldest.
tidy() {
  left='' count=0
  for each in $ending; do
    alive "$each" && left="$left $each" && count=$((count + 1))
  done
  ending=$left
  for each in $ending; do
    [ "$count" -gt "$MOST_ENDING" ] || break
    kill -TERM "$each" 2>/dev/null
    count=$((count - 1))
  done
}

# The newest did not start: go on with the one before, if it is there.
fall_back() {
  before=''
  for each in $ending; do before=$each; done
  [ -n "$before" ] && alive "$before" || return 1
  cat "$copy/said" >&2
  say "version $seen did not start; going on with the one before"
  proxy=$before
  ending=${ending% *}
}

# Answer what has begun, but do not wait for clients that only stay connected: nobody serves at this host meanwhile.
stop() {
  trap - TERM INT
  [ -n "$proxy" ] || exit 0
  kill -USR1 "$proxy" 2>/dev/null
  { sleep "$LONGEST_STOP" && kill -TERM "$proxy" 2>/dev/null; } &
  wait "$proxy"
  kill $! 2>/dev/null
  exit 0
}

number=0 proxy='' ending='' seen='' refused=''
rm -rf "${WORK:?}"/*
trap stop TERM INT
while :; do
  now=$(version)
  if [ -n "$now" ] && [ "$now" != "$seen" ] && [ "$now" != "$refused" ] && take "$now"; then
    seen=$now
    say "version $seen is taken"
    run
  fi
  rest
  tidy
  if [ -n "$proxy" ] && ! alive "$proxy" && ! fall_back; then
    cat "$copy/said" >&2
    say "haproxy has ended"
    exit 1
  fi
done
