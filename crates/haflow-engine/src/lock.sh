# Runs in the lane's own shell: the lock is held for as long as that lives, or a keeper of a step that it has begun. All lanes of a run share it; a run
# that comes wants it for itself first. Whoever looks or takes holds the turn.
# The file is $lock, which another lane of the run has taken, or the first that can be had.
set -- "${HAFLOW_LOCK:-/run/lock/haflow.lock}" /run/haflow.lock /tmp/haflow.lock
[ -z "$lock" ] || set -- "$lock"
lock=
for candidate in "$@"; do
    # Made by whoever comes first, and opened to read by all.
    for file in "$candidate" "$candidate.turn"; do
        [ -e "$file" ] || [ -L "$file" ] || (umask 0; set -C; : > "$file") 2>/dev/null
    done
    if [ -f "$candidate" ] && [ ! -L "$candidate" ] && [ -r "$candidate" ] && [ -f "$candidate.turn" ] && [ -r "$candidate.turn" ]; then
        lock=$candidate
        break
    fi
done
# Where sticky folders are protected, only dd doesn't ask for a file of somebody else to be made.
put() {
    printf '%s %s\n' "$run" "$holder" 2>/dev/null > "$lock" || printf '%s %s\n' "$run" "$holder" | dd of="$lock" conv=nocreat 2>/dev/null
}
add() {
    printf '%s %s\n' "$$" "$__haflow_started" 2>/dev/null >> "$lock" ||
        printf '%s %s\n' "$$" "$__haflow_started" | dd of="$lock" conv=nocreat,notrunc oflag=append 2>/dev/null
}
# Not every flock can wait.
turn() {
    tries=0
    until flock -n 8; do
        tries=$((tries + 1))
        [ "$tries" -lt 20 ] || return 1
        sleep 1
    done
}
# The run that the file speaks of, and how many of its lanes live; with `end` these are ended.
look() {
    owner= by= lanes=0
    {
        read -r owner by
        while read -r pid started; do
            line=
            { read -r line < "/proc/$pid/stat"; } 2>/dev/null
            set -- "$1" ${line##*) }
            [ "$pid" != $$ ] && [ -n "$started" ] && [ "${21}" = "$started" ] || continue
            lanes=$((lanes + 1))
            [ "$1" != end ] || kill -KILL "$pid" 2>/dev/null
        done
    } < "$lock"
}
if [ -z "$lock" ] || ! command -v flock >/dev/null || ! command exec 8< "$lock.turn" || ! command exec 9< "$lock"; then
    printf 'none\n'
elif ! turn; then
    exec 9<&-
    printf 'held\n'
else
    look
    if flock -n -x 9; then
        if [ "$way" = again ] && [ -n "$owner" ] && [ "$owner" != "$run" ]; then
            printf 'lost %s\n' "$by"
            exec 9<&-
        else
            # Where nobody can write down whose it is, the first lane is the only one to hold it.
            put
            flock -s 9
            look
            if [ "$owner" = "$run" ]; then printf 'taken %s\n' "$lock"; add; else printf 'alone\n'; fi
        fi
    elif [ "$owner" = "$run" ]; then
        # What is left of the same run, which died: its lanes aren't needed, its steps go on.
        if [ "$way" = resumed ] && [ "$by" != "$holder" ]; then
            look end
            put
        fi
        flock -s 9
        printf 'taken %s\n' "$lock"
        add
    elif [ "$lanes" -gt 0 ]; then
        printf 'held %s\n' "$by"
        exec 9<&-
    else
        # Of its lanes none lives: a step that goes on holds it, or somebody who couldn't write down whose it is.
        printf 'held %s\n' "${by:+a step that went on after the end of $by}"
        exec 9<&-
    fi
fi
exec 8<&-
# What is kept of steps that nobody has picked up for a day.
if [ "$way" = first ]; then
    for folder in "$__haflow_run"/haflow-step-*; do
        [ -O "$folder" ] && [ -n "$(find "$folder" -prune -type d -mtime +0)" ] || continue
        pid= line=
        [ ! -s "$folder/pid" ] || read -r pid < "$folder/pid"
        { read -r line < "/proc/$pid/cmdline"; } 2>/dev/null
        case $line in *"$folder"*) ;; *) rm -rf -- "$folder" ;; esac
    done
fi
