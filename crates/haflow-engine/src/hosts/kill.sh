# Ends the lane's shell $shell that started at $started, its process group $group, the step whose folder is
# called $name, and all that these have started: TERM, and KILL for what is left after $grace tenths of a
# second. Prints the names of what was ended on a line and of what is left on another, then the last of what
# the step had printed. Almost without processes of its own: there is no ps on small systems. Nothing gets a
# signal that isn't provably of the run: of the group of a shell that is known by its number and its start, of
# the tree below that shell or the step's keeper, or marked by its environment and of the lane's user.
set -f
own=$$
folder=
for place in /run /tmp /dev/shm; do
  [ -z "$name" ] || ! __haflow_own "$place/$name" || folder=$place/$name
done
step=
[ -z "$folder" ] || [ ! -s "$folder/pid" ] || read -r step <"$folder/pid"
# A number is used again: the keeper is known by its command.
__haflow_keeps "$step" "$folder" || step=
# What takes up the step's output ends by itself when all has been said.
writers=
[ -z "$folder" ] || [ ! -s "$folder/writers" ] || read -r writers <"$folder/writers"
writers=" $writers "
# The group has its number for as long as one of it lives. Then that may be another one's.
if __haflow_process "$shell" && [ "$__haflow_start" = "$started" ] && [ "$__haflow_group" = "$group" ]; then
  first=
  __haflow_process "$group" && first=$__haflow_start
else
  group=-
fi
# All processes: number, parent, group and start, on a line each.
list() {
  set +f
  set -- /proc/[0-9]*
  set -f
  for pid in "$@"; do
    pid=${pid#/proc/}
    ! __haflow_process "$pid" || printf '%s %s %s %s\n' "$pid" "$__haflow_parent" "$__haflow_group" "$__haflow_start"
  done
}
# The processes that say in their environment that they are the step's.
mark() {
  set +f
  grep -lsF "HAFLOW_STEP=$folder" /proc/[0-9]*/environ
}
# Whether process $2, which process $1 of the run has begun, is of the run too. What has become another user's
# may have children that belong to a third one.
begets() {
  __haflow_owner "$1" || return 1
  [ "$__haflow_owner" != "$__haflow_uid" ] || return 0
  parents=$__haflow_owner
  __haflow_owner "$2" && [ "$__haflow_owner" = "$parents" ] && [ "$parents" != mixed ]
}
# Those to be ended, as number/start: also what has left its parents and its session, by its environment. What
# was found before stays found, unless a number has been used again.
found=' '
look() {
  [ "$group" = - ] || ! __haflow_process "$group" || [ "$__haflow_start" = "$first" ] || group=-
  all=$(list)
  marked=
  [ -z "$folder" ] || marked=$(mark)
  before=$found
  found=' '
  grown=yes
  while [ -n "$grown" ]; do
    grown=
    while read -r pid parent in start; do
      [ "$pid" != "$own" ] || continue
      case $found in *" $pid/"*) continue ;; esac
      case $writers in *" $pid "* | *" $parent "*) continue ;; esac
      take=
      [ "$in" != "$group" ] && [ "$pid" != "$step" ] || take=yes
      case $before in *" $pid/$start "*) take=yes ;; esac
      case $found in *" $parent/"*) [ -n "$take" ] || ! begets "$parent" "$pid" || take=yes ;; esac
      case $marked in *"/$pid/"*)
        # Anybody may write that into the environment of what he starts.
        [ -n "$take" ] || ! __haflow_owner "$pid" || [ "$__haflow_owner" != "$__haflow_uid" ] || take=yes
        ;;
      esac
      [ -z "$take" ] || { found="$found$pid/$start "; grown=yes; }
    done <<END
$all
END
  done
}
# Those of them that live.
alive() {
  while read -r pid parent in start; do
    case $found in *" $pid/$start "*) ;; *) continue ;; esac
    __haflow_process "$pid" || continue
    [ "$__haflow_state" = Z ] || [ "$__haflow_start" != "$start" ] || printf '%s %s\n' "$pid" "$__haflow_name"
  done <<END
$all
END
}
end() {
  alive | while read -r pid name; do kill "-$1" "$pid" 2>/dev/null; done
}
# Their names, each a word of plain characters.
names() {
  alive | while IFS= read -r name; do
    case $name in [0-9]*' '*) name=${name#* } ;; *) continue ;; esac
    while :; do
      case $name in
        *[!A-Za-z0-9._+:@/-]*)
          good=${name%%[!A-Za-z0-9._+:@/-]*}
          rest=${name#"$good"}
          name=${good}_${rest#?}
          ;;
        *) break ;;
      esac
    done
    printf '%s ' "$name"
  done
  printf '\n'
}
look
names
end TERM
tried=0
while [ -n "$(alive)" ]; do
  tried=$((tried + 1))
  [ "$tried" -lt "$grace" ] || break
  sleep 0.1 2>/dev/null || { sleep 1; tried=$((tried + 9)); }
done
# Once more, and again: what was told to end may have begun something.
tried=0
look
while [ -n "$(alive)" ] && [ "$tried" -lt 20 ]; do
  end KILL
  tried=$((tried + 1))
  sleep 0.1 2>/dev/null || { sleep 1; tried=$((tried + 9)); }
  look
done
names
if [ -n "$folder" ]; then
  __haflow_printed "$folder" out 8192
  __haflow_printed "$folder" err 8192 >&2
fi
exit 0
