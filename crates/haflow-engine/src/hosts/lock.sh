# Runs in the lane's own shell: the lock is held for as long as that lives, or a keeper of a step that it has
# begun. All lanes of a run that are the same user's share it; a run that comes wants it for itself first.
# A run holds the turn while it looks at the lock or takes it. Both are in a folder that only this user
# writes: nobody else can hold them, take them away, or say whose they are. Others' folders and links are left
# alone.
folder=
case $__haflow_uid in
    0) set -- /run/haflow /run/lock/haflow-0 /tmp/haflow-0 /dev/shm/haflow-0 ;;
    *)
        set -- "/run/lock/haflow-$__haflow_uid" "/tmp/haflow-$__haflow_uid" "/dev/shm/haflow-$__haflow_uid" \
            "/run/user/$__haflow_uid/haflow"
        ;;
esac
[ -z "${HAFLOW_LOCK-}" ] || set -- "$HAFLOW_LOCK"
for candidate in "$@"; do
    [ -e "$candidate" ] || [ -L "$candidate" ] || mkdir -m 755 -- "$candidate" 2>/dev/null
    __haflow_own "$candidate" || continue
    # A folder that others may write isn't taken.
    case $(ls -ld -- "$candidate" 2>/dev/null) in d????-??-*) ;; *) continue ;; esac
    folder=$candidate
    break
done
# A user who may read a file may hold a lock on it, so only this user may open these. All may read whose the
# lock is, and its lanes.
umask 077
for file in lock turn; do
    [ -n "$folder" ] || break
    [ -f "$folder/$file" ] && [ ! -L "$folder/$file" ] && [ -O "$folder/$file" ] && continue
    true 2>/dev/null >"$folder/$file" || folder=
done
umask 022
new=
put() { printf '%s %s\n' "$run" "$holder" 2>/dev/null >"$folder/by"; }
add() { printf '%s %s %s\n' "$$" "$__haflow_started" "$__haflow_boot" 2>/dev/null >>"$folder/lanes"; }
whose() {
    owner= by=
    [ ! -s "$folder/by" ] || read -r owner by <"$folder/by"
}
# Others' turns last for milliseconds. Not every flock can wait, and not all who wait may come back at the
# same moment.
turn() {
    ! flock -n 8 || return 0
    case $(flock --help 2>&1) in *-w*) flock -w 35 8; return ;; esac
    tries=0
    until flock -n 8; do
        tries=$((tries + 1))
        [ "$tries" -lt 80 ] || return 1
        sleep "0.$(((($$ + tries * 37) % 80) + 11))" 2>/dev/null || { sleep 1; tries=$((tries + 1)); }
    done
}
# How many lanes in the list $1 of the user $2 live; with `end` these are ended. A lane is known by its
# number, its start and the boot, its user, and what it was started as: like this one.
look() {
    lanes=0
    __haflow_command $$
    mine=$__haflow_command
    while read -r pid started boot; do
        [ "$pid" != $$ ] && [ "$boot" = "$__haflow_boot" ] || continue
        __haflow_process "$pid" && [ "$__haflow_start" = "$started" ] || continue
        __haflow_owner "$pid" && [ "$__haflow_owner" = "$2" ] || continue
        __haflow_command "$pid" && [ "$__haflow_command" = "$mine" ] || continue
        lanes=$((lanes + 1))
        [ "${3-}" != end ] || __haflow_end_lane "$pid"
    done 2>/dev/null <"$1"
}
# A user who isn't root can't open root's lock, but sees whether lanes of root's live. Root looks at nobody's
# lanes: they could keep it out for ever.
roots() {
    [ "$__haflow_uid" != 0 ] && [ -z "${HAFLOW_LOCK-}" ] || return 1
    [ -r /run/haflow/by ] && [ -r /run/haflow/lanes ] || return 1
    owner= by=
    read -r owner by </run/haflow/by
    [ "$owner" != "$run" ] || return 1
    look /run/haflow/lanes 0
    [ "$lanes" -gt 0 ]
}
if [ -z "$folder" ] || ! command -v flock >/dev/null ||
    ! command exec 8<>"$folder/turn" || ! command exec 9<>"$folder/lock"; then
    printf 'none\n'
elif ! turn; then
    exec 9<&-
    printf 'held\n'
elif roots; then
    exec 9<&-
    printf 'held %s\n' "${by:-a run of the user root}"
elif flock -n -x 9; then
    whose
    if [ "$way" = again ] && [ -n "$owner" ] && [ "$owner" != "$run" ]; then
        printf 'lost %s\n' "$by"
        exec 9<&-
    else
        # Where it can't be written down whose it is, the first lane is the only one to hold it.
        new=yes
        put && true 2>/dev/null >"$folder/lanes"
        flock -s 9
        whose
        if [ "$owner" = "$run" ]; then printf 'taken\n'; add; else printf 'alone\n'; fi
    fi
else
    whose
    if [ "$owner" = "$run" ]; then
        # What is left of the same run, which died: its lanes aren't needed, its steps go on.
        if [ "$way" = resumed ] && [ "$by" != "$holder" ]; then
            look "$folder/lanes" "$__haflow_uid" end
            put
        fi
        flock -s 9
        printf 'taken\n'
        add
    else
        # Where of its lanes none lives, a step that goes on holds it, or somebody who couldn't write down
        # whose it is.
        look "$folder/lanes" "$__haflow_uid"
        exec 9<&-
        [ "$lanes" -gt 0 ] || by=${by:+a step that went on after the end of $by}
        printf 'held %s\n' "$by"
    fi
fi
exec 8<&-
# What is kept of steps that nobody has picked up for a day: by the run's first lane here, with one look at
# all of it.
if [ -n "$new" ] && [ "$way" = first ]; then
    find "$__haflow_run/." ! -name . -prune -name 'haflow-step-*' -type d -user "$__haflow_uid" -mtime +0 2>/dev/null |
    while IFS= read -r folder; do
        __haflow_own "$folder" || continue
        pid=
        [ ! -s "$folder/pid" ] || read -r pid <"$folder/pid"
        __haflow_keeps "$pid" "${folder##*/}" || rm -rf -- "$folder"
    done
fi
