# Stays beside a host for as long as it runs, and starts it again when it reboots itself.
# KEEPER, HOST: the cgroups of this script and of the host, separated by newlines. $@: the command.
IFS='
'
set -f
join() {
    for dir in $1; do
        echo "$2" > "$dir/cgroup.procs" || exit 70
    done
}
join "$KEEPER" $$
export HOST
while :; do
    sh -c '
        IFS="
"
        set -f
        for dir in $HOST; do
            echo $$ > "$dir/cgroup.procs" || exit 70
        done
        unset IFS HOST
        exec "$@"
    ' sh "$@"
    # 133 is how systemd-nspawn says that the host has asked for a reboot.
    [ $? -eq 133 ] || exit 0
done
