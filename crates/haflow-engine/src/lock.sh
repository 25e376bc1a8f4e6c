# Runs in the lane's own shell: the lock is held for as long as that lives, and its scripts don't inherit it.
lock=
for candidate in "${HAFLOW_LOCK:-/run/lock/haflow.lock}" /run/haflow.lock /tmp/haflow.lock; do
    # Made by whoever comes first, and opened to read by all: who is allowed to write it is of no matter.
    [ -e "$candidate" ] || [ -L "$candidate" ] || (umask 022; set -C; : > "$candidate") 2>/dev/null
    if [ -f "$candidate" ] && [ ! -L "$candidate" ] && [ -r "$candidate" ]; then
        lock=$candidate
        break
    fi
done
if [ -z "$lock" ] || ! command -v flock >/dev/null; then
    printf 'none\n'
elif ! command exec 9< "$lock"; then
    printf 'none\n'
elif flock -n 9; then
    printf '%s %s\n' "$$" "$holder" 2>/dev/null > "$lock"
    printf 'taken\n'
else
    exec 9<&-
    # Who has just taken it writes its name a moment later; one that couldn't be overwritten is of somebody who is gone.
    pid= by= tries=0
    until [ -n "$pid" ] && [ -d "/proc/$pid" ] && [ -n "$by" ]; do
        read -r pid by < "$lock"
        tries=$((tries + 1))
        [ "$tries" -lt 10 ] || break
        sleep 0.1
    done
    if [ -n "$pid" ] && [ -d "/proc/$pid" ]; then printf 'held %s\n' "$by"; else printf 'held\n'; fi
fi
